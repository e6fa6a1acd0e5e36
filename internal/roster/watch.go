package roster

import (
	"context"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
)

// Watch calls saw when a report is written, with its resourceVersion, and when one
// is deleted, with none, until ctx ends. It is called by one goroutine. It needs the
// verbs list and watch.
func (r *Roster) Watch(ctx context.Context, saw func(version string)) {
	wrote := func(o any) {
		version := ""
		if m, ok := o.(metav1.Object); ok {
			version = m.GetResourceVersion()
		}
		saw(version)
	}
	_, informer := cache.NewInformerWithOptions(cache.InformerOptions{
		ListerWatcher: &cache.ListWatch{
			ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
				o.LabelSelector = Selector
				return r.leases.List(ctx, o)
			},
			WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
				o.LabelSelector = Selector
				return r.leases.Watch(ctx, o)
			},
		},
		ObjectType: &coordinationv1.Lease{},
		Transform:  keepMetadata,
		Handler: cache.ResourceEventHandlerFuncs{
			AddFunc:    wrote,
			UpdateFunc: func(_, o any) { wrote(o) },
			DeleteFunc: func(any) { saw("") },
		},
	})
	informer.RunWithContext(ctx)
}

// keepMetadata drops the bodies of watched Leases.
func keepMetadata(o any) (any, error) {
	if l, ok := o.(*coordinationv1.Lease); ok {
		return &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: l.Namespace, Name: l.Name, ResourceVersion: l.ResourceVersion}}, nil
	}
	return o, nil
}
