package agent

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/rolecall/rolecall/internal/roster"
	"github.com/rolecall/rolecall/internal/source"
)

// A Reporter asks IMDS for the node's role and keeps its report in the roster
// fresh. It never gives up: a node without IMDS is logged and asked again, while
// the agent does its other work.
type Reporter struct {
	// Identify asks IMDS until it answers or ctx ends.
	Identify func(ctx context.Context) (source.Node, error)
	// Report writes the role into the roster if its report there is stale.
	Report func(ctx context.Context, roleARN, node string, now time.Time) (wrote bool, err error)
	// NodeName is this node's, for the report.
	NodeName string
	// LookAgain is how often the report is looked at, where nothing else tells that
	// the cluster was restored from a backup; 0: about hourly. See [Reporter.Again].
	LookAgain time.Duration
	Logger    *slog.Logger
	// Registerer takes the reporter's metrics; nil for none.
	Registerer prometheus.Registerer

	again   chan struct{} // holds one token: the report is to be looked at
	self    atomic.Pointer[source.Node]
	once    sync.Once
	reports *prometheus.CounterVec
	last    prometheus.Gauge
}

// Self is who this node is; false until IMDS has answered. It is safe for
// concurrent use.
func (r *Reporter) Self() (source.Node, bool) {
	if n := r.self.Load(); n != nil {
		return *n, true
	}
	return source.Node{}, false
}

// Again has the report looked at within a minute or two: it may be gone, for the
// cluster was restored from a backup. It returns at once and is safe for concurrent
// use.
func (r *Reporter) Again() {
	r.once.Do(r.register)
	notify(r.again)
}

func (r *Reporter) register() {
	r.again = make(chan struct{}, 1)
	r.reports = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "rolecall_node_reports_total",
		Help: "Reports of this node's role by result: written, fresh (another node of the role had just reported it), error.",
	}, []string{"result"})
	r.last = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "rolecall_node_report_last_success_timestamp_seconds",
		Help: "When this node's role was last known to stand in the roster.",
	})
	for _, result := range []string{"written", "fresh", "error"} {
		r.reports.WithLabelValues(result)
	}
	if r.Registerer != nil {
		r.Registerer.MustRegister(r.reports, r.last)
	}
}

// lookEvery is how often IMDS is asked whether the node has another role now. A
// node whose instance profile was exchanged is locked out until that is mapped,
// and the question stays within the node.
const lookEvery = time.Minute

// startSpread is over how long the first reports of agents are spread that start
// together. Without it, all nodes of a new role would find no report and try to
// write one; so it is the first few that do. A new node's role is mapped within a
// second of its agent's start all the same.
const startSpread = 700 * time.Millisecond

// Run reports within [startSpread], then about hourly, and as soon as the node has
// another role, until ctx ends, and returns nil.
func (r *Reporter) Run(ctx context.Context) error {
	r.once.Do(r.register)
	backoff := time.Second
	var due time.Time // of the next report
	for {
		node, err := r.Identify(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err == nil {
			if was := r.self.Swap(&node); was == nil || *was != node {
				r.Logger.Info("this node's role", "role_arn", node.RoleARN, "account", node.Account.ID, "partition", node.Account.Partition)
				due = time.Time{}
				if was == nil && !pause(ctx, rand.N(startSpread)) {
					return nil
				}
			}
			if !time.Now().Before(due) {
				err = r.report(ctx, node)
			}
		}
		wait := jitter(lookEvery)
		switch {
		case err != nil:
			r.reports.WithLabelValues("error").Inc()
			r.Logger.Warn("node role not reported, trying again", "err", err, "retry_in", backoff)
			wait = jitter(backoff)
			backoff = min(2*backoff, time.Minute)
		case !time.Now().Before(due):
			backoff = time.Second
			due = time.Now().Add(r.period())
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		case <-r.again:
			if due = (time.Time{}); !pause(ctx, rand.N(againSpread)) {
				return nil
			}
			select { // what came while waiting is answered by this look
			case <-r.again:
			default:
			}
		}
	}
}

// againSpread is over how long agents spread their looks that see a restored cluster
// at the same time.
const againSpread = time.Minute

// period is a little under an hour, so that agents of one role do not all come at the
// moment at which its report turns stale.
func (r *Reporter) period() time.Duration {
	every := roster.StaleAfter
	if r.LookAgain > 0 {
		every = min(every, r.LookAgain)
	}
	return time.Duration((0.8 + 0.15*rand.Float64()) * float64(every))
}

// pause waits, and reports false when ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// Once asks IMDS and reports once.
func (r *Reporter) Once(ctx context.Context) error {
	r.once.Do(r.register)
	node, err := r.Identify(ctx)
	if err != nil {
		return err
	}
	r.self.Store(&node)
	return r.report(ctx, node)
}

func (r *Reporter) report(ctx context.Context, node source.Node) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	wrote, err := r.Report(ctx, node.RoleARN, r.NodeName, time.Now())
	if err != nil {
		return err
	}
	result := "fresh"
	if wrote {
		result = "written"
		r.Logger.Info("reported the node's role", "role_arn", node.RoleARN)
	}
	r.reports.WithLabelValues(result).Inc()
	r.last.SetToCurrentTime()
	return nil
}
