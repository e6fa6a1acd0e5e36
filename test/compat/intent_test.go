package compat_test

import (
	"fmt"
	"slices"
	"strings"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/test/fleet"
	"github.com/rolecall/rolecall/test/trial"
)

// unmanagedText is what others wrote into aws-auth. It must be in every version of it,
// byte for byte.
var unmanagedText = map[string]string{
	"mapRoles": `# Break glass: ask #platform first.
- rolearn: arn:aws:iam::111122223333:role/break-glass
  username: break-glass   # audited
  groups:
      - breakers
- {rolearn: "arn:aws:iam::111122223333:role/ci", username: ci, groups: [deployers], owner: "team-ci"}
`,
	"mapUsers": `- userarn: arn:aws:iam::111122223333:user/legacy/batch
  username: batch # until the move is over
  groups: [batch]
`,
	"mapAccounts": "- \"444455556666\" # the partner\n",
	"unknown":     "key",
}

// unmanaged is what that text maps.
var unmanaged = []fleet.Mapping{
	unmarked(trial.Ours("role/break-glass", "break-glass", "breakers")),
	unmarked(trial.Ours("role/ci", "ci", "deployers")),
	unmarked(trial.Ours("user/legacy/batch", "batch", "batch")),
	{ARN: "444455556666"},
}

// unmarked is an entry without the mark.
func unmarked(m fleet.Mapping) fleet.Mapping {
	m.SyncedBy = ""
	return m
}

// user is the managed entry of an IAM user.
func user(name string, groups ...string) fleet.Mapping {
	return trial.Ours("user/"+name, name, groups...)
}

// users are so many users of one group: name-0, name-1, …
func users(name string, count int, group string) []fleet.Mapping {
	var all []fleet.Mapping
	for i := range count {
		all = append(all, user(fmt.Sprintf("%s-%d", name, i), group))
	}
	return all
}

const (
	groupName = "Developers" // of IAM
	setName   = "Operators"  // a permission set
)

// An intent is what the config and the sources ask for.
type intent struct {
	nodes    []string        // roles that agents report
	users    []fleet.Mapping // of the config
	accounts []string        // of the config
	members  []fleet.Mapping // of the IAM group, which is asked for if there are some
	admins   []string        // groups of the permission set's role, which is asked for if there are some
	limit    string          // safety.removalLimit
}

// without is the intent with none of what the config asks for.
func (i intent) without() intent { return intent{nodes: i.nodes, limit: "100%"} }

// with is the intent with other users.
func (i intent) with(users ...fleet.Mapping) intent {
	i.users = users
	return i
}

// config is the text that asks for it. IAM is asked again when a term begins, and every
// ten seconds, which is the least that a config may say.
func (i intent) config() string {
	var b strings.Builder
	b.WriteString("apiVersion: rolecall.dev/v1\nkind: Config\nrefreshInterval: 10s\n")
	fmt.Fprintf(&b, "safety: {removalLimit: %s}\n", i.limit)
	if len(i.members) > 0 {
		fmt.Fprintf(&b, "iamGroups: [{name: %s, groups: [developers]}]\n", groupName)
	}
	if len(i.admins) > 0 {
		fmt.Fprintf(&b, "roles: [{permissionSet: %s, username: operator, groups: [%s]}]\n", setName, strings.Join(i.admins, ", "))
	}
	fmt.Fprintf(&b, "accounts: [%s]\n", strings.Join(quoted(i.accounts), ", "))
	b.WriteString("users:\n")
	for _, u := range i.users {
		fmt.Fprintf(&b, "  - {arn: %q, username: %s, groups: [%s]}\n", u.ARN, u.Username, strings.Join(u.Groups, ", "))
	}
	return b.String()
}

func quoted(texts []string) []string {
	var out []string
	for _, text := range texts {
		out = append(out, fmt.Sprintf("%q", text))
	}
	return out
}

// managed are the entries that aws-auth has by it.
func (i intent) managed() []fleet.Mapping {
	all := slices.Concat(i.users, i.members)
	for _, role := range i.nodes {
		all = append(all, trial.NodeRole(role))
	}
	for _, id := range i.accounts {
		all = append(all, fleet.Mapping{ARN: id})
	}
	if len(i.admins) > 0 {
		all = append(all, trial.Ours("role/"+setRole, "operator", i.admins...))
	}
	return all
}

// setRole is the role of the permission set.
const setRole = "AWSReservedSSO_" + setName + "_0123456789abcdef"

// stripMarks is what a tool does that keeps only the fields that it knows.
func stripMarks(data map[string]string) {
	for _, key := range []string{"mapRoles", "mapUsers"} {
		var kept strings.Builder
		for line := range strings.Lines(data[key]) {
			if strings.TrimSpace(line) != "syncedBy: "+awsauth.Mark {
				kept.WriteString(line)
			}
		}
		data[key] = kept.String()
	}
}
