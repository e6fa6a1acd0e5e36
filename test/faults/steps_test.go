package faults_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rolecall/rolecall/test/faultproxy"
	"github.com/rolecall/rolecall/test/fleet"
	"github.com/rolecall/rolecall/test/trial"
)

// A leader is ended before and after every request that it makes for a change,
// and its successor sees to the rest: nothing of others' is lost, nothing
// stands twice, nothing of ours is left that nobody owns. Which requests there
// are is read off a run that nobody disturbs.
func TestEndedBetweenSteps(t *testing.T) {
	t.Parallel()
	long(t)
	for _, change := range changes {
		for _, how := range []ending{killed, terminated} {
			t.Run(fmt.Sprintf("%s-%s", change.name, how), func(t *testing.T) {
				t.Parallel()
				s := newSteps(t, change)
				for _, p := range s.points(s.undisturbed()) {
					s.endAt(p, how)
				}
			})
		}
	}
}

// The shortest of it, for every run of the tests: SIGKILL around the writes that
// add an entry.
func TestKilledAroundWrites(t *testing.T) {
	t.Parallel()
	s := newSteps(t, changes[0])
	for _, p := range s.points(s.undisturbed()) {
		if p.Writes() && p.when != late {
			s.endAt(p, killed)
		}
	}
}

// A change is a new config, met by a leader that has just come.
type change struct {
	name          string
	before, after string
	from, to      []fleet.Mapping
}

var changes = []change{
	{"add", opsOnly, opsAndAna, with(trial.NodeRole("workers"), ops), with(trial.NodeRole("workers"), ops, ana)},
	{"update", opsOnly, opsEdits, with(trial.NodeRole("workers"), ops), with(trial.NodeRole("workers"), editing)},
	{"remove", opsAndAna, opsOnly, with(trial.NodeRole("workers"), ops, ana), with(trial.NodeRole("workers"), ops)},
	{"account", opsOnly, withAccount, with(trial.NodeRole("workers"), ops), with(trial.NodeRole("workers"), ops, fleet.Mapping{ARN: "555566667777"})},
}

// An ending is how a process is ended.
type ending string

const (
	killed     ending = "SIGKILL"
	terminated ending = "SIGTERM"
)

// A point is where a leader is ended.
type point struct {
	faultproxy.Request
	skip int // so many requests of the same kind came before in the undisturbed run
	when moment
}

type moment string

const (
	before moment = "before" // the API server never gets the request
	after  moment = "after"  // it has carried it out, and the leader doesn't know
	late   moment = "late"   // the API server gets the request when a successor has done the work
)

func (p point) String() string { return fmt.Sprintf("%s %s %d", p.when, p.Request, p.skip) }

// steps is a cluster in which one change is made again and again.
type steps struct {
	*cluster
	change
	first, second   *fleet.Node       // the leader that is ended, and its successor
	awsAuth, ledger *corev1.ConfigMap // before the change
	broken          int               // requests that broke off by themselves
	fewer           int               // runs that did the work without the request at a point
}

func newSteps(t *testing.T, change change) *steps {
	s := &steps{cluster: newCluster(t, change.before, quick...), change: change}
	s.Create(foreignText)
	s.first, s.second = s.NewNode("first", "workers"), s.NewNode("second", "workers")
	s.StartAgent(s.first)
	s.awsAuth, s.ledger = s.settled("before the change", change.from...)
	s.first.Kill()
	s.Mount(change.after)
	return s
}

// reset puts everything back to before the change, with no agent running.
func (s *steps) reset() {
	s.T.Helper()
	s.first.Kill()
	s.second.Kill()
	s.Eventually("what they had under way is over", func(context.Context) error {
		for _, r := range s.proxy.Records() {
			if (r.Client == s.first.Name || r.Client == s.second.Name) && r.Verb != "watch" && r.Ended.IsZero() {
				return errors.New(r.Request.String())
			}
		}
		return nil
	})
	ctx := s.T.Context()
	for _, was := range []*corev1.ConfigMap{s.awsAuth, s.ledger} {
		cm := was.DeepCopy()
		cm.ResourceVersion = "" // whatever is there now
		if _, err := s.Client.CoreV1().ConfigMaps(was.Namespace).Update(ctx, cm, metav1.UpdateOptions{}); err != nil {
			s.T.Fatal(err)
		}
	}
	for _, namespace := range []string{s.Namespace, s.AWSAuthNamespace} {
		if err := s.Client.AppsV1().ControllerRevisions(namespace).DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{}); err != nil {
			s.T.Fatal(err)
		}
	}
	s.freeLease()
}

