package plan

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rolecall/rolecall/awsauth"
)

// Op is what is done to an entry.
type Op string

// The operations.
const (
	Keep     Op = "keep"
	Add      Op = "add"
	Update   Op = "update"   // a managed entry that differs from what is asked
	Remove   Op = "remove"   // no source asks for it any more
	Withdraw Op = "withdraw" // another entry answers for its principal
	Adopt    Op = "adopt"    // an unmanaged entry becomes managed
)

// A Decision is what becomes of one principal in one register.
type Decision struct {
	Op        Op
	Principal string
	// After is the managed entry after the write; of Remove and Withdraw none.
	After awsauth.Entry
	// At is the entry that is kept, updated or adopted; nil where none is.
	At *Standing
	// Drops are the managed entries that go. Those of an Add go only with it: the
	// entry moves to another list.
	Drops []Drop
	// Claims is who asks for After.
	Claims []Claim
	Since  time.Time // when After was planned first
	Reason string
	// Required says that the principal is the role of a live node.
	Required bool
	// Conflict is an unmanaged entry that stands in the way and is kept.
	Conflict *Conflict
	// Refused is what sources of nodes ask for a principal that is people's.
	Refused []Claim
	// NoRoom says that Wanted was to be added and the register is full.
	NoRoom bool
	// Wanted is the entry that was to be added and is not.
	Wanted awsauth.Entry
	// Left says why the decision was left out, and LeftOp what it was; empty if it
	// was not.
	Left   string
	LeftOp Op

	facts *principal
	x     *index
	keeps []Owned // that stay in the state beside After
	// approved says that a person approved the loss of access.
	approved bool
}

// NotAsked is the reason of a removal.
const NotAsked = "no source asks for it any more"

// ARN is the principal's as somebody writes it.
func (d *Decision) ARN() string {
	switch p := d.facts; {
	case len(p.standing) > 0:
		return p.standing[len(p.standing)-1].ARN
	case p.want != nil:
		return p.want.ARN
	case len(p.owned) > 0:
		return p.owned[0].ARN
	}
	return d.Principal
}

// A Drop is a managed entry that goes.
type Drop struct {
	*Standing
	Op      Op // Remove or Withdraw
	Sources []string
	Reason  string
}

// A Change is what a write does to one entry.
type Change struct {
	Op      Op             `json:"op"`
	Entry   awsauth.Entry  `json:"entry"`             // after the change; for a removal, what goes
	Before  *awsauth.Entry `json:"before,omitempty"`  // of an update or adoption
	Sources []string       `json:"sources,omitempty"` // that ask for it, or of a removal did
	Reason  string         `json:"reason,omitempty"`
}

// Count counts changes by what people see of them.
func Count(changes []Change) (added, changed, removed int) {
	for i := range changes {
		switch changes[i].Op {
		case Add:
			added++
		case Update, Adopt:
			changed++
		case Remove, Withdraw:
			removed++
		}
	}
	return added, changed, removed
}

// Summary counts changes and names the sources that ask for them, in one line.
func Summary(changes []Change) string {
	added, changed, removed := Count(changes)
	var sources []string
	for i := range changes {
		sources = append(sources, changes[i].Sources...)
	}
	slices.Sort(sources)
	sources = slices.Compact(sources)
	entries := "entries"
	if added == 1 {
		entries = "entry"
	}
	text := fmt.Sprintf("%d %s added, %d changed, %d removed", added, entries, changed, removed)
	if len(sources) > 0 {
		text += ", of " + strings.Join(sources, ", ")
	}
	return text
}

// A Conflict is an unmanaged entry that has a principal of ours and grants less,
// or another username.
type Conflict struct {
	Foreign awsauth.Entry `json:"foreign"`
	Ours    awsauth.Entry `json:"ours"` // as the sources ask
	Sources []string      `json:"sources"`
}

