package configmap

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/internal/plan"
)

// node is what a live node asks for.
func node(name string) awsauth.Entry {
	return role(name, "system:node:{{EC2PrivateDNSName}}", "system:bootstrappers", "system:nodes")
}

// live is the source of what nodes report.
func live(entries ...awsauth.Entry) plan.Source {
	return plan.Source{Name: "node", Entries: entries, Nodes: true}
}

// A key that cannot be read stands in nobody's way: what belongs into the others is
// done, its own text and what the state has of it stay.
func TestUnreadableKey(t *testing.T) {
	n, ann, ops := node("new-node"), user("ann", "ann", "dev"), role("ops", "ops", "ops")
	const broken = "- userarn: arn:aws:iam::111122223333:user/ann\n  username: {{SessionName}}\n"
	state := stateOf("group/dev", ann)
	state.Owned = append(state.Owned, owned(ops, "file"))
	state.Sort()
	doc := awsauth.ParseReadable(map[string]string{"mapRoles": marked(ops), "mapUsers": broken})
	if got := doc.Unreadable(); len(got) != 1 || got[0].Key != "mapUsers" {
		t.Fatalf("unreadable: %v", got)
	}
	for name, test := range map[string]struct {
		sources []plan.Source
		left    int
		changes int
	}{
		"a new role":                      {[]plan.Source{from("file", ops), from("group/dev", ann), live(n)}, 1, 1},
		"a new role and a new user":       {[]plan.Source{from("file", ops), from("group/dev", ann, user("bob", "bob")), live(n)}, 2, 1},
		"another role goes, and the user": {[]plan.Source{from("file"), from("group/dev"), live(n)}, 0, 2},
		"the user's source fails":         {[]plan.Source{from("file", ops), {Name: "group/dev", Failed: true}, live(n)}, 1, 1},
	} {
		req := plan.Snapshot{Sources: test.sources, Required: []string{n.ARN}, Limit: limit(50), Config: "1", Now: now}
		p := makePlan(doc, state, req)
		if got, ok := resolve(p.After, n.ARN); !ok || !sameAccess(got, n) {
			t.Errorf("%s: the live node's role is mapped to %+v", name, got)
		}
		if p.After.Data()["mapUsers"] != broken {
			t.Errorf("%s: mapUsers is now %q", name, p.After.Data()["mapUsers"])
		}
		if len(p.Left) != test.left || len(p.Changes) != test.changes {
			t.Errorf("%s: left out %+v, changes %+v", name, p.Left, p.Changes)
		}
		for _, l := range p.Left {
			if l.Entry.Kind != awsauth.User || !strings.Contains(l.Why, "mapUsers cannot be read") {
				t.Errorf("%s: left out %+v", name, l)
			}
		}
		settled := settledOf(p, state)
		kept := 0
		for _, o := range settled.Owned {
			if o.Kind == awsauth.User {
				kept++
				if !sameAccess(o.Entry, ann) || o.Pending {
					t.Errorf("%s: the state has %+v", name, o)
				}
			}
		}
		if kept != 1 {
			t.Errorf("%s: the state has %d users: %q", name, kept, lines(settled))
		}
		again := makePlan(awsauth.ParseReadable(p.After.Data()), settled, req)
		if again.Writes() || again.Settled != nil || again.Ahead != nil {
			t.Errorf("%s: a second run changes %+v, the ledger to %+v", name, again.Changes, again.Settled)
		}
		// Once it can be read, it is reconciled again.
		data := p.After.Data()
		data["mapUsers"] = marked(ann)
		healed := makePlan(parse(t, data), settled, req)
		if len(healed.Left) > 0 {
			t.Errorf("%s: once it can be read, %+v is left out", name, healed.Left)
		}
		if test.left == 0 && len(healed.After.Entries()) != 1 {
			t.Errorf("%s: once it can be read there are %q", name, resolution(healed.After))
		}
	}

	// The other way round: only what the broken key holds waits.
	doc = awsauth.ParseReadable(map[string]string{"mapRoles": strings.ReplaceAll(broken, "user", "role"), "mapUsers": ""})
	p := makePlan(doc, nil, plan.Snapshot{Sources: []plan.Source{from("group/dev", ann), live(n)}, Required: []string{n.ARN}, Now: now})
	if _, ok := resolve(p.After, ann.ARN); !ok || len(p.Left) != 1 || !p.Left[0].Node || principal(p.Left[0].Entry) != principal(n) {
		t.Errorf("without mapRoles: changes %+v, left out %+v", p.Changes, p.Left)
	}
}

