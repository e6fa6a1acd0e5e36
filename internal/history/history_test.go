package history

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"

	"github.com/rolecall/rolecall/test/stage"
)

func TestMain(m *testing.M) { os.Exit(stage.Main(m)) }

var at = time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC)

// newStore returns a store in a namespace of its own on the real API server.
func newStore(t *testing.T) (*Store, ControllerRevisions) {
	t.Helper()
	cp := stage.ForTest(t)
	client, err := kubernetes.NewForConfig(cp.Config())
	if err != nil {
		t.Fatal(err)
	}
	revisions := client.AppsV1().ControllerRevisions(cp.Namespace(t))
	return New(revisions, "aws-auth", "test"), revisions
}

func text(s string) Content { return Content{Data: map[string]string{"mapRoles": s}} }

func record(t *testing.T, s *Store, c Content, broken string) int64 {
	t.Helper()
	n, err := s.Record(t.Context(), Revision{Who: "me", Why: "because", At: at, Version: "7", Broken: broken}, c)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// list is all revisions as "number text", the broken ones with a mark.
func list(t *testing.T, s *Store) []string {
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
		mark := ""
		if all[i].Broken != "" {
			mark = "!"
		}
		out = append(out, fmt.Sprintf("%d %s%s", all[i].Number, c.Data["mapRoles"], mark))
	}
	return out
}

func wantList(t *testing.T, s *Store, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, list(t, s)); diff != "" {
		t.Errorf("revisions (-want +got):\n%s", diff)
	}
}

func TestRecord(t *testing.T) {
	t.Parallel()
	s, _ := newStore(t)
	wantList(t, s)
	for i, step := range []struct {
		text string
		want int64
	}{{"a", 1}, {"b", 2}, {"b", 2}, {"a", 3}, {"c", 4}} {
		if got := record(t, s, text(step.text), ""); got != step.want {
			t.Errorf("step %d is revision %d, want %d", i, got, step.want)
		}
	}
	wantList(t, s, "4 c", "3 a", "2 b")

	all, err := s.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if r := all[0]; r.Who != "me" || r.Why != "because" || !r.At.Equal(at) || r.Version != "7" || r.Broken != "" {
		t.Errorf("it is kept as %+v", r)
	}
}

// All that writers decide comes back to the byte, packed or not, and so does
// what no text is.
func TestContentComesBack(t *testing.T) {
	t.Parallel()
	s, _ := newStore(t)
	for name, want := range map[string]Content{
		"empty":    {},
		"plain":    {Data: map[string]string{"mapRoles": "- a # é\r\n\t\u2028", "other": ""}, Labels: map[string]string{"l": "v"}, Annotations: map[string]string{"a": "x\ny"}},
		"binary":   {BinaryData: map[string][]byte{"b": {0, 0xff, '\n'}}},
		"no UTF-8": {Data: map[string]string{"mapRoles": "- \xff\xfe\x00a", "other": "é"}},
		"large":    {Data: map[string]string{"mapRoles": strings.Repeat("- rolearn: \"x\"\n", 60000)}},
	} {
		record(t, s, want, "")
		all, err := s.List(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		got, err := all[0].Content()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%.2000s", name, diff)
		}
	}
}

// Contents that differ in no more than where a key ends have names of their own, and
// what decides access has a key of its own.
func TestNamesTellContentsApart(t *testing.T) {
	names, keys := map[string]int{}, map[string]int{}
	for i, c := range []Content{
		{},
		text(""), text("a"), text("a\n"),
		{Data: map[string]string{"a": "b", "c": "d"}},
		{Data: map[string]string{"a": "b 1 c 1 d"}},
		{BinaryData: map[string][]byte{"a": []byte("b")}},
		{Data: map[string]string{"a": "b"}},
		{Labels: map[string]string{"a": "b"}}, // the first of those with the key of another
		{Annotations: map[string]string{"a": "b"}},
	} {
		if j, taken := names[c.ID()]; taken {
			t.Errorf("contents %d and %d are both %s", i, j, c.ID())
		}
		names[c.ID()] = i
		j, taken := keys[c.Key()]
		if same := len(c.Labels)+len(c.Annotations) > 0; taken != same || taken && j != 0 {
			t.Errorf("content %d has the key of content %d: %t, want %t", i, j, taken, same)
		}
		if !taken {
			keys[c.Key()] = i
		}
	}
	if got, want := text("a").ID(), "25cec9f263ee0b99"; got != want {
		t.Errorf("a content has the ID %s, want %s, by which other versions name it", got, want)
	}
}

