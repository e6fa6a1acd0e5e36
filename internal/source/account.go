package source

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/config"
)

// callerTimeout bounds a question to STS. Nothing else waits for the answer but the
// end of the same refresh.
const callerTimeout = 10 * time.Second

// account is the cluster's own account: what $ACCOUNTID stands for, and of which
// reported roles are. It is safe for concurrent use.
type account struct {
	env Env

	mu       sync.Mutex
	caller   Account // as STS says
	err      error   // why caller is unknown; [ErrNotAsked] at first
	asked    time.Time
	failures int
}

func newAccount(env Env) *account { return &account{env: env, err: ErrNotAsked} }

// refresh asks STS where IMDS cannot tell the account, until it has answered once.
// After each failure it asks more rarely. It has no error: where nothing else tells
// the account, each source says so itself.
func (a *account) refresh(ctx context.Context, c *config.Config) {
	if _, ok := a.env.Self(); ok || !needsAccount(c) || !a.due(c) {
		return
	}
	limited, cancel := context.WithTimeout(ctx, callerTimeout)
	defer cancel()
	var caller Account
	dir, err := a.env.Directory(limited, c.AWS.Region, c.AWS.RoleARN)
	if err == nil {
		caller, err = dir.Caller(limited)
	}
	if ctx.Err() != nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.caller, a.err, a.asked = caller, err, a.env.Now()
	if err != nil {
		a.failures++
		a.env.Logger.Debug("sts does not tell the account", "err", err)
	}
}

func (a *account) due(c *config.Config) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.err != nil && (a.asked.IsZero() || a.env.Now().Sub(a.asked) >= retryAfter(c, a.failures-1))
}

// retryAfter is how soon to ask again after some failures more than the first one.
func retryAfter(c *config.Config, more int) time.Duration {
	pause := c.RefreshInterval << min(max(more, 0), 8)
	pause = max(c.RefreshInterval, min(pause, 10*time.Minute))
	return pause - pause/10 // refreshes come a little sooner or later than that
}

// ofPeople is the account as IMDS or STS says. Nothing that a node reports decides
// which people get access.
func (a *account) ofPeople() (Account, error) {
	own, err := a.known()
	if err != nil && !errors.Is(err, ErrNotAsked) {
		err = fmt.Errorf("%w: write the account id in place of $ACCOUNTID", err)
	}
	return own, err
}

// ofNodes is the account as IMDS or STS says, else as the node roles say that the
// state or the register has, else as the reports say. Where these contradict one
// another it is unknown: a report must not decide which account reports may be of.
func (a *account) ofNodes(m *Moment) (Account, error) {
	own, err := a.known()
	if err == nil || errors.Is(err, ErrNotAsked) {
		return own, err
	}
	mapped, reported := accountsMapped(m), accountsReported(&m.Reports)
	switch {
	case len(mapped) == 1:
		return mapped[0], nil
	case len(reported) == 1 && (len(mapped) == 0 || slices.Contains(mapped, reported[0])):
		return reported[0], nil
	}
	return Account{}, fmt.Errorf("%w; the node roles that are mapped are of %d accounts, those that are reported of %d: "+
		"set nodeRoles.accounts to the accounts of the nodes' roles, and write account ids in place of $ACCOUNTID", err, len(mapped), len(reported))
}

// known is the account as IMDS or STS says.
func (a *account) known() (Account, error) {
	if node, ok := a.env.Self(); ok {
		return node.Account, nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.err != nil && !errors.Is(a.err, ErrNotAsked) {
		return Account{}, fmt.Errorf("the cluster's account is unknown: IMDS does not answer on this node, and STS: %w", a.err)
	}
	return a.caller, a.err
}

// accountsMapped are the accounts of the node roles that the state and the register
// have.
func accountsMapped(m *Moment) []Account {
	var out []Account
	add := func(e *awsauth.Entry) {
		if e.Kind == awsauth.Role && slices.Contains(e.Groups, nodesGroup) && e.Unmatched() == "" {
			out = addAccount(out, e.ARN)
		}
	}
	for i := range m.State.Owned {
		add(&m.State.Owned[i].Entry)
	}
	for i := range m.Standing {
		add(&m.Standing[i].Entry)
	}
	return out
}

// accountsReported are the accounts of the roles that nodes report.
func accountsReported(reports *Reports) []Account {
	if reports.Err != nil {
		return nil
	}
	var out []Account
	for _, r := range reports.Reports {
		if arn, err := awsauth.RoleARN(r.RoleARN); err == nil {
			out = addAccount(out, arn)
		}
	}
	return out
}

func addAccount(all []Account, arn string) []Account {
	id, partition := awsauth.ARNAccount(arn)
	if is := (Account{id, partition}); id != "" && !slices.Contains(all, is) {
		all = append(all, is)
	}
	return all
}

// needsAccount reports whether the cluster's own account must be known.
func needsAccount(c *config.Config) bool {
	bare := func(name string) bool { return !strings.Contains(name, ":") }
	placeholder := func(text string) bool { return strings.Contains(text, "$") }
	n := &c.NodeRoles
	return n.Report || slices.ContainsFunc(n.Windows, bare) ||
		slices.ContainsFunc(slices.Concat(c.Karpenter.NodeRoleARNs, c.Accounts, n.Accounts, n.Extra, n.Windows), placeholder) ||
		slices.ContainsFunc(c.Roles, func(r config.Role) bool { return placeholder(r.ARN) }) ||
		slices.ContainsFunc(c.Users, func(u config.User) bool { return placeholder(u.ARN) })
}
