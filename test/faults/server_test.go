package faults_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/rolecall/rolecall/test/faultproxy"
	"github.com/rolecall/rolecall/test/fleet"
	"github.com/rolecall/rolecall/test/stage"
	"github.com/rolecall/rolecall/test/trial"
)

// A renewal that queues behind other requests is a lost lease. Who stands by has none,
// and makes one connection for all.
func TestRenewalsHaveAConnectionOfTheirOwn(t *testing.T) {
	t.Parallel()
	c := newCluster(t, opsOnly, calm...)
	leader, standby := c.nodes()
	c.settled("merged", trial.NodeRole("workers"), ops)
	c.Eventually("the standby has reported and looked", func(context.Context) error {
		if len(c.connections(standby, func(r faultproxy.Record) bool { return r.Name != fleet.LeaseName })) == 0 {
			return errors.New("it has not reported")
		}
		return nil
	})
	renews := func(r faultproxy.Record) bool { return r.Name == fleet.LeaseName && r.Verb != "get" }
	renewals := c.connections(leader, renews)
	others := c.connections(leader, func(r faultproxy.Record) bool { return r.Name != fleet.LeaseName }) // who leads reads the Lease by either
	if len(renewals) == 0 || len(others) == 0 {
		t.Fatalf("the leader renews over %v and does all else over %v", renewals, others)
	}
	for from := range renewals {
		if others[from] {
			t.Errorf("the Lease and other things went over one connection, from %s", from)
		}
	}
	if all := c.connections(standby, func(faultproxy.Record) bool { return true }); len(all) != 1 {
		t.Errorf("the standby has made %d connections, want one", len(all))
	}
}

// connections are where a node's requests came from.
func (c *cluster) connections(n *fleet.Node, counts func(faultproxy.Record) bool) map[string]bool {
	from := map[string]bool{}
	for _, r := range c.proxy.Records() {
		if r.Client == n.Name && counts(r) {
			from[r.From] = true
		}
	}
	return from
}

// ownControlPlane is one that a test may stop.
func ownControlPlane(t *testing.T) *stage.ControlPlane {
	t.Helper()
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
	return cp
}

// The API server hangs for 30 s in the middle of a change, with the durations
// that agents have by default. The leader stops to lead in time, nobody ends,
// and all goes on by itself.
func TestAPIServerHangs(t *testing.T) {
	t.Parallel()
	long(t)
	cp := ownControlPlane(t)
	c := newClusterIn(t, cp, fleet.DefaultNamespace, opsOnly)
	c.Create(foreignText)
	leader, _ := c.nodes()
	c.settled("merged", with(trial.NodeRole("workers"), ops)...)

	hold := c.proxy.HoldAfter(faultproxy.Match{Client: leader.Name, Verb: "update", Name: fleet.LedgerName, Times: 1})
	c.Mount(opsAndAna)
	held := c.next(hold)
	if err := cp.Pause(); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	held.Release() // aws-auth is next, and hangs
	c.stoodBy(leader)
	if took := time.Since(begin); took > 20*time.Second {
		t.Errorf("the leader took %s to stop", took)
	}
	c.alive()
	c.Eventually("30 s are over", func(context.Context) error {
		if time.Since(begin) < 30*time.Second {
			return errors.New("not yet")
		}
		return nil
	})
	if err := cp.Resume(); err != nil {
		t.Fatal(err)
	}
	c.settled("all goes on", with(trial.NodeRole("workers"), ops, ana)...)
	c.OneLeads()
	c.alive()
	c.judge(foreignText, "workers")
}

// The API server is restarted between two writes of a change.
func TestAPIServerRestarts(t *testing.T) {
	t.Parallel()
	long(t)
	cp := ownControlPlane(t)
	c := newClusterIn(t, cp, fleet.DefaultNamespace, opsOnly, quick...)
	c.Create(foreignText)
	c.nodes()
	c.settled("merged", with(trial.NodeRole("workers"), ops)...)
	for _, test := range []struct {
		after  string // the write after which
		config string
		want   []fleet.Mapping
	}{
		{fleet.LedgerName, opsAndAna, with(trial.NodeRole("workers"), ops, ana)},
		{"aws-auth", opsEdits, with(trial.NodeRole("workers"), editing)},
	} {
		leader := c.OneLeads()
		hold := c.proxy.HoldAfter(faultproxy.Match{Client: leader.Name, Verb: "update", Name: test.after, Times: 1})
		c.Mount(test.config)
		held := c.next(hold)
		if err := cp.StopAPIServer(); err != nil {
			t.Fatal(err)
		}
		held.Release()
		if err := cp.StartAPIServer(t.Context()); err != nil {
			t.Fatal(err)
		}
		c.settled("restarted after the write of "+test.after, test.want...)
		c.OneLeads()
		c.alive()
	}
	// The history ends with the API server that it watched: the end must do.
	for key, text := range foreignText {
		if got := c.Now().Data[key]; !strings.Contains(got, text) {
			t.Errorf("%s lacks others' text:\n%s", key, got)
		}
	}
}
