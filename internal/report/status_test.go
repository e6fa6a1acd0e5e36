package report

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/config"
	"github.com/rolecall/rolecall/internal/plan"
	"github.com/rolecall/rolecall/internal/register"
	"github.com/rolecall/rolecall/internal/source"
)

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// The annotation stays within its bounds and prints, whatever others wrote, and
// what failed is in it before all else.
func TestStatusIsBounded(t *testing.T) {
	for _, text := range []string{"\x1b[2J\u202e\"<&", `\`, "a"} {
		t.Run(fmt.Sprintf("%q", text), func(t *testing.T) { testStatusIsBounded(t, errors.New(strings.Repeat(text, 400))) })
	}
}

func testStatusIsBounded(t *testing.T, evil error) {
	out := &Result{Config: strings.Repeat("a", 64), Ended: start, Observed: &register.Observation{}, Change: &register.Change{}, History: evil}
	out.Asked.Refused = map[string]error{}
	for i := range 1500 {
		s := source.State{Name: fmt.Sprintf("group/g%d", i), Entries: i, Success: start}
		if i%500 == 499 {
			s.Err, s.Since = evil, start
		}
		out.Asked.States = append(out.Asked.States, s)
		out.Asked.Refused[fmt.Sprintf("node-role-\n%d", i)] = evil
	}
	foreign := awsauth.Entry{ARN: evil.Error(), Username: evil.Error()}
	out.Change.Conflicts = slices.Repeat([]plan.Conflict{{Foreign: foreign, Ours: foreign}}, 1000)
	out.Change.Left = slices.Repeat([]register.Left{{Op: plan.Add, Entry: foreign, Why: evil.Error()}}, 1000)
	out.Change.Refused = slices.Repeat([]register.Refused{{ARN: evil.Error()}}, 1000)
	status := Status{Leader: strings.Repeat("n", 253) + "_0123456789abc", Version: "v1.2.3", Began: start}
	failed := status.Next(out).Next(&Result{Config: out.Config, Ended: start, Err: evil})
	failed.ConfigError = NewTrouble(evil, start)
	testStatusText(t, failed.Encode())
	elsewhere := failed.Next(&Result{Config: out.Config, Ended: start, Err: &register.ElsewhereError{Owner: evil.Error()}})
	if n := len(elsewhere.Encode()); n > statusMax {
		t.Errorf("%d bytes of a leader that writes nothing", n)
	}
	if s, err := DecodeStatus(elsewhere.Encode()); err != nil || s.Owner == "" || len(s.Owner) > 2*statusCut {
		t.Errorf("the owner is told as %q, %v", s.Owner, err)
	}

	s, err := DecodeStatus(failed.Encode())
	if err != nil {
		t.Fatal(err)
	}
	broken := 0
	for _, source := range s.Sources {
		if source.Trouble != nil {
			broken++
		}
	}
	if broken == 0 || broken != min(3, len(s.Sources)) || broken+s.MoreFailed != 3 || len(s.Sources)+s.More != len(out.Asked.States) ||
		s.Refused != len(out.Asked.Refused)+len(out.Change.Refused) || s.Conflicts != len(out.Change.Conflicts) || s.Left != len(out.Change.Left) {
		t.Errorf("%d failed sources of %d with %d more, %d refusals, %d conflicts, %d changes left out; want the failed ones before all others, and all counted",
			broken, len(s.Sources), s.More, s.Refused, s.Conflicts, s.Left)
	}
}

// testStatusText checks what every text of a status has to be.
func testStatusText(t *testing.T, text string) {
	t.Helper()
	if len(text) > statusMax || len(text) < statusMax/2 {
		t.Errorf("%d bytes, want nearly %d and not more", len(text), statusMax)
	}
	if i := strings.IndexFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }); i >= 0 {
		t.Errorf("%q does not print", text[i:i+1])
	}
}

// What is cut out of an error is its middle.
func TestStatusErrorKeepsBothEnds(t *testing.T) {
	err := errors.New("what failed: " + strings.Repeat("ö", 1000) + ": what to do")
	got := statusError(err)
	if len(got) > statusText || !strings.HasPrefix(got, "what failed: ") || !strings.HasSuffix(got, ": what to do") || !utf8.ValidString(got) {
		t.Errorf("%d bytes of %d: %q", len(got), statusText, got)
	}
}

// How sources did is told with when they last answered, which outlives a failure,
// and since when they fail, which outlives another error.
func TestSourceStates(t *testing.T) {
	now := start
	iam := &directory{
		sets:  map[string]source.SetRole{"Admin": {ARN: "arn:aws:iam::111122223333:role/AWSReservedSSO_Admin_0123456789abcdef"}},
		users: map[string][]source.IAMUser{"Devs": {{Name: "ana", ARN: "arn:aws:iam::111122223333:user/ana"}}},
		errs:  map[string]error{},
	}
	set := source.NewSet(source.Kinds(), source.Env{
		Self: func() (source.Node, bool) {
			return source.Node{RoleARN: "arn:aws:iam::111122223333:role/a", Account: source.Account{ID: "111122223333", Partition: "aws"}}, true
		},
		Directory: func(context.Context, string, string) (source.Directory, error) { return iam, nil },
		Now:       func() time.Time { return now },
	})
	c := &config.Config{
		Roles:     []config.Role{{PermissionSet: "Admin", Username: "admin"}},
		IAMGroups: []config.IAMGroup{{Name: "Devs", Username: "u"}},
	}
	gather := func(refresh bool) map[string]string {
		if refresh {
			_ = set.Refresh(t.Context(), c) // what failed is in the states
		}
		got := map[string]string{}
		for _, s := range SourceStates(set.Ask(source.Moment{Config: c, Now: now}).States) {
			text := fmt.Sprintf("%d", s.Entries)
			if !s.Success.IsZero() {
				text += fmt.Sprintf(", answered at %s", s.Success.Sub(start))
			}
			if s.Trouble != nil {
				text += fmt.Sprintf(", since %s %s", s.Trouble.Since.Sub(start), s.Trouble.Error)
			}
			got[s.Name] = text
		}
		return got
	}
	step := func(what string, refresh bool, want map[string]string) {
		t.Helper()
		now = now.Add(time.Minute)
		got := gather(refresh)
		for _, name := range []string{"file", "karpenter", "extra", "node", "windows"} {
			want[name] = "x"
			if _, there := got[name]; there {
				got[name] = "x"
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	step("before IAM was asked", false, map[string]string{"permission-set/Admin": "0", "group/Devs": "0"})
	step("all is well", true, map[string]string{"permission-set/Admin": "1, answered at 2m0s", "group/Devs": "1, answered at 2m0s"})
	step("IAM was not asked again", false, map[string]string{"permission-set/Admin": "1, answered at 2m0s", "group/Devs": "1, answered at 2m0s"})
	last := set.LastSuccess()
	for kind, want := range map[string]time.Duration{"group": 2 * time.Minute, "permission-set": 2 * time.Minute, "file": 3 * time.Minute} {
		if got := last[kind].Sub(start); got != want {
			t.Errorf("the metric says that %s answered at %s, want %s", kind, got, want)
		}
	}
	iam.errs["Devs"] = errors.New("denied")
	step("a group fails", true, map[string]string{"permission-set/Admin": "1, answered at 4m0s", "group/Devs": "0, answered at 2m0s, since 4m0s denied"})
	iam.errs["Devs"] = errors.New("throttled")
	step("it fails on", true, map[string]string{"permission-set/Admin": "1, answered at 5m0s", "group/Devs": "0, answered at 2m0s, since 4m0s throttled"})
	delete(iam.errs, "Devs")
	step("all is well again", true, map[string]string{"permission-set/Admin": "1, answered at 6m0s", "group/Devs": "1, answered at 6m0s"})
}

// A directory is an IAM.
type directory struct {
	sets  map[string]source.SetRole
	users map[string][]source.IAMUser
	errs  map[string]error // by group
}

func (d *directory) PermissionSets(context.Context) (map[string]source.SetRole, error) {
	return d.sets, nil
}

func (d *directory) GroupUsers(_ context.Context, group string) (source.IAMGroup, error) {
	return source.IAMGroup{Users: d.users[group]}, d.errs[group]
}

func (*directory) Caller(context.Context) (source.Account, error) {
	return source.Account{}, errors.New("no credentials")
}

// A reconcile that fails says so and leaves standing what the one before saw.
func TestStatusOfAFailedReconcile(t *testing.T) {
	now := start
	said := &Status{Leader: "n_1", Began: start}
	next := func(r *Result) *Status {
		t.Helper()
		r.Ended = now
		said = said.Next(r)
		decoded, err := DecodeStatus(said.Encode())
		if err != nil {
			t.Fatal(err)
		}
		return decoded
	}
	conflicts := []plan.Conflict{{Foreign: awsauth.Entry{ARN: "a", Username: "b"}, Ours: awsauth.Entry{Username: "c"}}}
	live := source.Asked{Live: []string{"a", "b", "c"}}
	good := &Result{Config: "a", Observed: &register.Observation{}, Change: &register.Change{Conflicts: conflicts}, Asked: live, Wrote: true}
	want := &Status{Leader: "n_1", Began: start, Config: "a", Pass: start, Result: "changed", Reported: 3, Conflicts: 1, ConflictsSome: []ConflictStatus{{"a", "b", "c"}}}
	if diff := cmp.Diff(want, next(good)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	now = now.Add(time.Minute)
	want.Config, want.Pass, want.Result, want.Error = "b", now, "malformed", "every principal in it is locked out: line 3"
	if diff := cmp.Diff(want, next(&Result{Config: "b", Err: fmt.Errorf("%w: line 3", register.ErrMalformed)})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	now = now.Add(time.Minute)
	elsewhere := &register.ElsewhereError{Register: "kube-system/aws-auth", Owner: "other", Self: "n"}
	want.Pass, want.Result, want.Error, want.Owner = now, "elsewhere", elsewhere.Error(), "other"
	want.Reported, want.Conflicts, want.ConflictsSome = 0, 0, nil // what it saw before the other took over is no longer so
	if diff := cmp.Diff(want, next(&Result{Config: "b", Err: elsewhere})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	now = now.Add(time.Minute)
	want.Pass, want.Result, want.Error, want.Owner, want.Reported = now, "unchanged", "", "", 3
	want.ConflictsSome = nil
	if diff := cmp.Diff(want, next(&Result{Config: "b", Observed: &register.Observation{}, Change: &register.Change{}, Asked: live})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
