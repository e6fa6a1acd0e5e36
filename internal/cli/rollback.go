package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/internal/history"
	"github.com/rolecall/rolecall/internal/plan"
	"github.com/rolecall/rolecall/internal/register"
	"github.com/rolecall/rolecall/internal/register/configmap"
	"github.com/rolecall/rolecall/internal/visible"
)

const (
	// rollbackManager is the name under which the API server records a rollback.
	rollbackManager = "rolecall-rollback"

	// rollbackTries is how often a rollback is worked out if others write
	// meanwhile.
	rollbackTries = 5
)

type rollbackFlags struct {
	objects objectFlags
	keys    []string
	yes     bool
	dryRun  dryRun
}

func newRollback() *cobra.Command {
	var f rollbackFlags
	cmd := &cobra.Command{
		Use:   "rollback REV",
		Short: "Put a former content of aws-auth back",
		Long: `Put the keys of aws-auth back as they were in a revision of its history. The
difference to what is live is shown, and what rolecall's leader will change in it
again, since its sources ask for other entries today than they did then; then
the command asks. A revision that the authenticator could not read is refused.

Entries of rolecall's that no source asks for any more would be removed again at
once. They are put back without the mark "syncedBy: rolecall", as entries of
others: they stay until a person removes them.

Labels, annotations and binaryData stay as they are, but for a key of aws-auth's
that stands in binaryData, where the authenticator does not read it. An aws-auth
that was deleted comes back whole, with its last labels and annotations. It takes
the rights to update aws-auth, and in the agents' namespace to list
controllerrevisions and get the ledger.

The exit status is 0 if aws-auth is as asked, else 1: also if the answer is no.`,
		Example: `  rolecall history
  rolecall rollback 12 --dry-run            # what would change?
  rolecall rollback 12                      # show it, ask, do it
  rolecall rollback 12 --keys mapUsers      # that key alone
  rolecall rollback 12 --yes                # from a script`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeRevision(&f.objects, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o, err := f.objects.objects()
			if err != nil {
				return err
			}
			return f.run(cmd.Context(), o, args[0], cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	flags := cmd.Flags()
	f.objects.addTo(flags)
	flags.StringSliceVar(&f.keys, "keys", nil, "put back these keys only, such as mapRoles,mapUsers (default: all)")
	flags.BoolVarP(&f.yes, "yes", "y", false, "do not ask")
	f.dryRun.addTo(flags)
	return cmd
}

func (f *rollbackFlags) run(ctx context.Context, o *objects, given string, stdin io.Reader, stdout, stderr io.Writer) error {
	revision, content, err := f.former(ctx, o, given)
	if err != nil {
		return err
	}
	label := fmt.Sprintf("revision %d", revision.Number)
	var shown string
	for try := 1; ; try++ {
		r, err := f.workOut(ctx, o, content)
		if err != nil {
			return fmt.Errorf("roll back to %s: %w", label, err)
		}
		if r.same() {
			fmt.Fprintf(stdout, "%s is as of %s already\n", visible.Text(o.name()), label)
			return nil
		}
		// What others have written meanwhile, the person has not seen.
		if text := r.render(o.name(), label, colour(stdout)); text != shown {
			fmt.Fprint(stdout, text)
			shown = text
			if !f.yes && f.dryRun == dryRunNone {
				if err := confirm(ctx, stdin, stderr, fmt.Sprintf("Write this to %s?", visible.Text(o.name()))); err != nil {
					return err
				}
			}
		}
		err = f.write(ctx, o, r.write)
		switch {
		case err == nil:
			fmt.Fprintf(stdout, "%s rolled back to %s%s\n", visible.Text(o.name()), label, f.dryRun.note())
			return nil
		case !errors.Is(err, awsauth.ErrConflict):
			return err
		case try == rollbackTries:
			return fmt.Errorf("%w: %d times in a row; find out who writes it with rolecall history", err, try)
		}
		complain(stderr, "warning", fmt.Sprintf("somebody else has written %s meanwhile: worked out anew", o.name()))
	}
}

// former is the content to put back, which is none that locks anybody out.
func (f *rollbackFlags) former(ctx context.Context, o *objects, given string) (*history.Revision, history.Content, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	var none history.Content
	list, err := o.revisions().List(ctx)
	if err != nil {
		return nil, none, fmt.Errorf("namespace %s: %w", o.namespace, err)
	}
	r, err := findRevision(list, given, o.namespace)
	if err != nil {
		return nil, none, err
	}
	content, err := r.Content()
	if err != nil {
		return nil, none, err
	}
	why := r.Broken
	if broken := awsauth.ParseConfigMap(content.Data, content.BinaryData).Unreadable(); len(broken) > 0 && why == "" {
		why = broken[0].Error()
	}
	if why != "" {
		return nil, none, fmt.Errorf("revision %d is broken, with it whoever stands in aws-auth would be locked out (%s): choose another one, rolecall history lists them", r.Number, why)
	}
	for _, k := range f.keys {
		if _, ok := content.Data[k]; !ok && !slices.Contains(awsauth.Keys[:], k) {
			return nil, none, fmt.Errorf("--keys %q: revision %d has no such key, but %s", k, r.Number, strings.Join(slices.Sorted(maps.Keys(content.Data)), ", "))
		}
	}
	// Of an aws-auth that was deleted the labels and annotations come back that were known last.
	if newest, err := list[0].Content(); err == nil {
		content.Labels, content.Annotations = newest.Labels, newest.Annotations
	}
	return r, content, nil
}

// A rollback is worked out for one state of aws-auth and of the ledger.
type rollback struct {
	live     *corev1.ConfigMap
	exists   bool // live does
	write    *corev1.ConfigMap
	unmarked []awsauth.Entry
	next     *configmap.Plan // what the leader will do then, if its sources ask what they asked last
	adopted  []string        // marks of other tools in what is put back
}

func (f *rollbackFlags) workOut(ctx context.Context, o *objects, content history.Content) (*rollback, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	ledger, id, err := o.ledgerWithID(ctx)
	if err != nil {
		return nil, fmt.Errorf("without the ledger nobody knows what the leader would take away again: %w; to write the revision as it was all the same: rolecall history REV | kubectl replace -f -", err)
	}
	r := &rollback{}
	if r.live, r.exists, err = o.awsAuth(rollbackManager, dryRunNone).Read(ctx); err != nil { // last: what others write from here on is a conflict
		return nil, err
	}
	if r.live.Immutable != nil && *r.live.Immutable {
		return nil, &register.ImmutableError{Namespace: o.awsAuthNamespace, Name: o.awsAuthName}
	}
	deleted := !r.exists
	if deleted && len(f.keys) > 0 {
		return nil, fmt.Errorf("there is no %s: leave --keys out to have all of it back", o.name())
	}
	wanted := maps.Clone(content.Data)
	if len(f.keys) > 0 {
		maps.DeleteFunc(wanted, func(k, _ string) bool { return !slices.Contains(f.keys, k) })
	}
	former, err := awsauth.Parse(wanted)
	if err != nil {
		return nil, err
	}
	back, unmarked, err := configmap.RollBack(former, ledger)
	if err != nil {
		return nil, fmt.Errorf("%w; to write it all the same, so that the leader removes them again: rolecall history REV | kubectl replace -f -", err)
	}
	r.unmarked = unmarked
	r.write = r.live.DeepCopy()
	if deleted {
		r.write.Namespace = o.awsAuthNamespace
		r.write.Labels, r.write.Annotations, r.write.BinaryData = content.Labels, content.Annotations, content.BinaryData
	}
	if len(f.keys) == 0 {
		r.write.Data = back.Data()
		delete(r.write.Annotations, configmap.WriteAnnotation) // what stands in it is none of the leader's last write
	} else {
		r.write.Data = maps.Clone(r.live.Data)
		if r.write.Data == nil {
			r.write.Data = map[string]string{}
		}
		for _, k := range f.keys {
			delete(r.write.Data, k)
		}
		maps.Copy(r.write.Data, back.Data())
	}
	for _, k := range awsauth.Keys {
		if len(f.keys) == 0 || slices.Contains(f.keys, k) {
			delete(r.write.BinaryData, k) // the authenticator does not read it, and no key may be in both
		}
	}
	whole := awsauth.ParseConfigMap(r.write.Data, r.write.BinaryData)
	if broken := whole.Unreadable(); len(broken) > 0 {
		return nil, fmt.Errorf("what --keys leaves as it is locks people out: put that back too: %w", broken[0])
	}
	r.foresee(whole, ledger, id)
	return r, nil
}

// foresee works out what the leader will do, as the ledger knows its sources.
func (r *rollback) foresee(doc *awsauth.Document, ledger *plan.State, id string) {
	pending := map[string]bool{} // what was asked last, where an entry is about to change
	for i := range ledger.Owned {
		if o := &ledger.Owned[i]; o.Pending {
			pending[strings.ToLower(o.ARN)] = true
		}
	}
	asked := plan.Source{Name: "today"}
	for i := range ledger.Owned {
		if o := &ledger.Owned[i]; o.Pending || !pending[strings.ToLower(o.ARN)] {
			asked.Entries = append(asked.Entries, o.Entry)
		}
	}
	r.next = configmap.MakePlan(doc, 0, plan.Snapshot{
		Sources: []plan.Source{asked}, State: ledger, Confirmed: r.write.Annotations[configmap.WriteAnnotation] == id, Adopt: ledger.Adopt, Config: ledger.Config, Now: time.Now(),
	})
	for i := range r.next.Changes {
		c := &r.next.Changes[i]
		c.Sources = nil
		for j := range ledger.Owned {
			if o := &ledger.Owned[j]; o.Kind == c.Entry.Kind && awsauth.SameARN(o.ARN, c.Entry.ARN) {
				for _, claim := range o.Claims {
					c.Sources = append(c.Sources, claim.Source)
				}
			}
		}
		slices.Sort(c.Sources)
		c.Sources = slices.Compact(c.Sources)
	}
	for _, l := range doc.Entries() {
		known := slices.Contains(ledger.Adopt, l.SyncedBy) // the leader asks for it, or it has lost its mark
		if l.SyncedBy != "" && l.SyncedBy != awsauth.Mark && !known && !slices.Contains(r.adopted, l.SyncedBy) {
			r.adopted = append(r.adopted, l.SyncedBy)
		}
	}
}

// same reports whether there is nothing to write.
func (r *rollback) same() bool {
	return r.exists && len(differences(history.ContentOf(r.live), history.ContentOf(r.write))) == 0
}

// render shows a person what would be written and what comes after it.
func (r *rollback) render(name, label string, colour bool) string {
	c := newPalette(colour)
	var b bytes.Buffer
	if !r.exists {
		fmt.Fprintf(&b, "%s! %s was deleted: it comes back whole%s\n", c.red, visible.Text(name), c.reset)
	} else if broken := awsauth.ParseConfigMap(r.live.Data, r.live.BinaryData).Unreadable(); len(broken) > 0 {
		fmt.Fprintf(&b, "%s! the live %s locks people out: %s%s\n", c.red, visible.Text(name), visible.Text(broken[0].Error()), c.reset)
	}
	renderDiff(&b, parts(history.ContentOf(r.live)), parts(history.ContentOf(r.write)), name, live, label, c)
	b.WriteByte('\n')
	if n := len(r.unmarked); n > 0 {
		fmt.Fprintf(&b, "%sNo source asks for %d of its entries any more. They lose the mark syncedBy, so that they stay:%s\n", c.yellow, n, c.reset)
		for i := range r.unmarked {
			fmt.Fprintf(&b, "  %-8s %s\n", r.unmarked[i].Kind, visible.Text(r.unmarked[i].ARN))
		}
	}
	for _, mark := range r.adopted {
		fmt.Fprintf(&b, "%sEntries of it have the mark syncedBy: %s. If the config adopts that, the leader removes those that no source asks for.%s\n", c.yellow, visible.Text(mark), c.reset)
	}
	if r.next.Writes() {
		fmt.Fprintf(&b, "%sThe leader will then change it again, as its sources ask today:%s\n", c.yellow, c.reset)
		for i := range r.next.Changes {
			renderChange(&b, &r.next.Changes[i], c)
		}
	}
	return b.String()
}

func (f *rollbackFlags) write(ctx context.Context, o *objects, cm *corev1.ConfigMap) error {
	if f.dryRun == dryRunClient {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	_, err := o.awsAuth(rollbackManager, f.dryRun).Put(ctx, cm)
	return err
}
