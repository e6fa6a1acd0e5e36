package agent

import (
	"context"
	"slices"
	"strings"
	"time"
)

// Spec is what the config file asks for, in the agent's own words. ARNs and
// account ids may hold $ACCOUNTID and $PARTITION. It is never changed once it
// was handed over.
type Spec struct {
	Hash    string        // of the config file's content
	Refresh time.Duration // how often IAM is asked again

	Region  string // for asking IAM; empty for the SDK's own chain
	RoleARN string // to assume for asking IAM; empty for none

	Nodes     Nodes
	Karpenter []string // ARNs of roles of nodes that Karpenter starts

	Roles          []Role
	PermissionSets []PermissionSet
	Groups         []Group
	Users          []User
	Accounts       []string

	Adopt          []string // syncedBy marks of tools whose entries become ours
	AdoptConflicts bool     // make a foreign entry ours where it grants less

	RemovalLimit int  // percent of a source's entries that one write may remove
	Restore      bool // put back what others deleted or made unreadable
}

// Nodes says which node roles are mapped.
type Nodes struct {
	Report     bool          // those that agents report
	Accounts   []string      // of which a reported role may be; none: the cluster's own
	Extra      []string      // ARNs of roles whose nodes have not joined yet
	Windows    []string      // ARNs or names of roles that also get eks:kube-proxy-windows
	KeepUnused time.Duration // how long a role stays after its last report; 0: for ever
	Verify     bool          // map a reported role only once EC2 has borne it out
}

// Role is a role that the file names by its ARN.
type Role struct {
	ARN, Username string
	Groups        []string
}

// PermissionSet is a role that the file names by its permission set.
type PermissionSet struct {
	Name, Username string
	Groups         []string
}

// Group is an IAM group whose users are mapped. Username is a template with
// {{UserName}} and {{AccountID}}.
type Group struct {
	Name, Username string
	Groups         []string // in Kubernetes
}

// User is a user that the file names.
type User struct {
	ARN, Username string
	Groups        []string
}

// asksIAM reports whether any source needs IAM.
func (s *Spec) asksIAM() bool { return len(s.PermissionSets)+len(s.Groups) > 0 }

// needsAccount reports whether the cluster's own account must be known.
func (s *Spec) needsAccount() bool {
	bare := func(name string) bool { return !strings.Contains(name, ":") }
	placeholder := func(text string) bool { return strings.Contains(text, "$") }
	return s.Nodes.Report || slices.ContainsFunc(s.Nodes.Windows, bare) ||
		slices.ContainsFunc(slices.Concat(s.Karpenter, s.Accounts, s.Nodes.Extra, s.Nodes.Windows), placeholder) ||
		slices.ContainsFunc(s.Roles, func(r Role) bool { return placeholder(r.ARN) }) ||
		slices.ContainsFunc(s.Users, func(u User) bool { return placeholder(u.ARN) })
}

// A Directory answers questions about IAM. An answer is whole or an error:
// never a part. It is safe for concurrent use.
type Directory interface {
	// PermissionSets returns the role ARN of every permission set that has a
	// role in the account, by the set's exact name.
	PermissionSets(ctx context.Context) (map[string]string, error)
	// GroupUsers returns the users of an IAM group. A group that does not
	// exist is an error; an empty one is not.
	GroupUsers(ctx context.Context, group string) ([]IAMUser, error)
	// Caller returns the account and partition of the credentials in use.
	Caller(ctx context.Context) (Account, error)
}

// IAMUser is a user as IAM names it.
type IAMUser struct{ Name, ARN string }

// Account is an AWS account in its partition.
type Account struct{ ID, Partition string }

// Node is what this node is to AWS.
type Node struct {
	RoleARN string
	Account Account
}
