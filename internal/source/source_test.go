package source

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/config"
	"github.com/rolecall/rolecall/internal/roster"
)

// An item that has no entry fails alone, and the error names it.
func TestOneItemFailsAlone(t *testing.T) {
	const unknown = "the cluster's account is unknown"
	w := newWorld()
	w.self = nil
	c := reporting()
	c.Roles = []config.Role{{ARN: arn("plain"), Username: "p"}, {ARN: "arn:aws:iam::$ACCOUNTID:role/placed", Username: "q"}}
	c.Users = []config.User{{ARN: "arn:aws:iam::$ACCOUNTID:user/u", Username: "u"}, {ARN: "arn:aws:iam::111122223333:user/v", Username: "v"}}
	c.Accounts = []string{"$ACCOUNTID", "444455556666"}
	c.Karpenter.NodeRoleARNs = []string{arn("kp"), "arn:$PARTITION:iam::$ACCOUNTID:role/kp2"}
	c.NodeRoles.Extra = []string{"arn:$PARTITION:iam::$ACCOUNTID:role/ex", arn("ex2")}
	c.NodeRoles.Windows = []string{arn("win2"), "win"}
	s := w.set()

	// STS has not been asked yet: the entries wait, and nothing is wrong.
	asked := w.ask(s, c)
	if len(asked.Errs) > 0 {
		t.Errorf("before STS is asked: %v", asked.Errs)
	}
	if err := s.Refresh(t.Context(), c); err != nil {
		t.Errorf("STS failed, and that is an error of the refresh: %v", err)
	}
	asked = w.ask(s, c)
	wantEntries(t, "no account", asked, map[string][]string{
		"file":      {"444455556666", "role/plain", "user/v", "FAILED"},
		"karpenter": {"role/kp", "FAILED"},
		"extra":     {"role/ex2", "FAILED"},
		"windows":   {"role/win2+windows", "FAILED"},
	})
	wantError(t, "no account", asked, "file", "arn:aws:iam::$ACCOUNTID:role/placed", "arn:aws:iam::$ACCOUNTID:user/u", "$ACCOUNTID: ", unknown, "no credentials", "write the account id")
	wantError(t, "no account", asked, "karpenter", "role/kp2: ", unknown, "set nodeRoles.accounts")
	wantError(t, "no account", asked, "extra", "role/ex: ", unknown)
	wantError(t, "no account", asked, "windows", "win: ", unknown)
	if diff := cmp.Diff([]string{arn("ex2")}, asked.Required); diff != "" {
		t.Errorf("required (-want +got):\n%s", diff)
	}

	w.callerErr, w.caller = nil, Account{own, "aws"}
	w.now = w.now.Add(time.Minute)
	if err := s.Refresh(t.Context(), c); err != nil {
		t.Error(err)
	}
	wantEntries(t, "STS answers", w.ask(s, c), map[string][]string{
		"file":      {"111122223333", "444455556666", "role/placed", "role/plain", "user/u", "user/v"},
		"karpenter": {"role/kp", "role/kp2"},
		"extra":     {"role/ex", "role/ex2"},
		"windows":   {"role/win+windows", "role/win2+windows"},
	})
}

