package configmap

import (
	"slices"
	"strings"
	"testing"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/internal/plan"
)

// What nodes report adds nothing to a principal that others say is people's.
func TestNodesAddNothingToPeople(t *testing.T) {
	n := node("ops")
	ops, less := role("ops", "ops:{{SessionName}}", awsauth.Masters), role("ops", "ops", "view")
	for name, test := range map[string]struct {
		unmanaged, managed []awsauth.Entry
		sources            []plan.Source
		adopt              bool
		want               awsauth.Entry // that answers
	}{
		"the config gives it to people":                  {nil, []awsauth.Entry{ops}, []plan.Source{from("file", ops), live(n)}, false, ops},
		"the config does, and it is new":                 {nil, nil, []plan.Source{from("file", ops), live(n)}, false, ops},
		"nodes first":                                    {nil, nil, []plan.Source{live(n), from("file", ops)}, false, ops},
		"the source of people fails":                     {nil, []awsauth.Entry{ops}, []plan.Source{{Name: "file", Failed: true}, live(n)}, false, ops},
		"an unmanaged entry gives it to people":          {[]awsauth.Entry{less}, nil, []plan.Source{live(n)}, false, less},
		"an unmanaged entry does, and conflicts go":      {[]awsauth.Entry{less}, nil, []plan.Source{live(n)}, true, less},
		"an unmanaged entry without groups does":         {[]awsauth.Entry{role("ops", "ops")}, nil, []plan.Source{live(n)}, true, role("ops", "ops")},
		"an unmanaged entry does, people are adopted":    {[]awsauth.Entry{role("ops", "ops:{{SessionName}}")}, nil, []plan.Source{from("file", ops), live(n)}, true, ops},
		"a managed entry of nodes behind one for people": {[]awsauth.Entry{less}, []awsauth.Entry{role("ops", "odd")}, []plan.Source{live(n)}, false, role("ops", "odd")},
	} {
		t.Run(name, func(t *testing.T) {
			doc := parse(t, map[string]string{"mapRoles": unmarked(test.unmanaged...) + marked(test.managed...)})
			req := plan.Snapshot{Sources: test.sources, Required: []string{n.ARN}, AdoptConflicts: test.adopt, Limit: limit(50), Config: "1", Now: now}
			state := stateOf("file", test.managed...)
			p := wholePlan(t, doc, state, req)
			if got, _ := resolve(p.After, n.ARN); !sameAccess(got, test.want) {
				t.Errorf("it is mapped to %+v, want %+v", got, test.want)
			}
			if len(p.Refused) != 1 || p.Refused[0].ARN != n.ARN || !slices.Equal(p.Refused[0].Sources, []string{"node"}) {
				t.Errorf("refused: %+v", p.Refused)
			}
			for _, o := range p.Managed {
				if name != "a managed entry of nodes behind one for people" && slices.Contains(o.Sources(), "node") {
					t.Errorf("it is managed for %q", o.Sources())
				}
			}
			again := wholePlan(t, p.After, settledOf(p, state), req)
			if again.Writes() || again.Settled != nil || len(again.Refused) != 1 {
				t.Errorf("a second run changes %+v, the ledger to %+v", again.Changes, again.Settled)
			}
		})
	}
	// Two sources of nodes agree, and so do people who describe nodes.
	for name, sources := range map[string][]plan.Source{
		"two sources of nodes": {{Name: "discovered", Nodes: true, Entries: []awsauth.Entry{n}}, live(n)},
		"the config":           {from("extra", n), live(n)},
	} {
		p := wholePlan(t, parse(t, nil), nil, plan.Snapshot{Sources: sources, Required: []string{n.ARN}, Now: now})
		if got, _ := resolve(p.After, n.ARN); !sameAccess(got, n) || len(p.Refused) > 0 {
			t.Errorf("%s: %+v, refused %+v", name, got, p.Refused)
		}
	}
}

