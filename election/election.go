package election

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/util/wait"
	coordinationv1client "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/client-go/tools/leaderelection"
)

// Defaults of [Config], which are those of the Kubernetes control plane.
const (
	DefaultLeaseDuration = 15 * time.Second
	DefaultRenewDeadline = 10 * time.Second
	DefaultRetryPeriod   = 2 * time.Second
)

// AgentsAnnotation is the annotation of the Lease under which the leader
// publishes how many agents stand for election: a decimal number.
const AgentsAnnotation = "rolecall.dev/agents"

// GaveUpAnnotation is the annotation of the Lease that says how many leaders in a row
// have given it up because their work returned [ErrUnable]: a decimal number. A leader
// that does its work for two minutes, or ends in another way, takes it away.
const GaveUpAnnotation = "rolecall.dev/gave-up"

// ErrStuck is returned by [Elector.Run] when the Lease was lost and work did
// not return in time. Work may still be writing while another agent leads, so
// the only safe thing left is that the process exits.
var ErrStuck = errors.New("work still runs although its lease was lost: the process must exit")

// ErrUnable is returned by work, wrapped, where this agent cannot do it although it
// holds the Lease, and another agent may: it gives the Lease up, and stands back
// longer each time that this happens again.
var ErrUnable = errors.New("this agent cannot do the leader's work")

// Config is what an [Elector] needs. Client, Namespace, Name and Identity are
// required; the zero value of the others is a default.
type Config struct {
	// Client reaches the Lease with the verbs get, create and update. It should
	// have a rate limiter of its own: a renewal that queues behind other
	// requests is a lost lease. Requests are cut off after RenewDeadline / 2.
	Client coordinationv1client.LeasesGetter
	// Reader reads the Lease while this agent does not hold it, with the verb get; nil
	// is Client. It may be shared with other requests, since a look that waits loses
	// nothing: an agent that only ever stands by then makes one connection, not two.
	// An agent's first look is cut off after RenewDeadline, others after half of it.
	Reader coordinationv1client.LeasesGetter

	Namespace string // of the Lease
	Name      string // of the Lease
	Identity  string // of this agent among all that campaign; see [Identity]

	// LeaseDuration is how long the others wait from their last sight of a
	// renewal before they take the Lease by force: whole seconds, because that
	// is what a Lease can say. The default is 15 s.
	LeaseDuration time.Duration
	// RenewDeadline is how long after its last renewal a leader works on. It
	// must be shorter than LeaseDuration; work has the difference to stop in.
	// The default is 10 s.
	RenewDeadline time.Duration
	// RetryPeriod is the time between two renewals and the least time between
	// two tries of a candidate. RenewDeadline must be longer than 1.2 of it.
	// The default is 2 s.
	RetryPeriod time.Duration

	// Agents is how many agents stand for election, this one included, as long
	// as the Lease does not tell. Zero means unknown, which is taken for 10.
	Agents int
	// CountAgents counts them; it is asked by the leader alone, when its term
	// begins and every minute from then on, and by who is about to make the Lease,
	// or at its start finds one that does not tell. It must respect its context. Its
	// answer is published on the Lease. An error or an answer below 1 leaves
	// what was published before. If nil, the leader publishes Agents.
	CountAgents func(context.Context) (int, error)
	// Annotations are what the leader publishes on the Lease besides, by key.
	// Each is asked before every renewal, which carries the answer, so that it
	// costs no request; it must return at once and be safe for concurrent use.
	// An empty answer is no annotation. They end with the term: a Lease that is
	// released, or taken over from another agent, has none of these keys.
	Annotations map[string]func() string

	// SetBack is called when the Lease is seen older than it was seen before: the
	// cluster was restored from a backup, and what was written since is gone. It must
	// return at once. Nil: nobody is told.
	SetBack func()

	Logger     *slog.Logger          // nil: no log
	Registerer prometheus.Registerer // nil: no metrics
}

// Identity returns an identity for an agent on a node: the node's name, by
// which a person knows where the leader runs, and a random part, because a
// restarted agent is another candidate.
func Identity(node string) string {
	return node + "_" + strings.ToLower(rand.Text()[:13])
}

// An Elector stands for election on behalf of one agent. Its methods are safe
// for concurrent use, but Run must not be called while it runs.
type Elector struct {
	cfg     Config
	log     *slog.Logger
	klog    logr.Logger // what client-go says, at debug level
	metrics *metrics

	mu     sync.Mutex
	seen   observer
	newest string // resourceVersion of the Lease, the highest that was seen
	status Status
	told   bool             // the Lease has said how many agents there are
	errs   map[string]error // by operation: the last answer, where it was an error
}

