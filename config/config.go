package config

import (
	"time"
)

// What a config.yaml says of itself.
const (
	APIVersion = "rolecall.dev/v1"
	Kind       = "Config"
)

// A Config is a configuration that was checked and has its defaults filled in.
// Lists keep the order of the file; nil and empty mean the same.
//
// ARNs and account ids may hold $ACCOUNTID and $PARTITION, which [Expand] fills
// in. Role ARNs are without their path, as aws-auth needs them, but for
// AWS.RoleARN, which STS needs with it.
type Config struct {
	// RefreshInterval is how often IAM is asked again: 10 s or more.
	RefreshInterval time.Duration

	AWS       AWS
	NodeRoles NodeRoles
	Karpenter Karpenter
	Roles     []Role     // of config.yaml and mapRoles
	IAMGroups []IAMGroup // of config.yaml
	Users     []User     // of config.yaml and mapUsers
	Accounts  []string   // of config.yaml and mapAccounts: account ids, or $ACCOUNTID
	Adopt     []string   // syncedBy marks of other tools whose entries become ours
	Safety    Safety
}

// AWS says where and as whom IAM is read.
type AWS struct {
	Region  string // empty: ask IMDS, then the SDK's own chain
	RoleARN string // assumed for reading IAM, path included; empty: none
}

// NodeRoles says which roles nodes may run under.
type NodeRoles struct {
	// Report maps the role of every node on which an agent runs.
	Report bool
	// Accounts that a reported role may be of; none means the node's own.
	Accounts []string
	// Extra are the ARNs of roles whose nodes have not joined yet.
	Extra []string
	// Windows are the ARNs or bare names of roles of Windows nodes.
	Windows []string
	// KeepUnused is how long a role stays after its last report; 0 is forever.
	KeepUnused time.Duration
	// Verify says who has to bear out a report before its role is mapped.
	Verify Verify
	// VPCs are the ids of those that nodes are in, for Verify; none means the VPC of
	// the leader's own node.
	VPCs []string
}

// Verify is who bears reports of nodes out.
type Verify string

// The values of nodeRoles.verify.
const (
	VerifyNone Verify = "none" // nobody: every agent is believed
	VerifyEC2  Verify = "ec2"  // EC2 and IAM: the node's instance has the role
)

// Karpenter names the roles that Karpenter gives its nodes.
type Karpenter struct {
	NodeRoleARNs []string
}

// A Role maps one IAM role: by its ARN, or by the IAM Identity Center
// permission set whose role it is. Exactly one of the two is set.
type Role struct {
	PermissionSet string
	ARN           string
	Username      string // in Kubernetes; never empty
	Groups        []string
}

// An IAMGroup maps every user of an IAM group.
type IAMGroup struct {
	Name     string // without path
	Username string // template: {{UserName}} and {{AccountID}} are to be filled in
	Groups   []string
}

// A User maps one IAM user. The ARN carries the user's path.
type User struct {
	ARN      string
	Username string // in Kubernetes; never empty
	Groups   []string
}

// Safety bounds what rolecall may do to aws-auth by itself.
type Safety struct {
	RemovalLimit RemovalLimit
	OnMalformed  OnMalformed
	OnConflict   OnConflict
}

// A RemovalLimit is how many of the managed principals of one kind of source, and of
// all, may lose access in an hour without approval; five always may.
type RemovalLimit struct {
	Percent int // 0 to 100
}

// OnMalformed says what to do about an aws-auth that cannot be parsed.
type OnMalformed string

// The values of safety.onMalformed.
const (
	Restore OnMalformed = "restore" // put the last good text back, together with ours
	Refuse  OnMalformed = "refuse"  // leave it alone and alert
)

// OnConflict says what to do about a foreign entry that grants less than ours.
type OnConflict string

// The values of safety.onConflict.
const (
	Keep  OnConflict = "keep"  // leave it and report it
	Adopt OnConflict = "adopt" // make it ours
)

// Default returns the configuration of a file that sets nothing.
func Default() Config {
	return Config{
		RefreshInterval: time.Minute,
		NodeRoles:       NodeRoles{Report: true, Verify: VerifyNone},
		Safety: Safety{
			RemovalLimit: RemovalLimit{Percent: 50},
			OnMalformed:  Restore,
			OnConflict:   Keep,
		},
	}
}
