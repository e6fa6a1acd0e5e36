package source

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/config"
	"github.com/rolecall/rolecall/internal/plan"
)

// staleFor is how long IAM may go on giving an answer that is older than one that
// was acted on. IAM is eventually consistent and names no bound
// (https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot.html#troubleshoot_general_eventual-consistency);
// usually it is seconds. A role that is missing for longer is taken for deleted.
const staleFor = 10 * time.Minute

// permissionSets is the roles of the permission sets that the config names.
type permissionSets struct {
	env Env

	mu   sync.Mutex
	from directoryKey // which IAM was asked
	at   time.Time    // of the last answer; zero for none
	err  error        // of the last answer
	sets map[string]*setAnswers
}

// setAnswers is what the answers of one term said of one permission set.
type setAnswers struct {
	first  time.Time       // when an answer had a role of the set first
	listed []string        // principals of the set's roles in the last answer; none if it has no role
	ever   map[string]bool // principals of the set's roles in any answer
	role   SetRole         // the newest by creation: the one to map
	lacks  time.Time       // since when the answers lack role; zero for not
}

func newPermissionSets(env Env) Source { return &permissionSets{env: env} }

func (p *permissionSets) Refresh(ctx context.Context, c *config.Config) error {
	p.start(c)
	if !slices.ContainsFunc(c.Roles, isPermissionSet) {
		return nil
	}
	var listing map[string]SetRole
	dir, err := p.env.Directory(ctx, c.AWS.Region, c.AWS.RoleARN)
	if err == nil {
		listing, err = dir.PermissionSets(ctx)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	p.keep(c, listing, err)
	return err
}

func isPermissionSet(r config.Role) bool { return r.PermissionSet != "" }

// start forgets what another IAM said, or what was said long ago.
func (p *permissionSets) start(c *config.Config) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.sets == nil || p.from != keyOf(c) || !slices.ContainsFunc(c.Roles, isPermissionSet) {
		p.from, p.at, p.err, p.sets = keyOf(c), time.Time{}, nil, map[string]*setAnswers{}
	}
}

// keep takes an answer in. Of an answer that failed nothing but that is kept.
func (p *permissionSets) keep(c *config.Config, listing map[string]SetRole, err error) {
	now := p.env.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.from != keyOf(c) {
		return
	}
	p.at, p.err = now, err
	if err != nil {
		return
	}
	for name, set := range p.sets {
		if _, ok := listing[name]; !ok {
			set.listed = nil
		}
	}
	// All sets are kept and not the config's alone: one that the config names next is
	// answered at once.
	for name, is := range listing {
		set := p.sets[name]
		if set == nil {
			set = &setAnswers{first: now, ever: map[string]bool{}}
			p.sets[name] = set
		}
		if older := set.keep(is, now); older {
			p.env.Logger.Warn("an answer of iam is older than one that was acted on",
				"permission_set", name, "answer", is.ARN, "kept", set.role.ARN)
		}
	}
}

// keep takes in what an answer says of the set, and reports whether the answer is
// older than the role that was mapped: it lacks that one, which was created later.
func (s *setAnswers) keep(is SetRole, now time.Time) (older bool) {
	s.listed = []string{setPrincipal(is.ARN)}
	for _, arn := range is.Others {
		s.listed = append(s.listed, setPrincipal(arn))
	}
	for _, p := range s.listed {
		s.ever[p] = true
	}
	was := s.role
	if was.ARN != "" && is.Created.Before(was.Created) && !slices.Contains(s.listed, setPrincipal(was.ARN)) && sameAccount(is.ARN, was.ARN) {
		if s.lacks.IsZero() {
			s.lacks = now
		}
		if now.Sub(s.lacks) < staleFor {
			return true
		}
	}
	s.role, s.lacks = is, time.Time{}
	return false
}

