package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	versioncollector "github.com/prometheus/client_golang/prometheus/collectors/version"
	"github.com/prometheus/common/version"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/rolecall/rolecall/agent"
	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/config"
	"github.com/rolecall/rolecall/election"
	"github.com/rolecall/rolecall/imds"
	"github.com/rolecall/rolecall/internal/aws"
	"github.com/rolecall/rolecall/internal/register"
	"github.com/rolecall/rolecall/internal/register/configmap"
	"github.com/rolecall/rolecall/internal/report"
	"github.com/rolecall/rolecall/internal/roster"
	"github.com/rolecall/rolecall/internal/source"
)

// The names that the manifests have.
const (
	defaultLeaseName = "rolecall"
	defaultDaemonSet = "rolecall"
)

// agentFlags are the flags of the agent; each is also ROLECALL_<FLAG>.
type agentFlags struct {
	config      string
	kubeconfig  string
	namespace   string
	nodeName    string
	httpAddress string
	statusPage  string

	leaseName     string
	leaseDuration time.Duration
	renewDeadline time.Duration
	retryPeriod   time.Duration
	settleTime    time.Duration
	giveWayAfter  time.Duration
	daemonSet     string
	agents        int

	reportOnly bool
	once       bool

	logLevel  slog.Level
	logFormat string

	awsAuthNamespace string
	awsAuthName      string
}

func (f *agentFlags) addTo(flags *pflag.FlagSet) {
	flags.StringVar(&f.config, "config", "/etc/rolecall", "config file, or directory as a ConfigMap is mounted")
	flags.StringVar(&f.kubeconfig, "kubeconfig", "", "path of a kubeconfig (default: the pod's ServiceAccount)")
	flags.StringVar(&f.namespace, "namespace", "", "namespace of the leases and the ledger (default: POD_NAMESPACE, else the pod's, else "+defaultNamespace+")")
	flags.StringVar(&f.nodeName, "node-name", "", "this node's name (default: NODE_NAME, else the host's name)")
	flags.StringVar(&f.httpAddress, "http-address", ":9465", "address of /metrics, /healthz and /readyz; empty for none")
	flags.StringVar(&f.statusPage, "status-page", "", "loopback address of a page for people, such as 127.0.0.1:9466; empty for none")
	flags.StringVar(&f.leaseName, "lease-name", defaultLeaseName, "name of the leader's Lease")
	flags.DurationVar(&f.leaseDuration, "lease-duration", election.DefaultLeaseDuration, "how long standbys wait for a leader that is silent")
	flags.DurationVar(&f.renewDeadline, "renew-deadline", election.DefaultRenewDeadline, "how long a leader tries to renew before it stops")
	flags.DurationVar(&f.retryPeriod, "retry-period", election.DefaultRetryPeriod, "pause between two tries to renew or take the Lease")
	flags.DurationVar(&f.settleTime, "settle-time", 2*time.Minute, "how long a new leader only adds if its config differs from the one applied last; kubelets update mounts up to 2 minutes apart")
	flags.DurationVar(&f.giveWayAfter, "give-way-after", agent.DefaultGiveWayAfter, "how long a leader that cannot do its work keeps the Lease before it lets another agent try")
	flags.StringVar(&f.daemonSet, "daemonset", defaultDaemonSet, "DaemonSet whose size tells how many agents there are; empty for none")
	flags.IntVar(&f.agents, "agents", 0, "how many agents there are, where there is no DaemonSet")
	flags.BoolVar(&f.reportOnly, "report-only", false, "report this node's role and never lead")
	flags.BoolVar(&f.once, "once", false, "report, make one pass over aws-auth without an election, and exit")
	flags.TextVar(&f.logLevel, "log-level", slog.LevelInfo, "debug, info, warn or error")
	flags.StringVar(&f.logFormat, "log-format", "auto", "auto (text on a terminal, else json), text or json")
	flags.StringVar(&f.awsAuthNamespace, "aws-auth-namespace", awsauth.Namespace, "namespace of aws-auth")
	flags.StringVar(&f.awsAuthName, "aws-auth-name", awsauth.Name, "name of aws-auth")
}

