package source

import (
	"cmp"
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
	// instance is the id of the node's instance by its Node's providerID; empty where
	// the node's name tells its instance, or the Node was not read yet.
	instance string
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
	due := map[claimedRole]string{}
	for r, v := range n.verified.of {
		if v.due {
			due[r] = v.instance
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
		for r := range due { // the next Want asks again
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
	for r, is := range said {
		v := n.verified.of[r]
		if v == nil {
			continue
		}
		*v = verdict{err: is.err, asked: n.env.Now(), instance: is.instance}
		if is.again {
			v.asked = time.Time{} // the next Want asks at once
		}
	}
	return err
}

// said is what came of a question about a report.
type said struct {
	err      error  // why it is false or not verified; nil: EC2 has confirmed it
	instance string // id, where the Node named it
	again    bool   // EC2 is to be asked by that id
}

// ask says for each report why it is false or unverified. The values of due are the
// ids of instances that are known from Nodes. The error says that nobody has answered.
//
// The authenticator names a node by the private DNS name of its instance
// ({{EC2PrivateDNSName}}), which is unique within a VPC, or by the instance's id, which
// is the session's name ({{SessionName}}). Any other name leads to the instance by its
// Node's providerID alone. An id that a report would give itself proves nothing: every
// instance of the account has one.
func (n *nodes) ask(ctx context.Context, c *config.Config, due map[claimedRole]string) (map[claimedRole]said, error) {
	out := make(map[claimedRole]said, len(due))
	q, err := n.query(ctx, c, due)
	var found []Instance
	if err == nil {
		var instances Instances
		if instances, err = n.env.Instances(ctx, c.AWS.Region); err == nil {
			found, err = instances.Instances(ctx, q)
		}
	}
	if err != nil {
		err = fmt.Errorf("verify the reports of new node roles: %w", err)
		for r, id := range due {
			out[r] = said{err: errEC2{err}, instance: id}
		}
		return out, err
	}
	var open []claimedRole // whose Nodes have to be read
	for r, id := range due {
		its := instancesOf(found, r.node, id)
		one := len(its) == 1
		if one {
			out[r] = said{err: compare(r, &its[0]), instance: id}
		} else {
			out[r] = said{err: notOne(r.node, id, its, q.VPCs), instance: id}
		}
		// A Node that was made anew can be of another instance, though the former one runs.
		if !isInstanceID(r.node) && (!one || id != "" && out[r].err != nil) {
			open = append(open, r)
		}
	}
	n.readNodes(ctx, open, out)
	return out, nil
}

// query says what EC2 is asked: by the id where one is known.
func (n *nodes) query(ctx context.Context, c *config.Config, due map[claimedRole]string) (InstanceQuery, error) {
	vpcs := c.NodeRoles.VPCs
	if len(vpcs) == 0 {
		vpc, err := n.ownVPC(ctx)
		if err != nil {
			return InstanceQuery{}, fmt.Errorf("the cluster's VPC is unknown: %w: write its id under nodeRoles.vpcs", err)
		}
		vpcs = []string{vpc}
	}
	names, ids := map[string]bool{}, map[string]bool{}
	for r, id := range due {
		switch {
		case id != "":
			ids[id] = true
		case isInstanceID(r.node):
			ids[r.node] = true
		default:
			names[r.node] = true
		}
	}
	return InstanceQuery{VPCs: vpcs, DNSNames: slices.Sorted(maps.Keys(names)), IDs: slices.Sorted(maps.Keys(ids))}, nil
}

func (n *nodes) ownVPC(ctx context.Context) (string, error) {
	if n.env.VPC == nil {
		return "", errors.New("IMDS does not answer on this machine")
	}
	return n.env.VPC(ctx)
}

// instancesOf are the instances that can be a node's: the one of the id where one is
// known, else by the node's name.
func instancesOf(found []Instance, node, id string) []Instance {
	var out []Instance
	for _, i := range found {
		if id != "" && i.ID == id || id == "" && (i.ID == node || i.DNSName == node) {
			out = append(out, i)
		}
	}
	return out
}

// notOne says why no instance is believed to be a node's: there is none, or several.
func notOne(node, id string, its []Instance, vpcs []string) error {
	where := "in " + strings.Join(vpcs, ", ") + " (nodeRoles.vpcs)"
	switch {
	case len(its) > 1:
		ids := make([]string, len(its))
		for i := range its {
			ids[i] = its[i].ID + " in " + its[i].VPC
		}
		return fmt.Errorf("EC2 has %d running instances with this node's private DNS name, and none is believed: %s", len(its), strings.Join(ids, ", "))
	case id != "":
		return fmt.Errorf("its Node's providerID is of %s, and EC2 has no running instance of that id %s", id, where)
	case isInstanceID(node):
		return fmt.Errorf("EC2 has no running instance of that id %s", where)
	}
	return fmt.Errorf("EC2 has no running instance with this node's private DNS name %s", where)
}

// nodesTimeout bounds the reading of Nodes, all together.
const nodesTimeout = 15 * time.Second

// readNodes reads the Nodes of reports whose instance could not be told, and adds to
// what is said of them: EC2 is to be asked by the id that a providerID has, or there is
// no way but another one.
func (n *nodes) readNodes(ctx context.Context, of []claimedRole, out map[claimedRole]said) {
	ctx, cancel := context.WithTimeout(ctx, nodesTimeout)
	defer cancel()
	slices.SortFunc(of, func(a, b claimedRole) int {
		return cmp.Or(strings.Compare(a.node, b.node), strings.Compare(a.role, b.role))
	})
	var (
		last string // that was read
		id   string
		err  error
	)
	for i, r := range of {
		if i == 0 || r.node != last && !errors.Is(err, ErrNodesNotReadable) {
			last = r.node
			id, err = n.instanceOfNode(ctx, r.node)
		}
		switch was := out[r]; {
		case err != nil:
			out[r] = said{err: fmt.Errorf("%w; %w", was.err, err), instance: was.instance}
		case id != was.instance:
			out[r] = said{err: errNotVerified, instance: id, again: true}
		}
	}
}

// instanceOfNode returns the id of the instance that a Node's providerID is of. The
// error says what to do.
func (n *nodes) instanceOfNode(ctx context.Context, node string) (string, error) {
	providerID, err := "", ErrNodesNotReadable
	if n.env.ProviderID != nil {
		providerID, err = n.env.ProviderID(ctx, node)
	}
	switch {
	case errors.Is(err, ErrNodesNotReadable):
		return "", fmt.Errorf("%w, so the instance can't be told by the Node's providerID: "+
			"add manifests/components/read-nodes (Helm: rbac.readNodes), or name the role under nodeRoles.extra", err)
	case errors.Is(err, ErrNoNode):
		return "", err
	case err != nil:
		return "", fmt.Errorf("its Node can't be read: %w", err)
	}
	id := providerID[strings.LastIndexByte(providerID, '/')+1:]
	if !strings.HasPrefix(providerID, "aws://") || !isInstanceID(id) {
		return "", fmt.Errorf("its Node's providerID %.100q is of no EC2 instance: name the role under nodeRoles.extra", providerID)
	}
	return id, nil
}

// isInstanceID reports whether a text is the id of an EC2 instance, as EC2 makes them.
func isInstanceID(s string) bool {
	hex, ok := strings.CutPrefix(s, "i-")
	return ok && (len(hex) == 8 || len(hex) == 17) && strings.Trim(hex, "0123456789abcdef") == ""
}

// compare checks a report against the roles of the node's instance.
func compare(r claimedRole, i *Instance) error {
	if i.Err != nil {
		return i.Err
	}
	for _, arn := range i.Roles {
		if arn, err := awsauth.RoleARN(arn); err == nil && role(arn) == r.role {
			return nil
		}
	}
	if len(i.Roles) == 0 {
		return fmt.Errorf("EC2 says that its instance %s runs under no role", i.ID)
	}
	return fmt.Errorf("EC2 says that its instance %s runs under %s", i.ID, strings.Join(i.Roles, ", "))
}
