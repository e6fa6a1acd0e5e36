package configmap

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/internal/plan"
)

// TestMerge goes through the merging rules of the design. After every case the
// promises of the package hold as well.
func TestMerge(t *testing.T) {
	tests := []struct {
		name                   string
		roles, users, accounts string
		state                  []plan.Owned
		req                    plan.Snapshot
		changes                []string // op, entry, reason
		conflicts              []string // ours
		after                  []string // what the authenticator answers
		ours                   []string // in the ledger after the write; a pending one with a "?"
	}{
		// Ownership.
		{
			name:  "ours by the mark",
			roles: marked(role("a", "old")),
			req:   plan.Snapshot{Sources: []plan.Source{from("file", role("a", "new"))}},
			changes: []string{
				"update role/a new[]: username",
			},
			after: []string{"role/a new[]"},
			ours:  []string{"role/a new[] file"},
		},
		{
			name:    "ours by the mark, without a ledger and unwanted",
			roles:   marked(role("a", "a")),
			changes: []string{"remove role/a a[]: no source asks for it any more"},
		},
		{
			name:    "ours by the ledger, the mark stripped",
			roles:   unmarked(role("a", "a", "g1", "g2")),
			state:   []plan.Owned{owned(role("a", "a", "g1", "g2"), "file")},
			req:     plan.Snapshot{Sources: []plan.Source{from("file", role("a", "a", "g2", "g1"))}},
			changes: []string{"update role/a a[g1 g2]: mark"},
			after:   []string{"role/a a[g1 g2]"},
			ours:    []string{"role/a a[g1 g2] file"},
		},
		{
			name:    "ours by the ledger, the mark stripped, unwanted",
			roles:   unmarked(role("a", "a")),
			state:   []plan.Owned{owned(role("a", "a"), "file")},
			changes: []string{"remove role/a a[]: no source asks for it any more"},
		},
		{
			name:  "the ledger's ARN with another content is foreign",
			roles: unmarked(role("a", "somebody")),
			state: []plan.Owned{owned(role("a", "a"), "file")},
			after: []string{"role/a somebody[]"},
		},
		{
			name:  "an entry about to be written proves nothing",
			roles: unmarked(role("a", "a")),
			state: []plan.Owned{pending(owned(role("a", "a"), "file"))},
			after: []string{"role/a a[]"},
		},
		{
			name:  "the mark of another tool is foreign, whatever the ledger says",
			roles: strings.ReplaceAll(marked(role("a", "a")), "rolecall", "other-tool"),
			state: []plan.Owned{owned(role("a", "a"), "file")},
			after: []string{"role/a a[]"},
		},
		{
			name:  "an adopted mark is ours",
			roles: strings.ReplaceAll(marked(role("a", "a"), role("b", "b")), "rolecall", "other-tool"),
			req:   plan.Snapshot{Adopt: []string{"other-tool"}, Sources: []plan.Source{from("file", role("a", "a"))}},
			changes: []string{
				"update role/a a[]: mark",
				"remove role/b b[]: no source asks for it any more",
			},
			after: []string{"role/a a[]"},
			ours:  []string{"role/a a[] file"},
		},
		{
			name:  "the mark wins over the ledger among doubles",
			roles: unmarked(role("a", "a")) + marked(role("a", "b")),
			state: []plan.Owned{
				owned(role("a", "a"), "file"),
			},
			req:       plan.Snapshot{Sources: []plan.Source{from("file", role("a", "a"))}},
			changes:   []string{"withdraw role/a b[]: an unmanaged entry grants the same"},
			after:     []string{"role/a a[]"},
			conflicts: nil,
		},
		{
			name:     "accounts are ours by the ledger",
			accounts: unmarked(account("111122223333"), account("444455556666"), account("777788889999")),
			state:    []plan.Owned{owned(account("111122223333"), "file"), owned(account("444455556666"), "file")},
			req:      plan.Snapshot{Sources: []plan.Source{from("file", account("111122223333"))}},
			changes:  []string{"remove account/444455556666: no source asks for it any more"},
			after:    []string{"account/111122223333", "account/777788889999"},
			ours:     []string{"account/111122223333 file"},
		},
		{
			name:     "an account about to be written is ours",
			accounts: unmarked(account("111122223333")),
			state:    []plan.Owned{pending(owned(account("111122223333"), "file"))},
			changes:  []string{"remove account/111122223333: no source asks for it any more"},
		},
		{
			name:     "a foreign account is enough",
			accounts: unmarked(account("111122223333")),
			req:      plan.Snapshot{Sources: []plan.Source{from("file", account("111122223333"), account("444455556666"))}},
			changes:  []string{"add account/444455556666: "},
			after:    []string{"account/111122223333", "account/444455556666"},
			ours:     []string{"account/444455556666 file"},
		},
		{
			name:    "a role that looks like an account is none",
			roles:   unmarked(awsauth.Entry{Kind: awsauth.Role, ARN: "111122223333", Username: "odd"}),
			req:     plan.Snapshot{Sources: []plan.Source{from("file", account("111122223333"))}},
			changes: []string{"add account/111122223333: "},
			after:   []string{"account/111122223333", "role 111122223333 odd[]"},
			ours:    []string{"account/111122223333 file"},
		},

		// One ARN, one entry.
		{
			name: "the union of groups and the most explicit username",
			req: plan.Snapshot{Sources: []plan.Source{
				from("file", user("a", "", "g3")),
				from("group/x", user("a", "x", "g2", "g1")),
				from("group/y", user("A", "y", "g2"), user("a", "y", "g4")),
			}},
			changes: []string{"add user/a x[g1 g2 g3 g4]: "},
			after:   []string{"user/a x[g1 g2 g3 g4]"},
			ours:    []string{"user/a x[g1 g2 g3 g4] file group/x group/y"},
		},
		{
			name:  "ours twice becomes once, and the case of its ARN stays",
			roles: marked(role("A", "a"), role("a", "a"), role("other", "o")),
			req:   plan.Snapshot{Sources: []plan.Source{from("file", role("a", "a"), role("other", "o"))}},
			changes: []string{
				"withdraw role/A a[]: doubled",
			},
			after: []string{"role/a a[]", "role/other o[]"},
			ours:  []string{"role/a a[] file", "role/other o[] file"},
		},
		{
			name:    "letters that only strings.EqualFold takes for one",
			roles:   unmarked(awsauth.Entry{Kind: awsauth.Role, ARN: "arn:aws:iam::111122223333:role/\u212a\u017f", Username: "kelvin"}),
			req:     plan.Snapshot{Sources: []plan.Source{from("file", role("ks", "kelvin"))}},
			after:   []string{"role/\u212a\u017f kelvin[]"},
			changes: nil,
		},
		{
			name:    "ours under the wrong key moves",
			users:   marked(awsauth.Entry{Kind: awsauth.User, ARN: role("a", "").ARN, Username: "a"}),
			req:     plan.Snapshot{Sources: []plan.Source{from("node", role("a", "a"))}},
			changes: []string{"add role/a a[]: ", "withdraw user role/a a[]: it stands under mapUsers"},
			after:   []string{"role/a a[]"},
			ours:    []string{"role/a a[] node"},
		},
		{
			name:  "a role ARN in mapUsers of somebody else answers",
			users: unmarked(awsauth.Entry{Kind: awsauth.User, ARN: role("a", "").ARN, Username: "a", Groups: []string{"g"}}),
			req:   plan.Snapshot{Sources: []plan.Source{from("node", role("a", "a", "g"))}},
			after: []string{"user role/a a[g]"},
			state: nil,
		},
		{
			name:      "a role ARN in mapUsers of somebody else is a conflict that is not adopted",
			users:     unmarked(awsauth.Entry{Kind: awsauth.User, ARN: role("a", "").ARN, Username: "a"}),
			req:       plan.Snapshot{AdoptConflicts: true, Sources: []plan.Source{from("node", role("a", "a", "g"))}},
			conflicts: []string{"role/a a[g]"},
			after:     []string{"user role/a a[]"},
		},

		// A foreign entry has our ARN.
		{
			name:  "foreign grants the same and more",
			roles: unmarked(role("a", "a", "g2", "g1", "g0")),
			req:   plan.Snapshot{Sources: []plan.Source{from("node", role("a", "a", "g1", "g2"))}},
			after: []string{"role/a a[g2 g1 g0]"},
		},
		{
			name:    "foreign came later and grants the same: ours is withdrawn",
			roles:   marked(role("a", "a", "g")) + unmarked(role("a", "a", "g")),
			state:   []plan.Owned{owned(role("a", "a", "g"), "node")},
			req:     plan.Snapshot{Sources: []plan.Source{from("node", role("a", "a", "g"))}},
			changes: []string{"withdraw role/a a[g]: an unmanaged entry grants the same"},
			after:   []string{"role/a a[g]"},
		},
		{
			name:      "foreign came later and grants less: ours is withdrawn, a conflict",
			roles:     marked(role("a", "a", "g")) + unmarked(role("a", "a")),
			state:     []plan.Owned{owned(role("a", "a", "g"), "node")},
			req:       plan.Snapshot{Sources: []plan.Source{from("node", role("a", "a", "g"))}},
			changes:   []string{"withdraw role/a a[g]: an unmanaged entry answers for it"},
			conflicts: []string{"role/a a[g]"},
			after:     []string{"role/a a[]"},
		},
		{
			name:      "foreign stands before ours and grants less: ours stays, for it answers",
			roles:     unmarked(role("a", "a")) + marked(role("a", "a", "g")),
			state:     []plan.Owned{owned(role("a", "a", "g"), "node")},
			req:       plan.Snapshot{Sources: []plan.Source{from("node", role("a", "a", "g"))}},
			conflicts: []string{"role/a a[g]"},
			after:     []string{"role/a a[g]"},
			ours:      []string{"role/a a[g] node"},
		},
		{
			name:      "another username is a conflict",
			users:     unmarked(user("a", "somebody", "g")),
			req:       plan.Snapshot{Sources: []plan.Source{from("file", user("a", "a", "g"))}},
			conflicts: []string{"user/a a[g]"},
			after:     []string{"user/a somebody[g]"},
		},
		{
			name:      "the last of several foreign ones counts",
			roles:     unmarked(role("a", "a", "g"), role("A", "a")),
			req:       plan.Snapshot{Sources: []plan.Source{from("node", role("a", "a", "g"))}},
			conflicts: []string{"role/a a[g]"},
			after:     []string{"role/A a[]"},
		},
		{
			name:    "a dropped entry answers for nothing",
			roles:   "- rolearn: arn:aws:iam::111122223333:role/a\n  username: a\n  sso: {permissionSetName: x, accountID: \"111122223333\"}\n",
			req:     plan.Snapshot{Sources: []plan.Source{from("node", role("a", "a"))}},
			changes: []string{"add role/a a[]: "},
			after:   []string{"role/a a[]"},
			ours:    []string{"role/a a[] node"},
		},
		{
			name:    "a conflict that is adopted",
			roles:   unmarked(role("a", "somebody", "g1")),
			req:     plan.Snapshot{AdoptConflicts: true, Sources: []plan.Source{from("node", role("a", "a", "g1", "g2"))}},
			changes: []string{"adopt role/a a[g1 g2]: an unmanaged entry granted less"},
			after:   []string{"role/a a[g1 g2]"},
			ours:    []string{"role/a a[g1 g2] node"},
		},
		{
			name:  "adopting takes ours away that is doubled",
			roles: unmarked(role("a", "a")) + marked(role("a", "a", "g1")),
			state: []plan.Owned{owned(role("a", "a", "g1"), "node")},
			req:   plan.Snapshot{AdoptConflicts: true, Sources: []plan.Source{from("node", role("a", "a", "g1"))}},
			changes: []string{
				"withdraw role/a a[g1]: doubled",
				"adopt role/a a[g1]: an unmanaged entry granted less",
			},
			after: []string{"role/a a[g1]"},
			ours:  []string{"role/a a[g1] node"},
		},
		{
			name:      "an unmanaged entry that grants something else is not adopted",
			roles:     unmarked(role("a", "a", "theirs")),
			req:       plan.Snapshot{AdoptConflicts: true, Sources: []plan.Source{from("node", role("a", "a", "g1"))}},
			conflicts: []string{"role/a a[g1]"},
			after:     []string{"role/a a[theirs]"},
		},
		{
			name:      "two foreign entries are not adopted",
			roles:     unmarked(role("a", "a"), role("a", "a")),
			req:       plan.Snapshot{AdoptConflicts: true, Sources: []plan.Source{from("node", role("a", "a", "g1"))}},
			conflicts: []string{"role/a a[g1]"},
			after:     []string{"role/a a[]"},
		},
		{
			name: "what cannot be adopted stays a conflict and stops nothing else",
			roles: "- &theirs\n  rolearn: arn:aws:iam::111122223333:role/a\n  username: a\n" +
				"- {<<: *theirs, rolearn: arn:aws:iam::111122223333:role/b}\n",
			req:       plan.Snapshot{AdoptConflicts: true, Sources: []plan.Source{from("node", role("a", "a", "g"), role("c", "c"))}},
			conflicts: []string{"role/a a[g]"},
			changes:   []string{"add role/c c[]: "},
			after:     []string{"role/a a[]", "role/b a[]", "role/c c[]"},
			ours:      []string{"role/c c[] node"},
		},
		{
			name:    "the foreign entry has gone: ours comes back",
			req:     plan.Snapshot{Sources: []plan.Source{from("node", role("a", "a", "g"))}},
			state:   []plan.Owned{pending(owned(role("a", "a", "g"), "node"))},
			changes: []string{"add role/a a[g]: "},
			after:   []string{"role/a a[g]"},
			ours:    []string{"role/a a[g] node"},
		},

		// Sources that fail.
		{
			name:  "a failed source removes nothing",
			users: marked(user("a", "a", "g")),
			state: []plan.Owned{owned(user("a", "a", "g"), "group/x")},
			req:   plan.Snapshot{Sources: []plan.Source{down()}},
			after: []string{"user/a a[g]"},
			ours:  []string{"user/a a[g] group/x"},
		},
		{
			name:    "a failed source's entry comes back after a wipe",
			state:   []plan.Owned{owned(user("a", "a", "g"), "group/x")},
			req:     plan.Snapshot{Sources: []plan.Source{down()}},
			changes: []string{"add user/a a[g]: "},
			after:   []string{"user/a a[g]"},
			ours:    []string{"user/a a[g] group/x"},
		},
		{
			name:  "what a failed source says is taken, and what it does not say stays",
			users: marked(user("a", "a", "g"), user("c", "c", "g")),
			state: []plan.Owned{owned(user("a", "a", "g"), "group/x"), owned(user("c", "c", "g"), "group/x")},
			req: plan.Snapshot{Sources: []plan.Source{{
				Name: "group/x", Failed: true, Entries: []awsauth.Entry{user("b", "b"), user("c", "c", "h")},
			}}},
			changes: []string{"add user/b b[]: ", "update user/c c[h]: groups"},
			after:   []string{"user/a a[g]", "user/b b[]", "user/c c[h]"},
			ours:    []string{"user/a a[g] group/x", "user/b b[] group/x", "user/c c[h] group/x"},
		},
		{
			name:    "an empty source is no failure",
			users:   marked(user("a", "a", "g")),
			state:   []plan.Owned{owned(user("a", "a", "g"), "group/x")},
			req:     plan.Snapshot{Sources: []plan.Source{from("group/x")}},
			changes: []string{"remove user/a a[g]: no source asks for it any more"},
		},
		{
			name:  "one of two sources of an entry failed: its groups stay, the other's go",
			users: marked(user("a", "a", "g1", "g2")),
			state: []plan.Owned{{Entry: user("a", "a", "g1", "g2"), Since: now, Claims: []plan.Claim{
				{Source: "group/x", Username: "a", Groups: []string{"g1"}}, {Source: "group/y", Username: "a", Groups: []string{"g2"}},
			}}},
			req:     plan.Snapshot{Sources: []plan.Source{down(), from("group/y")}},
			changes: []string{"update user/a a[g1]: groups"},
			after:   []string{"user/a a[g1]"},
			ours:    []string{"user/a a[g1] group/x"},
		},
		{
			name:  "a source that failed beside one that answers",
			users: marked(user("a", "a", "g1")),
			state: []plan.Owned{
				owned(user("a", "a", "g1"), "group/x"),
			},
			req:     plan.Snapshot{Sources: []plan.Source{down(), from("group/y", user("a", "b", "g2"))}},
			changes: []string{"update user/a a[g1 g2]: groups"},
			after:   []string{"user/a a[g1 g2]"},
			ours:    []string{"user/a a[g1 g2] group/x group/y"},
		},
		{
			name:  "an orphan stays while a source fails: it may be that source's",
			users: marked(user("a", "a", "g"), user("b", "b", "g1", "g2")),
			req:   plan.Snapshot{Sources: []plan.Source{down(), from("group/y", user("b", "b", "g1"))}},
			after: []string{"user/a a[g]", "user/b b[g1 g2]"},
			ours:  []string{"user/a a[g] ", "user/b b[g1 g2] group/y "},
		},
		{
			name:  "the orphan goes once every source has answered",
			users: marked(user("a", "a", "g"), user("b", "b", "g1", "g2")),
			state: []plan.Owned{owned(user("a", "a", "g"), ""), {Entry: user("b", "b", "g1", "g2"), Since: now, Claims: []plan.Claim{{Source: "group/y", Username: "b", Groups: []string{"g1"}}, {Source: "", Username: "b", Groups: []string{"g1", "g2"}}}}},
			req:   plan.Snapshot{Sources: []plan.Source{from("group/x"), from("group/y", user("b", "b", "g1"))}},
			changes: []string{
				"remove user/a a[g]: no source asks for it any more",
				"update user/b b[g1]: groups",
			},
			after: []string{"user/b b[g1]"},
			ours:  []string{"user/b b[g1] group/y"},
		},
		{
			name:  "what a failed source asked waits behind an unmanaged entry",
			users: unmarked(user("a", "a", "g")) + marked(user("a", "a", "g")),
			state: []plan.Owned{owned(user("a", "a", "g"), "group/x")},
			req:   plan.Snapshot{Sources: []plan.Source{down()}},
			changes: []string{
				"withdraw user/a a[g]: an unmanaged entry grants the same",
			},
			after: []string{"user/a a[g]"},
			ours:  []string{"user/a a[g] group/x ?"},
		},
		{
			name:      "an orphan under an unmanaged entry while a source fails",
			roles:     marked(role("a", "a")) + unmarked(role("a", "theirs")),
			req:       plan.Snapshot{Sources: []plan.Source{down(), from("node", role("n", "n"))}},
			changes:   []string{"withdraw role/a a[]: an unmanaged entry answers for it", "add role/n n[]: "},
			conflicts: []string{"role/a a[]"},
			after:     []string{"role/a theirs[]", "role/n n[]"},
			ours:      []string{"role/a a[]  ?", "role/n n[] node"},
		},

		// What nobody asks for goes.
		{
			name:    "a user goes at once",
			users:   marked(user("a", "a"), user("b", "b")),
			state:   []plan.Owned{owned(user("a", "a"), "group/x"), owned(user("b", "b"), "group/x")},
			req:     plan.Snapshot{Sources: []plan.Source{from("group/x", user("b", "b"))}},
			changes: []string{"remove user/a a[]: no source asks for it any more"},
			after:   []string{"user/b b[]"},
			ours:    []string{"user/b b[] group/x"},
		},
		{
			name:  "a permission set's new suffix and the old one change in one write",
			roles: marked(role("AWSReservedSSO_x_0000000000000001", "x")),
			state: []plan.Owned{owned(role("AWSReservedSSO_x_0000000000000001", "x"), "permission-set/x")},
			req:   plan.Snapshot{Sources: []plan.Source{from("permission-set/x", role("AWSReservedSSO_x_0000000000000002", "x"))}},
			changes: []string{
				"remove role/AWSReservedSSO_x_0000000000000001 x[]: no source asks for it any more",
				"add role/AWSReservedSSO_x_0000000000000002 x[]: ",
			},
			after: []string{"role/AWSReservedSSO_x_0000000000000002 x[]"},
			ours:  []string{"role/AWSReservedSSO_x_0000000000000002 x[] permission-set/x"},
		},
		{
			name:    "what foreign entries stand before answers again when ours goes",
			roles:   unmarked(role("a", "theirs")) + marked(role("a", "a")),
			state:   []plan.Owned{owned(role("a", "a"), "file")},
			changes: []string{"remove role/a a[]: no source asks for it any more"},
			after:   []string{"role/a theirs[]"},
		},

		// Nothing changes.
		{
			name:     "another order of groups and another case are no change",
			roles:    marked(role("A", "a", "g2", "g1", "g1")),
			state:    []plan.Owned{owned(role("A", "a", "g1", "g2"), "file")},
			accounts: unmarked(account("111122223333")),
			req:      plan.Snapshot{Sources: []plan.Source{from("file", role("a", "a", "g1", "g2"))}},
			after:    []string{"account/111122223333", "role/A a[g2 g1 g1]"},
			ours:     []string{"role/A a[g1 g2] file"},
		},
		{
			name: "nothing at all",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			doc, err := awsauth.Parse(map[string]string{"mapRoles": test.roles, "mapUsers": test.users, "mapAccounts": test.accounts, "other": "left alone"})
			if err != nil {
				t.Fatal(err)
			}
			test.req.Now = now
			state := &plan.State{Owned: test.state}
			state.Sort()
			planned := makePlan(doc, state, test.req)
			if why := leftOut(planned); why != "" {
				t.Error(why)
			}
			if p := broken(doc, state, test.req, planned); p != "" {
				t.Error(p)
			}
			var changes, conflicts, ours []string
			for _, c := range planned.Changes {
				changes = append(changes, string(c.Op)+" "+show(c.Entry)+": "+c.Reason)
			}
			for _, c := range planned.Conflicts {
				conflicts = append(conflicts, show(c.Ours))
			}
			for _, o := range settledOf(planned, state).Owned {
				s := show(o.Entry)
				for _, c := range o.Claims {
					s += " " + c.Source
				}
				if o.Pending {
					s += " ?"
				}
				ours = append(ours, s)
			}
			for what, pair := range map[string][2][]string{
				"changes": {test.changes, changes}, "conflicts": {test.conflicts, conflicts},
				"after": {test.after, resolution(planned.After)}, "ours": {test.ours, ours},
			} {
				if diff := cmp.Diff(pair[0], pair[1]); diff != "" {
					t.Errorf("%s (-want +got):\n%s", what, diff)
				}
			}
			if planned.Writes() != (len(changes) > 0) {
				t.Errorf("Writes() is %v with changes %q", planned.Writes(), changes)
			}
		})
	}
}

