package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/util/resourceversion"

	"github.com/rolecall/rolecall/config"
	"github.com/rolecall/rolecall/internal/plan"
	"github.com/rolecall/rolecall/internal/register"
	"github.com/rolecall/rolecall/internal/report"
	"github.com/rolecall/rolecall/internal/roster"
	"github.com/rolecall/rolecall/internal/source"
)

const (
	conflictTries = 5                // reconciles in a row that somebody else may spoil before backing off
	callTimeout   = 15 * time.Second // of one request to the API server
)

// Roster lists which node roles are in use. List reads all pages from the API
// server, as of the resourceVersion notOlder or later, or with "" the newest; it is
// safe for concurrent use.
type Roster interface {
	List(ctx context.Context, notOlder string) (roster.ListResult, error)
}

// Reconciler is the pipeline from what is known to what is written:
//
//	sources, register ─► Snapshot ─► Decide ─► policies ─► Prepare ─► Commit ─► Result
//
// It keeps what has to be known from one reconcile to the next, and serves one term
// of a leader, or one run of a command. [Reconciler.Reconcile] and [Reconciler.Plan]
// are called by one goroutine.
type Reconciler struct {
	Register register.Register
	Sources  *source.Set
	Roster   Roster
	Logger   *slog.Logger
	Now      func() time.Time
	// Term is how a leader's config settles; nil outside a term: the config is the
	// one that somebody has just given.
	Term *Term
	// AddOnly shows what a leader does until its config has settled.
	AddOnly bool

	seen     atomic.Pointer[string]    // resourceVersion of the newest report that the watch saw, or nil
	began    atomic.Pointer[time.Time] // start of the present try, or nil
	foreign  time.Time                 // when another installation wrote the register last; zero for not in this term
	caughtUp bool                      // the config is known not to be behind the one applied last
	losses   map[int64]time.Time       // when a recorded loss of access was seen first, by its time
}

// Term is when a term began, and since when it has the config that it has.
type Term struct {
	Began   time.Time
	Changed func() time.Time // when the config became another one; zero: not in this term
	// Settle is how long a config that differs from the one applied last changes and
	// removes nothing: kubelets update their mounts up to two minutes apart.
	Settle time.Duration
}

// Saw notes how new a roster a watch has seen, so that no reconcile reads one that is
// older. It is called by one goroutine.
func (r *Reconciler) Saw(version string) {
	if was := r.seen.Load(); was == nil || later(version, *was) {
		r.seen.Store(&version)
	}
}

// later reports whether what has the resourceVersion a was written after what has b.
func later(a, b string) bool {
	order, err := resourceversion.CompareResourceVersion(a, b)
	return err == nil && order > 0
}

// Busy is for how long the present try has been running, 0 if none runs. It is safe
// for concurrent use.
func (r *Reconciler) Busy() time.Duration {
	began := r.began.Load()
	if began == nil {
		return 0
	}
	return r.Now().Sub(*began) // by the monotonic clock: the other one can be set
}

// Reconcile brings the register in line with what is asked of it. With newest it
// takes no roster but the newest. Where somebody else writes in between, it begins
// again with observing the register.
func (r *Reconciler) Reconcile(ctx context.Context, file *config.File, newest bool) *report.Result {
	return r.run(ctx, file, newest, true)
}

// Plan is Reconcile that writes nothing.
func (r *Reconciler) Plan(ctx context.Context, file *config.File) *report.Result {
	return r.run(ctx, file, true, false)
}

func (r *Reconciler) run(ctx context.Context, file *config.File, newest, write bool) *report.Result {
	start := r.Now()
	r.began.Store(&start)
	defer r.began.Store(nil)
	out := &report.Result{Config: file.Hash}
	defer func() { out.Ended, out.Took = r.Now(), r.Now().Sub(start) }()

	// Whoever is locked out waits for all of them.
	var reports source.Reports
	var asking sync.WaitGroup
	asking.Go(func() { reports = r.firstReports(ctx, file, newest) })
	observed, err := r.observe(ctx, file, write)
	asking.Wait()
	for try := 1; ; try++ {
		if err == nil {
			err = r.try(ctx, file, observed, &reports, write, out)
		}
		if err == nil || !errors.Is(err, register.ErrConflict) || try == conflictTries {
			break
		}
		r.Logger.Debug("somebody else wrote first", "try", try, "err", err)
		now := r.Now()
		r.began.Store(&now)
		observed, err = r.observe(ctx, file, write)
	}
	if elsewhere := (*register.ElsewhereError)(nil); errors.As(err, &elsewhere) {
		// Whose entries stand when it is handed over is as unknown as at a term's start.
		r.foreign, r.caughtUp = r.Now(), false
	}
	out.Err = err
	if later := (*register.LaterError)(nil); errors.As(err, &later) {
		soon(out, later.After)
	}
	return out
}

// soon has another reconcile made after d, if none is due before.
func soon(out *report.Result, d time.Duration) {
	if d > 0 && (out.Again == 0 || d < out.Again) {
		out.Again = d
	}
}

func (r *Reconciler) observe(ctx context.Context, file *config.File, write bool) (*register.Observation, error) {
	return r.Register.Observe(ctx, register.Rules{Restore: file.Config.Safety.OnMalformed == config.Restore, Foresee: !write})
}

