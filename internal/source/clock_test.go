package source

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/rolecall/rolecall/internal/roster"
)

// Clocks that are off by up to eight hours, of a node and of the leader, neither
// have a live node's role dropped nor keep a dead one's for ever. Where they are off
// by an hour, and where the leader's jumps in the middle, the role is required too.
func TestClocksOff(t *testing.T) {
	const (
		lives = 30 * time.Hour // then the node dies
		step  = 5 * time.Minute
		keep  = 4 * time.Hour
		hour  = time.Hour
	)
	for _, tc := range []struct{ node, before, after time.Duration }{
		{0, 0, 0},
		{0, -hour, -hour},
		{0, hour, hour},
		{-hour, 0, 0},
		{-hour, -hour, -hour},
		{-hour, hour, hour},
		{hour, 0, 0},
		{hour, -hour, -hour},
		{hour, hour, hour},
		{0, -hour, hour},
		{0, 0, hour},
		{0, hour, 0},
		{hour, hour, -hour},
		{-hour, -hour, hour},
		{0, 2 * hour, 2 * hour},
		{0, 3 * hour, 3 * hour},
		{0, 4 * hour, 4 * hour},
		{0, 8 * hour, 8 * hour},
		{0, -8 * hour, -8 * hour},
		{-2 * hour, 0, 0},
		{-4 * hour, 0, 0},
		{-8 * hour, 0, 0},
		{8 * hour, 0, 0},
		{-8 * hour, 8 * hour, 8 * hour},
		{8 * hour, -8 * hour, -8 * hour},
	} {
		t.Run(fmt.Sprintf("node %s, leader %s then %s", tc.node, tc.before, tc.after), func(t *testing.T) {
			w := newWorld()
			w.owned("a", "node")
			c := reporting()
			c.NodeRoles.KeepUnused = keep
			s := w.set()
			var due, gone time.Duration
			off := (tc.before - tc.node).Abs()
			for at := time.Duration(0); at < lives+30*time.Hour; at += step {
				if at < lives && at >= due {
					w.reports.Reports = []roster.Report{{RoleARN: arn("a"), Node: "n", Renewed: start.Add(at + tc.node)}}
					due = at + 57*time.Minute // the longest time between two reports
				}
				w.now = start.Add(at + tc.before)
				if at/time.Hour%7 >= 3 {
					w.now = start.Add(at + tc.after)
				}
				asked := w.ask(s, c)
				mapped := slices.Contains(entriesOf(asked)["node"], "role/a")
				live := slices.Contains(asked.Required, arn("a"))
				if at < lives && !mapped {
					t.Fatalf("after %s the role of a live node is dropped", at)
				}
				// Its first change tells the leader, whatever the clocks say.
				if at < lives && !live && (off <= 2*time.Hour || at >= time.Hour) {
					t.Fatalf("after %s the role of a live node is not required", at)
				}
				if mapped {
					gone = at
				}
			}
			if stays := gone - lives; stays < keep-3*time.Hour || stays > 2*keep+3*time.Hour+off {
				t.Errorf("the role stays for %s after the node's end", stays)
			}
		})
	}
}

// A new role of a node whose clock is hours behind is asked for, whether the leader
// sees it appear or finds it; one that was given up long ago is not.
func TestNodeClockBehind(t *testing.T) {
	for _, tc := range []struct {
		behind  time.Duration
		found   bool // by the leader when it began
		mapped  bool
		isAlive bool
	}{
		{2 * time.Hour, false, true, true},
		{4 * time.Hour, false, true, true},
		{14 * time.Hour, false, true, true},
		{1000 * time.Hour, false, true, true},
		{2 * time.Hour, true, true, true},
		{4 * time.Hour, true, true, false},
		{14 * time.Hour, true, true, false},
		{1000 * time.Hour, true, false, false},
	} {
		w := newWorld()
		c := reporting()
		c.NodeRoles.KeepUnused = 3 * time.Hour
		s := w.set()
		if !tc.found {
			w.ask(s, c)
		}
		w.reports.Reports = []roster.Report{report("new", tc.behind)}
		asked := w.ask(s, c)
		if got := slices.Contains(entriesOf(asked)["node"], "role/new"); got != tc.mapped {
			t.Errorf("%+v: asked for %t", tc, got)
		}
		if got := len(asked.Required) > 0; got != tc.isAlive {
			t.Errorf("%+v: required %t", tc, got)
		}
		// Its next report tells.
		w.now = start.Add(57 * time.Minute)
		w.reports.Reports = []roster.Report{report("new", tc.behind-57*time.Minute)}
		if asked := w.ask(s, c); !slices.Equal(asked.Required, []string{arn("new")}) {
			t.Errorf("%+v: after another report %q is required", tc, asked.Required)
		}
		// A role that nobody reports any more goes.
		w.now = start.Add(60 * time.Hour)
		if got := entriesOf(w.ask(s, c))["node"]; len(got) > 0 {
			t.Errorf("%+v: it is asked for %q for ever", tc, got)
		}
	}
}