// TestSince keeps the time at which an entry was planned first.
func TestSince(t *testing.T) {
	old := owned(role("a", "a"), "file")
	doc := parse(t, map[string]string{"mapRoles": marked(role("a", "a"))})
	planned := wholePlan(t, doc, &plan.State{Owned: []plan.Owned{old}}, plan.Snapshot{Now: now, Sources: []plan.Source{from("file", role("a", "b"), role("c", "c"))}})
	want := map[string]time.Time{"role/a b[]": old.Since, "role/c c[]": now}
	got := map[string]time.Time{}
	for _, o := range planned.Managed {
		got[show(o.Entry)] = o.Since
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("since (-want +got):\n%s", diff)
	}
}

// TestLedgerAroundAWrite shows the ledger before and after the document.
func TestLedgerAroundAWrite(t *testing.T) {
	say := func(l *plan.State) []string {
		if l == nil {
			return nil
		}
		out := []string{"config " + l.Config}
		for _, o := range l.Owned {
			s := show(o.Entry)
			if o.Pending {
				s += " ?"
			}
			out = append(out, s)
		}
		return out
	}
	doc := parse(t, map[string]string{"mapRoles": marked(role("changes", "old"), role("goes", "g"), role("stays", "s"), role("unknown", "u"))})
	state := &plan.State{Config: "1", Owned: []plan.Owned{owned(role("changes", "old"), "file"), owned(role("goes", "g"), "file"), owned(role("stays", "s"), "file")}}
	sources := []plan.Source{from("file", role("changes", "new"), role("comes", "c"), role("stays", "s"), role("unknown", "u"))}
	planned := wholePlan(t, doc, state, plan.Snapshot{Now: now, Config: "2", Sources: sources})
	if diff := cmp.Diff([]string{"config 2", "role/changes old[]", "role/changes new[] ?", "role/comes c[] ?", "role/goes g[]", "role/stays s[]", "role/unknown u[]"}, say(planned.Ahead)); diff != "" {
		t.Errorf("ahead (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"config 2", "role/changes new[]", "role/comes c[]", "role/stays s[]", "role/unknown u[]"}, say(planned.Settled)); diff != "" {
		t.Errorf("settled (-want +got):\n%s", diff)
	}

	// Only removals: nothing is written ahead.
	planned = wholePlan(t, planned.After, planned.Settled, plan.Snapshot{Now: now, Config: "2", Sources: []plan.Source{from("file", role("stays", "s"))}})
	if planned.Ahead != nil {
		t.Errorf("a removal writes ahead: %q", say(planned.Ahead))
	}
	if diff := cmp.Diff([]string{"config 2", "role/stays s[]"}, say(planned.Settled)); diff != "" {
		t.Errorf("settled after a removal (-want +got):\n%s", diff)
	}

	// The ledger is behind the document, as after a write that was never
	// settled: what stands is in it before the next write.
	stale := &plan.State{Config: "2", Owned: []plan.Owned{owned(role("stays", "before"), "file")}}
	behind := wholePlan(t, planned.After, stale, plan.Snapshot{Now: now, Config: "2", Sources: []plan.Source{from("file", role("comes", "c"), role("stays", "s"))}})
	if diff := cmp.Diff([]string{"config 2", "role/comes c[] ?", "role/stays before[]", "role/stays s[]"}, say(behind.Ahead)); diff != "" {
		t.Errorf("ahead of a ledger that is behind (-want +got):\n%s", diff)
	}

	// Another config and no other change: the ledger is written once, aws-auth is not.
	steady := plan.Snapshot{Now: now, Config: "3", Sources: []plan.Source{from("file", role("stays", "s"))}}
	planned = wholePlan(t, planned.After, planned.Settled, steady)
	if planned.Writes() || planned.Ahead != nil || planned.Settled == nil {
		t.Errorf("another config: writes %v, ahead %q, settled %q", planned.Writes(), say(planned.Ahead), say(planned.Settled))
	}
	planned = wholePlan(t, planned.After, planned.Settled, steady)
	if planned.Writes() || planned.Ahead != nil || planned.Settled != nil {
		t.Errorf("a steady cluster: writes %v, ahead %q, settled %q", planned.Writes(), say(planned.Ahead), say(planned.Settled))
	}
}

// TestNilState takes no state for an empty one.
func TestNilState(t *testing.T) {
	p := wholePlan(t, parse(t, nil), nil, plan.Snapshot{Now: now, Sources: []plan.Source{from("file", role("a", "a"))}})
	if len(p.Managed) != 1 {
		t.Errorf("got %+v", p)
	}
}

// A leader that died right after its write left a signature: what it wrote is
// ours even if somebody has stripped the marks before the next one looked.
// Without it the same entry is of somebody else.
func TestSignedWriteProvesWhatIsPending(t *testing.T) {
	guest, changes := user("guest", "guest", "dev"), role("changes", "old")
	first := wholePlan(t, parse(t, nil), nil, plan.Snapshot{Sources: []plan.Source{from("file", changes)}, Now: now})
	ask := plan.Snapshot{Sources: []plan.Source{from("file", role("changes", "new"), guest)}, Now: now}
	p := wholePlan(t, first.After, settledOf(first, nil), ask)
	stripped := stripMarks(t, p.After)
	_, unsigned, err := EncodeLedger(first.Ahead)
	if err != nil {
		t.Fatal(err)
	}
	data, signed, err := EncodeLedger(p.Ahead)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, written string
		want          []string
	}{
		{"signed", signed, nil},
		{"not signed", "", []string{"role/changes new[]", "user/guest guest[dev]"}},
		{"signed before that", unsigned, []string{"role/changes new[]", "user/guest guest[dev]"}},
	} {
		state, id, err := DecodeLedger(data)
		if err != nil {
			t.Fatal(err)
		}
		ask := ask
		ask.Confirmed = test.written == id
		next := wholePlan(t, stripped, state, ask)
		gone := wholePlan(t, next.After, settledOf(next, state), plan.Snapshot{Now: now})
		if diff := cmp.Diff(test.want, resolution(gone.After)); diff != "" {
			t.Errorf("%s: after nobody asks any more there is (-want +got):\n%s", test.name, diff)
		}
	}
}

