// Package chart_test renders the Helm chart with Helm's own engine and holds it
// against the manifests, the schema of its values, Helm's linter and a real API
// server.
package chart_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/lint"
	"helm.sh/helm/v4/pkg/chart/v2/lint/support"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/restmapper"
	sigsyaml "sigs.k8s.io/yaml"

	"github.com/rolecall/rolecall/config"
	"github.com/rolecall/rolecall/test/stage"
)

const (
	folder    = "../../charts/rolecall"
	manifests = "../../manifests/install.yaml"
	namespace = "rolecall-system"
)

func TestMain(m *testing.M) { os.Exit(stage.Main(m)) }

func load(t *testing.T) *chart.Chart {
	t.Helper()
	c, err := loader.Load(folder)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// render renders the chart as a release of that name. values is YAML.
func render(t *testing.T, release, values string) ([]unstructured.Unstructured, error) {
	t.Helper()
	c := load(t)
	var given map[string]any
	if err := sigsyaml.Unmarshal([]byte(values), &given); err != nil {
		t.Fatal(err)
	}
	all, err := util.ToRenderValues(c, given, common.ReleaseOptions{Name: release, Namespace: namespace, Revision: 1, IsInstall: true}, nil)
	if err != nil {
		return nil, err
	}
	texts, err := engine.Render(c, all)
	if err != nil {
		return nil, err
	}
	var out []unstructured.Unstructured
	for _, name := range slices.Sorted(maps.Keys(texts)) {
		if strings.HasSuffix(name, ".txt") {
			continue
		}
		objects, err := decode([]byte(texts[name]))
		if err != nil {
			t.Fatalf("%s: %v\n%s", name, err, texts[name])
		}
		out = append(out, objects...)
	}
	return out, nil
}

func mustRender(t *testing.T, release, values string) []unstructured.Unstructured {
	t.Helper()
	objects, err := render(t, release, values)
	if err != nil {
		t.Fatal(err)
	}
	return objects
}

func decode(text []byte) ([]unstructured.Unstructured, error) {
	var out []unstructured.Unstructured
	d := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(text), 4096)
	for {
		var o unstructured.Unstructured
		switch err := d.Decode(&o.Object); {
		case errors.Is(err, io.EOF):
			return out, nil
		case err != nil:
			return nil, err
		case len(o.Object) > 0:
			out = append(out, o)
		}
	}
}

func id(o *unstructured.Unstructured) string {
	return fmt.Sprintf("%s %s/%s", o.GetKind(), o.GetNamespace(), o.GetName())
}

// The defaults are the manifests, but for labels and the Namespace, which is
// Helm's to make.
func TestDefaultsAreTheManifests(t *testing.T) {
	text, err := os.ReadFile(manifests)
	if err != nil {
		t.Fatal(err)
	}
	objects, err := decode(text)
	if err != nil {
		t.Fatal(err)
	}
	want := comparable(t, slices.DeleteFunc(objects, func(o unstructured.Unstructured) bool { return o.GetKind() == "Namespace" }))
	got := comparable(t, mustRender(t, "rolecall", ""))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-manifests +chart):\n%s", diff)
	}
}

// comparable is objects by what they are, without labels and without the comments
// of the config.
func comparable(t *testing.T, objects []unstructured.Unstructured) map[string]any {
	t.Helper()
	out := map[string]any{}
	for i := range objects {
		o := objects[i].DeepCopy()
		o.SetLabels(nil)
		for _, path := range [][]string{{"spec", "selector", "matchLabels"}, {"spec", "template", "metadata", "labels"}} {
			unstructured.RemoveNestedField(o.Object, path...)
		}
		if o.GetKind() == "ConfigMap" {
			if err := unstructured.SetNestedField(o.Object, configOf(t, o), "data", "config.yaml"); err != nil {
				t.Fatal(err)
			}
		}
		out[id(o)] = o.Object
	}
	return out
}

