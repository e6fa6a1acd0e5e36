package writers_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/rolecall/rolecall/test/awsfake"
	"github.com/rolecall/rolecall/test/writers"
)

const account = "arn:aws:iam::111122223333:"

// What nodes' roles are mapped to.
var nodeGrant = writers.Grant{Username: "system:node:{{EC2PrivateDNSName}}", Groups: []string{"system:bootstrappers", "system:nodes"}}

// asks is everything that the sources of this test ask for at one time: what is
// always there, and what comes and goes.
type asks struct {
	always map[string]writers.Grant // by ARN
	now    map[string]writers.Grant // and these beside
	config string
	users  []string // members of the IAM group
}

// ever is what any asks may hold, beside nodes: an ARN with each of its grants.
// Of those with several grants one is chosen at a time.
func ever() (always, optional map[string][]writers.Grant) {
	grant := func(username string, groups ...string) writers.Grant {
		return writers.Grant{Username: username, Groups: groups}
	}
	always = map[string][]writers.Grant{
		account + "user/ops": {grant("ops", "viewers")},
		account + "user/ana": {grant("ana", "developers")}, // of the IAM group
		account + "user/ben": {grant("ben", "developers")},
		account + "role/AWSReservedSSO_Admin_00000000000000aa": {grant("Admin:{{SessionName}}", "platform")},
		account + "role/generic":                               {grant("generic", "viewers")},
		"444455556666":                                         {{}},
	}
	optional = map[string][]writers.Grant{
		account + "user/cleo":                                   {grant("cleo", "developers")}, // of the IAM group
		account + "user/on-call":                                {grant("on-call", "viewers"), grant("on-call", "editors", "viewers")},
		account + "user/guest":                                  {grant("guest", "viewers")},
		account + "role/release":                                {grant("release", "deployers"), grant("release", "viewers")},
		account + "role/audit":                                  {grant("audit", "viewers")},
		account + "role/AWSReservedSSO_Viewer_00000000000000bb": {grant("Viewer:{{SessionName}}", "viewers")},
		"555566667777":                                          {{}},
	}
	return always, optional
}

// draw chooses what is asked for.
func draw(r *rand.Rand) asks {
	a := asks{always: map[string]writers.Grant{}, now: map[string]writers.Grant{}}
	always, optional := ever()
	for arn, grants := range always {
		a.always[arn] = grants[0]
	}
	for _, arn := range slices.Sorted(maps.Keys(optional)) {
		if r.IntN(100) < 60 {
			a.now[arn] = optional[arn][r.IntN(len(optional[arn]))]
		}
	}
	a.write()
	return a
}

// write words it as a config and as members of the group.
func (a *asks) write() {
	var roles, users, accounts strings.Builder
	for _, m := range []map[string]writers.Grant{a.always, a.now} {
		for _, arn := range slices.Sorted(maps.Keys(m)) {
			g := m[arn]
			name := strings.TrimPrefix(strings.TrimPrefix(arn, account+"user/"), account+"role/")
			switch {
			case name == arn:
				fmt.Fprintf(&accounts, "  - %q\n", arn)
			case strings.HasPrefix(name, "AWSReservedSSO_"):
				fmt.Fprintf(&roles, "  - {permissionSet: %s, groups: [%s]}\n", strings.Split(name, "_")[1], strings.Join(g.Groups, ", "))
			case strings.Contains(arn, ":role/"):
				fmt.Fprintf(&roles, "  - {arn: %q, username: %s, groups: [%s]}\n", arn, g.Username, strings.Join(g.Groups, ", "))
			case slices.Equal(g.Groups, []string{"developers"}):
				a.users = append(a.users, name)
			default:
				fmt.Fprintf(&users, "  - {arn: %q, username: %s, groups: [%s]}\n", arn, g.Username, strings.Join(g.Groups, ", "))
			}
		}
	}
	a.config = "apiVersion: rolecall.dev/v1\nkind: Config\nrefreshInterval: 10s\nroles:\n" + roles.String() +
		"users:\n" + users.String() + "accounts:\n" + accounts.String() +
		"iamGroups:\n  - {name: Developers, groups: [developers]}\n"
}

// reach makes IAM and the mounts say it.
func (a *asks) reach(aws *awsfake.AWS, swap func(map[string]string) error) error {
	aws.SetMembers("Developers", a.users...)
	return swap(map[string]string{"config.yaml": a.config})
}

// targets are the entries that tools get in the way of, each with all that it
// is ever asked to grant.
func targets(nodes []string) []writers.Target {
	var all []writers.Target
	always, optional := ever()
	for _, m := range []map[string][]writers.Grant{always, optional} {
		for _, arn := range slices.Sorted(maps.Keys(m)) {
			all = append(all, writers.TargetOf(arn, m[arn]...))
		}
	}
	for _, arn := range nodes {
		all = append(all, writers.TargetOf(arn, nodeGrant))
	}
	return all
}
