package election

import (
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

// asked counts the requests of each client, by operation.
type asked struct {
	mu sync.Mutex
	n  map[string]int
}

func (a *asked) fault(op, client string) fault {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.n == nil {
		a.n = map[string]int{}
	}
	a.n[client+" "+op]++
	return fault{}
}

func (a *asked) of(client, op string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.n[client+" "+op]
}

// Who stands by, and who waits for its turn, reads by the shared connection alone.
// What the standby has seen last, the elector does not read again.
func TestOwnConnectionIsForRenewals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		var all asked
		c.store.fault = all.fault
		c.configure = func(cfg *Config) { cfg.Reader = c.store.client("shared") }
		c.store.force(leaseOf("other", 3, 0))
		a := c.start(nil)
		defer c.stopAll()
		for range 60 {
			time.Sleep(time.Second)
			c.store.force(func(l *coordinationv1.Lease) *coordinationv1.Lease {
				l.Spec.RenewTime = ptr.To(metav1.NowMicro())
				return l
			})
		}
		if n := all.of(a.id, opGet) + all.of(a.id, opUpdate) + all.of(a.id, opCreate); n != 0 {
			t.Errorf("a standby made %d requests by the connection for renewals", n)
		}
		if all.of("shared", opGet) == 0 {
			t.Error("it never looked")
		}

		c.awaitTerm(time.Minute) // of its sight of a Lease that is no longer renewed
		if n := all.of(a.id, opGet); n != 0 {
			t.Errorf("before it led it read %d times by the connection for renewals", n)
		}
		if n := all.of(a.id, opUpdate); n == 0 {
			t.Error("it leads, and has not written")
		}
		time.Sleep(10 * time.Second)
		if n := all.of("shared", opUpdate) + all.of("shared", opCreate); n != 0 {
			t.Errorf("it wrote %d times by the shared connection", n)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		c.start(nil)
		defer c.stopAll()
		c.awaitTerm(time.Minute)
		if gets, creates := c.store.count(opGet), c.store.count(opCreate); gets != 1 || creates != 1 {
			t.Errorf("the Lease was made with %d looks and %d writes, want one of each", gets, creates)
		}
	})
}

// A first look that takes seconds is not made twice, and waited for.
func TestFirstLookIsPatient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		c.store.force(leaseOf("other", 1000, 0))
		c.store.fault = func(string, string) fault { return fault{delay: 8 * time.Second} }
		a := c.start(nil)
		defer c.stopAll()
		time.Sleep(DefaultRetryPeriod + 8*time.Second)
		synctest.Wait()
		if n := c.store.count(opGet); n != 1 {
			t.Errorf("it asked %d times, want once", n)
		}
		if s := a.Status(); s.Leader != "other" {
			t.Errorf("it has not waited for the answer: %+v", s)
		}
	})
}

// An API server that takes up to ten seconds to answer 5,000 who start at once on a
// Lease that nobody holds has one of them lead a few seconds later than it might.
func TestStartOnASlowAPIServer(t *testing.T) {
	if testing.Short() {
		t.Skip("starts 5000 agents 15 times: not with -short")
	}
	const n, busy, trials = 5000, 10 * time.Second, 15
	var took []time.Duration
	for range trials {
		synctest.Test(t, func(t *testing.T) {
			c := newCluster(t)
			c.store.force(leaseOf("gone", n, time.Hour))
			begun := time.Now()
			c.store.fault = func(string, string) fault {
				return fault{delay: rand.N(max(time.Millisecond, busy-time.Since(begun)))}
			}
			c.startN(n)
			defer c.stopAll()
			_, at := c.awaitTerm(time.Minute)
			took = append(took, at.Sub(begun))
			if each := float64(c.store.count(opGet, opUpdate)) / n; each > 1.5 {
				t.Errorf("%.2f requests for each agent", each)
			}
		})
	}
	t.Logf("a leader after %v", took)
	if median := quantile(took, 0.5); median > DefaultLeaseDuration+4*time.Second {
		t.Errorf("a leader after %v in the median, want 19s at most", median)
	}
}
