package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/test/fleet"
)

// eightUsers are the members of a group, and what they are mapped to.
func eightUsers() (names []string, mapped []fleet.Mapping) {
	for i := range 8 {
		name := fmt.Sprintf("dev-%d", i)
		names = append(names, name)
		mapped = append(mapped, ours("user/"+name, name, "developers"))
	}
	return names, mapped
}

// approve does what rolecall approve does.
func (c *cluster) approve(id string, until time.Time) {
	c.t.Helper()
	c.annotate(func(annotations map[string]string) {
		value, err := awsauth.Approve(annotations[awsauth.ApprovalAnnotation], id, time.Now(), until)
		if err != nil {
			c.t.Fatal(err)
		}
		annotations[awsauth.ApprovalAnnotation] = value
	})
}

// hold is the one that the leader's log has told of since the others.
func (c *cluster) hold(leader *fleet.Node, not ...string) string {
	c.t.Helper()
	var id string
	c.eventually("a hold is told", func(context.Context) error {
		told, err := leader.Logged("removals are held back")
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
	c.create(map[string]string{"mapRoles": othersRoles})
	c.threeNodes()
	rest := []fleet.Mapping{
		others("role/break-glass", "break-glass", "system:masters"), others("role/ci", "ci", "deployers"),
		node("workers"), node("ingress"), ours("user/ops", "ops", "viewers"),
	}
	c.mapped("merged", append(rest[:5:5], users...)...)

	// Six of eight are over 50 %, and they would be over 5.
	c.AWS.SetMembers("Developers", names[:2]...)
	leader := c.leader()
	first := c.hold(leader)
	c.recorded("RemovalHeld", "rolecall approve "+first)
	c.metric(leader, 6, "rolecall_removals_held", "source", "group")
	c.stillMapped(append(rest[:5:5], users...)...)

	// What is added is added all the same, and a node's role too.
	c.start("node-d", "spot")
	rest = append(rest, node("spot"))
	c.mapped("a new node's role is added", append(rest[:6:6], users...)...)

	// The next leader holds the same back.
	leader.Kill()
	leader = c.leader(leader)
	if again := c.hold(leader); again != first {
		t.Errorf("the next leader calls the same hold %s, it was %s", again, first)
	}

	// An approval of something else, or one that is over, is none.
	c.annotate(func(a map[string]string) {
		a[awsauth.ApprovalAnnotation] = "000000000000=" + time.Now().Add(time.Hour).Format(time.RFC3339) +
			"," + first + "=" + time.Now().Add(-time.Second).Format(time.RFC3339)
	})
	// What was shown is not what would be done any more: one more is to go.
	c.AWS.SetMembers("Developers", names[0])
	second := c.hold(leader, first)
	c.approve(first, time.Now().Add(time.Hour))
	c.edit(func(data map[string]string) { data["theirs"] = "an event for a pass" })
	c.newest()
	c.stillMapped(append(rest[:6:6], users...)...)

	out := c.rolecall("approve", second, "--yes")
	c.stillMapped(append(rest[:6:6], users[0])...) // it waits for the leader
	if want := second + ": done, all 7 changes are made\n"; !strings.HasSuffix(out, want) {
		t.Errorf("rolecall approve ends with\n%s\nwant\n%s", out, want)
	}
	c.metric(leader, 0, "rolecall_removals_held", "source", "group")
	c.eventually("the approval is used up", func(ctx context.Context) error {
		cm, err := c.AWSAuth(ctx)
		if left, ok := cm.Annotations[awsauth.ApprovalAnnotation]; ok {
			return fmt.Errorf("there is %q", left)
		}
		return err
	})
	c.logged(leader, "what needed attention is settled", "held back")
}

// Nobody takes system:masters from the last who have it without being asked.
func TestLastMasterWaitsForApproval(t *testing.T) {
	t.Parallel()
	const admin = "roles: [{arn: 'arn:aws:iam::111122223333:role/admin', username: admin, groups: [system:masters]}]\n"
	c := newCluster(t, rarely+admin, quick...)
	c.AWS.AddGroup("Developers")
	c.create(map[string]string{})
	c.threeNodes()
	rest := []fleet.Mapping{node("workers"), node("ingress"), ours("user/ops", "ops", "viewers")}
	boss := ours("role/admin", "admin", "system:masters")
	c.mapped("merged", append(rest, boss)...)

	c.swap(rarely + strings.Replace(admin, "system:masters", "viewers", 1))
	leader := c.leader()
	c.hold(leader)
	c.stillMapped(append(rest, boss)...)

	c.swap(rarely)
	c.metric(leader, 1, "rolecall_removals_held", "source", "system:masters")
	c.stillMapped(append(rest, boss)...)

	// Another way in is enough.
	c.edit(func(data map[string]string) {
		data["mapUsers"] += "- {userarn: 'arn:aws:iam::111122223333:user/root', username: root, groups: ['system:masters']}\n"
	})
	c.mapped("gone", append(rest, others("user/root", "root", "system:masters"))...)
}

// A leader whose mount may be behind changes and removes nothing until it has
// settled, and takes up what the config asks then.
func TestTakeoverWithAnotherConfig(t *testing.T) {
	t.Parallel()
	const fresh = rarely + "accounts: ['555566667777']\n"
	c := newCluster(t, rarely, append(quick, "--settle-time=6s")...)
	c.AWS.AddGroup("Developers")
	c.create(map[string]string{})
	c.start("node-a", "workers")
	first := c.leader()
	c.start("node-b", "workers")
	base := []fleet.Mapping{node("workers"), ours("user/ops", "ops", "viewers")}
	c.mapped("merged", base...)

	// Only the leader's mount has the new config yet.
	more := strings.Replace(fresh, "groups: [viewers]", "groups: [viewers, editors]", 1)
	if err := first.Mount.Swap(files(more)); err != nil {
		t.Fatal(err)
	}
	now := []fleet.Mapping{node("workers"), ours("user/ops", "ops", "editors", "viewers"), {ARN: "555566667777"}}
	c.mapped("the new config is applied", now...)

	first.Kill()
	second := c.leader(first)
	c.logged(second, "adding only, until the mount has settled")
	c.recorded("ConfigDiffers")
	c.metric(second, 1, "rolecall_config_unsettled")
	c.stillMapped(now...)
	c.start("node-c", "spot")
	now = append(now, node("spot"))
	c.mapped("a new node's role is added meanwhile", now...)

	// Its mount follows: at once all is as it should be.
	if err := second.Mount.Swap(files(more)); err != nil {
		t.Fatal(err)
	}
	c.metric(second, 0, "rolecall_config_unsettled")
	c.stillMapped(now...)

	// Once more, and this time the mount stays as it is: it is the newest then.
	if err := second.Mount.Swap(files(rarely)); err != nil {
		t.Fatal(err)
	}
	base = append(base, node("spot"))
	c.mapped("the leader's own change is applied at once", base...)
	third := c.Nodes()[2]
	if err := third.Mount.Swap(files(more)); err != nil {
		t.Fatal(err)
	}
	c.logged(third, "the config is in force")
	second.Kill()
	if got := c.leader(first, second); got != third {
		t.Fatalf("%s leads", got.Name)
	}
	c.logged(third, "adding only, until the mount has settled")
	c.mapped("it adds, and changes nothing", append(base, fleet.Mapping{ARN: "555566667777"})...)
	c.mapped("it is taken up when it has settled", now...)
}

// ledger is what the leader has written down.
func (c *cluster) ledger() (*awsauth.Ledger, error) {
	cm, err := c.Client.CoreV1().ConfigMaps(c.Namespace).Get(c.t.Context(), fleet.LedgerName, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	return awsauth.DecodeLedger(cm.BinaryData[awsauth.LedgerKey])
}
