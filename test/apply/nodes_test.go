package apply_test

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rolecall/rolecall/test/cluster"
	"github.com/rolecall/rolecall/test/fleet"
	"github.com/rolecall/rolecall/test/trial"
)

// newRole: the role of a new node is mapped before its agent is a second old.
func newRole(c *chapter) {
	n, err := c.Add(c.t.Context(), cluster.NodeOptions{Number: 4, Role: "spot"})
	c.must("add a node", err)
	c.must("join", n.Ready(c.t.Context()))
	at := c.mapped(trial.NodeRole("spot"))
	c.allReady()
	pods, err := c.agents(c.t.Context())
	c.must("list the agents", err)
	took := at.Sub(c.agentStarted(pods[n.Name].Name))
	if took > time.Second {
		leader := c.leads()
		c.t.Logf("it took %s; %s leads\n%s\n%s says\n%s", took, leader.Name, c.run("--namespace="+namespace, "logs", pods[leader.Name].Name),
			n.Name, c.run("--namespace="+namespace, "logs", pods[n.Name].Name))
	}
	c.saw("mapped %s after its agent's start", took.Round(time.Millisecond))
}

// nodeDeleted: what a node leaves is nothing but its role.
func nodeDeleted(c *chapter) {
	n, err := c.Node("node-4")
	c.must("find the node", err)
	before := c.version()
	c.must("end the node", n.Remove(c.t.Context()))
	took := c.eventually("its pod has gone, and the leader counts one agent less", func(ctx context.Context) error {
		pods, err := c.Client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		for _, p := range pods.Items {
			if p.Spec.NodeName == n.Name {
				return fmt.Errorf("pod %s is there", p.Name)
			}
		}
		lease, err := c.Client.CoordinationV1().Leases(namespace).Get(ctx, fleet.LeaseName, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if got, want := lease.Annotations["rolecall.dev/agents"], fmt.Sprint(len(c.Nodes())); got != want {
			return fmt.Errorf("the Lease says %s agents, want %s", got, want)
		}
		return nil
	})
	c.mapped(trial.NodeRole("spot"))
	if after := c.version(); after != before {
		c.t.Errorf("aws-auth was written: resourceVersion %s, then %s", before, after)
	}
	c.saw("its pod gone and one agent less counted within %s; its role stays, as keepUnused: forever has it", took.Round(time.Second))
}

// pods are all agents.
func (c *chapter) pods() []*corev1.Pod {
	c.t.Helper()
	pods, err := c.agents(c.t.Context())
	c.must("list the agents", err)
	all := make([]*corev1.Pod, 0, len(pods))
	for _, p := range pods {
		all = append(all, p)
	}
	return all
}
