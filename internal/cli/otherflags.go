package cli

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// An otherFlag is a flag of a tool that rolecall stands in for, which a command of
// rolecall's does not have, or not with that meaning.
type otherFlag struct {
	name, short string
	tool        string
	commands    []string // under which it may be typed
	use         string   // what to do instead
}

const (
	toolEksctl  = "eksctl"
	toolKeiko   = "aws-auth (keikoproj)"
	toolMapper  = "iam-eks-user-mapper"
	toolWrapper = "aws-iam-authenticator-sso-wrapper"
)

// otherFlags are those that the documentation of the tools names. The pages
// docs/from-…  list them too.
func otherFlags() []otherFlag {
	byHand := []string{"get", "upsert", "remove", "remove-by-username", "lint", "resolve", "status", "history", "diff", "rollback", "approve", "handover", "plan"}
	const context = "which cluster is meant is said by the kubeconfig's context: leave it out, see kubectl config current-context, and give another one with --context. " +
		"aws eks update-kubeconfig --name CLUSTER --region REGION writes one"
	const noNeed = "it has no equivalent and needs none: leave it out"
	flags := []otherFlag{
		{name: "cluster", tool: toolEksctl, commands: byHand, use: context},
		{name: "name", tool: toolEksctl, commands: byHand, use: context},
		{name: "region", short: "r", tool: toolEksctl, commands: byHand, use: context},
		{name: "profile", short: "p", tool: toolEksctl, commands: byHand, use: "the AWS profile is that of the environment: set AWS_PROFILE; which cluster is meant is said by the kubeconfig's context"},
		{name: "config-file", tool: toolEksctl, commands: []string{"get", "remove", "remove-by-username"}, use: context},
		{name: "aws-api-timeout", tool: toolEksctl, commands: byHand, use: noNeed},
		{name: "timeout", tool: toolEksctl, commands: []string{"get"}, use: "get waits for 30 seconds at most: leave it out"},
		{name: "chunk-size", tool: toolEksctl, commands: []string{"get"}, use: noNeed},
		{name: "color", short: "C", tool: toolEksctl, commands: byHand, use: "colours are used on a terminal alone, and not with NO_COLOR in the environment: leave it out"},
		{name: "verbose", short: "v", tool: toolEksctl, commands: byHand, use: noNeed},
		{name: "dumpLogs", short: "d", tool: toolEksctl, commands: byHand, use: noNeed},
	}
	mapper := func(name, short, use string) {
		flags = append(flags, otherFlag{name, short, toolMapper, []string{"agent", "plan"}, use + "; rolecall import iam-eks-user-mapper makes a config of the tool's settings"})
	}
	mapper("service-account-name", "s", "the manifests bring a ServiceAccount of their own")
	mapper("aws-role-arn", "R", "the role is that of rolecall's ServiceAccount, by IRSA or EKS Pod Identity")
	mapper("aws-access-key-id", "a", "keys belong in no flag: give rolecall's ServiceAccount a role, or the container the environment variable AWS_ACCESS_KEY_ID")
	mapper("aws-secret-access-key", "k", "keys belong in no flag: give rolecall's ServiceAccount a role, or the container the environment variable AWS_SECRET_ACCESS_KEY")
	mapper("aws-default-region", "r", "write aws.region in the config")
	mapper("refresh-interval-seconds", "i", "write refreshInterval in the config")
	mapper("admins-users-arns", "m", "write users in the config")
	mapper("enable-group-user-sync", "", "write iamGroups in the config")
	mapper("iam-k8s-groups", "g", "write iamGroups in the config")
	mapper("enable-sso", "", "write roles with permissionSet in the config")
	mapper("iam-sso-role-arn", "", "write roles with permissionSet in the config")
	mapper("karpenter-role-arn", "", "write karpenter.nodeRoleARNs in the config")
	mapper("verbose", "v", "write --log-level=debug")
	wrapper := func(name, use string) {
		flags = append(flags, otherFlag{name, "", toolWrapper, []string{"agent", "plan"}, use + "; rolecall import sso-wrapper makes a config of the tool's settings"})
	}
	const volume = "the source is the volume that is mounted at --config"
	wrapper("src-configmap", volume)
	wrapper("src-namespace", volume)
	wrapper("dst-configmap", "write --aws-auth-name")
	wrapper("dst-namespace", "write --aws-auth-namespace")
	wrapper("interval", "write refreshInterval in the config")
	wrapper("aws-region", "write aws.region in the config")
	wrapper("debug", "write --log-level=debug")
	wrapper("disable-auto-worker-node-role", "write nodeRoles.report: false in the config")
	return flags
}

// otherTool says of a flag that a command does not have whose it is, and what to do
// instead. Any other error it returns as it is.
func otherTool(cmd *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) {
		return err
	}
	name, shorts := unknown.GetSpecifiedName(), unknown.GetSpecifiedShortnames()
	long, _, _ := strings.Cut(shorts, "=") // Go's package flag takes one dash before a long name
	flags := slices.DeleteFunc(otherFlags(), func(f otherFlag) bool { return !slices.Contains(f.commands, cmd.Name()) })
	for _, match := range []func(*otherFlag) string{
		func(f *otherFlag) string {
			if shorts == "" && f.name == name {
				return "--" + name
			}
			return ""
		},
		func(f *otherFlag) string {
			if shorts != "" && f.name == long {
				return "-" + long
			}
			return ""
		},
		func(f *otherFlag) string {
			if shorts != "" && f.short != "" && f.short == name {
				return "-" + name + ", that is --" + f.name + ","
			}
			return ""
		},
	} {
		for i := range flags {
			if given := match(&flags[i]); given != "" {
				return &otherFlagError{err, fmt.Sprintf("%s is a flag of %s: %s", given, flags[i].tool, flags[i].use)}
			}
		}
	}
	return err
}

// otherFlagError says what to do in place of a flag; it is the parser's error still.
type otherFlagError struct {
	error
	text string
}

func (e *otherFlagError) Error() string { return e.text }

func (e *otherFlagError) Unwrap() error { return e.error }

// otherCommand says what stands for a command of eksctl's; empty for any other.
func otherCommand(given string) string {
	switch given {
	case "create":
		return "eksctl create iamidentitymapping is rolecall upsert"
	case "delete":
		return "eksctl delete iamidentitymapping is rolecall remove"
	}
	return ""
}

// mappingWords are what eksctl calls entries on its command line.
var mappingWords = []string{"iamidentitymapping", "iamidentitymappings"}
