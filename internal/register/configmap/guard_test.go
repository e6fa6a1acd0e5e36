package configmap

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/internal/plan"
)

// group is n users of an IAM group, as entries.
func group(n int) []awsauth.Entry {
	var out []awsauth.Entry
	for i := range n {
		out = append(out, user(fmt.Sprintf("u%02d", i), fmt.Sprintf("u%02d", i), "dev"))
	}
	return out
}

func TestRemovalLimit(t *testing.T) {
	for _, test := range []struct {
		name          string
		percent       int
		before, after int
		held          int
	}{
		{"five may always go", 0, 5, 0, 0},
		{"five of many too", 0, 100, 95, 0},
		{"six of eight are over half", 50, 8, 2, 6},
		{"six of twelve are just half", 50, 12, 6, 0},
		{"seven of thirteen are over half", 50, 13, 6, 7},
		{"all", 50, 12, 0, 12},
		{"all, without a limit", 100, 12, 0, 0},
		{"nobody may go", 0, 6, 0, 6},
	} {
		t.Run(test.name, func(t *testing.T) {
			users := group(test.before)
			doc := parse(t, map[string]string{"mapUsers": marked(users...)})
			req := plan.Snapshot{Sources: []plan.Source{from("group/dev", users[:test.after]...)}, Limit: limit(test.percent), Now: now}
			planned := wholePlan(t, doc, stateOf("group/dev", users...), req)
			left := len(planned.After.Entries())
			if test.held == 0 {
				if len(planned.Removals) > 0 || left != test.after {
					t.Fatalf("%d entries left, held: %+v", left, planned.Removals)
				}
				return
			}
			if len(planned.Removals) != 1 || left != test.before || planned.Writes() {
				t.Fatalf("%d entries left, held: %+v", left, planned.Removals)
			}
			h := planned.Removals[0]
			if h.Source != "group/dev" || h.Of != test.before || len(h.Changes) != test.held || !h.Since.Equal(now) {
				t.Errorf("held: %+v", h)
			}
			req.Limit = limit(test.percent, h.ID)
			planned = wholePlan(t, doc, settledOf(planned, stateOf("group/dev", users...)), req)
			if left := len(planned.After.Entries()); len(planned.Removals) > 0 || left != test.after {
				t.Errorf("approved, and %d entries left, held: %+v", left, planned.Removals)
			}
		})
	}
}

