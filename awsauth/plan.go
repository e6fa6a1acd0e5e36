package awsauth

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// A Source is one origin of entries. Its name is what the ledger remembers, so
// it must stay the same over restarts.
type Source struct {
	Name    string
	Entries []Entry
	// Failed says that the source could not be asked, or not wholly. Entries
	// is then ignored: what the ledger has of this source stays.
	Failed bool
}

// A Request is everything a plan depends on, beside the document and the ledger.
type Request struct {
	// Sources in the order of how explicit they are: of several usernames for
	// one ARN, the first source's wins.
	Sources []Source
	// Required are ARNs that must be mapped after every write: the roles of
	// live nodes. They find room up to [Limit].
	Required []string
	// Adopt lists the syncedBy marks of other tools whose entries become ours.
	Adopt []string
	// AdoptConflicts makes a foreign entry ours where it grants less than ours.
	AdoptConflicts bool
	// Config is the hash of the config that the sources come from.
	Config string
	// Other is the size in bytes of what else the API server counts against
	// [Limit]: the ConfigMap's binaryData.
	Other int
	// Now is written into the ledger for new entries.
	Now time.Time
}

// Op is what a change does to an entry.
type Op string

// The operations.
const (
	Add      Op = "add"
	Update   Op = "update"   // an entry of ours that differs from what is asked
	Remove   Op = "remove"   // no source asks for it any more
	Withdraw Op = "withdraw" // a foreign entry has its ARN
	Adopt    Op = "adopt"    // a foreign entry becomes ours
)

// A Change is what a plan does to one entry.
type Change struct {
	Op      Op       `json:"op"`
	Entry   Entry    `json:"entry"`             // after the change; for a removal, what goes
	Before  *Entry   `json:"before,omitempty"`  // of an update or adoption
	Sources []string `json:"sources,omitempty"` // that ask for it, or of a removal did
	Reason  string   `json:"reason,omitempty"`
}

// A Conflict is a foreign entry that has an ARN of ours and grants less, or
// under another username.
type Conflict struct {
	Foreign Entry    `json:"foreign"`
	Ours    Entry    `json:"ours"` // as the sources ask
	Sources []string `json:"sources"`
}

// A Plan is what a write would do. It has been read back by the authenticator's
// rules: carried out on the very document it was made for, it maps what it says.
type Plan struct {
	Changes   []Change
	Conflicts []Conflict
	Refused   []Entry // new entries for which aws-auth has no room
	Ours      []Owned // the entries of ours in After
	Foreign   int     // entries of others, all of which stay
	Before    *Document
	After     *Document
	Ahead     *Ledger // to be written before the document; nil if the ledger need not change
	Settled   *Ledger // to be written after the document; nil if the ledger need not change
	Size      int     // of After in bytes, counted against Limit
}

// Writes reports whether the plan changes the document.
func (p *Plan) Writes() bool { return len(p.Changes) > 0 }

const refuseAt = Limit / 100 * 95 // bytes; above it new entries are refused

// MakePlan merges what the sources ask into the document. It fails where the
// document cannot be edited, or where the result would not map what it should;
// then nothing may be written.
func MakePlan(doc *Document, ledger *Ledger, req Request) (*Plan, error) {
	m := newMerge(doc, ledger, req)
	for _, k := range m.order {
		m.decide(m.identities[k])
	}
	plan, err := m.plan()
	if err != nil {
		return nil, err
	}
	if err := m.check(plan); err != nil {
		return nil, err
	}
	return plan, nil
}

// identity is everything known of one ARN.
type identity struct {
	want     *want
	owned    []Owned // in the ledger
	standing []place // in the document and in force, in the authenticator's order: the last one answers
}

// place is an element of the document.
type place struct {
	*mapping
	index int // in its list
	ours  bool
}

// want is what all sources together ask for an ARN.
type want struct {
	Entry
	claims []Claim
}

type merge struct {
	doc        *Document
	ledger     *Ledger
	req        Request
	anyFailed  bool
	order      []string // keys of identities: wanted ones in the sources' order, then the document's, then the ledger's
	identities map[string]*identity
	edits      map[Kind]*edit
	changes    []Change
	conflicts  []Conflict
	adds       []*identity
	stays      []Owned // entries of ours after the write
}

