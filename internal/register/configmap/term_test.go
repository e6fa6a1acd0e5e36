package configmap

import (
	"log/slog"
	"slices"
	"strconv"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/internal/plan"
	"github.com/rolecall/rolecall/internal/register"
)

var testStart = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// A testTerm is a register in one term, on an API server of its own, and what a
// config asks for.
type testTerm struct {
	t *testing.T
	*Register
	client *fake.Clientset
	clock  time.Time
	want   []awsauth.Entry
	rules  register.Rules
}

// newTestTerm asks for the roles of these names. A nil data: there is no aws-auth.
func newTestTerm(t *testing.T, data map[string]string, roles ...string) *testTerm {
	t.Helper()
	x := &testTerm{t: t, client: fake.NewClientset(), clock: testStart, rules: register.Rules{Restore: true}}
	if data != nil {
		x.client = fake.NewClientset(&corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Namespace: awsauth.Namespace, Name: awsauth.Name, ResourceVersion: "1"}, Data: data,
		})
	}
	withVersions(x.client)
	for _, name := range roles {
		x.want = append(x.want, awsauth.Entry{Kind: awsauth.Role, ARN: "arn:aws:iam::111122223333:role/" + name, Username: name, Groups: []string{"viewers"}})
	}
	x.anew()
	return x
}

// anew begins another term.
func (x *testTerm) anew() {
	x.Register = New(Options{Client: x.client, Namespace: "n", Logger: slog.New(slog.DiscardHandler), Now: func() time.Time { return x.clock }})
}

// reconcile observes, decides, prepares and commits, once.
func (x *testTerm) reconcile() (*register.Observation, *register.Written, error) {
	x.t.Helper()
	o, err := x.Observe(x.t.Context(), x.rules)
	if err != nil {
		return nil, nil, err
	}
	s := &plan.Snapshot{Sources: []plan.Source{{Name: "file", Entries: x.want}}, Config: "hash", Now: x.clock}
	o.Snapshot(s)
	decisions, removals := plan.Make(s)
	written, err := x.Commit(x.t.Context(), o, x.Prepare(o, s, decisions, removals))
	return o, written, err
}

// must fails the test where a reconcile does.
func (x *testTerm) must() (*register.Observation, *register.Written) {
	x.t.Helper()
	o, written, err := x.reconcile()
	if err != nil {
		x.t.Fatal(err)
	}
	return o, written
}

func (x *testTerm) current() *corev1.ConfigMap {
	x.t.Helper()
	cm, err := x.client.CoreV1().ConfigMaps(awsauth.Namespace).Get(x.t.Context(), awsauth.Name, metav1.GetOptions{})
	if err != nil {
		x.t.Fatal(err)
	}
	return cm.DeepCopy()
}

// edit has another tool change aws-auth, and returns what it wrote.
func (x *testTerm) edit(change func(*corev1.ConfigMap)) *corev1.ConfigMap {
	x.t.Helper()
	cm := x.current()
	if cm.Data == nil {
		cm.Data = map[string]string{}
	}
	change(cm)
	cm, err := x.client.CoreV1().ConfigMaps(awsauth.Namespace).Update(x.t.Context(), cm, metav1.UpdateOptions{})
	if err != nil {
		x.t.Fatal(err)
	}
	return cm.DeepCopy()
}

func (x *testTerm) remove() {
	x.t.Helper()
	if err := x.client.CoreV1().ConfigMaps(awsauth.Namespace).Delete(x.t.Context(), awsauth.Name, metav1.DeleteOptions{}); err != nil {
		x.t.Fatal(err)
	}
}

// requests are the requests for ConfigMaps that were made since it was called last.
func (x *testTerm) requests(verbs ...string) []string {
	var out []string
	for _, a := range x.client.Actions() {
		if a.GetResource().Resource == "configmaps" && slices.Contains(verbs, a.GetVerb()) {
			out = append(out, a.GetVerb()+" in "+a.GetNamespace())
		}
	}
	x.client.ClearActions()
	return out
}

func (x *testTerm) writes() []string { return x.requests("create", "update", "patch", "delete") }

// withVersions gives each ConfigMap that is written a resourceVersion, as an API
// server does, and has informers list before they watch.
func withVersions(client *fake.Clientset) {
	rv := 1
	client.PrependReactor("*", "configmaps", func(action clienttesting.Action) (bool, runtime.Object, error) {
		if write, ok := action.(interface{ GetObject() runtime.Object }); ok {
			rv++
			write.GetObject().(metav1.Object).SetResourceVersion(strconv.Itoa(rv))
		}
		return false, nil, nil
	})
	// It knows no streaming lists, and does not say so.
	client.PrependWatchReactor("*", func(action clienttesting.Action) (bool, watch.Interface, error) {
		if a, ok := action.(clienttesting.WatchActionImpl); ok && a.ListOptions.SendInitialEvents != nil {
			return true, nil, apierrors.NewBadRequest("sendInitialEvents")
		}
		return false, nil, nil
	})
}
