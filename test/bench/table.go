package main

import (
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
)

// number writes three digits that matter.
func number(v float64) string {
	switch a := math.Abs(v); {
	case a == 0:
		return "0"
	case a >= 1000:
		return thousands(int(math.Round(v)))
	case a >= 100 || v == math.Trunc(v):
		return strconv.FormatFloat(v, 'f', 0, 64)
	case a >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	case a >= 1:
		return strconv.FormatFloat(v, 'f', 2, 64)
	}
	return strconv.FormatFloat(v, 'g', 2, 64)
}

func thousands(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// table is all figures in Markdown, part by part.
func (r *report) table() string {
	var out strings.Builder
	for _, p := range parts() {
		meta, ok := r.Parts[p.name]
		if !ok {
			continue
		}
		small := ""
		if meta.Small {
			small = " A small run."
		}
		stolen := ""
		if meta.Stolen != nil {
			stolen = fmt.Sprintf(", %.1f%% of the CPU time kept by the host", 100**meta.Stolen)
		}
		fmt.Fprintf(&out, "### %s\n\n%s, %d s, load average %s before and %s after%s.%s %s, %d CPUs, %s MiB of memory, Linux %s, %s, client-go %s.\n\n",
			p.name, meta.Began.Format("2006-01-02 15:04 MST"), meta.Seconds, meta.LoadBefore, meta.LoadAfter, stolen, small,
			meta.Machine.CPU, meta.Machine.CPUs, thousands(meta.Machine.MemoryMiB), meta.Machine.Kernel, meta.Machine.Go, meta.Machine.ClientGo)
		out.WriteString("| what | agents | unit | samples | min | median | p95 | p99 | compared with | target | |\n|---|---:|---|---:|---:|---:|---:|---:|---|---|---|\n")
		for i := range r.Figures {
			if f := &r.Figures[i]; f.Part == p.name {
				out.WriteString(f.row())
			}
		}
		out.WriteString("\n")
	}
	return out.String()
}

func (f *figure) row() string {
	agents, rival, verdict := "", "", ""
	if f.Agents > 0 {
		agents = thousands(f.Agents)
	}
	if f.RivalName != "" {
		rival = fmt.Sprintf("%s: %s", f.RivalName, number(f.Rival))
		if f.Median > 0 {
			rival += fmt.Sprintf(" (×%s)", number(f.Rival/f.Median))
		}
	}
	if f.Target != "" {
		verdict = "met"
		if f.Missed {
			verdict = "**missed**"
		}
	}
	name := f.Name
	for _, more := range []string{f.How, f.Note} {
		if more != "" {
			name += "; " + more
		}
	}
	return fmt.Sprintf("| %s | %s | %s | %d | %s | %s | %s | %s | %s | %s | %s |\n", name, agents, f.Unit, f.Samples,
		number(f.Min), number(f.Median), number(f.P95), number(f.P99), rival, f.Target, verdict)
}

// Between these lines of a page stands the table.
const (
	beginTable = "<!-- begin: written by make bench -->\n"
	endTable   = "<!-- end -->\n"
)

// intoPage puts the table between the markers of a page.
func (r *report) intoPage(path string) error {
	page, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	before, rest, begins := strings.Cut(string(page), beginTable)
	_, after, ends := strings.Cut(rest, endTable)
	if !begins || !ends {
		return fmt.Errorf("%s has no place for the table: put the lines %q and %q there", path, beginTable, endTable)
	}
	return os.WriteFile(path, []byte(before+beginTable+"\n"+r.table()+endTable+after), 0o644)
}
