package configmap

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
)

// Watch follows aws-auth until ctx ends, and calls wake when somebody else writes
// or deletes it.
func (r *Register) Watch(ctx context.Context, wake func()) {
	r.own.onOthers(wake)
	client := r.opts.Client.CoreV1().ConfigMaps(r.opts.AWSAuthNamespace)
	only := func(o *metav1.ListOptions) {
		o.FieldSelector = fields.OneTermEqualSelector(metav1.ObjectNameField, r.opts.AWSAuthName).String()
	}
	saw := func(o any) {
		if cm, ok := o.(*corev1.ConfigMap); ok {
			if !r.own.others(cm) {
				return
			}
			r.restorer.saw(cm)
		}
		wake()
	}
	_, informer := cache.NewInformerWithOptions(cache.InformerOptions{
		ListerWatcher: &cache.ListWatch{
			ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
				only(&o)
				return client.List(ctx, o)
			},
			WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
				only(&o)
				return client.Watch(ctx, o)
			},
		},
		ObjectType: &corev1.ConfigMap{},
		Handler: cache.ResourceEventHandlerFuncs{
			AddFunc:    saw,
			UpdateFunc: func(_, o any) { saw(o) },
			DeleteFunc: func(any) {
				r.restorer.unsure()
				wake()
			},
		},
	})
	informer.RunWithContext(ctx)
}
