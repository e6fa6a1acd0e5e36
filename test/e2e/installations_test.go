package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rolecall/rolecall/internal/register/configmap"
	"github.com/rolecall/rolecall/test/fleet"
	"github.com/rolecall/rolecall/test/trial"
)

// The configs of two installations, which have nobody in common.
const (
	blueConfig = `apiVersion: rolecall.dev/v1
kind: Config
users:
  - {arn: "arn:aws:iam::111122223333:user/blue", username: blue, groups: [viewers]}
`
	greenConfig = `apiVersion: rolecall.dev/v1
kind: Config
users:
  - {arn: "arn:aws:iam::111122223333:user/green", username: green, groups: [editors]}
`
)

// Of two installations with two configs one writes aws-auth. The other writes nothing
// and says so, until aws-auth is handed over to it by the command. The unmanaged
// entries and the roles of live nodes stay throughout.
func TestOneOfTwoInstallationsWrites(t *testing.T) {
	t.Parallel()
	blue := newCluster(t, blueConfig, calm...)
	blue.Create(map[string]string{"mapRoles": othersRoles, "theirs": "a key of theirs"})
	blue.StartNode("node-a", "workers")
	common := []fleet.Mapping{
		others("role/break-glass", "break-glass", "system:masters"), others("role/ci", "ci", "deployers"), trial.NodeRole("workers"),
	}
	blues := append(common[:3:3], trial.Ours("user/blue", "blue", "viewers"))
	greens := append(common[:3:3], trial.Ours("user/green", "green", "editors"))
	blue.Maps("the first installation writes", blues...)
	blue.managedBy(blue.Namespace)
	first := blue.OneLeads()
	blue.settled(first)
	before := blue.Now()

	green := &cluster{trial.New(t, greenConfig, trial.Options{Options: fleet.Options{
		AWSAuthNamespace: blue.AWSAuthNamespace, Flags: append(calm, "--settle-time=2s"),
	}})}
	green.StartNode("node-b", "workers")
	second := green.OneLeads()
	green.writesNothing(second, blue.Namespace)
	blue.unwritten(before.ResourceVersion)
	blue.Metric(first, 0, "rolecall_managed_elsewhere")

	// Neither what others write nor an edit of its config tempts it.
	edited := blue.Edit(func(data map[string]string) { data["theirs"] = "edited" })
	green.reconciles(second, "elsewhere")
	green.Mount(strings.Replace(greenConfig, "editors", "editors, deployers", 1))
	green.reconciles(second, "elsewhere")
	green.Mount(greenConfig)
	green.reconciles(second, "elsewhere")
	blue.unwritten(edited.ResourceVersion)
	if green.hasLedger() || len(green.Revisions()) > 0 {
		t.Error("the installation that writes nothing has written a ledger or a revision")
	}

	// Who removes the annotation hands nothing over, even while the first stands still:
	// it sets the annotation again.
	if err := first.Pause(); err != nil {
		t.Fatal(err)
	}
	bare := blue.annotate(func(annotations map[string]string) { delete(annotations, configmap.InstallationAnnotation) })
	green.reconciles(second, "elsewhere")
	blue.unwritten(bare.ResourceVersion)
	if err := first.Resume(); err != nil {
		t.Fatal(err)
	}
	blue.managedBy(blue.Namespace)
	blue.StillMaps(blues...)
	green.Metric(second, 1, "rolecall_managed_elsewhere")

	// The command does. What the first has written goes, but for the role of live nodes.
	out := green.Rolecall("handover", "--yes")
	for _, want := range []string{"managed now by   " + blue.Namespace, "and then by      " + green.Namespace + ", whose leader is on node node-b"} {
		if !strings.Contains(out, want) {
			t.Errorf("rolecall handover does not say %q:\n%s", want, out)
		}
	}
	green.Maps("the second installation writes", greens...)
	green.managedBy(green.Namespace)
	green.Metric(second, 0, "rolecall_managed_elsewhere")
	green.Ready(second, http.StatusOK, "[+]reconcile ok: ")
	blue.writesNothing(first, green.Namespace)
	green.settled(second)
	before = green.Now()
	blue.Mount(strings.Replace(blueConfig, "viewers", "system:masters", 1))
	blue.reconciles(first, "elsewhere")
	green.unwritten(before.ResourceVersion)

	// What others wrote has kept its bytes.
	if got := before.Data["mapRoles"]; !strings.HasPrefix(got, othersRoles) || before.Data["theirs"] != "edited" {
		t.Errorf("what others wrote has changed:\n%s%s", got, before.Data["theirs"])
	}

	// And back.
	blue.Mount(blueConfig)
	blue.reconciles(first, "elsewhere")
	blue.Rolecall("handover", "--yes")
	blue.Maps("the first installation writes again", blues...)
	green.writesNothing(second, blue.Namespace)
}

