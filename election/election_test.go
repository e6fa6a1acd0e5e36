package election

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

func TestNewRefuses(t *testing.T) {
	good := Config{Client: newStore(t).client("a"), Namespace: testNamespace, Name: testName, Identity: "a"}
	tests := map[string]struct {
		change func(*Config)
		want   string
	}{
		"no client":                 {func(c *Config) { c.Client = nil }, "no client"},
		"no name":                   {func(c *Config) { c.Name = "" }, "no name"},
		"no namespace":              {func(c *Config) { c.Namespace = "" }, "no namespace"},
		"no identity":               {func(c *Config) { c.Identity = "" }, "no identity"},
		"fewer than no agents":      {func(c *Config) { c.Agents = -1 }, "the number of agents is -1"},
		"negative duration":         {func(c *Config) { c.RetryPeriod = -1 }, "negative"},
		"lease of a fraction":       {func(c *Config) { c.LeaseDuration = 12500 * time.Millisecond }, "whole seconds"},
		"lease below deadline":      {func(c *Config) { c.LeaseDuration = 9 * time.Second }, "not longer than the renew deadline 10s"},
		"deadline below retries":    {func(c *Config) { c.RetryPeriod = 9 * time.Second }, "not longer than 1.2 times the retry period 9s"},
		"lease that no Lease holds": {func(c *Config) { c.LeaseDuration = 1 << 32 * time.Second }, "whole seconds"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			cfg := good
			tt.change(&cfg)
			if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an error that contains %q", err, tt.want)
			}
		})
	}
	if _, err := New(good); err != nil {
		t.Errorf("defaults: %v", err)
	}
}

func TestIdentity(t *testing.T) {
	a, b := Identity("ip-10-0-0-1"), Identity("ip-10-0-0-1")
	if a == b || !strings.HasPrefix(a, "ip-10-0-0-1_") {
		t.Errorf("got %q and %q, want two that differ after ip-10-0-0-1_", a, b)
	}
}

// The Lease is kept while work ends, however long that takes, and released then.
func TestShutdownWaitsForWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		c.configure = func(cfg *Config) { cfg.Agents = 3 } // pauses of 2 s at most
		c.terms.linger = time.Minute
		c.startN(3)
		defer c.stopAll()
		leader, _ := c.awaitTerm(10 * time.Second)
		begun := time.Now()
		c.stop(leader)
		if took := time.Since(begun); took < time.Minute {
			t.Errorf("stopped after %v, before work ended", took)
		}
		next, at := c.awaitTerm(time.Minute)
		if took := at.Sub(begun.Add(time.Minute)); took > 2500*time.Millisecond {
			t.Errorf("%s leads %v after work ended, want a second or two", next.id, took)
		}
	})
}

// An API server that comes back just when client-go's elector has given up must
// not see the Lease released, while work is still ending.
func TestLostLeaseIsNotReleasedUnderWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		c.store.fault = func(string, string) fault { return fault{delay: 300 * time.Millisecond} }
		c.terms.linger = 4900 * time.Millisecond
		a := c.start(nil)
		defer c.stopAll()
		c.awaitTerm(10 * time.Second)
		time.Sleep(11 * time.Second)
		for writes := c.store.count(opUpdate); c.store.count(opUpdate) == writes; {
			time.Sleep(time.Millisecond)
		}
		time.Sleep(301 * time.Millisecond) // the elector renewed just now
		renewed := time.Now()
		c.store.mu.Lock()
		c.store.down = renewed.Add(DefaultRetryPeriod + DefaultRenewDeadline + 100*time.Millisecond)
		c.store.mu.Unlock()
		time.Sleep(14 * time.Second)
		if w := c.terms.working(); len(w) != 1 {
			t.Fatal("work has ended: nothing is tested")
		}
		time.Sleep(1500 * time.Millisecond)
		if got := c.store.holder(); got != "" {
			t.Errorf("holder %q after work has ended, want none", got)
		}
		if m := a.Status().Mode; m == Leading {
			t.Errorf("mode %q", m)
		}
	})
}

