package awsauth

import (
	"errors"
	"strings"
	"testing"
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
	req := Request{Now: now, Required: []string{live.ARN}, Sources: []Source{from("file", role("stays", "stays"), role("new", "new", "g")), from("node", live)}}
	good := before["mapRoles"] + marked(role("new", "new", "g"))
	tests := []struct {
		name, key, text string
		want            string
	}{
		{"as planned", "mapRoles", good, ""},
		{"another order", "mapRoles", marked(role("new", "new", "g")) + before["mapRoles"], ""},
		{"a foreign entry is gone", "mapRoles", strings.Replace(good, "role/theirs", "role/other", 1), `role/theirs would be mapped to nothing instead of "theirs" ["g"]`},
		{"a foreign entry has fewer groups", "mapRoles", strings.Replace(good, "  - g\n", "  - h\n", 1), `role/theirs would be mapped to "theirs" ["h"] instead of "theirs" ["g"]`},
		{"a foreign entry has another username", "mapUsers", unmarked(user("u", "v")), `user/u would be mapped to "v" [] instead of "u" []`},
		{"a double answers for a foreign entry", "mapRoles", good + unmarked(role("theirs", "x")), `role/theirs would be mapped to "x" [] instead of "theirs" ["g"]`},
		{"a role answers for a user", "mapRoles", good + unmarked(Entry{Role, user("u", "").ARN, "x", nil}), `user/u would be mapped to "x" [] instead of "u" []`},
		{"ours is missing", "mapRoles", before["mapRoles"], `role/new would be mapped to nothing instead of "new" ["g"]`},
		{"ours lacks a group", "mapRoles", before["mapRoles"] + marked(role("new", "new")), `role/new would be mapped to "new" [] instead of "new" ["g"]`},
		{"ours changes without a reason", "mapRoles", strings.Replace(good, "username: stays", "username: x", 1), `role/stays would be mapped to "x" [] instead of "stays" []`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			plan, err := MakePlan(parse(t, before), nil, req)
			if err != nil {
				t.Fatal(err)
			}
			data := plan.After.Data()
			data[test.key] = test.text
			plan.After = parse(t, data)
			err = newMerge(plan.Before, &Ledger{}, req).check(plan)
			if test.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			var checkErr *CheckError
			if !errors.As(err, &checkErr) || !strings.Contains(err.Error(), "nothing is written: arn:aws:iam::111122223333:"+test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

// TestCheckLooksForLiveNodes refuses a text that leaves a live node's role
// out, whoever the entry belongs to.
func TestCheckLooksForLiveNodes(t *testing.T) {
	live := role("live", "node")
	req := Request{Now: now, Required: []string{strings.ToUpper(live.ARN)}}
	with, without := parse(t, map[string]string{"mapRoles": marked(live)}), parse(t, nil)
	gone := []Change{{Op: Remove, Entry: live}}
	refused := []Entry{live}
	tests := []struct {
		name string
		plan Plan
		want bool // an error
	}{
		{"removed", Plan{Before: with, After: without, Changes: gone}, true},
		{"removed, as if there were no room", Plan{Before: with, After: without, Changes: gone, Refused: refused}, true},
		{"never there and nobody's", Plan{Before: without, After: without, Changes: []Change{{Op: Add, Entry: role("x", "x")}}}, true},
		{"never there for want of room", Plan{Before: without, After: without, Changes: []Change{{Op: Add, Entry: role("x", "x")}}, Refused: refused}, false},
		{"there", Plan{Before: without, After: with, Changes: []Change{{Op: Add, Entry: live}}}, false},
		{"no write", Plan{Before: without, After: without}, false},
	}
	for _, test := range tests {
		err := newMerge(test.plan.Before, &Ledger{}, req).check(&test.plan)
		if (err != nil) != test.want || err != nil && !strings.Contains(err.Error(), "the role of a live node, would not be mapped") {
			t.Errorf("%s: %v", test.name, err)
		}
	}
}

// TestNothingIsWrittenThatReadsOtherwise gives replaceList texts that are not
// what the edit was to come to.
func TestNothingIsWrittenThatReadsOtherwise(t *testing.T) {
	theirs, ours, added := role("theirs", "t", "g"), role("ours", "new"), role("added", "a")
	doc := parse(t, map[string]string{"mapRoles": unmarked(theirs) + "- rolearn: gone\n" + marked(role("ours", "old"))})
	e := &edit{remove: map[int]bool{1: true}, replace: map[int]Entry{2: ours}, add: []Entry{added}}
	for name, test := range map[string]struct {
		text string
		ok   bool
	}{
		"as asked":                  {unmarked(theirs) + marked(ours, added), true},
		"added in front":            {marked(added) + unmarked(theirs) + marked(ours), true},
		"not removed":               {unmarked(theirs) + "- rolearn: gone\n" + marked(ours, added), false},
		"another removed":           {"- rolearn: gone\n" + marked(ours, added), false},
		"not replaced":              {unmarked(theirs) + marked(role("ours", "old"), added), false},
		"replaced without the mark": {unmarked(theirs, ours) + marked(added), false},
		"not added":                 {unmarked(theirs) + marked(ours), false},
		"added without the mark":    {unmarked(theirs) + marked(ours) + unmarked(added), false},
		"added dropped":             {unmarked(theirs) + marked(ours) + strings.Replace(marked(added), "  username", "  sso: {}\n  username", 1), false},
		"a foreign field changed":   {strings.Replace(unmarked(theirs), "  groups", "  note: x\n  groups", 1) + marked(ours, added), false},
		"another order":             {marked(ours) + unmarked(theirs) + marked(added), false},
		"malformed":                 {"[", false},
	} {
		next := &Document{data: doc.Data(), reading: doc.reading}
		err := next.replaceList(Role, func(yield func(string) bool) { yield(test.text) }, expected(doc.roles, e), 1)
		if (err == nil) != test.ok {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil && (!strings.Contains(err.Error(), "nothing is written") || next.data["mapRoles"] != doc.data["mapRoles"]) {
			t.Errorf("%s: %v, and the text is %q", name, err, next.data["mapRoles"])
		}
	}
}

// TestAnchorsOfOurs refuses to touch an entry of ours that foreign ones use.
func TestAnchorsOfOurs(t *testing.T) {
	text := "- &ours\n  rolearn: arn:aws:iam::111122223333:role/a\n  username: a\n  syncedBy: rolecall\n" +
		"- {<<: *ours, rolearn: arn:aws:iam::111122223333:role/theirs, syncedBy: me}\n"
	doc := parse(t, map[string]string{"mapRoles": text})
	for name, sources := range map[string][]Source{
		"removed":  {from("file")},
		"replaced": {from("file", role("a", "b"))},
	} {
		plan, err := MakePlan(doc, nil, Request{Now: now, Sources: sources})
		if err == nil || !strings.Contains(err.Error(), "an entry that must change has an anchor that others use") || plan != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	// What needs no change there is written.
	plan, err := MakePlan(doc, nil, Request{Now: now, Sources: []Source{from("file", role("a", "a"), role("b", "b"))}})
	if err != nil || len(plan.Changes) != 1 {
		t.Errorf("beside it: %+v, %v", plan, err)
	}
}

// TestLayoutsThatAreRefused are readable and cannot be edited: nothing is written.
func TestLayoutsThatAreRefused(t *testing.T) {
	for name, text := range map[string]string{
		"an anchor on the list": "--- &list\n- rolearn: x\n",
		"a tag on the list":     "--- !!seq\n- rolearn: x\n",
	} {
		doc, err := Parse(map[string]string{"mapRoles": text})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		_, err = MakePlan(doc, nil, Request{Now: now, Sources: []Source{from("file", role("a", "a"))}})
		if err == nil || !strings.Contains(err.Error(), "rewrite it as a plain YAML list") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
