package cli

import (
	"context"
	"log/slog"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/rolecall/rolecall/agent"
	"github.com/rolecall/rolecall/config"
	"github.com/rolecall/rolecall/imds"
	"github.com/rolecall/rolecall/internal/aws"
)

// specOf puts a config file into the agent's words.
func specOf(file *config.File) *agent.Spec {
	c := &file.Config
	spec := &agent.Spec{
		Hash:      file.Hash,
		Refresh:   c.RefreshInterval,
		Region:    c.AWS.Region,
		RoleARN:   c.AWS.RoleARN,
		Karpenter: c.Karpenter.NodeRoleARNs,
		Nodes: agent.Nodes{
			Report:     c.NodeRoles.Report,
			Accounts:   c.NodeRoles.Accounts,
			Extra:      c.NodeRoles.Extra,
			Windows:    c.NodeRoles.Windows,
			KeepUnused: c.NodeRoles.KeepUnused,
			Verify:     c.NodeRoles.Verify == config.VerifyEC2,
		},
		Accounts:       c.Accounts,
		Adopt:          c.Adopt,
		AdoptConflicts: c.Safety.OnConflict == config.Adopt,
		RemovalLimit:   c.Safety.RemovalLimit.Percent,
		Restore:        c.Safety.OnMalformed == config.Restore,
	}
	for _, r := range c.Roles {
		if r.PermissionSet != "" {
			spec.PermissionSets = append(spec.PermissionSets, agent.PermissionSet{Name: r.PermissionSet, Username: r.Username, Groups: r.Groups})
		} else {
			spec.Roles = append(spec.Roles, agent.Role{ARN: r.ARN, Username: r.Username, Groups: r.Groups})
		}
	}
	for _, g := range c.IAMGroups {
		spec.Groups = append(spec.Groups, agent.Group{Name: g.Name, Username: g.Username, Groups: g.Groups})
	}
	for _, u := range c.Users {
		spec.Users = append(spec.Users, agent.User{ARN: u.ARN, Username: u.Username, Groups: u.Groups})
	}
	return spec
}

// directory gives the agent IAM in its own words.
type directory struct{ *aws.Directory }

func (d directory) PermissionSets(ctx context.Context) (map[string]string, error) {
	sets, err := d.Directory.PermissionSets(ctx)
	if err != nil {
		return nil, err
	}
	arns := make(map[string]string, len(sets))
	for name, role := range sets {
		arns[name] = role.ARN
	}
	return arns, nil
}

func (d directory) GroupUsers(ctx context.Context, group string) ([]agent.IAMUser, error) {
	users, err := d.Directory.GroupUsers(ctx, group)
	if err != nil {
		return nil, err
	}
	out := make([]agent.IAMUser, len(users))
	for i, u := range users {
		out[i] = agent.IAMUser{Name: u.Name, ARN: u.ARN}
	}
	return out, nil
}

func (d directory) Caller(ctx context.Context) (agent.Account, error) {
	caller, err := d.Directory.Caller(ctx)
	return agent.Account{ID: caller.AccountID, Partition: caller.Partition}, err
}

// directories opens IAM directories. The region is the config's, else the
// node's, else what the SDK's own chain finds.
type directories struct {
	log        *slog.Logger
	registerer prometheus.Registerer
	region     atomic.Pointer[string] // the node's, once known
}

func (d *directories) open(ctx context.Context, region, roleARN string) (agent.Directory, error) {
	return d.openAs(ctx, region, roleARN)
}

// instances opens EC2 as the agent itself: the cluster's nodes are in its own
// account, whatever role is assumed for asking IAM.
func (d *directories) instances(ctx context.Context, region string) (agent.Instances, error) {
	return d.openAs(ctx, region, "")
}

func (d *directories) openAs(ctx context.Context, region, roleARN string) (*directory, error) {
	if node := d.region.Load(); region == "" && node != nil {
		region = *node
	}
	dir, err := aws.New(ctx, aws.Options{Region: region, RoleARN: roleARN, Logger: d.log, Registerer: d.registerer})
	if err != nil {
		return nil, err
	}
	return &directory{dir}, nil
}

// nodeOf puts an IMDS identity into the agent's words.
func nodeOf(id imds.Identity) agent.Node {
	return agent.Node{RoleARN: id.RoleARN, Account: agent.Account{ID: id.AccountID, Partition: id.Partition}}
}