// Advice says what to do about the conflict, from the entries themselves, in one
// clause. An entry that names nodes is not to be removed: under the username that
// would come in its place nodes that are named otherwise are locked out.
func (c *Conflict) Advice() string {
	if c.Foreign.Username == c.Ours.Username && awsauth.IsNodeUsername(c.Foreign.Username) {
		var lacks []string
		for _, g := range c.Ours.Groups {
			if !slices.Contains(c.Foreign.Groups, g) {
				lacks = append(lacks, g)
			}
		}
		return "add to it " + strings.Join(lacks, ", ") + ", and leave its username, by which its nodes are named (safety.onConflict: " +
			"adopt does so " +
			"where it has no group that the config lacks)"
	}
	if awsauth.IsNodeUsername(c.Ours.Username) && namesOneNode(c.Foreign.Username) {
		return fmt.Sprintf("give it the username %s, or system:node:{{SessionName}} where nodes are named by instance ID: it lets in "+
			"one node alone", c.Ours.Username)
	}
	return "remove it or change it (safety.onConflict: adopt takes it over where it has no group that the config lacks)"
}

// Changes lists what the decision does to entries.
func (d *Decision) Changes() []Change {
	var out []Change
	for _, drop := range d.Drops {
		out = append(out, Change{Op: drop.Op, Entry: drop.Entry, Sources: drop.Sources, Reason: drop.Reason})
	}
	switch d.Op {
	case Add:
		out = append(out, Change{Op: Add, Entry: d.After, Sources: SourcesOf(d.Claims)})
	case Update, Adopt:
		out = append(out, Change{Op: d.Op, Entry: d.After, Before: &d.At.Entry, Sources: SourcesOf(d.Claims), Reason: d.Reason})
	}
	return out
}

// Writes reports whether the decision changes the register.
func (d *Decision) Writes() bool {
	return len(d.Drops) > 0 || d.Op == Add || d.Op == Update || d.Op == Adopt
}

// TakesAway reports whether the decision changes or removes an entry that stands.
func (d *Decision) TakesAway() bool { return len(d.Drops) > 0 || d.Op == Update || d.Op == Adopt }

// stays reports whether a managed entry stands after the write.
func (d *Decision) stays() bool { return d.After.Kind != "" }

// Decide makes a decision for each principal that is wanted, or managed, or
// remembered. Principals of which unmanaged entries stand and nothing else is
// known have none.
func Decide(s *Snapshot) []Decision {
	x := newIndex(s)
	out := make([]Decision, 0, len(x.order))
	for _, p := range x.order {
		if p.want != nil || len(p.owned) > 0 || len(p.managed()) > 0 || len(p.refused) > 0 {
			out = append(out, x.decide(p, p.want, false))
		}
	}
	return out
}

// decide says what becomes of a principal for which w is asked. With adopt, an
// unmanaged entry that grants less becomes managed where that takes no group.
func (x *index) decide(p *principal, w *want, adopt bool) Decision {
	d := Decision{Op: Keep, Principal: p.key, Since: x.since(p), Required: x.required[p.key], Refused: p.refused, facts: p, x: x}
	d.keeps = x.remembered(p)
	managed := p.managed()
	if w != nil {
		w = x.namedAsBefore(w, p)
	}
	switch unmanaged := p.unmanaged(); {
	case w != nil && x.snapshot.Unreadable[w.Kind]:
		d.leave(w.Kind.Key() + " cannot be read")
	case w == nil:
		d.unwanted(managed)
	case len(unmanaged) > 0:
		d.contested(w, managed, unmanaged, adopt)
	case len(managed) > 0:
		d.keepOne(w, managed)
	default:
		d.Op, d.After, d.Claims = Add, w.Entry, w.claims
	}
	return d
}

// remembered is what the state keeps of a principal whatever is decided: writes
// that may be under way, and what stands in a list that cannot be read.
func (x *index) remembered(p *principal) []Owned {
	keeps := x.snapshot.underWay(p)
	for _, o := range p.owned {
		if x.snapshot.Unreadable[o.Kind] {
			keeps = append(keeps, o)
		}
	}
	return keeps
}

// since is when the managed entry of a principal was planned first.
func (x *index) since(p *principal) time.Time {
	for i := range p.owned {
		if !p.owned[i].Since.IsZero() {
			return p.owned[i].Since
		}
	}
	return x.snapshot.Now.UTC().Truncate(time.Second)
}

