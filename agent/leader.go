package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"

	"github.com/rolecall/rolecall/config"
	"github.com/rolecall/rolecall/internal/register"
	"github.com/rolecall/rolecall/internal/report"
	"github.com/rolecall/rolecall/internal/source"
)

// Options is what a [Leader] works with.
type Options struct {
	// Register makes the register for one term; wrote is told of its writes.
	Register func(wrote func(object string, err error)) register.Register
	// Kinds are the kinds of source; nil: all that there are.
	Kinds []source.Kind
	// Env is what sources are made with; the leader fills in Logger and Now.
	Env    source.Env
	Roster Roster
	// WatchRoster calls saw with the resourceVersion of each report that is written
	// or deleted, until ctx ends; nil: nobody watches.
	WatchRoster func(ctx context.Context, saw func(version string))
	// Events begins to record Events, and returns how to end that; nil: there are none.
	Events func(ctx context.Context) (events *report.Events, stop func())

	Identity string // in the election, for what the leader publishes
	Version  string // of the program, likewise
	// ConfigError is since when an edit of the config is refused, and why; nil or
	// a nil error: none is. It must return at once.
	ConfigError func() (since time.Time, err error)
	// SettleTime is how long a new leader whose config differs from the one
	// applied last changes and removes nothing; 0 for not at all.
	SettleTime time.Duration
	// GiveWayAfter is for how long a leader whose reconciles fail, maybe by its own
	// fault, leads on; default [DefaultGiveWayAfter].
	GiveWayAfter time.Duration
	// Election says how many agents stand for election, and how many leaders in a row
	// have given the Lease up because they were unable. A leader without credentials of
	// its own goes by it; nil: it leads on. It must return at once.
	Election   func() (agents, gaveUp int)
	Logger     *slog.Logger
	Registerer prometheus.Registerer
	Now        func() time.Time // default time.Now
}

// A Leader does the leader's work. [Leader.Lead] must not run twice at the same
// time; all other methods are safe for concurrent use.
type Leader struct {
	opts    Options
	metrics *report.Metrics

	file    atomic.Pointer[config.File]
	changed atomic.Pointer[time.Time] // when the config became another one
	wake    chan struct{}             // holds one token: a reconcile is due
	refresh chan struct{}             // holds one token: the sources are to be asked anew
	term    atomic.Pointer[term]      // the present one; nil outside of any
	passed  bool                      // the Lease was passed on, see passOn; Lead's own
}

// NewLeader returns a leader that has asked nothing yet.
func NewLeader(opts Options) *Leader {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.GiveWayAfter == 0 {
		opts.GiveWayAfter = DefaultGiveWayAfter
	}
	if opts.Kinds == nil {
		opts.Kinds = source.Kinds()
	}
	opts.Env.Logger, opts.Env.Now = opts.Logger, opts.Now
	return &Leader{
		opts:    opts,
		metrics: report.NewMetrics(opts.Registerer, opts.Kinds),
		wake:    make(chan struct{}, 1),
		refresh: make(chan struct{}, 1),
	}
}

// Apply hands over a new config; the running term acts on it at once.
func (l *Leader) Apply(file *config.File) {
	if was := l.file.Swap(file); was == nil || was.Hash != file.Hash {
		now := l.opts.Now()
		l.changed.Store(&now)
	}
	notify(l.refresh)
	notify(l.wake)
}

// stuckAfter is longer than a try of a reconcile can take: it makes twelve requests
// at most, those for the history among them, and each is cut off after callTimeout.
const stuckAfter = 14 * callTimeout

// Alive is bad where the work is stuck, however well the Lease is renewed; not
// where requests fail, nor where this agent does not lead.
func (l *Leader) Alive() (Health, string) {
	t := l.term.Load()
	if t == nil {
		return Good, ""
	}
	if busy := t.reconciler.Busy(); busy > stuckAfter {
		return Bad, fmt.Sprintf("the work has been stuck for %s: every request of it ends after %s", busy.Round(time.Second), callTimeout)
	}
	return Good, ""
}

// Published is what this leader says of its term, for [report.StatusAnnotation];
// empty outside a term and before its first reconcile. It returns at once.
func (l *Leader) Published() string {
	t := l.term.Load()
	if t == nil {
		return ""
	}
	known := t.status.Load()
	if known == nil {
		return ""
	}
	s := *known
	if l.opts.ConfigError != nil {
		if since, err := l.opts.ConfigError(); err != nil {
			s.ConfigError = report.NewTrouble(err, since)
		}
	}
	return s.Encode()
}

