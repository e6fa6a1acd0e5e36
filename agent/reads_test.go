package agent

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	clienttesting "k8s.io/client-go/testing"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/internal/roster"
)

// A reconcile reads the roster, the ledger and aws-auth side by side.
func TestReadsSideBySide(t *testing.T) {
	w, client := newWorld(), newClient(nil)
	asked := make(chan struct{})
	var once sync.Once
	client.PrependReactor("get", "configmaps", func(a clienttesting.Action) (bool, runtime.Object, error) {
		if a.GetNamespace() == awsauth.Namespace {
			once.Do(func() { close(asked) })
		}
		return false, nil, nil
	})
	r := w.reconciler(waitingClient{client, asked})
	r.Roster = waitingRoster{w, asked}
	out := reconcile(t, r, reported())
	if out.Unread != nil {
		t.Error(out.Unread)
	}
	for source, err := range out.Asked.Errs {
		t.Errorf("%s: %v", source, err)
	}
}

// until waits for what a test expects to happen at once.
func until(happens <-chan struct{}, otherwise string) error {
	select {
	case <-happens:
		return nil
	case <-time.After(5 * time.Second):
		return errors.New(otherwise)
	}
}

// A waitingClient answers what the ledger is when aws-auth is asked for.
type waitingClient struct {
	kubernetes.Interface
	asked <-chan struct{}
}

func (c waitingClient) CoreV1() typedcorev1.CoreV1Interface {
	return waitingCore{c.Interface.CoreV1(), c.asked}
}

type waitingCore struct {
	typedcorev1.CoreV1Interface
	asked <-chan struct{}
}

func (c waitingCore) ConfigMaps(namespace string) typedcorev1.ConfigMapInterface {
	if namespace == awsauth.Namespace {
		return c.CoreV1Interface.ConfigMaps(namespace)
	}
	return waitingMaps{c.CoreV1Interface.ConfigMaps(namespace), c.asked}
}

type waitingMaps struct {
	typedcorev1.ConfigMapInterface
	asked <-chan struct{}
}

func (m waitingMaps) Get(ctx context.Context, name string, opts metav1.GetOptions) (*corev1.ConfigMap, error) {
	if err := until(m.asked, "aws-auth is not asked for before the ledger has answered"); err != nil {
		return nil, err
	}
	return m.ConfigMapInterface.Get(ctx, name, opts)
}

// A waitingRoster answers when aws-auth is asked for.
type waitingRoster struct {
	*world
	asked <-chan struct{}
}

func (r waitingRoster) List(ctx context.Context, notOlder string) (roster.ListResult, error) {
	if err := until(r.asked, "aws-auth is not asked for before the roster has answered"); err != nil {
		return roster.ListResult{}, err
	}
	return r.world.List(ctx, notOlder)
}
