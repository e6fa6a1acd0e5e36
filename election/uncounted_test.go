package election

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

var daemonSets = schema.GroupResource{Group: "apps", Resource: "daemonsets"}

// uncounted are the answers of a count that tells nothing.
func uncounted() map[string]func(context.Context) (int, error) {
	fails := func(err error) func(context.Context) (int, error) {
		return func(context.Context) (int, error) { return 0, fmt.Errorf("read DaemonSet rolecall: %w", err) }
	}
	return map[string]func(context.Context) (int, error){
		"no such DaemonSet": fails(apierrors.NewNotFound(daemonSets, "rolecall")),
		"no right":          fails(apierrors.NewForbidden(daemonSets, "rolecall", errors.New("no"))),
		"no credentials":    fails(apierrors.NewUnauthorized("no")),
		"another error":     fails(errors.New("no")),
		"none scheduled":    func(context.Context) (int, error) { return 0, nil },
		"far too many":      func(context.Context) (int, error) { return maxAgents + 1, nil },
		"nobody counts":     nil,
	}
}

// Where nobody can count the agents, the standby of two leads about a second after the
// leader has ended, also if it has only just started, and asks for no more than one
// of ten does.
func TestTakeoverUncounted(t *testing.T) {
	for name, count := range uncounted() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t)
				c.configure = func(cfg *Config) { cfg.CountAgents = count }
				var took []time.Duration
				for range 60 {
					c.start(nil)
					leader, _ := c.awaitTerm(10 * time.Second)
					c.start(nil)
					time.Sleep(DefaultRetryPeriod + rand.N(30*time.Second)) // the standby has read the Lease once
					begun, reads := time.Now(), c.store.count(opGet)
					c.stop(leader)
					_, at := c.awaitTerm(5 * time.Minute)
					took = append(took, at.Sub(begun))
					if n := c.store.count(opGet) - reads; n > 4 {
						t.Errorf("%d reads for one takeover", n)
					}
					c.stopAll()
				}
				p50, p95 := quantile(took, .5), quantile(took, .95)
				t.Logf("leading after %v (median), %v (p95)", p50, p95)
				if p50 > 1500*time.Millisecond || p95 > 2600*time.Millisecond {
					t.Errorf("leading after %v (median) and %v (p95), want about a second", p50, p95)
				}
			})
		})
	}
}

// What cannot be counted costs each standby the pace of ten, and one request for a
// count.
func TestUncountedCost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 100
		c := newCluster(t)
		counts := make(chan struct{}, 100*n)
		c.configure = func(cfg *Config) {
			cfg.CountAgents = func(context.Context) (int, error) {
				counts <- struct{}{}
				return 0, apierrors.NewForbidden(daemonSets, "rolecall", errors.New("no"))
			}
		}
		c.startN(n)
		defer c.stopAll()
		c.awaitTerm(10 * time.Second)
		time.Sleep(5 * time.Second) // the first looks
		for minute := range 10 {
			before := c.store.count(opGet)
			time.Sleep(time.Minute)
			if rate := float64(c.store.count(opGet)-before) / 60; rate > n/2*1.05 {
				t.Errorf("minute %d: %.1f reads/s of %d agents, want %d, as of ten that were counted", minute+1, rate, n, n/2)
			}
		}
		counted := len(counts)
		if leader := 10*6 + 5; counted > n+leader {
			t.Errorf("%d counts of %d agents in ten minutes, want one of each standby and the leader's", counted, n)
		}
	})
}

// An API server that does not answer the count is asked again after longer and longer
// pauses, until the holder has had the time to count.
func TestUnansweredCount(t *testing.T) {
	for name, err := range map[string]error{
		"timeout": context.DeadlineExceeded, "overload": apierrors.NewTooManyRequests("later", 1), "down": apierrors.NewServiceUnavailable("no"),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const n = 500
				c := newCluster(t)
				c.configure = func(cfg *Config) {
					cfg.CountAgents = func(context.Context) (int, error) { return 0, err }
				}
				c.startN(n)
				defer c.stopAll()
				c.awaitTerm(10 * time.Second)
				time.Sleep(10 * time.Second)
				before := c.store.count(opGet)
				time.Sleep(10 * time.Second)
				if rate := float64(c.store.count(opGet)-before) / 10; rate > n/3 {
					t.Errorf("%.0f reads/s of %d agents without an answer, want that they become rarer", rate, n)
				}
				// Once a leader has had the time to count, one that starts keeps the pace of
				// a few at once.
				time.Sleep(5 * time.Minute)
				late := c.start(nil)
				time.Sleep(5 * time.Second)
				seen := late.Status().Seen
				time.Sleep(3 * time.Second)
				if again := late.Status().Seen; !again.After(seen) {
					t.Errorf("an agent that started 8 s ago has not looked for 3 s")
				}
			})
		})
	}
}
