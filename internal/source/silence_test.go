package source

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rolecall/rolecall/config"
	"github.com/rolecall/rolecall/internal/roster"
)

// slow answers each question after a while, or never.
type slow struct {
	*world
	groups, sets, ec2 time.Duration // 0: at once; negative: never
}

func wait(ctx context.Context, d time.Duration) error {
	if d < 0 {
		<-ctx.Done()
		return ctx.Err()
	}
	time.Sleep(d)
	return nil
}

func (s *slow) GroupUsers(ctx context.Context, group string) (IAMGroup, error) {
	if err := wait(ctx, s.groups); err != nil {
		return IAMGroup{}, err
	}
	return s.world.GroupUsers(ctx, group)
}

func (s *slow) PermissionSets(ctx context.Context) (map[string]SetRole, error) {
	if err := wait(ctx, s.sets); err != nil {
		return nil, err
	}
	return s.world.PermissionSets(ctx)
}

func (s *slow) Instances(ctx context.Context, _ InstanceQuery) ([]Instance, error) {
	return nil, wait(ctx, s.ec2)
}

// A source that has been silent for 15 s counts as failing, whatever it said before, and
// what it asks for stays. One that answers one question after the other is not silent,
// however many there are.
func TestSilentSource(t *testing.T) {
	const never = -time.Second
	for _, tc := range []struct {
		name   string
		slow   slow
		silent []string // after 16 s
	}{
		{"all are quick", slow{}, nil},
		{"permission sets", slow{sets: never}, []string{"permission-set/Admin"}},
		{"groups", slow{groups: never}, []string{"group/A", "group/B", "group/C"}},
		{"groups, one after the other", slow{groups: 10 * time.Second}, nil},
		{"a slow listing", slow{sets: 14 * time.Second}, nil},
		{"EC2", slow{ec2: never}, []string{"node"}},
	} {
		for _, before := range []bool{false, true} { // it has answered before
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				w.sets = map[string]SetRole{"Admin": {ARN: arn("AWSReservedSSO_Admin_0123456789abcdef"), Created: start}}
				w.reports.Reports = []roster.Report{by("a", "a")}
				s := tc.slow
				s.world = w
				now := slow{world: w}
				env := w.env()
				env.Now = time.Now
				env.Directory = func(context.Context, string, string) (Directory, error) { return &now, nil }
				env.Instances = func(context.Context, string) (Instances, error) { return &now, nil }
				env.Advice = func() string { return "look at NO_PROXY" }
				set := NewSet(Kinds(), env)
				c := verifying()
				c.Roles = []config.Role{{PermissionSet: "Admin", Username: "a", Groups: []string{"g"}}}
				c.IAMGroups = []config.IAMGroup{{Name: "A", Username: "{{UserName}}"}, {Name: "B", Username: "{{UserName}}"}, {Name: "C", Username: "{{UserName}}"}}
				ask := func() Asked { return set.Ask(Moment{Config: c, Reports: w.reports, Now: time.Now()}) }
				if before {
					if err := set.Refresh(t.Context(), c); err != nil {
						t.Fatal(err)
					}
					time.Sleep(time.Minute)
				}
				now = s
				ctx, cancel := context.WithCancel(t.Context())
				ask()
				for _, refresh := range []func(context.Context, *config.Config) error{set.Refresh, set.RefreshDue} {
					go func() {
						if err := refresh(ctx, c); err != nil && !errors.Is(err, context.Canceled) {
							t.Error(err)
						}
					}()
				}
				time.Sleep(time.Second)
				early := ask()
				if len(early.Errs) > 0 {
					t.Errorf("%s: after a second %v", tc.name, early.Errs)
				}
				if len(tc.silent) > 0 && (early.Again <= 13*time.Second || early.Again > 14*time.Second) {
					t.Errorf("%s: asked again in %s, want 14 s", tc.name, early.Again)
				}
				time.Sleep(15 * time.Second)
				asked := ask()
				if len(asked.Errs) != len(tc.silent) {
					t.Errorf("%s, answered before %v: silent are %v, want %q", tc.name, before, asked.Errs, tc.silent)
				}
				for _, name := range tc.silent {
					silent := (*SilentError)(nil)
					if err := asked.Errs[name]; !errors.As(err, &silent) || !strings.Contains(err.Error(), "NO_PROXY") || time.Since(silent.Since) != 16*time.Second {
						t.Errorf("%s: %s says %v", tc.name, name, err)
					}
				}
				for _, state := range asked.States {
					if silent := asked.Errs[state.Name]; silent != nil && !state.Since.Equal(time.Now().Add(-16*time.Second).Truncate(time.Second)) {
						t.Errorf("%s: %s is silent since %s", tc.name, state.Name, state.Since)
					}
				}
				if before { // and nothing that was asked for is taken back
					wantEntries(t, tc.name, asked, map[string][]string{
						"permission-set/Admin": {"role/AWSReservedSSO_Admin_0123456789abcdef"},
					})
				}
				cancel()
				time.Sleep(time.Minute)
				synctest.Wait()
			})
		}
	}
}
