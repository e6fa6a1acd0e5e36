package compat_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rolecall/rolecall/test/faultproxy"
	"github.com/rolecall/rolecall/test/fleet"
	"github.com/rolecall/rolecall/test/stage"
	"github.com/rolecall/rolecall/test/trial"
)

// quick are flags with which a crash is over sooner than with the defaults. With calm no
// leader loses its Lease where the machine stands still for a while: for tests in which
// none is to expire. A new leader acts on its config at once.
var (
	quick = []string{"--lease-duration=8s", "--renew-deadline=6s", "--retry-period=300ms", "--settle-time=0"}
	calm  = []string{"--lease-duration=60s", "--renew-deadline=40s", "--retry-period=300ms", "--settle-time=0"}
)

// A cluster is a test's own fleet, with a proxy before its API server.
type cluster struct {
	*trial.Cluster
	proxy *faultproxy.Proxy
	seen  *fleet.History // of aws-auth
	now   intent
}

// newCluster returns a cluster without nodes, with aws-auth as others left it.
func newCluster(t testing.TB, begin intent, flags ...string) *cluster {
	t.Helper()
	return newClusterOf(t, current, begin, flags...)
}

// newClusterOf is newCluster with the manifests of a version installed.
func newClusterOf(t testing.TB, v version, begin intent, flags ...string) *cluster {
	t.Helper()
	cp := stage.ForTest(t)
	previousBuild(t) // or the test is skipped
	proxy, err := faultproxy.Start(cp.Config())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(proxy.Close)
	o := trial.Options{Options: fleet.Options{ControlPlane: cp, Manifests: manifests(t, v), Flags: flags, Through: proxy.Config}}
	if v == previous {
		o.Never = []string{} // the current version may use more rights than these manifests give
	}
	c := &cluster{proxy: proxy, now: begin, Cluster: trial.New(t, begin.config(), o)}
	c.AWS.AddPermissionSet(setName, strings.TrimPrefix(setRole, "AWSReservedSSO_"+setName+"_"), "", time.Time{})
	c.members(begin)
	if c.seen, err = c.Follow(t.Context(), c.AWSAuthNamespace, "aws-auth"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.seen.Stop)
	c.Create(unmanagedText)
	return c
}

// ask has the config and the sources ask for something else.
func (c *cluster) ask(i intent) {
	c.T.Helper()
	c.now = i
	c.members(i)
	c.Mount(i.config())
}

// members puts the users into the IAM group.
func (c *cluster) members(i intent) {
	var names []string
	for _, m := range i.members {
		names = append(names, m.Username)
	}
	c.AWS.SetMembers(groupName, names...)
}

// start starts the agent of a node in a version.
func (c *cluster) start(n *fleet.Node, v version) {
	c.T.Helper()
	n.SetBinary(binary(c.T, v))
	c.StartAgent(n)
}

// terminate ends the agent of a node as the kubelet does.
func (c *cluster) terminate(n *fleet.Node) {
	c.T.Helper()
	ctx, cancel := context.WithTimeout(c.T.Context(), trial.Patience)
	defer cancel()
	if err := n.Terminate(ctx); err != nil {
		c.T.Fatal(err)
	}
}

// kill ends the agent of a node as a crash does, and spares its successor the wait for
// its Lease.
func (c *cluster) kill(n *fleet.Node) {
	c.T.Helper()
	n.Kill()
	err := c.Client.CoordinationV1().Leases(c.Namespace).Delete(c.T.Context(), fleet.LeaseName, metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		c.T.Fatal(err)
	}
}

// recorded waits until the history ends with aws-auth as it stands, which is the last
// write of a reconcile.
func (c *cluster) recorded() {
	c.T.Helper()
	c.Eventually("the history has aws-auth as it stands", func(ctx context.Context) error {
		cm, err := c.AWSAuth(ctx)
		if err != nil {
			return err
		}
		list, err := c.Client.AppsV1().ControllerRevisions(c.Namespace).List(ctx, metav1.ListOptions{LabelSelector: "rolecall.dev/history=aws-auth"})
		if err != nil {
			return err
		}
		if len(list.Items) == 0 {
			return errors.New("there is none")
		}
		newest := slices.MaxFunc(list.Items, func(a, b appsv1.ControllerRevision) int { return cmp.Compare(a.Revision, b.Revision) })
		if data := recordedData(&newest); !maps.Equal(data, cm.Data) {
			return fmt.Errorf("revision %d holds\n%v", newest.Revision, data)
		}
		return nil
	})
}

// recordedData is aws-auth's data in a revision, nil where it can't be read.
func recordedData(r *appsv1.ControllerRevision) map[string]string {
	var content struct{ Data map[string]string }
	if err := json.Unmarshal(r.Data.Raw, &content); err != nil {
		return nil
	}
	return content.Data
}

// published is what a leader says of itself on its Lease, for the status command.
type published struct {
	Leader  string
	Config  string
	Result  string
	Error   string
	AddOnly bool
	Sources []sourceState
}