// An API server whose answers are old, between newer ones, keeps nothing alive.
func TestReportsThatGoBack(t *testing.T) {
	w := newWorld()
	w.owned("a", "node")
	w.owned("b", "node")
	c := reporting()
	c.NodeRoles.KeepUnused = 4 * time.Hour
	s := w.set()
	older, newer := []roster.Report{report("a", time.Hour)}, []roster.Report{report("a", 0), report("b", 0)}
	w.reports = Reports{ListResult: roster.ListResult{Reports: older}, Newest: true}
	w.ask(s, c)
	for at := time.Duration(0); at < 10*time.Hour; at += time.Minute {
		w.now = start.Add(at)
		w.reports = Reports{ListResult: roster.ListResult{Reports: newer}, Newest: true}
		if at/time.Minute%2 == 1 {
			w.reports = Reports{ListResult: roster.ListResult{Reports: older}}
		}
		asked := w.ask(s, c)
		if live := len(asked.Required) > 0; at >= liveFor && live {
			t.Fatalf("after %s %q is required", at, asked.Required)
		}
		if got := entriesOf(asked)["node"]; at >= 5*time.Hour && slices.Contains(got, "role/a") {
			t.Fatalf("after %s %q is asked for", at, got)
		}
	}
}

// A report from the far future, of a node whose clock was wrong, keeps its role no
// longer than one of now.
func TestReportFromTheFuture(t *testing.T) {
	w := newWorld()
	w.reports.Reports = []roster.Report{report("a", -100*365*24*time.Hour)}
	w.owned("a", "node")
	s := w.set()
	c := reporting()
	c.NodeRoles.KeepUnused = 24 * time.Hour
	for _, step := range []struct {
		after        time.Duration
		live, mapped bool
	}{
		{0, true, true},
		{liveFor - time.Minute, true, true},
		{liveFor + time.Minute, false, true},
		{24 * time.Hour, false, true},
		{25 * time.Hour, false, false},
	} {
		w.now = start.Add(step.after)
		asked := w.ask(s, c)
		if live, mapped := len(asked.Required) > 0, len(entriesOf(asked)["node"]) > 0; live != step.live || mapped != step.mapped {
			t.Errorf("after %s: live %t, mapped %t", step.after, live, mapped)
		}
	}
	// A node with a right clock writes it anew.
	w.reports.Reports = []roster.Report{{RoleARN: arn("a"), Renewed: w.now}}
	if asked := w.ask(s, c); len(asked.Required) != 1 {
		t.Error("a fresh report is not believed")
	}
}

// A report that seems to be from the future is not fresh once more when the leader's
// clock reaches it.
func TestReportThatTheLeadersClockReaches(t *testing.T) {
	w := newWorld()
	w.reports.Reports = []roster.Report{report("a", -8*time.Hour)}
	s := w.set()
	for _, after := range []time.Duration{0, liveFor, 8 * time.Hour, 9 * time.Hour} {
		w.now = start.Add(after)
		if asked := w.ask(s, reporting()); len(asked.Required) > 0 != (after == 0) {
			t.Errorf("after %s: required %q", after, asked.Required)
		}
	}
}

// That a role was missed once, long ago, does not count against it when its Lease is
// deleted under live nodes.
func TestMissedOnceIsNotMissedForEver(t *testing.T) {
	w := newWorld()
	w.owned("a", "node")
	s := w.set()
	c := reporting()
	c.NodeRoles.KeepUnused = 24 * time.Hour
	want := map[string][]string{"node": {"role/a"}}
	wantEntries(t, "not reported yet", w.ask(s, c), want)
	w.now = start.Add(time.Hour)
	w.reports.Reports = []roster.Report{{RoleARN: arn("a"), Renewed: w.now}}
	wantEntries(t, "reported", w.ask(s, c), want)
	w.now = start.Add(30 * 24 * time.Hour)
	w.reports.Reports = nil
	wantEntries(t, "its Lease deleted a month later", w.ask(s, c), want)
}

// The next leader does not begin to count anew where the Lease says since when a role
// is unused; but no leader drops it by a wall clock at once.
func TestUnusedIsCountedOverLeaders(t *testing.T) {
	w := newWorld()
	w.reports.Reports = []roster.Report{report("a", 30*24*time.Hour)}
	w.owned("a", "node")
	s := w.set()
	c := reporting()
	c.NodeRoles.KeepUnused = 7 * 24 * time.Hour
	for _, step := range []struct {
		after  time.Duration
		mapped bool
	}{{0, true}, {liveFor - time.Minute, true}, {liveFor, false}} {
		w.now = start.Add(step.after)
		if got := entriesOf(w.ask(s, c))["node"]; len(got) > 0 != step.mapped {
			t.Errorf("%s into the term: asked for %q", step.after, got)
		}
	}
}
