package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/rolecall/rolecall/test/awsfake"
	"github.com/rolecall/rolecall/test/fleet"
	"github.com/rolecall/rolecall/test/stage"
)

// An account as large companies have it: pages of 1,000 are IAM's own limit.
const (
	accountRoles = 2400
	largeGroup   = 1500
	smallGroup   = 300
	// ceil(2,400/1,000) for the roles, and 2 + 1 for the groups' users.
	callsPerRefresh = 3 + 2 + 1
)

const iamConfig = reportOnly + `refreshInterval: 10s
roles:
  - permissionSet: Admins
    groups: [system:masters]
iamGroups:
  - name: large
    groups: [developers]
  - name: small
    groups: [viewers]
`

func populate(aws *awsfake.AWS) {
	aws.AddPermissionSet("Admins", "0123456789abcdef", "", time.Time{})
	for i := range accountRoles - 1 {
		aws.AddRole(awsfake.Role{Name: fmt.Sprintf("AWSReservedSSO_Set%04d_%016x", i, i), Path: "/aws-reserved/sso.amazonaws.com/"})
	}
	members := map[string][]string{}
	for i := range largeGroup {
		name := fmt.Sprintf("user-%04d", i)
		aws.AddUser(awsfake.User{Name: name})
		members["large"] = append(members["large"], name)
		if i < smallGroup {
			members["small"] = append(members["small"], name)
		}
	}
	aws.SetMembers("large", members["large"]...)
	aws.SetMembers("small", members["small"]...)
}

// A refresh is the calls that come one after another.
type refresh struct {
	began time.Time
	calls int
}

// refreshes watches the calls to IAM for a while and tells which of them belong
// together: those with less than two seconds between them.
func refreshes(ctx context.Context, aws *awsfake.AWS, during time.Duration) []refresh {
	asked := func() int { return aws.Requests("ListRoles") + aws.Requests("GetGroup") }
	var out []refresh
	last, lastAt := asked(), time.Time{}
	for end := time.Now().Add(during); time.Now().Before(end) && pause(ctx, 20*time.Millisecond); {
		now := asked()
		if now == last {
			continue
		}
		if at := time.Now(); lastAt.IsZero() || at.Sub(lastAt) > 2*time.Second {
			out = append(out, refresh{began: at})
		}
		lastAt = time.Now()
		out[len(out)-1].calls += now - last
		last = now
	}
	if time.Since(lastAt) < 2*time.Second {
		out = out[:len(out)-1] // it may not have ended
	}
	return out
}

// iamCalls counts what clusters ask of IAM.
func iamCalls(ctx context.Context, b *bench) error {
	clusters, during := 5, 75*time.Second
	if b.small {
		clusters, during = 2, 25*time.Second
	}
	plane, err := stage.Start(ctx, stage.Options{})
	if err != nil {
		return err
	}
	defer func() { _ = plane.Stop() }()
	seen := make([][]refresh, clusters)
	throttled := make([]int, clusters)
	var g errgroup.Group
	for i := range clusters {
		g.Go(func() (err error) {
			seen[i], throttled[i], err = b.iamCluster(ctx, plane, during)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	var calls, apart, limited []float64
	for i, list := range seen {
		limited = append(limited, float64(throttled[i]))
		for j, r := range list {
			if j > 0 {
				apart = append(apart, r.began.Sub(list[j-1].began).Seconds())
			}
			calls = append(calls, float64(r.calls))
		}
	}
	if len(calls) == 0 || len(apart) == 0 {
		return errors.New("IAM was hardly asked")
	}
	f := figureOf("iam", fmt.Sprintf("calls a refresh: %s roles, groups of %s and %d users", thousands(accountRoles), thousands(largeGroup), smallGroup), "calls", calls).
		noting("three agents each, of which the leader alone asks")
	exact := f.Min == callsPerRefresh && f.Max == callsPerRefresh
	b.add(f.judged(fmt.Sprintf("= %d: a page of 1,000 each", callsPerRefresh), exact).unless(f.Max >= callsPerRefresh && f.Max <= 2*callsPerRefresh))
	f = figureOf("iam", fmt.Sprintf("between two refreshes of one of %d clusters, interval 10 s", clusters), "s", apart)
	spread := f.Max - f.Min
	f = f.judged("jittered: over a tenth apart", spread >= 1)
	b.add(f.unless(b.small || spread >= .2))
	f = figureOf("iam", fmt.Sprintf("calls in %s while IAM throttles them", during), "calls", limited).
		against(during.Seconds()/10*callsPerRefresh, "as many, had it not")
	b.add(f.judged("fewer", f.Max < f.Rival).unless(f.Max < 2*f.Rival))
	return nil
}

func (b *bench) iamCluster(ctx context.Context, plane *stage.ControlPlane, during time.Duration) (seen []refresh, throttled int, err error) {
	c, err := b.cluster(ctx, plane, iamConfig)
	if err != nil {
		return nil, 0, err
	}
	defer c.close()
	populate(c.AWS)
	g, err := newProcesses(ctx, c, 3)
	if err != nil {
		return nil, 0, err
	}
	defer g.close()
	if err := startAll(ctx, g); err != nil {
		return nil, 0, err
	}
	if _, err := fleet.Until(ctx, func(ctx context.Context) error {
		if c.AWS.Requests("GetGroup") < 3 {
			return errors.New("IAM was not asked yet")
		}
		return nil
	}); err != nil {
		return nil, 0, err
	}
	pause(ctx, 3*time.Second)
	seen = refreshes(ctx, c.AWS, during)
	asked := func() int { return c.AWS.Requests("ListRoles") + c.AWS.Requests("GetGroup") }
	c.AWS.Fail("ListRoles", awsfake.Throttle(0))
	c.AWS.Fail("GetGroup", awsfake.Throttle(0))
	before := asked()
	pause(ctx, during)
	return seen, asked() - before, nil
}