func newAgent() *cobra.Command {
	var f agentFlags
	cmd := &cobra.Command{
		Use:   "agent",
		Short: "Report this node's role, stand for election, and as leader keep aws-auth right",
		Long: `The agent runs on every node. It reads the node's IAM role from IMDS and reports
it, stands for election, and while it leads merges what the config asks for into
aws-auth. It watches the config and aws-auth, and never gives up: a config that
cannot be read or a node without IMDS is logged and tried again.

Every flag can be given as ROLECALL_<FLAG> in the environment, such as
ROLECALL_LEASE_NAME; a flag on the command line wins. AWS endpoints and
credentials come from the AWS SDK's own environment.

The exit status is 0 after SIGTERM or an interrupt, and with --once if the pass
was made and every source answered, else 1.`,
		Example: `  rolecall agent --config=/etc/rolecall
  rolecall agent --once --config=config.yaml --kubeconfig=$HOME/.kube/config --namespace=rolecall-system`,
		Args: cobra.NoArgs,
		PreRunE: func(cmd *cobra.Command, _ []string) error {
			if err := flagsFromEnvironment(cmd.Flags()); err != nil {
				return err
			}
			return f.complete()
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f.addTo(cmd.Flags())
	return cmd
}

// complete fills in what depends on the place and refuses what cannot work.
func (f *agentFlags) complete() error {
	f.namespace = agentNamespace(f.namespace)
	if f.nodeName == "" {
		f.nodeName = os.Getenv("NODE_NAME")
	}
	if f.nodeName == "" {
		host, err := os.Hostname()
		if err != nil {
			return fmt.Errorf("the node's name is unknown: give --node-name: %w", err)
		}
		f.nodeName = strings.ToLower(host)
	}
	if f.once && f.reportOnly {
		return errors.New("--once and --report-only exclude each other: choose one")
	}
	if err := checkPageAddress(f.statusPage); err != nil {
		return err
	}
	if f.giveWayAfter <= 0 {
		return fmt.Errorf("--give-way-after %s: write a duration above 0, for example %s", f.giveWayAfter, agent.DefaultGiveWayAfter)
	}
	if f.agents < 0 {
		return fmt.Errorf("--agents %d: write how many agents there are", f.agents)
	}
	return nil
}

// process is an agent with its parts.
type process struct {
	flags    *agentFlags
	log      *slog.Logger
	registry *prometheus.Registry
	client   kubernetes.Interface
	reporter *agent.Reporter
	leader   *agent.Leader
	config   *config.Watcher
	elector  *election.Elector
	dirs     *directories
	imdsErr  func() error // why IMDS has not answered yet
	vpc      func(context.Context) (string, error)
}

func (f *agentFlags) run(ctx context.Context, _, stderr io.Writer) error {
	log, err := newLogger(stderr, f.logFormat, f.logLevel)
	if err != nil {
		return err
	}
	bridgeKlog(log)
	limitMemory()
	p, err := f.assemble(log)
	if err != nil {
		return err
	}
	log.Info("starting", "node", f.nodeName, "namespace", f.namespace, "config", f.config, "report_only", f.reportOnly)
	if f.once {
		return p.once(ctx)
	}
	return p.run(ctx)
}

// assemble makes the parts. It starts nothing and makes no request.
func (f *agentFlags) assemble(log *slog.Logger) (*process, error) {
	kube := kubeFlags{kubeconfig: f.kubeconfig}
	rest, err := kube.config()
	if err != nil {
		return nil, err
	}
	client, err := kubernetes.NewForConfig(rest)
	if err != nil {
		return nil, fmt.Errorf("connect to the cluster: %w", err)
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), versioncollector.NewCollector(program))

	p := &process{flags: f, log: log, registry: registry, client: client}
	p.dirs = &directories{log: log, registerer: registry}
	metadata := imds.New(imds.Options{Logger: log})
	p.vpc = knownVPC(metadata.VPC)
	nodes := roster.New(roster.Leases(client.CoordinationV1(), f.namespace))
	p.reporter = &agent.Reporter{
		Identify:   p.identify(metadata),
		Report:     nodes.Report,
		NodeName:   f.nodeName,
		Logger:     log,
		Registerer: registry,
	}
	if f.reportOnly {
		p.reporter.LookAgain = reportOnlyLook
		return p, nil
	}
	identity := election.Identity(f.nodeName)
	p.config = config.NewWatcher(f.config, config.Options{Logger: log, Registerer: registry})
	p.leader = agent.NewLeader(agent.Options{
		Register:     p.newRegister,
		Env:          p.env(),
		Roster:       nodes,
		WatchRoster:  nodes.Watch,
		Events:       p.startEvents,
		Identity:     identity,
		Version:      version.Version,
		ConfigError:  p.configError,
		SettleTime:   f.settleTime,
		GiveWayAfter: f.giveWayAfter,
		Election: func() (agents, gaveUp int) {
			s := p.elector.Status()
			return s.Agents, s.GaveUp
		},
		Logger:     log,
		Registerer: registry,
	})
	// Renewals have a connection of their own: one that queues behind other
	// requests is a lost lease. It is made by the first write of the Lease. Without a
	// dialer of its own, client-go would have clients of the same configuration share
	// one.
	own := tuned(rest)
	own.Dial = (&net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}).DialContext
	leases, err := kubernetes.NewForConfig(own)
	if err != nil {
		return nil, fmt.Errorf("connect to the cluster: %w", err)
	}
	p.elector, err = election.New(election.Config{
		Client:        leases.CoordinationV1(),
		Reader:        client.CoordinationV1(),
		Namespace:     f.namespace,
		Name:          f.leaseName,
		Identity:      identity,
		LeaseDuration: f.leaseDuration,
		RenewDeadline: f.renewDeadline,
		RetryPeriod:   f.retryPeriod,
		Agents:        f.agents,
		CountAgents:   p.countAgents(),
		Annotations:   map[string]func() string{report.StatusAnnotation: p.leader.Published},
		SetBack:       p.reporter.Again,
		Logger:        log,
		Registerer:    registry,
	})
	return p, err
}

