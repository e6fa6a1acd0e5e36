package agent

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/rolecall/rolecall/awsauth"
)

// Instances answers questions about EC2. An answer is whole or an error. It is
// safe for concurrent use.
type Instances interface {
	// NodeRoles returns the ARNs of the roles under which the instances of
	// nodes run, by the node's name. A node without an instance is left out.
	NodeRoles(ctx context.Context, nodes []string) (map[string][]string, error)
}

// A sworn report is one that EC2 has to bear out: that a node runs under a role.
type sworn struct{ node, role string } // role in lower case

// verdicts is what EC2 said of reports. A role is verified before it is mapped
// for the first time; one that is ours already is believed, so that an EC2 that
// does not answer takes nothing from live nodes.
type verdicts struct {
	known map[sworn]error // nil: EC2 bears it out; errNotVerified: not asked yet
	due   chan struct{}   // holds one token: there is something to ask
}

var errNotVerified = errors.New("EC2 has not been asked yet")

// errEC2 is why a report cannot be verified, as opposed to why it is false.
type errEC2 struct{ error }

func (e errEC2) Unwrap() error { return e.error }

// believe says why a report of a role that is not ours yet is not believed, or
// nil. It notes in still what EC2 has to be asked about.
// Called with mu held.
func (g *gatherer) believe(r sworn, still map[sworn]error) error {
	err, asked := g.verdicts.known[r]
	if !asked {
		err = errNotVerified
		notify(g.verdicts.due)
	}
	still[r] = err
	return err
}

// verify asks EC2 about all reports that it has not borne out. What it says of
// a report that is gone is forgotten.
func (g *gatherer) verify(ctx context.Context, spec *Spec) error {
	g.mu.Lock()
	var open []sworn
	for r, err := range g.verdicts.known {
		if err != nil {
			open = append(open, r)
		}
	}
	g.mu.Unlock()
	if !spec.Nodes.Verify || len(open) == 0 {
		return nil
	}
	said, err := g.bearOut(ctx, spec, open)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for r := range said {
		if _, still := g.verdicts.known[r]; still {
			g.verdicts.known[r] = said[r]
		}
	}
	return err
}

func (g *gatherer) bearOut(ctx context.Context, spec *Spec, open []sworn) (map[sworn]error, error) {
	out := make(map[sworn]error, len(open))
	nodes := map[string]bool{}
	for _, r := range open {
		nodes[r.node] = true
	}
	instances, err := g.openInstances(ctx, spec)
	var roles map[string][]string
	if err == nil {
		roles, err = instances.NodeRoles(ctx, slices.Sorted(maps.Keys(nodes)))
	}
	if err != nil {
		err = fmt.Errorf("verify the reports of new node roles: %w", err)
		for _, r := range open {
			out[r] = errEC2{err}
		}
		return out, err
	}
	for _, r := range open {
		out[r] = compare(r, roles[r.node])
	}
	return out, nil
}

// compare holds a report against the roles of the node's instance.
func compare(r sworn, roles []string) error {
	if len(roles) == 0 {
		return errors.New("EC2 has no running instance with an IAM role and this node's private DNS name")
	}
	for _, arn := range roles {
		if arn, err := awsauth.RoleARN(arn); err == nil && strings.ToLower(arn) == r.role {
			return nil
		}
	}
	return fmt.Errorf("EC2 says that its instance runs under %s", strings.Join(roles, ", "))
}

func (g *gatherer) openInstances(ctx context.Context, spec *Spec) (Instances, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.openedEC2.Instances != nil && g.openedEC2.region == spec.Region {
		return g.openedEC2.Instances, nil
	}
	instances, err := g.instances(ctx, spec.Region)
	if err != nil {
		return nil, err
	}
	g.openedEC2 = openInstances{spec.Region, instances}
	return instances, nil
}

// openInstances is the one in use, and for which part of the config.
type openInstances struct {
	region string
	Instances
}
