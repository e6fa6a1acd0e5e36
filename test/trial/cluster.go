package trial

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

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/internal/history"
	"github.com/rolecall/rolecall/internal/plan"
	"github.com/rolecall/rolecall/internal/register/configmap"
	"github.com/rolecall/rolecall/test/awsfake"
	"github.com/rolecall/rolecall/test/fleet"
	"github.com/rolecall/rolecall/test/stage"
)

// Patience is the deadline of what has none of its own. On a machine that does
// nothing else, most things take a hundredth of it.
const Patience = time.Minute

// Account is the account of all fleets, as it stands in ARNs.
const Account = "arn:aws:iam::111122223333:"

// Forbidden is how the API server says that the manifests' rights are too few.
const Forbidden = "is forbidden"

// others is the name under which the API server records what is not rolecall's.
// It is one, since of two in one second nobody can say which was the last.
const others = "another-tool"

// Options are those of a fleet, of which a trial fills in what is missing.
type Options struct {
	fleet.Options
	// Never lists what no agent's log may hold besides data races and panics;
	// by default that is Forbidden.
	Never []string
}

// A Cluster is a test's own fleet. Its methods end the test where they fail.
type Cluster struct {
	*fleet.Fleet
	T     testing.TB
	never []string
}

// New returns a cluster without nodes, whose agents will mount this config. By
// default it is on the control plane that all tests of the binary share, in
// namespaces of its own. It ends with the test, which then fails if an agent has
// logged what it never may.
func New(t testing.TB, config string, o Options) *Cluster {
	t.Helper()
	if o.ControlPlane == nil {
		o.ControlPlane = stage.ForTest(t)
	}
	if o.Namespace == "" {
		o.Namespace = o.ControlPlane.Namespace(t)
	}
	if o.AWS.PageSize == 0 {
		o.AWS = awsfake.AWSOptions{PageSize: 2} // so that every answer worth a test has several pages
	}
	if o.Never == nil {
		o.Never = []string{Forbidden}
	}
	o.Binary, o.Dir, o.Config = Binary(t), t.TempDir(), Files(config)
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	defer cancel()
	f, err := fleet.New(ctx, o.Options)
	if err != nil {
		t.Fatal(err)
	}
	c := &Cluster{f, t, append([]string{"DATA RACE", "panic: "}, o.Never...)}
	t.Cleanup(c.end)
	return c
}

// Files are those of a mount with that config.yaml alone.
func Files(config string) map[string]string { return map[string]string{"config.yaml": config} }

// end stops the agents and looks for what no agent may ever log.
func (c *Cluster) end() {
	if err := c.Close(); err != nil {
		c.T.Error(err)
	}
	for _, n := range c.Nodes() {
		lines := 25
		for _, never := range c.never {
			found, err := n.Logged(never)
			if err != nil || len(found) > 0 {
				c.T.Errorf("the log of %s holds %q: %v (%v)", n.Name, never, found, err)
				lines = 200 // so that a report of a data race is whole
			}
		}
		if c.T.Failed() {
			c.T.Logf("the end of the log of %s:\n%s", n.Name, n.Tail(lines))
		}
	}
}

// NewNode adds a node with a role, whose agent is not started.
func (c *Cluster) NewNode(name, role string) *fleet.Node {
	c.T.Helper()
	n, err := c.Add(c.T.Context(), name, role)
	if err != nil {
		c.T.Fatal(err)
	}
	return n
}

// StartNode adds a node with a role and starts its agent.
func (c *Cluster) StartNode(name, role string, flags ...string) *fleet.Node {
	c.T.Helper()
	n := c.NewNode(name, role)
	c.StartAgent(n, flags...)
	return n
}

// StartAgent starts the agent of a node.
func (c *Cluster) StartAgent(n *fleet.Node, flags ...string) {
	c.T.Helper()
	if err := n.Start(flags...); err != nil {
		c.T.Fatal(err)
	}
}

// Mount brings a config to all nodes.
func (c *Cluster) Mount(config string) {
	c.T.Helper()
	if err := c.Swap(Files(config)); err != nil {
		c.T.Fatal(err)
	}
}

// Eventually waits until check returns nil, and logs how long it took.
func (c *Cluster) Eventually(what string, check func(context.Context) error) {
	c.T.Helper()
	c.Within(Patience, what, check)
}

// Within is Eventually with a deadline of its own.
func (c *Cluster) Within(deadline time.Duration, what string, check func(context.Context) error) {
	c.T.Helper()
	ctx, cancel := context.WithTimeoutCause(c.T.Context(), deadline, errors.New("not so"))
	defer cancel()
	took, err := fleet.Until(ctx, check)
	if err != nil {
		c.T.Fatalf("%s: %v", what, err)
	}
	c.T.Logf("%s: %s", what, took.Round(time.Millisecond))
}