// New checks cfg and registers the metrics. It makes no request.
func New(cfg Config) (*Elector, error) {
	setDefault(&cfg.LeaseDuration, DefaultLeaseDuration)
	setDefault(&cfg.RenewDeadline, DefaultRenewDeadline)
	setDefault(&cfg.RetryPeriod, DefaultRetryPeriod)
	if cfg.Reader == nil {
		cfg.Reader = cfg.Client
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if err := cfg.check(); err != nil {
		return nil, fmt.Errorf("election: %w", err)
	}
	m, err := newMetrics(cfg.Registerer)
	if err != nil {
		return nil, fmt.Errorf("election: register metrics: %w", err)
	}
	e := &Elector{
		cfg:     cfg,
		log:     cfg.Logger.With("lease", cfg.Namespace+"/"+cfg.Name),
		metrics: m,
		seen:    observer{self: cfg.Identity, patience: stalePeriods * cfg.RetryPeriod / 2},
		status:  Status{Mode: StandingBy, Agents: cfg.Agents},
		errs:    map[string]error{},
	}
	e.klog = logr.FromSlogHandler(demoted{e.log.Handler()})
	if cfg.Agents == 0 {
		e.status.Agents = unknownAgents
	}
	return e, nil
}

func setDefault(d *time.Duration, def time.Duration) {
	if *d == 0 {
		*d = def
	}
}

// check says what client-go would refuse, and what it would accept and round
// to something unsafe.
func (c *Config) check() error {
	switch {
	case c.Client == nil:
		return errors.New("no client: set Config.Client")
	case c.Namespace == "" || c.Name == "":
		return errors.New("the lease has no namespace or no name: set both")
	case c.Identity == "":
		return errors.New("the agent has no identity: set Config.Identity, for example to Identity(node)")
	case c.Agents < 0 || c.Agents > maxAgents:
		return fmt.Errorf("the number of agents is %d: write one between 0 (unknown) and %d", c.Agents, maxAgents)
	case c.RetryPeriod < 0 || c.RenewDeadline < 0 || c.LeaseDuration < 0:
		return errors.New("a duration is negative: write for example 15s, 10s and 2s")
	case c.LeaseDuration%time.Second != 0 || c.LeaseDuration > math.MaxInt32*time.Second:
		return fmt.Errorf("the lease duration is %v: write whole seconds, because a Lease counts in them", c.LeaseDuration)
	case c.LeaseDuration <= c.RenewDeadline:
		return fmt.Errorf("the lease duration %v is not longer than the renew deadline %v: write for example 15s and 10s", c.LeaseDuration, c.RenewDeadline)
	case c.RenewDeadline <= time.Duration(leaderelection.JitterFactor*float64(c.RetryPeriod)):
		return fmt.Errorf("the renew deadline %v is not longer than %v times the retry period %v: write for example 10s and 2s", c.RenewDeadline, leaderelection.JitterFactor, c.RetryPeriod)
	}
	return nil
}

// Run stands for election until ctx ends and calls work whenever this agent
// leads, one call at a time. Work's context ends with ctx and with the Lease.
//
// When ctx ends, Run waits for work, however long that takes, releases the
// Lease and returns nil. A lost Lease is no error: Run stands by again. Nor is
// work that returns by itself: the Lease is released, and this agent stands by again
// after a backoff of seconds to a minute; of half a minute to ten minutes where work
// returned [ErrUnable], and not shorter until it has led for two minutes without. The
// only error is [ErrStuck].
func (e *Elector) Run(ctx context.Context, work func(context.Context) error) error {
	defer e.setMode(StandingBy)
	backoff, unable := e.backoff(), e.unable()
	for starting := true; ; starting = false {
		seen := e.standBy(ctx, starting)
		if seen == nil {
			break
		}
		var led time.Duration
		ended, err := e.campaign(ctx, seen, func(ctx context.Context) error {
			begun := time.Now()
			defer func() { led = time.Since(begun) }()
			return work(ctx)
		})
		if err != nil {
			return err
		}
		long := led > 2*backoff.Cap
		if ended == nil || ctx.Err() != nil {
			if long {
				unable = e.unable()
			}
			continue
		}
		var pause time.Duration
		if errors.Is(ended, ErrUnable) {
			pause = min(unable.Step(), unable.Cap)
		} else {
			if long {
				backoff, unable = e.backoff(), e.unable()
			}
			pause = backoff.Step()
		}
		e.log.Info("standing back from the election for a while", "pause", pause)
		e.setMode(StandingBy)
		if !sleep(ctx, pause) {
			break
		}
	}
	return nil
}

// unable is for work that returns [ErrUnable]: long enough that another agent has
// shown whether it can do it, and not so long that nobody is left where none can.
func (e *Elector) unable() wait.Backoff {
	return wait.Backoff{Duration: 10 * e.cfg.RetryPeriod, Factor: 2, Jitter: 0.5, Steps: math.MaxInt32, Cap: 10 * time.Minute}
}

// backoff is for work that returns by itself.
func (e *Elector) backoff() wait.Backoff {
	return wait.Backoff{Duration: e.cfg.RetryPeriod, Factor: 2, Jitter: 1, Steps: math.MaxInt32, Cap: time.Minute}
}

// sleep waits, and reports false when ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return ctx.Err() == nil
	}
}
