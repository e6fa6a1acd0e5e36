package election

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	coordinationv1client "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/utils/ptr"
)

// A lease is the client through which client-go's LeaseLock reaches the Lease
// during one campaign. Standing between the two, it sees what the elector sees
// at the time when the elector sees it, gives every request a timeout, and
// publishes the annotations in the same update that renews the Lease: a write of
// its own would make the elector's next one fail with a conflict. (LeaseLock
// keeps the object it last got and replaces its spec only, so that annotations
// stay when others renew: resourcelock/leaselock.go:77.)
type lease struct {
	coordinationv1client.LeaseInterface
	e *Elector

	healthy chan struct{} // has one item once another leader was seen in health
	lost    chan struct{} // closed when the Lease, once held, was seen in other hands

	mu          sync.Mutex
	seen        *sight    // what the elector is to begin with; nil once it has
	held        bool      // a write that named us has succeeded, and nothing else was seen since
	mayHold     bool      // a write that named us was sent, and nothing else was seen since
	renewed     time.Time // when the last write that named us and succeeded was begun
	ours        string    // resourceVersion of the Lease as last seen, where that names us
	transitions int       // of the Lease as last seen
	agents      int       // to publish; 0 for nothing
	leading     bool      // a term has begun
	began       time.Time // when it did
	unable      bool      // its work returned ErrUnable
}

// A sight is the answer to a look at the Lease.
type sight struct {
	lease *coordinationv1.Lease
	err   error
}

func newLease(e *Elector, seen *sight) *lease {
	return &lease{
		seen:           seen,
		LeaseInterface: e.cfg.Client.Leases(e.cfg.Namespace),
		e:              e,
		healthy:        make(chan struct{}, 1),
		lost:           make(chan struct{}),
	}
}

// Leases returns l itself, which makes it the LeasesGetter of a LeaseLock.
func (l *lease) Leases(string) coordinationv1client.LeaseInterface { return l }

func (l *lease) Get(ctx context.Context, name string, opts metav1.GetOptions) (*coordinationv1.Lease, error) {
	got, err := l.look(ctx, name, opts)
	if err != nil && ctx.Err() != nil {
		return got, err
	}
	v := l.e.sighted(opGet, got, err)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil {
		l.transitions = int(ptr.Deref(got.Spec.LeaseTransitions, 0))
		l.ours = ""
		if ptr.Deref(got.Spec.HolderIdentity, "") == l.e.cfg.Identity {
			l.ours = got.ResourceVersion
		}
	}
	switch v {
	case missing:
		// While leading, the elector makes the Lease anew; if somebody else is
		// faster, the next look shows it.
		l.mayHold = false
	case healthy, stale, released:
		l.mayHold = false
		if l.held {
			l.held = false
			l.closeLost()
		}
	}
	if v == healthy {
		select {
		case l.healthy <- struct{}{}:
		default:
		}
	}
	return got, err
}

// look returns what the standby has seen, the first time, and then what the Lease
// is: as whoever stands by reads it, or by the way of renewals.
func (l *lease) look(ctx context.Context, name string, opts metav1.GetOptions) (*coordinationv1.Lease, error) {
	l.mu.Lock()
	seen, held := l.seen, l.held
	l.seen = nil
	l.mu.Unlock()
	switch {
	case seen != nil:
		return seen.lease, seen.err
	case held:
		return l.e.get(ctx, l.LeaseInterface, name, opts)
	}
	return l.e.get(ctx, l.e.cfg.Reader.Leases(l.e.cfg.Namespace), name, opts)
}

// closeLost is called once at most: after it, a lease that is taken again is
// taken for nobody, because the campaign ends.
func (l *lease) closeLost() {
	select {
	case <-l.lost:
	default:
		close(l.lost)
	}
}

func (l *lease) Create(ctx context.Context, lease *coordinationv1.Lease, opts metav1.CreateOptions) (*coordinationv1.Lease, error) {
	l.countFirst(ctx)
	return l.write(ctx, opCreate, lease, func(ctx context.Context) (*coordinationv1.Lease, error) {
		return l.LeaseInterface.Create(ctx, lease, opts)
	})
}