type sourceState struct {
	Name    string
	Success time.Time
	Trouble *struct{ Error string }
}

// says is what the agent of a node publishes as the leader, which it must be.
func (c *cluster) says(ctx context.Context, n *fleet.Node) (says published, err error) {
	leader, err := c.Leader(ctx)
	if err != nil {
		return says, err
	}
	if leader != n {
		return says, fmt.Errorf("%s leads", leader.Name)
	}
	lease, err := c.Client.CoordinationV1().Leases(c.Namespace).Get(ctx, fleet.LeaseName, metav1.GetOptions{})
	if err != nil {
		return says, err
	}
	if err := json.Unmarshal([]byte(lease.Annotations["rolecall.dev/status"]), &says); err != nil {
		return says, fmt.Errorf("the Lease's annotation rolecall.dev/status: %w", err)
	}
	if says.Leader != *lease.Spec.HolderIdentity || says.Error != "" || says.AddOnly || len(says.Sources) == 0 {
		return says, fmt.Errorf("%s holds the Lease, which says %+v", *lease.Spec.HolderIdentity, says)
	}
	return says, nil
}

// leads waits until the agent of a node leads and is up to date: every source has
// answered in its term, and a reconcile has seen that.
func (c *cluster) leads(n *fleet.Node) {
	c.T.Helper()
	c.Eventually(n.Name+" leads and is up to date", func(ctx context.Context) error {
		says, err := c.says(ctx, n)
		for _, s := range says.Sources {
			if err == nil && (s.Success.IsZero() || s.Trouble != nil) {
				err = fmt.Errorf("source %s has not answered: %+v", s.Name, s.Trouble)
			}
		}
		return err
	})
}

// leadsWithout waits until the agent of a node leads, and a reconcile has seen that a
// source fails.
func (c *cluster) leadsWithout(n *fleet.Node, source string) {
	c.T.Helper()
	c.Eventually(n.Name+" leads without "+source, func(ctx context.Context) error {
		says, err := c.says(ctx, n)
		fails := slices.ContainsFunc(says.Sources, func(s sourceState) bool { return s.Name == source && s.Trouble != nil })
		if err == nil && !fails {
			err = fmt.Errorf("the sources do not fail: %+v", says.Sources)
		}
		return err
	})
}

// run runs a command of a version as the administrator, and ends the test if it cannot
// be run at all.
func (c *cluster) run(v version, args ...string) fleet.Result {
	c.T.Helper()
	ctx, cancel := context.WithTimeout(c.T.Context(), trial.Patience)
	defer cancel()
	r, err := c.RunBinary(ctx, binary(c.T, v), args...)
	if err != nil {
		c.T.Fatalf("the %s rolecall %s: %v", v, strings.Join(args, " "), err)
	}
	return r
}

// succeeds runs a command of a version, whose exit status must be 0, and returns what it
// prints.
func (c *cluster) succeeds(v version, args ...string) string {
	c.T.Helper()
	r := c.run(v, args...)
	if r.Code != 0 {
		c.T.Fatalf("the %s rolecall %s: exit status %d\n%s%s", v, strings.Join(args, " "), r.Code, r.Stdout, r.Stderr)
	}
	return r.Stdout
}

// answer runs a command of a version that prints JSON, and decodes it.
func (c *cluster) answer(v version, into any, args ...string) {
	c.T.Helper()
	out := c.succeeds(v, append(args, "--output=json")...)
	if err := json.Unmarshal([]byte(out), into); err != nil {
		c.T.Fatalf("the %s rolecall %s: %v\n%s", v, strings.Join(args, " "), err, out)
	}
}

// configFile is a file with the config of an intent, for commands that need one.
func (c *cluster) configFile(i intent) string {
	c.T.Helper()
	path := filepath.Join(c.T.TempDir(), "config.yaml")
	if err := os.WriteFile(path, []byte(i.config()), 0o600); err != nil {
		c.T.Fatal(err)
	}
	return path
}

// hold waits for a request that a rule stops.
func (c *cluster) hold(h *faultproxy.Hold) *faultproxy.Held {
	c.T.Helper()
	ctx, cancel := context.WithTimeoutCause(c.T.Context(), trial.Patience, errors.New("no request came to be held"))
	defer cancel()
	held, err := h.Next(ctx)
	if err != nil {
		c.T.Fatal(err)
	}
	return held
}

// writes are the requests since the record of that number that write what agents keep:
// aws-auth, the ledger and the history.
func (c *cluster) writes(since int) []faultproxy.Record {
	return slices.DeleteFunc(c.proxy.Records()[since:], func(r faultproxy.Record) bool {
		return !r.Writes() || r.Resource != "configmaps" && r.Resource != "controllerrevisions"
	})
}

// changesText tells an update of aws-auth that changes its text from one of its
// annotations alone.
func changesText(before *corev1.ConfigMap) func(faultproxy.Request) bool {
	return func(r faultproxy.Request) bool {
		cm, ok := r.Object.(*corev1.ConfigMap)
		return ok && !sameText(before, cm)
	}
}
