package e2e_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rolecall/rolecall/internal/register/configmap"
	"github.com/rolecall/rolecall/internal/roster"
	"github.com/rolecall/rolecall/test/fleet"
	"github.com/rolecall/rolecall/test/trial"
)

// newerLedger is a ledger that no version up to this one reads.
func newerLedger(t *testing.T) []byte {
	t.Helper()
	var out bytes.Buffer
	zip := gzip.NewWriter(&out)
	if _, err := zip.Write([]byte(`{"version":2,"owned":[]}`)); err != nil {
		t.Fatal(err)
	}
	if err := zip.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// putLedger has somebody write the ledger, and returns what it held.
func (c *cluster) putLedger(content []byte) (was []byte) {
	c.T.Helper()
	maps := c.Client.CoreV1().ConfigMaps(c.Namespace)
	cm, err := maps.Get(c.T.Context(), fleet.LedgerName, metav1.GetOptions{})
	if err != nil {
		c.T.Fatal(err)
	}
	was = cm.BinaryData[configmap.LedgerKey]
	cm.BinaryData[configmap.LedgerKey] = content
	cm.ResourceVersion = "" // whatever is there now
	if _, err := maps.Update(c.T.Context(), cm, metav1.UpdateOptions{}); err != nil {
		c.T.Fatal(err)
	}
	return was
}

// The ledger was written by a newer version. This one gives the Lease up at once, so
// that an agent of the newer one can lead, and writes nothing (C2).
func TestNewerLedgerIsGivenWay(t *testing.T) {
	t.Parallel()
	c := newCluster(t, plain, quick...)
	c.Create(map[string]string{"mapRoles": othersRoles})
	first := c.StartNode("node-a", "workers")
	c.OneLeads()
	second := c.StartNode("node-b", "workers")
	rest := append(breakGlass[:2:2], trial.NodeRole("workers"), plainOps)
	c.Maps("merged", rest...)
	c.Healthy() // the other has seen the Lease

	was := c.putLedger(newerLedger(t))
	c.Mount(plain + plainUser("ana", "developers"))
	// Well before the 90 s of a leader that only fails.
	for _, n := range []*fleet.Node{first, second} {
		c.Logs(n, "standing back from the election")
	}
	c.StillMaps(rest...)

	c.putLedger(was)
	c.Maps("it can be read again", append(rest, trial.Ours("user/ana", "ana", "developers"))...)
}

// The cluster is restored from a backup that lacks a node's report: the Leases are as
// they were. The node sees it by the leader's Lease, and reports again, long before
// its report would be due (C6).
func TestReportIsBackAfterARestore(t *testing.T) {
	t.Parallel()
	back := func(c *cluster, n *fleet.Node, role string) {
		c.T.Helper()
		c.Within(3*time.Minute, n.Name+"'s report is back", func(ctx context.Context) error {
			_, err := c.Client.CoordinationV1().Leases(c.Namespace).Get(ctx, roster.LeaseName(trial.Account+"role/"+role), metav1.GetOptions{})
			return err
		})
	}
	lose := func(c *cluster, names ...string) {
		c.T.Helper()
		for _, name := range names {
			if err := c.Client.CoordinationV1().Leases(c.Namespace).Delete(c.T.Context(), name, metav1.DeleteOptions{}); err != nil {
				c.T.Fatal(fmt.Errorf("delete Lease %s: %w", name, err))
			}
		}
	}
	t.Run("of a standby", func(t *testing.T) {
		t.Parallel()
		c := newCluster(t, plain, quick...)
		leader := c.StartNode("node-a", "workers")
		c.OneLeads()
		standby := c.StartNode("node-b", "gpu")
		rest := []fleet.Mapping{trial.NodeRole("workers"), trial.NodeRole("gpu"), plainOps}
		c.Maps("merged", rest...)
		c.Healthy()

		leader.Kill() // or the Lease is there again, and newer, before the other looks
		lose(c, fleet.LeaseName, roster.LeaseName(trial.Account+"role/gpu"))
		back(c, standby, "gpu")
		c.Maps("and mapped", rest...)
	})
	t.Run("of the leader", func(t *testing.T) {
		t.Parallel()
		c := newCluster(t, plain, calm...)
		leader := c.StartNode("node-a", "workers")
		rest := []fleet.Mapping{trial.NodeRole("workers"), plainOps}
		c.Maps("merged", rest...)
		c.Logs(leader, "reported the node's role")

		lose(c, fleet.LeaseName, roster.LeaseName(trial.Account+"role/workers"))
		back(c, leader, "workers")
		c.StillMaps(rest...)
	})
}
