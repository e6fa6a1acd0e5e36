package history

import (
	"context"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
)

// newFakeStore is a store on an API server that checks nothing; newStore has a real one.
func newFakeStore() (*Store, ControllerRevisions) {
	client := fake.NewClientset().AppsV1().ControllerRevisions("n")
	return New(client, "aws-auth", "test"), client
}

// Whatever the pace of changes is, the newest five stay, no more than ten do, and as
// time goes on there is one of each of the last days on which there was a change.
func TestThinnedWithAge(t *testing.T) {
	t.Parallel()
	for _, pace := range []time.Duration{11 * time.Second, time.Minute, 10 * time.Minute, 45 * time.Minute, 3 * time.Hour, 30 * time.Hour} {
		t.Run(pace.String(), func(t *testing.T) {
			t.Parallel()
			var list []*Revision
			days := map[time.Time]bool{}
			for n := range max(12*Kept, int(6*24*time.Hour/pace)) {
				when := at.Add(time.Duration(n) * pace)
				list = slices.Insert(list, 0, &Revision{Number: int64(n + 1), At: when})
				days[when.Truncate(24*time.Hour)] = true
				dropped := thin(list)
				list = slices.DeleteFunc(list, func(r *Revision) bool { return slices.Contains(dropped, r) })
				if want := min(n+1, Kept); len(list) != want {
					t.Fatalf("%d are kept of %d, want %d", len(list), n+1, want)
				}
				for i := range min(KeptNewest, len(list)) {
					if want := int64(n + 1 - i); list[i].Number != want {
						t.Fatalf("number %d is kept in place %d, want %d", list[i].Number, i, want)
					}
				}
				kept := map[time.Time]bool{}
				hours := map[time.Time]bool{} // of today and yesterday
				for _, r := range list {
					kept[r.At.Truncate(24*time.Hour)] = true
					if when.Sub(r.At) < 24*time.Hour {
						hours[r.At.Truncate(time.Hour)] = true
					}
				}
				today := when.Truncate(24 * time.Hour)
				for back := range KeptDays {
					if day := today.AddDate(0, 0, -back); days[day] && !kept[day] {
						t.Fatalf("at %s nothing is kept of %s", when, day)
					}
				}
				if pace < time.Hour && time.Duration(n)*pace > 4*time.Hour && len(hours) <= KeptHours {
					t.Fatalf("at %s one of each of %d hours is kept", when, len(hours))
				}
			}
		})
	}
}

// thin drops nothing of what it keeps where nothing is new.
func TestThinAgainIsNothing(t *testing.T) {
	t.Parallel()
	var list []*Revision
	for n := range 40 {
		list = slices.Insert(list, 0, &Revision{Number: int64(n), At: at.Add(time.Duration(n) * 7 * time.Hour)})
	}
	dropped := thin(list)
	list = slices.DeleteFunc(list, func(r *Revision) bool { return slices.Contains(dropped, r) })
	if again := thin(list); len(list) != Kept || len(again) != 0 {
		t.Errorf("%d are kept, and then %d are dropped", len(list), len(again))
	}
}

// A tool that writes a label or an annotation again and again makes no revision: the
// one that there is has the newest of them, and says still who wrote the content.
func TestMetadataIsNoContent(t *testing.T) {
	t.Parallel()
	s, _ := newFakeStore()
	record(t, s, text("a"), "")
	record(t, s, text("b"), "")
	for i := range 50 {
		c := text("b")
		c.Annotations = map[string]string{"heartbeat": fmt.Sprint(i)}
		c.Labels = map[string]string{"turn": fmt.Sprint(i % 2)}
		r := Revision{Who: "somebody", Why: "a heartbeat", At: at.Add(time.Hour), Version: fmt.Sprint(100 + i)}
		if n, err := s.Record(t.Context(), r, c); n != 2 || err != nil {
			t.Fatalf("heartbeat %d is revision %d, %v", i, n, err)
		}
	}
	wantList(t, s, "2 b", "1 a")
	all, err := s.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r := all[0]
	c, err := r.Content()
	if err != nil {
		t.Fatal(err)
	}
	if c.Annotations["heartbeat"] != "49" || c.Labels["turn"] != "1" || r.Who != "me" || r.Why != "because" || !r.At.Equal(at) || r.Version != "149" {
		t.Errorf("it has %v %v, %+v", c.Labels, c.Annotations, r)
	}
	// One that comes back with other labels is the same, too.
	back := text("a")
	back.Labels = map[string]string{"new": "label"}
	if n := record(t, s, back, ""); n != 3 {
		t.Errorf("a content that comes back is revision %d, want 3", n)
	}
	wantList(t, s, "3 a", "2 b")
}

