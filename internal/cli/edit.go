package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/config"
	"github.com/rolecall/rolecall/internal/plan"
	"github.com/rolecall/rolecall/internal/register/configmap"
	"github.com/rolecall/rolecall/internal/visible"
)

// nodesGroup is the group of every node, of Linux and of Windows
// (https://docs.aws.amazon.com/eks/latest/userguide/auth-configmap.html).
const nodesGroup = "system:nodes"

// editFlags are those of every command that edits aws-auth by hand.
type editFlags struct {
	objects objectFlags
	diff    bool
	quiet   bool
	output  string
	yes     bool
	dryRun  dryRun
	timeout time.Duration

	retry                      bool
	retryCount                 int
	retryMinTime, retryMaxTime time.Duration
}

func (f *editFlags) addTo(cmd *cobra.Command) {
	flags := cmd.Flags()
	f.objects.addTo(flags)
	flags.BoolVar(&f.diff, "diff", false, "show how the text of aws-auth changes")
	flags.BoolVarP(&f.quiet, "quiet", "q", false, "print nothing but errors")
	flags.StringVarP(&f.output, "output", "o", "", "text, json, yaml or name")
	flags.BoolVarP(&f.yes, "yes", "y", false, "do not ask")
	f.dryRun.addTo(flags)
	flags.DurationVar(&f.timeout, "timeout", 5*time.Minute, "for all of it, with the waits between tries but without the time for an answer")
	flags.BoolVar(&f.retry, "retry", false, "try again after errors that can pass: no answer, too many requests, an API server that is not ready; conflicts are always tried again")
	flags.IntVar(&f.retryCount, "retry-max-count", 12, "with --retry: how often")
	flags.DurationVar(&f.retryMinTime, "retry-min-time", 200*time.Millisecond, "with --retry: the shortest wait")
	flags.DurationVar(&f.retryMaxTime, "retry-max-time", 30*time.Second, "with --retry: the longest wait, unless the API server asks for more")
}

func (f *editFlags) check() error {
	switch {
	case f.timeout <= 0:
		return fmt.Errorf("--timeout %s: write how long all of it may take", f.timeout)
	case f.retryCount < 1:
		return fmt.Errorf("--retry-max-count %d: write 1 or more, or leave --retry out", f.retryCount)
	case f.retryMinTime <= 0 || f.retryMaxTime < f.retryMinTime:
		return fmt.Errorf("--retry-min-time %s, --retry-max-time %s: write times of which the first is the shorter", f.retryMinTime, f.retryMaxTime)
	case f.quiet && f.diff:
		return errors.New("--quiet and --diff exclude each other")
	}
	return checkOutput(f.output, "text", "json", "yaml", "name")
}

// text reports whether the output is for a person.
func (f *editFlags) text() bool { return f.output == "" || f.output == "text" }

// A handEdit is one run of a command that edits aws-auth.
type handEdit struct {
	*editFlags
	o              *objects
	stdin          io.Reader
	stdout, stderr io.Writer

	force bool // no question, whatever goes
	// concerns are those of the command itself.
	concerns func(planned *awsauth.Edited) ([]concern, error)
	// services are written before aws-auth, once everything was shown.
	services *serviceEdit

	shown string // what the person has seen
}

// A concern is why an edit may not be what somebody wants.
type concern struct {
	text string
	// grave ones are asked for; without a terminal that is an error. Others are
	// asked for where there is one, and else only told.
	grave bool
}

// newHandEdit makes a client; it makes no request.
func (f *editFlags) newHandEdit(cmd *cobra.Command) (*handEdit, error) {
	if err := f.check(); err != nil {
		return nil, err
	}
	o, err := f.objects.objects()
	if err != nil {
		return nil, err
	}
	return &handEdit{editFlags: f, o: o, stdin: cmd.InOrStdin(), stdout: cmd.OutOrStdout(), stderr: cmd.ErrOrStderr()}, nil
}

// editor writes under the name of a command.
func (h *handEdit) editor(command string) *awsauth.Editor {
	e := &awsauth.Editor{Store: h.o.awsAuth("rolecall-"+command, h.dryRun), Timeout: h.timeout, Review: h.review}
	if h.retry {
		e.Retry = &awsauth.Retry{MaxCount: h.retryCount, MinTime: h.retryMinTime, MaxTime: h.retryMaxTime}
	}
	return e
}

// review shows what is about to be written, and writes what stands beside
// aws-auth.
func (h *handEdit) review(ctx context.Context, planned *awsauth.Edited) error {
	if err := h.show(ctx, planned); err != nil {
		return err
	}
	return h.services.write(ctx)
}

