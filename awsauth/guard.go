package awsauth

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"slices"
	"time"
)

// removalFloor is how many of a source's entries one write may always remove.
const removalFloor = 5

// Masters is the group that may do everything. It is also the Source of a hold
// on a write after which no entry would grant it any more.
const Masters = "system:masters"

// A Guard holds back removals that look like an accident until a person has
// approved them.
type Guard struct {
	// Percent of a source's entries that one write may remove, 0 to 100; 5
	// entries always may go.
	Percent int
	// Approved are the IDs of the holds that a person has approved.
	Approved []string
}

// A Hold is what a write would do if it were not held back: remove more than
// the limit of one source's entries, or take [Masters] from the last who have it.
type Hold struct {
	// ID stands for exactly these changes: others of the same source have
	// another one. It is the same for every leader.
	ID      string    `json:"id"`
	Source  string    `json:"source,omitempty"` // empty: of entries that only their mark tells ours
	Of      int       `json:"of"`               // how many entries the source has in aws-auth
	Changes []Change  `json:"changes"`
	Since   time.Time `json:"since"` // when it was held back first
}

// tally counts what a write leaves and takes of each source.
type tally struct {
	entries map[string]int             // of ours in the document
	removed map[string]map[string]bool // keys of entries that no source asks for
}

// note counts one ARN that stands in the document as ours.
func (t *tally) note(k string, sources []string, removed bool) {
	if t.entries == nil {
		t.entries, t.removed = map[string]int{}, map[string]map[string]bool{}
	}
	for _, source := range sources {
		t.entries[source]++
		if removed {
			if t.removed[source] == nil {
				t.removed[source] = map[string]bool{}
			}
			t.removed[source][k] = true
		}
	}
}

// sources lists who asked for the ARN, as the ledger has it.
func (id *identity) sources() []string {
	var names []string
	for i := range id.owned {
		for _, c := range id.owned[i].Claims {
			if !slices.Contains(names, c.Source) {
				names = append(names, c.Source)
			}
		}
	}
	if len(names) == 0 {
		return []string{unknownSource}
	}
	return names
}

// standingHolds are those of the ledger on which nothing can be said now,
// because their source does not answer or nothing may be removed.
func (m *merge) standingHolds() []Hold {
	var out []Hold
	if m.req.Guard == nil {
		return nil
	}
	for _, h := range m.ledger.Held {
		open := m.failed[h.Source] || h.Source == Masters && len(m.failed) > 0
		if m.req.AddOnly || open {
			out = append(out, h)
		}
	}
	return out
}

// holds lists what of a plan has to wait, beside what waits already.
func (m *merge) holds(p *Plan) []Hold {
	g := m.req.Guard
	if g == nil {
		return nil
	}
	var out []Hold
	hold := func(source string, of int, matches func(*Change) bool) {
		h := Hold{Source: source, Of: of}
		for i := range p.Changes {
			if matches(&p.Changes[i]) {
				h.Changes = append(h.Changes, p.Changes[i])
			}
		}
		h.ID = h.hash()
		if !slices.Contains(g.Approved, h.ID) {
			h.Since = m.heldSince(h.ID)
			out = append(out, h)
		}
	}
	for _, source := range slices.Sorted(maps.Keys(m.tally.removed)) {
		removed, of := m.tally.removed[source], m.tally.entries[source]
		if len(removed) > removalFloor && len(removed)*100 > g.Percent*of {
			hold(source, of, func(c *Change) bool { return c.Op == Remove && removed[c.Entry.key()] })
		}
	}
	if slices.ContainsFunc(p.Changes, func(c Change) bool { return c.demotes() }) {
		if before := countMasters(p.Before); before > 0 && countMasters(p.After) == 0 {
			hold(Masters, before, (*Change).demotes)
		}
	}
	return out
}

// demotes reports whether somebody loses [Masters] by the change.
func (c *Change) demotes() bool {
	switch c.Op {
	case Remove:
		return slices.Contains(c.Entry.Groups, Masters)
	case Update:
		return slices.Contains(c.Before.Groups, Masters) && !slices.Contains(c.Entry.Groups, Masters)
	}
	return false
}

// countMasters counts the ARNs that the authenticator would let in as masters.
func countMasters(d *Document) int {
	n := 0
	for _, e := range d.resolver() {
		if slices.Contains(e.Groups, Masters) {
			n++
		}
	}
	return n
}

func (m *merge) heldSince(id string) time.Time {
	for _, h := range m.ledger.Held {
		if h.ID == id {
			return h.Since
		}
	}
	return m.req.Now.UTC().Truncate(time.Second)
}

// hash is over what changes, not over when it was seen or how it is told.
func (h *Hold) hash() string {
	type change struct {
		Op           Op
		Key          string
		Username     string
		Groups, Lost []string
	}
	list := make([]change, len(h.Changes))
	for i := range h.Changes {
		c := &h.Changes[i]
		list[i] = change{Op: c.Op, Key: c.Entry.key(), Username: c.Entry.Username, Groups: groupSet(c.Entry.Groups)}
		if c.Before != nil {
			list[i].Lost = groupSet(c.Before.Groups)
		}
	}
	body, err := json.Marshal(list)
	if err != nil { // strings always encode
		return ""
	}
	sum := sha256.Sum256(append([]byte(h.Source+"\n"), body...))
	return hex.EncodeToString(sum[:6])
}

// freeze asks for an entry of ours as the ledger has it, or as it stands,
// whatever the sources say, in the name of those who asked for it before. Where
// the ledger has a change whose write it has not seen end, it has the entry twice:
// the one that stands is right.
func (id *identity) freeze(ours []place) {
	var w want
	stands := func(o *Owned) bool {
		return slices.ContainsFunc(ours, func(p place) bool { return p.Kind == o.Kind && sameGrant(p.Entry, o.Entry) })
	}
	for i := range id.owned {
		o := &id.owned[i]
		w.claims = append(w.claims, o.Claims...)
		if !o.Pending && w.ARN == "" || !o.Waiting && stands(o) {
			w.Entry = o.Entry
		}
	}
	if w.ARN == "" {
		if len(ours) == 0 {
			return
		}
		w.Entry = ours[len(ours)-1].Entry
	}
	w.Groups = groupSet(w.Groups)
	if len(w.claims) == 0 {
		w.claims = []Claim{{unknownSource, w.Username, w.Groups}}
	}
	id.want = &w
}
