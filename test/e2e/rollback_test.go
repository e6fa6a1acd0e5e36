package e2e_test

import (
	"strconv"
	"strings"
	"testing"

	"github.com/rolecall/rolecall/test/fleet"
	"github.com/rolecall/rolecall/test/trial"
)

// What rolecall rollback puts back stays, through passes and a failover: foreign
// entries, and those of ours that no source asks for any more. What the sources
// ask for today comes back by the leader.
func TestRollbackStays(t *testing.T) {
	t.Parallel()
	const old = "  - {arn: \"arn:aws:iam::111122223333:user/old\", username: old, groups: [viewers]}\n"
	c := newCluster(t, rarely+old, quick...)
	c.AWS.SetMembers("Developers", "ana")
	c.Create(map[string]string{"mapRoles": othersRoles})
	c.threeNodes()
	theirs := []fleet.Mapping{others("role/break-glass", "break-glass", "system:masters"), others("role/ci", "ci", "deployers")}
	rest := []fleet.Mapping{trial.NodeRole("workers"), trial.NodeRole("ingress"), trial.Ours("user/ana", "ana", "developers"), trial.Ours("user/ops", "ops", "viewers")}
	c.Maps("merged", append(append(theirs[:2:2], rest...), trial.Ours("user/old", "old", "viewers"))...)
	then := c.newest()

	// The config asks for less and for more, and somebody takes an entry of
	// others and one of ours away.
	c.Mount(rarely + strings.ReplaceAll(old, "old", "new"))
	fresh := trial.Ours("user/new", "new", "viewers")
	c.Maps("with another config", append(append(theirs[:2:2], rest...), fresh)...)
	c.Edit(func(data map[string]string) { data["mapRoles"] = dropElement(data["mapRoles"], "role/ci") })
	c.newest()

	out := c.Rolecall("rollback", strconv.FormatInt(then.Number, 10), "--yes")
	for _, want := range []string{"user/old", "The leader will then change it again", "+ user     arn:aws:iam::111122223333:user/new\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("rolecall rollback does not say %q:\n%s", want, out)
		}
	}
	want := append(append(theirs[:2:2], rest...), others("user/old", "old", "viewers"), fresh)
	c.Maps("rolled back, with what the sources ask today", want...)
	if now := c.newest(); now.Number <= then.Number {
		t.Errorf("it is revision %d, the former one was %d", now.Number, then.Number)
	}

	leader := c.OneLeads()
	leader.Kill()
	leader = c.OneLeads(leader)
	c.Edit(func(data map[string]string) { data["theirs"] = "an event for a pass" })
	c.newest()
	c.StillMaps(want...)

	// A deleted one comes back, whoever is first.
	c.Delete()
	c.Rolecall("rollback", strconv.FormatInt(c.Revisions()[0].Number, 10), "--yes")
	c.Maps("deleted and put back", want...)
	leader.Kill()
	c.OneLeads(leader)
	c.Edit(func(data map[string]string) { data["theirs"] = "another event" })
	c.newest()
	c.StillMaps(want...)
}