func configOf(t *testing.T, o *unstructured.Unstructured) map[string]any {
	t.Helper()
	text, _, err := unstructured.NestedString(o.Object, "data", "config.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := config.Parse("config.yaml", []byte(text)); err != nil {
		t.Errorf("the agent refuses the config: %v", err)
	}
	var content map[string]any
	if err := sigsyaml.Unmarshal([]byte(text), &content); err != nil {
		t.Fatal(err)
	}
	return content
}

// variants are values, and what they have to bring about: texts that the rendered
// object of that kind must hold, or must not if they begin with "!".
var variants = []struct {
	name, release, values string
	want                  map[string][]string
}{
	{"another release", "prod", "", map[string][]string{
		"DaemonSet rolecall-system/prod-rolecall": {"--daemonset=prod-rolecall", "serviceAccountName: prod-rolecall", "name: prod-rolecall"},
		"Role rolecall-system/prod-rolecall":      {"- prod-rolecall", "- rolecall-ledger"},
		"ConfigMap rolecall-system/prod-rolecall": {"report: true"},
		"RoleBinding kube-system/prod-rolecall":   {"namespace: rolecall-system"},
	}},
	{"another port", "rolecall", "metrics: {port: 10465}", map[string][]string{
		"DaemonSet rolecall-system/rolecall": {"--http-address=:10465", "containerPort: 10465", "hostPort: 10465", `prometheus.io/port: "10465"`, "!9465\n"},
	}},
	{"pod network", "rolecall", "{hostNetwork: false, dnsPolicy: ClusterFirst}", map[string][]string{
		"DaemonSet rolecall-system/rolecall": {"hostNetwork: false", "dnsPolicy: ClusterFirst", "!hostPort"},
	}},
	{"IRSA", "rolecall", `serviceAccount: {annotations: {eks.amazonaws.com/role-arn: "arn:aws:iam::111122223333:role/rolecall"}}`, map[string][]string{
		"ServiceAccount rolecall-system/rolecall": {"eks.amazonaws.com/role-arn: arn:aws:iam::111122223333:role/rolecall"},
	}},
	{"an account of one's own", "rolecall", `serviceAccount: {create: false, name: mine}`, map[string][]string{
		"DaemonSet rolecall-system/rolecall":   {"serviceAccountName: mine"},
		"RoleBinding rolecall-system/rolecall": {"name: mine"},
		"!ServiceAccount":                      nil,
	}},
	{"a config of one's own", "rolecall", `existingConfigMap: mine`, map[string][]string{
		"DaemonSet rolecall-system/rolecall": {"name: mine"},
		"!ConfigMap":                         nil,
	}},
	{"more config", "rolecall", `config: {iamGroups: [{name: Devs, groups: [devs]}], safety: {removalLimit: 20%}}`, map[string][]string{
		"ConfigMap rolecall-system/rolecall": {"name: Devs", "removalLimit: 20%", "keepUnused: forever"},
	}},
	{"no rights", "rolecall", `rbac: {create: false}`, map[string][]string{"!Role": nil, "!RoleBinding": nil}},
	{"an image by digest", "rolecall", `image: {repository: registry.example/rolecall, digest: "sha256:` + strings.Repeat("a", 64) + `", pullPolicy: Always}`, map[string][]string{
		"DaemonSet rolecall-system/rolecall": {"image: registry.example/rolecall@sha256:aaaa", "imagePullPolicy: Always"},
	}},
	{"flags and surroundings", "rolecall", `
log: {level: debug, format: json}
extraArgs: [--settle-time=5m]
extraEnv: [{name: HTTPS_PROXY, value: "http://proxy.example:3128"}]
imagePullSecrets: [{name: pull}]
priorityClassName: system-node-critical
commonLabels: {team: platform}
commonAnnotations: {note: "yes"}
podLabels: {pod: label}
podAnnotations: {pod: annotation, prometheus.io/scrape: "false"}
awsAuth: {namespace: trial, name: try}
`, map[string][]string{
		"DaemonSet rolecall-system/rolecall": {
			"--log-level=debug", "--log-format=json", "--settle-time=5m", "value: http://proxy.example:3128", "- name: pull", "priorityClassName: system-node-critical",
			"team: platform", `note: "yes"`, "pod: label", "pod: annotation", `prometheus.io/scrape: "false"`, "--aws-auth-namespace=trial", "--aws-auth-name=try",
		},
		"Role trial/rolecall":        {"- try"},
		"RoleBinding trial/rolecall": {"kind: Role"},
	}},
	{"no annotations", "rolecall", `metrics: {annotations: false}`, map[string][]string{
		"DaemonSet rolecall-system/rolecall": {"!prometheus.io"},
	}},
	{"pod monitor", "rolecall", `podMonitor: {enabled: true, labels: {release: prometheus}, relabelings: [{action: labeldrop, regex: pod}]}`, map[string][]string{
		"PodMonitor rolecall-system/rolecall": {"release: prometheus", "jobLabel: app.kubernetes.io/name", "port: metrics", "interval: 60s", "action: labeldrop", "app.kubernetes.io/name: rolecall"},
	}},
	{"alerts and dashboard", "rolecall", `{prometheusRule: {enabled: true, labels: {release: prometheus}}, dashboard: {enabled: true, namespace: trial}}`, map[string][]string{
		"PrometheusRule rolecall-system/rolecall": {"release: prometheus", "alert: RolecallNoLeader", "{{ $labels.namespace }}"},
		"ConfigMap trial/rolecall-dashboard":      {`grafana_dashboard: "1"`, "rolecall.json: |", `"panels": [`},
	}},
	{"service monitor", "rolecall", `{service: {enabled: true, annotations: {a: b}}, serviceMonitor: {enabled: true}}`, map[string][]string{
		"Service rolecall-system/rolecall":        {"clusterIP: None", "a: b", "publishNotReadyAddresses: true"},
		"ServiceMonitor rolecall-system/rolecall": {"port: metrics"},
	}},
}

