package main

import (
	"context"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"
	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/ptr"

	"github.com/rolecall/rolecall/election"
	"github.com/rolecall/rolecall/test/fleet"
	"github.com/rolecall/rolecall/test/stage"
)

// A restartRun is a group that is started as a whole, again and again.
type restartRun struct {
	n             int
	rival, real   bool
	trials        int
	took, created []float64
	how           string
}

// restart measures how long it takes until somebody leads where all agents are
// started at once on the Lease of a leader that is no more.
func restart(ctx context.Context, b *bench) error {
	together := []*restartRun{{n: 3, real: true, trials: 5}, {n: 50, real: true, trials: 5}, {n: 500, trials: 5}, {n: 3, rival: true, trials: 4}, {n: 50, rival: true, trials: 4}}
	alone := []*restartRun{{n: 1000, trials: 3}, {n: 5000, trials: 2}}
	if b.small {
		together, alone = []*restartRun{{n: 200, trials: 1}}, nil
	}
	var g errgroup.Group
	for _, run := range together {
		g.Go(func() error { return b.restarts(ctx, run) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for _, run := range alone {
		if err := b.restarts(ctx, run); err != nil {
			return err
		}
	}
	for _, run := range append(together, alone...) {
		f := figureOf("restart", "all start at once on a stale Lease, until one leads", "s", run.took).at(run.n, run.how)
		f.Values = run.took
		if run.rival {
			f.Name = usualElector + ": " + f.Name
			b.add(f)
			continue
		}
		b.add(f.judged("p95 ≤ 25 s", f.P95 <= 25).unless(f.Median <= 100))
		cost := figureOf("restart", "the same: requests until one leads", "requests/agent", run.created).at(run.n, run.how)
		b.add(cost.unless(run.n < 100 || cost.Median <= 6))
	}
	return nil
}

func (b *bench) restarts(ctx context.Context, run *restartRun) error {
	plane, err := stage.Start(ctx, stage.Options{})
	if err != nil {
		return err
	}
	defer func() { _ = plane.Stop() }()
	c, err := b.cluster(ctx, plane, reportOnly)
	if err != nil {
		return err
	}
	defer c.close()
	g, err := b.group(ctx, c, run.n, run.rival, run.real, false)
	if err != nil {
		return err
	}
	defer g.close()
	run.how = g.how()
	for range run.trials {
		if err := b.restartOnce(ctx, c, g, run); err != nil {
			return err
		}
	}
	b.say("restart: a group of %d is done", run.n)
	return nil
}

func (b *bench) restartOnce(ctx context.Context, c *cluster, g group, run *restartRun) error {
	if err := staleLease(ctx, c.Client, c.Namespace, run.n); err != nil {
		return err
	}
	watching, stop := context.WithCancel(ctx)
	defer stop()
	watch := watchHolder(watching, c.Client, c.Namespace)
	before, err := counted(ctx, c.Client)
	if err != nil {
		return err
	}
	begun := time.Now()
	if err := startAtOnce(ctx, g); err != nil {
		return err
	}
	_, at, err := watch.other(ctx, deadHolder)
	if err != nil {
		return err
	}
	after, err := counted(ctx, c.Client)
	if err != nil {
		return err
	}
	run.took = append(run.took, at.Sub(begun).Seconds())
	run.created = append(run.created, after.since(before, asked{resource: "leases"})/float64(run.n))
	for i := range g.size() {
		g.kill(i)
	}
	for i := range g.size() {
		if g.how() == inOneProcess {
			g.await(i)
		}
	}
	return nil
}

const deadHolder = "node-99999_gone"

// staleLease puts a Lease in place that a dead leader of n agents left an hour ago.
func staleLease(ctx context.Context, client kubernetes.Interface, namespace string, n int) error {
	leases := client.CoordinationV1().Leases(namespace)
	if err := leases.Delete(ctx, fleet.LeaseName, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
		return err
	}
	old := metav1.NewMicroTime(time.Now().Add(-time.Hour))
	_, err := leases.Create(ctx, &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Name: fleet.LeaseName, Annotations: map[string]string{election.AgentsAnnotation: strconv.Itoa(n)}},
		Spec: coordinationv1.LeaseSpec{
			HolderIdentity: ptr.To(deadHolder), LeaseDurationSeconds: ptr.To[int32](15),
			AcquireTime: &old, RenewTime: &old, LeaseTransitions: ptr.To[int32](1),
		},
	}, metav1.CreateOptions{})
	return err
}
