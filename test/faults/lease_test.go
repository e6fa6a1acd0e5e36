package faults_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/rolecall/rolecall/test/faultproxy"
	"github.com/rolecall/rolecall/test/fleet"
	"github.com/rolecall/rolecall/test/trial"
)

// What the flags of quick are: toStop, LeaseDuration − RenewDeadline, is what the
// work has to stop in when the Lease is lost.
const (
	leaseDuration = 10 * time.Second
	toStop        = 5 * time.Second
)

// holder is whom a write of a Lease names.
func holder(r faultproxy.Record) string {
	if lease, ok := r.Object.(*coordinationv1.Lease); ok {
		return ptr.Deref(lease.Spec.HolderIdentity, "")
	}
	return ""
}

// writesOf are a client's writes of aws-auth and the ledger that came after a
// time.
func (c *cluster) writesOf(n *fleet.Node, since time.Time) []faultproxy.Record {
	return slices.DeleteFunc(c.proxy.Records(), func(r faultproxy.Record) bool {
		return r.Client != n.Name || !r.Writes() || !isWork(r.Request) || r.Begun.Before(since)
	})
}

// lease reads the leader's Lease, changes it and writes it back.
func (c *cluster) lease(change func(*coordinationv1.Lease)) {
	c.T.Helper()
	leases := c.Client.CoordinationV1().Leases(c.Namespace)
	for {
		lease, err := leases.Get(c.T.Context(), fleet.LeaseName, metav1.GetOptions{})
		if err != nil {
			c.T.Fatal(err)
		}
		change(lease)
		_, err = leases.Update(c.T.Context(), lease, metav1.UpdateOptions{})
		if err == nil {
			return
		}
		if !apierrors.IsConflict(err) {
			c.T.Fatal(err)
		}
	}
}

// Somebody takes the Lease by force while a write hangs. The work stops in
// time, hung request and all, and when the thief is silent the agents go on.
func TestLeaseStolen(t *testing.T) {
	t.Parallel()
	c := newCluster(t, opsOnly, quick...)
	c.Create(foreignText)
	leader, _ := c.nodes()
	c.settled("merged", with(trial.NodeRole("workers"), ops)...)

	hung := c.proxy.Add(faultproxy.Match{Client: leader.Name, Verb: "update", Name: "aws-auth"}, faultproxy.Hang())
	c.Mount(opsAndAna)
	c.hit(hung, 1)
	before := time.Now()
	c.lease(func(lease *coordinationv1.Lease) {
		lease.Spec.HolderIdentity = ptr.To("thief")
		lease.Spec.RenewTime = ptr.To(metav1.NowMicro())
		*lease.Spec.LeaseTransitions++
	})
	stolen := time.Now()
	c.stoodBy(leader)
	c.Eventually("the hung request is given up", func(context.Context) error {
		for _, r := range c.proxy.Records() {
			if r.Client == leader.Name && r.Writes() && isWork(r.Request) && r.Ended.IsZero() {
				return fmt.Errorf("%s is under way", r)
			}
		}
		return nil
	})
	if took := time.Since(stolen); took > toStop+2*time.Second { // a renewal apart, on a busy machine
		t.Errorf("the work went on for %s", took)
	}
	hung.Remove()
	c.settled("an agent took over from the silent thief", with(trial.NodeRole("workers"), ops, ana)...)
	c.OneLeads()
	for _, r := range c.writesOf(leader, stolen.Add(toStop)) {
		if r.Begun.Before(before.Add(leaseDuration)) { // nobody can have been elected anew
			t.Errorf("%s, %s after the Lease was stolen", r, r.Begun.Sub(stolen))
		}
	}
	c.alive()
	c.judge(foreignText, "workers")
}

// Somebody deletes the Lease. It is made anew, one agent leads, and the work
// goes on.
func TestLeaseDeleted(t *testing.T) {
	t.Parallel()
	c := newCluster(t, opsOnly, quick...)
	c.Create(foreignText)
	c.nodes()
	c.settled("merged", with(trial.NodeRole("workers"), ops)...)
	err := c.Client.CoordinationV1().Leases(c.Namespace).Delete(t.Context(), fleet.LeaseName, metav1.DeleteOptions{})
	if err != nil {
		t.Fatal(err)
	}
	c.OneLeads()
	c.Mount(opsAndAna)
	c.settled("the work goes on", with(trial.NodeRole("workers"), ops, ana)...)
	c.alive()
	c.judge(foreignText, "workers")
}

