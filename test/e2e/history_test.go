package e2e_test

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

// A history is every version of a ConfigMap since it was begun.
type history struct {
	mu       sync.Mutex
	versions []*corev1.ConfigMap
}

// follow begins the history of a ConfigMap that exists. It ends with the test.
func (c *cluster) follow(namespace, name string) *history {
	c.t.Helper()
	client := c.Client.CoreV1().ConfigMaps(namespace)
	begin, err := client.Get(c.t.Context(), name, metav1.GetOptions{})
	if err != nil {
		c.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(c.t.Context()))
	events, err := client.Watch(ctx, metav1.ListOptions{
		FieldSelector:   fields.OneTermEqualSelector(metav1.ObjectNameField, name).String(),
		ResourceVersion: begin.ResourceVersion,
	})
	if err != nil {
		cancel()
		c.t.Fatal(err)
	}
	h, done := &history{}, make(chan struct{})
	go func() {
		defer close(done)
		for event := range events.ResultChan() {
			if cm, ok := event.Object.(*corev1.ConfigMap); ok && event.Type != watch.Bookmark {
				h.mu.Lock()
				h.versions = append(h.versions, cm)
				h.mu.Unlock()
			}
		}
	}()
	c.t.Cleanup(func() {
		cancel()
		events.Stop()
		<-done
	})
	return h
}

// upTo waits until the history has a version, and returns all that it has then.
func (h *history) upTo(c *cluster, version *corev1.ConfigMap) []*corev1.ConfigMap {
	c.t.Helper()
	var versions []*corev1.ConfigMap
	c.eventually("the history has it", func(context.Context) error {
		h.mu.Lock()
		defer h.mu.Unlock()
		versions = slices.Clone(h.versions)
		if n := len(versions); n == 0 || versions[n-1].ResourceVersion != version.ResourceVersion {
			return fmt.Errorf("it has %d versions, and not resourceVersion %s at the end", n, version.ResourceVersion)
		}
		return nil
	})
	return versions
}

// written is how many versions there are so far.
func (h *history) written() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.versions)
}
