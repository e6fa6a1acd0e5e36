package e2e_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rolecall/rolecall/test/fleet"
	"github.com/rolecall/rolecall/test/trial"
)

// A group is emptied whose members are all in another group too: nothing disappears
// from aws-auth, and yet twelve people would lose system:masters (A1).
func TestEmptiedGroupOfPeopleWhoAreInAnother(t *testing.T) {
	t.Parallel()
	const config = `apiVersion: rolecall.dev/v1
kind: Config
refreshInterval: 1h
iamGroups:
  - {name: Admins, groups: [system:masters]}
  - {name: Everyone, groups: [viewers]}
`
	c := newCluster(t, config, calm...)
	names := numbered("admin", 12)
	c.AWS.SetMembers("Admins", names...)
	c.AWS.SetMembers("Everyone", names...)
	c.Create(map[string]string{"mapRoles": othersRoles})
	c.StartNode("node-a", "workers")
	rest := append(breakGlass[:2:2], trial.NodeRole("workers"))
	c.Maps("merged", all(rest, usersOf(names, "system:masters", "viewers"))...)

	// The group that is asked last has a new member.
	c.AWS.SetMembers("Admins")
	c.AWS.SetMembers("Everyone", append(names[:12:12], "new")...)
	c.Mount(again(config))
	rest = append(rest, trial.Ours("user/new", "new", "viewers"))
	c.Maps("the new member is added, and nobody loses anything", all(rest, usersOf(names, "system:masters", "viewers"))...)
	pending := c.onePends("group/Admins", 12)
	c.StillMaps(all(rest, usersOf(names, "system:masters", "viewers"))...)

	c.Rolecall("approve", pending.ID, "--yes")
	c.Maps("approved", all(rest, usersOf(names, "viewers"))...)
}

// The section of the permission sets is deleted from the config. Each set is a source
// of its own; together they are what is lost (A2).
func TestPermissionSetsDeletedFromTheConfig(t *testing.T) {
	t.Parallel()
	const limited = plain + "safety: {removalLimit: 10%}\n"
	var sets strings.Builder
	sets.WriteString("roles:\n")
	var mapped []fleet.Mapping
	c := newCluster(t, limited, calm...)
	for i, name := range numbered("Set", 20) {
		name = strings.ReplaceAll(name, "-", "")
		fmt.Fprintf(&sets, "  - {permissionSet: %s, groups: [%s]}\n", name, strings.ToLower(name))
		role := c.AWS.AddPermissionSet(name, fmt.Sprintf("%016x", i), "", time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC))
		mapped = append(mapped, trial.Ours("role/"+role, name+":{{SessionName}}", strings.ToLower(name)))
	}
	c.Mount(limited + sets.String())
	c.StartNode("node-a", "workers")
	rest := []fleet.Mapping{trial.NodeRole("workers"), plainOps}
	c.Maps("merged", all(rest, mapped)...)

	c.Mount(limited + "accounts: ['555566667777']\n")
	rest = append(rest, fleet.Mapping{ARN: "555566667777"})
	c.Maps("the account is added, and all twenty stay", all(rest, mapped)...)
	pending := c.onePends("permission-set", 20)
	c.StillMaps(all(rest, mapped)...)

	c.Rolecall("approve", pending.ID, "--yes")
	c.Maps("approved", rest...)
}

