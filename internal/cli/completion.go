package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/rolecall/rolecall/internal/visible"
)

// completionHelp stands in place of cobra's.
const completionHelp = `Generate the script by which a shell completes rolecall: commands, flags and
their values, holds, revisions, entries, contexts and namespaces. The help of
each shell below says where its script belongs. What is asked of the cluster
takes three seconds at most, and where it fails nothing is offered.

The exit status is 0, or 1 for a shell that is none of these.`

// completionTimeout bounds what completion asks a cluster: a person waits for
// the next letter.
const completionTimeout = 3 * time.Second

// namespacesShown is how many namespaces are offered.
const namespacesShown = 500

// completeFlags gives the flags that many commands share their completion, in
// all commands below cmd. A command that has given one its own keeps it.
func completeFlags(cmd *cobra.Command) {
	cmd.LocalNonPersistentFlags().VisitAll(func(flag *pflag.Flag) {
		if _, has := cmd.GetFlagCompletionFunc(flag.Name); has {
			return
		}
		var complete cobra.CompletionFunc
		switch flag.Name {
		case "context":
			complete = completeContext
		case "namespace", "aws-auth-namespace":
			complete = completeNamespace
		case "output", "log-format", "dry-run":
			if words := listed(flag.Usage); len(words) > 0 {
				complete = cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp|cobra.ShellCompDirectiveKeepOrder)
			}
		case "log-level":
			complete = cobra.FixedCompletions([]string{"debug", "info", "warn", "error"}, cobra.ShellCompDirectiveNoFileComp|cobra.ShellCompDirectiveKeepOrder)
		}
		if complete != nil && flag.Value.Type() != "bool" {
			_ = cmd.RegisterFlagCompletionFunc(flag.Name, complete) // it has the flag, and none yet
		}
	})
	for _, sub := range cmd.Commands() {
		completeFlags(sub)
	}
}

// listed are the words of a flag's usage that begins with all that may be
// written: "table, wide (more) or json". Any other usage lists none.
func listed(usage string) []string {
	var plain strings.Builder // what stands in brackets explains
	depth := 0
	for _, r := range usage {
		switch {
		case r == '(':
			depth++
		case r == ')':
			depth--
		case depth == 0:
			plain.WriteRune(r)
		}
	}
	head, _, _ := strings.Cut(plain.String(), ";")
	words := strings.Split(strings.ReplaceAll(head, " or ", ", "), ", ")
	for i := range words {
		if words[i] = strings.TrimSpace(words[i]); words[i] == "" || strings.Contains(words[i], " ") {
			return nil
		}
	}
	return words
}

// given is the flag's value as the words before the one to complete have it.
func given(cmd *cobra.Command, flag string) string {
	if f := cmd.Flags().Lookup(flag); f != nil {
		return f.Value.String()
	}
	return ""
}

// completeContext offers the contexts of the kubeconfig. It makes no request.
func completeContext(cmd *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = given(cmd, "kubeconfig")
	cfg, err := rules.Load()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var found []cobra.Completion
	for _, name := range slices.Sorted(maps.Keys(cfg.Contexts)) {
		found = append(found, cobra.CompletionWithDesc(visible.Text(name), visible.Text(fmt.Sprintf("cluster %s", cfg.Contexts[name].Cluster))))
	}
	return found, cobra.ShellCompDirectiveNoFileComp
}

// completeNamespace offers the cluster's namespaces to who may list them.
func completeNamespace(cmd *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	kube := kubeFlags{kubeconfig: given(cmd, "kubeconfig")}
	kube.overrides.CurrentContext = given(cmd, "context")
	kube.overrides.AuthInfo.Impersonate = given(cmd, "as")
	client, err := kube.client()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), completionTimeout)
	defer cancel()
	list, err := client.CoreV1().Namespaces().List(ctx, metav1.ListOptions{Limit: namespacesShown})
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var found []cobra.Completion
	for i := range list.Items {
		found = append(found, list.Items[i].Name)
	}
	return found, cobra.ShellCompDirectiveNoFileComp
}
