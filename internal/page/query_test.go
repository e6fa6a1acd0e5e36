package page

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"
)

// many are as many entries as aws-auth has room for.
func many() View {
	v := leading()
	c := *v.Cluster
	c.Entries, c.Roles = nil, nil
	for i := range 6500 {
		c.Entries = append(c.Entries, Entry{
			Kind: "user", ARN: fmt.Sprintf("arn:aws:iam::111122223333:user/user-%04d", 6499-i), Username: fmt.Sprintf("user-%04d", 6499-i),
			Groups: []string{"developers"}, Ours: i%2 == 0, Sources: []string{"group/Developers"}, Since: now,
		})
	}
	for i := range 1000 {
		c.Roles = append(c.Roles, Role{fmt.Sprintf("arn:aws:iam::111122223333:role/role-%04d", i), fmt.Sprintf("node-%d", i), now})
	}
	v.Cluster = &c
	return v
}

func users(page string) []string {
	return regexp.MustCompile(`user-\d{4}</span></td><td role="cell" data-label="Username`).FindAllString(page, -1)
}

// A full aws-auth comes in pages, sorted, and a filter finds what is asked for.
func TestPagesOfEntries(t *testing.T) {
	v := many()
	first := body(t, v, "")
	if got := users(first); len(got) != perPage || !strings.HasPrefix(got[0], "user-0000") || !strings.HasPrefix(got[perPage-1], "user-0099") {
		t.Errorf("the first page has %d entries, from %q", len(got), got)
	}
	if len(first) > 200_000 {
		t.Errorf("it has %d bytes", len(first))
	}
	for query, want := range map[string]struct {
		n     int
		texts []string
	}{
		"?page=2":               {perPage, []string{"101–200 of 6500", "user-0100", "page 2 of 65", `rel="prev" href="?#entries"`, `href="?page=3#entries"`}},
		"?page=65":              {perPage, []string{"6401–6500 of 6500", "user-6499"}},
		"?page=9999":            {perPage, []string{"6401–6500 of 6500"}},
		"?page=-1":              {perPage, []string{"1–100 of 6500"}},
		"?page=x":               {perPage, []string{"1–100 of 6500"}},
		"?of=ours":              {perPage, []string{"1–100 of 3250", `href="?of=ours&amp;page=2#entries"`}},
		"?of=others&page=2":     {perPage, []string{"101–200 of 3250"}},
		"?q=USER-123":           {10, []string{"1–10 of 10 with “USER-123”", "user-1230", "user-1239"}},
		"?q=user-1234&of=ours":  {0, []string{"None of the 6500 entries", "Show all"}},
		"?q=group/developers":   {perPage, []string{"1–100 of 6500 with"}},
		"?q=role-0999":          {0, []string{"Shown: 1 of 1000", "role-0999", "None of the 6500 entries"}},
		"?q=nothing+like+that":  {0, []string{"None of the 1000 roles that nodes report has"}},
		"?of=nonsense&q=%20%20": {perPage, []string{"1–100 of 6500", "and 950 more: filter"}},
	} {
		page := body(t, v, query)
		if got := users(page); len(got) != want.n {
			t.Errorf("%s shows %d entries, want %d", query, len(got), want.n)
		}
		for _, text := range want.texts {
			if text == "role-0999" || strings.HasPrefix(text, "user-") {
				text += "</span>"
			}
			if !strings.Contains(page, text) {
				t.Errorf("%s lacks %q", query, text)
			}
		}
	}
}

// What makes no sense in a query is left out, and a long one is cut.
func TestParseQuery(t *testing.T) {
	q := parseQuery(url.Values{"q": {strings.Repeat("ä", 500)}, "of": {"x"}, "page": {"0"}})
	if len(q.Text) > maxQuery || !strings.HasPrefix(q.Text, "ää") || q.Of != "" || q.Page != 1 {
		t.Errorf("got %+v", q)
	}
}

func BenchmarkPageOfFullAWSAuth(b *testing.B) {
	v := many()
	for b.Loop() {
		newModel(v, query{Page: 1})
	}
}

func TestWhen(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "just now", 4 * time.Second: "just now", 5 * time.Second: "5 s ago", 119 * time.Second: "119 s ago", 2 * time.Minute: "2 min ago",
		119 * time.Minute: "119 min ago", 2 * time.Hour: "2 h ago", 47 * time.Hour: "47 h ago", 48 * time.Hour: "2 days ago", -time.Hour: "in 60 min",
	} {
		if got := when(now, now.Add(-d)); got.Short != want || got.Machine == "" || got.Exact == "" {
			t.Errorf("%s: %+v, want %q", d, got, want)
		}
	}
	if got := when(now, time.Time{}); got != (moment{}) {
		t.Errorf("an unknown time is %+v", got)
	}
}
