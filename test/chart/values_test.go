package chart_test

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/engine"
	sigsyaml "sigs.k8s.io/yaml"
)

// uses say of each value what another one of it brings about: given the values
// that it needs to matter at all, setting it must add exactly such lines, one of
// them with the text. A value that the templates ignore changes nothing and fails.
var uses = map[string]struct{ given, value, adds string }{
	"config.apiVersion":                    {"", "", ""}, // the schema allows one value only
	"config.kind":                          {"", "", ""},
	"config.refreshInterval":               {"", "5m", "refreshInterval: 5m"},
	"config.nodeRoles.report":              {"", "false", "report: false"},
	"config.nodeRoles.keepUnused":          {"", "720h", "keepUnused: 720h"},
	"existingConfigMap":                    {"", "mine", "name: mine"},
	"global.imagePullSecrets":              {"", "[{name: shared}]", "- name: shared"},
	"image.repository":                     {"", "registry.example/rolecall", "image: \"registry.example/rolecall:v"},
	"image.tag":                            {"", "v0.0.9", "image: \"ghcr.io/rolecall/rolecall:v0.0.9\""},
	"image.digest":                         {"", "sha256:" + strings.Repeat("b", 64), "image: \"ghcr.io/rolecall/rolecall@sha256:" + strings.Repeat("b", 64)},
	"image.pullPolicy":                     {"", "Always", "imagePullPolicy: Always"},
	"imagePullSecrets":                     {"", "[{name: pull}]", "- name: pull"},
	"nameOverride":                         {"", "other", "app.kubernetes.io/name: other"},
	"fullnameOverride":                     {"", "other", "--daemonset=other"},
	"namespaceOverride":                    {"", "elsewhere", "namespace: elsewhere"},
	"commonLabels":                         {"", "{team: platform}", "team: platform"},
	"commonAnnotations":                    {"", "{note: x}", "note: x"},
	"serviceAccount.create":                {"", "false", "serviceAccountName: default"},
	"serviceAccount.name":                  {"", "mine", "serviceAccountName: mine"},
	"serviceAccount.annotations":           {"", `{eks.amazonaws.com/role-arn: "arn:aws:iam::111122223333:role/rolecall"}`, "eks.amazonaws.com/role-arn: arn:aws:iam::111122223333:role/rolecall"},
	"serviceAccount.labels":                {"", "{a: b}", "a: b"},
	"hardened.enabled":                     {"", "true", "--report-only"},
	"hardened.reporterUpdateStrategy.type": {"{hardened: {enabled: true, reporterUpdateStrategy: {rollingUpdate: null}}}", "OnDelete", "type: OnDelete"},
	"hardened.reporterUpdateStrategy.rollingUpdate.maxUnavailable": {"{hardened: {enabled: true}}", "25%", "maxUnavailable: 25%"},
	"hardened.leases":                             {"{hardened: {enabled: true}}", "77", `count/leases.coordination.k8s.io: "77"`},
	"rbac.create":                                 {"{rbac: {create: false}}", "true", "kind: RoleBinding"},
	"rbac.readNodes":                              {"", "true", "kind: ClusterRole"},
	"awsAuth.namespace":                           {"", "trial", "--aws-auth-namespace=trial"},
	"awsAuth.name":                                {"", "try", "--aws-auth-name=try"},
	"log.level":                                   {"", "debug", "--log-level=debug"},
	"log.format":                                  {"", "json", "--log-format=json"},
	"extraArgs":                                   {"", "[--settle-time=5m]", "- --settle-time=5m"},
	"extraEnv":                                    {"", "[{name: HTTPS_PROXY, value: x}]", "name: HTTPS_PROXY"},
	"extraVolumes":                                {"", "[{name: ca, secret: {secretName: ca}}]", "secretName: ca"},
	"extraVolumeMounts":                           {"{extraVolumes: [{name: ca, secret: {secretName: ca}}]}", "[{name: ca, mountPath: /ca}]", "mountPath: /ca"},
	"extraContainers":                             {"", "[{name: proxy, image: proxy}]", "name: proxy"},
	"initContainers":                              {"", "[{name: first, image: first}]", "name: first"},
	"extraObjects":                                {"", "[{apiVersion: v1, kind: Secret, metadata: {name: '{{ .Release.Name }}-extra'}}]", "name: 'rolecall-extra'"},
	"statusPage.enabled":                          {"", "true", "--status-page=127.0.0.1:9466"},
	"statusPage.port":                             {"{statusPage: {enabled: true}}", "9999", "--status-page=127.0.0.1:9999"},
	"metrics.port":                                {"", "10465", "--http-address=:10465"},
	"metrics.annotations":                         {"{metrics: {annotations: false}}", "true", "prometheus.io/path: /metrics"},
	"podMonitor.enabled":                          {"", "true", "kind: PodMonitor"},
	"podMonitor.namespace":                        {"{podMonitor: {enabled: true}}", "monitoring", "namespace: monitoring"},
	"podMonitor.labels":                           {"{podMonitor: {enabled: true}}", "{a: b}", "a: b"},
	"podMonitor.annotations":                      {"{podMonitor: {enabled: true}}", "{a: b}", "a: b"},
	"podMonitor.honorLabels":                      {"{podMonitor: {enabled: true}}", "true", "honorLabels: true"},
	"podMonitor.targetLabels":                     {"{podMonitor: {enabled: true}}", "[team]", "podTargetLabels:"},
	"podMonitor.interval":                         {"{podMonitor: {enabled: true}}", "33s", "interval: 33s"},
	"podMonitor.scrapeTimeout":                    {"{podMonitor: {enabled: true}}", "7s", "scrapeTimeout: 7s"},
	"podMonitor.relabelings":                      {"{podMonitor: {enabled: true}}", "[{action: labeldrop, regex: pod}]", "action: labeldrop"},
	"podMonitor.metricRelabelings":                {"{podMonitor: {enabled: true}}", "[{action: labeldrop, regex: x}]", "metricRelabelings:"},
	"service.enabled":                             {"", "true", "kind: Service"},
	"service.labels":                              {"{service: {enabled: true}}", "{a: b}", "a: b"},
	"service.annotations":                         {"{service: {enabled: true}}", "{a: b}", "a: b"},
	"service.ipFamilyPolicy":                      {"{service: {enabled: true}}", "PreferDualStack", "ipFamilyPolicy: PreferDualStack"},
	"service.ipFamilies":                          {"{service: {enabled: true}}", "[IPv6]", "- IPv6"},
	"serviceMonitor.enabled":                      {"{service: {enabled: true}}", "true", "kind: ServiceMonitor"},
	"serviceMonitor.namespace":                    {"{service: {enabled: true}, serviceMonitor: {enabled: true}}", "monitoring", "namespace: monitoring"},
	"serviceMonitor.labels":                       {"{service: {enabled: true}, serviceMonitor: {enabled: true}}", "{a: b}", "a: b"},
	"serviceMonitor.annotations":                  {"{service: {enabled: true}, serviceMonitor: {enabled: true}}", "{a: b}", "a: b"},
	"serviceMonitor.honorLabels":                  {"{service: {enabled: true}, serviceMonitor: {enabled: true}}", "true", "honorLabels: true"},
	"serviceMonitor.targetLabels":                 {"{service: {enabled: true}, serviceMonitor: {enabled: true}}", "[team]", "targetLabels:"},
	"serviceMonitor.interval":                     {"{service: {enabled: true}, serviceMonitor: {enabled: true}}", "33s", "interval: 33s"},
	"serviceMonitor.scrapeTimeout":                {"{service: {enabled: true}, serviceMonitor: {enabled: true}}", "7s", "scrapeTimeout: 7s"},
	"serviceMonitor.relabelings":                  {"{service: {enabled: true}, serviceMonitor: {enabled: true}}", "[{action: labeldrop, regex: pod}]", "action: labeldrop"},
	"serviceMonitor.metricRelabelings":            {"{service: {enabled: true}, serviceMonitor: {enabled: true}}", "[{action: labeldrop, regex: x}]", "metricRelabelings:"},
	"prometheusRule.enabled":                      {"", "true", "kind: PrometheusRule"},
	"prometheusRule.namespace":                    {"{prometheusRule: {enabled: true}}", "monitoring", "namespace: monitoring"},
	"prometheusRule.labels":                       {"{prometheusRule: {enabled: true}}", "{a: b}", "a: b"},
	"prometheusRule.annotations":                  {"{prometheusRule: {enabled: true}}", "{a: b}", "a: b"},
	"dashboard.enabled":                           {"", "true", "name: rolecall-dashboard"},
	"dashboard.namespace":                         {"{dashboard: {enabled: true}}", "grafana", "namespace: grafana"},
	"dashboard.labels.grafana_dashboard":          {"{dashboard: {enabled: true}}", `"yes"`, `grafana_dashboard: "yes"`},
	"dashboard.annotations":                       {"{dashboard: {enabled: true}}", "{a: b}", "a: b"},
	"hostNetwork":                                 {"", "false", "hostNetwork: false"},
	"dnsPolicy":                                   {"", "ClusterFirstWithHostNet", "dnsPolicy: ClusterFirstWithHostNet"},
	"dnsConfig":                                   {"", "{nameservers: [10.0.0.2]}", "- 10.0.0.2"},
	"hostAliases":                                 {"", "[{ip: 10.0.0.3, hostnames: [proxy]}]", "ip: 10.0.0.3"},
	"networkPolicy.enabled":                       {"{hostNetwork: false}", "true", "kind: NetworkPolicy"},
	"networkPolicy.ingress":                       {"{hostNetwork: false, networkPolicy: {enabled: true}}", "[{from: [{podSelector: {}}]}]", "- podSelector: {}"},
	"networkPolicy.egress":                        {"{hostNetwork: false, networkPolicy: {enabled: true}}", "[{to: [{podSelector: {}}]}]", "- podSelector: {}"},
	"tests.enabled":                               {"{tests: {enabled: false}}", "true", "helm.sh/hook: test"},
	"priorityClassName":                           {"", "system-node-critical", "priorityClassName: system-node-critical"},
	"updateStrategy.type":                         {"{updateStrategy: {rollingUpdate: null}}", "OnDelete", "type: OnDelete"},
	"updateStrategy.rollingUpdate.maxUnavailable": {"", "10%", "maxUnavailable: 10%"},
	"revisionHistoryLimit":                        {"", "0", "revisionHistoryLimit: 0"},
	"daemonSetAnnotations":                        {"", "{a: b}", "a: b"},
	"terminationGracePeriodSeconds":               {"", "40", "terminationGracePeriodSeconds: 40"},
	"livenessProbe.periodSeconds":                 {"", "21", "periodSeconds: 21"},
	"livenessProbe.timeoutSeconds":                {"", "22", "timeoutSeconds: 22"},
	"livenessProbe.failureThreshold":              {"", "23", "failureThreshold: 23"},
	"readinessProbe.periodSeconds":                {"", "24", "periodSeconds: 24"},
	"readinessProbe.timeoutSeconds":               {"", "25", "timeoutSeconds: 25"},
	"nodeSelector.kubernetes.io/os":               {"", "other", "kubernetes.io/os: other"},
	"tolerations":                                 {"", "[{key: only, operator: Exists}]", "key: only"},
	"affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms": {"", "[{matchExpressions: [{key: k, operator: Exists}]}]", "key: k"},
	"podLabels":                                {"", "{a: b}", "a: b"},
	"podAnnotations":                           {"", "{a: b}", "a: b"},
	"podSecurityContext.runAsNonRoot":          {"", "false", "runAsNonRoot: false"},
	"podSecurityContext.runAsUser":             {"", "1001", "runAsUser: 1001"},
	"podSecurityContext.runAsGroup":            {"", "1002", "runAsGroup: 1002"},
	"podSecurityContext.seccompProfile.type":   {"", "Unconfined", "type: Unconfined"},
	"securityContext.allowPrivilegeEscalation": {"", "true", "allowPrivilegeEscalation: true"},
	"securityContext.readOnlyRootFilesystem":   {"", "false", "readOnlyRootFilesystem: false"},
	"securityContext.capabilities.drop":        {"", "[NET_RAW]", "- NET_RAW"},
	"resources.requests.cpu":                   {"", "11m", "cpu: 11m"},
	"resources.requests.memory":                {"", "33Mi", "memory: 33Mi"},
	"resources.limits.memory":                  {"", "129Mi", "memory: 129Mi"},
}

