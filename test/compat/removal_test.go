package compat_test

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/test/awsfake"
	"github.com/rolecall/rolecall/test/fleet"
	"github.com/rolecall/rolecall/test/trial"
)

// A pending removal has one ID in both versions, which either's approve command approves
// for a leader of either.
func TestPendingRemovals(t *testing.T) {
	inBothOrders(t, func(t *testing.T, first, second version) {
		now := intent{
			nodes: []string{"workers"}, limit: "50%",
			users: users("file", 8, "viewers"), members: users("dev", 8, "developers"),
			admins: []string{"system:masters"}, // nobody else has it
		}
		c := newCluster(t, now, calm...)
		n := c.NewNode("node-a", "workers")
		c.start(n, first)
		c.leads(n)
		c.settled("merged")

		// The other version's leader takes over while IAM refuses to tell the group's users.
		gone := now.members[2:]
		now.members = now.members[:2]
		was := c.held(now, "group/"+groupName, gone...)
		c.AWS.Fail("GetGroup", awsfake.Deny())
		c.terminate(n)
		c.start(n, second)
		c.leadsWithout(n, "group/"+groupName)
		c.settled("nothing goes while IAM refuses")
		c.terminate(n)
		c.AWS.Heal("GetGroup")

		// The other version's command, and a leader of the version that held it back.
		c.start(n, first)
		c.leads(n)
		c.sameID(was, c.held(now, "group/"+groupName, gone...))
		c.succeeds(second, "approve", was.ID, "--yes")
		c.letGo(now)

		// The version that held it back ends; its command, and the other version's leader.
		gone = now.users[1:]
		now.users = now.users[:1]
		was = c.held(now, "file", gone...)
		c.terminate(n)
		c.start(n, second)
		c.leads(n)
		c.sameID(was, c.held(now, "file", gone...))
		c.succeeds(first, "approve", was.ID, "--yes")
		c.letGo(now)

		// Approved while nobody leads.
		now.admins = nil
		was = c.held(now, "system:masters", trial.Ours("role/"+setRole, "", ""))
		c.kill(n)
		c.succeeds(second, "approve", was.ID, "--yes", "--wait=false")
		c.start(n, first)
		c.leads(n)
		c.letGo(now)

		c.check(slices.Concat(now.users, now.members)...)
		c.noneDisowned()
	})
}

// sameID fails unless it is the same pending removal under two leaders.
func (c *cluster) sameID(was, is pendingRemoval) {
	c.T.Helper()
	if diff := cmp.Diff(was, is); diff != "" {
		c.T.Errorf("the pending removal is another under the next leader (-was +is)\n%s", diff)
	}
}

// A listedRemoval is a pending removal with the entries that would go.
type listedRemoval struct {
	pendingRemoval
	Changes []struct{ Entry struct{ ARN string } }
}

// held has something asked for that takes more than the limit, waits until the removal
// of these entries is pending, and returns it. Nothing goes meanwhile, and both versions'
// commands show it.
func (c *cluster) held(next intent, source string, gone ...fleet.Mapping) pendingRemoval {
	c.T.Helper()
	c.members(next)
	c.Mount(next.config())
	var found pendingRemoval
	c.Eventually("the removal of entries of "+source+" is pending", func(ctx context.Context) error {
		l, err := c.ledger(ctx)
		if err != nil {
			return err
		}
		if len(l.Held) != 1 || l.Held[0].Source != source {
			return fmt.Errorf("pending are %+v", l.Held)
		}
		found = l.Held[0]
		return nil
	})
	c.settled("nothing goes meanwhile")
	for _, v := range []version{previous, current} {
		var list struct{ Items []listedRemoval }
		c.answer(v, &list, "approve")
		c.shows(v, "approve", list.Items, found, gone)
		var plan struct {
			Held    []listedRemoval
			Changes []any
		}
		c.answer(v, &plan, "plan", "--config="+c.configFile(next))
		c.shows(v, "plan", plan.Held, found, gone)
		if len(plan.Changes) > 0 {
			c.T.Errorf("the %s rolecall plan would change %v", v, plan.Changes)
		}
	}
	return found
}

// shows fails unless a command has listed one pending removal, of these entries.
func (c *cluster) shows(v version, command string, list []listedRemoval, want pendingRemoval, gone []fleet.Mapping) {
	c.T.Helper()
	if len(list) != 1 {
		c.T.Errorf("the %s rolecall %s lists %+v, want one pending removal", v, command, list)
		return
	}
	if diff := cmp.Diff(want, list[0].pendingRemoval); diff != "" {
		c.T.Errorf("the %s rolecall %s (-ledger +listed)\n%s", v, command, diff)
	}
	var got, arns []string
	for _, change := range list[0].Changes {
		got = append(got, change.Entry.ARN)
	}
	for _, m := range gone {
		arns = append(arns, m.ARN)
	}
	slices.Sort(got)
	slices.Sort(arns)
	if diff := cmp.Diff(arns, got); diff != "" {
		c.T.Errorf("the %s rolecall %s: entries that would go (-want +listed)\n%s", v, command, diff)
	}
}

// letGo waits until what was approved is done, and nothing is pending any more.
func (c *cluster) letGo(next intent) {
	c.T.Helper()
	c.now = next
	c.settled("what was approved is done")
	c.Eventually("no removal is pending", func(ctx context.Context) error {
		l, err := c.ledger(ctx)
		if err == nil && len(l.Held) > 0 {
			err = fmt.Errorf("pending are %+v", l.Held)
		}
		return err
	})
}
