package manifests_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/ptr"

	"github.com/rolecall/rolecall/internal/roster"
	"github.com/rolecall/rolecall/test/stage"
)

const (
	// reportMax is how large a report can be under the policies, as protobuf.
	reportMax = 32 << 10
	// ballastSize is of what a test puts into one field.
	ballastSize = 400 << 10
)

// A ballast puts much into one field of a Lease.
type ballast struct {
	field string
	put   func(*coordinationv1.Lease)
}

// ballasts are one for each string, map and list of a Lease, by reflection, so that a
// field that a new version brings is among them.
func ballasts() []ballast {
	var out []ballast
	var walk func(t reflect.Type, path string, of func(*coordinationv1.Lease) reflect.Value)
	walk = func(t reflect.Type, path string, of func(*coordinationv1.Lease) reflect.Value) {
		add := func(what string, put func(reflect.Value)) {
			out = append(out, ballast{path + what, func(l *coordinationv1.Lease) { put(of(l)) }})
		}
		switch {
		case t == reflect.TypeFor[metav1.FieldsV1]():
			for shape, fields := range fieldShapes() {
				raw, err := json.Marshal(fields)
				if err != nil {
					panic(err)
				}
				add(" "+shape, func(v reflect.Value) { v.Set(reflect.ValueOf(*metav1.NewFieldsV1(string(raw)))) })
			}
		case t == reflect.TypeFor[metav1.Time](), t == reflect.TypeFor[metav1.MicroTime]():
		case t.Kind() == reflect.Struct:
			for i := range t.NumField() {
				f := t.Field(i)
				walk(f.Type, path+"."+f.Name, func(l *coordinationv1.Lease) reflect.Value { return of(l).Field(i) })
			}
		case t.Kind() == reflect.Pointer:
			walk(t.Elem(), path, func(l *coordinationv1.Lease) reflect.Value {
				v := of(l)
				if v.IsNil() {
					v.Set(reflect.New(t.Elem()))
				}
				return v.Elem()
			})
		case t.Kind() == reflect.String:
			add("", func(v reflect.Value) { v.SetString(strings.Repeat("x", ballastSize)) })
		case t.Kind() == reflect.Map:
			set := func(v reflect.Value, key, value string) {
				if v.IsNil() {
					v.Set(reflect.MakeMap(t))
				}
				v.SetMapIndex(reflect.ValueOf(key), reflect.ValueOf(value))
			}
			add(" many", func(v reflect.Value) {
				for i := range 200 << 10 / 20 {
					set(v, fmt.Sprintf("key-%015d", i), "v")
				}
			})
			add(" long", func(v reflect.Value) { set(v, "key", strings.Repeat("x", 200<<10)) }) // annotations have 256 KiB at most
			add(" long key", func(v reflect.Value) { set(v, strings.Repeat("x.", 100)+"x/"+strings.Repeat("x", 60), "v") })
		case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Struct:
			filled := func() reflect.Value { return elementOf(t.Elem(), 0) }
			add(" many", func(v reflect.Value) {
				for i := range 2000 {
					v.Set(reflect.Append(v, elementOf(t.Elem(), i)))
				}
			})
			walk(t.Elem(), path+"[0]", func(l *coordinationv1.Lease) reflect.Value {
				v := of(l)
				v.Set(reflect.Append(reflect.MakeSlice(t, 0, 1), filled()))
				return v.Index(0)
			})
		case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.String:
			add(" many", func(v reflect.Value) {
				for i := range ballastSize / 25 {
					v.Set(reflect.Append(v, reflect.ValueOf(fmt.Sprintf("example.com/%012d", i))))
				}
			})
			add(" long", func(v reflect.Value) {
				v.Set(reflect.Append(v, reflect.ValueOf("example.com/"+strings.Repeat("x", ballastSize))))
			})
		}
	}
	walk(reflect.TypeFor[coordinationv1.Lease](), "Lease", func(l *coordinationv1.Lease) reflect.Value { return reflect.ValueOf(l).Elem() })
	return out
}

// elementOf is a valid element of a list of a Lease's metadata.
func elementOf(t reflect.Type, i int) reflect.Value {
	if t == reflect.TypeFor[metav1.ManagedFieldsEntry]() {
		return reflect.ValueOf(metav1.ManagedFieldsEntry{
			Manager: fmt.Sprint("m", i), Operation: metav1.ManagedFieldsOperationApply, APIVersion: "coordination.k8s.io/v1",
			Time: ptr.To(metav1.Now()), FieldsType: "FieldsV1", FieldsV1: metav1.NewFieldsV1(`{"f:spec":{"f:holderIdentity":{}}}`),
		})
	}
	if t == reflect.TypeFor[metav1.OwnerReference]() {
		return reflect.ValueOf(metav1.OwnerReference{APIVersion: "v1", Kind: "Node", Name: fmt.Sprint("n", i), UID: "x"})
	}
	return reflect.New(t).Elem()
}

