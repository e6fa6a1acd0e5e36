package e2e_test

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/rolecall/rolecall/test/fleet"
	"github.com/rolecall/rolecall/test/trial"
)

var update = flag.Bool("update", false, "write docs/metrics.md anew")

const metricsPage = "../../docs/metrics.md"

// runtimeMetrics are those of the Go runtime and of the process that
// docs/metrics.md promises, for dashboards.
var runtimeMetrics = []string{
	"go_gc_duration_seconds", "go_goroutines", "go_memstats_heap_inuse_bytes", "process_cpu_seconds_total",
	"process_max_fds", "process_open_fds", "process_resident_memory_bytes", "process_start_time_seconds",
}

// Who exports a metric.
const (
	byAll        = "every agent"
	byCandidates = "every agent that may lead"
	byLeader     = "the leader"
)

// TestMetricsPage holds docs/metrics.md against what a leader, a standby and an
// agent that only reports really answer. Rules and dashboard are held against
// that page (test/prometheus).
func TestMetricsPage(t *testing.T) {
	t.Parallel()
	c := newCluster(t, rarely, calm...)
	c.AWS.SetMembers("Developers", "ana")
	candidates := []*fleet.Node{c.StartNode("node-1", "workers"), c.StartNode("node-2", "workers")}
	reporter := c.StartNode("node-3", "ingress", "--report-only")
	c.Maps("merged", trial.NodeRole("workers"), trial.NodeRole("ingress"), trial.Ours("user/ana", "ana", "developers"), trial.Ours("user/ops", "ops", "viewers"))
	leader := c.OneLeads()
	c.AtLeast(leader, 1, "rolecall_entries", "source", "group")
	c.AtLeast(reporter, 1, "rolecall_node_report_last_success_timestamp_seconds")
	standby := candidates[0]
	if standby == leader {
		standby = candidates[1]
	}
	c.AtLeast(standby, 1, "rolecall_config_valid")

	led, stood, reported := families(t, leader), families(t, standby), families(t, reporter)
	for _, name := range runtimeMetrics {
		if _, ok := reported[name]; !ok {
			t.Errorf("no agent exports %s", name)
		}
	}
	var page strings.Builder
	page.WriteString(metricsHead)
	for _, name := range slices.Sorted(maps.Keys(led)) {
		if !strings.HasPrefix(name, "rolecall_") {
			continue
		}
		by := byLeader
		if _, ok := stood[name]; ok {
			by = byCandidates
		}
		if _, ok := reported[name]; ok {
			by = byAll
		}
		f := led[name]
		labels := ""
		if len(f.labels) > 0 {
			labels = "`" + strings.Join(f.labels, "`, `") + "`"
		}
		fmt.Fprintf(&page, "| `%s` | %s | %s | %s | %s |\n", name, f.kind, labels, by, f.help)
	}
	fmt.Fprintf(&page, "\nOf the Go runtime and of the process, by every agent: `%s`, and more.\n", strings.Join(runtimeMetrics, "`, `"))

	if *update {
		if err := os.WriteFile(metricsPage, []byte(page.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(metricsPage)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(page.String(), string(got)); diff != "" {
		t.Errorf("%s is not what agents export (run with -update; -want +got):\n%s", metricsPage, diff)
	}
}

const metricsHead = `# Metrics

What ` + "`/metrics`" + ` on port 9465 holds, as real agents answer it. What the leader alone exports is gone from an agent whose term ends.
[monitoring.md](monitoring.md) says how to scrape and what to watch.

| metric | type | labels | exported by | what it tells |
|---|---|---|---|---|
`

type family struct {
	kind, help string
	labels     []string // that any of its series has, sorted
}

// families scrapes an agent.
func families(t *testing.T, n *fleet.Node) map[string]family {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), trial.Patience)
	defer cancel()
	scraped, err := n.Metrics(ctx)
	if err != nil {
		t.Fatal(err)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	all, err := parser.TextToMetricFamilies(strings.NewReader(scraped.Text))
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]family{}
	for name, f := range all {
		labels := map[string]bool{}
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = true
			}
		}
		out[name] = family{strings.ToLower(f.GetType().String()), f.GetHelp(), slices.Sorted(maps.Keys(labels))}
	}
	return out
}
