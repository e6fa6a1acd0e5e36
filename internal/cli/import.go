package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/rolecall/rolecall/config"
	"github.com/rolecall/rolecall/internal/migrate"
	"github.com/rolecall/rolecall/internal/visible"
)

func newImport() *cobra.Command {
	var f importFlags
	cmd := &cobra.Command{
		Use:   "import [FILE]",
		Short: "Make a config of what another tool knows",
		Long: `Make a config of what another tool knows of who may enter the cluster. The
config goes to stdout, or with --out into a file; what has no equivalent, or
means something else here, is told on stderr and in comments of the config.

The format of FILE (- for stdin) is told by its text. It is what one of the
commands below reads, or one or several of

  the ConfigMap aws-auth, or the text of its keys
  IAMIdentityMapping of aws-iam-authenticator, and the config of its server
  AWSManagedControlPlane of Cluster API Provider AWS (iamAuthenticatorConfig)
  AWSAuthItem, AwsAuthSyncConfig, AwsAuthMapping, AwsAuthMapSnippet, MapRole and
  MapUser of other controllers, AWSIamConfig of EKS Anywhere, a Cluster of kOps

as kubectl get -o yaml prints them, lists and several documents too.

It asks neither AWS nor the cluster and changes nothing. Look at what it made,
then see what it would change: rolecall plan --config FILE.

The exit status is 0 if a config was made, also where not all has an equivalent,
else 1.`,
		Example: `  rolecall import cluster.yaml --out config.yaml
  kubectl get iamidentitymappings -o yaml | rolecall import - --out config.yaml`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 && !isFile(args[0]) {
				return cobra.NoArgs(cmd, args) // a tool that is not known
			}
			return cobra.MaximumNArgs(1)(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cmd.Help()
			}
			return f.run(cmd, args[0], migrate.FromFile)
		},
	}
	f.addTo(cmd.Flags())
	cmd.AddCommand(
		newImportOf("eksctl", "eksctl's ClusterConfig, or what eksctl get iamidentitymapping prints", `Make a config of the iamIdentityMappings in eksctl's ClusterConfig, or of what
"eksctl get iamidentitymapping -o yaml" prints. Without FILE, or with -, it is
read from stdin.`, `  rolecall import eksctl cluster.yaml --out config.yaml
  eksctl get iamidentitymapping --cluster prod -o yaml | rolecall import eksctl`, migrate.FromEksctl),
		newImportOf("sso-wrapper", "the source ConfigMap of aws-iam-authenticator-sso-wrapper", `Make a config of the source ConfigMap of aws-iam-authenticator-sso-wrapper, of
the values of its Helm chart, or of its Deployment. Without FILE, or with -, it
is read from stdin.

The ConfigMap can also be mounted as it is: rolecall reads its keys, permissionset
and $ACCOUNTID too.`, `  rolecall import sso-wrapper values.yaml --out config.yaml
  kubectl -n aws-iam-authenticator-sso-wrapper get configmap aws-auth -o yaml | rolecall import sso-wrapper`, migrate.FromSSOWrapper),
		newImportOf("terraform", "the aws_auth_* variables of terraform-aws-eks", `Make a config of what Terraform writes into aws-auth: aws_auth_roles, -users and
-accounts of terraform-aws-eks (map_* up to version 17), or a
kubernetes_config_map of its own.

Of .tf, .tfvars and their JSON forms only literal values are read; every
expression is told with its line. All values are in the output of
"terraform show -json". Without FILE, or with -, it is read from stdin.`, `  terraform show -json | rolecall import terraform --out config.yaml
  rolecall import terraform eks.tf`, migrate.FromTerraform),
		newImportUserMapper(),
	)
	return cmd
}

// importExit ends the help of every tool's command.
const importExit = `

The exit status is 0 if a config was made, also where not all has an equivalent,
else 1.`

// importFlags say where the config goes.
type importFlags struct {
	out string
	yes bool
}