// freeLease spares a successor the wait for a dead leader's Lease.
func (s *steps) freeLease() {
	s.T.Helper()
	err := s.Client.CoordinationV1().Leases(s.Namespace).Delete(s.T.Context(), fleet.LeaseName, metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		s.T.Fatal(err)
	}
}

// undisturbed makes the change once and returns the requests that it took, in
// order: those of the leader's work, up to the last write.
func (s *steps) undisturbed() []faultproxy.Request {
	s.T.Helper()
	s.reset()
	begin := len(s.proxy.Records())
	s.StartAgent(s.first)
	s.settled("undisturbed", s.to...)
	s.AtLeast(s.first, 1, "rolecall_reconciles_total", "result", "changed") // to the pass's end
	s.first.Kill()
	var all []faultproxy.Request
	last := 0
	for _, r := range s.proxy.Records()[begin:] {
		if isWork(r.Request) {
			all = append(all, r.Request)
			if r.Writes() {
				last = len(all)
			}
		}
	}
	if last < 3 {
		s.T.Fatalf("the change took these requests only:\n%s", tail(s.proxy.Records()[begin:], 100))
	}
	s.T.Logf("steps: %v", all[:last])
	return all[:last]
}

// isWork tells the requests of the leader's passes from those of the election,
// of reporting, of watching and of Events.
func isWork(r faultproxy.Request) bool {
	switch {
	case r.Verb == "watch", r.Resource == "events", r.Resource == "daemonsets":
		return false
	case r.Resource == "leases":
		return r.Verb == "list" // the roster
	}
	return true
}

// points are all moments of all steps.
func (s *steps) points(all []faultproxy.Request) []point {
	var out []point
	count := map[string]int{}
	for _, r := range all {
		p := point{Request: r, skip: count[r.String()]}
		count[r.String()]++
		moments := []moment{before, after}
		if r.Writes() {
			moments = append(moments, late)
		}
		for _, p.when = range moments {
			out = append(out, p)
		}
	}
	return out
}

// endAt makes the change with a leader that is ended at a point, and a
// successor.
func (s *steps) endAt(p point, how ending) {
	s.T.Helper()
	s.reset()
	begin := len(s.proxy.Records())
	hold := s.proxy.HoldBefore
	if p.when == after {
		hold = s.proxy.HoldAfter
	}
	h := hold(faultproxy.Match{
		Client: p.Client, Verb: p.Verb, Resource: p.Resource, Subresource: p.Subresource, Namespace: p.Namespace, Name: p.Name,
		Where: isWork, Skip: p.skip, Times: 1,
	})
	defer h.Remove()
	s.StartAgent(s.first)
	held := s.comes(h, p, begin)
	if held == nil {
		h.Remove()
		s.endAt(p, how)
		return
	}
	if p.when == after && held.Code >= 300 {
		s.T.Fatalf("%s: the API server answered %d", p, held.Code)
	}
	switch how {
	case killed:
		s.first.Kill()
		s.freeLease()
	case terminated:
		ctx, cancel := context.WithTimeout(s.T.Context(), trial.Patience)
		defer cancel()
		if err := s.first.Terminate(ctx); err != nil {
			s.T.Fatalf("%s: %v", p, err)
		}
	}
	if p.when != late {
		held.Drop()
	}
	s.StartAgent(s.second)
	s.settled(fmt.Sprintf("%s, %s", how, p), s.to...)
	if p.when == late {
		held.Release()
		if !s.lost(p, begin) {
			s.endAt(p, how)
			return
		}
		s.settled("after the late request", s.to...)
	}
	s.judgeSteps(p, how, s.proxy.Records()[begin:])
}

