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
	"k8s.io/apimachinery/pkg/runtime/schema"
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

// cluster is what Helm knows of a cluster of that version. Without one this
// library of Helm's takes a v1.20.
func cluster(t *testing.T, version string) *common.Capabilities {
	t.Helper()
	parsed, err := common.ParseKubeVersion(version)
	if err != nil {
		t.Fatal(err)
	}
	out := common.DefaultCapabilities.Copy()
	out.KubeVersion = *parsed
	return out
}

// render renders the chart as a release of that name. values is YAML.
func render(t *testing.T, release, values string) ([]unstructured.Unstructured, error) {
	t.Helper()
	c := load(t)
	var given map[string]any
	if err := sigsyaml.Unmarshal([]byte(values), &given); err != nil {
		t.Fatal(err)
	}
	all, err := util.ToRenderValues(c, given, common.ReleaseOptions{Name: release, Namespace: namespace, Revision: 1, IsInstall: true}, cluster(t, "v1.36.3"))
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
	got := comparable(t, installed(mustRender(t, "rolecall", "")))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-manifests +chart):\n%s", diff)
	}
}

// installed leaves out what Helm makes for "helm test" only.
func installed(objects []unstructured.Unstructured) []unstructured.Unstructured {
	return slices.DeleteFunc(objects, func(o unstructured.Unstructured) bool { return o.GetAnnotations()["helm.sh/hook"] != "" })
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
	{"no page", "rolecall", ``, map[string][]string{
		"DaemonSet rolecall-system/rolecall": {"!--status-page"},
	}},
	{"a page", "rolecall", `statusPage: {enabled: true, port: 9999}`, map[string][]string{
		"DaemonSet rolecall-system/rolecall": {"--status-page=127.0.0.1:9999", "!containerPort: 9999"},
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
	{"hardened", "rolecall", `hardened: {enabled: true}`, map[string][]string{
		"DaemonSet rolecall-system/rolecall": {`rolecall.node-restriction.kubernetes.io/candidate: "true"`, "--config=/etc/rolecall", "!--report-only"},
		"ConfigMap rolecall-system/rolecall": {"verify: ec2", "keepUnused: forever"},
	}},
	{"hardened, otherwise named", "prod", `
hardened: {enabled: true}
serviceAccount: {name: writer}
config: {nodeRoles: {verify: none, report: false}}
affinity: {nodeAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{weight: 1, preference: {matchExpressions: [{key: k, operator: Exists}]}}], requiredDuringSchedulingIgnoredDuringExecution: null}}
metrics: {port: 10465}
podMonitor: {enabled: true}
commonAnnotations: {note: x}
`, map[string][]string{
		"DaemonSet rolecall-system/prod-rolecall-reporter":         {"serviceAccountName: prod-rolecall-reporter", "operator: NotIn", "weight: 1", "--http-address=:10465", "!--daemonset"},
		"ConfigMap rolecall-system/prod-rolecall":                  {"verify: none"},
		"ValidatingAdmissionPolicy /leases.rolecall-system":        {"== 'system:serviceaccount:rolecall-system:writer'", "== 'system:serviceaccount:rolecall-system:prod-rolecall-reporter'", "!:rolecall'", "note: x"},
		"ValidatingAdmissionPolicy /memory.rolecall-system":        {"== 'system:serviceaccount:rolecall-system:writer'", "ServiceAccount writer changes"},
		"RoleBinding rolecall-system/prod-rolecall-reporter":       {"name: prod-rolecall-reporter"},
		"PodMonitor rolecall-system/prod-rolecall":                 {"app.kubernetes.io/part-of: rolecall"},
		"ValidatingAdmissionPolicyBinding /leases.rolecall-system": {"policyName: leases.rolecall-system"},
		"ResourceQuota rolecall-system/prod-rolecall":              {`count/leases.coordination.k8s.io: "500"`},
	}},
	{"hardened elsewhere", "rolecall", `{hardened: {enabled: true}, namespaceOverride: trial}`, map[string][]string{
		"DaemonSet trial/rolecall-reporter":       {"serviceAccountName: rolecall-reporter"},
		"ValidatingAdmissionPolicy /leases.trial": {"kubernetes.io/metadata.name: trial", "system:serviceaccount:trial:rolecall'"},
		"RoleBinding kube-system/rolecall.trial":  {"namespace: trial"},
		"Pod trial/rolecall-test":                 {"--namespace=trial", `candidate: "true"`},
	}},
	{"Nodes are read", "prod", `{rbac: {readNodes: true}, serviceAccount: {name: writer}, commonAnnotations: {note: x}}`, map[string][]string{
		"ClusterRole /prod-rolecall-read-nodes":        {"- nodes", "- get", "!- list", "note: x"},
		"ClusterRoleBinding /prod-rolecall-read-nodes": {"name: writer", "namespace: rolecall-system", "name: prod-rolecall-read-nodes"},
	}},
	{"another name", "rolecall", `{nameOverride: roles, podMonitor: {enabled: true}}`, map[string][]string{
		// The alerts know the jobs by the name rolecall.
		"PodMonitor rolecall-system/rolecall-roles": {"regex: roles(-reporter)?", "replacement: rolecall${1}", "targetLabel: job"},
		"DaemonSet rolecall-system/rolecall-roles":  {"app.kubernetes.io/name: roles", "--daemonset=rolecall-roles"},
		"Pod rolecall-system/rolecall-roles-test":   {"--daemonset=rolecall-roles"},
	}},
	{"pod network, guarded", "rolecall", `{hostNetwork: false, networkPolicy: {enabled: true}, dnsConfig: {nameservers: [10.0.0.2]}, hostAliases: [{ip: 10.0.0.3, hostnames: [proxy]}]}`, map[string][]string{
		"NetworkPolicy rolecall-system/rolecall": {"port: metrics", "cidr: 169.254.169.254/32"},
	}},
	{"more of everything", "rolecall", `
extraVolumes: [{name: ca, secret: {secretName: ca}}]
extraVolumeMounts: [{name: ca, mountPath: /ca, readOnly: true}]
extraContainers: [{name: proxy, image: proxy}]
initContainers: [{name: first, image: first}]
extraObjects:
  - {apiVersion: v1, kind: Secret, metadata: {name: "{{ .Release.Name }}-extra"}}
  - |
    apiVersion: v1
    kind: ConfigMap
    metadata: {name: "{{ include "rolecall.fullname" . }}-text"}
revisionHistoryLimit: 3
livenessProbe: {initialDelaySeconds: 5}
`, map[string][]string{
		"DaemonSet rolecall-system/rolecall": {"name: ca", "mountPath: /ca", "image: proxy", "image: first", "revisionHistoryLimit: 3", "initialDelaySeconds: 5", "path: /healthz"},
		"Secret /rolecall-extra":             nil,
		"ConfigMap /rolecall-text":           nil,
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
		"hostnetwork: false":                      "hostnetwork",
		"metrics: {port: '9465'}":                 "port",
		"config: {kind: Konfig}":                  "kind",
		"image: {digest: latest}":                 "digest",
		"log: {level: loud}":                      "level",
		"extraArgs: [settle-time=5m]":             "extraArgs",
		"podMonitor: {enable: true}":              "enable",
		"networkPolicy: {enabled: true}":          "hostNetwork: false",
		"livenessProbe: {exec: {}}":               "exec",
		"hardened: {enabled: maybe}":              "enabled",
		"service: {ipFamilies: [IPv5]}":           "ipFamilies",
		"serviceMonitor: {enabled: true}":         "service.enabled",
		"nodeSelector: {dedicated: true}":         "dedicated",
		"terminationGracePeriodSeconds: always":   "terminationGracePeriodSeconds",
		"statusPage: {enabled: true, port: 9465}": "statusPage.port",
		"statusPage: {address: 0.0.0.0}":          "address",
	} {
		if _, err := render(t, "rolecall", values); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want an error about %q", values, err, want)
		}
	}
}

// Every value has a default and a rule, and no rule is of a value that is gone.
func TestSchemaKnowsEveryValue(t *testing.T) {
	c := load(t)
	var schema map[string]any
	if err := sigsyaml.Unmarshal(c.Schema, &schema); err != nil {
		t.Fatal(err)
	}
	properties := func(s map[string]any) (map[string]any, bool) {
		if ref, ok := s["$ref"].(string); ok {
			definitions, _ := schema["definitions"].(map[string]any)
			s, _ = definitions[strings.TrimPrefix(ref, "#/definitions/")].(map[string]any)
		}
		p, ok := s["properties"].(map[string]any)
		return p, ok && s["additionalProperties"] == false
	}
	var compare func(path string, values map[string]any, s map[string]any)
	compare = func(path string, values map[string]any, s map[string]any) {
		known, strict := properties(s)
		if !strict {
			return // an object of Kubernetes, or of the config
		}
		want := slices.Sorted(maps.Keys(values))
		var got []string
		for name, rule := range known {
			inner, _ := values[name].(map[string]any)
			// What values.yaml leaves to Kubernetes.
			if values[name] == nil && slices.Contains([]string{"initialDelaySeconds", "successThreshold", "failureThreshold"}, name) {
				continue
			}
			got = append(got, name)
			rule, _ := rule.(map[string]any)
			if inner != nil {
				compare(path+"."+name, inner, rule)
			}
		}
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-values.yaml +values.schema.json):\n%s", path, diff)
		}
	}
	compare("", c.Values, schema)
}

