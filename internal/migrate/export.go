package migrate

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/internal/visible"
)

// An Export is access entries and where they go.
type Export struct {
	Cluster string // name of the EKS cluster
	Region  string // its region; may be empty, but not for eksctl
	// IdentityCenterRegion is the region of IAM Identity Center, which the paths of
	// its roles name. Empty: taken to be Region, else us-east-1, with a note.
	IdentityCenterRegion string

	From    string // where the entries come from, for a comment
	Entries []AccessEntry
	Notes   []string // comments of what is lost
}

// ExportFormats are the values of Write's format, sorted.
func ExportFormats() []string { return []string{"awscli", "cloudformation", "eksctl", "terraform"} }

var (
	// https://docs.aws.amazon.com/eks/latest/APIReference/API_CreateCluster.html
	clusterName = regexp.MustCompile(`^[0-9A-Za-z][A-Za-z0-9_-]{0,99}$`)
	regionName  = regexp.MustCompile(`^[a-z]{2,}(-[a-z]+)+-[0-9]{1,2}$`)
)

// CheckCluster returns an error that says what is wrong with the name of an EKS
// cluster, or nil.
func CheckCluster(name string) error {
	if !clusterName.MatchString(name) {
		return fmt.Errorf("%q is no name of an EKS cluster: write at most 100 of letters, digits, - and _, a letter or digit first", name)
	}
	return nil
}

// CheckRegion returns an error that says what is wrong with the code of an AWS
// region, or nil.
func CheckRegion(region string) error {
	if !regionName.MatchString(region) {
		return fmt.Errorf("%q is no AWS region: write its code, for example eu-west-3", region)
	}
	return nil
}

// Write writes the entries in a format. What aws-auth says is text to it and
// nothing else, whatever stands in it: no shell, YAML, HCL or CloudFormation
// takes any of it for its own.
//
// No format makes an access entry that exists another one, or associates a policy
// with it: the script of awscli looks first, and of the others the tool itself
// fails for such an entry, as their first lines say.
func (x *Export) Write(format string) (string, error) {
	if err := CheckCluster(x.Cluster); err != nil {
		return "", err
	}
	for _, region := range []string{x.Region, x.IdentityCenterRegion} {
		if region != "" {
			if err := CheckRegion(region); err != nil {
				return "", err
			}
		}
	}
	return x.complete().write(format)
}

// AllNotes are the Notes, and those of the paths that Write writes.
func (x *Export) AllNotes() []string { return x.complete().Notes }

// complete has the paths of permission sets' roles in the ARNs, and remarks on the
// entries. Which path a role has stands in no aws-auth
// (https://docs.aws.amazon.com/singlesignon/latest/userguide/referencingpermissionsets.html).
func (x *Export) complete() *completed {
	out := &completed{*x, make([][]string, len(x.Entries))}
	out.Entries, out.Notes = slices.Clone(x.Entries), slices.Clone(x.Notes)
	region := cmp.Or(x.IdentityCenterRegion, x.Region, centralRegion)
	path := "/aws-reserved/sso.amazonaws.com/" + region + "/"
	if region == centralRegion {
		path = "/aws-reserved/sso.amazonaws.com/"
	}
	for i := range out.Entries {
		e := &out.Entries[i]
		if e.Type == EC2Linux || e.Type == EC2Windows || e.Type == FargateLinux {
			out.remarks[i] = append(out.remarks[i], "EKS makes the access entries of managed node groups and Fargate profiles itself: take this one out if there is one.")
		}
		head, name, ok := strings.Cut(e.PrincipalARN, ":role/")
		if !ok || !reservedRole.MatchString(name) {
			continue
		}
		e.PrincipalARN = head + ":role" + path + name
		if x.IdentityCenterRegion == "" {
			note := fmt.Sprintf("%s is written with the path of an IAM Identity Center in %s: if yours is in another region, give --identity-center-region", quote(e.PrincipalARN), region)
			out.remarks[i] = append(out.remarks[i], note)
			out.Notes = append(out.Notes, note)
		}
	}
	return out
}

// centralRegion is the one that the paths of Identity Center's roles do not name.
const centralRegion = "us-east-1"

// completed is an export with all that its formats write.
type completed struct {
	Export
	remarks [][]string // comments of each entry
}

// comments writes what is to be said of the i-th entry.
func (x *completed) comments(w *writer, i int, indent string) {
	for _, r := range x.remarks[i] {
		w.comment(indent, "%s", r)
	}
}

