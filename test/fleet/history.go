package fleet

import (
	"context"
	"fmt"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/watch"
)

// A Version is what a ConfigMap was at one time.
type Version struct {
	*corev1.ConfigMap
	Deleted bool // this is what stood last
}

// A History is every version of a ConfigMap since it was begun.
type History struct {
	stop func()
	done chan struct{}

	mu       sync.Mutex
	versions []Version
}

// Follow begins the history of a ConfigMap, which need not exist. It runs until
// [History.Stop], whatever becomes of ctx, or until the API server ends.
func (f *Fleet) Follow(ctx context.Context, namespace, name string) (*History, error) {
	client := f.Client.CoreV1().ConfigMaps(namespace)
	only := metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector(metav1.ObjectNameField, name).String()}
	now, err := client.List(ctx, only)
	if err != nil {
		return nil, err
	}
	only.ResourceVersion = now.ResourceVersion
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	events, err := client.Watch(ctx, only)
	if err != nil {
		cancel()
		return nil, err
	}
	h := &History{done: make(chan struct{})}
	h.stop = func() {
		cancel()
		events.Stop()
		<-h.done
	}
	go func() {
		defer close(h.done)
		for event := range events.ResultChan() {
			if cm, ok := event.Object.(*corev1.ConfigMap); ok && event.Type != watch.Bookmark {
				h.mu.Lock()
				h.versions = append(h.versions, Version{cm, event.Type == watch.Deleted})
				h.mu.Unlock()
			}
		}
	}()
	return h, nil
}

// Stop ends the history. What it has stays.
func (h *History) Stop() { h.stop() }

// Versions are those so far.
func (h *History) Versions() []Version {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.versions)
}

// UpTo waits for a version, and returns all that there are then.
func (h *History) UpTo(ctx context.Context, version *corev1.ConfigMap) (all []Version, err error) {
	_, err = Until(ctx, func(context.Context) error {
		all = h.Versions()
		if !slices.ContainsFunc(all, func(v Version) bool { return v.ResourceVersion == version.ResourceVersion }) {
			return fmt.Errorf("the history has %d versions, and not resourceVersion %s", len(all), version.ResourceVersion)
		}
		return nil
	})
	return all, err
}
