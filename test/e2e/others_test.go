package e2e_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/rolecall/rolecall/test/fleet"
	"github.com/rolecall/rolecall/test/trial"
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
	c.T.Helper()
	c.StartNode("node-a", "workers")
	c.StartNode("node-b", "workers")
	c.StartNode("node-c", "ingress")
}

func TestWipedEntriesComeBackByTheEvent(t *testing.T) {
	t.Parallel()
	c := newCluster(t, rarely, calm...)
	c.AWS.SetMembers("Developers", "ana")
	c.Create(map[string]string{"mapRoles": othersRoles})
	c.threeNodes()
	want := []fleet.Mapping{
		others("role/break-glass", "break-glass", "system:masters"), others("role/ci", "ci", "deployers"),
		trial.NodeRole("workers"), trial.NodeRole("ingress"), trial.Ours("user/ana", "ana", "developers"), trial.Ours("user/ops", "ops", "viewers"),
	}
	c.Maps("merged", want...)
	asked := c.AWS.Requests("GetGroup")

	c.Edit(func(data map[string]string) {
		data["mapRoles"] = othersRoles
		delete(data, "mapUsers")
	})
	c.Maps("back after another tool wiped ours", want...)

	c.Edit(func(data map[string]string) { data["mapRoles"] = "" })
	c.Maps("back after another tool wiped all roles", want[2:]...)

	c.Edit(func(data map[string]string) {
		data["mapUsers"] = strings.ReplaceAll(data["mapUsers"], "- viewers", "- system:masters")
	})
	c.Maps("back after another tool gave one of ours more rights", want[2:]...)

	// A deleted aws-auth is made anew with ours.
	c.Delete()
	c.Maps("back after somebody deleted aws-auth", want[2:]...)

	if now := c.AWS.Requests("GetGroup"); now != asked {
		t.Errorf("IAM was asked %d times more: that it came back may not be by the event", now-asked)
	}
}

// Marks are a convenience: the ledger knows what is ours.
func TestStrippedMarksStayOurs(t *testing.T) {
	t.Parallel()
	c := newCluster(t, rarely, quick...)
	c.AWS.SetMembers("Developers", "ana", "ben")
	c.Create(map[string]string{"mapRoles": othersRoles})
	c.threeNodes()
	foreign := []fleet.Mapping{others("role/break-glass", "break-glass", "system:masters"), others("role/ci", "ci", "deployers")}
	want := append(foreign, trial.NodeRole("workers"), trial.NodeRole("ingress"),
		trial.Ours("user/ana", "ana", "developers"), trial.Ours("user/ben", "ben", "developers"), trial.Ours("user/ops", "ops", "viewers"))
	c.Maps("merged", want...)

	strip := func(data map[string]string) {
		for _, key := range []string{"mapRoles", "mapUsers"} {
			data[key] = dropLines(data[key], "syncedBy")
		}
	}
	c.Edit(strip)
	c.Maps("marked again", want...)

	// Once more while nobody leads, with a new leader that has to know it from
	// the ledger, and a user who left in between.
	old := c.OneLeads()
	old.Kill()
	c.Edit(strip)
	c.AWS.SetMembers("Developers", "ana")
	want = append(foreign, trial.NodeRole("workers"), trial.NodeRole("ingress"), trial.Ours("user/ana", "ana", "developers"), trial.Ours("user/ops", "ops", "viewers"))
	c.Maps("the user who left is out, although the mark was gone", want...)
}

// EKS adds an entry of its own for the role of a managed node group, and takes
// it away with the group: the nodes of others may still need it.
func TestManagedNodeGroup(t *testing.T) {
	t.Parallel()
	c := newCluster(t, rarely, calm...)
	c.AWS.AddGroup("Developers")
	c.Create(map[string]string{"mapRoles": othersRoles})
	c.threeNodes()
	rest := []fleet.Mapping{
		others("role/break-glass", "break-glass", "system:masters"), others("role/ci", "ci", "deployers"),
		trial.NodeRole("ingress"), trial.Ours("user/ops", "ops", "viewers"),
	}
	c.Maps("merged", append(rest, trial.NodeRole("workers"))...)

	const managed = `- groups:
  - system:bootstrappers
  - system:nodes
  rolearn: arn:aws:iam::111122223333:role/workers
  username: system:node:{{EC2PrivateDNSName}}
`
	c.Edit(func(data map[string]string) { data["mapRoles"] += managed })
	cm := c.Maps("ours is withdrawn for theirs", append(rest, unmarked(trial.NodeRole("workers")))...)
	if !strings.Contains(cm.Data["mapRoles"], managed) {
		t.Errorf("their entry is not as they wrote it:\n%s", cm.Data["mapRoles"])
	}

	c.Edit(func(data map[string]string) { data["mapRoles"] = strings.Replace(data["mapRoles"], managed, "", 1) })
	c.Maps("theirs is gone and ours is back", append(rest, trial.NodeRole("workers"))...)
}

