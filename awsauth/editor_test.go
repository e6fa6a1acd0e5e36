package awsauth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"slices"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// A fickle API server has one ConfigMap or none. Before each request it does
// what the script says, in its order; then it is in good health.
type fickle struct {
	mu     sync.Mutex
	have   *corev1.ConfigMap
	n      int // the newest resourceVersion
	script []step
	asked  []string
	at     []time.Duration
	start  time.Time
}

func newFickle(data map[string]string, script ...step) *fickle {
	f := &fickle{script: script, start: time.Now()}
	if data != nil {
		f.put(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: Name}, Data: data})
	}
	return f
}

func (f *fickle) put(cm *corev1.ConfigMap) {
	f.n++
	f.have = cm.DeepCopy()
	f.have.ResourceVersion = fmt.Sprint(f.n)
}

// next is what happens to a request: whether it is carried out, and what error
// is answered.
func (f *fickle) next(what string) (applied bool, answer error) {
	f.asked = append(f.asked, what)
	f.at = append(f.at, time.Since(f.start))
	if len(f.script) == 0 {
		return true, nil
	}
	step := f.script[0]
	f.script = f.script[1:]
	return step(f)
}

func (f *fickle) Get(ctx context.Context, name string, _ metav1.GetOptions) (*corev1.ConfigMap, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, err := f.next("get"); err != nil {
		return nil, hung(ctx, err)
	}
	if f.have == nil {
		return nil, apierrors.NewNotFound(configMaps, name)
	}
	return f.have.DeepCopy(), nil
}

func (f *fickle) Create(ctx context.Context, cm *corev1.ConfigMap, _ metav1.CreateOptions) (*corev1.ConfigMap, error) {
	return f.write(ctx, "create", cm)
}

func (f *fickle) Update(ctx context.Context, cm *corev1.ConfigMap, _ metav1.UpdateOptions) (*corev1.ConfigMap, error) {
	return f.write(ctx, "update", cm)
}

func (f *fickle) write(ctx context.Context, what string, cm *corev1.ConfigMap) (*corev1.ConfigMap, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	applied, answer := f.next(what)
	if applied {
		switch {
		case what == "create" && f.have != nil:
			return nil, apierrors.NewAlreadyExists(configMaps, cm.Name)
		case what == "update" && f.have == nil:
			return nil, apierrors.NewNotFound(configMaps, cm.Name)
		case what == "update" && f.have.ResourceVersion != cm.ResourceVersion:
			return nil, apierrors.NewConflict(configMaps, cm.Name, errors.New("the object has been modified"))
		}
		f.put(cm)
	}
	if answer != nil {
		return nil, hung(ctx, answer)
	}
	return f.have.DeepCopy(), nil
}

var errHang = errors.New("no answer")

// hung waits for as long as the client does, where that is what happens.
func hung(ctx context.Context, err error) error {
	if !errors.Is(err, errHang) {
		return err
	}
	<-ctx.Done()
	return &url.Error{Op: "Put", URL: "https://192.0.2.1", Err: ctx.Err()}
}

// A step is what happens to one request, see next.
type step = func(*fickle) (bool, error)

func fine(*fickle) (bool, error) { return true, nil }
func fails(err error) step       { return func(*fickle) (bool, error) { return false, err } }

func loses(err error) step { return func(*fickle) (bool, error) { return true, err } }

// others has somebody else write before the request arrives.
func others(change func(data map[string]string)) step {
	return func(f *fickle) (bool, error) {
		cm := f.have.DeepCopy()
		change(cm.Data)
		f.put(cm)
		return true, nil
	}
}

var (
	errBusy    = apierrors.NewTooManyRequests("busy", 7)
	errDown    = apierrors.NewServiceUnavailable("starting")
	errRefused = &url.Error{Op: "Get", URL: "https://192.0.2.1", Err: &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}}
	errCut     = &url.Error{Op: "Put", URL: "https://192.0.2.1", Err: io.EOF}
	errNo      = apierrors.NewForbidden(configMaps, Name, errors.New("no"))
)

func rolesOf(entries ...Entry) map[string]string {
	return map[string]string{"mapRoles": unmarked(entries...)}
}