// leaves are the values by their paths; a list and an empty map are one.
func leaves(prefix string, v any, into map[string][]string, path []string) {
	m, ok := v.(map[string]any)
	if !ok || len(m) == 0 {
		into[strings.TrimPrefix(prefix, ".")] = path
		return
	}
	for name, inner := range m {
		leaves(prefix+"."+name, inner, into, append(slices.Clone(path), name))
	}
}

// lines renders the chart, its notes too, and counts the lines.
func lines(t *testing.T, values map[string]any) map[string]int {
	t.Helper()
	c := load(t)
	all, err := util.ToRenderValues(c, values, common.ReleaseOptions{Name: "rolecall", Namespace: namespace, Revision: 1, IsInstall: true}, cluster(t, "v1.36.3"))
	if err != nil {
		t.Fatal(err)
	}
	texts, err := engine.Render(c, all)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]int{}
	for _, text := range texts {
		for line := range strings.Lines(text) {
			out[strings.TrimSpace(line)]++
		}
	}
	return out
}

func TestEveryValueIsUsed(t *testing.T) {
	t.Parallel()
	known := map[string][]string{}
	leaves("", load(t).Values, known, nil)
	for path := range uses {
		if known[path] == nil {
			t.Errorf("values.yaml has no value %s", path)
		}
	}
	for _, path := range slices.Sorted(maps.Keys(known)) {
		use, ok := uses[path]
		if !ok {
			t.Errorf("no test says what the value %s is for", path)
			continue
		}
		if use.value == "" {
			continue
		}
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			given := map[string]any{}
			if err := sigsyaml.Unmarshal([]byte(cmp.Or(use.given, "{}")), &given); err != nil {
				t.Fatal(err)
			}
			before := lines(t, given)
			var value any
			if err := sigsyaml.Unmarshal([]byte(use.value), &value); err != nil {
				t.Fatal(err)
			}
			set := given
			names := known[path]
			for _, name := range names[:len(names)-1] {
				inner, ok := set[name].(map[string]any)
				if !ok {
					inner = map[string]any{}
					set[name] = inner
				}
				set = inner
			}
			set[names[len(names)-1]] = value
			var added []string
			for line, n := range lines(t, given) {
				if n > before[line] {
					added = append(added, fmt.Sprintf("%d× %s", n-before[line], line))
				}
			}
			if !slices.ContainsFunc(added, func(line string) bool { return strings.Contains(line, use.adds) }) {
				t.Errorf("%s adds no line with %q:\n%s", use.value, use.adds, strings.Join(added, "\n"))
			}
		})
	}
}
