package e2e_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/rolecall/rolecall/test/fleet"
)

// A config under which IAM is asked once: what comes back within a test comes
// back because somebody wrote aws-auth.
const rarely = `apiVersion: rolecall.dev/v1
kind: Config
refreshInterval: 1h
iamGroups:
  - name: Developers
    groups: [developers]
users:
  - {arn: "arn:aws:iam::111122223333:user/ops", username: ops, groups: [viewers]}
`

// threeNodes starts three agents, of the roles workers and ingress.
func (c *cluster) threeNodes() {
	c.t.Helper()
	c.start("node-a", "workers")
	c.start("node-b", "workers")
	c.start("node-c", "ingress")
}

func TestWipedEntriesComeBackByTheEvent(t *testing.T) {
	t.Parallel()
	c := newCluster(t, rarely, quick...)
	c.AWS.SetMembers("Developers", "ana")
	c.create(map[string]string{"mapRoles": othersRoles})
	c.threeNodes()
	want := []fleet.Mapping{
		others("role/break-glass", "break-glass", "system:masters"), others("role/ci", "ci", "deployers"),
		node("workers"), node("ingress"), ours("user/ana", "ana", "developers"), ours("user/ops", "ops", "viewers"),
	}
	c.mapped("merged", want...)
	asked := c.AWS.Requests("GetGroup")

	c.edit(func(data map[string]string) {
		data["mapRoles"] = othersRoles
		delete(data, "mapUsers")
	})
	c.mapped("back after another tool wiped ours", want...)

	c.edit(func(data map[string]string) { data["mapRoles"] = "" })
	c.mapped("back after another tool wiped all roles", want[2:]...)

	c.edit(func(data map[string]string) {
		data["mapUsers"] = strings.ReplaceAll(data["mapUsers"], "- viewers", "- system:masters")
	})
	c.mapped("back after another tool gave one of ours more rights", want[2:]...)

	// A deleted aws-auth is made anew with ours.
	if err := c.Client.CoreV1().ConfigMaps(c.AWSAuthNamespace).Delete(t.Context(), "aws-auth", deleteNow); err != nil {
		t.Fatal(err)
	}
	c.mapped("back after somebody deleted aws-auth", want[2:]...)

	if now := c.AWS.Requests("GetGroup"); now != asked {
		t.Errorf("IAM was asked %d times more: that it came back may not be by the event", now-asked)
	}
}

// Marks are a convenience: the ledger knows what is ours.
func TestStrippedMarksStayOurs(t *testing.T) {
	t.Parallel()
	c := newCluster(t, rarely, quick...)
	c.AWS.SetMembers("Developers", "ana", "ben")
	c.create(map[string]string{"mapRoles": othersRoles})
	c.threeNodes()
	foreign := []fleet.Mapping{others("role/break-glass", "break-glass", "system:masters"), others("role/ci", "ci", "deployers")}
	want := append(foreign, node("workers"), node("ingress"),
		ours("user/ana", "ana", "developers"), ours("user/ben", "ben", "developers"), ours("user/ops", "ops", "viewers"))
	c.mapped("merged", want...)

	strip := func(data map[string]string) {
		for _, key := range []string{"mapRoles", "mapUsers"} {
			data[key] = dropLines(data[key], "syncedBy")
		}
	}
	c.edit(strip)
	c.mapped("marked again", want...)

	// Once more while nobody leads, with a new leader that has to know it from
	// the ledger, and a user who left in between.
	old := c.leader()
	old.Kill()
	c.edit(strip)
	c.AWS.SetMembers("Developers", "ana")
	want = append(foreign, node("workers"), node("ingress"), ours("user/ana", "ana", "developers"), ours("user/ops", "ops", "viewers"))
	c.mapped("the user who left is out, although the mark was gone", want...)
}

// EKS adds an entry of its own for the role of a managed node group, and takes
// it away with the group: the nodes of others may still need it.
func TestManagedNodeGroup(t *testing.T) {
	t.Parallel()
	c := newCluster(t, rarely, quick...)
	c.AWS.AddGroup("Developers")
	c.create(map[string]string{"mapRoles": othersRoles})
	c.threeNodes()
	rest := []fleet.Mapping{
		others("role/break-glass", "break-glass", "system:masters"), others("role/ci", "ci", "deployers"),
		node("ingress"), ours("user/ops", "ops", "viewers"),
	}
	c.mapped("merged", append(rest, node("workers"))...)

	const managed = `- groups:
  - system:bootstrappers
  - system:nodes
  rolearn: arn:aws:iam::111122223333:role/workers
  username: system:node:{{EC2PrivateDNSName}}
`
	c.edit(func(data map[string]string) { data["mapRoles"] += managed })
	cm := c.mapped("ours is withdrawn for theirs", append(rest, unmarked(node("workers")))...)
	if !strings.Contains(cm.Data["mapRoles"], managed) {
		t.Errorf("their entry is not as they wrote it:\n%s", cm.Data["mapRoles"])
	}

	c.edit(func(data map[string]string) { data["mapRoles"] = strings.Replace(data["mapRoles"], managed, "", 1) })
	c.mapped("theirs is gone and ours is back", append(rest, node("workers"))...)
}

