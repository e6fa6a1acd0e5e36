package source

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/config"
	"github.com/rolecall/rolecall/internal/plan"
	"github.com/rolecall/rolecall/internal/roster"
)

// nodeKind is the name of the kind of reported roles.
const nodeKind = "node"

// liveFor is how long after its last report a node's role counts as in use. Reports
// are renewed about hourly.
const liveFor = 3 * roster.StaleAfter

// clockError is how far a node's clock may be behind for its role to be asked for,
// although its report looks too old. Clocks that are set to local time are hours off.
const clockError = 24 * time.Hour

// nodes is the roles that nodes run under: those that agents report, and those that
// they reported and that are kept.
type nodes struct {
	env Env

	mu       sync.Mutex
	sights   sights
	missing  map[string]time.Time // when a mapped role was first found to be reported no more
	verified verified
}

func newNodes(env Env) Source { return &nodes{env: env} }

// Refresh asks EC2 about the reports that have to be verified.
func (n *nodes) Refresh(ctx context.Context, c *config.Config) error { return n.verify(ctx, c) }

func (n *nodes) Want(m *Moment) []Answer {
	n.mu.Lock()
	defer n.mu.Unlock()
	out := Answer{Name: nodeKind}
	asked, reported := map[string]bool{}, map[string]bool{}
	add := func(arn string) {
		if k := role(arn); !asked[k] {
			asked[k] = true
			out.Entries = append(out.Entries, nodeEntry(arn))
		}
	}
	known := knownNodeRoles(m)
	if !m.Config.NodeRoles.Report {
		n.sights = sights{}
	} else {
		if m.Reports.Err != nil {
			out.Err = m.Reports.Err
			return []Answer{out}
		}
		now := n.env.Now()
		n.sights.see(&m.Reports, now)
		for _, r := range n.believed(m, known, &out) {
			seen := n.sights.of[r.key]
			live := seen.live(now)
			if live && !slices.Contains(out.Live, r.arn) {
				out.Live = append(out.Live, r.arn)
			}
			if live || !seen.unused(now, m.Config.NodeRoles.KeepUnused, known.has(r.arn)) {
				add(r.arn)
			}
			reported[role(r.arn)] = true
		}
		out.Required = out.Live
	}
	n.keepMissing(m, known, reported, add)
	return []Answer{out}
}

// keepMissing adds roles that are mapped and that nobody reports: the Lease is gone,
// reporting was switched off, or the state was lost. How long they stay is counted
// from when this leader missed them first.
func (n *nodes) keepMissing(m *Moment, known *knownRoles, reported map[string]bool, add func(string)) {
	missing := map[string]time.Time{}
	for _, arn := range known.arns {
		k := role(arn)
		if reported[k] {
			continue
		}
		since, ok := n.missing[k]
		if !ok {
			since = n.env.Now()
		}
		missing[k] = since
		if keep := m.Config.NodeRoles.KeepUnused; keep == 0 || n.env.Now().Sub(since) < max(keep, liveFor) {
			add(arn)
		}
	}
	n.missing = missing
}

// knownRoles are the roles that are mapped for nodes.
type knownRoles struct {
	arns []string
	keys map[string]bool
}

func (k *knownRoles) has(arn string) bool { return k.keys[role(arn)] }

// knownNodeRoles are the roles that were mapped because nodes reported them: as the
// state has them, or where it has nothing, as their mark and groups tell.
func knownNodeRoles(m *Moment) *knownRoles {
	known := &knownRoles{keys: map[string]bool{}}
	add := func(arn string) {
		known.arns = append(known.arns, arn)
		known.keys[role(arn)] = true
	}
	inState := map[string]bool{}
	for i := range m.State.Owned {
		o := &m.State.Owned[i]
		inState[o.Principal()] = true
		if slices.ContainsFunc(o.Claims, func(c plan.Claim) bool { return c.Source == nodeKind }) {
			add(o.ARN)
		}
	}
	for i := range m.Standing {
		s := &m.Standing[i]
		if s.Mark == awsauth.Mark && s.Kind == awsauth.Role && !inState[s.Principal()] && slices.Contains(s.Groups, nodesGroup) {
			add(s.ARN)
		}
	}
	return known
}

// A sighting is what this leader saw of a report, by its own clock.
type sighting struct {
	renewed  time.Time // the report's own time stamp
	previous time.Time // the one before it
	since    time.Time // when this leader saw it first
	changed  bool      // this leader saw it change, or appear
}

// live reports whether the role's nodes report: this leader saw a report come in
// lately, or found one that is not old by its own time stamp.
func (s *sighting) live(now time.Time) bool {
	return now.Sub(s.since) < liveFor && (s.changed || now.Sub(s.renewed) < liveFor)
}

// unused reports whether a role that is not live is given up after keep; 0 is never.
// A role that is mapped is given up by two clocks, this leader's own and that of the
// report, since either can be wrong. A report that was old already when this leader
// read the first ones, of a role that is not mapped, is one that an earlier leader
// gave up.
func (s *sighting) unused(now time.Time, keep time.Duration, mapped bool) bool {
	if keep == 0 {
		return false
	}
	// A report is at least as old as this leader knows it, whatever it says itself.
	age := max(now.Sub(s.renewed), now.Sub(s.since))
	if !mapped && !s.changed && age > keep+clockError {
		return true
	}
	return now.Sub(s.since) >= liveFor && age > keep
}

