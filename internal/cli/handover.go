package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/config"
	"github.com/rolecall/rolecall/internal/register/configmap"
	"github.com/rolecall/rolecall/internal/visible"
)

const (
	// handoverManager is the name under which the API server records a handover.
	handoverManager = "rolecall-handover"

	// handoverTries is how often aws-auth is read again if others write meanwhile.
	handoverTries = 5
)

type handoverFlags struct {
	objects   objectFlags
	leaseName string
	yes       bool
	force     bool
	output    string
	dryRun    dryRun
}

func newHandover() *cobra.Command {
	var f handoverFlags
	cmd := &cobra.Command{
		Use:   "handover",
		Short: "Hand aws-auth over to the installation in a namespace",
		Long: `One installation of rolecall writes aws-auth. The annotation
` + configmap.InstallationAnnotation + ` on aws-auth names it by its namespace. Any other
installation that finds the annotation writes nothing, and says so in its log, an
Event, the metric rolecall_managed_elsewhere and "rolecall status".

This command sets the annotation to the namespace of -n. It changes nothing else
of aws-auth. It shows which installation manages aws-auth now and which one is to
manage it, and asks. The other installation stops writing as soon as its leader
sees the change. The new one adds what its config asks for, and removes managed
entries that its config does not ask for, within safety.removalLimit. Unmanaged
entries stay. Before the handover, "rolecall plan -n NAMESPACE" with the config of
the new installation shows what its leader would change.

The command refuses a namespace in which no leader runs, because aws-auth would
then have no installation that writes it. --force hands it over all the same.

It takes the rights to get and update aws-auth, and to get the leader's Lease in
the namespace. With --force the Lease is not read.

The exit status is 0 if the installation manages aws-auth now, else 1: also if the
answer is no.`,
		Example: `  rolecall handover -n rolecall-system --dry-run     # which installation has it, which one would get it?
  rolecall plan -n rolecall-system --config config.yaml
  rolecall handover -n rolecall-system               # show it, ask, hand it over
  rolecall handover -n rolecall-system --yes         # from a script`,
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkOutput(f.output, "table", "json", "yaml"); err != nil {
				return err
			}
			o, err := f.objects.objects()
			if err != nil {
				return err
			}
			return f.run(cmd.Context(), o, cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	flags := cmd.Flags()
	f.objects.addTo(flags)
	f.objects.own.StringVar(&f.leaseName, "lease-name", defaultLeaseName, "name of the Lease that elects the leader")
	flags.AddFlagSet(f.objects.own)
	flags.BoolVarP(&f.yes, "yes", "y", false, "do not ask")
	flags.BoolVar(&f.force, "force", false, "hand it over although no leader is known to run in the namespace")
	flags.StringVarP(&f.output, "output", "o", "", "table, json or yaml")
	f.dryRun.addTo(flags)
	return cmd
}

// text reports whether the output is for a person.
func (f *handoverFlags) text() bool { return f.output == "" || f.output == "table" }

// A handover is what is done, as -o json and -o yaml print it.
type handover struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	AWSAuth    string `json:"awsAuth"`          // with its namespace
	From       string `json:"from,omitempty"`   // namespace of the installation; missing where aws-auth names none
	To         string `json:"to"`               // likewise
	Leader     string `json:"leader,omitempty"` // node whose agent leads the new installation; missing where it was not looked up
	Changed    bool   `json:"changed"`
	DryRun     dryRun `json:"dryRun,omitempty"`
}

func (f *handoverFlags) run(ctx context.Context, o *objects, stdin io.Reader, stdout, stderr io.Writer) error {
	preview := stdout
	if !f.text() {
		preview = stderr
	}
	h := &handover{APIVersion: config.APIVersion, Kind: "Handover", AWSAuth: o.name(), To: o.namespace}
	if f.dryRun != dryRunNone {
		h.DryRun = f.dryRun
	}
	shown := ""
	for try := 1; ; try++ {
		live, err := f.read(ctx, o)
		if err != nil {
			return err
		}
		h.From = live.Annotations[configmap.InstallationAnnotation]
		if h.Changed = h.From != h.To; !h.Changed {
			fmt.Fprintf(preview, "%s is managed by the installation in namespace %s already\n", visible.Text(h.AWSAuth), visible.Text(h.To))
			break
		}
		if h.Leader == "" && !f.force {
			if h.Leader, err = f.leader(ctx, o); err != nil {
				return err
			}
		}
		// What others have written meanwhile, the person has not seen.
		if text := h.render(newPalette(colour(preview))); text != shown {
			fmt.Fprint(preview, text)
			shown = text
			if !f.yes && f.dryRun == dryRunNone {
				question := fmt.Sprintf("Hand %s over to the installation in namespace %s?", visible.Text(h.AWSAuth), visible.Text(h.To))
				if err := confirm(ctx, stdin, stderr, question); err != nil {
					return err
				}
			}
		}
		err = f.write(ctx, o, live)
		switch {
		case err == nil:
			fmt.Fprintf(preview, "%s handed over to the installation in namespace %s%s\n", visible.Text(h.AWSAuth), visible.Text(h.To), f.dryRun.note())
		case !errors.Is(err, awsauth.ErrConflict):
			return err
		case try == handoverTries:
			return fmt.Errorf("%w: %d times in a row; find out who writes it with rolecall history", err, try)
		default:
			continue
		}
		break
	}
	if !f.text() {
		return printObject(stdout, f.output, h)
	}
	return nil
}

// read is aws-auth as it stands.
func (f *handoverFlags) read(ctx context.Context, o *objects) (*corev1.ConfigMap, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	live, exists, err := o.awsAuth(handoverManager, dryRunNone).Read(ctx)
	if err == nil && !exists {
		return nil, fmt.Errorf("there is no %s to hand over: if it was deleted, its installation restores it: run the command again then; otherwise the first leader that writes it manages it", o.name())
	}
	return live, err
}

// leader is the node whose agent leads the installation that is to manage aws-auth.
func (f *handoverFlags) leader(ctx context.Context, o *objects) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	s := surveyor{objects: o, leaseName: f.leaseName}
	lease, stale, err := s.lease(ctx)
	switch {
	case apierrors.IsNotFound(err):
		return "", fmt.Errorf("namespace %s has no installation of rolecall: there is no Lease %s in it, and after a handover no installation would write %s: give the agents' namespace with -n, or --force", o.namespace, f.leaseName, o.name())
	case err != nil:
		return "", fmt.Errorf("read Lease %s in namespace %s, to see whether a leader runs there: %w; --force hands over without it", f.leaseName, o.namespace, err)
	case holder(lease) == "" || stale:
		return "", fmt.Errorf("no leader runs in namespace %s, and after a handover no installation would write %s: see why with rolecall status -n %s, or give --force", o.namespace, o.name(), o.namespace)
	}
	node, _, _ := strings.Cut(holder(lease), "_")
	return node, nil
}

