package recipe

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/rolecall/rolecall/awsauth"
)

// A GroupRole is what is asked for: a role for the members of an IAM group.
type GroupRole struct {
	IAMGroup  string   // whose members may assume the role; name without path
	Role      string   // name of the role to be made
	Groups    []string // in Kubernetes
	Cluster   string   // name of the EKS cluster
	Account   string   // of group, role and cluster
	Region    string   // of the cluster
	Partition string   // empty: aws

	ClusterRole string // that is bound to Groups; empty: view
	Namespace   string // where it is bound; empty: in the whole cluster

	UserPath      string // narrows the trust to users below this IAM path, such as /rnd/; empty: any user
	PrincipalTag  string // KEY=VALUE: narrows it to users with this tag; empty: none
	MFA           bool   // narrows it to sessions with a second factor
	NamedSessions bool   // the session has the name of the user, for the audit log
}

var (
	// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
	groupName = regexp.MustCompile(`^[0-9A-Za-z_+=,.@][0-9A-Za-z_+=,.@-]{0,127}$`) // one that begins with - would be an option to the AWS CLI
	roleName  = regexp.MustCompile(`^[0-9A-Za-z_+=,.@][0-9A-Za-z_+=,.@-]{0,63}$`)
	userPath  = regexp.MustCompile(`^/([0-9A-Za-z_+=,.@-]+/)*$`)
	tag       = regexp.MustCompile(`^[0-9A-Za-z_.:/+@-]{1,128}=[0-9A-Za-z_.:/+@-]{1,256}$`)

	// https://docs.aws.amazon.com/eks/latest/APIReference/API_CreateCluster.html
	clusterName = regexp.MustCompile(`^[0-9A-Za-z][A-Za-z0-9_-]{0,99}$`)
	regionName  = regexp.MustCompile(`^[a-z]{2,}(-[a-z]+)+-[0-9]{1,2}$`)

	// https://kubernetes.io/docs/concepts/overview/working-with-objects/names/
	namespaceName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
	clusterRole   = regexp.MustCompile(`^[0-9A-Za-z:._-]{1,253}$`)
)

// check fills in what may be left out and returns every problem, by flag.
func (r *GroupRole) check() error {
	var errs []error
	hold := func(flag, value string, ok bool, write string) {
		switch {
		case value == "":
			errs = append(errs, fmt.Errorf("--%s is missing: write %s", flag, write))
		case !ok:
			errs = append(errs, fmt.Errorf("--%s %q: write %s", flag, value, write))
		}
	}
	if r.Partition == "" {
		r.Partition = "aws"
	}
	if r.ClusterRole == "" {
		r.ClusterRole = "view"
	}
	hold("iam-group", r.IAMGroup, groupName.MatchString(r.IAMGroup), "the name of an IAM group, without path")
	hold("role", r.Role, roleName.MatchString(r.Role), "the name of the role to be made, at most 64 of letters, digits and _+=,.@-")
	hold("cluster", r.Cluster, clusterName.MatchString(r.Cluster), "the name of the EKS cluster")
	hold("account", r.Account, awsauth.CheckAccountID(r.Account) == nil, "the account's 12 digits")
	hold("region", r.Region, regionName.MatchString(r.Region), "the code of the cluster's region, for example eu-west-3")
	hold("partition", r.Partition, slices.Contains(awsauth.Partitions(), r.Partition), "one of "+strings.Join(awsauth.Partitions(), ", "))
	hold("cluster-role", r.ClusterRole, clusterRole.MatchString(r.ClusterRole), "the name of a ClusterRole, for example view")
	if r.Namespace != "" {
		hold("namespace", r.Namespace, namespaceName.MatchString(r.Namespace), "the name of a namespace")
	}
	if r.UserPath != "" {
		hold("user-path", r.UserPath, userPath.MatchString(r.UserPath), "an IAM path that begins and ends with /, for example /rnd/")
	}
	if r.PrincipalTag != "" {
		hold("principal-tag", r.PrincipalTag, tag.MatchString(r.PrincipalTag), "KEY=VALUE of letters, digits and _.:/+@-")
	}
	if len(r.Groups) == 0 {
		errs = append(errs, errors.New("--groups is missing: write the groups in Kubernetes that the role is in, for example viewers"))
	}
	for _, g := range r.Groups {
		switch err := awsauth.CheckGroup(g); {
		case err != nil:
			errs = append(errs, fmt.Errorf("--groups: %w", err))
		case strings.HasPrefix(g, "system:"):
			errs = append(errs, fmt.Errorf("--groups %q: Kubernetes keeps names with system: for itself, and system:masters can be taken back by no RBAC: write a group of your own and bind what it needs, with --cluster-role", g))
		case strings.Contains(g, "{{"):
			errs = append(errs, fmt.Errorf("--groups %q: a binding needs the name itself: write it without a placeholder", g))
		}
	}
	return errors.Join(errs...)
}