// View is what this leader knows; nil outside a term and before its first
// reconcile. It returns at once.
func (l *Leader) View() *report.View {
	if t := l.term.Load(); t != nil {
		return t.view.Load()
	}
	return nil
}

// notify leaves a token if there is none yet: many reasons, one reconcile.
func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// A term is what a leader knows from being elected to the end of it. Another leader
// may have acted before, so nothing of a former term is in it.
type term struct {
	leader     *Leader
	began      time.Time
	reconciler *Reconciler
	teller     *report.Teller
	newest     atomic.Bool // the next reconcile takes no roster but the newest
	status     atomic.Pointer[report.Status]
	view       atomic.Pointer[report.View]
	trouble    trouble
}

func (l *Leader) newTerm(events *report.Events) *term {
	began := l.opts.Now()
	t := &term{leader: l, began: began, teller: report.NewTeller(l.opts.Logger, events), trouble: trouble{now: l.opts.Now, giveWayAfter: l.opts.GiveWayAfter}}
	t.reconciler = &Reconciler{
		Register: l.opts.Register(l.metrics.Wrote),
		Sources:  source.NewSet(l.opts.Kinds, l.opts.Env),
		Roster:   l.opts.Roster,
		Logger:   l.opts.Logger,
		Now:      l.opts.Now,
		Term:     &Term{Began: began, Changed: l.configChanged, Settle: l.opts.SettleTime},
	}
	return t
}

func (l *Leader) configChanged() time.Time {
	if at := l.changed.Load(); at != nil {
		return *at
	}
	return time.Time{}
}

// A Watcher is a register that can be followed: Watch calls wake when somebody else
// changes it, until ctx ends.
type Watcher interface {
	Watch(ctx context.Context, wake func())
}

// A Journal is a register that remembers its last writes, and can be made to forget
// what it knows of itself after a failure.
type Journal interface {
	Writes() []register.Write
	Forget()
}

// Lead does the work of one term and returns nil when ctx ends and everything it
// started has ended. [Leader.Apply] must have been called. An error that is
// [election.ErrUnable] says that this agent cannot do the work and another may.
func (l *Leader) Lead(ctx context.Context) error {
	var events *report.Events
	if l.opts.Events != nil {
		started, stop := l.opts.Events(ctx)
		defer stop()
		events = started
	}
	t := l.newTerm(events)
	l.term.Store(t)
	defer l.term.Store(nil)
	defer l.metrics.Clear()

	notify(l.wake)
	notify(l.refresh)
	g, running := errgroup.WithContext(ctx)
	if w, ok := t.reconciler.Register.(Watcher); ok {
		g.Go(func() error {
			w.Watch(running, func() { notify(l.wake) })
			return nil
		})
	}
	if l.opts.WatchRoster != nil {
		g.Go(func() error {
			l.opts.WatchRoster(running, func(version string) {
				if version != "" {
					t.reconciler.Saw(version)
				}
				notify(l.wake)
			})
			return nil
		})
	}
	g.Go(func() error { return t.refreshSources(running) })
	g.Go(func() error { return t.verifyReports(running) })
	g.Go(func() error { return t.work(running) })
	return g.Wait()
}

// work reconciles whenever it is due. A burst of reasons is one reconcile: the first
// is made at once, further ones at most every gap.
func (t *term) work(ctx context.Context) error {
	const gap = 200 * time.Millisecond
	limit := rate.NewLimiter(rate.Every(gap), 3)
	var backoff, again time.Duration
	for {
		var retry, later <-chan time.Time
		if backoff > 0 {
			retry = time.After(t.trouble.pause(jitter(backoff)))
		}
		if again > 0 {
			later = time.After(again)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-t.leader.wake:
		case <-retry:
		case <-later:
		}
		if limit.Wait(ctx) != nil {
			return nil
		}
		select { // what came while waiting is answered by this reconcile
		case <-t.leader.wake:
		default:
		}
		r := t.reconciler.Reconcile(ctx, t.leader.file.Load(), t.newest.Swap(false))
		if ctx.Err() != nil {
			return nil
		}
		t.report(r)
		if err := t.trouble.after(r); err != nil {
			return err
		}
		if err := t.leader.passOn(r); err != nil {
			return err
		}
		again = r.Again
		if err := retryable(r); err != nil {
			backoff = nextBackoff(backoff, err)
		} else {
			backoff = 0
		}
	}
}