// try makes the plan by the reports, and by the newest ones, which take their place,
// where anything is to be taken away, or waits for approval: a roster that is a moment
// old may lack a live node's role. Then it carries the plan out.
func (r *Reconciler) try(ctx context.Context, file *config.File, o *register.Observation, reports *source.Reports, write bool, out *report.Result) error {
	r.plan(file, o, *reports, out)
	// Nobody else asks where there is no term, and no later reconcile is made. What EC2
	// could not be asked about by a node's name it is asked about by its Node's id.
	for asks := 0; r.Term == nil && asks < 3 && r.refreshDue(ctx, file); asks++ {
		r.plan(file, o, *reports, out)
	}
	if !reports.Newest && (out.Change.TakesAway() || len(out.Change.Removals) > 0) {
		*reports = r.reports(ctx, file, "")
		r.plan(file, o, *reports, out)
	}
	if !write {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	written, err := r.Register.Commit(ctx, o, out.Change)
	out.Wrote, out.Version, out.History = written.Wrote, written.Version, written.History
	soon(out, written.Again)
	return err
}

// refreshDue asks what sources have to ask soon, such as EC2 about a new report, and
// reports whether there was anything.
func (r *Reconciler) refreshDue(ctx context.Context, file *config.File) bool {
	select {
	case <-r.Sources.Due():
	default:
		return false
	}
	if err := r.Sources.RefreshDue(ctx, &file.Config); err != nil {
		r.Logger.Debug("a source could not be asked wholly", "err", err)
	}
	return true
}

// plan makes the snapshot, decides on it, and prepares what was decided.
func (r *Reconciler) plan(file *config.File, o *register.Observation, reports source.Reports, out *report.Result) {
	now := r.Now()
	c := &file.Config
	out.Again = 0
	out.Asked = r.Sources.Ask(source.Moment{Config: c, State: o.State, Standing: o.Standing, Reports: reports, Now: now})
	soon(out, out.Asked.Again)
	out.Settling = r.settling(file, o, out)
	s := &plan.Snapshot{
		Sources:        out.Asked.Sources,
		Required:       out.Asked.Required,
		Gone:           out.Asked.Gone,
		Adopt:          c.Adopt,
		AdoptConflicts: c.Safety.OnConflict == config.Adopt,
		AddOnly:        out.Settling != report.Settled,
		KeepConfig:     out.Settling != report.Settled && (r.Term != nil || out.Settling != report.StateLost),
		Limit:          &plan.Limit{Percent: c.Safety.RemovalLimit.Percent, Approved: o.Approved, Hour: r.hour(o.State.Lost)},
		Config:         file.Hash,
		Now:            now,
	}
	o.Snapshot(s)
	decisions, removals := plan.Make(s)
	out.Observed, out.Change = o, r.Register.Prepare(o, s, decisions, removals)
	out.Reports, out.Unread = reports.Reports, reports.Err
	out.Count()
}

// settling says why the config may be older than the one that was applied last, or
// what it removes be asked for by nobody knows whom. A new leader whose config differs
// takes nothing away until its own has not changed for as long as kubelets take to
// update their mounts.
func (r *Reconciler) settling(file *config.File, o *register.Observation, out *report.Result) report.Settling {
	why := report.Settled
	switch {
	case r.AddOnly:
		return report.Simulated
	case o.Elsewhere != nil:
		return report.Settled // nothing is lost: this installation has never written the register
	case o.StateLost, o.State.Config == "" && len(o.State.Owned) > 0:
		why = report.StateLost
	case o.State.Config != "" && o.State.Config != file.Hash && r.Term != nil:
		why = report.ConfigDiffers
	}
	if r.caughtUp || why == report.Settled {
		r.caughtUp = true
		return report.Settled
	}
	if r.Term == nil {
		return why
	}
	since := r.Term.Began
	if changed := r.Term.Changed(); changed.After(since) {
		since = changed
	}
	if r.foreign.After(since) {
		since = r.foreign
	}
	left := r.Term.Settle - r.Now().Sub(since)
	if left <= 0 {
		r.caughtUp = true
		return report.Settled
	}
	soon(out, left)
	return why
}

// An hour of losses: those that this term has known for less than an hour, by its own
// clock. What another leader recorded counts from when this one saw it first, since
// its clock may be wrong; what even that clock makes a day old has been an hour.
const (
	lossCounts    = time.Hour
	lossForgotten = 24 * time.Hour
)

func (r *Reconciler) hour(lost []plan.Loss) []plan.Loss {
	now := r.Now()
	if r.losses == nil {
		r.losses = map[int64]time.Time{}
	}
	var out []plan.Loss
	for _, l := range lost {
		age := now.Sub(l.At).Abs()
		if r.Term != nil {
			first, known := r.losses[l.At.UnixNano()]
			if !known {
				first = now
				r.losses[l.At.UnixNano()] = first
			}
			if age < lossForgotten {
				age = now.Sub(first)
			}
		}
		if age < lossCounts {
			out = append(out, l)
		}
	}
	return out
}

// firstReports reads the roster as new as the watch has seen it or newer.
func (r *Reconciler) firstReports(ctx context.Context, file *config.File, newest bool) source.Reports {
	seen := ""
	if at := r.seen.Load(); at != nil && !newest {
		seen = *at
	}
	reports := r.reports(ctx, file, seen)
	if seen != "" && reports.Newest {
		r.seen.Store(nil) // refused: of an API server whose data is an older copy, say
	}
	return reports
}

// reports reads the roster, where the config wants it: as of the resourceVersion
// notOlder or later, or with "" the newest.
func (r *Reconciler) reports(ctx context.Context, file *config.File, notOlder string) source.Reports {
	if !file.Config.NodeRoles.Report {
		return source.Reports{Newest: true}
	}
	calling, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	list, err := r.Roster.List(calling, notOlder)
	if err != nil && notOlder != "" {
		r.Logger.Debug("the roster can't be read as of what was seen", "resource_version", notOlder, "err", err)
		return r.reports(ctx, file, "")
	}
	if err != nil {
		err = fmt.Errorf("read the roster: %w", err)
	}
	return source.Reports{ListResult: list, Newest: notOlder == "", Err: err}
}
