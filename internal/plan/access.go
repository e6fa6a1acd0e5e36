package plan

import (
	"slices"

	"github.com/rolecall/rolecall/awsauth"
)

// Floor is how many principals may always lose access in an hour.
const Floor = 5

// before is the access that is in force for the principal now.
func (d *Decision) before() (awsauth.Entry, bool) {
	if n := len(d.facts.standing); n > 0 {
		return d.facts.standing[n-1].Entry, true
	}
	return awsauth.Entry{}, false
}

// after is the access that is in force for the principal after the write: roles
// answer before users, and of several in a list the last.
func (d *Decision) after() (awsauth.Entry, bool) {
	var users, roles awsauth.Entry
	put := func(e awsauth.Entry) {
		if e.Kind == awsauth.Role {
			roles = e
		} else {
			users = e
		}
	}
	for _, s := range d.facts.standing {
		switch {
		case slices.ContainsFunc(d.Drops, func(drop Drop) bool { return drop.Standing == s.Standing }):
		case d.At == s.Standing:
			put(d.After)
		default:
			put(s.Entry)
		}
	}
	if d.Op == Add {
		put(d.After)
	}
	if roles.Kind != "" {
		return roles, true
	}
	return users, users.Kind != ""
}

// Loses reports whether the principal loses access by the decision: a username or
// group that is in force for it before the write is not after it. An entry that
// matches no principal that can exist gives no access, and a principal that IAM
// says is gone has none to lose.
func (d *Decision) Loses() bool {
	if !d.TakesAway() || d.x.snapshot.Gone[d.Principal] {
		return false
	}
	before, ok := d.before()
	if !ok || before.Unmatched() != "" {
		return false
	}
	after, ok := d.after()
	if !ok || after.Unmatched() != "" {
		return true
	}
	return before.Username != "" && before.Username != after.Username || !includes(after.Groups, before.Groups)
}

// lost are the sources that ask for less of the principal than they did, by the
// claims that the state has of them. Where none does, it is all who claimed.
func (d *Decision) lost() []string {
	now := map[string]*Claim{}
	if w := d.facts.want; w != nil {
		for i := range w.claims {
			now[w.claims[i].Source] = &w.claims[i]
		}
	}
	var names []string
	for _, was := range d.facts.claims() {
		is := now[was.Source]
		less := is == nil || is.Username != was.Username || !includes(is.Groups, was.Groups)
		if less && !slices.Contains(names, was.Source) {
			names = append(names, was.Source)
		}
	}
	if len(names) == 0 {
		return d.facts.sources()
	}
	return names
}

// kinds are the kinds of the sources that claim the principal, as the state has
// them.
func (d *Decision) kinds() []string {
	var kinds []string
	for _, name := range d.facts.sources() {
		if kind := KindOf(name); !slices.Contains(kinds, kind) {
			kinds = append(kinds, kind)
		}
	}
	return kinds
}

// isManaged reports whether a managed entry stands for the principal that matches
// a principal that can exist.
func (d *Decision) isManaged() bool {
	managed := d.facts.managed()
	return len(managed) > 0 && managed[len(managed)-1].Unmatched() == ""
}

// IsAdmin reports whether people can log in by an entry as administrators of the
// cluster. Nodes can't: only an instance's session has {{EC2PrivateDNSName}}.
func IsAdmin(e *awsauth.Entry) bool {
	return slices.Contains(e.Groups, awsauth.Masters) && e.Unmatched() == "" && !awsauth.OnlyInstances(*e)
}

// losses are the records of lost access that count after the write: those of the
// last hour, and what this write takes without approval. A managed entry that the
// state has and that is neither asked for nor standing any more counts too: its
// removal was not recorded, or somebody else made it.
func losses(s *Snapshot, decisions []Decision) []Loss {
	loss := Loss{At: s.Now.UTC(), Kinds: map[string]int{}}
	for i := range decisions {
		d := &decisions[i]
		if d.approved || !d.Loses() && !d.vanished() {
			continue
		}
		loss.Total++
		if d.stays() {
			loss.Stay++
		}
		for _, kind := range d.kinds() {
			loss.Kinds[kind]++
			if d.stays() && slices.ContainsFunc(d.Claims, func(c Claim) bool { return KindOf(c.Source) == kind }) {
				if loss.StayKinds == nil {
					loss.StayKinds = map[string]int{}
				}
				loss.StayKinds[kind]++
			}
		}
	}
	if loss.Total == 0 {
		return s.State.Lost
	}
	var kept []Loss
	if s.Limit != nil {
		kept = slices.Clone(s.Limit.Hour)
	}
	return append(kept, loss)
}

// vanished reports whether the state has an entry as managed that nobody asks for
// and that stands no more.
func (d *Decision) vanished() bool {
	return d.facts.want == nil && len(d.facts.standing) == 0 && slices.ContainsFunc(d.facts.owned, func(o Owned) bool {
		return !o.Pending && o.Unmatched() == "" && !d.x.snapshot.Unreadable[o.Kind]
	}) && !d.x.snapshot.Gone[d.Principal]
}
