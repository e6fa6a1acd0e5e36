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
	// Guard holds removals back that look like an accident; nil for none.
	Guard *Guard
	// AddOnly leaves every entry of ours as it stands, and the ledger's Config
	// too: the sources may be those of a config that is not the newest.
	AddOnly bool
	// Config is the hash of the config that the sources come from.
	Config string
	// Written is the value of aws-auth's [WriteAnnotation].
	Written string
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
	Held      []Hold  // removals that wait for approval; the plan is without them
	Refused   []Entry // new entries for which aws-auth has no room; one that would only move to its own key stays where it is
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

// MakePlan merges what the sources ask into the document. A nil ledger is an
// empty one. It fails where the document cannot be edited, or where the result
// would not map what it should; then nothing may be written.
func MakePlan(doc *Document, ledger *Ledger, req Request) (*Plan, error) {
	if ledger == nil {
		ledger = &Ledger{}
	}
	plan, err := guardedPlan(doc, ledger, req)
	if err != nil && req.AdoptConflicts {
		// A foreign entry that cannot be edited is a conflict, no more.
		req.AdoptConflicts = false
		return guardedPlan(doc, ledger, req)
	}
	return plan, err
}

// guardedPlan plans as the sources ask, and once more without what of it has
// to wait.
func guardedPlan(doc *Document, ledger *Ledger, req Request) (*Plan, error) {
	m := newMerge(doc, ledger, req)
	standing := m.standingHolds()
	m.held = standing
	plan, err := m.run()
	if err != nil {
		return nil, err
	}
	held := m.holds(plan)
	if len(held) == 0 {
		return plan, nil
	}
	m = newMerge(doc, ledger, req)
	m.held = slices.Concat(standing, held)
	return m.run()
}

