package election

import (
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// A read is made again where its answer is late, and not before; it ends with its
// timeout where none comes.
func TestLateAnswerIsAskedForAgain(t *testing.T) {
	for name, test := range map[string]struct {
		delays  []time.Duration // of one request after the other; then none
		want    time.Duration
		asked   int
		answers bool
	}{
		"in time":    {[]time.Duration{400 * time.Millisecond}, 400 * time.Millisecond, 1, true},
		"late":       {[]time.Duration{3 * time.Second}, 500 * time.Millisecond, 2, true},
		"late twice": {[]time.Duration{time.Second, 3 * time.Second}, time.Second, 2, true},
		"silent":     {[]time.Duration{time.Hour, time.Hour}, 5 * time.Second, 2, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t)
				c.store.force(leaseOf("other", 3, 0))
				asked := make(chan time.Duration, len(test.delays))
				for _, d := range test.delays {
					asked <- d
				}
				c.store.fault = func(string, string) fault {
					select {
					case d := <-asked:
						return fault{delay: d}
					default:
						return fault{}
					}
				}
				e, err := New(Config{Client: c.store.client("a"), Namespace: testNamespace, Name: testName, Identity: "a"})
				if err != nil {
					t.Fatal(err)
				}
				begun := time.Now()
				_, err = e.get(t.Context(), c.store.client("a").Leases(testNamespace), testName, metav1.GetOptions{})
				if took := time.Since(begun); took != test.want || (err == nil) != test.answers {
					t.Errorf("after %s it says %v", took, err)
				}
				if got := c.store.count(opGet); got != test.asked {
					t.Errorf("asked %d times, want %d", got, test.asked)
				}
			})
		})
	}
}

// An API server that takes 3 s for each answer still has the Lease released.
func TestReleaseWhereAllIsSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		a := c.start(nil)
		c.awaitTerm(time.Minute)
		c.store.mu.Lock()
		c.store.fault = func(op, _ string) fault {
			if op == opGet {
				return fault{}
			}
			return fault{delay: 3 * time.Second}
		}
		c.store.mu.Unlock()
		c.stop(a)
		c.stopAll()
		if holder := c.store.holder(); holder != "" {
			t.Errorf("%q still holds the Lease", holder)
		}
	})
}
