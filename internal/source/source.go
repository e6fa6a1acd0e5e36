package source

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/config"
	"github.com/rolecall/rolecall/internal/plan"
	"github.com/rolecall/rolecall/internal/roster"
)

// A Source is one origin of access. It lives for one term of a leader, and is safe
// for concurrent use: Refresh runs beside Want.
type Source interface {
	// Refresh asks AWS for what Want needs, and keeps the answer. A source that
	// asks nobody returns nil. The error is what failed, for the log and for how
	// soon to ask again; Want says it too.
	Refresh(ctx context.Context, c *config.Config) error
	// Want says what is asked for at a moment. It makes no request and never
	// fails as a whole: each answer says for itself.
	Want(m *Moment) []Answer
}

// A Kind is one kind of source.
type Kind struct {
	// Name is what the state, the metrics and the status know it by. It never
	// changes, and has no "/".
	Name string
	// Nodes says that it describes nodes and not people.
	Nodes bool
	// OnDemand says that only [Set.RefreshDue] refreshes it, when it has called
	// Env.Due: what it asks may be slow and must hold up no other kind.
	OnDemand bool
	// New makes the source for one term.
	New func(Env) Source
}

// A Moment is what a reconcile knows when it asks the sources. It is never
// changed once it was made.
type Moment struct {
	Config *config.Config
	// State and Standing are what is remembered of the register, and what stands
	// in it.
	State    *plan.State
	Standing []plan.Standing
	// Account is the cluster's own. The error says why it is unknown. [Set.Ask]
	// fills it in where it is nil: for kinds of people as IMDS or STS says, for kinds
	// of nodes else as the register and the reports suggest.
	Account func() (Account, error)
	// Reports are what nodes report.
	Reports Reports
	// Earlier are the answers of the kinds before this one.
	Earlier []Answer
	Now     time.Time
}

// Reports is what nodes reported, at one moment.
type Reports struct {
	roster.ListResult
	Newest bool  // nothing was reported after it when it was asked for
	Err    error // why it could not be read
}

// An Answer is what a source asks for, by one name.
type Answer struct {
	// Name is the kind's name, or the kind's, "/" and what it is about.
	Name    string
	Entries []awsauth.Entry
	// Err says what could not be asked, or which items failed. Entries is then what
	// is known; what the state has of this name beside it stays. It is [ErrNotAsked]
	// before the first answer.
	Err error
	// Asked is when what Entries says was true; zero for now.
	Asked time.Time
	// Required are ARNs that must be mapped after every write: roles of live nodes.
	Required []string
	// Live are the ARNs of roles of which a node's report is fresh.
	Live []string
	// Refused says why a report is not believed, by the name of its Lease.
	Refused map[string]error
	// Gone are ARNs of principals that IAM says do not exist.
	Gone []string
	// Nodes says that the answer is of a kind that describes nodes. [Set.Ask] sets it.
	Nodes bool
}

// ErrNotAsked says that a source has not been asked yet: nothing to report.
var ErrNotAsked = errors.New("not asked yet")

// Kinds lists the kinds of source, the most explicit first: of several usernames
// for one principal, the first one's wins.
func Kinds() []Kind {
	return []Kind{
		{Name: "file", New: newFile},
		{Name: "permission-set", New: newPermissionSets},
		{Name: "group", New: newGroups},
		{Name: "karpenter", Nodes: true, New: newKarpenter},
		{Name: "extra", Nodes: true, New: newExtra},
		{Name: nodeKind, Nodes: true, OnDemand: true, New: newNodes},
		{Name: "windows", Nodes: true, New: newWindows},
	}
}

// Names are the names of the kinds, in their order.
func Names(kinds []Kind) []string {
	names := make([]string, len(kinds))
	for i, k := range kinds {
		names[i] = k.Name
	}
	return names
}

// UnknownKind is the kind of a source that no registered kind has.
const UnknownKind = "unknown"

// KindName is the kind of a source by the source's name, for metrics: the name of
// one of the kinds, [awsauth.Masters], or [UnknownKind]. It is one of few, whatever
// a state says that somebody else wrote.
func KindName(kinds []Kind, source string) string {
	name := plan.KindOf(source)
	if name == awsauth.Masters || name != "" && slices.Contains(Names(kinds), name) {
		return name
	}
	return UnknownKind
}