// What a signature proves is not lost with a write that somebody else spoils: the
// ledger written ahead of it has another ID than the one that signed.
func TestProofOutlivesASpoiltWrite(t *testing.T) {
	guest, changes := user("guest", "guest", "dev"), role("changes", "old")
	first := wholePlan(t, parse(t, nil), nil, plan.Snapshot{Sources: []plan.Source{from("file", changes)}, Now: now})
	ask := plan.Snapshot{Sources: []plan.Source{from("file", role("changes", "new"), guest)}, Now: now}
	p := wholePlan(t, first.After, settledOf(first, nil), ask)
	stripped := stripMarks(t, p.After)

	ask.Confirmed = true // its leader died before it could settle the ledger
	ask.Sources = []plan.Source{from("file", role("changes", "newer"), guest, role("more", "more"))}
	spoilt := wholePlan(t, stripped, p.Ahead, ask)
	if spoilt.Ahead == nil {
		t.Fatal("nothing is written ahead: the test sees nothing")
	}
	ask.Confirmed = false // by the ID of what was written ahead
	again := wholePlan(t, stripped, spoilt.Ahead, ask)
	gone := wholePlan(t, again.After, settledOf(again, spoilt.Ahead), plan.Snapshot{Now: now})
	if diff := cmp.Diff([]string(nil), resolution(gone.After)); diff != "" {
		t.Errorf("after nobody asks any more there is (-want +got):\n%s", diff)
	}
}

