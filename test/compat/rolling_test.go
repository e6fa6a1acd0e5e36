package compat_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/rolecall/rolecall/test/fleet"
)

// The agents of three nodes are exchanged one after another, as the DaemonSet does it,
// while the config changes and another tool strips the marks. The manifests that the user
// applies for it change the rights first.
func TestRollingUpdate(t *testing.T) {
	inBothOrders(t, func(t *testing.T, first, second version) {
		begin := full("workers", "ingress")
		stay := begin.managed()
		c := newClusterOf(t, second, begin.with(append(begin.users, user("step-0", "viewers"))...), calm...)
		for _, name := range []string{"node-a", "node-b", "node-c"} {
			n := c.NewNode(name, map[string]string{"node-a": "workers", "node-b": "workers", "node-c": "ingress"}[name])
			c.start(n, first)
		}
		c.settled("the first version has written")
		for i, n := range c.Nodes() {
			c.terminate(n)
			c.Edit(stripMarks)
			c.ask(begin.with(append(begin.users, user(fmt.Sprintf("step-%d", i+1), "viewers"))...))
			c.start(n, second)
			c.settled(fmt.Sprintf("with %d of 3 nodes exchanged", i+1))
			c.Edit(stripMarks)
			c.settled("marked again")
		}
		c.check(stay...)
		c.noneDisowned()
	})
}

// An agent of each version runs, and leadership goes back and forth between them. The
// one that stands by takes over where the other ends, by a crash too.
func TestSideBySide(t *testing.T) {
	inBothOrders(t, func(t *testing.T, first, second version) {
		begin := full("left", "right") // each agent's report is for the other
		stay := begin.managed()
		c := newCluster(t, begin.with(append(begin.users, user("step-0", "viewers"))...), quick...)
		leader, standby := c.NewNode("node-a", "left"), c.NewNode("node-b", "right")
		runs := map[*fleet.Node]version{leader: first, standby: second}
		c.start(leader, first)
		c.leads(leader)
		c.start(standby, second)
		c.settled("both report their roles")
		// A crash of the first version's leader, then one of the second's, and an orderly end
		// of each.
		for i, end := range []func(*fleet.Node){(*fleet.Node).Kill, (*fleet.Node).Kill, c.terminate, c.terminate} {
			c.standsBy(standby, leader)
			end(leader)
			c.Edit(stripMarks)
			c.ask(begin.with(append(begin.users, user(fmt.Sprintf("step-%d", i+1), "viewers"))...))
			c.leads(standby)
			c.settled(fmt.Sprintf("the %s version leads", runs[standby]))
			c.start(leader, runs[leader])
			leader, standby = standby, leader
		}
		c.standsBy(standby, leader)
		c.check(stay...)
		c.noneDisowned()
	})
}

// standsBy waits until an agent says that it has seen another lead.
func (c *cluster) standsBy(n, leader *fleet.Node) {
	c.T.Helper()
	c.Eventually(n.Name+" stands by", func(ctx context.Context) error {
		_, body, err := n.Get(ctx, "/readyz?verbose")
		if err == nil && !strings.Contains(body, "[+]election ok: standing by, \""+leader.Name+"_") {
			err = errors.New(body)
		}
		return err
	})
}