// env is what sources are made with.
func (p *process) env() source.Env {
	return source.Env{
		Self: p.reporter.Self, Directory: p.dirs.open, Instances: p.dirs.instances, VPC: p.vpc, ProviderID: providerIDs(p.client.CoreV1().Nodes()),
		Advice: aws.Unanswered,
	}
}

// newRegister makes aws-auth for one term.
func (p *process) newRegister(wrote func(object string, err error)) register.Register {
	return configmap.New(p.registerOptions(wrote))
}

func (p *process) registerOptions(wrote func(object string, err error)) configmap.Options {
	return configmap.Options{
		Client:           p.client,
		Namespace:        p.flags.namespace,
		AWSAuthNamespace: p.flags.awsAuthNamespace,
		AWSAuthName:      p.flags.awsAuthName,
		NodeName:         p.flags.nodeName,
		KeepWrites:       p.flags.keepWrites(),
		Wrote:            wrote,
		Logger:           p.log,
	}
}

// startEvents records Events on aws-auth until ctx ends.
func (p *process) startEvents(ctx context.Context) (*report.Events, func()) {
	on := &corev1.ConfigMap{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"},
		ObjectMeta: metav1.ObjectMeta{Namespace: p.flags.awsAuthNamespace, Name: p.flags.awsAuthName},
	}
	return report.StartEvents(ctx, p.client.CoreV1().Events(p.flags.awsAuthNamespace), p.flags.nodeName, on)
}

// reportOnlyLook is how often an agent that reads no election's Lease looks at its
// report: 5,000 of them make six requests a second.
const reportOnlyLook = 15 * time.Minute

// configError is since when an edit of the config is refused, and why.
func (p *process) configError() (since time.Time, err error) {
	s := p.config.Status()
	return s.ErrSince, s.Err
}

// identify asks IMDS until it answers, and logs each new reason why it does
// not. With --once it is asked once, which takes 10 s at most: the machine may
// be none of the cluster's nodes.
func (p *process) identify(client *imds.Client) func(context.Context) (source.Node, error) {
	var last errorBox
	p.imdsErr = last.get
	ask := func(ctx context.Context) (imds.Identity, error) {
		return client.Wait(ctx, func(err error) {
			last.set(err)
			p.log.Warn("the node's role is unknown, asking on; the agent stands for election all the same", "err", err)
		})
	}
	if p.flags.once {
		ask = client.Identity
	}
	return func(ctx context.Context) (source.Node, error) {
		id, err := ask(ctx)
		if err != nil {
			return source.Node{}, err
		}
		last.set(nil)
		p.dirs.region.Store(&id.Region)
		p.dirs.nodeRole.Store(&id.RoleARN)
		return nodeOf(id), nil
	}
}