func (x *completed) write(format string) (string, error) {
	switch format {
	case "awscli":
		return x.awscli()
	case "cloudformation":
		return x.cloudFormation(), nil
	case "terraform":
		return x.terraform(), nil
	case "eksctl":
		if x.Region == "" {
			return "", fmt.Errorf("a ClusterConfig of eksctl names the region: give it")
		}
		return x.eksctl(), nil
	}
	return "", fmt.Errorf("%q is no format: write %s", format, strings.Join(ExportFormats(), ", "))
}

// head writes the first comments; existing says what becomes of access entries that
// exist.
func (x *completed) head(w *writer, existing ...string) {
	w.comment("", "Access entries of the EKS cluster %s, made by \"rolecall export access-entries\" of %s.", x.Cluster, x.From)
	w.comment("", "")
	for _, line := range existing {
		w.comment("", "%s", line)
	}
	if len(x.Notes) > 0 {
		w.comment("", "")
		w.comment("", "What access entries cannot express, or what is otherwise:")
		for _, n := range x.Notes {
			w.comment("", "- %s", n)
		}
	}
}

// shell quotes a text for a POSIX shell.
func shell(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// awscli writes a bash script. All that comes from aws-auth, but for ARNs, goes
// by --cli-input-json: there, no text is an option of the AWS CLI and none names
// a file to be read, as file://x would as an argument.
func (x *completed) awscli() (string, error) {
	w := &writer{}
	w.line("#!/usr/bin/env bash")
	x.head(w,
		"An access entry that exists stays as it is and gets no policy; the script says what it has.",
		"One that can't be made is said at the end, and the others are made.")
	w.line("set -euo pipefail")
	w.line("")
	w.line("cluster=%s", shell(x.Cluster))
	if x.Region != "" {
		// Version 1 of the AWS CLI reads AWS_DEFAULT_REGION alone, version 2 both.
		w.line("export AWS_REGION=%[1]s AWS_DEFAULT_REGION=%[1]s", shell(x.Region))
	}
	w.WriteString(`
mode=$(aws eks describe-cluster --name "$cluster" --query cluster.accessConfig.authenticationMode --output text)
if [[ $mode == CONFIG_MAP ]]; then
  cat >&2 <<END
The cluster takes no access entries yet. Switch them on beside aws-auth, which
cannot be undone, wait until it is done, and run this again:
  aws eks update-cluster-config --name $cluster --access-config authenticationMode=API_AND_CONFIG_MAP
END
  exit 1
fi

# The ARN of a role as IAM knows it, with its path, if it is of this account.
principal() {
  local arn=$1 found
  if [[ $arn == *:role/* ]] &&
    found=$(aws iam get-role --role-name "${arn##*/}" --query Role.Arn --output text 2>/dev/null) &&
    [[ ${found%%:role/*} == "${arn%%:role/*}" ]]; then
    printf '%s\n' "$found"
    return
  fi
  printf '%s\n' "$arn"
}

failed=0
made=no
fail() {
  printf 'FAILED: %s: %s\n' "$1" "$2" >&2
  failed=$((failed + 1))
}

# Says what an access entry has that is there already.
exists() {
  local arn=$1 input=$2 policy=${3:-none} has policies
  has=$(aws eks describe-access-entry --cluster-name "$cluster" --principal-arn "$arn" --output json \
    --query 'accessEntry.{type: type, username: username, kubernetesGroups: kubernetesGroups}' 2>/dev/null | tr -d ' \n' || true)
  policies=$(aws eks list-associated-access-policies --cluster-name "$cluster" --principal-arn "$arn" --output text \
    --query 'associatedAccessPolicies[].[policyArn, accessScope.type]' 2>/dev/null | tr '\t\n' ' ,') || policies=unknown
  policies=${policies%,}
  [[ -n $policies ]] || policies=none
  printf 'there is one already, left as it is: %s\n  it has:        %s, policies: %s\n  aws-auth asks: %s, policies: %s\n' \
    "$arn" "${has:-unknown}" "$policies" "$input" "$policy" >&2
}

# Makes an access entry, unless there is one: EKS refuses a second one, too. The
# policy is the one that is associated with it next, if any.
create() {
  local arn=$1 input=$2 policy=${3:-} said
  made=no
  if aws eks describe-access-entry --cluster-name "$cluster" --principal-arn "$arn" >/dev/null 2>&1; then
    exists "$arn" "$input" "$policy"
  elif said=$(aws eks create-access-entry --cluster-name "$cluster" --principal-arn "$arn" --cli-input-json "$input" 2>&1 >/dev/null); then
    made=yes
    printf 'made: %s\n' "$arn"
  elif [[ $said == *ResourceInUseException* ]]; then
    exists "$arn" "$input" "$policy"
  else
    fail "$arn" "$said"
  fi
}

# Associates a policy with the access entry that was just made, and with no other.
# Without it the entry would give less than aws-auth does, so it is taken back.
associate() {
  local arn=$1 policy=$2 said try
  [[ $made == yes ]] || return 0
  for try in 1 2 3 4 5; do
    if said=$(aws eks associate-access-policy --cluster-name "$cluster" --principal-arn "$arn" --policy-arn "$policy" --access-scope type=cluster 2>&1 >/dev/null); then
      printf 'associated: %s with %s\n' "$arn" "$policy"
      return 0
    fi
    [[ $said == *ResourceNotFoundException* ]] || break # EKS takes some seconds to know a new entry
    ((try == 5)) || sleep 2
  done
  fail "$arn" "$said"
  if aws eks delete-access-entry --cluster-name "$cluster" --principal-arn "$arn" >/dev/null; then
    printf '  its access entry is deleted again: aws-auth counts as before\n' >&2
  else
    printf '  its access entry is there without the policy, and counts before aws-auth: delete it, or associate %s\n' "$policy" >&2
  fi
}

`)
	for i := range x.Entries {
		e := &x.Entries[i]
		input, err := json.Marshal(struct {
			Type     EntryType `json:"type"`
			Username string    `json:"username,omitempty"`
			Groups   []string  `json:"kubernetesGroups,omitempty"`
		}{e.Type, e.Username, e.Groups})
		if err != nil {
			return "", fmt.Errorf("encode the entry of %s: %w", e.PrincipalARN, err)
		}
		x.comments(w, i, "")
		w.line("arn=$(principal %s)", shell(e.PrincipalARN))
		if !e.Admin {
			w.line(`create "$arn" %s`, shell(string(visible.JSON(input))))
			continue
		}
		w.line(`create "$arn" %s %s`, shell(string(visible.JSON(input))), shell(e.AdminPolicy()))
		w.line(`associate "$arn" %s`, shell(e.AdminPolicy()))
	}
	w.WriteString(`
if ((failed > 0)); then
  printf '%s access entries could not be made: see above. Run this again when that is put right\n' "$failed" >&2
  exit 1
fi
`)
	return w.String(), nil
}

// label names an entry by its role or user, for CloudFormation and Terraform:
// letters, digits and what is given, with part of a hash, since names can be
// equal without the rest.
func label(arn, keep, sep string) string {
	name := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', strings.ContainsRune(keep, r):
			return r
		}
		return -1
	}, arn[strings.LastIndexByte(arn, '/')+1:])
	if bare, err := awsauth.RoleARN(arn); err == nil {
		arn = bare // whatever path is found out, the name stays
	}
	sum := sha256.Sum256([]byte(arn))
	return name + sep + hex.EncodeToString(sum[:4])
}