// run makes the plan and reads its result back.
func (m *merge) run() (*Plan, error) {
	frozen := map[string]bool{}
	for i := range m.held {
		for j := range m.held[i].Changes {
			frozen[m.held[i].Changes[j].Entry.key()] = true
		}
	}
	for _, k := range m.order {
		m.decide(k, m.req.AddOnly || frozen[k])
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
	moves    *place  // ours, of another kind than is asked: it goes when the new one finds room
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
	failed     map[string]bool // sources that could not be asked; unknownSource among them if there is any
	order      []string        // keys of identities: wanted ones in the sources' order, then the document's, then the ledger's
	identities map[string]*identity
	edits      map[Kind]*edit
	changes    []Change
	conflicts  []Conflict
	adds       []*identity
	stays      []Owned // entries of ours after the write
	waits      []Owned // what failed sources asked and foreign entries answer for
	held       []Hold  // what a first run found that has to wait
	done       bool    // what the ledger has pending was written
	tally      tally
}

func newMerge(doc *Document, ledger *Ledger, req Request) *merge {
	n := len(doc.roles) + len(doc.users) + len(doc.accounts)
	m := &merge{
		doc: doc, ledger: ledger, req: req, failed: map[string]bool{},
		order:      make([]string, 0, n),
		identities: make(map[string]*identity, n),
		edits:      map[Kind]*edit{Role: {}, User: {}, Account: {}},
	}
	pending := func(o Owned) bool { return o.Pending && !o.Waiting }
	m.done = req.Written != "" && slices.ContainsFunc(ledger.Owned, pending) && req.Written == ledger.ID()
	for _, s := range req.Sources {
		if s.Failed {
			m.failed[s.Name], m.failed[unknownSource] = true, true
			m.reclaim(s.Name)
			continue
		}
		for _, e := range s.Entries {
			m.claim(e, s.Name)
		}
	}
	if len(m.failed) > 0 {
		m.reclaim(unknownSource)
	}
	// Users before roles: of a user and a role entry with one ARN the role answers.
	for _, kind := range []Kind{User, Role, Account} {
		list := doc.list(kind)
		for i := range list {
			if list[i].inForce() {
				id := m.identity(&list[i].Entry)
				id.standing = append(id.standing, place{mapping: &list[i], index: i})
			}
		}
	}
	for _, o := range ledger.Owned {
		id := m.identity(&o.Entry)
		id.owned = append(id.owned, o)
	}
	return m
}

// unknownSource claims what is ours by its mark alone, without a word of it in
// the ledger, for as long as a source fails: it may be that source's.
const unknownSource = ""

// reclaim repeats what a source asked when it was known last.
func (m *merge) reclaim(source string) {
	for i := range m.ledger.Owned {
		o := &m.ledger.Owned[i]
		for _, c := range o.Claims {
			if c.Source == source {
				m.claim(Entry{o.Kind, o.ARN, c.Username, c.Groups}, source)
			}
		}
	}
}

func (m *merge) identity(e *Entry) *identity {
	k := e.key()
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
	if e.Kind == Account {
		e.Username, e.Groups = "", nil
	}
	id := m.identity(&e)
	if id.want == nil {
		id.want = &want{Entry: Entry{Kind: e.Kind, ARN: e.ARN, Username: e.Username}}
	}
	w := id.want
	w.Username = cmp.Or(w.Username, e.Username)
	w.Groups = union(w.Groups, e.Groups)
	for i := range w.claims {
		if c := &w.claims[i]; c.Source == source {
			c.Username = cmp.Or(c.Username, e.Username)
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

// decide says what becomes of one ARN. A frozen one stays as it stands if it
// is ours.
func (m *merge) decide(k string, frozen bool) {
	id := m.identities[k]
	m.claimOwnership(id)
	var ours, foreign []place
	for _, p := range id.standing {
		if p.ours {
			ours = append(ours, p)
		} else {
			foreign = append(foreign, p)
		}
	}
	if len(m.failed) > 0 && len(id.owned) == 0 && len(ours) > 0 {
		m.claim(ours[len(ours)-1].Entry, unknownSource)
	}
	if frozen {
		id.freeze(ours)
	}
	if len(ours) > 0 && m.req.Guard != nil {
		m.tally.note(k, id.sources(), id.want == nil)
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
// ledger has it. An entry that was only about to be written proves nothing,
// unless the write is known to have been done: an unmarked one with its ARN came
// from somebody else. An account has no mark, so
// there it does: an account that nobody takes away again would be worse than
// one that somebody else added at the very same moment.
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
			if (!o.Pending || p.Kind == Account || m.done && !o.Waiting) && o.Kind == p.Kind && p.mark == "" && sameGrant(o.Entry, p.Entry) {
				p.ours = true
				return
			}
		}
	}
}

// unwanted removes entries of ours for which nobody asks.
func (m *merge) unwanted(id *identity, ours []place) {
	for _, p := range ours {
		m.remove(p, Remove, sourcesOf(id.claims()), "no source asks for it any more")
	}
}

// claims is who asked for the ARN, as the ledger has it.
func (id *identity) claims() []Claim {
	var claims []Claim
	for _, o := range id.owned {
		claims = append(claims, o.Claims...)
	}
	return claims
}

// contested handles an ARN that a foreign entry has too.
func (m *merge) contested(id *identity, ours, foreign []place) {
	w := id.want
	answer := foreign[len(foreign)-1]
	if w.Kind == Account || answer.Username == w.Username && includes(answer.Groups, w.Groups) {
		for _, p := range ours {
			m.remove(p, Withdraw, sourcesOf(w.claims), "a foreign entry grants the same")
		}
		m.wait(id)
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
	m.wait(id)
}

// wait keeps in the ledger what failed sources asked, so that ours comes back
// if the foreign entry goes while they still fail. It is pending: it proves no
// entry ours.
func (m *merge) wait(id *identity) {
	var claims []Claim
	for _, c := range id.want.claims {
		if m.failed[c.Source] {
			claims = append(claims, c)
		}
	}
	if len(claims) > 0 && id.want.Kind != Account {
		m.waits = append(m.waits, Owned{Entry: id.want.Entry, Claims: claims, Since: m.since(id), Pending: true, Waiting: true})
	}
}

// keepOne brings the last of our entries in line and removes the others.
func (m *merge) keepOne(id *identity, ours []place) {
	last := ours[len(ours)-1]
	for _, p := range ours[:len(ours)-1] {
		m.remove(p, Withdraw, sourcesOf(id.want.claims), "doubled")
	}
	if last.Kind != id.want.Kind {
		id.moves = &last
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
		if c.Source != unknownSource && !slices.Contains(names, c.Source) {
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
	p := &Plan{Before: m.doc, Conflicts: m.conflicts, Held: m.held}
	room, err := m.room()
	if err != nil {
		return nil, err
	}
	for _, id := range m.adds {
		w := id.want
		fits, err := room.take(&w.Entry, required[key(w.ARN)])
		if err != nil {
			return nil, err
		}
		if !fits {
			p.Refused = append(p.Refused, w.Entry)
			if id.moves != nil {
				m.stays = append(m.stays, Owned{Entry: id.moves.Entry, Claims: w.claims, Since: m.since(id)})
			}
			continue
		}
		if id.moves != nil {
			m.remove(*id.moves, Withdraw, sourcesOf(w.claims), "it stands under "+id.moves.Kind.Key())
		}
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
	settled := &Ledger{Config: m.req.Config, Owned: m.stays, Held: m.held}
	if m.req.AddOnly {
		settled.Config = m.ledger.Config
	}
	settled.sort()
	p.Ours = slices.Clone(settled.Owned)
	settled.Owned = append(settled.Owned, m.waits...)
	settled.Owned = append(settled.Owned, m.underWay()...)
	settled.sort()
	p.Foreign = len(p.After.roles) + len(p.After.users) + len(p.After.accounts) - len(p.Ours)
	m.ledgers(p, settled)
	return p, nil
}

// proven is what the ledger has, of which nothing is pending any more if the write
// is known to have been done. The ledger that is written ahead has another ID than
// the one that aws-auth was signed with: what that proves must be in it, or it is
// lost if the write behind it is.
func (m *merge) proven() []Owned {
	if !m.done {
		return m.ledger.Owned
	}
	written := map[string]bool{}
	for _, o := range m.ledger.Owned {
		written[o.key()] = written[o.key()] || o.Pending && !o.Waiting
	}
	var out []Owned
	for _, o := range m.ledger.Owned {
		if !o.Pending && written[o.key()] {
			continue // the other one has taken its place
		}
		o.Pending = o.Pending && o.Waiting
		out = append(out, o)
	}
	return out
}

// comesBack reports whether the ledger has an entry already just as it is to be
// added: somebody took it from aws-auth, and it need not be recorded again before
// it is put back. An account does: where the write is lost sight of, only that it
// is pending tells that it may still come ([merge.underWay]).
func (o *Owned) comesBack(e Entry) bool {
	return o != nil && !o.Pending && o.Kind == e.Kind && e.Kind != Account && o.ARN == e.ARN && sameGrant(o.Entry, e)
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
	ahead := &Ledger{Config: settled.Config, Held: current.Held}
	proven := m.proven()
	known := make(map[string]*Owned, len(proven))
	for i := range proven {
		known[proven[i].key()] = &proven[i]
	}
	changed := map[string]bool{}
	for _, c := range p.Changes {
		k := c.Entry.key()
		switch c.Op {
		case Add:
			changed[k] = changed[k] || !known[k].comesBack(c.Entry)
		case Update, Adopt:
			changed[k] = true
		}
	}
	for _, o := range proven {
		// Of an entry that changes, both the old and the new one are ours
		// until the write is known to have been done.
		if !o.Pending || !changed[o.key()] {
			ahead.Owned = append(ahead.Owned, o)
		}
	}
	for _, o := range settled.Owned {
		k := o.key()
		if was := known[k]; changed[k] || was == nil || was.Kind != o.Kind || !sameGrant(was.Entry, o.Entry) {
			o.Pending = o.Pending || changed[k]
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
