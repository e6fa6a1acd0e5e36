package plan

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/awsauth"
)

// A promise is what a policy promises of any snapshot: in are the decisions before
// it, out those after it. It returns what is wrong, and "" for nothing.
type promise struct {
	name   string
	policy Policy
	holds  func(s *Snapshot, in, out []Decision, pending []PendingRemoval) string
}

// promises has a row for each policy of [Chain], in its order.
var promises = []promise{
	{"AdoptConflicts", AdoptConflicts, func(s *Snapshot, in, out []Decision, _ []PendingRemoval) string {
		for i := range out {
			switch {
			case out[i].Op == in[i].Op:
			case !s.AdoptConflicts || s.AddOnly:
				return out[i].Principal + " changes although nothing may be adopted"
			case out[i].Loses():
				return out[i].Principal + " loses access by being adopted"
			}
		}
		return ""
	}},
	{"AddOnly", AddOnly, func(s *Snapshot, _, out []Decision, _ []PendingRemoval) string {
		if i := slices.IndexFunc(out, func(d Decision) bool { return d.Loses() }); s.AddOnly && i >= 0 {
			return out[i].Principal + " loses access"
		}
		return ""
	}},
	{"RemovalLimit", RemovalLimit, func(s *Snapshot, in, out []Decision, pending []PendingRemoval) string {
		managed, lost := map[string]int{}, map[string]int{}
		count := func(n map[string]int, d *Decision) {
			n[""]++
			for _, kind := range d.kinds() {
				n[kind]++
			}
		}
		for i := range out {
			if in[i].isManaged() {
				count(managed, &in[i])
			}
			if out[i].Loses() {
				count(lost, &out[i])
			}
			if in[i].Loses() && !out[i].Loses() && !holds(pending, out[i].Principal) {
				return out[i].Principal + " waits, and nothing says so"
			}
			if w := out[i].facts.want; in[i].Loses() && !out[i].Loses() && w != nil && out[i].After.Kind == w.Kind && !includes(out[i].After.Groups, w.Groups) {
				return out[i].Principal + " waits for approval of a loss, and with it for what it gains"
			}
		}
		for kind, n := range lost {
			if s.Limit != nil && n > Floor && n*100 > s.Limit.Percent*managed[kind] {
				return fmt.Sprintf("%d of %d of kind %q lose access, at %d %%", n, managed[kind], kind, s.Limit.Percent)
			}
		}
		return ""
	}},
	{"LastAdmins", LastAdmins, func(s *Snapshot, in, out []Decision, _ []PendingRemoval) string {
		admins := func(access func(d *Decision) func() (awsauth.Entry, bool)) int {
			n := otherAdmins(s, in)
			for i := range out {
				if out[i].isAdmin(access(&out[i])) {
					n++
				}
			}
			return n
		}
		before := admins(func(d *Decision) func() (awsauth.Entry, bool) { return d.before })
		after := admins(func(d *Decision) func() (awsauth.Entry, bool) { return d.after })
		if s.Limit != nil && before > 0 && after == 0 {
			return "nobody can log in as administrator any more"
		}
		return ""
	}},
	{"FitRoom", FitRoom, func(s *Snapshot, _, out []Decision, _ []PendingRemoval) string {
		room, ok := s.Room.(places)
		if !ok {
			return ""
		}
		added, optional, left := 0, 0, ""
		for i := range out {
			switch d := &out[i]; {
			case d.Op == Add:
				added++
				if !d.Required {
					optional++
				}
			case d.NoRoom && d.Required:
				left = d.Principal
			}
		}
		switch {
		case added > int(room):
			return fmt.Sprintf("%d are added, and there is room for %d", added, room)
		case left != "" && optional > 0:
			return "the live node's role " + left + " found no room, and others did"
		}
		return ""
	}},
}

func holds(pending []PendingRemoval, principal string) bool {
	return slices.ContainsFunc(pending, func(r PendingRemoval) bool {
		return slices.ContainsFunc(r.Changes, func(c Change) bool { return c.Entry.Principal() == principal })
	})
}

// places is a register that has room for so many entries more.
type places int

func (p places) Left([]Decision) func(awsauth.Entry, bool) bool {
	left := int(p)
	return func(awsauth.Entry, bool) bool {
		left--
		return left >= 0
	}
}

// TestPolicies holds each policy of the chain to its promise, and all of them to
// these: the snapshot stays as it was, an addition waits for no removal, and the
// role of a live node that was mapped or is added stays.
func TestPolicies(t *testing.T) {
	if len(promises) != len(Chain()) {
		t.Fatalf("%d policies are in the chain, and %d have a promise here", len(Chain()), len(promises))
	}
	did := map[string]int{} // how often a policy changed something
	for seed := range uint64(500) {
		s := snapshotOf(rand.New(rand.NewPCG(seed, 7)))
		was := clone(s)
		in := Decide(s)
		for i, p := range promises {
			out, pending := Chain()[i](s, slices.Clone(in))
			if why := p.holds(s, in, out, pending); why != "" {
				t.Fatalf("seed %d, %s: %s", seed, p.name, why)
			}
			if why := always(in, out); why != "" {
				t.Fatalf("seed %d, %s: %s", seed, p.name, why)
			}
			if !slices.EqualFunc(in, out, func(a, b Decision) bool { return a.Op == b.Op && len(a.Drops) == len(b.Drops) }) {
				did[p.name]++
			}
			in = out
		}
		if is := clone(s); !reflect.DeepEqual(was, is) {
			t.Fatalf("seed %d: the snapshot was changed (-was +is):\n%s", seed, cmp.Diff(was, is))
		}
	}
	for _, p := range promises {
		if did[p.name] < 8 {
			t.Errorf("%s changed something %d times only: the test sees too little", p.name, did[p.name])
		}
	}
}