func TestConflict(t *testing.T) {
	t.Parallel()
	config := strings.Replace(rarely, "groups: [developers]", "groups: [developers, guests]", 1)
	c := newCluster(t, config, quick...)
	c.AWS.SetMembers("Developers", "ana", "ben")
	const lesser = `- userarn: arn:aws:iam::111122223333:user/ana # by hand
  username: ana
  groups: [guests]
`
	const greater = `- userarn: arn:aws:iam::111122223333:user/ben
  username: ben
  groups: [system:masters, developers, guests]
`
	c.create(map[string]string{"mapUsers": lesser + greater})
	c.threeNodes()
	rest := []fleet.Mapping{
		node("workers"), node("ingress"), ours("user/ops", "ops", "viewers"),
		others("user/ben", "ben", "developers", "guests", "system:masters"),
	}
	c.mapped("what grants less is kept", append(rest, others("user/ana", "ana", "guests"))...)
	leader := c.leader()
	c.metric(leader, 1, "rolecall_conflicts")
	c.recorded("Conflict", "user/ana", "guests", "developers")

	// A standing conflict is told once, however often it is met.
	passes := c.value(leader, "rolecall_reconciles_total")
	c.edit(func(data map[string]string) { data["mapRoles"] += "# somebody was here\n" })
	c.eventually("it is met again", func(ctx context.Context) error {
		metrics, err := leader.Metrics(ctx)
		if err != nil {
			return err
		}
		if n, _ := metrics.Value("rolecall_reconciles_total"); n == passes {
			return fmt.Errorf("%v passes, as before", n)
		}
		return nil
	})
	c.metric(leader, 1, "rolecall_conflicts")
	if found, err := leader.Logged("stands in the way"); err != nil || len(found) != 1 {
		t.Errorf("a standing conflict is logged %d times, want once (%v)", len(found), err)
	}

	c.swap(config + "safety: {onConflict: adopt}\n")
	cm := c.mapped("adopted", append(rest, ours("user/ana", "ana", "developers", "guests"))...)
	if !strings.Contains(cm.Data["mapUsers"], greater) {
		t.Errorf("an entry that grants more than ours is not as it was:\n%s", cm.Data["mapUsers"])
	}
	c.metric(leader, 0, "rolecall_conflicts")
	c.logged(leader, "what needed attention is settled", "stands in the way")
}

func TestMalformedIsLeftAlone(t *testing.T) {
	t.Parallel()
	const config = rarely + "safety: {onMalformed: refuse}\n"
	c := newCluster(t, config, quick...)
	c.AWS.SetMembers("Developers", "ana")
	c.create(map[string]string{"mapRoles": othersRoles})
	c.threeNodes()
	want := []fleet.Mapping{
		others("role/break-glass", "break-glass", "system:masters"), others("role/ci", "ci", "deployers"),
		node("workers"), node("ingress"), ours("user/ana", "ana", "developers"), ours("user/ops", "ops", "viewers"),
	}
	good := c.mapped("merged", want...)
	leader := c.leader()

	// An unquoted placeholder at the start of a value is a map to YAML.
	broken := c.edit(func(data map[string]string) {
		data["mapRoles"] += "- rolearn: arn:aws:iam::111122223333:role/new\n  username: {{SessionName}}\n"
	})
	c.metric(leader, 1, "rolecall_aws_auth_malformed")
	c.recorded("Malformed")
	c.logged(leader, "aws-auth is malformed and left alone")

	// Neither a new config nor a new node has it written.
	c.swap(config + "accounts: [\"555566667777\"]\n")
	c.eventually("the new config is tried", func(ctx context.Context) error {
		metrics, err := leader.Metrics(ctx)
		if err != nil {
			return err
		}
		if n, _ := metrics.Value("rolecall_reconciles_total", "result", "malformed"); n < 2 {
			return fmt.Errorf("%v passes met the malformed aws-auth", n)
		}
		return nil
	})
	if now := c.awsAuth(); now.ResourceVersion != broken.ResourceVersion {
		t.Errorf("a malformed aws-auth was written:\n%s", now.Data["mapRoles"])
	}

	c.edit(func(data map[string]string) { data["mapRoles"] = good.Data["mapRoles"] })
	c.mapped("it goes on when a person has mended it", append(want, fleet.Mapping{ARN: "555566667777"})...)
	c.metric(leader, 0, "rolecall_aws_auth_malformed")
}
