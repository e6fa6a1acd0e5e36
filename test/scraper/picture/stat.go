package picture

import (
	"maps"
	"slices"
	"strconv"
)

// steps are the thresholds of a field: its own or Grafana's.
func (f Field) steps() []Step {
	if len(f.Thresholds.Steps) > 0 {
		return f.Thresholds.Steps
	}
	high := 80.0
	return []Step{{"green", nil}, {"red", &high}}
}

// color is the color of a value by the thresholds.
func (f Field) color(v float64) (color string) {
	for _, s := range f.steps() {
		if s.Value == nil || v >= *s.Value {
			color = shade(s.Color)
		}
	}
	return color
}

// text is what is shown for a value.
func (f Field) text(v float64) string {
	for _, m := range f.Mappings {
		if to, ok := m.Options[strconv.FormatFloat(v, 'f', -1, 64)]; ok {
			return to.Text
		}
	}
	return text(v, f.Unit)
}

// last is the last value that a line has.
func (l Line) last() float64 { return l.Points[len(l.Points)-1].Value }

// stat draws the last value, large.
func (s *svg) stat(p Panel, at box, lines []Line) {
	f := p.FieldConfig.Defaults
	v := lines[0].last()
	size := min(at.h*0.6, 54)
	s.text(at.x+at.w/2, at.y+at.h/2+size*0.28, style{size: size, color: f.color(v), at: "middle", bold: true}, f.text(v))
}

// table draws a line for each series: its labels in the order of their names, and
// its value, but for what the panel leaves out.
func (s *svg) table(p Panel, at box, lines []Line) {
	hidden := map[string]bool{}
	for _, t := range p.Transformations {
		maps.Copy(hidden, t.Options.ExcludeByName)
	}
	names := map[string]bool{}
	for _, l := range lines {
		for name := range l.Labels {
			names[name] = !hidden[name]
		}
	}
	maps.DeleteFunc(names, func(_ string, shown bool) bool { return !shown })
	columns := slices.Sorted(maps.Keys(names))
	cells := [][]string{columns}
	for _, l := range lines {
		var row []string
		for _, c := range columns {
			row = append(row, l.Labels[c])
		}
		cells = append(cells, row)
	}
	if !hidden["Value"] {
		cells[0] = append(slices.Clone(cells[0]), "Value")
		for i, l := range lines {
			cells[i+1] = append(cells[i+1], p.FieldConfig.Defaults.text(l.last()))
		}
	}
	const size, height, pad = 11, 30, 6
	room := make([]float64, len(cells[0])) // as much as the longest text takes, and an equal share of the rest
	left := at.w
	for i := range room {
		for _, row := range cells {
			room[i] = max(room[i], wide(row[i], size)+pad)
		}
		left -= room[i]
	}
	for n, row := range cells {
		y := at.y + float64(n)*height
		if y+height > at.y+at.h {
			break
		}
		x := at.x
		for i, text := range row {
			st := style{size: size, color: primary}
			if n == 0 {
				st.color, st.bold = blue, true
			}
			share := room[i] + left/float64(len(room))
			s.text(x, y+20, st, fit(text, size, share))
			x += share
		}
		s.add(`<path d="M%s %sh%s" stroke="%s"/>`, num(at.x), num(y+height), num(at.w), grid)
	}
}
