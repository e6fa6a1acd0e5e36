package roster

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	coordinationv1client "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/utils/ptr"
)

const (
	arnA = "arn:aws:iam::111122223333:role/node-a"
	arnB = "arn:aws:iam::444455556666:role/node-b"
)

var (
	resource = schema.GroupResource{Group: "coordination.k8s.io", Resource: "leases"}
	now      = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

	errRefused = errors.New("connection refused")
	errLost    = errors.New("the answer was lost")
)

// A fake holds Leases as an API server would, with resourceVersions and pages.
type fake struct {
	coordinationv1client.LeaseInterface // what is not below panics
	t                                   *testing.T

	// fault is asked before each request; errRefused: it is not applied,
	// errLost: it is, but the answer is lost.
	fault func(op string) error
	// delay is how long a request takes.
	delay time.Duration
	// expire makes continue tokens expire.
	expire bool

	mu       sync.Mutex
	leases   map[string]*coordinationv1.Lease
	version  int
	requests map[string]int
	applied  int // writes
}

func newFake(t *testing.T) *fake {
	return &fake{t: t, leases: map[string]*coordinationv1.Lease{}, requests: map[string]int{}}
}

func (f *fake) do(ctx context.Context, op string, apply func() error) error {
	if f.delay > 0 {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(f.delay):
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.requests[op]++
	var fault error
	if f.fault != nil {
		fault = f.fault(op)
	}
	if errors.Is(fault, errRefused) {
		return fault
	}
	err := apply()
	if fault != nil {
		return fault
	}
	return err
}

func (f *fake) put(l *coordinationv1.Lease) *coordinationv1.Lease {
	l = l.DeepCopy()
	f.version++
	f.applied++
	l.ResourceVersion = strconv.Itoa(f.version)
	f.leases[l.Name] = l
	return l
}

func (f *fake) Get(ctx context.Context, name string, _ metav1.GetOptions) (got *coordinationv1.Lease, err error) {
	err = f.do(ctx, "get", func() error {
		l, ok := f.leases[name]
		if !ok {
			return apierrors.NewNotFound(resource, name)
		}
		got = l.DeepCopy()
		return nil
	})
	return got, err
}

func (f *fake) Create(ctx context.Context, l *coordinationv1.Lease, _ metav1.CreateOptions) (got *coordinationv1.Lease, err error) {
	err = f.do(ctx, "create", func() error {
		if _, ok := f.leases[l.Name]; ok {
			return apierrors.NewAlreadyExists(resource, l.Name)
		}
		got = f.put(l)
		return nil
	})
	return got, err
}

func (f *fake) Update(ctx context.Context, l *coordinationv1.Lease, _ metav1.UpdateOptions) (got *coordinationv1.Lease, err error) {
	err = f.do(ctx, "update", func() error {
		old, ok := f.leases[l.Name]
		switch {
		case !ok:
			return apierrors.NewNotFound(resource, l.Name)
		case l.ResourceVersion == "":
			f.t.Error("update without a resourceVersion")
		case l.ResourceVersion != old.ResourceVersion:
			return apierrors.NewConflict(resource, l.Name, errors.New("the object has been modified"))
		}
		got = f.put(l)
		return nil
	})
	return got, err
}

func (f *fake) List(ctx context.Context, opts metav1.ListOptions) (list *coordinationv1.LeaseList, err error) {
	err = f.do(ctx, "list", func() error {
		if opts.Limit > 500 {
			f.t.Errorf("list with limit %d, want 500 at most", opts.Limit)
		}
		selector, err := labels.Parse(opts.LabelSelector)
		if err != nil {
			return err
		}
		if opts.Continue != "" && f.expire {
			return apierrors.NewResourceExpired("the continue token is too old")
		}
		list = &coordinationv1.LeaseList{}
		for _, name := range slices.Sorted(maps.Keys(f.leases)) {
			if name <= opts.Continue || !selector.Matches(labels.Set(f.leases[name].Labels)) {
				continue
			}
			if opts.Limit > 0 && len(list.Items) == int(opts.Limit) {
				list.Continue = list.Items[len(list.Items)-1].Name
				break
			}
			list.Items = append(list.Items, *f.leases[name].DeepCopy())
		}
		return nil
	})
	return list, err
}

func TestLeaseName(t *testing.T) {
	// The name is part of what agents of different versions agree on.
	if got, want := LeaseName(arnA), "node-role-e427672c35afb5d0"; got != want {
		t.Errorf("LeaseName(%q) = %q, want %q", arnA, got, want)
	}
	if a, b := LeaseName(arnA), LeaseName(strings.ToUpper(arnA)); a != b {
		t.Errorf("%q and %q for ARNs that differ in case alone", a, b)
	}
	if LeaseName(arnA) == LeaseName(arnB) {
		t.Error("two roles share a name")
	}
}

func TestReportWritesOnlyWhenNeeded(t *testing.T) {
	f := newFake(t)
	r := New(f)
	steps := []struct {
		name     string
		role     string
		node     string
		at       time.Time
		change   func(*coordinationv1.Lease)
		wrote    bool
		requests map[string]int
	}{
		{name: "first", role: arnA, node: "n1", at: now, wrote: true, requests: map[string]int{"get": 1, "create": 1}},
		{name: "again", role: arnA, node: "n1", at: now.Add(time.Minute), requests: map[string]int{"get": 1}},
		{name: "another node, in other letters", role: strings.ToUpper(arnA), node: "n2", at: now.Add(59 * time.Minute), requests: map[string]int{"get": 1}},
		{name: "another role", role: arnB, node: "n3", at: now, wrote: true, requests: map[string]int{"get": 1, "create": 1}},
		{name: "an hour old", role: arnA, node: "n2", at: now.Add(time.Hour), wrote: true, requests: map[string]int{"get": 1, "update": 1}},
		{name: "by a node whose clock is 10 min behind", role: arnA, node: "n1", at: now.Add(50 * time.Minute), requests: map[string]int{"get": 1}},
		{
			name: "written by a clock of tomorrow", role: arnA, node: "n1", at: now.Add(time.Hour),
			change: func(l *coordinationv1.Lease) {
				l.Spec.RenewTime = ptr.To(metav1.NewMicroTime(now.Add(24 * time.Hour)))
			},
			wrote: true, requests: map[string]int{"get": 1, "update": 1},
		},
		{
			name: "without its label", role: arnA, node: "n2", at: now.Add(time.Hour),
			change: func(l *coordinationv1.Lease) { l.Labels = nil },
			wrote:  true, requests: map[string]int{"get": 1, "update": 1},
		},
		{
			name: "somebody wrote another role into it", role: arnA, node: "n2", at: now.Add(time.Hour),
			change: func(l *coordinationv1.Lease) { l.Annotations[RoleARNAnnotation] = arnB },
			wrote:  true, requests: map[string]int{"get": 1, "update": 1},
		},
		{
			name: "somebody took its role out", role: arnA, node: "n2", at: now.Add(time.Hour),
			change: func(l *coordinationv1.Lease) { l.Annotations = nil },
			wrote:  true, requests: map[string]int{"get": 1, "update": 1},
		},
		{
			name: "without a time", role: arnA, node: "n2", at: now.Add(time.Hour),
			change: func(l *coordinationv1.Lease) { l.Spec.RenewTime = nil },
			wrote:  true, requests: map[string]int{"get": 1, "update": 1},
		},
	}
	for _, s := range steps {
		if s.change != nil {
			s.change(f.leases[LeaseName(s.role)])
		}
		clear(f.requests)
		wrote, err := r.Report(t.Context(), s.role, s.node, s.at)
		if wrote != s.wrote || err != nil {
			t.Errorf("%s: wrote %t, %v; want %t, nil", s.name, wrote, err, s.wrote)
		}
		if diff := cmp.Diff(s.requests, f.requests); diff != "" {
			t.Errorf("%s: requests (-want +got):\n%s", s.name, diff)
		}
	}
	got, err := r.List(t.Context(), "")
	want := ListResult{Reports: []Report{
		{RoleARN: arnA, Node: "n2", Renewed: now.Add(time.Hour)},
		{RoleARN: arnB, Node: "n3", Renewed: now},
	}}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("List: %v (-want +got):\n%s", err, diff)
	}
}

