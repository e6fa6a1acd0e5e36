package agent

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/internal/history"
	"github.com/rolecall/rolecall/internal/roster"
)

const unreadable = "- rolearn: [\n"

// version is aws-auth with a text of mapRoles.
func version(rv, text string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "aws-auth", ResourceVersion: rv}, Data: map[string]string{"mapRoles": text}}
}

func entryOf(name string) string {
	return "- rolearn: arn:aws:iam::111122223333:role/" + name + "\n  username: " + name + "\n"
}

// newTestPast is the past of a term whose revisions are the fake API server's;
// fails is why it lists none, or nil.
func newTestPast(t *testing.T, fails error, recorded ...string) *past {
	t.Helper()
	client := fake.NewClientset()
	revisions := history.New(client.AppsV1().ControllerRevisions("n"), "aws-auth", FieldManager)
	for i, text := range recorded {
		r := history.Revision{At: start.Add(time.Duration(i))}
		if text == unreadable {
			r.Broken = "it is"
		}
		if _, err := revisions.Record(t.Context(), r, history.ContentOf(version("", text))); err != nil {
			t.Fatal(err)
		}
	}
	if fails != nil {
		client.PrependReactor("list", "controllerrevisions", func(clienttesting.Action) (bool, runtime.Object, error) { return true, nil, fails })
	}
	return newPast(revisions, time.Now)
}

func TestMendWithTheNewestGoodText(t *testing.T) {
	down := errors.New("no answer")
	forbidden := apierrors.NewForbidden(schema.GroupResource{Resource: "controllerrevisions"}, "", nil)
	for _, test := range []struct {
		name     string
		fails    error
		recorded []string
		good     *corev1.ConfigMap
		seen     []*corev1.ConfigMap
		want     string // empty: nothing is put back
		from     string
	}{
		{name: "nothing is known"},
		{name: "of the history", recorded: []string{entryOf("a"), entryOf("b"), unreadable}, want: entryOf("b"), from: "revision 2"},
		{name: "of a pass", recorded: []string{entryOf("a")}, good: version("5", entryOf("b")), want: entryOf("b"), from: "moment"},
		{name: "of the watch", good: version("5", entryOf("b")), seen: []*corev1.ConfigMap{version("6", entryOf("c")), version("7", entryOf("d")), version("8", unreadable)}, want: entryOf("d"), from: "moment"},
		{name: "of a pass, the watch being late", good: version("10", entryOf("b")), seen: []*corev1.ConfigMap{version("9", entryOf("c"))}, want: entryOf("b"), from: "moment"},
		{name: "an empty text is good", recorded: []string{entryOf("a"), ""}, want: "", from: "revision 2"},
		{name: "of a pass, without a history", fails: down, good: version("5", entryOf("b")), want: entryOf("b"), from: "moment"},
		{name: "the history is out of reach", fails: down},
		{name: "the history is forbidden", fails: forbidden},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := newTestPast(t, test.fails, test.recorded...)
			if test.good != nil {
				p.read(test.good)
			}
			for _, cm := range test.seen {
				p.saw(cm)
			}
			broken := version("20", unreadable)
			broken.Data["mapUsers"] = "- {userarn: 'arn:aws:iam::111122223333:user/u', username: u}"
			broken.Data["theirs"] = "kept"
			_, parseErr := awsauth.Parse(broken.Data)
			m, err := p.mend(t.Context(), broken, parseErr)
			if test.from == "" {
				if err == nil || !strings.Contains(err.Error(), "mapRoles") || errors.Is(test.fails, down) && !errors.Is(err, down) {
					t.Errorf("put back %v, %v", m, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			want := version("20", test.want)
			want.Data["mapUsers"], want.Data["theirs"] = broken.Data["mapUsers"], "kept"
			for key, text := range want.Data {
				if m.base.Data[key] != text {
					t.Errorf("%s is %q, want %q", key, m.base.Data[key], text)
				}
			}
			if m.base.ResourceVersion != "20" || !strings.Contains(m.String(), test.from) || strings.Join(m.keys, " ") != "mapRoles" {
				t.Errorf("resourceVersion %s, %v", m.base.ResourceVersion, m)
			}
			if broken.Data["mapRoles"] != unreadable {
				t.Error("what was read has been changed")
			}
		})
	}
}

// Who cannot keep the broken text writes nothing over it.
func TestBrokenTextIsKeptFirst(t *testing.T) {
	client := fake.NewClientset(version("", unreadable))
	client.PrependReactor("get", "configmaps", func(a clienttesting.Action) (bool, runtime.Object, error) {
		cm := version("7", unreadable)
		if get, ok := a.(clienttesting.GetAction); !ok || get.GetName() != "aws-auth" {
			return false, nil, nil
		}
		return true, cm, nil
	})
	client.PrependReactor("create", "controllerrevisions", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, errors.New("no room")
	})
	w := newWorld()
	l := NewLeader(Options{Client: client, Namespace: "n", Roster: w, Self: w.gatherer().self, Directory: w.gatherer().directory, Logger: w.gatherer().log})
	l.past.read(version("5", entryOf("good")))
	_, err := l.pass(t.Context(), &Spec{Restore: true}, false)
	if err == nil || !strings.Contains(err.Error(), "stays until its text is kept") {
		t.Errorf("got %v", err)
	}
	for _, a := range client.Actions() {
		if a.GetVerb() == "update" {
			t.Errorf("it has written %s", a.GetResource().Resource)
		}
	}
}

