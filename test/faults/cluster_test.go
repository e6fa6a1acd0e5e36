package faults_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/test/faultproxy"
	"github.com/rolecall/rolecall/test/fleet"
	"github.com/rolecall/rolecall/test/stage"
)

// patience is the deadline of what has none of its own. On a machine that does
// nothing else, most things take a hundredth of it.
const patience = time.Minute

// quick are flags with which a crash is over sooner than with the defaults.
// The work has a second to stop in when the Lease is lost.
var quick = []string{"--lease-duration=4s", "--renew-deadline=3s", "--retry-period=300ms", "--settle-time=0"}

// A cluster is a test's own fleet, with a proxy before its API server.
type cluster struct {
	*fleet.Fleet
	t     testing.TB
	proxy *faultproxy.Proxy
	seen  *fleet.History // of aws-auth
}

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
	proxy, err := faultproxy.Start(cp.Config())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(proxy.Close)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	f, err := fleet.New(ctx, fleet.Options{
		ControlPlane: cp, Binary: path, Dir: t.TempDir(), Namespace: namespace,
		Config: files(config), Flags: flags, Through: proxy.Config,
	})
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{Fleet: f, t: t, proxy: proxy}
	t.Cleanup(c.end)
	c.seen, err = f.Follow(t.Context(), f.AWSAuthNamespace, "aws-auth")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.seen.Stop)
	return c
}

func files(config string) map[string]string { return map[string]string{"config.yaml": config} }

// end stops the agents and looks for what no agent may ever log.
func (c *cluster) end() {
	if err := c.Close(); err != nil {
		c.t.Error(err)
	}
	for _, n := range c.Nodes() {
		for _, never := range []string{"DATA RACE", "panic: "} {
			if found, err := n.Logged(never); err != nil || len(found) > 0 {
				c.t.Errorf("the log of %s holds %q: %v (%v)", n.Name, never, found, err)
			}
		}
		if c.t.Failed() {
			c.t.Logf("the end of the log of %s:\n%s", n.Name, n.Tail(25))
		}
	}
	if c.t.Failed() {
		c.t.Logf("the last requests:\n%s", tail(c.proxy.Records(), 60))
	}
}

func tail(records []faultproxy.Record, n int) string {
	var b strings.Builder
	for _, r := range records[max(0, len(records)-n):] {
		fmt.Fprintf(&b, "%s %s: %d, upstream %d\n", r.Begun.Format("05.000"), r.Request, r.Code, r.Upstream)
	}
	return b.String()
}

// add adds a node, whose agent is not started.
func (c *cluster) add(name, role string) *fleet.Node {
	c.t.Helper()
	n, err := c.Add(c.t.Context(), name, role)
	if err != nil {
		c.t.Fatal(err)
	}
	return n
}

func (c *cluster) start(n *fleet.Node) {
	c.t.Helper()
	if err := n.Start(); err != nil {
		c.t.Fatal(err)
	}
}

// nodes adds and starts a leader and then a standby.
func (c *cluster) nodes() (leader, standby *fleet.Node) {
	c.t.Helper()
	leader = c.add("node-a", "workers")
	c.start(leader)
	c.leads(leader)
	standby = c.add("node-b", "workers")
	c.start(standby)
	c.eventually("the standby has seen the Lease", func(ctx context.Context) error {
		_, body, err := standby.Get(ctx, "/readyz?verbose")
		if err == nil && !strings.Contains(body, "[+]election ok: standing by, \"node-a") {
			err = errors.New(body)
		}
		return err
	})
	return leader, standby
}

// eventually waits until check returns nil, and logs how long it took.
func (c *cluster) eventually(what string, check func(context.Context) error) {
	c.t.Helper()
	c.within(patience, what, check)
}

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

// leads waits until this agent leads and no other does.
func (c *cluster) leads(n *fleet.Node) {
	c.t.Helper()
	c.eventually(n.Name+" leads", func(ctx context.Context) error {
		leader, err := c.Leader(ctx)
		if err == nil && leader != n {
			err = fmt.Errorf("%s leads", leader.Name)
		}
		return err
	})
}