// A Policy is an IAM policy document.
type Policy struct {
	Version   string      `json:"Version"`
	Statement []Statement `json:"Statement"`
}

// A Statement allows or denies one thing.
type Statement struct {
	Sid       string                       `json:"Sid"`
	Effect    string                       `json:"Effect"`
	Principal map[string]string            `json:"Principal,omitempty"`
	Action    string                       `json:"Action"`
	Resource  string                       `json:"Resource,omitempty"`
	Condition map[string]map[string]string `json:"Condition,omitempty"`
}

// A Recipe is all that a [GroupRole] takes.
type Recipe struct {
	RoleARN      string   `json:"roleARN"`
	TrustPolicy  Policy   `json:"trustPolicy"`  // of the role: who may assume it
	RolePolicy   Policy   `json:"rolePolicy"`   // of the role: what it may do in AWS
	AssumePolicy Policy   `json:"assumePolicy"` // of the group: what its members may assume
	ConfigEntry  string   `json:"configEntry"`  // for rolecall's config.yaml
	Binding      string   `json:"binding"`      // RBAC, for kubectl apply
	Script       string   `json:"script"`       // makes all of it but the config entry
	AWSConfig    string   `json:"awsConfig,omitempty"`
	Kubeconfig   string   `json:"kubeconfig"` // the command that each member runs
	Reasons      []Reason `json:"reasons"`
}

// A Reason says why a thing is as it is.
type Reason struct {
	Of  string `json:"of"`
	Why string `json:"why"`
}

// Write checks what is asked for and writes the recipe. The error names every
// flag that is wrong.
func (r GroupRole) Write() (*Recipe, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	out := &Recipe{RoleARN: fmt.Sprintf("arn:%s:iam::%s:role/%s", r.Partition, r.Account, r.Role)}
	out.TrustPolicy = r.trust()
	out.RolePolicy = Policy{"2012-10-17", []Statement{{
		Sid: "ReadOneCluster", Effect: "Allow", Action: "eks:DescribeCluster",
		Resource: fmt.Sprintf("arn:%s:eks:%s:%s:cluster/%s", r.Partition, r.Region, r.Account, r.Cluster),
	}}}
	out.AssumePolicy = Policy{"2012-10-17", []Statement{{
		Sid: "AssumeOneRole", Effect: "Allow", Action: "sts:AssumeRole", Resource: out.RoleARN,
	}}}
	out.ConfigEntry = fmt.Sprintf("roles:\n  - arn: %s\n    username: %s\n    groups: %s\n", out.RoleARN, quote(r.Role+":{{SessionName}}"), quoteAll(r.Groups))
	out.Binding = r.binding()
	script, err := r.script(out)
	if err != nil {
		return nil, err
	}
	out.Script = script
	out.AWSConfig, out.Kubeconfig = r.kubeconfig(out.RoleARN)
	out.Reasons = r.reasons()
	return out, nil
}

func (r *GroupRole) users() string {
	path := r.UserPath
	if path == "" {
		path = "/"
	}
	return fmt.Sprintf("arn:%s:iam::%s:user%s*", r.Partition, r.Account, path)
}