// The other entries with system:masters match no principal that can exist, so the one
// that is to go is the last administrator's (A3).
func TestLastAdminBesideDeadEntries(t *testing.T) {
	t.Parallel()
	for name, dead := range map[string]map[string]string{
		"a role with its path":      {"mapRoles": "- {rolearn: 'arn:aws:iam::111122223333:role/team/ops', username: dead, groups: ['system:masters']}\n"},
		"a session":                 {"mapRoles": "- {rolearn: 'arn:aws:sts::111122223333:assumed-role/ops/x', username: dead, groups: ['system:masters']}\n"},
		"a bare name":               {"mapRoles": "- {rolearn: ops, username: dead, groups: ['system:masters']}\n"},
		"a user with a node's name": {"mapUsers": "- {userarn: 'arn:aws:iam::111122223333:user/x', username: '{{EC2PrivateDNSName}}', groups: ['system:masters']}\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCluster(t, plain+plainUser("boss", "'system:masters'"), calm...)
			before := c.Create(dead)
			entries, err := fleet.Mappings(before)
			if err != nil {
				t.Fatal(err)
			}
			c.StartNode("node-a", "workers")
			boss := trial.Ours("user/boss", "boss", "system:masters")
			entries = append(entries, trial.NodeRole("workers"), plainOps, boss)
			c.Maps("merged", entries...)

			c.Mount(plain + plainUser("new", "viewers"))
			entries = append(entries, trial.Ours("user/new", "new", "viewers"))
			c.Maps("the new user is added, and the last administrator stays", entries...)
			c.onePends("system:masters", 1)
			c.StillMaps(entries...)
		})
	}
}

// Five removals always may be made. Five more at the next refresh are over the limit
// of the hour, for the next leader too (A4).
func TestRemovalsAreLimitedByTheHour(t *testing.T) {
	t.Parallel()
	const config = rarely + "safety: {removalLimit: 10%}\n"
	c := newCluster(t, config, calm...)
	names := numbered("dev", 20)
	c.AWS.SetMembers("Developers", names...)
	node := c.StartNode("node-a", "workers")
	rest := []fleet.Mapping{trial.NodeRole("workers"), plainOps}
	c.Maps("merged", all(rest, usersOf(names, "developers"))...)

	c.AWS.SetMembers("Developers", names[5:]...)
	c.Mount(again(config))
	c.Maps("five are removed", all(rest, usersOf(names[5:], "developers"))...)

	c.AWS.SetMembers("Developers", append(names[10:20:20], "new-1")...)
	c.Mount(again(again(config)))
	c.Maps("five more stay, and a new member is added", all(rest, usersOf(names[5:], "developers"), usersOf([]string{"new-1"}, "developers"))...)
	c.onePends("group/Developers", 5)

	c.terminate(node)
	c.AWS.SetMembers("Developers", append(names[11:20:20], "new-1", "new-2")...)
	c.StartAgent(node)
	want := all(rest, usersOf(names[5:], "developers"), usersOf([]string{"new-1", "new-2"}, "developers"))
	c.Maps("the next leader has them stay, and adds", want...)
	c.onePends("group/Developers", 6)
	c.StillMaps(want...)
}