func newMerge(doc *Document, ledger *Ledger, req Request) *merge {
	n := len(doc.roles) + len(doc.users) + len(doc.accounts)
	m := &merge{doc: doc, ledger: ledger, req: req,
		order:      make([]string, 0, n),
		identities: make(map[string]*identity, n),
		edits:      map[Kind]*edit{Role: {}, User: {}, Account: {}},
	}
	for _, s := range req.Sources {
		if !s.Failed {
			for _, e := range s.Entries {
				m.claim(e, s.Name)
			}
			continue
		}
		m.anyFailed = true
		for i := range ledger.Owned {
			for _, c := range ledger.Owned[i].Claims {
				if c.Source == s.Name {
					m.claim(Entry{ledger.Owned[i].Kind, ledger.Owned[i].ARN, c.Username, c.Groups}, s.Name)
				}
			}
		}
	}
	// Users before roles: of a user and a role entry with one ARN the role answers.
	for _, kind := range []Kind{User, Role, Account} {
		list := doc.list(kind)
		for i := range list {
			if list[i].inForce() {
				id := m.identity(list[i].ARN)
				id.standing = append(id.standing, place{mapping: &list[i], index: i})
			}
		}
	}
	for _, o := range ledger.Owned {
		id := m.identity(o.ARN)
		id.owned = append(id.owned, o)
	}
	return m
}

func (m *merge) identity(arn string) *identity {
	k := key(arn)
	id := m.identities[k]
	if id == nil {
		id = &identity{}
		m.identities[k] = id
		m.order = append(m.order, k)
	}
	return id
}

// claim adds what a source asks for an ARN to what the others do.
func (m *merge) claim(e Entry, source string) {
	id := m.identity(e.ARN)
	if id.want == nil {
		id.want = &want{Entry: Entry{Kind: e.Kind, ARN: e.ARN, Username: e.Username}}
	}
	w := id.want
	if w.Username == "" {
		w.Username = e.Username
	}
	w.Groups = union(w.Groups, e.Groups)
	for i := range w.claims {
		if c := &w.claims[i]; c.Source == source {
			c.Groups = union(c.Groups, e.Groups)
			return
		}
	}
	w.claims = append(w.claims, Claim{source, e.Username, groupSet(e.Groups)})
}

// union is the sorted set of the groups of both.
func union(a, b []string) []string {
	if len(a) == 0 {
		return groupSet(b)
	}
	if includes(a, b) {
		return a
	}
	return groupSet(slices.Concat(a, b))
}

// decide says what becomes of one ARN.
func (m *merge) decide(id *identity) {
	m.claimOwnership(id)
	var ours, foreign []place
	for _, p := range id.standing {
		if p.ours {
			ours = append(ours, p)
		} else {
			foreign = append(foreign, p)
		}
	}
	switch {
	case id.want == nil:
		m.unwanted(id, ours)
	case len(foreign) > 0:
		m.contested(id, ours, foreign)
	case len(ours) > 0:
		m.keepOne(id, ours)
	default:
		m.adds = append(m.adds, id)
	}
}

// claimOwnership tells ours from foreign: ours carries our mark, or one of a
// tool that we adopt from, or has lost its mark and stands otherwise as the
// ledger has it. An entry that was only about to be written proves nothing: an
// unmarked one with its ARN came from somebody else.
func (m *merge) claimOwnership(id *identity) {
	marked := false
	for i := range id.standing {
		p := &id.standing[i]
		if p.Kind != Account && (p.mark == Mark || p.mark != "" && slices.Contains(m.req.Adopt, p.mark)) {
			p.ours, marked = true, true
		}
	}
	if marked {
		return
	}
	for i := range id.standing {
		p := &id.standing[i]
		for _, o := range id.owned {
			if !o.Pending && o.Kind == p.Kind && p.mark == "" && sameGrant(o.Entry, p.Entry) {
				p.ours = true
				return
			}
		}
	}
}

