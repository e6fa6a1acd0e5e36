package faults_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/rolecall/rolecall/test/faultproxy"
	"github.com/rolecall/rolecall/test/fleet"
	"github.com/rolecall/rolecall/test/trial"
)

// The leader may not write aws-auth, and a standby may: the standby leads, and the
// other stands back longer each time that it fails again (C1).
func TestLeaderThatMayNotWriteGivesWay(t *testing.T) {
	t.Parallel()
	c := newCluster(t, opsOnly, append(quick, "--give-way-after=2s")...)
	c.Create(foreignText)
	forbidden := faultproxy.Answer(apierrors.NewForbidden(schema.GroupResource{Resource: "configmaps"}, "aws-auth", fmt.Errorf("a test")))
	mayNot := func(n string) *faultproxy.Rule {
		return c.proxy.Add(faultproxy.Match{Client: n, Verb: "update", Name: "aws-auth"}, forbidden)
	}
	first, second := c.nodes()
	mayNot("node-a")
	c.Mount(opsAndAna)
	c.leads(second)
	c.settled("the standby does the work", with(trial.NodeRole("workers"), ops, ana)...)

	// The second may not either, so the first is asked again, in vain.
	rule := mayNot("node-b")
	c.Mount(opsOnly)
	pause := func(n *fleet.Node, times int) (last float64) {
		c.T.Helper()
		c.Eventually(fmt.Sprintf("%s stands back %d times", n.Name, times), func(context.Context) error {
			backs, err := n.Logged("standing back from the election")
			if err != nil {
				return err
			}
			if len(backs) < times {
				return fmt.Errorf("%d times", len(backs))
			}
			last, _ = backs[times-1].Attrs["pause"].(float64)
			return nil
		})
		return last
	}
	if once, twice := pause(first, 1), pause(first, 2); once <= 0 || twice <= once {
		t.Errorf("%s stood back for %v ns, and then for %v", first.Name, once, twice)
	}
	rule.Remove()
	c.settled("the second may again", with(trial.NodeRole("workers"), ops)...)
	c.leads(second)
	c.alive()
	c.judge(foreignText, "workers")
}

// The watch cache of the leader's API server stands still: nothing that is read from
// it shows a new node. The node's role is mapped after the next refresh (D8).
func TestWatchCacheStandsStill(t *testing.T) {
	t.Parallel()
	c := newCluster(t, strings.Replace(opsOnly, "1h", "10s", 1), calm...)
	cache := c.proxy.Stale(faultproxy.Match{Client: "node-a", Resource: "leases"})
	leader := c.NewNode("node-a", "workers")
	c.StartAgent(leader)
	c.StartAgent(c.NewNode("node-b", "gpu"), "--report-only")
	want := []fleet.Mapping{trial.NodeRole("workers"), trial.NodeRole("gpu"), ops}
	c.settled("merged", want...)

	c.Eventually("the cache stands still", func(context.Context) error { return cache.StandStill() })
	c.StartAgent(c.NewNode("node-c", "late"), "--report-only")
	c.settled("a new node's role is mapped", append(want, trial.NodeRole("late"))...)
	c.leads(leader)
}
