package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/rolecall/rolecall/internal/history"
	"github.com/rolecall/rolecall/internal/roster"
	"github.com/rolecall/rolecall/test/fleet"
	"github.com/rolecall/rolecall/test/trial"
)

// inUTF16 is a text as Windows' PowerShell writes it to a file.
func inUTF16(text string) []byte {
	out := []byte{0xff, 0xfe}
	for _, unit := range utf16.Encode([]rune(text)) {
		out = append(out, byte(unit), byte(unit>>8))
	}
	return out
}

// kubectl create configmap --from-file of a file in UTF-16 puts the key into binaryData,
// where the authenticator does not look. It is put back, by the leader that was there and
// by one that knows the history alone, and the bytes are kept (B7).
func TestKeyInBinaryDataIsRestored(t *testing.T) {
	t.Parallel()
	c := newCluster(t, rarely, quick...)
	c.Create(map[string]string{"mapRoles": othersRoles, "theirs": "kept"})
	leader := c.StartNode("node-a", "workers")
	want := append(breakGlass[:2:2], trial.NodeRole("workers"), plainOps)
	good := c.Maps("merged", want...)
	c.newest()

	spoil := func(key string) []byte {
		body := inUTF16(c.Now().Data[key])
		c.Change(func(cm *corev1.ConfigMap) {
			delete(cm.Data, key)
			cm.BinaryData = map[string][]byte{key: body, "other": {0xff, 0}}
		})
		return body
	}
	body := spoil("mapRoles")
	now := c.Maps("put back", want...)
	if !maps.Equal(now.Data, good.Data) || len(now.BinaryData) != 1 || now.BinaryData["other"] == nil {
		t.Errorf("it holds %q and %v", now.Data, now.BinaryData)
	}
	c.Event("Restored", "mapRoles", "binaryData", "UTF-16", "rolecall history")
	c.Metric(leader, 1, "rolecall_restores_total", "reason", "malformed")
	c.revision("the broken bytes", func(r *history.Revision, content history.Content) bool {
		return r.Broken != "" && bytes.Equal(content.BinaryData["mapRoles"], body)
	})
	c.newest()

	c.terminate(leader)
	spoil("mapUsers")
	if said := c.fails("get"); !strings.Contains(said, "binaryData") || !strings.Contains(said, "UTF-16") {
		t.Errorf("get says %s", said)
	}
	if said := c.fails("status"); !strings.Contains(said, "mapUsers cannot be read") {
		t.Errorf("status says %s", said)
	}
	c.StartAgent(leader)
	c.Maps("put back by the next leader", want...)
}

// fails runs a command that has to fail, and returns what it prints.
func (c *cluster) fails(args ...string) string {
	c.T.Helper()
	out, err := c.Run(c.T.Context(), args...)
	if err != nil {
		c.T.Fatal(err)
	}
	if out.Code == 0 {
		c.T.Errorf("%q does not fail:\n%s%s", args, out.Stdout, out.Stderr)
	}
	return out.Stdout + out.Stderr
}

// rolecall rollback puts a key back that stands in binaryData, by hand.
func TestRollbackOfAKeyInBinaryData(t *testing.T) {
	t.Parallel()
	c := newCluster(t, rarely+"safety: {onMalformed: refuse}\n", quick...)
	c.Create(map[string]string{"mapRoles": othersRoles})
	leader := c.StartNode("node-a", "workers")
	want := append(breakGlass[:2:2], trial.NodeRole("workers"), plainOps)
	good := c.Maps("merged", want...)
	number := fmt.Sprint(c.newest().Number)
	body := inUTF16(good.Data["mapRoles"])
	c.Change(func(cm *corev1.ConfigMap) {
		delete(cm.Data, "mapRoles")
		cm.BinaryData = map[string][]byte{"mapRoles": body}
	})
	c.Metric(leader, 1, "rolecall_aws_auth_malformed")
	c.Event("Malformed", "mapRoles", "binaryData")
	broken, _ := c.revision("the broken bytes", func(r *history.Revision, _ history.Content) bool { return r.Broken != "" })
	if said := c.fails("rollback", fmt.Sprint(broken.Number), "--yes"); !strings.Contains(said, "is broken") {
		t.Errorf("back to what is broken: %s", said)
	}
	c.Rolecall("rollback", number, "--yes")
	now := c.Maps("rolled back", want...)
	if now.Data["mapRoles"] != good.Data["mapRoles"] || len(now.BinaryData) != 0 {
		t.Errorf("it holds %q and %v", now.Data, now.BinaryData)
	}
	c.Metric(leader, 0, "rolecall_aws_auth_malformed")
}

