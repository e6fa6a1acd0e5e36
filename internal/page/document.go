package page

import (
	"strconv"

	g "maragu.dev/gomponents"
	h "maragu.dev/gomponents/html"
)

// document is the page. Texts and values of attributes are escaped as they are
// written; what leads anywhere is made by query.link.
func document(m *model, style string) g.Node {
	return h.Doctype(h.HTML(
		h.Lang("en"),
		head(m, style),
		h.Body(
			h.A(h.Class("skip"), h.Href("#main"), g.Text("Skip to the content")),
			top(m),
			h.Main(h.ID("main"), h.Class("inner"), verdict(m), facts(m), sections(m)),
			foot(m),
		),
	))
}

func head(m *model, style string) g.Node {
	title := "rolecall · " + m.Node
	if n := len(m.Problems); n > 0 {
		title = "(" + strconv.Itoa(n) + ") " + title
	}
	return h.Head(
		h.Meta(h.Charset("utf-8")),
		h.Meta(h.Name("viewport"), h.Content("width=device-width, initial-scale=1")),
		h.Meta(h.Name("color-scheme"), h.Content("light dark")),
		h.TitleEl(g.Text(title)),
		// An empty icon within the page: without it, browsers ask for /favicon.ico.
		h.Link(h.Rel("icon"), h.Href("data:,")),
		h.StyleEl(g.Raw(style)), //nolint:forbidigo // ours, and the very text that the policy has the hash of
	)
}

func top(m *model) g.Node {
	mode := "mode"
	if m.Mode == Leads {
		mode = "mode leads"
	}
	return h.Header(h.Class("top"), h.Div(
		h.Class("inner"),
		h.P(h.Class("name"), g.Text("rolecall")),
		h.P(h.Class("where"), span("node", m.Node), g.Text(" "), span(mode, string(m.Mode))),
		h.P(h.Class("asof"), g.Text("as of "), h.Time(h.DateTime(stamp(m.At)), g.Text(clock(m.At)))),
	))
}

// verdict is what a reader who looks for a second should know.
func verdict(m *model) g.Node {
	class, title := "unsure", "Nothing is known of the leader’s work yet"
	switch n := len(m.Problems); {
	case n == 1:
		class, title = "bad", "One thing needs attention"
	case n > 1:
		class, title = "bad", strconv.Itoa(n)+" things need attention"
	case m.Pass != nil:
		class, title = "good", "All is well"
	case m.Mode == Reports:
		title = "This agent only reports its node"
	}
	item := func(text string) g.Node { return h.Li(g.Text(text)) }
	return h.Section(
		h.Class("verdict "+class), h.Aria("labelledby", "verdict"),
		h.H1(h.ID("verdict"), g.Text(title)),
		g.If(len(m.Problems) > 0, h.Ul(g.Map(m.Problems, item))),
		g.If(len(m.Notes) > 0, h.Ul(h.Class("notes"), g.Map(m.Notes, item))),
	)
}

// sections are those that the agent can tell of: none where it only reports, and
// not all where it does not lead.
func sections(m *model) g.Node {
	if m.Election == nil {
		return nil
	}
	c := m.Cluster
	if c == nil {
		return g.Group{elsewhere(m), contents(m), sources(m), conflicts(m)}
	}
	return g.Group{contents(m), sources(m), held(m, c), conflicts(m), writes(m, c), roles(m, c), entries(m)}
}

// elsewhere says where the sections are that this agent cannot tell of.
func elsewhere(m *model) g.Node {
	if m.Mode == Leads {
		return aside("The first pass is under way",
			h.P(g.Text("Entries, removals that wait, node roles and writes are shown after it. Reload the page in a moment.")))
	}
	return aside("The rest is on the leader’s page",
		h.P(g.Text("A standby holds no watch and no cache, so that it costs the API server nothing. What stands here of the leader was on its Lease when this agent looked last. Entries, removals that wait, node roles and writes are known to the leader alone.")),
		wayToLeader(m.Election.Command))
}

func aside(title string, text ...g.Node) g.Node {
	return h.Section(h.Class("aside"), h.Aria("labelledby", "leader"), h.H2(h.ID("leader"), g.Text(title)), g.Group(text))
}

func wayToLeader(command string) g.Node {
	if command == "" {
		return h.P(g.Text("Nobody is known to lead whose node has a name that fits into a command."))
	}
	return g.Group{
		h.P(g.Text("Its page, in another terminal; stop this port-forward first or choose another first port:")),
		h.Pre(h.Class("command"), h.TabIndex("0"), h.Aria("label", "command that leads to the leader’s page"), code(command)),
	}
}

// contents lead to the sections, and say where there is something to do.
func contents(m *model) g.Node {
	item := func(id, name string, n int) g.Node {
		return h.Li(h.A(h.Href("#"+id), g.Text(name), g.If(n > 0, g.Group{g.Text(" "), h.B(g.Text(strconv.Itoa(n)))})))
	}
	list := g.Group{item("sources", "Sources", 0)}
	if m.Cluster != nil {
		list = append(list, item("held", "Held back", len(m.Cluster.Held)))
	}
	inTheWay := len(m.Conflicts)
	if inTheWay > 0 {
		inTheWay += m.MoreConflicts
	}
	list = append(list, item("conflicts", "Conflicts", inTheWay))
	if m.Cluster != nil {
		list = append(list, item("writes", "Writes", 0), item("roles", "Node roles", 0), item("entries", "Entries", 0))
	}
	return h.Nav(h.Aria("label", "Sections"), h.Ul(list))
}

func foot(m *model) g.Node {
	return h.Footer(h.Class("inner"), h.P(g.Textf(
		"rolecall %s, namespace %s. This page only shows, and does not renew itself: reload it for what is so now.", m.Version, m.Namespace)))
}
