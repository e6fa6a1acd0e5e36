package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/rolecall/rolecall/internal/register/configmap"
	"github.com/rolecall/rolecall/test/fleet"
	"github.com/rolecall/rolecall/test/trial"
)

// eightUsers are the members of a group, and what they are mapped to.
func eightUsers() (names []string, mapped []fleet.Mapping) {
	for i := range 8 {
		name := fmt.Sprintf("dev-%d", i)
		names = append(names, name)
		mapped = append(mapped, trial.Ours("user/"+name, name, "developers"))
	}
	return names, mapped
}

// approve does what rolecall approve does.
func (c *cluster) approve(id string, until time.Time) {
	c.T.Helper()
	c.annotate(func(annotations map[string]string) {
		value, err := configmap.Approve(annotations[configmap.ApprovalAnnotation], id, time.Now(), until)
		if err != nil {
			c.T.Fatal(err)
		}
		annotations[configmap.ApprovalAnnotation] = value
	})
}

// hold is the one that the leader's log has told of since the others.
func (c *cluster) hold(leader *fleet.Node, not ...string) string {
	c.T.Helper()
	var id string
	c.Eventually("a hold is told", func(context.Context) error {
		told, err := leader.Logged("removals wait until")
		if err != nil {
			return err
		}
		for _, r := range told {
			found, ok := r.Attrs["hold"].(string)
			if ok && !strings.Contains(strings.Join(not, " "), found) {
				id = found
				return nil
			}
		}
		return errors.New("none is")
	})
	return id
}

// More than the limit of a group's users stays until a person has approved just
// that, whoever leads.
func TestRemovalsWaitForApproval(t *testing.T) {
	t.Parallel()
	config := strings.Replace(rarely, "1h", "10s", 1)
	c := newCluster(t, config, quick...)
	names, users := eightUsers()
	c.AWS.SetMembers("Developers", names...)
	c.Create(map[string]string{"mapRoles": othersRoles})
	c.threeNodes()
	rest := []fleet.Mapping{
		others("role/break-glass", "break-glass", "system:masters"), others("role/ci", "ci", "deployers"),
		trial.NodeRole("workers"), trial.NodeRole("ingress"), trial.Ours("user/ops", "ops", "viewers"),
	}
	c.Maps("merged", append(rest[:5:5], users...)...)

	// Six of eight are over 50 %, and they would be over 5.
	c.AWS.SetMembers("Developers", names[:2]...)
	leader := c.OneLeads()
	first := c.hold(leader)
	c.Event("RemovalHeld", "rolecall approve "+first)
	c.Metric(leader, 6, "rolecall_removals_held", "source", "group")
	c.StillMaps(append(rest[:5:5], users...)...)

	// What is added is added all the same, and a node's role too.
	c.StartNode("node-d", "spot")
	rest = append(rest, trial.NodeRole("spot"))
	c.Maps("a new node's role is added", append(rest[:6:6], users...)...)

	// The next leader holds the same back.
	leader.Kill()
	leader = c.OneLeads(leader)
	if again := c.hold(leader); again != first {
		t.Errorf("the next leader calls the same hold %s, it was %s", again, first)
	}

	// An approval of something else, or one that is over, is none.
	c.annotate(func(a map[string]string) {
		a[configmap.ApprovalAnnotation] = "000000000000=" + time.Now().Add(time.Hour).Format(time.RFC3339) +
			"," + first + "=" + time.Now().Add(-time.Second).Format(time.RFC3339)
	})
	// What was shown is not what would be done any more: one more is to go.
	c.AWS.SetMembers("Developers", names[0])
	second := c.hold(leader, first)
	c.approve(first, time.Now().Add(time.Hour))
	c.Edit(func(data map[string]string) { data["theirs"] = "an event for a pass" })
	c.newest()
	c.StillMaps(append(rest[:6:6], users...)...)

	out := c.Rolecall("approve", second, "--yes")
	c.StillMaps(append(rest[:6:6], users[0])...) // it waits for the leader
	if want := second + ": done, all 7 changes are made\n"; !strings.HasSuffix(out, want) {
		t.Errorf("rolecall approve ends with\n%s\nwant\n%s", out, want)
	}
	c.Metric(leader, 0, "rolecall_removals_held", "source", "group")
	c.Eventually("the approval is used up", func(ctx context.Context) error {
		cm, err := c.AWSAuth(ctx)
		if left, ok := cm.Annotations[configmap.ApprovalAnnotation]; ok {
			return fmt.Errorf("there is %q", left)
		}
		return err
	})
	c.Logs(leader, "what needed attention is over", "removals wait")
}

