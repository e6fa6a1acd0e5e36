package election

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/klog/v2"
)

// All standbys together read the Lease five times a second, however many there
// are, where client-go's elector costs N/3.2.
func TestStandbysCostTheSameAtEverySize(t *testing.T) {
	sizes := []int{50, 500, 2000}
	if testing.Short() {
		sizes = sizes[:2]
	}
	for _, n := range sizes {
		t.Run(strconv.Itoa(n), func(t *testing.T) {
			ours, usual := standbyRate(t, n), usualRate(t, n)
			t.Logf("%d agents: %.2f requests/s, the usual elector %.1f", n, ours, usual)
			if ours < 5/1.5 || ours > 5*1.5 {
				t.Errorf("all standbys make %.2f requests/s, want 5 within a factor of 1.5", ours)
			}
			if usual < float64(n)/4.4 {
				t.Errorf("the usual elector makes %.2f requests/s: it is not the rival it should be", usual)
			}
		})
	}
}

// standbyRate returns the reads per second around a healthy leader, a while
// after all have started.
func standbyRate(t *testing.T, n int) (rate float64) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		c.configure = func(cfg *Config) {
			cfg.CountAgents = func(context.Context) (int, error) { return n, nil }
		}
		c.startN(n)
		defer c.stopAll()
		c.awaitTerm(10 * time.Second)
		time.Sleep(time.Minute)
		before, writes := c.store.count(opGet), c.store.count(opUpdate)
		const during = 20 * time.Minute
		time.Sleep(during)
		rate = float64(c.store.count(opGet)-before) / during.Seconds()
		if w := float64(c.store.count(opUpdate)-writes) / during.Seconds(); w > 0.51 {
			t.Errorf("%.2f writes/s, want those of the leader alone: 0.5", w)
		}
	})
	return rate
}

// Where all agents are new, one look at the Lease tells each how many they are:
// they don't ask at the pace of a few until the leader has counted.
func TestFirstStartCostsOneLook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 1000
		c := newCluster(t)
		c.configure = func(cfg *Config) {
			cfg.CountAgents = func(context.Context) (int, error) { return n, nil }
		}
		c.startN(n)
		defer c.stopAll()
		c.awaitTerm(10 * time.Second)
		time.Sleep(10 * time.Second)
		// The first looks, those of ten seconds, and the elector's own.
		if reads := c.store.count(opGet); reads < n || reads > n+150 {
			t.Errorf("%d reads in the first seconds of %d agents", reads, n)
		}
	})
}

// A Lease that does not say how many agents there are has each count them once,
// and does not keep them at the pace of a few.
func TestStartUntold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 1000
		var counted atomic.Int64
		c := newCluster(t)
		c.configure = func(cfg *Config) {
			leader := counted.Load() == 0
			cfg.CountAgents = func(context.Context) (int, error) {
				if counted.Add(1); leader {
					return 0, errors.New("daemonsets is forbidden")
				}
				return n, nil
			}
		}
		c.startN(1)
		defer c.stopAll()
		c.awaitTerm(10 * time.Second)
		before := counted.Load()
		c.startN(n - 1)
		time.Sleep(time.Minute)
		if got := counted.Load() - before; got < n-1 || got > n+20 {
			t.Errorf("they were counted %d times by %d agents", got, n)
		}
		reads := c.store.count(opGet)
		time.Sleep(5 * time.Minute)
		if rate := float64(c.store.count(opGet)-reads) / 300; rate > 2*readsPerSecond {
			t.Errorf("%.0f reads/s", rate)
		}
	})
}

// Agents that start while the API server is away don't ask at the pace of a few
// that they don't know not to be, and find it when it is back.
func TestStartWithoutAPIServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 1000
		var up atomic.Bool
		c := newCluster(t)
		c.store.fault = func(string, string) fault {
			if up.Load() {
				return fault{}
			}
			return fault{refused: errAnswerLost}
		}
		c.startN(n)
		defer c.stopAll()
		time.Sleep(5 * time.Minute)
		before := c.store.count(opGet)
		time.Sleep(5 * time.Minute)
		rate := float64(c.store.count(opGet)-before) / 300
		if rate > n/25 {
			t.Errorf("%.0f requests/s of %d agents that get no answer, want one in half a minute from each", rate, n)
		}
		up.Store(true)
		c.awaitTerm(10 * time.Second)
	})
}

// A start of many costs in every minute what any other one does: neither do they
// all ask at once, nor nobody and later all.
func TestStartIsFlat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n, minutes = 1000, 15 // the longest pause is 400 s
		c := newCluster(t)
		c.configure = func(cfg *Config) {
			cfg.CountAgents = func(context.Context) (int, error) { return n, nil }
		}
		c.startN(n)
		defer c.stopAll()
		c.awaitTerm(10 * time.Second)
		time.Sleep(10 * time.Second) // until all know how many there are
		for i := range minutes {
			before := c.store.count(opGet)
			time.Sleep(time.Minute)
			// 300 of a Poisson process are 300 ± 17.
			if reads := c.store.count(opGet) - before; reads < 230 || reads > 370 {
				t.Errorf("%d reads in minute %d, want about %d", reads, i+1, 60*readsPerSecond)
			}
		}
	})
}

