package source

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/config"
	"github.com/rolecall/rolecall/internal/plan"
)

// ssoRole is the role of the permission set Admin with a suffix, created some hours after
// start, beside others.
func ssoRole(suffix, created int, others ...int) SetRole {
	arn := func(suffix int) string {
		return fmt.Sprintf("arn:aws:iam::111122223333:role/aws-reserved/sso.amazonaws.com/AWSReservedSSO_Admin_%016d", suffix)
	}
	r := SetRole{ARN: arn(suffix), Created: start.Add(time.Duration(created) * time.Hour)}
	for _, o := range others {
		r.Others = append(r.Others, arn(o))
	}
	return r
}

// mapped is the ARN in aws-auth of the role with a suffix.
func mapped(suffix int) string {
	bare, _ := awsauth.RoleARN(ssoRole(suffix, 0).ARN)
	return bare
}

// An answer of IAM that is older than the one that was acted on does not undo it, for
// as long as the newer role may exist.
func TestOlderAnswerOfIAM(t *testing.T) {
	type step struct {
		after  time.Duration // since start
		answer *SetRole      // nil: the set is not in it
		fails  bool
		want   int   // suffix that is asked for; 0 for none
		gone   []int // suffixes
	}
	is := func(suffix, created int, others ...int) *SetRole {
		r := ssoRole(suffix, created, others...)
		return &r
	}
	for _, tc := range []struct {
		name  string
		state map[int]int // suffixes that the state has, and since how many hours after start
		steps []step
	}{
		{"a new suffix, then the answer before", nil, []step{
			{0, is(1, -10), false, 1, nil},
			{time.Minute, is(2, 1), false, 2, nil},
			{2 * time.Minute, is(1, -10), false, 2, nil},
			{3 * time.Minute, is(2, 1), false, 2, nil},
			{20 * time.Minute, is(1, -10), false, 2, nil}, // older again, and counted anew
			{29 * time.Minute, is(1, -10), false, 2, nil},
			{31 * time.Minute, is(1, -10), false, 1, nil}, // the newer one does not come back: it was deleted
		}},
		{"both exist", nil, []step{
			{0, is(2, 1, 1), false, 2, nil},
			{time.Minute, is(1, -10), false, 2, nil},
			{2 * time.Minute, is(3, 2, 1, 2), false, 3, nil},
		}},
		{"an answer that lacks the set, one that fails", nil, []step{
			{0, is(2, 1), false, 2, nil},
			{time.Minute, nil, false, 0, nil},
			{2 * time.Minute, is(1, -10), false, 2, nil},
			{3 * time.Minute, is(1, -10), true, 0, nil},
			{4 * time.Minute, is(2, 1), false, 2, nil},
		}},
		{"the state has the newer one", map[int]int{2: 2}, []step{
			{0, is(1, -10), false, 2, nil},
			{9 * time.Minute, is(1, -10), false, 2, nil},
			{9*time.Minute + time.Second, is(2, 1), false, 2, nil},
			{time.Hour, is(1, -10), false, 2, nil},
		}},
		{"the state has one that was deleted, and an older one is left", map[int]int{2: 2}, []step{
			{0, is(1, -10), false, 2, nil},
			{11 * time.Minute, is(1, -10), false, 1, []int{2}},
		}},
		{"the state has the one before", map[int]int{1: -9}, []step{
			{0, is(2, 1), false, 2, []int{1}},
		}},
		{"the state has the one before, which still exists", map[int]int{1: 5}, []step{
			{0, is(2, 1, 1), false, 2, nil},
			{time.Minute, is(2, 1), false, 2, []int{1}},
		}},
		{"the state has both, and the older one waits to be removed", map[int]int{1: 5, 2: 5}, []step{
			{0, is(2, 1), false, 2, []int{1}},
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld()
			w.state = &plan.State{}
			for suffix, since := range tc.state {
				w.state.Owned = append(w.state.Owned, plan.Owned{
					Entry: awsauth.Entry{Kind: awsauth.Role, ARN: mapped(suffix), Username: "x"}, Since: start.Add(time.Duration(since) * time.Hour),
					Claims: []plan.Claim{{Source: "permission-set/Admin"}},
				})
			}
			c := &config.Config{Roles: []config.Role{{PermissionSet: "Admin", Username: "x"}}}
			s := w.set()
			for i, step := range tc.steps {
				w.now = start.Add(step.after)
				w.sets, w.setsErr = map[string]SetRole{}, nil
				if step.answer != nil {
					w.sets["Admin"] = *step.answer
				}
				if step.fails {
					w.setsErr = errors.New("throttled")
				}
				_ = s.Refresh(t.Context(), c)
				asked := w.ask(s, c)
				want, gone := []string{}, map[string]bool{}
				if step.want == 0 {
					want = []string{"FAILED"}
				} else {
					want = append(want, strings.SplitN(mapped(step.want), ":", 6)[5])
				}
				for _, suffix := range step.gone {
					gone[strings.ToLower(mapped(suffix))] = true
				}
				if got := entriesOf(asked)["permission-set/Admin"]; !slices.Equal(got, want) {
					t.Errorf("step %d: asked for %q, want %q", i+1, got, want)
				}
				if diff := cmp.Diff(gone, asked.Gone); diff != "" {
					t.Errorf("step %d: gone (-want +got):\n%s", i+1, diff)
				}
			}
		})
	}
}

// The IAM of another account says nothing of the state's roles.
func TestGoneOfAnotherAccount(t *testing.T) {
	w := newWorld()
	w.state = &plan.State{Owned: []plan.Owned{{
		Entry: awsauth.Entry{Kind: awsauth.Role, ARN: arn("444455556666:AWSReservedSSO_Admin_0000000000000009")}, Since: start,
		Claims: []plan.Claim{{Source: "permission-set/Admin"}},
	}}}
	w.sets = map[string]SetRole{"Admin": ssoRole(1, -10)}
	c := &config.Config{Roles: []config.Role{{PermissionSet: "Admin", Username: "x"}}}
	s := w.set()
	if err := s.Refresh(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	asked := w.ask(s, c)
	if len(asked.Gone) > 0 {
		t.Errorf("gone: %v", asked.Gone)
	}
	wantEntries(t, "another account", asked, map[string][]string{"permission-set/Admin": {"role/AWSReservedSSO_Admin_0000000000000001"}})
}
