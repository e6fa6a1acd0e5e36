package plan

import (
	"cmp"
	"slices"
	"time"

	"github.com/rolecall/rolecall/awsauth"
)

// A State is what is remembered of a register: which entries are managed, who
// asked for them, what waits for approval and what was lost lately. The register
// writes it before it writes itself and after, so that at any moment it holds
// every managed entry.
type State struct {
	Config   string           // hash of the config that was applied last, or is about to be
	Owned    []Owned          // by kind and ARN
	Removals []PendingRemoval // that wait for approval
	Lost     []Loss           // of access, without approval; those of the last hour count
	Adopt    []string         // marks of other tools whose entries the config adopts
}

// Owned is a managed entry, whole.
type Owned struct {
	awsauth.Entry
	Claims  []Claim   `json:"claims,omitempty"`  // who asks for it, the most explicit first
	Since   time.Time `json:"since"`             // when it was planned first
	Pending bool      `json:"pending,omitempty"` // about to be written, or waiting for an unmanaged entry to go: not known to stand in the register
	Waiting bool      `json:"waiting,omitempty"` // the latter
}

// A Claim is what one source asks for a principal.
type Claim struct {
	Source   string   `json:"source"`
	Username string   `json:"username,omitempty"`
	Groups   []string `json:"groups,omitempty"`
}

// A Loss is how many principals lost access by one write, without approval.
type Loss struct {
	At    time.Time      `json:"at"`
	Total int            `json:"total"`
	Kinds map[string]int `json:"kinds"` // by kind of source; a principal of several kinds counts for each
	// Stay and StayKinds are those of them that are managed still: they have lost
	// groups or their username.
	Stay      int            `json:"stay,omitempty"`
	StayKinds map[string]int `json:"stayKinds,omitempty"`
}

// Equal reports whether two states say the same.
func (s *State) Equal(t *State) bool {
	return s.Config == t.Config && slices.Equal(s.Adopt, t.Adopt) &&
		slices.EqualFunc(s.Removals, t.Removals, func(a, b PendingRemoval) bool { return a.ID == b.ID && a.Of == b.Of && a.Since.Equal(b.Since) }) &&
		slices.EqualFunc(s.Lost, t.Lost, func(a, b Loss) bool { return a.At.Equal(b.At) && a.Total == b.Total }) &&
		slices.EqualFunc(s.Owned, t.Owned, func(a, b Owned) bool {
			return a.Kind == b.Kind && a.ARN == b.ARN && a.SameAccess(b.Entry) && a.Pending == b.Pending && a.Waiting == b.Waiting && a.Since.Equal(b.Since) &&
				slices.EqualFunc(a.Claims, b.Claims, func(c, d Claim) bool {
					return c.Source == d.Source && c.Username == d.Username && slices.Equal(c.Groups, d.Groups)
				})
		})
}

// Sort orders the entries so that the same set is the same state.
func (s *State) Sort() {
	for i := 1; i < len(s.Owned); i++ {
		if s.Owned[i-1].compare(&s.Owned[i]) > 0 {
			slices.SortStableFunc(s.Owned, func(a, b Owned) int { return a.compare(&b) })
			return
		}
	}
}

func (o *Owned) compare(p *Owned) int {
	return cmp.Or(cmp.Compare(o.Kind, p.Kind), cmp.Compare(o.Principal(), p.Principal()), falseFirst(o.Pending, p.Pending))
}

