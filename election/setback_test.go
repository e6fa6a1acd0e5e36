package election

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
)

// setBack has the cluster restored from a backup that is ten writes old, with the
// Lease in it or without.
func (s *store) setBack(with bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.version -= 10 + 1
	if with {
		s.put(s.lease.DeepCopy())
	} else {
		s.put(nil)
	}
}

// Every agent learns that the cluster was restored from a backup: the Lease has an
// older resourceVersion, or is gone. Nothing else looks like it.
func TestSetBackIsTold(t *testing.T) {
	for name, test := range map[string]struct {
		happens func(*store)
		least   int // of five agents are told
	}{
		"nothing":                      {func(*store) {}, 0},
		"the Lease is older":           {func(s *store) { s.setBack(true) }, 5},
		"older, and the Lease is gone": {func(s *store) { s.setBack(false) }, 5},
		// Whoever makes it anew knows; to the others it is a newer one.
		"the Lease is deleted": {func(s *store) { s.force(func(*coordinationv1.Lease) *coordinationv1.Lease { return nil }) }, 1},
		"somebody edits it": {func(s *store) {
			s.force(func(l *coordinationv1.Lease) *coordinationv1.Lease {
				l.Labels = map[string]string{"a": "b"}
				return l
			})
		}, 0},
		"an outage": {func(s *store) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.down = time.Now().Add(time.Minute)
		}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t)
				c.terms.lenient = true // a Lease that is gone is no fence
				var told []*atomic.Int64
				c.configure = func(cfg *Config) {
					n := new(atomic.Int64)
					told = append(told, n)
					cfg.Agents, cfg.SetBack = 5, func() { n.Add(1) }
				}
				c.startN(5)
				defer c.stopAll()
				c.awaitTerm(30 * time.Second)
				time.Sleep(5 * time.Minute)
				for i, n := range told {
					if n.Load() != 0 {
						t.Errorf("agent %d is told before anything happened", i)
					}
				}
				test.happens(c.store)
				time.Sleep(5 * time.Minute)
				all := 0
				for i, n := range told {
					got := n.Load()
					if all += int(got); got > 1 {
						t.Errorf("agent %d is told %d times", i, got)
					}
				}
				if all < test.least || test.least == 0 && all > 0 {
					t.Errorf("%d agents are told, want %d", all, test.least)
				}
			})
		})
	}
}
