package configmap

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/internal/plan"
	"github.com/rolecall/rolecall/internal/register"
)

// A Plan is what a write of aws-auth would do. It has been read back by the
// authenticator's rules: carried out on the very document it was made for, it maps
// what it says.
type Plan struct {
	register.Change
	Before  *awsauth.Document
	After   *awsauth.Document
	Ahead   *plan.State // to be written before the document; nil if the ledger need not change
	Settled *plan.State // to be written after the document; nil if the ledger need not change
}

// Observed is what aws-auth says: a snapshot of it but for what is asked.
// other is what the API server counts beside the document, in bytes.
func Observed(doc *awsauth.Document, other int, into *plan.Snapshot) {
	entries := doc.Entries()
	into.Standing = make([]plan.Standing, 0, len(entries))
	// Users before roles: of a user and a role entry with one ARN the role answers.
	for _, kind := range []awsauth.Kind{awsauth.User, awsauth.Role, awsauth.Account} {
		for i := range entries {
			if l := &entries[i]; l.Kind == kind && l.Dropped == "" {
				into.Standing = append(into.Standing, plan.Standing{Entry: l.Entry, Mark: l.SyncedBy, Ref: l.Index})
			}
		}
	}
	into.Unreadable = map[awsauth.Kind]bool{}
	for _, p := range doc.Unreadable() {
		for _, kind := range awsauth.Kinds() {
			if kind.Key() == p.Key {
				into.Unreadable[kind] = true
			}
		}
	}
	into.Room = &room{doc, other}
	if into.State == nil {
		into.State = &plan.State{}
	}
}

// MakePlan decides what the snapshot says should become of the document, and
// prepares it. The snapshot need not say what aws-auth holds; other is as in
// [Observed].
func MakePlan(doc *awsauth.Document, other int, s plan.Snapshot) *Plan {
	Observed(doc, other, &s)
	decisions, removals := plan.Make(&s)
	return Prepare(doc, other, &s, decisions, removals)
}

// Prepare turns decisions into a new document and reads it back. It always
// returns a plan. What cannot be edited, or would read otherwise than decided, is
// left out: of a key the changes that are at fault, then all that changes or
// removes what stands, then all but the roles of live nodes. Plan.Left says what
// and why.
func Prepare(doc *awsauth.Document, other int, s *plan.Snapshot, decisions []plan.Decision, removals []plan.PendingRemoval) *Plan {
	l := &ladder{doc: doc, other: other, required: s.Required, decisions: decisions}
	after := l.climb()
	p := &Plan{Before: doc, After: after, Change: register.Change{Removals: removals, Size: after.Size() + other, Limit: awsauth.Limit}}
	for i := range l.decisions {
		d := &l.decisions[i]
		p.Changes = append(p.Changes, d.Changes()...)
		if d.Conflict != nil {
			p.Conflicts = append(p.Conflicts, *d.Conflict)
		}
		if d.NoRoom {
			p.NoRoom = append(p.NoRoom, d.Wanted)
		}
		if d.Left != "" {
			p.Left = append(p.Left, register.Left{Entry: d.Wanted, Op: d.LeftOp, Why: d.Left, Node: d.Required})
		}
		if len(d.Refused) > 0 {
			p.Refused = append(p.Refused, register.Refused{ARN: d.ARN(), Sources: plan.SourcesOf(d.Refused)})
		}
	}
	plan.SortChanges(p.Changes)
	p.Managed = plan.Managed(l.decisions)
	settled := plan.SettleManaged(s, l.decisions, p.Managed, removals)
	p.Unmanaged = len(after.Entries()) - len(p.Managed)
	p.Ahead, p.Settled = plan.Ahead(s, p.Changes, settled)
	return p
}

// edits are the edits of the lists that carry out decisions.
func edits(decisions []plan.Decision) map[awsauth.Kind]*awsauth.Edit {
	out := map[awsauth.Kind]*awsauth.Edit{}
	of := func(kind awsauth.Kind) *awsauth.Edit {
		if out[kind] == nil {
			out[kind] = &awsauth.Edit{Remove: map[int]bool{}, Replace: map[int]awsauth.Entry{}}
		}
		return out[kind]
	}
	for i := range decisions {
		d := &decisions[i]
		for _, drop := range d.Drops {
			of(drop.Kind).Remove[drop.Ref] = true
		}
		switch d.Op {
		case plan.Add:
			e := of(d.After.Kind)
			e.Add = append(e.Add, d.After)
		case plan.Update, plan.Adopt:
			of(d.At.Kind).Replace[d.At.Ref] = d.After
		}
	}
	for _, e := range out {
		slices.SortStableFunc(e.Add, func(a, b awsauth.Entry) int { return cmp.Compare(a.Principal(), b.Principal()) })
	}
	return out
}