// TestTwoInstallations holds that installations in two namespaces share no object:
// the one that is removed would take it from the other.
func TestTwoInstallations(t *testing.T) {
	const all = `
service: {enabled: true}
hardened: {enabled: true}
rbac: {readNodes: true}
serviceMonitor: {enabled: true, namespace: monitoring}
prometheusRule: {enabled: true, namespace: monitoring}
dashboard: {enabled: true, namespace: monitoring}
namespaceOverride: `
	mine := map[string]bool{}
	for _, o := range mustRender(t, "rolecall", all+"rolecall-blue") {
		mine[id(&o)] = true
	}
	for _, o := range append(mustRender(t, "rolecall", all+"rolecall-green"), mustRender(t, "rolecall", all+namespace)...) {
		if mine[id(&o)] {
			t.Errorf("two installations have the object %s", id(&o))
		}
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

// What the chart has a copy of is what the manifests have: a chart holds no file
// of a folder beside it. "make generate" copies them.
func TestFilesAreTheManifests(t *testing.T) {
	for name, in := range map[string]string{"rules.yaml": "monitoring", "dashboard.json": "monitoring", "policies.yaml": "overlays/hardened"} {
		want, err := os.ReadFile(filepath.Join("../../manifests", in, name))
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(filepath.Join(folder, "files", name))
		if err != nil || !bytes.Equal(want, got) {
			t.Errorf("charts/rolecall/files/%s is not that of manifests/%s (%v): run make generate", name, in, err)
		}
	}
}

// A real API server takes everything, with no field that it does not know. The
// Prometheus operator's kinds are those of its own CustomResourceDefinitions.
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
	client, err := dynamic.NewForConfig(cp.Config())
	if err != nil {
		t.Fatal(err)
	}
	mapper := restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(disco))
	define(ctx, t, client, mapper)
	options := metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}, FieldValidation: metav1.FieldValidationStrict}
	create := func(o *unstructured.Unstructured) error {
		gvk := o.GroupVersionKind()
		mapping, err := mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
		if err != nil {
			return err
		}
		var resource dynamic.ResourceInterface = client.Resource(mapping.Resource)
		if mapping.Scope.Name() == meta.RESTScopeNameNamespace {
			resource = client.Resource(mapping.Resource).Namespace(inNamespace(o))
		}
		_, err = resource.Create(ctx, o, options)
		return err
	}
	monitors := 0
	for _, v := range variants {
		objects := mustRender(t, v.release, v.values)
		for i := range objects {
			o := &objects[i]
			if err := create(o); err != nil && !apierrors.IsAlreadyExists(err) {
				t.Errorf("%s: %s: %v", v.name, id(o), err)
			}
			if o.GetAPIVersion() != "monitoring.coreos.com/v1" {
				continue
			}
			monitors++
			if err := unstructured.SetNestedField(o.Object, true, "spec", "nosuch"); err != nil {
				t.Fatal(err)
			}
			if err := create(o); err == nil {
				t.Errorf("a %s with an unknown field is taken, so this test sees nothing", o.GetKind())
			}
		}
	}
	if monitors < 4 {
		t.Errorf("%d objects of the Prometheus operator only", monitors)
	}
}

