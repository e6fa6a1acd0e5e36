package agent

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/internal/source"
)

// desk takes a reporter's questions and reports.
type desk struct {
	mu      sync.Mutex
	node    source.Node
	errs    []error // of the next reports
	asked   int
	reports []string // role and how long after the start
	begin   time.Time
}

func (d *desk) identify(context.Context) (source.Node, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked++
	return d.node, nil
}

func (d *desk) report(_ context.Context, role, _ string, now time.Time) (bool, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.errs) > 0 {
		err := d.errs[0]
		d.errs = d.errs[1:]
		return false, err
	}
	d.reports = append(d.reports, role+" "+now.Sub(d.begin).Round(time.Minute).String())
	return true, nil
}

func (d *desk) set(role string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.node.RoleARN = role
}

// run runs a reporter in a bubble of testing/synctest.
func (d *desk) run(t *testing.T, during func(r *Reporter)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		d.begin = time.Now()
		r := &Reporter{Identify: d.identify, Report: d.report, NodeName: "n", Logger: slog.New(slog.DiscardHandler)}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- r.Run(ctx) }()
		synctest.Wait()
		during(r)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// A node that stays what it is reports about hourly, however often IMDS is asked.
func TestReportsHourly(t *testing.T) {
	d := &desk{node: source.Node{RoleARN: "old"}}
	d.run(t, func(*Reporter) { time.Sleep(24 * time.Hour) })
	if n := len(d.reports); n < 25 || n > 31 {
		t.Errorf("%d reports in a day, want one in 48 to 58 minutes: %v", n, d.reports)
	}
	if d.asked < 24*60*8/10 {
		t.Errorf("IMDS was asked %d times in a day", d.asked)
	}
}

// An exchanged instance profile is reported within about a minute.
func TestAnotherRoleIsReportedAtOnce(t *testing.T) {
	d := &desk{node: source.Node{RoleARN: "old"}}
	d.run(t, func(r *Reporter) {
		time.Sleep(10 * time.Minute)
		d.set("new")
		time.Sleep(2 * time.Minute)
		if self, ok := r.Self(); !ok || self.RoleARN != "new" {
			t.Errorf("it takes itself for %+v", self)
		}
	})
	slices.Sort(d.reports)
	if len(d.reports) != 2 || !slices.Contains([]string{"new 10m0s", "new 11m0s"}, d.reports[0]) || d.reports[1] != "old 0s" {
		t.Errorf("reports %q, want the old role at the start and the new one after 10 or 11 minutes", d.reports)
	}
}

// Agents that start together do not report together, and none waits long.
func TestFirstReportsAreSpread(t *testing.T) {
	var late int
	for range 50 {
		d := &desk{node: source.Node{RoleARN: "old"}}
		d.run(t, func(*Reporter) {
			time.Sleep(startSpread / 2)
			d.mu.Lock()
			soon := len(d.reports)
			d.mu.Unlock()
			if soon == 0 {
				late++
			}
			time.Sleep(startSpread / 2)
			d.mu.Lock()
			defer d.mu.Unlock()
			if len(d.reports) != 1 {
				t.Errorf("%d reports after %s", len(d.reports), startSpread)
			}
		})
	}
	if late < 10 || late > 40 {
		t.Errorf("%d of 50 reported in the second half of %s", late, startSpread)
	}
}

// A report that fails is tried again soon, and IMDS asked each time.
func TestReportIsTriedAgain(t *testing.T) {
	gone := errors.New("gone")
	d := &desk{node: source.Node{RoleARN: "old"}, errs: []error{gone, gone, gone}}
	d.run(t, func(*Reporter) { time.Sleep(30 * time.Second) })
	if diff := cmp.Diff([]string{"old 0s"}, d.reports); diff != "" || d.asked != 4 {
		t.Errorf("asked %d times, reports (-want +got):\n%s", d.asked, diff)
	}
}

// A report that may be gone is looked at within two minutes, by the agents of a
// cluster not all at once, and about hourly from then on.
func TestReportIsLookedAtAgain(t *testing.T) {
	var early int
	const runs = 50
	for range runs {
		d := &desk{node: source.Node{RoleARN: "old"}}
		d.run(t, func(r *Reporter) {
			time.Sleep(10 * time.Minute)
			reports := func() int {
				d.mu.Lock()
				defer d.mu.Unlock()
				return len(d.reports)
			}
			before := reports()
			for range 3 { // many reasons, one look
				r.Again()
			}
			time.Sleep(againSpread / 2)
			early += reports() - before
			time.Sleep(2*time.Minute - againSpread/2)
			if n := reports() - before; n != 1 {
				t.Errorf("it was looked at %d times in two minutes", n)
			}
			time.Sleep(40 * time.Minute)
			if n := reports() - before; n != 1 {
				t.Errorf("it was looked at %d times in 42 minutes", n)
			}
			time.Sleep(20 * time.Minute)
			if n := reports() - before; n != 2 {
				t.Errorf("it was looked at %d times in 62 minutes", n)
			}
		})
	}
	if early < runs/5 || early > runs*4/5 {
		t.Errorf("%d of %d looked in the first half of %s", early, runs, againSpread)
	}
}

// Whoever asks for it before the reporter runs is not forgotten.
func TestAgainBeforeTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &desk{node: source.Node{RoleARN: "old"}, begin: time.Now()}
		r := &Reporter{Identify: d.identify, Report: d.report, NodeName: "n", Logger: slog.New(slog.DiscardHandler)}
		r.Again()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
		defer cancel()
		if err := r.Run(ctx); err != nil {
			t.Error(err)
		}
		if len(d.reports) != 2 {
			t.Errorf("reports %q, want one at the start and one soon after", d.reports)
		}
	})
}

// Without an election nobody tells of a restored cluster: the report is looked at more
// often.
func TestLooksMoreOftenWhereNobodyTells(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &desk{node: source.Node{RoleARN: "old"}, begin: time.Now()}
		r := &Reporter{Identify: d.identify, Report: d.report, NodeName: "n", LookAgain: 15 * time.Minute, Logger: slog.New(slog.DiscardHandler)}
		ctx, cancel := context.WithTimeout(t.Context(), 24*time.Hour)
		defer cancel()
		if err := r.Run(ctx); err != nil {
			t.Error(err)
		}
		if n := len(d.reports); n < 24*4 || n > 24*5+1 {
			t.Errorf("%d reports in a day, want one in 12 to 15 minutes", n)
		}
	})
}
