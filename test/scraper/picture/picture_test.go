package picture

import (
	"bytes"
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/test/scraper"
	"github.com/rolecall/rolecall/test/trial"
)

var update = flag.Bool("update", false, "draw docs/images/dashboard.svg anew")

const (
	root      = "../../.."
	dashboard = root + "/manifests/monitoring/dashboard.json"
	shown     = root + "/docs/images/dashboard.svg"
)

// The agents have a version, as every release has.
func TestMain(m *testing.M) {
	os.Exit(trial.Main(m, "-ldflags=-X github.com/prometheus/common/version.Version=v1.2.3"))
}

// texts reads an SVG: the texts of an element, by its name.
func texts(t *testing.T, picture []byte) map[string][]string {
	t.Helper()
	all := map[string][]string{}
	dec := xml.NewDecoder(bytes.NewReader(picture))
	var inside []string
	for {
		token, err := dec.Token()
		switch {
		case errors.Is(err, io.EOF):
			return all
		case err != nil:
			t.Fatalf("the picture is no XML: %v", err)
		}
		switch token := token.(type) {
		case xml.StartElement:
			inside = append(inside, token.Name.Local)
			all[token.Name.Local] = append(all[token.Name.Local], "")
		case xml.EndElement:
			inside = inside[:len(inside)-1]
		case xml.CharData:
			if n := len(inside); n > 0 {
				of := all[inside[n-1]]
				of[len(of)-1] += string(token)
			}
		}
	}
}

// holds fails unless a picture has all panels of a dashboard, with all queries.
func holds(t *testing.T, b *Board, picture []byte) {
	t.Helper()
	found := texts(t, picture)
	for _, p := range b.Panels {
		if !slices.Contains(found["text"], p.Title) {
			t.Errorf("the %s %q is not in the picture", p.Type, p.Title)
		}
		for _, target := range p.Targets {
			if !slices.Contains(found["desc"], target.Expr) {
				t.Errorf("the picture of panel %q is not of %s", p.Title, target.Expr)
			}
		}
	}
	var queries int
	for _, p := range b.Panels {
		queries += len(p.Targets)
	}
	if n := len(found["desc"]); n != queries {
		t.Errorf("the picture is of %d queries, and the dashboard has %d", n, queries)
	}
}

// The picture in the documents is of the dashboard that is shipped, and stands on
// its own.
func TestPictureIsOfThisDashboard(t *testing.T) {
	b, err := Read(dashboard)
	if err != nil {
		t.Fatal(err)
	}
	picture, err := os.ReadFile(shown)
	if err != nil {
		t.Fatal(err)
	}
	holds(t, b, picture)
	if len(b.Panels) < 20 {
		t.Errorf("only %d panels: the test sees too little", len(b.Panels))
	}
	if kib := len(picture) >> 10; kib >= 300 {
		t.Errorf("the picture has %d KiB", kib)
	}
	for _, never := range []string{"<script", "href", "url(", "@import", "NaN", "Inf"} {
		if bytes.Contains(picture, []byte(never)) {
			t.Errorf("the picture has %q", never)
		}
	}
	if t.Failed() {
		t.Log(`"make dashboard-picture" draws it anew`)
	}
}

// What is not known is refused, rather than left out of the picture.
func TestUnknownIsRefused(t *testing.T) {
	text, err := os.ReadFile(dashboard)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ was, becomes, says string }{
		{`"type": "stat"`, `"type": "gauge"`, `type "gauge"`},
		{`"unit": "reqps"`, `"unit": "percent"`, `unit "percent"`},
		{`"color": "orange"`, `"color": "purple"`, `color "purple"`},
		{`"drawStyle": "bars"`, `"drawStyle": "points"`, `draw style "points"`},
		{`"lastNotNull"`, `"mean"`, `calculation "mean"`},
		{`"mergeValues"`, `"rowHeight"`, `unknown field "rowHeight"`},
		{`"overrides": []`, `"overrides": [{"matcher": {}}]`, `unknown field "matcher"`},
	} {
		changed := strings.Replace(string(text), c.was, c.becomes, 1)
		if changed == string(text) {
			t.Errorf("the dashboard has no %s", c.was)
		}
		if _, err := parse([]byte(changed)); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %s", c.becomes, err, c.says)
		}
	}
}

