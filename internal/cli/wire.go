package cli

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"

	"github.com/rolecall/rolecall/imds"
	"github.com/rolecall/rolecall/internal/aws"
	"github.com/rolecall/rolecall/internal/source"
)

// directory gives the agent IAM in its own words.
type directory struct{ *aws.Directory }

func (d directory) PermissionSets(ctx context.Context) (map[string]source.SetRole, error) {
	sets, err := d.Directory.PermissionSets(ctx)
	if err != nil {
		return nil, err
	}
	roles := make(map[string]source.SetRole, len(sets))
	for name, role := range sets {
		roles[name] = source.SetRole{ARN: role.ARN, Created: role.Created, Others: role.Others}
	}
	return roles, nil
}

func (d directory) GroupUsers(ctx context.Context, group string) (source.IAMGroup, error) {
	answer, err := d.Directory.GroupUsers(ctx, group)
	if err != nil {
		return source.IAMGroup{}, err
	}
	out := source.IAMGroup{Created: answer.Created, Users: make([]source.IAMUser, len(answer.Users))}
	for i, u := range answer.Users {
		out.Users[i] = source.IAMUser(u)
	}
	return out, nil
}

func (d directory) Caller(ctx context.Context) (source.Account, error) {
	caller, err := d.Directory.Caller(ctx)
	return source.Account{ID: caller.AccountID, Partition: caller.Partition}, err
}

func (d directory) Instances(ctx context.Context, q source.InstanceQuery) ([]source.Instance, error) {
	found, err := d.Directory.Instances(ctx, aws.InstanceQuery(q))
	if err != nil {
		return nil, err
	}
	out := make([]source.Instance, len(found))
	for i := range found {
		out[i] = source.Instance(found[i])
	}
	return out, nil
}

// providerIDs reads the providerID of Nodes.
func providerIDs(nodes typedcorev1.NodeInterface) func(context.Context, string) (string, error) {
	return func(ctx context.Context, name string) (string, error) {
		node, err := nodes.Get(ctx, name, metav1.GetOptions{})
		switch {
		case apierrors.IsForbidden(err):
			return "", source.ErrNodesNotReadable
		case apierrors.IsNotFound(err):
			return "", source.ErrNoNode
		case err != nil:
			return "", err
		}
		return node.Spec.ProviderID, nil
	}
}

// knownVPC asks IMDS until it has told the node's VPC, which never changes. It is safe
// for concurrent use.
func knownVPC(ask func(context.Context) (string, error)) func(context.Context) (string, error) {
	var (
		mu    sync.Mutex
		known string
	)
	return func(ctx context.Context) (string, error) {
		mu.Lock()
		defer mu.Unlock()
		if known != "" {
			return known, nil
		}
		vpc, err := ask(ctx)
		if err == nil {
			known = vpc
		}
		return vpc, err
	}
}

// directories opens IAM directories. The region is the config's, else the
// node's, else what the SDK's own chain finds.
type directories struct {
	log        *slog.Logger
	registerer prometheus.Registerer
	region     atomic.Pointer[string] // the node's, once known
	nodeRole   atomic.Pointer[string] // ARN of the node's own role, once known
}

func (d *directories) open(ctx context.Context, region, roleARN string) (source.Directory, error) {
	return d.openAs(ctx, region, roleARN)
}

// instances opens EC2 as the agent itself: the cluster's nodes are in its own
// account, whatever role is assumed for asking IAM.
func (d *directories) instances(ctx context.Context, region string) (source.Instances, error) {
	return d.openAs(ctx, region, "")
}

func (d *directories) openAs(ctx context.Context, region, roleARN string) (*directory, error) {
	if node := d.region.Load(); region == "" && node != nil {
		region = *node
	}
	nodeRole := func() string {
		if arn := d.nodeRole.Load(); arn != nil {
			return *arn
		}
		return ""
	}
	dir, err := aws.New(ctx, aws.Options{Region: region, RoleARN: roleARN, NodeRole: nodeRole, Logger: d.log, Registerer: d.registerer})
	if err != nil {
		return nil, err
	}
	if dir.AsNode() {
		d.log.Info("aws is asked as the node's own role: this pod got no credentials of its own", "role_arn", nodeRole())
	}
	return &directory{dir}, nil
}

// nodeOf puts an IMDS identity into the agent's words.
func nodeOf(id imds.Identity) source.Node {
	return source.Node{RoleARN: id.RoleARN, Account: source.Account{ID: id.AccountID, Partition: id.Partition}}
}
