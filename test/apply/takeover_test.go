package apply_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rolecall/rolecall/test/cluster"
)

// leaderDeleted: a leader that is told to end hands over at once.
func leaderDeleted(c *chapter) {
	old := c.leads()
	pods, err := c.agents(c.t.Context())
	c.must("list the agents", err)
	begin := time.Now()
	c.run("--namespace="+namespace, "delete", "pod", pods[old.Name].Name, "--wait=false")
	leader, took := c.takenOver(begin, pods[old.Name].Name, old)
	c.saw("%s leads %s after kubectl delete pod", leader.Name, took)
	c.allReady()
}

// takenOver waits until another pod than the one given holds the Lease, and
// returns its node and since when: the acquireTime of the Lease.
func (c *chapter) takenOver(begin time.Time, pod string, old *cluster.Node) (*cluster.Node, time.Duration) {
	c.t.Helper()
	var leader *cluster.Node
	var at time.Time
	c.eventually("another agent leads", func(ctx context.Context) error {
		lease, err := c.Client.CoordinationV1().Leases(namespace).Get(ctx, "rolecall", metav1.GetOptions{})
		if err != nil {
			return err
		}
		if lease.Spec.HolderIdentity == nil || lease.Spec.AcquireTime == nil || lease.Spec.AcquireTime.Time.Before(begin) {
			return fmt.Errorf("the Lease of %s (%s) was not taken over", old.Name, pod)
		}
		name, _, _ := strings.Cut(*lease.Spec.HolderIdentity, "_")
		at = lease.Spec.AcquireTime.Time
		leader, err = c.Node(name)
		return err
	})
	return leader, at.Sub(begin).Round(10 * time.Millisecond)
}

// leaderCutOff: a leader that is cut off stops before another one begins, and
// stands by when it is back.
func leaderCutOff(c *chapter) {
	old := c.leads()
	pods, err := c.agents(c.t.Context())
	c.must("list the agents", err)
	c.must("cut the node off", old.CutOff())
	begin := time.Now()
	defer func() { c.must("connect the node", old.Connect()) }()
	leader, took := c.takenOver(begin, pods[old.Name].Name, old)
	status, text, err := old.Get(c.t.Context(), "127.0.0.1:9465", "/metrics")
	c.must("ask the agent that is cut off", err)
	if status != http.StatusOK || !strings.Contains(text, "\nrolecall_leader 0\n") {
		c.t.Errorf("the agent that is cut off does not say that it has ceased to lead: %d", status)
	}
	// The node controller calls its pod not ready a moment later than the Lease
	// ends. Before that nothing says that it is not.
	c.eventually("the agent that is cut off counts as not ready", func(ctx context.Context) error {
		pods, err := c.agents(ctx)
		if err == nil && (pods[old.Name] == nil || ready(pods[old.Name])) {
			err = errors.New("it is ready")
		}
		return err
	})
	c.must("connect the node", old.Connect())
	c.must("join again", old.Ready(c.t.Context()))
	c.allReady()
	if now := c.leads(); now != leader {
		c.t.Errorf("%s leads, when %s had taken over", now.Name, leader.Name)
	}
	c.saw("%s leads %s after the cut, the old leader had stopped; back, it stands by", leader.Name, took)
}

// rollingUpdate: one agent after the other, and aws-auth is not touched.
func rollingUpdate(c *chapter) {
	before := c.version()
	down := c.watchDown()
	c.run("--namespace="+namespace, "rollout", "restart", "daemonset/rolecall")
	c.run("--namespace="+namespace, "rollout", "status", "daemonset/rolecall", "--timeout=3m")
	most := down()
	if most != 1 {
		c.t.Errorf("%d agents were down at once, want 1", most)
	}
	leader := c.leads()
	c.eventually("the new leader has looked", func(ctx context.Context) error {
		_, text, err := leader.Get(ctx, "127.0.0.1:9465", "/metrics")
		if err == nil && !regexp.MustCompile(`(?m)^rolecall_reconciles_total\{result="unchanged"\} [1-9]`).MatchString(text) {
			err = errors.New("it has not made a pass that found all as it should be")
		}
		return err
	})
	if after := c.version(); after != before {
		c.t.Errorf("aws-auth was written: resourceVersion %s, then %s", before, after)
	}
	c.saw("never more than %d of %d agents down, aws-auth not written", most, len(c.Nodes()))
}

// watchDown counts agents that are not ready until it is called, and returns the
// most at once.
func (c *chapter) watchDown() func() int {
	c.t.Helper()
	ctx, cancel := context.WithCancel(c.t.Context())
	list, err := c.Client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{})
	c.must("list the pods", err)
	w, err := c.Client.CoreV1().Pods(namespace).Watch(ctx, metav1.ListOptions{ResourceVersion: list.ResourceVersion})
	c.must("watch the pods", err)
	up := map[string]bool{} // nodes with an agent that is ready, by pod
	for _, p := range list.Items {
		up[p.Name] = ready(&p)
	}
	nodes := len(c.Nodes())
	counted := make(chan int)
	go func() {
		most := 0
		for e := range w.ResultChan() {
			p, ok := e.Object.(*corev1.Pod)
			if !ok {
				continue
			}
			up[p.Name] = ready(p) && e.Type != "DELETED" && p.DeletionTimestamp == nil
			count := 0
			for _, is := range up {
				if is {
					count++
				}
			}
			most = max(most, nodes-count)
		}
		counted <- most
	}()
	return func() int { cancel(); return <-counted }
}