// A flood of broken contents pushes out no good one, nor the other way round.
func TestPrune(t *testing.T) {
	t.Parallel()
	s, _ := newStore(t)
	record(t, s, text("bad"), "it is bad")
	for i := range Kept + 3 {
		record(t, s, text(fmt.Sprint("good", i)), "")
	}
	for i := range KeptBroken + 3 {
		record(t, s, text(fmt.Sprint("bad", i)), "it is bad")
	}
	got := list(t, s)
	if len(got) != Kept+KeptBroken || got[0] != "20 bad5!" || got[KeptBroken] != "14 good12" || got[len(got)-1] != "5 good3" {
		t.Errorf("kept: %q", got)
	}
}

// Another ConfigMap's revisions, and those of other controllers, are not ours.
func TestOthersAreLeftAlone(t *testing.T) {
	t.Parallel()
	s, client := newStore(t)
	other := New(client, "other", "test")
	foreign := &appsv1.ControllerRevision{ObjectMeta: metav1.ObjectMeta{Name: "aws-auth-x"}, Revision: 99, Data: runtime.RawExtension{Raw: []byte(`{"x": 1}`)}}
	if _, err := client.Create(t.Context(), foreign, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	record(t, other, text("theirs"), "")
	for i := range Kept + 1 {
		record(t, s, text(fmt.Sprint(i)), "")
	}
	wantList(t, other, "1 theirs")
	if got := list(t, s); got[0] != fmt.Sprintf("%d %d", Kept+1, Kept) {
		t.Errorf("the newest is %s", got[0])
	}
}

// flaky is a client of which some requests fail.
type flaky struct {
	ControllerRevisions
	list, create, remove error
}

func (f flaky) List(ctx context.Context, o metav1.ListOptions) (*appsv1.ControllerRevisionList, error) {
	if f.list != nil {
		return nil, f.list
	}
	return f.ControllerRevisions.List(ctx, o)
}

func (f flaky) Create(ctx context.Context, r *appsv1.ControllerRevision, o metav1.CreateOptions) (*appsv1.ControllerRevision, error) {
	if f.create != nil {
		return nil, f.create
	}
	return f.ControllerRevisions.Create(ctx, r, o)
}

func (f flaky) Delete(ctx context.Context, name string, o metav1.DeleteOptions) error {
	if f.remove != nil {
		return f.remove
	}
	return f.ControllerRevisions.Delete(ctx, name, o)
}

// What fails says so, and what was recorded stays.
func TestFailures(t *testing.T) {
	t.Parallel()
	s, client := newStore(t)
	for i := range Kept {
		record(t, s, text(fmt.Sprint(i)), "")
	}
	before := list(t, s)
	failure := errors.New("no")
	for name, f := range map[string]flaky{"list": {list: failure}, "create": {create: failure}} {
		f.ControllerRevisions = client
		if _, err := New(f, "aws-auth", "test").Record(t.Context(), Revision{}, text("more")); !errors.Is(err, failure) {
			t.Errorf("%s: %v", name, err)
		}
		wantList(t, s, before...)
	}
	n, err := New(flaky{ControllerRevisions: client, remove: failure}, "aws-auth", "test").Record(t.Context(), Revision{}, text("more"))
	if !errors.Is(err, failure) || n != Kept+1 {
		t.Errorf("delete: revision %d, %v", n, err)
	}
	wantList(t, s, append([]string{fmt.Sprintf("%d more", Kept+1)}, before...)...)
	record(t, s, text("once more"), "") // what was left over goes with the next
	if got := list(t, s); len(got) != Kept {
		t.Errorf("kept: %q", got)
	}
}

func TestLastWriter(t *testing.T) {
	second := func(n int) *metav1.Time { return &metav1.Time{Time: at.Add(time.Duration(n) * time.Second)} }
	for _, test := range []struct {
		fields []metav1.ManagedFieldsEntry
		want   string
	}{
		{nil, "unknown"},
		{[]metav1.ManagedFieldsEntry{{Manager: "a", Time: second(2)}, {Manager: "b", Time: second(1)}, {Manager: "c"}}, "a"},
		{[]metav1.ManagedFieldsEntry{{Manager: "a", Time: second(1)}, {Manager: "us", Time: second(1)}}, "a"},
		{[]metav1.ManagedFieldsEntry{{Manager: "us", Time: second(1)}, {Manager: "a", Time: second(1)}}, "a"},
		{[]metav1.ManagedFieldsEntry{{Manager: "a", Time: second(1)}, {Manager: "us", Time: second(2)}}, "us"},
	} {
		if got, _ := LastWriter(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{ManagedFields: test.fields}}, "us"); got != test.want {
			t.Errorf("%+v: %q, want %q", test.fields, got, test.want)
		}
	}
}
