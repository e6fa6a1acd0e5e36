package source

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/config"
	"github.com/rolecall/rolecall/internal/roster"
)

func TestReportsAreBelievedOfAllowedAccountsOnly(t *testing.T) {
	w := newWorld()
	w.reports.Reports = []roster.Report{
		report("a", time.Minute),
		{RoleARN: "arn:aws:iam::444455556666:role/other", Node: "n", Renewed: start},
		{RoleARN: "arn:aws-cn:iam::111122223333:role/cn", Node: "n", Renewed: start},
		{RoleARN: "arn:aws:iam::111122223333:instance-profile/p", Node: "n", Renewed: start},
	}
	w.reports.Invalid, w.reports.Surplus = []string{"node-role-0"}, 3
	c := reporting()
	asked := w.ask(w.set(), c)
	wantEntries(t, "the own account", asked, map[string][]string{"node": {"role/a"}})
	if len(asked.Refused) != 5 || asked.Refused["node-role-0"] == nil {
		t.Errorf("refused: %v", asked.Refused)
	}
	if len(asked.Errs) > 0 {
		t.Errorf("a report that is refused is an error of the source: %v", asked.Errs)
	}
	if diff := cmp.Diff([]string{arn("a")}, asked.Required); diff != "" {
		t.Errorf("required (-want +got):\n%s", diff)
	}
	c.NodeRoles.Accounts = []string{other}
	wantEntries(t, "another account", w.ask(w.set(), c), map[string][]string{"node": {arn(other + ":other")}})
}

// A role that was missed once and reported again is counted anew when it is missed
// again: else a Lease that is deleted twice, a month apart, would take a role from
// live nodes.
func TestReportEndsAnAbsence(t *testing.T) {
	w := newWorld()
	w.owned("a", "node")
	c := reporting()
	c.NodeRoles.KeepUnused = 24 * time.Hour
	s := w.set()
	for i, reports := range [][]roster.Report{nil, {report("a", 0)}, nil} {
		w.now = start.Add(time.Duration(i) * 23 * time.Hour)
		for j := range reports {
			reports[j].Renewed = w.now
		}
		w.reports.Reports = reports
		wantEntries(t, fmt.Sprint("step ", i), w.ask(s, c), map[string][]string{"node": {"role/a"}})
	}
}

func TestNodeRolesStayAfterTheirLastReport(t *testing.T) {
	w := newWorld()
	w.reports.Reports = []roster.Report{report("live", liveFor-time.Second), report("old", 30*24*time.Hour)}
	w.owned("no-lease", "node")
	w.owned("extra-once", "extra")
	w.stands("state-lost", "rolecall", "system:nodes")
	w.stands("person", "rolecall", "viewers")
	w.stands("unmanaged", "", "system:nodes")
	s := w.set()
	c := reporting()
	asked := w.ask(s, c)
	wantEntries(t, "kept for ever", asked, map[string][]string{"node": {"role/live", "role/no-lease", "role/old", "role/state-lost"}})
	if diff := cmp.Diff([]string{arn("live")}, asked.Required); diff != "" || len(asked.Live) != 1 {
		t.Errorf("required (-want +got), live %q:\n%s", asked.Live, diff)
	}

	// A role whose Lease is gone is counted from when it was missed, one with a Lease
	// from its last report, and a live one never goes.
	c.NodeRoles.KeepUnused = time.Minute
	want := map[string][]string{"node": {"role/live", "role/no-lease", "role/state-lost"}}
	wantEntries(t, "kept for a minute", w.ask(s, c), want)
	w.now = start.Add(liveFor - time.Second)
	w.reports.Reports[0].Renewed = w.now
	wantEntries(t, "reports come hourly", w.ask(s, c), want)
	w.now = start.Add(liveFor + time.Second)
	w.reports.Reports[0].Renewed = w.now
	wantEntries(t, "the minute is over", w.ask(s, c), map[string][]string{"node": {"role/live"}})
}

func TestReportingSwitchedOffDropsNoRole(t *testing.T) {
	w := newWorld()
	w.reports.Reports = []roster.Report{report("live", 0)}
	w.owned("live", "node")
	asked := w.ask(w.set(), &config.Config{})
	wantEntries(t, "switched off", asked, map[string][]string{"node": {"role/live"}})
	if len(asked.Required) > 0 {
		t.Errorf("required: %q", asked.Required)
	}
}

func TestRosterFailure(t *testing.T) {
	w := newWorld()
	w.reports.Err = errors.New("hung")
	asked := w.ask(w.set(), reporting())
	wantEntries(t, "the roster can't be read", asked, map[string][]string{"node": {"FAILED"}})
	if !errors.Is(asked.Errs["node"], w.reports.Err) {
		t.Errorf("error of the node source: %v", asked.Errs["node"])
	}
}

// Two Leases can stand for one role, with its path and without: the newer counts.
func TestTwoReportsOfOneRole(t *testing.T) {
	w := newWorld()
	old, young := report("path/a", 30*24*time.Hour), report("a", 0)
	c := reporting()
	c.NodeRoles.KeepUnused = 24 * time.Hour
	for _, reports := range [][]roster.Report{{old, young}, {young, old}} {
		w.reports.Reports = reports
		asked := w.ask(w.set(), c)
		wantEntries(t, "two reports", asked, map[string][]string{"node": {"role/a"}})
		if !slices.Equal(asked.Live, []string{arn("a")}) {
			t.Errorf("live: %q", asked.Live)
		}
	}
}