// render shows a person who gives aws-auth and who gets it, and what that means.
func (h *handover) render(c palette) string {
	var b bytes.Buffer
	from, to, name := visible.Text(h.From), visible.Text(h.To), visible.Text(h.AWSAuth)
	if from == "" {
		from = "no installation is named"
	}
	fmt.Fprintf(&b, "%s\n  managed now by   %s\n  and then by      %s", name, from, to)
	if h.Leader != "" {
		fmt.Fprintf(&b, ", whose leader is on node %s", visible.Text(h.Leader))
	}
	b.WriteByte('\n')
	if h.From != "" {
		fmt.Fprintf(&b, "%s! The installation in namespace %s writes nothing more after its next reconcile.%s\n", c.yellow, from, c.reset)
	}
	fmt.Fprintf(&b, "%s! The leader in namespace %s then removes managed entries that its config does not ask for, within safety.removalLimit.%s\n", c.yellow, to, c.reset)
	fmt.Fprintf(&b, "  See what it would change: rolecall plan -n %s --config FILE, with the config of that installation.\n", to)
	return b.String()
}

// write sets the annotation, by the resourceVersion that was read.
func (f *handoverFlags) write(ctx context.Context, o *objects, live *corev1.ConfigMap) error {
	if f.dryRun == dryRunClient {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	next := live.DeepCopy()
	metav1.SetMetaDataAnnotation(&next.ObjectMeta, configmap.InstallationAnnotation, o.namespace)
	_, err := o.awsAuth(handoverManager, f.dryRun).Put(ctx, next)
	return err
}
