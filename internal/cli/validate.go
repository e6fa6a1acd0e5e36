package cli

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/rolecall/rolecall/config"
	"github.com/rolecall/rolecall/internal/visible"
)

func newValidate() *cobra.Command {
	var quiet bool
	cmd := &cobra.Command{
		Use:   "validate PATH",
		Short: "Check a config file without any cluster",
		Long: `Check a config file, or a directory as a ConfigMap is mounted, without any
cluster. Every problem is printed with file, line, key and what to write
instead. The exit status is 0 if the agent would take the config, else 1.`,
		Example: `  rolecall validate config.yaml
  kubectl -n rolecall-system get configmap rolecall -o jsonpath='{.data.config\.yaml}' > config.yaml && rolecall validate config.yaml`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			file, err := config.Load(args[0])
			if problems := (*config.Error)(nil); errors.As(err, &problems) {
				for _, p := range problems.Problems {
					fmt.Fprintln(cmd.ErrOrStderr(), visible.Text(p.String()))
				}
				return &exitCode{code: exitError}
			}
			if err != nil {
				return err
			}
			for _, w := range file.Warnings {
				complain(cmd.ErrOrStderr(), "warning", w.String())
			}
			if !quiet {
				c := &file.Config
				fmt.Fprintf(cmd.OutOrStdout(), "%s is valid: %s, %s, %s, %s\n",
					visible.Text(args[0]), counted(len(c.Roles), "role", "roles"), counted(len(c.IAMGroups), "IAM group", "IAM groups"),
					counted(len(c.Users), "user", "users"), counted(len(c.Accounts), "account", "accounts"))
			}
			return nil
		},
	}
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "print nothing but problems and warnings")
	return cmd
}
