package cli

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/spf13/cobra"
)

const (
	// pluginFile is the name under which kubectl finds rolecall as a plugin
	// (https://kubernetes.io/docs/tasks/extend-kubectl/kubectl-plugins/), and
	// pluginName what a person writes then.
	pluginFile = "kubectl-rolecall"
	pluginName = "kubectl rolecall"

	// pluginCompletion is what kubectl runs for the plugin's completion, by the
	// name kubectl_complete-rolecall
	// (https://kubernetes.io/docs/reference/kubectl/kubectl/, cmd/plugin_completion.go).
	pluginCompletion = "#!/bin/sh\n" +
		"# kubectl runs this to complete \"kubectl rolecall ...\": put it on PATH, under\n" +
		"# the name kubectl_complete-rolecall and executable.\n" +
		"exec kubectl-rolecall __complete \"$@\"\n"
)

// isPlugin reports whether the program was started under the plugin's name.
func isPlugin(program string) bool {
	return strings.TrimSuffix(filepath.Base(program), ".exe") == pluginFile
}

// asPlugin has the help of all commands say what a person of the plugin writes.
func asPlugin(root *cobra.Command) {
	root.Annotations = map[string]string{cobra.CommandDisplayNameAnnotation: pluginName}
	spell := pluginSpelling(root)
	var walk func(*cobra.Command)
	walk = func(cmd *cobra.Command) {
		cmd.Short, cmd.Long, cmd.Example = spell(cmd.Short), spell(cmd.Long), spell(cmd.Example)
		for _, sub := range cmd.Commands() {
			walk(sub)
		}
	}
	walk(root)
}

// pluginSpelling writes the commands of root in a text as a person of the plugin
// does: rolecall status becomes kubectl rolecall status.
func pluginSpelling(root *cobra.Command) func(string) string {
	var names []string
	for _, sub := range root.Commands() {
		names = append(names, regexp.QuoteMeta(sub.Name()))
	}
	command := regexp.MustCompile(`(^|[^\w/.-])(?:kubectl )?rolecall (` + strings.Join(names, "|") + `)\b`)
	return func(text string) string { return command.ReplaceAllString(text, "${1}"+pluginName+" ${2}") }
}

// newCompletionKubectl is a shell among those of cobra's own completion command.
func newCompletionKubectl() *cobra.Command {
	return &cobra.Command{
		Use:   "kubectl",
		Short: "Generate the script by which kubectl completes the plugin",
		Long: `Generate the script by which kubectl completes "kubectl rolecall": kubectl looks
for an executable kubectl_complete-rolecall on PATH. It works in every shell for
which kubectl's own completion is set up.

The exit status is 0.`,
		Example: `  rolecall completion kubectl > ~/.local/bin/kubectl_complete-rolecall
  chmod +x ~/.local/bin/kubectl_complete-rolecall`,
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprint(cmd.OutOrStdout(), pluginCompletion)
			return err
		},
	}
}
