package awsauth

import (
	"context"
	"errors"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// oneConfigMap is an API server that has one ConfigMap or none and holds
// writes to the resourceVersion. lost makes the next write fail after it was
// done, refused before.
type oneConfigMap struct {
	t       *testing.T
	have    *corev1.ConfigMap
	version int
	lost    error
	refused error
}

var configMaps = schema.GroupResource{Resource: "configmaps"}

func (f *oneConfigMap) Get(_ context.Context, name string, _ metav1.GetOptions) (*corev1.ConfigMap, error) {
	if f.refused != nil {
		return nil, f.refused
	}
	if f.have == nil || f.have.Name != name {
		return nil, apierrors.NewNotFound(configMaps, name)
	}
	return f.have.DeepCopy(), nil
}

func (f *oneConfigMap) Create(_ context.Context, cm *corev1.ConfigMap, opts metav1.CreateOptions) (*corev1.ConfigMap, error) {
	f.t.Helper()
	if cm.ResourceVersion != "" || opts.FieldManager != "tester" {
		f.t.Errorf("created with resourceVersion %q by %q", cm.ResourceVersion, opts.FieldManager)
	}
	if f.have != nil {
		return nil, apierrors.NewAlreadyExists(configMaps, cm.Name)
	}
	return f.store(cm)
}

func (f *oneConfigMap) Update(_ context.Context, cm *corev1.ConfigMap, opts metav1.UpdateOptions) (*corev1.ConfigMap, error) {
	f.t.Helper()
	if cm.ResourceVersion == "" || opts.FieldManager != "tester" {
		f.t.Errorf("updated with resourceVersion %q by %q", cm.ResourceVersion, opts.FieldManager)
	}
	if f.have == nil {
		return nil, apierrors.NewNotFound(configMaps, cm.Name)
	}
	if f.have.ResourceVersion != cm.ResourceVersion {
		return nil, apierrors.NewConflict(configMaps, cm.Name, errors.New("the object has been modified"))
	}
	return f.store(cm)
}

func (f *oneConfigMap) store(cm *corev1.ConfigMap) (*corev1.ConfigMap, error) {
	if f.refused != nil {
		return nil, f.refused
	}
	f.version++
	f.have = cm.DeepCopy()
	f.have.ResourceVersion = strings.Repeat("v", f.version)
	return f.have.DeepCopy(), f.lost
}

func TestStore(t *testing.T) {
	ctx := t.Context()
	server := &oneConfigMap{t: t}
	store := NewStore(server, Name, "tester")

	cm, err := store.Get(ctx)
	if err != nil || cm.ResourceVersion != "" || cm.Name != Name {
		t.Fatalf("one that does not exist: %+v, %v", cm, err)
	}
	late := cm.DeepCopy()
	cm.Data = map[string]string{"mapRoles": "one"}
	cm.Labels = map[string]string{"keep": "me"}
	written, err := store.Put(ctx, cm)
	if err != nil || written.ResourceVersion != "v" {
		t.Fatalf("create: %+v, %v", written, err)
	}
	if _, err := store.Put(ctx, late); !errors.Is(err, ErrConflict) || !apierrors.IsAlreadyExists(err) {
		t.Errorf("a second create: %v", err)
	}

	first, err := store.Get(ctx)
	if err != nil {
		t.Fatal(err)
	}
	second := first.DeepCopy()
	first.Data["mapRoles"] = "two"
	if written, err = store.Put(ctx, first); err != nil || written.ResourceVersion != "vv" {
		t.Fatalf("update: %+v, %v", written, err)
	}
	second.Data["mapRoles"] = "three"
	if _, err := store.Put(ctx, second); !errors.Is(err, ErrConflict) || !strings.Contains(err.Error(), Name) {
		t.Errorf("an update of what was changed: %v", err)
	}
	if server.have.Data["mapRoles"] != "two" || server.have.Labels["keep"] != "me" {
		t.Errorf("the server has %+v", server.have)
	}

	server.have = nil
	if _, err := store.Put(ctx, written); !errors.Is(err, ErrConflict) {
		t.Errorf("an update of what was deleted: %v", err)
	}
}

func TestStoreErrors(t *testing.T) {
	ctx := t.Context()
	denied := apierrors.NewForbidden(configMaps, Name, errors.New("no"))
	server := &oneConfigMap{t: t, refused: denied}
	store := NewStore(server, Name, "tester")
	if cm, err := store.Get(ctx); !apierrors.IsForbidden(err) || errors.Is(err, ErrConflict) || cm != nil {
		t.Errorf("get: %v, %v", cm, err)
	}
	if cm, err := store.Put(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: Name}}); !apierrors.IsForbidden(err) || errors.Is(err, ErrConflict) || cm != nil {
		t.Errorf("put: %v, %v", cm, err)
	}

	// The write was done and the answer lost: no conflict, and reading again shows it.
	server = &oneConfigMap{t: t, lost: context.DeadlineExceeded}
	store = NewStore(server, Name, "tester")
	cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: Name}, Data: map[string]string{"mapRoles": "x"}}
	if got, err := store.Put(ctx, cm); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrConflict) || got != nil {
		t.Errorf("put: %v, %v", got, err)
	}
	if again, err := store.Get(ctx); err != nil || again.Data["mapRoles"] != "x" {
		t.Errorf("get: %v, %v", again, err)
	}
}
