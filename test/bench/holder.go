package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/ptr"

	"github.com/rolecall/rolecall/test/fleet"
)

// patience is how long anything may take.
const patience = 3 * time.Minute

// A holderWatch sees who holds a Lease, by a watch of the administrator's, which
// is in no agent's way.
type holderWatch struct {
	mu      sync.Mutex
	holder  string
	at      time.Time     // when it was seen first
	changed chan struct{} // closed and made anew at every change
}

// watchHolder watches until ctx ends.
func watchHolder(ctx context.Context, client kubernetes.Interface, namespace string) *holderWatch {
	w := &holderWatch{changed: make(chan struct{})}
	leases := client.CoordinationV1().Leases(namespace)
	only := metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector("metadata.name", fleet.LeaseName).String()}
	go func() {
		for ctx.Err() == nil {
			watch, err := leases.Watch(ctx, only)
			if err != nil {
				pause(ctx, 20*time.Millisecond)
				continue
			}
			for event := range watch.ResultChan() {
				if lease, ok := event.Object.(*coordinationv1.Lease); ok {
					w.see(ptr.Deref(lease.Spec.HolderIdentity, ""))
				}
			}
			watch.Stop()
		}
	}()
	return w
}

func (w *holderWatch) see(holder string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if holder != w.holder {
		w.holder, w.at = holder, time.Now()
		close(w.changed)
		w.changed = make(chan struct{})
	}
}

// other waits until somebody else than that holds the Lease.
func (w *holderWatch) other(ctx context.Context, than string) (holder string, at time.Time, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		w.mu.Lock()
		holder, at, changed := w.holder, w.at, w.changed
		w.mu.Unlock()
		if holder != "" && holder != than {
			return holder, at, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return "", at, fmt.Errorf("nobody else than %q leads: %w", than, ctx.Err())
		}
	}
}
