package page

import (
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode"

	"golang.org/x/net/html"
)

// hostile are texts that others could write into usernames, groups, marks, node
// names and errors.
var hostile = []string{
	`<script>alert(1)</script>`, `</td></table><img src=x onerror=alert(1)>`, `"><svg onload=alert(1)>`, `' onmouseover='alert(1)`,
	`</style><script>alert(1)</script>`, `</title><script>alert(1)</script>`, `</code></pre><iframe src=//evil.example>`,
	"a\x1b[2Jb", "\u202egnp.exe", "line\nbreak", "nul\x00", "\xff\xfe", "\u2066\u200b\ufeff", `{{.}}`, `javascript:alert(1)`,
	`<a href="//evil.example">all is well</a>`, `<meta http-equiv=refresh content="0;url=//evil.example">`, `&lt;b&gt;`, `x--><b>`,
}

// fill sets every text of a value, lists getting one element of each.
func fill(v reflect.Value, text string) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), text)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0), text)
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(now))
			return
		}
		for i := range v.NumField() {
			fill(v.Field(i), text)
		}
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int:
		v.SetInt(3)
	}
}

// shape is what a page is made of: its elements and their attributes' names. It
// leads nowhere but to itself.
func shape(t *testing.T, page string) (elements []string, texts []string) {
	t.Helper()
	root, err := html.Parse(strings.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	leads := map[string]bool{"href": true, "src": true, "action": true}
	within := regexp.MustCompile(`^([?#]|data:,$)`)
	for n := range root.Descendants() {
		switch n.Type {
		case html.ElementNode:
			name := n.Data
			for _, a := range n.Attr {
				name += " " + a.Key
				texts = append(texts, a.Val)
				if leads[a.Key] && !within.MatchString(a.Val) {
					t.Errorf("%s leads to %q", n.Data, a.Val)
				}
			}
			elements = append(elements, name)
		case html.TextNode, html.CommentNode:
			if n.Parent.Data != "style" {
				texts = append(texts, n.Data)
			}
		}
	}
	return elements, texts
}

// Whatever field a hostile text stands in, it changes nothing of what the page is
// made of, and arrives with nothing in it that does not print.
func TestHostileTexts(t *testing.T) {
	for _, ours := range []bool{true, false} {
		for _, mode := range []Mode{Leads, StandsBy, Reports} {
			page := func(text, query string) string {
				var v View
				fill(reflect.ValueOf(&v).Elem(), text)
				v.Mode = mode
				if mode != Leads {
					v.Cluster = nil
				} else {
					v.Cluster.Entries[0].Ours = ours
				}
				return body(t, v, query)
			}
			want, _ := shape(t, page("harmless", ""))
			for _, text := range hostile {
				got, texts := shape(t, page(text, ""))
				if !reflect.DeepEqual(want, got) {
					t.Errorf("%s: %q makes other elements:\n%q\nwant\n%q", mode, text, got, want)
				}
				for _, shown := range texts {
					if i := strings.IndexFunc(shown, func(r rune) bool { return !unicode.IsPrint(r) && r != '\n' || r == unicode.ReplacementChar }); i >= 0 {
						t.Errorf("%s: %q shows as %q", mode, text, shown)
					}
				}
			}
		}
	}
}

// What a reader asks for comes back on the page, and can do as little.
func TestHostileQuery(t *testing.T) {
	values := func(text string) string {
		q := parseQuery(map[string][]string{"q": {text}, "of": {text}, "page": {text}})
		return q.link(q.Of, 1)
	}
	for _, text := range hostile {
		page := body(t, leading(), values(text))
		elements, texts := shape(t, page)
		for _, e := range elements {
			if strings.HasPrefix(e, "script") || strings.Contains(e, " on") || strings.HasPrefix(e, "img") {
				t.Errorf("q=%q makes an element %q", text, e)
			}
		}
		for _, shown := range texts {
			if strings.ContainsFunc(shown, func(r rune) bool { return !unicode.IsPrint(r) && r != '\n' }) {
				t.Errorf("q=%q shows as %q", text, shown)
			}
		}
	}
}

// A text without end does not make a page without end.
func TestLongTextsAreCut(t *testing.T) {
	v := leading()
	v.Cluster.Entries[0].Username = strings.Repeat("x", 900_000)
	if page := body(t, v, ""); len(page) > 100_000 {
		t.Errorf("the page has %d bytes", len(page))
	}
}
