package election

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/ptr"

	"github.com/rolecall/rolecall/test/stage"
)

func TestMain(m *testing.M) { os.Exit(stage.Main(m)) }

// A real API server, real time and the rights that doc.go says: get, create and
// update. Short durations keep it short.
func TestAPIServer(t *testing.T) {
	cp := stage.ForTest(t)
	namespace := cp.Namespace(t)
	admin, err := kubernetes.NewForConfig(cp.Config())
	if err != nil {
		t.Fatal(err)
	}
	grant(t, admin, namespace, "agent")

	started := make(chan term, 100)
	var (
		mu       sync.Mutex
		running  = map[string]bool{}
		unfenced bool // two may work at a time
	)
	type runner struct {
		*Elector
		cancel context.CancelFunc
		done   chan error
	}
	agents := map[string]*runner{}
	start := func(id string) {
		t.Helper()
		config, err := cp.UserConfig("agent") // a connection of its own
		if err != nil {
			t.Fatal(err)
		}
		client, err := kubernetes.NewForConfig(config)
		if err != nil {
			t.Fatal(err)
		}
		e, err := New(Config{
			Client: client.CoordinationV1(), Namespace: namespace, Name: testName, Identity: id,
			LeaseDuration: 3 * time.Second, RenewDeadline: 2 * time.Second, RetryPeriod: 400 * time.Millisecond,
			CountAgents: func(context.Context) (int, error) { return 5, nil },
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		r := &runner{Elector: e, cancel: cancel, done: make(chan error, 1)}
		agents[id] = r
		go func() {
			r.done <- e.Run(ctx, func(ctx context.Context) error {
				mu.Lock()
				if len(running) > 0 && !unfenced {
					t.Errorf("%s begins to work while %v does", id, running)
				}
				running[id] = true
				mu.Unlock()
				started <- term{id, time.Now()}
				<-ctx.Done()
				mu.Lock()
				delete(running, id)
				mu.Unlock()
				return ctx.Err()
			})
		}()
	}
	stop := func(id string) {
		t.Helper()
		agents[id].cancel()
		if err := <-agents[id].done; err != nil {
			t.Errorf("%s: Run: %v", id, err)
		}
		delete(agents, id)
	}
	defer func() {
		for id := range agents {
			stop(id)
		}
	}()
	await := func(limit time.Duration) term {
		t.Helper()
		select {
		case next := <-started:
			return next
		case <-time.After(limit):
			t.Fatalf("nobody leads after %v", limit)
			return term{}
		}
	}

	for i := range 5 {
		start(fmt.Sprintf("node-%d", i))
	}
	leader := await(20 * time.Second).agent

	leases := admin.CoordinationV1().Leases(namespace)
	published := func(ctx context.Context) (bool, error) {
		l, err := leases.Get(ctx, testName, metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		return l.Annotations[AgentsAnnotation] == "5" && ptr.Deref(l.Spec.HolderIdentity, "") == leader, nil
	}
	if err := wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, 20*time.Second, true, published); err != nil {
		t.Fatalf("the leader does not publish the number of agents: %v", err)
	}

	// Handovers, to an agent that finds the Lease released.
	for i := range 5 {
		begun := time.Now()
		stop(leader)
		next := await(20 * time.Second)
		t.Logf("handover %d took %v", i, next.at.Sub(begun))
		leader = next.agent
		start(fmt.Sprintf("node-%d", 5+i))
	}

	// The Lease is taken by force: a conflict, and work ends at once.
	err = wait.PollUntilContextTimeout(t.Context(), 10*time.Millisecond, 10*time.Second, true, func(ctx context.Context) (bool, error) {
		l, err := leases.Get(ctx, testName, metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		l.Spec.HolderIdentity = ptr.To("thief")
		l.Spec.RenewTime = ptr.To(metav1.NowMicro())
		_, err = leases.Update(ctx, l, metav1.UpdateOptions{})
		if apierrors.IsConflict(err) {
			return false, nil // the leader was faster
		}
		return err == nil, err
	})
	if err != nil {
		t.Fatal(err)
	}
	gone := func(context.Context) (bool, error) {
		mu.Lock()
		defer mu.Unlock()
		return len(running) == 0, nil
	}
	if err := wait.PollUntilContextTimeout(t.Context(), 10*time.Millisecond, 10*time.Second, true, gone); err != nil {
		t.Error("work goes on although the lease is in other hands")
	}
	await(30 * time.Second) // the thief does not renew

	// The Lease is deleted. A standby may be faster than the leader, which then
	// works on until its next renewal.
	mu.Lock()
	unfenced = true
	mu.Unlock()
	if err := leases.Delete(t.Context(), testName, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	held := func(ctx context.Context) (bool, error) {
		l, err := leases.Get(ctx, testName, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return false, nil
		}
		mu.Lock()
		defer mu.Unlock()
		return err == nil && len(running) == 1 && running[ptr.Deref(l.Spec.HolderIdentity, "")], err
	}
	if err := wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, 20*time.Second, true, held); err != nil {
		t.Errorf("after the lease was deleted: %v; %v work", err, running)
	}
	for id, a := range agents {
		if err := a.Status().Err; err != nil {
			t.Errorf("%s: status shows %v", id, err)
		}
	}
}

// grant gives a user what an agent needs of the Lease, and nothing else.
func grant(t *testing.T, client kubernetes.Interface, namespace, user string) {
	t.Helper()
	role := &rbacv1.Role{
		ObjectMeta: metav1.ObjectMeta{Name: user},
		Rules: []rbacv1.PolicyRule{
			{APIGroups: []string{"coordination.k8s.io"}, Resources: []string{"leases"}, Verbs: []string{"create"}},
			{APIGroups: []string{"coordination.k8s.io"}, Resources: []string{"leases"}, ResourceNames: []string{testName}, Verbs: []string{"get", "update"}},
		},
	}
	binding := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: user},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: user},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: user}},
	}
	if _, err := client.RbacV1().Roles(namespace).Create(t.Context(), role, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.RbacV1().RoleBindings(namespace).Create(t.Context(), binding, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}
