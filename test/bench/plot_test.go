package main

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
)

// The plots are well-formed, name what they show, and put a value where it belongs.
func TestPlots(t *testing.T) {
	r := &report{Parts: map[string]partRun{}}
	for _, n := range []int{3, 50, 5000} {
		r.Figures = append(r.Figures, figureOf("requests", "all agents together, steady", "requests/s", []float64{5}).at(n, asProcesses).against(float64(n)/3.2, usualElector))
	}
	for _, who := range []string{"", usualElector + ": "} {
		f := figureOf("takeover", who+"leader ends (SIGTERM)", "s", []float64{.2, .4})
		f.Values = []float64{.4, .2}
		r.Figures = append(r.Figures, f)
	}
	for name, text := range map[string]string{"requests": r.requestsPlot(), "takeover": r.takeoverPlot()} {
		d := xml.NewDecoder(strings.NewReader(text))
		lines := 0
		for {
			token, err := d.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if e, ok := token.(xml.StartElement); ok && e.Name.Local == "polyline" {
				lines++
			}
		}
		if lines != 2 || !strings.Contains(text, "the usual elector") {
			t.Errorf("%s has %d lines", name, lines)
		}
	}
	a := axis{from: 1, to: 100, start: 0, end: 200, log: true}
	if got := a.at(10); got < 99.9 || got > 100.1 {
		t.Errorf("10 lies at %v of 1 to 100, want halfway", got)
	}
}
