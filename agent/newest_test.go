package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/internal/roster"
)

func newTestLeader(w *world, client kubernetes.Interface) *Leader {
	return NewLeader(Options{
		Client: client, Namespace: "n", Roster: w, Self: w.gatherer().self,
		Directory: w.gatherer().directory, Logger: slog.New(slog.DiscardHandler), Now: func() time.Time { return w.now },
	})
}

// reporting is a world in which nodes report their roles, an API server with an empty
// aws-auth, and a leader of both.
func reporting(reports ...roster.Report) (*world, *fake.Clientset, *Leader) {
	w := newWorld()
	w.reports.Reports = reports
	client := fake.NewClientset(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: awsauth.Namespace, Name: awsauth.Name, ResourceVersion: "1"}})
	numbered(client)
	return w, client, newTestLeader(w, client)
}

func mapRoles(t *testing.T, client kubernetes.Interface) string {
	t.Helper()
	return awsAuth(t, client).Data["mapRoles"]
}

func awsAuth(t *testing.T, client kubernetes.Interface) *corev1.ConfigMap {
	t.Helper()
	cm, err := client.CoreV1().ConfigMaps(awsauth.Namespace).Get(t.Context(), awsauth.Name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return cm.DeepCopy()
}

// A roster that is a moment old adds, and takes nothing away: the newest one does.
func TestOnlyTheNewestRosterTakesAway(t *testing.T) {
	w, client, l := reporting(by("n1", "first"), by("n2", "second"))
	spec := &Spec{Nodes: Nodes{Report: true, KeepUnused: time.Hour}}
	pass := func(when string, lists []string, want ...string) {
		t.Helper()
		w.lists = nil
		if _, err := l.pass(t.Context(), spec, false); err != nil {
			t.Fatalf("%s: %v", when, err)
		}
		if !slices.Equal(w.lists, lists) {
			t.Errorf("%s: it asked for the roster of %q, want %q", when, w.lists, lists)
		}
		text := mapRoles(t, client)
		if n := strings.Count(text, "rolearn:"); n != len(want) {
			t.Errorf("%s: %d entries, want %d", when, n, len(want))
		}
		for _, role := range want {
			if !strings.Contains(text, roleOf(role)) {
				t.Errorf("%s: %s is not mapped", when, role)
			}
		}
	}
	pass("before the watch has seen anything", []string{""}, "first", "second")

	seen := "7"
	l.rosterSeen.Store(&seen)
	w.cached = &roster.ListResult{Reports: []roster.Report{by("n1", "first"), by("n2", "second"), by("n3", "third")}}
	pass("one more", []string{"7"}, "first", "second", "third")

	w.cached = &roster.ListResult{Reports: []roster.Report{by("n1", "first"), by("n2", "second")}}
	pass("one is missed, for the first time", []string{"7"}, "first", "second", "third")
	w.now = start.Add(liveFor)
	for i, role := range []string{"first", "second", "third"} {
		live := by(fmt.Sprint("n", i), role)
		live.Renewed = w.now
		w.reports.Reports = append(w.reports.Reports[:i], live)
	}
	w.cached.Reports = w.reports.Reports[:2]
	pass("missed for long by an old roster, but live", []string{"7", ""}, "first", "second", "third")

	w.reports.Reports = w.reports.Reports[:2]
	pass("missed by the newest for the first time", []string{"7"}, "first", "second", "third")
	w.now = w.now.Add(liveFor)
	pass("missed by both", []string{"7", ""}, "first", "second")
}

// Where the API server has nothing of the age that is wanted, the newest will do.
func TestNewestWhereOldIsRefused(t *testing.T) {
	w := newWorld()
	w.reports.Reports = []roster.Report{by("n1", "first")}
	g := w.gatherer()
	g.roster = tooOld{w}
	got := g.reports(t.Context(), &Spec{Nodes: Nodes{Report: true}}, "7")
	if got.err != nil || !got.newest || len(got.Reports) != 1 {
		t.Errorf("got %+v", got)
	}
	// It is not asked for once more: each refusal can take seconds.
	l := newTestLeader(w, fake.NewClientset())
	l.gather.roster = g.roster
	seen := "7"
	l.rosterSeen.Store(&seen)
	for range 2 {
		_, _ = l.pass(t.Context(), &Spec{Nodes: Nodes{Report: true}}, true)
	}
	if l.rosterSeen.Load() != nil {
		t.Error("what was refused is asked for again")
	}
	w.listErr = errors.New("no answer")
	if got := g.reports(t.Context(), &Spec{Nodes: Nodes{Report: true}}, "7"); got.err == nil {
		t.Error("nothing answered, and the roster counts as empty")
	}
}

type tooOld struct{ *world }

func (r tooOld) List(ctx context.Context, notOlder string) (roster.ListResult, error) {
	if notOlder != "" {
		return roster.ListResult{}, errors.New("too large resource version")
	}
	return r.world.List(ctx, notOlder)
}

// What the watch has seen last is the newest of all that it saw, in whatever order.
func TestRosterSeen(t *testing.T) {
	l := newTestLeader(newWorld(), fake.NewClientset())
	for _, version := range []string{"9", "100", "12"} {
		l.sawReport(&coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{ResourceVersion: version}})
	}
	if got := l.rosterSeen.Load(); got == nil || *got != "100" {
		t.Errorf("it asks for reports not older than %v, want 100", got)
	}
}
