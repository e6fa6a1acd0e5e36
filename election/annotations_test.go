package election

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/ptr"

	"github.com/rolecall/rolecall/test/stage"
)

// What the leader publishes comes with its renewals, and with nothing else.
func TestAnnotationsCostNoRequest(t *testing.T) {
	const during = 10 * time.Minute
	requests := map[bool]string{}
	for _, publishing := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			c := newCluster(t)
			asked := 0
			c.configure = func(cfg *Config) {
				cfg.Agents, cfg.Annotations = 1, nil
				if publishing {
					cfg.Annotations = map[string]func() string{"a": func() string { asked++; return fmt.Sprint(asked) }}
				}
			}
			c.start(nil)
			defer c.stopAll()
			c.awaitTerm(10 * time.Second)
			time.Sleep(DefaultRetryPeriod / 2) // between two renewals
			gets, updates := c.store.count(opGet), c.store.count(opUpdate)
			time.Sleep(during)
			requests[publishing] = fmt.Sprintf("%d gets, %d updates", c.store.count(opGet)-gets, c.store.count(opUpdate)-updates)
			if got, want := c.store.current().Annotations["a"], fmt.Sprint(asked); publishing && (got != want || asked == 0) {
				t.Errorf("published is %q, want the last answer %q", got, want)
			}
		})
	}
	if requests[true] != requests[false] {
		t.Errorf("a leader that publishes makes %s in %v, another one %s", requests[true], during, requests[false])
	}
	t.Logf("%s in %v", requests[true], during)
}

// Those who stand by are not asked, and what a leader published goes with it:
// when it releases the Lease, and when another one takes it after a crash.
func TestAnnotationsEndWithTheTerm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		var mu sync.Mutex
		asked := map[string]bool{}
		text := "well" // what every leader says
		c.configure = func(cfg *Config) {
			id := cfg.Identity
			cfg.Agents = 5
			cfg.Annotations = map[string]func() string{"a": func() string {
				mu.Lock()
				defer mu.Unlock()
				asked[id] = true
				return text
			}}
		}
		c.startN(5)
		defer c.stopAll()
		leader, _ := c.awaitTerm(10 * time.Second)
		published := func() (string, bool) {
			v, ok := c.store.current().Annotations["a"]
			return v, ok
		}
		time.Sleep(time.Minute)
		if got, _ := published(); got != "well" {
			t.Errorf("published is %q", got)
		}
		if len(asked) != 1 || !asked[leader.id] {
			t.Errorf("%v were asked, want the leader %s alone", asked, leader.id)
		}

		mu.Lock()
		text = ""
		mu.Unlock()
		time.Sleep(2 * DefaultRetryPeriod)
		if got, there := published(); there {
			t.Errorf("published is %q after there was nothing more to say", got)
		}
		mu.Lock()
		text = "well"
		mu.Unlock()
		time.Sleep(2 * DefaultRetryPeriod)

		var taken []string // what stood in the writes that took the Lease or gave it up
		holder := leader.id
		c.store.mu.Lock()
		c.store.changed = func(l *coordinationv1.Lease) {
			if h := ptr.Deref(l.Spec.HolderIdentity, ""); h != holder {
				holder = h
				taken = append(taken, l.Annotations["a"])
			}
		}
		c.store.mu.Unlock()
		c.stop(leader)
		next, _ := c.awaitTerm(time.Minute)
		time.Sleep(2 * DefaultRetryPeriod)
		if got, _ := published(); got != "well" {
			t.Errorf("the next leader publishes %q", got)
		}
		c.kill(next)
		c.awaitTerm(time.Minute)
		if got := strings.Join(taken, ""); len(taken) != 3 || got != "" {
			t.Errorf("at a release, a takeover of it and one after a crash the Lease said %q, want nothing three times", taken)
		}
	})
}

// A real API server's Lease never shows what one agent published beside the name
// of another.
func TestAnnotationsOnTheAPIServer(t *testing.T) {
	cp := stage.ForTest(t)
	namespace := cp.Namespace(t)
	admin, err := kubernetes.NewForConfig(cp.Config())
	if err != nil {
		t.Fatal(err)
	}
	grant(t, admin, namespace, "agent")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	leases := admin.CoordinationV1().Leases(namespace)
	seen, err := leases.Watch(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	watched := make(chan map[string]int) // how often each agent's text was seen
	var newest atomic.Value              // the resourceVersion that was seen last
	newest.Store("")
	go func() {
		count := map[string]int{}
		defer func() { watched <- count }()
		for event := range seen.ResultChan() {
			l, ok := event.Object.(*coordinationv1.Lease)
			if !ok {
				continue
			}
			text, there := l.Annotations[termAnnotation]
			if holder := ptr.Deref(l.Spec.HolderIdentity, ""); there && text != holder {
				t.Errorf("%q holds the Lease, and published is what %q says", holder, text)
			}
			count[text]++
			newest.Store(l.ResourceVersion)
		}
	}()

	config, err := cp.UserConfig("agent")
	if err != nil {
		t.Fatal(err)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	const agents = 3
	for i := range agents {
		id := fmt.Sprintf("node-%d", i)
		e, err := New(Config{
			Client: client.CoordinationV1(), Namespace: namespace, Name: testName, Identity: id,
			LeaseDuration: 3 * time.Second, RenewDeadline: 2 * time.Second, RetryPeriod: 200 * time.Millisecond, Agents: agents,
			Annotations: map[string]func() string{termAnnotation: func() string { return id }},
		})
		if err != nil {
			t.Fatal(err)
		}
		term, end := context.WithCancel(ctx)
		done := make(chan error, 1)
		go func() {
			done <- e.Run(term, func(ctx context.Context) error { <-ctx.Done(); return nil })
		}()
		said := func(ctx context.Context) (bool, error) {
			l, err := leases.Get(ctx, testName, metav1.GetOptions{})
			return err == nil && l.Annotations[termAnnotation] == id, nil
		}
		if err := wait.PollUntilContextCancel(ctx, 20*time.Millisecond, true, said); err != nil {
			t.Errorf("%s publishes nothing: %v", id, err)
		}
		end()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	last, err := leases.Get(ctx, testName, metav1.GetOptions{}) // nobody writes it any more
	if err != nil {
		t.Fatal(err)
	}
	all := func(context.Context) (bool, error) { return newest.Load() == last.ResourceVersion, nil }
	if err := wait.PollUntilContextCancel(ctx, 20*time.Millisecond, true, all); err != nil {
		t.Errorf("the watch has not seen resourceVersion %s: %v", last.ResourceVersion, err)
	}
	seen.Stop()
	count := <-watched
	if len(count) != agents+1 {
		t.Errorf("seen were %v, want what %d agents say and nothing between their terms", count, agents)
	}
}
