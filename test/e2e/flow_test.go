package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/rolecall/rolecall/test/awsfake"
	"github.com/rolecall/rolecall/test/fleet"
	"github.com/rolecall/rolecall/test/stage"
	"github.com/rolecall/rolecall/test/trial"
)

// What others wrote into aws-auth, and what must be there in the end, byte for
// byte; the entries with another tool's mark come after it.
const (
	othersRoles = `# Break glass: ask #platform first.
- rolearn: arn:aws:iam::111122223333:role/break-glass
  username: break-glass   # audited
  groups:
      - system:masters
- {rolearn: "arn:aws:iam::111122223333:role/ci", username: ci, groups: [deployers], owner: "team-ci"}
`
	othersUsers = `- userarn: arn:aws:iam::111122223333:user/legacy/batch
  username: batch # until the move is over
  groups: [batch]
`
	othersAccounts = `- "444455556666" # the partner
`
	mapperUsers = `- userarn: arn:aws:iam::111122223333:user/ana
  username: ana
  groups: [old]
  syncedBy: iam-eks-user-mapper
- userarn: arn:aws:iam::111122223333:user/gone
  username: gone
  groups: [old]
  syncedBy: iam-eks-user-mapper
`
)

// A config with every kind of source.
const everySource = `apiVersion: rolecall.dev/v1
kind: Config
refreshInterval: 10s
nodeRoles:
  extra: [arn:$PARTITION:iam::$ACCOUNTID:role/gpu]
  windows: [windows]
karpenter:
  nodeRoleARNs: [arn:aws:iam::111122223333:role/karpenter]
roles:
  - permissionSet: Admin
    groups: [system:masters]
  - permissionSet: Admin_Read
    username: reader:{{SessionName}}
    groups: [viewers]
  - arn: arn:aws:iam::$ACCOUNTID:role/generic
    username: generic
    groups: [deployers]
iamGroups:
  - name: Admins
    groups: [system:masters]
  - name: Developers
    username: dev:{{UserName}}
    groups: [developers]
users:
  - {arn: "arn:aws:iam::111122223333:user/team/ops", username: ops, groups: [viewers]}
accounts: ["555566667777"]
adopt: [iam-eks-user-mapper]
`

// The ConfigMap of sso-wrapper, mounted as it is.
const ssoWrapperRoles = `- permissionset: Auditor
  username: auditor
  groups: [auditors]
`

