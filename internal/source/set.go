package source

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/config"
	"github.com/rolecall/rolecall/internal/plan"
)

// Env is what sources are made with.
type Env struct {
	Logger *slog.Logger // default none
	// Self is who this node is, once IMDS has answered.
	Self func() (Node, bool)
	// Directory opens the IAM directory for a region and a role to assume. It is
	// called again only when one of the two changes.
	Directory func(ctx context.Context, region, roleARN string) (Directory, error)
	// Instances opens EC2 in a region, as the agent itself and no assumed role.
	Instances func(ctx context.Context, region string) (Instances, error)
	// VPC returns the id of the VPC that this node is in, which is the cluster's. It is
	// called only where reports have to be verified. Nil: nobody knows.
	VPC func(ctx context.Context) (string, error)
	// ProviderID returns the providerID of a Node. The error is [ErrNoNode],
	// [ErrNodesNotReadable], or says why it could not be read now. It is called only
	// for a node whose instance can't be told by its name. Nil: Nodes can't be read.
	ProviderID func(ctx context.Context, node string) (string, error)
	// Now is this process's clock, default time.Now. Its times have a monotonic
	// reading: whether a report is fresh is told by the time between two of them.
	Now func() time.Time
	// Due is told, without blocking, when a source has something to ask before the
	// next refresh is due ([Source.Refresh] of that kind is then called).
	Due func()
	// Answered is called by a source that asks several questions in one refresh, when
	// one of them was answered: it is then not silent.
	Answered func()
	// Advice returns what to look at where AWS is silent; nil: nothing is known. It must
	// return at once.
	Advice func() string
}

// A Set is all sources of one term. It is safe for concurrent use.
type Set struct {
	env     Env
	account *account
	sources []*member
	due     chan struct{} // holds one token

	mu      sync.Mutex
	states  map[string]State     // as of the last Ask, by name
	success map[string]time.Time // by kind
}

// A member is a source of a set.
type member struct {
	Kind
	Source
	due        atomic.Bool
	refreshing sync.Mutex // one refresh of a kind at a time
	silence    silence
}

// NewSet makes a source of each kind.
func NewSet(kinds []Kind, env Env) *Set {
	if env.Logger == nil {
		env.Logger = slog.New(slog.DiscardHandler)
	}
	if env.Self == nil {
		env.Self = func() (Node, bool) { return Node{}, false }
	}
	if env.Now == nil {
		env.Now = time.Now
	}
	env = env.openers()
	s := &Set{env: env, account: newAccount(env), due: make(chan struct{}, 1), success: map[string]time.Time{}}
	for _, kind := range kinds {
		m := &member{Kind: kind}
		own := env
		own.Due = func() {
			m.due.Store(true)
			select {
			case s.due <- struct{}{}:
			default:
			}
			if env.Due != nil {
				env.Due()
			}
		}
		own.Answered = func() { m.silence.answered(env.Now()) }
		m.Source = kind.New(own)
		s.sources = append(s.sources, m)
	}
	return s
}

// Refresh asks AWS everything that the config needs, all kinds at the same time but
// those that are asked on demand. The error joins what failed. Where STS alone fails,
// it is no error: the account may be known otherwise.
func (s *Set) Refresh(ctx context.Context, c *config.Config) error {
	var wg sync.WaitGroup
	wg.Go(func() { s.account.refresh(ctx, c) })
	err := s.refresh(ctx, c, func(m *member) bool { return !m.OnDemand })
	wg.Wait()
	return cmp.Or(ctx.Err(), err)
}

// Due holds a token when a source has something to ask soon.
func (s *Set) Due() <-chan struct{} { return s.due }

// RefreshDue asks what is due soon and nothing else. It may run at the same time as
// Refresh.
func (s *Set) RefreshDue(ctx context.Context, c *config.Config) error {
	err := s.refresh(ctx, c, func(m *member) bool { return m.due.Swap(false) })
	return cmp.Or(ctx.Err(), err)
}