func (f *importFlags) addTo(flags *pflag.FlagSet) {
	flags.StringVarP(&f.out, "out", "o", "", "file to write the config to (default: stdout)")
	flags.BoolVarP(&f.yes, "yes", "y", false, "write over --out without asking")
}

// isFile reports whether an argument is meant as a file, not as the name of a tool.
func isFile(arg string) bool {
	if _, err := os.Stat(arg); err == nil {
		return true
	}
	return arg == "-" || strings.ContainsAny(arg, `./\`)
}

// run makes a config of a file.
func (f *importFlags) run(cmd *cobra.Command, path string, from func(file string, data []byte) (*migrate.Result, error)) error {
	file, data, err := readInput(path, cmd.InOrStdin())
	if err != nil {
		return err
	}
	result, err := from(file, data)
	if err != nil {
		return tellProblems(cmd.ErrOrStderr(), err)
	}
	return f.write(cmd.Context(), result, cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr())
}

func newImportOf(name, of, long, example string, from func(file string, data []byte) (*migrate.Result, error)) *cobra.Command {
	var f importFlags
	cmd := &cobra.Command{
		Use:     name + " [FILE]",
		Short:   "Make a config of " + of,
		Long:    long + importExit,
		Example: example,
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			path := "-"
			if len(args) > 0 {
				path = args[0]
			}
			return f.run(cmd, path, from)
		},
	}
	f.addTo(cmd.Flags())
	return cmd
}

// fromFlags and fromEnvironment are where a setting was given, for notes.
const (
	fromFlags       = "flags"
	fromEnvironment = "environment"
)

func newImportUserMapper() *cobra.Command {
	var f importFlags
	cmd := &cobra.Command{
		Use:   "iam-eks-user-mapper [FILE]",
		Short: "Make a config of iam-eks-user-mapper's settings",
		Long: `Make a config of iam-eks-user-mapper's settings. FILE (- for stdin) is the values
of its Helm chart, its Deployment, or its environment as lines of NAME=VALUE.
Without FILE they are taken from this environment, where they have the names
that the tool gave them. Its flags stand over both.` + importExit,
		Example: `  rolecall import iam-eks-user-mapper values.yaml --out config.yaml
  kubectl -n kube-system get deployment iam-eks-user-mapper -o yaml | rolecall import iam-eks-user-mapper -
  rolecall import iam-eks-user-mapper --enable-group-user-sync --iam-k8s-groups 'Admins->system:masters,Devs->developers'`,
	}
	flags := cmd.Flags()
	f.addTo(flags)
	// Its own flags, with its own letters (iam-eks-user-mapper src/main.rs:31).
	own := pflag.NewFlagSet("", pflag.ContinueOnError)
	own.StringP("service-account-name", "s", "", "as iam-eks-user-mapper had it")
	own.StringP("aws-role-arn", "R", "", "as iam-eks-user-mapper had it")
	own.StringP("aws-access-key-id", "a", "", "as iam-eks-user-mapper had it")
	own.StringP("aws-secret-access-key", "k", "", "as iam-eks-user-mapper had it")
	own.StringP("aws-default-region", "r", "", "as iam-eks-user-mapper had it")
	own.StringP("refresh-interval-seconds", "i", "", "as iam-eks-user-mapper had it")
	own.StringP("admins-users-arns", "m", "", "as iam-eks-user-mapper had it: ARN,ARN")
	own.String("enable-group-user-sync", "", "as iam-eks-user-mapper had it")
	own.StringArrayP("iam-k8s-groups", "g", nil, "as iam-eks-user-mapper had it: IAM_GROUP->KUBERNETES_GROUP,...")
	own.String("enable-sso", "", "as iam-eks-user-mapper had it")
	own.String("iam-sso-role-arn", "", "as iam-eks-user-mapper had it")
	own.String("karpenter-role-arn", "", "as iam-eks-user-mapper had it")
	own.StringP("verbose", "v", "", "as iam-eks-user-mapper had it")
	for _, boolean := range []string{"enable-group-user-sync", "enable-sso", "verbose"} {
		own.Lookup(boolean).NoOptDefVal = "true"
	}
	flags.AddFlagSet(own)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		// Its README writes "--enable-sso true", of which its own parser and
		// this one take the second word for an argument of its own.
		args = slices.DeleteFunc(args, func(a string) bool { return a == "true" })
		if len(args) > 1 {
			return fmt.Errorf("%d files are given: give one, and booleans as --enable-sso=false", len(args))
		}
		var data []byte
		file := fromEnvironment + " and " + fromFlags
		var settings []migrate.Setting
		if len(args) == 1 {
			var err error
			if file, data, err = readInput(args[0], cmd.InOrStdin()); err != nil {
				return err
			}
		} else {
			for _, name := range migrate.UserMapperSettings() {
				if value, ok := os.LookupEnv(name); ok {
					settings = append(settings, migrate.Setting{Name: name, Value: value, From: fromEnvironment})
				}
			}
		}
		own.VisitAll(func(flag *pflag.Flag) {
			if !flag.Changed {
				return
			}
			value := flag.Value.String()
			if list, ok := flag.Value.(pflag.SliceValue); ok {
				value = strings.Join(list.GetSlice(), ",")
			}
			name := strings.ToUpper(strings.ReplaceAll(flag.Name, "-", "_"))
			settings = append(settings, migrate.Setting{Name: name, Value: value, From: fromFlags})
		})
		result, err := migrate.FromUserMapper(file, data, settings)
		if err != nil {
			return tellProblems(cmd.ErrOrStderr(), err)
		}
		return f.write(cmd.Context(), result, cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr())
	}
	return cmd
}

// readInput reads a file, or stdin for "-".
func readInput(path string, stdin io.Reader) (name string, data []byte, err error) {
	if path != "-" {
		data, err = os.ReadFile(path)
		return path, data, err
	}
	if f, ok := stdin.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return "", nil, errors.New("there is nothing to read: give a FILE, or pipe it into stdin")
	}
	data, err = io.ReadAll(stdin)
	if err != nil {
		return "", nil, fmt.Errorf("read stdin: %w", err)
	}
	return "stdin", data, nil
}

// tellProblems prints what is wrong with a file, each problem on a line of its
// own.
func tellProblems(stderr io.Writer, err error) error {
	problems := (*config.Error)(nil)
	if !errors.As(err, &problems) {
		return err
	}
	for _, p := range problems.Problems {
		fmt.Fprintln(stderr, visible.Text(p.String()))
	}
	return &exitCode{code: exitError}
}

// write writes the config and tells what has no equivalent.
func (f *importFlags) write(ctx context.Context, result *migrate.Result, stdin io.Reader, stdout, stderr io.Writer) error {
	for _, n := range result.Notes {
		complain(stderr, "note", n.String())
	}
	if f.out == "" || f.out == "-" {
		_, err := stdout.Write(result.Config)
		return err
	}
	if err := writeFile(ctx, f.out, result.Config, f.yes, stdin, stderr); err != nil {
		return err
	}
	fmt.Fprintf(stderr, "%s is written; see what it would change: rolecall plan --config %s\n", visible.Text(f.out), visible.Text(f.out))
	return nil
}

// writeFile writes a file, over one that is there only if a person says so.
func writeFile(ctx context.Context, path string, data []byte, yes bool, stdin io.Reader, stderr io.Writer) error {
	if _, err := os.Stat(path); err == nil && !yes {
		if err := confirm(ctx, stdin, stderr, fmt.Sprintf("Write over %s?", visible.Text(path))); err != nil {
			return fmt.Errorf("%s is there already: %w", path, err)
		}
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	return errors.Join(err, file.Close())
}