// What others wrote on the Lease stays when it is renewed.
func TestReportKeepsTheRest(t *testing.T) {
	f := newFake(t)
	r := New(f)
	if _, err := r.Report(t.Context(), arnA, "n1", now); err != nil {
		t.Fatal(err)
	}
	l := f.leases[LeaseName(arnA)]
	l.Labels["team"], l.Annotations["note"] = "platform", "hands off"
	want := l.DeepCopy()
	if _, err := r.Report(t.Context(), arnA, "n2", now.Add(2*time.Hour)); err != nil {
		t.Fatal(err)
	}
	want.ResourceVersion = "2"
	want.Spec.HolderIdentity = ptr.To("n2")
	want.Spec.RenewTime = ptr.To(metav1.NewMicroTime(now.Add(2 * time.Hour)))
	if diff := cmp.Diff(want, f.leases[LeaseName(arnA)]); diff != "" {
		t.Errorf("the lease after the renewal (-want +got):\n%s", diff)
	}
}

// Of many nodes that report at once, one writes; nobody fails.
func TestReportAtOnce(t *testing.T) {
	for name, prepare := range map[string]func(*Roster) error{
		"no lease": func(*Roster) error { return nil },
		"old lease": func(r *Roster) error {
			_, err := r.Report(context.Background(), arnA, "n0", now.Add(-2*time.Hour))
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake(t)
				r := New(f)
				if err := prepare(r); err != nil {
					t.Fatal(err)
				}
				f.applied, f.delay = 0, time.Second
				var wg sync.WaitGroup
				results := make(chan bool, 20)
				for i := range cap(results) {
					wg.Go(func() {
						wrote, err := r.Report(t.Context(), arnA, fmt.Sprintf("n%d", i), now)
						if err != nil {
							t.Error(err)
						}
						results <- wrote
					})
				}
				wg.Wait()
				close(results)
				wrote := 0
				for w := range results {
					if w {
						wrote++
					}
				}
				if wrote != 1 || f.applied != 1 {
					t.Errorf("%d nodes say that they wrote and %d writes were applied, want 1", wrote, f.applied)
				}
			})
		})
	}
}