func TestConflict(t *testing.T) {
	t.Parallel()
	config := strings.Replace(rarely, "groups: [developers]", "groups: [developers, guests]", 1)
	c := newCluster(t, config, calm...)
	c.AWS.SetMembers("Developers", "ana", "ben")
	const lesser = `- userarn: arn:aws:iam::111122223333:user/ana # by hand
  username: ana
  groups: [guests]
`
	const greater = `- userarn: arn:aws:iam::111122223333:user/ben
  username: ben
  groups: [system:masters, developers, guests]
`
	c.Create(map[string]string{"mapUsers": lesser + greater})
	c.threeNodes()
	rest := []fleet.Mapping{
		trial.NodeRole("workers"), trial.NodeRole("ingress"), trial.Ours("user/ops", "ops", "viewers"),
		others("user/ben", "ben", "developers", "guests", "system:masters"),
	}
	c.Maps("what grants less is kept", append(rest, others("user/ana", "ana", "guests"))...)
	leader := c.OneLeads()
	c.Metric(leader, 1, "rolecall_conflicts")
	c.Event("Conflict", "user/ana", "guests", "developers")

	// A standing conflict is told once, however often it is met.
	passes := c.Value(leader, "rolecall_reconciles_total")
	c.Edit(func(data map[string]string) { data["mapRoles"] += "# somebody was here\n" })
	c.Eventually("it is met again", func(ctx context.Context) error {
		metrics, err := leader.Metrics(ctx)
		if err != nil {
			return err
		}
		if n, _ := metrics.Value("rolecall_reconciles_total"); n == passes {
			return fmt.Errorf("%v passes, as before", n)
		}
		return nil
	})
	c.Metric(leader, 1, "rolecall_conflicts")
	if found, err := leader.Logged("stands in the way"); err != nil || len(found) != 1 {
		t.Errorf("a standing conflict is logged %d times, want once (%v)", len(found), err)
	}

	c.Mount(config + "safety: {onConflict: adopt}\n")
	cm := c.Maps("adopted", append(rest, trial.Ours("user/ana", "ana", "developers", "guests"))...)
	if !strings.Contains(cm.Data["mapUsers"], greater) {
		t.Errorf("an entry that grants more than ours is not as it was:\n%s", cm.Data["mapUsers"])
	}
	c.Metric(leader, 0, "rolecall_conflicts")
	c.Logs(leader, "what needed attention is over", "stands in the way")
}

func TestMalformedIsLeftAlone(t *testing.T) {
	t.Parallel()
	const config = rarely + "safety: {onMalformed: refuse}\n"
	c := newCluster(t, config, calm...)
	c.AWS.SetMembers("Developers", "ana")
	c.Create(map[string]string{"mapRoles": othersRoles})
	c.threeNodes()
	want := []fleet.Mapping{
		others("role/break-glass", "break-glass", "system:masters"), others("role/ci", "ci", "deployers"),
		trial.NodeRole("workers"), trial.NodeRole("ingress"), trial.Ours("user/ana", "ana", "developers"), trial.Ours("user/ops", "ops", "viewers"),
	}
	good := c.Maps("merged", want...)
	leader := c.OneLeads()

	// An unquoted placeholder at the start of a value is a map to YAML.
	broken := c.Edit(func(data map[string]string) {
		data["mapRoles"] += "- rolearn: arn:aws:iam::111122223333:role/new\n  username: {{SessionName}}\n"
	})
	c.Metric(leader, 1, "rolecall_aws_auth_malformed")
	c.Event("Malformed")
	c.Logs(leader, "aws-auth is malformed and left alone")

	// The key that can't be read stays as it is; the others go on.
	c.Mount(config + "accounts: [\"555566667777\"]\n")
	c.Eventually("the account of the new config is mapped", func(context.Context) error {
		if now := c.Now(); !strings.Contains(now.Data["mapAccounts"], "555566667777") {
			return fmt.Errorf("mapAccounts is %q", now.Data["mapAccounts"])
		}
		return nil
	})
	if now := c.Now(); now.Data["mapRoles"] != broken.Data["mapRoles"] {
		t.Errorf("the key that can't be read was written:\n%s", now.Data["mapRoles"])
	}

	c.Edit(func(data map[string]string) { data["mapRoles"] = good.Data["mapRoles"] })
	c.Maps("it goes on when a person has mended it", append(want, fleet.Mapping{ARN: "555566667777"})...)
	c.Metric(leader, 0, "rolecall_aws_auth_malformed")
}
