package faults_test

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
const fromIAM = `apiVersion: rolecall.dev/v1
kind: Config
refreshInterval: 1h
roles:
  - permissionSet: Admin
    groups: [system:masters]
iamGroups:
  - name: Developers
    groups: [developers]
`

// askAgain edits the config in a way that changes nothing, so that IAM is asked.
func (s *site) askAgain(config string) {
	s.T.Helper()
	s.Mount(fmt.Sprintf("%s# %d\n", config, time.Now().UnixNano()))
}

func admin(suffix string) fleet.Mapping {
	return trial.Ours("role/AWSReservedSSO_Admin_"+suffix, "Admin:{{SessionName}}", "system:masters")
}

func developers(names ...string) []fleet.Mapping {
	var all []fleet.Mapping
	for _, name := range names {
		all = append(all, trial.Ours("user/"+name, name, "developers"))
	}
	return all
}

const (
	suffixA = "00000000000000aa"
	suffixB = "00000000000000bb"
	suffixC = "00000000000000cc"
)

var made = time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)

// Each way in which IAM fails leaves everybody in, and is over with the fault.
// TestFailingSourceRemovesNothing in test/e2e has others, over a change of the
// leader.
func TestIAMFaults(t *testing.T) {
	long(t)
	t.Parallel()
	for _, test := range []struct {
		name  string
		fault awsfake.Fault
	}{
		{"unreachable", awsfake.Down()},
		{"cut in the middle of an answer", awsfake.Cut()},
		{"the second page cut", awsfake.Fault{Kind: awsfake.FaultCut, Page: 2}},
		{"the second page without an answer", awsfake.Fault{Kind: awsfake.FaultDropped, Page: 2}},
		{"more announced on the second page, but not where", awsfake.Fault{Kind: awsfake.FaultNoMarker, Page: 2}},
		{"no more announced, and yet where", awsfake.Fault{Kind: awsfake.FaultBothWays}},
		{"pages in a circle", awsfake.Fault{Kind: awsfake.FaultSameMarker, Page: 2}},
		{"an empty body", awsfake.Fault{Kind: awsfake.FaultEmpty}},
		{"an answer with nothing in it", awsfake.Fault{Kind: awsfake.FaultHollow}},
		{"a proxy's refusal", awsfake.Fault{Kind: awsfake.FaultForbidden}},
		{"an expired session", awsfake.Fault{Kind: awsfake.FaultExpired}},
		{"internal errors", awsfake.Fault{Kind: awsfake.FaultInternal}},
		{"slow beyond every limit", awsfake.Fault{Kind: awsfake.FaultHang}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel() // most of it is waiting between the SDK's retries
			s := newSite(t, fromIAM)
			s.AWS.AddPermissionSet("Admin", suffixA, "", made)
			s.AWS.AddPermissionSet("Other", suffixA, "", made)
			s.AWS.AddPermissionSet("Third", suffixA, "", made)
			s.AWS.SetMembers("Developers", "ana", "ben", "cleo")
			agent := s.StartNode("node-a", "workers")
			before := append(developers("ana", "ben", "cleo"), trial.NodeRole("workers"), admin(suffixA))
			s.Maps("merged", before...)

			s.AWS.Fail(awsfake.AnyOperation, test.fault)
			// Whoever takes a part for the whole drops people.
			s.AWS.SetMembers("Developers", "ana", "dora", "eve")
			s.AWS.RemoveRole("AWSReservedSSO_Admin_" + suffixA)
			s.AWS.AddPermissionSet("Admin", suffixB, "", made)
			s.askAgain(fromIAM)
			s.Within(3*time.Minute, "the source fails", agentFails(agent, 1))
			s.StillMaps(before...)

			s.AWS.Heal()
			s.AWS.SetMembers("Developers", "ana", "ben", "cleo")
			s.AWS.RemoveRole("AWSReservedSSO_Admin_" + suffixB)
			s.AWS.AddPermissionSet("Admin", suffixA, "", made)
			s.askAgain(fromIAM)
			s.Within(3*time.Minute, "healed", agentFails(agent, 0))
			s.StillMaps(before...)
		})
	}
}

