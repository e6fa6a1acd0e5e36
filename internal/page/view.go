package page

import "time"

// A Mode is what an agent does.
type Mode string

// The modes.
const (
	Leads    Mode = "leads"
	StandsBy Mode = "stands by"
	Reports  Mode = "reports only" // it never leads
)

// A View is what one agent knows at one moment. Nothing in it need be printable.
// What it has slices of is not changed by anybody.
type View struct {
	At        time.Time
	Node      string // this agent's
	Namespace string
	Version   string
	Mode      Mode

	NodeRole string // ARN of this node's role; empty if it is not known
	NodeWhy  string // why it is not known

	Election *Election // nil of an agent that only reports
	Config   *Config   // likewise
	Problems []string  // what needs a person, each with what to do
	Notes    []string  // what is good to know
	Pass     *Pass     // the leader's last; nil if it is not known
	Sources  []Source  // as the leader says, the most explicit first
	More     int       // sources for which the Lease has no room

	Conflicts     []Conflict
	MoreConflicts int // that the Lease has no room for

	// Cluster is what the leader alone knows; nil elsewhere, and before its first
	// pass.
	Cluster *Cluster
}

// Election is what this agent knows of it.
type Election struct {
	Leader  string    // the node's name; empty if nobody leads
	Since   time.Time // when this agent saw it lead first
	Seen    time.Time // when this agent looked last
	Agents  int       // how many there are, as the leader has counted
	Trouble string    // why the Lease cannot be read or written
	Command string    // that leads to the leader's page; empty if there is none
}

// Config is the one that this agent has mounted.
type Config struct {
	Hash    string    // of the one in force; empty for none
	Since   time.Time // when it came into force
	Trouble string    // why what is mounted is not in force
	Refused time.Time // since when
	SubPath bool      // edits never arrive
}

// Pass is the leader's last.
type Pass struct {
	At      time.Time
	Result  string
	Trouble string
}

// Source is one origin of entries.
type Source struct {
	Name    string
	Entries int       // that it asks for; 0 while it fails
	Success time.Time // zero for not in this term
	Trouble string    // empty if it is well
	Since   time.Time // of the trouble
}

// Conflict is a foreign entry that stands in the way.
type Conflict struct {
	ARN, Has, Want        string   // has and wants: usernames
	HasGroups, WantGroups []string // not known of what the Lease says
	Sources               []string // likewise
}

// Cluster is what the leader alone knows.
type Cluster struct {
	Began   time.Time // of the term
	AWSAuth string    // its name with its namespace
	Bytes   int       // of it
	Limit   int       // to them
	Entries []Entry   // in any order
	Held    []Hold
	Roles   []Role // that nodes report, in any order
	Refused []Refusal
	Writes  []Write // newest first
	Kept    int     // how many of them are kept at most
}

// Entry is an entry of aws-auth.
type Entry struct {
	Kind     string // role, user or account
	ARN      string
	Username string
	Groups   []string
	Ours     bool
	Sources  []string  // that ask for one of ours; none if that is not known
	Since    time.Time // of one of ours
	Mark     string    // of the tool that wrote a foreign one; empty for none
	Dropped  string    // why the authenticator ignores it
}

// Hold is removals that wait for approval.
type Hold struct {
	ID, Why, Command string
	Since            time.Time
	Changes          []Change
}

// Change is what would be done to an entry.
type Change struct{ Op, Kind, ARN, Username string }

// Role is a node role that a node reports.
type Role struct {
	ARN, Node string
	At        time.Time // by that node's clock
}

// Refusal is a report that is not believed.
type Refusal struct{ Lease, Why string }

// Write is a change of aws-auth.
type Write struct {
	At    time.Time
	Who   string // of somebody else; empty for the leader
	Why   string
	Diffs []Diff
}

// Diff is what has changed in one key.
type Diff struct {
	Key   string
	Lines []string // of a unified diff
	Left  int      // lines that are left out
}
