package election

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"net"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	// readsPerSecond is what all standbys together cost, about.
	readsPerSecond = 5
	// unknownAgents is what an unknown number of agents is taken for. At ten, a
	// standby's pace is that of client-go's elector with its usual 2 s.
	unknownAgents = 10
	// maxAgents is more than any cluster has nodes, and bounds what a wrong
	// annotation can do.
	maxAgents = 100_000
	// maxPeriod bounds how long a standby is blind to a leader that went while
	// the number of agents shrank. Beyond 18,000 agents it costs more than
	// readsPerSecond.
	maxPeriod = time.Hour
	// maxBlind is the longest pause of an agent that could not read the Lease yet, or
	// that got no answer when it counted the agents.
	maxBlind = time.Minute
	// atOnce is how many, about, of those who find the Lease forsaken at their start
	// join the elector at once. Were it one, all would wait until it has its answer,
	// and an API server that has 5,000 to answer takes ten seconds for that.
	atOnce = 16
	// maxGuesses is how often an agent counts without an answer before it takes the
	// agents for unknownAgents.
	maxGuesses = 5
)

// standBy reads the Lease now and then, until it is time to join the elector, and
// returns what it saw then, or nil if ctx has ended. starting says that this is the
// agent's first call, so that nothing is known of the Lease yet.
//
// Reads that fail change nothing: whoever leads may well be able to renew. As long
// as none has succeeded they become rarer, because nobody has told how many agents
// there are: 5,000 at the pace of ten would keep an API server down that has just
// come up.
func (e *Elector) standBy(ctx context.Context, starting bool) *sight {
	e.setMode(StandingBy)
	pause, paced := e.pause(), e.agents() // the number that the pause goes by
	if starting {
		// What the Lease says about the number of agents is not known before it
		// is read, so this spreads the start of many as well as two seconds can.
		pause, paced = rand.N(e.cfg.RetryPeriod), 0
	}
	for failed := 0; sleep(ctx, pause); {
		v, seen := e.read(ctx, starting)
		if starting && (v == unknown || v == healthy && failed < maxGuesses && !e.countUntold(ctx, seen.lease)) {
			failed++
			pause = rand.N(min(e.period()<<min(failed, 10), maxBlind))
			continue
		}
		switch {
		case v == missing, v == released, v == ours:
			return seen
		case v == stale && !starting:
			return seen
		case v == stale:
			// All agents may have been restarted at once and see this. A few of
			// them are enough, since the elector takes another LeaseDuration, and
			// those go by what they have just seen.
			pause = spread(e.agents()/atOnce, min(e.period(), 3*e.cfg.LeaseDuration))
			if pause == 0 {
				return seen
			}
		case v == healthy && (e.agents() > 2*paced || 2*e.agents() < paced):
			pause, paced = e.firstPause(), e.agents()
		default:
			pause = e.pause()
		}
		starting = false
	}
	return nil
}

// countUntold counts the agents where the Lease does not say how many there are:
// its holder has only just begun, or cannot count them. One request of each agent is
// less than what those cost that take 5,000 agents for ten.
//
// It reports false where a later try may tell: the API server has not answered, as
// happens where thousands ask at once. Where it has answered, and be it that there is
// no such DaemonSet or no right to read it, or where the holder has had the time to
// count, a later try tells no more: the agents are taken for unknownAgents, and
// a released Lease is noticed in about a second.
func (e *Elector) countUntold(ctx context.Context, lease *coordinationv1.Lease) bool {
	e.mu.Lock()
	told := e.told
	e.mu.Unlock()
	if told || e.cfg.CountAgents == nil || ledFor(lease) > 2*countPeriod {
		return true
	}
	timed, cancel := context.WithTimeout(ctx, e.requestTimeout())
	defer cancel()
	n, err := e.cfg.CountAgents(timed)
	if err != nil {
		return !unanswered(err)
	}
	if n >= 1 && n <= maxAgents {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.status.Agents = n
	}
	return true
}