// show shows what is about to be written where that is wanted or needed, and
// asks.
func (h *handEdit) show(ctx context.Context, planned *awsauth.Edited) error {
	var found []concern
	if h.concerns != nil {
		own, err := h.concerns(planned)
		if err != nil {
			return err
		}
		found = own
	}
	found = append(found, h.lockouts(planned)...)
	found = append(found, renamed(planned)...)
	found = append(found, lintConcerns(planned)...)
	found = append(found, h.owned(ctx, planned)...)
	found = append(found, h.reported(ctx, planned)...)
	found = append(found, undone(planned)...)
	found = append(found, h.services.concerns()...)
	grave := slices.ContainsFunc(found, func(c concern) bool { return c.grave })
	asks := len(found) > 0 && !h.yes && !h.force && h.dryRun == dryRunNone && (grave || isTerminal(h.stdin))

	out := h.stderr
	if h.diff && h.text() {
		out = h.stdout
	}
	var b bytes.Buffer
	if asks && !h.diff {
		c := newPalette(colour(out))
		for i := range planned.Changes {
			change := planned.Changes[i]
			renderChange(&b, &plan.Change{Op: plan.Op(change.Op), Entry: change.Entry, Before: change.Before}, c)
		}
	}
	if asks || h.diff {
		if err := h.services.render(&b, newPalette(colour(out))); err != nil {
			return err
		}
		renderDiff(&b, planned.Before.Data(), planned.After.Data(), h.o.name(), live, "edited", newPalette(colour(out)))
	}
	text := b.String()
	for _, c := range found {
		text += c.text + "\n"
	}
	if text == h.shown {
		return nil
	}
	if h.shown != "" {
		complain(h.stderr, "warning", fmt.Sprintf("somebody else has written %s meanwhile: edited anew", h.o.name()))
	}
	h.shown = text
	fmt.Fprint(out, b.String())
	if !h.quiet || asks {
		for _, c := range found {
			complain(h.stderr, "warning", c.text)
		}
	}
	if !asks {
		return nil
	}
	return confirm(ctx, h.stdin, h.stderr, fmt.Sprintf("Write this to %s?", visible.Text(h.o.name())))
}

// lockouts says who would be locked out that nobody thinks of.
func (h *handEdit) lockouts(planned *awsauth.Edited) []concern {
	had, have := admins(planned.Before), admins(planned.After)
	var found []concern
	if len(had) > 0 && len(have) == 0 {
		found = append(found, concern{"nobody could log in with " + awsauth.Masters + " by aws-auth any more: only access entries, and who has made the cluster, could fix what goes wrong", true})
	}
	had, have = nodeRoles(planned.Before), nodeRoles(planned.After)
	if len(had) > 0 && len(have) == 0 {
		return append(found, concern{noNodes(planned.After) + " by aws-auth any more: every node that joins by it is locked out and " +
			"gets NotReady", true})
	}
	for _, arn := range had {
		if !slices.ContainsFunc(have, func(other string) bool { return awsauth.SameARN(arn, other) }) {
			found = append(found, concern{notOfNodes(planned.After, arn) + ": nodes that run under it are locked out and get NotReady", false})
		}
	}
	return found
}

// admins are the ARNs by which people can log in as administrators.
func admins(doc *awsauth.Document) []string {
	var arns []string
	for _, e := range doc.Mapped() {
		if plan.IsAdmin(&e) {
			arns = append(arns, e.ARN)
		}
	}
	return arns
}

// nodeRoles are the ARNs of roles by which nodes join.
func nodeRoles(doc *awsauth.Document) []string {
	var arns []string
	for _, e := range sortedEntries(doc.Mapped()) {
		if e.ServesNodes() || oneNode(&e) {
			arns = append(arns, e.ARN)
		}
	}
	return arns
}

// noNodes says why no role lets nodes in.
func noNodes(doc *awsauth.Document) string {
	for _, e := range doc.Mapped() {
		if slices.Contains(e.Groups, nodesGroup) && e.Unmatched() == "" {
			return "no role would have a username that nodes can have, in " + nodesGroup + ","
		}
	}
	return "no role would be in " + nodesGroup
}

// notOfNodes says why a role lets nodes in no longer.
func notOfNodes(doc *awsauth.Document, arn string) string {
	if e, ok := doc.Mapped()[strings.ToLower(arn)]; ok && slices.Contains(e.Groups, nodesGroup) {
		return fmt.Sprintf("%s would have the username %q, which no node can have", arn, e.Username)
	}
	return fmt.Sprintf("%s would no longer be in %s", arn, nodesGroup)
}

// oneNode reports whether a single node can join by an entry, under a name that is
// written out.
func oneNode(e *awsauth.Entry) bool {
	return strings.HasPrefix(e.Username, "system:node:") && !strings.ContainsAny(e.Username, "{}") &&
		slices.Contains(e.Groups, nodesGroup) && e.Unmatched() == ""
}

