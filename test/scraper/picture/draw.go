package picture

import (
	"fmt"
	"strings"
	"time"
)

// Sizes in pixels, Grafana's own but for the width.
const (
	width   = 1200
	margin  = 8  // about a panel, and around all
	cell    = 38 // the height of one, with its margin
	top     = 56 // above the panels
	heading = 32 // of a panel
)

// Colors of Grafana's dark theme.
const (
	canvas    = "#111217"
	plate     = "#181b1f"
	border    = "#272a30"
	grid      = "#2a2d33"
	primary   = "#ccccdc"
	secondary = "#9a9ba7"
	blue      = "#6e9fff"
)

// shades are those of thresholds.
func shade(name string) string {
	return map[string]string{"green": "#73bf69", "orange": "#ff9830", "red": "#f2495c"}[name]
}

// palette is the color of a panel's nth line.
func palette(n int) string {
	all := []string{"#73bf69", "#f2cc0c", "#8ab8ff", "#ff780a", "#f2495c", "#5794f2", "#b877d9", "#fade2a", "#c8f2c2", "#ffa6b0"}
	return all[n%len(all)]
}

// A box is a place in the picture.
type box struct{ x, y, w, h float64 }

// An svg is a picture in the making.
type svg struct{ strings.Builder }

func (s *svg) add(format string, args ...any) { fmt.Fprintf(s, format+"\n", args...) }

// escape makes text of anything.
func escape(text string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;").Replace(text)
}

// A style is that of a text. At is where the text is by its x: "start", "middle"
// or "end".
type style struct {
	size      float64
	color, at string
	bold      bool
}

func (s *svg) text(x, y float64, st style, text string) {
	more := ""
	if st.at != "" && st.at != "start" {
		more += fmt.Sprintf(` text-anchor="%s"`, st.at)
	}
	if st.bold {
		more += ` font-weight="500"`
	}
	s.add(`<text x="%s" y="%s" font-size="%s" fill="%s"%s>%s</text>`, num(x), num(y), num(st.size), st.color, more, escape(text))
}

// num writes a coordinate.
func num(v float64) string {
	text := strings.TrimRight(strings.TrimRight(fmt.Sprintf("%.1f", v), "0"), ".")
	if text == "-0" {
		return "0"
	}
	return text
}

// wide is about how wide a text is.
func wide(text string, size float64) float64 { return float64(len([]rune(text))) * size * 0.57 }

// fit shortens a text to what has room.
func fit(text string, size, room float64) string {
	runes := []rune(text)
	if wide(text, size) <= room {
		return text
	}
	return string(runes[:max(0, min(len(runes), int(room/size/0.57)-1))]) + "…"
}

// Draw draws a dashboard with its answers.
func Draw(b *Board, span Span, answers Answers) []byte {
	rows := 0
	for _, p := range b.Panels {
		rows = max(rows, p.GridPos.Y+p.GridPos.H)
	}
	height := top + rows*cell + margin
	var s svg
	s.add(`<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" font-family="Inter, 'Helvetica Neue', Helvetica, Arial, sans-serif">`, width, height, width, height)
	s.add(`<rect width="%d" height="%d" fill="%s"/>`, width, height, canvas)
	s.header(b, span)
	for _, p := range b.Panels {
		s.panel(p, span, answers[p.ID])
	}
	s.add(`</svg>`)
	return []byte(s.String())
}

