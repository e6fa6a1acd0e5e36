package cli

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/util/retry"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/config"
	"github.com/rolecall/rolecall/internal/plan"
	"github.com/rolecall/rolecall/internal/register/configmap"
	"github.com/rolecall/rolecall/internal/report"
	"github.com/rolecall/rolecall/internal/visible"
)

// approveManager is the name under which the API server records an approval.
const approveManager = "rolecall-approve"

const (
	// minFor and maxFor bound --for. The leader's clock judges an approval, not
	// the clock here, and one that ends more than configmap.MaxApproval after its
	// now counts for nothing.
	minFor = time.Minute
	maxFor = configmap.MaxApproval - time.Hour

	approvePoll = 500 * time.Millisecond
)

type approveFlags struct {
	objects objectFlags
	last    time.Duration // --for
	yes     bool
	wait    bool
	timeout time.Duration
	output  string
	dryRun  dryRun
}

func newApprove() *cobra.Command {
	var f approveFlags
	cmd := &cobra.Command{
		Use:   "approve [HOLD...]",
		Short: "List the removals that are held back, or let them go on",
		Long: `A write by which more principals would lose access in an hour than
safety.removalLimit allows, or after which nobody could log in with
system:masters, waits for a person. Without arguments the command lists what
waits. With the IDs of holds it shows every entry that would go, asks, and
approves exactly that: an ID stands for these very changes, and if the leader
would do others by then, it asks again.

The approval is the annotation ` + configmap.ApprovalAnnotation + ` on aws-auth, so it takes the
right to update aws-auth, and to get the ledger in the agents' namespace. The
leader acts as soon as it sees it; the command waits for that and says what
came of it. Approvals end by themselves, see --for.

The exit status is 0 if there is nothing more to do, else 1: also if the answer
is no, and if the leader has not acted in time.`,
		Example: `  rolecall approve                                   # what is held back?
  rolecall approve 3f9ac2d4b18e                      # show it, ask, let it go
  rolecall approve 3f9ac2d4b18e --dry-run            # show it
  rolecall approve 3f9ac2d4b18e --yes --for 15m      # from a script
  rolecall approve -o json | jq -r '.items[].id'`,
		ValidArgsFunction: f.complete,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.check(); err != nil {
				return err
			}
			o, err := f.objects.objects()
			if err != nil {
				return err
			}
			if len(args) == 0 {
				return f.list(cmd.Context(), o, cmd.OutOrStdout(), cmd.ErrOrStderr())
			}
			return f.approve(cmd.Context(), o, args, cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	flags := cmd.Flags()
	f.objects.addTo(flags)
	flags.DurationVar(&f.last, "for", time.Hour, fmt.Sprintf("how long the approval holds, %s to %s", minFor, maxFor))
	flags.BoolVarP(&f.yes, "yes", "y", false, "do not ask")
	flags.BoolVar(&f.wait, "wait", true, "wait until the leader has acted")
	flags.DurationVar(&f.timeout, "timeout", 30*time.Second, "how long to wait for the leader")
	flags.StringVarP(&f.output, "output", "o", "", "table, json or yaml")
	f.dryRun.addTo(flags)
	return cmd
}

func (f *approveFlags) check() error {
	if f.last < minFor || f.last > maxFor {
		return fmt.Errorf("--for %s: write a time from %s to %s", f.last, minFor, maxFor)
	}
	if f.timeout <= 0 {
		return fmt.Errorf("--timeout %s: write how long to wait, or --wait=false", f.timeout)
	}
	return checkOutput(f.output, "table", "json", "yaml")
}

// text reports whether the output is for a person.
func (f *approveFlags) text() bool { return f.output == "" || f.output == "table" }

// complete is the shell's completion of holds.
func (f *approveFlags) complete(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	o, err := f.objects.objects()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), completionTimeout)
	defer cancel()
	ledger, err := o.ledger(ctx)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var found []cobra.Completion
	for i := range ledger.Removals {
		if h := &ledger.Removals[i]; !slices.Contains(args, h.ID) {
			found = append(found, cobra.CompletionWithDesc(h.ID, report.WhyPending(h)))
		}
	}
	return found, cobra.ShellCompDirectiveNoFileComp
}

