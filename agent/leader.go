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
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/internal/history"
	"github.com/rolecall/rolecall/internal/roster"
)

// LedgerName is the ConfigMap in the agent's namespace that holds the ledger.
const LedgerName = "rolecall-ledger"

// FieldManager is the name under which the API server records our writes.
const FieldManager = "rolecall"

// Roster lists which node roles are in use. List reads all pages from the API
// server, as of the resourceVersion notOlder or later, or with "" the newest; it is
// safe for concurrent use.
type Roster interface {
	List(ctx context.Context, notOlder string) (roster.ListResult, error)
}

// Options is what a [Leader] works with.
type Options struct {
	Client    kubernetes.Interface
	Namespace string // of the ledger and the roster

	AWSAuthNamespace string // default kube-system
	AWSAuthName      string // default aws-auth

	Roster Roster
	// Self is who this node is, once IMDS has answered.
	Self func() (Node, bool)
	// Directory opens the IAM directory for a region and a role to assume.
	// It is called again only when one of the two changes.
	Directory func(ctx context.Context, region, roleARN string) (Directory, error)
	// Instances opens EC2 in a region, as the agent itself and no assumed role.
	// It is needed for specs that verify reports.
	Instances func(ctx context.Context, region string) (Instances, error)

	NodeName string // in Events and in the history
	Identity string // in the election, for what the leader publishes
	Version  string // of the program, likewise
	// ConfigError is since when an edit of the config is refused, and why; nil or
	// a nil error: none is. It must return at once.
	ConfigError func() (since time.Time, err error)
	// SettleTime is how long a new leader whose config differs from the one
	// applied last changes and removes nothing; 0 for not at all.
	SettleTime time.Duration
	// KeepWrites is how many of the last changes of aws-auth a term remembers for
	// [Leader.View]; 0 for none.
	KeepWrites int
	Logger     *slog.Logger
	Registerer prometheus.Registerer
	Now        func() time.Time // default time.Now
}

// A Leader does the leader's work. Its methods must not run at the same time,
// but for [Leader.Apply], [Leader.Alive], [Leader.Published] and [Leader.View].
type Leader struct {
	opts    Options
	log     *slog.Logger
	now     func() time.Time
	gather  *gatherer
	metrics *metrics

	awsAuth, ledgerStore *awsauth.Store

	spec        atomic.Pointer[Spec]
	wake        chan struct{}             // holds one token: a pass is due
	respec      chan struct{}             // holds one token: the spec changed
	rosterSeen  atomic.Pointer[string]    // resourceVersion of the newest report that the watch saw, or nil
	busySince   atomic.Pointer[time.Time] // start of a running pass's present try, or nil
	specChanged atomic.Pointer[time.Time] // when the spec became another one
	status      atomic.Pointer[Status]    // of the term, as the last pass left it; nil outside a term
	view        atomic.Pointer[View]      // likewise

	// Of the term:
	began    time.Time // zero outside a term
	past     *past
	own      *ownWrites
	diary    *diary
	ledger   *ledgerObject     // as read or written last; nil to read it again
	parsed   *awsauth.Document // as read or written last; nil before
	standing map[string]notice
	recorder record.EventRecorder
	again    time.Duration // after the last pass, when one is due though nothing wakes it; 0 for never
	caughtUp bool          // the mounted config is known not to be behind the one applied last
}

