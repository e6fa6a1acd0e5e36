package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rolecall/rolecall/test/awsfake"
	"github.com/rolecall/rolecall/test/fleet"
	"github.com/rolecall/rolecall/test/stage"
)

// patience is the deadline of what has none of its own. On a machine that does
// nothing else, most things take a hundredth of it.
const patience = time.Minute

// quick are flags with which a crash is over sooner than with the defaults.
var quick = []string{"--lease-duration=4s", "--renew-deadline=3s", "--retry-period=500ms"}

// A cluster is a test's own fleet.
type cluster struct {
	*fleet.Fleet
	t     testing.TB
	never []string // what no agent's log may hold
}

// forbidden is how the API server says that the manifests' rights are too few.
const forbidden = "is forbidden"

// newCluster returns a cluster without nodes, whose agents will mount this
// config. The flags are the agents'.
func newCluster(t testing.TB, config string, flags ...string) *cluster {
	t.Helper()
	cp := stage.ForTest(t)
	return newClusterIn(t, cp, cp.Namespace(t), config, flags...)
}

// newClusterIn is newCluster on that control plane, with the agents in the
// namespace of that name.
func newClusterIn(t testing.TB, cp *stage.ControlPlane, namespace, config string, flags ...string) *cluster {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	f, err := fleet.New(ctx, fleet.Options{
		ControlPlane: cp, Binary: path, Dir: t.TempDir(), Namespace: namespace,
		Config: files(config), Flags: flags,
		AWS: awsfake.AWSOptions{PageSize: 2}, // so that every answer worth a test has several pages
	})
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{f, t, []string{"DATA RACE", "panic: ", forbidden}}
	t.Cleanup(c.end)
	return c
}

func files(config string) map[string]string { return map[string]string{"config.yaml": config} }

// end stops the agents and looks for what no agent may ever log.
func (c *cluster) end() {
	if err := c.Close(); err != nil {
		c.t.Error(err)
	}
	for _, n := range c.Nodes() {
		for _, never := range c.never {
			found, err := n.Logged(never)
			if err != nil || len(found) > 0 {
				c.t.Errorf("the log of %s holds %q: %v (%v)", n.Name, never, found, err)
			}
		}
		if c.t.Failed() {
			c.t.Logf("the end of the log of %s:\n%s", n.Name, n.Tail(25))
		}
	}
}

// start adds a node with a role and starts its agent.
func (c *cluster) start(name, role string, flags ...string) {
	c.t.Helper()
	c.startAgent(c.add(name, role), flags...)
}

func (c *cluster) add(name, role string) *fleet.Node {
	c.t.Helper()
	n, err := c.Add(c.t.Context(), name, role)
	if err != nil {
		c.t.Fatal(err)
	}
	return n
}

func (c *cluster) startAgent(n *fleet.Node, flags ...string) {
	c.t.Helper()
	if err := n.Start(flags...); err != nil {
		c.t.Fatal(err)
	}
}

// eventually waits until check returns nil, and logs how long it took.
func (c *cluster) eventually(what string, check func(context.Context) error) {
	c.t.Helper()
	c.within(patience, what, check)
}

// within is eventually with a deadline of its own.
func (c *cluster) within(deadline time.Duration, what string, check func(context.Context) error) {
	c.t.Helper()
	ctx, cancel := context.WithTimeoutCause(c.t.Context(), deadline, errors.New("not so"))
	defer cancel()
	took, err := fleet.Until(ctx, check)
	if err != nil {
		c.t.Fatalf("%s: %v", what, err)
	}
	c.t.Logf("%s: %s", what, took.Round(time.Millisecond))
}

// leader waits until exactly one agent leads, and it is none of those given.
func (c *cluster) leader(not ...*fleet.Node) *fleet.Node {
	c.t.Helper()
	var leader *fleet.Node
	c.eventually("one agent leads", func(ctx context.Context) (err error) {
		if leader, err = c.Leader(ctx); err == nil && slices.Contains(not, leader) {
			err = fmt.Errorf("%s leads", leader.Name)
		}
		return err
	})
	return leader
}

// create makes the aws-auth that is there before rolecall.
func (c *cluster) create(data map[string]string) {
	c.t.Helper()
	cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "aws-auth"}, Data: data}
	if _, err := c.Client.CoreV1().ConfigMaps(c.AWSAuthNamespace).Create(c.t.Context(), cm, metav1.CreateOptions{}); err != nil {
		c.t.Fatal(err)
	}
}

// replace makes aws-auth anew.
func (c *cluster) replace(data map[string]string) {
	c.t.Helper()
	err := c.Client.CoreV1().ConfigMaps(c.AWSAuthNamespace).Delete(c.t.Context(), "aws-auth", deleteNow)
	if err != nil && !apierrors.IsNotFound(err) {
		c.t.Fatal(err)
	}
	c.create(data)
}

// awsAuth is aws-auth as it stands.
func (c *cluster) awsAuth() *corev1.ConfigMap {
	c.t.Helper()
	cm, err := c.AWSAuth(c.t.Context())
	if err != nil {
		c.t.Fatal(err)
	}
	return cm
}

// edit has another tool change aws-auth, and returns what it wrote.
func (c *cluster) edit(change func(data map[string]string)) *corev1.ConfigMap {
	c.t.Helper()
	for {
		cm := c.awsAuth()
		change(cm.Data)
		written, err := c.Client.CoreV1().ConfigMaps(c.AWSAuthNamespace).Update(c.t.Context(), cm, metav1.UpdateOptions{FieldManager: "another-tool"})
		if err == nil {
			return written
		}
		if !apierrors.IsConflict(err) {
			c.t.Fatal(err)
		}
	}
}

