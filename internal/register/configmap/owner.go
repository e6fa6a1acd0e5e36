package configmap

import (
	"slices"
	"time"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/internal/plan"
)

// An Owner says whether an entry is managed, and for whom.
type Owner struct {
	// Managed says that the agent wrote it: it puts it back when somebody changes
	// it, and takes it away when no source asks for it.
	Managed bool
	Sources []string  // that ask for a managed entry; none where the ledger does not say
	Since   time.Time // when a managed entry was planned first; zero likewise
}

// Owners says which entries are managed, in the order of [awsauth.Document.Entries].
// An entry is managed by its mark, or because the state has it as it stands and it
// has no other mark. Without a state the marks alone tell, and no account is
// managed.
func Owners(doc *awsauth.Document, state *plan.State) []Owner {
	known := map[string][]*plan.Owned{}
	if state != nil {
		for i := range state.Owned {
			o := &state.Owned[i]
			known[o.Principal()] = append(known[o.Principal()], o)
		}
	}
	var out []Owner
	for _, l := range doc.Entries() {
		account := l.Kind == awsauth.Account
		owner := Owner{Managed: !account && l.SyncedBy == awsauth.Mark}
		for _, o := range known[l.Principal()] {
			if o.Kind != l.Kind || !owner.Managed && (o.Pending && !account || l.SyncedBy != "" || l.Dropped != "" || !o.SameAccess(l.Entry)) {
				continue
			}
			owner.Managed = true
			owner.Sources = append(owner.Sources, o.Sources()...)
			if owner.Since.IsZero() || o.Since.Before(owner.Since) {
				owner.Since = o.Since
			}
		}
		slices.Sort(owner.Sources)
		owner.Sources = slices.Compact(owner.Sources)
		out = append(out, owner)
	}
	return out
}
