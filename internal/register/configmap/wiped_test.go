package configmap

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/internal/register"
)

// Who is locked out because somebody took our entries away waits for one write, and
// where the watch has not seen that, for one read: the ledger has them already.
func TestWipedEntriesComeBackByOneWrite(t *testing.T) {
	const read, write = "get in " + awsauth.Namespace, "update in " + awsauth.Namespace
	for _, test := range []struct {
		name string
		sees func(*restorer, *corev1.ConfigMap)
		late bool // somebody writes after what the watch saw
		want []string
	}{
		{"the watch saw it", (*restorer).saw, false, []string{write}},
		{"the watch saw it, and no more of it", (*restorer).saw, true, []string{write, read, write}},
		{"the watch saw nothing", func(*restorer, *corev1.ConfigMap) {}, false, []string{read, write}},
		{"the watch saw it, and that it was deleted", func(p *restorer, cm *corev1.ConfigMap) {
			p.saw(cm)
			p.unsure()
		}, false, []string{read, write}},
		{"the watch saw what a reconcile has read", func(p *restorer, _ *corev1.ConfigMap) { p.saw(p.good) }, false, []string{read, write}},
	} {
		t.Run(test.name, func(t *testing.T) {
			x := newTestTerm(t, map[string]string{}, "first", "second")
			for range 2 {
				x.must()
			}
			want := x.current().Data["mapRoles"]

			wiped := x.edit(func(cm *corev1.ConfigMap) { cm.Data = nil })
			test.sees(x.restorer, wiped)
			if test.late {
				x.edit(func(cm *corev1.ConfigMap) { cm.Data = map[string]string{"theirs": "late"} })
				refuseOlder(x.client, wiped.ResourceVersion)
			}
			x.client.ClearActions()
			_, _, err := x.reconcile()
			if test.late && errors.Is(err, register.ErrConflict) {
				_, _, err = x.reconcile()
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := x.requests("get", "create", "update", "patch", "delete"); !slices.Equal(got, test.want) {
				t.Errorf("it took %q, want %q", got, test.want)
			}
			now := x.current()
			if got := now.Data["mapRoles"]; got != want {
				t.Errorf("it put back\n%s\ninstead of\n%s", got, want)
			}
			if test.late && now.Data["theirs"] != "late" {
				t.Error("what was written late is lost")
			}
		})
	}
}

// refuseOlder has the API server refuse writes by a resourceVersion, as it does with
// one that is not the newest.
func refuseOlder(client *fake.Clientset, version string) {
	client.PrependReactor("update", "configmaps", func(a clienttesting.Action) (bool, runtime.Object, error) {
		if cm, ok := a.(clienttesting.UpdateAction).GetObject().(*corev1.ConfigMap); ok && cm.ResourceVersion == version {
			return true, nil, apierrors.NewConflict(schema.GroupResource{Resource: "configmaps"}, cm.Name, nil)
		}
		return false, nil, nil
	})
}

// What the watch saw last is not taken where it may have seen an event less, or the
// same twice.
func TestLatestIsTakenOnce(t *testing.T) {
	p := newTestRestorer(t, nil)
	check := func(when, want string) {
		t.Helper()
		got := ""
		if cm := p.takeLatest(); cm != nil {
			got = cm.ResourceVersion
		}
		if got != want {
			t.Errorf("%s: it takes %q, want %q", when, got, want)
		}
	}
	p.saw(version("9", ""))
	check("before aws-auth was read", "")
	p.read(version("10", ""))
	p.saw(version("9", ""))
	check("an older one", "")
	p.saw(version("10", ""))
	check("the same", "")
	p.saw(version("11", ""))
	p.saw(version("12", unreadable))
	check("two newer ones", "12")
	check("a second time", "")
	p.saw(version("13", ""))
	p.unsure()
	check("deleted", "")
}

// What the watch sees of a deletion undoes what it saw before.
func TestDeletedIsNotTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newTestTerm(t, map[string]string{})
		x.restorer.read(x.current())
		ctx, cancel := context.WithCancel(t.Context())
		var watching sync.WaitGroup
		woken := 0
		watching.Go(func() { x.Watch(ctx, func() { woken++ }) })
		defer watching.Wait()
		defer cancel()
		synctest.Wait()

		woken = 0
		wiped := x.edit(func(cm *corev1.ConfigMap) { cm.Data = nil })
		synctest.Wait()
		if latest := x.restorer.takeLatest(); latest == nil || latest.ResourceVersion != wiped.ResourceVersion || woken != 1 {
			t.Errorf("an edit is seen as %+v and woke %d times", latest, woken)
		}
		x.edit(func(cm *corev1.ConfigMap) { cm.Data = map[string]string{"theirs": "more"} })
		x.remove()
		synctest.Wait()
		if latest := x.restorer.takeLatest(); latest != nil || woken != 3 {
			t.Errorf("it was deleted, and is still known as %+v; it woke %d times", latest, woken)
		}
	})
}

// What comes while a write is under way may be over when that is answered. It wakes
// the reconciles then.
func TestEventsAmidAWriteAreNotTaken(t *testing.T) {
	x := newTestTerm(t, map[string]string{}, "first")
	woken := 0
	x.own.onOthers(func() { woken++ })
	x.client.PrependReactor("update", "configmaps", func(a clienttesting.Action) (bool, runtime.Object, error) {
		if a.GetNamespace() == awsauth.Namespace {
			x.own.others(version("99", ""))
		}
		return false, nil, nil
	})
	x.must()
	if len(x.restorer.seen) == 0 || woken != 1 {
		t.Errorf("the event is lost: %d seen, woken %d times", len(x.restorer.seen), woken)
	}
	if latest := x.restorer.takeLatest(); latest != nil {
		t.Errorf("what may be over is known as %+v", latest)
	}
}