// unwanted removes managed entries for which no source asks.
func (d *Decision) unwanted(managed []standing) {
	for _, s := range managed {
		d.Op = Remove
		d.drop(s, Remove, SourcesOf(d.facts.claims()), NotAsked)
	}
}

// contested decides on a principal that has an unmanaged entry too.
func (d *Decision) contested(w *want, managed, unmanaged []standing, adopt bool) {
	sources := SourcesOf(w.claims)
	answer := unmanaged[len(unmanaged)-1]
	nodes := d.x.ofNodes(w.claims)
	w = d.x.namedAs(w, &answer.Entry)
	if w.Kind == awsauth.Account || answer.Username == w.Username && includes(answer.Groups, w.Groups) {
		d.withdraw(managed, sources, "an unmanaged entry grants the same")
		d.wait(w)
		return
	}
	people := nodes && !describesNodes(answer.Username, answer.Groups)
	if adopt && !people && !(nodes && namesOneNode(answer.Username)) && len(unmanaged) == 1 && answer.Kind == w.Kind && includes(w.Groups, answer.Groups) {
		d.replace(w, answer, Adopt, "an unmanaged entry granted less")
		for _, s := range managed {
			d.drop(s, Withdraw, sources, "doubled")
		}
		return
	}
	d.Conflict = &Conflict{Foreign: answer.Entry, Ours: w.Entry, Sources: sources}
	if people {
		d.Conflict, d.Refused = nil, append(slices.Clone(d.Refused), w.claims...)
	}
	if len(managed) > 0 && d.facts.standing[len(d.facts.standing)-1].managed {
		// The managed entry answers now: taking it away would take access away.
		if people {
			last := managed[len(managed)-1]
			d.After, d.At, d.Claims = last.Entry, last.Standing, w.claims
			return
		}
		d.keepOne(w, managed)
		return
	}
	d.withdraw(managed, sources, "an unmanaged entry answers for it")
	d.wait(w)
}

func (d *Decision) withdraw(managed []standing, sources []string, reason string) {
	for _, s := range managed {
		d.Op = Withdraw
		d.drop(s, Withdraw, sources, reason)
	}
}

// wait keeps in the state what failed sources asked, so that the managed entry
// comes back if what stands in its way goes while they still fail. It is pending:
// it proves no entry managed.
func (d *Decision) wait(w *want) {
	var claims []Claim
	for _, c := range w.claims {
		if d.x.failed[c.Source] {
			claims = append(claims, c)
		}
	}
	if len(claims) > 0 && w.Kind != awsauth.Account {
		d.keeps = append(d.keeps, Owned{Entry: w.Entry, Claims: claims, Since: d.Since, Pending: true, Waiting: true})
	}
}

// keepOne brings the last of the managed entries in line and removes the others.
func (d *Decision) keepOne(w *want, managed []standing) {
	last := managed[len(managed)-1]
	for _, s := range managed[:len(managed)-1] {
		d.drop(s, Withdraw, SourcesOf(w.claims), "doubled")
	}
	w = d.x.namedAs(w, &last.Entry)
	if last.Kind != w.Kind {
		d.Op, d.After, d.Claims = Add, w.Entry, w.claims
		d.drop(last, Withdraw, SourcesOf(w.claims), "it stands under "+last.Kind.Key())
		return
	}
	if last.SameAccess(w.Entry) && (last.Mark == awsauth.Mark || last.Kind == awsauth.Account) {
		d.After, d.At, d.Claims = last.Entry, last.Standing, w.claims
		return
	}
	d.replace(w, last, Update, difference(last, w))
}

func difference(have standing, w *want) string {
	var what []string
	if have.Username != w.Username {
		what = append(what, "username")
	}
	if !slices.Equal(awsauth.GroupSet(have.Groups), w.Groups) {
		what = append(what, "groups")
	}
	if have.Mark != awsauth.Mark {
		what = append(what, "mark")
	}
	return strings.Join(what, ", ")
}