// managedBy waits until aws-auth names this installation.
func (c *cluster) managedBy(namespace string) {
	c.T.Helper()
	c.Eventually("aws-auth is managed by "+namespace, func(ctx context.Context) error {
		cm, err := c.AWSAuth(ctx)
		if err != nil {
			return err
		}
		if got := cm.Annotations[configmap.InstallationAnnotation]; got != namespace {
			return fmt.Errorf("by %q", got)
		}
		return nil
	})
}

// writesNothing waits until an installation says in all places that another one
// manages aws-auth, and what to run.
func (c *cluster) writesNothing(leader *fleet.Node, other string) {
	c.T.Helper()
	command := "rolecall handover -n " + c.Namespace
	c.Metric(leader, 1, "rolecall_managed_elsewhere")
	c.AtLeast(leader, 1, "rolecall_reconciles_total", "result", "elsewhere")
	c.Event("ManagedElsewhere", fmt.Sprintf("%q", other), command)
	c.Logs(leader, "another installation of rolecall writes aws-auth", other)
	c.Ready(leader, http.StatusOK, "[!]reconcile: ", other, command)
	c.Eventually("rolecall status says it", func(ctx context.Context) error {
		r, err := c.Run(ctx, "status")
		if err == nil && (r.Code != 1 || !strings.Contains(r.Stdout, "! the leader writes nothing: ") ||
			!strings.Contains(r.Stdout, command) || !strings.Contains(r.Stdout, "the installation in namespace "+other)) {
			err = fmt.Errorf("exit status %d\n%s", r.Code, r.Stdout)
		}
		return err
	})
}

// reconciles waits until a leader has reconciled twice more with a result: what came
// before the second has been seen.
func (c *cluster) reconciles(leader *fleet.Node, result string) {
	c.T.Helper()
	was := c.Value(leader, "rolecall_reconciles_total", "result", result)
	for n := range 2 {
		// Each is made for an event.
		c.touch(leader)
		c.AtLeast(leader, was+1+float64(n), "rolecall_reconciles_total", "result", result)
	}
}

// touch has the roster change, which leads to a reconcile.
func (c *cluster) touch(n *fleet.Node) {
	c.T.Helper()
	leases := c.Client.CoordinationV1().Leases(c.Namespace)
	c.Eventually("a report is written", func(ctx context.Context) error {
		list, err := leases.List(ctx, metav1.ListOptions{LabelSelector: "rolecall.dev/roster"})
		if err != nil {
			return err
		}
		if len(list.Items) == 0 {
			return errors.New("there is no report of " + n.Name)
		}
		lease := &list.Items[0]
		metav1.SetMetaDataAnnotation(&lease.ObjectMeta, "seen", lease.ResourceVersion)
		_, err = leases.Update(ctx, lease, metav1.UpdateOptions{})
		return err
	})
}

// settled waits until a leader has found nothing to do.
func (c *cluster) settled(leader *fleet.Node) {
	c.T.Helper()
	c.reconciles(leader, "unchanged")
}

// unwritten holds that nobody has written aws-auth since.
func (c *cluster) unwritten(version string) {
	c.T.Helper()
	if now := c.Now(); now.ResourceVersion != version {
		c.T.Errorf("aws-auth was written, by\n%v\n%v\n%s", now.ManagedFields, now.Annotations, now.Data["mapUsers"])
	}
}

// hasLedger reports whether an installation remembers anything of aws-auth.
func (c *cluster) hasLedger() bool {
	c.T.Helper()
	_, err := c.Client.CoreV1().ConfigMaps(c.Namespace).Get(c.T.Context(), fleet.LedgerName, metav1.GetOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		c.T.Fatal(err)
	}
	return err == nil
}