func TestVariants(t *testing.T) {
	for _, v := range variants {
		t.Run(v.name, func(t *testing.T) {
			objects := mustRender(t, v.release, v.values)
			texts := map[string]string{}
			for i := range objects {
				body, err := sigsyaml.Marshal(objects[i].Object)
				if err != nil {
					t.Fatal(err)
				}
				texts[id(&objects[i])] = string(body)
			}
			for object, wants := range v.want {
				if kind, not := strings.CutPrefix(object, "!"); not {
					for name := range texts {
						if strings.HasPrefix(name, kind+" ") {
							t.Errorf("there is a %s", name)
						}
					}
					continue
				}
				text, ok := texts[object]
				if !ok {
					t.Errorf("there is no %s among %q", object, slices.Sorted(maps.Keys(texts)))
				}
				for _, want := range wants {
					if not, no := strings.CutPrefix(want, "!"); no == strings.Contains(text, strings.TrimPrefix(want, "!")) {
						t.Errorf("%s has %q: %t\n%s", object, not, no, text)
					}
				}
			}
		})
	}
}

// What is mistyped is told, not ignored.
func TestValuesAreChecked(t *testing.T) {
	for values, want := range map[string]string{
		"hostnetwork: false":                    "hostnetwork",
		"metrics: {port: '9465'}":               "port",
		"config: {kind: Konfig}":                "kind",
		"image: {digest: latest}":               "digest",
		"log: {level: loud}":                    "level",
		"extraArgs: [settle-time=5m]":           "extraArgs",
		"podMonitor: {enable: true}":            "enable",
		"serviceMonitor: {enabled: true}":       "service.enabled",
		"nodeSelector: {dedicated: true}":       "dedicated",
		"terminationGracePeriodSeconds: always": "terminationGracePeriodSeconds",
	} {
		if _, err := render(t, "rolecall", values); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want an error about %q", values, err, want)
		}
	}
}

