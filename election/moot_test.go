package election

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// What a former leader could not write is settled once another leads, and the
// empty Lease that client-go's lock is left with is not sent.
func TestFormerLeaderIsWell(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		c.startN(2)
		defer c.stopAll()
		leader, _ := c.awaitTerm(10 * time.Second)
		held := c.store.current()
		var former *agent
		for _, a := range c.agents {
			if a != leader {
				former = a
			}
		}

		sent := c.store.count(opUpdate)
		_, err := newLease(former.Elector, nil).Update(t.Context(), &coordinationv1.Lease{}, metav1.UpdateOptions{})
		if !apierrors.IsConflict(err) || c.store.count(opUpdate) != sent {
			t.Errorf("an empty Lease: %v, %d requests", err, c.store.count(opUpdate)-sent)
		}

		former.sighted(opUpdate, nil, errors.New("the Lease is gone"))
		if former.Status().Err == nil {
			t.Error("a write that fails does not show in the status")
		}
		former.sighted(opGet, held, nil)
		if err := former.Status().Err; err != nil {
			t.Errorf("another leads, and the status shows %v", err)
		}
	})
}
