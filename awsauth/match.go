package awsauth

import (
	"fmt"
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
	if f := identityFault(e.Kind, e.ARN); f != nil {
		return f.message
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

// A fault is why no caller has an ARN.
type fault struct {
	rule    RuleID
	message string // of the finding
	write   string // what to write instead; empty where the rule says it
	bare    string // the ARN without its path, where that is the fault
}

// identityFault says why no caller that the authenticator knows has the ARN of an
// entry; nil where one can have it.
func identityFault(kind Kind, arn string) *fault {
	s := key(arn) // as the authenticator compares
	f := strings.SplitN(s, ":", 6)
	if len(f) != 6 || f[0] != "arn" {
		out := &fault{rule: RuleNoIdentity, message: fmt.Sprintf("%q is no ARN", arn)}
		if !strings.ContainsAny(arn, ":/ \t") {
			_, err := splitARN(arn, string(kind))
			if e, _ := err.(*ARNError); e != nil { //nolint:errorlint // it is never wrapped
				out.write = e.Write
			}
		}
		return out
	}
	resource, rest, _ := strings.Cut(f[5], "/")
	switch {
	case f[2] == "sts" && resource == "assumed-role":
		out := &fault{rule: RuleSessionARN, message: ruleOf(RuleSessionARN).Title}
		if role, _, ok := cutLast(arn[strings.IndexByte(arn, '/')+1:]); ok {
			orig := strings.SplitN(arn, ":", 6)
			out.write = fmt.Sprintf("arn:%s:iam::%s:role/%s, which lets in every session of the role", orig[1], orig[4], role)
		}
		return out
	case resource == "instance-profile":
		return &fault{
			rule: RuleInstanceProfile, message: ruleOf(RuleInstanceProfile).Title,
			write: "the ARN of the profile's role (aws iam get-instance-profile shows it; its name can differ)",
		}
	case !slices.Contains(partitions, f[1]):
		return &fault{rule: RuleNoIdentity, message: fmt.Sprintf("the ARN names the unknown partition %q", f[1]), write: "one of " + strings.Join(partitions, ", ")}
	case CheckAccountID(f[4]) != nil:
		return &fault{rule: RuleNoIdentity, message: fmt.Sprintf("the ARN names %q where the account's 12 digits belong", f[4]), write: "the 12 digits"}
	case f[3] != "" || f[2] != "iam" && f[2]+resource != "stsfederated-user":
		return &fault{rule: RuleNoIdentity, message: "the ARN is none of IAM"}
	}
	name := rest[strings.LastIndexByte(rest, '/')+1:]
	switch {
	case resource != "root" && (rest == "" || checkName(arn, name, 64) != nil || name == "" || !printable(rest)):
		out := &fault{rule: RuleNoIdentity, message: fmt.Sprintf("the ARN names %q, which no IAM name can be", rest)}
		if strings.ContainsAny(rest, "*?") {
			out.write = "each ARN, or the account in mapAccounts: the authenticator knows no patterns"
		}
		return out
	case resource == "role" && rest != name:
		at := strings.LastIndexByte(arn, '/')
		bare := arn[:strings.IndexByte(arn, '/')+1] + arn[at+1:]
		return &fault{rule: RuleRolePath, message: ruleOf(RuleRolePath).Title, write: bare, bare: bare}
	case resource == "root" && rest == "":
		return nil
	case resource != "role" && resource != "user" && f[2] != "sts":
		return &fault{rule: RuleNoIdentity, message: "the ARN is none of a role or user"}
	}
	return nil
}