func falseFirst(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// Sources are the names of those who ask for the entry, each once.
func (o *Owned) Sources() []string { return SourcesOf(o.Claims) }

// SourcesOf are the names of those who claim, each once.
func SourcesOf(claims []Claim) []string {
	var names []string
	for _, c := range claims {
		if c.Source != UnknownSource && !slices.Contains(names, c.Source) {
			names = append(names, c.Source)
		}
	}
	return names
}

// Settle is the state after the decisions were carried out. Owned holds first
// what is managed then ([Managed]), and beside it what waits.
func Settle(s *Snapshot, decisions []Decision, removals []PendingRemoval) *State {
	return SettleManaged(s, decisions, Managed(decisions), removals)
}

// SettleManaged is [Settle] for who has the managed entries already; it keeps them.
func SettleManaged(s *Snapshot, decisions []Decision, managed []Owned, removals []PendingRemoval) *State {
	settled := &State{Config: s.Config, Owned: slices.Clip(managed), Removals: removals, Adopt: s.Adopt}
	if s.KeepConfig {
		settled.Config, settled.Adopt = s.State.Config, s.State.Adopt
	}
	for i := range decisions {
		settled.Owned = append(settled.Owned, decisions[i].keeps...)
	}
	settled.Lost = losses(s, decisions)
	if len(settled.Owned) > len(managed) {
		settled.Sort()
	}
	return settled
}

// Managed are the managed entries after the decisions were carried out.
func Managed(decisions []Decision) []Owned {
	n := 0
	for i := range decisions {
		if decisions[i].stays() {
			n++
		}
	}
	if n == 0 {
		return nil
	}
	out := make([]Owned, 0, n)
	for i := range decisions {
		d := &decisions[i]
		if d.stays() {
			out = append(out, Owned{Entry: d.After, Claims: d.Claims, Since: d.Since})
		}
	}
	ordered := State{Owned: out}
	ordered.Sort()
	return ordered.Owned
}

// lateFor is how long after it was planned a write may still arrive. An API
// server gives up on a request after a minute, and nobody takes a minute more to
// plan one and send it.
const lateFor = 5 * time.Minute

// underWay are accounts that were about to be written when their leader lost
// sight of the write, or died, and that no source asks for any more. The request
// may be under way still. Other entries would tell by their mark that they are
// managed; of an account only the state can, and forgets it when this time is
// over.
func (s *Snapshot) underWay(p *principal) []Owned {
	if p.want != nil || len(p.standing) > 0 {
		return nil
	}
	var out []Owned
	for _, o := range p.owned {
		if o.Kind == awsauth.Account && o.Pending && s.Now.Sub(o.Since).Abs() < lateFor {
			o.Claims = nil // a source that fails later must not ask for it by this
			out = append(out, o)
		}
	}
	return out
}

// Ahead works out which state must be written before the register is, and which
// after, where the changes take the state to settled. Nil: the state need not
// be written.
func Ahead(s *Snapshot, changes []Change, settled *State) (before, after *State) {
	current := s.State
	if len(changes) == 0 {
		if !current.Equal(settled) {
			after = settled
		}
		return nil, after
	}
	ahead := &State{Config: settled.Config, Removals: current.Removals, Lost: current.Lost, Adopt: settled.Adopt}
	proven := s.proven()
	known := make(map[string]*Owned, len(proven))
	for i := range proven {
		known[proven[i].Principal()] = &proven[i]
	}
	changed := map[string]bool{}
	for i := range changes {
		c := &changes[i]
		k := c.Entry.Principal()
		switch c.Op {
		case Add:
			changed[k] = changed[k] || !known[k].comesBack(c.Entry)
		case Update, Adopt:
			changed[k] = true
		}
	}
	for _, o := range proven {
		// Of an entry that changes, both the old and the new one are managed until
		// the write is known to have been done.
		if !o.Pending || !changed[o.Principal()] {
			ahead.Owned = append(ahead.Owned, o)
		}
	}
	for _, o := range settled.Owned {
		k := o.Principal()
		if was := known[k]; changed[k] || was == nil || was.Kind != o.Kind || !was.SameAccess(o.Entry) {
			o.Pending = o.Pending || changed[k]
			ahead.Owned = append(ahead.Owned, o)
		}
	}
	ahead.Sort()
	if !current.Equal(ahead) {
		before = ahead
	}
	if !ahead.Equal(settled) {
		after = settled
	}
	return before, after
}

// proven is what the state has, of which nothing is pending any more if the write
// is known to have been done. The state that is written ahead has another ID than
// the one that the register was signed with: what that proves must be in it, or it
// is lost if the write behind it is.
func (s *Snapshot) proven() []Owned {
	if !s.Confirmed {
		return s.State.Owned
	}
	written := map[string]bool{}
	for i := range s.State.Owned {
		o := &s.State.Owned[i]
		written[o.Principal()] = written[o.Principal()] || o.Pending && !o.Waiting
	}
	var out []Owned
	for _, o := range s.State.Owned {
		if !o.Pending && written[o.Principal()] {
			continue // the other one has taken its place
		}
		o.Pending = o.Pending && o.Waiting
		out = append(out, o)
	}
	return out
}

// comesBack reports whether the state has an entry already just as it is to be
// added: somebody took it from the register, and it need not be recorded again
// before it is put back. An account does: where the write is lost sight of, only
// that it is pending tells that it may still come ([Snapshot.underWay]).
func (o *Owned) comesBack(e awsauth.Entry) bool {
	return o != nil && !o.Pending && o.Kind == e.Kind && e.Kind != awsauth.Account && o.ARN == e.ARN && o.SameAccess(e)
}