// header is what stands above the panels: the title, the variables, the links and
// the time.
func (s *svg) header(b *Board, span Span) {
	s.text(2*margin, 35, style{size: 18, color: primary, bold: true}, b.Title)
	x := 2*margin + wide(b.Title, 18) + 28
	for _, v := range b.Templating.List {
		value := "All"
		if v.Type == "datasource" {
			value = "Prometheus"
		}
		name := wide(v.Label, 12) * 1.1
		room := name + wide(value, 12)*1.1 + 32
		s.add(`<rect x="%s" y="16" width="%s" height="28" rx="2" fill="%s" stroke="%s"/>`, num(x), num(room), plate, border)
		s.text(x+10, 34.5, style{size: 12, color: secondary}, v.Label)
		s.text(x+name+20, 34.5, style{size: 12, color: primary}, value)
		x += room + 8
	}
	const day, clock = "2006-01-02 ", "15:04:05"
	when := span.From.UTC().Format(day+clock) + " to " + span.To.UTC().Format(clock) + " UTC"
	s.text(width-2*margin, 34.5, style{size: 12, color: secondary, at: "end"}, when)
	x = width - 2*margin - wide(when, 12) - 24
	for _, l := range b.Links {
		s.text(x, 34.5, style{size: 12, color: blue, at: "end"}, l.Title+" ↗")
		x -= wide(l.Title, 12) + 40
	}
}

// panel draws a panel, and says in its description what is asked for it.
func (s *svg) panel(p Panel, span Span, lines []Line) {
	const unit = float64(width-margin) / 24
	g := p.GridPos
	at := box{margin + float64(g.X)*unit, float64(top + g.Y*cell), float64(g.W)*unit - margin, float64(g.H*cell - margin)}
	if p.Type == "row" {
		s.add(`<path d="M%s %sl5 5l5-5" fill="none" stroke="%s" stroke-width="1.5"/>`, num(at.x+8), num(at.y+13), primary)
		s.text(at.x+28, at.y+20, style{size: 15, color: primary, bold: true}, p.Title)
		return
	}
	s.add(`<g><title>%s</title>`, escape(p.Description))
	for _, t := range p.Targets {
		s.add(`<desc>%s</desc>`, escape(t.Expr))
	}
	s.add(`<rect x="%s" y="%s" width="%s" height="%s" rx="2" fill="%s" stroke="%s"/>`, num(at.x), num(at.y), num(at.w), num(at.h), plate, border)
	s.text(at.x+10, at.y+21, style{size: 13, color: primary, bold: true}, p.Title)
	inner := box{at.x + 10, at.y + heading, at.w - 20, at.h - heading - 8}
	drawn := 0
	for _, l := range lines {
		drawn += len(l.Points)
	}
	switch {
	case drawn == 0:
		s.text(inner.x+inner.w/2, inner.y+inner.h/2, style{size: 14, color: secondary, at: "middle"}, "No data")
	case p.Type == "stat":
		s.stat(p, inner, lines)
	case p.Type == "table":
		s.table(p, inner, lines)
	case p.Type == "timeseries":
		s.chart(p, inner, span, lines)
	case p.Type == "state-timeline":
		s.timeline(p, inner, span, lines)
	}
	s.add(`</g>`)
}

// clock writes the axis of time below a box, and the lines across it.
func (s *svg) clock(at box, span Span) {
	length := span.To.Sub(span.From)
	var step time.Duration
	for _, step = range []time.Duration{15 * time.Second, 30 * time.Second, time.Minute, 2 * time.Minute, 5 * time.Minute, 15 * time.Minute, time.Hour} {
		if float64(length/step)*70 <= at.w {
			break
		}
	}
	layout := "15:04"
	if step < time.Minute {
		layout = "15:04:05"
	}
	for t := span.From.Truncate(step).Add(step); !t.After(span.To); t = t.Add(step) {
		x := span.x(at, float64(t.UnixMilli())/1000)
		s.add(`<path d="M%s %sv%s" stroke="%s"/>`, num(x), num(at.y), num(at.h), grid)
		if x-at.x > 16 && at.x+at.w-x > 16 {
			s.text(x, at.y+at.h+15, style{size: 11, color: secondary, at: "middle"}, t.UTC().Format(layout))
		}
	}
}

// x is where a time is in a box.
func (s Span) x(at box, seconds float64) float64 {
	from := float64(s.From.UnixMilli()) / 1000
	return at.x + at.w*(seconds-from)/s.To.Sub(s.From).Seconds()
}
