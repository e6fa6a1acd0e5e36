package plan

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"slices"
	"time"

	"github.com/rolecall/rolecall/awsauth"
)

// A Policy changes decisions: it is pure, and returns what has to wait for
// approval.
type Policy func(s *Snapshot, decisions []Decision) ([]Decision, []PendingRemoval)

// Chain are the policies in their order.
func Chain() []Policy {
	return []Policy{
		AdoptConflicts, // an unmanaged entry that grants less is taken over, where the config says so
		AddOnly,        // a config that may be old changes and removes nothing
		RemovalLimit,   // no more than so many lose access in an hour without approval
		LastAdmins,     // nor do the last who can log in as administrators
		FitRoom,        // what finds no room is not added, the roles of live nodes last
	}
}

// Make decides, and applies the chain of policies.
func Make(s *Snapshot) ([]Decision, []PendingRemoval) {
	decisions := Decide(s)
	var pending []PendingRemoval
	for _, policy := range Chain() {
		var more []PendingRemoval
		decisions, more = policy(s, decisions)
		pending = append(pending, more...)
	}
	return decisions, pending
}

// AdoptConflicts makes unmanaged entries managed that grant less than is asked.
func AdoptConflicts(s *Snapshot, decisions []Decision) ([]Decision, []PendingRemoval) {
	if !s.AdoptConflicts || s.AddOnly {
		return decisions, nil
	}
	for i := range decisions {
		if d := &decisions[i]; d.Conflict != nil {
			decisions[i] = d.x.decide(d.facts, d.facts.want, true)
		}
	}
	return decisions, nil
}

// AddOnly keeps every managed entry as it is known.
func AddOnly(s *Snapshot, decisions []Decision) ([]Decision, []PendingRemoval) {
	if !s.AddOnly {
		return decisions, nil
	}
	for i := range decisions {
		decisions[i] = decisions[i].frozen()
	}
	return decisions, nil
}

// A PendingRemoval is a loss of access that waits for approval: that of more
// principals than the limit, or of the last administrators.
type PendingRemoval struct {
	// ID stands for exactly these changes: others of the same source have another
	// one. It is the same for every leader.
	ID string `json:"id"`
	// Source is the name of the source that asks for less; its kind where several
	// of the kind are gone from the config; [awsauth.Masters] for the last
	// administrators; empty for entries that only their mark tells managed.
	Source  string    `json:"source,omitempty"`
	Of      int       `json:"of"` // how many managed principals the source had when it was held back first; of administrators, how many there were
	Changes []Change  `json:"changes"`
	Since   time.Time `json:"since"` // when it was held back first
}

// RemovalLimit has losses of access wait that look like an accident. They are
// taken together by the source that asks for less, and the smaller of these lots
// go first: what of them is within the limit of each kind of source, and of all,
// goes on.
func RemovalLimit(s *Snapshot, decisions []Decision) ([]Decision, []PendingRemoval) {
	if s.Limit == nil {
		return decisions, nil
	}
	pending := standingRemovals(s)
	wait(decisions, pending)
	found := lots(s, decisions)
	if len(found) == 0 {
		return decisions, pending
	}
	base := baseline(s, decisions)
	for _, lot := range found {
		removal := lot.pending(s, decisions, base)
		switch {
		case slices.Contains(s.Limit.Approved, removal.ID):
			for _, i := range lot.members {
				decisions[i].approved = true
			}
		case base.allows(lot, decisions):
			base.spend(lot, decisions)
		default:
			pending = append(pending, removal)
			wait(decisions, []PendingRemoval{removal})
		}
	}
	slices.SortStableFunc(pending, func(a, b PendingRemoval) int { return cmp.Compare(a.Source, b.Source) })
	return decisions, pending
}

// standingRemovals are those that waited before and on which nothing can be said
// now, because their source does not answer or nothing may be removed.
func standingRemovals(s *Snapshot) []PendingRemoval {
	failed := s.failed()
	kinds := map[string]bool{}
	for name := range failed {
		kinds[KindOf(name)] = true
	}
	var out []PendingRemoval
	for _, r := range s.State.Removals {
		if s.AddOnly || failed[r.Source] || kinds[r.Source] || r.Source == awsauth.Masters && len(failed) > 0 {
			out = append(out, r)
		}
	}
	return out
}

// wait has the principals of pending removals stay as they are.
func wait(decisions []Decision, pending []PendingRemoval) {
	waits := map[string]bool{}
	for i := range pending {
		changes := pending[i].Changes
		for j := range changes {
			waits[changes[j].Entry.Principal()] = true
		}
	}
	if len(waits) == 0 {
		return
	}
	for i := range decisions {
		if waits[decisions[i].Principal] {
			decisions[i] = decisions[i].waiting()
		}
	}
}

// baselines is how many managed principals there are, with those that were there
// within the last hour, and how many of them have lost access in it.
type baselines struct {
	percent       int
	sources       map[string]int // managed principals by name of source
	kinds, spent  map[string]int
	all, allSpent int
}

