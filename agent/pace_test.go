package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/internal/roster"
)

// numbered gives each ConfigMap that is written a resourceVersion, as an API server
// does, and has informers list before they watch.
func numbered(client *fake.Clientset) {
	version := 1
	client.PrependReactor("*", "configmaps", func(action clienttesting.Action) (bool, runtime.Object, error) {
		if write, ok := action.(interface{ GetObject() runtime.Object }); ok {
			version++
			write.GetObject().(metav1.Object).SetResourceVersion(strconv.Itoa(version))
		}
		return false, nil, nil
	})
	// It knows no streaming lists, and does not say so.
	client.PrependWatchReactor("*", func(action clienttesting.Action) (bool, watch.Interface, error) {
		if a, ok := action.(clienttesting.WatchActionImpl); ok && a.ListOptions.SendInitialEvents != nil {
			return true, nil, apierrors.NewBadRequest("sendInitialEvents")
		}
		return false, nil, nil
	})
}

// Somebody who takes our entries away again and again is answered each time by one
// pass, however long it lasts: neither do our own writes make passes, nor contents
// that change faster than they are recorded.
func TestPassesArePaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := fake.NewClientset(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: awsauth.Namespace, Name: awsauth.Name, ResourceVersion: "1"}})
		numbered(client)
		w := newWorld()
		w.reports.Reports = []roster.Report{by("n", "workers")}
		registry := prometheus.NewRegistry()
		l := NewLeader(Options{
			Client: client, Namespace: "n", Roster: w, Self: w.gatherer().self, Directory: w.gatherer().directory,
			Logger: slog.New(slog.DiscardHandler), Registerer: registry, Now: time.Now,
		})
		l.Apply(&Spec{Refresh: time.Hour, Nodes: Nodes{Report: true}})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- l.Lead(ctx) }()
		maps := client.CoreV1().ConfigMaps(awsauth.Namespace)
		wipes := 200
		if testing.Short() {
			wipes = 40
		}
		for i := range wipes {
			time.Sleep(1500 * time.Millisecond)
			cm, err := maps.Get(ctx, awsauth.Name, metav1.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(cm.Data["mapRoles"], "workers") {
				t.Fatalf("after %d wipes our entry is not back", i)
			}
			cm.Data["mapRoles"] = ""
			if _, err := maps.Update(ctx, cm, metav1.UpdateOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Second)
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		passes := 0.0
		for _, f := range families {
			for _, m := range f.GetMetric() {
				if f.GetName() == "rolecall_reconciles_total" {
					passes += m.GetCounter().GetValue()
				}
			}
		}
		t.Logf("%d wipes made %.0f passes", wipes, passes)
		if passes < float64(wipes) || passes > float64(wipes)*1.25 {
			t.Errorf("%d wipes made %.0f passes", wipes, passes)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// A roster that could not be read is read again soon, by itself: the report that the
// pass was made for makes no other one. It takes longer each time, and no more once
// it could be read.
func TestRosterIsReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := fake.NewClientset(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: awsauth.Namespace, Name: awsauth.Name, ResourceVersion: "1"}})
		numbered(client)
		r := new(failingRoster)
		r.fails.Store(true)
		w := newWorld()
		l := NewLeader(Options{
			Client: client, Namespace: "n", Roster: r, Self: w.gatherer().self, Directory: w.gatherer().directory,
			Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(), Now: time.Now,
		})
		l.Apply(&Spec{Refresh: time.Hour, Nodes: Nodes{Report: true}})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- l.Lead(ctx) }()
		time.Sleep(20 * time.Minute)
		if n := r.lists.Load(); n < 15 || n > 60 {
			t.Errorf("in 20 minutes it was read %d times, want once a minute or so", n)
		}
		r.fails.Store(false)
		time.Sleep(2 * time.Minute)
		if !strings.Contains(mapRoles(t, client), "workers") {
			t.Error("the node's role is not mapped")
		}
		before := r.lists.Load()
		time.Sleep(20 * time.Minute)
		if n := r.lists.Load() - before; n > 1 {
			t.Errorf("where it can be read it was read %d times more", n)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// A failingRoster has one report, where it can be read.
type failingRoster struct {
	fails atomic.Bool
	lists atomic.Int64
}

func (r *failingRoster) List(context.Context, string) (roster.ListResult, error) {
	r.lists.Add(1)
	if r.fails.Load() {
		return roster.ListResult{}, errors.New("no answer")
	}
	return roster.ListResult{Reports: []roster.Report{by("n", "workers")}}, nil
}

// Who is overtaken by others tries again soon, however often; who is refused does not.
func TestBackoff(t *testing.T) {
	conflict := fmt.Errorf("write aws-auth: %w", awsauth.ErrConflict)
	var overtaken, refused time.Duration
	for range 10 {
		overtaken, refused = nextBackoff(overtaken, conflict), nextBackoff(refused, errors.New("forbidden"))
	}
	if overtaken > time.Second/2 || refused != time.Minute {
		t.Errorf("after ten passes that others overtook it waits %s, after ten that failed %s", overtaken, refused)
	}
	if first := nextBackoff(0, errors.New("forbidden")); first != time.Second {
		t.Errorf("after the first that failed it waits %s", first)
	}
}
