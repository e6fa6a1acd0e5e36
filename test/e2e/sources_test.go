package e2e_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/rolecall/rolecall/test/awsfake"
	"github.com/rolecall/rolecall/test/fleet"
	"github.com/rolecall/rolecall/test/trial"
)

// A config that asks IAM for everything, and only when it is edited.
const asksIAM = `apiVersion: rolecall.dev/v1
kind: Config
refreshInterval: 1h
roles:
  - permissionSet: Admin
    groups: [system:masters]
iamGroups:
  - name: Developers
    groups: [developers]
`

// reask edits the config in a way that changes nothing, so that IAM is asked.
func (c *cluster) reask() {
	c.T.Helper()
	c.Mount(fmt.Sprintf("%s# %d\n", asksIAM, time.Now().UnixNano()))
}

// adminRole is the entry of the permission set's role with a suffix.
func adminRole(suffix string) fleet.Mapping {
	return trial.Ours("role/AWSReservedSSO_Admin_"+suffix, "Admin:{{SessionName}}", "system:masters")
}

const (
	oldSuffix = "00000000000000aa"
	newSuffix = "00000000000000bb"
)

// Whatever goes wrong with IAM, and whoever leads, nobody loses access by it.
func TestFailingSourceRemovesNothing(t *testing.T) {
	t.Parallel()
	both := []string{"ListRoles", "GetGroup"}
	for _, test := range []struct {
		name       string
		fault      awsfake.Fault
		operations []string
	}{
		{"denied", awsfake.Deny(), both},
		{"truncated", awsfake.Truncate(), both},
		{"cut on the second page", awsfake.Fault{Kind: awsfake.FaultDenied, Page: 2}, []string{"GetGroup"}},
		{"throttled", awsfake.Throttle(0), []string{"GetGroup"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := newCluster(t, asksIAM, quick...)
			made := time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
			c.AWS.AddPermissionSet("Admin", oldSuffix, "", made)
			c.AWS.SetMembers("Developers", "ana", "ben", "cleo")
			c.StartNode("node-a", "workers")
			c.StartNode("node-b", "workers")
			before := []fleet.Mapping{
				trial.NodeRole("workers"), adminRole(oldSuffix),
				trial.Ours("user/ana", "ana", "developers"), trial.Ours("user/ben", "ben", "developers"), trial.Ours("user/cleo", "cleo", "developers"),
			}
			c.Maps("merged", before...)
			leader := c.OneLeads()
			history := c.follow(c.AWSAuthNamespace, "aws-auth")

			// Whoever takes the first page for the whole, or nothing for an empty
			// group, drops users; and the permission set's role is another one.
			for _, operation := range test.operations {
				c.AWS.Fail(operation, test.fault)
			}
			c.AWS.SetMembers("Developers", "ana", "dora", "eve")
			setFails := len(test.operations) == 2
			if setFails {
				c.rotate(time.Now()) // IAM made it after the other one was mapped
			}
			holds := func(leader *fleet.Node) {
				t.Helper()
				c.Metric(leader, 1, "rolecall_sources_failed", "source", "group")
				if setFails {
					c.Metric(leader, 1, "rolecall_sources_failed", "source", "permission-set")
				}
				c.Metric(leader, 0, "rolecall_sources_failed", "source", "node")
				c.StillMaps(before...)
			}
			c.reask()
			holds(leader)
			c.Event("SourceFailed", "group/Developers")

			leader.Kill()
			holds(c.OneLeads(leader))
			if n := history.written(); n > 0 {
				t.Errorf("aws-auth was written %d times while a source failed", n)
			}

			c.AWS.Heal()
			c.reask()
			after := []fleet.Mapping{
				trial.NodeRole("workers"), adminRole(oldSuffix),
				trial.Ours("user/ana", "ana", "developers"), trial.Ours("user/dora", "dora", "developers"), trial.Ours("user/eve", "eve", "developers"),
			}
			if setFails {
				after[1] = adminRole(newSuffix)
			}
			c.Maps("healed", after...)
		})
	}
}

// rotate does what IAM Identity Center does when an assignment is deleted and
// made again: the role's suffix is another.
func (c *cluster) rotate(created time.Time) {
	c.AWS.RemoveRole("AWSReservedSSO_Admin_" + oldSuffix)
	c.AWS.AddPermissionSet("Admin", newSuffix, "", created)
}

// An empty group is an answer, and one that does not exist is none.
func TestGroupEmptiedAndDeleted(t *testing.T) {
	t.Parallel()
	c := newCluster(t, asksIAM, calm...)
	made := time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
	c.AWS.AddPermissionSet("Admin", oldSuffix, "", made)
	c.AWS.SetMembers("Developers", "ana", "ben", "cleo")
	c.StartNode("node-a", "workers")
	rest := []fleet.Mapping{trial.NodeRole("workers"), adminRole(oldSuffix)}
	members := append(rest, trial.Ours("user/ana", "ana", "developers"), trial.Ours("user/ben", "ben", "developers"), trial.Ours("user/cleo", "cleo", "developers"))
	c.Maps("merged", members...)
	leader := c.OneLeads()

	c.AWS.RemoveGroup("Developers")
	c.reask()
	c.Metric(leader, 1, "rolecall_sources_failed", "source", "group")
	c.StillMaps(members...)

	c.AWS.AddGroup("Developers")
	c.reask()
	c.Maps("the group is empty", rest...)
	c.Metric(leader, 0, "rolecall_sources_failed", "source", "group")
}

// Nobody is locked out between the old role of a permission set and the new one.
func TestRotatedPermissionSetInOneWrite(t *testing.T) {
	t.Parallel()
	c := newCluster(t, asksIAM, calm...)
	made := time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
	c.AWS.AddPermissionSet("Admin", oldSuffix, "eu-west-3", made)
	c.AWS.AddGroup("Developers")
	c.StartNode("node-a", "workers")
	c.Maps("merged", trial.NodeRole("workers"), adminRole(oldSuffix))
	history := c.follow(c.AWSAuthNamespace, "aws-auth")

	// While both are there, the newer one counts.
	c.AWS.AddPermissionSet("Admin", newSuffix, "eu-west-3", made.AddDate(0, 1, 0))
	c.reask()
	cm := c.Maps("the new role", trial.NodeRole("workers"), adminRole(newSuffix))
	for _, version := range history.upTo(c, cm) {
		mappings, err := fleet.Mappings(version.ConfigMap)
		if err != nil {
			t.Fatal(err)
		}
		admins := 0
		for _, m := range mappings {
			if strings.Contains(m.ARN, "AWSReservedSSO_Admin_") {
				admins++
			}
		}
		if admins != 1 {
			t.Errorf("resourceVersion %s maps %d roles of the permission set, want 1:\n%s", version.ResourceVersion, admins, version.Data["mapRoles"])
		}
	}
}
