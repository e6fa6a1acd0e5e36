package main

import (
	"context"
	"errors"
	"syscall"

	"github.com/rolecall/rolecall/test/fleet"
)

// processes is a group of real agents.
type processes struct {
	nodes []*fleet.Node
}

// newProcesses adds n nodes to the cluster, whose agents are not started yet.
func newProcesses(ctx context.Context, c *cluster, n int) (*processes, error) {
	g := &processes{}
	for i := range n {
		node, err := c.Add(ctx, nodeName(i), roleName(i))
		if err != nil {
			return nil, err
		}
		g.nodes = append(g.nodes, node)
	}
	return g, nil
}

func (g *processes) size() int   { return len(g.nodes) }
func (g *processes) how() string { return asProcesses }

func (g *processes) start(_ context.Context, i int) error { return g.nodes[i].Start() }

func (g *processes) stop(i int) {
	_ = syscall.Kill(g.nodes[i].PID(), syscall.SIGTERM) // fails only where it has ended
}

func (g *processes) kill(i int) { g.nodes[i].Kill() }

func (g *processes) await(i int) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, _ = fleet.Until(ctx, func(context.Context) error { // if it does not end, it cannot be started again
		if g.nodes[i].Running() {
			return errors.New("it runs")
		}
		return nil
	})
}

func (g *processes) close() {
	for _, n := range g.nodes {
		n.Kill()
	}
}
