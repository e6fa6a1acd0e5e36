package roster

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/rolecall/rolecall/test/stage"
)

func TestMain(m *testing.M) { os.Exit(stage.Main(m)) }

// A real API server decides here which of many nodes writes.
func TestAPIServer(t *testing.T) {
	cp := stage.ForTest(t)
	namespace := cp.Namespace(t)
	config := cp.Config()
	config.QPS = -1 // no rate limit of ours
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	leases := client.CoordinationV1().Leases(namespace)

	report := func(role string, at time.Time) (wrote int) {
		t.Helper()
		var (
			wg sync.WaitGroup
			mu sync.Mutex
		)
		for i := range 30 {
			wg.Go(func() {
				w, err := New(leases).Report(t.Context(), role, fmt.Sprintf("node-%d", i), at)
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				if w {
					wrote++
				}
			})
		}
		wg.Wait()
		return wrote
	}
	get := func(role string) *coordinationv1.Lease {
		t.Helper()
		l, err := leases.Get(t.Context(), LeaseName(role), metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return l
	}

	if n := report(arnA, now); n != 1 {
		t.Errorf("%d nodes made the lease, want 1", n)
	}
	made := get(arnA)
	if n := report(arnA, now.Add(59*time.Minute)); n != 0 {
		t.Errorf("%d nodes wrote although the report was fresh", n)
	}
	if got := get(arnA).ResourceVersion; got != made.ResourceVersion {
		t.Errorf("the lease changed from version %s to %s", made.ResourceVersion, got)
	}
	if n := report(arnA, now.Add(time.Hour)); n != 1 {
		t.Errorf("%d nodes renewed the lease, want 1", n)
	}

	// More than one page, and one that is not ours.
	const roles = 501
	for i := range roles {
		if _, err := New(leases).Report(t.Context(), fmt.Sprintf("arn:aws:iam::111122223333:role/other-%03d", i), "node-0", now); err != nil {
			t.Fatal(err)
		}
	}
	other := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: "rolecall"}}
	if _, err := leases.Create(context.Background(), other, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	reader := New(leases)
	list, err := reader.List(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	if len(list.Reports) != roles+1 || len(list.Invalid) != 0 {
		t.Errorf("%d reports, %d invalid, want %d and none", len(list.Reports), len(list.Invalid), roles+1)
	}
	holder := *get(arnA).Spec.HolderIdentity
	want := Report{RoleARN: arnA, Node: holder, Renewed: now.Add(time.Hour)}
	got := list.Reports[0]
	got.Renewed = got.Renewed.UTC()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the first report (-want +got):\n%s", diff)
	}
}