func baseline(s *Snapshot, decisions []Decision) *baselines {
	b := &baselines{percent: s.Limit.Percent, sources: map[string]int{}, kinds: map[string]int{}, spent: map[string]int{}}
	for _, loss := range s.Limit.Hour {
		b.allSpent += loss.Total
		b.all += loss.Total - loss.Stay
		for kind, n := range loss.Kinds {
			b.spent[kind] += n
			b.kinds[kind] += n - loss.StayKinds[kind]
		}
	}
	for i := range decisions {
		d := &decisions[i]
		vanished := d.vanished()
		if !vanished && !d.isManaged() {
			continue
		}
		if vanished { // it is lost already
			b.allSpent++
			for _, kind := range d.kinds() {
				b.spent[kind]++
			}
		}
		b.all++
		for _, name := range d.facts.sources() {
			b.sources[name]++
		}
		for _, kind := range d.kinds() {
			b.kinds[kind]++
		}
	}
	return b
}

// within reports whether n of so many may lose access.
func (b *baselines) within(n, of int) bool {
	// One who lost a group and is removed then has lost twice: at 100 % all may go.
	return n <= Floor || b.percent >= 100 || n*100 <= b.percent*of
}

func (b *baselines) allows(l lot, decisions []Decision) bool {
	n := l.byKind(decisions)
	for kind := range n {
		if !b.within(b.spent[kind]+n[kind], b.kinds[kind]) {
			return false
		}
	}
	return b.within(b.allSpent+len(l.members), b.all)
}

func (b *baselines) spend(l lot, decisions []Decision) {
	for kind, n := range l.byKind(decisions) {
		b.spent[kind] += n
	}
	b.allSpent += len(l.members)
}

// A lot is what loses access for one cause.
type lot struct {
	label   string          // for the order
	sources map[string]bool // that ask for less
	members []int           // indices of decisions
}

func (l lot) byKind(decisions []Decision) map[string]int {
	n := map[string]int{}
	for _, i := range l.members {
		for _, kind := range decisions[i].kinds() {
			n[kind]++
		}
	}
	return n
}

// lots groups the decisions by which access is lost: by the source that asks for
// less, those of a kind together that are gone from the config. A principal for
// which several ask less is of the source that does so most.
func lots(s *Snapshot, decisions []Decision) []lot {
	present := map[string]bool{UnknownSource: true}
	for i := range s.Sources {
		present[s.Sources[i].Name] = true
	}
	label := func(name string) string {
		if present[name] {
			return name
		}
		return "gone " + KindOf(name)
	}
	lost := map[int][]string{}
	most := map[string]int{}
	for i := range decisions {
		if !decisions[i].Loses() {
			continue
		}
		lost[i] = decisions[i].lost()
		for _, name := range lost[i] {
			most[label(name)]++
		}
	}
	found := map[string]*lot{}
	for _, i := range slices.Sorted(maps.Keys(lost)) {
		name := slices.MinFunc(lost[i], func(a, b string) int {
			return cmp.Or(cmp.Compare(most[label(b)], most[label(a)]), cmp.Compare(a, b))
		})
		l := found[label(name)]
		if l == nil {
			l = &lot{label: label(name), sources: map[string]bool{}}
			found[l.label] = l
		}
		l.sources[name] = true
		l.members = append(l.members, i)
	}
	out := make([]lot, 0, len(found))
	for _, l := range found {
		out = append(out, *l)
	}
	slices.SortFunc(out, func(a, b lot) int {
		return cmp.Or(cmp.Compare(len(a.members), len(b.members)), cmp.Compare(a.label, b.label))
	})
	return out
}

// pending is what waits if the lot does.
func (l lot) pending(s *Snapshot, decisions []Decision, base *baselines) PendingRemoval {
	names := slices.Sorted(maps.Keys(l.sources))
	r := PendingRemoval{Source: names[0]}
	if len(names) > 1 {
		r.Source = KindOf(names[0])
	}
	for _, name := range names {
		r.Of += base.sources[name]
	}
	return r.of(s, decisions, l.members)
}

// of fills in what changes, the ID of it, and since when it waits.
func (r PendingRemoval) of(s *Snapshot, decisions []Decision, members []int) PendingRemoval {
	for _, i := range members {
		for _, c := range decisions[i].Changes() {
			if c.Op == Remove || c.Op == Update || c.Op == Adopt || len(decisions[i].Changes()) == 1 {
				r.Changes = append(r.Changes, c)
			}
		}
	}
	SortChanges(r.Changes)
	r.ID = r.hash()
	r.Since = s.Now.UTC().Truncate(time.Second)
	for i := range s.State.Removals {
		if s.State.Removals[i].ID == r.ID {
			// As it was held first: what is added since makes it no other one.
			r.Since, r.Of = s.State.Removals[i].Since, s.State.Removals[i].Of
		}
	}
	return r
}

