package agent

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes/scheme"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/record"

	"github.com/rolecall/rolecall/internal/visible"
)

// maxNote is the longest note of an Event, in bytes; the API server takes 1024.
const maxNote = 960

// startEvents records Events until ctx ends; stop waits for nothing.
func (l *Leader) startEvents(ctx context.Context) (stop func()) {
	events := record.NewBroadcaster(record.WithContext(ctx))
	events.StartRecordingToSink(&eventSink{ctx, l.opts.Client.CoreV1().Events(l.opts.AWSAuthNamespace)})
	l.recorder = events.NewRecorder(scheme.Scheme, corev1.EventSource{Component: "rolecall", Host: l.opts.NodeName})
	return events.Shutdown
}

// event records an Event on aws-auth; outside a term there is no recorder.
func (l *Leader) event(on *corev1.ConfigMap, kind, reason, note string) {
	if l.recorder == nil {
		return
	}
	if on.Namespace == "" {
		on = on.DeepCopy()
		on.Namespace = l.opts.AWSAuthNamespace
	}
	l.recorder.Event(on, kind, reason, visible.Cut(visible.Text(note), maxNote))
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
