package faultproxy_test

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rolecall/rolecall/test/faultproxy"
)

// A cache that stands still shows nothing new, and what is asked for as the newest
// passes it by.
func TestStaleCache(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := t.Context()
	create := func(name string) {
		t.Helper()
		cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"of": "test"}}}
		if _, err := r.real.Create(ctx, cm, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	list := func(version string) *corev1.ConfigMapList {
		t.Helper()
		all, err := r.proxied.List(ctx, metav1.ListOptions{LabelSelector: "of=test", ResourceVersion: version})
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	cache := r.Stale(faultproxy.Match{Resource: "configmaps"})
	if err := cache.StandStill(); err == nil {
		t.Error("it stands still before anything was read")
	}
	create("first")
	now := list("")
	events, err := r.proxied.Watch(ctx, metav1.ListOptions{LabelSelector: "of=test", ResourceVersion: now.ResourceVersion})
	if err != nil {
		t.Fatal(err)
	}
	defer events.Stop()
	create("second")
	select {
	case e := <-events.ResultChan():
		if cm, ok := e.Object.(*corev1.ConfigMap); !ok || cm.Name != "second" {
			t.Errorf("the event is %v", e)
		}
	case <-time.After(patience):
		t.Fatal("a watch has no event while the cache goes on")
	}
	if n := len(list(now.ResourceVersion).Items); n != 2 {
		t.Errorf("the cache has %d, want 2", n)
	}

	if err := cache.StandStill(); err != nil {
		t.Fatal(err)
	}
	create("third")
	if n := len(list("").Items); n != 3 {
		t.Errorf("the newest are %d, want 3", n)
	}
	if n := len(list(now.ResourceVersion).Items); n != 2 {
		t.Errorf("the cache that stands still has %d, want 2", n)
	}
	select {
	case e := <-events.ResultChan():
		t.Errorf("a watch of a cache that stands still has %v", e)
	default:
	}
	cache.Remove()
	if n := len(list(now.ResourceVersion).Items); n != 3 {
		t.Errorf("without the rule there are %d, want 3", n)
	}
}
