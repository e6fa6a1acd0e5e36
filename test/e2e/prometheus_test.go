package e2e_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rolecall/rolecall/test/fleet"
	"github.com/rolecall/rolecall/test/scraper"
	"github.com/rolecall/rolecall/test/trial"
)

const monitoring = "../../manifests/monitoring"

// quiet are the panels that show nothing while nothing happens.
var quiet = map[string]bool{"Calls that fail": true, "Writes": true}

// TestPrometheus has a real Prometheus scrape real agents: it takes the shipped
// rules, no alert so much as begins while all is well, every query of the
// dashboard is answered, and when aws-auth is deleted the alert for it fires.
func TestPrometheus(t *testing.T) {
	t.Parallel()
	program := prometheus(t)
	c := newCluster(t, strings.Replace(rarely, "1h", "10s", 1), calm...)
	c.AWS.SetMembers("Developers", "ana")
	nodes := []*fleet.Node{c.StartNode("node-1", "workers"), c.StartNode("node-2", "workers"), c.StartNode("node-3", "ingress", "--report-only")}
	want := []fleet.Mapping{trial.NodeRole("workers"), trial.NodeRole("ingress"), trial.Ours("user/ana", "ana", "developers"), trial.Ours("user/ops", "ops", "viewers")}
	c.Maps("merged", want...)
	c.Healthy()
	c.OneLeads()

	dashboard, err := scraper.Dashboard(monitoring + "/dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	s := startPrometheus(t, program, nodes)
	c.Eventually("every panel of the dashboard shows something", func(ctx context.Context) error {
		_, err := s.Answers(ctx, dashboard, quiet)
		return err
	})
	c.Eventually("all rules are evaluated", func(ctx context.Context) error {
		_, err := s.Evaluated(ctx)
		return err
	})
	// An agent that a busy machine kept from one scrape is pending as down for
	// that long.
	c.Eventually("no alert is pending or fires", func(ctx context.Context) error {
		alerts, err := s.Alerts(ctx)
		if err == nil && len(alerts) > 0 {
			err = fmt.Errorf("alerts: %v", alerts)
		}
		for name := range alerts {
			if name != "RolecallAgentDown" && name != "RolecallAbsent" {
				t.Errorf("all is well, and %s is %s", name, alerts[name])
			}
		}
		return err
	})

	c.Delete()
	c.Maps("put back", want...)
	c.Eventually("the alert fires", func(ctx context.Context) error {
		alerts, err := s.Alerts(ctx)
		if err == nil && alerts["RolecallAwsAuthRestored"] != "firing" {
			err = fmt.Errorf("alerts: %v", alerts)
		}
		return err
	})
	c.Eventually("the dashboard shows the write", func(ctx context.Context) error {
		for _, q := range dashboard {
			if n, err := s.Query(ctx, q.Expr); q.Panel == "Writes" && (err != nil || n == 0) {
				return fmt.Errorf("%d series for %s (%w)", n, q.Expr, cmp.Or(err, errNothing))
			}
		}
		return nil
	})
}

var errNothing = errors.New("nothing to show")

// prometheus returns the path of the program that test/prometheus/build has made.
func prometheus(t *testing.T) string {
	t.Helper()
	path, err := scraper.Program(t.Context(), "../..")
	if errors.Is(err, os.ErrNotExist) && os.Getenv("ROLECALL_REQUIRE_PROMETHEUS") == "" {
		t.Skipf("NOT TESTED: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func startPrometheus(t *testing.T, program string, nodes []*fleet.Node) *scraper.Server {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), trial.Patience)
	defer cancel()
	targets := make([]string, len(nodes))
	for i, n := range nodes {
		address, err := n.Address(ctx)
		if err != nil {
			t.Fatal(err)
		}
		targets[i] = address
	}
	rules, err := filepath.Abs(monitoring + "/rules.yaml")
	if err != nil {
		t.Fatal(err)
	}
	s, err := scraper.Start(program, t.TempDir(), map[string]any{
		"global":     map[string]any{"scrape_interval": "1s", "evaluation_interval": "1s"},
		"rule_files": []string{rules},
		"scrape_configs": []any{map[string]any{
			"job_name":       "rolecall",
			"static_configs": []any{map[string]any{"targets": targets, "labels": map[string]string{"namespace": "rolecall-system"}}},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("Prometheus said:\n%s", s.Log())
		}
	})
	return s
}
