package main

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// The plots are SVG of a hundred lines and no library: two axes, a few lines and
// words, legible on light and dark pages, and the same bytes for the same figures.

const (
	plotWidth, plotHeight = 720, 400
	plotLeft, plotRight   = 70, 20
	plotTop, plotBottom   = 44, 52
)

// An axis maps values to pixels.
type axis struct {
	from, to   float64 // values
	start, end float64 // pixels
	log        bool
}

func (a axis) at(v float64) float64 {
	f, t := a.from, a.to
	if a.log {
		v, f, t = math.Log10(v), math.Log10(f), math.Log10(t)
	}
	return a.start + (v-f)/(t-f)*(a.end-a.start)
}

// A line is one series of a plot.
type line struct {
	name   string
	color  string
	dashed bool
	xs, ys []float64
	dots   bool
}

type plot struct {
	title, xName, yName string
	x, y                axis
	xTicks, yTicks      []float64
	lines               []line
	marks               []mark
}

// A mark is a limit on the x axis.
type mark struct {
	at   float64
	text string
}

const (
	ourColor   = "#1a7f64"
	rivalColor = "#c2502e"
)

func (p *plot) svg() string {
	p.x.start, p.x.end = plotLeft, plotWidth-plotRight
	p.y.start, p.y.end = plotHeight-plotBottom, plotTop
	var s strings.Builder
	fmt.Fprintf(&s, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" aria-label="%s">
<style>
text{font:13px system-ui,sans-serif;fill:#24292f}
.grid{stroke:#d0d7de;stroke-width:1}
.title{font-size:15px;font-weight:600}
@media(prefers-color-scheme:dark){text{fill:#d7dde3}.grid{stroke:#3d444d}}
</style>
<text class="title" x="%d" y="22">%s</text>
`, plotWidth, plotHeight, plotWidth, plotHeight, p.title, plotLeft, p.title)
	for _, v := range p.xTicks {
		x := p.x.at(v)
		fmt.Fprintf(&s, "<line class=\"grid\" x1=\"%.1f\" y1=\"%d\" x2=\"%.1f\" y2=\"%d\"/><text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%s</text>\n",
			x, plotTop, x, plotHeight-plotBottom, x, plotHeight-plotBottom+18, number(v))
	}
	for _, v := range p.yTicks {
		y := p.y.at(v)
		fmt.Fprintf(&s, "<line class=\"grid\" x1=\"%d\" y1=\"%.1f\" x2=\"%d\" y2=\"%.1f\"/><text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%s</text>\n",
			plotLeft, y, plotWidth-plotRight, y, plotLeft-8, y+4, number(v))
	}
	fmt.Fprintf(&s, "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">%s</text>\n", (plotLeft+plotWidth-plotRight)/2, plotHeight-12, p.xName)
	fmt.Fprintf(&s, "<text transform=\"translate(18 %d) rotate(-90)\" text-anchor=\"middle\">%s</text>\n", (plotTop+plotHeight-plotBottom)/2, p.yName)
	for _, m := range p.marks {
		x := p.x.at(m.at)
		fmt.Fprintf(&s, "<line x1=\"%.1f\" y1=\"%d\" x2=\"%.1f\" y2=\"%d\" stroke=\"#8c959f\" stroke-dasharray=\"3 3\"/><text x=\"%.1f\" y=\"%d\" text-anchor=\"end\">%s</text>\n",
			x, plotTop, x, plotHeight-plotBottom, x-4, plotHeight-plotBottom-8, m.text)
	}
	for i, l := range p.lines {
		p.draw(&s, l)
		y := plotTop + 16 + 19*i
		fmt.Fprintf(&s, "<line x1=\"%d\" y1=\"%d\" x2=\"%d\" y2=\"%d\" stroke=\"%s\" stroke-width=\"2.5\"%s/><text x=\"%d\" y=\"%d\">%s</text>\n",
			plotLeft+14, y-4, plotLeft+40, y-4, l.color, dash(l), plotLeft+48, y, l.name)
	}
	s.WriteString("</svg>\n")
	return s.String()
}

func dash(l line) string {
	if l.dashed {
		return ` stroke-dasharray="6 4"`
	}
	return ""
}

func (p *plot) draw(s *strings.Builder, l line) {
	var points []string
	for i := range l.xs {
		points = append(points, fmt.Sprintf("%.1f,%.1f", p.x.at(l.xs[i]), p.y.at(l.ys[i])))
	}
	fmt.Fprintf(s, "<polyline fill=\"none\" stroke=\"%s\" stroke-width=\"2.5\"%s points=\"%s\"/>\n", l.color, dash(l), strings.Join(points, " "))
	if !l.dots {
		return
	}
	for i := range l.xs {
		fmt.Fprintf(s, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"4\" fill=\"%s\"><title>%s: %s</title></circle>\n", p.x.at(l.xs[i]), p.y.at(l.ys[i]), l.color, number(l.xs[i]), number(l.ys[i]))
	}
}

// requestsPlot shows what standing by costs at every size; empty where nothing was
// measured.
func (r *report) requestsPlot() string {
	ours := line{name: "rolecall", color: ourColor, dots: true}
	rival := line{name: "the usual elector of client-go", color: rivalColor, dots: true}
	for _, f := range r.Figures {
		if f.Part != "requests" || f.Unit != "requests/s" || len(ours.xs) > 0 && ours.xs[len(ours.xs)-1] == float64(f.Agents) {
			continue
		}
		if f.Agents == 50 && f.How == inOneProcess { // real ones are shown
			continue
		}
		ours.xs, ours.ys = append(ours.xs, float64(f.Agents)), append(ours.ys, f.Median)
		if f.Rival > 0 {
			rival.xs, rival.ys = append(rival.xs, float64(f.Agents)), append(rival.ys, f.Rival)
		}
	}
	if len(ours.xs) < 2 || len(rival.xs) < 2 {
		return ""
	}
	p := plot{
		title: "Requests to the API server, all agents together", xName: "agents", yName: "requests a second",
		x: axis{from: 2, to: 7000, log: true}, y: axis{from: 0.5, to: 4000, log: true},
		xTicks: []float64{3, 10, 50, 200, 500, 2000, 5000}, yTicks: []float64{1, 5, 10, 50, 100, 500, 1000},
		lines: []line{ours, rival},
	}
	return p.svg()
}

// takeoverPlot shows which part of the takeovers was over after how long.
func (r *report) takeoverPlot() string {
	p := plot{
		title: "Until another agent leads: the part of takeovers that was over", xName: "seconds after the signal, logarithmic", yName: "part of all, %",
		x: axis{from: 0.02, to: 40, log: true}, y: axis{from: 0, to: 100},
		xTicks: []float64{0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 25}, yTicks: []float64{0, 25, 50, 75, 95},
		marks: []mark{},
	}
	add := func(name, figure, color string, dashed bool) {
		var all []float64
		for _, f := range r.Figures {
			if f.Part == "takeover" && f.Name == figure {
				all = append(all, f.Values...)
			}
		}
		if len(all) == 0 {
			return
		}
		slices.Sort(all)
		l := line{name: fmt.Sprintf("%s (%d)", name, len(all)), color: color, dashed: dashed}
		for i, v := range all {
			v = min(max(v, p.x.from), p.x.to)
			l.xs = append(l.xs, v, v)
			l.ys = append(l.ys, 100*float64(i)/float64(len(all)), 100*float64(i+1)/float64(len(all)))
		}
		p.lines = append(p.lines, l)
	}
	const ended, killed = "leader ends (SIGTERM)", "leader is killed (SIGKILL)"
	add("rolecall, SIGTERM", ended, ourColor, false)
	add("the usual elector, SIGTERM", usualElector+": "+ended, rivalColor, false)
	add("rolecall, SIGKILL", killed, ourColor, true)
	add("the usual elector, SIGKILL", usualElector+": "+killed, rivalColor, true)
	if len(p.lines) < 2 {
		return ""
	}
	return p.svg()
}
