package source

import (
	"context"
	"slices"
	"strings"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/config"
	"github.com/rolecall/rolecall/internal/plan"
)

// windowsGroup is what the role of a Windows node has beside a Linux node's groups
// (https://docs.aws.amazon.com/eks/latest/userguide/windows-support.html).
const windowsGroup = "eks:kube-proxy-windows"

// windows is the roles of Windows nodes: no agent on Linux reports them, and they
// need a further group.
type windows struct{}

func newWindows(Env) Source { return windows{} }

func (windows) Refresh(context.Context, *config.Config) error { return nil }

func (windows) Want(m *Moment) []Answer {
	var failed items
	var out []awsauth.Entry
	add := func(arn string) {
		if !slices.ContainsFunc(out, func(e awsauth.Entry) bool { return awsauth.SameARN(e.ARN, arn) }) {
			e := nodeEntry(arn)
			e.Groups = append(e.Groups, windowsGroup)
			out = append(out, e)
		}
	}
	var known []string // roles that earlier kinds ask for; filled in for the first bare name
	for _, name := range m.Config.NodeRoles.Windows {
		text := name
		if !strings.Contains(name, ":") {
			if known == nil {
				known = nodeRolesOf(m)
			}
			if found := named(known, name); len(found) > 0 {
				for _, arn := range found {
					add(arn)
				}
				continue
			}
			text = "arn:$PARTITION:iam::$ACCOUNTID:role/" + name
		}
		arn, err := expand(text, m.Account)
		if err == nil {
			arn, err = awsauth.RoleARN(arn)
		}
		if err == nil {
			add(arn)
			continue
		}
		failed.fail(name, err)
		for _, arn := range named(windowsRolesIn(m.State), text) {
			add(arn)
		}
	}
	return []Answer{{Name: "windows", Entries: out, Err: failed.err()}}
}

// named are the ARNs of roles with the name of the role, which may be an ARN too.
func named(arns []string, role string) []string {
	name := role[strings.LastIndexAny(role, "/:")+1:]
	return slices.DeleteFunc(slices.Clone(arns), func(arn string) bool {
		return !strings.HasSuffix(strings.ToLower(arn), ":role/"+strings.ToLower(name))
	})
}

// nodeRolesOf are the roles that earlier kinds of nodes ask for. Of those that
// failed, also what the state has: it stays.
func nodeRolesOf(m *Moment) []string {
	out := []string{}
	failed := map[string]bool{}
	for i := range m.Earlier {
		a := &m.Earlier[i]
		if !a.Nodes {
			continue
		}
		failed[a.Name] = a.Err != nil
		for _, e := range a.Entries {
			out = append(out, e.ARN)
		}
	}
	for i := range m.State.Owned {
		o := &m.State.Owned[i]
		if o.Kind == awsauth.Role && slices.ContainsFunc(o.Claims, func(c plan.Claim) bool { return failed[c.Source] }) {
			out = append(out, o.ARN)
		}
	}
	return out
}

// windowsRolesIn are the roles that the state has with the group of Windows nodes.
// Versions without this kind wrote the group under the names of other kinds, so
// where an ARN cannot be told it is taken from there.
func windowsRolesIn(state *plan.State) []string {
	var out []string
	for i := range state.Owned {
		if o := &state.Owned[i]; o.Kind == awsauth.Role && slices.Contains(o.Groups, windowsGroup) {
			out = append(out, o.ARN)
		}
	}
	return out
}
