package election

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/klog/v2"
)

// campaignLimit is how many LeaseDurations a candidate stays with the elector
// when it sees neither a leader nor a chance to lead (say it may not update the
// Lease), so that such agents don't pile up at the elector's pace.
const campaignLimit = 4

// campaign joins client-go's elector, which begins with what was seen of the Lease a
// moment ago, and leads if it wins. It returns when another leader is in health,
// after a term, or when ctx ends. ended is why work returned by itself, or nil. The
// error is nil or ErrStuck.
func (e *Elector) campaign(ctx context.Context, seen *sight, work func(context.Context) error) (ended, err error) {
	e.setMode(Electing)
	e.log.Debug("joining the elector")
	l := newLease(e, seen)
	lock := &resourcelock.LeaseLock{
		LeaseMeta:  metav1.ObjectMeta{Namespace: e.cfg.Namespace, Name: e.cfg.Name},
		Client:     l,
		LockConfig: resourcelock.ResourceLockConfig{Identity: e.cfg.Identity},
	}
	started := make(chan struct{})
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Name:          e.cfg.Name,
		Lock:          lock,
		LeaseDuration: e.cfg.LeaseDuration,
		RenewDeadline: e.cfg.RenewDeadline,
		RetryPeriod:   e.cfg.RetryPeriod,
		// The elector would release the Lease also when it failed to renew it,
		// while work is still ending. We release it ourselves, after work.
		ReleaseOnCancel: false,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(context.Context) { close(started) },
			OnStoppedLeading: func() {},
		},
	})
	if err != nil {
		return nil, fmt.Errorf("election: %w", err) // New has checked all that it checks
	}

	// The elector must not end with ctx: it renews until work has ended.
	electing, stop := context.WithCancel(klog.NewContext(context.WithoutCancel(ctx), e.klog))
	defer stop()
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		elector.Run(electing)
	}()
	limit := time.NewTimer(campaignLimit * e.cfg.LeaseDuration)
	defer limit.Stop()

	select {
	case <-started:
		ended, err = e.lead(ctx, l, stopped, work)
	case <-l.healthy:
		e.log.Debug("leaving the elector: another leader is in health")
	case <-limit.C:
		e.log.Warn("leaving the elector for a while: nobody was elected")
	case <-ctx.Done():
	}
	stop()
	<-stopped
	if errors.Is(ended, ErrUnable) {
		l.setUnable()
	}
	if err == nil {
		e.release(ctx, l, lock)
	}
	return ended, err
}

// lead runs work for one term and returns when it has returned, or ErrStuck.
// stopped is closed when the elector has given up.
func (e *Elector) lead(ctx context.Context, l *lease, stopped <-chan struct{}, work func(context.Context) error) (ended, err error) {
	e.setMode(Leading)
	defer e.setMode(Electing)
	e.log.Info("leading")
	l.beginTerm()

	working, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	result := make(chan error, 1)
	go func() {
		counted := make(chan struct{})
		go func() {
			defer close(counted)
			e.countAgents(working, l.publish)
		}()
		err := work(working)
		cancel(nil)
		<-counted
		result <- err
	}()

	var (
		done   = ctx.Done()
		lost   = l.lost
		grace  = time.NewTimer(time.Hour) // armed when the Lease is lost
		expiry = time.NewTimer(e.untilExpiry(l))
		over   error // why the term is over before work returned
	)
	grace.Stop()
	defer grace.Stop()
	defer expiry.Stop()
	lose := func(why error) {
		done, lost, stopped = nil, nil, nil
		expiry.Stop()
		over = why
		cancel(why)
		e.setMode(Electing)
		grace.Reset(e.cfg.LeaseDuration - e.cfg.RenewDeadline)
		e.log.Warn("the lease is lost: stopping work", "err", why)
	}
	tell := func(err error) {
		if err != nil && !errors.Is(err, context.Canceled) {
			e.log.Warn("work ended", "err", err)
		}
	}
	for {
		select {
		case err := <-result:
			switch {
			case over != nil, ctx.Err() != nil:
				tell(err)
				return nil, nil
			case err == nil:
				err = errors.New("it returned without an error")
			}
			e.log.Warn("work ended by itself: giving the lease up", "err", err)
			return err, nil
		case <-done:
			done = nil
			e.log.Info("stopping work before the lease is released")
		case <-lost:
			lose(errors.New("somebody else took the lease"))
		case <-stopped:
			lose(errors.New("client-go's elector gave up"))
		case <-expiry.C:
			if d := e.untilExpiry(l); d > 0 {
				expiry.Reset(d)
				continue
			}
			lose(fmt.Errorf("the lease was not renewed for %v", e.cfg.RenewDeadline))
		case <-grace.C:
			select {
			case err := <-result: // in time, and the machine stood still
				tell(err)
				return nil, nil
			default:
				return nil, ErrStuck
			}
		}
	}
}

// untilExpiry is how long work may go on if no other renewal succeeds. The
// elector itself gives up later: it counts RenewDeadline from the first failed
// renewal, which is a RetryPeriod after the last good one.
func (e *Elector) untilExpiry(l *lease) time.Duration {
	return time.Until(l.lastRenewal().Add(e.cfg.RenewDeadline))
}

// release gives the Lease up if it could be ours, so that the others need not
// wait until it expires. Work has ended and the elector too. It tries for
// LeaseDuration − RenewDeadline at most, even though ctx may have ended.
func (e *Elector) release(ctx context.Context, l *lease, lock *resourcelock.LeaseLock) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), e.cfg.LeaseDuration-e.cfg.RenewDeadline)
	defer cancel()
	// What the last renewal left is most likely still there, and if it is not,
	// the update conflicts: this saves a request while everybody waits.
	patience := e.late()
	for look := !l.isHeld(); l.mayBeHeld(); look = true {
		begun := time.Now()
		err := e.tryRelease(ctx, l, lock, look, patience)
		switch {
		case err == nil, apierrors.IsConflict(err), !l.mayBeHeld():
		case !sleep(ctx, e.late()-time.Since(begun)):
			e.log.Warn("the lease is not released: the others must wait until it expires", "err", err)
			return
		}
		patience = e.requestTimeout() // an API server may be slow throughout
	}
}

// tryRelease writes what client-go's elector writes (tools/leaderelection/leaderelection.go:342).
// It takes patience at most. A write that is given up as late may come to pass all the
// same: the next look shows it, and it undoes nothing, for it needs the
// resourceVersion that it was made for.
func (e *Elector) tryRelease(ctx context.Context, l *lease, lock *resourcelock.LeaseLock, look bool, patience time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if look {
		record, _, err := lock.Get(ctx)
		if err != nil || record.HolderIdentity != e.cfg.Identity {
			return err
		}
	}
	now := metav1.Now()
	err := lock.Update(ctx, resourcelock.LeaderElectionRecord{
		LeaderTransitions:    l.lastTransitions(),
		LeaseDurationSeconds: 1,
		RenewTime:            now,
		AcquireTime:          now,
	})
	if err == nil {
		e.log.Info("released the lease")
	}
	return err
}