// countAgents reads the DaemonSet's size, where there is a DaemonSet.
func (p *process) countAgents() func(context.Context) (int, error) {
	if p.flags.daemonSet == "" {
		return nil
	}
	return func(ctx context.Context) (int, error) {
		ds, err := p.client.AppsV1().DaemonSets(p.flags.namespace).Get(ctx, p.flags.daemonSet, metav1.GetOptions{})
		if err != nil {
			return 0, fmt.Errorf("read DaemonSet %s: %w", p.flags.daemonSet, err)
		}
		return int(ds.Status.DesiredNumberScheduled), nil
	}
}

// run runs all parts until ctx ends.
func (p *process) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	if p.flags.httpAddress != "" {
		listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", p.flags.httpAddress)
		if err != nil {
			return fmt.Errorf("listen for metrics and health: %w: give another --http-address", err)
		}
		p.log.Info("serving metrics and health", "address", listener.Addr().String())
		server := agent.Server{Gatherer: p.registry, Alive: p.alive(), Ready: p.ready()}
		g.Go(func() error { return server.Serve(ctx, listener) })
	}
	if p.flags.statusPage != "" {
		g.Go(func() error { return p.servePage(ctx) })
	}
	g.Go(func() error { return slim(ctx, p.log) })
	g.Go(func() error { return p.reporter.Run(ctx) })
	if p.leader != nil {
		first := make(chan struct{})
		loaded := false
		g.Go(func() error {
			return p.config.Run(ctx, func(file *config.File) {
				p.leader.Apply(file)
				if !loaded {
					loaded = true
					close(first)
				}
			})
		})
		g.Go(func() error {
			select { // who has no config yet cannot lead
			case <-first:
				return p.elector.Run(ctx, onAllCores(p.leader.Lead))
			case <-ctx.Done():
				return nil
			}
		})
	}
	err := g.Wait()
	if err != nil {
		p.log.Error("stopped", "err", err)
		return &exitCode{code: exitError}
	}
	p.log.Info("stopped")
	return nil
}

// once reports this node's role if it has one, makes one pass and says what
// came of it. A source that failed makes the exit status 1, after all that
// could be done was done.
func (p *process) once(ctx context.Context) error {
	file, err := config.Load(p.flags.config)
	if err != nil {
		return err
	}
	for _, w := range file.Warnings {
		p.log.Warn("config", "problem", w.String())
	}
	if err := p.reporter.Once(ctx); err != nil {
		p.log.Warn("this node's role is not reported", "err", err)
	}
	env := p.env()
	env.Logger, env.Now = p.log, time.Now
	sources := source.NewSet(source.Kinds(), env)
	if err := sources.Refresh(ctx, &file.Config); err != nil {
		if ctx.Err() != nil {
			return err
		}
		p.log.Debug("a source could not be asked wholly", "err", err)
	}
	options := p.registerOptions(nil)
	options.Unattended = true
	pipeline := agent.Reconciler{
		Register: configmap.New(options), Sources: sources, Roster: roster.New(roster.Leases(p.client.CoordinationV1(), p.flags.namespace)), Logger: p.log, Now: time.Now,
	}
	out := pipeline.Reconcile(ctx, file, true)
	report.NewTeller(p.log, nil).Tell(out)
	switch {
	case out.Err != nil:
		return out.Err
	case out.Problem() != nil:
		return out.Problem()
	case !out.Wrote:
		p.log.Info("aws-auth is right as it is")
	}
	if len(out.Asked.Errs) > 0 {
		return failedSources(out.Asked.Errs)
	}
	return nil
}

// alive is bad where the work is stuck, not where this agent does not lead.
func (p *process) alive() []agent.Check {
	if p.leader == nil {
		return nil
	}
	return []agent.Check{{Name: "work", Look: p.leader.Alive}}
}

