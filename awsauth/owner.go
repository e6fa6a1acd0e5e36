package awsauth

import (
	"slices"
	"time"
)

// An Owner says whose an entry is.
type Owner struct {
	// Ours says that the agent wrote it: it puts it back when somebody changes
	// it, and takes it away when no source asks for it.
	Ours    bool
	Sources []string  // that ask for an entry of ours; none where the ledger does not say
	Since   time.Time // when an entry of ours was planned first; zero likewise
}

// Owners says whose the entries are, in the order of [Document.Entries]. An
// entry is ours by its mark, or because the ledger has it as it stands and it
// has no other mark. Without a ledger the marks alone tell, and no account is
// ours.
func (d *Document) Owners(ledger *Ledger) []Owner {
	known := map[string][]*Owned{}
	if ledger != nil {
		for i := range ledger.Owned {
			o := &ledger.Owned[i]
			known[o.key()] = append(known[o.key()], o)
		}
	}
	var out []Owner
	for _, kind := range []Kind{Role, User, Account} {
		list := d.list(kind)
		for i := range list {
			m := &list[i]
			owner := Owner{Ours: kind != Account && m.mark == Mark}
			for _, o := range known[m.key()] {
				if o.Kind != kind || !owner.Ours && (o.Pending && kind != Account || m.mark != "" || !m.inForce() || !sameGrant(o.Entry, m.Entry)) {
					continue
				}
				owner.Ours = true
				owner.Sources = append(owner.Sources, sourcesOf(o.Claims)...)
				if owner.Since.IsZero() || o.Since.Before(owner.Since) {
					owner.Since = o.Since
				}
			}
			slices.Sort(owner.Sources)
			owner.Sources = slices.Compact(owner.Sources)
			out = append(out, owner)
		}
	}
	return out
}

// Shadowed says of the entries, in the order of [Document.Entries], whether
// another one answers for their ARN: the last of several in a list, and a role
// before a user. Of two users whose ARNs differ in case alone a random one
// answers; neither is said to be shadowed.
func (d *Document) Shadowed() []bool {
	out := make([]bool, len(d.roles)+len(d.users)+len(d.accounts))
	answers := map[string]bool{}
	for i, m := range slices.Backward(d.roles) {
		if k := m.key(); m.inForce() {
			out[i] = answers[k]
			answers[k] = true
		}
	}
	exact := map[string]bool{}
	for i, m := range slices.Backward(d.users) {
		if m.inForce() {
			out[len(d.roles)+i] = answers[m.key()] || exact[m.ARN]
			exact[m.ARN] = true
		}
	}
	return out
}
