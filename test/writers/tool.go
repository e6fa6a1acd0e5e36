package writers

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	applyv1 "k8s.io/client-go/applyconfigurations/core/v1"
	"k8s.io/client-go/kubernetes"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"

	"github.com/rolecall/rolecall/awsauth"
)

// A Target is an entry of rolecall's that tools get in the way of.
type Target struct {
	List, ARN string
	Grant     // everything that it ever grants
}

// TargetOf is an entry with all that it is ever asked to grant.
func TargetOf(arn string, grants ...Grant) Target {
	t := Target{List: mapAccounts, ARN: arn}
	switch {
	case strings.Contains(arn, ":role/"):
		t.List = mapRoles
	case strings.Contains(arn, ":user/"):
		t.List = mapUsers
	}
	for _, g := range grants {
		t.Username = g.Username
		t.Groups = append(t.Groups, g.Groups...)
	}
	slices.Sort(t.Groups)
	t.Groups = slices.Compact(t.Groups)
	return t
}

// Options say where the tools write and what they find there.
type Options struct {
	Client    kubernetes.Interface
	Namespace string // of aws-auth
	Record    *Record
	Targets   []Target
	Seed      uint64
	// Pace returns when the next edit is due, with an error when there is to be
	// no more.
	Pace func() error
}

// Counts is what the tools have done so far.
type Counts struct{ Edits, Conflicts atomic.Int64 }

// A tool edits aws-auth again and again in its own way. It is one goroutine's.
type tool struct {
	name  string // its field manager
	maps  typedcorev1.ConfigMapInterface
	o     Options
	count *Counts
	rand  *rand.Rand
	edits int
	own   []string // ARNs of entries that it made and has not removed
	act   func(context.Context, *tool) error
}

// Run has all tools edit until Pace says that it is enough, or one fails. ctx is
// not for ending it: an edit that is cut off may have been done all the same.
func Run(ctx context.Context, o Options, count *Counts) error {
	failed := make(chan error, len(habits))
	for i, h := range habits {
		t := &tool{
			name: h.name, act: h.act, o: o, count: count,
			maps: o.Client.CoreV1().ConfigMaps(o.Namespace),
			rand: rand.New(rand.NewPCG(o.Seed, uint64(i))),
		}
		go func() { failed <- t.run(ctx) }()
	}
	var first error
	for range habits {
		if err := <-failed; err != nil && first == nil {
			first = err
		}
	}
	return first
}

func (t *tool) run(ctx context.Context) error {
	for t.o.Pace() == nil {
		if err := t.act(ctx, t); err != nil {
			return fmt.Errorf("%s: %w", t.name, err)
		}
	}
	return nil
}

// next is the edit that the tool is about to make.
func (t *tool) next() *Edit {
	t.edits++
	return &Edit{ID: fmt.Sprintf("%s-%d", t.name, t.edits)}
}

// chance is true so many times in a hundred.
func (t *tool) chance(percent int) bool { return t.rand.IntN(100) < percent }

// update is what most tools do: read, change, write with the resourceVersion
// that was read, and all that again where somebody else was first. A change
// without effects is not written.
func (t *tool) update(ctx context.Context, change func(cm *corev1.ConfigMap, id string) ([]Effect, error)) error {
	return t.write(ctx, change, func(cm *corev1.ConfigMap) (*corev1.ConfigMap, error) {
		return t.maps.Update(ctx, cm, metav1.UpdateOptions{FieldManager: t.name})
	})
}

// patch is what kubectl edit does: the same, but it sends only what differs, and
// the resourceVersion with it.
func (t *tool) patch(ctx context.Context, change func(cm *corev1.ConfigMap, id string) ([]Effect, error)) error {
	var before *corev1.ConfigMap
	remember := func(cm *corev1.ConfigMap, id string) ([]Effect, error) {
		before = cm.DeepCopy()
		return change(cm, id)
	}
	return t.write(ctx, remember, func(cm *corev1.ConfigMap) (*corev1.ConfigMap, error) {
		patch, err := json.Marshal(map[string]any{
			"data": changed(before.Data, cm.Data),
			"metadata": map[string]any{
				"resourceVersion": cm.ResourceVersion,
				"labels":          changed(before.Labels, cm.Labels),
				"annotations":     changed(before.Annotations, cm.Annotations),
			},
		})
		if err != nil {
			return nil, err
		}
		return t.maps.Patch(ctx, cm.Name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: t.name})
	})
}

// changed is a merge patch of one map.
func changed(before, after map[string]string) map[string]any {
	patch := map[string]any{}
	for k, v := range after {
		if was, ok := before[k]; !ok || was != v {
			patch[k] = v
		}
	}
	for k := range before {
		if _, ok := after[k]; !ok {
			patch[k] = nil
		}
	}
	return patch
}

func (t *tool) write(ctx context.Context, change func(cm *corev1.ConfigMap, id string) ([]Effect, error), send func(*corev1.ConfigMap) (*corev1.ConfigMap, error)) error {
	edit := t.next()
	for {
		cm, err := t.maps.Get(ctx, awsauth.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if edit.Effects, err = change(cm, edit.ID); err != nil || len(edit.Effects) == 0 {
			return err
		}
		edit.Base = cm.ResourceVersion
		written, err := send(cm)
		switch {
		case apierrors.IsConflict(err):
			t.count.Conflicts.Add(1)
			continue
		case err == nil && written.ResourceVersion != edit.Base: // else it changed nothing
			t.o.Record.Claim(written.ResourceVersion, edit)
			t.count.Edits.Add(1)
		}
		return err
	}
}

// apply is kubectl apply --server-side: what the tool says of its own keys is
// merged by the API server, on top of whatever is there.
func (t *tool) apply(ctx context.Context, key, label string) error {
	edit := t.next()
	// Each text is new, so it is never no change.
	edit.Effects = []Effect{Set{"data", key, edit.ID}, Set{"labels", label, edit.ID}}
	object := applyv1.ConfigMap(awsauth.Name, t.o.Namespace).
		WithData(map[string]string{key: edit.ID}).WithLabels(map[string]string{label: edit.ID})
	written, err := t.maps.Apply(ctx, object, metav1.ApplyOptions{FieldManager: t.name})
	if err != nil {
		return err
	}
	t.o.Record.Claim(written.ResourceVersion, edit)
	t.count.Edits.Add(1)
	return nil
}