// retryable is why another reconcile is to be made soon, though nothing may have
// changed by then.
func retryable(r *report.Result) error {
	later, elsewhere, immutable := (*register.LaterError)(nil), (*register.ElsewhereError)(nil), (*register.ImmutableError)(nil)
	switch {
	case errors.As(r.Err, &later), errors.As(r.Err, &elsewhere), errors.As(r.Err, &immutable):
		return nil // a change of the register wakes, and the refresh
	case r.Err != nil:
		return r.Err
	case len(r.Observed.Unreadable) > 0:
		return r.Problem() // it may be known later what is to be put back
	case len(r.Change.Left) > 0:
		return errLeftOut
	}
	return r.Unread // the report that this reconcile was made for makes no other one
}

var errLeftOut = errors.New("a change could not be made")

// nextBackoff is the pause after a reconcile that failed, was being that after the
// one before it. Where others write faster than a reconcile reads and writes, patience
// gains nothing, and they may have locked somebody out: it is tried again soon, for as
// long as that lasts. All else takes longer each time.
func nextBackoff(was time.Duration, err error) time.Duration {
	if errors.Is(err, register.ErrConflict) {
		return 250 * time.Millisecond
	}
	return min(max(2*was, time.Second), time.Minute)
}

// report renders the result for everybody who looks.
func (t *term) report(r *report.Result) {
	before := report.Status{Began: t.began.UTC().Truncate(time.Second)}
	if was := t.status.Load(); was != nil {
		before = *was
	}
	before.Leader, before.Version = t.leader.opts.Identity, t.leader.opts.Version
	t.status.Store(before.Next(r))

	view := report.View{Began: t.began, Last: r, Good: r}
	if was := t.view.Load(); r.Err != nil {
		if view.Good = nil; was != nil {
			view.Good = was.Good
		}
	}
	if journal, ok := t.reconciler.Register.(Journal); ok {
		if r.Outcome() == report.Failed {
			journal.Forget()
		}
		view.Writes = journal.Writes()
	}
	t.view.Store(&view)

	t.leader.metrics.Reconciled(r, t.reconciler.Sources.LastSuccess())
	t.teller.Tell(r)
}

// refreshSources asks the sources at the term's start, on a new config and about
// every refresh interval, jittered so that clusters do not march in step. After a
// failure that can pass the interval doubles, up to ten minutes. The reconcile that
// follows takes the newest roster: a watch that stands still shows in none.
func (t *term) refreshSources(ctx context.Context) error {
	failures := 0
	timer := time.NewTimer(0)
	timer.Stop() // the first of all is by refresh
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.leader.refresh:
		case <-timer.C:
			t.newest.Store(true)
		}
		c := &t.leader.file.Load().Config
		err := t.asking(func() error { return t.reconciler.Sources.Refresh(ctx, c) })
		switch {
		case err == nil, source.Permanent(err): // the other sources are due as usual
			failures = 0
		default:
			failures++
			t.leader.opts.Logger.Debug("a source could not be asked wholly", "err", err, "failures", failures)
		}
		interval := c.RefreshInterval << min(failures, 8)
		if failures > 0 {
			interval = max(c.RefreshInterval, min(interval, 10*time.Minute))
		}
		timer.Reset(jitter(interval))
		notify(t.leader.wake)
	}
}

// verifyReports asks EC2 at once about reports that are new, and every few seconds at
// most. It runs beside refreshSources, so that neither waits for the other.
func (t *term) verifyReports(ctx context.Context) error {
	limit := rate.NewLimiter(rate.Every(5*time.Second), 3)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.reconciler.Sources.Due():
		}
		if limit.Wait(ctx) != nil {
			return nil
		}
		c := &t.leader.file.Load().Config
		if err := t.asking(func() error { return t.reconciler.Sources.RefreshDue(ctx, c) }); err != nil {
			t.leader.opts.Logger.Debug("EC2 could not be asked", "err", err)
		}
		notify(t.leader.wake)
	}
}

// asking has a reconcile made once sources may have been silent for too long, while ask
// asks them: that is seen by a reconcile alone, and nothing else may be due.
func (t *term) asking(ask func() error) error {
	late := time.AfterFunc(source.Patience, func() { notify(t.leader.wake) })
	defer late.Stop()
	return ask()
}

// jitter spreads d over ±10 %.
func jitter(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (0.9 + 0.2*rand.Float64()))
}
