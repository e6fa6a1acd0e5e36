package apply_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/test/fleet"
)

// A change is a content of aws-auth, and when the API server told of it.
type change struct {
	at  time.Time
	was *corev1.ConfigMap // nil: deleted
}

// changes are all since the watch began.
type changes struct {
	mu  sync.Mutex
	all []change
}

// watchAWSAuth records what becomes of aws-auth until the test ends.
func watchAWSAuth(t *testing.T, client kubernetes.Interface) *changes {
	t.Helper()
	var c changes
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for t.Context().Err() == nil {
			c.watch(t.Context(), client)
		}
	}()
	t.Cleanup(func() { <-ended })
	return &c
}

// watch records until the API server ends the watch, as it does now and then.
func (c *changes) watch(ctx context.Context, client kubernetes.Interface) {
	w, err := client.CoreV1().ConfigMaps(awsauth.Namespace).Watch(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + awsauth.Name})
	if err != nil {
		return
	}
	defer w.Stop()
	for e := range w.ResultChan() {
		cm, _ := e.Object.(*corev1.ConfigMap)
		c.mu.Lock()
		if last := len(c.all) - 1; last < 0 || cm == nil || c.all[last].was == nil || c.all[last].was.ResourceVersion != cm.ResourceVersion {
			if e.Type == "DELETED" {
				cm = nil
			}
			c.all = append(c.all, change{time.Now(), cm})
		}
		c.mu.Unlock()
	}
}

// mapped waits until aws-auth has an entry that says so, and returns since when.
func (c *chapter) mapped(m fleet.Mapping) (at time.Time) {
	c.t.Helper()
	c.eventually(m.ARN+" is mapped", func(context.Context) error {
		c.changes.mu.Lock()
		defer c.changes.mu.Unlock()
		for i := len(c.changes.all) - 1; i >= 0 && has(c.changes.all[i].was, m); i-- {
			at = c.changes.all[i].at
		}
		if at.IsZero() {
			return fmt.Errorf("it is not")
		}
		return nil
	})
	return at
}

// unmapped waits until aws-auth has no entry of an ARN.
func (c *chapter) unmapped(arn string) {
	c.t.Helper()
	c.eventually(arn+" is not mapped", func(ctx context.Context) error {
		cm, err := c.Client.CoreV1().ConfigMaps(awsauth.Namespace).Get(ctx, awsauth.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		all, err := fleet.Mappings(cm)
		for _, m := range all {
			if m.ARN == arn {
				return fmt.Errorf("it is, to %s", m.Username)
			}
		}
		return err
	})
}

// has reports whether aws-auth has exactly that entry, and no other of its ARN.
func has(cm *corev1.ConfigMap, want fleet.Mapping) bool {
	if cm == nil {
		return false
	}
	all, err := fleet.Mappings(cm)
	if err != nil {
		return false
	}
	found := 0
	for _, m := range all {
		if m.ARN != want.ARN {
			continue
		}
		if m.Username != want.Username || strings.Join(m.Groups, ",") != strings.Join(want.Groups, ",") || m.SyncedBy != want.SyncedBy {
			return false
		}
		found++
	}
	return found == 1
}