// What work is told when the Lease is lost is why; Run returns ErrStuck, in time
// for the next leader, if work does not listen.
func TestStuckWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		var cause error
		started, cancelled, release := make(chan struct{}), make(chan time.Time, 1), make(chan struct{})
		a := c.start(func(ctx context.Context) error {
			close(started)
			<-ctx.Done()
			cause = context.Cause(ctx)
			cancelled <- time.Now()
			<-release // deaf
			return nil
		})
		<-started
		time.Sleep(10 * time.Second)
		c.start(nil)
		c.store.mu.Lock()
		var renewed time.Time
		c.store.changed = func(l *coordinationv1.Lease) {
			if *l.Spec.HolderIdentity == a.id {
				renewed = time.Now()
			}
		}
		c.store.mu.Unlock()
		time.Sleep(10 * time.Second)
		c.store.disconnect(a.id)

		if got := (<-cancelled).Sub(renewed); got > DefaultRenewDeadline || got < DefaultRenewDeadline-time.Second {
			t.Errorf("work was cancelled %v after the last renewal, want %v", got, DefaultRenewDeadline)
		}
		if cause == nil || !strings.Contains(cause.Error(), "not renewed for 10s") {
			t.Errorf("cause %v, want one that says that the lease was not renewed", cause)
		}
		if err := <-a.done; !errors.Is(err, ErrStuck) {
			t.Errorf("Run: %v, want ErrStuck", err)
		}
		if got := time.Since(renewed); got > DefaultLeaseDuration {
			t.Errorf("ErrStuck %v after the last renewal, want %v at most", got, DefaultLeaseDuration)
		}
		delete(c.agents, a.id)
		_, at := c.awaitTerm(time.Minute)
		if at.Sub(renewed) < DefaultLeaseDuration {
			t.Errorf("the next leads %v after the last renewal, before the stuck one was given up", at.Sub(renewed))
		}
		close(release)
		c.stopAll()
	})
}

// A Lease in other hands ends work within two RetryPeriods, where client-go's
// elector would take RenewDeadline and more.
func TestStolenLease(t *testing.T) {
	for name, steal := range map[string]func(*coordinationv1.Lease) *coordinationv1.Lease{
		"held by another": leaseOf("thief", 0, 0),
		"released by another": func(l *coordinationv1.Lease) *coordinationv1.Lease {
			l.Spec.HolderIdentity = ptr.To("")
			return l
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t)
				c.store.changed = nil // the thief does not wait for work
				a := c.start(nil)
				defer c.stopAll()
				c.awaitTerm(10 * time.Second)
				time.Sleep(31 * time.Second)
				stolen := time.Now()
				c.store.force(steal)
				for len(c.terms.working()) > 0 {
					time.Sleep(10 * time.Millisecond)
				}
				if took := time.Since(stolen); took > 2*DefaultRetryPeriod {
					t.Errorf("work ended after %v, want %v at most", took, 2*DefaultRetryPeriod)
				}
				if m := a.Status().Mode; m == Leading {
					t.Errorf("mode %q after the lease was lost", m)
				}
				// The thief never renews, so that this agent leads again.
				c.awaitTerm(time.Minute)
			})
		})
	}
}

// An outage shorter than the deadline goes unnoticed; a longer one ends the
// term, and somebody leads soon after it.
func TestOutage(t *testing.T) {
	for _, tt := range []struct {
		lasts   time.Duration
		newTerm bool
	}{{7 * time.Second, false}, {30 * time.Second, true}, {5 * time.Minute, true}} {
		t.Run(tt.lasts.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t)
				c.startN(3)
				defer c.stopAll()
				leader, _ := c.awaitTerm(10 * time.Second)
				time.Sleep(31 * time.Second)
				c.store.mu.Lock()
				until := time.Now().Add(tt.lasts)
				c.store.fault = func(string, string) fault {
					if time.Now().Before(until) {
						return fault{refused: errors.New("etcdserver: leader changed")}
					}
					return fault{}
				}
				c.store.mu.Unlock()
				time.Sleep(tt.lasts - time.Second)
				if err := leader.Status().Err; err == nil {
					t.Error("the leader's status shows no error during the outage")
				}
				if tt.newTerm {
					if w := c.terms.working(); len(w) > 0 {
						t.Errorf("%v works long after the last renewal", w)
					}
					c.awaitTerm(time.Second + DefaultLeaseDuration + 10*time.Second)
				}
				time.Sleep(time.Minute)
				if len(c.terms.started) > 0 {
					t.Error("there was another term, want none")
				}
				if err := leader.Status().Err; err != nil {
					t.Errorf("the leader's status shows %v after the outage", err)
				}
			})
		})
	}
}

