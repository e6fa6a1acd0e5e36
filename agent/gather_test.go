package agent

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/internal/roster"
)

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// world is everything that a gatherer asks, to be set by a test.
type world struct {
	reports  roster.ListResult
	listErr  error
	cached   *roster.ListResult // what lists that may be older say; nil: the same
	lists    []string           // the resourceVersions that were asked for
	self     *Node
	sets     map[string]string
	setsErr  error
	users    map[string][]IAMUser
	usersErr map[string]error
	caller   Account
	calls    int // of IAM
	now      time.Time
}

func (w *world) List(_ context.Context, notOlder string) (roster.ListResult, error) {
	w.lists = append(w.lists, notOlder)
	if notOlder != "" && w.cached != nil {
		return *w.cached, nil
	}
	return w.reports, w.listErr
}

func (w *world) PermissionSets(context.Context) (map[string]string, error) {
	w.calls++
	return w.sets, w.setsErr
}

func (w *world) GroupUsers(_ context.Context, group string) ([]IAMUser, error) {
	w.calls++
	return w.users[group], w.usersErr[group]
}

func (w *world) Caller(context.Context) (Account, error) {
	w.calls++
	if w.caller.ID == "" {
		return Account{}, errors.New("no credentials")
	}
	return w.caller, nil
}

func (w *world) gatherer() *gatherer {
	return &gatherer{
		log: slog.New(slog.DiscardHandler), roster: w,
		self: func() (Node, bool) {
			if w.self == nil {
				return Node{}, false
			}
			return *w.self, true
		},
		directory: func(context.Context, string, string) (Directory, error) { return w, nil },
		now:       func() time.Time { return w.now },
		caller:    callerView{err: errNotAsked},
		success:   map[string]time.Time{}, missing: map[string]time.Time{},
		verdicts: verdicts{due: make(chan struct{}, 1)},
	}
}

func newWorld() *world {
	return &world{
		now:  start,
		self: &Node{RoleARN: "arn:aws:iam::111122223333:role/a", Account: Account{"111122223333", "aws"}},
	}
}

func report(role string, age time.Duration) roster.Report {
	return roster.Report{RoleARN: "arn:aws:iam::111122223333:role/" + role, Node: "n", Renewed: start.Add(-age)}
}

// asked gathers and returns the ARNs that each source asks for, with the failed
// ones as nil.
func asked(t *testing.T, g *gatherer, spec *Spec, doc *awsauth.Document, ledger *awsauth.Ledger) (map[string][]string, gathered) {
	t.Helper()
	if doc == nil {
		doc, _ = awsauth.Parse(nil)
	}
	if ledger == nil {
		ledger = &awsauth.Ledger{}
	}
	out := g.gather(spec, doc, ledger, g.reports(t.Context(), spec, ""))
	arns := map[string][]string{}
	for _, s := range out.sources {
		if s.Failed {
			arns[s.Name] = nil
			continue
		}
		list := []string{}
		for _, e := range s.Entries {
			_, name, _ := cutARN(e.ARN)
			if slices.Contains(e.Groups, windowsGroup) {
				name += "+windows"
			}
			list = append(list, name)
		}
		slices.Sort(list)
		arns[s.Name] = list
	}
	return arns, out
}

func cutARN(arn string) (prefix, name string, ok bool) {
	for i := len(arn) - 1; i >= 0; i-- {
		if arn[i] == ':' {
			return arn[:i], arn[i+1:], true
		}
	}
	return "", arn, false
}

func wantAsked(t *testing.T, got map[string][]string, want map[string][]string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("what the sources ask (-want +got):\n%s", diff)
	}
}

func TestReportsAreBelievedOfAllowedAccountsOnly(t *testing.T) {
	w := newWorld()
	w.reports.Reports = []roster.Report{
		report("a", time.Minute),
		{RoleARN: "arn:aws:iam::444455556666:role/other", Node: "n", Renewed: start},
		{RoleARN: "arn:aws-cn:iam::111122223333:role/cn", Node: "n", Renewed: start},
		{RoleARN: "arn:aws:iam::111122223333:instance-profile/p", Node: "n", Renewed: start},
	}
	spec := &Spec{Nodes: Nodes{Report: true}}
	got, out := asked(t, w.gatherer(), spec, nil, nil)
	wantAsked(t, got, map[string][]string{"file": {}, "karpenter": {}, "extra": {}, "node": {"role/a"}})
	if diff := cmp.Diff([]string{"arn:aws:iam::111122223333:role/a"}, out.required); diff != "" {
		t.Errorf("required (-want +got):\n%s", diff)
	}
	spec.Nodes.Accounts = []string{"444455556666"}
	got, _ = asked(t, w.gatherer(), spec, nil, nil)
	wantAsked(t, got, map[string][]string{"file": {}, "karpenter": {}, "extra": {}, "node": {"role/other"}})
}