// holdList is what is held back as -o json and -o yaml print it.
type holdList struct {
	APIVersion string       `json:"apiVersion"`
	Kind       string       `json:"kind"`
	Items      []listedHold `json:"items"`
}

type listedHold struct {
	plan.PendingRemoval
	Approved *bool `json:"approved,omitempty"` // missing where aws-auth cannot be read
}

func (f *approveFlags) list(ctx context.Context, o *objects, stdout, stderr io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	ledger, err := o.ledger(ctx)
	if err != nil {
		return err
	}
	list := holdList{APIVersion: config.APIVersion, Kind: "HoldList", Items: make([]listedHold, len(ledger.Removals))}
	cm, err := o.awsAuth(approveManager, dryRunNone).Get(ctx)
	if err != nil {
		complain(stderr, "warning", fmt.Sprintf("what is approved already is not known: %v", err))
	}
	for i, h := range ledger.Removals {
		list.Items[i].PendingRemoval = h
		if err == nil {
			list.Items[i].Approved = new(slices.Contains(configmap.Approved(cm.Annotations[configmap.ApprovalAnnotation], time.Now()), h.ID))
		}
	}
	if !f.text() {
		return printObject(stdout, f.output, list)
	}
	if len(list.Items) == 0 {
		fmt.Fprintf(stderr, "nothing is held back in namespace %s\n", visible.Text(o.namespace))
		return nil
	}
	rows := [][]string{{"HOLD", "SOURCE", "ENTRIES", "AGE", "APPROVED"}}
	for i := range list.Items {
		h := &list.Items[i]
		approved := "?"
		if h.Approved != nil {
			approved = map[bool]string{true: "yes", false: "no"}[*h.Approved]
		}
		rows = append(rows, []string{h.ID, sourceOf(&h.PendingRemoval), fmt.Sprintf("%d of %d", len(h.Changes), h.Of), age(h.Since), approved})
	}
	if err := printTable(stdout, rows); err != nil {
		return err
	}
	fmt.Fprintln(stderr, `"rolecall approve HOLD" shows the entries of one and asks, with --dry-run it only shows them`)
	return nil
}

// approvalReport is what was approved as -o json and -o yaml print it.
type approvalReport struct {
	APIVersion string                `json:"apiVersion"`
	Kind       string                `json:"kind"`
	Until      time.Time             `json:"until"`
	DryRun     dryRun                `json:"dryRun,omitempty"`
	Holds      []plan.PendingRemoval `json:"holds"`
	Outcomes   []outcome             `json:"outcomes,omitempty"` // missing where nobody waited for the leader
}

func (f *approveFlags) approve(ctx context.Context, o *objects, ids []string, stdin io.Reader, stdout, stderr io.Writer) error {
	holds, err := f.find(ctx, o, ids)
	if err != nil {
		return err
	}
	preview := stdout
	if !f.text() {
		preview = stderr
	}
	if err := renderHolds(preview, holds, o.name(), colour(preview)); err != nil {
		return err
	}
	if !f.yes && f.dryRun == dryRunNone {
		if err := confirm(ctx, stdin, stderr, question(holds)); err != nil {
			return err
		}
	}
	report := approvalReport{APIVersion: config.APIVersion, Kind: "Approval", Until: time.Now().Add(f.last).UTC().Truncate(time.Second), Holds: holds}
	if f.dryRun != dryRunNone {
		report.DryRun = f.dryRun
	}
	if err := f.annotate(ctx, o, ids, report.Until); err != nil {
		return err
	}
	fmt.Fprintf(preview, "approved until %s%s\n", report.Until.Local().Format(time.DateTime), f.dryRun.note())
	var waitErr error
	if f.wait && f.dryRun == dryRunNone {
		report.Outcomes, waitErr = f.await(ctx, o, holds, report.Until)
		for i := range report.Outcomes {
			fmt.Fprintln(preview, visible.Text(report.Outcomes[i].String()))
		}
	}
	if !f.text() {
		if err := printObject(stdout, f.output, report); err != nil {
			return err
		}
	}
	return waitErr
}

