package configmap

import (
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
)

// ownWrites tells events of our own writes of aws-auth from those of others. An
// event can come before the answer to the write that it is of, so what comes
// meanwhile is kept until the answer says which is ours. It is safe for concurrent
// use.
type ownWrites struct {
	mu      sync.Mutex
	last    string // resourceVersion
	writing bool
	kept    []*corev1.ConfigMap
	waker   func() // told of what others wrote meanwhile; nil: nobody is
}

// onOthers has wake called for what others wrote meanwhile.
func (w *ownWrites) onOthers(wake func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.waker = wake
}

func (w *ownWrites) wake() {
	w.mu.Lock()
	wake := w.waker
	w.mu.Unlock()
	if wake != nil {
		wake()
	}
}

// begin says that a write is about to be sent.
func (w *ownWrites) begin() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.writing = true
}

// end says that it was answered, with the resourceVersion that aws-auth has by it,
// "" for a write that failed. It returns what others wrote meanwhile.
func (w *ownWrites) end(version string) []*corev1.ConfigMap {
	w.mu.Lock()
	defer w.mu.Unlock()
	others := slices.DeleteFunc(w.kept, func(cm *corev1.ConfigMap) bool { return cm.ResourceVersion == version })
	w.writing, w.kept = false, nil
	if version != "" {
		w.last = version
	}
	return others
}

// others reports whether cm, as an event has it, is somebody else's for sure.
func (w *ownWrites) others(cm *corev1.ConfigMap) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.writing {
		w.kept = append(w.kept, cm)
		return false
	}
	return cm.ResourceVersion != w.last
}
