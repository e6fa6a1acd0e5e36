package source

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/config"
)

// A claimedRole is what a report claims: that a node runs under a role.
type claimedRole struct{ node, role string } // the role's principal

// A verdict is what EC2 said of a report.
type verdict struct {
	err   error // nil: EC2 has confirmed it; errNotVerified: not asked yet
	asked time.Time
	due   bool // EC2 is to be asked
}

// verified is what EC2 said of the reports of new roles. A role is verified before
// it is mapped for the first time; one that is mapped already is believed, so that
// an EC2 that does not answer takes nothing from live nodes.
type verified struct {
	of       map[claimedRole]*verdict
	failures int // of EC2 as a whole, in a row
}

// keep forgets what was said of reports that are gone.
func (v *verified) keep(still map[claimedRole]*verdict) { v.of = still }

var errNotVerified = errors.New("EC2 has not been asked yet")

// errEC2 is why no report can be verified, as opposed to why one is false.
type errEC2 struct{ error }

func (e errEC2) Unwrap() error { return e.error }

// verdictOf is why a report of a role that is not mapped yet is not believed, or
// nil. It adds to still what is asked about, and has Refresh called where EC2 is to
// be asked. It is called with mu held.
func (n *nodes) verdictOf(r claimedRole, still map[claimedRole]*verdict, c *config.Config) error {
	v := n.verified.of[r]
	if v == nil {
		v = still[r]
	}
	if v == nil {
		v = &verdict{err: errNotVerified}
	}
	still[r] = v
	more := 0
	if unanswered := (errEC2{}); errors.As(v.err, &unanswered) {
		more = n.verified.failures - 1
	}
	if v.err != nil && !v.due && (v.asked.IsZero() || n.env.Now().Sub(v.asked) >= retryAfter(c, more)) {
		v.due = true
		n.env.Due()
	}
	return v.err
}

// verify asks EC2 about the reports that are due. Of one that is gone meanwhile the
// answer is forgotten.
func (n *nodes) verify(ctx context.Context, c *config.Config) error {
	n.mu.Lock()
	var due []claimedRole
	for r, v := range n.verified.of {
		if v.due {
			due = append(due, r)
		}
	}
	n.mu.Unlock()
	if c.NodeRoles.Verify != config.VerifyEC2 || len(due) == 0 {
		return nil
	}
	said, err := n.ask(ctx, c, due)
	n.mu.Lock()
	defer n.mu.Unlock()
	if ctx.Err() != nil {
		for _, r := range due { // the next Want asks again
			if v := n.verified.of[r]; v != nil {
				v.due = false
			}
		}
		return ctx.Err()
	}
	n.verified.failures++
	if err == nil {
		n.verified.failures = 0
	}
	for r, why := range said {
		if v := n.verified.of[r]; v != nil {
			v.err, v.asked, v.due = why, n.env.Now(), false
		}
	}
	return err
}

// ask says for each report why it is false or unverified, or nil. The error says
// that EC2 has not answered at all.
func (n *nodes) ask(ctx context.Context, c *config.Config, due []claimedRole) (map[claimedRole]error, error) {
	out := make(map[claimedRole]error, len(due))
	names := map[string]bool{}
	for _, r := range due {
		names[r.node] = true
	}
	var roles map[string][]string
	var failed map[string]error
	instances, err := n.env.Instances(ctx, c.AWS.Region)
	if err == nil {
		roles, failed, err = instances.NodeRoles(ctx, slices.Sorted(maps.Keys(names)))
	}
	if err != nil {
		err = fmt.Errorf("verify the reports of new node roles: %w", err)
		for _, r := range due {
			out[r] = errEC2{err}
		}
		return out, err
	}
	for _, r := range due {
		if out[r] = failed[r.node]; out[r] == nil {
			out[r] = compare(r, roles[r.node])
		}
	}
	return out, nil
}

// compare checks a report against the roles of the node's instance.
func compare(r claimedRole, roles []string) error {
	if len(roles) == 0 {
		return errors.New("EC2 has no running instance with an IAM role and this node's private DNS name")
	}
	for _, arn := range roles {
		if arn, err := awsauth.RoleARN(arn); err == nil && role(arn) == r.role {
			return nil
		}
	}
	return fmt.Errorf("EC2 says that its instance runs under %s", strings.Join(roles, ", "))
}
