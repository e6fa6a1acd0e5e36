package agent

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/rolecall/rolecall/awsauth"
)

// Sources that a ledger names and no config name no metric.
func TestSourcesOfMetricsAreFew(t *testing.T) {
	claims := func(source string) []awsauth.Claim { return []awsauth.Claim{{Source: source}} }
	role := awsauth.Entry{Kind: awsauth.Role}
	got := countEntries([]awsauth.Owned{
		{Entry: role, Claims: claims("group/x/y\n")},
		{Entry: role, Claims: claims("forged-1")},
		{Entry: role, Claims: claims("forged-2/x")},
		{Entry: role, Claims: claims("")},
		{Entry: role},
	})
	if diff := cmp.Diff(map[[2]string]int{{"group", "role"}: 1, {"unknown", "role"}: 4}, got); diff != "" {
		t.Errorf("entries (-want +got):\n%s", diff)
	}
	change := make([]awsauth.Change, 2)
	held := countHeld([]awsauth.Hold{{Source: "forged", Changes: change}, {Source: "", Changes: change}, {Source: awsauth.Masters, Changes: change}, {Source: "node", Changes: change}})
	want := map[string]int{"file": 0, "permission-set": 0, "group": 0, "karpenter": 0, "extra": 0, "node": 2, "unknown": 4, "system:masters": 2}
	if diff := cmp.Diff(want, held); diff != "" {
		t.Errorf("held (-want +got):\n%s", diff)
	}
}

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
		if got := unmapped(doc, []string{role(name)}); got != want {
			t.Errorf("%s: got %d, want %d", name, got, want)
		}
	}
	if got := unmapped(doc, []string{role("right"), role("less"), role("absent")}); got != 2 {
		t.Errorf("three roles: got %d unmapped, want 2", got)
	}
}

// What the leader exports of a pass, and nothing once its term is over.
func TestStateMetrics(t *testing.T) {
	registry := prometheus.NewRegistry()
	m := newMetrics(registry)
	values := func() map[string]float64 {
		t.Helper()
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]float64{}
		for _, f := range families {
			switch f.GetName() {
			case "rolecall_node_roles_reported", "rolecall_node_roles_missing", "rolecall_history_failed":
				got[f.GetName()] = f.GetMetric()[0].GetGauge().GetValue()
			}
		}
		return got
	}
	m.passed(0, &Outcome{Plan: &awsauth.Plan{}, Reported: 3, Unmapped: 2, history: errors.New("down")}, nil)
	want := map[string]float64{"rolecall_node_roles_reported": 3, "rolecall_node_roles_missing": 2, "rolecall_history_failed": 1}
	if diff := cmp.Diff(want, values()); diff != "" {
		t.Errorf("of a bad pass (-want +got):\n%s", diff)
	}
	m.passed(0, &Outcome{Plan: &awsauth.Plan{}, Reported: 3}, nil)
	want["rolecall_node_roles_missing"], want["rolecall_history_failed"] = 0, 0
	if diff := cmp.Diff(want, values()); diff != "" {
		t.Errorf("of a good pass (-want +got):\n%s", diff)
	}
	m.clear()
	if diff := cmp.Diff(map[string]float64{}, values()); diff != "" {
		t.Errorf("after the term (-want +got):\n%s", diff)
	}
}
