package election

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	coordinationv1client "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/utils/ptr"
)

const (
	testNamespace = "rolecall"
	testName      = "rolecall"
)

var leases = schema.GroupResource{Group: "coordination.k8s.io", Resource: "leases"}

var errAnswerLost = errors.New("the answer was lost")

// A fault is what goes wrong with one request.
type fault struct {
	delay   time.Duration // before the request reaches the store
	refused error         // the request is not applied
	lost    bool          // the request is applied, but errAnswerLost is all that comes back
}

// A store holds one Lease as an API server would: with resourceVersions, so
// that of two updates from the same state one conflicts.
type store struct {
	t *testing.T

	// fault decides about each request; nil for none.
	fault func(op, client string) fault
	// changed is called, with mu held, after each write.
	changed func(lease *coordinationv1.Lease)

	mu       sync.Mutex
	lease    *coordinationv1.Lease
	version  int
	written  time.Time      // when the Lease changed last
	down     time.Time      // what arrives before then is refused
	requests map[string]int // by operation
	cut      map[string]bool
}

func newStore(t *testing.T) *store {
	return &store{t: t, requests: map[string]int{}, cut: map[string]bool{}}
}

// count returns how many requests of these operations have come in.
func (s *store) count(ops ...string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, op := range ops {
		n += s.requests[op]
	}
	return n
}

// current returns a copy of the Lease, nil if there is none.
func (s *store) current() *coordinationv1.Lease {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lease.DeepCopy()
}

func (s *store) lastWrite() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.written
}

func (s *store) holder() string {
	if l := s.current(); l != nil {
		return ptr.Deref(l.Spec.HolderIdentity, "")
	}
	return ""
}

// force changes the Lease, or deletes it if change returns nil, as somebody
// with kubectl could.
func (s *store) force(change func(*coordinationv1.Lease) *coordinationv1.Lease) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.put(change(s.lease.DeepCopy()))
}

func (s *store) put(l *coordinationv1.Lease) {
	if l != nil {
		s.version++
		l.ResourceVersion = strconv.Itoa(s.version)
	}
	s.lease, s.written = l, time.Now()
	if s.changed != nil {
		s.changed(l)
	}
}

// disconnect makes every request of a client fail from now on.
func (s *store) disconnect(client string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cut[client] = true
}

// client returns the store as one agent reaches it.
func (s *store) client(name string) coordinationv1client.LeasesGetter {
	return &storeClient{store: s, name: name}
}

// storeClient has the three verbs that an agent may use; any other panics.
type storeClient struct {
	coordinationv1client.LeaseInterface
	store *store
	name  string
}

func (c *storeClient) Leases(ns string) coordinationv1client.LeaseInterface {
	if ns != testNamespace {
		c.store.t.Errorf("Leases(%q), want %q", ns, testNamespace)
	}
	return c
}

func (c *storeClient) do(ctx context.Context, op, name string, apply func() (*coordinationv1.Lease, error)) (*coordinationv1.Lease, error) {
	if name != testName {
		c.store.t.Errorf("%s of lease %q, want %q", op, name, testName)
	}
	c.store.mu.Lock()
	c.store.requests[op]++
	decide := c.store.fault
	c.store.mu.Unlock()
	var f fault
	if decide != nil {
		f = decide(op, c.name)
	}
	if f.delay > 0 && !sleep(ctx, f.delay) {
		return &coordinationv1.Lease{}, ctx.Err()
	}
	c.store.mu.Lock()
	defer c.store.mu.Unlock()
	switch {
	case ctx.Err() != nil:
		return &coordinationv1.Lease{}, ctx.Err()
	case c.store.cut[c.name], time.Now().Before(c.store.down):
		return &coordinationv1.Lease{}, errors.New("connection refused")
	case f.refused != nil:
		return &coordinationv1.Lease{}, f.refused
	}
	got, err := apply()
	if f.lost {
		return &coordinationv1.Lease{}, errAnswerLost
	}
	if err != nil {
		return &coordinationv1.Lease{}, err
	}
	return got.DeepCopy(), nil
}

func (c *storeClient) Get(ctx context.Context, name string, _ metav1.GetOptions) (*coordinationv1.Lease, error) {
	return c.do(ctx, opGet, name, func() (*coordinationv1.Lease, error) {
		if c.store.lease == nil {
			return nil, apierrors.NewNotFound(leases, name)
		}
		return c.store.lease, nil
	})
}

// termAnnotation is what every agent of the tests publishes: its identity.
const termAnnotation = "rolecall.dev/test-term"

// published holds that what stands in a Lease of a term is of its holder.
func (c *storeClient) published(l *coordinationv1.Lease) {
	text, there := l.Annotations[termAnnotation]
	if holder := ptr.Deref(l.Spec.HolderIdentity, ""); there && (text != holder || holder != c.name) {
		c.store.t.Errorf("%s writes that %q holds the lease and publishes what %q says", c.name, holder, text)
	}
}

func (c *storeClient) Create(ctx context.Context, l *coordinationv1.Lease, _ metav1.CreateOptions) (*coordinationv1.Lease, error) {
	l = l.DeepCopy()
	c.published(l)
	return c.do(ctx, opCreate, l.Name, func() (*coordinationv1.Lease, error) {
		if c.store.lease != nil {
			return nil, apierrors.NewAlreadyExists(leases, l.Name)
		}
		c.store.put(l)
		return l, nil
	})
}