// The leader's process is frozen with a request under way, past the expiry of
// its Lease; the API server gets that request, or the process its answer, when
// another leads and has written something else. What the old leader writes
// loses by its resourceVersion.
func TestFrozenDuringWrite(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		hold func(*faultproxy.Proxy, faultproxy.Match) *faultproxy.Hold
		what string
	}{
		{"aws-auth under way", (*faultproxy.Proxy).HoldBefore, "aws-auth"},
		{"ledger answered, aws-auth next", (*faultproxy.Proxy).HoldAfter, fleet.LedgerName},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			long(t)
			c := newCluster(t, opsOnly, quick...)
			c.Create(foreignText)
			old, next := c.nodes()
			c.settled("merged", with(trial.NodeRole("workers"), ops)...)

			hold := test.hold(c.proxy, faultproxy.Match{Client: old.Name, Verb: "update", Name: test.what, Times: 1})
			if err := old.Mount.Swap(trial.Files(opsAndAna)); err != nil { // the other's mount comes later, with another edit
				t.Fatal(err)
			}
			held := c.next(hold)
			if err := old.Pause(); err != nil {
				t.Fatal(err)
			}
			if err := next.Mount.Swap(trial.Files(opsEdits)); err != nil {
				t.Fatal(err)
			}
			want := with(trial.NodeRole("workers"), editing)
			c.settled("another has taken over", want...)
			resumed := time.Now()
			held.Release()
			if err := old.Resume(); err != nil {
				t.Fatal(err)
			}
			c.stoodBy(old)
			c.leads(next)
			c.settled("what the new leader wrote stands", want...)
			for _, r := range c.proxy.Records() {
				if r.Client == old.Name && r.Writes() && isWork(r.Request) && r.Ended.After(resumed) && r.Name == "aws-auth" && r.Upstream != http.StatusConflict && r.Upstream != 0 {
					t.Errorf("%s of the old leader: the API server answered %d, want 409, or nothing where the term's end cut it off", r, r.Upstream)
				}
			}
			for _, v := range c.seen.Versions() {
				if strings.Contains(v.Data["mapUsers"], "user/ana") {
					t.Errorf("resourceVersion %s has what only the old leader asked:\n%s", v.ResourceVersion, v.Data["mapUsers"])
				}
			}
			c.judge(foreignText, "workers")
		})
	}
}

// The leader can't renew while its work hangs in a request. The work is over
// by RenewDeadline, before anybody else can lead, and what hung never counts.
func TestHungWriteDoesNotOutliveTheLease(t *testing.T) {
	t.Parallel()
	c := newCluster(t, opsOnly, quick...)
	c.Create(foreignText)
	old, next := c.nodes()
	c.settled("merged", with(trial.NodeRole("workers"), ops)...)

	hung := c.proxy.Add(faultproxy.Match{Client: old.Name, Verb: "get", Name: "aws-auth"}, faultproxy.Hang())
	c.Mount(opsAndAna)
	c.hit(hung, 1)
	cut := c.proxy.Add(faultproxy.Match{Client: old.Name, Resource: "leases", Name: fleet.LeaseName}, faultproxy.Hang())
	c.settled("the other took over", with(trial.NodeRole("workers"), ops, ana)...)
	c.leads(next)
	var took time.Time // the Lease, by the next leader
	for _, r := range c.proxy.Records() {
		if r.Client == next.Name && r.Resource == "leases" && r.Verb == "update" && strings.HasPrefix(holder(r), next.Name) && r.Code == http.StatusOK {
			took = r.Begun
			break
		}
	}
	for _, r := range c.proxy.Records() {
		if r.Client == old.Name && r.Name == "aws-auth" && r.Verb == "get" && (r.Ended.IsZero() || r.Ended.After(took)) {
			t.Errorf("%s went on until %s; the next leader took the Lease at %s", r, r.Ended, took)
		}
	}
	if late := c.writesOf(old, took); len(late) > 0 {
		t.Errorf("the old leader wrote when another led: %v", late)
	}
	cut.Remove()
	hung.Remove()
	c.alive()
	c.judge(foreignText, "workers")
}

