package awsauth

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The place of aws-auth in an EKS cluster.
const (
	Namespace = "kube-system"
	Name      = "aws-auth"
)

// ConfigMaps is the part of client-go's ConfigMapInterface that a store needs;
// every typed client satisfies it. It is bound to one namespace.
type ConfigMaps interface {
	Get(ctx context.Context, name string, opts metav1.GetOptions) (*corev1.ConfigMap, error)
	Create(ctx context.Context, cm *corev1.ConfigMap, opts metav1.CreateOptions) (*corev1.ConfigMap, error)
	Update(ctx context.Context, cm *corev1.ConfigMap, opts metav1.UpdateOptions) (*corev1.ConfigMap, error)
}

// ErrConflict says that somebody else wrote since the object was read: read it
// again, plan again.
var ErrConflict = errors.New("somebody else has written it since it was read")

// A Store reads and writes one ConfigMap, never without the resourceVersion
// that was read. Whether the ConfigMap exists is known by the client's answer
// alone: client-go's fake clientset keeps no resourceVersions, and works too. It
// keeps no state and is safe for concurrent use.
type Store struct {
	client       ConfigMaps
	name         string
	fieldManager string
}

// NewStore returns a store of the ConfigMap of that name. Writes are recorded
// under fieldManager.
func NewStore(client ConfigMaps, name, fieldManager string) *Store {
	return &Store{client, name, fieldManager}
}

// Get reads the ConfigMap. One that does not exist comes back empty, with its name
// alone; [Store.Read] tells it from one that is empty.
func (s *Store) Get(ctx context.Context) (*corev1.ConfigMap, error) {
	cm, _, err := s.Read(ctx)
	return cm, err
}

// Read reads the ConfigMap, and reports whether it exists. One that does not comes
// back empty, with its name alone, for [Store.Put] to create.
func (s *Store) Read(ctx context.Context) (cm *corev1.ConfigMap, exists bool, err error) {
	cm, err = s.client.Get(ctx, s.name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: s.name}}, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("read ConfigMap %s: %w", s.name, err)
	}
	return cm, true, nil
}

// Put writes the ConfigMap that [Store.Get] or [Store.Read] returned, with its
// data changed: an Update with the resourceVersion that was read, or a Create
// where there was none. It returns what the API server made of it. The error
// matches [ErrConflict] where somebody else was first. After any other error the
// write may have been done all the same.
//
// An API server gives every object a resourceVersion. A stand-in that gives none,
// such as client-go's fake clientset, can't tell that somebody else was first:
// there, a ConfigMap that was read is written over the one that is there.
func (s *Store) Put(ctx context.Context, cm *corev1.ConfigMap) (*corev1.ConfigMap, error) {
	if cm.ResourceVersion != "" {
		return s.put(ctx, cm, true)
	}
	out, err := s.put(ctx, cm, false)
	if !apierrors.IsAlreadyExists(err) {
		return out, err
	}
	live, exists, readErr := s.Read(ctx)
	if readErr != nil || !exists || live.ResourceVersion != "" {
		return nil, err // somebody else has created it
	}
	return s.put(ctx, cm, true)
}

// put is Put where it is known whether the ConfigMap existed when it was read.
func (s *Store) put(ctx context.Context, cm *corev1.ConfigMap, exists bool) (*corev1.ConfigMap, error) {
	var out *corev1.ConfigMap
	var err error
	switch {
	case !exists:
		out, err = s.client.Create(ctx, cm, metav1.CreateOptions{FieldManager: s.fieldManager})
	case cm.ResourceVersion == "" && cm.UID != "":
		// An API server's object, whose resourceVersion got lost on the way: without
		// it the Update would overwrite whatever others have written.
		return nil, fmt.Errorf("write ConfigMap %s: %w", s.name, errVersionless)
	default:
		out, err = s.client.Update(ctx, cm, metav1.UpdateOptions{FieldManager: s.fieldManager})
	}
	switch {
	case err == nil:
		return out, nil
	case apierrors.IsConflict(err), apierrors.IsAlreadyExists(err), exists && apierrors.IsNotFound(err):
		return nil, fmt.Errorf("write ConfigMap %s: %w: %w", s.name, ErrConflict, err)
	}
	return nil, fmt.Errorf("write ConfigMap %s: %w", s.name, err)
}

// errVersionless says that a write would skip the resourceVersion.
var errVersionless = errors.New("the client returned it without its resourceVersion, so a write could undo what others wrote: use a client that keeps the object's metadata")
