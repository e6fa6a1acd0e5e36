package agent

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/config"
	"github.com/rolecall/rolecall/internal/plan"
	"github.com/rolecall/rolecall/internal/register"
	"github.com/rolecall/rolecall/internal/report"
	"github.com/rolecall/rolecall/internal/source"
)

// A toyRegister is a register in memory: what a further register has to be.
type toyRegister struct {
	mu        sync.Mutex
	entries   map[string]awsauth.Entry // by principal
	state     *plan.State
	version   int
	commits   int
	forgotten int
	fails     func() error // of a commit; nil: none
	unseen    func() error // of an observation; nil: none
	journal   []register.Write
}

func newToyRegister() *toyRegister {
	return &toyRegister{entries: map[string]awsauth.Entry{}, state: &plan.State{}}
}

// toyChange is what a commit makes of it.
type toyChange struct {
	entries map[string]awsauth.Entry
	state   *plan.State
}

func (r *toyRegister) Observe(context.Context, register.Rules) (*register.Observation, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.unseen != nil {
		if err := r.unseen(); err != nil {
			return nil, err
		}
	}
	o := &register.Observation{State: r.state, Handle: r.version}
	for _, principal := range slices.Sorted(maps.Keys(r.entries)) {
		o.Standing = append(o.Standing, plan.Standing{Entry: r.entries[principal], Mark: awsauth.Mark})
	}
	return o, nil
}

func (*toyRegister) Prepare(o *register.Observation, s *plan.Snapshot, decisions []plan.Decision, removals []plan.PendingRemoval) *register.Change {
	next := toyChange{map[string]awsauth.Entry{}, plan.Settle(s, decisions, removals)}
	for _, e := range o.Standing {
		next.entries[e.Principal()] = e.Entry
	}
	c := &register.Change{Removals: removals, Managed: plan.Managed(decisions)}
	for i := range decisions {
		d := &decisions[i]
		c.Changes = append(c.Changes, d.Changes()...)
		if len(d.Drops) > 0 {
			delete(next.entries, d.Principal)
		}
		if d.After.Kind != "" {
			next.entries[d.Principal] = d.After
		}
	}
	for _, principal := range slices.Sorted(maps.Keys(next.entries)) {
		c.Listed = append(c.Listed, awsauth.Listed{Entry: next.entries[principal], SyncedBy: awsauth.Mark})
	}
	c.Size, c.Handle = len(next.entries), next
	return c
}

func (r *toyRegister) Commit(_ context.Context, o *register.Observation, c *register.Change) (*register.Written, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.commits++
	if r.fails != nil {
		if err := r.fails(); err != nil {
			return &register.Written{}, err
		}
	}
	if o.Handle != r.version {
		return &register.Written{}, register.ErrConflict
	}
	next := c.Handle.(toyChange)
	r.state = next.state
	if !c.Writes() {
		return &register.Written{}, nil
	}
	r.version++
	r.entries = next.entries
	r.journal = append([]register.Write{{Why: plan.Summary(c.Changes)}}, r.journal...)
	return &register.Written{Wrote: true, Version: "v"}, nil
}

// Writes and Forget make it a [Journal].
func (r *toyRegister) Writes() []register.Write {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.journal)
}

func (r *toyRegister) Forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forgotten++
}

// counts are how often it was committed to and written.
func (r *toyRegister) counts() (commits, writes int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.commits, r.version
}

func (r *toyRegister) names() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []string
	for _, e := range r.entries {
		out = append(out, e.Username)
	}
	slices.Sort(out)
	return out
}

// toySource asks for one role for each account of the config.
type toySource struct{}

func (toySource) Refresh(context.Context, *config.Config) error { return nil }

func (toySource) Want(m *source.Moment) []source.Answer {
	out := source.Answer{Name: "toy"}
	for _, name := range m.Config.Accounts {
		out.Entries = append(out.Entries, awsauth.Entry{Kind: awsauth.Role, ARN: roleOf(name), Username: name, Groups: []string{"viewers"}})
	}
	return []source.Answer{out}
}

var toyKinds = []source.Kind{{Name: "toy", New: func(source.Env) source.Source { return toySource{} }}}

// toyConfig asks for the roles of these names.
func toyConfig(hash string, names ...string) *config.File {
	return &config.File{Hash: hash, Config: config.Config{RefreshInterval: time.Minute, Accounts: names, Safety: config.Safety{RemovalLimit: config.RemovalLimit{Percent: 50}}}}
}

// toyOptions are those of a leader of a toy register and nothing else.
func toyOptions(r register.Register) Options {
	return Options{
		Register: func(func(string, error)) register.Register { return r }, Kinds: toyKinds,
		Identity: "n_1", Version: "v1", Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
	}
}

// A leader needs nothing but the interfaces of a register and of a kind of source:
// what a source of its own kind asks for arrives in a register of its own, and the
// metrics, the status and the view tell of it.
func TestLeaderOfAToyRegister(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		toy := newToyRegister()
		opts := toyOptions(toy)
		registry := prometheus.NewRegistry()
		opts.Registerer = registry
		l := NewLeader(opts)
		l.Apply(toyConfig("one", "a", "b"))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- l.Lead(ctx) }()

		check := func(when string, want ...string) {
			t.Helper()
			time.Sleep(10 * time.Second)
			synctest.Wait()
			if diff := cmp.Diff(want, toy.names()); diff != "" {
				t.Errorf("%s: the register (-want +got):\n%s", when, diff)
			}
			status, err := report.DecodeStatus(l.Published())
			if err != nil {
				t.Fatal(err)
			}
			if len(status.Sources) != 1 || status.Sources[0].Name != "toy" || status.Sources[0].Entries != len(want) || status.Sources[0].Success.IsZero() || status.Leader != "n_1" {
				t.Errorf("%s: the status says %+v", when, status)
			}
			_, writes := toy.counts()
			view := l.View()
			if view == nil || view.Good == nil || len(view.Good.Change.Managed) != len(want) || len(view.Writes) != writes {
				t.Errorf("%s: the view is %+v", when, view)
			}
			if n := metric(t, registry, "rolecall_entries", "toy"); int(n) != len(want) {
				t.Errorf("%s: rolecall_entries of the kind is %v", when, n)
			}
			if n := metric(t, registry, "rolecall_source_last_success_timestamp_seconds"); n == 0 {
				t.Errorf("%s: no source of the kind has answered", when)
			}
		}
		check("at the start", "a", "b")
		l.Apply(toyConfig("two", "b", "c"))
		check("with another config", "b", "c")
		commits, writes := toy.counts()
		time.Sleep(10 * time.Minute)
		if c, w := toy.counts(); c == commits || w != writes || writes != 2 {
			t.Errorf("in ten quiet minutes it was reconciled %d times and written %d times, after %d writes", c-commits, w-writes, writes)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if l.View() != nil || l.Published() != "" {
			t.Error("after its term a leader says what it saw in it")
		}
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			if f.GetName() == "rolecall_entries" {
				t.Error("after its term a leader exports entries")
			}
		}
	})
}