// Events are a courtesy: that they can't be delivered keeps neither the work
// nor the end of the process waiting.
func TestHungEvents(t *testing.T) {
	t.Parallel()
	c := newCluster(t, opsOnly, calm...)
	c.Create(foreignText)
	leader, next := c.nodes()
	c.settled("merged", with(trial.NodeRole("workers"), ops)...)
	hung := c.proxy.Add(faultproxy.Match{Client: leader.Name, Resource: "events"}, faultproxy.Hang())
	c.Mount(opsAndAna)
	c.hit(hung, 1)
	c.settled("the work goes on", with(trial.NodeRole("workers"), ops, ana)...)
	c.Mount(opsOnly)
	c.settled("and on", with(trial.NodeRole("workers"), ops)...)
	ctx, cancel := context.WithTimeout(t.Context(), trial.Patience)
	defer cancel()
	begin := time.Now()
	if err := leader.Terminate(ctx); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took > 10*time.Second { // what hangs would be given up after 15 s
		t.Errorf("the process took %s to end", took)
	}
	c.leads(next)
	c.judge(foreignText, "workers")
}

// On SIGTERM during a write the work ends first and the Lease is released then:
// nothing is written after it, and the standby leads at once.
func TestTerminatedDuringWrite(t *testing.T) {
	t.Parallel()
	c := newCluster(t, opsOnly, "--lease-duration=60s", "--renew-deadline=40s", "--retry-period=500ms")
	c.Create(foreignText)
	old, next := c.nodes()
	c.settled("merged", with(trial.NodeRole("workers"), ops)...)
	hung := c.proxy.Add(faultproxy.Match{Client: old.Name, Verb: "update", Name: "aws-auth"}, faultproxy.Hang())
	c.Mount(opsAndAna)
	c.hit(hung, 1)
	ctx, cancel := context.WithTimeout(t.Context(), trial.Patience)
	defer cancel()
	if err := old.Terminate(ctx); err != nil {
		t.Fatal(err)
	}
	c.leads(next)
	c.settled("the other goes on", with(trial.NodeRole("workers"), ops, ana)...)
	var released time.Time
	for _, r := range c.proxy.Records() {
		if r.Client == old.Name && r.Resource == "leases" && r.Verb == "update" && r.Name == fleet.LeaseName && holder(r) == "" {
			released = r.Begun
		}
	}
	if released.IsZero() {
		t.Error("the Lease was not released")
	}
	// That the hung one was given up reaches the proxy by another connection than
	// the release, so that when it Ended says nothing of their order.
	for _, r := range c.writesOf(old, released) {
		t.Errorf("%s after the Lease was released", r)
	}
	c.judge(foreignText, "workers")
}

// A write of an account reaches the API server when its leader has gone and
// another config is in force, in which nobody asks for it. It carries no mark:
// only the ledger can tell that it was ours.
func TestLateWriteOfAnAccountIsTakenBack(t *testing.T) {
	t.Parallel()
	c := newCluster(t, opsOnly, quick...)
	c.Create(foreignText)
	old, next := c.NewNode("node-a", "workers"), c.NewNode("node-b", "workers")
	c.StartAgent(old)
	c.settled("merged", with(trial.NodeRole("workers"), ops)...)
	hold := c.proxy.HoldBefore(faultproxy.Match{Client: old.Name, Verb: "update", Name: "aws-auth", Times: 1})
	if err := old.Mount.Swap(trial.Files(withAccount)); err != nil {
		t.Fatal(err)
	}
	held := c.next(hold)
	old.Kill()
	(&steps{cluster: c}).freeLease()
	c.StartAgent(next)
	c.leads(next)
	c.Eventually("the next leader has written the ledger", func(context.Context) error {
		if len(c.writesOf(next, time.Time{})) == 0 {
			return errors.New("it has not")
		}
		return nil
	})
	held.Release()
	c.Eventually("the late write is there", func(context.Context) error {
		if !slices.ContainsFunc(c.seen.Versions(), func(v fleet.Version) bool { return strings.Contains(v.Data["mapAccounts"], "555566667777") }) {
			return errors.New("it is not")
		}
		return nil
	})
	c.settled("it is taken back", with(trial.NodeRole("workers"), ops)...)
	c.Logs(next, "entry changed", "remove", "555566667777")
	c.judge(foreignText, "workers")
}
