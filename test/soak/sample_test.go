package soak_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rolecall/rolecall/test/fleet"
)

// What is measured of a process, and how much of it may grow from the first to
// the last third after the warm-up. Memory is that of a binary that looks for
// data races, which takes several times what the product does.
var measured = []struct {
	name  string
	grows tolerance
}{
	{"rss_mib", tolerance{by: 24, part: 0.25, warmUp: 1.0 / 3}},
	{"heap_mib", tolerance{by: 6, part: 0.5, warmUp: 1.0 / 3}},
	{"goroutines", tolerance{by: 8, part: 0.1}},
	{"fds", tolerance{by: 5, part: 0.2}},
	{"threads", tolerance{by: 6, part: 0.25}},
}

// A series is what one process had of one thing in one role: a leader has more
// goroutines than a standby, and that is no leak.
type seriesOf struct {
	pid        int
	node, role string
	what       string
}

type samples map[seriesOf][]point

// take measures a node's process as it stands.
func (s samples) take(ctx context.Context, n *fleet.Node, at time.Duration) error {
	metrics, err := n.Metrics(ctx)
	if err != nil {
		return err
	}
	role := "standby"
	if v, _ := metrics.Value("rolecall_leader"); v == 1 {
		role = "leader"
	} else if passes, _ := metrics.Value("rolecall_reconciles_total"); passes > 0 {
		role = "has led" // and keeps connections, threads and a heap of that time
	}
	values := map[string]float64{}
	values["goroutines"], _ = metrics.Value("go_goroutines")
	heap, _ := metrics.Value("go_memstats_heap_inuse_bytes")
	values["heap_mib"] = heap / (1 << 20)
	kernel, err := readProcess(n.PID())
	if errors.Is(err, fs.ErrNotExist) {
		return nil // no Linux
	}
	if err != nil {
		return err
	}
	maps.Copy(values, kernel)
	for what, v := range values {
		key := seriesOf{n.PID(), n.Name, role, what}
		s[key] = append(s[key], point{at, v})
	}
	return nil
}

// readProcess reads what the kernel knows of a process.
func readProcess(pid int) (map[string]float64, error) {
	dir := fmt.Sprintf("/proc/%d", pid)
	status, err := os.ReadFile(dir + "/status")
	if err != nil {
		return nil, err
	}
	values := map[string]float64{}
	for line := range strings.Lines(string(status)) {
		name, rest, _ := strings.Cut(line, ":")
		fields := strings.Fields(rest)
		if len(fields) == 0 || name != "VmRSS" && name != "Threads" {
			continue
		}
		n, err := strconv.ParseFloat(fields[0], 64)
		if err != nil {
			return nil, err
		}
		if name == "VmRSS" {
			values["rss_mib"] = n / 1024
		} else {
			values["threads"] = n
		}
	}
	open, err := os.ReadDir(dir + "/fd")
	if err != nil {
		return nil, err
	}
	values["fds"] = float64(len(open))
	return values, nil
}

// line is a node's last sample in a table.
func (s samples) line(n *fleet.Node) string {
	last := map[string]point{}
	role := ""
	for key, series := range s {
		p := series[len(series)-1]
		if key.pid == n.PID() && p.at >= last[key.what].at {
			last[key.what], role = p, key.role
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%-8s %-8s", n.Name, role)
	for _, m := range measured {
		fmt.Fprintf(&b, " %s %4.0f", m.name, last[m.name].value)
	}
	return b.String()
}

// judge fails for every series that grows, and says what the others did.
func (s samples) judge(t *testing.T) {
	t.Helper()
	keys := slices.SortedFunc(maps.Keys(s), func(a, b seriesOf) int {
		return cmp.Or(cmp.Compare(a.node, b.node), cmp.Compare(a.pid, b.pid), cmp.Compare(a.role, b.role), cmp.Compare(a.what, b.what))
	})
	judged := 0
	for _, m := range measured {
		for _, key := range keys {
			if key.what != m.name {
				continue
			}
			series := s[key]
			grew, tooMuch, enough := growth(series, m.grows)
			if !enough {
				continue
			}
			judged++
			first, last := series[0].value, series[len(series)-1].value
			t.Logf("%-8s pid %-7d %-8s %-10s %3d samples, from %5.1f to %5.1f, grew by %5.1f (may by %s)",
				key.node, key.pid, key.role, key.what, len(series), first, last, grew, m.grows)
			if tooMuch {
				t.Errorf("%s of %s (process %d, %s) grows: by %.1f after the warm-up, more than %s", key.what, key.node, key.pid, key.role, grew, m.grows)
			}
		}
	}
	t.Logf("%d series were judged, %d were too short", judged, len(s)-judged)
	if judged == 0 {
		t.Error("nothing could be judged: let the soak take longer")
	}
}