// TestEditor goes through what can happen between an editor and the API server.
func TestEditor(t *testing.T) {
	a, b, c := role("a", "a", "g"), role("b", "b", "g"), role("c", "c", "g")
	upsert := func(ctx context.Context, e *Editor) (*Edited, error) { return e.Upsert(ctx, UpsertOptions{}, b) }
	remove := func(ctx context.Context, e *Editor) (*Edited, error) {
		return e.Remove(ctx, RemoveOptions{}, Match{ARN: b.ARN})
	}
	removeFirst := func(ctx context.Context, e *Editor) (*Edited, error) {
		return e.Remove(ctx, RemoveOptions{}, Match{ARN: b.ARN, First: true})
	}
	addC := others(func(data map[string]string) { data["mapRoles"] += unmarked(c) })
	tests := []struct {
		name    string
		have    map[string]string
		script  []step
		retry   *Retry
		timeout time.Duration
		do      func(context.Context, *Editor) (*Edited, error)

		want    map[string]string
		wantErr error
		asked   []string
		changes int
		within  [2]time.Duration
	}{
		{name: "add", have: rolesOf(a), do: upsert, want: rolesOf(a, b), asked: []string{"get", "update"}, changes: 1},
		{name: "nothing to do", have: rolesOf(a, b), do: upsert, want: rolesOf(a, b), asked: []string{"get"}},
		{name: "create", do: upsert, want: rolesOf(b), asked: []string{"get", "create"}, changes: 1},
		{name: "remove from nothing", do: remove, wantErr: ErrMissing, asked: []string{"get"}},
		{
			name: "somebody else creates it first", script: []step{fine, func(f *fickle) (bool, error) {
				f.put(&corev1.ConfigMap{Data: rolesOf(a)})
				return true, nil
			}}, do: upsert, want: rolesOf(a, b), asked: []string{"get", "create", "get", "update"}, changes: 1,
		},
		{
			name: "conflicts are always tried again", have: rolesOf(a), script: []step{fine, addC, fine, addC, fine, addC}, do: upsert,
			want: rolesOf(a, c, c, c, b), asked: []string{"get", "update", "get", "update", "get", "update", "get", "update"}, changes: 1,
			within: [2]time.Duration{30 * time.Millisecond, 70 * time.Millisecond},
		},
		{
			name: "somebody else does it first", have: rolesOf(a), do: upsert,
			script: []step{fine, others(func(data map[string]string) { data["mapRoles"] += unmarked(b) })},
			want:   rolesOf(a, b), asked: []string{"get", "update", "get"},
		},
		{
			name: "deleted meanwhile", have: rolesOf(a), do: upsert, wantErr: ErrDeleted, asked: []string{"get", "update", "get"},
			script: []step{fine, func(f *fickle) (bool, error) { f.have = nil; return true, nil }},
		},
		{name: "without retry an error is one", have: rolesOf(a), script: []step{fails(errDown)}, do: upsert, want: rolesOf(a), wantErr: errDown, asked: []string{"get"}},
		{
			name: "what passes", have: rolesOf(a), retry: &Retry{}, script: []step{fails(errRefused), fails(errDown), fine, fails(errBusy)}, do: upsert,
			want: rolesOf(a, b), asked: []string{"get", "get", "get", "update", "get", "update"}, changes: 1,
			within: [2]time.Duration{7*time.Second + 400*time.Millisecond, 7*time.Second + 600*time.Millisecond}, // the API server asked for 7 s
		},
		{name: "a refusal is there to stay", have: rolesOf(a), retry: &Retry{}, script: []step{fine, fails(errNo)}, do: upsert, want: rolesOf(a), wantErr: errNo, asked: []string{"get", "update"}},
		{
			name: "so often and no more", have: rolesOf(a), retry: &Retry{MaxCount: 3, MinTime: time.Second, MaxTime: 2 * time.Second}, do: upsert,
			script: []step{fails(errDown), fails(errDown), fails(errDown), fails(errDown), fails(errDown)},
			want:   rolesOf(a), wantErr: errDown, asked: []string{"get", "get", "get", "get"}, within: [2]time.Duration{3 * time.Second, 5 * time.Second},
		},
		{
			name: "the time includes the waits", have: rolesOf(a), retry: &Retry{MinTime: time.Minute, MaxTime: time.Minute}, timeout: 90 * time.Second, do: upsert,
			script: []step{fails(errDown), fails(errDown), fails(errDown)},
			want:   rolesOf(a), wantErr: context.DeadlineExceeded, asked: []string{"get", "get"}, within: [2]time.Duration{time.Minute, time.Minute},
		},
		{
			name: "the time includes the requests", have: rolesOf(a), retry: &Retry{}, timeout: 40 * time.Second, do: upsert, script: []step{fails(errHang), fails(errHang)},
			want: rolesOf(a), wantErr: context.DeadlineExceeded, asked: []string{"get", "get"}, within: [2]time.Duration{40 * time.Second, 40 * time.Second},
		},
		{name: "lost and done", have: rolesOf(a), script: []step{fine, loses(errCut)}, do: upsert, want: rolesOf(a, b), asked: []string{"get", "update", "get"}, changes: 1},
		{name: "lost and done, and nobody knows whether the error can pass", have: rolesOf(a), retry: &Retry{}, script: []step{fine, loses(errors.New("stream error"))}, do: upsert, want: rolesOf(a, b), asked: []string{"get", "update", "get"}, changes: 1},
		{name: "lost and not done", have: rolesOf(a), script: []step{fine, fails(errCut)}, do: upsert, want: rolesOf(a, b), asked: []string{"get", "update", "get", "update"}, changes: 1},
		{
			name: "lost twice", have: rolesOf(a), script: []step{fine, fails(errCut), fine, fails(errCut)}, do: upsert, want: rolesOf(a),
			wantErr: ErrUnknownOutcome, asked: []string{"get", "update", "get", "update"},
		},
		{
			name: "lost and out of sight", have: rolesOf(a), script: []step{fine, loses(errCut), fails(errDown)}, do: upsert, want: rolesOf(a, b),
			wantErr: ErrUnknownOutcome, asked: []string{"get", "update", "get"},
		},
		{
			name: "lost, done and written over", have: rolesOf(a, b), script: []step{fine, loses(errCut), addC}, do: remove, want: rolesOf(a, c),
			asked: []string{"get", "update", "get"}, changes: 1,
		},
		{name: "a first one lost and done", have: rolesOf(a, b, b), script: []step{fine, loses(errCut)}, do: removeFirst, want: rolesOf(a, b), asked: []string{"get", "update", "get"}, changes: 1},
		{
			name: "a first one lost, and perhaps done", have: rolesOf(a, b, b), retry: &Retry{}, script: []step{fine, loses(errCut), addC}, do: removeFirst, want: rolesOf(a, b, c),
			wantErr: ErrUnknownOutcome, asked: []string{"get", "update", "get"},
		},
		{name: "not there", have: rolesOf(a), do: remove, want: rolesOf(a), wantErr: &NotFoundError{}, asked: []string{"get"}},
		{
			name: "by username", have: rolesOf(a, b), want: rolesOf(a), asked: []string{"get", "update"}, changes: 1,
			do: func(ctx context.Context, e *Editor) (*Edited, error) {
				return e.RemoveByUsername(ctx, RemoveOptions{}, "b")
			},
		},
		{
			name: "all of a kind", have: rolesOf(a, b), want: map[string]string{"mapRoles": ""}, asked: []string{"get", "update"}, changes: 2,
			do: func(ctx context.Context, e *Editor) (*Edited, error) { return e.RemoveAll(ctx, RemoveOptions{}, Role) },
		},
		{name: "malformed", have: map[string]string{"mapRoles": "- {{x"}, do: upsert, want: map[string]string{"mapRoles": "- {{x"}, wantErr: &ParseError{}, asked: []string{"get"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := newFickle(test.have, test.script...)
				edited, err := test.do(t.Context(), &Editor{Store: NewStore(server, Name, "tester"), Retry: test.retry, Timeout: test.timeout})
				switch {
				case test.wantErr == nil && err != nil, test.wantErr != nil && !sameError(err, test.wantErr):
					t.Errorf("error %v, want %v", err, test.wantErr)
				case err == nil && len(edited.Changes) != test.changes:
					t.Errorf("%d changes, want %d", len(edited.Changes), test.changes)
				case err == nil && edited.ResourceVersion != server.have.ResourceVersion && test.name != "lost, done and written over":
					t.Errorf("resourceVersion %q, want %q", edited.ResourceVersion, server.have.ResourceVersion)
				}
				var got map[string]string
				if server.have != nil {
					got = server.have.Data
				}
				if diff := cmp.Diff(test.want, got); diff != "" {
					t.Errorf("aws-auth (-want +got):\n%s", diff)
				}
				if diff := cmp.Diff(test.asked, server.asked); diff != "" {
					t.Errorf("requests (-want +got):\n%s", diff)
				}
				if took := time.Since(server.start); test.within[1] > 0 && (took < test.within[0] || took > test.within[1]) {
					t.Errorf("took %s, want %s to %s", took, test.within[0], test.within[1])
				}
			})
		})
	}
}