// Every value has a default and a rule, and no rule is of a value that is gone.
func TestSchemaKnowsEveryValue(t *testing.T) {
	c := load(t)
	var schema struct {
		Properties map[string]any `json:"properties"`
	}
	if err := sigsyaml.Unmarshal(c.Schema, &schema); err != nil {
		t.Fatal(err)
	}
	delete(schema.Properties, "global")
	if diff := cmp.Diff(slices.Sorted(maps.Keys(c.Values)), slices.Sorted(maps.Keys(schema.Properties))); diff != "" {
		t.Errorf("(-values.yaml +values.schema.json):\n%s", diff)
	}
}

func TestHelmLint(t *testing.T) {
	path, err := filepath.Abs(folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range variants {
		var values map[string]any
		if err := sigsyaml.Unmarshal([]byte(v.values), &values); err != nil {
			t.Fatal(err)
		}
		for _, m := range lint.RunAll(path, values, namespace).Messages {
			if m.Severity > support.InfoSev {
				t.Errorf("%s: %s", v.name, m)
			}
		}
	}
}

// The chart, the manifests and the program are of one version.
func TestOneVersion(t *testing.T) {
	c := load(t)
	if want := strings.TrimPrefix(c.Metadata.AppVersion, "v"); c.Metadata.Version != want {
		t.Errorf("the chart's version is %s, its program's %s", c.Metadata.Version, want)
	}
	text, err := os.ReadFile(manifests)
	if err != nil {
		t.Fatal(err)
	}
	if image := "ghcr.io/rolecall/rolecall:" + c.Metadata.AppVersion; !bytes.Contains(text, []byte("image: "+image+"\n")) {
		t.Errorf("the manifests do not run %s", image)
	}
}

// What the chart has a copy of is what the manifests have: a chart holds no file
// of a folder beside it. "make generate" copies them.
func TestFilesAreTheManifests(t *testing.T) {
	for _, name := range []string{"rules.yaml", "dashboard.json"} {
		want, err := os.ReadFile(filepath.Join("../../manifests/monitoring", name))
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(filepath.Join(folder, "files", name))
		if err != nil || !bytes.Equal(want, got) {
			t.Errorf("charts/rolecall/files/%s is not that of manifests/monitoring (%v): run make generate", name, err)
		}
	}
}

// operator are the kinds of the Prometheus operator, which no API server has by
// itself.
var operator = []string{"PodMonitor", "ServiceMonitor", "PrometheusRule"}

// A real API server takes everything, with no field that it does not know.
func TestAPIServerTakesIt(t *testing.T) {
	cp := stage.ForTest(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for _, ns := range []string{namespace, "trial"} {
		if err := cp.CreateNamespace(ctx, ns); err != nil {
			t.Fatal(err)
		}
	}
	disco, err := discovery.NewDiscoveryClientForConfig(cp.Config())
	if err != nil {
		t.Fatal(err)
	}
	mapper := restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(disco))
	client, err := dynamic.NewForConfig(cp.Config())
	if err != nil {
		t.Fatal(err)
	}
	options := metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}, FieldValidation: metav1.FieldValidationStrict}
	for _, v := range variants {
		objects := mustRender(t, v.release, v.values)
		for i := range objects {
			o := &objects[i]
			if slices.Contains(operator, o.GetKind()) {
				continue
			}
			gvk := o.GroupVersionKind()
			mapping, err := mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
			if err != nil {
				t.Fatal(err)
			}
			var resource dynamic.ResourceInterface = client.Resource(mapping.Resource)
			if mapping.Scope.Name() == meta.RESTScopeNameNamespace {
				resource = client.Resource(mapping.Resource).Namespace(o.GetNamespace())
			}
			if _, err := resource.Create(ctx, o, options); err != nil && !apierrors.IsAlreadyExists(err) {
				t.Errorf("%s: %s: %v", v.name, id(o), err)
			}
		}
	}
}
