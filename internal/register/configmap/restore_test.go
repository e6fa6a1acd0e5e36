package configmap

import (
	"context"
	"errors"
	"slices"
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
	"github.com/rolecall/rolecall/internal/register"
)

const unreadable = "- rolearn: [\n"

// version is aws-auth with a text of mapRoles.
func version(rv, text string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "aws-auth", ResourceVersion: rv}, Data: map[string]string{"mapRoles": text}}
}

func entryOf(name string) string {
	return "- rolearn: arn:aws:iam::111122223333:role/" + name + "\n  username: " + name + "\n"
}

// newTestRestorer is a restorer whose revisions are the fake API server's;
// fails is why it lists none, or nil.
func newTestRestorer(t *testing.T, fails error, recorded ...string) *restorer {
	t.Helper()
	client := fake.NewClientset()
	revisions := history.New(client.AppsV1().ControllerRevisions("n"), "aws-auth", FieldManager)
	for i, text := range recorded {
		r := history.Revision{At: testStart.Add(time.Duration(i))}
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
	return newRestorer(revisions, time.Now)
}

func TestRestoreWithTheNewestGoodText(t *testing.T) {
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
		{name: "of a reconcile", recorded: []string{entryOf("a")}, good: version("5", entryOf("b")), want: entryOf("b"), from: "moment"},
		{name: "of the watch", good: version("5", entryOf("b")), seen: []*corev1.ConfigMap{version("6", entryOf("c")), version("7", entryOf("d")), version("8", unreadable)}, want: entryOf("d"), from: "moment"},
		{name: "of a reconcile, the watch being late", good: version("10", entryOf("b")), seen: []*corev1.ConfigMap{version("9", entryOf("c"))}, want: entryOf("b"), from: "moment"},
		{name: "an empty text is good", recorded: []string{entryOf("a"), ""}, want: "", from: "revision 2"},
		{name: "of a reconcile, without a history", fails: down, good: version("5", entryOf("b")), want: entryOf("b"), from: "moment"},
		{name: "the history is out of reach", fails: down},
		{name: "the history is forbidden", fails: forbidden},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := newTestRestorer(t, test.fails, test.recorded...)
			if test.good != nil {
				p.read(test.good)
			}
			for _, cm := range test.seen {
				p.saw(cm)
			}
			broken := version("20", unreadable)
			broken.Data["mapUsers"] = "- {userarn: 'arn:aws:iam::111122223333:user/u', username: u}"
			broken.Data["theirs"] = "kept"
			m, err := p.unreadable(t.Context(), broken, awsauth.ParseReadable(broken.Data).Unreadable())
			if test.from == "" {
				if m != nil || err == nil || !strings.Contains(err.Error(), "mapRoles") || errors.Is(test.fails, down) && !errors.Is(err, down) {
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

// The broken text is kept before anything is written over it.
func TestBrokenTextIsKeptFirst(t *testing.T) {
	x := newTestTerm(t, map[string]string{"mapRoles": unreadable})
	x.restorer.read(version("0", entryOf("good")))
	x.must()
	var did []string
	for _, a := range x.client.Actions() {
		if a.GetVerb() == "create" && a.GetResource().Resource == "controllerrevisions" || a.GetVerb() == "update" {
			did = append(did, a.GetVerb()+" "+a.GetResource().Resource)
		}
	}
	if len(did) < 2 || did[0] != "create controllerrevisions" || did[1] != "update configmaps" {
		t.Errorf("it did %q", did)
	}
	all, err := x.restorer.revisions.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(all) == 0 || !slices.ContainsFunc(all, func(r history.Revision) bool {
		c, err := r.Content()
		return err == nil && r.Broken != "" && c.Data["mapRoles"] == unreadable
	}) {
		t.Errorf("the broken text is in none of the revisions %+v", all)
	}
}

// Where the broken text cannot be kept, restoring still goes first: everybody is
// locked out.
func TestRestoredWithoutHistory(t *testing.T) {
	x := newTestTerm(t, map[string]string{"mapRoles": unreadable})
	noRoom := errors.New("no room")
	creates := 0
	x.client.PrependReactor("create", "controllerrevisions", func(clienttesting.Action) (bool, runtime.Object, error) {
		creates++ // what is put back can be kept, and does not hide that the broken text is lost
		return creates == 1, nil, noRoom
	})
	x.restorer.read(version("0", entryOf("good")))
	o, written := x.must()
	if got := x.current().Data["mapRoles"]; got != entryOf("good") || !written.Wrote || o.Restored == "" {
		t.Errorf("it holds\n%s\nwrote %t, restored %q", got, written.Wrote, o.Restored)
	}
	if !errors.Is(written.History, noRoom) {
		t.Errorf("that the text is lost is told as %v", written.History)
	}
}

// Contents that change without a pause are not all recorded, and the last is.
func TestRecordingIsPaced(t *testing.T) {
	now := testStart
	p := newTestRestorer(t, nil)
	p.now = func() time.Time { return now }
	var again time.Duration
	for i := range 30 {
		var err error
		if _, again, err = p.record(t.Context(), record{cm: version(string(rune('a'+i)), entryOf(string(rune('a'+i))))}); err != nil {
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
	if _, again, err := p.record(t.Context(), record{cm: version("last", entryOf("last"))}); err != nil || again != 0 || count() != recordBurst+1 {
		t.Errorf("afterwards: again in %s, %v, %d revisions", again, err, count())
	}
	if _, _, err := p.record(t.Context(), record{cm: version("last", entryOf("last"))}); err != nil || count() != recordBurst+1 {
		t.Errorf("the same once more: %v, %d revisions", err, count())
	}
}

// Each time that aws-auth is deleted, whoever may be replacing it has deletedGrace,
// however soon after it was put back.
func TestDeletedAgainIsLeftAloneAgain(t *testing.T) {
	x := newTestTerm(t, map[string]string{"mapRoles": entryOf("theirs")}, "workers")
	pass := func(when string, want error) {
		t.Helper()
		_, _, err := x.reconcile()
		if later := (*register.LaterError)(nil); !errors.Is(err, want) || want != nil && (!errors.As(err, &later) || later.After != deletedGrace) {
			t.Fatalf("%s: %v, want %v in %s", when, err, want, deletedGrace)
		}
	}
	pass("at the start", nil)
	was := x.current().Data["mapRoles"]
	if !strings.Contains(was, entryOf("theirs")) || !strings.Contains(was, "role/workers") {
		t.Fatalf("it holds\n%s", was)
	}
	for _, when := range []string{"deleted", "deleted again"} {
		x.remove()
		pass(when, errJustDeleted)
		x.clock = x.clock.Add(deletedGrace)
		pass("after a while", nil)
		if now := x.current().Data["mapRoles"]; now != was {
			t.Errorf("%s: it is not as it was:\n%s\ninstead of\n%s", when, now, was)
		}
	}
}
