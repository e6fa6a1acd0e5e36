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

	"github.com/rolecall/rolecall/internal/register/configmap"
	"github.com/rolecall/rolecall/test/faultproxy"
	"github.com/rolecall/rolecall/test/fleet"
	"github.com/rolecall/rolecall/test/stage"
	"github.com/rolecall/rolecall/test/trial"
)

// quick are flags with which a crash is over sooner than with the defaults. The
// work has [toStop] to stop in when the Lease is lost. With calm no leader loses its
// Lease where the machine stands still for a while: for tests in which none should.
var (
	quick = []string{"--lease-duration=10s", "--renew-deadline=5s", "--retry-period=300ms", "--settle-time=0"}
	calm  = []string{"--lease-duration=60s", "--renew-deadline=40s", "--retry-period=300ms"}
)

// A cluster is a test's own fleet, with a proxy before its API server.
type cluster struct {
	*trial.Cluster
	proxy *faultproxy.Proxy
	seen  *fleet.History // of aws-auth
}

func newCluster(t testing.TB, config string, flags ...string) *cluster {
	t.Helper()
	return newClusterIn(t, stage.ForTest(t), "", config, flags...)
}

// newClusterIn is newCluster on that control plane, with the agents in the
// namespace of that name.
func newClusterIn(t testing.TB, cp *stage.ControlPlane, namespace, config string, flags ...string) *cluster {
	t.Helper()
	proxy, err := faultproxy.Start(cp.Config())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the last requests:\n%s", tail(proxy.Records(), 60))
		}
		proxy.Close()
	})
	c := &cluster{proxy: proxy, Cluster: trial.New(t, config, trial.Options{
		Options: fleet.Options{ControlPlane: cp, Namespace: namespace, Flags: flags, Through: proxy.Config},
		Never:   []string{}, // rights are among what is taken away
	})}
	c.seen, err = c.Follow(t.Context(), c.AWSAuthNamespace, "aws-auth")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.seen.Stop)
	return c
}

func tail(records []faultproxy.Record, n int) string {
	var b strings.Builder
	for _, r := range records[max(0, len(records)-n):] {
		fmt.Fprintf(&b, "%s %s: %d, upstream %d\n", r.Begun.Format("05.000"), r.Request, r.Code, r.Upstream)
	}
	return b.String()
}

// nodes adds and starts a leader and then a standby.
func (c *cluster) nodes() (leader, standby *fleet.Node) {
	c.T.Helper()
	leader = c.NewNode("node-a", "workers")
	c.StartAgent(leader)
	c.leads(leader)
	standby = c.NewNode("node-b", "workers")
	c.StartAgent(standby)
	c.Eventually("the standby has seen the Lease", func(ctx context.Context) error {
		_, body, err := standby.Get(ctx, "/readyz?verbose")
		if err == nil && !strings.Contains(body, "[+]election ok: standing by, \"node-a") {
			err = errors.New(body)
		}
		return err
	})
	return leader, standby
}

// leads waits until this agent leads and no other does.
func (c *cluster) leads(n *fleet.Node) {
	c.T.Helper()
	c.Eventually(n.Name+" leads", func(ctx context.Context) error {
		leader, err := c.Leader(ctx)
		if err == nil && leader != n {
			err = fmt.Errorf("%s leads", leader.Name)
		}
		return err
	})
}

// settled waits until aws-auth maps exactly this and the ledger agrees.
func (c *cluster) settled(what string, want ...fleet.Mapping) (awsAuth, ledger *corev1.ConfigMap) {
	c.T.Helper()
	c.Eventually(what, func(ctx context.Context) (err error) {
		if awsAuth, err = c.AWSAuth(ctx); err != nil {
			return err
		}
		if err := trial.Differs(awsAuth, want); err != nil {
			return err
		}
		ctx, cancel := context.WithTimeoutCause(ctx, time.Second, errors.New("the ledger does not agree"))
		defer cancel()
		if awsAuth, ledger, err = c.Settled(ctx); err != nil {
			return err
		}
		return errors.Join(trial.Differs(awsAuth, want), disowned(ledger, want))
	})
	return awsAuth, ledger
}

// disowned says how the ledger differs from what of all this is ours. Accounts
// count too: what has no mark is ours by the ledger alone.
func disowned(cm *corev1.ConfigMap, all []fleet.Mapping) error {
	ledger, _, err := configmap.DecodeLedger(cm.BinaryData[configmap.LedgerKey])
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

// judge looks at every version of aws-auth up to the present one: others' text
// is there, byte for byte, no ARN is there twice, and the role of a live node
// that was mapped once is mapped ever after.
func (c *cluster) judge(foreign map[string]string, live ...string) {
	c.T.Helper()
	ctx, cancel := context.WithTimeout(c.T.Context(), trial.Patience)
	defer cancel()
	versions, err := c.seen.UpTo(ctx, c.Now())
	if err != nil {
		c.T.Fatal(err)
	}
	mapped := map[string]bool{}
	for _, v := range versions {
		if err := judge(v, foreign, live, mapped); err != nil {
			c.T.Errorf(trial.NoRerun+"resourceVersion %s of aws-auth, written by %s: %v\n%s", v.ResourceVersion, writers(v), err, v.Data)
		}
	}
	c.T.Logf("%d versions of aws-auth are right", len(versions))
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
		arn := strings.ToLower(trial.Account + "role/" + role)
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

// stoodBy waits until an agent that runs does not lead.
func (c *cluster) stoodBy(n *fleet.Node) {
	c.T.Helper()
	c.Eventually(n.Name+" does not lead", func(ctx context.Context) error {
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
	c.T.Helper()
	for _, n := range c.Nodes() {
		if !n.Running() {
			c.T.Errorf("the agent of %s has ended", n.Name)
			continue
		}
		if status, body, err := n.Get(c.T.Context(), "/healthz"); err != nil || status != 200 {
			c.T.Errorf("/healthz of %s: %d %s (%v)", n.Name, status, body, err)
		}
	}
}

// next waits for a request that is held.
func (c *cluster) next(h *faultproxy.Hold) *faultproxy.Held {
	c.T.Helper()
	ctx, cancel := context.WithTimeoutCause(c.T.Context(), trial.Patience, errors.New("no request came to be held"))
	defer cancel()
	held, err := h.Next(ctx)
	if err != nil {
		c.T.Fatal(err)
	}
	return held
}

// hit waits until a rule has hit so many requests.
func (c *cluster) hit(r *faultproxy.Rule, times int) {
	c.T.Helper()
	c.Eventually(fmt.Sprintf("%d requests are hit", times), func(context.Context) error {
		if hits := r.Hits(); hits < times {
			return fmt.Errorf("%d", hits)
		}
		return nil
	})
}
