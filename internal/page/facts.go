package page

import (
	"strconv"

	g "maragu.dev/gomponents"
	h "maragu.dev/gomponents/html"
)

// warnAt is where the meter of aws-auth's size changes its colour, in percent.
const warnAt = 70

// facts are what there is one of.
func facts(m *model) g.Node {
	var list g.Group
	if m.Election != nil {
		list = append(list, leader(m, m.Election), agents(m.Election))
	}
	if m.Pass != nil {
		list = append(list, lastPass(m, m.Pass))
	}
	if m.Cluster != nil {
		list = append(list, awsAuth(m, m.Cluster))
	}
	if m.Config != nil {
		list = append(list, config(m, m.Config))
	}
	return h.Dl(h.Class("facts"), list, nodeRole(m))
}

// fact is one of them, with what there is to say of it in small letters.
func fact(name string, value g.Node, small ...g.Node) g.Node {
	return h.Div(h.Dt(g.Text(name)), h.Dd(value, g.Text(" "), h.Small(small...)))
}

func leader(m *model, e *Election) g.Node {
	name := g.Text("nobody")
	if e.Leader != "" {
		name = g.Group{h.Strong(g.Text(e.Leader)), g.If(m.Cluster != nil, g.Text(" (this agent)"))}
	}
	switch {
	case e.Trouble != "":
		return fact("Leader", name, span("badtext", e.Trouble))
	case e.Seen.IsZero():
		return fact("Leader", name, g.Text("the Lease has not been read yet"))
	}
	return fact("Leader", name,
		g.If(e.Leader != "", g.Group{g.Text("first seen leading "), m.when(e.Since), g.Text(", ")}),
		g.Text("looked "), m.when(e.Seen))
}

func agents(e *Election) g.Node {
	counted := "nobody has counted yet"
	if e.Agents != 0 {
		counted = "of " + count(e.Agents, "agent", "agents") + ", as far as this agent knows"
	}
	return fact("Standbys", g.Text(standbys(e.Agents)), g.Text(counted))
}

func lastPass(m *model, p *Pass) g.Node {
	return fact("Last pass", g.Text(p.Result),
		m.when(p.At), g.If(p.Trouble != "", g.Group{g.Text(": "), span("badtext", p.Trouble)}))
}

func awsAuth(m *model, c *Cluster) g.Node {
	ours := m.Entries.Ours
	return fact(c.AWSAuth, g.Text(count(m.Entries.All, "entry", "entries")),
		g.Textf("%d ours, %d of others; ", ours, m.Entries.All-ours),
		h.Meter(
			h.Min("0"), h.Max(strconv.Itoa(c.Limit)), g.Attr("high", strconv.Itoa(c.Limit/100*warnAt)), h.Value(strconv.Itoa(c.Bytes)),
			h.Aria("label", "room taken"),
		),
		g.Text(" "+percent(c.Bytes, c.Limit)+" of "+size(c.Limit)))
}

func config(m *model, c *Config) g.Node {
	inForce := g.Text("none in force")
	if c.Hash != "" {
		inForce = code(short(c.Hash))
	}
	return fact("Config", inForce,
		configState(m, c), g.If(c.SubPath, g.Group{g.Text(" "), span("badtext", "It is mounted with subPath, so edits never arrive.")}))
}

func configState(m *model, c *Config) g.Node {
	switch {
	case c.Trouble != "":
		return h.Span(
			h.Class("badtext"),
			g.Text("an edit is refused, first "), m.when(c.Refused), g.If(c.Hash != "", g.Text("; the last good one is in force")), g.Text(": "+c.Trouble),
		)
	case c.Hash != "":
		return g.Group{g.Text("came into force "), m.when(c.Since)}
	}
	return g.Text("it has not been read yet")
}

func nodeRole(m *model) g.Node {
	role, source := g.Text("not known"), g.Text("IMDS has not answered yet")
	if m.NodeRole != "" {
		role, source = nameOf(m.NodeRole), g.Text("as IMDS says")
	}
	if m.NodeWhy != "" {
		source = span("badtext", m.NodeWhy)
	}
	return fact("This node’s role", role, source)
}