// A role that was missed once and reported again is counted anew when it is
// missed again: else a lease that is deleted twice, a month apart, would take a
// role from nodes that live.
func TestReportEndsAnAbsence(t *testing.T) {
	w := newWorld()
	ledger := &awsauth.Ledger{Owned: []awsauth.Owned{
		{Entry: nodeEntry("arn:aws:iam::111122223333:role/a"), Claims: []awsauth.Claim{{Source: sourceNode}}},
	}}
	spec := &Spec{Nodes: Nodes{Report: true, KeepUnused: 24 * time.Hour}}
	g := w.gatherer()
	for i, reports := range [][]roster.Report{nil, {report("a", 0)}, nil} {
		w.now = start.Add(time.Duration(i) * 23 * time.Hour)
		for j := range reports {
			reports[j].Renewed = w.now
		}
		w.reports.Reports = reports
		got, _ := asked(t, g, spec, nil, ledger)
		if diff := cmp.Diff([]string{"role/a"}, got["node"]); diff != "" {
			t.Errorf("step %d (-want +got):\n%s", i, diff)
		}
	}
}

func TestNodeRolesStayAfterTheirLastReport(t *testing.T) {
	w := newWorld()
	w.reports.Reports = []roster.Report{report("live", liveFor-time.Second), report("old", 30*24*time.Hour)}
	ledger := &awsauth.Ledger{Owned: []awsauth.Owned{
		{Entry: nodeEntry("arn:aws:iam::111122223333:role/no-lease"), Claims: []awsauth.Claim{{Source: sourceNode}}},
		{Entry: nodeEntry("arn:aws:iam::111122223333:role/extra-once"), Claims: []awsauth.Claim{{Source: sourceExtra}}},
	}}
	doc, err := awsauth.Parse(map[string]string{"mapRoles": `
- {rolearn: "arn:aws:iam::111122223333:role/ledger-lost", username: x, groups: [system:nodes], syncedBy: rolecall}
- {rolearn: "arn:aws:iam::111122223333:role/person", username: x, groups: [viewers], syncedBy: rolecall}
- {rolearn: "arn:aws:iam::111122223333:role/foreign", username: x, groups: [system:nodes]}
`})
	if err != nil {
		t.Fatal(err)
	}
	g := w.gatherer()
	spec := &Spec{Nodes: Nodes{Report: true}}
	got, out := asked(t, g, spec, doc, ledger)
	wantAsked(t, map[string][]string{"node": got["node"]}, map[string][]string{"node": {"role/ledger-lost", "role/live", "role/no-lease", "role/old"}})
	if diff := cmp.Diff([]string{"arn:aws:iam::111122223333:role/live"}, out.required); diff != "" || out.reported != 1 {
		t.Errorf("required (-want +got), %d reported:\n%s", out.reported, diff)
	}

	// A role whose lease is gone is counted from when it was missed, one with a
	// lease from its last report, and a live one never goes.
	spec.Nodes.KeepUnused = time.Minute
	got, _ = asked(t, g, spec, doc, ledger)
	wantAsked(t, map[string][]string{"node": got["node"]}, map[string][]string{"node": {"role/ledger-lost", "role/live", "role/no-lease"}})
	w.now = start.Add(liveFor + time.Second)
	w.reports.Reports[0].Renewed = w.now
	got, _ = asked(t, g, spec, doc, ledger)
	wantAsked(t, map[string][]string{"node": got["node"]}, map[string][]string{"node": {"role/live"}})
}

func TestReportingSwitchedOffDropsNoRole(t *testing.T) {
	w := newWorld()
	w.reports.Reports = []roster.Report{report("live", 0)}
	ledger := &awsauth.Ledger{Owned: []awsauth.Owned{{Entry: nodeEntry("arn:aws:iam::111122223333:role/live"), Claims: []awsauth.Claim{{Source: sourceNode}}}}}
	got, _ := asked(t, w.gatherer(), &Spec{}, nil, ledger)
	wantAsked(t, map[string][]string{"node": got["node"]}, map[string][]string{"node": {"role/live"}})
}

func TestRosterFailure(t *testing.T) {
	w := newWorld()
	w.listErr = errors.New("hung")
	got, out := asked(t, w.gatherer(), &Spec{Nodes: Nodes{Report: true}}, nil, nil)
	wantAsked(t, got, map[string][]string{"file": {}, "karpenter": {}, "extra": {}, "node": nil})
	if !errors.Is(out.errs[sourceNode], w.listErr) {
		t.Errorf("error of the node source: %v", out.errs[sourceNode])
	}
}

