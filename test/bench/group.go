package main

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/rest"
)

// A group is some agents of one cluster, or electors in their place. Members are
// numbered from 0; those that end may be started anew.
type group interface {
	size() int
	how() string
	start(ctx context.Context, i int) error
	stop(i int)  // asks it to end, as SIGTERM does, and does not wait
	kill(i int)  // ends it as SIGKILL does
	await(i int) // waits until it has ended
	close()
}

const (
	asProcesses  = "processes"
	inOneProcess = "in one process"
)

// crowd is how many agents one machine can start at once: it makes all of their
// TLS connections, at both ends, where each of theirs would make its own. Of more,
// so many are started in each second.
const (
	crowd    = 1000
	crowding = 100
)

// startAll starts all members, at once if they are no crowd.
func startAll(ctx context.Context, g group) error {
	if g.size() <= crowd {
		return startAtOnce(ctx, g)
	}
	for i := range g.size() {
		if !pause(ctx, time.Second/crowding) {
			return ctx.Err()
		}
		if err := g.start(ctx, i); err != nil {
			return err
		}
	}
	return nil
}

// startAtOnce starts all members at once, a crowd too.
func startAtOnce(ctx context.Context, g group) error {
	var all errgroup.Group
	all.SetLimit(64)
	for i := range g.size() {
		all.Go(func() error { return g.start(ctx, i) })
	}
	return all.Wait()
}

// A member is one agent or elector in this process.
type member struct {
	cancel context.CancelFunc
	wire   *wire
	done   chan struct{}
}

// inside is a group in this process.
type inside struct {
	config *rest.Config // with the token of the agents' ServiceAccount
	slow   bool
	serve  func(ctx context.Context, i int, config *rest.Config, w *wire) (run func(context.Context) error, err error)

	mu      sync.Mutex
	members []*member
}

func newInside(ctx context.Context, c *cluster, n int, slow bool) (*inside, error) {
	config, err := c.plane.ServiceAccountConfig(ctx, c.Namespace, "rolecall")
	if err != nil {
		return nil, err
	}
	return &inside{config: config, slow: slow, members: make([]*member, n)}, c.scheduled(ctx, n)
}

func (g *inside) size() int   { return len(g.members) }
func (g *inside) how() string { return inOneProcess }

// start starts a member. It runs until it is stopped, whatever ctx does.
func (g *inside) start(ctx context.Context, i int) error {
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	m := &member{cancel: cancel, wire: &wire{slow: g.slow}, done: make(chan struct{})}
	run, err := g.serve(running, i, g.config, m.wire)
	if err != nil {
		cancel()
		return err
	}
	g.mu.Lock()
	g.members[i] = m
	g.mu.Unlock()
	go func() {
		defer close(m.done)
		_ = run(running) // it ends with its context
		m.wire.end()
	}()
	return nil
}

func (g *inside) member(i int) *member {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.members[i]
}

func (g *inside) stop(i int) { g.member(i).cancel() }

func (g *inside) kill(i int) {
	m := g.member(i)
	m.wire.end()
	m.cancel()
}

// await does not wait long: a member whose wire is cut may try to release its
// Lease for a while, and cannot.
func (g *inside) await(i int) {
	late := time.NewTimer(10 * time.Second)
	defer late.Stop()
	select {
	case <-g.member(i).done:
	case <-late.C:
	}
}

func (g *inside) close() {
	for i := range g.members {
		if g.member(i) != nil {
			g.kill(i)
		}
	}
	for i := range g.members {
		if m := g.member(i); m != nil {
			<-m.done
		}
	}
}
