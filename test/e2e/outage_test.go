package e2e_test

import (
	"testing"

	"github.com/rolecall/rolecall/test/fleet"
	"github.com/rolecall/rolecall/test/stage"
	"github.com/rolecall/rolecall/test/trial"
)

// The API server goes for longer than a lease, first without a trace and then
// without an answer. No agent ends by that, the leader stops to lead in time,
// and all goes on by itself.
func TestAPIServerGone(t *testing.T) {
	t.Parallel()
	stage.ForTest(t) // skips where there is none to run
	cp, err := stage.Start(t.Context(), stage.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cp.Stop(); err != nil {
			t.Error(err)
		}
	})
	// A server that has just started answers before it has read who may do what.
	c := newClusterIn(t, cp, rarely, trial.Options{Options: fleet.Options{Flags: quick}, Never: []string{}})
	c.AWS.AddGroup("Developers")
	c.threeNodes()
	want := []fleet.Mapping{trial.NodeRole("workers"), trial.NodeRole("ingress"), trial.Ours("user/ops", "ops", "viewers")}
	c.Maps("merged", want...)

	for _, outage := range []struct {
		name       string
		begin, end func() error
		config     string
		more       fleet.Mapping
	}{
		{
			"refused", cp.StopAPIServer, func() error { return cp.StartAPIServer(t.Context()) },
			rarely + "accounts: [\"555566667777\"]\n",
			fleet.Mapping{ARN: "555566667777"},
		},
		{
			"hung", cp.Pause, cp.Resume,
			rarely + "accounts: [\"555566667777\", \"666677778888\"]\n",
			fleet.Mapping{ARN: "666677778888"},
		},
	} {
		leader := c.OneLeads()
		if err := outage.begin(); err != nil {
			t.Fatal(err)
		}
		c.Metric(leader, 0, "rolecall_leader")
		c.Mount(outage.config)
		for _, n := range c.Nodes() {
			if !n.Running() {
				t.Errorf("%s: the agent of %s has ended", outage.name, n.Name)
			}
			if status, body, err := n.Get(t.Context(), "/healthz"); err != nil || status != 200 {
				t.Errorf("%s: /healthz of %s: %d %s (%v)", outage.name, n.Name, status, body, err)
			}
		}
		if err := outage.end(); err != nil {
			t.Fatal(err)
		}
		want = append(want, outage.more)
		c.Maps(outage.name+": all goes on, with the config of now", want...)
		c.OneLeads()
		c.Healthy()
	}
}