// IAM that hangs holds up neither a new node's role nor what the file says.
func TestSlowIAMHoldsUpNobody(t *testing.T) {
	t.Parallel()
	s := newSite(t, fromIAM)
	s.AWS.AddPermissionSet("Admin", suffixA, "", made)
	s.AWS.SetMembers("Developers", "ana")
	s.AWS.Fail(awsfake.AnyOperation, awsfake.Fault{Kind: awsfake.FaultHang})
	s.StartNode("node-a", "workers")
	s.Maps("a node while IAM is asked for the first time", trial.NodeRole("workers"))
	s.StartNode("node-b", "gpu")
	s.Maps("another one", trial.NodeRole("workers"), trial.NodeRole("gpu"))
	config := fromIAM + "users: [{arn: \"" + trial.Account + "user/ops\", username: ops, groups: [viewers]}]\n"
	s.Mount(config)
	s.Maps("a user of the file", trial.NodeRole("workers"), trial.NodeRole("gpu"), trial.Ours("user/ops", "ops", "viewers"))
}

// A set whose name begins another's is none of the others: not when it is there,
// and not when it goes.
func TestCollidingPermissionSets(t *testing.T) {
	t.Parallel()
	const config = `apiVersion: rolecall.dev/v1
kind: Config
refreshInterval: 1h
roles:
  - {permissionSet: Admin, groups: [system:masters]}
  - {permissionSet: Admin-RO, groups: [viewers]}
`
	readOnly := trial.Ours("role/AWSReservedSSO_Admin-RO_"+suffixA, "Admin-RO:{{SessionName}}", "viewers")
	s := newSite(t, config)
	for _, set := range []string{"Admin", "Admin_x", "Admin-RO", "Admin_RO", "AdminX", "admin", "Admin_" + suffixC} {
		s.AWS.AddPermissionSet(set, suffixA, "", made)
	}
	// Outside of Identity Center's path anyone may call a role so.
	s.AWS.AddRole(awsfake.Role{Name: "AWSReservedSSO_Admin_ffffffffffffffff", Created: made.AddDate(1, 0, 0)})
	agent := s.StartNode("node-a", "workers")
	s.Maps("each by its own name", trial.NodeRole("workers"), admin(suffixA), readOnly)

	// Gone: the others are no stand-ins for it, and it stays as it is.
	s.AWS.RemoveRole("AWSReservedSSO_Admin_" + suffixA)
	s.askAgain(config)
	s.Metric(agent, 1, "rolecall_sources_failed", "source", "permission-set")
	s.StillMaps(trial.NodeRole("workers"), admin(suffixA), readOnly)

	// Made again, twice at once: the later one is meant, whatever the order of
	// their names, and the old one goes in the same write.
	s.AWS.AddPermissionSet("Admin", suffixC, "", made.AddDate(0, 1, 0))
	s.AWS.AddPermissionSet("Admin", suffixB, "", made.AddDate(0, 2, 0))
	s.askAgain(config)
	s.Maps("the later one of two", trial.NodeRole("workers"), admin(suffixB), readOnly)
	s.Metric(agent, 0, "rolecall_sources_failed", "source", "permission-set")

	records, err := agent.Logged("entry changed", "AWSReservedSSO_Admin_")
	if err != nil {
		t.Fatal(err)
	}
	var ops []string
	for _, r := range records {
		ops = append(ops, fmt.Sprint(r.Attrs["op"], " ", strings.TrimPrefix(fmt.Sprint(r.Attrs["arn"]), trial.Account+"role/AWSReservedSSO_Admin_")))
	}
	if want := fmt.Sprint([]string{"add " + suffixA, "remove " + suffixA, "add " + suffixB}); fmt.Sprint(ops) != want {
		t.Errorf("the set's roles went %v, want %v", ops, want)
	}
}