// One change that cannot be made keeps no other out.
func TestOneChangeThatCannotBeMade(t *testing.T) {
	n := node("new-node")
	const block = "- rolearn: arn:aws:iam::111122223333:role/foreign\n  username: f\n  note: |\n    why it is here\n" +
		"- rolearn: arn:aws:iam::111122223333:role/ours\n  username: u1\n  groups:\n  - g\n  syncedBy: rolecall\n    # a comment, indented\n"
	const anchor = "- rolearn: arn:aws:iam::111122223333:role/ours\n  username: u1\n  groups: &g\n  - g\n  syncedBy: rolecall\n" +
		"- rolearn: arn:aws:iam::111122223333:role/foreign\n  username: f\n  groups: *g\n"
	many := make([]awsauth.Entry, 40)
	for i := range many {
		many[i] = role("more"+string(rune('a'+i%26))+string(rune('a'+i/26)), "x", "g")
	}
	for name, test := range map[string]struct {
		text  string
		ours  []awsauth.Entry
		asked []awsauth.Entry
		wait  int // changes of those that are left out
	}{
		"a comment that a block scalar would swallow":   {block, []awsauth.Entry{role("ours", "u1", "g")}, nil, 1},
		"an anchor in ours that an unmanaged one uses":  {anchor, []awsauth.Entry{role("ours", "u1", "g")}, nil, 1},
		"among many that go":                            {anchor + marked(many...), append([]awsauth.Entry{role("ours", "u1", "g")}, many...), nil, 1},
		"among many that change and that come":          {anchor + marked(many[:20]...), append([]awsauth.Entry{role("ours", "u1", "g")}, many[:20]...), regrouped(many, "h"), 1},
		"an update of what an unmanaged one refers to":  {anchor, []awsauth.Entry{role("ours", "u1", "g")}, []awsauth.Entry{role("ours", "u1", "h")}, 1},
		"nothing else, and ours is asked for as before": {anchor, []awsauth.Entry{role("ours", "u1", "g")}, []awsauth.Entry{role("ours", "u1", "g")}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			doc := parse(t, map[string]string{"mapRoles": test.text})
			state := stateOf("group/g", test.ours...)
			req := plan.Snapshot{Sources: []plan.Source{from("group/g", test.asked...), live(n)}, Required: []string{n.ARN}, Config: "1", Now: now}
			p := makePlan(doc, state, req)
			if got, ok := resolve(p.After, n.ARN); !ok || !sameAccess(got, n) {
				t.Errorf("the live node's role is mapped to %+v; left out: %+v", got, p.Left)
			}
			if len(p.Left) != test.wait {
				t.Errorf("left out: %+v", p.Left)
			}
			for _, l := range p.Left {
				if principal(l.Entry) != principal(role("ours", "")) || l.Why == "" {
					t.Errorf("left out: %+v", l)
				}
			}
			if why := broken(doc, state, req, p); why != "" {
				t.Error(why)
			}
		})
	}
}

func regrouped(entries []awsauth.Entry, group string) []awsauth.Entry {
	out := make([]awsauth.Entry, len(entries))
	for i, e := range entries {
		e.Groups = []string{group}
		out[i] = e
	}
	return out
}

// Valid lists of which the anchor or the tag stands before them take entries.
func TestListsWithAnchorsAndTags(t *testing.T) {
	n := node("new-node")
	for _, text := range []string{
		"--- &list\n- rolearn: x\n", "--- !!seq\n- rolearn: x\n", "&list null\n", "!!null null\n", "--- &list\n" + marked(role("ours", "u")), "--- !!seq\n" + marked(role("ours", "u")),
	} {
		doc := parse(t, map[string]string{"mapRoles": text})
		req := plan.Snapshot{Sources: []plan.Source{live(n)}, Required: []string{n.ARN}, Now: now}
		p := wholePlan(t, doc, nil, req)
		if why := broken(doc, &plan.State{}, req, p); why != "" {
			t.Errorf("%q: %s", text, why)
		}
		req = plan.Snapshot{Now: now} // and back
		gone := wholePlan(t, p.After, p.Settled, req)
		if why := broken(p.After, p.Settled, req, gone); why != "" || len(gone.Changes) != 1 {
			t.Errorf("%q: %+v, %s", text, gone.Changes, why)
		}
	}
}

// However many changes cannot be made, what comes is added, the roles of live nodes
// first, in a bounded number of tries.
func TestManyChangesThatCannotBeMade(t *testing.T) {
	if testing.Short() {
		t.Skip("edits a large list many times: not with -short")
	}
	n, other := node("new-node"), role("other", "other")
	var text strings.Builder
	var ours []awsauth.Entry
	for i := range 300 {
		e := role(fmt.Sprintf("ours%03d", i), "u", "g")
		ours = append(ours, e)
		fmt.Fprintf(&text, "- rolearn: %s\n  username: u\n  groups: &g%d\n  - g\n  syncedBy: rolecall\n- rolearn: %s\n  username: f\n  groups: *g%d\n", e.ARN, i, role(fmt.Sprintf("foreign%03d", i), "").ARN, i)
	}
	doc, state := parse(t, map[string]string{"mapRoles": text.String(), "mapUsers": marked(user("gone", "gone"))}), stateOf("group/g", ours...)
	req := plan.Snapshot{Sources: []plan.Source{from("group/g"), from("file", other), live(n)}, Required: []string{n.ARN}, Now: now}
	start := time.Now()
	p := makePlan(doc, state, req)
	t.Logf("it took %s", time.Since(start))
	for _, e := range []awsauth.Entry{n, other} {
		if got, ok := resolve(p.After, e.ARN); !ok || !sameAccess(got, e) {
			t.Errorf("%s is mapped to %+v", e.ARN, got)
		}
	}
	if _, ok := resolve(p.After, user("gone", "").ARN); ok {
		t.Error("what can be removed from another key is not")
	}
	if len(p.Left) != len(ours) {
		t.Errorf("%d are left out of %d", len(p.Left), len(ours))
	}
	if len(p.Managed) != len(ours)+2 {
		t.Errorf("%d are managed", len(p.Managed))
	}
}
