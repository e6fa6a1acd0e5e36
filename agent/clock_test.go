package agent

import (
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/internal/roster"
)

// Clocks that are an hour off, of a node and of the leader, from the start or by
// a jump in the middle, neither have a live node's role dropped nor keep a dead
// one's for ever.
func TestClocksAnHourOff(t *testing.T) {
	const (
		arn   = "arn:aws:iam::111122223333:role/a"
		lives = 30 * time.Hour // then the node dies
		step  = 5 * time.Minute
		keep  = 4 * time.Hour
	)
	offsets := []time.Duration{-time.Hour, 0, time.Hour}
	spec := &Spec{Nodes: Nodes{Report: true, KeepUnused: keep}}
	ledger := &awsauth.Ledger{Owned: []awsauth.Owned{{Entry: nodeEntry(arn), Claims: []awsauth.Claim{{Source: sourceNode}}}}}
	for _, node := range offsets {
		for _, before := range offsets {
			for _, after := range offsets { // the leader's clock jumps there and then back and forth
				t.Run(fmt.Sprintf("node %s, leader %s then %s", node, before, after), func(t *testing.T) {
					w := newWorld()
					g := w.gatherer()
					var due time.Duration
					var gone time.Duration
					for at := time.Duration(0); at < lives+24*time.Hour; at += step {
						if at < lives && at >= due {
							w.reports.Reports = []roster.Report{{RoleARN: arn, Node: "n", Renewed: start.Add(at + node)}}
							due = at + 57*time.Minute // the longest time between two reports
						}
						w.now = start.Add(at + before)
						if at/time.Hour%7 >= 3 {
							w.now = start.Add(at + after)
						}
						got, out := asked(t, g, spec, nil, ledger)
						mapped := slices.Contains(got[sourceNode], "role/a")
						if at < lives && (!mapped || !slices.Contains(out.required, arn)) {
							t.Fatalf("after %s: the live role is asked for: %t, required: %q", at, mapped, out.required)
						}
						if mapped {
							gone = at
						}
					}
					if unused := gone - lives; unused < keep-3*time.Hour || unused > 2*keep+3*time.Hour {
						t.Errorf("the role stays for %s after the node's end", unused)
					}
				})
			}
		}
	}
}

// A report from the far future, of a node whose clock was wrong, keeps its role
// no longer than one of now.
func TestReportFromTheFuture(t *testing.T) {
	w := newWorld()
	w.reports.Reports = []roster.Report{report("a", -100*365*24*time.Hour)}
	ledger := &awsauth.Ledger{Owned: []awsauth.Owned{{Entry: nodeEntry("arn:aws:iam::111122223333:role/a"), Claims: []awsauth.Claim{{Source: sourceNode}}}}}
	g := w.gatherer()
	spec := &Spec{Nodes: Nodes{Report: true, KeepUnused: 24 * time.Hour}}
	for _, step := range []struct {
		after          time.Duration
		live, mapped   bool
		otherWiseKnown string
	}{
		{0, true, true, "seen first"},
		{liveFor - time.Minute, true, true, "as live as any"},
		{liveFor + time.Minute, false, true, "unused"},
		{25 * time.Hour, false, true, "unused for longer than it is kept, which this leader sees first now"},
		{25*time.Hour + liveFor, false, false, "gone"},
	} {
		w.now = start.Add(step.after)
		got, out := asked(t, g, spec, nil, ledger)
		if live, mapped := len(out.required) > 0, len(got[sourceNode]) > 0; live != step.live || mapped != step.mapped {
			t.Errorf("after %s (%s): live %t, mapped %t", step.after, step.otherWiseKnown, live, mapped)
		}
	}
	// A node with a right clock writes it anew.
	w.reports.Reports = []roster.Report{{RoleARN: "arn:aws:iam::111122223333:role/a", Renewed: w.now}}
	if _, out := asked(t, g, spec, nil, ledger); len(out.required) != 1 {
		t.Error("a fresh report is not believed")
	}
}

// That a role was missed once, long ago, does not count against it when its
// Lease is deleted under live nodes.
func TestMissedOnceIsNotMissedForEver(t *testing.T) {
	w := newWorld()
	ledger := &awsauth.Ledger{Owned: []awsauth.Owned{{Entry: nodeEntry("arn:aws:iam::111122223333:role/a"), Claims: []awsauth.Claim{{Source: sourceNode}}}}}
	g := w.gatherer()
	spec := &Spec{Nodes: Nodes{Report: true, KeepUnused: 24 * time.Hour}}
	wantAsked := func(what string) {
		t.Helper()
		if got, _ := asked(t, g, spec, nil, ledger); len(got[sourceNode]) != 1 {
			t.Errorf("%s: the role is dropped", what)
		}
	}
	wantAsked("not reported yet")
	w.now = start.Add(time.Hour)
	w.reports.Reports = []roster.Report{{RoleARN: "arn:aws:iam::111122223333:role/a", Renewed: w.now}}
	wantAsked("reported")
	w.now = start.Add(30 * 24 * time.Hour)
	w.reports.Reports = nil
	wantAsked("its Lease deleted a month later")
}

// Whoever leads next does not begin to count anew where the Lease says since
// when a role is unused; but no leader drops it by its own clock at once.
func TestUnusedIsCountedOverLeaders(t *testing.T) {
	w := newWorld()
	w.reports.Reports = []roster.Report{report("a", 30*24*time.Hour)}
	ledger := &awsauth.Ledger{Owned: []awsauth.Owned{{Entry: nodeEntry("arn:aws:iam::111122223333:role/a"), Claims: []awsauth.Claim{{Source: sourceNode}}}}}
	g := w.gatherer()
	spec := &Spec{Nodes: Nodes{Report: true, KeepUnused: 7 * 24 * time.Hour}}
	for _, step := range []struct {
		after  time.Duration
		mapped bool
	}{{0, true}, {liveFor - time.Minute, true}, {liveFor, false}} {
		w.now = start.Add(step.after)
		if got, _ := asked(t, g, spec, nil, ledger); len(got[sourceNode]) > 0 != step.mapped {
			t.Errorf("%s into the term: asked for %q", step.after, got[sourceNode])
		}
	}
}

// How long a pass has been running is told by a clock that nobody can set.
func TestBusyIsMonotonic(t *testing.T) {
	client := fake.NewClientset()
	w := newWorld()
	l := NewLeader(Options{
		Client: client, Namespace: "n", Roster: w, Self: w.gatherer().self,
		Directory: w.gatherer().directory, Logger: slog.New(slog.DiscardHandler),
	})
	l.Apply(&Spec{})
	passes := 0
	client.PrependReactor("get", "configmaps", func(clienttesting.Action) (bool, runtime.Object, error) {
		passes++
		if since := l.busySince.Load(); since == nil || l.busy() < 0 || *since == since.Round(0) { // Round strips the monotonic reading
			t.Errorf("the start of a pass is kept by the wall clock: %v", since)
		}
		return false, nil, nil
	})
	if err := l.onePass(t.Context()); err != nil {
		t.Error(err)
	}
	if passes == 0 || l.busy() != 0 {
		t.Errorf("%d requests; busy for %s afterwards", passes, l.busy())
	}
}
