package configmap

import (
	"encoding/hex"
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

// pendingOf are the pending removals in short: source, changes, of how many.
func pendingOf(p *Plan) []string {
	var out []string
	for i := range p.Removals {
		r := &p.Removals[i]
		out = append(out, fmt.Sprintf("%s %d of %d", r.Source, len(r.Changes), r.Of))
	}
	return out
}

// Who loses groups loses access, whether or not an entry stays: a source that asks
// for nobody any more waits, though another one keeps all of its people.
func TestLossOfGroupsWaits(t *testing.T) {
	state := &plan.State{Config: "1"}
	var both, everyone []awsauth.Entry
	for i := range 20 {
		n := fmt.Sprintf("u%02d", i)
		e := user(n, n, awsauth.Masters, "view")
		both, everyone = append(both, e), append(everyone, user(n, n, "view"))
		state.Owned = append(state.Owned, plan.Owned{Entry: e, Since: now, Claims: []plan.Claim{
			{Source: "group/Admins", Username: n, Groups: []string{awsauth.Masters}}, {Source: "group/Everyone", Username: n, Groups: []string{"view"}},
		}})
	}
	state.Sort()
	doc := parse(t, map[string]string{"mapUsers": marked(both...), "mapRoles": unmarked(role("ops", "ops", awsauth.Masters))})
	req := plan.Snapshot{Sources: []plan.Source{from("group/Admins"), from("group/Everyone", everyone...)}, Limit: limit(50), Config: "1", Now: now}
	p := wholePlan(t, doc, state, req)
	if diff := cmp.Diff([]string{"group/Admins 20 of 20"}, pendingOf(p)); diff != "" || p.Writes() {
		t.Fatalf("%d changes, pending (-want +got):\n%s", len(p.Changes), diff)
	}
	if c := p.Removals[0].Changes[0]; c.Op != plan.Update || !slices.Contains(c.Before.Groups, awsauth.Masters) || slices.Contains(c.Entry.Groups, awsauth.Masters) {
		t.Errorf("it shows %+v", c)
	}
	req.Limit = limit(50, p.Removals[0].ID)
	p = wholePlan(t, doc, settledOf(p, state), req)
	if len(p.Changes) != 20 || len(p.Removals) != 0 || countAdmins(p.After) != 1 {
		t.Errorf("approved: %d changes, pending %q, %d admins", len(p.Changes), pendingOf(p), countAdmins(p.After))
	}
	if len(p.Settled.Lost) != 0 {
		t.Errorf("what is approved counts against the hour: %+v", p.Settled.Lost)
	}

	// Another username is another person to Kubernetes.
	renamed := group(20)
	for i := range renamed {
		renamed[i].Username += "x"
	}
	doc = parse(t, map[string]string{"mapUsers": marked(group(20)...)})
	p = wholePlan(t, doc, stateOf("group/dev", group(20)...), plan.Snapshot{Sources: []plan.Source{from("group/dev", renamed...)}, Limit: limit(50), Now: now})
	if diff := cmp.Diff([]string{"group/dev 20 of 20"}, pendingOf(p)); diff != "" || p.Writes() {
		t.Errorf("renamed: %d changes, pending (-want +got):\n%s", len(p.Changes), diff)
	}
}

// Sources that are gone from the config are one loss: each of them alone is small.
func TestSourcesGoneTogether(t *testing.T) {
	state := &plan.State{Config: "1"}
	var roles, users []awsauth.Entry
	for i := range 20 {
		e := role(fmt.Sprintf("AWSReservedSSO_set%02d_0123456789abcdef", i), fmt.Sprintf("set%02d:{{SessionName}}", i), fmt.Sprintf("g%02d", i))
		roles, state.Owned = append(roles, e), append(state.Owned, owned(e, fmt.Sprintf("permission-set/set%02d", i)))
	}
	for i := range 100 {
		e := user(fmt.Sprintf("g%02du%d", i/5, i%5), "x", "dev")
		users, state.Owned = append(users, e), append(state.Owned, owned(e, fmt.Sprintf("group/g%02d", i/5)))
	}
	state.Sort()
	doc := parse(t, map[string]string{"mapRoles": marked(roles...), "mapUsers": marked(users...)})
	var groups []plan.Source
	for i := range 20 {
		groups = append(groups, from(fmt.Sprintf("group/g%02d", i), users[5*i:5*i+5]...))
	}
	for _, test := range []struct {
		name    string
		sources []plan.Source
		percent int
		want    []string
	}{
		{"the section of permission sets", groups, 10, []string{"permission-set 20 of 20"}},
		{"all", []plan.Source{from("file")}, 0, []string{"group 100 of 100", "permission-set 20 of 20"}},
		{"one set and two groups", append([]plan.Source{}, groups[2:]...), 10, []string{"group 10 of 10", "permission-set 20 of 20"}},
	} {
		p := wholePlan(t, doc, state, plan.Snapshot{Sources: test.sources, Limit: limit(test.percent), Config: "2", Now: now})
		got := pendingOf(p)
		if test.name == "one set and two groups" { // 10 of 100 groups' people are within the limit
			test.want = test.want[1:]
			if len(p.Changes) != 10 {
				t.Errorf("%s: %d changes", test.name, len(p.Changes))
			}
		} else if p.Writes() {
			t.Errorf("%s: %d changes", test.name, len(p.Changes))
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s: pending (-want +got):\n%s", test.name, diff)
		}
	}
	// A handful of each of many kinds of sources is a lot together.
	kinds := &plan.State{}
	var each []awsauth.Entry
	for i := range 50 {
		e := user(fmt.Sprintf("k%02d", i), "x", "dev")
		each, kinds.Owned = append(each, e), append(kinds.Owned, owned(e, fmt.Sprintf("kind%d/x", i/5)))
	}
	p := wholePlan(t, parse(t, map[string]string{"mapUsers": marked(each...)}), kinds, plan.Snapshot{Limit: limit(10), Now: now})
	if len(p.Changes) > 5 || len(p.Removals) != 9 {
		t.Errorf("%d of 50 go, pending %q", len(p.Changes), pendingOf(p))
	}
}

// An entry that lets in nobody is no administrator that is left.
func TestLastAdminsThatCanLogIn(t *testing.T) {
	const masters = "\n  groups: [system:masters]\n"
	for name, dead := range map[string]map[string]string{
		"path":     {"mapRoles": "- rolearn: arn:aws:iam::111122223333:role/team/ops\n  username: ops" + masters},
		"session":  {"mapRoles": "- rolearn: arn:aws:sts::111122223333:assumed-role/ops/x\n  username: ops" + masters},
		"bare":     {"mapRoles": "- rolearn: ops\n  username: ops" + masters},
		"instance": {"mapUsers": "- userarn: arn:aws:iam::111122223333:user/x\n  username: '{{EC2PrivateDNSName}}'" + masters},
		"nodes":    {"mapRoles": "- rolearn: arn:aws:iam::111122223333:role/node\n  username: 'system:node:{{EC2PrivateDNSName}}'" + masters},
		"dropped":  {"mapRoles": "- rolearn: arn:aws:iam::111122223333:role/ops\n  sso: {}\n  username: ops" + masters},
		"profile":  {"mapRoles": "- rolearn: arn:aws:iam::111122223333:instance-profile/ops\n  username: ops" + masters},
		"account":  {"mapRoles": "- rolearn: arn:aws:iam::1111:role/ops\n  username: ops" + masters},
		"shadowed": {"mapRoles": "- rolearn: arn:aws:iam::111122223333:role/ops\n  username: ops" + masters + unmarked(role("ops", "ops"))},
	} {
		boss := user("boss", "boss", awsauth.Masters)
		doc := parse(t, map[string]string{"mapRoles": dead["mapRoles"], "mapUsers": dead["mapUsers"] + marked(boss)})
		p := wholePlan(t, doc, stateOf("group/Admins", boss), plan.Snapshot{Sources: []plan.Source{from("group/Admins")}, Limit: limit(50), Config: "1", Now: now})
		r, err := p.After.Resolve(boss.ARN)
		if err != nil || !r.Allowed() || !slices.Equal(pendingOf(p), []string{"system:masters 1 of 1"}) {
			t.Errorf("%s: pending %q, %v", name, pendingOf(p), err)
		}
	}
	// One that is left is enough, and one that IAM says is gone is none.
	boss := user("boss", "boss", awsauth.Masters)
	doc := parse(t, map[string]string{"mapRoles": unmarked(role("ops", "ops", awsauth.Masters)), "mapUsers": marked(boss)})
	req := plan.Snapshot{Sources: []plan.Source{from("group/Admins")}, Limit: limit(50), Now: now}
	if p := wholePlan(t, doc, stateOf("group/Admins", boss), req); len(p.Removals) > 0 || len(p.Changes) != 1 {
		t.Errorf("another one is left: pending %q", pendingOf(p))
	}
	req.Gone = map[string]bool{principal(role("ops", "")): true}
	if p := wholePlan(t, doc, stateOf("group/Admins", boss), req); len(p.Removals) != 1 || p.Writes() {
		t.Errorf("the other one is gone from IAM: pending %q", pendingOf(p))
	}
}

// inTheHour are the losses of the hour before a moment, as a leader tells them.
func inTheHour(s *plan.State, at time.Time) []plan.Loss {
	return slices.DeleteFunc(slices.Clone(s.Lost), func(l plan.Loss) bool { return at.Sub(l.At) >= time.Hour })
}

// Five removals a refresh, every refresh, are limited in the hour. After it they go
// on by themselves.
func TestLossesOfTheHour(t *testing.T) {
	users := group(100)
	doc, state := parse(t, map[string]string{"mapUsers": marked(users...)}), stateOf("group/dev", users...)
	at := now
	left := func(minutes, gone int) int {
		at = at.Add(time.Duration(minutes) * time.Minute)
		data, _, err := EncodeLedger(state) // a successor knows what was lost
		if err != nil {
			t.Fatal(err)
		}
		if state, _, err = DecodeLedger(data); err != nil {
			t.Fatal(err)
		}
		l := limit(10)
		l.Hour = inTheHour(state, at)
		p := wholePlan(t, doc, state, plan.Snapshot{Sources: []plan.Source{from("group/dev", users[gone:]...)}, Limit: l, Now: at})
		doc, state = p.After, settledOf(p, state)
		return len(doc.Entries())
	}
	got := []int{}
	for i := range 6 {
		got = append(got, left(1, 5*(i+1)))
	}
	if diff := cmp.Diff([]int{95, 90, 90, 90, 90, 90}, got); diff != "" {
		t.Errorf("in the first hour (-want +got):\n%s", diff)
	}
	if len(state.Removals) != 1 {
		t.Errorf("pending: %+v", state.Removals)
	}
	// When the hour is over, what is within the limit again goes.
	if n := left(61, 19); n != 81 {
		t.Errorf("after an hour there are %d", n)
	}
	// What somebody else took away, and nobody asks for, was lost too.
	doc = parse(t, map[string]string{"mapUsers": marked(users[30:]...)})
	if n := left(90, 30); n != 70 || state.Lost[len(state.Lost)-1].Total != 11 {
		t.Errorf("there are %d, lost %+v", n, state.Lost)
	}
}

// A pending removal of everybody fits into the ledger, which has the entries too.
func TestPendingRemovalFitsTheLedger(t *testing.T) {
	if testing.Short() {
		t.Skip("makes a full aws-auth: not with -short")
	}
	r := rand.New(rand.NewPCG(1, 2))
	var all []awsauth.Entry
	for i := range 1400 {
		var path strings.Builder
		for range 505 {
			c := byte(33 + r.IntN(94))
			if c == '/' {
				c = '_'
			}
			path.WriteByte(c)
		}
		n := fmt.Sprintf("u%04d", i)
		all = append(all, awsauth.Entry{Kind: awsauth.User, ARN: "arn:aws:iam::111122223333:user/" + path.String() + "/" + n, Username: n, Groups: []string{"dev"}})
	}
	asked := plan.Snapshot{Sources: []plan.Source{from("group/dev", all...)}, Limit: limit(50), Now: now}
	full := wholePlan(t, parse(t, nil), nil, asked)
	if len(full.NoRoom) > 0 {
		t.Fatalf("%d find no room: the test sees too little", len(full.NoRoom))
	}
	asked.Sources = []plan.Source{from("group/dev")}
	emptied := wholePlan(t, full.After, full.Settled, asked)
	if diff := cmp.Diff([]string{"group/dev 1400 of 1400"}, pendingOf(emptied)); diff != "" {
		t.Fatalf("pending (-want +got):\n%s", diff)
	}
	data, id, err := EncodeLedger(emptied.Settled)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("aws-auth has %d bytes, the ledger %d", emptied.Size, len(data))
	if len(data) > awsauth.Limit {
		t.Errorf("the ledger has %d bytes, more than a ConfigMap holds", len(data))
	}
	state, read, err := DecodeLedger(data)
	if err != nil || read != id || !state.Equal(emptied.Settled) {
		t.Fatalf("read back: %v, as %s instead of %s", err, read, id)
	}
	if diff := cmp.Diff(emptied.Removals, state.Removals); diff != "" {
		t.Errorf("the removal is shown otherwise (-planned +read):\n%.2000s", diff)
	}
	again := wholePlan(t, emptied.After, state, asked)
	if again.Writes() || again.Settled != nil || !reflect.DeepEqual(again.Removals, emptied.Removals) {
		t.Errorf("a second run: %d changes, ledger %t", len(again.Changes), again.Settled != nil)
	}
	asked.Limit = limit(50, state.Removals[0].ID)
	if gone := wholePlan(t, emptied.After, state, asked); len(gone.After.Entries()) != 0 {
		t.Errorf("approved: %d are left", len(gone.After.Entries()))
	}
	// Of a change, it is what it was too.
	changed := slices.Clone(all)
	for i := range changed {
		changed[i].Groups = []string{"view"}
	}
	asked.Sources, asked.Limit = []plan.Source{from("group/dev", changed...)}, limit(50)
	held := wholePlan(t, full.After, full.Settled, asked)
	if data, _, err = EncodeLedger(held.Settled); err != nil || len(data) > awsauth.Limit {
		t.Fatalf("%d bytes, %v", len(data), err)
	}
	if state, _, err = DecodeLedger(data); err != nil || len(state.Removals) != 1 || len(state.Removals[0].Changes) != len(all) {
		t.Fatalf("read back: %v", err)
	}
	for i, c := range state.Removals[0].Changes {
		if w := held.Removals[0].Changes[i]; c.Op != w.Op || !reflect.DeepEqual(c.Entry, w.Entry) || c.Before == nil || !sameAccess(*c.Before, *w.Before) || c.Before.ARN != w.Before.ARN {
			t.Fatalf("change %d is read as %+v, was %+v", i, c, w)
		}
	}
}

// What was pending before an upgrade is pending by the same ID after it, and what a
// person has approved counts.
func TestPendingRemovalsOfFormerVersions(t *testing.T) {
	admin := role("admin", "admin", awsauth.Masters)
	users := parse(t, map[string]string{"mapUsers": marked(group(8)...)})
	admins := parse(t, map[string]string{"mapRoles": marked(admin)})
	dev := stateOf("group/dev", group(8)...)
	for _, test := range []struct {
		name    string
		doc     *awsauth.Document
		state   *plan.State
		sources []plan.Source
		id      string // by the version of 2026-01
	}{
		{"a group is emptied", users, dev, []plan.Source{from("group/dev")}, "19ba36daf2b5"},
		{"a group is gone from the config", users, dev, nil, "19ba36daf2b5"},
		{"the marks alone tell", users, nil, nil, "5fecd0c5a6e0"},
		{"the last administrator", admins, stateOf("file", admin), []plan.Source{from("file")}, "e0865f33fbee"},
		{"the last administrator is demoted", admins, stateOf("file", admin), []plan.Source{from("file", role("admin", "admin", "viewers"))}, "532142ad0e4e"},
	} {
		p := wholePlan(t, test.doc, test.state, plan.Snapshot{Sources: test.sources, Limit: limit(50), Now: now})
		if len(p.Removals) != 1 || p.Removals[0].ID != test.id {
			t.Errorf("%s: pending %+v, want %s", test.name, p.Removals, test.id)
		}
		p = wholePlan(t, test.doc, test.state, plan.Snapshot{Sources: test.sources, Limit: limit(50, test.id), Now: now})
		if len(p.Removals) != 0 || !p.Writes() {
			t.Errorf("%s, approved: pending %+v, changes %+v", test.name, p.Removals, p.Changes)
		}
	}

	// The ledger that the former version wrote of the first of them.
	data, err := hex.DecodeString(formerLedger)
	if err != nil {
		t.Fatal(err)
	}
	state, id, err := DecodeLedger(data)
	if err != nil || id != "0d3c3e94d6c86da0" {
		t.Fatalf("it is read as %q: %v", id, err)
	}
	p := wholePlan(t, users, state, plan.Snapshot{Sources: []plan.Source{from("group/dev")}, Config: "", Limit: limit(50), Now: now.Add(time.Hour)})
	if p.Writes() || p.Settled != nil || len(p.Removals) != 1 || p.Removals[0].ID != "19ba36daf2b5" || !p.Removals[0].Since.Equal(now) {
		t.Errorf("changes %+v, pending %+v, ledger %+v", p.Changes, p.Removals, p.Settled)
	}
	if failed := wholePlan(t, users, state, plan.Snapshot{Sources: []plan.Source{{Name: "group/dev", Failed: true}}, Limit: limit(50), Now: now}); len(failed.Removals) != 1 || len(failed.Removals[0].Changes) != 8 {
		t.Errorf("its source fails: pending %+v", failed.Removals)
	}
}

// formerLedger was written by the version of 2026-01.
const formerLedger = "1f8b08000000000000ffccd5cfaae2301406f05729671d317f6c9d39cf31ab912ea28d5ab489245611e9bb0fa90c971b02961b03dd74114ecef72b597c4fb829eb5aa301190173d7aa01dc3ce1d4ea06107aa72c10905603fa2fcabbc35676888c31c639e74208817e6cd9530a64bca165a7fce5f1e0604d7f71801b68d40d6a02bbb36c3b37a638d3db9d1f1d87967ee0fd86a126e05a3ddee394970bc61794ffa102e90a69f91706f2433f0bd359b23fb2219f9f87e93cd91fd990cf2fc27491ec8f6cc8e75f85e9ab647f64433e7f19a697c9fec8867cfe2a4caf92fd910df9fceb307d9dec8f6c78efaf091cd5f95504adff0df67b2b45d5c83ddffa078dc69a3de02f02bba3d407f5e2990b2058d5999b02024a5fed033063b70cff69e3d117ae26609574bee4409be23553487772c5ded8a2bd16523f8ace5835bedd27d9532a6586ec294d3243f6940299217b4a6fcc903da52e66c89ed21233644f29874fb0bfb743b5a02c6c87e15f000000ffffbebd3c28350c0000"

// A roll back takes every mark that would have the entry taken away again: ours, and
// those of tools whose entries are adopted.
func TestRollBackTakesAdoptedMarks(t *testing.T) {
	lost := strings.ReplaceAll(marked(user("lost", "lost", "dev")), "syncedBy: rolecall", "syncedBy: iam-eks-user-mapper")
	theirs := strings.ReplaceAll(marked(user("theirs", "theirs", "dev")), "syncedBy: rolecall", "syncedBy: another-tool")
	former := parse(t, map[string]string{"mapUsers": lost + theirs})
	keep := user("keep", "keep", "dev")
	req := plan.Snapshot{Sources: []plan.Source{from("group/dev", keep)}, Adopt: []string{"iam-eks-user-mapper"}, Limit: limit(50), Config: "1", Now: now}
	today := wholePlan(t, parse(t, nil), nil, req)
	data, _, err := EncodeLedger(today.Settled)
	if err != nil {
		t.Fatal(err)
	}
	state, _, err := DecodeLedger(data) // a command reads the marks that are adopted from it
	if err != nil || !slices.Equal(state.Adopt, req.Adopt) {
		t.Fatalf("it adopts %q, %v", state.Adopt, err)
	}
	back, unmarked, err := RollBack(former, state)
	if err != nil {
		t.Fatal(err)
	}
	if len(unmarked) != 1 || unmarked[0].Username != "lost" || !strings.Contains(back.Data()["mapUsers"], "another-tool") {
		t.Errorf("unmarked are %+v, the text is\n%s", unmarked, back.Data()["mapUsers"])
	}
	p := wholePlan(t, back, state, req)
	if r, err := p.After.Resolve(user("lost", "").ARN); err != nil || !r.Allowed() {
		t.Errorf("the next reconcile takes it away: %+v, %v", p.Changes, err)
	}
}

// Who does not exist has no access to lose: neither who is gone from IAM nor whom an
// entry names by an ARN that nobody can have.
func TestNobodyLosesNothing(t *testing.T) {
	users := group(20)
	gone := map[string]bool{}
	for _, u := range users {
		gone[principal(u)] = true
	}
	req := plan.Snapshot{Sources: []plan.Source{from("group/dev")}, Limit: limit(0), Gone: gone, Now: now}
	p := wholePlan(t, parse(t, map[string]string{"mapUsers": marked(users...)}), stateOf("group/dev", users...), req)
	if len(p.Removals) > 0 || len(p.Changes) != 20 || len(p.Settled.Lost) > 0 {
		t.Errorf("gone from IAM: %d changes, pending %q, lost %+v", len(p.Changes), pendingOf(p), p.Settled.Lost)
	}
	var dead []awsauth.Entry
	for i := range 20 {
		dead = append(dead, role(fmt.Sprintf("team/r%02d", i), "x", "dev"))
	}
	req.Gone = nil
	p = wholePlan(t, parse(t, map[string]string{"mapRoles": marked(dead...)}), stateOf("group/dev", dead...), req)
	if len(p.Removals) > 0 || len(p.Changes) != 20 || len(p.Settled.Lost) > 0 {
		t.Errorf("with a path: %d changes, pending %q, lost %+v", len(p.Changes), pendingOf(p), p.Settled.Lost)
	}
}
