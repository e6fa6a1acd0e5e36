package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestQuantiles(t *testing.T) {
	f := figureOf("p", "n", "s", []float64{5, 1, 4, 2, 3})
	if f.Min != 1 || f.Median != 3 || f.P95 != 5 || f.P99 != 5 || f.Samples != 5 {
		t.Errorf("got %+v", f)
	}
	var many []float64
	for i := range 200 {
		many = append(many, float64(200-i))
	}
	if f := figureOf("p", "n", "s", many); f.Median != 100 || f.P95 != 190 || f.P99 != 198 || f.Max != 200 {
		t.Errorf("of 1 to 200 got %+v", f)
	}
}

// A part that is measured anew replaces its figures and no others, and what missed
// its target says so.
func TestTable(t *testing.T) {
	share := 0.046
	r := &report{Parts: map[string]partRun{"iam": {LoadAfter: "1.20", Stolen: &share}, "document": {LoadAfter: "0.10"}}}
	r.Figures = []figure{
		figureOf("iam", "calls", "calls", []float64{6}).judged("= 6", true),
		figureOf("document", "parse", "ms", []float64{10}).against(25, "another").judged("≤ 5", false),
	}
	r.sort()
	table := r.table()
	for _, want := range []string{
		"| parse |  | ms | 1 | 10 | 10 | 10 | 10 | another: 25 (×2.50) | ≤ 5 | **missed** |",
		"| calls |  | calls | 1 | 6 | 6 | 6 | 6 |  | = 6 | met |",
		" 1.20 after, 4.6% of the CPU time kept by the host. ",
		" 0.10 after. ", // not known
	} {
		if !strings.Contains(table, want) {
			t.Errorf("the table lacks %q:\n%s", want, table)
		}
	}
	r.forget("document")
	if len(r.Figures) != 1 || strings.Contains(r.table(), "parse") {
		t.Errorf("left are %+v", r.Figures)
	}
}

// A small run fails by a figure that is off by far, and not by one that only
// missed its target.
func TestWrong(t *testing.T) {
	r := &report{Figures: []figure{
		figureOf("document", "slow", "ms", []float64{10}).judged("≤ 5", false).unless(true),
		figureOf("document", "far too slow", "ratio", []float64{10}).judged("≤ 1", false).unless(false),
		figureOf("iam", "of another run", "calls", []float64{10}).unless(false),
	}}
	if wrong := r.wrong([]part{{name: "document"}}); len(wrong) != 1 || !strings.Contains(wrong[0], "far too slow") {
		t.Errorf("wrong are %q", wrong)
	}
}

// The published page has the published results in it.
func TestPageIsTheResults(t *testing.T) {
	const dir = "../../docs/benchmarks"
	r, err := readReport(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Figures) == 0 {
		t.Fatalf("%s has no results", dir)
	}
	files := map[string]string{
		filepath.Join(dir, "table.md"):     r.table(),
		filepath.Join(dir, "requests.svg"): r.requestsPlot(),
		filepath.Join(dir, "takeover.svg"): r.takeoverPlot(),
	}
	for path, want := range files {
		got, err := os.ReadFile(path)
		if err != nil || string(got) != want {
			t.Errorf("%s is not what results.json says (%v): run make bench with the flags that the Makefile names", path, err)
		}
	}
	page, err := os.ReadFile(dir + ".md")
	if err != nil || !strings.Contains(string(page), beginTable+"\n"+r.table()+endTable) {
		t.Errorf("%s.md has not the table of results.json (%v)", dir, err)
	}
}

// What the host keeps counts as wanted, and idling does not.
func TestHostTime(t *testing.T) {
	for _, test := range []struct {
		stat           string
		wanted, stolen int
	}{
		{"cpu  100 20 30 5000 400 6 7 80 90 9\ncpu0 1 2 3 4 5 6 7 8 0 0\n", 243, 80},
		{"cpu  100 20 30 5000 400 6 7\n", 0, 0}, // of a kernel that knows no steal
		{"", 0, 0},
	} {
		if wanted, stolen := parseHostTime(test.stat); wanted != test.wanted || stolen != test.stolen {
			t.Errorf("of %q: %d wanted, %d stolen; want %d and %d", test.stat, wanted, stolen, test.wanted, test.stolen)
		}
	}
}