// find looks the holds up in the ledger.
func (f *approveFlags) find(ctx context.Context, o *objects, ids []string) ([]plan.PendingRemoval, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	ledger, err := o.ledger(ctx)
	if err != nil {
		return nil, err
	}
	var found []plan.PendingRemoval
	var errs []error
	for _, id := range ids {
		i := slices.IndexFunc(ledger.Removals, func(h plan.PendingRemoval) bool { return h.ID == id })
		switch {
		case i < 0:
			errs = append(errs, fmt.Errorf("%q is not held back now", id))
		case !slices.ContainsFunc(found, func(h plan.PendingRemoval) bool { return h.ID == id }):
			found = append(found, ledger.Removals[i])
		}
	}
	if len(errs) == 0 {
		return found, nil
	}
	held := "nothing is"
	if len(ledger.Removals) > 0 {
		var list []string
		for i := range ledger.Removals {
			h := &ledger.Removals[i]
			list = append(list, fmt.Sprintf("%s (%s)", h.ID, report.WhyPending(h)))
		}
		held = "what is: " + strings.Join(list, ", ")
	}
	return nil, fmt.Errorf("%w; %s", errors.Join(errs...), held)
}

// renderHolds prints every change that an approval would let go on.
func renderHolds(w io.Writer, holds []plan.PendingRemoval, name string, colour bool) error {
	c := newPalette(colour)
	var b bytes.Buffer
	for i := range holds {
		h := &holds[i]
		fmt.Fprintf(&b, "%s%s%s: %s; held back for %s. In %s the leader would\n", c.yellow, h.ID, c.reset, visible.Text(report.WhyPending(h)), age(h.Since), visible.Text(name))
		for j := range h.Changes {
			renderChange(&b, &h.Changes[j], c)
		}
		b.WriteByte('\n')
	}
	_, err := w.Write(b.Bytes())
	return err
}

func question(holds []plan.PendingRemoval) string {
	changed := map[string]bool{}
	removed := map[string]bool{}
	for i := range holds {
		for j := range holds[i].Changes {
			c := &holds[i].Changes[j]
			list := changed
			if sign(c.Op) == "-" {
				list = removed
			}
			list[c.Entry.ARN] = true
		}
	}
	if len(changed) == 0 {
		if len(removed) == 1 {
			return "Remove this entry?"
		}
		return fmt.Sprintf("Remove these %d entries?", len(removed))
	}
	return fmt.Sprintf("Remove %s and change %d?", counted(len(removed), "entry", "entries"), len(changed))
}

// annotate writes the approval. It changes nothing else of aws-auth.
func (f *approveFlags) annotate(ctx context.Context, o *objects, ids []string, until time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	store := o.awsAuth(approveManager, f.dryRun)
	overtaken := func(err error) bool { return errors.Is(err, awsauth.ErrConflict) && ctx.Err() == nil }
	return retry.OnError(retry.DefaultBackoff, overtaken, func() error {
		cm, exists, err := store.Read(ctx)
		if err != nil {
			return err
		}
		if !exists {
			return fmt.Errorf("there is no %s: the leader puts a deleted one back by itself; see rolecall history", o.name())
		}
		value := cm.Annotations[configmap.ApprovalAnnotation]
		for _, id := range ids {
			if value, err = configmap.Approve(value, id, time.Now(), until); err != nil {
				return err
			}
		}
		cm = cm.DeepCopy()
		if cm.Annotations == nil {
			cm.Annotations = map[string]string{}
		}
		cm.Annotations[configmap.ApprovalAnnotation] = value
		if f.dryRun == dryRunClient {
			return nil
		}
		_, err = store.Put(ctx, cm)
		return err
	})
}

// An outcome is what came of an approval.
type outcome struct {
	ID       string `json:"id"`
	Changes  int    `json:"changes"`            // that were approved
	Done     int    `json:"done"`               // of them
	Instead  string `json:"instead,omitempty"`  // another hold of the same source
	Standing string `json:"standing,omitempty"` // another hold that some of them wait for as well
}

