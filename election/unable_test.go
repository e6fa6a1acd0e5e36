package election

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/utils/ptr"
)

// A worker counts the terms of an agent, and says how each ends.
type worker struct {
	began, ended []time.Time
	// how ends a term, by its number from 0. It gets the term's context.
	how func(ctx context.Context, n int) error
}

func (w *worker) work(ctx context.Context) error {
	n := len(w.began)
	w.began = append(w.began, time.Now())
	defer func() { w.ended = append(w.ended, time.Now()) }()
	return w.how(ctx, n)
}

// pauses are the times between the end of a term and the beginning of the next one.
func (w *worker) pauses() []time.Duration {
	var out []time.Duration
	for i := 1; i < len(w.began); i++ {
		out = append(out, w.began[i].Sub(w.ended[i-1]))
	}
	return out
}

// lonely runs the one agent of a cluster.
func lonely(t *testing.T, w *worker, long time.Duration, before func(*cluster)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		if before != nil {
			before(c)
		}
		c.start(w.work)
		time.Sleep(long)
		synctest.Wait()
		c.stopAll()
	})
}

func unable() error { return fmt.Errorf("work: %w: forbidden", ErrUnable) }

// standsBack checks a pause against what it is to be: the first of a row is 10 retry
// periods, each one twice as long, ten minutes at most, and half as much more by
// chance, and the election itself takes a few seconds.
func standsBack(t *testing.T, pauses []time.Duration) {
	t.Helper()
	want := 10 * DefaultRetryPeriod
	for i, pause := range pauses {
		longest := min(want*3/2, 10*time.Minute) + 4*DefaultRetryPeriod
		if pause < want || pause > longest {
			t.Errorf("pause %d is %s, want %s to %s", i, pause, want, longest)
		}
		want = min(2*want, 10*time.Minute)
	}
}

// Who cannot do the work stands back longer each time.
func TestUnableStandsBackLonger(t *testing.T) {
	w := &worker{how: func(context.Context, int) error { return unable() }}
	lonely(t, w, 2*time.Hour, nil)
	if len(w.began) < 10 {
		t.Fatalf("%d terms in two hours", len(w.began))
	}
	standsBack(t, w.pauses())
}

// Short terms that end otherwise in between count for nothing; a long one without it
// does.
func TestUnableIsForgottenAfterALongTerm(t *testing.T) {
	for _, test := range []struct {
		name   string
		term   time.Duration
		forget bool
	}{
		{"a short term", time.Minute, false},
		{"a long term", 3 * time.Minute, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			// The fourth term ends because somebody takes the Lease.
			w := &worker{}
			var c *cluster
			w.how = func(ctx context.Context, n int) error {
				if n != 3 {
					return unable()
				}
				time.Sleep(test.term)
				c.store.force(func(l *coordinationv1.Lease) *coordinationv1.Lease {
					l.Spec.HolderIdentity = ptr.To("thief")
					return l
				})
				<-ctx.Done()
				return ctx.Err()
			}
			lonely(t, w, 30*time.Minute, func(of *cluster) { c = of })
			pauses := w.pauses()
			if len(pauses) < 6 {
				t.Fatalf("pauses %v", pauses)
			}
			standsBack(t, pauses[:3])
			if test.forget {
				standsBack(t, pauses[4:])
			} else {
				standsBack(t, append(pauses[:3:3], pauses[4:]...))
			}
		})
	}
}

// A term that ends by itself otherwise has its own, shorter pauses, and they take
// nothing from those of who is unable.
func TestOtherErrorsStandBackByThemselves(t *testing.T) {
	w := &worker{how: func(_ context.Context, n int) error {
		if n%2 == 0 {
			return unable()
		}
		return errors.New("it fell over")
	}}
	lonely(t, w, time.Hour, nil)
	var own, other []time.Duration
	for i, pause := range w.pauses() {
		if i%2 == 0 {
			own = append(own, pause)
		} else {
			other = append(other, pause)
		}
	}
	if len(own) < 5 {
		t.Fatalf("pauses %v", own)
	}
	standsBack(t, own)
	for i, pause := range other[:3] {
		if limit := DefaultRetryPeriod<<i*2 + 4*DefaultRetryPeriod; pause > limit {
			t.Errorf("after the other error it stands back for %s, want %s at most", pause, limit)
		}
	}
}

// While one stands back, another leads.
func TestAnotherLeadsWhereOneIsUnable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		bad := &worker{how: func(context.Context, int) error { return unable() }}
		c.start(bad.work)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if len(bad.began) == 0 {
			t.Fatal("the one that is unable does not lead")
		}
		c.start(nil)
		if _, at := c.awaitTerm(20 * time.Second); at.IsZero() {
			t.Error("nobody leads")
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := len(bad.began); n > 1 {
			t.Errorf("the one that is unable has led %d times", n)
		}
		c.stopAll()
	})
}

// An agent that for long is a candidate and never leads has shown nothing.
func TestCandidacyIsNoTerm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		c.configure = func(cfg *Config) { cfg.LeaseDuration, cfg.RenewDeadline = 60*time.Second, 50*time.Second }
		var refuse atomic.Bool
		c.store.fault = func(op, _ string) fault {
			if refuse.Load() && op != opGet {
				return fault{refused: errors.New("no")}
			}
			return fault{}
		}
		w := &worker{how: func(context.Context, int) error { return unable() }}
		c.start(w.work)
		time.Sleep(4 * time.Minute)
		synctest.Wait()
		before := len(w.began)
		refuse.Store(true)
		time.Sleep(15 * time.Minute)
		refuse.Store(false)
		time.Sleep(30 * time.Minute)
		c.stopAll()
		pauses := w.pauses()
		if before < 2 || len(pauses) < before+1 {
			t.Fatalf("%d terms, then pauses %v", before, pauses)
		}
		if last := pauses[before]; last < 20*DefaultRetryPeriod {
			t.Errorf("after candidacies it stands back for %s, after %v", last, pauses[:before])
		}
	})
}

// The Lease says how many leaders in a row were unable, so that the next one can tell
// whether it is alone with it. A leader that works for two minutes, or ends otherwise,
// takes that away.
func TestGaveUpIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		var saw []int
		terms := 0
		for range 4 {
			started := make(chan *agent, 1)
			started <- c.start(func(ctx context.Context) error {
				a := <-started
				started <- a
				saw = append(saw, a.Status().GaveUp)
				if terms++; terms <= 3 {
					return unable()
				}
				<-ctx.Done()
				return nil
			})
		}
		annotation := func() string { return c.store.current().Annotations[GaveUpAnnotation] }
		time.Sleep(time.Minute)
		synctest.Wait()
		if want := []int{0, 1, 2, 3}; !slices.Equal(saw, want) || annotation() != "3" {
			t.Errorf("the leaders saw %v, want %v; the Lease says %q", saw, want, annotation())
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if got := annotation(); got != "" {
			t.Errorf("after a leader that works the Lease says %q", got)
		}
		c.stopAll()
	})
}
