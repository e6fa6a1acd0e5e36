package configmap

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/internal/plan"
)

// TestCheckLooksAtTheResult puts another text in place of the one that a plan
// came to: whatever led to it, it is not written.
func TestCheckLooksAtTheResult(t *testing.T) {
	live := role("live", "node")
	before := map[string]string{
		"mapRoles":    unmarked(role("theirs", "theirs", "g")) + marked(role("stays", "stays"), live),
		"mapUsers":    unmarked(user("u", "u")),
		"mapAccounts": unmarked(account("111122223333")),
	}
	req := plan.Snapshot{Now: now, Required: []string{live.ARN}, Sources: []plan.Source{from("file", role("stays", "stays"), role("new", "new", "g")), from("node", live)}}
	good := before["mapRoles"] + marked(role("new", "new", "g"))
	tests := []struct {
		name, key, text string
		want            string
	}{
		{"as planned", "mapRoles", good, ""},
		{"another order", "mapRoles", marked(role("new", "new", "g")) + before["mapRoles"], ""},
		{"an unmanaged entry is gone", "mapRoles", strings.Replace(good, "role/theirs", "role/other", 1), `role/theirs would be mapped to nothing instead of "theirs" ["g"]`},
		{"an unmanaged entry has fewer groups", "mapRoles", strings.Replace(good, "  - g\n", "  - h\n", 1), `role/theirs would be mapped to "theirs" ["h"] instead of "theirs" ["g"]`},
		{"an unmanaged entry has another username", "mapUsers", unmarked(user("u", "v")), `user/u would be mapped to "v" [] instead of "u" []`},
		{"a double answers for an unmanaged entry", "mapRoles", good + unmarked(role("theirs", "x")), `role/theirs would be mapped to "x" [] instead of "theirs" ["g"]`},
		{"a role answers for a user", "mapRoles", good + unmarked(awsauth.Entry{Kind: awsauth.Role, ARN: user("u", "").ARN, Username: "x"}), `user/u would be mapped to "x" [] instead of "u" []`},
		{"ours is missing", "mapRoles", before["mapRoles"], `role/new would be mapped to nothing instead of "new" ["g"]`},
		{"ours lacks a group", "mapRoles", before["mapRoles"] + marked(role("new", "new")), `role/new would be mapped to "new" [] instead of "new" ["g"]`},
		{"ours changes without a reason", "mapRoles", strings.Replace(good, "username: stays", "username: x", 1), `role/stays would be mapped to "x" [] instead of "stays" []`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			l, which := ladderOf(t, parse(t, before), req)
			data := parse(t, before).Data()
			data["mapRoles"] = good
			data[test.key] = test.text
			err := l.check(parse(t, data), which)
			if test.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			var checkErr *awsauth.CheckError
			if !errors.As(err, &checkErr) || !strings.Contains(err.Error(), "nothing is written: arn:aws:iam::111122223333:"+test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

// ladderOf is what carries out the decisions of a snapshot, and those that write.
func ladderOf(t *testing.T, doc *awsauth.Document, s plan.Snapshot) (l *ladder, which []int) {
	t.Helper()
	Observed(doc, 0, &s)
	decisions, _ := plan.Make(&s)
	for i := range decisions {
		if decisions[i].Writes() {
			which = append(which, i)
		}
	}
	return &ladder{doc: doc, required: s.Required, decisions: decisions}, which
}

// TestCheckLooksForLiveNodes refuses a text that leaves a live node's role out
// that was mapped or is to be, whoever the entry belongs to.
func TestCheckLooksForLiveNodes(t *testing.T) {
	live, other := role("live", "node"), role("x", "x")
	with, without := parse(t, map[string]string{"mapRoles": marked(live)}), parse(t, nil)
	tests := []struct {
		name          string
		before, after *awsauth.Document
		asked         []awsauth.Entry
		want          bool // an error
	}{
		{"removed", with, without, nil, true},
		{"removed beside another change", with, parse(t, map[string]string{"mapRoles": marked(other)}), []awsauth.Entry{other}, true},
		{"to be added, and left out", without, without, []awsauth.Entry{live}, true},
		{"never there and nobody's", without, parse(t, map[string]string{"mapRoles": marked(other)}), []awsauth.Entry{other}, false},
		{"added", without, with, []awsauth.Entry{live}, false},
		{"no write", without, without, nil, false},
	}
	for _, test := range tests {
		l, which := ladderOf(t, test.before, plan.Snapshot{Now: now, Required: []string{strings.ToUpper(live.ARN)}, Sources: []plan.Source{from("file", test.asked...)}})
		err := l.check(test.after, which)
		if (err != nil) != test.want || err != nil && !strings.Contains(err.Error(), "role/live would ") && !strings.Contains(err.Error(), "the role of a live node, would not be mapped") {
			t.Errorf("%s: %v", test.name, err)
		}
	}
}

// TestAnchorsOfOurs touches no managed entry that unmanaged ones use, and does
// everything else.
func TestAnchorsOfOurs(t *testing.T) {
	text := "- &ours\n  rolearn: arn:aws:iam::111122223333:role/a\n  username: a\n  syncedBy: rolecall\n" +
		"- {<<: *ours, rolearn: arn:aws:iam::111122223333:role/theirs, syncedBy: me}\n"
	doc := parse(t, map[string]string{"mapRoles": text})
	for name, test := range map[string]struct {
		op    plan.Op
		asked []awsauth.Entry
	}{
		"removed":                  {plan.Remove, nil},
		"replaced":                 {plan.Update, []awsauth.Entry{role("a", "b")}},
		"removed beside others":    {plan.Remove, []awsauth.Entry{role("n", "n"), user("u", "u")}},
		"replaced beside others":   {plan.Update, []awsauth.Entry{role("a", "b"), role("n", "n"), user("u", "u")}},
		"beside a live node's one": {plan.Remove, []awsauth.Entry{role("live", "node")}},
	} {
		req := plan.Snapshot{Now: now, Sources: []plan.Source{from("file", test.asked...)}}
		if slices.ContainsFunc(test.asked, func(e awsauth.Entry) bool { return e.Username == "node" }) {
			req.Required = []string{role("live", "").ARN}
		}
		p := makePlan(doc, nil, req)
		if len(p.Left) != 1 || p.Left[0].Op != test.op || principal(p.Left[0].Entry) != principal(role("a", "")) || p.Left[0].Node || !strings.Contains(p.Left[0].Why, "an entry that must change has an anchor that others use") {
			t.Errorf("%s: left out: %+v", name, p.Left)
		}
		if got, _ := resolve(p.After, role("a", "").ARN); !sameAccess(got, role("a", "a")) {
			t.Errorf("%s: what is left out is mapped to %+v", name, got)
		}
		adds := 0
		for _, e := range test.asked {
			if e.ARN == role("a", "").ARN {
				continue
			}
			adds++
			if got, _ := resolve(p.After, e.ARN); !sameAccess(got, e) {
				t.Errorf("%s: %s is mapped to %+v", name, e.ARN, got)
			}
		}
		if len(p.Changes) != adds {
			t.Errorf("%s: changes %+v", name, p.Changes)
		}
		if why := broken(doc, &plan.State{}, req, p); why != "" {
			t.Errorf("%s: %s", name, why)
		}
	}
	// What needs no change there is written.
	p := wholePlan(t, doc, nil, plan.Snapshot{Now: now, Sources: []plan.Source{from("file", role("a", "a"), role("b", "b"))}})
	if len(p.Changes) != 1 {
		t.Errorf("beside it: %+v", p)
	}
}
