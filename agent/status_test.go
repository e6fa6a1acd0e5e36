package agent

import (
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
)

// The annotation stays within its bounds and prints, whatever others wrote, and
// what failed is in it before all else.
func TestStatusIsBounded(t *testing.T) {
	for _, text := range []string{"\x1b[2J\u202e\"<&", `\`, "a"} {
		t.Run(fmt.Sprintf("%q", text), func(t *testing.T) { testStatusIsBounded(t, errors.New(strings.Repeat(text, 400))) })
	}
}

func testStatusIsBounded(t *testing.T, evil error) {
	out := &Outcome{Plan: &awsauth.Plan{}, Refused: map[string]error{}}
	for i := range 1500 {
		s := SourceStatus{Name: fmt.Sprintf("group/g%d", i), Entries: i, Success: start}
		if i%500 == 499 {
			s.Trouble = &Trouble{statusError(evil), start}
		}
		out.states = append(out.states, s)
		out.Refused[fmt.Sprintf("node-role-\n%d", i)] = evil
	}
	out.history = evil
	foreign := awsauth.Entry{ARN: evil.Error(), Username: evil.Error()}
	out.Plan.Conflicts = slices.Repeat([]awsauth.Conflict{{Foreign: foreign, Ours: foreign}}, 1000)
	l := &Leader{now: func() time.Time { return start }, opts: Options{Identity: strings.Repeat("n", 253) + "_0123456789abc", Version: "v1.2.3", ConfigError: func() (time.Time, error) { return start, evil }}}
	l.publish(&Spec{Hash: strings.Repeat("a", 64)}, out, nil)
	l.publish(&Spec{Hash: strings.Repeat("a", 64)}, nil, evil)
	text := l.Published()
	if len(text) > statusMax || len(text) < statusMax/2 {
		t.Errorf("%d bytes, want nearly %d and not more", len(text), statusMax)
	}
	if i := strings.IndexFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }); i >= 0 {
		t.Errorf("%q does not print", text[i:i+1])
	}
	s, err := DecodeStatus(text)
	if err != nil {
		t.Fatal(err)
	}
	failed := 0
	for _, source := range s.Sources {
		if source.Trouble != nil {
			failed++
		}
	}
	if failed == 0 || failed != min(3, len(s.Sources)) || failed+s.MoreFailed != 3 || len(s.Sources)+s.More != len(out.states) || s.Refused != len(out.Refused) || s.Conflicts != len(out.Plan.Conflicts) {
		t.Errorf("%d failed sources of %d with %d more, %d refusals, %d conflicts; want the failed ones before all others, and all counted", failed, len(s.Sources), s.More, s.Refused, s.Conflicts)
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
	w := newWorld()
	g := w.gatherer()
	w.sets = map[string]string{"Admin": "arn:aws:iam::111122223333:role/AWSReservedSSO_Admin_0123456789abcdef"}
	w.users = map[string][]IAMUser{"Devs": {{"ana", "arn:aws:iam::111122223333:user/ana"}}}
	w.usersErr = map[string]error{}
	spec := &Spec{PermissionSets: []PermissionSet{{Name: "Admin"}}, Groups: []Group{{Name: "Devs", Username: "u"}}}
	gather := func(refresh bool) map[string]string {
		if refresh {
			_ = g.refresh(t.Context(), spec) // what failed is in the states
		}
		_, out := asked(t, g, spec, nil, nil)
		got := map[string]string{}
		for _, s := range out.states {
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
		w.now = w.now.Add(time.Minute)
		want["file"], want["karpenter"], want["extra"], want["node"] = "x", "x", "x", "x"
		got := gather(refresh)
		for _, name := range []string{"file", "karpenter", "extra", "node"} {
			if _, there := got[name]; there {
				got[name] = "x"
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	w.now = start
	step("before IAM was asked", false, map[string]string{"permission-set/Admin": "0", "group/Devs": "0"})
	step("all is well", true, map[string]string{"permission-set/Admin": "1, answered at 2m0s", "group/Devs": "1, answered at 2m0s"})
	step("IAM was not asked again", false, map[string]string{"permission-set/Admin": "1, answered at 2m0s", "group/Devs": "1, answered at 2m0s"})
	last := g.lastSuccess()
	for kind, want := range map[string]time.Duration{sourceGroup: 2 * time.Minute, sourceSet: 2 * time.Minute, sourceFile: 3 * time.Minute} {
		if got := last[kind].Sub(start); got != want {
			t.Errorf("the metric says that %s answered at %s, want %s", kind, got, want)
		}
	}
	w.usersErr["Devs"] = errors.New("denied")
	step("a group fails", true, map[string]string{"permission-set/Admin": "1, answered at 4m0s", "group/Devs": "0, answered at 2m0s, since 4m0s denied"})
	w.usersErr["Devs"] = errors.New("throttled")
	step("it fails on", true, map[string]string{"permission-set/Admin": "1, answered at 5m0s", "group/Devs": "0, answered at 2m0s, since 4m0s throttled"})
	delete(w.usersErr, "Devs")
	step("all is well again", true, map[string]string{"permission-set/Admin": "1, answered at 6m0s", "group/Devs": "1, answered at 6m0s"})
}

// A pass that fails says so and leaves standing what the one before saw; what a
// term said ends with it.
func TestStatusOfAFailedPass(t *testing.T) {
	now := start
	l := &Leader{now: func() time.Time { return now }, opts: Options{Identity: "n_1"}}
	if got := l.Published(); got != "" {
		t.Errorf("before the first pass %q is published", got)
	}
	read := func() *Status {
		t.Helper()
		s, err := DecodeStatus(l.Published())
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	good := &Outcome{Plan: &awsauth.Plan{Conflicts: []awsauth.Conflict{{Foreign: awsauth.Entry{ARN: "a", Username: "b"}, Ours: awsauth.Entry{Username: "c"}}}}, Reported: 3, Wrote: true}
	l.publish(&Spec{Hash: "a"}, good, nil)
	want := &Status{Leader: "n_1", Config: "a", Pass: start, Result: "changed", Reported: 3, Conflicts: 1, ConflictsSome: []Conflict{{"a", "b", "c"}}}
	want.Began = read().Began
	if diff := cmp.Diff(want, read()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	now = now.Add(time.Minute)
	l.publish(&Spec{Hash: "b"}, nil, fmt.Errorf("%w: line 3", ErrMalformed))
	want.Config, want.Pass, want.Result, want.Error = "b", now, "malformed", "whoever stands in aws-auth is locked out: line 3"
	if diff := cmp.Diff(want, read()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	now = now.Add(time.Minute)
	l.publish(&Spec{Hash: "b"}, &Outcome{Plan: &awsauth.Plan{}, Reported: 3}, nil)
	want.Pass, want.Result, want.Error, want.Conflicts = now, "unchanged", "", 0
	want.ConflictsSome = nil
	if diff := cmp.Diff(want, read()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
