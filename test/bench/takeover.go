package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/rolecall/rolecall/test/stage"
)

// A takeoverRun is one group whose leader goes again and again.
type takeoverRun struct {
	n             int
	rival, real   bool
	slow          bool
	copies        int // of the group, each in namespaces of its own
	ended, killed int // how often its leader goes, in each copy
}

// takeover measures how long nobody leads when the leader goes: from the signal to
// a watcher's sight of another holder. Each leader is replaced, as a DaemonSet does.
func takeover(ctx context.Context, b *bench) error {
	together := []takeoverRun{
		{n: 3, real: true, copies: 3, ended: 16, killed: 6},
		{n: 50, real: true, copies: 2, ended: 20, killed: 6},
		{n: 500, copies: 1, ended: 25, killed: 8},
		{n: 3, slow: true, copies: 3, ended: 16, killed: 6},
		{n: 50, slow: true, copies: 2, ended: 20, killed: 6},
		{n: 500, slow: true, copies: 1, ended: 25, killed: 8},
		{n: 3, rival: true, copies: 3, ended: 16, killed: 6},
		{n: 50, rival: true, copies: 2, ended: 20, killed: 6},
		{n: 500, rival: true, copies: 1, ended: 20, killed: 6},
	}
	alone := []takeoverRun{
		{n: 5000, copies: 1, ended: 12, killed: 3},
		{n: 5000, slow: true, copies: 1, ended: 12, killed: 3},
		{n: 5000, rival: true, copies: 1, ended: 8, killed: 2},
	}
	if b.small {
		together = []takeoverRun{{n: 3, copies: 1, ended: 4, killed: 1}, {n: 200, copies: 1, ended: 4, killed: 1}}
		alone = nil
	}
	rivals := map[string]float64{} // medians
	all, err := b.takeovers(ctx, together)
	if err != nil {
		return err
	}
	for _, run := range alone {
		more, err := b.takeovers(ctx, []takeoverRun{run})
		if err != nil {
			return err
		}
		all = append(all, more...)
	}
	for _, t := range all {
		if t.rival {
			for _, s := range t.samples() {
				rivals[s.name+fmt.Sprint(t.n)] = figureOf("", "", "", s.seconds).Median
			}
		}
	}
	for _, t := range all {
		for _, s := range t.samples() {
			name := s.name
			if t.slow {
				name += ", API server slow (p99 3 s)"
			}
			f := figureOf("takeover", name, "s", s.seconds).at(t.n, t.how)
			f.Values = s.seconds
			switch rival := rivals[s.name+fmt.Sprint(t.n)]; {
			case t.rival:
				f.Name = usualElector + ": " + f.Name
				b.add(f)
				continue
			case !t.slow && rival > 0:
				f = f.against(rival, usualElector)
			}
			// In a slow answer of 3 s a release, too, is lost once in fifty times.
			f = f.judged(fmt.Sprintf("p95 ≤ %v s", s.limit), f.P95 <= s.limit).unless(f.Median <= 4*s.limit)
			b.add(f)
		}
	}
	return nil
}

// took is what a run came to, over all copies.
type took struct {
	takeoverRun
	how           string
	ended, killed []float64 // seconds
}

type series struct {
	name    string
	limit   float64 // of the p95, in seconds
	seconds []float64
}

func (t *took) samples() []series {
	return []series{{"leader ends (SIGTERM)", 2, t.ended}, {"leader is killed (SIGKILL)", 25, t.killed}}
}

// takeovers does runs side by side: mostly they wait.
func (b *bench) takeovers(ctx context.Context, runs []takeoverRun) ([]took, error) {
	plane, err := stage.Start(ctx, stage.Options{})
	if err != nil {
		return nil, err
	}
	defer func() { _ = plane.Stop() }()
	out := make([]took, len(runs))
	var mu sync.Mutex // guards out
	var g errgroup.Group
	for i, run := range runs {
		out[i].takeoverRun = run
		for range run.copies {
			g.Go(func() error {
				one, err := b.oneTakeover(ctx, plane, run)
				mu.Lock()
				defer mu.Unlock()
				out[i].how = one.how
				out[i].ended = append(out[i].ended, one.ended...)
				out[i].killed = append(out[i].killed, one.killed...)
				return err
			})
		}
	}
	return out, g.Wait()
}

// group starts no member yet.
func (b *bench) group(ctx context.Context, c *cluster, n int, rival, real, slow bool) (group, error) {
	switch {
	case rival:
		return newRivals(ctx, c, n, slow)
	case real:
		return newProcesses(ctx, c, n)
	}
	return newAgents(ctx, c, n, slow)
}

func (b *bench) oneTakeover(ctx context.Context, plane *stage.ControlPlane, run takeoverRun) (out took, err error) {
	c, err := b.cluster(ctx, plane, reportOnly)
	if err != nil {
		return out, err
	}
	defer c.close()
	g, err := b.group(ctx, c, run.n, run.rival, run.real, run.slow)
	if err != nil {
		return out, err
	}
	defer g.close()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	watch := watchHolder(ctx, c.Client, c.Namespace)
	if err := startAll(ctx, g); err != nil {
		return out, err
	}
	out.how = g.how()
	if _, _, err := watch.other(ctx, ""); err != nil {
		return out, err
	}
	// Until the last have started and all know how many they are.
	pause(ctx, 10*time.Second+time.Duration(run.n)*5*time.Millisecond)
	for trial := range run.ended + run.killed {
		killed := trial%3 == 2 && len(out.killed) < run.killed || len(out.ended) == run.ended
		if !pause(ctx, between(3*time.Second, 6*time.Second)) {
			return out, ctx.Err()
		}
		leader, _, err := watch.other(ctx, "") // who leads now
		if err != nil {
			return out, err
		}
		i, err := nodeIndex(leader)
		if err != nil {
			return out, err
		}
		begun := time.Now()
		if killed {
			g.kill(i)
		} else {
			g.stop(i)
		}
		_, at, err := watch.other(ctx, leader)
		if err != nil {
			return out, err
		}
		if seconds := at.Sub(begun).Seconds(); killed {
			out.killed = append(out.killed, seconds)
		} else {
			out.ended = append(out.ended, seconds)
		}
		g.await(i)
		if err := g.start(ctx, i); err != nil {
			return out, err
		}
	}
	b.say("takeover: a group of %d is done", run.n)
	return out, nil
}
