package page

import (
	g "maragu.dev/gomponents"
	h "maragu.dev/gomponents/html"
)

func sources(m *model) g.Node {
	if len(m.Sources) == 0 {
		return section("sources", "Sources", noSources(m))
	}
	return section("sources", "Sources",
		h.Div(h.Class("sheet"), table(
			h.Class("sources"),
			h.Caption(g.Text("What asks for entries. A source that fails removes nothing: its entries stay as they are.")),
			columns(column("Source"), column("Asks for", h.Class("num")), column("Answered"), column("State")),
			rows(g.Map(m.Sources, m.source)),
		)),
		noRoom(m.More, "more source", "more sources"))
}

func noSources(m *model) g.Node {
	if m.Cluster != nil {
		return empty(g.Text("No source is known: the config asks for nothing."))
	}
	return empty(g.Text("No source is known here yet: the leader says after its first pass how they do."))
}

// noRoom says how many more there are of what the leader puts on its Lease.
func noRoom(n int, one, many string) g.Node {
	return g.If(n != 0, more(g.Text(count(n, one, many)+" for which the Lease has no room: the leader’s page has them all.")))
}

func (m *model) source(s Source) g.Node {
	asksFor := g.Text(count(s.Entries, "entry", "entries"))
	if s.Trouble != "" {
		asksFor = span("quiet", "unknown")
	}
	answered := span("quiet", "not in this term")
	if !s.Success.IsZero() {
		answered = m.when(s.Success)
	}
	return row(
		rowHeader(s.Name),
		h.Td(h.Role("cell"), h.Class("num"), h.Data("label", "Asks for"), asksFor),
		cell("Answered", answered),
		cell("State", m.sourceState(s)),
	)
}

func (m *model) sourceState(s Source) g.Node {
	switch {
	case s.Trouble != "":
		return g.Group{span("tag bad", "fails"), g.Text(" began "), m.when(s.Since), span("error", s.Trouble)}
	case s.Success.IsZero():
		return span("tag", "not asked yet")
	}
	return span("tag good", "good")
}

func held(m *model, c *Cluster) g.Node {
	if len(c.Held) == 0 {
		return section("held", "Held back", empty(
			g.Text("Nothing waits. Removals wait here when they look like an accident: more than "), code("safety.removalLimit"),
			g.Text(" of one source at once, or the last of "), code("system:masters"), g.Text(".")))
	}
	return section("held", "Held back", g.Map(c.Held, m.hold))
}

func (m *model) hold(hold Hold) g.Node {
	shown := hold.Changes[:min(len(hold.Changes), maxHeld)]
	left := len(hold.Changes) - len(shown)
	return h.Div(
		h.Class("sheet hold"),
		table(
			h.Caption(
				h.Strong(g.Text(hold.Why+".")),
				g.Text(" "+count(len(hold.Changes), "entry stays", "entries stay")+" as before until a person lets it go on; held back "), m.when(hold.Since),
				g.Text(". Look at it, then: "), h.Code(h.Class("command"), g.Text(hold.Command)),
			),
			columns(column("Would"), column("ARN"), column("Username")),
			rows(g.Map(shown, change)),
		),
		g.If(left > 0, more(g.Text("and "+count(left, "more", "more")+": "), code("rolecall approve"), g.Text(" shows all."))),
	)
}

func change(c Change) g.Node {
	return row(cell("Would", span("tag warn", c.Op)), cell("ARN", nameOf(c.ARN)), cell("Username", username(c.Username)))
}

func conflicts(m *model) g.Node {
	if len(m.Conflicts) == 0 {
		return section("conflicts", "Conflicts", empty(g.Text("No entry of others stands in the way of what the config asks for.")))
	}
	return section("conflicts", "Conflicts",
		h.Div(h.Class("sheet"), table(
			h.Caption(
				g.Text("Entries of others that have an ARN of ours and grant less, or another username. They are kept: remove them or change them. With "),
				code("safety.onConflict: adopt"), g.Text(" they become ours where they have no group that the config lacks."),
			),
			columns(column("ARN"), column("Mapped to"), column("The config asks for")),
			rows(g.Map(m.Conflicts, m.conflict)),
		)),
		noRoom(m.MoreConflicts, "more conflict", "more conflicts"))
}