// The main flow, with the manifests as they are and the agents' own defaults.
func TestMainFlow(t *testing.T) {
	t.Parallel()
	c := newClusterIn(t, stage.ForTest(t), everySource, trial.Options{})
	t.Cleanup(c.clear)
	if err := c.Swap(map[string]string{"config.yaml": everySource, "mapRoles": ssoWrapperRoles}); err != nil {
		t.Fatal(err)
	}
	made := time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
	for i, set := range []string{"Admin", "AdminReadOnly", "Admin_Read", "Admin_Read_More", "Auditor"} {
		c.AWS.AddPermissionSet(set, fmt.Sprintf("%016x", i), "eu-west-3", made.AddDate(0, i, 0))
	}
	c.AWS.AddUser(awsfake.User{Name: "cleo", Path: "/team/"})
	c.AWS.SetMembers("Admins", "ana", "ben")
	c.AWS.SetMembers("Developers", "ben", "cleo", "dora")
	c.Create(map[string]string{
		"mapRoles": othersRoles, "mapUsers": othersUsers + mapperUsers, "mapAccounts": othersAccounts, "unknown": "key",
	})

	// All are there before the first agent runs: a leader counts them once a minute.
	var nodes []*fleet.Node
	for name, role := range map[string]string{"node-a": "workers", "node-b": "workers", "node-c": "ingress"} {
		nodes = append(nodes, c.NewNode(name, role))
	}
	began := time.Now()
	for _, n := range nodes {
		c.StartAgent(n)
	}
	want := []fleet.Mapping{
		others("role/break-glass", "break-glass", "system:masters"),
		others("role/ci", "ci", "deployers"),
		others("user/legacy/batch", "batch", "batch"),
		{ARN: "444455556666"},
		{ARN: "555566667777"},
		trial.NodeRole("workers"), trial.NodeRole("ingress"), trial.NodeRole("gpu"), trial.NodeRole("karpenter"), trial.NodeRole("windows", "eks:kube-proxy-windows"),
		trial.Ours("role/AWSReservedSSO_Admin_0000000000000000", "Admin:{{SessionName}}", "system:masters"),
		trial.Ours("role/AWSReservedSSO_Admin_Read_0000000000000002", "reader:{{SessionName}}", "viewers"),
		trial.Ours("role/AWSReservedSSO_Auditor_0000000000000004", "auditor", "auditors"),
		trial.Ours("role/generic", "generic", "deployers"),
		trial.Ours("user/ana", "ana", "system:masters"),
		trial.Ours("user/ben", "ben", "developers", "system:masters"),
		trial.Ours("user/team/cleo", "dev:cleo", "developers"),
		trial.Ours("user/dora", "dev:dora", "developers"),
		trial.Ours("user/team/ops", "ops", "viewers"),
	}
	merged := c.Maps("all is merged", want...)
	t.Logf("%s after the agents' start", time.Since(began).Round(time.Millisecond))
	for key, text := range map[string]string{"mapRoles": othersRoles, "mapUsers": othersUsers, "mapAccounts": othersAccounts} {
		if !strings.HasPrefix(merged.Data[key], text) {
			t.Errorf("%s does not begin with what others wrote, byte for byte:\n%s", key, merged.Data[key])
		}
	}
	if merged.Data["unknown"] != "key" {
		t.Errorf("a key that nobody knows has become %q", merged.Data["unknown"])
	}

	leader := c.OneLeads()
	c.Healthy()
	c.Event("Updated")
	c.Eventually("the leader publishes how many agents there are", func(ctx context.Context) error {
		lease, err := c.Client.CoordinationV1().Leases(c.Namespace).Get(ctx, fleet.LeaseName, metav1.GetOptions{})
		if err == nil && lease.Annotations["rolecall.dev/agents"] != "3" {
			err = fmt.Errorf("the Lease says %q agents, want 3", lease.Annotations["rolecall.dev/agents"])
		}
		return err
	})
	c.steady(leader)
	c.StillMaps(want...)
	c.judgeMetrics(leader)

	// As in a rollout: with the Lease not released, it would take 15 s.
	ctx, cancel := context.WithTimeout(t.Context(), trial.Patience)
	defer cancel()
	asked := time.Now()
	if err := leader.Terminate(ctx); err != nil {
		t.Fatalf("%s does not end well: %v", leader.Name, err)
	}
	c.OneLeads(leader)
	if took := time.Since(asked); took > 12*time.Second {
		t.Errorf("the handover took %s", took)
	}
	c.StillMaps(want...)
}

// clear removes what the fleet leaves in the cluster, for namespaces that are
// not the test's own.
func (c *cluster) clear() {
	c.T.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), trial.Patience)
	defer cancel()
	err := errors.Join(
		c.Close(),
		c.Client.CoreV1().ConfigMaps(c.AWSAuthNamespace).Delete(ctx, "aws-auth", deleteNow),
		c.Client.CoreV1().ConfigMaps(c.Namespace).Delete(ctx, fleet.LedgerName, deleteNow),
		c.Client.CoordinationV1().Leases(c.Namespace).DeleteCollection(ctx, deleteNow, metav1.ListOptions{}),
	)
	if err != nil {
		c.T.Error(err)
	}
}

// steady fails if aws-auth or the ledger is written while the leader asks IAM
// twice.
func (c *cluster) steady(leader *fleet.Node) {
	c.T.Helper()
	ctx, cancel := context.WithTimeout(c.T.Context(), trial.Patience)
	defer cancel()
	if _, _, err := c.Settled(ctx); err != nil {
		c.T.Fatal(err)
	}
	c.newest() // which is written last
	awsAuth, ledger := c.follow(c.AWSAuthNamespace, "aws-auth"), c.follow(c.Namespace, fleet.LedgerName)
	writes, passes := c.Value(leader, "rolecall_writes_total"), c.Value(leader, "rolecall_reconciles_total")
	const twice = 2 * 3 // requests: Admins has one page, Developers two
	asked := c.AWS.Requests("GetGroup")
	c.Eventually("IAM is asked twice", func(ctx context.Context) error {
		metrics, err := leader.Metrics(ctx)
		if err != nil {
			return err
		}
		if now := c.AWS.Requests("GetGroup") - asked; now < twice {
			return fmt.Errorf("%d requests, want %d", now, twice)
		}
		if now, _ := metrics.Value("rolecall_reconciles_total"); now < passes+2 {
			return fmt.Errorf("the leader made %v passes, want 2", now-passes)
		}
		return nil
	})
	if n, m := awsAuth.written(), ledger.written(); n > 0 || m > 0 {
		c.T.Errorf("in a steady state, aws-auth was written %d times and the ledger %d times", n, m)
	}
	if now := c.Value(leader, "rolecall_writes_total"); now != writes {
		c.T.Errorf("rolecall_writes_total went from %v to %v in a steady state", writes, now)
	}
}

