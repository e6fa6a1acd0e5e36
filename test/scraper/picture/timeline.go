package picture

// timeline draws a bar for each series, with what the value was when. It has no
// legend: Grafana has none where a color is not by thresholds.
func (s *svg) timeline(p Panel, at box, span Span, lines []Line) {
	const names, below = 96, 20
	plot := box{at.x + names, at.y, at.w - names, at.h - below}
	s.clock(plot, span)
	row := plot.h / float64(len(lines))
	bar := min(row*0.8, 40)
	for i, l := range lines {
		y := plot.y + float64(i)*row + (row-bar)/2
		s.text(plot.x-8, y+bar/2+4, style{size: 11.5, color: primary, at: "end"}, fit(l.Name, 11.5, names-8))
		points := l.Points
		for len(points) > 0 {
			run := 1
			for run < len(points) && points[run].Value == points[0].Value && span.next(points[run-1], points[run]) {
				run++
			}
			from := span.x(plot, points[0].Time)
			to := min(span.x(plot, points[run-1].Time+span.Step.Seconds()), plot.x+plot.w)
			color := p.FieldConfig.Defaults.color(points[0].Value)
			s.add(`<rect x="%s" y="%s" width="%s" height="%s" fill="%s" fill-opacity=".7" stroke="%s"/>`, num(from), num(y), num(to-from), num(bar), color, color)
			points = points[run:]
		}
	}
}
