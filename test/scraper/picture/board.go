package picture

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"slices"
)

// A Board is a dashboard.
type Board struct {
	Title  string
	Panels []Panel
	Links  []struct{ Title string }

	Templating struct {
		List []struct{ Label, Type string }
	}
}

// A Panel is one of a [Board], or the heading of a row. It has all fields that may
// stand there.
type Panel struct {
	ID          int
	Type        string
	Title       string
	Description string
	GridPos     struct{ H, W, X, Y int } // in cells: 24 to a row
	Datasource  any
	Collapsed   bool
	Panels      []struct{} // of a collapsed row
	FieldConfig struct {
		Defaults  Field
		Overrides []struct{}
	}
	Options         Options
	Targets         []Target
	Transformations []struct {
		ID      string
		Options struct{ ExcludeByName map[string]bool }
	}
}

// A Field says how a panel shows values.
type Field struct {
	Unit       string
	Min, Max   *float64
	Thresholds struct {
		Mode  string
		Steps []Step
	}
	Color    struct{ Mode string }
	Mappings []struct {
		Type    string
		Options map[string]struct {
			Text  string
			Index int
		}
	}
	Custom struct {
		DrawStyle       string
		FillOpacity     float64 // in percent
		Stacking        struct{ Mode, Group string }
		ThresholdsStyle struct{ Mode string }
	}
}

// A Step is a threshold: the color of values from there on, or of all.
type Step struct {
	Color string
	Value *float64
}

// Options are those of all types of panels.
type Options struct {
	ColorMode, GraphMode, JustifyMode, TextMode string

	ReduceOptions struct {
		Calcs  []string
		Fields string
		Values bool
	}
	ShowHeader, MergeValues bool
	ShowValue               string
	Legend                  struct {
		DisplayMode, Placement string
		ShowLegend             bool
	}
	Tooltip struct{ Mode, Sort string }
}

// A Target is a query of a panel.
type Target struct {
	RefID, EditorMode, Expr, LegendFormat, Format string

	Datasource     any
	Instant, Range bool
}

// Read reads a dashboard, and fails where it has something that can't be drawn.
func Read(path string) (*Board, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return parse(text)
}

func parse(text []byte) (*Board, error) {
	var raw struct {
		Board
		Panels []json.RawMessage
	}
	if err := json.Unmarshal(text, &raw); err != nil {
		return nil, err
	}
	b := raw.Board
	for i, panel := range raw.Panels {
		var p Panel
		dec := json.NewDecoder(bytes.NewReader(panel))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&p); err != nil {
			return nil, fmt.Errorf("panel %d can't be drawn: %w", i, err)
		}
		if err := p.known(); err != nil {
			return nil, fmt.Errorf("panel %q can't be drawn: %w", p.Title, err)
		}
		b.Panels = append(b.Panels, p)
	}
	return &b, nil
}

// known fails where a field has a value that is not drawn as Grafana does.
func (p *Panel) known() error {
	f, o := p.FieldConfig.Defaults, p.Options
	type choice struct {
		what, is string
		known    []string // besides none
	}
	all := []choice{
		{"type", p.Type, []string{"row", "stat", "table", "timeseries", "state-timeline"}},
		{"unit", f.Unit, []string{"short", "s", "bytes", "reqps"}},
		{"threshold mode", f.Thresholds.Mode, []string{"absolute"}},
		{"color mode", f.Color.Mode, []string{"thresholds"}},
		{"draw style", f.Custom.DrawStyle, []string{"bars"}},
		{"stacking", f.Custom.Stacking.Mode, []string{"normal"}},
		{"thresholds style", f.Custom.ThresholdsStyle.Mode, []string{"line"}},
		{"color mode of a stat", o.ColorMode, []string{"value"}},
		{"graph mode", o.GraphMode, []string{"none"}},
		{"text mode", o.TextMode, []string{"auto"}},
		{"values shown", o.ShowValue, []string{"never"}},
		{"legend", o.Legend.DisplayMode, []string{"list"}},
		{"place of the legend", o.Legend.Placement, []string{"bottom"}},
	}
	for _, c := range o.ReduceOptions.Calcs {
		all = append(all, choice{"calculation", c, []string{"lastNotNull"}})
	}
	for _, m := range f.Mappings {
		all = append(all, choice{"mapping", m.Type, []string{"value"}})
	}
	for _, s := range f.Thresholds.Steps {
		all = append(all, choice{"color", s.Color, []string{"green", "orange", "red"}})
	}
	for _, t := range p.Transformations {
		all = append(all, choice{"transformation", t.ID, []string{"organize"}})
	}
	for _, c := range all {
		if c.is != "" && !slices.Contains(c.known, c.is) {
			return fmt.Errorf("the %s %q is not known here: teach test/scraper/picture", c.what, c.is)
		}
	}
	if p.Type == "stat" && len(p.Targets) != 1 || p.Type == "table" && len(p.Targets) != 1 {
		return fmt.Errorf("a %s of %d queries", p.Type, len(p.Targets))
	}
	return nil
}
