package source

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/config"
	"github.com/rolecall/rolecall/internal/plan"
	"github.com/rolecall/rolecall/internal/roster"
)

// toy is a kind of source of which nothing but this file knows.
type toy struct {
	due     func()
	refresh error
	answers []Answer
	earlier []string
	account Account
	err     error
}

func (s *toy) kind(name string, nodes bool) Kind {
	return Kind{Name: name, Nodes: nodes, New: func(env Env) Source { s.due = env.Due; return s }}
}

func (s *toy) Refresh(context.Context, *config.Config) error { return s.refresh }

func (s *toy) Want(m *Moment) []Answer {
	s.earlier = nil
	for _, a := range m.Earlier {
		s.earlier = append(s.earlier, a.Name)
	}
	s.account, s.err = m.Account()
	return s.answers
}

// A new kind is in everything that is told of sources, with no other place touched.
func TestNewKind(t *testing.T) {
	w := newWorld()
	entry := awsauth.Entry{Kind: awsauth.User, ARN: "arn:aws:iam::111122223333:user/toy", Username: "toy"}
	wrong := errors.New("broken")
	s := &toy{answers: []Answer{
		{Name: "toy/a", Entries: []awsauth.Entry{entry}, Asked: start.Add(-time.Hour), Required: []string{arn("r")}, Live: []string{arn("l")}, Gone: []string{arn("Gone")}},
		{Name: "toy/b", Asked: start.Add(-time.Minute), Refused: map[string]error{"lease": wrong}},
	}}
	kinds := append(Kinds(), s.kind("toy", true))
	set := NewSet(kinds, w.env())
	c := &config.Config{}
	asked := w.ask(set, c)
	n := len(asked.Sources)
	want := []plan.Source{
		{Name: "toy/a", Entries: []awsauth.Entry{entry}, Nodes: true},
		{Name: "toy/b", Nodes: true},
	}
	if diff := cmp.Diff(want, asked.Sources[n-2:]); diff != "" {
		t.Errorf("sources (-want +got):\n%s", diff)
	}
	states := []State{
		{Name: "toy/a", Kind: "toy", Entries: 1, Success: start.Add(-time.Hour)},
		{Name: "toy/b", Kind: "toy", Success: start.Add(-time.Minute)},
	}
	if diff := cmp.Diff(states, asked.States[n-2:]); diff != "" || len(asked.States) != n {
		t.Errorf("%d states of %d (-want +got):\n%s", len(asked.States), n, diff)
	}
	if got := set.LastSuccess()["toy"]; !got.Equal(start.Add(-time.Hour)) {
		t.Errorf("last success %s, want that of the older answer", got)
	}
	if asked.Required[0] != arn("r") || asked.Live[0] != arn("l") || asked.Refused["lease"] == nil || !asked.Gone["arn:aws:iam::111122223333:role/gone"] {
		t.Errorf("asked: %+v", asked)
	}
	if want := []string{"file", "karpenter", "extra", "node", "windows"}; !slices.Equal(s.earlier, want) {
		t.Errorf("earlier answers %q, want %q", s.earlier, want)
	}
	if KindName(kinds, "toy/b") != "toy" || !slices.Contains(Names(kinds), "toy") {
		t.Error("its name is unknown")
	}

	// It fails, in part and for some time.
	wantStates := func(when string, states ...State) {
		t.Helper()
		asked := w.ask(set, c)
		if diff := cmp.Diff(states, asked.States[n-2:], cmpopts.EquateErrors()); diff != "" {
			t.Errorf("%s: states (-want +got):\n%s", when, diff)
		}
		for i, state := range states {
			source := asked.Sources[n-2+i]
			if failed := state.Err != nil || errors.Is(s.answers[i].Err, ErrNotAsked); source.Failed != failed || (asked.Errs[state.Name] != nil) != (state.Err != nil) {
				t.Errorf("%s: %s failed %t, error %v", when, state.Name, source.Failed, asked.Errs[state.Name])
			}
		}
	}
	w.now = start.Add(time.Minute)
	s.answers[0].Err = wrong
	s.answers[1].Asked = time.Time{}
	wantStates("broken",
		State{Name: "toy/a", Kind: "toy", Entries: 1, Success: start.Add(-time.Hour), Err: wrong, Since: w.now},
		State{Name: "toy/b", Kind: "toy", Success: w.now})
	since := w.now
	w.now = start.Add(time.Hour)
	s.answers[1].Err = ErrNotAsked
	wantStates("still broken",
		State{Name: "toy/a", Kind: "toy", Entries: 1, Success: start.Add(-time.Hour), Err: wrong, Since: since},
		State{Name: "toy/b", Kind: "toy", Success: since})
	if got := set.LastSuccess()["toy"]; !got.Equal(start.Add(-time.Hour)) {
		t.Errorf("last success %s, though one of two fails since", got)
	}

	// Its failure is in the refresh's, and what is due is asked of it alone.
	s.refresh = wrong
	if err := set.Refresh(t.Context(), c); !errors.Is(err, wrong) {
		t.Errorf("the refresh says %v", err)
	}
	if err := set.RefreshDue(t.Context(), c); err != nil {
		t.Errorf("nothing is due: %v", err)
	}
	s.due()
	s.due()
	<-set.Due()
	if err := set.RefreshDue(t.Context(), c); !errors.Is(err, wrong) {
		t.Errorf("it is due: %v", err)
	}
	if len(set.Due()) != 0 || set.RefreshDue(t.Context(), c) != nil {
		t.Error("it is due for ever")
	}
}

