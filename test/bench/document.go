package main

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"syscall"
	"time"

	theirs "sigs.k8s.io/aws-iam-authenticator/pkg/mapper/configmap"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/internal/plan"
	"github.com/rolecall/rolecall/internal/register/configmap"
)

// fullDocument is as many entries as a large aws-auth holds: near 1 MiB.
const fullDocument = 6500

// documentEntries are nine users to each role.
func documentEntries(n int) []awsauth.Entry {
	var out []awsauth.Entry
	for i := range n {
		if i%10 == 0 {
			out = append(out, awsauth.Entry{
				Kind: awsauth.Role, ARN: fmt.Sprintf("arn:aws:iam::111122223333:role/node-%05d", i),
				Username: "system:node:{{EC2PrivateDNSName}}", Groups: []string{"system:bootstrappers", "system:nodes"},
			})
			continue
		}
		out = append(out, awsauth.Entry{
			Kind: awsauth.User, ARN: fmt.Sprintf("arn:aws:iam::111122223333:user/team-engineering/user-%05d", i),
			Username: fmt.Sprintf("user-%05d", i), Groups: []string{"developers"},
		})
	}
	return out
}

func askingFor(entries []awsauth.Entry) plan.Snapshot {
	return plan.Snapshot{Now: time.Now(), Sources: []plan.Source{{Name: "file", Entries: entries}}}
}

// merge is what a leader does with aws-auth in a pass: parse, plan, encode and
// read the result back.
func merge(data map[string]string, state *plan.State, req plan.Snapshot) (*configmap.Plan, error) {
	doc, err := awsauth.Parse(data)
	if err != nil {
		return nil, err
	}
	req.State = state
	p := configmap.MakePlan(doc, 0, req)
	if len(p.Left) > 0 {
		return nil, fmt.Errorf("left out: %+v", p.Left)
	}
	return p, nil
}

// A timed is what one way to do something took: milliseconds of CPU, which unlike
// those of a clock are the same while other programs run.
type timed struct {
	ms, mib, allocs []float64
}

// once does something once, with a clean heap, and notes what it took.
func (t *timed) once(do func() error) error {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	start := cpuTime()
	err := do()
	took := cpuTime() - start
	runtime.ReadMemStats(&after)
	t.ms = append(t.ms, float64(took.Microseconds())/1000)
	t.mib = append(t.mib, float64(after.TotalAlloc-before.TotalAlloc)/(1<<20))
	t.allocs = append(t.allocs, float64(after.Mallocs-before.Mallocs))
	return err
}

// cpuTime is what this process has used, of the system for it too.
func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u) // it knows this process
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// median is of the milliseconds.
func (t *timed) median() float64 { return figureOf("", "", "", t.ms).Median }

// bulk is a document of n entries of ours and what leads to others.
type bulk struct {
	data   map[string]string
	state  *plan.State
	steady plan.Snapshot
	one    plan.Snapshot // that changes an entry
	all    plan.Snapshot // that changes every entry
}

func newBulk(n int) (*bulk, error) {
	entries := documentEntries(n)
	d := &bulk{steady: askingFor(entries)}
	p, err := merge(nil, nil, d.steady)
	if err != nil {
		return nil, err
	}
	if len(p.Managed) != n {
		return nil, fmt.Errorf("%d of %d entries found room", len(p.Managed), n)
	}
	d.data, d.state = p.After.Data(), p.Settled
	one := slices.Clone(entries)
	one[1].Username += "-renamed"
	all := slices.Clone(entries)
	for i := range all {
		all[i].Username += "x"
	}
	d.one, d.all = askingFor(one), askingFor(all)
	return d, nil
}

// times are all ways of a document, by turns.
type times struct {
	floor, theirParse, ourParse, fullParse, steady, one, all, fresh timed
}