func always(in, out []Decision) string {
	for i := range out {
		was, is := &in[i], &out[i]
		if was.Op == Add && len(was.Drops) == 0 && is.Op != Add && !is.NoRoom {
			return is.Principal + " is not added any more"
		}
		_, before := was.before()
		_, planned := was.after()
		if _, stands := is.after(); is.Required && before && planned && !stands {
			return "the live node's role " + is.Principal + " goes"
		}
	}
	return ""
}

// asked is a snapshot without what has no order or no fields to compare.
type asked struct {
	Sources  []Source
	Standing []Standing
	State    State
	Limit    Limit
}

func clone(s *Snapshot) asked {
	a := asked{State: *s.State}
	a.State.Owned = slices.Clone(a.State.Owned)
	for _, source := range s.Sources {
		source.Entries = slices.Clone(source.Entries)
		a.Sources = append(a.Sources, source)
	}
	a.Standing = slices.Clone(s.Standing)
	if s.Limit != nil {
		a.Limit = *s.Limit
	}
	return a
}

// snapshotOf is a random cluster that was settled once, and in which much else is
// asked now.
func snapshotOf(r *rand.Rand) *Snapshot {
	now := time.Date(2026, 11, 2, 10, 0, 0, 0, time.UTC)
	first := &Snapshot{Sources: ask(r), State: &State{}, Now: now}
	for _, i := range r.Perm(20)[:4] { // somebody else's
		first.Standing = append(first.Standing, Standing{Entry: person(r, i), Ref: len(first.Standing)})
	}
	decisions := Decide(first)
	next := &Snapshot{
		Sources: ask(r), State: Settle(first, decisions, nil), Now: now.Add(time.Hour), Standing: slices.Clone(first.Standing),
		AddOnly: r.IntN(4) == 0, AdoptConflicts: r.IntN(2) == 0, Gone: map[string]bool{},
	}
	for i := range decisions {
		if d := &decisions[i]; d.Op == Add {
			next.Standing = append(next.Standing, Standing{Entry: d.After, Mark: awsauth.Mark, Ref: len(next.Standing)})
		}
	}
	if r.IntN(5) > 0 {
		next.Limit = &Limit{Percent: []int{0, 10, 50, 100}[r.IntN(4)]}
	}
	if r.IntN(3) == 0 {
		next.Room = places(r.IntN(4))
	}
	for i := range next.Standing {
		switch e := &next.Standing[i].Entry; {
		case e.Kind == awsauth.Role && r.IntN(2) == 0:
			next.Required = append(next.Required, e.ARN)
		case r.IntN(10) == 0:
			next.Gone[e.Principal()] = true
		}
	}
	for i := range next.Sources {
		if s := &next.Sources[i]; s.Nodes && len(s.Entries) > 0 {
			next.Required = append(next.Required, s.Entries[0].ARN)
		}
	}
	return next
}

// ask is what sources ask for: some of 40 people, and roles of nodes.
func ask(r *rand.Rand) []Source {
	var sources []Source
	for _, name := range []string{"file", "group/a", "group/b", "permission-set/a", "permission-set/b", "permission-set/c"} {
		if r.IntN(6) == 0 {
			continue // gone from the config
		}
		s := Source{Name: name, Failed: r.IntN(8) == 0}
		for range r.IntN(14) {
			s.Entries = append(s.Entries, person(r, r.IntN(40)))
		}
		sources = append(sources, s)
	}
	nodes := Source{Name: "node", Nodes: true}
	for range r.IntN(5) {
		nodes.Entries = append(nodes.Entries, awsauth.Entry{
			Kind: awsauth.Role, ARN: fmt.Sprintf("arn:aws:iam::111122223333:role/node-%d", r.IntN(6)),
			Username: "system:node:{{EC2PrivateDNSName}}", Groups: []string{"system:bootstrappers", "system:nodes"},
		})
	}
	return append(sources, nodes)
}

func person(r *rand.Rand, i int) awsauth.Entry {
	group := []string{"view", "edit", "ops", "dev"}[r.IntN(4)]
	if r.IntN(60) == 0 {
		group = awsauth.Masters
	}
	return awsauth.Entry{Kind: awsauth.User, ARN: fmt.Sprintf("arn:aws:iam::111122223333:user/p%d", i), Username: fmt.Sprintf("p%d", i), Groups: []string{group}}
}