// An error names a few items of many.
func TestItemsAreNamed(t *testing.T) {
	var failed items
	for i := range 20 {
		failed.fail(fmt.Sprint("item", i), errors.New("cause"))
	}
	failed.fail("other", fails(true))
	failed.fail("last", fmt.Errorf("its cause names last: %w", fails(true)))
	const want = "item0, item1, item2, item3, item4 and 15 more: cause; other: persists: true; its cause names last: persists: true"
	if got := failed.err().Error(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if Permanent(failed.err()) {
		t.Error("an error of which a part may pass is permanent")
	}
}

func TestIAMSources(t *testing.T) {
	w := newWorld()
	w.sets = map[string]SetRole{"Admin": ssoRole(1, 1)}
	w.users = map[string][]IAMUser{
		"dev":   {{Name: "ann", ARN: "arn:aws:iam::111122223333:user/team/ann"}, {Name: "bob", ARN: "arn:aws:iam::111122223333:user/bob"}},
		"empty": {},
		"bad":   {{Name: "ann", ARN: "arn:aws:iam::111122223333:user/ann"}, {Name: "x", ARN: "arn:aws:iam::111122223333:role/x"}, {Name: "y\n", ARN: "arn:aws:iam::111122223333:user/y"}},
	}
	w.usersErr = map[string]error{"gone": errors.New("no such group")}
	c := &config.Config{
		Roles: []config.Role{{PermissionSet: "Admin", Username: "admin:{{SessionName}}"}, {PermissionSet: "Missing", Username: "x"}},
		IAMGroups: []config.IAMGroup{
			{Name: "dev", Username: "{{AccountID}}:{{UserName}}", Groups: []string{"g"}},
			{Name: "empty", Username: "{{UserName}}", Groups: []string{"g"}},
			{Name: "gone", Username: "{{UserName}}", Groups: []string{"g"}},
			{Name: "bad", Username: "{{UserName}}", Groups: []string{"g"}},
			{Name: "dev", Username: "{{AccountID}}:{{UserName}}", Groups: []string{"h"}},
		},
	}
	s := w.set()
	failed := []string{"FAILED"}

	asked := w.ask(s, c)
	wantEntries(t, "before IAM is asked", asked, map[string][]string{
		"permission-set/Admin": failed, "permission-set/Missing": failed, "group/dev": failed, "group/empty": failed, "group/gone": failed, "group/bad": failed,
	})
	if len(asked.Errs) != 0 {
		t.Errorf("before IAM is asked there are errors: %v", asked.Errs)
	}
	if err := s.Refresh(t.Context(), c); err == nil {
		t.Error("a group that does not exist is no error of the refresh")
	}
	if w.opened != 1 {
		t.Errorf("%d directories were opened for one region and role", w.opened)
	}
	asked = w.ask(s, c)
	wantEntries(t, "IAM answers", asked, map[string][]string{
		"permission-set/Admin": {"role/AWSReservedSSO_Admin_0000000000000001"}, "permission-set/Missing": failed,
		"group/dev": {"user/bob", "user/bob", "user/team/ann", "user/team/ann"}, "group/gone": failed, "group/bad": {"user/ann", "FAILED"},
	})
	if names := slices.Sorted(maps.Keys(asked.Errs)); !slices.Equal(names, []string{"group/bad", "group/gone", "permission-set/Missing"}) {
		t.Errorf("failed: %v", names)
	}
	wantError(t, "IAM answers", asked, "group/bad", "role/x", "user/y")
	for _, source := range asked.Sources {
		if source.Name == "group/dev" && source.Entries[0].Username != "111122223333:ann" {
			t.Errorf("username %q", source.Entries[0].Username)
		}
	}

	// A config that asks nothing of IAM makes no call.
	calls := w.calls
	if err := w.set().Refresh(t.Context(), &config.Config{}); err != nil || w.calls != calls {
		t.Errorf("a config without IAM made %d calls: %v", w.calls-calls, err)
	}

	// What fails later loses nothing: the state's claims stand in.
	w.setsErr, w.usersErr["dev"] = errors.New("denied"), errors.New("throttled")
	if err := s.Refresh(t.Context(), c); !errors.Is(err, w.setsErr) || !errors.Is(err, w.usersErr["dev"]) {
		t.Errorf("the refresh says %v", err)
	}
	asked = w.ask(s, c)
	if got := entriesOf(asked); !slices.Equal(got["group/dev"], failed) || !slices.Equal(got["permission-set/Admin"], failed) {
		t.Errorf("failed sources ask for %v and %v", got["group/dev"], got["permission-set/Admin"])
	}
	if at, ok := s.LastSuccess()["group"]; ok {
		t.Errorf("groups count as read at %v though one always failed", at)
	}

	// What one IAM said is not what another says.
	w.setsErr = nil
	_ = s.Refresh(t.Context(), c)
	other := *c
	other.AWS.RoleARN = arn("444455556666:reader")
	if got := entriesOf(w.ask(s, &other)); !slices.Equal(got["group/empty"], failed) || !slices.Equal(got["permission-set/Admin"], failed) {
		t.Errorf("before the other directory is asked: %v and %v", got["group/empty"], got["permission-set/Admin"])
	}
}

func TestWindowsRoles(t *testing.T) {
	w := newWorld()
	w.reports.Reports = []roster.Report{report("win-reported", 0), report("linux", 0)}
	c := reporting()
	c.Roles = []config.Role{{ARN: arn("444455556666:win-only"), Username: "person"}}
	c.Karpenter.NodeRoleARNs = []string{arn("444455556666:kp")}
	c.NodeRoles.Extra = []string{"arn:$PARTITION:iam::$ACCOUNTID:role/path/extra"}
	c.NodeRoles.Windows = []string{"WIN-reported", "kp", "win-only", "arn:aws:iam::444455556666:role/win-arn"}
	s := w.set()
	want := map[string][]string{
		"file":      {arn("444455556666:win-only")},
		"karpenter": {arn("444455556666:kp")},
		"extra":     {"role/extra"},
		"node":      {"role/linux", "role/win-reported"},
		"windows":   {arn("444455556666:kp") + "+windows", arn("444455556666:win-arn") + "+windows", "role/win-only+windows", "role/win-reported+windows"},
	}
	wantEntries(t, "all known", w.ask(s, c), want)

	// The roster cannot be read: the role is still the one that was reported.
	w.reports = Reports{Err: errors.New("hung")}
	w.owned("444455556666:win-reported", "node")
	want["node"] = []string{"FAILED"}
	want["windows"][3] = arn("444455556666:win-reported") + "+windows"
	slices.Sort(want["windows"])
	wantEntries(t, "roster unknown", w.ask(s, c), want)
}

// Earlier versions wrote the group of Windows nodes under the names of other kinds.
// Where the ARN cannot be told, the role keeps the group.
func TestWindowsRoleStaysWhileTheAccountIsUnknown(t *testing.T) {
	w := newWorld()
	w.self = nil
	w.owned("win", "extra", windowsGroup)
	w.owned("444455556666:other", "node")
	c := reporting()
	c.NodeRoles.Windows = []string{"win"}
	s := w.set()
	for range 2 { // before and after STS is asked
		asked := w.ask(s, c)
		if got := entriesOf(asked)["windows"]; !slices.Equal(got, []string{"role/win+windows", "FAILED"}) {
			t.Errorf("asked for %q", got)
		}
		_ = s.Refresh(t.Context(), c)
	}
}

func TestKindNames(t *testing.T) {
	kinds := append(Kinds(), Kind{Name: "toy"})
	for source, want := range map[string]string{
		"file": "file", "group/a": "group", "group/a/b": "group", "windows": "windows", "toy/x": "toy",
		awsauth.Masters: awsauth.Masters, "": UnknownKind, "/x": UnknownKind, "forged": UnknownKind, "File": UnknownKind,
	} {
		if got := KindName(kinds, source); got != want {
			t.Errorf("the kind of %q is %q, want %q", source, got, want)
		}
	}
	want := []string{"file", "permission-set", "group", "karpenter", "extra", "node", "windows"}
	if diff := cmp.Diff(want, Names(Kinds())); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
}