// After an outage the agent that led still holds the Lease, and whoever restarts
// in one process goes on at once, without waiting for itself to expire.
func TestOutageOfOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		var records levels
		c.configure = func(cfg *Config) { cfg.Agents, cfg.Logger = 1, slog.New(&records) }
		c.start(nil)
		defer c.stopAll()
		c.awaitTerm(10 * time.Second)
		time.Sleep(31 * time.Second)
		c.store.mu.Lock()
		c.store.fault = func(string, string) fault {
			return fault{delay: 3 * time.Second, refused: errors.New("no route to host")}
		}
		c.store.mu.Unlock()
		time.Sleep(time.Minute)
		c.store.mu.Lock()
		c.store.fault = nil
		c.store.mu.Unlock()
		c.awaitTerm(6 * time.Second) // a request under way, and a pause

		// Each request that failed is a line at debug level only.
		if n := records.count(slog.LevelError); n > 0 {
			t.Errorf("%d errors in the log: nobody needs to act", n)
		}
		if n := records.count(slog.LevelWarn); n < 2 || n > 5 {
			t.Errorf("%d warnings in the log, want a few", n)
		}
		if n := records.count(slog.LevelDebug); n < 20 {
			t.Errorf("%d lines at debug level, want what client-go says too", n)
		}
	})
}

// levels counts log records by their level.
type levels struct {
	mu sync.Mutex
	n  map[slog.Level]int
}

func (l *levels) Enabled(context.Context, slog.Level) bool { return true }
func (l *levels) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l *levels) WithGroup(string) slog.Handler            { return l }
func (l *levels) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.n == nil {
		l.n = map[slog.Level]int{}
	}
	l.n[r.Level]++
	return nil
}

func (l *levels) count(level slog.Level) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.n[level]
}

// One request that never returns does not cost the Lease.
func TestHungRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		c.startN(3)
		defer c.stopAll()
		c.awaitTerm(10 * time.Second)
		for _, op := range []string{opGet, opUpdate} {
			time.Sleep(31 * time.Second)
			var hung atomic.Bool
			c.store.mu.Lock()
			c.store.fault = func(o, _ string) fault {
				if o == op && hung.CompareAndSwap(false, true) {
					return fault{delay: time.Hour}
				}
				return fault{}
			}
			c.store.mu.Unlock()
			time.Sleep(31 * time.Second)
			if !hung.Load() {
				t.Errorf("no %s was sent", op)
			}
			for _, a := range c.agents {
				if ago := time.Since(a.Status().Seen); ago > 15*time.Second {
					t.Errorf("%s has last seen the lease %v ago", a.id, ago)
				}
			}
		}
		if n := len(c.terms.started); n > 0 {
			t.Errorf("%d other terms, want none", n)
		}
	})
}

// The elector makes a deleted Lease anew. Where a standby was faster, two work
// until the old leader's next renewal: the Lease is no fence.
func TestDeletedLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		c.terms.lenient = true
		c.startN(5)
		defer c.stopAll()
		c.awaitTerm(10 * time.Second)
		for range 20 {
			time.Sleep(30 * time.Second)
			c.store.force(func(*coordinationv1.Lease) *coordinationv1.Lease { return nil })
			time.Sleep(2 * DefaultRetryPeriod)
			if w := c.terms.working(); len(w) != 1 || c.store.holder() != w[0] {
				t.Fatalf("%v after the lease was deleted %v work and %q holds it, want one, the holder", 2*DefaultRetryPeriod, w, c.store.holder())
			}
		}
		if c.terms.overlap == 0 {
			t.Log("no standby was faster than the leader")
		}
	})
}

// Work that returns by itself gives the Lease to somebody else, with or without
// an error, and its agent comes back later and later.
func TestWorkReturns(t *testing.T) {
	for name, result := range map[string]error{"error": errors.New("cannot go on"), "nil": nil} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t)
				var begun []time.Time
				c.start(func(context.Context) error {
					begun = append(begun, time.Now())
					if len(begun) == 8 {
						c.start(nil)
					}
					return result
				})
				c.awaitTerm(10 * time.Minute) // the other agent's
				defer c.stopAll()
				time.Sleep(5 * time.Minute)
				if len(begun) != 8 {
					t.Errorf("%d terms, want 8 and then none beside a healthy leader", len(begun))
				}
				for i := 1; i < len(begun); i++ {
					gap := begun[i].Sub(begun[i-1])
					least := min(DefaultRetryPeriod<<(i-1), time.Minute)
					if gap < least || gap > 2*least+5*time.Second {
						t.Errorf("term %d after %v, want %v to twice that", i+1, gap, least)
					}
				}
			})
		})
	}
}

