package agent

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rolecall/rolecall/config"
	"github.com/rolecall/rolecall/internal/source"
)

// mute is an AWS that answers at first, and later takes a minute to fail.
type mute struct{ silent atomic.Bool }

func (m *mute) wait(ctx context.Context) error {
	if !m.silent.Load() {
		return nil
	}
	pause(ctx, time.Minute)
	return errors.New("no answer")
}

func (m *mute) PermissionSets(ctx context.Context) (map[string]source.SetRole, error) {
	return nil, m.wait(ctx)
}

func (m *mute) GroupUsers(ctx context.Context, _ string) (source.IAMGroup, error) {
	return source.IAMGroup{}, m.wait(ctx)
}

func (m *mute) Caller(ctx context.Context) (source.Account, error) {
	return source.Account{}, m.wait(ctx)
}

func (m *mute) Instances(ctx context.Context, _ source.InstanceQuery) ([]source.Instance, error) {
	return nil, m.wait(ctx)
}

// A source that is silent is seen after 15 s, in the middle of a term too, when nothing
// else wakes the leader.
func TestSilenceIsSeen(t *testing.T) {
	for name, test := range map[string]struct {
		group, fresh bool
		want         string
	}{
		"IAM, at a refresh":         {group: true, want: "group/A"},
		"EC2, about a fresh report": {fresh: true, want: "node"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				aws, w := &mute{}, newWorld()
				opts := options(newClient(nil), w)
				opts.Env.Directory = func(context.Context, string, string) (source.Directory, error) { return aws, nil }
				opts.Env.Instances = func(context.Context, string) (source.Instances, error) { return aws, nil }
				opts.Env.VPC = func(context.Context) (string, error) { return "vpc-1", nil }
				l := NewLeader(opts)
				file := reported()
				file.Config.NodeRoles.Verify = config.VerifyEC2
				if test.group {
					file.Config.IAMGroups = []config.IAMGroup{{Name: "A", Username: "{{UserName}}", Groups: []string{"g"}}}
				}
				l.Apply(file)
				lead(t, l)
				time.Sleep(5 * time.Minute)
				aws.silent.Store(true)
				if test.fresh {
					w.set(func() { w.reports.Reports = append(w.reports.Reports, by("n1", "workers")) })
					notify(l.wake)
				} else {
					notify(l.refresh)
				}
				failing := func() (out []string) {
					for _, s := range l.View().Last.Asked.States {
						if s.Err != nil {
							out = append(out, s.Name)
						}
					}
					return out
				}
				time.Sleep(14 * time.Second)
				if got := failing(); len(got) > 0 {
					t.Errorf("after 14 s %q fail", got)
				}
				time.Sleep(2 * time.Second)
				if got := failing(); len(got) != 1 || got[0] != test.want {
					t.Errorf("after 16 s %q fail, want %s", got, test.want)
				}
			})
		})
	}
}
