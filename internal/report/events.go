package report

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/record"

	"github.com/rolecall/rolecall/internal/visible"
)

// maxNote is the longest note of an Event, in bytes; the API server takes 1024.
const maxNote = 960

// callTimeout is how long one request for an Event may take.
const callTimeout = 15 * time.Second

// An Events records Events on one object.
type Events struct {
	recorder record.EventRecorder
	on       runtime.Object
}

// StartEvents records Events on an object until ctx ends. Stop waits for nothing.
func StartEvents(ctx context.Context, client typedcorev1.EventInterface, node string, on runtime.Object) (events *Events, stop func()) {
	broadcaster := record.NewBroadcaster(record.WithContext(ctx))
	broadcaster.StartRecordingToSink(&eventSink{ctx, client})
	recorder := broadcaster.NewRecorder(scheme.Scheme, corev1.EventSource{Component: "rolecall", Host: node})
	return &Events{recorder, on}, broadcaster.Shutdown
}

// record records an Event; a nil Events records none.
func (e *Events) record(kind, reason, note string) {
	if e == nil {
		return
	}
	e.recorder.Event(e.on, kind, reason, visible.Cut(visible.Text(note), maxNote))
}

// call bounds one request to the API server.
func call[T any](ctx context.Context, request func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return request(ctx)
}

// eventSink is client-go's EventSinkImpl with requests that end: when the term
// does, and when one of them hangs.
type eventSink struct {
	ctx    context.Context
	client typedcorev1.EventInterface
}

func (s *eventSink) Create(e *corev1.Event) (*corev1.Event, error) {
	return call(s.ctx, func(ctx context.Context) (*corev1.Event, error) {
		return s.client.CreateWithEventNamespaceWithContext(ctx, e)
	})
}

func (s *eventSink) Update(e *corev1.Event) (*corev1.Event, error) {
	return call(s.ctx, func(ctx context.Context) (*corev1.Event, error) {
		return s.client.UpdateWithEventNamespaceWithContext(ctx, e)
	})
}

func (s *eventSink) Patch(e *corev1.Event, data []byte) (*corev1.Event, error) {
	return call(s.ctx, func(ctx context.Context) (*corev1.Event, error) {
		return s.client.PatchWithEventNamespaceWithContext(ctx, e, data)
	})
}