func (c *storeClient) Update(ctx context.Context, l *coordinationv1.Lease, _ metav1.UpdateOptions) (*coordinationv1.Lease, error) {
	l = l.DeepCopy()
	c.published(l)
	return c.do(ctx, opUpdate, l.Name, func() (*coordinationv1.Lease, error) {
		switch {
		case c.store.lease == nil:
			return nil, apierrors.NewNotFound(leases, l.Name)
		case l.ResourceVersion == "":
			c.store.t.Error("update without a resourceVersion")
		case l.ResourceVersion != c.store.lease.ResourceVersion:
			return nil, apierrors.NewConflict(leases, l.Name, errors.New("the object has been modified"))
		}
		c.store.put(l)
		return l, nil
	})
}

// terms records who works when, and holds the invariants: one at a time, and
// the Lease is not released under work that runs.
type terms struct {
	t       *testing.T
	started chan term // one item for each term that began
	linger  time.Duration

	mu      sync.Mutex
	running []string
	dead    map[string]bool // killed: what they still do is not done
	overlap int
	lenient bool // two at a time are counted, not failed
}

type term struct {
	agent string
	at    time.Time
}

func newTerms(t *testing.T) *terms {
	return &terms{t: t, started: make(chan term, 10_000), dead: map[string]bool{}}
}

// work returns what an agent runs while it leads.
func (c *terms) work(agent string) func(context.Context) error {
	return func(ctx context.Context) error {
		c.begin(agent)
		defer c.end(agent)
		<-ctx.Done()
		time.Sleep(c.linger)
		return ctx.Err()
	}
}

func (c *terms) begin(agent string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dead[agent] {
		return
	}
	if len(c.running) > 0 {
		c.overlap++
		if !c.lenient {
			c.t.Errorf("%v: %s begins to work while %v does", time.Now(), agent, c.running)
		}
	}
	c.running = append(c.running, agent)
	c.started <- term{agent, time.Now()}
}

func (c *terms) end(agent string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running = slices.DeleteFunc(c.running, func(s string) bool { return s == agent })
}

func (c *terms) kill(agent string) {
	c.mu.Lock()
	c.dead[agent] = true
	c.mu.Unlock()
	c.end(agent)
}

func (c *terms) isDead(agent string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.dead[agent]
}

func (c *terms) working() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.running)
}

// notReleasedUnderWork is the store's changed hook.
func (c *terms) notReleasedUnderWork(l *coordinationv1.Lease) {
	if l != nil && ptr.Deref(l.Spec.HolderIdentity, "") == "" && len(c.working()) > 0 {
		c.t.Errorf("the lease is released while %v works", c.working())
	}
}

// A cluster is a number of agents around one Lease, in a synctest bubble.
type cluster struct {
	t     *testing.T
	store *store
	terms *terms
	// configure changes the configuration of each agent that starts.
	configure func(*Config)

	next   int
	agents map[string]*agent
}

type agent struct {
	*Elector
	id     string
	cancel context.CancelFunc
	done   chan error // Run's result
}

func newCluster(t *testing.T) *cluster {
	c := &cluster{t: t, store: newStore(t), terms: newTerms(t), agents: map[string]*agent{}}
	c.store.changed = c.terms.notReleasedUnderWork
	return c
}

// start adds an agent that does work, or the recorder's if that is nil.
func (c *cluster) start(work func(context.Context) error) *agent {
	c.t.Helper()
	c.next++
	id := fmt.Sprintf("node-%d", c.next)
	cfg := Config{
		Client: c.store.client(id), Namespace: testNamespace, Name: testName, Identity: id,
		Annotations: map[string]func() string{termAnnotation: func() string { return id }},
		Logger:      slog.New(slog.NewTextHandler(c.t.Output(), &slog.HandlerOptions{Level: slog.LevelError})),
	}
	if c.configure != nil {
		c.configure(&cfg)
	}
	e, err := New(cfg)
	if err != nil {
		c.t.Fatal(err)
	}
	if work == nil {
		work = c.terms.work(id)
	}
	ctx, cancel := context.WithCancel(c.t.Context())
	a := &agent{Elector: e, id: id, cancel: cancel, done: make(chan error, 1)}
	c.agents[id] = a
	go func() { a.done <- e.Run(ctx, work) }()
	return a
}

// startN adds n agents.
func (c *cluster) startN(n int) {
	c.t.Helper()
	for range n {
		c.start(nil)
	}
}

// awaitTerm returns when the next term begins, and fails after limit.
func (c *cluster) awaitTerm(limit time.Duration) (*agent, time.Time) {
	c.t.Helper()
	select {
	case term := <-c.terms.started:
		return c.agents[term.agent], term.at
	case <-time.After(limit):
		c.t.Fatalf("nobody leads after %v; the lease is held by %q", limit, c.store.holder())
		return nil, time.Time{}
	}
}

// stop ends an agent as SIGTERM does, and waits for it.
func (c *cluster) stop(a *agent) {
	c.t.Helper()
	delete(c.agents, a.id)
	a.cancel()
	if err := <-a.done; err != nil {
		c.t.Errorf("%s: Run: %v, want nil", a.id, err)
	}
}

// kill ends an agent as SIGKILL does: nothing of it is seen any more.
func (c *cluster) kill(a *agent) {
	delete(c.agents, a.id)
	c.store.disconnect(a.id)
	c.terms.kill(a.id)
	a.cancel()
}

// stopAll stops the agents, so that the bubble can end.
func (c *cluster) stopAll() {
	for _, a := range c.agents {
		a.cancel()
	}
	for _, a := range c.agents {
		if err := <-a.done; err != nil {
			c.t.Errorf("%s: Run: %v, want nil", a.id, err)
		}
	}
	clear(c.agents)
}

// quantile returns the value below which a part q of the sample lies.
func quantile(sample []time.Duration, q float64) time.Duration {
	s := slices.Sorted(slices.Values(sample))
	return s[min(int(q*float64(len(s))), len(s)-1)]
}
