package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// A figure is one line of the table.
type figure struct {
	Part   string `json:"part"`
	Name   string `json:"name"`
	Agents int    `json:"agents,omitempty"`
	How    string `json:"how,omitempty"` // the agents run: processes, or in one process
	Unit   string `json:"unit"`

	Samples int     `json:"samples"`
	Min     float64 `json:"min"`
	Median  float64 `json:"median"`
	P95     float64 `json:"p95"`
	P99     float64 `json:"p99"`
	Max     float64 `json:"max"`

	// Rival is the median of what it is compared with, in the same unit and run.
	Rival     float64 `json:"rival,omitempty"`
	RivalName string  `json:"rivalName,omitempty"`

	Target string `json:"target,omitempty"`
	Missed bool   `json:"missed,omitempty"`
	// Wrong says that a ratio or a count is off by far, whatever the machine.
	Wrong bool   `json:"wrong,omitempty"`
	Note  string `json:"note,omitempty"`

	Values []float64 `json:"values,omitempty"` // sorted; of what is plotted as a distribution
}

// figureOf sums up samples, of which there is at least one.
func figureOf(part, name, unit string, samples []float64) figure {
	s := slices.Sorted(slices.Values(samples))
	return figure{
		Part: part, Name: name, Unit: unit, Samples: len(s),
		Min: s[0], Median: quantile(s, .5), P95: quantile(s, .95), P99: quantile(s, .99), Max: s[len(s)-1],
	}
}

// quantile is the least of the sorted samples that at least a part q of them does not exceed.
func quantile(sorted []float64, q float64) float64 {
	i := int(q*float64(len(sorted))+.9999999) - 1
	return sorted[min(max(i, 0), len(sorted)-1)]
}

func (f figure) at(n int, how string) figure {
	f.Agents, f.How = n, how
	return f
}

func (f figure) against(rival float64, name string) figure {
	f.Rival, f.RivalName = rival, name
	return f
}

// judged says what was promised and whether it holds.
func (f figure) judged(target string, met bool) figure {
	f.Target, f.Missed = target, !met
	return f
}

// unless marks a figure that no machine accounts for.
func (f figure) unless(sane bool) figure {
	f.Wrong = !sane
	return f
}

func (f figure) noting(format string, args ...any) figure {
	f.Note = fmt.Sprintf(format, args...)
	return f
}

func (f figure) line() string {
	s := fmt.Sprintf("%s: %s", f.Part, f.Name)
	if f.Agents > 0 {
		s += fmt.Sprintf(", %d agents", f.Agents)
	}
	s += fmt.Sprintf(": min %s, median %s, p99 %s %s", number(f.Min), number(f.Median), number(f.P99), f.Unit)
	if f.RivalName != "" {
		s += fmt.Sprintf("; %s: %s", f.RivalName, number(f.Rival))
	}
	if f.Missed {
		s += "; MISSED: " + f.Target
	}
	return s
}

// partRun says when and under what a part was measured.
type partRun struct {
	Began      time.Time `json:"began"`
	Seconds    int       `json:"seconds"`
	LoadBefore string    `json:"loadBefore"`
	LoadAfter  string    `json:"loadAfter"`
	Stolen     *float64  `json:"stolen,omitempty"` // by the machine's host, of the CPU time that was wanted: 0 to 1; nil: not known
	Small      bool      `json:"small,omitempty"`
	Machine    machine   `json:"machine"`
}

type report struct {
	Parts   map[string]partRun `json:"parts"`
	Figures []figure           `json:"figures"`
}

const resultsFile = "results.json"

// readReport returns what a run before has left in the folder.
func readReport(dir string) (*report, error) {
	r := &report{Parts: map[string]partRun{}}
	body, err := os.ReadFile(filepath.Join(dir, resultsFile))
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err == nil {
		err = json.Unmarshal(body, r)
	}
	if err != nil {
		return nil, fmt.Errorf("read what was measured before: %w: remove %s to begin anew", err, filepath.Join(dir, resultsFile))
	}
	return r, nil
}

func (r *report) forget(part string) {
	r.Figures = slices.DeleteFunc(r.Figures, func(f figure) bool { return f.Part == part })
	delete(r.Parts, part)
}

// sort puts the figures in the order of the parts.
func (r *report) sort() {
	order := map[string]int{}
	for i, p := range parts() {
		order[p.name] = i
	}
	slices.SortStableFunc(r.Figures, func(a, b figure) int { return order[a.Part] - order[b.Part] })
}

// write leaves results.json, table.md and the plots, and brings the table into a page.
func (r *report) write(dir, page string) error {
	r.sort()
	body, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	files := map[string]string{
		resultsFile:    string(body) + "\n",
		"table.md":     r.table(),
		"requests.svg": r.requestsPlot(),
		"takeover.svg": r.takeoverPlot(),
	}
	for name, text := range files {
		if text == "" {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	if page == "" {
		return nil
	}
	return r.intoPage(page)
}

// wrong lists the figures of parts that are off by far.
func (r *report) wrong(picked []part) []string {
	var out []string
	for _, f := range r.Figures {
		measured := slices.ContainsFunc(picked, func(p part) bool { return p.name == f.Part })
		if f.Wrong && measured {
			out = append(out, f.line())
		}
	}
	return out
}
