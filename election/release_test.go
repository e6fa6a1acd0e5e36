package election

import (
	"context"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/utils/ptr"
)

// A leader whose process stood still learns that another leads in the moment in
// which its own term ends: the answer comes although nobody waits for it any more.
// What it releases then is not the other's Lease.
func TestReleaseIsOfOnesOwnLease(t *testing.T) {
	s := newStore(t)
	leases := s.client("b").Leases(testNamespace)
	e, err := New(Config{Client: s.client("a"), Namespace: testNamespace, Name: testName, Identity: "a"})
	if err != nil {
		t.Fatal(err)
	}
	for _, knows := range []bool{true, false} {
		l := newLease(e, nil)
		lock := &resourcelock.LeaseLock{
			LeaseMeta: metav1.ObjectMeta{Namespace: testNamespace, Name: testName}, Client: l,
			LockConfig: resourcelock.ResourceLockConfig{Identity: "a"},
		}
		now := metav1.Now()
		record := resourcelock.LeaderElectionRecord{HolderIdentity: "a", LeaseDurationSeconds: 15, AcquireTime: now, RenewTime: now}
		_, _, err := lock.Get(t.Context())
		if err == nil {
			err = lock.Update(t.Context(), record)
		} else {
			err = lock.Create(t.Context(), record)
		}
		if err != nil {
			t.Fatal(err)
		}

		taken, err := leases.Get(t.Context(), testName, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		taken.Spec.HolderIdentity = ptr.To("b")
		if taken, err = leases.Update(t.Context(), taken, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		over, end := context.WithCancel(t.Context())
		end()
		l.seen = &sight{lease: taken} // the answer
		if _, _, err := lock.Get(over); err != nil {
			t.Fatal(err)
		}
		if l.isHeld() {
			t.Error("a has the answer and believes that it holds the Lease")
		}
		if !knows { // as if that had been overlooked
			l.held, l.mayHold = true, true
		}
		e.release(t.Context(), l, lock)

		got, err := leases.Get(t.Context(), testName, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if holder := ptr.Deref(got.Spec.HolderIdentity, ""); holder != "b" {
			t.Errorf("the Lease that b held is %q's (what a saw was noted: %t)", holder, knows)
		}
	}
}
