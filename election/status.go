package election

import (
	"context"
	"errors"
	"strconv"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"k8s.io/utils/ptr"
)

// A Mode is what an agent does in the election.
type Mode string

// The modes of an [Elector].
const (
	StandingBy Mode = "standing by" // reads the Lease now and then
	Electing   Mode = "electing"    // has joined client-go's elector
	Leading    Mode = "leading"     // work runs
)

// Status says what this agent knows about the election. A standby's knowledge
// is as old as its last look, see Seen.
type Status struct {
	Mode   Mode
	Leader string    // identity of the holder at the last look; "" if none, or never seen
	Since  time.Time // when this agent first saw Leader hold the Lease
	Seen   time.Time // when this agent last read or wrote the Lease; zero if never
	Agents int       // how many agents it reckons with
	// GaveUp is how many leaders in a row had given the Lease up at the last look, because
	// they were unable: see [GaveUpAnnotation].
	GaveUp int
	// Published is what the Lease held at the last look of what leaders publish
	// by [Config.Annotations]. It is never changed. Whoever may write the Lease
	// may have written it.
	Published map[string]string
	Err       error // what the last reads or writes of the Lease failed with; nil if they did not
}

// Status returns what is known now.
func (e *Elector) Status() Status {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.status
	s.Err = errors.Join(e.errs[opGet], e.errs[opCreate], e.errs[opUpdate])
	return s
}

func (e *Elector) setMode(m Mode) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.status.Mode = m
	e.metrics.setLeading(m == Leading)
}

func (e *Elector) agents() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.status.Agents
}

// The operations on the Lease, as they are called in logs.
const (
	opGet    = "get"
	opCreate = "create"
	opUpdate = "update"
)

// sighted takes in the answer to any request for the Lease, the elector's as
// well as the standby's, and returns what it says about the holder.
func (e *Elector) sighted(op string, lease *coordinationv1.Lease, err error) verdict {
	e.mu.Lock()
	defer e.mu.Unlock()
	if apierrors.IsNotFound(err) && op == opGet {
		lease, err = nil, nil
	}
	e.answered(op, err)
	if err != nil {
		return unknown
	}
	e.lookBack(lease)
	now := time.Now()
	v := e.seen.look(lease, now)
	holder := ""
	if lease != nil {
		holder = ptr.Deref(lease.Spec.HolderIdentity, "")
		e.status.GaveUp = gaveUp(lease.Annotations)
		if n, err := strconv.Atoi(lease.Annotations[AgentsAnnotation]); err == nil && n >= 1 && n <= maxAgents {
			e.status.Agents, e.told = n, true
		}
	}
	if v == healthy && len(e.errs) > 0 {
		// Another agent leads: what this one could not write is settled.
		clear(e.errs)
		e.log.Info("the lease can be reached again", "operation", op)
	}
	e.status.Seen = now
	e.status.Published = e.published(lease)
	if holder != e.status.Leader {
		e.status.Leader, e.status.Since = holder, now
		e.metrics.holder(holder)
		if v == stale || v == healthy {
			e.log.Info("another agent leads", "leader", holder)
		}
	}
	return v
}

// gaveUp reads the annotation; what it can't be is none.
func gaveUp(annotations map[string]string) int {
	n, err := strconv.Atoi(annotations[GaveUpAnnotation])
	if err != nil || n < 0 || n > maxAgents {
		return 0
	}
	return n
}

// lookBack notices that the Lease is older than it was seen before. The caller holds
// mu.
func (e *Elector) lookBack(lease *coordinationv1.Lease) {
	version := ""
	if lease != nil {
		version = lease.ResourceVersion
	}
	was := e.newest
	e.newest = version
	if was == "" {
		return
	}
	if version != "" {
		if order, err := resourceversion.CompareResourceVersion(version, was); err != nil || order >= 0 {
			return
		}
	}
	e.log.Warn("the lease is older than before: the cluster was restored from a backup, or the lease deleted", "resource_version", version, "was", was)
	if e.cfg.SetBack != nil {
		e.cfg.SetBack()
	}
}

// maxPublished is the longest text in bytes that is kept of what is published: an
// annotation can be as long as 256 KiB, and every agent would hold it.
const maxPublished = 16 << 10

// published is what leaders publish on the Lease.
func (e *Elector) published(lease *coordinationv1.Lease) map[string]string {
	if lease == nil {
		return nil
	}
	said := map[string]string{}
	for key := range e.cfg.Annotations {
		if text := lease.Annotations[key]; text != "" && len(text) <= maxPublished {
			said[key] = text
		}
	}
	return said
}

// answered logs when requests of a kind begin to fail and when they succeed
// again. A conflict is no failure, only another agent that was faster. The
// caller holds mu.
func (e *Elector) answered(op string, err error) {
	switch {
	case apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err):
		return
	case err != nil && e.errs[op] != nil:
		e.log.Debug("still cannot reach the lease", "operation", op, "err", err)
	case err != nil:
		e.log.Warn("cannot reach the lease, trying again", "operation", op, "err", err)
	}
	if err != nil {
		e.errs[op] = err
		return
	}
	failing := len(e.errs)
	if op != opGet {
		clear(e.errs) // a leader that renews does not read
	}
	delete(e.errs, op)
	if len(e.errs) < failing {
		e.log.Info("the lease can be reached again", "operation", op)
	}
}

// countAgents asks how many agents there are, now and every minute, and has the
// answer published with the next renewal. It returns when ctx ends.
func (e *Elector) countAgents(ctx context.Context, publish func(int)) {
	if e.cfg.CountAgents == nil {
		if e.cfg.Agents > 0 {
			publish(e.cfg.Agents)
		}
		return
	}
	for failing, pause := false, time.Duration(0); sleep(ctx, pause); {
		n, err := e.cfg.CountAgents(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil && n >= 1 && n <= maxAgents:
			publish(n)
			failing, pause = false, countPeriod
			continue
		case !failing:
			e.log.Warn("cannot count the agents, reckoning with the last number", "agents", e.agents(), "answer", n, "err", err)
		}
		failing, pause = true, countPeriod/6
	}
}

// countPeriod is the time between two counts of the agents.
const countPeriod = time.Minute