func (d *bulk) measure(ctx context.Context, rounds int) (*times, error) {
	var t times
	other := map[string]string{} // a text that no shortcut reads
	for k, text := range d.data {
		other[k] = text + "---\n"
	}
	merging := func(data map[string]string, state *plan.State, req plan.Snapshot, changes int) func() error {
		return func() error {
			p, err := merge(data, state, req)
			if err == nil && len(p.Changes) != changes {
				err = fmt.Errorf("%d changes instead of %d", len(p.Changes), changes)
			}
			return err
		}
	}
	n := len(d.steady.Sources[0].Entries)
	for range rounds {
		for _, step := range []struct {
			into *timed
			do   func() error
		}{
			{&t.floor, func() error {
				users, roles, accounts, err := theirs.ParseMap(d.data)
				if err == nil {
					_, err = theirs.EncodeMap(users, roles, accounts)
				}
				return err
			}},
			{&t.theirParse, func() error { _, _, _, err := theirs.ParseMap(d.data); return err }},
			{&t.ourParse, func() error { _, err := awsauth.Parse(d.data); return err }},
			{&t.fullParse, func() error { _, err := awsauth.Parse(other); return err }},
			{&t.steady, merging(d.data, d.state, d.steady, 0)},
			{&t.one, merging(d.data, d.state, d.one, 1)},
			{&t.all, merging(d.data, d.state, d.all, n)},
			{&t.fresh, merging(nil, nil, d.steady, n)},
		} {
			if err := step.into.once(step.do); err != nil {
				return nil, err
			}
			if err := ctx.Err(); err != nil {
				return nil, err
			}
		}
	}
	return &t, nil
}

// documents measures the document code beside the authenticator's own.
func documents(ctx context.Context, b *bench) error {
	rounds := 15
	if b.small {
		rounds = 3
	}
	d, err := newBulk(fullDocument)
	if err != nil {
		return err
	}
	size := 0
	for _, text := range d.data {
		size += len(text)
	}
	t, err := d.measure(ctx, rounds)
	if err != nil {
		return err
	}
	const floorName, parseName = "the authenticator's parse + encode", "the authenticator's parse"
	floor, parse := t.floor.median(), t.theirParse.median()
	add := func(name string, of *timed, rival float64, rivalName string, limit, insane float64) {
		f := figureOf("document", name, "ms of CPU", of.ms).
			noting("%s allocations, %s MiB", number(figureOf("", "", "", of.allocs).Median), number(figureOf("", "", "", of.mib).Median))
		if rivalName != "" {
			f = f.against(rival, rivalName)
		}
		if limit > 0 {
			f = f.judged(fmt.Sprintf("≤ %v × %s", limit, rivalName), of.median() <= limit*rival).unless(of.median() <= insane*rival)
		}
		b.add(f)
	}
	b.say("document: %d entries, %d bytes", fullDocument, size)
	add(fmt.Sprintf("%s of %s entries, %s KiB", floorName, thousands(fullDocument), thousands(size>>10)), &t.floor, 0, "", 0, 0)
	add(parseName, &t.theirParse, 0, "", 0, 0)
	add("parse, as tools write it", &t.ourParse, parse, parseName, 0, 0)
	add("parse, anything else", &t.fullParse, parse, parseName, 0, 0)
	add("no-op reconcile: parse + plan", &t.steady, parse, parseName, 1.5, 3)
	add("parse + plan + encode + self-check, one entry changes", &t.one, floor, floorName, 3, 6)
	add("the same, every entry changes", &t.all, floor, floorName, 3, 6)
	add("the same, every entry is new", &t.fresh, floor, floorName, 3, 6)
	return b.linear(ctx, rounds, t)
}

// linear holds documents of other sizes against the full one, an entry at a time.
func (b *bench) linear(ctx context.Context, rounds int, full *times) error {
	perEntry := func(t *timed, n int) float64 { return 1000 * t.median() / float64(n) }
	for _, n := range []int{fullDocument / 4, fullDocument / 2} {
		d, err := newBulk(n)
		if err != nil {
			return err
		}
		t, err := d.measure(ctx, rounds)
		if err != nil {
			return err
		}
		grows := perEntry(&full.all, fullDocument) / perEntry(&t.all, n)
		allocs := figureOf("", "", "", full.all.allocs).Median / fullDocument / (figureOf("", "", "", t.all.allocs).Median / float64(n))
		f := figureOf("document", fmt.Sprintf("an entry of %s costs times one of %s", thousands(fullDocument), thousands(n)), "ratio", []float64{grows}).
			noting("of allocations %s", number(allocs))
		b.add(f.judged("linear: ≤ 1.3", grows <= 1.3).unless(allocs <= 1.3))
	}
	return nil
}
