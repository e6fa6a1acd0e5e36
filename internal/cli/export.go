package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/internal/migrate"
	"github.com/rolecall/rolecall/internal/visible"
)

// exportManager is the name under which nothing is ever recorded: an export
// only reads.
const exportManager = "rolecall-export"

func newExport() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Write what aws-auth says in another form",
		Long: `Write what aws-auth says in another form: see the commands below.

The exit status is 0, or 1 where something could not be written.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newExportAccessEntries())
	return cmd
}

type exportFlags struct {
	objects objectFlags
	file    string
	cluster string
	region  string
	sso     string
	output  string
	out     string
	yes     bool
}

func newExportAccessEntries() *cobra.Command {
	var f exportFlags
	cmd := &cobra.Command{
		Use:   "access-entries --cluster NAME",
		Short: "Write EKS access entries that let in whom aws-auth lets in",
		Long: `Write EKS access entries that let in whom aws-auth lets in: roles of nodes as
EC2_LINUX, EC2_WINDOWS, FARGATE_LINUX or HYBRID_LINUX, system:masters as the
access policy AmazonEKSClusterAdminPolicy, other groups as they are. What access
entries cannot express is told on stderr and in comments: EKS takes no
service-linked roles, no groups that begin with system:, and not every username.

An access entry that exists is never changed and never gets a policy. The script
of awscli looks and says what it has; the other tools fail for it.

The roles of permission sets have a path that names the region of IAM Identity
Center: give it with --identity-center-region. The script of awscli asks IAM.

aws-auth is read from the cluster, or from --filename: its manifest, its mapRoles
and mapUsers, eksctl's ClusterConfig, a config of rolecall, or objects of another
controller that "rolecall import" reads. Nothing is written to the cluster and AWS is not asked: what is printed does the work, once you run
it. Run again it makes the same, in the same order.

The exit status is 0 if all was written that access entries can express, else 1.`,
		Example: `  rolecall export access-entries --cluster prod > entries.sh   # look at it, then: bash entries.sh
  rolecall export access-entries --cluster prod -o terraform --out access_entries.tf
  rolecall export access-entries --cluster prod -o cloudformation -f aws-auth.yaml
  rolecall export access-entries --cluster prod --region eu-west-3 -o eksctl --identity-center-region us-east-1`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.export(cmd.Context(), cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	flags := cmd.Flags()
	f.objects.addTo(flags)
	flags.StringVarP(&f.file, "filename", "f", "", "file to read in place of the cluster's aws-auth; - for stdin")
	flags.StringVar(&f.cluster, "cluster", "", "name of the EKS cluster (required)")
	flags.StringVar(&f.region, "region", "", "its region (needed for -o eksctl)")
	flags.StringVar(&f.sso, "identity-center-region", "", "region of IAM Identity Center, which the paths of its roles name (default: --region, else us-east-1)")
	flags.StringVarP(&f.output, "output", "o", "awscli", strings.Join(migrate.ExportFormats(), ", "))
	flags.StringVar(&f.out, "out", "", "file to write to (default: stdout)")
	flags.BoolVarP(&f.yes, "yes", "y", false, "write over --out without asking")
	return cmd
}

func (f *exportFlags) export(ctx context.Context, stdin io.Reader, stdout, stderr io.Writer) error {
	if f.cluster == "" {
		return errors.New("--cluster is missing: give the name of the EKS cluster that the access entries are for")
	}
	if err := migrate.CheckCluster(f.cluster); err != nil {
		return fmt.Errorf("--cluster: %w", err)
	}
	if f.region != "" {
		if err := migrate.CheckRegion(f.region); err != nil {
			return fmt.Errorf("--region: %w", err)
		}
	} else if f.output == "eksctl" {
		return errors.New("--region is missing: a ClusterConfig of eksctl names the cluster's region")
	}
	if f.sso != "" {
		if err := migrate.CheckRegion(f.sso); err != nil {
			return fmt.Errorf("--identity-center-region: %w", err)
		}
	}
	if err := checkOutput(f.output, migrate.ExportFormats()...); err != nil {
		return err
	}
	x := migrate.Export{Cluster: f.cluster, Region: f.region, IdentityCenterRegion: f.sso}
	listed, err := f.listed(ctx, &x, stdin, stderr)
	if err != nil {
		return err
	}
	var notes []string
	x.Entries, notes = migrate.AccessEntries(listed)
	x.Notes = append(x.Notes, notes...)
	text, err := x.Write(f.output)
	if err != nil {
		return err
	}
	for _, n := range x.AllNotes() {
		complain(stderr, "note", n)
	}
	if f.out == "" || f.out == "-" {
		_, err = io.WriteString(stdout, text)
		return err
	}
	if err := writeFile(ctx, f.out, []byte(text), f.yes, stdin, stderr); err != nil {
		return err
	}
	fmt.Fprintf(stderr, "%s is written: %d access entries\n", visible.Text(f.out), len(x.Entries))
	return nil
}

// listed reads the entries, and says in the export where they come from.
func (f *exportFlags) listed(ctx context.Context, x *migrate.Export, stdin io.Reader, stderr io.Writer) ([]awsauth.Listed, error) {
	if f.file != "" {
		file, data, err := readInput(f.file, stdin)
		if err != nil {
			return nil, err
		}
		listed, notes, err := migrate.Listing(file, data)
		if err != nil {
			return nil, tellProblems(stderr, err)
		}
		for _, n := range notes {
			x.Notes = append(x.Notes, n.String())
		}
		x.From = file
		return listed, nil
	}
	o, err := f.objects.objects()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	cm, exists, err := o.awsAuth(exportManager, dryRunNone).Read(ctx)
	if err != nil {
		return nil, err
	}
	if !exists {
		return nil, fmt.Errorf("there is no %s in the cluster: give a file with -f, or see rolecall history", o.name())
	}
	doc, err := awsauth.Parse(cm.Data)
	if err != nil {
		return nil, fmt.Errorf("%s cannot be read, so it lets nobody in: mend it first: %w", o.name(), err)
	}
	x.From = o.name()
	return doc.Entries(), nil
}