// SortChanges sorts by kind and principal.
func SortChanges(changes []Change) {
	slices.SortStableFunc(changes, func(a, b Change) int {
		return cmp.Or(cmp.Compare(a.Entry.Kind, b.Entry.Kind), cmp.Compare(a.Entry.Principal(), b.Entry.Principal()))
	})
}

// hash is over what changes, not over when it was seen or how it is told. Of an
// update it has the groups that are lost and not those that stand: what is added
// while it waits makes it no other one.
func (r *PendingRemoval) hash() string {
	type change struct {
		Op           Op
		Key          string
		Username     string
		Groups, Lost []string
	}
	list := make([]change, len(r.Changes))
	for i := range r.Changes {
		c := &r.Changes[i]
		list[i] = change{Op: c.Op, Key: c.Entry.Principal(), Username: c.Entry.Username, Groups: awsauth.GroupSet(c.Entry.Groups)}
		if c.Before != nil {
			list[i].Lost = slices.DeleteFunc(slices.Clone(awsauth.GroupSet(c.Before.Groups)), func(g string) bool { return slices.Contains(c.Entry.Groups, g) })
		}
	}
	body, err := json.Marshal(list)
	if err != nil { // strings always encode
		return ""
	}
	sum := sha256.Sum256(append([]byte(r.Source+"\n"), body...))
	return hex.EncodeToString(sum[:6])
}

// LastAdmins has a write wait after which nobody could log in as administrator,
// where somebody can now.
func LastAdmins(s *Snapshot, decisions []Decision) ([]Decision, []PendingRemoval) {
	if s.Limit == nil || !slices.ContainsFunc(decisions, func(d Decision) bool { return d.Loses() }) {
		return decisions, nil
	}
	var demoted []int
	before := otherAdmins(s, decisions)
	after := before
	for i := range decisions {
		d := &decisions[i]
		was, is := d.isAdmin(d.before), d.isAdmin(d.after)
		if was {
			before++
		}
		if is {
			after++
		}
		if was && !is {
			demoted = append(demoted, i)
		}
	}
	if before == 0 || after > 0 || len(demoted) == 0 {
		return decisions, nil
	}
	removal := PendingRemoval{Source: awsauth.Masters, Of: before}.of(s, decisions, demoted)
	if slices.Contains(s.Limit.Approved, removal.ID) {
		return decisions, nil
	}
	wait(decisions, []PendingRemoval{removal})
	return decisions, []PendingRemoval{removal}
}

// isAdmin reports whether the access that is in force makes people administrators.
func (d *Decision) isAdmin(access func() (awsauth.Entry, bool)) bool {
	e, ok := access()
	return ok && !d.x.snapshot.Gone[d.Principal] && IsAdmin(&e)
}

// otherAdmins counts the administrators on whom nothing is decided.
func otherAdmins(s *Snapshot, decisions []Decision) int {
	decided := make(map[string]bool, len(decisions))
	for i := range decisions {
		decided[decisions[i].Principal] = true
	}
	answers := map[string]*Standing{}
	for i := range s.Standing {
		if k := s.Standing[i].Principal(); !decided[k] && !s.Gone[k] {
			answers[k] = &s.Standing[i]
		}
	}
	n := 0
	for _, e := range answers {
		if IsAdmin(&e.Entry) {
			n++
		}
	}
	return n
}

// FitRoom leaves out new entries for which the register has no room. The roles of
// live nodes find it first.
func FitRoom(s *Snapshot, decisions []Decision) ([]Decision, []PendingRemoval) {
	if s.Room == nil {
		return decisions, nil
	}
	var adds []int
	for i := range decisions {
		if decisions[i].Op == Add {
			adds = append(adds, i)
		}
	}
	if len(adds) == 0 {
		return decisions, nil
	}
	slices.SortStableFunc(adds, func(a, b int) int { return falseFirst(!decisions[a].Required, !decisions[b].Required) })
	take := s.Room.Left(decisions)
	for _, i := range adds {
		d := &decisions[i]
		if take(d.After, d.Required) {
			continue
		}
		decisions[i] = d.noRoom()
	}
	return decisions, nil
}

// noRoom is the decision without its addition. An entry that would only move to
// another list stays where it is.
func (d *Decision) noRoom() Decision {
	full := *d
	w := want{Entry: d.After, claims: d.Claims}
	full.Op, full.NoRoom, full.Drops = Keep, true, nil
	full.After, full.At, full.Claims = awsauth.Entry{}, nil, nil
	moves := 0
	for _, drop := range d.Drops {
		if drop.Kind != d.After.Kind && drop.Reason != "doubled" {
			full.After, full.At, full.Claims = drop.Entry, drop.Standing, w.claims
			moves++
			continue
		}
		full.Drops = append(full.Drops, drop)
	}
	if moves == 0 {
		full.wait(&w)
	}
	full.Wanted = d.After
	return full
}
