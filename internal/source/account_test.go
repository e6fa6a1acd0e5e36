package source

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rolecall/rolecall/config"
	"github.com/rolecall/rolecall/internal/roster"
)

const other = "444455556666"

// Where neither IMDS nor STS answers, the node roles that are mapped tell the
// account, or all reports do. A report never decides against what is mapped.
func TestAccountOfNodes(t *testing.T) {
	const unknown = "FAILED"
	for _, tc := range []struct {
		name     string
		owned    []string // roles that the state has
		standing []string // node roles of others in the register
		reports  []string
		allowed  []string // nodeRoles.accounts
		caller   string
		want     []string
		refused  []string
	}{
		{"the state", []string{"a"}, nil, []string{"a", "b", other + ":c"}, nil, "", []string{"role/a", "role/b"}, []string{other + ":c"}},
		{"the register", nil, []string{"a"}, []string{"b", other + ":c"}, nil, "", []string{"role/b"}, []string{other + ":c"}},
		{"the state against all reports", []string{"a"}, nil, []string{other + ":c"}, nil, "", []string{"role/a"}, []string{other + ":c"}},
		{"the register against all reports", nil, []string{"a"}, []string{other + ":c"}, nil, "", nil, []string{other + ":c"}},
		{"all reports", nil, nil, []string{"a", "b"}, nil, "", []string{"role/a", "role/b"}, nil},
		{"reports that differ", nil, nil, []string{"a", other + ":c"}, nil, "", []string{unknown}, nil},
		{"a mixed state, reports of one of its accounts", []string{"a", other + ":x"}, nil, []string{"b"}, nil, "", []string{arn(other + ":x"), "role/a", "role/b"}, nil},
		{"a mixed state, reports of a third account", []string{"a", other + ":x"}, nil, []string{"777788889999:c"}, nil, "", []string{arn(other + ":x"), "role/a", unknown}, nil},
		{"a mixed state, and a role of it is live", []string{"a", other + ":x"}, nil, []string{"a", "777788889999:c"}, nil, "", []string{arn(other + ":x"), "role/a", unknown}, nil},
		{"accounts are set", nil, nil, []string{"a", other + ":c", "777788889999:d"}, []string{own, other}, "", []string{arn(other + ":c"), "role/a"}, []string{"777788889999:d"}},
		{"one of the accounts is a placeholder", nil, nil, []string{"a", other + ":c"}, []string{"$ACCOUNTID", other}, "", []string{arn(other + ":c"), unknown}, nil},
		{"STS before the state", []string{"a"}, nil, []string{"a", other + ":c"}, nil, other, []string{arn(other + ":c"), "role/a"}, []string{"a"}},
		{"STS, and a placeholder", nil, nil, []string{"a", other + ":c"}, []string{"$ACCOUNTID"}, own, []string{"role/a"}, []string{other + ":c"}},
		{"nothing", nil, nil, nil, nil, "", nil, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld()
			w.self = nil
			if tc.caller != "" {
				w.caller, w.callerErr = Account{tc.caller, "aws"}, nil
			}
			for _, role := range tc.owned {
				w.owned(role, "node")
			}
			for _, role := range tc.standing {
				w.stands(role, "", "system:nodes")
			}
			for _, role := range tc.reports {
				w.reports.Reports = append(w.reports.Reports, report(role, 0))
			}
			c := reporting()
			c.NodeRoles.Accounts = tc.allowed
			s := w.set()
			if err := s.Refresh(t.Context(), c); err != nil {
				t.Fatal(err)
			}
			asked := w.ask(s, c)
			if got := entriesOf(asked)["node"]; !slices.Equal(got, tc.want) {
				t.Errorf("asked for %q, want %q", got, tc.want)
			}
			if slices.Contains(tc.want, unknown) {
				wantError(t, tc.name, asked, "node", "the cluster's account is unknown", "set nodeRoles.accounts")
			}
			if len(asked.Refused) != len(tc.refused) {
				t.Errorf("refused: %v", asked.Refused)
			}
			for _, role := range tc.refused {
				if asked.Refused[roster.LeaseName(arn(role))] == nil {
					t.Errorf("%s is not refused", role)
				}
			}
			if tc.name == "a mixed state, and a role of it is live" && !slices.Equal(asked.Required, []string{arn("a")}) {
				t.Errorf("required: %q", asked.Required)
			}
		})
	}
}

// What nodes report decides nothing about people: whose role $ACCOUNTID names in an
// entry of a person is told by IMDS or STS.
func TestReportsDoNotTellTheAccountOfPeople(t *testing.T) {
	w := newWorld()
	w.self = nil
	w.reports.Reports = []roster.Report{report(other+":node", 0)}
	w.owned(other+":node", "node")
	c := reporting()
	c.Roles = []config.Role{{ARN: "arn:aws:iam::$ACCOUNTID:role/admin", Username: "admin"}}
	c.NodeRoles.Extra = []string{"arn:aws:iam::$ACCOUNTID:role/node2"}
	s := w.set()
	_ = s.Refresh(t.Context(), c)
	wantEntries(t, "from reports", w.ask(s, c), map[string][]string{
		"file": {"FAILED"}, "extra": {arn(other + ":node2")}, "node": {arn(other + ":node")},
	})
}

