package faultproxy_test

import (
	"context"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/kubernetes"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"

	"github.com/rolecall/rolecall/test/faultproxy"
	"github.com/rolecall/rolecall/test/fleet"
	"github.com/rolecall/rolecall/test/stage"
)

func TestMain(m *testing.M) { os.Exit(stage.Main(m)) }

// patience is far more than anything here takes.
const patience = 30 * time.Second

// A rig is a proxy with one client behind it, who may do all in a namespace of
// the test's own.
type rig struct {
	*faultproxy.Proxy
	proxied typedcorev1.ConfigMapInterface // as the client sees them
	real    typedcorev1.ConfigMapInterface
}

func newRig(t *testing.T) rig {
	t.Helper()
	cp := stage.ForTest(t)
	ctx := t.Context()
	admin, err := kubernetes.NewForConfig(cp.Config())
	if err != nil {
		t.Fatal(err)
	}
	ns := cp.Namespace(t)
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "somebody"}}
	if _, err := admin.CoreV1().ServiceAccounts(ns).Create(ctx, account, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	binding := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "somebody"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: ns, Name: "somebody"}},
	}
	if _, err := admin.RbacV1().RoleBindings(ns).Create(ctx, binding, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	config, err := cp.ServiceAccountConfig(ctx, ns, "somebody")
	if err != nil {
		t.Fatal(err)
	}
	config.ContentType = "application/vnd.kubernetes.protobuf" // as the agents

	proxy, err := faultproxy.Start(cp.Config())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(proxy.Close)
	client, err := kubernetes.NewForConfig(proxy.Config("somebody", config))
	if err != nil {
		t.Fatal(err)
	}
	r := rig{proxy, client.CoreV1().ConfigMaps(ns), admin.CoreV1().ConfigMaps(ns)}
	wait, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if _, err := fleet.Until(wait, func(ctx context.Context) error { // the binding works
		_, err := r.proxied.List(ctx, metav1.ListOptions{Limit: 1})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return r
}

func object(name string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: map[string]string{"key": "1"}}
}

// stands fails unless the ConfigMap really has the value; "" for none.
func (r rig) stands(t *testing.T, name, value string) {
	t.Helper()
	got, err := r.real.Get(t.Context(), name, metav1.GetOptions{})
	if value == "" && apierrors.IsNotFound(err) {
		return
	}
	if err != nil || got.Data["key"] != value {
		t.Errorf("%s says %q (%v), want %q", name, got.Data["key"], err, value)
	}
}

// last is the last record of a verb.
func (r rig) last(verb string) faultproxy.Record {
	records := r.Records()
	slices.Reverse(records)
	i := slices.IndexFunc(records, func(r faultproxy.Record) bool { return r.Verb == verb })
	return records[i]
}

func TestPassesThrough(t *testing.T) {
	r := newRig(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	only := metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector("metadata.name", "a").String()}
	watch, err := r.proxied.Watch(ctx, only)
	if err != nil {
		t.Fatal(err)
	}
	defer watch.Stop()
	made, err := r.proxied.Create(ctx, object("a"), metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	select { // one event, not buffered until there are more
	case e := <-watch.ResultChan():
		if cm, ok := e.Object.(*corev1.ConfigMap); !ok || cm.ResourceVersion != made.ResourceVersion {
			t.Errorf("watched %v", e)
		}
	case <-ctx.Done():
		t.Fatal("the watch says nothing")
	}
	made.Data["key"] = "2"
	if _, err := r.proxied.Update(ctx, made, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.proxied.Update(ctx, made, metav1.UpdateOptions{}); !apierrors.IsConflict(err) {
		t.Errorf("an update with an old resourceVersion: %v", err)
	}
	if _, err := r.proxied.Get(ctx, "b", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("get of what is not there: %v", err)
	}
	r.stands(t, "a", "2")

	type line struct {
		verb, resource, name string
		code, upstream       int
	}
	var got []line
	for _, q := range r.Records() {
		if q.Verb == "list" {
			continue // until the client was let in
		}
		if q.Client != "somebody" || q.Verb != "watch" && (q.Ended.Before(q.Begun) || q.Code != q.Upstream) {
			t.Errorf("recorded %+v", q)
		}
		if cm, ok := q.Object.(*corev1.ConfigMap); q.Writes() && (!ok || cm.Data["key"] == "") {
			t.Errorf("%s: the object is %v", q, q.Object)
		}
		got = append(got, line{q.Verb, q.Resource, q.Name, q.Code, q.Upstream})
	}
	want := []line{
		{"watch", "configmaps", "a", 0, 200},
		{"create", "configmaps", "a", 201, 201},
		{"update", "configmaps", "a", 200, 200},
		{"update", "configmaps", "a", 409, 409},
		{"get", "configmaps", "b", 404, 404},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(line{})); diff != "" {
		t.Errorf("records (-want +got)\n%s", diff)
	}
}

func TestAnswers(t *testing.T) {
	r := newRig(t)
	match := faultproxy.Match{Verb: "create", Resource: "configmaps", Name: "a", Skip: 1, Times: 1}
	rule := r.Add(match, faultproxy.Answer(apierrors.NewInternalError(context.DeadlineExceeded)))
	create := func(name string) error {
		_, err := r.proxied.Create(t.Context(), object(name), metav1.CreateOptions{})
		return err
	}
	for i, check := range []func(error) bool{
		func(err error) bool { return err == nil }, // skipped
		apierrors.IsInternalError,
		apierrors.IsAlreadyExists, // used up
	} {
		if err := create("a"); !check(err) {
			t.Errorf("%d: %v", i, err)
		}
	}
	if err := create("b"); err != nil || rule.Hits() != 1 {
		t.Errorf("a request of another name: %v; the rule hit %d", err, rule.Hits())
	}

	// client-go tries by itself again after the time that a 429 says.
	busy := r.Add(faultproxy.Match{Verb: "create", Name: "c", Times: 1}, faultproxy.Answer(apierrors.NewTooManyRequests("busy", 1)))
	begin := time.Now()
	if err := create("c"); err != nil || busy.Hits() != 1 || time.Since(begin) < time.Second {
		t.Errorf("a 429: %v after %s, hit %d times", err, time.Since(begin), busy.Hits())
	}

	for _, err := range []*apierrors.StatusError{
		apierrors.NewConflict(corev1.Resource("configmaps"), "d", nil), apierrors.NewForbidden(corev1.Resource("configmaps"), "d", nil),
		apierrors.NewServiceUnavailable("down"), apierrors.NewUnauthorized("who?"),
	} {
		denied := r.Add(faultproxy.Match{Name: "d"}, faultproxy.Answer(err))
		got := create("d")
		if apierrors.ReasonForError(got) != err.Status().Reason {
			t.Errorf("got %v, want %v", got, err)
		}
		denied.Remove()
		denied.Remove()
	}
	r.stands(t, "d", "")
	if q := r.last("create"); q.Upstream != 0 || q.Code != 401 {
		t.Errorf("recorded %+v", q)
	}
}

func TestCutAndLoseAnswer(t *testing.T) {
	r := newRig(t)
	once := func(name string) faultproxy.Match { return faultproxy.Match{Verb: "create", Name: name, Times: 1} }
	r.Add(once("cut"), faultproxy.Cut())
	r.Add(once("lost"), faultproxy.LoseAnswer())
	for name, upstream := range map[string]int{"cut": 0, "lost": 201} {
		_, err := r.proxied.Create(t.Context(), object(name), metav1.CreateOptions{})
		if err == nil || apierrors.ReasonForError(err) != metav1.StatusReasonUnknown {
			t.Errorf("%s: %v", name, err)
		}
		if q := r.last("create"); q.Code != 0 || q.Upstream != upstream {
			t.Errorf("%s: recorded %+v", name, q)
		}
	}
	r.stands(t, "cut", "")
	r.stands(t, "lost", "1")
}

func TestDelayAndHang(t *testing.T) {
	r := newRig(t)
	r.Add(faultproxy.Match{Name: "late"}, faultproxy.Delay(50*time.Millisecond))
	begin := time.Now()
	if _, err := r.proxied.Create(t.Context(), object("late"), metav1.CreateOptions{}); err != nil || time.Since(begin) < 50*time.Millisecond {
		t.Errorf("%v after %s", err, time.Since(begin))
	}

	hung := r.Add(faultproxy.Match{Name: "hung"}, faultproxy.Hang())
	ctx, cancel := context.WithCancel(t.Context())
	given := make(chan error)
	create := func(ctx context.Context) {
		_, err := r.proxied.Create(ctx, object("hung"), metav1.CreateOptions{})
		given <- err
	}
	reached := func(hits int) {
		t.Helper()
		wait, done := context.WithTimeout(t.Context(), patience)
		defer done()
		if _, err := fleet.Until(wait, func(context.Context) error {
			if hung.Hits() < hits {
				return context.DeadlineExceeded
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	go create(ctx)
	reached(1)
	cancel()
	if err := <-given; err == nil {
		t.Error("a client gave up and had no error")
	}
	r.stands(t, "hung", "")
	go create(t.Context())
	reached(2)
	hung.Remove()
	if err := <-given; err != nil {
		t.Error(err)
	}
	r.stands(t, "hung", "1")
}

func TestHolds(t *testing.T) {
	r := newRig(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for _, test := range []struct {
		name    string
		hold    func(faultproxy.Match) *faultproxy.Hold
		release bool
		during  string // what stands while the request is held
		after   string
	}{
		{"before-dropped", r.HoldBefore, false, "", ""},
		{"before-released", r.HoldBefore, true, "", "1"},
		{"after-dropped", r.HoldAfter, false, "1", "1"},
		{"after-released", r.HoldAfter, true, "1", "1"},
	} {
		hold := test.hold(faultproxy.Match{Name: test.name})
		given := make(chan error)
		go func() {
			_, err := r.proxied.Create(ctx, object(test.name), metav1.CreateOptions{})
			given <- err
		}()
		held, err := hold.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if code := map[string]int{"1": 201}[test.during]; held.Code != code || held.Request.Verb != "create" {
			t.Errorf("%s: held %+v", test.name, held)
		}
		r.stands(t, test.name, test.during)
		if test.release {
			held.Release()
		} else {
			held.Drop()
		}
		if err := <-given; (err == nil) != test.release {
			t.Errorf("%s: the client got %v", test.name, err)
		}
		r.stands(t, test.name, test.after)
		hold.Remove()
	}

	// A request that is held reaches the API server though its client has gone.
	hold := r.HoldBefore(faultproxy.Match{Name: "orphan"})
	gone, leave := context.WithCancel(ctx)
	given := make(chan error)
	go func() {
		_, err := r.proxied.Create(gone, object("orphan"), metav1.CreateOptions{})
		given <- err
	}()
	held, err := hold.Next(ctx)
	if err != nil {
		t.Fatal(err)
	}
	leave()
	<-given
	held.Release()
	if _, err := fleet.Until(ctx, func(ctx context.Context) error {
		_, err := r.real.Get(ctx, "orphan", metav1.GetOptions{})
		return err
	}); err != nil {
		t.Error(err)
	}
}
