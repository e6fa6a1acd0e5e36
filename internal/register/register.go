// Package register is where an EKS cluster looks principals up: what a leader can
// observe and write of it, whatever stores it. Each register is a package below.
package register

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/internal/plan"
)

// A Register is one place in which a cluster looks principals up. A value serves
// one term of a leader; its methods are called by one goroutine.
type Register interface {
	// Observe reads what stands in the register and what is remembered of it. The
	// error is or wraps [ErrConflict], [ErrMalformed], a [*LaterError], a
	// [*ElsewhereError], or says that a request failed; nothing is to be done then.
	Observe(ctx context.Context, rules Rules) (*Observation, error)
	// Prepare turns decisions into a change. It makes no request, and always
	// returns one: what cannot be prepared is left out and listed.
	Prepare(o *Observation, s *plan.Snapshot, decisions []plan.Decision, removals []plan.PendingRemoval) *Change
	// Commit carries a change out, what is remembered first. It writes only what was
	// not written by anybody else since it was observed; the error wraps
	// [ErrConflict] where it was, and is an [*ImmutableError] where the API server takes
	// no write. Whatever fails, and whenever the process ends, the
	// next reconcile finishes what is left over.
	Commit(ctx context.Context, o *Observation, c *Change) (*Written, error)
}

// Rules are what the config says of how a register is treated.
type Rules struct {
	// Restore puts back what others deleted or made unreadable.
	Restore bool
	// Foresee observes a register that another installation writes as well, for a plan
	// that is not carried out.
	Foresee bool
}

// An Observation is what a register said at one moment. It is never changed once
// it was made.
type Observation struct {
	Standing   []plan.Standing
	Unreadable []*awsauth.ParseError // of lists that cannot be read and are left alone
	Unrestored error                 // why those are not put back
	State      *plan.State
	// StateLost says that nothing is remembered although entries stand that carry our
	// mark: who asked for them is unknown.
	StateLost bool
	Confirmed bool // the write that State has pending is known to have been done
	Approved  []string
	Room      plan.Room
	// Restored says what is put back with the next commit; empty for nothing.
	Restored string
	Deleted  bool // it is all of the register, which was deleted
	// Elsewhere says that another installation writes the register; nil: none does. It
	// is set with [Rules.Foresee] alone.
	Elsewhere *ElsewhereError
	// Immutable says that the register takes no write; nil: it does.
	Immutable *ImmutableError
	// Before are the texts that stand in the register, by key.
	Before map[string]string
	// Handle is the register's own.
	Handle any
}

// Snapshot fills in what a snapshot has of the register.
func (o *Observation) Snapshot(s *plan.Snapshot) {
	s.Standing, s.State, s.Confirmed, s.Room = o.Standing, o.State, o.Confirmed, o.Room
	s.Unreadable = map[awsauth.Kind]bool{}
	for _, p := range o.Unreadable {
		for _, kind := range awsauth.Kinds() {
			if kind.Key() == p.Key {
				s.Unreadable[kind] = true
			}
		}
	}
}

// A Change is a write that was prepared: what it does, what waits, and what it
// leaves out.
type Change struct {
	Changes   []plan.Change
	Conflicts []plan.Conflict
	Removals  []plan.PendingRemoval // that wait for approval; the change is without them
	NoRoom    []awsauth.Entry       // new entries for which the register has no room
	Left      []Left                // what could not be prepared, and is tried again
	Refused   []Refused             // what sources of nodes ask for principals that are people's
	Managed   []plan.Owned          // the managed entries after the write
	Unmanaged int                   // entries of others, all of which stay
	Listed    []awsauth.Listed      // all entries after the write
	Size      int                   // after the write, in bytes
	Limit     int                   // of Size
	Texts     map[string]string     // after the write, by key
	// Handle is the register's own.
	Handle any
}

// Writes reports whether an entry changes.
func (c *Change) Writes() bool { return len(c.Changes) > 0 }

// TakesAway reports whether an entry that stands is changed or removed.
func (c *Change) TakesAway() bool {
	for i := range c.Changes {
		if c.Changes[i].Op != plan.Add {
			return true
		}
	}
	return false
}

// Left is a change that could not be prepared: what stands stays as it is.
type Left struct {
	Op    plan.Op       `json:"op"`
	Entry awsauth.Entry `json:"entry"` // as it was to stand, or as it stands
	Why   string        `json:"why"`
	Node  bool          `json:"node,omitempty"` // it is the role of a live node
}

// Refused is what sources of nodes ask for a principal that is people's.
type Refused struct {
	ARN     string   `json:"arn"`
	Sources []string `json:"sources"`
}

// Written is what came of a commit.
type Written struct {
	Wrote   bool          // the register
	Version string        // that the register has by it
	Again   time.Duration // when something is left to do that nothing wakes; 0 for never
	History error         // why what the register was cannot be kept
}

var (
	// ErrConflict says that somebody else wrote since the register was observed:
	// observe it again.
	ErrConflict = awsauth.ErrConflict

	// ErrMalformed says that the register, or a list of it, cannot be read, or is gone,
	// and is left alone: every principal in it is locked out.
	ErrMalformed = errors.New("every principal in it is locked out")
)

// A LaterError says that the register is to be observed again after a while.
type LaterError struct {
	After time.Duration
	Err   error
}

func (e *LaterError) Error() string { return e.Err.Error() }

func (e *LaterError) Unwrap() error { return e.Err }

// An ElsewhereError says that another installation of rolecall writes the register.
type ElsewhereError struct {
	Register string // its name
	Owner    string // the installation that writes it
	Self     string // the one that found it so
}

func (e *ElsewhereError) Error() string {
	return fmt.Sprintf("%s is managed by the rolecall installation in namespace %q; this one, in namespace %q, writes nothing: to hand it over, run rolecall handover -n %s", e.Register, e.Owner, e.Self, e.Self)
}

// An ImmutableError says that a ConfigMap is immutable (immutable: true): the API
// server refuses every change of its data, until somebody deletes it and creates it
// anew.
type ImmutableError struct{ Namespace, Name string }

func (e *ImmutableError) Error() string {
	return fmt.Sprintf("ConfigMap %s/%s is immutable, so that the API server refuses every change of it; delete it and create it anew: "+
		"kubectl -n %s get configmap %s -o yaml | sed '/^immutable: true$/d' | kubectl replace --force -f -", e.Namespace, e.Name, e.Namespace, e.Name)
}