// An immutable aws-auth takes no write: an Event, the status and the log say what to do,
// nothing is tried again and again, and once it is created anew it is written (B9).
func TestImmutableIsAdvised(t *testing.T) {
	t.Parallel()
	c := newCluster(t, rarely, calm...)
	c.Create(map[string]string{"mapRoles": othersRoles})
	leader := c.StartNode("node-a", "workers")
	want := append(breakGlass[:2:2], trial.NodeRole("workers"), plainOps)
	c.Maps("merged", want...)
	c.Change(func(cm *corev1.ConfigMap) { cm.Immutable = ptr.To(true) })
	c.Event("Immutable", "kubectl replace --force")

	if _, err := roster.New(c.Client.CoordinationV1().Leases(c.Namespace)).Report(t.Context(), trial.Account+"role/ingress", "node-b", time.Now()); err != nil {
		t.Fatal(err)
	}
	c.Metric(leader, 1, "rolecall_reconciles_total", "result", "immutable")
	before := c.Value(leader, "rolecall_writes_total", "object", "aws-auth", "result", "error")
	if said := c.fails("status"); !strings.Contains(said, "is immutable") || !strings.Contains(said, "| kubectl replace --force -f -") {
		t.Errorf("status says %s", said)
	}
	if said := c.fails("rollback", fmt.Sprint(c.Revisions()[0].Number), "--yes"); !strings.Contains(said, "| kubectl replace --force -f -") {
		t.Errorf("rollback says %s", said)
	}
	if n := c.Value(leader, "rolecall_reconciles_total", "result", "immutable"); n > 3 {
		t.Errorf("%v reconciles since", n)
	}
	if after := c.Value(leader, "rolecall_writes_total", "object", "aws-auth", "result", "error"); after != before {
		t.Errorf("%v writes of it were refused, %v before", after, before)
	}
	c.StillMaps(want...)

	cm := c.Now()
	c.Delete()
	cm.Immutable, cm.ResourceVersion, cm.UID = nil, "", ""
	if _, err := c.Client.CoreV1().ConfigMaps(c.AWSAuthNamespace).Create(t.Context(), cm, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	c.Maps("created anew", append(want, trial.NodeRole("ingress"))...)
}

// Another tool's heartbeat is no content: what aws-auth was stays in the history, and the
// newest annotations come back with a deleted aws-auth (C7). Nor does a revision with the
// highest number that there is end the history (B8).
func TestHistoryOutlivesHeartbeats(t *testing.T) {
	t.Parallel()
	c := newCluster(t, rarely, quick...)
	c.Create(map[string]string{"mapRoles": othersRoles})
	leader := c.StartNode("node-a", "workers")
	want := append(breakGlass[:2:2], trial.NodeRole("workers"), plainOps)
	good := c.Maps("merged", want...)
	c.newest()
	before := len(c.Revisions())
	for i := range 2 * history.Kept {
		c.Change(func(cm *corev1.ConfigMap) {
			if cm.Annotations == nil {
				cm.Annotations = map[string]string{}
			}
			cm.Annotations["example.com/heartbeat"], cm.Annotations["example.com/owner"] = fmt.Sprint(i), "them"
		})
	}
	c.Eventually("the annotation is known", func(context.Context) error {
		content, err := c.Revisions()[0].Content()
		if err == nil && content.Annotations["example.com/owner"] == "" {
			err = errors.New("it has none")
		}
		return err
	})
	if n := len(c.Revisions()); n != before {
		t.Errorf("%d revisions, %d before the heartbeats", n, before)
	}

	revisions := c.Client.AppsV1().ControllerRevisions(c.Namespace)
	newest, err := revisions.Get(t.Context(), c.Revisions()[0].Name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	newest.Revision = math.MaxInt64
	if _, err := revisions.Update(t.Context(), newest, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	leader.Kill()
	c.Change(func(cm *corev1.ConfigMap) { cm.Data["mapRoles"] = malformedRoles })
	c.StartAgent(leader)
	if now := c.Maps("put back", want...); now.Data["mapRoles"] != good.Data["mapRoles"] {
		t.Errorf("it is not as it was:\n%s", now.Data["mapRoles"])
	}
	if n := c.newest().Number; n > 100 {
		t.Errorf("the newest revision has the number %d", n)
	}
	c.revision("the broken text", func(r *history.Revision, _ history.Content) bool { return r.Broken != "" })

	leader.Kill()
	c.Delete()
	c.StartAgent(leader)
	now := c.Maps("a deleted one is put back", want...)
	if now.Annotations["example.com/owner"] != "them" || now.Annotations["example.com/heartbeat"] == "" {
		t.Errorf("it has the annotations %v", now.Annotations)
	}
}

// memoryLimit is that of the manifests.
const memoryLimit = 128 << 20

// A leader keeps within the manifests' memory limit, however large the Leases are that
// others make: of a full quota of the largest that the hardened overlay lets a reporter
// make, and of a flood of what etcd takes where no policy looks (D6).
func TestLargeReportsKeepTheLeaderSmall(t *testing.T) {
	if trial.Race {
		t.Skip("a binary that watches for data races takes many times the memory")
	}
	for name, test := range map[string]struct{ leases, bytes int }{
		"a full quota of the largest":  {499, 32 << 10},
		"sixty of more than a MiB":     {60, 1_280_000},
		"sixty more while it is there": {60, 1_280_000},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, rarely, calm...)
			c.Create(map[string]string{"mapRoles": othersRoles})
			var leader *fleet.Node
			if strings.Contains(name, "while") {
				leader = c.StartNode("node-a", "workers")
				c.Maps("merged", append(breakGlass[:2:2], trial.NodeRole("workers"), plainOps)...)
			}
			leases := c.Client.CoordinationV1().Leases(c.Namespace)
			stored := 0
			for i := range test.leases {
				got, err := leases.Create(t.Context(), largeReport(fmt.Sprintf("%srole/large-%03d", trial.Account, i), test.bytes), metav1.CreateOptions{})
				if err != nil {
					t.Fatal(err)
				}
				stored += got.Size()
			}
			if leader == nil {
				leader = c.StartNode("node-a", "workers")
			}
			c.Eventually("all of them are mapped", func(context.Context) error {
				text := c.Now().Data["mapRoles"]
				if n := strings.Count(text, "role/large-"); n != test.leases || !strings.Contains(text, "role/workers") {
					return fmt.Errorf("%d are mapped", n)
				}
				return nil
			})
			peak := peakMemory(t, leader.PID())
			t.Logf("%d Leases of %d MiB: the leader has %d MiB at most", test.leases, stored>>20, peak>>20)
			if peak > memoryLimit*9/10 {
				t.Errorf("it has %d MiB, and its limit is %d", peak>>20, memoryLimit>>20)
			}
		})
	}
}

