package faults_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/test/fleet"
	"github.com/rolecall/rolecall/test/trial"
)

// Somebody made aws-auth immutable. It is left as it is and said, and nothing is written:
// neither it nor the ledger. When somebody replaces it, the work goes on.
func TestImmutable(t *testing.T) {
	t.Parallel()
	c := newCluster(t, opsOnly, calm...)
	c.Create(foreignText)
	leader, _ := c.nodes()
	c.settled("merged", with(trial.NodeRole("workers"), ops)...)
	frozen := c.Change(func(cm *corev1.ConfigMap) { cm.Immutable = ptr.To(true) })
	ledger, err := c.Follow(t.Context(), c.Namespace, fleet.LedgerName)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(ledger.Stop)

	c.Mount(opsAndAna)
	c.AtLeast(leader, 2, "rolecall_reconciles_total", "result", "immutable")
	c.Logs(leader, "WARN", "immutable")
	if now := c.Now(); now.ResourceVersion != frozen.ResourceVersion {
		t.Errorf("it was written:\n%s", now.Data)
	}
	if n := len(ledger.Versions()); n > 0 {
		t.Errorf("the ledger was written %d times for a change that can't be made", n)
	}
	c.alive()
	c.judge(foreignText, "workers")

	maps := c.Client.CoreV1().ConfigMaps(c.AWSAuthNamespace)
	if err := maps.Delete(t.Context(), "aws-auth", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	again := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "aws-auth"}, Data: frozen.Data}
	if _, err := maps.Create(t.Context(), again, metav1.CreateOptions{}); apierrors.IsAlreadyExists(err) { // the leader was faster
		c.Change(func(cm *corev1.ConfigMap) { cm.Data = frozen.Data })
	} else if err != nil {
		t.Fatal(err)
	}
	c.settled("it can be written again", with(trial.NodeRole("workers"), ops, ana)...)
}

// aws-auth is missing, there without data, and with empty texts.
func TestMissingAndEmpty(t *testing.T) {
	t.Parallel()
	for name, data := range map[string]map[string]string{
		"missing": nil, "no data": {}, "empty texts": {"mapRoles": "", "mapUsers": "\n", "mapAccounts": "[]\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCluster(t, withAccount, calm...)
			if data != nil {
				c.Create(data)
			}
			c.StartAgent(c.NewNode("node-a", "workers"))
			c.settled("merged", trial.NodeRole("workers"), ops, fleet.Mapping{ARN: "555566667777"})
			c.Mount(opsOnly)
			c.settled("and changed", trial.NodeRole("workers"), ops)
			c.judge(nil, "workers")
		})
	}
}

// Another tool empties aws-auth. What is ours comes back at once; what it threw
// away of others' is not ours to bring back.
func TestEmptied(t *testing.T) {
	t.Parallel()
	c := newCluster(t, withAccount, calm...)
	c.Create(foreignText)
	c.nodes()
	owned := []fleet.Mapping{trial.NodeRole("workers"), ops, {ARN: "555566667777"}}
	merged, _ := c.settled("merged", with(owned...)...)
	for _, tool := range []struct {
		name  string
		empty func(*corev1.ConfigMap)
		want  []fleet.Mapping
	}{
		{"empty roles", func(cm *corev1.ConfigMap) { cm.Data["mapRoles"] = "" }, append(owned, foreign[2:]...)},
		{"empty texts", func(cm *corev1.ConfigMap) { cm.Data = map[string]string{"mapRoles": "", "mapUsers": "[]"} }, owned},
		{"no data", func(cm *corev1.ConfigMap) { cm.Data = nil }, owned},
	} {
		c.Change(func(cm *corev1.ConfigMap) { cm.Data = merged.Data })
		c.settled("full again", with(owned...)...)
		c.Change(tool.empty)
		c.settled("back after "+tool.name, tool.want...)
	}
	c.alive()
}

// aws-auth is full but for the last percents: a new user is refused and said,
// removals and the roles of live nodes are done still. Then it is full to the
// last bytes: not even a node's role finds room, and a removal makes it.
func TestFull(t *testing.T) {
	t.Parallel()
	c := newCluster(t, opsAndAna, calm...)
	c.Create(foreignText)
	leader, _ := c.nodes()
	c.settled("merged", with(trial.NodeRole("workers"), ops, ana)...)
	fill := func(to int) {
		t.Helper()
		c.Change(func(cm *corev1.ConfigMap) {
			delete(cm.Data, "others")
			size := 0
			for _, v := range cm.Data { // the API server does not count keys
				size += len(v)
			}
			cm.Data["others"] = strings.Repeat("x", to-size)
		})
	}
	const percent = awsauth.Limit / 100
	fill(96 * percent)

	c.Mount(head + `users:
  - {arn: "arn:aws:iam::111122223333:user/ops", username: ops, groups: [viewers]}
  - {arn: "arn:aws:iam::111122223333:user/ben", username: ben, groups: [developers]}
`)
	c.settled("a removal is done, an addition is not", with(trial.NodeRole("workers"), ops)...)
	c.AtLeast(leader, 1, "rolecall_entries_refused")
	c.Event("NoRoom")
	c.StartAgent(c.NewNode("node-c", "ingress"))
	c.settled("a live node's role is mapped", with(trial.NodeRole("workers"), trial.NodeRole("ingress"), ops)...)

	fill(awsauth.Limit - 100) // a node's entry takes more, and the user's that will go as much
	c.StartAgent(c.NewNode("node-d", "gpu"))
	c.Eventually("the role of a new node finds no room either", func(ctx context.Context) error {
		metrics, err := leader.Metrics(ctx)
		if err != nil {
			return err
		}
		if v, _ := metrics.Value("rolecall_entries_refused"); v != 2 {
			return fmt.Errorf("%v are refused", v)
		}
		return nil
	})
	if err := trial.Differs(c.Now(), with(trial.NodeRole("workers"), trial.NodeRole("ingress"), ops)); err != nil {
		t.Error(err)
	}
	// The space of what is removed is enough.
	c.Mount(head)
	c.settled("a removal makes room", with(trial.NodeRole("workers"), trial.NodeRole("ingress"), trial.NodeRole("gpu"))...)
	c.alive()
	c.judge(foreignText, "workers", "ingress", "gpu")
}
