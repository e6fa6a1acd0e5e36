package cli

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// The groups of commands in the help.
const (
	groupAgent    = "agent"
	groupDocument = "document"
	groupPast     = "past"
	groupOthers   = "others"
)

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "rolecall",
		Short: "Keep kube-system/aws-auth of an EKS cluster right",
		Long: `rolecall keeps kube-system/aws-auth of an EKS cluster right: node roles, IAM
Identity Center permission sets by name, users of IAM groups and static entries
are merged into it, and what others wrote stays byte for byte.

"rolecall agent" is what the DaemonSet runs; "rolecall plan" shows what it would
change. The other commands read, change and check aws-auth by hand.`,
		SilenceUsage:               true,
		DisableSuggestions:         true, // unknownCommand makes them
		SuggestionsMinimumDistance: 1,
		SilenceErrors:              true,
	}
	root.AddGroup(
		&cobra.Group{ID: groupAgent, Title: "The agents:"},
		&cobra.Group{ID: groupDocument, Title: "The document:"},
		&cobra.Group{ID: groupPast, Title: "What was, and what waits:"},
		&cobra.Group{ID: groupOthers, Title: "From and to other tools:"},
	)
	add := func(group string, commands ...*cobra.Command) {
		for _, cmd := range commands {
			cmd.GroupID = group
		}
		root.AddCommand(commands...)
	}
	add(groupAgent, newAgent(), newPlan(), newStatus(), newValidate())
	add(groupDocument, newGet(), newUpsert(), newRemove(), newRemoveByUsername(), newLint(), newResolve())
	add(groupPast, newHistory(), newRollback(), newApprove(), newHandover())
	add(groupOthers, newImport(), newExport(), newRecipe())
	root.AddCommand(newVersion())
	root.InitDefaultCompletionCmd()
	if completion, _, err := root.Find([]string{"completion"}); err == nil {
		completion.Long = completionHelp
		completion.Args = cobra.NoArgs // so that a shell that is not known is an error
		completion.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
		completion.AddCommand(newCompletionKubectl())
	}
	completeFlags(root)
	completeArgErrors(root)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return fmt.Errorf("%w: see '%s --help'", otherTool(cmd, err), cmd.CommandPath())
	})
	return root
}

// completeArgErrors has the errors about arguments of all commands below cmd say
// where to look on, as those about flags do.
func completeArgErrors(cmd *cobra.Command) {
	if check := cmd.Args; check != nil {
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			if err := check(cmd, args); err != nil {
				return fmt.Errorf("%w: see '%s --help'", err, cmd.CommandPath())
			}
			return nil
		}
	}
	for _, sub := range cmd.Commands() {
		completeArgErrors(sub)
	}
}

// flagsFromEnvironment gives every flag that was not set the value of
// ROLECALL_<FLAG>, where that is set: --lease-name is ROLECALL_LEASE_NAME.
func flagsFromEnvironment(flags *pflag.FlagSet) error {
	var failed error
	flags.VisitAll(func(f *pflag.Flag) {
		name := envName(f.Name)
		value, ok := os.LookupEnv(name)
		if !ok || f.Changed || failed != nil {
			return
		}
		if err := flags.Set(f.Name, value); err != nil {
			failed = fmt.Errorf("environment variable %s: %w", name, err)
		}
	})
	return failed
}

func envName(flag string) string {
	return "ROLECALL_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}