func sameError(err, want error) bool {
	var not *NotFoundError
	var malformed *ParseError
	switch {
	case errors.As(want, &not):
		return errors.As(err, &not)
	case errors.As(want, &malformed):
		return errors.As(err, &malformed)
	}
	return errors.Is(err, want)
}

// Review sees each edit before it is written, and its time does not count.
func TestReview(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, c := role("a", "a", "g"), role("b", "b", "g"), role("c", "c", "g")
		server := newFickle(rolesOf(a), fine, others(func(data map[string]string) { data["mapRoles"] += unmarked(c) }))
		var seen []int
		e := &Editor{Store: NewStore(server, Name, "tester"), Timeout: time.Second, Review: func(_ context.Context, planned *Edited) error {
			time.Sleep(time.Hour)
			seen = append(seen, len(planned.Before.Entries()))
			return nil
		}}
		if _, err := e.Upsert(t.Context(), UpsertOptions{}, b); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(seen, []int{1, 2}) {
			t.Errorf("shown were edits of documents with %v entries, want [1 2]", seen)
		}
		no := errors.New("no")
		e.Review = func(context.Context, *Edited) error { return no }
		if _, err := e.Upsert(t.Context(), UpsertOptions{}, b); err != nil {
			t.Errorf("nothing to write, and yet: %v", err)
		}
		if _, err := e.Upsert(t.Context(), UpsertOptions{}, role("d", "d")); !errors.Is(err, no) {
			t.Errorf("error %v, want that of the review", err)
		}
		if diff := cmp.Diff(rolesOf(a, c, b), server.have.Data); diff != "" {
			t.Errorf("aws-auth (-want +got):\n%s", diff)
		}
	})
}

