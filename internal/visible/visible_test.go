package visible_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/rolecall/rolecall/internal/visible"
)

func TestText(t *testing.T) {
	for in, want := range map[string]string{
		"":                         "",
		"arn:aws:iam::1:role/x":    "arn:aws:iam::1:role/x",
		`C:\n "q" → é 日本`:          `C:\n "q" → é 日本`,
		"a\nb\r\tc":                `a\nb\r\tc`,
		"\x1b[2J\x07\x00\x7f":      `\x1b[2J\a\x00\x7f`,
		"\u009b31m\u0085":          `\u009b31m\u0085`,
		"\u202egnp.exe\u2066":      `\u202egnp.exe\u2066`,
		"\u2028\u2029\u200b\ufeff": `\u2028\u2029\u200b\ufeff`,
		"a\u00a0b":                 `a\u00a0b`,
		"\xff\xfeok\xc3":           `\xff\xfeok\xc3`,
		"\U000e0041":               `\U000e0041`,
	} {
		if got := visible.Text(in); got != want {
			t.Errorf("Text(%q) = %q, want %q", in, got, want)
		}
	}
	if got, want := visible.Lines("a\n\tb\x1b\r\n"), "a\n\tb\\x1b\\r\n"; got != want {
		t.Errorf("Lines: %q, want %q", got, want)
	}
}

func TestCut(t *testing.T) {
	if got := visible.Cut("äöü", 6); got != "äöü" {
		t.Errorf("got %q", got)
	}
	if got, want := visible.Cut("äöü", 5), "äö… (6 bytes)"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// FuzzVisible holds that nothing gets through, and that JSON stays what it is.
func FuzzVisible(f *testing.F) {
	for _, s := range []string{"", "plain", "\x1b]0;x\x07", "a\nb", "\u202e", "\xff", "\U000e0041 \U0001f600", `\u001b`, "\u009b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, shown := range []string{visible.Text(s), strings.ReplaceAll(visible.Lines(s), "\n", "")} {
			shown = strings.ReplaceAll(shown, "\t", "")
			if !utf8.ValidString(shown) || strings.ContainsFunc(shown, func(r rune) bool { return !unicode.IsPrint(r) }) {
				t.Errorf("%q shows as %q", s, shown)
			}
		}
		body, err := json.Marshal(map[string]string{"s": s, s: "k"})
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if _, err := visible.JSONWriter(&out).Write(body); err != nil {
			t.Fatal(err)
		}
		if bytes.ContainsFunc(out.Bytes(), func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("%q becomes %q", body, &out)
		}
		var was, is map[string]string
		if err := json.Unmarshal(body, &was); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(out.Bytes(), &is); err != nil {
			t.Fatalf("%q: %v", &out, err)
		}
		if was["s"] != is["s"] || was[s] != is[s] {
			t.Errorf("%q reads %q, and was %q", &out, is, was)
		}
	})
}