// fieldShapes are sets of fields with room.
func fieldShapes() map[string]any {
	type set = map[string]any
	many := func() set {
		out := set{}
		for i := range ballastSize / 60 {
			out[fmt.Sprintf("f:%s%06d", strings.Repeat("x", 40), i)] = set{}
		}
		return out
	}
	long := set{"f:" + strings.Repeat("x", ballastSize): set{}}
	keyed := set{`k:{"name":"` + strings.Repeat("x", ballastSize) + `"}`: set{".": set{}}}
	valued := set{`v:"` + strings.Repeat("x", ballastSize) + `"`: set{}}
	return map[string]any{
		"many": many(), "many in the metadata": set{"f:metadata": many()}, "many annotations": set{"f:metadata": set{"f:annotations": many()}},
		"many labels": set{"f:metadata": set{"f:labels": many()}}, "many in the spec": set{"f:spec": many()},
		"many below a field of the spec":  set{"f:spec": set{"f:holderIdentity": many()}},
		"many below an annotation":        set{"f:metadata": set{"f:annotations": set{"f:a": many()}}},
		"long":                            long,
		"long in the metadata":            set{"f:metadata": long},
		"long annotation":                 set{"f:metadata": set{"f:annotations": long}},
		"long in the spec":                set{"f:spec": long},
		"long key of a list":              set{"f:metadata": set{"f:ownerReferences": keyed}},
		"long value of a set":             set{"f:metadata": set{"f:finalizers": valued}},
		"long below an annotation":        set{"f:metadata": set{"f:annotations": set{"f:a": long}}},
		"long below a field of the spec":  set{"f:spec": set{"f:holderIdentity": long}},
		"long below the other annotation": set{"f:metadata": set{"f:annotations": set{"f:" + roster.RoleARNAnnotation: long}}},
	}
}

// Whatever field of a report is filled, in a new one or by an update, it is refused, or
// it is small all the same.
func TestReportsAreSmall(t *testing.T) {
	g := newGuarded(t, stage.ForTest(t))
	a := g.pod(reporter, "node-a")
	refused := map[string]bool{}
	for i, b := range ballasts() {
		role := fmt.Sprintf("new-%d", i)
		created := g.small("a new one with "+b.field, role, g.create(a, reportOf(role, "node-a", b.put)))

		role = fmt.Sprintf("old-%d", i)
		if err := g.create(a, reportOf(role, "node-a")); err != nil {
			t.Fatal(err)
		}
		refused[b.field] = g.small("an update of "+b.field, role, g.change(a, roster.LeaseName(arn(role)), b.put)) || created
	}
	for _, field := range []string{
		"Lease.ObjectMeta.GenerateName", "Lease.ObjectMeta.Annotations many", "Lease.ObjectMeta.Annotations long key", "Lease.ObjectMeta.ManagedFields many",
		"Lease.ObjectMeta.ManagedFields[0].FieldsV1 many annotations", "Lease.ObjectMeta.ManagedFields[0].FieldsV1 many in the spec",
	} {
		if !refused[field] {
			t.Errorf("%s is not refused by a policy: does it test what it says?", field)
		}
	}
	t.Logf("%d fields were filled, %d of them are refused by a policy", len(refused), len(refused)-count(refused, false))
}

// small wants that a write was refused, or that what is stored is small. It reports
// whether a policy refused it.
func (g *guarded) small(what, role string, err error) bool {
	g.Helper()
	leases := g.admin.CoordinationV1().Leases(g.namespace)
	stored, getErr := leases.Get(g.Context(), roster.LeaseName(arn(role)), metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(getErr) && err != nil:
	case getErr != nil:
		g.Fatalf("%s: %v, %v", what, getErr, err)
	case stored.Size() > reportMax:
		g.Errorf("%s: it has %d bytes, want %d at most (%.300v)", what, stored.Size(), reportMax, err)
	}
	if err == nil || getErr == nil {
		if err := leases.Delete(g.Context(), roster.LeaseName(arn(role)), metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			g.Fatal(err)
		}
	}
	return denied(err)
}

func count(m map[string]bool, value bool) (n int) {
	for _, v := range m {
		if v == value {
			n++
		}
	}
	return n
}

// What several tools have written to a report stays in the way of none: it is renewed,
// by a reporter of this version and of those before.
func TestReportsOfSeveralManagersAreRenewed(t *testing.T) {
	g := newGuarded(t, stage.ForTest(t))
	a := g.pod(reporter, "node-a")
	if err := g.create(a, largestReport("many", "node-a")); err != nil {
		t.Fatalf("the largest report that may be is refused: %v", err)
	}
	name := roster.LeaseName(arn("many"))
	leases := func(c kubernetes.Interface) func(string, func(*coordinationv1.Lease)) {
		return func(manager string, edit func(*coordinationv1.Lease)) {
			t.Helper()
			l, err := c.CoordinationV1().Leases(g.namespace).Get(t.Context(), name, metav1.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			edit(l)
			if _, err := c.CoordinationV1().Leases(g.namespace).Update(t.Context(), l, metav1.UpdateOptions{FieldManager: manager}); err != nil {
				t.Fatalf("%s: %v", manager, err)
			}
		}
	}
	for i, manager := range []string{"kubectl-edit", "kubectl-annotate", "kubectl-label", "another-tool"} {
		leases(g.admin)(manager, func(l *coordinationv1.Lease) { l.Labels["l6"] = fmt.Sprint(i) })
		leases(a)("rolecall", func(l *coordinationv1.Lease) { l.Spec.LeaseTransitions = ptr.To(int32(i)) })
	}
}

// largestReport is the largest that a reporter can make.
func largestReport(role, node string) *coordinationv1.Lease {
	return reportOf(role, node, func(l *coordinationv1.Lease) {
		for i := range 7 {
			l.Labels[fmt.Sprint("l", i)] = strings.Repeat("x", 63)
			l.Annotations[fmt.Sprint("a", i, "-", strings.Repeat("x", 50))] = strings.Repeat("x", 700)
		}
	})
}