// What somebody took from aws-auth, and the ledger has just as it comes back, is not
// recorded again before the write. All else that is added is.
func TestComesBackWithoutTheLedger(t *testing.T) {
	settled := func(entries ...awsauth.Entry) *plan.State {
		l := &plan.State{}
		for _, e := range entries {
			l.Owned = append(l.Owned, plan.Owned{Entry: e, Claims: []plan.Claim{{Source: "file", Username: e.Username, Groups: e.Groups}}, Since: now})
		}
		l.Sort()
		return l
	}
	pending := settled(role("a", "a"))
	pending.Owned[0].Pending = true
	waiting := settled(role("a", "a"))
	waiting.Owned[0].Pending, waiting.Owned[0].Waiting = true, true
	both := settled(role("a", "a"), role("a", "a"))
	both.Owned[0].Pending = true
	otherCase := role("a", "a")
	otherCase.ARN = strings.ToUpper(otherCase.ARN)
	otherKind := role("a", "a")
	otherKind.Kind = awsauth.User
	guests := account("444455556666")
	for name, tt := range map[string]struct {
		state  *plan.State
		entry  awsauth.Entry
		spared bool
	}{
		"just as it was":      {settled(role("a", "a")), role("a", "a"), true},
		"a user":              {settled(user("u", "u")), user("u", "u"), true},
		"never was":           {settled(), role("a", "a"), false},
		"another username":    {settled(role("a", "b")), role("a", "a"), false},
		"another group":       {settled(role("a", "a", "g")), role("a", "a", "h"), false},
		"another case":        {settled(otherCase), role("a", "a"), false},
		"another kind":        {settled(otherKind), role("a", "a"), false},
		"not known to be in":  {pending, role("a", "a"), false},
		"waited for another":  {waiting, role("a", "a"), false},
		"one of two pending":  {both, role("a", "a"), false},
		"an account, no mark": {settled(guests), guests, false},
	} {
		t.Run(name, func(t *testing.T) {
			p := wholePlan(t, parse(t, nil), tt.state, plan.Snapshot{Sources: []plan.Source{from("file", tt.entry)}, Now: now})
			if len(p.Changes) != 1 || p.Changes[0].Op != plan.Add {
				t.Fatalf("the plan is %+v", p.Changes)
			}
			if tt.spared {
				if p.Ahead != nil || p.Settled != nil {
					t.Errorf("the ledger becomes %+v, then %+v", p.Ahead, p.Settled)
				}
				return
			}
			ahead := p.Ahead
			if ahead == nil {
				ahead = tt.state
			}
			if !slices.ContainsFunc(ahead.Owned, func(o plan.Owned) bool {
				return o.Pending && !o.Waiting && o.ARN == tt.entry.ARN && sameAccess(o.Entry, tt.entry)
			}) {
				t.Errorf("ahead of the write the ledger has %+v", ahead.Owned)
			}
		})
	}
}