// Kinds of nodes may take the account from reports, kinds of people may not, and one
// that is given is taken.
func TestAccountOfAKind(t *testing.T) {
	w := newWorld()
	w.self = nil
	w.reports.Reports = []roster.Report{report("a", 0)}
	people, machines := &toy{}, &toy{}
	set := NewSet([]Kind{people.kind("people", false), machines.kind("machines", true)}, w.env())
	c := reporting()
	_ = set.Refresh(t.Context(), c)
	w.ask(set, c)
	if people.err == nil || machines.err != nil || machines.account != (Account{own, "aws"}) {
		t.Errorf("people: %v, %v; nodes: %v, %v", people.account, people.err, machines.account, machines.err)
	}
	set.Ask(Moment{Config: c, Account: func() (Account, error) { return Account{other, "aws"}, nil }})
	if people.account.ID != other || machines.account.ID != other {
		t.Errorf("people: %v; nodes: %v", people.account, machines.account)
	}
}

// hung takes a question and never answers.
type hung struct{ *world }

func (hung) Instances(ctx context.Context, _ InstanceQuery) ([]Instance, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func (h hung) PermissionSets(ctx context.Context) (map[string]SetRole, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// A kind that is slow holds up no other: neither an EC2 that hangs IAM, nor
// permission sets groups.
func TestSlowKindHoldsUpNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.reports.Reports = []roster.Report{by("a", "a")}
		w.users = map[string][]IAMUser{"dev": {{Name: "ann", ARN: "arn:aws:iam::111122223333:user/ann"}}}
		env := w.env()
		env.Directory = func(context.Context, string, string) (Directory, error) { return hung{w}, nil }
		env.Instances = func(context.Context, string) (Instances, error) { return hung{w}, nil }
		s := NewSet(Kinds(), env)
		c := verifying()
		c.IAMGroups = []config.IAMGroup{{Name: "dev", Username: "{{UserName}}"}}

		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		w.ask(s, c)
		<-s.Due()
		ended := make(chan error, 2)
		go func() { ended <- s.RefreshDue(ctx, c) }()
		synctest.Wait()
		began := time.Now()
		if err := s.Refresh(ctx, c); err != nil || time.Since(began) > 0 {
			t.Errorf("while EC2 hangs a refresh takes %s: %v", time.Since(began), err)
		}

		w.users["dev"] = nil
		c.Roles = []config.Role{{PermissionSet: "Admin", Username: "x"}}
		go func() { ended <- s.Refresh(ctx, c) }()
		synctest.Wait()
		if got := entriesOf(w.ask(s, c))["group/dev"]; len(got) != 0 {
			t.Errorf("while the permission sets hang the group asks for %q", got)
		}
		for range 2 {
			if err := <-ended; !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
		}
	})
}
