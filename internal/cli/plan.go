package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"github.com/rolecall/rolecall/agent"
	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/config"
	"github.com/rolecall/rolecall/imds"
	"github.com/rolecall/rolecall/internal/plan"
	"github.com/rolecall/rolecall/internal/register"
	"github.com/rolecall/rolecall/internal/register/configmap"
	"github.com/rolecall/rolecall/internal/report"
	"github.com/rolecall/rolecall/internal/roster"
	"github.com/rolecall/rolecall/internal/source"
)

type planFlags struct {
	kube     kubeFlags
	config   string
	output   string
	timeout  time.Duration
	addOnly  bool
	logLevel slog.Level

	awsAuthNamespace, awsAuthName string
}

func newPlan() *cobra.Command {
	f := planFlags{logLevel: slog.LevelWarn}
	cmd := &cobra.Command{
		Use:   "plan",
		Short: "Show what the leader would change in aws-auth, and why",
		Long: `Show what the leader would change in aws-auth with a config: every entry that
would be added, changed or removed, with the source that asks for it, and the
difference of the text. Nothing is written.

Every source is asked as the leader would ask it: the roster and the ledger in
the cluster, IAM with the AWS credentials found here. A source that cannot be
asked is told on stderr; as with the leader, its entries stay as they are.

With --add-only it shows what a new leader does until its config has settled: it
adds entries, and changes and removes none. Where another installation of
rolecall writes aws-auth, the plan shows what the leader in the namespace of -n
would change after "rolecall handover".

The exit status is kubectl diff's: 0 if nothing would change, 1 if something
would, 2 if there is no plan.`,
		Example: `  rolecall plan --config config.yaml
  rolecall plan --config config.yaml --add-only
  rolecall plan --config config.yaml --context prod -o json | jq '.changes[] | select(.op == "remove")'`,
		Args: func(cmd *cobra.Command, args []string) error {
			if err := cobra.NoArgs(cmd, args); err != nil {
				return &exitCode{exitPlan, err}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := flagsFromEnvironment(cmd.Flags()); err != nil {
				return &exitCode{exitPlan, err}
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), f.timeout)
			defer cancel()
			differs, err := f.run(ctx, cmd.OutOrStdout(), cmd.ErrOrStderr())
			switch {
			case err != nil:
				return &exitCode{exitPlan, err}
			case differs:
				return &exitCode{code: exitDiffers}
			}
			return nil
		},
	}
	// A flag that is wrong must not look like a plan that differs.
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return &exitCode{exitPlan, cmd.Parent().FlagErrorFunc()(cmd, err)}
	})
	flags := cmd.Flags()
	f.kube.addTo(flags)
	flags.StringVar(&f.config, "config", "/etc/rolecall", "config file, or directory as a ConfigMap is mounted")
	flags.StringVarP(&f.output, "output", "o", "", "json or yaml; text if empty")
	flags.DurationVar(&f.timeout, "timeout", time.Minute, "for asking all sources")
	flags.BoolVar(&f.addOnly, "add-only", false, "show what a new leader does until its config has settled: it adds, and changes and removes nothing")
	flags.TextVar(&f.logLevel, "log-level", slog.LevelWarn, "debug, info, warn or error")
	flags.StringVar(&f.awsAuthNamespace, "aws-auth-namespace", awsauth.Namespace, "namespace of aws-auth")
	flags.StringVar(&f.awsAuthName, "aws-auth-name", awsauth.Name, "name of aws-auth")
	return cmd
}

// planIMDS is how long plan waits for IMDS, which most machines on which a
// person plans do not have.
const planIMDS = 2 * time.Second

