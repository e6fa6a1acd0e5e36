package awsauth

import (
	"slices"
	"strings"
)

// Groups of Kubernetes: that may do everything, and those that EKS gives nodes
// (https://docs.aws.amazon.com/eks/latest/userguide/auth-configmap.html).
const (
	Masters            = "system:masters"
	NodesGroup         = "system:nodes"
	BootstrappersGroup = "system:bootstrappers"
)

// Principal is whom an entry is about: the same text for two entries that the
// authenticator takes for the same identity. No ARN is an account's id, whatever
// stands in a list.
func (e *Entry) Principal() string { return e.key() }

// SameAccess reports whether two entries let an identity in as the same user with
// the same groups, whatever their order or repetition.
func (e *Entry) SameAccess(other Entry) bool { return sameGrant(*e, other) }

// GroupSet returns the groups sorted and without doubles. A sorted set is returned
// as it is.
func GroupSet(groups []string) []string { return groupSet(groups) }

// Unmatched says why an entry lets in no principal that can exist, in one clause;
// it is empty where one can. Such an entry gives nobody access, so it counts
// neither as access that is lost nor as an administrator that is left. It does not
// know whether IAM has the principal.
func (e *Entry) Unmatched() string {
	if e.Kind == Account {
		if err := CheckAccountID(e.ARN); err != nil {
			return err.Error()
		}
		return ""
	}
	if faults := identityFaults(e.Kind, e.ARN); len(faults) > 0 {
		return faults[0].message
	}
	if OnlyInstances(*e) && !isRole(e) {
		return "{{EC2PrivateDNSName}} is for EC2 instances alone, and the ARN is a user's"
	}
	return ""
}

// OnlyInstances reports whether the authenticator lets in by an entry only the
// sessions of EC2 instances: its username or a group holds {{EC2PrivateDNSName}}.
func OnlyInstances(e Entry) bool {
	const placeholder = "{{EC2PrivateDNSName}}"
	return strings.Contains(e.Username, placeholder) || slices.ContainsFunc(e.Groups, func(g string) bool { return strings.Contains(g, placeholder) })
}

// isRole reports whether an entry's ARN is a role's, in whichever list it stands.
func isRole(e *Entry) bool {
	if f := strings.SplitN(key(e.ARN), ":", 6); len(f) == 6 {
		return strings.HasPrefix(f[5], "role/")
	}
	return e.Kind == Role
}

// meantRole is an entry under the ARN of the role whose session or instance profile
// its ARN names. Any other entry comes back as it is.
func meantRole(e Entry) Entry {
	f := strings.SplitN(e.ARN, ":", 6)
	if len(f) != 6 {
		return e
	}
	resource, rest, _ := strings.Cut(f[5], "/")
	switch strings.ToLower(resource) {
	case "assumed-role":
		if role, _, ok := cutLast(rest); ok {
			rest = role
		}
	case "instance-profile":
	default:
		return e
	}
	f[2], f[5] = "iam", "role/"+rest
	e.ARN = strings.Join(f, ":")
	return e
}

// ofRole reports whether an entry is meant for those who assume a role.
func ofRole(e *Entry) bool {
	meant := meantRole(*e)
	return isRole(&meant)
}