// conflict has no groups where they are not known: those of the Lease.
func (m *model) conflict(c Conflict) g.Node {
	known := m.Cluster != nil
	return row(
		cell("ARN", nameOf(c.ARN), g.If(len(c.Sources) > 0, h.Span(h.Class("from"), tags("tag", c.Sources)))),
		cell("Mapped to", username(c.Has), g.If(known, groups(c.HasGroups))),
		cell("The config asks for", username(c.Want), g.If(known, groups(c.WantGroups))),
	)
}

func writes(m *model, c *Cluster) g.Node {
	if len(m.Writes) == 0 {
		return section("writes", "Last writes", empty(
			g.Text("Nobody has written aws-auth since this leader’s term began, "), m.when(c.Began), g.Text(". A steady cluster sees no writes; "),
			code("rolecall history"), g.Text(" shows earlier ones.")))
	}
	return section("writes", "Last writes",
		h.P(
			h.Class("lead"),
			g.Text("What changed in aws-auth since this leader’s term began, "), m.when(c.Began),
			g.Textf(": the last %d at most, the newest first. ", c.Kept), code("rolecall history"), g.Text(" goes further back."),
		),
		g.Map(m.Writes, m.write))
}

func (m *model) write(w shownWrite) g.Node {
	who, why := w.Who, w.Why
	if why == "" && who != "" {
		why = "written by somebody else"
	}
	if who == "" {
		who = "rolecall"
	}
	diffs := g.Node(g.Map(w.Diffs, diff))
	if len(w.Diffs) == 0 {
		diffs = empty(g.Text("Nothing that the authenticator reads has changed."))
	}
	return h.Details(
		g.If(w.Open, g.Attr("open")),
		h.Summary(span("who", who), g.Text(" "), m.when(w.At), g.Text(" "), span("why", why)),
		diffs,
	)
}

func diff(d shownDiff) g.Node {
	return h.Figure(
		h.Class("diff"),
		h.FigCaption(g.Text(d.Key)),
		h.Pre(h.TabIndex("0"), h.Aria("label", "difference of "+d.Key), h.Code(g.Map(d.Lines, line))),
		g.If(d.Left != 0, more(g.Text("and "+count(d.Left, "more line", "more lines")+": "), code("rolecall history diff"), g.Text(" shows all."))),
	)
}

func line(l shownLine) g.Node {
	text := g.Text(l.Text + "\n")
	switch l.Class {
	case "add":
		return h.Ins(text)
	case "del":
		return h.Del(text)
	}
	return h.Span(h.Class(l.Class), text)
}

func roles(m *model, c *Cluster) g.Node {
	return section("roles", "Node roles", reported(m), g.If(len(c.Refused) > 0, refused(c.Refused)))
}

func reported(m *model) g.Node {
	r, text := m.Roles, m.Query.Text
	if r.All == 0 {
		return empty(g.Text("No node reports a role: "), code("nodeRoles.report"), g.Text(" is off, or no agent has got an answer from IMDS yet."))
	}
	if len(r.Shown) == 0 {
		return empty(g.Textf("None of the %d roles that nodes report has “%s” in it.", r.All, text))
	}
	left := r.Found - len(r.Shown)
	return g.Group{
		h.Div(h.Class("sheet"), table(
			h.Caption(
				g.Text("IAM roles that nodes report, one Lease for each; of all nodes of a role, the one that reported last."),
				g.If(r.Filtered, g.Textf(" Shown: %d of %d, those with “%s”.", r.Found, r.All, text)),
			),
			columns(column("Role"), column("Node"), column("Reported")),
			rows(g.Map(r.Shown, m.role)),
		)),
		g.If(left > 0, more(
			g.Textf("and %d more: filter the ", left), h.A(h.Href("#entries"), g.Text("entries")), g.Text(" to see them, or ask "),
			code("rolecall status -o wide"), g.Text("."))),
	}
}

func (m *model) role(r Role) g.Node {
	return row(cell("Role", nameOf(r.ARN)), cell("Node", g.Text(r.Node)), cell("Reported", m.when(r.At)))
}

func refused(all []Refusal) g.Node {
	shown := all[:min(len(all), maxRoles)]
	left := len(all) - len(shown)
	return g.Group{
		h.Div(h.Class("sheet"), table(
			h.Caption(g.Text("Reports that are not believed. Their roles are not mapped.")),
			columns(column("Lease"), column("Why")),
			rows(g.Map(shown, func(r Refusal) g.Node { return row(rowHeader(r.Lease), cell("Why", span("badtext", r.Why))) })),
		)),
		g.If(left > 0, more(g.Textf("and %d more.", left))),
	}
}
