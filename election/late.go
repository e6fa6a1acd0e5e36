package election

import (
	"context"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	coordinationv1client "k8s.io/client-go/kubernetes/typed/coordination/v1"
)

// late is when an answer is late: a busy API server takes seconds for one of a
// hundred, and seldom for two that are asked for one after the other. Nobody leads
// meanwhile, so what is late is asked for once more. (A hedged request:
// Dean and Barroso, The Tail at Scale, https://doi.org/10.1145/2408776.2408794.)
func (e *Elector) late() time.Duration { return e.cfg.RetryPeriod / 4 }

// get reads the Lease, a second time where the answer is late; the first answer
// counts, or error. It takes requestTimeout at most.
func (e *Elector) get(ctx context.Context, client coordinationv1client.LeaseInterface, name string, opts metav1.GetOptions) (*coordinationv1.Lease, error) {
	ctx, cancel := context.WithTimeout(ctx, e.requestTimeout())
	defer cancel()
	first, giveUp := context.WithCancel(ctx)
	defer giveUp()
	type answer struct {
		lease *coordinationv1.Lease
		err   error
	}
	second := make(chan answer, 1)
	again := time.AfterFunc(e.late(), func() {
		lease, err := client.Get(ctx, name, opts)
		second <- answer{lease, err}
		giveUp()
	})
	lease, err := client.Get(first, name, opts)
	if again.Stop() || err == nil || first.Err() == nil {
		return lease, err
	}
	a := <-second
	return a.lease, a.err
}

// getPatiently reads the Lease for an agent that has just started. Where that is late,
// very many have started at once: it is not asked for twice, and waited for twice as
// long, so that the API server does not answer those who no longer listen.
func (e *Elector) getPatiently(ctx context.Context, client coordinationv1client.LeaseInterface, name string, opts metav1.GetOptions) (*coordinationv1.Lease, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*e.requestTimeout())
	defer cancel()
	return client.Get(ctx, name, opts)
}