func (f *planFlags) run(ctx context.Context, stdout, stderr io.Writer) (differs bool, err error) {
	switch f.output {
	case "", "json", "yaml":
	default:
		return false, fmt.Errorf("--output %q: write json or yaml, or leave it out", f.output)
	}
	log, err := newLogger(stderr, "text", f.logLevel)
	if err != nil {
		return false, err
	}
	bridgeKlog(log)
	file, err := config.Load(f.config)
	if errors.Is(err, fs.ErrNotExist) {
		return false, fmt.Errorf("%w with --config", err)
	}
	if err != nil {
		return false, err
	}
	for _, w := range file.Warnings {
		complain(stderr, "warning", w.String())
	}
	client, err := f.kube.client()
	if err != nil {
		return false, err
	}
	namespace := agentNamespace(f.kube.namespace)
	dirs := &directories{log: log}
	node, known := localNode(ctx, dirs)
	sources := source.NewSet(source.Kinds(), source.Env{
		Logger:     log,
		Self:       func() (source.Node, bool) { return node, known },
		Directory:  dirs.open,
		Instances:  dirs.instances,
		VPC:        localVPC(known),
		ProviderID: providerIDs(client.CoreV1().Nodes()),
		Now:        time.Now,
	})
	if err := sources.Refresh(ctx, &file.Config); err != nil {
		if ctx.Err() != nil {
			return false, err
		}
		log.Debug("a source could not be asked wholly", "err", err)
	}
	pipeline := agent.Reconciler{
		Register: configmap.New(configmap.Options{
			Client: client, Namespace: namespace, AWSAuthNamespace: f.awsAuthNamespace, AWSAuthName: f.awsAuthName, Unattended: true, Logger: log,
		}),
		Sources: sources,
		Roster:  roster.New(roster.Leases(client.CoordinationV1(), namespace)),
		Logger:  log,
		Now:     time.Now,
		AddOnly: f.addOnly,
	}
	out := pipeline.Plan(ctx, file)
	if out.Err != nil {
		return false, out.Err
	}
	if err := f.print(stdout, out); err != nil {
		return false, err
	}
	if problem := out.Problem(); problem != nil {
		complain(stderr, "warning", problem.Error())
	}
	if len(out.Asked.Errs) > 0 {
		complain(stderr, "warning", failedSources(out.Asked.Errs).Error())
	}
	return out.Change.Writes() || out.Observed.Restored != "", nil
}

// localNode asks IMDS once; only on a node does it answer.
func localNode(ctx context.Context, dirs *directories) (source.Node, bool) {
	ctx, cancel := context.WithTimeout(ctx, planIMDS)
	defer cancel()
	id, err := imds.New(imds.Options{AttemptTimeout: planIMDS / 2}).Identity(ctx)
	if err != nil {
		return source.Node{}, false
	}
	dirs.region.Store(&id.Region)
	dirs.nodeRole.Store(&id.RoleARN)
	return nodeOf(id), true
}

// localVPC asks IMDS for the VPC; nil where it has not answered before.
func localVPC(answers bool) func(context.Context) (string, error) {
	if !answers {
		return nil
	}
	return imds.New(imds.Options{AttemptTimeout: planIMDS / 2}).VPC
}

// planReport is a plan as -o json and -o yaml print it.
type planReport struct {
	APIVersion    string                `json:"apiVersion"`
	Kind          string                `json:"kind"`
	Changes       []plan.Change         `json:"changes"`
	Conflicts     []plan.Conflict       `json:"conflicts,omitempty"`
	Held          []plan.PendingRemoval `json:"held,omitempty"` // removals that wait for approval; not in changes
	Restored      string                `json:"restored,omitempty"`
	Refused       []awsauth.Entry       `json:"refused,omitempty"` // for which there is no room
	Left          []register.Left       `json:"leftOut,omitempty"`
	People        []register.Refused    `json:"refusedReports,omitempty"`
	AddOnly       report.Settling       `json:"addOnly,omitempty"`   // why it only adds
	ManagedBy     string                `json:"managedBy,omitempty"` // namespace of another installation that writes aws-auth
	Immutable     string                `json:"immutable,omitempty"` // aws-auth takes no write, and what to do
	FailedSources map[string]string     `json:"failedSources,omitempty"`
	Entries       []plan.Owned          `json:"entries"` // of ours after the write, with who asks for them
	Foreign       int                   `json:"foreignEntries"`
	Bytes         int                   `json:"bytes"`
	Data          map[string]string     `json:"data,omitempty"` // after the write; only where something changes
}

func (f *planFlags) print(w io.Writer, out *report.Result) error {
	if f.output == "" {
		return renderPlan(w, out, f.awsAuthNamespace+"/"+f.awsAuthName, colour(w))
	}
	c := out.Change
	printed := planReport{
		APIVersion: config.APIVersion, Kind: "Plan", Changes: c.Changes, Conflicts: c.Conflicts, Held: c.Removals, Restored: out.Observed.Restored,
		Refused: c.NoRoom, Left: c.Left, People: c.Refused, AddOnly: out.Settling, Entries: c.Managed, Foreign: c.Unmanaged, Bytes: c.Size,
	}
	if printed.Changes == nil {
		printed.Changes = []plan.Change{}
	}
	if c.Writes() || out.Observed.Restored != "" {
		printed.Data = c.Texts
	}
	if elsewhere := out.Observed.Elsewhere; elsewhere != nil {
		printed.ManagedBy = elsewhere.Owner
	}
	if fixed := out.Observed.Immutable; fixed != nil {
		printed.Immutable = fixed.Error()
	}
	for name, err := range out.Asked.Errs {
		if printed.FailedSources == nil {
			printed.FailedSources = map[string]string{}
		}
		printed.FailedSources[name] = err.Error()
	}
	return printObject(w, f.output, printed)
}
