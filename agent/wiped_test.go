package agent

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/internal/roster"
)

// Who is locked out because somebody took our entries away waits for one write, and
// where the watch has not seen that, for one read: the ledger has them already.
func TestWipedEntriesComeBackByOneWrite(t *testing.T) {
	const read, write = "get in " + awsauth.Namespace, "update in " + awsauth.Namespace
	for _, test := range []struct {
		name string
		sees func(*past, *corev1.ConfigMap)
		late bool // somebody writes after what the watch saw
		want []string
	}{
		{"the watch saw it", (*past).saw, false, []string{write}},
		{"the watch saw it, and no more of it", (*past).saw, true, []string{write, read, write}},
		{"the watch saw nothing", func(*past, *corev1.ConfigMap) {}, false, []string{read, write}},
		{"the watch saw it, and that it was deleted", func(p *past, cm *corev1.ConfigMap) {
			p.saw(cm)
			p.unsure()
		}, false, []string{read, write}},
		{"the watch saw what a pass has read", func(p *past, _ *corev1.ConfigMap) { p.saw(p.good) }, false, []string{read, write}},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, client, l := reporting(by("n1", "first"), by("n2", "second"))
			spec := &Spec{Nodes: Nodes{Report: true, KeepUnused: time.Hour}}
			for range 2 {
				if _, err := l.pass(t.Context(), spec, false); err != nil {
					t.Fatal(err)
				}
			}
			want := mapRoles(t, client)

			wiped := edit(t, client, nil)
			test.sees(l.past, wiped)
			if test.late {
				edit(t, client, map[string]string{"theirs": "late"})
				refuseOlder(client, wiped.ResourceVersion)
			}
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
			if !slices.Equal(got, test.want) {
				t.Errorf("it took %q, want %q", got, test.want)
			}
			now := awsAuth(t, client)
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

// edit has another tool give aws-auth this data, and returns what it wrote.
func edit(t *testing.T, client kubernetes.Interface, data map[string]string) *corev1.ConfigMap {
	t.Helper()
	cm := awsAuth(t, client)
	cm.Data = data
	cm, err := client.CoreV1().ConfigMaps(awsauth.Namespace).Update(t.Context(), cm, metav1.UpdateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return cm.DeepCopy()
}

// A pass reads the roster, the ledger and aws-auth side by side.
func TestReadsSideBySide(t *testing.T) {
	w := newWorld()
	client := fake.NewClientset(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: awsauth.Namespace, Name: awsauth.Name, ResourceVersion: "1"}})
	asked := make(chan struct{})
	var once sync.Once
	client.PrependReactor("get", "configmaps", func(a clienttesting.Action) (bool, runtime.Object, error) {
		if a.GetNamespace() == awsauth.Namespace {
			once.Do(func() { close(asked) })
		}
		return false, nil, nil
	})
	l := newTestLeader(w, client)
	l.gather.roster = waitingRoster{w, asked}
	l.ledgerStore = awsauth.NewStore(waitingMaps{client.CoreV1().ConfigMaps("n"), asked}, LedgerName, FieldManager)
	out, err := l.pass(t.Context(), &Spec{Nodes: Nodes{Report: true}}, true)
	if err != nil {
		t.Fatal(err)
	}
	for source, err := range out.Failed {
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

// waitingMaps answer when aws-auth is asked for.
type waitingMaps struct {
	awsauth.ConfigMaps
	asked <-chan struct{}
}

func (m waitingMaps) Get(ctx context.Context, name string, opts metav1.GetOptions) (*corev1.ConfigMap, error) {
	if err := until(m.asked, "aws-auth is not asked for before the ledger has answered"); err != nil {
		return nil, err
	}
	return m.ConfigMaps.Get(ctx, name, opts)
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

// What the watch saw is no news where it may have seen an event less, or the same
// twice.
func TestNews(t *testing.T) {
	p := newTestPast(t, nil)
	check := func(when, want string) {
		t.Helper()
		got := ""
		if cm := p.news(); cm != nil {
			got = cm.ResourceVersion
		}
		if got != want {
			t.Errorf("%s: the news is %q, want %q", when, got, want)
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
func TestDeletedIsNoNews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := fake.NewClientset(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: awsauth.Namespace, Name: awsauth.Name, ResourceVersion: "1"}})
		numbered(client)
		l := newTestLeader(newWorld(), client)
		l.past.read(awsAuth(t, client))
		ctx, cancel := context.WithCancel(t.Context())
		var watching sync.WaitGroup
		watching.Go(func() { _ = l.watchAWSAuth(ctx) })
		defer watching.Wait()
		defer cancel()
		synctest.Wait()

		wiped := edit(t, client, nil)
		synctest.Wait()
		if news := l.past.news(); news == nil || news.ResourceVersion != wiped.ResourceVersion {
			t.Errorf("an edit is seen as %+v", news)
		}
		edit(t, client, map[string]string{"theirs": "more"})
		if err := client.CoreV1().ConfigMaps(awsauth.Namespace).Delete(t.Context(), awsauth.Name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if news := l.past.news(); news != nil {
			t.Errorf("it was deleted, and is still known as %+v", news)
		}
	})
}

// What comes while a write is under way may be over when that is answered.
func TestEventsAmidAWriteAreNoNews(t *testing.T) {
	_, client, l := reporting(by("n1", "first"))
	client.PrependReactor("update", "configmaps", func(a clienttesting.Action) (bool, runtime.Object, error) {
		if a.GetNamespace() == awsauth.Namespace {
			l.own.others(version("99", ""))
		}
		return false, nil, nil
	})
	if _, err := l.pass(t.Context(), &Spec{Nodes: Nodes{Report: true}}, false); err != nil {
		t.Fatal(err)
	}
	if len(l.past.seen) == 0 {
		t.Error("the event is lost")
	}
	if news := l.past.news(); news != nil {
		t.Errorf("what may be over is known as %+v", news)
	}
}
