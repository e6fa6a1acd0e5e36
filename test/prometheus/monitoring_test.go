package prometheus

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/promql/parser"
	"go.yaml.in/yaml/v3"
)

const (
	monitoring = "../../manifests/monitoring"
	docs       = "../../docs"
)

// promtool returns the path of the program that the script build has made.
func promtool(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("./build", "-n").Output()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(strings.TrimSpace(string(out)), "promtool")
	if _, err := os.Stat(path); err != nil {
		if os.Getenv("ROLECALL_REQUIRE_PROMETHEUS") != "" {
			t.Fatalf("%v: run test/prometheus/build", err)
		}
		t.Skipf("NOT TESTED: %v: run test/prometheus/build, which takes minutes once", err)
	}
	return path
}

func run(t *testing.T, dir, program string, args ...string) {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func TestPromtool(t *testing.T) {
	program := promtool(t)
	t.Run("check rules", func(t *testing.T) {
		run(t, monitoring, program, "check", "rules", "--lint=all", "--lint-fatal", "rules.yaml")
	})
	t.Run("test rules", func(t *testing.T) { run(t, monitoring, program, "test", "rules", "rules_test.yaml") })
	// The scrape configuration of the docs, as a reader would copy it.
	t.Run("check config", func(t *testing.T) {
		text, err := os.ReadFile(docs + "/monitoring.md")
		if err != nil {
			t.Fatal(err)
		}
		block := regexp.MustCompile("(?s)```yaml\n(scrape_configs:.*?)```").FindSubmatch(text)
		if block == nil {
			t.Fatal("docs/monitoring.md has no scrape_configs")
		}
		dir := t.TempDir()
		// The service account's files are in a pod only.
		if err := os.WriteFile(filepath.Join(dir, "prometheus.yml"), block[1], 0o600); err != nil {
			t.Fatal(err)
		}
		run(t, dir, program, "check", "config", "--syntax-only", "prometheus.yml")
	})
}

// An exported metric and the labels that its series have.
type exported map[string][]string

// metrics reads docs/metrics.md, which test/e2e holds against real agents.
func metrics(t *testing.T) exported {
	t.Helper()
	text, err := os.ReadFile(docs + "/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	quoted := regexp.MustCompile("`([^`]+)`")
	all := exported{}
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(line, " | ")
		switch {
		case len(cells) == 5:
			if name := quoted.FindStringSubmatch(cells[0]); name != nil {
				all[name[1]] = []string{}
				for _, label := range quoted.FindAllStringSubmatch(cells[2], -1) {
					all[name[1]] = append(all[name[1]], label[1])
				}
				if cells[1] == "histogram" {
					for _, part := range []string{"_bucket", "_sum", "_count"} {
						all[name[1]+part] = append([]string{"le"}, all[name[1]]...)
					}
				}
			}
		case strings.HasPrefix(line, "Of the Go runtime"):
			for _, name := range quoted.FindAllStringSubmatch(line, -1) {
				all[name[1]] = []string{"quantile"}
			}
		}
	}
	if len(all) < 25 {
		t.Fatalf("docs/metrics.md names %d metrics only: %v", len(all), all)
	}
	return all
}

// foreign are the metrics that rules and dashboard need and that are not ours.
var foreign = exported{
	"up": {},
	// https://github.com/kubernetes/kube-state-metrics/blob/main/docs/metrics/workload/daemonset-metrics.md
	"kube_daemonset_status_desired_number_scheduled": {"daemonset"},
	"kube_daemonset_status_number_available":         {"daemonset"},
	"kube_daemonset_status_updated_number_scheduled": {"daemonset"},
}

// scraped are the labels that scraping gives a series.
var scraped = []string{"cluster", "namespace", "job", "instance", "pod", "node"}

// query parses a query and holds that it asks for nothing that doesn't exist.
// It returns the names of the metrics.
func query(t *testing.T, where, text string, all exported) []string {
	t.Helper()
	expr, err := parser.NewParser(parser.Options{}).ParseExpr(text)
	if err != nil {
		t.Errorf("%s: %v in %s", where, err, text)
		return nil
	}
	var names []string
	known := slices.Clone(scraped)
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		selector, ok := node.(*parser.VectorSelector)
		if !ok {
			return nil
		}
		name := selector.Name
		names = append(names, name)
		own, ok := all[name]
		if !ok {
			own, ok = foreign[name]
		}
		if !ok {
			t.Errorf("%s: no agent exports %q", where, name)
		}
		known = append(known, own...)
		for _, m := range selector.LabelMatchers {
			if m.Name != "__name__" && !slices.Contains(scraped, m.Name) && !slices.Contains(own, m.Name) {
				t.Errorf("%s: %s has no label %q", where, name, m.Name)
			}
		}
		return nil
	})
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		var used []string
		switch n := node.(type) {
		case *parser.AggregateExpr:
			used = n.Grouping
		case *parser.BinaryExpr:
			if n.VectorMatching != nil {
				used = slices.Concat(n.VectorMatching.MatchingLabels, n.VectorMatching.Include)
			}
		}
		for _, label := range used {
			if !slices.Contains(known, label) {
				t.Errorf("%s: no metric of it has the label %q", where, label)
			}
		}
		return nil
	})
	return names
}

type rule struct {
	Alert, Expr, For    string
	Labels, Annotations map[string]string
}

func rules(t *testing.T) []rule {
	t.Helper()
	text, err := os.ReadFile(monitoring + "/rules.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Groups []struct{ Rules []rule } } // promtool is the one that is strict
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	var all []rule
	for _, g := range file.Groups {
		all = append(all, g.Rules...)
	}
	return all
}

func TestRulesAskForWhatAgentsExport(t *testing.T) {
	all := metrics(t)
	for _, r := range rules(t) {
		query(t, r.Alert, r.Expr, all)
		for name, text := range r.Annotations {
			for _, m := range regexp.MustCompile(`\$labels\.(\w+)`).FindAllStringSubmatch(text, -1) {
				if !strings.Contains(r.Expr, m[1]) && m[1] != "instance" {
					t.Errorf("%s: the %s names the label %s, which the alert has not", r.Alert, name, m[1])
				}
			}
		}
	}
}

// TestRulesAreTested holds that every alert fires in some test of
// rules_test.yaml; that none fires elsewhere, those tests hold themselves.
func TestRulesAreTested(t *testing.T) {
	text, err := os.ReadFile(monitoring + "/rules_test.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rules(t) {
		if !bytes.Contains(text, fmt.Appendf(nil, `alertname=%q,alertstate="firing"`, r.Alert)) &&
			!bytes.Contains(text, []byte("alertname: "+r.Alert+"\n")) {
			t.Errorf("no test has %s fire", r.Alert)
		}
	}
}

// What docs/monitoring.md says of alerts and objectives is so.
func TestMonitoringPage(t *testing.T) {
	text, err := os.ReadFile(docs + "/monitoring.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rules(t) {
		pause := r.For
		if pause == "" {
			pause = "at once"
		}
		if row := fmt.Sprintf("| [%[1]s](runbooks/%[1]s.md) | %[2]s | %[3]s |", r.Alert, r.Labels["severity"], pause); !bytes.Contains(text, []byte(row)) {
			t.Errorf("docs/monitoring.md has no row %s", row)
		}
	}
	all, queries := metrics(t), 0
	for _, m := range regexp.MustCompile("`([^`\n]*\\([^`\n]*rolecall_[^`\n]*)`").FindAllSubmatch(text, -1) {
		query(t, "docs/monitoring.md", string(m[1]), all)
		queries++
	}
	if queries < 4 {
		t.Errorf("docs/monitoring.md has %d queries only", queries)
	}
}

type panel struct {
	ID      int    `json:"id"`
	Title   string `json:"title"`
	Type    string `json:"type"`
	Text    string `json:"description"`
	GridPos struct{ H, W, X, Y int }
	Targets []struct {
		Expr       string     `json:"expr"`
		RefID      string     `json:"refId"`
		Datasource datasource `json:"datasource"`
	} `json:"targets"`
	Datasource datasource `json:"datasource"`
	Panels     []panel    `json:"panels"`
}

type datasource struct{ Type, UID string }

// TestDashboard holds that every query of the dashboard can be answered from
// what agents export, and that the dashboard fits any Grafana.
func TestDashboard(t *testing.T) {
	text, err := os.ReadFile(monitoring + "/dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		ID            *int    `json:"id"`
		UID           string  `json:"uid"`
		SchemaVersion int     `json:"schemaVersion"`
		Panels        []panel `json:"panels"`
		Templating    struct {
			List []struct {
				Name, Type string
				Query      any
				Current    map[string]any
			}
		} `json:"templating"`
	}
	if err := json.Unmarshal(text, &board); err != nil {
		t.Fatal(err)
	}
	if board.ID != nil || board.UID == "" || board.SchemaVersion < 39 {
		t.Errorf("got id %v, uid %q, schema %d; want no id of a Grafana's own, a uid to link to, a schema of today", board.ID, board.UID, board.SchemaVersion)
	}
	all, seen := metrics(t), map[string]bool{}
	variables := map[string]string{"$__rate_interval": "5m", "$__range": "1h"}
	for _, v := range board.Templating.List {
		if v.Type == "datasource" {
			continue
		}
		variables["$"+v.Name] = ".*"
		if len(v.Current) > 0 {
			t.Errorf("the variable %s carries somebody's choice: %v", v.Name, v.Current)
		}
	}
	replace := func(text string) string {
		for _, name := range slices.Backward(slices.Sorted(maps.Keys(variables))) {
			text = strings.ReplaceAll(text, name, variables[name])
		}
		return text
	}
	ids, queries := map[int]bool{}, 0
	var walk func(panels []panel)
	walk = func(panels []panel) {
		for _, p := range panels {
			if p.ID == 0 || ids[p.ID] {
				t.Errorf("panel %q: the id %d is none or another's", p.Title, p.ID)
			}
			ids[p.ID] = true
			if p.GridPos.X+p.GridPos.W > 24 || p.GridPos.H < 1 || p.GridPos.W < 1 {
				t.Errorf("panel %q has no place: %+v", p.Title, p.GridPos)
			}
			if p.Type == "row" {
				walk(p.Panels)
				continue
			}
			if p.Text == "" || p.Title == "" {
				t.Errorf("panel %d %q says not what it shows: %q", p.ID, p.Title, p.Text)
			}
			if want := (datasource{"prometheus", "${datasource}"}); p.Datasource != want {
				t.Errorf("panel %q asks %+v, want %+v", p.Title, p.Datasource, want)
			}
			if len(p.Targets) == 0 {
				t.Errorf("panel %q asks nothing", p.Title)
			}
			for _, target := range p.Targets {
				queries++
				for _, name := range query(t, fmt.Sprintf("panel %q, query %s", p.Title, target.RefID), replace(target.Expr), all) {
					seen[strings.TrimSuffix(name, "_bucket")] = true
				}
			}
		}
	}
	walk(board.Panels)
	if queries < 20 {
		t.Errorf("%d queries only", queries)
	}
	for name := range all {
		if strings.HasPrefix(name, "rolecall_") && !seen[name] &&
			!strings.HasSuffix(name, "_sum") && !strings.HasSuffix(name, "_count") && !strings.HasSuffix(name, "_bucket") && !slices.Contains(unshown, name) {
			t.Errorf("the dashboard shows nothing of %s", name)
		}
	}
}

// unshown are the metrics that another one of the dashboard makes needless.
var unshown = []string{"rolecall_config_last_success_timestamp_seconds"}
