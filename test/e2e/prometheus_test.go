package e2e_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/rolecall/rolecall/test/fleet"
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
	c := newCluster(t, strings.Replace(rarely, "1h", "10s", 1), quick...)
	c.AWS.SetMembers("Developers", "ana")
	nodes := []*fleet.Node{c.StartNode("node-1", "workers"), c.StartNode("node-2", "workers"), c.StartNode("node-3", "ingress", "--report-only")}
	want := []fleet.Mapping{trial.NodeRole("workers"), trial.NodeRole("ingress"), trial.Ours("user/ana", "ana", "developers"), trial.Ours("user/ops", "ops", "viewers")}
	c.Maps("merged", want...)
	c.Healthy()
	c.OneLeads()

	s := startPrometheus(t, program, nodes)
	c.Eventually("every panel of the dashboard shows something", func(ctx context.Context) error {
		var missing []error
		for _, q := range dashboardQueries(t) {
			n, err := s.query(ctx, q.expr)
			switch {
			case err != nil:
				return fmt.Errorf("panel %q: %w", q.panel, err)
			case n == 0 && !quiet[q.panel]:
				missing = append(missing, fmt.Errorf("panel %q shows nothing for %s", q.panel, q.expr))
			}
		}
		return errors.Join(missing...)
	})
	var rules struct {
		Groups []struct {
			Rules []struct{ Name, Health, LastError string }
		}
	}
	c.Eventually("all rules are evaluated", func(ctx context.Context) error {
		if err := s.get(ctx, "/api/v1/rules", nil, &rules); err != nil {
			return err
		}
		for _, g := range rules.Groups {
			for _, r := range g.Rules {
				if r.Health != "ok" {
					return fmt.Errorf("%s is %s: %s", r.Name, r.Health, r.LastError)
				}
			}
		}
		return nil
	})
	if alerts, err := s.alerts(t.Context()); err != nil || len(alerts) > 0 {
		t.Errorf("all is well, and these alerts are pending or fire: %v (%v)", alerts, err)
	}

	c.Delete()
	c.Maps("put back", want...)
	c.Eventually("the alert fires", func(ctx context.Context) error {
		alerts, err := s.alerts(ctx)
		if err == nil && alerts["RolecallAwsAuthRestored"] != "firing" {
			err = fmt.Errorf("alerts: %v", alerts)
		}
		return err
	})
	c.Eventually("the dashboard shows the write", func(ctx context.Context) error {
		for _, q := range dashboardQueries(t) {
			if n, err := s.query(ctx, q.expr); q.panel == "Writes" && (err != nil || n == 0) {
				return fmt.Errorf("%d series for %s (%w)", n, q.expr, cmp.Or(err, errNothing))
			}
		}
		return nil
	})
}

var errNothing = errors.New("nothing to show")

// prometheus returns the path of the program that test/prometheus/build has made.
func prometheus(t *testing.T) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "../prometheus/build", "-n").Output()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(strings.TrimSpace(string(out)), "prometheus")
	if _, err := os.Stat(path); err != nil {
		if os.Getenv("ROLECALL_REQUIRE_PROMETHEUS") != "" {
			t.Fatalf("%v: run test/prometheus/build", err)
		}
		t.Skipf("NOT TESTED: %v: run test/prometheus/build, which takes minutes once", err)
	}
	return path
}

// A server is a running Prometheus.
type server struct{ address string }

func startPrometheus(t *testing.T, program string, nodes []*fleet.Node) server {
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
	config, err := json.Marshal(map[string]any{ // which is YAML, too
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
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "prometheus.yml"), config, 0o600); err != nil {
		t.Fatal(err)
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := server{listener.Addr().String()}
	listener.Close()

	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	// It ends with the test: t.Context is done before the cleanups.
	cmd := exec.CommandContext(t.Context(), program, "--config.file="+filepath.Join(dir, "prometheus.yml"),
		"--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+s.address)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 20 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Wait() // it was interrupted
		log.Close()
		if text, err := os.ReadFile(log.Name()); t.Failed() && err == nil {
			t.Logf("Prometheus said:\n%s", text)
		}
	})
	return s
}

// get asks the API of Prometheus.
func (s server) get(ctx context.Context, path string, values url.Values, into any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.address+path+"?"+values.Encode(), nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	var answer struct {
		Status, Error string
		Data          json.RawMessage
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return fmt.Errorf("%s answers %s: %w", path, response.Status, err)
	}
	if answer.Status != "success" {
		return fmt.Errorf("%s: %s", path, answer.Error)
	}
	return json.Unmarshal(answer.Data, into)
}

// query returns how many series a query has now.
func (s server) query(ctx context.Context, expr string) (int, error) {
	var data struct{ Result []json.RawMessage }
	err := s.get(ctx, "/api/v1/query", url.Values{"query": {expr}}, &data)
	return len(data.Result), err
}

// alerts are those that are pending or fire, with their state.
func (s server) alerts(ctx context.Context) (map[string]string, error) {
	var data struct {
		Alerts []struct {
			Labels map[string]string
			State  string
		}
	}
	if err := s.get(ctx, "/api/v1/alerts", nil, &data); err != nil {
		return nil, err
	}
	states := map[string]string{}
	for _, a := range data.Alerts {
		states[a.Labels["alertname"]] = a.State
	}
	return states, nil
}

type dashboardQuery struct{ panel, expr string }

// dashboardQueries are those of the dashboard, as Grafana sends them.
func dashboardQueries(t *testing.T) []dashboardQuery {
	t.Helper()
	text, err := os.ReadFile(monitoring + "/dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(text, &board); err != nil {
		t.Fatal(err)
	}
	variables := strings.NewReplacer("$__rate_interval", "10s", "$__range", "1m", "$namespace", ".*", "$cluster", ".*")
	left := regexp.MustCompile(`\$\w+`)
	var all []dashboardQuery
	for _, p := range board.Panels {
		for _, target := range p.Targets {
			expr := variables.Replace(target.Expr)
			if v := left.FindString(expr); v != "" {
				t.Fatalf("panel %q has the variable %s, which this test doesn't know", p.Title, v)
			}
			all = append(all, dashboardQuery{p.Title, expr})
		}
	}
	return all
}