func (r *outcome) String() string {
	text := fmt.Sprintf("%s: %d of %d changes are made", r.ID, r.Done, r.Changes)
	switch {
	case r.Done == r.Changes:
		return fmt.Sprintf("%s: done, all %d changes are made", r.ID, r.Changes)
	case r.Standing != "":
		return fmt.Sprintf("%s; the rest waits for %s as well: rolecall approve %s", text, r.Standing, r.Standing)
	case r.Instead != "":
		return fmt.Sprintf("%s; what would go has changed meanwhile and waits as %s: rolecall approve %s", text, r.Instead, r.Instead)
	}
	return text + "; the rest is not needed any more: its source asks for these entries again"
}

// await waits until the leader holds none of these back any more.
func (f *approveFlags) await(ctx context.Context, o *objects, holds []plan.PendingRemoval, until time.Time) ([]outcome, error) {
	var ledger *plan.State
	var cm *corev1.ConfigMap
	var lastErr error
	err := wait.PollUntilContextTimeout(ctx, approvePoll, f.timeout, true, func(ctx context.Context) (bool, error) {
		// The leader writes aws-auth first, so what is read second tells all.
		if ledger, lastErr = o.ledger(ctx); lastErr != nil {
			return false, nil
		}
		for i := range holds {
			if heldAs(ledger, func(h *plan.PendingRemoval) bool { return h.ID == holds[i].ID }) != "" {
				return false, nil
			}
		}
		cm, lastErr = o.awsAuth(approveManager, dryRunNone).Get(ctx)
		return lastErr == nil, nil
	})
	if err != nil {
		why := cmp.Or(ctx.Err(), fmt.Errorf("no leader has acted within %s", f.timeout))
		if lastErr != nil && !errors.Is(lastErr, context.DeadlineExceeded) { // which is what ends the wait
			why = errors.Join(why, lastErr)
		}
		return nil, fmt.Errorf("%w: the approval is written and holds until %s, nothing more has to be done for it; see who leads: kubectl -n %s get lease; and why it does not act: kubectl -n %s logs daemonset/rolecall",
			why, until.Local().Format(time.DateTime), o.namespace, o.namespace)
	}
	doc, err := readable(cm)
	if err != nil {
		return nil, fmt.Errorf("the leader has acted, but what came of it cannot be read: %s: %w", o.name(), err)
	}
	out := make([]outcome, len(holds))
	for i := range holds {
		out[i] = outcomeOf(&holds[i], doc, ledger)
	}
	return out, nil
}

func outcomeOf(h *plan.PendingRemoval, doc *awsauth.Document, ledger *plan.State) outcome {
	r := outcome{ID: h.ID, Changes: len(h.Changes)}
	listed := doc.Entries()
	for i := range h.Changes {
		c := &h.Changes[i]
		was := c.Entry
		if c.Before != nil {
			was = *c.Before
		}
		if !slices.ContainsFunc(listed, func(l awsauth.Listed) bool { return l.Dropped == "" && sameEntry(l.Entry, was) }) {
			r.Done++
			continue
		}
		r.Standing = cmp.Or(r.Standing, heldAs(ledger, func(other *plan.PendingRemoval) bool {
			return slices.ContainsFunc(other.Changes, func(o plan.Change) bool { return awsauth.SameARN(o.Entry.ARN, c.Entry.ARN) })
		}))
	}
	r.Instead = heldAs(ledger, func(other *plan.PendingRemoval) bool { return other.Source == h.Source })
	if r.Instead != "" && r.Standing == r.Instead {
		r.Standing = ""
	}
	return r
}

// heldAs is the ID of the first hold that is so.
func heldAs(ledger *plan.State, is func(*plan.PendingRemoval) bool) string {
	for i := range ledger.Removals {
		if is(&ledger.Removals[i]) {
			return ledger.Removals[i].ID
		}
	}
	return ""
}

func sameEntry(a, b awsauth.Entry) bool {
	return a.Kind == b.Kind && awsauth.SameARN(a.ARN, b.ARN) && a.Username == b.Username && groups(a.Groups) == groups(b.Groups)
}
