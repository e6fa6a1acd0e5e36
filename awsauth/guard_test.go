package awsauth

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// group is n users of an IAM group, as entries.
func group(n int) []Entry {
	var out []Entry
	for i := range n {
		out = append(out, user(fmt.Sprintf("u%02d", i), fmt.Sprintf("u%02d", i), "dev"))
	}
	return out
}

// ledgerOf is a ledger in which every entry is asked for by the source.
func ledgerOf(source string, entries ...Entry) *Ledger {
	l := &Ledger{Config: "1"}
	for _, e := range entries {
		l.Owned = append(l.Owned, owned(e, source))
	}
	l.sort()
	return l
}

func guarded(percent int, approved ...string) *Guard { return &Guard{percent, approved} }

func mustPlan(t *testing.T, doc *Document, ledger *Ledger, req Request) *Plan {
	t.Helper()
	plan, err := MakePlan(doc, ledger, req)
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

func mustParse(t *testing.T, data map[string]string) *Document {
	t.Helper()
	doc, err := Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	return doc
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
			doc := mustParse(t, map[string]string{"mapUsers": marked(users...)})
			req := Request{Sources: []Source{from("group/dev", users[:test.after]...)}, Guard: guarded(test.percent), Now: now}
			plan := mustPlan(t, doc, ledgerOf("group/dev", users...), req)
			left := len(plan.After.Entries())
			if test.held == 0 {
				if len(plan.Held) > 0 || left != test.after {
					t.Fatalf("%d entries left, held: %+v", left, plan.Held)
				}
				return
			}
			if len(plan.Held) != 1 || left != test.before || plan.Writes() {
				t.Fatalf("%d entries left, held: %+v", left, plan.Held)
			}
			h := plan.Held[0]
			if h.Source != "group/dev" || h.Of != test.before || len(h.Changes) != test.held || !h.Since.Equal(now) {
				t.Errorf("held: %+v", h)
			}
			req.Guard = guarded(test.percent, h.ID)
			plan = mustPlan(t, doc, settledOf(plan, ledgerOf("group/dev", users...)), req)
			if left := len(plan.After.Entries()); len(plan.Held) > 0 || left != test.after {
				t.Errorf("approved, and %d entries left, held: %+v", left, plan.Held)
			}
		})
	}
}

