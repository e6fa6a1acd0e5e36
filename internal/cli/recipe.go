package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"github.com/rolecall/rolecall/config"
	"github.com/rolecall/rolecall/imds"
	"github.com/rolecall/rolecall/internal/recipe"
	"github.com/rolecall/rolecall/internal/visible"
)

func newRecipe() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "recipe",
		Short: "Write out how to let people in by another way",
		Long: `Write out how to let people in by another way than an entry for each: see the
commands below.

The exit status is 0, or 1 where something could not be written.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newRecipeGroupRole())
	return cmd
}

type groupRoleFlags struct {
	asked  recipe.GroupRole
	output string
	out    string
	yes    bool
}

func newRecipeGroupRole() *cobra.Command {
	var f groupRoleFlags
	cmd := &cobra.Command{
		Use:   "group-role --iam-group GROUP --role ROLE --groups K8S_GROUP,... --cluster NAME",
		Short: "Let an IAM group in by a role that its members may assume",
		Long: `Write out how to let the members of an IAM group in by a role that they may
assume: the role's trust policy and its own, the group's policy, the calls of the
AWS CLI, the entry for rolecall's config, the RBAC binding and the line for
kubeconfig, with the reasons. Then aws-auth holds one role, whoever is in the
group, and nobody reads IAM.

Nothing is made: run the script that it writes. Without --account, STS is asked
whose credentials these are, and nothing else is.

The exit status is 0 if it was written, else 1.`,
		Example: `  rolecall recipe group-role --iam-group rnd --role eks-dev --groups viewers --cluster prod --region eu-west-3
  rolecall recipe group-role --iam-group rnd --role eks-dev --groups editors --cluster-role edit -n team-a \
    --cluster prod --region eu-west-3 --account 111122223333 --mfa --named-sessions --out recipe/`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.run(cmd.Context(), cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	flags := cmd.Flags()
	r := &f.asked
	flags.StringVar(&r.IAMGroup, "iam-group", "", "IAM group whose members are let in (required)")
	flags.StringVar(&r.Role, "role", "", "name of the role to be made (required)")
	flags.StringSliceVar(&r.Groups, "groups", nil, "groups in Kubernetes that the role is in (required)")
	flags.StringVar(&r.Cluster, "cluster", "", "name of the EKS cluster (required)")
	flags.StringVar(&r.Account, "account", "", "account of group, role and cluster (default: that of your credentials)")
	flags.StringVar(&r.Region, "region", "", "region of the cluster (default: AWS_REGION, AWS_DEFAULT_REGION)")
	flags.StringVar(&r.Partition, "partition", "", "AWS partition (default: the region's)")
	flags.StringVar(&r.ClusterRole, "cluster-role", "view", "ClusterRole that is bound to the groups")
	flags.StringVarP(&r.Namespace, "namespace", "n", "", "namespace where it is bound (default: the whole cluster)")
	flags.StringVar(&r.UserPath, "user-path", "", "trust only users below this IAM path, for example /rnd/")
	flags.StringVar(&r.PrincipalTag, "principal-tag", "", "trust only users with this tag: KEY=VALUE")
	flags.BoolVar(&r.MFA, "mfa", false, "trust only sessions with a second factor")
	flags.BoolVar(&r.NamedSessions, "named-sessions", false, "give sessions the name of the user, for the audit log")
	flags.StringVarP(&f.output, "output", "o", "", "text or json")
	flags.StringVar(&f.out, "out", "", "directory to write the files to, in place of stdout")
	flags.BoolVarP(&f.yes, "yes", "y", false, "write over files in --out without asking")
	return cmd
}

func (f *groupRoleFlags) run(ctx context.Context, stdin io.Reader, stdout, stderr io.Writer) error {
	if err := checkOutput(f.output, "text", "json"); err != nil {
		return err
	}
	if err := f.complete(ctx); err != nil {
		return err
	}
	r, err := f.asked.Write()
	if err != nil {
		return err
	}
	if f.out != "" {
		return f.writeFiles(ctx, r, stdin, stderr)
	}
	if f.output == "json" {
		return printObject(stdout, f.output, struct {
			APIVersion string `json:"apiVersion"`
			Kind       string `json:"kind"`
			*recipe.Recipe
		}{config.APIVersion, "GroupRoleRecipe", r})
	}
	text, err := r.Text()
	if err != nil {
		return err
	}
	_, err = io.WriteString(stdout, text)
	return err
}

// complete fills in what was not given and can be known.
func (f *groupRoleFlags) complete(ctx context.Context) error {
	r := &f.asked
	r.Region = cmp.Or(r.Region, os.Getenv("AWS_REGION"), os.Getenv("AWS_DEFAULT_REGION"))
	if r.Partition == "" && r.Region != "" {
		partition, err := imds.PartitionOfRegion(r.Region)
		if err != nil {
			return fmt.Errorf("--region: %w: write its code, for example eu-west-3, or give --partition too", err)
		}
		r.Partition = partition
	}
	if r.Account != "" || r.Region == "" || r.IAMGroup == "" || r.Role == "" || r.Cluster == "" || len(r.Groups) == 0 {
		return nil // or the recipe says what is missing
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	dirs := &directories{log: slog.New(slog.DiscardHandler), registerer: prometheus.NewRegistry()}
	dir, err := dirs.openAs(ctx, r.Region, "")
	if err != nil {
		return fmt.Errorf("which account is it? give --account: %w", err)
	}
	account, err := dir.Caller(ctx)
	if err != nil {
		return fmt.Errorf("which account is it? give --account: %w", err)
	}
	r.Account = account.ID
	return nil
}

func (f *groupRoleFlags) writeFiles(ctx context.Context, r *recipe.Recipe, stdin io.Reader, stderr io.Writer) error {
	files, err := r.Files()
	if err != nil {
		return err
	}
	text, err := r.Text()
	if err != nil {
		return err
	}
	files = append(files, recipe.File{Name: "README.md", Text: text})
	if err := os.MkdirAll(f.out, 0o750); err != nil {
		return err
	}
	for _, file := range files {
		path := filepath.Join(f.out, file.Name)
		if err := writeFile(ctx, path, []byte(file.Text), f.yes, stdin, stderr); err != nil {
			return err
		}
	}
	fmt.Fprintf(stderr, "%d files are written to %s: look at README.md, then: bash %s\n", len(files), visible.Text(f.out), visible.Text(filepath.Join(f.out, "apply.sh")))
	return nil
}