// sights is what this leader saw of the reports.
type sights struct {
	listed bool // the newest reports were read once
	of     map[string]sighting
}

// see takes in the reports that were read at a moment. A report that is missing from
// an answer that may be old is not forgotten: when it is back, nothing has changed.
func (s *sights) see(reports *Reports, now time.Time) {
	old := s.of
	s.of = make(map[string]sighting, len(reports.Reports))
	if !reports.Newest {
		for k := range old {
			s.of[k] = old[k]
		}
	}
	for i := range reports.Reports {
		r := &reports.Reports[i]
		k := role(r.RoleARN)
		seen, ok := old[k]
		switch {
		case !ok:
			seen = sighting{renewed: r.Renewed, since: now, changed: s.listed}
		case !r.Renewed.Equal(seen.renewed) && !r.Renewed.Equal(seen.previous):
			seen = sighting{renewed: r.Renewed, previous: seen.renewed, since: now, changed: true}
		}
		s.of[k] = seen
	}
	s.listed = s.listed || reports.Newest
}

// A believedReport is a report that counts.
type believedReport struct{ arn, key string }

// believed leaves out the reports that are of another account or partition, and
// those of new roles that have to be verified and are not yet. What is wrong with
// the others it says in the answer.
func (n *nodes) believed(m *Moment, known *knownRoles, out *Answer) []believedReport {
	reports := &m.Reports
	refuse := func(lease string, why error) {
		if out.Refused == nil {
			out.Refused = map[string]error{}
		}
		out.Refused[lease] = why
	}
	if reports.Surplus > 0 {
		refuse("of the roster", fmt.Errorf("%d reports more than the %d that are believed, the oldest ones: delete the Leases of roles that nobody uses", reports.Surplus, len(reports.Reports)))
	}
	for _, name := range reports.Invalid {
		refuse(name, errNoReport)
	}
	if len(reports.Reports) == 0 {
		n.verified.keep(nil)
		return nil
	}
	var failed items
	allowed := allow(m, &failed)
	var believed []believedReport
	open := map[claimedRole]*verdict{}
	for _, r := range reports.Reports {
		arn, err := allowed.accept(r.RoleARN, known)
		if err == nil && m.Config.NodeRoles.Verify == config.VerifyEC2 && !known.has(arn) {
			err = n.verdictOf(claimedRole{r.Node, role(arn)}, open, m.Config)
		}
		var unverified errEC2
		var undecided errAccount
		switch {
		case err == nil:
			believed = append(believed, believedReport{arn, role(r.RoleARN)})
		case errors.Is(err, errNotVerified):
		case errors.As(err, &undecided):
			failed.fail(arn, undecided.error)
		default:
			refuse(roster.LeaseName(r.RoleARN), fmt.Errorf("node %q: %w", r.Node, err))
			if errors.As(err, &unverified) {
				failed.fail(arn, unverified.error)
			}
		}
	}
	n.verified.keep(open)
	out.Err = failed.err()
	return believed
}

// errNoReport says that a Lease has the roster's label and is none of its own.
var errNoReport = errors.New("it does not stand for a role: delete it")

// errAccount is why it is unknown whether reports are of an allowed account.
type errAccount struct{ error }

func (e errAccount) Unwrap() error { return e.error }

// allowed are the accounts of which reported roles may be.
type allowed struct {
	own    Account
	ownErr error    // why it is unknown
	ids    []string // of nodeRoles.accounts; none if that is not set
	open   error    // why some of those are unknown
	any    bool     // nodeRoles.accounts is set
}

// allow works out which accounts are allowed. Items of nodeRoles.accounts that
// cannot be told fail alone.
func allow(m *Moment, failed *items) *allowed {
	a := &allowed{any: len(m.Config.NodeRoles.Accounts) > 0}
	a.own, a.ownErr = m.Account()
	for _, text := range m.Config.NodeRoles.Accounts {
		id, err := expand(text, m.Account)
		if err != nil {
			a.open = err
			failed.fail(text, err)
			continue
		}
		a.ids = append(a.ids, id)
	}
	return a
}

// accept believes a report only of an allowed account and of the cluster's own
// partition. Where these are unknown it believes one of a role that is mapped: it
// was accepted once.
func (a *allowed) accept(reported string, known *knownRoles) (string, error) {
	arn, err := awsauth.RoleARN(reported)
	if err != nil {
		return "", err
	}
	id, partition := awsauth.ARNAccount(arn)
	if a.ownErr == nil && partition != a.own.Partition {
		return "", fmt.Errorf("%s is of partition %s, this cluster of %s", arn, partition, a.own.Partition)
	}
	undecided := a.ownErr
	listed := a.ownErr == nil && id == a.own.ID
	if a.any {
		undecided, listed = a.open, slices.Contains(a.ids, id)
	}
	switch {
	case listed || undecided != nil && known.has(arn):
		return arn, nil
	case undecided != nil:
		return arn, errAccount{undecided}
	}
	return "", fmt.Errorf("%s is of an account that nodeRoles.accounts does not list", arn)
}