func TestAccountIsAskedOnlyWhereItIsNeeded(t *testing.T) {
	w := newWorld()
	w.self = nil
	s := w.set()
	refresh := func(c *config.Config) Asked {
		if err := s.Refresh(t.Context(), c); err != nil {
			t.Error(err)
		}
		return w.ask(s, c)
	}
	c := &config.Config{RefreshInterval: time.Minute, Roles: []config.Role{{ARN: arn("r"), Username: "r"}}}
	if asked := refresh(c); len(asked.Errs) > 0 || w.calls != 0 {
		t.Errorf("a plain ARN made %d calls, errors %v", w.calls, asked.Errs)
	}
	c.Accounts = []string{"$ACCOUNTID"}
	wantError(t, "without an account", refresh(c), "file", "$ACCOUNTID", "no credentials")

	// What fails is asked again more and more rarely.
	for range 180 {
		w.now = w.now.Add(time.Minute)
		refresh(c)
	}
	if w.calls < 15 || w.calls > 30 {
		t.Errorf("in three hours STS was asked %d times", w.calls)
	}
	w.caller, w.callerErr = Account{other, "aws"}, nil
	w.now = w.now.Add(10 * time.Minute)
	wantEntries(t, "with STS", refresh(c), map[string][]string{"file": {other, "role/r"}})
	calls := w.calls
	w.now = w.now.Add(time.Hour)
	if refresh(c); w.calls != calls {
		t.Error("the account is asked again at every refresh")
	}
	w.self = &Node{Account: Account{own, "aws"}}
	wantEntries(t, "with IMDS", refresh(c), map[string][]string{"file": {own, "role/r"}})
}

// What STS has not been asked yet, nothing else decides.
func TestAccountWaitsForSTS(t *testing.T) {
	w := newWorld()
	w.self, w.caller, w.callerErr = nil, Account{own, "aws"}, nil
	w.owned(other+":a", "node")
	w.reports.Reports = []roster.Report{report(other+":a", 0), report(other+":b", 0), report("c", 0)}
	s := w.set()
	asked := w.ask(s, reporting())
	wantEntries(t, "STS is not asked yet", asked, map[string][]string{"node": {arn(other + ":a"), "FAILED"}})
	if len(asked.Errs) > 0 || len(asked.Required) != 1 {
		t.Errorf("errors %v, required %q", asked.Errs, asked.Required)
	}
	_ = s.Refresh(t.Context(), reporting())
	wantEntries(t, "STS answers", w.ask(s, reporting()), map[string][]string{"node": {arn(other + ":a"), "role/c"}})
}

// hungSTS takes a question to STS and never answers.
type hungSTS struct{ *world }

func (h hungSTS) Caller(ctx context.Context) (Account, error) {
	<-ctx.Done()
	return Account{}, ctx.Err()
}

// An STS that hangs holds up neither IAM's answer nor the node roles.
func TestSTSHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.self = nil
		w.owned("a", "node")
		w.reports.Reports = []roster.Report{report("b", 0)}
		w.users = map[string][]IAMUser{"dev": {{Name: "ann", ARN: "arn:aws:iam::111122223333:user/ann"}}}
		env := w.env()
		env.Directory = func(context.Context, string, string) (Directory, error) { return hungSTS{w}, nil }
		s := NewSet(Kinds(), env)
		c := reporting()
		c.IAMGroups = []config.IAMGroup{{Name: "dev", Username: "{{UserName}}"}}
		began := time.Now()
		done := make(chan error)
		go func() { done <- s.Refresh(t.Context(), c) }()
		synctest.Wait()
		if got := entriesOf(w.ask(s, c))["group/dev"]; !slices.Equal(got, []string{"user/ann"}) {
			t.Errorf("while STS hangs the group asks for %q", got)
		}
		if err := <-done; err != nil || time.Since(began) > 15*time.Second {
			t.Errorf("the refresh ended after %s: %v", time.Since(began), err)
		}
		if got := entriesOf(w.ask(s, c))["node"]; !slices.Equal(got, []string{"role/a", "role/b"}) {
			t.Errorf("the nodes ask for %q", got)
		}
		// The next refresh does not wait for it again.
		began = time.Now()
		if err := s.Refresh(t.Context(), c); err != nil || time.Since(began) > 0 {
			t.Errorf("the next refresh took %s: %v", time.Since(began), err)
		}
	})
}

// The advice is at the end of the error, behind what failed and why.
func TestAccountError(t *testing.T) {
	w := newWorld()
	w.self, w.callerErr = nil, fails(true)
	w.reports.Reports = []roster.Report{report("a", 0), report(other+":b", 0)}
	s := w.set()
	c := reporting()
	_ = s.Refresh(t.Context(), c)
	err := w.ask(s, c).Errs["node"]
	if err == nil || !errors.Is(err, fails(true)) || !strings.HasSuffix(err.Error(),
		"the node roles that are mapped are of 0 accounts, those that are reported of 2: set nodeRoles.accounts to the accounts of the nodes' roles, and write account ids in place of $ACCOUNTID") {
		t.Errorf("the error is %v", err)
	}
}