// forgetKeys makes the revisions what other versions write.
func forgetKeys(t *testing.T, client ControllerRevisions) {
	t.Helper()
	list, err := client.List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range list.Items {
		delete(list.Items[i].Annotations, annotationContent)
		if _, err := client.Update(t.Context(), &list.Items[i], metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
}

// Versions that tell contents apart by labels and annotations have left ten heartbeats:
// they are one revision, and the contents before them stay.
func TestHeartbeatsOfAnotherVersion(t *testing.T) {
	t.Parallel()
	s, client := newFakeStore()
	record(t, s, text("before"), "")
	record(t, s, text("bad"), "it is bad")
	for i := range 8 {
		c := text("now")
		c.Annotations = map[string]string{"heartbeat": fmt.Sprint(i)}
		object := &appsv1.ControllerRevision{ObjectMeta: metav1.ObjectMeta{Name: "aws-auth-" + c.ID(), Labels: map[string]string{Label: "aws-auth"}}}
		(&Revision{Number: int64(3 + i), At: at.Add(time.Duration(i) * time.Second)}).describe(object, c)
		body, err := encode(c)
		if err != nil {
			t.Fatal(err)
		}
		object.Data.Raw = body
		if _, err := client.Create(t.Context(), object, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	forgetKeys(t, client)
	latest := text("now")
	latest.Annotations = map[string]string{"heartbeat": "7"}
	if n := record(t, s, latest, ""); n != 10 {
		t.Errorf("what stands is revision %d, want 10, as it is known", n)
	}
	wantList(t, s, "10 now", "2 bad!", "1 before")
	forgetKeys(t, client)
	if n := record(t, s, text("next"), ""); n != 11 {
		t.Errorf("the next is revision %d, want 11", n)
	}
	wantList(t, s, "11 next", "10 now", "2 bad!", "1 before")
}

// A revision with the highest number that there can be does not end the history: all
// are counted anew, in their order, also where that is cut off.
func TestNumbersAreUsedUp(t *testing.T) {
	t.Parallel()
	for _, number := range []int64{math.MaxInt64, math.MaxInt64 - 1, numberMax} {
		s, client := newFakeStore()
		for i := range 4 {
			record(t, s, text(fmt.Sprint(i)), "")
		}
		list, err := s.List(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		list[0].object.Revision = number
		if _, err := client.Update(t.Context(), list[0].object, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		cut := &cutOff{ControllerRevisions: client, left: 2}
		if _, err := New(cut, "aws-auth", "test").Record(t.Context(), Revision{}, text("next")); err == nil {
			t.Error("a renumbering that was cut off is no error")
		}
		if got := texts(t, s); !slices.Equal(got, []string{"3", "2", "1", "0"}) {
			t.Errorf("after one that was cut off they are %q", got)
		}
		if n := record(t, s, text("next"), ""); n != 5 {
			t.Errorf("after %d comes %d, want 5", number, n)
		}
		wantList(t, s, "5 next", "4 3", "3 2", "2 1", "1 0")
	}
}

// texts are the texts of all revisions.
func texts(t *testing.T, s *Store) []string {
	t.Helper()
	all, err := s.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for i := range all {
		c, err := all[i].Content()
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, c.Data["mapRoles"])
	}
	return out
}

// cutOff is a client that is killed after some updates.
type cutOff struct {
	ControllerRevisions
	left int
}

func (c *cutOff) Update(ctx context.Context, r *appsv1.ControllerRevision, o metav1.UpdateOptions) (*appsv1.ControllerRevision, error) {
	if c.left--; c.left < 0 {
		return nil, context.Canceled
	}
	return c.ControllerRevisions.Update(ctx, r, o)
}