func (d *Decision) replace(w *want, s standing, op Op, reason string) {
	d.Op, d.After, d.At, d.Claims, d.Reason = op, w.Entry, s.Standing, w.claims, reason
	d.After.ARN = s.ARN
}

func (d *Decision) drop(s standing, op Op, sources []string, reason string) {
	d.Drops = append(d.Drops, Drop{s.Standing, op, sources, reason})
}

// target is the entry that the decision is about: as it would stand, or as it
// stands where it goes.
func (d *Decision) target() awsauth.Entry {
	switch {
	case d.After.Kind != "":
		return d.After
	case len(d.Drops) > 0:
		return d.Drops[0].Entry
	case d.facts.want != nil:
		return d.facts.want.Entry
	}
	return awsauth.Entry{}
}

// leave has the managed entry stay as it stands, unedited, and what is remembered
// of the principal stay remembered.
func (d *Decision) leave(why string) {
	p := d.facts
	d.Wanted, d.LeftOp = d.target(), d.Op
	if d.Op == Keep && len(p.managed()) == 0 {
		d.LeftOp = Add
	}
	d.Op, d.Drops, d.Left, d.Reason, d.Conflict, d.NoRoom = Keep, nil, why, "", nil, false
	d.After, d.At, d.Claims = awsauth.Entry{}, nil, nil
	d.keeps = d.x.remembered(p)
	managed := p.managed()
	if len(managed) == 0 {
		if p.want != nil && !d.x.snapshot.Unreadable[p.want.Kind] {
			d.wait(p.want)
		}
		return
	}
	last := managed[len(managed)-1]
	d.After, d.At, d.Claims = last.Entry, last.Standing, p.claims()
	if len(d.Claims) == 0 && p.want != nil {
		d.Claims = p.want.claims
	}
	if len(d.Claims) == 0 {
		d.Claims = []Claim{{UnknownSource, last.Username, awsauth.GroupSet(last.Groups)}}
	}
}

// Leave returns the decision with nothing of it done: what stands stays, and why
// says what hindered.
func (d *Decision) Leave(why string) Decision {
	if d.Op == Adopt { // it is a conflict, no more
		if next := d.x.decide(d.facts, d.facts.want, false); !next.Writes() {
			next.Left, next.LeftOp, next.Wanted = why, Adopt, d.target()
			return next
		}
	}
	left := *d
	left.leave(why)
	return left
}

// waiting is the decision for a principal of which a loss waits for approval: it
// keeps what it has, and gets what is new.
func (d *Decision) waiting() Decision {
	next := d.frozen()
	asked := d.facts.want
	if asked == nil || !next.stays() || next.After.Kind != asked.Kind || includes(next.After.Groups, asked.Groups) {
		return next
	}
	both := want{Entry: next.After, claims: next.Claims}
	both.Groups = union(both.Groups, asked.Groups)
	return d.x.decide(d.facts, &both, false)
}

// frozen is the decision for the principal if it is managed as the state has it,
// or as it stands, whatever the sources say, in the name of those who asked for it
// before. Where the state has a change whose write it has not seen end, it has the
// entry twice: the one that stands is right.
func (d *Decision) frozen() Decision {
	p := d.facts
	managed := p.managed()
	var w want
	stands := func(o *Owned) bool {
		return slices.ContainsFunc(managed, func(s standing) bool { return s.Kind == o.Kind && s.SameAccess(o.Entry) })
	}
	for i := range p.owned {
		o := &p.owned[i]
		w.claims = append(w.claims, o.Claims...)
		if !o.Pending && w.ARN == "" || !o.Waiting && stands(o) {
			w.Entry = o.Entry
		}
	}
	if w.ARN == "" {
		if len(managed) == 0 {
			if d.Op == Adopt {
				return d.x.decide(p, p.want, false)
			}
			return *d
		}
		w.Entry = managed[len(managed)-1].Entry
	}
	w.Groups = awsauth.GroupSet(w.Groups)
	if len(w.claims) == 0 {
		w.claims = []Claim{{UnknownSource, w.Username, w.Groups}}
	}
	return d.x.decide(p, &w, false)
}
