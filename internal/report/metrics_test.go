package report

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/internal/plan"
	"github.com/rolecall/rolecall/internal/register"
	"github.com/rolecall/rolecall/internal/source"
)

// Sources that a ledger names and no config name no metric.
func TestSourcesOfMetricsAreFew(t *testing.T) {
	claims := func(source string) []plan.Claim { return []plan.Claim{{Source: source}} }
	role := awsauth.Entry{Kind: awsauth.Role}
	state := &stateCollector{kinds: source.Kinds()}
	got := state.entries([]plan.Owned{
		{Entry: role, Claims: claims("group/x/y\n")},
		{Entry: role, Claims: claims("forged-1")},
		{Entry: role, Claims: claims("forged-2/x")},
		{Entry: role, Claims: claims("")},
		{Entry: role},
	})
	if diff := cmp.Diff(map[[2]string]int{{"group", "role"}: 1, {"unknown", "role"}: 4}, got); diff != "" {
		t.Errorf("entries (-want +got):\n%s", diff)
	}
	change := make([]plan.Change, 2)
	held := state.held([]plan.PendingRemoval{{Source: "forged", Changes: change}, {Source: "", Changes: change}, {Source: awsauth.Masters, Changes: change}, {Source: "node", Changes: change}})
	want := map[string]int{"file": 0, "permission-set": 0, "group": 0, "karpenter": 0, "extra": 0, "windows": 0, "node": 2, "unknown": 4, "system:masters": 2}
	if diff := cmp.Diff(want, held); diff != "" {
		t.Errorf("held (-want +got):\n%s", diff)
	}
	state.lastSuccess = map[string]time.Time{"file": {}, "group": {}}
	failed := state.failed(&Result{Asked: source.Asked{Errs: map[string]error{"group/a": errDown, "group/b": errDown, "forged": errDown}}})
	if diff := cmp.Diff(map[string]int{"file": 0, "group": 2, "unknown": 1}, failed); diff != "" {
		t.Errorf("failed (-want +got):\n%s", diff)
	}
}

var errDown = errors.New("down")

// A live node's role counts as mapped only as the authenticator reads aws-auth.
func TestUnmapped(t *testing.T) {
	doc, err := awsauth.Parse(map[string]string{"mapRoles": `
- {rolearn: "arn:aws:iam::111122223333:role/Right", username: "system:node:{{EC2PrivateDNSName}}", groups: [system:nodes, more, system:bootstrappers]}
- {rolearn: "arn:aws:iam::111122223333:role/less", username: "system:node:{{EC2PrivateDNSName}}", groups: [system:nodes]}
- {rolearn: "arn:aws:iam::111122223333:role/twice", username: "system:node:{{EC2PrivateDNSName}}", groups: [system:bootstrappers, system:nodes]}
- {rolearn: "arn:aws:iam::111122223333:role/half", username: "system:node:{{EC2PrivateDNSName}}", groups: system:nodes}
- {rolearn: "arn:aws:iam::111122223333:role/twice", username: ops, groups: [viewers]}
`})
	if err != nil {
		t.Fatal(err)
	}
	role := func(name string) string { return "arn:aws:iam::111122223333:role/" + name }
	for name, want := range map[string]int{"right": 0, "less": 1, "twice": 1, "half": 1, "absent": 1} {
		if got := unmapped(doc.Entries(), []string{role(name)}); got != want {
			t.Errorf("%s: got %d, want %d", name, got, want)
		}
	}
	if got := unmapped(doc.Entries(), []string{role("right"), role("less"), role("absent")}); got != 2 {
		t.Errorf("three roles: got %d unmapped, want 2", got)
	}
}

// What the leader exports of a reconcile, and nothing once its term is over.
func TestStateMetrics(t *testing.T) {
	registry := prometheus.NewRegistry()
	m := NewMetrics(registry, source.Kinds())
	values := func() map[string]float64 {
		t.Helper()
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]float64{}
		for _, f := range families {
			switch f.GetName() {
			case "rolecall_node_roles_reported", "rolecall_node_roles_missing", "rolecall_history_failed", "rolecall_aws_auth_malformed", "rolecall_managed_elsewhere":
				got[f.GetName()] = f.GetMetric()[0].GetGauge().GetValue()
			}
		}
		return got
	}
	live := source.Asked{Live: []string{"a", "b", "c"}}
	bad := &Result{Observed: &register.Observation{}, Change: &register.Change{}, Asked: live, Unmapped: 2, History: errDown}
	m.Reconciled(bad, nil)
	want := map[string]float64{"rolecall_node_roles_reported": 3, "rolecall_node_roles_missing": 2, "rolecall_history_failed": 1, "rolecall_aws_auth_malformed": 0, "rolecall_managed_elsewhere": 0}
	if diff := cmp.Diff(want, values()); diff != "" {
		t.Errorf("of a bad reconcile (-want +got):\n%s", diff)
	}
	m.Reconciled(&Result{Observed: &register.Observation{}, Change: &register.Change{}, Asked: live}, nil)
	want["rolecall_node_roles_missing"], want["rolecall_history_failed"] = 0, 0
	if diff := cmp.Diff(want, values()); diff != "" {
		t.Errorf("of a good reconcile (-want +got):\n%s", diff)
	}
	m.Reconciled(&Result{Err: fmt.Errorf("%w: deleted", register.ErrMalformed)}, nil)
	want["rolecall_aws_auth_malformed"] = 1
	if diff := cmp.Diff(want, values()); diff != "" {
		t.Errorf("malformed, with what was seen before (-want +got):\n%s", diff)
	}
	m.Reconciled(&Result{Err: &register.ElsewhereError{}}, nil)
	if diff := cmp.Diff(map[string]float64{"rolecall_managed_elsewhere": 1, "rolecall_aws_auth_malformed": 0}, values()); diff != "" {
		t.Errorf("managed elsewhere: what was seen before is no longer so (-want +got):\n%s", diff)
	}
	m.Clear()
	if diff := cmp.Diff(map[string]float64{}, values()); diff != "" {
		t.Errorf("after the term (-want +got):\n%s", diff)
	}
}