// An agent that won the Lease but never heard so must not leave it locked: not
// when it goes on, and not when it is stopped at that moment.
func TestLostAnswers(t *testing.T) {
	for _, op := range []string{opCreate, opUpdate} {
		for _, stop := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s,stopped=%t", op, stop), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					c := newCluster(t)
					if op == opUpdate {
						c.store.force(func(*coordinationv1.Lease) *coordinationv1.Lease {
							l := leaseOf("", 3, time.Hour)(nil)
							l.Spec.LeaseTransitions = ptr.To[int32](4)
							return l
						})
					}
					lost := make(chan struct{})
					c.store.fault = func(o, _ string) fault {
						select {
						case <-lost:
							return fault{}
						default:
						}
						if o == op {
							close(lost)
							return fault{lost: true}
						}
						return fault{}
					}
					a := c.start(nil)
					defer c.stopAll()
					<-lost
					synctest.Wait()
					if got := c.store.holder(); got != a.id {
						t.Fatalf("holder %q, want %q: the fake should have applied the write", got, a.id)
					}
					if stop {
						c.stop(a)
						if got := c.store.holder(); got != "" {
							t.Errorf("holder %q after the agent stopped, want none", got)
						}
						want := map[string]int32{opCreate: 0, opUpdate: 5}[op]
						if got := *c.store.current().Spec.LeaseTransitions; got != want {
							t.Errorf("leaseTransitions %d, want %d", got, want)
						}
						return
					}
					c.awaitTerm(5 * time.Second)
				})
			})
		}
	}
	t.Run("release", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := newCluster(t)
			a := c.start(nil)
			c.awaitTerm(10 * time.Second)
			time.Sleep(11 * time.Second)
			n := 0
			c.store.mu.Lock()
			c.store.fault = func(op, _ string) fault {
				n++
				switch n {
				case 1: // the first update, which conflicts
					return fault{}
				case 3: // the update after a look
					return fault{refused: errors.New("connection reset")}
				case 5: // and again
					return fault{lost: true}
				}
				return fault{}
			}
			c.store.mu.Unlock()
			c.store.force(func(l *coordinationv1.Lease) *coordinationv1.Lease {
				l.Labels = map[string]string{"seen-by": "somebody"}
				return l
			})
			c.stop(a)
			if got := c.store.holder(); got != "" {
				t.Errorf("holder %q, want none", got)
			}
			if n != 6 {
				t.Errorf("%d requests, want an update, then a look and an update twice, and a last look", n)
			}
			if c.store.current().Labels["seen-by"] == "" {
				t.Error("the release undid what somebody else wrote")
			}
		})
	})
}

// A candidate that may read the Lease but not write it does not stay at the
// elector's pace.
func TestForbiddenCandidatesStandBy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 500
		c := newCluster(t)
		c.configure = func(cfg *Config) { cfg.Agents = n }
		c.store.fault = func(op, _ string) fault {
			if op != opGet {
				return fault{refused: errors.New("leases is forbidden")}
			}
			return fault{}
		}
		c.startN(n)
		defer c.stopAll()
		span := 10 * time.Minute
		if testing.Short() {
			span = 2 * time.Minute
		}
		time.Sleep(span)
		before := c.store.count(opGet, opCreate, opUpdate)
		time.Sleep(span)
		rate := float64(c.store.count(opGet, opCreate, opUpdate)-before) / span.Seconds()
		if usual := 2 * n / 3.2; rate > usual*2/3 {
			t.Errorf("%.0f requests/s, want less than two thirds of the usual elector's %.0f", rate, usual)
		}
		for _, a := range c.agents {
			if err := a.Status().Err; err == nil || !strings.Contains(err.Error(), "forbidden") {
				t.Fatalf("status shows %v, want that writing is forbidden", err)
			}
		}
	})
}