// A context that ends, ends it at once, also while it waits.
func TestEditorIsCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := newFickle(rolesOf(), fails(errDown), fails(errDown))
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		e := &Editor{Store: NewStore(server, Name, "tester"), Retry: &Retry{MinTime: time.Minute, MaxTime: time.Hour}}
		_, err := e.Upsert(ctx, UpsertOptions{}, role("a", "a"))
		if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, errDown) || time.Since(server.start) != 10*time.Second {
			t.Errorf("after %s: %v", time.Since(server.start), err)
		}
	})
}

// Fifty at once lose nothing.
func TestEditorsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := newFickle(rolesOf(role("there", "there")))
		var group sync.WaitGroup
		for i := range 50 {
			group.Go(func() {
				e := &Editor{Store: NewStore(server, Name, "tester")}
				if _, err := e.Upsert(t.Context(), UpsertOptions{}, role(fmt.Sprint("r", i), "u")); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
		if n := len(parse(t, server.have.Data).Entries()); n != 51 {
			t.Errorf("NO RERUN: %d entries, want 51", n)
		}
	})
}

func TestEditorGet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &Editor{Store: NewStore(newFickle(nil), Name, "tester"), Retry: &Retry{}}
		if _, err := e.Get(t.Context()); !errors.Is(err, ErrMissing) {
			t.Errorf("none: %v", err)
		}
		e.Store = NewStore(newFickle(rolesOf(role("a", "a")), fails(errDown)), Name, "tester")
		if doc, err := e.Get(t.Context()); err != nil || len(doc.Entries()) != 1 {
			t.Errorf("%v, %v", doc, err)
		}
	})
}

func TestTransient(t *testing.T) {
	for _, test := range []struct {
		err  error
		want bool
	}{
		{errBusy, true},
		{errDown, true},
		{errRefused, true},
		{errCut, true},
		{apierrors.NewInternalError(errors.New("x")), true},
		{apierrors.NewServerTimeout(configMaps, "get", 1), true},
		{apierrors.NewTimeoutError("x", 1), true},
		{&url.Error{Op: "Get", URL: "x", Err: context.DeadlineExceeded}, true},
		{&url.Error{Op: "Get", URL: "x", Err: &net.OpError{Op: "read", Err: os.NewSyscallError("read", syscall.ECONNRESET)}}, true},
		{&url.Error{Op: "Get", URL: "x", Err: &net.OpError{Op: "dial", Err: &net.DNSError{IsNotFound: true}}}, true},
		{&url.Error{Op: "Get", URL: "x", Err: errors.New("http2: client connection lost")}, true},
		{errNo, false},
		{apierrors.NewUnauthorized("x"), false},
		{apierrors.NewBadRequest("x"), false},
		{apierrors.NewNotFound(configMaps, "x"), false},
		{&url.Error{Op: "Get", URL: "x", Err: errors.New("tls: failed to verify certificate")}, false},
		{errors.New("x"), false},
	} {
		if got := Transient(fmt.Errorf("read: %w", test.err)); got != test.want {
			t.Errorf("%v: %t, want %t", test.err, got, test.want)
		}
	}
}