func (r *GroupRole) trust() Policy {
	conditions := map[string]map[string]string{"ArnLike": {"aws:PrincipalArn": r.users()}}
	equal := map[string]string{}
	if key, value, ok := strings.Cut(r.PrincipalTag, "="); ok {
		equal["aws:PrincipalTag/"+key] = value
	}
	if r.NamedSessions {
		equal["sts:RoleSessionName"] = "${aws:username}"
	}
	if len(equal) > 0 {
		conditions["StringEquals"] = equal
	}
	if r.MFA {
		conditions["Bool"] = map[string]string{"aws:MultiFactorAuthPresent": "true"}
	}
	return Policy{"2012-10-17", []Statement{{
		Sid: "UsersOfThisAccount", Effect: "Allow", Action: "sts:AssumeRole",
		Principal: map[string]string{"AWS": fmt.Sprintf("arn:%s:iam::%s:root", r.Partition, r.Account)},
		Condition: conditions,
	}}}
}

func (r *GroupRole) binding() string {
	var b strings.Builder
	kind := "ClusterRoleBinding"
	if r.Namespace != "" {
		kind = "RoleBinding"
	}
	fmt.Fprintf(&b, "apiVersion: rbac.authorization.k8s.io/v1\nkind: %s\nmetadata:\n  name: %s\n", kind, quote(objectName(r.Role)))
	if r.Namespace != "" {
		fmt.Fprintf(&b, "  namespace: %s\n", quote(r.Namespace))
	}
	fmt.Fprintf(&b, "roleRef:\n  apiGroup: rbac.authorization.k8s.io\n  kind: ClusterRole\n  name: %s\nsubjects:\n", quote(r.ClusterRole))
	for _, g := range r.Groups {
		fmt.Fprintf(&b, "  - apiGroup: rbac.authorization.k8s.io\n    kind: Group\n    name: %s\n", quote(g))
	}
	return b.String()
}

// objectName makes the name of a Kubernetes object of an IAM role's: RBAC takes
// any path segment (https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#path-segment-names).
func objectName(role string) string { return "iam-role-" + strings.ToLower(role) }

// profile is the name of the profile in the AWS CLI's config.
func (r *GroupRole) profile() string { return r.Cluster + "-" + r.Role }

// kubeconfig is what a member of the group writes into ~/.aws/config, if
// anything, and runs.
func (r *GroupRole) kubeconfig(arn string) (config, command string) {
	if !r.MFA && !r.NamedSessions {
		return "", fmt.Sprintf("aws eks update-kubeconfig --name %s --region %s --role-arn %s --assume-role-arn %s --alias %s", r.Cluster, r.Region, arn, arn, r.profile())
	}
	config = fmt.Sprintf("[profile %s]\nrole_arn = %s\nsource_profile = default\nregion = %s\n", r.profile(), arn, r.Region)
	if r.NamedSessions {
		config += "role_session_name = YOUR-IAM-USERNAME\n"
	}
	if r.MFA {
		config += fmt.Sprintf("mfa_serial = arn:%s:iam::%s:mfa/YOUR-DEVICE\n", r.Partition, r.Account)
	}
	// The profile assumes the role, with a name and a code that --role-arn
	// could not give: then aws eks get-token needs no --role-arn.
	return config, fmt.Sprintf("aws eks update-kubeconfig --name %s --region %s --profile %s --alias %s", r.Cluster, r.Region, r.profile(), r.profile())
}

func (r *GroupRole) script(out *Recipe) (string, error) {
	policies := make([]string, 3)
	for i, p := range []Policy{out.TrustPolicy, out.RolePolicy, out.AssumePolicy} {
		text, err := json.Marshal(p)
		if err != nil {
			return "", fmt.Errorf("encode a policy: %w", err)
		}
		policies[i] = shell(string(text))
	}
	var b strings.Builder
	fmt.Fprintf(&b, `#!/usr/bin/env bash
# Lets the members of the IAM group %s into the EKS cluster %s by the role %s.
set -euo pipefail

group=%s
role=%s
trust=%s

# The group has to be there; its members are not changed.
aws iam get-group --group-name "$group" --query Group.Arn --output text

if aws iam get-role --role-name "$role" >/dev/null 2>&1; then
  if [[ ${UPDATE:-} != 1 ]]; then
    printf 'The role %%s is there already. Look at what it is for; with UPDATE=1 it gets these policies.\n' "$role" >&2
    exit 1
  fi
  aws iam update-assume-role-policy --role-name "$role" --policy-document "$trust"
else
  aws iam create-role --role-name "$role" --max-session-duration 3600 --assume-role-policy-document "$trust" --query Role.Arn --output text
fi
`, r.IAMGroup, r.Cluster, r.Role, shell(r.IAMGroup), shell(r.Role), policies[0])
	fmt.Fprintf(&b, "aws iam put-role-policy --role-name \"$role\" --policy-name %s --policy-document %s\n", shell("describe-"+r.Cluster), policies[1])
	fmt.Fprintf(&b, "aws iam put-group-policy --group-name \"$group\" --policy-name %s --policy-document %s\n", shell("assume-"+r.Role), policies[2])
	fmt.Fprintf(&b, "\nkubectl apply -f - <<'RBAC'\n%sRBAC\n", out.Binding)
	return b.String(), nil
}