// The leader counts the agents and publishes the number in its renewals; the
// others reckon with it.
func TestAgentsAnnotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		answers := []struct {
			n   int
			err error
		}{{40, nil}, {40, nil}, {0, nil}, {0, errors.New("daemonsets is forbidden")}, {60, nil}}
		var asked atomic.Int32
		c.configure = func(cfg *Config) {
			cfg.CountAgents = func(context.Context) (int, error) {
				a := answers[min(int(asked.Add(1)), len(answers))-1]
				return a.n, a.err
			}
		}
		c.startN(4)
		defer c.stopAll()
		leader, _ := c.awaitTerm(10 * time.Second)
		published := func() string { return c.store.current().Annotations[AgentsAnnotation] }

		time.Sleep(DefaultRetryPeriod + time.Second)
		if got := published(); got != "40" {
			t.Errorf("%q is published, want 40", got)
		}
		time.Sleep(59 * time.Second)
		if got := published(); got != "40" || asked.Load() != 3 {
			t.Errorf("after %d answers %q is published, want 40 still after 3: before the Lease was made, and twice", asked.Load(), got)
		}
		time.Sleep(25 * time.Second)
		if got := published(); got != "60" || asked.Load() != 5 {
			t.Errorf("after %d answers %q is published, want 60 after 5", asked.Load(), got)
		}
		time.Sleep(time.Minute) // the standbys' pauses last up to 24 s
		for _, a := range c.agents {
			if got := a.Status().Agents; got != 60 {
				t.Errorf("%s reckons with %d agents, want 60", a.id, got)
			}
		}
		if n := c.store.count(opUpdate); n > 90 {
			t.Errorf("%d updates in %v: the number has cost writes of its own", n, 3*time.Minute)
		}

		// It survives a release and the next leader's taking over.
		c.stop(leader)
		if got := published(); got != "60" {
			t.Errorf("%q is published after the release, want 60", got)
		}
	})
	t.Run("given", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := newCluster(t)
			c.configure = func(cfg *Config) { cfg.Agents = 23 }
			c.start(nil)
			defer c.stopAll()
			c.awaitTerm(10 * time.Second)
			time.Sleep(DefaultRetryPeriod + time.Second)
			if got := c.store.current().Annotations[AgentsAnnotation]; got != "23" {
				t.Errorf("%q is published, want 23", got)
			}
		})
	})
	for _, forged := range []string{"0", "-5", "1e9", "999999999", "many", ""} {
		t.Run("forged "+forged, func(t *testing.T) {
			e, err := New(Config{Client: newStore(t).client("a"), Namespace: testNamespace, Name: testName, Identity: "a", Agents: 7})
			if err != nil {
				t.Fatal(err)
			}
			l := leaseOf("b", 0, 0)(nil)
			metav1.SetMetaDataAnnotation(&l.ObjectMeta, AgentsAnnotation, forged)
			e.sighted(opGet, l, nil)
			if got := e.Status().Agents; got != 7 {
				t.Errorf("reckons with %d agents, want 7", got)
			}
		})
	}
}

func TestStatusAndMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		registries := map[string]*prometheus.Registry{}
		c.configure = func(cfg *Config) {
			r := prometheus.NewPedanticRegistry()
			registries[cfg.Identity] = r
			cfg.Registerer, cfg.Agents = r, 3
		}
		first := c.start(nil)
		_, led := c.awaitTerm(10 * time.Second)
		second := c.start(nil)
		third := c.start(nil)
		defer c.stopAll()
		time.Sleep(time.Minute)

		s := second.Status()
		if s.Mode != StandingBy || s.Leader != first.id || s.Err != nil || time.Since(s.Seen) > 5*time.Second || s.Since.After(led.Add(10*time.Second)) {
			t.Errorf("status of a standby: %+v", s)
		}
		if s := first.Status(); s.Mode != Leading || s.Leader != first.id || !s.Since.Equal(led) {
			t.Errorf("status of the leader: %+v, want leading since %v", s, led)
		}
		c.stop(first)
		next, _ := c.awaitTerm(10 * time.Second)
		time.Sleep(10 * time.Second)
		if got := first.Status().Mode; got != StandingBy {
			t.Errorf("mode %q after Run has returned", got)
		}
		want := map[string]string{
			first.id:  "0 leads, 0 changes",
			second.id: "0 leads, 1 changes",
			third.id:  "0 leads, 1 changes",
		}
		want[next.id] = "1 leads, 1 changes"
		got := map[string]string{}
		for _, a := range []*agent{first, second, third} {
			got[a.id] = fmt.Sprintf("%v leads, %v changes", testutil.ToFloat64(a.metrics.leader), testutil.ToFloat64(a.metrics.changes))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("metrics (-want +got):\n%s", diff)
		}
		if n := testutil.ToFloat64(second.metrics.polls); n < 20 {
			t.Errorf("%v polls of a standby in a minute, want about 60", n)
		}
		for id, r := range registries {
			families, err := r.Gather()
			if err != nil {
				t.Fatal(err)
			}
			if len(families) != 3 {
				t.Errorf("%s: %d metrics, want 3", id, len(families))
			}
			problems, err := promlint.NewWithMetricFamilies(families).Lint()
			if err != nil || len(problems) > 0 {
				t.Errorf("%s: promlint: %v %v", id, problems, err)
			}
		}
	})
	reg := prometheus.NewRegistry()
	cfg := Config{Client: newStore(t).client("a"), Namespace: testNamespace, Name: testName, Identity: "a", Registerer: reg}
	if _, err := New(cfg); err != nil {
		t.Fatal(err)
	}
	if _, err := New(cfg); err == nil {
		t.Error("metrics were registered twice without an error")
	}
}