func TestReportErrors(t *testing.T) {
	for _, op := range []string{"get", "create", "update"} {
		for _, fault := range []error{errRefused, errLost} {
			t.Run(op+", "+fault.Error(), func(t *testing.T) {
				f := newFake(t)
				r := New(f)
				at := now
				if op == "update" {
					if _, err := r.Report(t.Context(), arnA, "n1", now); err != nil {
						t.Fatal(err)
					}
					at = now.Add(2 * time.Hour)
				}
				f.fault = func(o string) error {
					if o == op {
						return fault
					}
					return nil
				}
				if wrote, err := r.Report(t.Context(), arnA, "n1", at); wrote || !errors.Is(err, fault) {
					t.Errorf("wrote %t, %v; want false, %v", wrote, err, fault)
				}
				// Whatever has happened, another call finds out.
				f.fault = nil
				before := f.applied
				wrote, err := r.Report(t.Context(), arnA, "n1", at)
				if want := errors.Is(fault, errRefused) || op == "get"; wrote != want || err != nil {
					t.Errorf("again: wrote %t, %v; want %t, nil", wrote, err, want)
				}
				if got := f.applied - before; got > 1 || got == 1 && !wrote {
					t.Errorf("again: %d writes", got)
				}
				if got := *f.leases[LeaseName(arnA)].Spec.RenewTime; !got.Time.Equal(at) {
					t.Errorf("renewed at %v, want %v", got, at)
				}
			})
		}
	}
	t.Run("nothing to report", func(t *testing.T) {
		f := newFake(t)
		if _, err := New(f).Report(t.Context(), "", "n1", now); err == nil {
			t.Error("no error without a role")
		}
		if _, err := New(f).Report(t.Context(), arnA, "", now); err == nil {
			t.Error("no error without a node")
		}
		if len(f.requests) > 0 {
			t.Errorf("requests: %v", f.requests)
		}
	})
}

