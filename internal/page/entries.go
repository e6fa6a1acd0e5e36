package page

import (
	"strconv"

	g "maragu.dev/gomponents"
	h "maragu.dev/gomponents/html"
)

func entries(m *model) g.Node {
	return section("entries", "Entries", filter(m), entryList(m))
}

func filter(m *model) g.Node {
	q, e := m.Query, m.Entries
	return h.Form(
		h.Method("get"), h.Action("#entries"), h.Role("search"),
		h.Label(h.For("q"), g.Text("Filter")), g.Text(" "),
		h.Input(
			h.ID("q"), h.Name("q"), h.Type("search"), h.Value(q.Text), h.MaxLength(strconv.Itoa(maxQuery)),
			h.Placeholder("ARN, username, group, source"), h.AutoComplete("off"), g.Attr("spellcheck", "false"),
		),
		g.If(q.Of != ofAll, h.Input(h.Type("hidden"), h.Name("of"), h.Value(q.Of))), g.Text(" "),
		h.Button(g.Text("Show")),
		h.Ul(
			h.Class("whose"), h.Aria("label", "Whose entries"),
			whose("All", e.All, m.Links.All, q.Of == ofAll),
			whose("Ours", e.Ours, m.Links.Ours, q.Of == ofUs),
			whose("Others’", e.All-e.Ours, m.Links.Others, q.Of == ofOthers),
		),
	)
}

func whose(name string, n int, link string, current bool) g.Node {
	return h.Li(h.A(h.Href(link), g.If(current, h.Aria("current", "true")), g.Text(name+" "), h.B(g.Text(strconv.Itoa(n)))))
}

func entryList(m *model) g.Node {
	e := m.Entries
	switch {
	case e.All == 0:
		return empty(g.Text("aws-auth maps nobody: neither has anybody written an entry, nor does a source ask for one."))
	case len(e.Shown) == 0:
		return empty(g.Textf("None of the %d entries is asked for by this filter. ", e.All), h.A(h.Href("?#entries"), g.Text("Show all")))
	}
	return g.Group{
		h.Div(h.Class("sheet"), table(
			h.Class("entries"),
			h.Caption(g.Text(shownOf(m)+" Ours have the sources that ask for them; others’ are never changed.")),
			columns(column("Kind"), column("ARN"), column("Username and groups"), column("From")),
			rows(g.Map(e.Shown, m.entry)),
		)),
		g.If(e.Pages > 1, turn(e)),
	}
}

// shownOf says which of the entries the table has.
func shownOf(m *model) string {
	e, with := m.Entries, ""
	if len(e.Shown) == e.All {
		return "All of aws-auth, by kind and ARN."
	}
	if m.Query.Text != "" {
		with = " with “" + m.Query.Text + "”"
	}
	return strconv.Itoa(e.First) + "–" + strconv.Itoa(e.Last) + " of " + strconv.Itoa(e.Found) + with + ", by kind and ARN."
}

func (m *model) entry(e Entry) g.Node {
	mapped := g.Node(g.Group{username(e.Username), groups(e.Groups)})
	if e.Kind == "account" {
		mapped = span("quiet", "each its own ARN")
	}
	return row(
		g.If(!e.Ours, h.Class("others")),
		cell("Kind", h.Class("kind"), g.Text(e.Kind)),
		cell("ARN", nameOf(e.ARN), g.If(e.Dropped != "", span("error", "the authenticator ignores it: "+e.Dropped))),
		cell("Username and groups", mapped),
		cell("From", h.Class("from"), m.origin(e)),
	)
}

// origin is who asks for an entry, or wrote it.
func (m *model) origin(e Entry) g.Node {
	if !e.Ours {
		mark := "no mark"
		if e.Mark != "" {
			mark = "syncedBy " + e.Mark
		}
		return span("tag foreign", mark)
	}
	from := tags("tag ours", e.Sources)
	if len(e.Sources) == 0 {
		from = span("tag", "unknown source")
	}
	return g.Group{from, g.If(!e.Since.IsZero(), h.Span(h.Class("since"), m.when(e.Since)))}
}

// turn leads to the pages before and after.
func turn(e listing) g.Node {
	to := func(rel, link, text string) g.Node {
		if link == "" {
			return span("quiet", text)
		}
		return h.A(h.Rel(rel), h.Href(link), g.Text(text))
	}
	return h.Nav(
		h.Class("pages"), h.Aria("label", "Pages of entries"),
		to("prev", e.Prev, "← Previous"), g.Text(" "),
		h.Span(g.Textf("page %d of %d", e.Page, e.Pages)),
		to("next", e.Next, "Next →"),
	)
}