// Update answers a conflict to an empty Lease: that is what client-go's lock is left
// with, and tries to update once, where the Lease of a leader was deleted and
// another agent made it anew first (tools/leaderelection/resourcelock/leaselock.go,
// Create). And it releases nothing but what names us: LeaseLock updates the object
// that it last got, whoever held it.
func (l *lease) Update(ctx context.Context, lease *coordinationv1.Lease, opts metav1.UpdateOptions) (*coordinationv1.Lease, error) {
	if lease.Name == "" {
		return nil, l.conflict("another agent made it anew")
	}
	if ptr.Deref(lease.Spec.HolderIdentity, "") == "" && !l.isOurs(lease.ResourceVersion) {
		return nil, l.conflict("another agent holds it")
	}
	return l.write(ctx, opUpdate, lease, func(ctx context.Context) (*coordinationv1.Lease, error) {
		return l.LeaseInterface.Update(ctx, lease, opts)
	})
}

func (l *lease) conflict(why string) error {
	return apierrors.NewConflict(coordinationv1.Resource("leases"), l.e.cfg.Name, errors.New(why))
}

func (l *lease) isOurs(version string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return version != "" && version == l.ours
}

func (l *lease) write(ctx context.Context, op string, lease *coordinationv1.Lease, send func(context.Context) (*coordinationv1.Lease, error)) (*coordinationv1.Lease, error) {
	timed, cancel := context.WithTimeout(ctx, l.e.requestTimeout())
	defer cancel()
	naming := ptr.Deref(lease.Spec.HolderIdentity, "") == l.e.cfg.Identity
	l.mu.Lock()
	l.annotate(&lease.ObjectMeta, naming)
	l.mayHold = l.mayHold || naming
	l.mu.Unlock()

	begun := time.Now()
	got, err := send(timed)
	if err != nil && ctx.Err() != nil {
		return got, err
	}
	l.e.sighted(op, got, err)
	if err == nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.held, l.mayHold, l.ours = naming, naming, ""
		l.transitions = int(ptr.Deref(got.Spec.LeaseTransitions, 0))
		if naming {
			l.renewed, l.ours = begun, got.ResourceVersion
		}
	}
	return got, err
}

// annotate puts in what is published. A write that takes the Lease or releases
// it takes out what the leader before, or this one, said of its term. The caller
// holds mu.
func (l *lease) annotate(meta *metav1.ObjectMeta, naming bool) {
	if l.agents > 0 {
		metav1.SetMetaDataAnnotation(meta, AgentsAnnotation, strconv.Itoa(l.agents))
	}
	switch {
	case !naming && l.unable:
		metav1.SetMetaDataAnnotation(meta, GaveUpAnnotation, strconv.Itoa(gaveUp(meta.Annotations)+1))
	case !naming, l.leading && time.Since(l.began) > ableAfter:
		delete(meta.Annotations, GaveUpAnnotation)
	}
	for key, answer := range l.e.cfg.Annotations {
		text := ""
		if naming && l.leading {
			text = answer()
		}
		if text == "" {
			delete(meta.Annotations, key)
		} else {
			metav1.SetMetaDataAnnotation(meta, key, text)
		}
	}
}

// beginTerm has the annotations of the term published from now on.
func (l *lease) beginTerm() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.leading, l.began = true, time.Now()
}

// ableAfter is how long a leader has to lead to count as able to do its work.
const ableAfter = 2 * time.Minute

// setUnable has the release say that the work could not be done.
func (l *lease) setUnable() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.unable = true
}

// countFirst counts the agents before the Lease is made. Where all are new, as
// after an installation, each of them then learns from its first look how many
// they are, instead of looking at the pace of a few until the leader has counted.
// That it can't is no reason not to lead.
func (l *lease) countFirst(ctx context.Context) {
	if n := l.e.cfg.Agents; n > 0 {
		l.publish(n)
	}
	if l.e.cfg.CountAgents == nil {
		return
	}
	timed, cancel := context.WithTimeout(ctx, l.e.cfg.RetryPeriod)
	defer cancel()
	if n, err := l.e.cfg.CountAgents(timed); err == nil && n >= 1 && n <= maxAgents {
		l.publish(n)
	}
}

// publish has the number of agents written with the next renewal.
func (l *lease) publish(agents int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.agents = agents
}

// lastRenewal returns when the last renewal that succeeded was begun. The
// others' patience begins later, when they first see it.
func (l *lease) lastRenewal() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.renewed
}

// lastTransitions returns how often the Lease has changed hands.
func (l *lease) lastTransitions() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.transitions
}

// isHeld reports whether the Lease was ours when we last saw it.
func (l *lease) isHeld() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.held
}

// mayBeHeld reports whether the Lease could be ours: it is, or an answer to a
// write that would make it so was lost.
func (l *lease) mayBeHeld() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mayHold
}
