package page

import (
	"cmp"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/rolecall/rolecall/internal/visible"
)

const (
	perPage  = 100  // entries
	maxRoles = 50   // node roles and refused reports; a filter finds the others
	maxHeld  = 25   // changes of one hold; rolecall approve shows all
	maxQuery = 200  // bytes
	maxText  = 2048 // bytes of one text
)

// Whose entries are shown.
const (
	ofAll    = ""
	ofUs     = "ours"
	ofOthers = "others"
)

// query is what a reader asks for.
type query struct {
	Text string // part of an ARN, username, group, source or mark, without case
	Of   string // whose entries
	Page int    // from 1
}

// parseQuery takes what makes sense and leaves out what does not.
func parseQuery(values url.Values) query {
	q := query{Text: values.Get("q"), Of: values.Get("of"), Page: 1}
	q.Text = visible.Text(strings.TrimSpace(strings.ToValidUTF8(q.Text[:min(len(q.Text), maxQuery)], "")))
	if q.Of != ofUs && q.Of != ofOthers {
		q.Of = ofAll
	}
	if n, err := strconv.Atoi(values.Get("page")); err == nil && n > 1 {
		q.Page = n
	}
	return q
}

// link leads to a page of the same question, or to the same page of another.
func (q query) link(of string, page int) string {
	values := url.Values{}
	if q.Text != "" {
		values.Set("q", q.Text)
	}
	if of != ofAll {
		values.Set("of", of)
	}
	if page > 1 {
		values.Set("page", strconv.Itoa(page))
	}
	return "?" + values.Encode() + "#entries"
}

// listing is the part of the entries that is shown.
type listing struct {
	Shown       []Entry
	All         int // in aws-auth
	Ours        int // of them
	Found       int // that the reader asked for
	First, Last int // of those found, from 1
	Page, Pages int
	Prev, Next  string // links; empty for none
}

func (q query) list(all []Entry) listing {
	l := listing{All: len(all), Page: 1, Pages: 1}
	text := strings.ToLower(q.Text)
	found := make([]*Entry, 0, len(all))
	for i := range all {
		e := &all[i]
		if e.Ours {
			l.Ours++
		}
		if q.Of == ofUs && !e.Ours || q.Of == ofOthers && e.Ours || text != "" && !e.has(text) {
			continue
		}
		found = append(found, e)
	}
	slices.SortStableFunc(found, func(a, b *Entry) int {
		return cmp.Or(cmp.Compare(kindOrder(a.Kind), kindOrder(b.Kind)), cmp.Compare(a.ARN, b.ARN))
	})
	l.Found = len(found)
	if l.Found == 0 {
		return l
	}
	l.Pages = (l.Found + perPage - 1) / perPage
	l.Page = min(q.Page, l.Pages)
	from := (l.Page - 1) * perPage
	to := min(from+perPage, l.Found)
	for _, e := range found[from:to] {
		l.Shown = append(l.Shown, *e)
	}
	l.First, l.Last = from+1, to
	if l.Page > 1 {
		l.Prev = q.link(q.Of, l.Page-1)
	}
	if l.Page < l.Pages {
		l.Next = q.link(q.Of, l.Page+1)
	}
	return l
}

func kindOrder(kind string) int {
	return slices.Index([]string{"role", "user", "account"}, kind)
}

// has reports whether the entry has the lower-cased text anywhere that is shown.
func (e *Entry) has(text string) bool {
	in := func(s string) bool { return strings.Contains(strings.ToLower(s), text) }
	return in(e.ARN) || in(e.Username) || slices.ContainsFunc(e.Groups, in) || slices.ContainsFunc(e.Sources, in) || in(e.Mark)
}

// roleListing is the part of the reported roles that is shown.
type roleListing struct {
	Shown    []Role
	All      int
	Found    int
	Filtered bool
}

func (q query) listRoles(all []Role) roleListing {
	text := strings.ToLower(q.Text)
	l := roleListing{All: len(all), Filtered: text != ""}
	found := make([]Role, 0, len(all))
	for _, r := range all {
		if strings.Contains(strings.ToLower(r.ARN), text) || strings.Contains(strings.ToLower(r.Node), text) {
			found = append(found, r)
		}
	}
	slices.SortStableFunc(found, func(a, b Role) int { return cmp.Compare(a.ARN, b.ARN) })
	l.Found = len(found)
	l.Shown = found[:min(l.Found, maxRoles)]
	return l
}
