package agent

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/rolecall/rolecall/election"
	"github.com/rolecall/rolecall/internal/register"
	"github.com/rolecall/rolecall/internal/report"
)

// DefaultGiveWayAfter is for how long a leader fails before it gives the Lease up:
// longer than an API server takes to restart, and short enough that another agent
// leads within two minutes.
const DefaultGiveWayAfter = 90 * time.Second

// A newerError is of state that a newer version wrote; its method says so.
type newerError interface{ Newer() bool }

// trouble is how long a leader's reconciles have failed by what may be its own
// fault: a right that it lacks, a proxy, a connection.
type trouble struct {
	now          func() time.Time
	giveWayAfter time.Duration
	since        time.Time // of the first failure in a row; zero: the last reconcile did not fail so
}

// after takes in what came of a reconcile. The error is [election.ErrUnable] where
// another agent should lead: after a while of failures, and at once where the state
// is a newer version's.
func (t *trouble) after(r *report.Result) error {
	if newer := newerError(nil); errors.As(r.Err, &newer) && newer.Newer() {
		return fmt.Errorf("%w: %w", election.ErrUnable, r.Err)
	}
	if !mayBeOwn(r.Err) {
		t.since = time.Time{}
		return nil
	}
	if t.since.IsZero() {
		t.since = t.now()
	}
	if failing := t.now().Sub(t.since); failing >= t.giveWayAfter {
		return fmt.Errorf("%w: it has failed for %s: %w", election.ErrUnable, failing.Round(time.Second), r.Err)
	}
	return nil
}

// pause is how long to wait for the next reconcile, which was to be d: not longer
// than until the leader gives way.
func (t *trouble) pause(d time.Duration) time.Duration {
	if t.since.IsZero() {
		return d
	}
	return min(d, max(0, t.giveWayAfter-t.now().Sub(t.since)))
}

// mayBeOwn reports whether another agent might not fail so. What the register holds,
// and what others write at the same time, is the same for all.
func mayBeOwn(err error) bool {
	later, elsewhere, immutable := (*register.LaterError)(nil), (*register.ElsewhereError)(nil), (*register.ImmutableError)(nil)
	switch {
	case err == nil, errors.Is(err, context.Canceled), errors.Is(err, register.ErrConflict), errors.Is(err, register.ErrMalformed),
		errors.As(err, &later), errors.As(err, &elsewhere), errors.As(err, &immutable):
		return false
	}
	return true
}

// A noCredentialsError says by its method whether AWS refuses because this process has
// no credentials of its own.
type noCredentialsError interface{ NoOwnCredentials() bool }

// maxPassedOn is how many leaders in a row pass the Lease on: where so many pods have no
// credentials, most likely none has.
const maxPassedOn = 3

// passOn is [election.ErrUnable] where a source fails because this pod got no
// credentials, and another agent's may have got some: it was made later, say. What could
// be done was done. An agent passes the Lease on once, and not where nobody else stands
// for election or several have done so before.
func (l *Leader) passOn(r *report.Result) error {
	if r.Err != nil || l.passed || l.opts.Election == nil {
		return nil
	}
	agents, gaveUp := l.opts.Election()
	if gaveUp >= min(maxPassedOn, agents-1) {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(r.Asked.Errs)) {
		lacks := noCredentialsError(nil)
		if errors.As(r.Asked.Errs[name], &lacks) && lacks.NoOwnCredentials() {
			l.passed = true
			return fmt.Errorf("%w: this pod got no credentials of its own, and another agent's may have: source %s: %w", election.ErrUnable, name, r.Asked.Errs[name])
		}
	}
	return nil
}