// A dialect is how a tool calls the fields of an access entry in YAML.
type dialect struct{ kind, username, groups, policies, policy, scope string }

// fields writes the fields that follow the ARN.
func (e *AccessEntry) fields(w *writer, d dialect) {
	w.line("      %s: %s", d.kind, e.Type)
	if e.Username != "" {
		w.line("      %s: %s", d.username, quoted(e.Username))
	}
	if len(e.Groups) > 0 {
		w.line("      %s:", d.groups)
		for _, g := range e.Groups {
			w.line("        - %s", quoted(g))
		}
	}
	if e.Admin {
		w.line("      %s:", d.policies)
		w.line("        - %s: %s", d.policy, quoted(e.AdminPolicy()))
		w.line("          %s:", d.scope)
		w.line("            %s: cluster", d.kind)
	}
}

func (x *completed) cloudFormation() string {
	names := dialect{"Type", "Username", "KubernetesGroups", "AccessPolicies", "PolicyArn", "AccessScope"}
	w := &writer{}
	x.head(w,
		"CloudFormation does not look which access entries exist. For one that does, it makes nothing and rolls the stack back; that entry stays as it is.",
		"So look first, and take those out of this file: aws eks list-access-entries --cluster-name "+x.Cluster)
	w.line("AWSTemplateFormatVersion: \"2010-09-09\"")
	w.line("Description: %s", quoted("Access entries of the EKS cluster "+x.Cluster))
	if len(x.Entries) == 0 {
		w.comment("", "There is nothing to make, and CloudFormation takes no template without resources.")
		w.line("Resources: {}")
		return w.String()
	}
	w.line("Resources:")
	for i := range x.Entries {
		e := &x.Entries[i]
		x.comments(w, i, "  ")
		w.line("  AccessEntry%s:", label(e.PrincipalARN, "", ""))
		w.line("    Type: AWS::EKS::AccessEntry")
		w.line("    Properties:")
		w.line("      ClusterName: %s", quoted(x.Cluster))
		w.line("      PrincipalArn: %s", quoted(e.PrincipalARN))
		e.fields(w, names)
	}
	return w.String()
}

