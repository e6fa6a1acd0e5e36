package faults_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"golang.org/x/sync/errgroup"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/rolecall/rolecall/internal/roster"
	"github.com/rolecall/rolecall/test/awsfake"
	"github.com/rolecall/rolecall/test/fleet"
	"github.com/rolecall/rolecall/test/trial"
)

// hostile would forge lines of a log, steer a terminal, and turn text around.
const hostile = "x\nlevel=ERROR msg=forged\r\x1b[2J\x1b]0;owned\x07\u009b31m\u202e\u2028\x7f\" = \\x1b[0m"

// hostileYAML is that, as a text in double quotes.
const hostileYAML = `"x\nlevel=ERROR msg=forged\r\e[2J\e]0;owned\a\x9b31m\u202e\u2028\x7f\" = \\x1b[0m"`

// secretBody marks texts that no log may hold.
const secretBody = "do-not-log-this-body"

// Whatever others write, wherever they write it, each line of a log is one of
// ours and nothing reaches a terminal but what prints; what is secret and what
// documents hold is not logged even at debug; and no text of others names a
// metric.
func TestHostileTextsEverywhere(t *testing.T) {
	t.Parallel()
	config := "# " + secretBody + `
apiVersion: rolecall.dev/v1
kind: Config
refreshInterval: 1h
nodeRoles:
  extra: [` + trial.Account + `role/extra]
roles:
  - {arn: "` + trial.Account + `role/taken", username: config, groups: [config]}
  - {permissionSet: Admin, groups: [system:masters]}
iamGroups:
  - {name: Developers, groups: [developers]}
  - {name: Mixed, groups: [developers]}
`
	s := newSite(t, config, "--log-level=debug")
	s.Create(map[string]string{
		"mapRoles": "# " + secretBody + "\n" +
			"- {rolearn: '" + trial.Account + "role/taken', username: " + hostileYAML + ", groups: [" + hostileYAML + "], " + hostileYAML + ": " + hostileYAML + "}\n" +
			"- {rolearn: " + hostileYAML + ", username: x, groups: [x], syncedBy: rolecall}\n" +
			"- {rolearn: " + hostileYAML + ", username: x, syncedBy: " + hostileYAML + "}\n",
		"mapUsers":  "- {userarn: " + hostileYAML + ", username: " + hostileYAML + ", syncedBy: rolecall}\n",
		"not-ours":  hostile + secretBody,
		"mapOthers": hostile,
	})
	for name, arn := range map[string]string{
		"node-role-empty": "", "node-role-forged": hostile, roster.LeaseName(hostile): hostile,
		roster.LeaseName("arn:aws:iam::444455556666:role/" + hostile): "arn:aws:iam::444455556666:role/" + hostile,
		roster.LeaseName("arn:aws:iam::444455556666:role/other"):      "arn:aws:iam::444455556666:role/other",
	} {
		s.lease(name, arn, hostile, "")
	}
	s.AWS.AddRole(awsfake.Role{Name: "reader"})
	s.AWS.AddPermissionSet("Admin", suffixA, "", made)
	s.AWS.SetMembers("Mixed", "ana", hostile, "\u202eben")

	// A token of IRSA's, in place of keys in the environment.
	const token = "web-identity-token-that-nobody-may-see"
	tokenFile := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(tokenFile, []byte(token), 0o600); err != nil {
		t.Fatal(err)
	}
	agents := []*fleet.Node{s.NewNode("node-a", "workers"), s.NewNode("node-b", "others")}
	agents[0].Setenv("AWS_ACCESS_KEY_ID=", "AWS_SECRET_ACCESS_KEY=", "AWS_WEB_IDENTITY_TOKEN_FILE="+tokenFile, "AWS_ROLE_ARN="+trial.Account+"role/reader", "AWS_ROLE_SESSION_NAME="+"rolecall")
	for i, flags := range [][]string{{"--log-format=json"}, {"--log-format=text", "--report-only"}} {
		if i == 1 {
			agents[i].Setenv("NODE_NAME=" + strings.ReplaceAll(hostile, "\x00", ""))
		}
		if err := agents[i].Start(flags...); err != nil {
			t.Fatal(err)
		}
	}
	leader := agents[0]
	s.Metric(leader, 5, "rolecall_node_reports_refused")
	s.Metric(leader, 2, "rolecall_conflicts") // one with the config, one among the hostile entries
	s.Metric(leader, 2, "rolecall_sources_failed", "source", "group")
	// The config turns bad in the same way, and IAM refuses with other words.
	s.Mount(config + hostileYAML + ": " + hostileYAML + "\nadopt: [" + hostileYAML + "]\n")
	body := s.Says(leader, "[!]config: refused since ")
	prints(t, "/readyz", body)
	s.Eventually("the other one has logged", func(context.Context) error {
		found, err := agents[1].Logged("reported the node")
		if err == nil && len(found) == 0 {
			err = errors.New("it has not reported")
		}
		return err
	})

	secrets := []string{token, secretBody, "wJalrXUtnFEMI"}
	for _, n := range agents {
		bearer, err := os.ReadFile(filepath.Join(filepath.Dir(n.Mount.Dir()), "token"))
		if err != nil {
			t.Fatal(err)
		}
		secrets = append(secrets, string(bearer[:40]), string(bearer[len(bearer)-40:]))
	}
	for i, n := range agents {
		text, err := os.ReadFile(n.LogPath())
		if err != nil {
			t.Fatal(err)
		}
		text = text[:bytes.LastIndexByte(text, '\n')+1]
		prints(t, "the log of "+n.Name, string(text))
		for line := range strings.Lines(string(text)) {
			if i == 0 && !isRecord(line) || i == 1 && !textLine.MatchString(line) {
				t.Errorf("no record of the agent's: %q", line)
			}
			if len(line) > 20_000 {
				t.Errorf("a line of %d bytes: %.100q", len(line), line)
			}
		}
		for _, secret := range secrets {
			if i := bytes.Index(text, []byte(secret)); i >= 0 {
				t.Errorf("the log of %s holds %.30q: %q", n.Name, secret, text[max(0, i-100):i+10])
			}
		}
	}
	s.closedLabels(leader)
	var events *corev1.EventList
	s.Eventually("Events tell of all", func(ctx context.Context) (err error) {
		if events, err = s.Client.CoreV1().Events(s.AWSAuthNamespace).List(ctx, metav1.ListOptions{}); err != nil {
			return err
		}
		for _, reason := range []string{"Conflict", "SourceFailed", "ReportRefused", "Updated"} {
			if !slices.ContainsFunc(events.Items, func(e corev1.Event) bool { return e.Reason == reason }) {
				return fmt.Errorf("no Event %s", reason)
			}
		}
		return nil
	})
	for _, e := range events.Items {
		prints(t, "an Event", strings.ReplaceAll(e.Message, "\n", "\x00")+e.Reason)
		if len(e.Message) > 1024 || strings.Contains(e.Message, secretBody) {
			t.Errorf("an Event of %d bytes: %q", len(e.Message), e.Message)
		}
	}

	// At a terminal.
	good, bad := filepath.Join(t.TempDir(), "config.yaml"), filepath.Join(t.TempDir(), "bad\x1b[2J.yaml")
	for path, text := range map[string]string{good: config, bad: config + hostileYAML + ": x\n"} {
		if err := os.WriteFile(path, []byte(strings.Replace(text, "username: config", "username: changed", 1)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{
		{"plan", "--config", good},
		{"plan", "--config", good, "-o", "json"},
		{"plan", "--config", bad},
		{"validate", good},
		{"validate", bad},
		{"plan", "--context", hostile},
		{"plan", "-o", hostile},
		{hostile},
		{"validate", hostile},
		{"agent", "--log-format", hostile},
	} {
		got, err := s.Run(t.Context(), args...)
		if err != nil {
			t.Fatal(err)
		}
		prints(t, fmt.Sprintf("stdout of %q", args), got.Stdout)
		prints(t, fmt.Sprintf("stderr of %q", args), got.Stderr)
		for line := range strings.Lines(got.Stdout + got.Stderr) {
			if strings.HasPrefix(line, "level=") {
				t.Errorf("%q prints a forged line: %q", args, line)
			}
		}
	}
}

// textLine is how a record of the format text begins.
var textLine = regexp.MustCompile(`^\d\d:\d\d:\d\d (DBG|INF|WRN|ERR)([+-]\d+)? \S`)

// isRecord reports whether a line is a JSON record of the agent's.
func isRecord(line string) bool {
	var r struct{ Time, Level, Msg string }
	return json.Unmarshal([]byte(line), &r) == nil && r.Time != "" && r.Level != "" && r.Msg != ""
}

// prints fails on whatever does not print in a text, line feeds and tabs apart.
func prints(t *testing.T, what, text string) {
	t.Helper()
	if !utf8.ValidString(text) {
		t.Errorf("%s is no UTF-8: %q", what, text)
	}
	if i := strings.IndexFunc(text, func(r rune) bool { return r != '\n' && r != '\t' && !unicode.IsPrint(r) }); i >= 0 {
		t.Errorf("%s holds what does not print: %q", what, text[max(0, i-40):min(len(text), i+40)])
	}
}

// labelValues are all the values that labels of our metrics can have, whatever
// others write. The hash is of the config in force alone, and the version is the
// binary's.
var labelValues = map[string]*regexp.Regexp{
	"source":    regexp.MustCompile(`^(file|permission-set|group|karpenter|extra|node|windows|unknown|system:masters)$`),
	"node":      regexp.MustCompile(`^(true|false)$`),
	"kind":      regexp.MustCompile(`^(role|user|account)$`),
	"object":    regexp.MustCompile(`^(aws-auth|ledger|revision)$`),
	"result":    regexp.MustCompile(`^(ok|conflict|error|unchanged|changed|malformed|elsewhere|immutable|written|fresh|loaded|invalid|unreadable|denied|throttled|not_found|timeout|truncated|unreachable|other)$`),
	"operation": regexp.MustCompile(`^(ListRoles|GetGroup|GetCallerIdentity|AssumeRole|AssumeRoleWithWebIdentity|DescribeInstances|GetInstanceProfile)$`),
	"reason":    regexp.MustCompile(`^(deleted|malformed)$`),
	"hash":      regexp.MustCompile(`^[0-9a-f]{12}$`),
	"le":        regexp.MustCompile(`^([0-9.e+-]+|\+Inf)$`),
}

func (s *site) closedLabels(n *fleet.Node) {
	s.T.Helper()
	metrics, err := n.Metrics(s.T.Context())
	if err != nil {
		s.T.Fatal(err)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(metrics.Text))
	if err != nil {
		s.T.Fatal(err)
	}
	prints(s.T.(*testing.T), "/metrics", metrics.Text)
	series := 0
	for name, family := range families {
		if !strings.HasPrefix(name, "rolecall_") || name == "rolecall_build_info" {
			continue
		}
		for _, metric := range family.GetMetric() {
			series++
			for _, l := range metric.GetLabel() {
				if allowed := labelValues[l.GetName()]; allowed == nil || !allowed.MatchString(l.GetValue()) {
					s.T.Errorf("%s{%s=%q}: no value of a closed set", name, l.GetName(), l.GetValue())
				}
			}
		}
	}
	if series == 0 || series > 200 {
		s.T.Errorf("%s exports %d series of ours", n.Name, series)
	}
}

// lease writes a Lease with the roster's label.
func (s *site) lease(name, arn, holder, padding string) {
	s.T.Helper()
	if err := s.tryLease(s.T.Context(), name, arn, holder, padding); err != nil {
		s.T.Fatal(err)
	}
}

func (s *site) tryLease(ctx context.Context, name, arn, holder, padding string) error {
	_, err := s.Client.CoordinationV1().Leases(s.Namespace).Create(ctx, &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{
			Name: name, Labels: map[string]string{roster.Label: roster.LabelValue},
			Annotations: map[string]string{roster.RoleARNAnnotation: arn, "padding": padding},
		},
		Spec: coordinationv1.LeaseSpec{HolderIdentity: &holder, RenewTime: ptr.To(metav1.NowMicro())},
	}, metav1.CreateOptions{})
	return err
}

// A node that writes Leases as fast as it can, of roles that are not allowed,
// costs the leader neither its memory nor its log, nor others their access.
func TestFloodedRoster(t *testing.T) {
	long(t) // and alone: what it floods is the API server of all
	const (
		leases  = 1800     // half of them of roles, which are fewer than are believed
		padding = 35 << 10 // bytes of each, 63 MB in all
	)
	s := newSite(t, onlyNodes)
	leader := s.StartNode("node-a", "workers")
	s.Maps("merged", trial.NodeRole("workers"))

	var next atomic.Int64
	g, ctx := errgroup.WithContext(t.Context())
	for range 8 {
		g.Go(func() error {
			for i := next.Add(1); i <= leases; i = next.Add(1) {
				arn, holder := fmt.Sprintf("arn:aws:iam::444455556666:role/r%d", i), "node-x"
				switch i % 4 {
				case 0:
					arn = strings.Repeat("a", 3000) + arn
				case 2:
					holder = strings.Repeat("h", 500)
				}
				if err := s.tryLease(ctx, roster.LeaseName(arn), arn, holder, strings.Repeat("p", padding)); err != nil {
					return err
				}
			}
			return nil
		})
	}
	begin := time.Now()
	s.StartNode("node-b", "gpu")
	s.Maps("a node that joins meanwhile", trial.NodeRole("workers"), trial.NodeRole("gpu"))
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d leases: %s", leases, time.Since(begin).Round(time.Millisecond))
	s.Metric(leader, leases, "rolecall_node_reports_refused")
	s.Metric(leader, 2, "rolecall_node_roles_reported")
	s.StillMaps(trial.NodeRole("workers"), trial.NodeRole("gpu"))

	told, err := leader.Logged("is not believed")
	if err != nil || len(told) == 0 || len(told) > 50 {
		t.Errorf("%d records of %d reports that are not believed (%v)", len(told), leases, err)
	}
	text, err := os.ReadFile(leader.LogPath())
	if err != nil || len(text) > 1<<20 {
		t.Errorf("a log of %d bytes (%v)", len(text), err)
	}
	if status, body, err := leader.Get(t.Context(), "/healthz"); err != nil || status != 200 {
		t.Errorf("/healthz: %d %s (%v)", status, body, err)
	}
	if !trial.Race {
		s.Eventually("the leader keeps nothing of it", func(ctx context.Context) error {
			metrics, err := leader.Metrics(ctx)
			if err != nil {
				return err
			}
			resident, ok := metrics.Value("process_resident_memory_bytes")
			if limit := 128.0 * (1 << 20); !ok || resident > limit { // that of the manifests
				return fmt.Errorf("%.0f MiB are resident", resident/(1<<20))
			}
			return nil
		})
	}
	if !slices.ContainsFunc(told, func(r fleet.Record) bool { return strings.Contains(r.Text, "refused") }) {
		t.Errorf("it is not told how many: %v", told[len(told)-1].Text)
	}
}