// NewLeader returns a leader that has asked nothing yet.
func NewLeader(opts Options) *Leader {
	if opts.AWSAuthNamespace == "" {
		opts.AWSAuthNamespace = awsauth.Namespace
	}
	if opts.AWSAuthName == "" {
		opts.AWSAuthName = awsauth.Name
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	l := &Leader{
		opts: opts, log: opts.Logger, now: opts.Now,
		metrics:     newMetrics(opts.Registerer),
		awsAuth:     awsauth.NewStore(opts.Client.CoreV1().ConfigMaps(opts.AWSAuthNamespace), opts.AWSAuthName, FieldManager),
		ledgerStore: awsauth.NewStore(opts.Client.CoreV1().ConfigMaps(opts.Namespace), LedgerName, FieldManager),
		wake:        make(chan struct{}, 1),
		respec:      make(chan struct{}, 1),
	}
	l.newTerm()
	return l
}

// newTerm forgets what a former term knew: another leader may have acted since.
func (l *Leader) newTerm() {
	l.ledger, l.parsed, l.standing, l.recorder = nil, nil, nil, nil
	l.began, l.again, l.caughtUp = time.Time{}, 0, false
	l.rosterSeen.Store(nil)
	l.status.Store(nil)
	l.view.Store(nil)
	l.own = &ownWrites{}
	l.diary = &diary{keep: l.opts.KeepWrites, now: l.now}
	l.past = newPast(history.New(l.opts.Client.AppsV1().ControllerRevisions(l.opts.Namespace), l.opts.AWSAuthName, FieldManager), l.now)
	l.gather = &gatherer{
		log: l.log, roster: l.opts.Roster, self: l.opts.Self, directory: l.opts.Directory, now: l.now,
		caller:  callerView{err: errNotAsked},
		success: map[string]time.Time{}, missing: map[string]time.Time{},
		instances: l.opts.Instances, verdicts: verdicts{due: make(chan struct{}, 1)},
	}
}

// Apply hands over a new spec; the running term acts on it at once.
func (l *Leader) Apply(spec *Spec) {
	if was := l.spec.Swap(spec); was == nil || was.Hash != spec.Hash {
		now := l.now()
		l.specChanged.Store(&now)
	}
	notify(l.respec)
	notify(l.wake)
}

// stuckAfter is longer than a try of a pass can take: it makes twelve requests at
// most, those for the history among them, and each is cut off after callTimeout.
const stuckAfter = 14 * callTimeout

// Alive is bad where the work is stuck, however well the Lease is renewed; not
// where requests fail, nor where this agent does not lead.
func (l *Leader) Alive() (Health, string) {
	if busy := l.busy(); busy > stuckAfter {
		return Bad, fmt.Sprintf("the work has been stuck for %s: every request of it ends after %s", busy.Round(time.Second), callTimeout)
	}
	return Good, ""
}

// busy is for how long the present try of a pass has been running, 0 if no pass
// runs.
func (l *Leader) busy() time.Duration {
	since := l.busySince.Load()
	if since == nil {
		return 0
	}
	return l.now().Sub(*since) // by the monotonic clock: the other one can be set
}

// notify leaves a token if there is none yet: many reasons, one pass.
func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Once asks every source and makes one pass; with dryRun it writes nothing.
// Sources that failed are in the outcome, not in the error.
func (l *Leader) Once(ctx context.Context, dryRun bool) (*Outcome, error) {
	spec := l.spec.Load()
	l.newTerm()
	if err := l.gather.refresh(ctx, spec); err != nil {
		if ctx.Err() != nil {
			return nil, err
		}
		l.log.Debug("IAM could not be asked wholly", "err", err)
	}
	return l.pass(ctx, spec, dryRun)
}

// Lead does the work of one term and returns nil when ctx ends and everything
// it started has ended. [Leader.Apply] must have been called.
func (l *Leader) Lead(ctx context.Context) error {
	l.newTerm()
	l.began = l.now()
	defer l.metrics.clear()
	defer l.status.Store(nil)
	defer l.view.Store(nil)
	defer l.startEvents(ctx)()

	notify(l.wake)
	notify(l.respec)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return l.watchAWSAuth(ctx) })
	g.Go(func() error { return l.watchRoster(ctx) })
	g.Go(func() error { return l.refreshIAM(ctx) })
	g.Go(func() error { return l.work(ctx) })
	if err := g.Wait(); err != nil && ctx.Err() == nil {
		return err
	}
	return nil
}

// work makes a pass whenever one is due. A burst of reasons is one pass: the
// first is made at once, further ones at most every passGap.
func (l *Leader) work(ctx context.Context) error {
	const passGap = 200 * time.Millisecond
	limit := rate.NewLimiter(rate.Every(passGap), 3)
	backoff := time.Duration(0)
	for {
		var retry, again <-chan time.Time
		if backoff > 0 {
			retry = time.After(jitter(backoff))
		}
		if l.again > 0 {
			again = time.After(l.again)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-l.wake:
		case <-retry:
		case <-again:
		}
		if limit.Wait(ctx) != nil {
			return nil
		}
		select { // what came while waiting is answered by this pass
		case <-l.wake:
		default:
		}
		if err := l.onePass(ctx); err != nil && ctx.Err() == nil {
			backoff = nextBackoff(backoff, err)
		} else {
			backoff = 0
		}
	}
}

// nextBackoff is the pause after a pass that failed, was being that after the one
// before it. Where others write faster than a pass reads and writes, patience gains
// nothing, and they may have locked somebody out: it is tried again soon, for as long
// as that lasts. All else takes longer each time.
func nextBackoff(was time.Duration, err error) time.Duration {
	if errors.Is(err, awsauth.ErrConflict) {
		return 250 * time.Millisecond
	}
	return min(max(2*was, time.Second), time.Minute)
}

// onePass makes a pass and tells what came of it. The error says why another one is
// to be made soon, though nothing may have changed by then.
func (l *Leader) onePass(ctx context.Context) error {
	start := l.now()
	l.busySince.Store(&start)
	defer l.busySince.Store(nil)
	l.again = 0
	spec := l.spec.Load()
	out, err := l.pass(ctx, spec, false)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	l.publish(spec, out, err)
	l.show(out, err)
	l.metrics.passed(l.now().Sub(start), out, err)
	if err == nil {
		l.tell(out.before, notices(out))
		l.metrics.sources(l.gather.lastSuccess(), out)
	}
	switch {
	case err == nil:
		l.log.Debug("pass done", "changes", len(out.Plan.Changes))
		return out.unread // the report that this pass was made for makes no other one
	case errors.Is(err, errJustDeleted):
		l.log.Warn("aws-auth is gone", "err", err)
		return nil
	case errors.Is(err, awsauth.ErrConflict):
		l.log.Warn("others write aws-auth at the same time, trying again", "err", err)
	case errors.Is(err, ErrMalformed):
		l.tellMalformed(err)
	default:
		l.ledger = nil
		l.log.Error("pass failed, trying again", "err", err)
	}
	return err
}