// usualRate is what client-go's elector costs by itself.
func usualRate(t *testing.T, n int) (rate float64) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		ctx, cancel := context.WithCancel(klog.NewContext(t.Context(), klog.Logger{}))
		defer cancel()
		for i := range n {
			id := fmt.Sprintf("node-%d", i)
			le, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
				Lock: &resourcelock.LeaseLock{
					LeaseMeta:  metav1.ObjectMeta{Namespace: testNamespace, Name: testName},
					Client:     s.client(id),
					LockConfig: resourcelock.ResourceLockConfig{Identity: id},
				},
				LeaseDuration: DefaultLeaseDuration, RenewDeadline: DefaultRenewDeadline, RetryPeriod: DefaultRetryPeriod,
				Callbacks: leaderelection.LeaderCallbacks{OnStartedLeading: func(context.Context) {}, OnStoppedLeading: func() {}},
			})
			if err != nil {
				t.Fatal(err)
			}
			go le.Run(ctx)
		}
		time.Sleep(10 * time.Second)
		before := s.count(opGet)
		const during = time.Minute
		time.Sleep(during)
		rate = float64(s.count(opGet)-before) / during.Seconds()
	})
	return rate
}

// A start of everything at once costs each agent three requests at most, on an
// empty cluster as well as on a Lease whose holder is gone.
func TestStartOfAllAtOnce(t *testing.T) {
	const n = 2000
	count := func(cfg *Config) {
		cfg.CountAgents = func(context.Context) (int, error) { return n, nil }
	}
	check := func(t *testing.T, c *cluster, begun time.Time, limit time.Duration) {
		_, at := c.awaitTerm(10 * time.Minute)
		if took := at.Sub(begun); took > limit {
			t.Errorf("a leader after %v, want %v at most", took, limit)
		}
		time.Sleep(time.Until(begun.Add(2 * time.Minute)))
		perAgent := float64(c.store.count(opGet, opCreate, opUpdate)) / n
		t.Logf("a leader after %v, %.2f requests for each agent in two minutes", at.Sub(begun), perAgent)
		if perAgent > 3 {
			t.Errorf("%.2f requests for each agent, want 3 at most", perAgent)
		}
	}
	t.Run("healthy leader", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := newCluster(t)
			c.store.force(leaseOf("leader", n, 0))
			c.startN(n)
			defer c.stopAll()
			for seen := 0; seen < n; {
				time.Sleep(DefaultRetryPeriod / 10)
				got := c.store.count(opGet) - seen
				seen += got
				if got > n/10*3/2 {
					t.Errorf("%d of %d agents read in a tenth of the %v in which they are to start", got, n, DefaultRetryPeriod)
				}
			}
		})
	})
	t.Run("no lease", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := newCluster(t)
			c.configure = count
			begun := time.Now()
			c.startN(n)
			defer c.stopAll()
			check(t, c, begun, 2*time.Second)
		})
	})
	t.Run("stale lease", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := newCluster(t)
			c.configure = count
			c.store.force(leaseOf("gone", n, time.Hour))
			begun := time.Now()
			c.startN(n)
			defer c.stopAll()
			check(t, c, begun, DefaultLeaseDuration+10*time.Second)
		})
	})
	// The Lease may tell of many more agents than there are: a cluster that was
	// scaled to nothing over night and comes back with three nodes.
	t.Run("three where there were 5000", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := newCluster(t)
			c.store.force(leaseOf("gone", 5000, time.Hour))
			c.startN(3)
			defer c.stopAll()
			c.awaitTerm(3*DefaultLeaseDuration + DefaultLeaseDuration + 10*time.Second)
		})
	})
}

// leaseOf makes a Lease that somebody last renewed some time ago.
func leaseOf(holder string, agents int, ago time.Duration) func(*coordinationv1.Lease) *coordinationv1.Lease {
	return func(*coordinationv1.Lease) *coordinationv1.Lease {
		then := metav1.NewTime(time.Now().Add(-ago))
		l := &coordinationv1.Lease{
			ObjectMeta: metav1.ObjectMeta{Namespace: testNamespace, Name: testName},
			Spec: resourcelock.LeaderElectionRecordToLeaseSpec(&resourcelock.LeaderElectionRecord{
				HolderIdentity: holder, LeaseDurationSeconds: 15, AcquireTime: then, RenewTime: then,
			}),
		}
		if agents > 0 {
			metav1.SetMetaDataAnnotation(&l.ObjectMeta, AgentsAnnotation, strconv.Itoa(agents))
		}
		return l
	}
}