// unwanted removes entries of ours for which nobody asks. While a source has
// failed, one of which no source is known stays: it may be that source's.
func (m *merge) unwanted(id *identity, ours []place) {
	if len(ours) == 0 {
		return
	}
	var claims []Claim
	for _, o := range id.owned {
		claims = append(claims, o.Claims...)
	}
	if len(claims) == 0 && m.anyFailed {
		last := ours[len(ours)-1]
		m.stays = append(m.stays, Owned{Entry: last.Entry, Since: m.since(id)})
		return
	}
	for _, p := range ours {
		m.remove(p, Remove, sourcesOf(claims), "no source asks for it any more")
	}
}

// contested handles an ARN that a foreign entry has too.
func (m *merge) contested(id *identity, ours, foreign []place) {
	w := id.want
	answer := foreign[len(foreign)-1]
	if w.Kind == Account || answer.Username == w.Username && includes(answer.Groups, w.Groups) {
		for _, p := range ours {
			m.remove(p, Withdraw, sourcesOf(w.claims), "a foreign entry grants the same")
		}
		return
	}
	if m.req.AdoptConflicts && len(foreign) == 1 && answer.Kind == w.Kind && includes(w.Groups, answer.Groups) {
		m.replace(id, answer, Adopt, "a foreign entry granted less")
		for _, p := range ours {
			m.remove(p, Withdraw, sourcesOf(w.claims), "doubled")
		}
		return
	}
	m.conflicts = append(m.conflicts, Conflict{Foreign: answer.Entry, Ours: w.Entry, Sources: sourcesOf(w.claims)})
	if len(ours) > 0 && id.standing[len(id.standing)-1].ours {
		// Ours answers now: taking it away would take rights away.
		m.keepOne(id, ours)
		return
	}
	for _, p := range ours {
		m.remove(p, Withdraw, sourcesOf(w.claims), "a foreign entry answers for it")
	}
}

// keepOne brings the last of our entries in line and removes the others.
func (m *merge) keepOne(id *identity, ours []place) {
	last := ours[len(ours)-1]
	for _, p := range ours[:len(ours)-1] {
		m.remove(p, Withdraw, sourcesOf(id.want.claims), "doubled")
	}
	if last.Kind != id.want.Kind {
		m.remove(last, Withdraw, sourcesOf(id.want.claims), "it stands under "+last.Kind.Key())
		m.adds = append(m.adds, id)
		return
	}
	if sameGrant(last.Entry, id.want.Entry) && (last.mark == Mark || last.Kind == Account) {
		m.stays = append(m.stays, Owned{Entry: last.Entry, Claims: id.want.claims, Since: m.since(id)})
		return
	}
	m.replace(id, last, Update, difference(last, id.want))
}

func difference(have place, w *want) string {
	var what []string
	if have.Username != w.Username {
		what = append(what, "username")
	}
	if !slices.Equal(groupSet(have.Groups), w.Groups) {
		what = append(what, "groups")
	}
	if have.mark != Mark {
		what = append(what, "mark")
	}
	return strings.Join(what, ", ")
}

func (m *merge) replace(id *identity, p place, op Op, reason string) {
	after := id.want.Entry
	after.ARN = p.ARN
	before := p.Entry
	e := m.edits[p.Kind]
	if e.replace == nil {
		e.replace = map[int]Entry{}
	}
	e.replace[p.index] = after
	m.changes = append(m.changes, Change{Op: op, Entry: after, Before: &before, Sources: sourcesOf(id.want.claims), Reason: reason})
	m.stays = append(m.stays, Owned{Entry: after, Claims: id.want.claims, Since: m.since(id)})
}

func (m *merge) remove(p place, op Op, sources []string, reason string) {
	e := m.edits[p.Kind]
	if e.remove == nil {
		e.remove = map[int]bool{}
	}
	e.remove[p.index] = true
	m.changes = append(m.changes, Change{Op: op, Entry: p.Entry, Sources: sources, Reason: reason})
}

// since is when an entry of ours was planned first.
func (m *merge) since(id *identity) time.Time {
	for _, o := range id.owned {
		if !o.Since.IsZero() {
			return o.Since
		}
	}
	return m.req.Now.UTC().Truncate(time.Second)
}

func sourcesOf(claims []Claim) []string {
	var names []string
	for _, c := range claims {
		if !slices.Contains(names, c.Source) {
			names = append(names, c.Source)
		}
	}
	return names
}