func (p *process) ready() []agent.Check {
	checks := []agent.Check{{Name: "node-role", Look: func() (agent.Health, string) {
		if node, ok := p.reporter.Self(); ok {
			return agent.Good, node.RoleARN
		}
		if err := p.imdsErr(); err != nil {
			return agent.Notice, err.Error()
		}
		return agent.Notice, "IMDS has not answered yet"
	}}}
	if p.leader == nil {
		return checks
	}
	return append(checks,
		agent.Check{Name: "config", Look: func() (agent.Health, string) { return configHealth(p.config.Status()) }},
		agent.Check{Name: "election", Look: func() (agent.Health, string) {
			s := p.elector.Status()
			switch {
			case s.Mode == election.Leading:
				return agent.Good, "leading"
			case s.Seen.IsZero() && s.Err != nil:
				return agent.Bad, s.Err.Error()
			case s.Seen.IsZero():
				return agent.Good, "standing by, the Lease has not been read yet"
			case s.Err != nil:
				return agent.Notice, s.Err.Error()
			}
			return agent.Good, fmt.Sprintf("%s, %q leads", s.Mode, s.Leader)
		}},
		agent.Check{Name: "reconcile", Look: func() (agent.Health, string) { return reconcileHealth(p.leader.View()) }},
		agent.Check{Name: "sources", Look: func() (agent.Health, string) { return sourcesHealth(p.leader.View(), time.Now()) }})
}

// sourcesHealth says how a leader's sources do: the first one that fails, and how many
// there are. An agent that does not lead asks none. It is a notice, since what could be
// asked is done.
func sourcesHealth(view *report.View, now time.Time) (agent.Health, string) {
	if view == nil {
		return agent.Good, ""
	}
	failing, first := 0, ""
	for _, s := range view.Last.Asked.States {
		if s.Err == nil {
			continue
		}
		if failing++; failing > 1 {
			continue
		}
		silent := (*source.SilentError)(nil)
		if errors.As(s.Err, &silent) {
			first = fmt.Sprintf("%s: no answer for %s: %s", s.Name, now.Sub(silent.Since).Round(time.Second), silent.Advice)
		} else {
			first = fmt.Sprintf("%s has failed for %s: %v", s.Name, now.Sub(s.Since).Round(time.Second), s.Err)
		}
	}
	switch failing {
	case 0:
		return agent.Good, ""
	case 1:
		return agent.Notice, first
	}
	return agent.Notice, fmt.Sprintf("%d sources fail, the first of them %s", failing, first)
}

// reconcileHealth says how a leader's last reconcile went; an agent that does not lead
// has none. All that a person should look at is a notice: another agent could do no
// better.
func reconcileHealth(view *report.View) (agent.Health, string) {
	if view == nil {
		return agent.Good, ""
	}
	r := view.Last
	switch problem := r.Problem(); {
	case problem != nil:
		return agent.Notice, problem.Error()
	case len(r.Change.Left) > 0:
		left := &r.Change.Left[0]
		return agent.Notice, fmt.Sprintf("%s left out, the first of them the %s of %s: %s",
			counted(len(r.Change.Left), "change is", "changes are"), left.Op, left.Entry.ARN, left.Why)
	case r.Settling != report.Settled:
		return agent.Notice, "it only adds: " + settlingText(r.Settling)
	}
	return agent.Good, string(r.Outcome())
}

// configHealth says how the config stands. A refused edit is a notice: the
// last good config is in force, so taking the agent out would help nobody.
func configHealth(s config.Status) (agent.Health, string) {
	switch {
	case s.Current == nil && s.Err != nil:
		return agent.Bad, s.Err.Error()
	case s.Current == nil:
		return agent.Bad, "it has not been read yet"
	case s.Err != nil:
		return agent.Notice, fmt.Sprintf("refused since %s, the last good one (%.12s) is in force: %v", s.ErrSince.UTC().Format(time.RFC3339), s.Current.Hash, s.Err)
	case s.SubPath:
		return agent.Notice, "it is mounted with subPath, so edits never arrive: mount the whole ConfigMap as a directory"
	}
	return agent.Good, fmt.Sprintf("%.12s since %s", s.Current.Hash, s.LoadedAt.UTC().Format(time.RFC3339))
}