// owned says which entries are the agent's, who puts them back.
func (h *handEdit) owned(ctx context.Context, planned *awsauth.Edited) []concern {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	known := h.o.askLedger(ctx)
	found := wanted(known.ledger, planned)
	if !slices.ContainsFunc(planned.Changes, func(c awsauth.Change) bool { return c.Op != awsauth.Add }) {
		return found
	}
	if why := known.complaint(planned.Before); why != "" {
		complainUnless(h.quiet, h.stderr, why)
	}
	owners := configmap.Owners(planned.Before, known.ledger)
	ours := map[string]*configmap.Owner{}
	for i, l := range planned.Before.Entries() {
		if owners[i].Managed {
			ours[identity(&l.Entry)] = &owners[i]
		}
	}
	for i := range planned.Changes {
		c := &planned.Changes[i]
		owner := ours[identity(&c.Entry)]
		if owner == nil || c.Op == awsauth.Add {
			continue
		}
		by := "by its mark"
		if len(owner.Sources) > 0 {
			by = "asked for by " + strings.Join(owner.Sources, ", ")
		}
		found = append(found, concern{fmt.Sprintf("%s is rolecall's own entry (%s): the agent will put it back; edit its config instead", c.Entry.ARN, by), true})
	}
	return found
}

// identity is what an entry is about, for a map.
func identity(e *awsauth.Entry) string { return string(e.Kind) + " " + strings.ToLower(e.ARN) }

func complainUnless(quiet bool, w io.Writer, text string) {
	if !quiet {
		complain(w, "warning", text)
	}
}

// editReport is an edit as -o json and -o yaml print it.
type editReport struct {
	APIVersion      string           `json:"apiVersion"`
	Kind            string           `json:"kind"`
	DryRun          dryRun           `json:"dryRun,omitempty"`
	Changes         []awsauth.Change `json:"changes"`
	Objects         []objectChange   `json:"objects,omitempty"`         // beside aws-auth, of AWS services
	ResourceVersion string           `json:"resourceVersion,omitempty"` // of aws-auth as it stands then; none of a dry run
}

// report prints what was done.
func (h *handEdit) report(edited *awsauth.Edited) error {
	if h.quiet {
		return nil
	}
	switch h.output {
	case "json", "yaml":
		report := editReport{APIVersion: config.APIVersion, Kind: "Edit", Changes: edited.Changes, Objects: h.services.changes(), ResourceVersion: edited.ResourceVersion}
		if report.Changes == nil {
			report.Changes = []awsauth.Change{}
		}
		if h.dryRun != dryRunNone {
			report.DryRun, report.ResourceVersion = h.dryRun, ""
		}
		return printObject(h.stdout, h.output, report)
	case "name":
		h.services.names()
		for i := range edited.Changes {
			fmt.Fprintln(h.stdout, visible.Text(edited.Changes[i].Entry.ARN))
		}
		return nil
	}
	h.services.report()
	name := visible.Text(h.o.name())
	if edited.Creates {
		fmt.Fprintf(h.stdout, "%s created%s\n", name, h.dryRun.note())
	}
	for i := range edited.Changes {
		c := &edited.Changes[i]
		done := map[awsauth.Op]string{awsauth.Add: "added to", awsauth.Update: "updated in", awsauth.Remove: "removed from"}[c.Op]
		fmt.Fprintf(h.stdout, "%s %s %s %s%s\n", c.Entry.Kind, visible.Text(orNone(c.Entry.ARN)), done, name, h.dryRun.note())
		if c.Reason != "" {
			complain(h.stderr, "warning", fmt.Sprintf("%s: %s", c.Entry.ARN, c.Reason))
		}
	}
	if len(edited.Changes) == 0 {
		fmt.Fprintf(h.stdout, "%s is as asked already\n", name)
	}
	return nil
}

// told is an error that says already what to do, and what was done.
type told struct{ error }

func (t told) Unwrap() error { return t.error }

// explain puts beside an error what to do, and what was done before it.
func (h *handEdit) explain(err error) error {
	if already := (told{}); errors.As(err, &already) {
		return err
	}
	err = h.advised(err)
	if done := h.services.done(); done != "" {
		err = fmt.Errorf("%w%s", err, done)
	}
	return err
}

// advised puts beside an error what to do.
func (h *handEdit) advised(err error) error {
	var malformed *awsauth.ParseError
	var not *awsauth.NotFoundError
	var exists *awsauth.ExistsError
	switch {
	case errors.As(err, &malformed):
		return unreadable(h.o, err)
	case errors.Is(err, awsauth.ErrMissing):
		return missing(h.o)
	case errors.Is(err, awsauth.ErrDeleted):
		return fmt.Errorf("%s: %w; rolecall rollback brings it back", h.o.name(), err)
	case errors.As(err, &not):
		return fmt.Errorf("%s: %w; rolecall get lists what is there, and with --ignore-not-found this is no error", h.o.name(), err)
	case errors.As(err, &exists):
		return fmt.Errorf("%s: %w: --no-duplicate-arns, or noDuplicateARNs in the file, keeps it so", h.o.name(), err)
	case errors.Is(err, awsauth.ErrUnknownOutcome):
		return fmt.Errorf("%w; rolecall get shows what stands there, and to ask for the same again does no harm", err)
	case apierrors.IsForbidden(err), !awsauth.Transient(err) || h.retry:
		return err
	}
	return fmt.Errorf("%w; --retry tries again", err)
}
