package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// A requestRun is one group whose requests are counted.
type requestRun struct {
	n     int
	rival bool
	real  bool
	steps int // of 5 s
}

// cost is what a group was found to cost.
type cost struct {
	requestRun
	how     string
	rates   []float64 // requests a second, in each step
	start   float64   // requests an agent, from the start until all stand by
	creates float64   // Leases that were tried to be made during the start
	updates float64   // and renewed by the roster's reports or the leader
	cpu     float64   // millicores of the API server, beyond those that it uses alone
}

// requests counts what standing by costs the API server.
func requests(ctx context.Context, b *bench) error {
	together := []requestRun{ // small enough to be measured at once
		{n: 3, real: true, steps: 12},
		{n: 50, real: true, steps: 12},
		{n: 200, real: true, steps: 12},
		{n: 50, steps: 12},
		{n: 500, steps: 12},
		{n: 3, rival: true, steps: 6},
		{n: 50, rival: true, steps: 6},
		{n: 500, rival: true, steps: 6},
	}
	alone := []requestRun{{n: 5000, steps: 12}, {n: 5000, rival: true, steps: 6}}
	if b.small {
		together = []requestRun{{n: 20, steps: 3}, {n: 400, steps: 3}, {n: 400, rival: true, steps: 3}}
		alone = nil
	}
	ours, rivals := []cost{}, map[int]cost{}
	var g errgroup.Group
	g.SetLimit(3)
	found := make([]cost, len(together))
	for i, run := range together {
		g.Go(func() (err error) {
			found[i], err = b.cost(ctx, run)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for _, run := range alone {
		c, err := b.cost(ctx, run)
		if err != nil {
			return err
		}
		found = append(found, c)
	}
	for _, c := range found {
		if c.rival {
			rivals[c.n] = c
		} else {
			ours = append(ours, c)
		}
	}
	b.judgeCosts(ours, rivals)
	return nil
}

// judgeCosts holds the largest group against a small one and the rival.
func (b *bench) judgeCosts(ours []cost, rivals map[int]cost) {
	base := ours[0] // 50, or the smallest of a small run
	for _, c := range ours {
		if c.n == 50 && c.how == inOneProcess {
			base = c
		}
	}
	baseRate := mean(base.rates) + hourly(base.n)
	for _, c := range ours {
		f := figureOf("requests", "all agents together, steady", "requests/s", c.rates).at(c.n, c.how)
		rate := mean(c.rates)
		f = f.noting("mean %s", number(rate))
		if reports := hourly(c.n); reports > .1 {
			f = f.noting("mean %s; to which come %s for the reports, on paper", number(rate), number(reports))
			rate += reports
		}
		if rival, ok := rivals[c.n]; ok {
			f = f.against(mean(rival.rates), usualElector)
			if c.n == 5000 {
				f = f.judged("≤ 1.5 × those of 50; ≥ 100 times below the usual elector", rate <= 1.5*baseRate && mean(rival.rates) >= 100*rate)
			}
			f = f.unless(c.n < 400 || rate <= 2.5*baseRate && mean(rival.rates) >= 8*rate)
		}
		b.add(f)
	}
	for _, c := range ours {
		f := figureOf("requests", "start, beyond what standing by costs", "requests/agent", []float64{c.start}).at(c.n, c.how)
		f = f.noting("all at once")
		if c.n > crowd {
			f = f.noting("%d in each second: one machine makes the TLS connections of all", crowding)
		}
		if c.n >= 400 {
			f = f.judged("≤ 3", c.start <= 3).unless(c.start <= 8)
		}
		b.add(f)
	}
	for _, c := range ours {
		f := figureOf("requests", "start: writes of Leases, lost ones too", "requests", []float64{c.creates + c.updates}).at(c.n, c.how)
		f = f.noting("%d roles and the leader's Lease", min(c.n, distinctRoles))
		if c.n >= 400 {
			f = f.judged("as many roles, as many writes, not as many nodes", c.creates+c.updates < float64(c.n)/5).unless(c.creates+c.updates < float64(c.n)/2)
		}
		b.add(f)
	}
	for _, c := range ours {
		f := figureOf("requests", "CPU of the API server, beyond an idle one's", "millicores", []float64{c.cpu}).at(c.n, c.how)
		if rival, ok := rivals[c.n]; ok {
			f = f.against(rival.cpu, usualElector)
		}
		b.add(f)
	}
}

// hourly is how often n agents look whether the report of their role is fresh, in
// requests a second: each in 0.8 to 0.95 of an hour, at a look at IMDS every
// minute. No minute after a start shows any of it.
func hourly(n int) float64 { return float64(n) / (0.875*3600 + 30) }

// cost runs a group on a control plane of its own and counts.
func (b *bench) cost(ctx context.Context, run requestRun) (_ cost, err error) {
	out := cost{requestRun: run, how: inOneProcess}
	name := fmt.Sprintf("%d agents", run.n)
	if run.rival {
		name += " of the usual kind"
	}
	c, err := b.cluster(ctx, nil, reportOnly)
	if err != nil {
		return out, err
	}
	defer c.close()
	var g group
	switch {
	case run.rival:
		g, err = newRivals(ctx, c, run.n, false)
	case run.real:
		out.how = asProcesses
		g, err = newProcesses(ctx, c, run.n)
	default:
		g, err = newAgents(ctx, c, run.n, false)
	}
	if err != nil {
		return out, err
	}
	defer g.close()

	take := func() (now counts) {
		if err == nil {
			now, err = counted(ctx, c.Client)
		}
		return now
	}
	idle0 := take()
	pause(ctx, 10*time.Second)
	idle1 := take()
	if err != nil {
		return out, err
	}
	idle := idle1.rate(idle0)
	idleCPU := (idle1.cpu - idle0.cpu) / idle1.at.Sub(idle0.at).Seconds()
	b.say("requests: starting %s, %s; alone the API server asks itself %.1f requests/s", name, out.how, idle)
	begin := take()
	if err := startAll(ctx, g); err != nil {
		return out, err
	}
	// All stand by when the requests have come down to what they stay at. Agents
	// that start together do so within seconds, each of their machines for itself;
	// here one machine does it for all.
	bound := max(20, 1.3*float64(run.n)/2)
	if !run.rival {
		bound = 20
	}
	settled := begin
	for calm := 0; calm < 2 && settled.at.Sub(begin.at) < patience; {
		before := settled
		if !pause(ctx, 5*time.Second) {
			return out, ctx.Err()
		}
		if settled = take(); err != nil {
			return out, err
		}
		calm++
		if settled.rate(before)-idle > bound || settled.since(begin, asked{}) < float64(run.n) {
			calm = 0
		}
	}
	took := settled.at.Sub(begin.at).Seconds()
	for _, a := range slices.SortedFunc(maps.Keys(settled.requests), func(a, b asked) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) }) {
		if n := settled.since(begin, a); n > float64(run.n)/20 && run.n > 100 {
			b.say("requests: of %s: %.0f %s %s %s", name, n, a.verb, a.resource, a.code)
		}
	}
	out.creates = settled.since(begin, asked{verb: "POST", resource: "leases"})
	b.say("requests: %s have started: %.0f requests in %.0f s", name, settled.since(begin, asked{}), took)
	before := settled
	for range run.steps {
		if !pause(ctx, 5*time.Second) {
			return out, ctx.Err()
		}
		now := take()
		if err != nil {
			return out, err
		}
		out.rates = append(out.rates, now.rate(before)-idle)
		before = now
	}
	during := before.at.Sub(settled.at).Seconds()
	out.cpu = 1000 * ((before.cpu-settled.cpu)/during - idleCPU)
	// What standing by costs in that time is no cost of the start.
	out.start = max(0, settled.since(begin, asked{})-(idle+mean(out.rates))*took) / float64(run.n)
	puts := before.since(settled, asked{verb: "PUT", resource: "leases"}) / during
	out.updates = max(0, settled.since(begin, asked{verb: "PUT", resource: "leases"})-puts*took)
	b.say("requests: %s: %.2f/s, of them %.2f/s reads and %.2f/s writes of Leases", name, mean(out.rates),
		before.since(settled, asked{verb: "GET", resource: "leases"})/during, puts)
	return out, nil
}

func mean(values []float64) float64 {
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	return sum / float64(len(values))
}
