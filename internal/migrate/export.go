package migrate

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/rolecall/rolecall/internal/visible"
)

// An Export is access entries and where they go.
type Export struct {
	Cluster string // name of the EKS cluster
	Region  string // its region; may be empty, but not for eksctl
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
func (x *Export) Write(format string) (string, error) {
	if err := CheckCluster(x.Cluster); err != nil {
		return "", err
	}
	if x.Region != "" {
		if err := CheckRegion(x.Region); err != nil {
			return "", err
		}
	}
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

func (x *Export) head(w *writer) {
	w.comment("", "Access entries of the EKS cluster %s, made by \"rolecall export access-entries\" of %s.", x.Cluster, x.From)
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
func (x *Export) awscli() (string, error) {
	w := &writer{}
	w.line("#!/usr/bin/env bash")
	x.head(w)
	w.line("set -euo pipefail")
	w.line("")
	w.line("cluster=%s", shell(x.Cluster))
	if x.Region != "" {
		w.line("export AWS_REGION=%s", shell(x.Region))
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

# Makes an access entry, unless there is one.
create() {
  local arn=$1 input=$2
  if aws eks describe-access-entry --cluster-name "$cluster" --principal-arn "$arn" >/dev/null 2>&1; then
    printf 'there is one already, left as it is: %s\n' "$arn" >&2
    return
  fi
  aws eks create-access-entry --cluster-name "$cluster" --principal-arn "$arn" --cli-input-json "$input" >/dev/null
  printf 'made: %s\n' "$arn"
}

associate() {
  aws eks associate-access-policy --cluster-name "$cluster" --principal-arn "$1" --policy-arn "$2" --access-scope type=cluster >/dev/null
  printf 'associated: %s with %s\n' "$1" "$2"
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
		w.line("arn=$(principal %s)", shell(e.PrincipalARN))
		w.line(`create "$arn" %s`, shell(string(visible.JSON(input))))
		if e.Admin {
			w.line(`associate "$arn" %s`, shell(e.AdminPolicy()))
		}
	}
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

func (x *Export) cloudFormation() string {
	names := dialect{"Type", "Username", "KubernetesGroups", "AccessPolicies", "PolicyArn", "AccessScope"}
	w := &writer{}
	x.head(w)
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

func (x *Export) terraform() string {
	w := &writer{}
	x.head(w)
	for i := range x.Entries {
		e := &x.Entries[i]
		name := "e_" + label(e.PrincipalARN, "_-", "_")
		if i > 0 || len(x.Notes) > 0 {
			w.line("")
		}
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

func (x *Export) eksctl() string {
	names := dialect{"type", "kubernetesUsername", "kubernetesGroups", "accessPolicies", "policyARN", "accessScope"}
	w := &writer{}
	x.head(w)
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
		w.line("    - principalARN: %s", quoted(e.PrincipalARN))
		e.fields(w, names)
	}
	return w.String()
}