// Nobody takes system:masters from the last who have it without being asked.
func TestLastMasterWaitsForApproval(t *testing.T) {
	t.Parallel()
	const admin = "roles: [{arn: 'arn:aws:iam::111122223333:role/admin', username: admin, groups: [system:masters]}]\n"
	c := newCluster(t, rarely+admin, calm...)
	c.AWS.AddGroup("Developers")
	c.Create(map[string]string{})
	c.threeNodes()
	rest := []fleet.Mapping{trial.NodeRole("workers"), trial.NodeRole("ingress"), trial.Ours("user/ops", "ops", "viewers")}
	boss := trial.Ours("role/admin", "admin", "system:masters")
	c.Maps("merged", append(rest, boss)...)

	c.Mount(rarely + strings.Replace(admin, "system:masters", "viewers", 1))
	leader := c.OneLeads()
	c.hold(leader)
	boss = trial.Ours("role/admin", "admin", "system:masters", "viewers") // what is new does not wait
	c.Maps("the new group is there", append(rest, boss)...)

	c.Mount(rarely)
	c.Metric(leader, 1, "rolecall_removals_held", "source", "system:masters")
	c.StillMaps(append(rest, boss)...)

	// Another way in is enough.
	c.Edit(func(data map[string]string) {
		data["mapUsers"] += "- {userarn: 'arn:aws:iam::111122223333:user/root', username: root, groups: ['system:masters']}\n"
	})
	c.Maps("gone", append(rest, others("user/root", "root", "system:masters"))...)
}

// A leader whose mount may be behind changes and removes nothing until it has
// settled, and takes up what the config asks then.
func TestTakeoverWithAnotherConfig(t *testing.T) {
	t.Parallel()
	const fresh = rarely + "accounts: ['555566667777']\n"
	c := newCluster(t, rarely, append(quick, "--settle-time=6s")...)
	c.AWS.AddGroup("Developers")
	c.Create(map[string]string{})
	c.StartNode("node-a", "workers")
	first := c.OneLeads()
	c.StartNode("node-b", "workers", "--settle-time=10m") // nothing ends it but its mount
	base := []fleet.Mapping{trial.NodeRole("workers"), trial.Ours("user/ops", "ops", "viewers")}
	c.Maps("merged", base...)

	// Only the leader's mount has the new config yet.
	more := strings.Replace(fresh, "groups: [viewers]", "groups: [viewers, editors]", 1)
	if err := first.Mount.Swap(trial.Files(more)); err != nil {
		t.Fatal(err)
	}
	now := []fleet.Mapping{trial.NodeRole("workers"), trial.Ours("user/ops", "ops", "editors", "viewers"), {ARN: "555566667777"}}
	c.Maps("the new config is applied", now...)

	first.Kill()
	second := c.OneLeads(first)
	c.Logs(second, "adding only, until the mount has settled")
	c.Event("ConfigDiffers")
	c.Metric(second, 1, "rolecall_config_unsettled")
	c.StillMaps(now...)
	c.StartNode("node-c", "spot")
	now = append(now, trial.NodeRole("spot"))
	c.Maps("a new node's role is added meanwhile", now...)

	// Its mount follows: at once all is as it should be.
	if err := second.Mount.Swap(trial.Files(more)); err != nil {
		t.Fatal(err)
	}
	c.Metric(second, 0, "rolecall_config_unsettled")
	c.StillMaps(now...)

	// Once more, and this time the mount stays as it is: it is the newest then.
	if err := second.Mount.Swap(trial.Files(rarely)); err != nil {
		t.Fatal(err)
	}
	base = append(base, trial.NodeRole("spot"))
	c.Maps("the leader's own change is applied at once", base...)
	third := c.Nodes()[2]
	if err := third.Mount.Swap(trial.Files(more)); err != nil {
		t.Fatal(err)
	}
	c.Logs(third, "the config is in force")
	second.Kill()
	if got := c.OneLeads(first, second); got != third {
		t.Fatalf("%s leads", got.Name)
	}
	c.Logs(third, "adding only, until the mount has settled")
	c.Maps("it adds, and changes nothing", append(base, fleet.Mapping{ARN: "555566667777"})...)
	c.Maps("it is taken up when it has settled", now...)
}