// some are answers to all queries of a dashboard, two series to each, with a gap.
func some(b *Board, span Span) Answers {
	all := Answers{}
	for _, p := range b.Panels {
		for _, target := range p.Targets {
			var series []scraper.Series
			for n, node := range []string{"node-1", `"<node&2>"`} {
				s := scraper.Series{Labels: map[string]string{"instance": node, "source": node}}
				for i := range 60 {
					if i >= 20 && i < 30 {
						continue
					}
					v := float64(i % 7 * (n + 1))
					if i == 5 {
						v = math.NaN()
					}
					s.Points = append(s.Points, scraper.Point{Time: float64(span.From.Unix()) + float64(i)*span.Step.Seconds(), Value: v})
				}
				series = append(series, s)
			}
			all[p.ID] = append(all[p.ID], lines(target, series)...)
		}
	}
	return all
}

func TestDraw(t *testing.T) {
	b, err := Read(dashboard)
	if err != nil {
		t.Fatal(err)
	}
	from := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	span := Span{from, from.Add(2 * time.Minute), 2 * time.Second}
	picture := Draw(b, span, some(b, span))
	holds(t, b, picture)
	if bytes.Contains(picture, []byte("NaN")) {
		t.Error("a value that is none is drawn")
	}
	found := texts(t, picture)["text"]
	for _, want := range []string{"rolecall", "03:05:00", `"<node&2>"`, `"<node&2>": `, "768 KiB", "2026-01-02 03:04:05 to 03:06:05 UTC"} {
		if !slices.Contains(found, want) {
			t.Errorf("the picture lacks the text %q", want)
		}
	}
	if again := Draw(b, span, some(b, span)); !bytes.Equal(picture, again) {
		t.Errorf("the same answers make another picture:\n%s", cmp.Diff(string(picture), string(again)))
	}
	nothing := texts(t, Draw(b, span, nil))["text"]
	if !slices.Contains(nothing, "No data") {
		t.Error(`where nothing is, there is no "No data"`)
	}
}

// A gap parts a line, and stacked lines lie upon each other.
func TestLines(t *testing.T) {
	span := Span{time.Unix(0, 0), time.Unix(10, 0), time.Second}
	line := func(values ...float64) Line {
		var l Line
		for i, v := range values {
			if v >= 0 {
				l.Points = append(l.Points, scraper.Point{Time: float64(i), Value: v})
			}
		}
		return l
	}
	a, b := line(1, 2, -1, 4), line(10, -1, 30, 40)
	var runs []int
	for _, run := range span.runs(a.Points) {
		runs = append(runs, len(run))
	}
	if diff := cmp.Diff([]int{2, 1}, runs); diff != "" {
		t.Errorf("points of the runs (-want +got):\n%s", diff)
	}
	stacked, floors := stack([]Line{a, b})
	if diff := cmp.Diff([]Line{line(1, 2, -1, 4), line(11, -1, 30, 44)}, stacked); diff != "" {
		t.Errorf("stacked (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]map[float64]float64{{}, {0: 1, 1: 2, 3: 4}}, floors); diff != "" {
		t.Errorf("what is below (-want +got):\n%s", diff)
	}
}

func TestText(t *testing.T) {
	for _, c := range []struct {
		v    float64
		unit string
		want string
	}{
		{0, "short", "0"},
		{1, "short", "1"},
		{1.0137, "short", "1.01"},
		{12345, "short", "12.3 K"},
		{0, "s", "0 s"},
		{0.00051, "s", "510 µs"},
		{0.25, "s", "250 ms"},
		{59, "s", "59 s"},
		{90, "s", "1.5 min"},
		{5400, "s", "1.5 hour"},
		{734003, "bytes", "717 KiB"},
		{1048576, "bytes", "1 MiB"},
		{0.2, "reqps", "0.2 req/s"},
		{1234, "short", "1.23 K"},
		{999, "short", "999"},
	} {
		if got := text(c.v, c.unit); got != c.want {
			t.Errorf("%v %s is %q, want %q", c.v, c.unit, got, c.want)
		}
	}
}

func TestTicks(t *testing.T) {
	for _, c := range []struct {
		top  float64
		unit string
		want []float64
	}{
		{0, "short", []float64{0, 0.5, 1}},
		{3, "short", []float64{0, 1, 2, 3}},
		{17, "short", []float64{0, 5, 10, 15, 20}},
		{1 << 20, "bytes", []float64{0, 1 << 18, 2 << 18, 3 << 18, 1 << 20}},
		{100, "s", []float64{0, 30, 60, 90, 120}},
	} {
		if diff := cmp.Diff(c.want, ticks(c.top, c.unit)); diff != "" {
			t.Errorf("ticks to %v %s (-want +got):\n%s", c.top, c.unit, diff)
		}
	}
}
