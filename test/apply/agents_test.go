package apply_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rolecall/rolecall/test/cluster"
	"github.com/rolecall/rolecall/test/fleet"
)

const namespace = fleet.DefaultNamespace

// agents are the pods of all DaemonSets of rolecall's, by node.
func (s *story) agents(ctx context.Context) (map[string]*corev1.Pod, error) {
	list, err := s.Client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/name"})
	if err != nil {
		return nil, err
	}
	pods := map[string]*corev1.Pod{}
	for i, p := range list.Items {
		if p.DeletionTimestamp == nil {
			pods[p.Spec.NodeName] = &list.Items[i]
		}
	}
	return pods, nil
}

func ready(p *corev1.Pod) bool {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// allReady waits until every node has an agent, and all are ready.
func (c *chapter) allReady() {
	c.t.Helper()
	c.eventually("all agents are ready", func(ctx context.Context) error {
		pods, err := c.agents(ctx)
		if err != nil {
			return err
		}
		for _, n := range c.Nodes() {
			p := pods[n.Name]
			switch {
			case p == nil:
				return fmt.Errorf("%s has no agent", n.Name)
			case !ready(p):
				return fmt.Errorf("the agent of %s is not ready: %s", n.Name, waiting(p))
			}
		}
		return nil
	})
}

// waiting says what a pod waits for.
func waiting(p *corev1.Pod) string {
	said := []string{string(p.Status.Phase), p.Status.Message}
	for _, s := range p.Status.ContainerStatuses {
		if w := s.State.Waiting; w != nil {
			said = append(said, w.Reason, w.Message)
		}
		if e := s.State.Terminated; e != nil {
			said = append(said, e.Reason, e.Message)
		}
	}
	return strings.Join(said, " ")
}

// leader is the node whose agent holds the Lease, which was renewed lately.
func (s *story) leader(ctx context.Context) (*cluster.Node, error) {
	lease, err := s.Client.CoordinationV1().Leases(namespace).Get(ctx, fleet.LeaseName, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	if lease.Spec.HolderIdentity == nil || *lease.Spec.HolderIdentity == "" {
		return nil, fmt.Errorf("nobody holds the Lease")
	}
	if age := time.Since(lease.Spec.RenewTime.Time); age > 8*time.Second {
		return nil, fmt.Errorf("%s has not renewed the Lease for %s", *lease.Spec.HolderIdentity, age.Round(time.Second))
	}
	name, _, _ := strings.Cut(*lease.Spec.HolderIdentity, "_") // NODE_RANDOM
	return s.Node(name)
}

// leads waits until an agent leads, and returns its node.
func (c *chapter) leads() *cluster.Node {
	c.t.Helper()
	var leader *cluster.Node
	c.eventually("an agent leads", func(ctx context.Context) (err error) {
		leader, err = c.leader(ctx)
		return err
	})
	return leader
}

// agentStarted is when an agent said its first word.
func (c *chapter) agentStarted(pod string) time.Time {
	c.t.Helper()
	log := c.run("--namespace="+namespace, "logs", pod)
	first, _, _ := strings.Cut(log, "\n")
	var record struct{ Time time.Time }
	if err := json.Unmarshal([]byte(first), &record); err != nil || record.Time.IsZero() {
		c.t.Fatalf("the first line of the log of %s has no time: %v\n%s", pod, err, first)
	}
	return record.Time
}