// hclQuoted quotes a text for HCL, in which ${ and %{ begin an expression.
func hclQuoted(s string) string {
	return strings.NewReplacer("${", "$${", "%{", "%%{").Replace(quoted(s))
}

func (x *completed) terraform() string {
	w := &writer{}
	x.head(w,
		"Terraform does not look which access entries exist. For one that does, apply fails, associates no policy with it and leaves it as it is.",
		"So look first, and take those out of this file: aws eks list-access-entries --cluster-name "+x.Cluster,
		"Do not import one before you have compared it: the next apply would make it what stands here, an administrator too.")
	for i := range x.Entries {
		e := &x.Entries[i]
		name := "e_" + label(e.PrincipalARN, "_-", "_")
		w.line("")
		x.comments(w, i, "")
		w.line("resource \"aws_eks_access_entry\" %q {", name)
		fields := [][2]string{{"cluster_name", hclQuoted(x.Cluster)}, {"principal_arn", hclQuoted(e.PrincipalARN)}, {"type", hclQuoted(string(e.Type))}}
		if e.Username != "" {
			fields = append(fields, [2]string{"user_name", hclQuoted(e.Username)})
		}
		if len(e.Groups) > 0 {
			groups := slices.Clone(e.Groups)
			for j, g := range groups {
				groups[j] = hclQuoted(g)
			}
			fields = append(fields, [2]string{"kubernetes_groups", "[" + strings.Join(groups, ", ") + "]"})
		}
		width := 0 // as terraform fmt has it
		for _, f := range fields {
			width = max(width, len(f[0]))
		}
		for _, f := range fields {
			w.line("  %-*s = %s", width, f[0], f[1])
		}
		w.line("}")
		if e.Admin {
			w.line("")
			w.line("resource \"aws_eks_access_policy_association\" %q {", name)
			w.line("  cluster_name  = aws_eks_access_entry.%s.cluster_name", name)
			w.line("  principal_arn = aws_eks_access_entry.%s.principal_arn", name)
			w.line("  policy_arn    = %s", hclQuoted(e.AdminPolicy()))
			w.line("  access_scope {")
			w.line("    type = \"cluster\"")
			w.line("  }")
			w.line("}")
		}
	}
	return w.String()
}

func (x *completed) eksctl() string {
	names := dialect{"type", "kubernetesUsername", "kubernetesGroups", "accessPolicies", "policyARN", "accessScope"}
	w := &writer{}
	x.head(w,
		"eksctl does not look which access entries exist. For one that does, its stack fails; that entry stays as it is, and the others are made.",
		"So look first, and take those out of this file: aws eks list-access-entries --cluster-name "+x.Cluster)
	w.comment("", "Make them with: eksctl create accessentry -f FILE")
	w.line("apiVersion: eksctl.io/v1alpha5")
	w.line("kind: ClusterConfig")
	w.line("metadata:")
	w.line("  name: %s", quoted(x.Cluster))
	w.line("  region: %s", quoted(x.Region))
	w.line("accessConfig:")
	w.line("  authenticationMode: API_AND_CONFIG_MAP")
	if len(x.Entries) == 0 {
		w.line("  accessEntries: []")
		return w.String()
	}
	w.line("  accessEntries:")
	for i := range x.Entries {
		e := &x.Entries[i]
		x.comments(w, i, "    ")
		w.line("    - principalARN: %s", quoted(e.PrincipalARN))
		e.fields(w, names)
	}
	return w.String()
}
