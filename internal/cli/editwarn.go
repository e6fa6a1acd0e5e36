package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/internal/plan"
	"github.com/rolecall/rolecall/internal/roster"
)

// This file warns of an edit by hand before it is written: what lint would say after
// it, and who would undo it.

// lintConcerns are what lint would find after the edit and does not find before it.
func lintConcerns(planned *awsauth.Edited) []concern {
	type id struct {
		rule         awsauth.RuleID
		key, arn     string
		message, why string
	}
	of := func(f *awsauth.Finding) id { return id{f.Rule, f.Key, f.ARN, f.Message, f.Consequence} }
	before := map[id]int{}
	for _, f := range awsauth.Lint(planned.Before.Data()) {
		before[of(&f)]++
	}
	var found []concern
	for _, f := range awsauth.Lint(planned.After.Data()) {
		if before[of(&f)]--; before[of(&f)] >= 0 || f.Severity == awsauth.Note {
			continue
		}
		subject := f.ARN
		if subject == "" {
			subject = f.Key
		}
		if subject != "" {
			subject += ": "
		}
		found = append(found, concern{text: fmt.Sprintf("%s%s: %s; write %s (lint: %s, %s)", subject, f.Message, f.Consequence, f.Write,
			f.Severity, f.Rule)})
	}
	return found
}

// undone says which tools manage what is edited, and would undo the edit: each once.
func undone(planned *awsauth.Edited) []concern {
	was, is := planned.Before.Data(), planned.After.Data()
	var changed []string
	for _, k := range awsauth.Keys {
		if was[k] != is[k] {
			changed = append(changed, k)
		}
	}
	var found []concern
	for i := range planned.Managers {
		m := &planned.Managers[i]
		who := string(m.Tool)
		if m.Tool == awsauth.OtherTool {
			who = fmt.Sprintf("%q", m.FieldManager)
		}
		var keys []string
		for _, k := range changed {
			if m.Manages(k) {
				keys = append(keys, k)
			}
		}
		switch {
		case m.Keys == nil:
			found = append(found, concern{text: fmt.Sprintf("%s manages this ConfigMap: %s, if its source has %s; change it there", who,
				m.Undoes(), strings.Join(changed, " or "))})
		case len(keys) > 0:
			found = append(found, concern{text: fmt.Sprintf("%s manages %s: %s; change it there", who, strings.Join(keys, " and "), m.Undoes())})
		case len(m.Keys) > 0 && (m.ServerSide || m.Tool != awsauth.KubectlApply):
			// A key that somebody else has written since is no longer its own there.
			found = append(found, concern{text: fmt.Sprintf("%s manages %s: if its source has %s too, %s; change it there", who,
				strings.Join(m.Keys, " and "), strings.Join(changed, " or "), m.Undoes())})
		}
	}
	return found
}

// renamed says which nodes would be looked for under another name.
func renamed(planned *awsauth.Edited) []concern {
	after := planned.After.Mapped()
	var found []concern
	for _, e := range sortedEntries(planned.Before.Mapped()) {
		is, ok := after[strings.ToLower(e.ARN)]
		if ok && e.ServesNodes() && is.ServesNodes() && e.Username != is.Username {
			found = append(found, concern{text: fmt.Sprintf("%s would name its nodes by %s instead of %s: nodes that are named otherwise "+
				"are locked out and get NotReady", e.ARN, is.Username, e.Username)})
		}
	}
	return found
}

func sortedEntries(m map[string]awsauth.Entry) []awsauth.Entry {
	out := make([]awsauth.Entry, 0, len(m))
	for _, e := range m {
		out = append(out, e)
	}
	slices.SortFunc(out, func(a, b awsauth.Entry) int { return strings.Compare(a.ARN, b.ARN) })
	return out
}

// reported says which roles of live nodes the leader would map again. Whoever may not
// read the reports is not told.
func (h *handEdit) reported(ctx context.Context, planned *awsauth.Edited) []concern {
	after := planned.After.Mapped()
	var gone []awsauth.Entry
	for _, e := range sortedEntries(planned.Before.Mapped()) {
		if is, ok := after[strings.ToLower(e.ARN)]; e.ServesNodes() && (!ok || !is.ServesNodes()) {
			gone = append(gone, e)
		}
	}
	if len(gone) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	list, err := roster.New(h.o.client.CoordinationV1().Leases(h.o.namespace)).List(ctx, "0")
	if err != nil {
		return nil
	}
	var found []concern
	for _, e := range gone {
		for _, r := range list.Reports {
			if bare, err := awsauth.RoleARN(r.RoleARN); err == nil && awsauth.SameARN(bare, e.ARN) {
				found = append(found, concern{text: fmt.Sprintf("%s is the role of nodes, as node %s reports: where rolecall leads, it maps "+
					"the role again", e.ARN, r.Node)})
			}
		}
	}
	return found
}

// wanted says what rolecall asks for otherwise, of an entry that is added.
func wanted(state *plan.State, planned *awsauth.Edited) []concern {
	if state == nil {
		return nil
	}
	var found []concern
	for i := range planned.Changes {
		c := &planned.Changes[i]
		if c.Op != awsauth.Add {
			continue
		}
		for j := range state.Owned {
			o := &state.Owned[j]
			if o.Waiting || o.Principal() != c.Entry.Principal() || o.SameAccess(c.Entry) || len(o.Claims) == 0 {
				continue
			}
			found = append(found, concern{text: fmt.Sprintf("%s is asked for by %s as %q with the groups %q: edit rolecall's config instead",
				c.Entry.ARN, strings.Join(plan.SourcesOf(o.Claims), ", "), o.Username, o.Groups)})
			break
		}
	}
	return found
}
