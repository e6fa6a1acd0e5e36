// Package monitoring_test holds the files for Prometheus and Grafana together:
// the rules, the same for the Prometheus operator, and the runbooks. What
// Prometheus itself says of them is tested in test/prometheus.
package monitoring_test

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/rolecall/rolecall/test/stage"
)

var update = flag.Bool("update", false, "write prometheusrule.yaml anew")

const (
	runbooks   = "../../docs/runbooks"
	runbookURL = "https://github.com/rolecall/rolecall/blob/main/docs/runbooks/"
)

type rule struct {
	Alert         string
	Expr          string
	For           string
	KeepFiringFor string `yaml:"keep_firing_for"`
	Labels        map[string]string
	Annotations   map[string]string
}

func rules(t *testing.T) []rule {
	t.Helper()
	text, err := os.ReadFile("rules.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Groups []struct {
			Name  string
			Rules []rule
		}
	}
	dec := yaml.NewDecoder(bytes.NewReader(text))
	dec.KnownFields(true)
	if err := dec.Decode(&file); err != nil {
		t.Fatal(err)
	}
	var all []rule
	for _, g := range file.Groups {
		all = append(all, g.Rules...)
	}
	if len(all) < 15 {
		t.Fatalf("rules.yaml has %d alerts only", len(all))
	}
	return all
}

const prometheusRule = `# rules.yaml for the Prometheus operator. Written by "make generate": edit there.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: rolecall
  namespace: rolecall-system
  labels:
    app.kubernetes.io/name: rolecall
spec:
`