// Contents that change without a pause are not all recorded, and the last is.
func TestRecordingIsPaced(t *testing.T) {
	now := start
	p := newTestPast(t, nil)
	p.now = func() time.Time { return now }
	var again time.Duration
	for i := range 30 {
		var err error
		if again, err = p.record(t.Context(), version(string(rune('a'+i)), entryOf(string(rune('a'+i)))), "", ""); err != nil {
			t.Fatal(err)
		}
	}
	count := func() int {
		list, err := p.revisions.List(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	if n := count(); n != recordBurst || again != recordEvery {
		t.Errorf("%d revisions of 30 contents, again in %s, want %d and %s", n, again, recordBurst, recordEvery)
	}
	now = now.Add(again)
	if again, err := p.record(t.Context(), version("last", entryOf("last")), "", ""); err != nil || again != 0 || count() != recordBurst+1 {
		t.Errorf("afterwards: again in %s, %v, %d revisions", again, err, count())
	}
	if _, err := p.record(t.Context(), version("last", entryOf("last")), "", ""); err != nil || count() != recordBurst+1 {
		t.Errorf("the same once more: %v, %d revisions", err, count())
	}
}

// Each time that aws-auth is deleted, whoever may be replacing it has deletedGrace,
// however soon after it was put back.
func TestDeletedAgainIsLeftAloneAgain(t *testing.T) {
	w := newWorld()
	w.reports.Reports = []roster.Report{by("n", "workers")}
	theirs := version("1", entryOf("theirs"))
	theirs.Namespace = awsauth.Namespace
	client := fake.NewClientset(theirs)
	numbered(client)
	l := newTestLeader(w, client)
	l.began = w.now
	spec := &Spec{Nodes: Nodes{Report: true}, Restore: true}
	pass := func(when string, want error) {
		t.Helper()
		if _, err := l.pass(t.Context(), spec, false); !errors.Is(err, want) {
			t.Fatalf("%s: %v, want %v", when, err, want)
		}
	}
	pass("at the start", nil)
	was := mapRoles(t, client)
	if !strings.Contains(was, entryOf("theirs")) {
		t.Fatalf("it holds\n%s", was)
	}
	for _, when := range []string{"deleted", "deleted again"} {
		if err := client.CoreV1().ConfigMaps(awsauth.Namespace).Delete(t.Context(), awsauth.Name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		pass(when, errJustDeleted)
		w.now = w.now.Add(deletedGrace)
		pass("after a while", nil)
		if now := mapRoles(t, client); now != was {
			t.Errorf("%s: it is not as it was:\n%s\ninstead of\n%s", when, now, was)
		}
	}
}
