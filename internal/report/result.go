package report

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/internal/plan"
	"github.com/rolecall/rolecall/internal/register"
	"github.com/rolecall/rolecall/internal/roster"
	"github.com/rolecall/rolecall/internal/source"
)

// A Result is what one reconcile saw and did. It is never changed once it was
// made.
type Result struct {
	Config string // hash of the config
	Ended  time.Time
	Took   time.Duration

	// Err is why nothing, or not all, was done; nil where all was. Then what is
	// below is as far as the reconcile came: Change is nil where it came to no plan.
	Err error

	Asked    source.Asked
	Reports  []roster.Report // of nodes, those that are not believed too
	Unread   error           // why they could not be read
	Unmapped int             // live nodes' roles that the register after the write doesn't map as nodes'

	Observed *register.Observation
	Change   *register.Change
	Settling Settling
	Wrote    bool  // the register
	History  error // why what the register was cannot be kept
	Version  string

	// Again is when another reconcile is due though nothing wakes it; 0 for never.
	Again time.Duration
}

// Settling is why a leader only adds.
type Settling string

// The reasons.
const (
	Settled       Settling = ""
	ConfigDiffers Settling = "config"  // the config is another one than the one applied last, and may be older
	StateLost     Settling = "state"   // what is remembered of the register is lost
	Simulated     Settling = "request" // somebody wants to see it
)

// Outcome is how a reconcile went, in the words of the metric
// rolecall_reconciles_total.
type Outcome string

// The outcomes.
const (
	Unchanged Outcome = "unchanged"
	Changed   Outcome = "changed"
	Conflict  Outcome = "conflict"  // somebody else wrote at the same time
	Malformed Outcome = "malformed" // the register, or a list of it, cannot be read and is left alone
	Elsewhere Outcome = "elsewhere" // another installation writes the register
	Immutable Outcome = "immutable" // the API server takes no write until the register is made anew
	Failed    Outcome = "error"
)

// Outcomes lists them.
func Outcomes() []Outcome {
	return []Outcome{Unchanged, Changed, Conflict, Malformed, Elsewhere, Immutable, Failed}
}

// Outcome is how the reconcile went.
func (r *Result) Outcome() Outcome {
	elsewhere, immutable := (*register.ElsewhereError)(nil), (*register.ImmutableError)(nil)
	switch {
	case errors.Is(r.Err, register.ErrConflict):
		return Conflict
	case errors.Is(r.Err, register.ErrMalformed):
		return Malformed
	case errors.As(r.Err, &elsewhere):
		return Elsewhere
	case errors.As(r.Err, &immutable):
		return Immutable
	case r.Err != nil:
		return Failed
	case len(r.Observed.Unreadable) > 0:
		return Malformed
	case r.Wrote:
		return Changed
	}
	return Unchanged
}

// Problem says in one text what hinders the reconcile; nil where nothing does.
func (r *Result) Problem() error {
	if r.Err != nil || r.Observed == nil || len(r.Observed.Unreadable) == 0 {
		return r.Err
	}
	texts := make([]string, 0, len(r.Observed.Unreadable)+1)
	for _, p := range r.Observed.Unreadable {
		texts = append(texts, p.Error())
	}
	if r.Observed.Unrestored != nil {
		texts = append(texts, strings.ReplaceAll(r.Observed.Unrestored.Error(), "\n", "; "))
	}
	return fmt.Errorf("%w: %s", register.ErrMalformed, strings.Join(texts, "; "))
}

// Waiting are the changes that a reconcile that failed has not made.
func (r *Result) Waiting() []plan.Change {
	if r.Outcome() != Failed || r.Change == nil || r.Wrote {
		return nil
	}
	return r.Change.Changes
}

// LeftNodes counts the roles of live nodes that could not be added.
func (r *Result) LeftNodes() int {
	n := 0
	for i := range r.Change.Left {
		if r.Change.Left[i].Node && r.Change.Left[i].Op == plan.Add {
			n++
		}
	}
	return n
}

// unmapped counts the roles that a register does not map as nodes' roles: without
// case, the last of equal ARNs answering.
func unmapped(listed []awsauth.Listed, roles []string) int {
	if len(roles) == 0 {
		return 0
	}
	mapped := map[string]bool{}
	for i := range listed {
		if l := &listed[i]; l.Kind == awsauth.Role && l.Dropped == "" {
			mapped[l.Principal()] = slices.Contains(l.Groups, awsauth.NodesGroup) && slices.Contains(l.Groups, awsauth.BootstrappersGroup)
		}
	}
	n := 0
	for _, arn := range roles {
		e := awsauth.Entry{Kind: awsauth.Role, ARN: arn}
		if !mapped[e.Principal()] {
			n++
		}
	}
	return n
}

// Count fills in what is counted of the register after the write.
func (r *Result) Count() { r.Unmapped = unmapped(r.Change.Listed, r.Asked.Live) }

// A View is what a leader knows, for the people who look at its page. It is never
// changed once it was made, so it can be read without a lock; nor may what hangs
// from it be changed.
type View struct {
	Began  time.Time        // of the term
	Last   *Result          // the last reconcile
	Good   *Result          // the last one that came to a plan and did not fail; nil before the first
	Writes []register.Write // newest first
}