// The ledger is gone, and the new leader's config is older than the one that was
// applied last: it adds, and takes nothing away until the config has settled (A6).
func TestLostLedgerAndAnOlderConfig(t *testing.T) {
	t.Parallel()
	c := newCluster(t, plain+plainUser("ana", "developers"), calm...)
	node := c.StartNode("node-a", "workers")
	rest := []fleet.Mapping{trial.NodeRole("workers"), plainOps}
	ana := trial.Ours("user/ana", "ana", "developers")
	c.Maps("merged", all(rest, []fleet.Mapping{ana})...)

	c.terminate(node)
	if err := c.Client.CoreV1().ConfigMaps(c.Namespace).Delete(t.Context(), fleet.LedgerName, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	c.Mount(strings.Replace(plain, "[viewers]", "[editors]", 1) + plainUser("old", "viewers"))
	c.StartAgent(node, "--settle-time=10m")
	rest = append(rest, trial.Ours("user/old", "old", "viewers"))
	c.Maps("it adds, and changes and removes nothing", all(rest, []fleet.Mapping{ana})...)
	c.Metric(node, 1, "rolecall_config_unsettled")
	c.Event("LedgerLost")
	c.Edit(func(data map[string]string) { data["theirs"] = "an event" })
	c.newest()
	c.StillMaps(all(rest, []fleet.Mapping{ana})...)

	// Nor does the next one, whatever of this one stands in the ledger.
	c.restart(node, "--settle-time=10m")
	c.Metric(node, 1, "rolecall_config_unsettled")
	c.StillMaps(all(rest, []fleet.Mapping{ana})...)

	c.restart(node, "--settle-time=1s")
	rest[1] = trial.Ours("user/ops", "ops", "editors")
	c.Maps("settled", rest...)
	c.Metric(node, 0, "rolecall_config_unsettled")
}

// A rollback brings entries back that carry the mark of a tool from which the config
// adopts. No source asks for one of them, and it stays (A7).
func TestRolledBackEntriesOfAnAdoptedMarkStay(t *testing.T) {
	t.Parallel()
	const config = rarely + "adopt: [iam-eks-user-mapper]\n"
	c := newCluster(t, config, calm...)
	c.AWS.SetMembers("Developers", "ana")
	c.Create(map[string]string{"mapRoles": othersRoles, "mapUsers": mapperUsers})
	node := c.StartNode("node-a", "workers")
	rest := append(breakGlass[:2:2], trial.NodeRole("workers"), plainOps, trial.Ours("user/ana", "ana", "developers"))
	c.Maps("adopted, and what no source asks for is removed", rest...)
	c.newest()
	list := c.Revisions()
	first := list[len(list)-1]
	if content, err := first.Content(); err != nil || content.Data["mapUsers"] != mapperUsers {
		t.Fatalf("the first revision is not as it was before rolecall: %v (%v)", content.Data, err)
	}

	c.Rolecall("rollback", strconv.FormatInt(first.Number, 10), "--yes")
	want := append(rest, others("user/gone", "gone", "old"))
	c.Maps("rolled back, with what the sources ask for", want...)
	c.Edit(func(data map[string]string) { data["theirs"] = "an event" })
	c.newest()
	c.StillMaps(want...)
	c.terminate(node)
	c.Mount(strings.Replace(config, "[viewers]", "[editors]", 1))
	c.StartAgent(node, "--settle-time=0")
	want[3] = trial.Ours("user/ops", "ops", "editors")
	c.Maps("the next leader has it stay", want...)
}

// A permission set has a new role, and IAM's answers are older than that again: the
// newer role stays, for the next leader too (A8).
func TestOlderAnswerOfIAMUndoesNothing(t *testing.T) {
	t.Parallel()
	const config = plain + `roles:
  - {permissionSet: Admin, groups: ['system:masters']}
  - {permissionSet: Read, groups: [viewers]}
  - {permissionSet: Audit, groups: [auditors]}
`
	c := newCluster(t, config, calm...)
	made := time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
	old := c.AWS.AddPermissionSet("Admin", oldSuffix, "", made)
	node := c.StartNode("node-a", "workers")
	rest := []fleet.Mapping{trial.NodeRole("workers"), plainOps}
	c.Maps("merged", append(rest, adminRole(oldSuffix))...)

	c.AWS.RemoveRole(old)
	fresh := c.AWS.AddPermissionSet("Admin", newSuffix, "", made.AddDate(0, 1, 0))
	c.Mount(again(config))
	rest = append(rest, adminRole(newSuffix))
	c.Maps("the new role is mapped", rest...)

	// An answer of a copy that has not heard of it, and that has another new role.
	c.AWS.RemoveRole(fresh)
	c.AWS.AddPermissionSet("Admin", oldSuffix, "", made)
	read := c.AWS.AddPermissionSet("Read", newSuffix, "", made)
	c.Mount(again(again(config)))
	rest = append(rest, trial.Ours("role/"+read, "Read:{{SessionName}}", "viewers"))
	c.Maps("the newer role stays", rest...)

	c.terminate(node)
	audit := c.AWS.AddPermissionSet("Audit", newSuffix, "", made)
	c.StartAgent(node)
	rest = append(rest, trial.Ours("role/"+audit, "Audit:{{SessionName}}", "auditors"))
	c.Maps("with the next leader too", rest...)
}