// leader waits until one agent leads.
func (c *cluster) leader() *fleet.Node {
	c.t.Helper()
	var n *fleet.Node
	c.eventually("one agent leads", func(ctx context.Context) (err error) {
		n, err = c.Leader(ctx)
		return err
	})
	return n
}

// create makes the aws-auth that is there before rolecall.
func (c *cluster) create(data map[string]string) *corev1.ConfigMap {
	c.t.Helper()
	cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "aws-auth"}, Data: data}
	cm, err := c.Client.CoreV1().ConfigMaps(c.AWSAuthNamespace).Create(c.t.Context(), cm, metav1.CreateOptions{})
	if err != nil {
		c.t.Fatal(err)
	}
	return cm
}

// edit has another tool change aws-auth, and returns what it wrote.
func (c *cluster) edit(change func(*corev1.ConfigMap)) *corev1.ConfigMap {
	c.t.Helper()
	for {
		cm := c.awsAuth()
		change(cm)
		written, err := c.Client.CoreV1().ConfigMaps(c.AWSAuthNamespace).Update(c.t.Context(), cm, metav1.UpdateOptions{FieldManager: "another-tool"})
		if err == nil {
			return written
		}
		if !apierrors.IsConflict(err) {
			c.t.Fatal(err)
		}
	}
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

// swap brings a new config to all nodes.
func (c *cluster) swap(config string) {
	c.t.Helper()
	if err := c.Swap(files(config)); err != nil {
		c.t.Fatal(err)
	}
}

// settled waits until aws-auth maps exactly this and the ledger agrees.
func (c *cluster) settled(what string, want ...fleet.Mapping) (awsAuth, ledger *corev1.ConfigMap) {
	c.t.Helper()
	c.eventually(what, func(ctx context.Context) (err error) {
		if awsAuth, err = c.AWSAuth(ctx); err != nil {
			return err
		}
		if err := differs(awsAuth, want); err != nil {
			return err
		}
		ctx, cancel := context.WithTimeoutCause(ctx, time.Second, errors.New("the ledger does not agree"))
		defer cancel()
		if awsAuth, ledger, err = c.Settled(ctx); err != nil {
			return err
		}
		return errors.Join(differs(awsAuth, want), disowned(ledger, want))
	})
	return awsAuth, ledger
}

// disowned says how the ledger differs from what of all this is ours. Accounts
// count too: what has no mark is ours by the ledger alone.
func disowned(cm *corev1.ConfigMap, all []fleet.Mapping) error {
	ledger, err := awsauth.DecodeLedger(cm.BinaryData[awsauth.LedgerKey])
	if err != nil {
		return err
	}
	var got, want []string
	for _, o := range ledger.Owned {
		got = append(got, o.ARN)
	}
	for _, m := range all {
		if !slices.ContainsFunc(foreign, func(f fleet.Mapping) bool { return f.ARN == m.ARN }) {
			want = append(want, m.ARN)
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		return fmt.Errorf("the ledger's entries (-want +got)\n%s", diff)
	}
	return nil
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

// judge looks at every version of aws-auth up to the present one: others' text
// is there, byte for byte, no ARN is there twice, and the role of a live node
// that was mapped once is mapped ever after.
func (c *cluster) judge(foreign map[string]string, live ...string) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	versions, err := c.seen.UpTo(ctx, c.awsAuth())
	if err != nil {
		c.t.Fatal(err)
	}
	mapped := map[string]bool{}
	for _, v := range versions {
		if err := judge(v, foreign, live, mapped); err != nil {
			c.t.Errorf("resourceVersion %s of aws-auth, written by %s: %v\n%s", v.ResourceVersion, writers(v), err, v.Data)
		}
	}
	c.t.Logf("%d versions of aws-auth are right", len(versions))
}

func judge(v fleet.Version, foreign map[string]string, live []string, mapped map[string]bool) error {
	if v.Deleted {
		return errors.New("it was deleted")
	}
	for key, text := range foreign {
		if !strings.Contains(v.Data[key], text) {
			return fmt.Errorf("%s lacks others' text:\n%s", key, text)
		}
	}
	entries, err := fleet.Mappings(v.ConfigMap)
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, e := range entries {
		arn := strings.ToLower(e.ARN)
		if seen[arn] {
			return fmt.Errorf("%s stands there twice", e.ARN)
		}
		seen[arn] = true
	}
	for _, role := range live {
		arn := strings.ToLower(account + "role/" + role)
		if mapped[role] && !seen[arn] {
			return fmt.Errorf("%s, the role of a live node, is not mapped any more", role)
		}
		mapped[role] = mapped[role] || seen[arn]
	}
	return nil
}

func writers(v fleet.Version) string {
	var names []string
	for _, f := range v.ManagedFields {
		names = append(names, f.Manager)
	}
	return strings.Join(names, ", ")
}

// metric waits until a metric of an agent is at least that much.
func (c *cluster) metric(n *fleet.Node, least float64, name string, labels ...string) {
	c.t.Helper()
	c.eventually(fmt.Sprintf("%s %s%s ≥ %v", n.Name, name, labels, least), func(ctx context.Context) error {
		metrics, err := n.Metrics(ctx)
		if err != nil {
			return err
		}
		if got, ok := metrics.Value(name, labels...); !ok || got < least {
			return fmt.Errorf("%s has %s%s %v (there: %t), want %v", n.Name, name, labels, got, ok, least)
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

// stoodBy waits until an agent that runs does not lead.
func (c *cluster) stoodBy(n *fleet.Node) {
	c.t.Helper()
	c.eventually(n.Name+" does not lead", func(ctx context.Context) error {
		metrics, err := n.Metrics(ctx)
		if err != nil {
			return err
		}
		if v, ok := metrics.Value("rolecall_leader"); !ok || v != 0 {
			return fmt.Errorf("rolecall_leader %v", v)
		}
		return nil
	})
}

// alive fails unless all agents run and call themselves healthy.
func (c *cluster) alive() {
	c.t.Helper()
	for _, n := range c.Nodes() {
		if !n.Running() {
			c.t.Errorf("the agent of %s has ended", n.Name)
			continue
		}
		if status, body, err := n.Get(c.t.Context(), "/healthz"); err != nil || status != 200 {
			c.t.Errorf("/healthz of %s: %d %s (%v)", n.Name, status, body, err)
		}
	}
}

// logged waits until an agent has logged a line that holds all of the texts.
func (c *cluster) logged(n *fleet.Node, texts ...string) {
	c.t.Helper()
	c.eventually(fmt.Sprintf("%s logs %q", n.Name, texts), func(context.Context) error {
		found, err := n.Logged(texts...)
		if err == nil && len(found) == 0 {
			err = errors.New("it does not")
		}
		return err
	})
}

// recorded waits for an Event on aws-auth.
func (c *cluster) recorded(reason string) {
	c.t.Helper()
	c.eventually("Event "+reason, func(ctx context.Context) error {
		events, err := c.Client.CoreV1().Events(c.AWSAuthNamespace).List(ctx, metav1.ListOptions{})
		if err == nil && !slices.ContainsFunc(events.Items, func(e corev1.Event) bool { return e.Reason == reason }) {
			err = errors.New("there is none")
		}
		return err
	})
}

// next waits for a request that is held.
func (c *cluster) next(h *faultproxy.Hold) *faultproxy.Held {
	c.t.Helper()
	ctx, cancel := context.WithTimeoutCause(c.t.Context(), patience, errors.New("no request came to be held"))
	defer cancel()
	held, err := h.Next(ctx)
	if err != nil {
		c.t.Fatal(err)
	}
	return held
}

// hit waits until a rule has hit so many requests.
func (c *cluster) hit(r *faultproxy.Rule, times int) {
	c.t.Helper()
	c.eventually(fmt.Sprintf("%d requests are hit", times), func(context.Context) error {
		if hits := r.Hits(); hits < times {
			return fmt.Errorf("%d", hits)
		}
		return nil
	})
}