// An unmanaged entry that lets nodes in as nodes is enough for what nodes report,
// whatever of a session it names them by: nodes of nodeadm and Bottlerocket are named
// by their instance id. It is no conflict, and it is not adopted.
func TestEntriesThatServeNodes(t *testing.T) {
	n := node("node")
	groups := []string{"system:bootstrappers", "system:nodes"}
	for name, test := range map[string]struct {
		entry  awsauth.Entry
		serves bool
	}{
		"by session":               {role("node", "system:node:{{SessionName}}", groups...), true},
		"by raw session":           {role("node", "system:node:{{SessionNameRaw}}", groups...), true},
		"by private DNS name":      {role("node", "system:node:{{EC2PrivateDNSName}}", groups...), true},
		"with another group":       {role("node", "system:node:{{SessionName}}", append([]string{"eks:kube-proxy-windows"}, groups...)...), true},
		"without bootstrappers":    {role("node", "system:node:{{SessionName}}", "system:nodes"), false},
		"all nodes under one name": {role("node", "system:node:one", groups...), false},
		"no prefix":                {role("node", "node:{{SessionName}}", groups...), false},
		"a prefix too long":        {role("node", "system:node:my-{{EC2PrivateDNSName}}", groups...), false},
		"blanks in the braces":     {role("node", "system:node:{{ EC2PrivateDNSName }}", groups...), false},
		"single braces":            {role("node", "system:node:{EC2PrivateDNSName}", groups...), false},
		"an unknown placeholder":   {role("node", "system:node:{{EC2PrivateDnsName}}", groups...), false},
		"the account":              {role("node", "system:node:{{AccountID}}", groups...), false},
	} {
		for _, adopt := range []bool{false, true} {
			doc := parse(t, map[string]string{"mapRoles": unmarked(test.entry)})
			p := wholePlan(t, doc, nil, plan.Snapshot{Sources: []plan.Source{live(n)}, Required: []string{n.ARN}, AdoptConflicts: adopt, Now: now})
			got, _ := resolve(p.After, n.ARN)
			if test.serves && (!sameAccess(got, test.entry) || len(p.Conflicts) > 0 || len(p.Refused) > 0 || p.Writes()) {
				t.Errorf("%s, adopting %t: mapped to %+v, conflicts %+v, refused %+v", name, adopt, got, p.Conflicts, p.Refused)
			}
			adopted := awsauth.Entry{Kind: awsauth.Role, ARN: n.ARN, Username: n.Username, Groups: n.Groups}
			if awsauth.IsNodeUsername(test.entry.Username) {
				adopted.Username = test.entry.Username
			}
			if !test.serves && len(p.Conflicts) == 0 && len(p.Refused) == 0 && !sameAccess(got, adopted) {
				t.Errorf("%s, adopting %t: nobody is told, and it is mapped to %+v", name, adopt, got)
			}
			if again := wholePlan(t, p.After, settledOf(p, nil), plan.Snapshot{
				Sources: []plan.Source{live(n)}, Required: []string{n.ARN},
				AdoptConflicts: adopt, Now: now,
			}); again.Writes() {
				t.Errorf("%s, adopting %t: a second run changes %+v", name, adopt, again.Changes)
			}
		}
		// What people ask for is another matter.
		p := wholePlan(t, parse(t, map[string]string{"mapRoles": unmarked(test.entry)}), nil, plan.Snapshot{Sources: []plan.Source{from("file", role("node", "people", "dev"))}, Now: now})
		if len(p.Conflicts) != 1 {
			t.Errorf("%s, for people: conflicts %+v", name, p.Conflicts)
		}
	}
}

