package election

import (
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

func TestObserver(t *testing.T) {
	const sec = time.Second
	// A look at a time, at a Lease that its holder renewed at another time by
	// its own clock.
	type look struct {
		at, renewed time.Duration
		holder      string
		want        verdict
	}
	tests := map[string][]look{
		"renewed lately":             {{at: 100 * sec, renewed: 96 * sec, holder: "a", want: healthy}},
		"not renewed for 6 s":        {{at: 100 * sec, renewed: 94 * sec, holder: "a", want: stale}},
		"released":                   {{at: 100 * sec, renewed: 99 * sec, holder: "", want: released}},
		"held by us, unknown to us":  {{at: 100 * sec, renewed: 99 * sec, holder: "me", want: ours}},
		"healthy, then dead":         {{100 * sec, 99 * sec, "a", healthy}, {900 * sec, 120 * sec, "a", stale}},
		"dead, then another":         {{100 * sec, 50 * sec, "a", stale}, {103 * sec, 102 * sec, "b", healthy}},
		"unchanged for a short time": {{100 * sec, 99 * sec, "a", healthy}, {102 * sec, 99 * sec, "a", healthy}},

		"clock ahead: no age is old, but what does not change is dead": {
			{100 * sec, 3700 * sec, "a", healthy},
			{110 * sec, 3700 * sec, "a", stale},
		},
		"clock ahead: learnt at the first look": {
			{100 * sec, 3700 * sec, "a", healthy},
			{900 * sec, 4470 * sec, "a", stale},
		},
		"clock behind: old until it is seen to be renewed": {
			{5000 * sec, 1000 * sec, "a", stale},
			{5003 * sec, 1003 * sec, "a", healthy},
			{6000 * sec, 1999 * sec, "a", healthy},
			{7000 * sec, 2980 * sec, "a", stale},
		},
		"clock behind: renewed between two looks far apart says nothing": {
			{5000 * sec, 1000 * sec, "a", stale},
			{5900 * sec, 1100 * sec, "a", stale},
		},
		"clock ahead, then set right": {
			{100 * sec, 3700 * sec, "a", healthy},
			{102 * sec, 101 * sec, "a", healthy},
			{110 * sec, 109 * sec, "a", healthy},
			{900 * sec, 120 * sec, "a", stale},
		},
		"clock behind, then set right": {
			{5000 * sec, 1000 * sec, "a", stale},
			{5003 * sec, 1003 * sec, "a", healthy},
			{6000 * sec, 5999 * sec, "a", healthy},
			{7000 * sec, 6990 * sec, "a", stale},
		},
		"what was learnt of one holder's clock says nothing of the next": {
			{100 * sec, 3700 * sec, "a", healthy},
			{200 * sec, 199 * sec, "b", healthy},
			{900 * sec, 300 * sec, "b", stale},
		},
	}
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for name, looks := range tests {
		t.Run(name, func(t *testing.T) {
			o := observer{self: "me", patience: 5 * sec}
			for i, l := range looks {
				lease := &coordinationv1.Lease{Spec: coordinationv1.LeaseSpec{
					HolderIdentity: ptr.To(l.holder),
					RenewTime:      ptr.To(metav1.NewMicroTime(start.Add(l.renewed))),
				}}
				if got := o.look(lease, start.Add(l.at)); got != l.want {
					t.Errorf("look %d, at %v: got %v, want %v", i, l.at, got, l.want)
				}
			}
		})
	}
	t.Run("no lease, no times", func(t *testing.T) {
		o := observer{self: "me", patience: 5 * sec}
		if got := o.look(nil, start); got != missing {
			t.Errorf("no lease: got %v, want %v", got, missing)
		}
		if got := o.look(&coordinationv1.Lease{}, start); got != released {
			t.Errorf("empty lease: got %v, want %v", got, released)
		}
		held := &coordinationv1.Lease{Spec: coordinationv1.LeaseSpec{HolderIdentity: ptr.To("a")}}
		if got := o.look(held, start); got != stale {
			t.Errorf("never renewed: got %v, want %v", got, stale)
		}
	})
}
