package page

import (
	"reflect"
	"strings"

	"github.com/rolecall/rolecall/internal/visible"
)

// model is what the markup is made of: everything in it is on one line and
// prints.
type model struct {
	View
	Query   query
	Entries listing
	Roles   roleListing
	Writes  []shownWrite
	Links   struct{ All, Ours, Others string }
}

// shownWrite is a write as it is drawn.
type shownWrite struct {
	Write
	Open  bool
	Diffs []shownDiff
}

type shownDiff struct {
	Diff
	Lines []shownLine
}

// shownLine is a line of a diff and what it is: add, del, at or same.
type shownLine struct{ Class, Text string }

// newModel picks what is shown of a view.
func newModel(v View, q query) *model {
	m := &model{View: v, Query: q}
	m.Links.All, m.Links.Ours, m.Links.Others = q.link(ofAll, 1), q.link(ofUs, 1), q.link(ofOthers, 1)
	if v.Cluster != nil {
		c := *v.Cluster
		m.Entries, m.Roles = q.list(c.Entries), q.listRoles(c.Roles)
		for i := range c.Writes {
			m.Writes = append(m.Writes, showWrite(&c.Writes[i], i == 0))
		}
		c.Entries, c.Roles, c.Writes = nil, nil, nil // shown in parts
		m.Cluster = &c
	}
	cleaned, ok := clean(reflect.ValueOf(*m)).Interface().(model)
	if !ok { // a copy of a model is one
		return &model{}
	}
	return &cleaned
}

func showWrite(w *Write, open bool) shownWrite {
	s := shownWrite{Write: *w, Open: open}
	s.Write.Diffs = nil
	for _, d := range w.Diffs {
		shown := shownDiff{Diff: d}
		shown.Diff.Lines = nil
		for _, line := range d.Lines {
			class := "same"
			switch {
			case strings.HasPrefix(line, "@@"):
				class = "at"
			case strings.HasPrefix(line, "+"):
				class = "add"
			case strings.HasPrefix(line, "-"):
				class = "del"
			}
			shown.Lines = append(shown.Lines, shownLine{class, line})
		}
		s.Diffs = append(s.Diffs, shown)
	}
	return s
}

// clean returns a copy in which every text goes through package visible and is
// cut. That it walks over all fields is what makes it sure: nobody can forget
// one.
func clean(v reflect.Value) reflect.Value {
	out := reflect.New(v.Type()).Elem()
	switch v.Kind() {
	case reflect.String:
		out.SetString(visible.Cut(visible.Text(v.String()), maxText))
	case reflect.Pointer:
		if !v.IsNil() {
			out.Set(reflect.New(v.Type().Elem()))
			out.Elem().Set(clean(v.Elem()))
		}
	case reflect.Slice:
		if !v.IsNil() {
			out.Set(reflect.MakeSlice(v.Type(), v.Len(), v.Len()))
		}
		for i := range v.Len() {
			out.Index(i).Set(clean(v.Index(i)))
		}
	case reflect.Struct:
		out.Set(v)
		if v.Type().PkgPath() == reflect.TypeFor[model]().PkgPath() || v.Type().Name() == "" { // not a time
			for i := range v.NumField() {
				out.Field(i).Set(clean(v.Field(i)))
			}
		}
	default:
		out.Set(v)
	}
	return out
}
