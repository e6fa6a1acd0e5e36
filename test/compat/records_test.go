package compat_test

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/rolecall/rolecall/test/fleet"
)

// What the leader of one version keeps and publishes, revisions and its Lease's
// annotations, the commands of both show alike, and roll back.
func TestHistoryAndStatus(t *testing.T) {
	inBothOrders(t, func(t *testing.T, first, second version) {
		begin := full("left", "right")
		old := user("old", "viewers")
		c := newCluster(t, begin.with(append(begin.users, old)...), calm...)
		leader, standby := c.NewNode("node-a", "left"), c.NewNode("node-b", "right")
		c.start(leader, first)
		c.leads(leader)
		c.start(standby, second)
		c.settled("both report their roles")
		c.standsBy(standby, leader)
		c.recorded()
		c.seenAlike(leader)

		// A revision of the first version, by the command of the second, while the first leads.
		c.rollBack(second, begin, old)
		c.seenAlike(leader)

		// And the other way round, under the second version's leader.
		c.terminate(leader)
		c.leads(standby)
		late := user("late", "viewers")
		c.ask(begin.with(append(begin.users, late)...))
		c.settledWith("the second version leads", unmarked(old))
		c.recorded()
		c.rollBack(first, begin, late, unmarked(old))
		c.seenAlike(standby)

		// Which leader it is makes no difference to what was rolled back.
		c.terminate(standby)
		c.start(leader, first)
		c.leads(leader)
		c.settledWith("it stays", unmarked(old), unmarked(late))
		c.checkVersions(begin.managed())
		c.ask(c.now.without())
		c.settledWith("what is asked for no more goes", unmarked(old), unmarked(late))
	})
}

// rollBack takes a user out of what is asked for, and puts the revision that has it back
// by the command of a version. The entry stays as one of others, besides those given.
func (c *cluster) rollBack(v version, next intent, gone fleet.Mapping, others ...fleet.Mapping) {
	c.T.Helper()
	var list revisions
	c.answer(v, &list, "history")
	c.ask(next)
	c.settledWith("without "+gone.Username, others...)
	c.recorded()
	c.succeeds(v, "rollback", strconv.FormatInt(list.Items[0].Number, 10), "--yes")
	c.settledWith("rolled back", append(others, unmarked(gone))...)
	c.recorded()
}

// revisions is what history prints, as far as both versions show the same.
type revisions struct{ Items []revision }

type revision struct {
	Number         int64
	Name, Who, Why string
	At             time.Time
	Live           bool
	Entries        int
}

// A survey is what status prints, as far as both versions show the same.
type survey struct {
	Health   string
	Problems []string
	Leader   struct{ Node string }
	Status   struct {
		Result  string
		Config  string
		Sources []struct {
			Name    string
			Entries int
			Success time.Time
		}
	}
	Agents        struct{ ReckonedWith int }
	AppliedConfig string
	AWSAuth       struct{ Entries, Foreign, Ignored int }
	LastWrite     struct {
		Who, Why string
		Revision int64
	}
	Sources []struct {
		Name    string
		Entries int
	}
	NodeRoles []struct{ RoleARN, Node string }
}

// seenAlike fails unless status and history of both versions show the same, and what they
// should.
func (c *cluster) seenAlike(leader *fleet.Node) {
	c.T.Helper()
	var surveys [2]survey
	c.Eventually("status of both versions shows the same", func(context.Context) error {
		for i, v := range []version{previous, current} {
			surveys[i] = survey{}
			c.answer(v, &surveys[i], "status")
		}
		s := surveys[0]
		switch {
		case s.Leader.Node != leader.Name || s.Health != "healthy" || s.Status.Config == "" || s.Status.Config != s.AppliedConfig:
			return fmt.Errorf("%+v", s)
		case s.Agents.ReckonedWith != len(c.Nodes()):
			return fmt.Errorf("the leader reckons with %d agents", s.Agents.ReckonedWith)
		case len(s.Status.Sources) == 0 || len(s.NodeRoles) != len(c.now.nodes):
			return fmt.Errorf("sources %+v, node roles %+v", s.Status.Sources, s.NodeRoles)
		}
		if diff := cmp.Diff(s, surveys[1]); diff != "" { // something may have happened between the two
			return fmt.Errorf("status (-previous +current)\n%s", diff)
		}
		return nil
	})

	var lists [2]revisions
	for i, v := range []version{previous, current} {
		c.answer(v, &lists[i], "history")
	}
	if diff := cmp.Diff(lists[0], lists[1]); diff != "" {
		c.T.Errorf("history (-previous +current)\n%s", diff)
	}
	if live := slices.IndexFunc(lists[0].Items, func(r revision) bool { return r.Live }); live != 0 {
		c.T.Errorf("the live revision is not the newest one: %+v", lists[0])
	}
	for _, r := range lists[0].Items {
		var texts [2]map[string]string
		for i, v := range []version{previous, current} {
			var cm struct{ Data map[string]string }
			if err := yaml.Unmarshal([]byte(c.succeeds(v, "history", strconv.FormatInt(r.Number, 10))), &cm); err != nil {
				c.T.Fatal(err)
			}
			texts[i] = cm.Data
		}
		if diff := cmp.Diff(texts[0], texts[1]); diff != "" || len(texts[0]) == 0 {
			c.T.Errorf("revision %d (-previous +current)\n%s", r.Number, diff)
		}
	}
}

// Two versions that lead in turn do not fight over the history: a takeover in which
// nothing changes writes no revision, and what was kept before stays, whichever version
// tells contents apart by their labels and annotations.
func TestTakeoversKeepTheHistory(t *testing.T) {
	inBothOrders(t, func(t *testing.T, first, second version) {
		begin := full("left", "right")
		c := newCluster(t, begin, calm...)
		leader, standby := c.NewNode("node-a", "left"), c.NewNode("node-b", "right")
		c.start(leader, first)
		c.leads(leader)
		c.start(standby, second)
		c.settled("both report their roles")
		c.ask(begin.with(append(begin.users, user("late", "viewers"))...))
		c.settled("one more content")
		c.recorded()
		c.Change(func(cm *corev1.ConfigMap) { cm.Annotations["example.com/beat"] = "1" })
		c.recorded()

		var list revisions
		c.answer(current, &list, "history")
		contents := len(list.Items)
		var before []string
		for i := range 4 {
			c.terminate(leader)
			c.leads(standby)
			c.settled("it leads")
			c.recorded()
			c.start(leader, []version{first, second}[i%2])
			c.settled("the other one is back")
			leader, standby = standby, leader
			list = revisions{}
			c.answer(current, &list, "history")
			var now []string
			for _, r := range list.Items {
				now = append(now, fmt.Sprint(r.Number, " ", r.Name))
			}
			if i > 0 { // the first takeover may write whose aws-auth is
				if diff := cmp.Diff(before, now); diff != "" {
					t.Errorf("takeover %d changes the history (-before +after)\n%s", i+1, diff)
				}
			}
			if len(now) < contents-1 { // heartbeats of the version before are one content
				t.Errorf("%d revisions are left of %d: %q", len(now), contents, now)
			}
			before = now
		}
	})
}