// plan puts the decisions together and carries them out on the document.
func (m *merge) plan() (*Plan, error) {
	required := make(map[string]bool, len(m.req.Required))
	for _, arn := range m.req.Required {
		required[key(arn)] = true
	}
	// The roles of live nodes find room first.
	slices.SortStableFunc(m.adds, func(a, b *identity) int {
		return boolOrder(!required[key(a.want.ARN)], !required[key(b.want.ARN)])
	})
	p := &Plan{Before: m.doc, Conflicts: m.conflicts}
	room, err := m.room()
	if err != nil {
		return nil, err
	}
	for _, id := range m.adds {
		w := id.want
		size := entrySize(&w.Entry)
		floor := Limit - refuseAt // kept free from all but the roles of live nodes
		if required[key(w.ARN)] {
			floor = 0
		}
		if room-size < floor {
			p.Refused = append(p.Refused, w.Entry)
			continue
		}
		room -= size
		e := m.edits[w.Kind]
		e.add = append(e.add, w.Entry)
		m.changes = append(m.changes, Change{Op: Add, Entry: w.Entry, Sources: sourcesOf(w.claims)})
		m.stays = append(m.stays, Owned{Entry: w.Entry, Claims: w.claims, Since: m.since(id)})
	}
	for _, e := range m.edits {
		slices.SortStableFunc(e.add, func(a, b Entry) int { return cmp.Compare(key(a.ARN), key(b.ARN)) })
	}
	slices.SortStableFunc(m.changes, func(a, b Change) int {
		return cmp.Or(cmp.Compare(a.Entry.Kind, b.Entry.Kind), cmp.Compare(key(a.Entry.ARN), key(b.Entry.ARN)))
	})
	p.Changes = m.changes
	if p.After, err = m.doc.edit(m.edits); err != nil {
		return nil, err
	}
	p.Size = p.After.Size() + m.req.Other
	if p.Size > Limit {
		return nil, fmt.Errorf("nothing is written: aws-auth would have %d bytes, more than the %d that the API server takes: remove entries that nobody needs", p.Size, Limit)
	}
	settled := &Ledger{Config: m.req.Config, Owned: m.stays}
	settled.sort()
	p.Ours = settled.Owned
	p.Foreign = len(p.After.roles) + len(p.After.users) + len(p.After.accounts) - len(p.Ours)
	m.ledgers(p, settled)
	return p, nil
}

// room is how many bytes aws-auth has left for new entries after all other edits.
func (m *merge) room() (int, error) {
	size := m.doc.Size() + m.req.Other
	total := size
	for _, id := range m.adds {
		total += entrySize(&id.want.Entry)
	}
	if total <= refuseAt {
		return Limit - size, nil
	}
	after, err := m.doc.edit(m.edits)
	if err != nil {
		return 0, err
	}
	return Limit - after.Size() - m.req.Other, nil
}

// entrySize is at least the bytes that a new entry takes.
func entrySize(e *Entry) int {
	n := 96 + len(e.ARN) + len(e.Username)
	for _, g := range e.Groups {
		n += 8 + len(g)
	}
	return n
}

// ledgers works out what the ledger must hold before and after the write.
func (m *merge) ledgers(p *Plan, settled *Ledger) {
	current := m.ledger
	if !p.Writes() {
		if !current.Equal(settled) {
			p.Settled = settled
		}
		return
	}
	ahead := &Ledger{Config: current.Config}
	changed := map[string]bool{}
	for _, c := range p.Changes {
		switch c.Op {
		case Add, Update, Adopt:
			changed[key(c.Entry.ARN)] = true
		}
	}
	known := make(map[string]bool, len(current.Owned))
	for _, o := range current.Owned {
		k := key(o.ARN)
		known[k] = true
		// Of an entry that changes, both the old and the new one are ours
		// until the write is known to have been done.
		if !o.Pending || !changed[k] {
			ahead.Owned = append(ahead.Owned, o)
		}
	}
	for _, o := range settled.Owned {
		switch k := key(o.ARN); {
		case changed[k]:
			o.Pending = true
			ahead.Owned = append(ahead.Owned, o)
		case !known[k]:
			ahead.Owned = append(ahead.Owned, o)
		}
	}
	ahead.sort()
	if !current.Equal(ahead) {
		p.Ahead = ahead
	}
	if !ahead.Equal(settled) {
		p.Settled = settled
	}
}
