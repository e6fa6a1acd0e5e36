package main

import (
	"context"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	coordinationv1client "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"

	"github.com/rolecall/rolecall/election"
	"github.com/rolecall/rolecall/test/fleet"
)

// usualElector is how the table calls the rival.
const usualElector = "the usual elector"

// newRivals are n of client-go's electors as people run them: the same Lease,
// durations and way to the API server as ours, and the Lease released at the end.
func newRivals(ctx context.Context, c *cluster, n int, slow bool) (group, error) {
	g, err := newInside(ctx, c, n, slow)
	if err != nil {
		return nil, err
	}
	g.serve = func(_ context.Context, i int, config *rest.Config, w *wire) (func(context.Context) error, error) {
		client, err := coordinationv1client.NewForConfig(w.config(config))
		if err != nil {
			return nil, err
		}
		elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
			Lock: &resourcelock.LeaseLock{
				LeaseMeta:  metav1.ObjectMeta{Namespace: c.Namespace, Name: fleet.LeaseName},
				Client:     client,
				LockConfig: resourcelock.ResourceLockConfig{Identity: election.Identity(nodeName(i))},
			},
			LeaseDuration: 15 * time.Second, RenewDeadline: 10 * time.Second, RetryPeriod: 2 * time.Second,
			ReleaseOnCancel: true,
			Callbacks:       leaderelection.LeaderCallbacks{OnStartedLeading: func(context.Context) {}, OnStoppedLeading: func() {}},
		})
		if err != nil {
			return nil, err
		}
		return func(ctx context.Context) error {
			for ctx.Err() == nil {
				elector.Run(ctx)
			}
			return nil
		}, nil
	}
	return g, nil
}