func (l *Leader) tellMalformed(err error) {
	const id = "malformed"
	if _, known := l.standing[id]; known {
		return
	}
	l.log.Error("aws-auth is malformed and left alone", "err", err)
	l.event(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: l.opts.AWSAuthNamespace, Name: l.opts.AWSAuthName}},
		corev1.EventTypeWarning, "Malformed", err.Error())
	l.standing = map[string]notice{id: {message: "aws-auth is malformed and left alone"}}
}

// refreshIAM asks IAM at the term's start, on a new spec and about every
// refresh interval, jittered so that clusters do not march in step. After a
// failure that patience may mend the interval doubles, up to ten minutes. EC2 is asked at once about
// reports that are new, and every few seconds at most.
func (l *Leader) refreshIAM(ctx context.Context) error {
	failures := 0
	reports := rate.NewLimiter(rate.Every(5*time.Second), 3)
	timer := time.NewTimer(0)
	timer.Stop() // the first of all is by respec
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-l.gather.verdicts.due:
			if reports.Wait(ctx) != nil {
				return nil
			}
			if err := l.gather.verify(ctx, l.spec.Load()); err != nil {
				l.log.Debug("EC2 could not be asked", "err", err)
			}
			notify(l.wake)
			continue
		case <-l.respec:
		case <-timer.C:
		}
		spec := l.spec.Load()
		switch err := l.gather.refresh(ctx, spec); {
		case err == nil, persists(err): // the other sources are due as usual
			failures = 0
		default:
			failures++
			l.log.Debug("IAM could not be asked wholly", "err", err, "failures", failures)
		}
		interval := spec.Refresh << min(failures, 8)
		if failures > 0 {
			interval = max(spec.Refresh, min(interval, 10*time.Minute))
		}
		timer.Reset(jitter(interval))
		notify(l.wake)
	}
}

// jitter spreads d over ±10 %.
func jitter(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (0.9 + 0.2*rand.Float64()))
}

// watchAWSAuth wakes the work when somebody else writes aws-auth.
func (l *Leader) watchAWSAuth(ctx context.Context) error {
	client := l.opts.Client.CoreV1().ConfigMaps(l.opts.AWSAuthNamespace)
	past, own := l.past, l.own
	only := func(o *metav1.ListOptions) {
		o.FieldSelector = fields.OneTermEqualSelector(metav1.ObjectNameField, l.opts.AWSAuthName).String()
	}
	return l.watch(ctx, &corev1.ConfigMap{}, &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			only(&o)
			return client.List(ctx, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			only(&o)
			return client.Watch(ctx, o)
		},
	}, func(o metav1.Object) bool {
		cm, ok := o.(*corev1.ConfigMap)
		if !ok {
			return true
		}
		if !own.others(cm) {
			return false
		}
		past.saw(cm)
		return true
	}, past.unsure)
}

// watchRoster wakes the work when a node reports a role.
func (l *Leader) watchRoster(ctx context.Context) error {
	client := l.opts.Client.CoordinationV1().Leases(l.opts.Namespace)
	return l.watch(ctx, &coordinationv1.Lease{}, &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			o.LabelSelector = roster.Selector
			return client.List(ctx, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			o.LabelSelector = roster.Selector
			return client.Watch(ctx, o)
		},
	}, l.sawReport, func() {})
}

// sawReport notes how new a roster the watch has seen, so that a pass reads none
// that is older. It is called by one goroutine.
func (l *Leader) sawReport(o metav1.Object) bool {
	version := o.GetResourceVersion()
	if was := l.rosterSeen.Load(); was == nil || later(version, *was) {
		l.rosterSeen.Store(&version)
	}
	return true
}

// watch follows a few objects and wakes the work at every change that counts, and
// where one is deleted, after gone.
func (l *Leader) watch(ctx context.Context, kind runtime.Object, lw *cache.ListWatch, counts func(metav1.Object) bool, gone func()) error {
	wake := func(o any) {
		if m, ok := o.(metav1.Object); !ok || counts(m) {
			notify(l.wake)
		}
	}
	_, informer := cache.NewInformerWithOptions(cache.InformerOptions{
		ListerWatcher: lw,
		ObjectType:    kind,
		Transform:     keepMetadata,
		Handler: cache.ResourceEventHandlerFuncs{
			AddFunc:    wake,
			UpdateFunc: func(_, o any) { wake(o) },
			DeleteFunc: func(any) {
				gone()
				notify(l.wake)
			},
		},
	})
	informer.RunWithContext(ctx)
	return nil
}

// keepMetadata drops the bodies of watched Leases.
func keepMetadata(o any) (any, error) {
	switch o := o.(type) {
	case *coordinationv1.Lease:
		return &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: o.Namespace, Name: o.Name, ResourceVersion: o.ResourceVersion}}, nil
	}
	return o, nil
}