// inNamespace is where Helm puts an object that names no namespace.
func inNamespace(o *unstructured.Unstructured) string {
	if ns := o.GetNamespace(); ns != "" {
		return ns
	}
	return namespace
}

// define makes the definitions in testdata/crds, and waits until they are in
// force, and the API server's list of kinds, which the mapper keeps, has them.
func define(ctx context.Context, t *testing.T, client dynamic.Interface, mapper meta.ResettableRESTMapper) {
	t.Helper()
	resource := client.Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"})
	files, err := filepath.Glob("testdata/crds/*.yaml")
	if err != nil || len(files) != 3 {
		t.Fatalf("%q: %v", files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		definitions, err := decode(text)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := resource.Create(ctx, &definitions[0], metav1.CreateOptions{}); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		name := definitions[0].GetName()
		w, err := resource.Watch(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + name})
		if err != nil {
			t.Fatal(err)
		}
		for established := false; !established; {
			event, ok := <-w.ResultChan()
			if !ok {
				t.Fatalf("%s: not established: %v", name, ctx.Err())
			}
			object, _ := event.Object.(*unstructured.Unstructured)
			conditions, _, _ := unstructured.NestedSlice(object.Object, "status", "conditions")
			for _, c := range conditions {
				c, _ := c.(map[string]any)
				established = established || c["type"] == "Established" && c["status"] == "True"
			}
		}
		w.Stop()
		kind, _, _ := unstructured.NestedString(definitions[0].Object, "spec", "names", "kind")
		for {
			_, err := mapper.RESTMapping(schema.GroupKind{Group: "monitoring.coreos.com", Kind: kind}, "v1")
			if err == nil {
				break
			}
			select {
			case <-ctx.Done():
				t.Fatalf("%s: not among the API server's kinds: %v", name, err)
			case <-time.After(20 * time.Millisecond):
			}
			mapper.Reset()
		}
	}
}