// OneLeads waits until exactly one agent leads, and it is none of those given.
func (c *Cluster) OneLeads(not ...*fleet.Node) *fleet.Node {
	c.T.Helper()
	var leader *fleet.Node
	c.Eventually("one agent leads", func(ctx context.Context) (err error) {
		if leader, err = c.Leader(ctx); err == nil && slices.Contains(not, leader) {
			err = fmt.Errorf("%s leads", leader.Name)
		}
		return err
	})
	return leader
}

// Create makes the aws-auth that is there before rolecall.
func (c *Cluster) Create(data map[string]string) *corev1.ConfigMap {
	c.T.Helper()
	cm, err := c.create(data)
	if err != nil {
		c.T.Fatal(err)
	}
	return cm
}

func (c *Cluster) create(data map[string]string) (*corev1.ConfigMap, error) {
	cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: awsauth.Name}, Data: data}
	return c.Client.CoreV1().ConfigMaps(c.AWSAuthNamespace).Create(c.T.Context(), cm, metav1.CreateOptions{FieldManager: others})
}

// Delete deletes aws-auth, which need not be there.
func (c *Cluster) Delete() {
	c.T.Helper()
	err := c.Client.CoreV1().ConfigMaps(c.AWSAuthNamespace).Delete(c.T.Context(), awsauth.Name, metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		c.T.Fatal(err)
	}
}

// Replace makes aws-auth anew. Where the leader puts it back in between, it is
// deleted once more.
func (c *Cluster) Replace(data map[string]string) {
	c.T.Helper()
	for {
		c.Delete()
		_, err := c.create(data)
		if err == nil {
			return
		}
		if !apierrors.IsAlreadyExists(err) {
			c.T.Fatal(err)
		}
	}
}

// Now is aws-auth as it stands.
func (c *Cluster) Now() *corev1.ConfigMap {
	c.T.Helper()
	cm, err := c.AWSAuth(c.T.Context())
	if err != nil {
		c.T.Fatal(err)
	}
	return cm
}

// Edit has another tool change the data of aws-auth, and returns what it wrote.
func (c *Cluster) Edit(change func(data map[string]string)) *corev1.ConfigMap {
	c.T.Helper()
	return c.Change(func(cm *corev1.ConfigMap) { change(cm.Data) })
}

// Change has another tool change anything of aws-auth, and returns what it wrote.
func (c *Cluster) Change(change func(*corev1.ConfigMap)) *corev1.ConfigMap {
	c.T.Helper()
	for {
		cm := c.Now()
		change(cm)
		written, err := c.Client.CoreV1().ConfigMaps(c.AWSAuthNamespace).Update(c.T.Context(), cm, metav1.UpdateOptions{FieldManager: others})
		if err == nil {
			return written
		}
		if !apierrors.IsConflict(err) {
			c.T.Fatal(err)
		}
	}
}

// Ledger is the ledger as it stands.
func (c *Cluster) Ledger() *plan.State {
	c.T.Helper()
	cm, err := c.Client.CoreV1().ConfigMaps(c.Namespace).Get(c.T.Context(), fleet.LedgerName, metav1.GetOptions{})
	if err != nil {
		c.T.Fatal(err)
	}
	ledger, _, err := configmap.DecodeLedger(cm.BinaryData[configmap.LedgerKey])
	if err != nil {
		c.T.Fatal(err)
	}
	return ledger
}

// Revisions lists the history of aws-auth, the newest first.
func (c *Cluster) Revisions() []history.Revision {
	c.T.Helper()
	list, err := history.New(c.Client.AppsV1().ControllerRevisions(c.Namespace), awsauth.Name, "test").List(c.T.Context())
	if err != nil {
		c.T.Fatal(err)
	}
	return list
}

// Rolecall runs a command as the administrator and returns what it prints.
func (c *Cluster) Rolecall(args ...string) string {
	c.T.Helper()
	ctx, cancel := context.WithTimeout(c.T.Context(), Patience)
	defer cancel()
	r, err := c.Run(ctx, args...)
	if err != nil || r.Code != 0 {
		c.T.Fatalf("rolecall %s: exit status %d, %v\n%s%s", strings.Join(args, " "), r.Code, err, r.Stdout, r.Stderr)
	}
	return r.Stdout
}

// Maps waits until aws-auth maps exactly this.
func (c *Cluster) Maps(what string, want ...fleet.Mapping) *corev1.ConfigMap {
	c.T.Helper()
	return c.MapsWithin(Patience, what, want...)
}

// MapsWithin is Maps with a deadline of its own.
func (c *Cluster) MapsWithin(deadline time.Duration, what string, want ...fleet.Mapping) *corev1.ConfigMap {
	c.T.Helper()
	var cm *corev1.ConfigMap
	c.Within(deadline, what, func(ctx context.Context) (err error) {
		if cm, err = c.AWSAuth(ctx); err != nil {
			return err
		}
		return Differs(cm, want)
	})
	return cm
}