// A candidate that finds the leader alive after all leaves the elector again.
func TestCandidateLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		c.store.force(leaseOf("slow", 10, 7*time.Second))
		a := c.start(nil)
		defer c.stopAll()
		for a.Status().Mode != Electing {
			time.Sleep(100 * time.Millisecond)
		}
		c.store.force(leaseOf("slow", 10, 0))
		time.Sleep(4500 * time.Millisecond) // the elector's longest pause is 4.4 s
		if s := a.Status(); s.Mode != StandingBy || s.Leader != "slow" {
			t.Errorf("status %+v, want standing by behind the leader", s)
		}
	})
}

func TestPeriod(t *testing.T) {
	tests := []struct {
		agents int
		want   time.Duration
	}{
		{0, 2 * time.Second}, // unknown
		{1, 1700 * time.Millisecond},
		{3, 1700 * time.Millisecond},
		{9, 1800 * time.Millisecond},
		{10, 2 * time.Second},
		{50, 10 * time.Second},
		{5000, 1000 * time.Second},
		{maxAgents, time.Hour},
	}
	for _, tt := range tests {
		e, err := New(Config{Client: newStore(t).client("a"), Namespace: testNamespace, Name: testName, Identity: "a", Agents: tt.agents})
		if err != nil {
			t.Fatal(err)
		}
		if got := e.period(); got != tt.want {
			t.Errorf("%d agents: period %v, want %v", tt.agents, got, tt.want)
		}
		var sum time.Duration
		const draws = 10_000
		for range draws {
			p := e.pause()
			if p < 0 || p >= 2*tt.want {
				t.Fatalf("%d agents: pause %v, want one in [0, %v)", tt.agents, p, 2*tt.want)
			}
			sum += p
		}
		if mean := sum / draws; mean < tt.want*9/10 || mean > tt.want*11/10 {
			t.Errorf("%d agents: pauses are %v in the mean, want about %v", tt.agents, mean, tt.want)
		}
	}
}

// However few they are, one of the standbys notices a released Lease soon.
func TestFewNoticeSoon(t *testing.T) {
	for _, test := range []struct {
		agents int
		within time.Duration // p95
	}{{2, 1800 * time.Millisecond}, {3, 1400 * time.Millisecond}, {6, 900 * time.Millisecond}, {10, 900 * time.Millisecond}} {
		e, err := New(Config{Client: newStore(t).client("a"), Namespace: testNamespace, Name: testName, Identity: "a", Agents: test.agents})
		if err != nil {
			t.Fatal(err)
		}
		const releases = 20_000
		noticed := make([]time.Duration, releases)
		for i := range noticed {
			released := 20*time.Second + rand.N(20*time.Second)
			noticed[i] = time.Hour
			for range test.agents - 1 {
				look := e.firstPause()
				for look < released {
					look += e.pause()
				}
				noticed[i] = min(noticed[i], look-released)
			}
		}
		slices.Sort(noticed)
		if p95 := noticed[releases*95/100]; p95 > test.within {
			t.Errorf("%d agents: one notices within %v (p95), want %v", test.agents, p95, test.within)
		}
	}
}

// Of many who draw at once the first few come early, and a few who believe to
// be many come before the limit.
func TestSpread(t *testing.T) {
	const limit = 45 * time.Second
	early := 0
	for range 5000 {
		d := spread(5000, limit)
		if d < 0 || d > limit {
			t.Fatalf("spread: %v, want one in [0, %v]", d, limit)
		}
		if d < 20*time.Second {
			early++
		}
	}
	if early == 0 || early > 150 {
		t.Errorf("%d of 5000 come in the first 20 s, want about 44", early)
	}
	if d := spread(1, limit); d != 0 {
		t.Errorf("alone: %v, want 0", d)
	}
}

// A holder whose clock is wrong costs a standby one visit to the elector at
// most, not one with each look; and its death is still noticed.
func TestWrongClock(t *testing.T) {
	for name, skew := range map[string]time.Duration{"ahead": time.Hour, "behind": -time.Hour} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t)
				c.configure = func(cfg *Config) { cfg.Agents = 50 }
				renewing, stop := context.WithCancel(t.Context())
				go func() {
					for ok := true; ok; ok = sleep(renewing, 2*time.Second) {
						c.store.force(leaseOf("skewed", 50, -skew))
					}
				}()
				c.startN(49)
				defer c.stopAll()
				time.Sleep(2 * time.Minute)
				before := c.store.count(opGet)
				time.Sleep(10 * time.Minute)
				if rate := float64(c.store.count(opGet)-before) / 600; rate > 7.5 {
					t.Errorf("%.2f requests/s, want about 5", rate)
				}
				stop()
				died := time.Now()
				_, at := c.awaitTerm(2 * time.Minute)
				if took := at.Sub(died); took > DefaultLeaseDuration+10*time.Second || took < 10*time.Second {
					t.Errorf("taken over after %v, want about %v", took, DefaultLeaseDuration+5*time.Second)
				}
			})
		})
	}
}