func TestListManyPages(t *testing.T) {
	f := newFake(t)
	r := New(f)
	const n = 999
	var want []string
	for i := range n {
		arn := fmt.Sprintf("arn:aws:iam::111122223333:role/node-%04d", i)
		want = append(want, arn)
		if _, err := r.Report(t.Context(), arn, "n", now); err != nil {
			t.Fatal(err)
		}
	}
	arns := func(l ListResult) (s []string) {
		for _, r := range l.Reports {
			s = append(s, r.RoleARN)
		}
		return s
	}
	got, err := r.List(t.Context(), "")
	if diff := cmp.Diff(want, arns(got)); diff != "" || err != nil {
		t.Errorf("List: %v (-want +got):\n%s", err, diff)
	}
	if want := (n + pageSize - 1) / pageSize; f.requests["list"] != want {
		t.Errorf("%d requests for %d leases, want %d", f.requests["list"], n, want)
	}

	// Part of the roll must never be taken for all of it.
	pages := 0
	f.fault = func(string) error {
		if pages++; pages == 2 {
			return errRefused
		}
		return nil
	}
	got, err = r.List(t.Context(), "")
	if !errors.Is(err, errRefused) || len(got.Reports) > 0 {
		t.Errorf("second page refused: %d reports, %v; want none and the error", len(got.Reports), err)
	}
	f.fault, f.expire = nil, true
	got, err = r.List(t.Context(), "")
	if diff := cmp.Diff(want, arns(got)); diff != "" || err != nil {
		t.Errorf("pages expired: %v (-want +got):\n%s", err, diff)
	}
}

func TestListInvalid(t *testing.T) {
	f := newFake(t)
	r := New(f)
	if _, err := r.Report(t.Context(), arnA, "n1", now); err != nil {
		t.Fatal(err)
	}
	for name, annotation := range map[string]string{
		"node-role-forged": arnB,
		LeaseName(arnB):    arnB + "-admin",
		"node-role-empty":  "",
	} {
		f.put(&coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{
			Name: name, Labels: map[string]string{Label: LabelValue}, Annotations: map[string]string{RoleARNAnnotation: annotation},
		}})
	}
	long := "arn:aws:iam::111122223333:role/" + strings.Repeat("x", 2048)
	for arn, node := range map[string]string{long: "n1", arnB + "-2": strings.Repeat("n", 254)} {
		f.put(&coordinationv1.Lease{
			ObjectMeta: metav1.ObjectMeta{
				Name: LeaseName(arn), Labels: map[string]string{Label: LabelValue}, Annotations: map[string]string{RoleARNAnnotation: arn},
			},
			Spec: coordinationv1.LeaseSpec{HolderIdentity: &node},
		})
	}
	f.put(&coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: "rolecall"}}) // the election's
	got, err := r.List(t.Context(), "")
	want := ListResult{
		Reports: []Report{{RoleARN: arnA, Node: "n1", Renewed: now}},
		Invalid: []string{LeaseName(arnB), LeaseName(long), LeaseName(arnB + "-2"), "node-role-empty", "node-role-forged"},
	}
	slices.Sort(want.Invalid)
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("List: %v (-want +got):\n%s", err, diff)
	}
}