// judgeMetrics holds what the leader exports against the rules for names and
// help texts, and against what is promised.
func (c *cluster) judgeMetrics(leader *fleet.Node) {
	c.T.Helper()
	metrics, err := leader.Metrics(c.T.Context())
	if err != nil {
		c.T.Fatal(err)
	}
	problems, err := promlint.New(strings.NewReader(metrics.Text)).Lint()
	if err != nil {
		c.T.Fatal(err)
	}
	for _, p := range problems {
		c.T.Errorf("promlint: %s: %s", p.Metric, p.Text)
	}
	if promtool, err := exec.LookPath("promtool"); err == nil {
		check := exec.Command(promtool, "check", "metrics")
		check.Stdin = strings.NewReader(metrics.Text)
		if out, err := check.CombinedOutput(); err != nil || len(out) > 0 {
			c.T.Errorf("promtool check metrics: %v\n%s", err, out)
		}
	} else {
		c.T.Log("promtool is not on the PATH: promlint alone has judged the metrics")
	}
	names := metrics.Names()
	for _, name := range []string{
		"rolecall_entries", "rolecall_foreign_entries", "rolecall_node_roles_reported", "rolecall_conflicts",
		"rolecall_reconciles_total", "rolecall_reconcile_duration_seconds", "rolecall_writes_total",
		"rolecall_source_last_success_timestamp_seconds", "rolecall_sources_failed", "rolecall_aws_auth_malformed",
		"rolecall_config_reloads_total", "rolecall_config_valid", "rolecall_config_last_success_timestamp_seconds", "rolecall_config_info",
		"rolecall_leader", "rolecall_leader_changes_total", "rolecall_iam_requests_total", "rolecall_build_info",
		"rolecall_node_reports_total",
	} {
		if !slices.Contains(names, name) {
			c.T.Errorf("the leader does not export %s, but\n\t%s", name, strings.Join(names, "\n\t"))
		}
	}
	for _, want := range []struct {
		value  float64
		name   string
		labels []string
	}{
		{2, "rolecall_entries", []string{"source", "node", "kind", "role"}},
		{1, "rolecall_entries", []string{"source", "extra", "kind", "role"}},
		{1, "rolecall_entries", []string{"source", "windows", "kind", "role"}},
		{1, "rolecall_entries", []string{"source", "karpenter", "kind", "role"}},
		{3, "rolecall_entries", []string{"source", "permission-set", "kind", "role"}},
		{1, "rolecall_entries", []string{"source", "file", "kind", "role"}},
		{4, "rolecall_entries", []string{"source", "group", "kind", "user"}},
		{1, "rolecall_entries", []string{"source", "file", "kind", "account"}},
		{4, "rolecall_foreign_entries", nil},
		{2, "rolecall_node_roles_reported", nil},
		{0, "rolecall_conflicts", nil},
		{1, "rolecall_leader", nil},
		{1, "rolecall_config_valid", nil},
		{0, "rolecall_iam_requests_total", []string{"result", "denied"}},
	} {
		if got, _ := metrics.Value(want.name, want.labels...); got != want.value {
			c.T.Errorf("%s%s is %v, want %v", want.name, want.labels, got, want.value)
		}
	}
	for _, n := range c.Nodes() {
		if n == leader {
			continue
		}
		if _, known := c.mustMetrics(n).Value("rolecall_entries"); known {
			c.T.Errorf("%s stands by and exports rolecall_entries", n.Name)
		}
		status, body, err := n.Get(c.T.Context(), "/healthz")
		if err = errors.Join(err); err != nil || status != http.StatusOK {
			c.T.Errorf("/healthz of %s: %d %s (%v)", n.Name, status, body, err)
		}
	}
}

func (c *cluster) mustMetrics(n *fleet.Node) fleet.Metrics {
	c.T.Helper()
	metrics, err := n.Metrics(c.T.Context())
	if err != nil {
		c.T.Fatal(err)
	}
	return metrics
}
