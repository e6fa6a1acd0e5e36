package page

import (
	"time"

	g "maragu.dev/gomponents"
	h "maragu.dev/gomponents/html"
)

func span(class, text string) g.Node { return h.Span(h.Class(class), g.Text(text)) }

func code(text string) g.Node { return h.Code(g.Text(text)) }

// empty stands where a section has nothing to show.
func empty(text ...g.Node) g.Node { return h.P(h.Class("empty"), g.Group(text)) }

// more says what is left out.
func more(text ...g.Node) g.Node { return h.P(h.Class("more"), g.Group(text)) }

// section is a part of the page with a title. Links lead to its id.
func section(id, title string, content ...g.Node) g.Node {
	heading := id + "-h"
	return h.Section(h.ID(id), h.Aria("labelledby", heading), h.H2(h.ID(heading), g.Text(title)), g.Group(content))
}

// when says how long before the page a time was.
func (m *model) when(at time.Time) g.Node {
	w := when(m.At, at)
	if w == (moment{}) {
		return span("quiet", "unknown")
	}
	return h.Time(h.DateTime(w.Machine), h.Title(w.Exact), g.Text(w.Short))
}

func nameOf(resource string) g.Node {
	a := arn(resource)
	return h.Span(h.Class("arn"), h.Span(g.Text(a.Head)), g.Text(a.Tail))
}

func username(name string) g.Node {
	if name == "" {
		return span("quiet", "no username")
	}
	return span("username", name)
}

func groups(names []string) g.Node {
	if len(names) == 0 {
		return h.Span(h.Class("groups"), span("none", "no groups"))
	}
	return h.Span(h.Class("groups"), g.Map(names, func(name string) g.Node {
		return g.Group{h.Span(g.If(name == "system:masters", h.Class("masters")), g.Text(name)), g.Text(" ")}
	}))
}

func tags(class string, texts []string) g.Node {
	return g.Map(texts, func(text string) g.Node { return g.Group{span(class, text), g.Text(" ")} })
}

// Tables say their roles and each cell its column: on a narrow screen the
// stylesheet makes blocks of them, and a block is no table to a screen reader.

func table(content ...g.Node) g.Node { return h.Table(h.Role("table"), g.Group(content)) }

func columns(headers ...g.Node) g.Node {
	return h.THead(h.Role("rowgroup"), row(headers...))
}

func column(name string, attributes ...g.Node) g.Node {
	return h.Th(h.Scope("col"), h.Role("columnheader"), g.Group(attributes), g.Text(name))
}

func rows(rows g.Group) g.Node { return h.TBody(h.Role("rowgroup"), rows) }

func row(cells ...g.Node) g.Node { return h.Tr(h.Role("row"), g.Group(cells)) }

func rowHeader(name string) g.Node { return h.Th(h.Scope("row"), h.Role("rowheader"), g.Text(name)) }

func cell(column string, content ...g.Node) g.Node {
	return h.Td(h.Role("cell"), h.Data("label", column), g.Group(content))
}