// A hold is one source's: what others want goes on, and so do additions.
func TestHoldIsOfOneSource(t *testing.T) {
	many, few := group(8), []awsauth.Entry{user("x", "x"), user("y", "y")}
	state := stateOf("group/dev", many...)
	for _, e := range few {
		state.Owned = append(state.Owned, owned(e, "group/ops"))
	}
	shared := owned(many[0], "group/ops")
	state.Owned[0].Claims = append(state.Owned[0].Claims, shared.Claims...)
	state.Sort()
	doc := parse(t, map[string]string{"mapUsers": marked(slices.Concat(many, few)...), "mapRoles": unmarked(role("r", "r"))})
	req := plan.Snapshot{
		Sources: []plan.Source{from("group/dev"), from("group/ops", few[1], user("new", "new"))},
		Limit:   limit(50), Now: now,
	}
	planned := wholePlan(t, doc, state, req)
	var got []string
	for _, c := range planned.Changes {
		got = append(got, string(c.Op)+" "+show(c.Entry))
	}
	want := []string{"add user/new new[]", "remove user/x x[]"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
	if len(planned.Removals) != 1 || len(planned.Removals[0].Changes) != 8 {
		t.Fatalf("held: %+v", planned.Removals)
	}

	// Nothing of it is forgotten, and the next leader calls it the same.
	later := req
	later.Now = now.Add(time.Hour)
	again := wholePlan(t, planned.After, settledOf(planned, state), later)
	if again.Writes() || again.Settled != nil || !reflect.DeepEqual(again.Removals, planned.Removals) {
		t.Errorf("again: %d changes, ledger %+v, held (-first +again):\n%s", len(again.Changes), again.Settled, cmp.Diff(planned.Removals, again.Removals))
	}

	// One more that goes is another hold.
	req.Sources[0] = from("group/dev", many[7])
	if other := wholePlan(t, planned.After, settledOf(planned, state), req); len(other.Removals) != 1 || other.Removals[0].ID == planned.Removals[0].ID {
		t.Errorf("another set is held as %+v, was %s", other.Removals, planned.Removals[0].ID)
	}
}

// What is new in the entries of a pending removal is added at once, and makes it no
// other one: its approval counts, and the ledger is not written again.
func TestPendingRemovalKeepsItsID(t *testing.T) {
	users := group(8)
	asked := group(8)
	for i := range asked {
		asked[i].Groups = []string{"view"} // instead of dev
	}
	doc := parse(t, map[string]string{"mapUsers": marked(users...)})
	req := plan.Snapshot{Sources: []plan.Source{from("group/dev", append(asked, user("new", "new"))...)}, Limit: limit(50), Now: now}
	first := wholePlan(t, doc, stateOf("group/dev", users...), req)
	if len(first.Removals) != 1 || len(first.Removals[0].Changes) != 8 || first.Removals[0].Of != 8 {
		t.Fatalf("pending: %+v", first.Removals)
	}
	want := []string{"user/new new[]"}
	for _, u := range users {
		want = append(want, show(user(u.Username, u.Username, "dev", "view")))
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, resolution(first.After)); diff != "" {
		t.Errorf("stands (-want +got):\n%s", diff)
	}
	req.Limit.Hour = first.Settled.Lost
	req.Now = now.Add(time.Minute)
	second := wholePlan(t, first.After, first.Settled, req)
	if second.Writes() || second.Settled != nil || second.Removals[0].ID != first.Removals[0].ID {
		t.Errorf("again: changes %+v, pending %+v, ledger %+v", second.Changes, second.Removals, second.Settled)
	}
	req.Limit = limit(50, first.Removals[0].ID)
	third := wholePlan(t, first.After, first.Settled, req)
	if got := resolution(third.After); len(third.Removals) > 0 || got[0] != "user/new new[]" || got[1] != "user/u00 u00[view]" {
		t.Errorf("approved: stands %q, pending %+v", got, third.Removals)
	}
}

// A hold outlives a source that does not answer for a while.
func TestHoldWhileTheSourceFails(t *testing.T) {
	users := group(8)
	doc := parse(t, map[string]string{"mapUsers": marked(users...)})
	req := plan.Snapshot{Sources: []plan.Source{from("group/dev")}, Limit: limit(50), Now: now}
	planned := wholePlan(t, doc, stateOf("group/dev", users...), req)
	state := settledOf(planned, nil)
	for name, change := range map[string]func(*plan.Snapshot){
		"fails":    func(r *plan.Snapshot) { r.Sources = []plan.Source{{Name: "group/dev", Failed: true}} },
		"add only": func(r *plan.Snapshot) { r.AddOnly = true },
		"approved while it fails": func(r *plan.Snapshot) {
			r.Sources, r.Limit = []plan.Source{{Name: "group/dev", Failed: true}}, limit(50, planned.Removals[0].ID)
		},
	} {
		open := req
		open.Now = now.Add(time.Hour)
		change(&open)
		during := wholePlan(t, doc, state, open)
		if during.Writes() || !reflect.DeepEqual(during.Removals, planned.Removals) || during.Settled != nil {
			t.Errorf("%s: changes %+v, held %+v, ledger %+v", name, during.Changes, during.Removals, during.Settled)
		}
	}
}

// What only its mark tells ours, as all is that was adopted, has a limit too.
func TestRemovalLimitWithoutLedger(t *testing.T) {
	users := group(8)
	doc := parse(t, map[string]string{"mapUsers": strings.ReplaceAll(marked(users...), "syncedBy: rolecall", "syncedBy: some-tool")})
	planned := wholePlan(t, doc, nil, plan.Snapshot{Adopt: []string{"some-tool"}, Limit: limit(50), Now: now})
	if len(planned.Removals) != 1 || planned.Removals[0].Source != "" || len(planned.Removals[0].Changes) != 8 || len(planned.After.Entries()) != 8 {
		t.Fatalf("held: %+v, %d left", planned.Removals, len(planned.After.Entries()))
	}
	planned = wholePlan(t, doc, nil, plan.Snapshot{Adopt: []string{"some-tool"}, Limit: limit(50, planned.Removals[0].ID), Now: now})
	if len(planned.Removals) > 0 || len(planned.After.Entries()) != 0 {
		t.Errorf("approved: held %+v, %d left", planned.Removals, len(planned.After.Entries()))
	}
}

func TestLastOfMasters(t *testing.T) {
	admin, plain := role("admin", "admin", awsauth.Masters), role("admin", "admin", "viewers")
	for _, test := range []struct {
		name     string
		foreign  []awsauth.Entry
		sources  []awsauth.Entry
		held     bool
		standing []string
	}{
		{"removed", nil, nil, true, []string{"role/admin admin[system:masters]"}},
		{"demoted", nil, []awsauth.Entry{plain}, true, []string{"role/admin admin[system:masters viewers]"}},
		{"removed while another is there", []awsauth.Entry{role("x", "x", awsauth.Masters)}, nil, false, []string{"role/x x[system:masters]"}},
		{"exchanged", nil, []awsauth.Entry{role("new", "new", awsauth.Masters)}, false, []string{"role/new new[system:masters]"}},
		{"renamed", nil, []awsauth.Entry{role("admin", "boss", awsauth.Masters)}, false, []string{"role/admin boss[system:masters]"}},
		{"another that never answers", []awsauth.Entry{{Kind: awsauth.Role, Username: "x", Groups: []string{awsauth.Masters}}}, nil, true, []string{"role/admin admin[system:masters]"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			doc := parse(t, map[string]string{"mapRoles": unmarked(test.foreign...) + marked(admin)})
			req := plan.Snapshot{Sources: []plan.Source{from("file", test.sources...)}, Limit: limit(100), Now: now}
			planned := wholePlan(t, doc, stateOf("file", admin), req)
			if got := resolution(planned.After); !slices.Equal(got, test.standing) || (len(planned.Removals) > 0) != test.held {
				t.Fatalf("stands: %q, held: %+v", got, planned.Removals)
			}
			if !test.held {
				return
			}
			if h := planned.Removals[0]; h.Source != awsauth.Masters || h.Of != 1 || len(h.Changes) != 1 {
				t.Errorf("held: %+v", h)
			}
			req.Limit = limit(100, planned.Removals[0].ID)
			if planned = wholePlan(t, doc, stateOf("file", admin), req); len(planned.Removals) > 0 || countAdmins(planned.After) > 0 {
				t.Errorf("approved: stands %q, held %+v", resolution(planned.After), planned.Removals)
			}
		})
	}
}

func TestAddOnly(t *testing.T) {
	stays, changes, fresh := role("stays", "stays", "a"), role("changes", "old", "a", "b"), role("fresh", "fresh")
	doc := parse(t, map[string]string{"mapRoles": marked(stays, changes)})
	state := stateOf("file", stays, changes)
	req := plan.Snapshot{Sources: []plan.Source{from("file", role("changes", "new", "a"), fresh)}, Config: "2", AddOnly: true, KeepConfig: true, Now: now}
	planned := wholePlan(t, doc, state, req)
	want := []string{"role/changes old[a b]", "role/fresh fresh[]", "role/stays stays[a]"}
	if diff := cmp.Diff(want, resolution(planned.After)); diff != "" {
		t.Errorf("stands (-want +got):\n%s", diff)
	}
	settled := settledOf(planned, state)
	if settled.Config != "1" {
		t.Errorf("the ledger says that config %s was applied, whose removals were not", settled.Config)
	}
	// What somebody else took away comes back, asked for or not.
	wiped := wholePlan(t, parse(t, nil), settled, req)
	if diff := cmp.Diff(len(want), len(wiped.After.Entries())); diff != "" {
		t.Errorf("after a wipe there is %q", resolution(wiped.After))
	}

	req.AddOnly, req.KeepConfig = false, false
	planned = wholePlan(t, planned.After, settled, req)
	want = []string{"role/changes new[a]", "role/fresh fresh[]"}
	if diff := cmp.Diff(want, resolution(planned.After)); diff != "" || settledOf(planned, nil).Config != "2" {
		t.Errorf("once settled, of config %s (-want +got):\n%s", settledOf(planned, nil).Config, diff)
	}
}

// A change whose write nobody saw end is neither undone nor done by a leader that
// only adds: the entry stays as it stands.
func TestAddOnlyAfterUnseenWrite(t *testing.T) {
	old, changed := role("ops", "ops", "a", "b"), role("ops", "ops", "a")
	before := parse(t, map[string]string{"mapRoles": marked(old)})
	state := stateOf("file", old)
	write := wholePlan(t, before, state, plan.Snapshot{Sources: []plan.Source{from("file", changed)}, Config: "2", Now: now})
	for name, doc := range map[string]*awsauth.Document{"not written": before, "written": write.After} {
		req := plan.Snapshot{Sources: []plan.Source{from("file", old)}, Config: "1", AddOnly: true, KeepConfig: true, Now: now}
		if planned := wholePlan(t, doc, write.Ahead, req); len(planned.Changes) != 0 {
			t.Errorf("%s, and asked for as before: %+v", name, planned.Changes)
		}
		req.Sources = []plan.Source{from("file", role("ops", "ops", "c"))}
		if planned := wholePlan(t, doc, write.Ahead, req); len(planned.Changes) != 0 {
			t.Errorf("%s, and asked for otherwise: %+v", name, planned.Changes)
		}
	}
}

// TestGuardedPlans holds for random plans on the corpus: a guarded one removes
// no more than its limit, forgets nothing of what it holds, and is the unguarded
// one when all is approved.
func TestGuardedPlans(t *testing.T) {
	holds := 0
	for name, data := range readCorpus(t) {
		doc := parse(t, data)
		for seed := range *seeds {
			r := rand.New(rand.NewPCG(seed, 5))
			// Ours are all that the first plan adopts or adds, and many more.
			first := randomRequest(r, doc)
			for i := range 20 {
				s := &first.Sources[r.IntN(len(first.Sources))]
				s.Failed = false
				s.Entries = append(s.Entries, role(fmt.Sprintf("more%d", i), "x", []string{awsauth.Masters, "a"}[r.IntN(2)]))
			}
			was := wholePlan(t, doc, nil, first)
			state := settledOf(was, nil)
			req := randomRequest(r, was.After)
			free := wholePlan(t, was.After, state, req)
			req.Limit = limit(r.IntN(101))
			planned := wholePlan(t, was.After, state, req)
			what := fmt.Sprintf("%s, seed %d", name, seed)
			if p := broken(was.After, state, req, planned); p != "" && len(planned.Removals) == 0 {
				t.Fatalf("%s: %s", what, p)
			}
			if p := brokenRepeat(was.After, state, req, planned); p != "" && !grows(was.After, state, planned) {
				t.Errorf("%s: %s", what, p)
			}

			var ids []string
			held := map[string]bool{}
			for _, h := range planned.Removals {
				holds++
				ids = append(ids, h.ID)
				for _, c := range h.Changes {
					held[c.Entry.Principal()] = true
				}
			}
			stands, before := planned.After.Mapped(), was.After.Mapped()
			for k := range held {
				// What is new in it does not wait.
				if is, was := stands[k], before[k]; is.Username != was.Username || !sameSet(slices.Concat(is.Groups, was.Groups), is.Groups) {
					t.Errorf("%s: %s is held and has lost access: %+v, was %+v", what, k, is, was)
				}
				if !slices.ContainsFunc(settledOf(planned, state).Owned, func(o plan.Owned) bool { return o.Principal() == k && !o.Pending }) {
					t.Errorf("%s: %s is held and the ledger has forgotten it", what, k)
				}
			}
			for _, c := range free.Changes {
				if c.Op == plan.Remove && !held[c.Entry.Principal()] && !slices.ContainsFunc(planned.Changes, func(d plan.Change) bool { return d.Op == plan.Remove && d.Entry.Principal() == c.Entry.Principal() }) {
					t.Errorf("%s: %s is neither removed nor held", what, c.Entry.ARN)
				}
			}
			if countAdmins(was.After) > 0 && countAdmins(planned.After) == 0 {
				t.Errorf("%s: nobody is left in %s", what, awsauth.Masters)
			}

			req.Limit.Approved = ids
			approved := wholePlan(t, was.After, state, req)
			for len(approved.Removals) > 0 { // a hold hides that of the last of masters
				for _, h := range approved.Removals {
					req.Limit.Approved = append(req.Limit.Approved, h.ID)
				}
				approved = wholePlan(t, was.After, state, req)
			}
			if diff := cmp.Diff(free.After.Data(), approved.After.Data()); diff != "" {
				t.Errorf("%s: all is approved, and it differs (-unguarded +approved):\n%s", what, diff)
			}

			req.Limit, req.AddOnly = nil, true
			only := wholePlan(t, was.After, state, req)
			after := only.After.Mapped()
			for _, o := range state.Owned {
				if is, was := after[o.Principal()], before[o.Principal()]; o.Kind != awsauth.Account && !o.Pending && !sameAccess(is, was) {
					t.Errorf("%s: adding only, %s is mapped to %+v, was to %+v", what, o.ARN, is, was)
				}
			}
		}
	}
	if holds < 10 {
		t.Errorf("only %d holds: the test sees too little", holds)
	}
}

func TestApprovals(t *testing.T) {
	const a, b = "0123456789ab", "ffffffffffff"
	value, err := Approve("", a, now, now.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if value, err = Approve(value, b, now, now.Add(2*time.Hour)); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		value string
		at    time.Duration
		want  []string
	}{
		{value, 0, []string{a, b}},
		{value, time.Hour, []string{b}},
		{value, 2 * time.Hour, nil},
		{value, -23 * time.Hour, []string{a}}, // b ends more than a day later
		{"", 0, nil},
		{a, 0, nil},
		{a + "=soon, " + b + "=" + now.Add(time.Minute).Format(time.RFC3339) + " ", 0, []string{b}},
	} {
		if got := Approved(test.value, now.Add(test.at)); !slices.Equal(got, test.want) {
			t.Errorf("Approved(%q) after %s: %q, want %q", test.value, test.at, got, test.want)
		}
	}
	if value, err = Approve(value, b, now.Add(90*time.Minute), now.Add(3*time.Hour)); err != nil || strings.Contains(value, a) || strings.Count(value, b) != 1 {
		t.Errorf("renewed: %q, %v", value, err)
	}
	for _, id := range []string{"", "0123456789a", "0123456789AB", "0123456789a=", "0123456789ab0"} {
		if _, err := Approve("", id, now, now.Add(time.Hour)); err == nil {
			t.Errorf("%q was taken for a hold", id)
		}
	}
	for _, until := range []time.Duration{0, -time.Second, MaxApproval + time.Second} {
		if _, err := Approve("", a, now, now.Add(until)); err == nil {
			t.Errorf("an approval for %s was taken", until)
		}
	}
}

// grows reports whether other principals are managed of any kind of source after a
// plan: that makes the limit larger.
func grows(doc *awsauth.Document, was *plan.State, p *Plan) bool {
	stands := map[string]bool{}
	for _, l := range doc.Entries() {
		stands[principal(l.Entry)] = true
	}
	pairs := func(owned []plan.Owned) map[[2]string]bool {
		seen := map[[2]string]bool{}
		for _, o := range owned {
			for _, source := range append(o.Sources(), "all/") {
				seen[[2]string{plan.KindOf(source), principal(o.Entry)}] = true
			}
		}
		return seen
	}
	before := pairs(slices.DeleteFunc(slices.Clone(was.Owned), func(o plan.Owned) bool { return !stands[principal(o.Entry)] }))
	for pair := range pairs(p.Managed) {
		if !before[pair] {
			return true
		}
	}
	return false
}

// countAdmins counts the ARNs that the authenticator would let in as masters.
func countAdmins(d *awsauth.Document) int {
	n := 0
	for _, e := range d.Mapped() {
		if plan.IsAdmin(&e) {
			n++
		}
	}
	return n
}