func TestWindowsRoles(t *testing.T) {
	w := newWorld()
	w.reports.Reports = []roster.Report{report("win-reported", 0), report("linux", 0)}
	spec := &Spec{
		Karpenter: []string{"arn:aws:iam::111122223333:role/kp"},
		Nodes: Nodes{
			Report: true, Extra: []string{"arn:$PARTITION:iam::$ACCOUNTID:role/path/extra"},
			Windows: []string{"win-reported", "kp", "win-only", "arn:aws:iam::444455556666:role/win-arn"},
		},
	}
	got, _ := asked(t, w.gatherer(), spec, nil, nil)
	wantAsked(t, got, map[string][]string{
		"file": {}, "karpenter": {"role/kp+windows"},
		"extra": {"role/extra", "role/win-arn+windows", "role/win-only+windows"},
		"node":  {"role/linux", "role/win-reported+windows"},
	})
}

func TestAccountIsAskedOnlyWhereItIsNeeded(t *testing.T) {
	w := newWorld()
	w.self = nil
	g := w.gatherer()
	refresh := func(spec *Spec) (map[string][]string, gathered) {
		_ = g.refresh(t.Context(), spec) // a failure shows in what the sources ask
		return asked(t, g, spec, nil, nil)
	}
	spec := &Spec{Roles: []Role{{ARN: "arn:aws:iam::111122223333:role/r", Username: "r"}}}
	if got, _ := refresh(spec); got["file"] == nil || w.calls != 0 {
		t.Errorf("a plain ARN made %d calls, sources %v", w.calls, got)
	}
	spec.Accounts = []string{"$ACCOUNTID"}
	if got, out := refresh(spec); got["file"] != nil || out.errs["file"] == nil {
		t.Errorf("without an account the file's entries are %v, error %v", got["file"], out.errs["file"])
	}
	w.caller = Account{"444455556666", "aws"}
	if got, _ := refresh(spec); len(got["file"]) != 2 {
		t.Errorf("with STS the file asks for %v", got["file"])
	}
	calls := w.calls
	if refresh(spec); w.calls != calls {
		t.Error("the account is asked again at every refresh")
	}
}

func TestIAMSources(t *testing.T) {
	w := newWorld()
	w.sets = map[string]string{"Admin": "arn:aws:iam::111122223333:role/aws-reserved/sso.amazonaws.com/AWSReservedSSO_Admin_0123456789abcdef"}
	w.users = map[string][]IAMUser{
		"dev":   {{"ann", "arn:aws:iam::111122223333:user/team/ann"}, {"bob", "arn:aws:iam::111122223333:user/bob"}},
		"empty": {},
	}
	w.usersErr = map[string]error{"gone": errors.New("no such group")}
	spec := &Spec{
		PermissionSets: []PermissionSet{{Name: "Admin", Username: "admin:{{SessionName}}"}, {Name: "Missing", Username: "x"}},
		Groups: []Group{
			{Name: "dev", Username: "{{AccountID}}:{{UserName}}", Groups: []string{"g"}},
			{Name: "empty", Username: "{{UserName}}", Groups: []string{"g"}},
			{Name: "gone", Username: "{{UserName}}", Groups: []string{"g"}},
		},
	}
	g := w.gatherer()

	got, out := asked(t, g, spec, nil, nil)
	if len(out.errs) != 0 || got["group/dev"] != nil || got["permission-set/Admin"] != nil {
		t.Errorf("before IAM is asked its sources count as failed without an error: %v, %v", got, out.errs)
	}
	if err := g.refresh(t.Context(), spec); err == nil {
		t.Error("a group that does not exist is no error of the refresh")
	}
	got, out = asked(t, g, spec, nil, nil)
	wantAsked(t, got, map[string][]string{
		"file": {}, "karpenter": {}, "extra": {}, "node": {},
		"permission-set/Admin": {"role/AWSReservedSSO_Admin_0123456789abcdef"}, "permission-set/Missing": nil,
		"group/dev": {"user/bob", "user/team/ann"}, "group/empty": {}, "group/gone": nil,
	})
	if names := slices.Sorted(maps.Keys(out.errs)); !slices.Equal(names, []string{"group/gone", "permission-set/Missing"}) {
		t.Errorf("failed: %v", names)
	}
	for _, s := range out.sources {
		if s.Name == "group/dev" && s.Entries[0].Username != "111122223333:ann" {
			t.Errorf("username %q", s.Entries[0].Username)
		}
	}

	// A spec that asks nothing of IAM makes no call.
	calls := w.calls
	if err := g.refresh(t.Context(), &Spec{}); err != nil || w.calls != calls {
		t.Errorf("a spec without IAM made %d calls: %v", w.calls-calls, err)
	}

	// Who fails later loses nothing: the ledger's claims stand in.
	w.setsErr, w.usersErr["dev"] = errors.New("denied"), errors.New("throttled")
	if err := g.refresh(t.Context(), spec); err == nil {
		t.Error("no error")
	}
	got, _ = asked(t, g, spec, nil, nil)
	if got["group/dev"] != nil || got["permission-set/Admin"] != nil {
		t.Errorf("a failed source asks for %v and %v", got["group/dev"], got["permission-set/Admin"])
	}
	if at := g.lastSuccess()[sourceGroup]; !at.IsZero() {
		t.Errorf("groups count as read at %v though one always failed", at)
	}
}