// The username by which nodes are let in stays, whatever becomes managed and whoever
// made it: under another one every node of the role is locked out.
func TestNodesKeepTheirUsername(t *testing.T) {
	n := node("node")
	full := []string{"system:bootstrappers", "system:nodes"}
	for _, username := range []string{"system:node:{{SessionName}}", "system:node:{{SessionNameRaw}}", "system:node:{{EC2PrivateDNSName}}"} {
		for name, text := range map[string]string{
			"unmanaged, granting less": unmarked(role("node", username, "system:nodes")),
			"managed":                  marked(role("node", username, full...)),
			"managed, granting less":   marked(role("node", username, "system:nodes")),
			"another tool's": "- rolearn: " + n.ARN + "\n  username: " + username + "\n  groups: [system:bootstrappers, " +
				"system:nodes]\n  syncedBy: other\n",
		} {
			req := plan.Snapshot{
				Sources: []plan.Source{live(n)}, Required: []string{n.ARN}, AdoptConflicts: true, Adopt: []string{"other"},
				Now: now,
			}
			p := wholePlan(t, parse(t, map[string]string{"mapRoles": text}), nil, req)
			want := role("node", username, full...)
			if got, _ := resolve(p.After, n.ARN); !sameAccess(got, want) {
				t.Errorf("%s as %s: mapped to %+v", name, username, got)
			}
			if again := wholePlan(t, p.After, settledOf(p, nil), req); again.Writes() || len(again.Conflicts) > 0 {
				t.Errorf("%s as %s: a second run changes %+v, conflicts %+v", name, username, again.Changes, again.Conflicts)
			}
		}
	}
	// What the config says of it is explicit.
	doc := parse(t, map[string]string{"mapRoles": marked(role("node", "system:node:{{SessionName}}", full...))})
	p := wholePlan(t, doc, nil, plan.Snapshot{Sources: []plan.Source{from("file", n), live(n)}, Now: now})
	if got, _ := resolve(p.After, n.ARN); !sameAccess(got, n) {
		t.Errorf("the config says %s: mapped to %+v", n.Username, got)
	}
	// An entry that names a single node, which may be the one that is alive, is told
	// and left.
	one := role("node", "system:node:one", "system:nodes")
	p = wholePlan(t, parse(t, map[string]string{"mapRoles": unmarked(one)}), nil, plan.Snapshot{
		Sources:        []plan.Source{live(n)},
		AdoptConflicts: true, Now: now,
	})
	if got, _ := resolve(p.After, n.ARN); !sameAccess(got, one) || len(p.Conflicts) != 1 {
		t.Fatalf("one node's name: mapped to %+v, conflicts %+v", got, p.Conflicts)
	}
	// No advice about an entry of nodes is to remove it.
	less := role("node", "system:node:{{SessionName}}", "system:nodes")
	kept := wholePlan(t, parse(t, map[string]string{"mapRoles": unmarked(less)}), nil, plan.Snapshot{
		Sources: []plan.Source{live(n)},
		Now:     now,
	})
	if len(kept.Conflicts) != 1 {
		t.Fatalf("conflicts %+v", kept.Conflicts)
	}
	for want, c := range map[string]*plan.Conflict{
		"add to it system:bootstrappers, and leave its username": &kept.Conflicts[0],
		"give it the username system:node:{{":                    &p.Conflicts[0],
	} {
		if got := c.Advice(); !strings.HasPrefix(got, want) {
			t.Errorf("%+v: %s", c, got)
		}
	}
}

// The state tells how nodes are named where their entry is gone, as after EKS took out
// the role of the last managed node group that used it. A claim that nobody remembers
// tells no more than the entry itself.
func TestNodesComeBackUnderTheirUsername(t *testing.T) {
	n := node("node")
	want := role("node", "system:node:{{SessionName}}", n.Groups...)
	known := plan.Owned{Entry: want, Claims: []plan.Claim{{Source: "node", Username: n.Username, Groups: n.Groups}}, Since: now}
	waits := known
	waits.Pending, waits.Waiting = true, true
	doc := parse(t, map[string]string{"mapRoles": marked(want)})
	for name, test := range map[string]struct {
		doc     *awsauth.Document
		owned   []plan.Owned
		sources []plan.Source
	}{
		"it was removed":                         {parse(t, nil), []plan.Owned{known}, []plan.Source{live(n)}},
		"it waits for another entry to go":       {parse(t, nil), []plan.Owned{waits}, []plan.Source{live(n)}},
		"the reports can't be read":              {parse(t, nil), []plan.Owned{known}, []plan.Source{{Name: "node", Nodes: true, Failed: true}}},
		"the state was lost, and a source fails": {doc, nil, []plan.Source{live(n), down()}},
		"nobody is known to ask for it":          {doc, []plan.Owned{{Entry: want, Since: now}}, []plan.Source{down(), live(n)}},
	} {
		p := wholePlan(t, test.doc, &plan.State{Config: "1", Owned: test.owned}, plan.Snapshot{Sources: test.sources, Required: []string{n.ARN}, Config: "1", Now: now})
		if got, _ := resolve(p.After, n.ARN); !sameAccess(got, want) {
			t.Errorf("%s: mapped to %+v", name, got)
		}
	}
	// The config is explicit.
	p := wholePlan(t, parse(t, nil), &plan.State{Config: "1", Owned: []plan.Owned{known}}, plan.Snapshot{Sources: []plan.Source{from("file", n), live(n)}, Config: "1", Now: now})
	if got, _ := resolve(p.After, n.ARN); !sameAccess(got, n) {
		t.Errorf("the config says %s: mapped to %+v", n.Username, got)
	}
}