// ledFor is how long a Lease's holder had led when it renewed last, by its own clock.
func ledFor(lease *coordinationv1.Lease) time.Duration {
	if lease == nil || lease.Spec.RenewTime == nil || lease.Spec.AcquireTime == nil {
		return 0
	}
	return lease.Spec.RenewTime.Sub(lease.Spec.AcquireTime.Time)
}

// unanswered reports whether an error means that an API server gave no answer, or
// none but that it has too much to do.
func unanswered(err error) bool {
	var network net.Error // those of HTTP are, too
	return errors.As(err, &network) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) ||
		apierrors.IsTimeout(err) || apierrors.IsServerTimeout(err) || apierrors.IsTooManyRequests(err) ||
		apierrors.IsServiceUnavailable(err) || apierrors.IsInternalError(err) || apierrors.IsUnexpectedServerError(err)
}

// read is a standby's look at the Lease. One that fails is not made again.
func (e *Elector) read(ctx context.Context, starting bool) (verdict, *sight) {
	get := e.get
	if starting {
		get = e.getPatiently
	}
	lease, err := get(ctx, e.cfg.Reader.Leases(e.cfg.Namespace), e.cfg.Name, metav1.GetOptions{})
	if ctx.Err() != nil {
		return unknown, nil
	}
	e.metrics.polls.Inc()
	return e.sighted(opGet, lease, err), &sight{lease, err}
}

// period is the mean time between two reads of one standby. It is never below 0.85
// RetryPeriod: client-go's elector looks every 1.6 RetryPeriods, and a look costs more
// than all else that a standby does.
func (e *Elector) period() time.Duration {
	return min(max(time.Duration(e.agents())*time.Second/readsPerSecond, e.cfg.RetryPeriod*17/20), maxPeriod)
}

// areFew reports whether so few agents stand by that their pauses are to be alike: it
// is then the longest that a release waits for, and there is no crowd to be spread.
// Of two standbys one looks within 0.78 periods in 95 of 100 cases, and one alone
// within 1.03; with pauses like those of many it would be 1.05 and 1.55. An unknown
// number counts as few.
func (e *Elector) areFew() bool { return e.agents() <= unknownAgents }

// pause is uniform over twice the period: whatever made the standbys march in
// step, a deploy or an outage, is forgotten after one round. Of a few it is a
// period, give or take a quarter.
func (e *Elector) pause() time.Duration {
	p := e.period()
	if e.areFew() {
		return p*3/4 + rand.N(p/2)
	}
	return rand.N(2 * p)
}

// firstPause is the pause of one that starts, or that learns of another number of
// agents: what is left of a pause at a moment that has nothing to do with it. So
// as many agents ask in each second from the first one on as later; with whole
// pauses it would be half as many at first and a third more than usual two
// periods later, which of 5,000 agents is half an hour. (The residual life of
// renewal theory: its density falls linearly to 0 at twice the period.)
func (e *Elector) firstPause() time.Duration {
	if e.areFew() {
		return rand.N(e.period())
	}
	left := 1 - math.Sqrt(rand.Float64())
	return time.Duration(2 * float64(e.period()) * left)
}

// spread returns a delay of up to limit for one of n agents that all ask at
// the same time. About one of them gets none and their number then grows
// exponentially, so that the first is early and the crowd late even where n is
// wrong by orders of magnitude; where uniform delays would bring either a crowd
// or, if n is much too large, nobody for a long time. It is the truncated
// exponential timer of https://www.rfc-editor.org/rfc/rfc5401 (RandomBackoff).
func spread(n int, limit time.Duration) time.Duration {
	if n < 2 {
		return 0
	}
	u := 1 - rand.Float64() // (0, 1]
	return max(0, time.Duration(float64(limit)*(1+math.Log(u)/math.Log(float64(n)))))
}

// requestTimeout keeps one hung request from losing the Lease; half of the
// deadline is what client-go gives its own (resourcelock.NewFromKubeconfig).
func (e *Elector) requestTimeout() time.Duration { return e.cfg.RenewDeadline / 2 }
