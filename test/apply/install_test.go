package apply_test

import (
	"time"

	"github.com/rolecall/rolecall/test/cluster"
	"github.com/rolecall/rolecall/test/trial"
)

// threeNodesJoin: two instances of one role and one of another.
func threeNodesJoin(c *chapter) {
	for i, role := range []string{"workers", "workers", "ingress"} {
		n, err := c.Add(c.t.Context(), cluster.NodeOptions{Number: i + 1, Role: role})
		c.must("add a node", err)
		c.must("join", n.Ready(c.t.Context()))
	}
	c.saw("3 kubelets with containerd are Ready")
}

// applied types what the README says. The image was built from the Dockerfile.
func applied(c *chapter) {
	begin := time.Now()
	c.run("apply", "-k", manifests+"/base")
	c.allReady()
	c.saw("3 of 3 pods Ready %s after it", since(begin))
}

func rolesMapped(c *chapter) {
	first := time.Time{}
	for _, pod := range c.pods() {
		if started := c.agentStarted(pod.Name); first.IsZero() || started.Before(first) {
			first = started
		}
	}
	workers, ingress := c.mapped(trial.NodeRole("workers")), c.mapped(trial.NodeRole("ingress"))
	last := workers
	if ingress.After(last) {
		last = ingress
	}
	c.saw("workers and ingress, %s after the first agent's start", last.Sub(first).Round(10*time.Millisecond))
}

func since(begin time.Time) time.Duration { return time.Since(begin).Round(10 * time.Millisecond) }