// largeReport is a report with managedFields of so many bytes.
func largeReport(role string, size int) *coordinationv1.Lease {
	fields := map[string]any{}
	for i := range size / 220 {
		fields[fmt.Sprintf("f:%s%06d", strings.Repeat("x", 200), i)] = map[string]any{}
	}
	raw, err := json.Marshal(map[string]any{"f:metadata": map[string]any{"f:annotations": fields}})
	if err != nil {
		panic(err)
	}
	return &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{
			Name: roster.LeaseName(role), Labels: map[string]string{roster.Label: roster.LabelValue}, Annotations: map[string]string{roster.RoleARNAnnotation: role},
			ManagedFields: []metav1.ManagedFieldsEntry{{
				Manager: "m", Operation: metav1.ManagedFieldsOperationUpdate, APIVersion: "coordination.k8s.io/v1",
				Time: ptr.To(metav1.Now()), FieldsType: "FieldsV1", FieldsV1: metav1.NewFieldsV1(string(raw)),
			}},
		},
		Spec: coordinationv1.LeaseSpec{HolderIdentity: ptr.To("node-z"), RenewTime: ptr.To(metav1.NewMicroTime(time.Now()))},
	}
}

// peakMemory is the most that a process has had in memory, in bytes.
func peakMemory(t *testing.T, pid int) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Skipf("the memory of a process can't be told here: %v", err)
	}
	kib := 0
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			if _, err := fmt.Sscan(rest, &kib); err != nil {
				t.Fatal(err)
			}
		}
	}
	return kib << 10
}