// annotate has somebody change aws-auth's annotations.
func (c *cluster) annotate(change func(annotations map[string]string)) {
	c.t.Helper()
	for {
		cm := c.awsAuth()
		if cm.Annotations == nil {
			cm.Annotations = map[string]string{}
		}
		change(cm.Annotations)
		_, err := c.Client.CoreV1().ConfigMaps(c.AWSAuthNamespace).Update(c.t.Context(), cm, metav1.UpdateOptions{FieldManager: "a-person"})
		if err == nil {
			return
		}
		if !apierrors.IsConflict(err) {
			c.t.Fatal(err)
		}
	}
}

// mapped waits until aws-auth maps exactly this.
func (c *cluster) mapped(what string, want ...fleet.Mapping) *corev1.ConfigMap {
	c.t.Helper()
	return c.mappedWithin(patience, what, want...)
}

func (c *cluster) mappedWithin(deadline time.Duration, what string, want ...fleet.Mapping) *corev1.ConfigMap {
	c.t.Helper()
	var cm *corev1.ConfigMap
	c.within(deadline, what, func(ctx context.Context) (err error) {
		if cm, err = c.AWSAuth(ctx); err != nil {
			return err
		}
		return differs(cm, want)
	})
	return cm
}

// stillMapped fails unless aws-auth maps exactly this now.
func (c *cluster) stillMapped(want ...fleet.Mapping) {
	c.t.Helper()
	if err := differs(c.awsAuth(), want); err != nil {
		c.t.Fatal(err)
	}
}

func differs(cm *corev1.ConfigMap, want []fleet.Mapping) error {
	got, err := fleet.Mappings(cm)
	if err != nil {
		return err
	}
	want = slices.Clone(want)
	slices.SortStableFunc(want, func(a, b fleet.Mapping) int { return strings.Compare(a.ARN, b.ARN) })
	if diff := cmp.Diff(want, got); diff != "" {
		return fmt.Errorf("aws-auth (-want +got)\n%s", diff)
	}
	return nil
}

// metric waits until a metric of an agent has a value.
func (c *cluster) metric(n *fleet.Node, want float64, name string, labels ...string) {
	c.t.Helper()
	c.eventually(fmt.Sprintf("%s %s%s %v", n.Name, name, labels, want), func(ctx context.Context) error {
		metrics, err := n.Metrics(ctx)
		if err != nil {
			return err
		}
		if got, ok := metrics.Value(name, labels...); !ok || got != want {
			return fmt.Errorf("%s has %s%s %v (there: %t), want %v", n.Name, name, labels, got, ok, want)
		}
		return nil
	})
}

// value is a metric of an agent as it stands, 0 where it is missing.
func (c *cluster) value(n *fleet.Node, name string, labels ...string) float64 {
	c.t.Helper()
	metrics, err := n.Metrics(c.t.Context())
	if err != nil {
		c.t.Fatal(err)
	}
	v, _ := metrics.Value(name, labels...)
	return v
}

// ready waits until an agent's /readyz?verbose has this status and holds all of
// these texts.
func (c *cluster) ready(n *fleet.Node, status int, texts ...string) {
	c.t.Helper()
	c.eventually(fmt.Sprintf("/readyz of %s is %d", n.Name, status), func(ctx context.Context) error {
		got, body, err := n.Get(ctx, "/readyz?verbose")
		if err != nil {
			return err
		}
		if got != status {
			return fmt.Errorf("/readyz of %s answers %d, want %d:\n%s", n.Name, got, status, body)
		}
		for _, text := range texts {
			if !strings.Contains(body, text) {
				return fmt.Errorf("/readyz of %s lacks %q:\n%s", n.Name, text, body)
			}
		}
		return nil
	})
}

// healthy waits until all agents are ready.
func (c *cluster) healthy() {
	c.t.Helper()
	for _, n := range c.Nodes() {
		c.ready(n, http.StatusOK)
	}
}

// logged waits until an agent has logged a line that holds all of the texts.
func (c *cluster) logged(n *fleet.Node, texts ...string) fleet.Record {
	c.t.Helper()
	var found []fleet.Record
	c.eventually(fmt.Sprintf("%s logs %q", n.Name, texts), func(context.Context) (err error) {
		if found, err = n.Logged(texts...); err == nil && len(found) == 0 {
			err = errors.New("it does not")
		}
		return err
	})
	return found[0]
}

// recorded waits for an Event on aws-auth.
func (c *cluster) recorded(reason string, texts ...string) {
	c.t.Helper()
	c.eventually("Event "+reason, func(ctx context.Context) error {
		events, err := c.Client.CoreV1().Events(c.AWSAuthNamespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		var seen []string
		for _, e := range events.Items {
			holds := e.Reason == reason && e.InvolvedObject.Kind == "ConfigMap" && e.InvolvedObject.Name == "aws-auth"
			for _, text := range texts {
				holds = holds && strings.Contains(e.Message, text)
			}
			if holds {
				return nil
			}
			seen = append(seen, e.Reason+": "+e.Message)
		}
		return fmt.Errorf("no Event %s with %q on aws-auth, but %q", reason, texts, seen)
	})
}

// swap brings a new config to all nodes.
func (c *cluster) swap(config string) {
	c.t.Helper()
	if err := c.Swap(files(config)); err != nil {
		c.t.Fatal(err)
	}
}
