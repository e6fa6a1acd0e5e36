package source

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/rolecall/rolecall/config"
)

// A Directory answers questions about IAM. An answer is whole or an error: never
// a part. It is safe for concurrent use.
type Directory interface {
	// PermissionSets returns the role of every permission set that has a role in the
	// account, by the set's exact name. Where a set has several roles it is the one
	// that was created last. IAM is eventually consistent: an answer may be older
	// than the one before it.
	PermissionSets(ctx context.Context) (map[string]SetRole, error)
	// GroupUsers returns the users of an IAM group. A group that does not exist is an
	// error; an empty one is not. An answer may be older than the one before it.
	GroupUsers(ctx context.Context, group string) (IAMGroup, error)
	// Caller returns the account and partition of the credentials in use.
	Caller(ctx context.Context) (Account, error)
}

// SetRole is the role of a permission set.
type SetRole struct {
	ARN     string    // as IAM says it, with its path
	Created time.Time // by IAM's clock, to the second
	Others  []string  // ARNs of the set's other roles that exist
}

// IAMGroup is what an answer says of a group.
type IAMGroup struct {
	Created time.Time // by IAM's clock, to the second; zero: unknown
	Users   []IAMUser
}

// IAMUser is a user as IAM names it.
type IAMUser struct {
	Name, ARN string
	Created   time.Time // as of a group
}

// Instances answers questions about EC2. It is safe for concurrent use.
type Instances interface {
	// Instances returns the instances that run and have one of the names or ids, each
	// once, and those of other VPCs not. With the error there is no answer about any.
	Instances(ctx context.Context, q InstanceQuery) ([]Instance, error)
}

// An InstanceQuery says which instances are looked for.
type InstanceQuery struct {
	VPCs     []string // ids; at least one
	DNSNames []string // private
	IDs      []string
}

// An Instance is an EC2 instance that runs.
type Instance struct {
	ID      string
	DNSName string // private
	VPC     string
	Roles   []string // ARNs of the roles under which it runs, with their paths
	Err     error    // why Roles can't be told, though EC2 and IAM answer
}

// Errors of [Env.ProviderID].
var (
	ErrNoNode           = errors.New("there is no Node of that name")
	ErrNodesNotReadable = errors.New("the leader may not read Nodes")
)

// Account is an AWS account in its partition.
type Account struct{ ID, Partition string }

// Node is what this node is to AWS.
type Node struct {
	RoleARN string
	Account Account
}

// directoryKey is the part of the config that decides which IAM is asked. What was
// learned by one key says nothing of another.
type directoryKey struct{ region, roleARN string }

func keyOf(c *config.Config) directoryKey { return directoryKey{c.AWS.Region, c.AWS.RoleARN} }

// keepOpen returns a function that opens something by open, and again only for
// another key. It is safe for concurrent use.
func keepOpen[T any](what string, open func(context.Context, directoryKey) (T, error)) func(context.Context, directoryKey) (T, error) {
	var (
		mu     sync.Mutex
		isOpen bool
		of     directoryKey
		opened T
	)
	return func(ctx context.Context, key directoryKey) (T, error) {
		mu.Lock()
		defer mu.Unlock()
		if isOpen && of == key {
			return opened, nil
		}
		t, err := open(ctx, key)
		if err != nil {
			return t, fmt.Errorf("open %s: %w", what, err)
		}
		isOpen, of, opened = true, key, t
		return t, nil
	}
}

// openers has an Env open its directory and its instances once for each key, for
// all sources that are made with it.
func (e Env) openers() Env {
	directory, instances := e.Directory, e.Instances
	openDirectory := keepOpen("the IAM directory", func(ctx context.Context, key directoryKey) (Directory, error) {
		if directory == nil {
			return nil, errors.New("there is none")
		}
		return directory(ctx, key.region, key.roleARN)
	})
	openInstances := keepOpen("EC2", func(ctx context.Context, key directoryKey) (Instances, error) {
		if instances == nil {
			return nil, errors.New("there is none")
		}
		return instances(ctx, key.region)
	})
	e.Directory = func(ctx context.Context, region, roleARN string) (Directory, error) {
		return openDirectory(ctx, directoryKey{region, roleARN})
	}
	e.Instances = func(ctx context.Context, region string) (Instances, error) {
		return openInstances(ctx, directoryKey{region: region})
	}
	return e
}