func (p *permissionSets) Want(m *Moment) []Answer {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []Answer
	at := map[string]int{} // in out, by set
	for _, r := range m.Config.Roles {
		if r.PermissionSet == "" {
			continue
		}
		i, again := at[r.PermissionSet]
		if !again {
			i = len(out)
			at[r.PermissionSet] = i
			out = append(out, p.answer(r.PermissionSet, m))
		}
		a := &out[i]
		if !again && a.Err == nil {
			a.Entries[0].Username, a.Entries[0].Groups = r.Username, r.Groups
		} else if a.Err == nil {
			e := a.Entries[0]
			e.Username, e.Groups = r.Username, r.Groups
			a.Entries = append(a.Entries, e)
		}
	}
	return out
}

// answer is the answer of one set, with one entry that has no username and groups
// yet.
func (p *permissionSets) answer(name string, m *Moment) Answer {
	out := Answer{Name: "permission-set/" + name, Asked: p.at}
	set := p.sets[name]
	switch {
	case p.at.IsZero() || p.from != keyOf(m.Config):
		out.Asked, out.Err = time.Time{}, ErrNotAsked
		return out
	case p.err != nil:
		out.Err = p.err
		return out
	case set == nil || len(set.listed) == 0:
		out.Err = fmt.Errorf("permission set %q has no role in this account: assign it to the account in IAM Identity Center, or take it out of the config", name)
		return out
	}
	was := claimedBy(m.State, out.Name)
	use := set.role.ARN
	newer, ok := set.newerIn(was, p.env.Now())
	if ok {
		use = newer
	}
	arn, err := awsauth.RoleARN(use)
	if err != nil {
		out.Err = err
		return out
	}
	out.Entries = []awsauth.Entry{{Kind: awsauth.Role, ARN: arn}}
	if !ok && set.lacks.IsZero() {
		out.Gone = set.gone(was)
	}
	return out
}

// newerIn returns the role that the state has of the set, if it was mapped after
// the set's role was created and no answer of this term has had it: an earlier
// leader acted on it, and the answers may be older than that.
func (s *setAnswers) newerIn(was []plan.Owned, now time.Time) (string, bool) {
	var newer *plan.Owned
	for i := range was {
		o := &was[i]
		if o.Principal() == setPrincipal(s.role.ARN) {
			return "", false
		}
		if !s.ever[o.Principal()] && s.role.Created.Before(o.Since) && sameAccount(o.ARN, s.role.ARN) &&
			(newer == nil || o.Since.After(newer.Since)) {
			newer = o
		}
	}
	if newer == nil || now.Sub(s.first) >= staleFor {
		return "", false
	}
	return newer.ARN, true
}

// gone are the roles that the state has of the set and the last answer has no more.
// An answer says nothing of another account's roles.
func (s *setAnswers) gone(was []plan.Owned) []string {
	var out []string
	for i := range was {
		if o := &was[i]; !slices.Contains(s.listed, o.Principal()) && sameAccount(o.ARN, s.role.ARN) {
			out = append(out, o.ARN)
		}
	}
	return out
}

// claimedBy are the managed roles that the state has of a source.
func claimedBy(state *plan.State, name string) []plan.Owned {
	var out []plan.Owned
	for i := range state.Owned {
		o := &state.Owned[i]
		if o.Kind == awsauth.Role && slices.ContainsFunc(o.Claims, func(c plan.Claim) bool { return c.Source == name }) {
			out = append(out, *o)
		}
	}
	return out
}

// setPrincipal is the principal of a role's ARN as IAM says it, with a path. One
// that aws-auth cannot map is itself.
func setPrincipal(arn string) string {
	if bare, err := awsauth.RoleARN(arn); err == nil {
		arn = bare
	}
	return role(arn)
}

func sameAccount(a, b string) bool {
	idA, partitionA := awsauth.ARNAccount(a)
	idB, partitionB := awsauth.ARNAccount(b)
	return idA == idB && partitionA == partitionB
}