// StillMaps fails unless aws-auth maps exactly this now.
func (c *Cluster) StillMaps(want ...fleet.Mapping) {
	c.T.Helper()
	if err := Differs(c.Now(), want); err != nil {
		c.T.Fatal(err)
	}
}

// Differs says how an aws-auth differs from what it should map.
func Differs(cm *corev1.ConfigMap, want []fleet.Mapping) error {
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

// Metric waits until a metric of an agent has a value.
func (c *Cluster) Metric(n *fleet.Node, want float64, name string, labels ...string) {
	c.T.Helper()
	c.metric(n, fmt.Sprint(want), name, labels, func(got float64) bool { return got == want })
}

// AtLeast waits until a metric of an agent is at least that much.
func (c *Cluster) AtLeast(n *fleet.Node, least float64, name string, labels ...string) {
	c.T.Helper()
	c.metric(n, fmt.Sprintf("≥ %v", least), name, labels, func(got float64) bool { return got >= least })
}

func (c *Cluster) metric(n *fleet.Node, want, name string, labels []string, is func(float64) bool) {
	c.T.Helper()
	c.Eventually(fmt.Sprintf("%s %s%s %s", n.Name, name, labels, want), func(ctx context.Context) error {
		metrics, err := n.Metrics(ctx)
		if err != nil {
			return err
		}
		if got, ok := metrics.Value(name, labels...); !ok || !is(got) {
			return fmt.Errorf("%s has %s%s %v (there: %t), want %s", n.Name, name, labels, got, ok, want)
		}
		return nil
	})
}

// Value is a metric of an agent as it stands, 0 where it is missing.
func (c *Cluster) Value(n *fleet.Node, name string, labels ...string) float64 {
	c.T.Helper()
	metrics, err := n.Metrics(c.T.Context())
	if err != nil {
		c.T.Fatal(err)
	}
	v, _ := metrics.Value(name, labels...)
	return v
}

// Ready waits until an agent's /readyz?verbose has this status and holds all of
// these texts.
func (c *Cluster) Ready(n *fleet.Node, status int, texts ...string) {
	c.T.Helper()
	c.Eventually(fmt.Sprintf("/readyz of %s is %d", n.Name, status), func(ctx context.Context) error {
		got, body, err := n.Get(ctx, "/readyz?verbose")
		if err != nil {
			return err
		}
		if got != status {
			return fmt.Errorf("/readyz of %s answers %d, want %d:\n%s", n.Name, got, status, body)
		}
		return lacks(body, texts)
	})
}

// Says waits until an agent's /readyz?verbose holds all of these texts, whatever
// its status, and returns it.
func (c *Cluster) Says(n *fleet.Node, texts ...string) string {
	c.T.Helper()
	var body string
	c.Eventually(fmt.Sprintf("/readyz of %s holds %q", n.Name, texts), func(ctx context.Context) (err error) {
		if _, body, err = n.Get(ctx, "/readyz?verbose"); err != nil {
			return err
		}
		return lacks(body, texts)
	})
	return body
}

func lacks(body string, texts []string) error {
	for _, text := range texts {
		if !strings.Contains(body, text) {
			return fmt.Errorf("/readyz lacks %q:\n%s", text, body)
		}
	}
	return nil
}

// Healthy waits until all agents are ready.
func (c *Cluster) Healthy() {
	c.T.Helper()
	for _, n := range c.Nodes() {
		c.Ready(n, http.StatusOK)
	}
}

// Logs waits until an agent has logged a line that holds all of the texts.
func (c *Cluster) Logs(n *fleet.Node, texts ...string) fleet.Record {
	c.T.Helper()
	var found []fleet.Record
	c.Eventually(fmt.Sprintf("%s logs %q", n.Name, texts), func(context.Context) (err error) {
		if found, err = n.Logged(texts...); err == nil && len(found) == 0 {
			err = errors.New("it does not")
		}
		return err
	})
	return found[0]
}

// Event waits for an Event on aws-auth.
func (c *Cluster) Event(reason string, texts ...string) {
	c.T.Helper()
	c.Eventually("Event "+reason, func(ctx context.Context) error {
		events, err := c.Client.CoreV1().Events(c.AWSAuthNamespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		var seen []string
		for _, e := range events.Items {
			holds := e.Reason == reason && e.InvolvedObject.Kind == "ConfigMap" && e.InvolvedObject.Name == awsauth.Name
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

// Ours is an entry of rolecall's; the ARN is given without [Account].
func Ours(arn, username string, groups ...string) fleet.Mapping {
	return fleet.Mapping{ARN: Account + arn, Username: username, Groups: groups, SyncedBy: awsauth.Mark}
}

// NodeRole is rolecall's entry of a node's role, with more groups if given.
func NodeRole(role string, more ...string) fleet.Mapping {
	groups := append([]string{"system:bootstrappers", "system:nodes"}, more...)
	slices.Sort(groups)
	return Ours("role/"+role, "system:node:{{EC2PrivateDNSName}}", groups...)
}
