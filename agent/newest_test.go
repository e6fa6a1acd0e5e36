package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	clienttesting "k8s.io/client-go/testing"

	"github.com/rolecall/rolecall/internal/roster"
)

// A roster that is a moment old adds, and takes nothing away: the newest one does.
func TestOnlyTheNewestRosterTakesAway(t *testing.T) {
	w, client, r := reporting(by("n1", "first"), by("n2", "second"))
	pass := func(when string, lists []string, want ...string) {
		t.Helper()
		w.asked()
		reconcile(t, r, reported())
		if asked := w.asked(); !slices.Equal(asked, lists) {
			t.Errorf("%s: it asked for the roster of %q, want %q", when, asked, lists)
		}
		text := mapRoles(t, client)
		if n := strings.Count(text, "rolearn:"); n != len(want) {
			t.Errorf("%s: %d entries, want %d", when, n, len(want))
		}
		for _, role := range want {
			if !strings.Contains(text, roleOf(role)) {
				t.Errorf("%s: %s is not mapped", when, role)
			}
		}
	}
	pass("before the watch has seen anything", []string{""}, "first", "second")

	r.Saw("7")
	w.cached = &roster.ListResult{Reports: []roster.Report{by("n1", "first"), by("n2", "second"), by("n3", "third")}}
	pass("one more", []string{"7"}, "first", "second", "third")

	w.cached = &roster.ListResult{Reports: []roster.Report{by("n1", "first"), by("n2", "second")}}
	pass("one is missed, for the first time", []string{"7"}, "first", "second", "third")
	w.now = start.Add(liveFor)
	for i, role := range []string{"first", "second", "third"} {
		live := by(fmt.Sprint("n", i), role)
		live.Renewed = w.now
		w.reports.Reports = append(w.reports.Reports[:i], live)
	}
	w.cached.Reports = w.reports.Reports[:2]
	pass("missed for long by an old roster, but live", []string{"7", ""}, "first", "second", "third")

	w.reports.Reports = w.reports.Reports[:2]
	pass("missed by the newest for the first time", []string{"7"}, "first", "second", "third")
	w.now = w.now.Add(liveFor)
	for i := range w.reports.Reports { // the cached ones too
		w.reports.Reports[i].Renewed = w.now
	}
	pass("missed by both", []string{"7", ""}, "first", "second")
}

// Where the API server has nothing of the age that is wanted, the newest will do.
func TestNewestWhereOldIsRefused(t *testing.T) {
	w, client, r := reporting(by("n1", "first"))
	r.Roster = tooOld{w}
	r.Saw("7")
	got := r.firstReports(t.Context(), reported(), false)
	if got.Err != nil || !got.Newest || len(got.Reports) != 1 {
		t.Errorf("got %+v", got)
	}
	// It is not asked for once more: each refusal can take seconds.
	if r.seen.Load() != nil {
		t.Error("what was refused is asked for again")
	}
	reconcile(t, r, reported())
	if !slices.Equal(mapped(mapRoles(t, client)), []string{"first"}) {
		t.Errorf("it holds\n%s", mapRoles(t, client))
	}
	w.listErr = errors.New("no answer")
	r.Saw("8")
	if got := r.firstReports(t.Context(), reported(), false); got.Err == nil {
		t.Error("nothing answered, and the roster counts as empty")
	}
	if out := reconcile(t, r, reported()); out.Unread == nil || !slices.Equal(mapped(mapRoles(t, client)), []string{"first"}) {
		t.Errorf("nothing answered: %v; it holds\n%s", out.Unread, mapRoles(t, client))
	}
}

type tooOld struct{ *world }

func (r tooOld) List(ctx context.Context, notOlder string) (roster.ListResult, error) {
	if notOlder != "" {
		return roster.ListResult{}, errors.New("too large resource version")
	}
	return r.world.List(ctx, notOlder)
}

// What the watch has seen last is the newest of all that it saw, in whatever order.
func TestRosterSeen(t *testing.T) {
	w, _, r := reporting()
	for _, version := range []string{"9", "100", "12"} {
		r.Saw(version)
	}
	reconcile(t, r, reported())
	if asked := w.asked(); !slices.Equal(asked, []string{"100"}) {
		t.Errorf("it asks for reports not older than %q, want 100", asked)
	}
}

// A reconcile that is to take the newest roster takes no other.
func TestNewestIsAskedFor(t *testing.T) {
	w, _, r := reporting(by("n1", "first"))
	r.Saw("7")
	if out := r.Reconcile(t.Context(), reported(), true); out.Err != nil {
		t.Fatal(out.Err)
	}
	if asked := w.asked(); !slices.Equal(asked, []string{""}) {
		t.Errorf("it asked for the roster of %q, want the newest", asked)
	}
}

// The reconcile after a periodic refresh reads the newest roster, whatever the watch
// has seen: one that stands still tells of no report.
func TestRefreshReadsTheNewestRoster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, client := newWorld(by("n1", "first")), newClient(nil)
		old := w.reports
		w.cached = &old
		opts := options(client, w)
		var saw func(string)
		opts.WatchRoster = func(ctx context.Context, says func(string)) {
			saw = says
			says("7")
			<-ctx.Done()
		}
		l := NewLeader(opts)
		file := reported()
		file.Config.RefreshInterval = 10 * time.Minute
		l.Apply(file)
		lead(t, l)
		time.Sleep(time.Minute)
		w.asked()

		saw("8")
		time.Sleep(time.Minute)
		if asked := w.asked(); !slices.Equal(asked, []string{"8"}) {
			t.Errorf("what the watch saw had it ask for the roster of %q", asked)
		}
		// Reported, and the watch is blind.
		w.set(func() { w.reports.Reports = []roster.Report{by("n1", "first"), by("n2", "second")} })
		time.Sleep(10 * time.Minute)
		if asked := w.asked(); !slices.Equal(asked, []string{""}) {
			t.Errorf("the refresh had it ask for the roster of %q, want the newest, once", asked)
		}
		if got := mapped(mapRoles(t, client)); !slices.Equal(got, []string{"first", "second"}) {
			t.Errorf("mapped are %q", got)
		}
		saw("9")
		time.Sleep(time.Minute)
		if asked := w.asked(); !slices.Equal(asked, []string{"9"}) {
			t.Errorf("what the watch saw then had it ask for the roster of %q", asked)
		}
	})
}

// A role whose report is overdue is still that of a live node: agents report a little
// under [roster.StaleAfter] apart, and one that comes too late is no reason.
func TestLateReportIsLive(t *testing.T) {
	w, _, r := reporting(by("n1", "first"))
	w.now = start.Add(2 * roster.StaleAfter)
	if out := reconcile(t, r, reported()); len(out.Asked.Live) != 1 || len(out.Asked.Required) != 1 {
		t.Errorf("live are %q, required %q", out.Asked.Live, out.Asked.Required)
	}
}

// For how long a try has been running is told by a clock that nobody can set.
func TestBusyIsMonotonic(t *testing.T) {
	client := newClient(nil)
	w := newWorld()
	r := w.reconciler(client)
	r.Now = time.Now
	tries := 0
	client.PrependReactor("get", "configmaps", func(clienttesting.Action) (bool, runtime.Object, error) {
		tries++
		if since := r.began.Load(); since == nil || r.Busy() < 0 || *since == since.Round(0) { // Round strips the monotonic reading
			t.Errorf("the start of a try is kept by the wall clock: %v", since)
		}
		return false, nil, nil
	})
	reconcile(t, r, reported())
	if tries == 0 || r.Busy() != 0 {
		t.Errorf("%d requests; busy for %s afterwards", tries, r.Busy())
	}
}