// ladder carries decisions out on a document as far as that can be done.
type ladder struct {
	doc       *awsauth.Document
	other     int
	required  []string
	decisions []plan.Decision
	tried     int
}

// maxTries is how often one plan is edited and read back before changes that fail
// together are not told apart any more. In a list of n changes,
// finding the one that is at fault takes about twice the logarithm of n.
const maxTries = 64

// climb returns the document after as many of the decisions as can be carried
// out, and leaves the others out of the decisions.
func (l *ladder) climb() *awsauth.Document {
	var adds, required, others []int
	for i := range l.decisions {
		d := &l.decisions[i]
		switch {
		case !d.Writes():
		case d.TakesAway():
			others = append(others, i)
		case d.Required:
			required = append(required, i)
		default:
			adds = append(adds, i)
		}
	}
	all := slices.Concat(required, adds, others)
	if len(all) == 0 {
		return l.doc
	}
	doc, err := l.try(all)
	if err == nil {
		return doc
	}
	why := map[int]error{}
	done := []int{}
	doc = l.doc
	for _, more := range [][]int{required, adds, others} {
		for _, kind := range awsauth.Kinds() {
			done, doc = l.fit(done, doc, l.ofKind(more, kind), why)
		}
	}
	for i, err := range why {
		l.decisions[i] = l.decisions[i].Leave(err.Error())
	}
	return doc
}

// ofKind are those of the decisions that edit the list of a kind.
func (l *ladder) ofKind(which []int, kind awsauth.Kind) []int {
	return slices.DeleteFunc(slices.Clone(which), func(i int) bool { return l.mainKind(i) != kind })
}

// mainKind is the list that a decision edits, the one that it adds to of two.
func (l *ladder) mainKind(i int) awsauth.Kind {
	if d := &l.decisions[i]; d.After.Kind != "" {
		return d.After.Kind
	}
	return l.decisions[i].Drops[0].Kind
}

// fit takes as many of more as can be carried out beside those that are done, and
// notes in why what of the others is wrong.
func (l *ladder) fit(done []int, doc *awsauth.Document, more []int, why map[int]error) ([]int, *awsauth.Document) {
	if len(more) == 0 {
		return done, doc
	}
	next, err := l.try(slices.Concat(done, more))
	switch {
	case err == nil:
		return slices.Concat(done, more), next
	case len(more) == 1:
		why[more[0]] = err
		return done, doc
	case l.tried >= maxTries:
		for _, i := range more {
			why[i] = fmt.Errorf("it stands beside changes that cannot be made: %w", err)
		}
		return done, doc
	}
	half := len(more) / 2
	done, doc = l.fit(done, doc, more[:half], why)
	return l.fit(done, doc, more[half:], why)
}

// try carries some of the decisions out and reads the result back.
func (l *ladder) try(which []int) (*awsauth.Document, error) {
	l.tried++
	chosen := make([]plan.Decision, len(which))
	for n, i := range which {
		chosen[n] = l.decisions[i]
	}
	after, err := l.doc.Edit(edits(chosen))
	if err != nil {
		return nil, err
	}
	if size := after.Size() + l.other; size > awsauth.Limit {
		return nil, fmt.Errorf("aws-auth would have %d bytes, more than the %d that the API server takes: remove entries that nobody needs", size, awsauth.Limit)
	}
	return after, l.check(after, which)
}

// check reads the result back by the authenticator's rules: every principal that
// is decided on answers as decided, every other one as before, and no live node's
// role is left out that was mapped. It looks at the text that would be written, not
// at what led to it.
func (l *ladder) check(after *awsauth.Document, which []int) error {
	if len(which) == 0 {
		return nil
	}
	before, is := l.doc.Mapped(), after.Mapped()
	changed := make(map[string]bool, len(which))
	for _, i := range which {
		d := &l.decisions[i]
		changed[d.Principal] = true
		if e := d.After; e.Kind != "" && e.Kind != awsauth.Account {
			if now, ok := is[d.Principal]; !ok || !now.SameAccess(e) {
				return &awsauth.CheckError{ARN: e.ARN, Planned: &e, Found: found(is, d.Principal)}
			}
		}
	}
	for k, was := range before {
		if now, ok := is[k]; !changed[k] && (!ok || !was.SameAccess(now)) {
			return &awsauth.CheckError{ARN: was.ARN, Planned: &was, Found: found(is, k)}
		}
	}
	for _, arn := range l.required {
		e := awsauth.Entry{Kind: awsauth.Role, ARN: arn}
		k := e.Principal()
		if _, was := before[k]; !was && !changed[k] {
			continue
		}
		if _, mapped := is[k]; !mapped {
			return &awsauth.CheckError{ARN: arn}
		}
	}
	return nil
}

func found(mapped map[string]awsauth.Entry, k string) *awsauth.Entry {
	if e, ok := mapped[k]; ok {
		return &e
	}
	return nil
}