// refresh asks the sources that which picks, each by itself.
func (s *Set) refresh(ctx context.Context, c *config.Config, which func(*member) bool) error {
	var wg sync.WaitGroup
	errs := make([]error, len(s.sources))
	for i, m := range s.sources {
		if !which(m) {
			continue
		}
		wg.Go(func() {
			m.refreshing.Lock()
			defer m.refreshing.Unlock()
			m.silence.begin(s.env.Now())
			defer m.silence.end()
			errs[i] = m.Refresh(ctx, c)
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// Asked is what all sources ask for at one moment.
type Asked struct {
	Sources  []plan.Source // in the order of the kinds
	Required []string
	Live     []string
	Refused  map[string]error // by the name of the Lease
	Errs     map[string]error // of the sources that failed, by name; without [ErrNotAsked]
	Gone     map[string]bool  // principals
	States   []State          // in the order of Sources
	// Again is when to ask again, because a source will then have been silent for too
	// long; 0 for never.
	Again time.Duration
}

// A State is how one source does.
type State struct {
	Name    string
	Kind    string
	Entries int       // that it asks for; 0 while it fails as a whole
	Success time.Time // when it last answered wholly; zero for not in this term
	Err     error     // what it fails with now
	Since   time.Time // when it began to fail
}

// Ask asks every source what it wants. It makes no request.
func (s *Set) Ask(m Moment) Asked {
	if m.State == nil {
		m.State = &plan.State{}
	}
	if m.Now.IsZero() {
		m.Now = s.env.Now()
	}
	out := Asked{Refused: map[string]error{}, Errs: map[string]error{}, Gone: map[string]bool{}}
	kinds := make([]string, 0, len(s.sources)) // of out.Sources
	var answers, shown []Answer                // as they are, and with the silent ones failing
	for _, source := range s.sources {
		began, since := source.silence.get()
		for _, a := range source.Want(s.momentOf(&m, source, answers)) {
			a.Nodes = source.Nodes
			answers = append(answers, a)
			kinds = append(kinds, source.Name)
			if silent := s.silent(&a, began, since, m.Now, &out); silent != nil {
				a.Err = silent
			}
			shown = append(shown, a)
		}
	}
	for i := range answers {
		out.add(&answers[i], shown[i].Err)
	}
	out.States = s.remember(shown, kinds, &m)
	return out
}

// momentOf is the moment as a source sees it.
func (s *Set) momentOf(m *Moment, source *member, earlier []Answer) *Moment {
	own := *m
	own.Earlier = earlier[:len(earlier):len(earlier)]
	switch {
	case m.Account != nil:
	case source.Nodes:
		own.Account = sync.OnceValues(func() (Account, error) { return s.account.ofNodes(&own) })
	default:
		own.Account = s.account.ofPeople
	}
	return &own
}

// add takes in an answer; shown is its error as people see it.
func (out *Asked) add(a *Answer, shown error) {
	out.Sources = append(out.Sources, plan.Source{Name: a.Name, Entries: a.Entries, Failed: a.Err != nil, Nodes: a.Nodes})
	out.Required = append(out.Required, a.Required...)
	out.Live = append(out.Live, a.Live...)
	maps.Copy(out.Refused, a.Refused)
	if shown != nil && !errors.Is(shown, ErrNotAsked) {
		out.Errs[a.Name] = shown
	}
	for _, arn := range a.Gone {
		e := awsauth.Entry{Kind: awsauth.Role, ARN: arn} // the kind is none of the principal's, unless it is an account
		out.Gone[e.Principal()] = true
	}
}

// remember keeps how each source does and when each kind of source was last right,
// and returns the former.
func (s *Set) remember(answers []Answer, kinds []string, m *Moment) []State {
	s.mu.Lock()
	defer s.mu.Unlock()
	states := make([]State, len(answers))
	now := map[string]State{}
	failed := map[string]bool{}
	oldest := map[string]time.Time{} // when a kind's answers were true
	for i := range answers {
		a := &answers[i]
		kind := kinds[i]
		was, ok := s.states[a.Name]
		state := State{Name: a.Name, Kind: kind, Entries: len(a.Entries), Success: was.Success}
		asked := a.Asked
		if asked.IsZero() {
			asked = m.Now
		}
		switch {
		case a.Err == nil:
			state.Success = asked.UTC().Truncate(time.Second)
			if o, some := oldest[kind]; !some || asked.Before(o) {
				oldest[kind] = asked
			}
		case !errors.Is(a.Err, ErrNotAsked):
			state.Err, state.Since = a.Err, m.Now.UTC().Truncate(time.Second)
			var silent *SilentError
			switch {
			case ok && was.Err != nil:
				state.Since = was.Since
			case errors.As(a.Err, &silent):
				state.Since = silent.Since.UTC().Truncate(time.Second)
			}
		}
		failed[kind] = failed[kind] || a.Err != nil
		states[i], now[a.Name] = state, state
	}
	s.states = now
	for kind, at := range oldest {
		if !failed[kind] {
			s.success[kind] = at
		}
	}
	return states
}

// LastSuccess is when all sources of a kind were last right, by kind: those that
// were not in this term are left out.
func (s *Set) LastSuccess() map[string]time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.success)
}