// comes waits for the request at a point. It returns nil where another request
// broke off by itself: then the leader made another pass than the undisturbed
// one, in which the point need not come. That is rare, so three times are too many.
// It returns nil too where the leader has done the work in fewer reconciles than in
// the undisturbed run, in which its own report came between two of them.
func (s *steps) comes(h *faultproxy.Hold, p point, begin int) *faultproxy.Held {
	s.T.Helper()
	for until := time.Now().Add(trial.Patience); time.Now().Before(until); {
		ctx, cancel := context.WithTimeout(s.T.Context(), time.Second)
		held, err := h.Next(ctx)
		cancel()
		if err == nil {
			return held
		}
		for _, r := range s.proxy.Records()[begin:] {
			if r.Client == p.Client && isWork(r.Request) && !r.Ended.IsZero() && r.Code == 0 {
				s.onceMore(p, r.Request)
				return nil
			}
		}
		if s.isDone(p, begin) {
			if s.fewer++; s.fewer == 10 {
				s.T.Fatalf("%s: ten times it did not come: it is none of these", p)
			}
			s.T.Logf("%s: once more, for the work was done without it", p)
			return nil
		}
	}
	s.T.Fatalf("%s: no such request came to be held", p)
	return nil
}

// isDone reports whether the client of a point has written all that it had to, and has
// asked for nothing since three seconds.
func (s *steps) isDone(p point, begin int) bool {
	wrote := false
	for _, r := range s.proxy.Records()[begin:] {
		if r.Client != p.Client || !isWork(r.Request) {
			continue
		}
		if r.Ended.IsZero() || time.Since(r.Ended) < 3*time.Second {
			return false
		}
		wrote = wrote || r.Writes()
	}
	return wrote
}

// onceMore tells of a request that broke off by itself.
func (s *steps) onceMore(p point, broken faultproxy.Request) {
	s.T.Helper()
	s.T.Logf("%s: once more, for %s broke off by itself", p, broken)
	if s.broken++; s.broken == 3 {
		s.T.Fatal("that is no accident any more")
	}
}

// lost waits until the API server has answered a request that came late, and
// fails unless it refused it for its resourceVersion, or for what it would have
// created being there. A revision of the history is no state that two could
// differ on, and may come late. It returns false where the request broke off by
// itself, and so never came.
func (s *steps) lost(p point, begin int) (came bool) {
	s.T.Helper()
	s.Eventually("the late request is answered", func(context.Context) error {
		skip := p.skip
		for _, r := range s.proxy.Records()[begin:] {
			if r.Request.String() != p.Request.String() {
				continue
			}
			if skip--; skip >= 0 {
				continue
			}
			if r.Ended.IsZero() {
				return fmt.Errorf("%s is under way", r)
			}
			came = r.Upstream != 0
			if came && r.Resource == "configmaps" && r.Upstream != http.StatusConflict {
				s.T.Errorf("%s: the API server answered %d, want 409", p, r.Upstream)
			}
			return nil
		}
		return fmt.Errorf("there is no %s", p)
	})
	if !came {
		s.onceMore(p, p.Request)
	}
	return came
}

// judgeSteps looks at what a leader that was ended, and its successor, did.
func (s *steps) judgeSteps(p point, how ending, records []faultproxy.Record) {
	s.T.Helper()
	released := false
	for _, r := range records {
		if r.Client != p.Client {
			continue
		}
		if how == terminated && r.Resource == "leases" && r.Name == fleet.LeaseName && r.Verb == "update" {
			released = released || holder(r) == ""
		}
		if released && r.Writes() && isWork(r.Request) {
			s.T.Errorf("%s: %s after the Lease was released", p, r)
		}
	}
	if how == terminated && !released {
		s.T.Errorf("%s: the Lease was not released", p)
	}
	s.judge(foreignText, "workers")
}
