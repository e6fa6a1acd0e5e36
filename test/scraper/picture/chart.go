package picture

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/rolecall/rolecall/test/scraper"
)

// next reports whether no point is missing between two.
func (s Span) next(a, b scraper.Point) bool { return b.Time-a.Time < 1.5*s.Step.Seconds() }

// runs are the points of a line without a gap.
func (s Span) runs(points []scraper.Point) [][]scraper.Point {
	var all [][]scraper.Point
	begin := 0
	for i := range points {
		if i+1 == len(points) || !s.next(points[i], points[i+1]) {
			all = append(all, points[begin:i+1])
			begin = i + 1
		}
	}
	return all
}

// stack puts each line upon those before it, and returns what is below each, by
// time.
func stack(lines []Line) (stacked []Line, floors []map[float64]float64) {
	sum := map[float64]float64{}
	stacked = slices.Clone(lines)
	for i, l := range lines {
		floors = append(floors, maps.Clone(sum))
		stacked[i].Points = slices.Clone(l.Points)
		for j, p := range l.Points {
			sum[p.Time] += p.Value
			stacked[i].Points[j].Value = sum[p.Time]
		}
	}
	return stacked, floors
}

// A plot is where a chart's lines are, and their axes.
type plot struct {
	box
	span Span
	high float64 // the value at the upper edge; that at the lower one is 0
}

func (p plot) y(v float64) float64 { return p.box.y + p.h*(1-v/p.high) }

// chart draws lines, or bars, over time, with their legend.
func (s *svg) chart(p Panel, at box, span Span, lines []Line) {
	f := p.FieldConfig.Defaults
	floors := make([]map[float64]float64, len(lines)) // 0
	if f.Custom.Stacking.Mode != "" {
		lines, floors = stack(lines)
	}
	high := 0.0
	for _, l := range lines {
		for _, point := range l.Points {
			high = max(high, point.Value)
		}
	}
	if f.Max != nil {
		high = *f.Max
	}
	marks := ticks(high, f.Unit)
	legend := s.legend(p, at, lines)
	axis := 0.0
	for _, m := range marks {
		axis = max(axis, wide(text(m, f.Unit), 11)+8)
	}
	area := plot{box{at.x + axis, at.y + 4, at.w - axis, at.h - legend - 26}, span, max(high, marks[len(marks)-1])}
	for _, m := range marks {
		s.add(`<path d="M%s %sh%s" stroke="%s"/>`, num(area.x), num(area.y(m)), num(area.w), grid)
		s.text(area.x-7, area.y(m)+4, style{size: 11, color: secondary, at: "end"}, text(m, f.Unit))
	}
	s.clock(area.box, span)
	if f.Custom.ThresholdsStyle.Mode != "" {
		for _, step := range f.Thresholds.Steps {
			if step.Value != nil {
				s.add(`<path d="M%s %sh%s" stroke="%s" stroke-opacity=".8"/>`, num(area.x), num(area.y(*step.Value)), num(area.w), shade(step.Color))
			}
		}
	}
	for i, l := range lines {
		if f.Custom.DrawStyle == "bars" {
			s.bars(area, l, f.line(i, l), f.Custom.FillOpacity/100)
		} else {
			s.line(area, l, floors[i], f.line(i, l), f.Custom.FillOpacity/100)
		}
	}
}

// line is the color of a panel's nth line.
func (f Field) line(n int, l Line) string {
	if f.Color.Mode == "thresholds" && len(l.Points) > 0 {
		return f.color(l.last())
	}
	return palette(n)
}

// path is a run of points. Those on a level line between their neighbours are left
// out.
func (p plot) path(run []scraper.Point) string {
	var b strings.Builder
	for i, point := range run {
		if i > 0 && i+1 < len(run) && run[i-1].Value == point.Value && point.Value == run[i+1].Value {
			continue
		}
		if i > 0 {
			b.WriteByte('L')
		}
		b.WriteString(num(p.span.x(p.box, point.Time)) + " " + num(p.y(point.Value)))
	}
	return b.String()
}

// line draws a line, and fills what is between it and its floor. A point alone is
// a dot.
func (s *svg) line(area plot, l Line, floor map[float64]float64, color string, fill float64) {
	var path, under strings.Builder
	for _, run := range area.span.runs(l.Points) {
		if len(run) == 1 {
			s.add(`<circle cx="%s" cy="%s" r="1.5" fill="%s"/>`, num(area.span.x(area.box, run[0].Time)), num(area.y(run[0].Value)), color)
			continue
		}
		back := slices.Clone(run)
		for i := range back {
			back[i].Value = floor[back[i].Time]
		}
		slices.Reverse(back)
		d := area.path(run)
		path.WriteString("M" + d)
		under.WriteString("M" + d + "L" + area.path(back) + "Z")
	}
	if path.Len() == 0 {
		return
	}
	if fill > 0 {
		s.add(`<path d="%s" fill="%s" fill-opacity="%g"/>`, under.String(), color, fill)
	}
	s.add(`<path d="%s" fill="none" stroke="%s" stroke-width="1.5" stroke-linejoin="round"/>`, path.String(), color)
}

// bars draws a bar for each point, side by side.
func (s *svg) bars(area plot, l Line, color string, fill float64) {
	var path strings.Builder
	half := area.w * area.span.Step.Seconds() / area.span.To.Sub(area.span.From).Seconds() / 2
	for _, run := range area.span.runs(l.Points) {
		for len(run) > 0 {
			same := slices.IndexFunc(run, func(p scraper.Point) bool { return num(area.y(p.Value)) != num(area.y(run[0].Value)) })
			if same < 0 {
				same = len(run)
			}
			left := max(area.x, area.span.x(area.box, run[0].Time)-half)
			right := min(area.x+area.w, area.span.x(area.box, run[same-1].Time)+half)
			fmt.Fprintf(&path, "M%s %sV%sH%sV%s", num(left), num(area.box.y+area.h), num(area.y(run[0].Value)), num(right), num(area.box.y+area.h))
			run = run[same:]
		}
	}
	if path.Len() > 0 {
		s.add(`<path d="%s" fill="%s" fill-opacity="%g"/>`, path.String(), color, fill)
	}
}

// legend writes the names of lines below a chart, and returns how high that is.
func (s *svg) legend(p Panel, at box, lines []Line) float64 {
	if !p.Options.Legend.ShowLegend {
		return 0
	}
	const size, row, dash, gap = 11.5, 18, 18, 14
	type place struct{ x, y float64 }
	places := make([]place, len(lines))
	var x, y float64
	for i, l := range lines {
		w := wide(l.Name, size) + dash
		if x > 0 && x+w > at.w {
			x, y = 0, y+row
		}
		places[i] = place{x, y}
		x += w + gap
	}
	height := y + row
	for i, l := range lines {
		x, y := at.x+places[i].x, at.y+at.h-height+places[i].y+13
		s.add(`<path d="M%s %sh12" stroke="%s" stroke-width="3" stroke-linecap="round"/>`, num(x+1), num(y-4), p.FieldConfig.Defaults.line(i, l))
		s.text(x+dash, y, style{size: size, color: primary}, fit(l.Name, size, at.w-dash))
	}
	return height
}
