package agent

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/internal/roster"
)

// Somebody who takes our entries away again and again is answered each time by one
// reconcile, however long it lasts: neither do our own writes make reconciles, nor
// contents that change faster than they are recorded.
func TestReconcilesArePaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := newClient(nil)
		registry := prometheus.NewRegistry()
		opts := options(client, newWorld(by("n", "workers")))
		opts.Registerer = registry
		l := NewLeader(opts)
		l.Apply(reported())
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
		reconciles := metric(t, registry, "rolecall_reconciles_total")
		t.Logf("%d wipes made %.0f reconciles", wipes, reconciles)
		if reconciles < float64(wipes) || reconciles > float64(wipes)*1.25 {
			t.Errorf("%d wipes made %.0f reconciles", wipes, reconciles)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// A roster that could not be read is read again soon, by itself: the report that the
// reconcile was made for makes no other one. It takes longer each time, and no more once
// it could be read.
func TestRosterIsReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := newClient(nil)
		r := new(failingRoster)
		r.fails.Store(true)
		l := NewLeader(options(client, r))
		l.Apply(reported())
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
		t.Errorf("after ten reconciles that others overtook it waits %s, after ten that failed %s", overtaken, refused)
	}
	if first := nextBackoff(0, errors.New("forbidden")); first != time.Second {
		t.Errorf("after the first that failed it waits %s", first)
	}
}