// The operator's object has the groups word for word, comments included.
func TestPrometheusRuleIsTheRules(t *testing.T) {
	text, err := os.ReadFile("rules.yaml")
	if err != nil {
		t.Fatal(err)
	}
	_, groups, found := strings.Cut(string(text), "\ngroups:\n")
	if !found {
		t.Fatal("rules.yaml has no groups")
	}
	want := prometheusRule
	for line := range strings.Lines("groups:\n" + groups) {
		if line != "\n" {
			line = "  " + line
		}
		want += line
	}
	if *update {
		if err := os.WriteFile("prometheusrule.yaml", []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile("prometheusrule.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("prometheusrule.yaml is not rules.yaml (run \"make generate\"; -want +got):\n%s", diff)
	}
	var plain struct{ Groups any }
	var object struct{ Spec struct{ Groups any } }
	if err := yaml.Unmarshal(text, &plain); err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(got, &object); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(plain.Groups, object.Spec.Groups); diff != "" {
		t.Errorf("groups (-rules.yaml +prometheusrule.yaml):\n%s", diff)
	}
}

// Every alert says what it means for people, how bad it is, and where to read on.
func TestAlertsAreWhole(t *testing.T) {
	leaders := leaderMetrics(t)
	var pages []string
	for _, r := range rules(t) {
		pages = append(pages, r.Alert+".md")
		if !strings.HasPrefix(r.Alert, "Rolecall") {
			t.Errorf("the alert %s doesn't say whose it is", r.Alert)
		}
		if s := r.Labels["severity"]; s != "critical" && s != "warning" {
			t.Errorf("%s has the severity %q", r.Alert, s)
		}
		if got, want := r.Annotations["runbook_url"], runbookURL+r.Alert+".md"; got != want {
			t.Errorf("%s has the runbook %s, want %s", r.Alert, got, want)
		}
		if summary := r.Annotations["summary"]; summary == "" || len(summary) > 90 || !strings.HasSuffix(summary, ".") {
			t.Errorf("%s has no summary for a line of a pager: %q", r.Alert, summary)
		}
		if len(r.Annotations["description"]) < 40 {
			t.Errorf("%s has no description: %q", r.Alert, r.Annotations["description"])
		}
		if len(r.Annotations) != 3 {
			t.Errorf("%s has the annotations %v", r.Alert, r.Annotations)
		}
		// The next leader exports them a scrape or two later.
		if r.KeepFiringFor == "" && !strings.Contains(r.Expr, "_over_time") && slices.ContainsFunc(leaders, func(name string) bool { return strings.Contains(r.Expr, name) }) {
			t.Errorf("%s ends with the leader's term: give it keep_firing_for", r.Alert)
		}
	}
	files, err := filepath.Glob(filepath.Join(runbooks, "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	for i, path := range files {
		files[i] = filepath.Base(path)
	}
	slices.Sort(pages)
	pages = slices.Compact(pages) // an alert of two severities has one runbook
	if diff := cmp.Diff(pages, files); diff != "" {
		t.Errorf("runbooks (-of alerts +in docs/runbooks):\n%s", diff)
	}
}

// leaderMetrics are those that docs/metrics.md says the leader alone exports.
func leaderMetrics(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, m := range regexp.MustCompile("(?m)^\\| `(rolecall_\\w+)` \\| .* \\| the leader \\|").FindAllStringSubmatch(string(text), -1) {
		names = append(names, m[1])
	}
	if len(names) < 10 {
		t.Fatalf("docs/metrics.md names %d metrics of the leader only", len(names))
	}
	return names
}

// Every runbook has the same five parts, and its links lead somewhere.
func TestRunbooks(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(runbooks, "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	link := regexp.MustCompile(`\]\(([^)#]+)`)
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimSuffix(filepath.Base(path), ".md")
		if !strings.HasPrefix(string(text), "# "+name+"\n") {
			t.Errorf("%s doesn't begin with its alert's name", path)
		}
		for _, part := range []string{"**Who is locked out:**", "\n## Look\n", "\n## Mend\n", "\n## Silence\n", "\n## Don't\n"} {
			if strings.Count(string(text), part) != 1 {
				t.Errorf("%s lacks %q", path, strings.TrimSpace(part))
			}
		}
		for _, m := range link.FindAllStringSubmatch(string(text), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			if _, err := os.Stat(filepath.Join(runbooks, m[1])); err != nil {
				t.Errorf("%s leads nowhere: %v", path, err)
			}
		}
	}
}

// The kustomization renders to what an operator and a sidecar look for, and the
// agents' pods are those that the PodMonitor selects, at a port that they have.
func TestKustomization(t *testing.T) {
	assets, err := stage.Assets()
	if err == nil {
		_, err = os.Stat(filepath.Join(assets, "kubectl"))
	}
	if err != nil {
		if os.Getenv("ROLECALL_REQUIRE_STAGE") == "1" {
			t.Fatal(err)
		}
		t.Skipf("NOT RENDERED: %v", err)
	}
	render := func(dir string) []map[string]any {
		t.Helper()
		out, err := exec.CommandContext(t.Context(), filepath.Join(assets, "kubectl"), "kustomize", dir).Output()
		if err != nil {
			t.Fatalf("kubectl kustomize %s: %v", dir, err)
		}
		var all []map[string]any
		for dec := yaml.NewDecoder(bytes.NewReader(out)); ; {
			var object map[string]any
			if err := dec.Decode(&object); errors.Is(err, io.EOF) {
				return all
			} else if err != nil {
				t.Fatal(err)
			}
			all = append(all, object)
		}
	}
	at := func(v any, path ...any) any {
		for _, step := range path {
			switch step := step.(type) {
			case string:
				m, _ := v.(map[string]any)
				v = m[step]
			case int:
				list, _ := v.([]any)
				if step >= len(list) {
					return nil
				}
				v = list[step]
			}
		}
		return v
	}
	kinds := map[string]map[string]any{}
	for _, object := range render(".") {
		kind, _ := object["kind"].(string)
		kinds[kind] = object
	}
	if got, want := slices.Sorted(maps.Keys(kinds)), []string{"ConfigMap", "PodMonitor", "PrometheusRule"}; !slices.Equal(got, want) {
		t.Fatalf("got %v, want %v", got, want)
	}
	board, err := os.ReadFile("dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	if got := at(kinds["ConfigMap"], "data", "rolecall.json"); got != string(board) {
		t.Error("the ConfigMap doesn't hold dashboard.json")
	}
	if got := at(kinds["ConfigMap"], "metadata", "labels", "grafana_dashboard"); got != "1" {
		t.Errorf("the ConfigMap has the label grafana_dashboard: %v", got)
	}
	monitor := kinds["PodMonitor"]
	jobs := at(monitor, "spec", "selector", "matchExpressions", 0, "values")
	key, _ := at(monitor, "spec", "selector", "matchExpressions", 0, "key").(string)
	if got := at(monitor, "spec", "jobLabel"); got != key {
		t.Errorf("the job is named by the label %v, the pods are found by %v", got, key)
	}
	for _, overlay := range []string{"../base", "../overlays/hardened"} {
		found := 0
		for _, object := range render(overlay) {
			if object["kind"] != "DaemonSet" {
				continue
			}
			found++
			job := at(object, "spec", "template", "metadata", "labels", key)
			if !slices.ContainsFunc(jobs.([]any), func(v any) bool { return v == job }) {
				t.Errorf("%s: no PodMonitor selects pods with %s=%v", overlay, key, job)
			}
			if got, want := at(object, "metadata", "namespace"), at(monitor, "metadata", "namespace"); got != want {
				t.Errorf("%s: the pods are in %v, the PodMonitor is in %v", overlay, got, want)
			}
			if got, want := at(object, "spec", "template", "spec", "containers", 0, "ports", 0, "name"), at(monitor, "spec", "podMetricsEndpoints", 0, "port"); got != want {
				t.Errorf("%s: the port is %v, the PodMonitor asks %v", overlay, got, want)
			}
			// The rules know agents by their job, DaemonSets by their name.
			for _, r := range rules(t) {
				name, _ := job.(string)
				if (r.Alert == "RolecallAgentDown" || r.Alert == "RolecallAgentsMissing") && !regexp.MustCompile(`[|"]`+name+`[|"]`).MatchString(r.Expr) {
					t.Errorf("%s doesn't know %s", r.Alert, name)
				}
			}
		}
		if found == 0 {
			t.Errorf("%s has no DaemonSet", overlay)
		}
	}
}
