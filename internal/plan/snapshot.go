package plan

import (
	"strings"
	"time"

	"github.com/rolecall/rolecall/awsauth"
)

// A Source is what one origin of access asks for at one moment.
type Source struct {
	// Name is what the state remembers, so it must stay the same over restarts:
	// the kind, or the kind, "/" and what it is about.
	Name    string
	Entries []awsauth.Entry
	// Failed says that the source could not be asked, or not wholly. Entries is
	// then what is known of it, and what the state has of this source stays.
	Failed bool
	// Nodes says that the source describes nodes and not people.
	Nodes bool
}

// KindOf is the kind of a source, of its name.
func KindOf(source string) string {
	kind, _, _ := strings.Cut(source, "/")
	return kind
}

// UnknownSource is the name of the source of entries that only their mark tells
// managed. It claims them for as long as any source fails: they may be that
// source's.
const UnknownSource = ""

// Standing is an entry that is in force in a register.
type Standing struct {
	awsauth.Entry
	Mark string // of the tool that wrote it; empty for none
	// Ref is the register's own name for the entry. The plan only hands it back.
	Ref int
}

// A Snapshot is everything that one reconcile knows of a register and of what
// is asked of it. It is never changed once it was made.
type Snapshot struct {
	// Sources in the order of how explicit they are: of several usernames for one
	// principal, the first source's wins.
	Sources []Source
	// Standing are the entries in force, in the order in which the register
	// answers: of several for one principal the last one does.
	Standing []Standing
	// Unreadable are the lists that cannot be read: nothing is known of what they
	// hold, so nothing in them is decided.
	Unreadable map[awsauth.Kind]bool
	// State is what is remembered of the register.
	State *State
	// Confirmed says that the write that State has pending is known to have been
	// done.
	Confirmed bool
	// Required are the ARNs of the roles of live nodes: they must be mapped after
	// every write.
	Required []string
	// Adopt lists the marks of other tools whose entries become managed.
	Adopt []string
	// AdoptConflicts makes an unmanaged entry managed where it grants less.
	AdoptConflicts bool
	// AddOnly leaves every managed entry as it stands: the sources may be those of a
	// config that is not the newest.
	AddOnly bool
	// KeepConfig leaves State.Config and State.Adopt as they are, likewise.
	KeepConfig bool
	// Limit bounds the loss of access; nil for no bound.
	Limit *Limit
	// Gone are the principals ([awsauth.Entry.Principal]) that IAM says do not
	// exist any more: they lose nothing.
	Gone map[string]bool
	// Room measures what the register has room for; nil for enough.
	Room Room
	// Config is the hash of the config that the sources come from.
	Config string
	// Now is written into the state for new entries.
	Now time.Time
}

// Limit bounds how many managed principals lose access without approval.
type Limit struct {
	// Percent of the managed principals of one kind of source, and of all of
	// them, that may lose access in an hour, 0 to 100. Five always may.
	Percent int
	// Approved are the IDs of the pending removals that a person has approved.
	Approved []string
	// Hour are the losses of the last hour.
	Hour []Loss
}

// Room measures what a register has room for.
type Room interface {
	// Left returns a function that takes room for one new entry after another,
	// beside all that the decisions change otherwise, and says whether it was
	// found. A required entry may take the room that is kept free for such.
	Left(decisions []Decision) func(entry awsauth.Entry, required bool) bool
}

// failed are the sources that could not be asked, UnknownSource among them if
// there is any.
func (s *Snapshot) failed() map[string]bool {
	failed := map[string]bool{}
	for i := range s.Sources {
		if s.Sources[i].Failed {
			failed[s.Sources[i].Name], failed[UnknownSource] = true, true
		}
	}
	return failed
}

// required are the principals of live nodes.
func (s *Snapshot) required() map[string]bool {
	required := make(map[string]bool, len(s.Required))
	for _, arn := range s.Required {
		e := awsauth.Entry{Kind: awsauth.Role, ARN: arn}
		required[e.Principal()] = true
	}
	return required
}