// A hold is one source's: what others want goes on, and so do additions.
func TestHoldIsOfOneSource(t *testing.T) {
	many, few := group(8), []Entry{user("x", "x"), user("y", "y")}
	ledger := ledgerOf("group/dev", many...)
	for _, e := range few {
		ledger.Owned = append(ledger.Owned, owned(e, "group/ops"))
	}
	shared := owned(many[0], "group/ops")
	ledger.Owned[0].Claims = append(ledger.Owned[0].Claims, shared.Claims...)
	ledger.sort()
	doc := mustParse(t, map[string]string{"mapUsers": marked(slices.Concat(many, few)...), "mapRoles": unmarked(role("r", "r"))})
	req := Request{
		Sources: []Source{from("group/dev"), from("group/ops", few[1], user("new", "new"))},
		Guard:   guarded(50), Now: now,
	}
	plan := mustPlan(t, doc, ledger, req)
	var got []string
	for _, c := range plan.Changes {
		got = append(got, string(c.Op)+" "+show(c.Entry))
	}
	want := []string{"add user/new new[]", "remove user/x x[]"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
	if len(plan.Held) != 1 || len(plan.Held[0].Changes) != 8 {
		t.Fatalf("held: %+v", plan.Held)
	}

	// Nothing of it is forgotten, and the next leader calls it the same.
	later := req
	later.Now = now.Add(time.Hour)
	again := mustPlan(t, plan.After, settledOf(plan, ledger), later)
	if again.Writes() || again.Settled != nil || !reflect.DeepEqual(again.Held, plan.Held) {
		t.Errorf("again: %d changes, ledger %+v, held (-first +again):\n%s", len(again.Changes), again.Settled, cmp.Diff(plan.Held, again.Held))
	}

	// One more that goes is another hold.
	req.Sources[0] = from("group/dev", many[7])
	if other := mustPlan(t, plan.After, settledOf(plan, ledger), req); len(other.Held) != 1 || other.Held[0].ID == plan.Held[0].ID {
		t.Errorf("another set is held as %+v, was %s", other.Held, plan.Held[0].ID)
	}
}

// A hold outlives a source that does not answer for a while.
func TestHoldWhileTheSourceFails(t *testing.T) {
	users := group(8)
	doc := mustParse(t, map[string]string{"mapUsers": marked(users...)})
	req := Request{Sources: []Source{from("group/dev")}, Guard: guarded(50), Now: now}
	plan := mustPlan(t, doc, ledgerOf("group/dev", users...), req)
	ledger := settledOf(plan, nil)
	for name, change := range map[string]func(*Request){
		"fails":    func(r *Request) { r.Sources = []Source{{Name: "group/dev", Failed: true}} },
		"add only": func(r *Request) { r.AddOnly = true },
		"approved while it fails": func(r *Request) {
			r.Sources, r.Guard = []Source{{Name: "group/dev", Failed: true}}, guarded(50, plan.Held[0].ID)
		},
	} {
		open := req
		open.Now = now.Add(time.Hour)
		change(&open)
		during := mustPlan(t, doc, ledger, open)
		if during.Writes() || !reflect.DeepEqual(during.Held, plan.Held) || during.Settled != nil {
			t.Errorf("%s: changes %+v, held %+v, ledger %+v", name, during.Changes, during.Held, during.Settled)
		}
	}
}

// What only its mark tells ours, as all is that was adopted, has a limit too.
func TestRemovalLimitWithoutLedger(t *testing.T) {
	users := group(8)
	doc := mustParse(t, map[string]string{"mapUsers": strings.ReplaceAll(marked(users...), "syncedBy: rolecall", "syncedBy: some-tool")})
	plan := mustPlan(t, doc, nil, Request{Adopt: []string{"some-tool"}, Guard: guarded(50), Now: now})
	if len(plan.Held) != 1 || plan.Held[0].Source != "" || len(plan.Held[0].Changes) != 8 || len(plan.After.Entries()) != 8 {
		t.Fatalf("held: %+v, %d left", plan.Held, len(plan.After.Entries()))
	}
	plan = mustPlan(t, doc, nil, Request{Adopt: []string{"some-tool"}, Guard: guarded(50, plan.Held[0].ID), Now: now})
	if len(plan.Held) > 0 || len(plan.After.Entries()) != 0 {
		t.Errorf("approved: held %+v, %d left", plan.Held, len(plan.After.Entries()))
	}
}

func TestLastOfMasters(t *testing.T) {
	admin, plain := role("admin", "admin", Masters), role("admin", "admin", "viewers")
	for _, test := range []struct {
		name     string
		foreign  []Entry
		sources  []Entry
		held     bool
		standing []string
	}{
		{"removed", nil, nil, true, []string{"role/admin admin[system:masters]"}},
		{"demoted", nil, []Entry{plain}, true, []string{"role/admin admin[system:masters]"}},
		{"removed while another is there", []Entry{role("x", "x", Masters)}, nil, false, []string{"role/x x[system:masters]"}},
		{"exchanged", nil, []Entry{role("new", "new", Masters)}, false, []string{"role/new new[system:masters]"}},
		{"renamed", nil, []Entry{role("admin", "boss", Masters)}, false, []string{"role/admin boss[system:masters]"}},
		{"another that never answers", []Entry{{Role, "", "x", []string{Masters}}}, nil, true, []string{"role/admin admin[system:masters]"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			doc := mustParse(t, map[string]string{"mapRoles": unmarked(test.foreign...) + marked(admin)})
			req := Request{Sources: []Source{from("file", test.sources...)}, Guard: guarded(100), Now: now}
			plan := mustPlan(t, doc, ledgerOf("file", admin), req)
			if got := resolution(plan.After); !slices.Equal(got, test.standing) || (len(plan.Held) > 0) != test.held {
				t.Fatalf("stands: %q, held: %+v", got, plan.Held)
			}
			if !test.held {
				return
			}
			if h := plan.Held[0]; h.Source != Masters || h.Of != 1 || len(h.Changes) != 1 {
				t.Errorf("held: %+v", h)
			}
			req.Guard = guarded(100, plan.Held[0].ID)
			if plan = mustPlan(t, doc, ledgerOf("file", admin), req); len(plan.Held) > 0 || countMasters(plan.After) > 0 {
				t.Errorf("approved: stands %q, held %+v", resolution(plan.After), plan.Held)
			}
		})
	}
}

func TestAddOnly(t *testing.T) {
	stays, changes, fresh := role("stays", "stays", "a"), role("changes", "old", "a", "b"), role("fresh", "fresh")
	doc := mustParse(t, map[string]string{"mapRoles": marked(stays, changes)})
	ledger := ledgerOf("file", stays, changes)
	req := Request{Sources: []Source{from("file", role("changes", "new", "a"), fresh)}, Config: "2", AddOnly: true, Now: now}
	plan := mustPlan(t, doc, ledger, req)
	want := []string{"role/changes old[a b]", "role/fresh fresh[]", "role/stays stays[a]"}
	if diff := cmp.Diff(want, resolution(plan.After)); diff != "" {
		t.Errorf("stands (-want +got):\n%s", diff)
	}
	settled := settledOf(plan, ledger)
	if settled.Config != "1" {
		t.Errorf("the ledger says that config %s was applied, whose removals were not", settled.Config)
	}
	// What somebody else took away comes back, asked for or not.
	wiped := mustPlan(t, mustParse(t, nil), settled, req)
	if diff := cmp.Diff(len(want), len(wiped.After.Entries())); diff != "" {
		t.Errorf("after a wipe there is %q", resolution(wiped.After))
	}

	req.AddOnly = false
	plan = mustPlan(t, plan.After, settled, req)
	want = []string{"role/changes new[a]", "role/fresh fresh[]"}
	if diff := cmp.Diff(want, resolution(plan.After)); diff != "" || settledOf(plan, nil).Config != "2" {
		t.Errorf("once settled, of config %s (-want +got):\n%s", settledOf(plan, nil).Config, diff)
	}
}

// A change whose write nobody saw end is neither undone nor done by a leader that
// only adds: the entry stays as it stands.
func TestAddOnlyAfterUnseenWrite(t *testing.T) {
	old, changed := role("ops", "ops", "a", "b"), role("ops", "ops", "a")
	before := mustParse(t, map[string]string{"mapRoles": marked(old)})
	ledger := ledgerOf("file", old)
	write := mustPlan(t, before, ledger, Request{Sources: []Source{from("file", changed)}, Config: "2", Now: now})
	for name, doc := range map[string]*Document{"not written": before, "written": write.After} {
		req := Request{Sources: []Source{from("file", old)}, Config: "1", AddOnly: true, Now: now}
		if plan := mustPlan(t, doc, write.Ahead, req); len(plan.Changes) != 0 {
			t.Errorf("%s, and asked for as before: %+v", name, plan.Changes)
		}
		req.Sources = []Source{from("file", role("ops", "ops", "c"))}
		if plan := mustPlan(t, doc, write.Ahead, req); len(plan.Changes) != 0 {
			t.Errorf("%s, and asked for otherwise: %+v", name, plan.Changes)
		}
	}
}

// TestGuardedPlans holds for random plans on the corpus: a guarded one removes
// no more than its limit, forgets nothing of what it holds, and is the unguarded
// one when all is approved.
func TestGuardedPlans(t *testing.T) {
	holds := 0
	for name, data := range readCorpus(t) {
		doc := mustParse(t, data)
		for seed := range *seeds {
			r := rand.New(rand.NewPCG(seed, 5))
			// Ours are all that the first plan adopts or adds, and many more.
			first := randomRequest(r, doc)
			for i := range 20 {
				s := &first.Sources[r.IntN(len(first.Sources))]
				s.Failed = false
				s.Entries = append(s.Entries, role(fmt.Sprintf("more%d", i), "x", []string{Masters, "a"}[r.IntN(2)]))
			}
			was := mustPlan(t, doc, nil, first)
			ledger := settledOf(was, nil)
			req := randomRequest(r, was.After)
			free := mustPlan(t, was.After, ledger, req)
			req.Guard = guarded(r.IntN(101))
			plan := mustPlan(t, was.After, ledger, req)
			what := fmt.Sprintf("%s, seed %d", name, seed)
			if p := broken(was.After, ledger, req, plan); p != "" && len(plan.Held) == 0 {
				t.Fatalf("%s: %s", what, p)
			}

			var ids []string
			held := map[string]bool{}
			for _, h := range plan.Held {
				holds++
				ids = append(ids, h.ID)
				for _, c := range h.Changes {
					held[c.Entry.key()] = true
				}
			}
			stands, before := plan.After.resolver(), was.After.resolver()
			for k := range held {
				if !sameGrant(stands[k], before[k]) {
					t.Errorf("%s: %s is held and does not stand as before", what, k)
				}
				if !slices.ContainsFunc(settledOf(plan, ledger).Owned, func(o Owned) bool { return o.key() == k && !o.Pending }) {
					t.Errorf("%s: %s is held and the ledger has forgotten it", what, k)
				}
			}
			for _, c := range free.Changes {
				if c.Op == Remove && !held[c.Entry.key()] && !slices.ContainsFunc(plan.Changes, func(d Change) bool { return d.Op == Remove && d.Entry.key() == c.Entry.key() }) {
					t.Errorf("%s: %s is neither removed nor held", what, c.Entry.ARN)
				}
			}
			if countMasters(was.After) > 0 && countMasters(plan.After) == 0 {
				t.Errorf("%s: nobody is left in %s", what, Masters)
			}

			req.Guard.Approved = ids
			approved := mustPlan(t, was.After, ledger, req)
			for len(approved.Held) > 0 { // a hold hides that of the last of masters
				for _, h := range approved.Held {
					req.Guard.Approved = append(req.Guard.Approved, h.ID)
				}
				approved = mustPlan(t, was.After, ledger, req)
			}
			if diff := cmp.Diff(free.After.Data(), approved.After.Data()); diff != "" {
				t.Errorf("%s: all is approved, and it differs (-unguarded +approved):\n%s", what, diff)
			}

			req.Guard, req.AddOnly = nil, true
			only := mustPlan(t, was.After, ledger, req)
			after := only.After.resolver()
			for _, o := range ledger.Owned {
				if is, was := after[o.key()], before[o.key()]; o.Kind != Account && !o.Pending && !sameGrant(is, was) {
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
