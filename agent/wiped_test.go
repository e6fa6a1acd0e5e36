package agent

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/roster"
)

// Who is locked out because somebody took our entries away waits for one read and
// one write: the ledger has them already.
func TestWipedEntriesComeBackByOneWrite(t *testing.T) {
	w := newWorld()
	w.reports.Reports = []roster.Report{by("n1", "first"), by("n2", "second")}
	client := fake.NewClientset(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: awsauth.Namespace, Name: awsauth.Name, ResourceVersion: "1"}})
	numbered(client)
	l := newTestLeader(w, client)
	spec := &Spec{Nodes: Nodes{Report: true, KeepUnused: time.Hour}}
	for range 2 {
		if _, err := l.pass(t.Context(), spec, false); err != nil {
			t.Fatal(err)
		}
	}
	want := mapRoles(t, client)

	wipe(t, client)
	client.ClearActions()
	if _, err := l.pass(t.Context(), spec, false); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, a := range client.Actions() {
		if a.GetResource().Resource == "configmaps" {
			got = append(got, a.GetVerb()+" in "+a.GetNamespace())
		}
	}
	if want := []string{"get in " + awsauth.Namespace, "update in " + awsauth.Namespace}; !slices.Equal(got, want) {
		t.Errorf("it took %q, want %q", got, want)
	}
	if got := mapRoles(t, client); got != want {
		t.Errorf("it put back\n%s\ninstead of\n%s", got, want)
	}
}

func wipe(t *testing.T, client kubernetes.Interface) {
	t.Helper()
	maps := client.CoreV1().ConfigMaps(awsauth.Namespace)
	cm, err := maps.Get(t.Context(), awsauth.Name, metav1.GetOptions{})
	if err == nil {
		cm.Data = nil
		_, err = maps.Update(t.Context(), cm, metav1.UpdateOptions{})
	}
	if err != nil {
		t.Fatal(err)
	}
}

// A pass reads the roster and aws-auth side by side.
func TestReadsSideBySide(t *testing.T) {
	w := newWorld()
	client := fake.NewClientset(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: awsauth.Namespace, Name: awsauth.Name, ResourceVersion: "1"}})
	asked := make(chan struct{}, 1)
	client.PrependReactor("get", "configmaps", func(a clienttesting.Action) (bool, runtime.Object, error) {
		if a.GetNamespace() == awsauth.Namespace {
			notify(asked)
		}
		return false, nil, nil
	})
	l := newTestLeader(w, client)
	l.gather.roster = waitingRoster{w, asked}
	out, err := l.pass(t.Context(), &Spec{Nodes: Nodes{Report: true}}, true)
	if err != nil {
		t.Fatal(err)
	}
	for source, err := range out.Failed {
		t.Errorf("%s: %v", source, err)
	}
}

// A waitingRoster answers when aws-auth is asked for.
type waitingRoster struct {
	*world
	asked <-chan struct{}
}

func (r waitingRoster) List(ctx context.Context, notOlder string) (roster.ListResult, error) {
	select {
	case <-r.asked:
		return r.world.List(ctx, notOlder)
	case <-time.After(5 * time.Second):
		return roster.ListResult{}, errors.New("aws-auth is not asked for before the roster has answered")
	}
}