func (r *GroupRole) reasons() []Reason {
	trust := "An IAM group can be no principal of a policy, so the trust names the account (root), which alone would let in whoever in it has sts:AssumeRole on *. "
	if r.UserPath != "" && r.UserPath != "/" {
		trust += fmt.Sprintf("aws:PrincipalArn narrows it to the IAM users below %s: no role, no CI system, no root user and no user elsewhere can assume it, whatever their own policies say.", r.UserPath)
	} else {
		trust += "aws:PrincipalArn narrows it to IAM users: no role, no CI system and no root user can assume it, whatever their own policies say."
	}
	out := []Reason{
		{"trust policy", trust},
		{"trust policy, what it does not hold off", "IAM has no condition for the groups of a caller. A user outside of the group whose own policy allows sts:AssumeRole on * or on this role (administrators, as a rule) can assume it too. --user-path and --principal-tag narrow the trust itself."},
	}
	if key, value, ok := strings.Cut(r.PrincipalTag, "="); ok {
		out = append(out, Reason{"aws:PrincipalTag", fmt.Sprintf("Only users who carry the tag %s can assume the role, so tag each member: aws iam tag-user --user-name USER --tags Key=%s,Value=%s. Whoever may tag users can let others in: guard iam:TagUser.", r.PrincipalTag, key, value)})
	}
	if r.MFA {
		out = append(out, Reason{"aws:MultiFactorAuthPresent", "Stolen access keys alone do not open the cluster: AssumeRole needs a code of the user's device, which the profile asks for."})
	} else {
		out = append(out, Reason{"no second factor", "Access keys alone are enough. --mfa asks for a second factor."})
	}
	if r.NamedSessions {
		out = append(out, Reason{"sts:RoleSessionName", "${aws:username} makes the name of the session that of the user, so the audit log of Kubernetes says who it was and nobody can pose as another."})
	} else {
		out = append(out, Reason{"who is it in the audit log?", "With --role-arn the AWS CLI names every session EKSGetTokenAuth, so in Kubernetes all members are " + r.Role + ":EKSGetTokenAuth; CloudTrail tells them apart. --named-sessions makes the session's name that of the user."})
	}
	return append(out,
		Reason{"role policy", "eks:DescribeCluster on this one cluster is all that update-kubeconfig asks for (--assume-role-arn asks it as the role). A token needs no right at all, and what is allowed inside the cluster is RBAC's to say."},
		Reason{"assume policy", "The group's members may assume this one role and nothing else. sts:TagSession and sts:SetSourceIdentity are not allowed, since nothing here reads tags. Who leaves the group can assume nothing any more; a session that was begun ends within an hour, the shortest that IAM lets a role have."},
		Reason{"RBAC binding", fmt.Sprintf("The ClusterRole %s is bound to the group, not to the username, so that members come and go in IAM alone.", r.ClusterRole)},
		Reason{"one entry in aws-auth", "However many members the group has, aws-auth holds the role alone, and nobody has to read IAM for it."},
	)
}

// shell quotes a text for a POSIX shell.
func shell(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// quote writes a text as JSON does, which YAML reads.
func quote(s string) string {
	text, err := json.Marshal(s)
	if err != nil {
		return `""` // no string fails to encode
	}
	return string(text)
}

func quoteAll(texts []string) string {
	out := make([]string, len(texts))
	for i, t := range texts {
		out[i] = quote(t)
	}
	return "[" + strings.Join(out, ", ") + "]"
}
