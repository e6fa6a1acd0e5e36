package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/config"
	"github.com/rolecall/rolecall/internal/plan"
	"github.com/rolecall/rolecall/internal/register/configmap"
	"github.com/rolecall/rolecall/internal/visible"
)

type getFlags struct {
	objects objectFlags
	kinds   []string
	output  string
	quiet   bool
	arn     string
}

func newGet() *cobra.Command {
	var f getFlags
	cmd := &cobra.Command{
		Use:   "get [ARN|USERNAME|ACCOUNT...]",
		Short: "List the entries of aws-auth and whose they are",
		Long: `List the entries of aws-auth in its order, or those of some ARNs, usernames or
accounts. SOURCE says who asks for an entry: sources of rolecall's config, the
mark of another tool, or foreign. STATUS says whether it is in force: one that
is dropped or shadowed lets nobody in, -o wide says why.

It takes the right to get aws-auth. Which sources ask for an entry stands in the
ledger; where that may not be read, the mark "syncedBy: rolecall" tells which
entries are rolecall's. Nothing is ever created or written.

The exit status is 0, or 1 if there is no aws-auth, if something that was asked
for is not in it, or if the authenticator cannot read it.`,
		Example: `  rolecall get
  rolecall get arn:aws:iam::111122223333:role/ops -o wide
  rolecall get --kind user
  rolecall get ops-user -o json
  rolecall get -o name
  rolecall get --arn arn:aws:iam::111122223333:role/ops --output json`,
		ValidArgsFunction: completeEntries(&f.objects, true),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkOutput(f.output, "table", "wide", "json", "yaml", "name"); err != nil {
				return err
			}
			kinds, err := kindsOf(f.kinds)
			if err != nil {
				return err
			}
			if len(args) > 0 && slices.Contains(mappingWords, args[0]) {
				args = args[1:] // as eksctl's command line has it
			}
			if f.arn != "" {
				args = append(args, f.arn)
			}
			o, err := f.objects.objects()
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), requestTimeout)
			defer cancel()
			return f.run(ctx, o, kinds, args, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	flags := cmd.Flags()
	f.objects.addTo(flags)
	addKind(cmd, &f.kinds, "list only these kinds: role, user, account")
	flags.StringVar(&f.arn, "arn", "", "ARN of a role or user, as an argument is")
	flags.StringVarP(&f.output, "output", "o", "", "table, wide, json, yaml or name")
	flags.BoolVarP(&f.quiet, "quiet", "q", false, "say nothing of a ledger that cannot be read")
	flags.SetNormalizeFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		switch name {
		case "format": // keikoproj's aws-auth
			name = "output"
		case "role": // eksctl
			name = "arn"
		}
		return pflag.NormalizedName(name)
	})
	_ = cmd.RegisterFlagCompletionFunc("arn", completeEntries(&f.objects, false)) // it fails where there is no such flag
	return cmd
}

// addKind adds --kind, which may be given several times.
func addKind(cmd *cobra.Command, kinds *[]string, usage string) {
	cmd.Flags().StringSliceVar(kinds, "kind", nil, usage)
	// It fails where there is no such flag.
	_ = cmd.RegisterFlagCompletionFunc("kind", cobra.FixedCompletions([]cobra.Completion{"role", "user", "account"}, cobra.ShellCompDirectiveNoFileComp))
}

// kindsOf reads --kind; none is all. The plural is taken too, as kubectl does.
func kindsOf(given []string) ([]awsauth.Kind, error) {
	all := []awsauth.Kind{awsauth.Role, awsauth.User, awsauth.Account}
	if len(given) == 0 {
		return all, nil
	}
	var kinds []awsauth.Kind
	for _, g := range given {
		kind := awsauth.Kind(strings.TrimSuffix(g, "s"))
		if !slices.Contains(all, kind) {
			return nil, fmt.Errorf("--kind %q: write role, user or account", g)
		}
		kinds = append(kinds, kind)
	}
	return kinds, nil
}

// entryList is what get prints as -o json and -o yaml.
type entryList struct {
	APIVersion string        `json:"apiVersion"`
	Kind       string        `json:"kind"`
	Items      []listedEntry `json:"items"` // in the order of aws-auth
}

type listedEntry struct {
	awsauth.Entry
	Ours     bool       `json:"ours"`
	Sources  []string   `json:"sources,omitempty"`  // that ask for an entry of ours, where the ledger is known
	Since    *time.Time `json:"since,omitempty"`    // when it was planned first, likewise
	SyncedBy string     `json:"syncedBy,omitempty"` // the mark of the tool that wrote it
	Dropped  string     `json:"dropped,omitempty"`  // why the authenticator ignores it
	Shadowed bool       `json:"shadowed,omitempty"` // another entry answers for its ARN
	// Unmatched says why no principal that can exist is let in by it.
	Unmatched string `json:"unmatched,omitempty"`
}

func (e *listedEntry) source() string {
	switch {
	case e.Ours && len(e.Sources) > 0:
		return strings.Join(e.Sources, ",")
	case e.Ours:
		return awsauth.Mark
	case e.SyncedBy != "":
		return e.SyncedBy
	}
	return "foreign"
}

func (e *listedEntry) status() string {
	switch {
	case e.Dropped != "":
		return "dropped"
	case e.Shadowed:
		return "shadowed"
	case e.Unmatched != "":
		return "unmatched"
	}
	return "ok"
}

func (e *listedEntry) why() string {
	if e.Shadowed {
		return "another entry answers for its ARN"
	}
	return cmp.Or(e.Dropped, e.Unmatched)
}

func (f *getFlags) run(ctx context.Context, o *objects, kinds []awsauth.Kind, args []string, stdout, stderr io.Writer) error {
	var cm *corev1.ConfigMap
	var exists bool
	var known ledgerAnswer
	var err error
	// One after the other they would take twice as long.
	var both sync.WaitGroup
	both.Go(func() { cm, exists, err = o.awsAuth(configmap.FieldManager, dryRunNone).Read(ctx) })
	if f.output != "name" {
		both.Go(func() { known = o.askLedger(ctx) })
	}
	both.Wait()
	if err != nil {
		return err
	}
	if !exists {
		return missing(o)
	}
	doc, broken := readable(cm.Data)
	if why := known.complaint(doc); why != "" && !f.quiet {
		complain(stderr, "warning", why)
	}
	out, absent := list(doc, known.ledger, kinds, args)
	if err := f.print(out, stdout, stderr); err != nil {
		return err
	}
	errs := []error{unreadable(o, broken)}
	for _, arg := range absent {
		errs = append(errs, fmt.Errorf("%s has no entry of the ARN, username or account %q", o.name(), arg))
	}
	return errors.Join(errs...)
}

// missing says that there is no aws-auth.
func missing(o *objects) error {
	return fmt.Errorf("there is no ConfigMap %s: a cluster that only knows access entries has none; rolecall upsert makes one, and rolecall rollback brings a deleted one back", o.name())
}

// readable is the document without the keys that the authenticator cannot read;
// the error says which and why.
func readable(data map[string]string) (*awsauth.Document, error) {
	doc, err := awsauth.Parse(data)
	if err == nil {
		return doc, nil
	}
	rest := maps.Clone(data)
	for _, k := range awsauth.Keys {
		if _, broken := awsauth.Parse(map[string]string{k: data[k]}); broken != nil {
			delete(rest, k)
		}
	}
	doc, restErr := awsauth.Parse(rest)
	if restErr != nil {
		return doc, restErr
	}
	return doc, err
}

// unreadable says what an aws-auth that cannot be read means and what to do.
func unreadable(o *objects, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("the authenticator cannot read %s, whoever stands under that key is locked out: %w; rolecall lint shows what is wrong, rolecall history and rolecall rollback bring the last good one back", o.name(), err)
}

// list puts together what get prints, and what of the arguments it has not
// found.
func list(doc *awsauth.Document, ledger *plan.State, kinds []awsauth.Kind, args []string) (entryList, []string) {
	out := entryList{APIVersion: config.APIVersion, Kind: "EntryList", Items: []listedEntry{}}
	owners, shadowed := configmap.Owners(doc, ledger), doc.Shadowed()
	found := make([]bool, len(args))
	for i, l := range doc.Entries() {
		if !slices.Contains(kinds, l.Kind) {
			continue
		}
		wanted := len(args) == 0
		for j, arg := range args {
			if arg != "" && (l.Username == arg || (awsauth.Match{ARN: arg}).Is(l.Entry)) {
				wanted, found[j] = true, true
			}
		}
		if !wanted {
			continue
		}
		item := listedEntry{Entry: l.Entry, Ours: owners[i].Managed, Sources: owners[i].Sources, SyncedBy: l.SyncedBy, Dropped: l.Dropped, Shadowed: shadowed[i]}
		if l.Dropped == "" {
			item.Unmatched = l.Unmatched()
		}
		if since := owners[i].Since; !since.IsZero() {
			item.Since = &since
		}
		out.Items = append(out.Items, item)
	}
	var absent []string
	for j, arg := range args {
		if !found[j] {
			absent = append(absent, arg)
		}
	}
	return out, absent
}

func (f *getFlags) print(out entryList, stdout, stderr io.Writer) error {
	switch f.output {
	case "json", "yaml":
		return printObject(stdout, f.output, out)
	case "name":
		for i := range out.Items {
			if arn := out.Items[i].ARN; arn != "" {
				fmt.Fprintln(stdout, visible.Text(arn))
			}
		}
		return nil
	}
	if len(out.Items) == 0 {
		fmt.Fprintln(stderr, "no entries")
		return nil
	}
	wide := f.output == "wide"
	rows := [][]string{{"KIND", "ARN", "USERNAME", "GROUPS", "SOURCE", "STATUS"}}
	if wide {
		rows[0] = append(rows[0], "AGE", "SYNCEDBY", "WHY")
	}
	for i := range out.Items {
		e := &out.Items[i]
		row := []string{string(e.Kind), orNone(e.ARN), orNone(e.Username), orNone(strings.Join(e.Groups, ",")), e.source(), e.status()}
		if wide {
			since := "<none>"
			if e.Since != nil {
				since = age(*e.Since)
			}
			row = append(row, since, orNone(e.SyncedBy), orNone(e.why()))
		}
		rows = append(rows, row)
	}
	return printTable(stdout, rows)
}

func orNone(s string) string {
	if s == "" {
		return "<none>"
	}
	return s
}

// completeEntries is the shell's completion of ARNs and account ids, and where
// it is asked for of usernames.
func completeEntries(objects *objectFlags, usernames bool) cobra.CompletionFunc {
	return completeLive(objects, func(e *awsauth.Entry) []cobra.Completion {
		found := []cobra.Completion{cobra.CompletionWithDesc(e.ARN, visible.Text(e.Username))}
		if usernames && e.Username != "" {
			found = append(found, cobra.CompletionWithDesc(e.Username, visible.Text(e.ARN)))
		}
		return found
	})
}

// completeUsernames is the shell's completion of usernames.
func completeUsernames(objects *objectFlags) cobra.CompletionFunc {
	return completeLive(objects, func(e *awsauth.Entry) []cobra.Completion {
		return []cobra.Completion{cobra.CompletionWithDesc(e.Username, visible.Text(e.ARN))}
	})
}

// completeKind is the shell's completion of the ARNs of one kind.
func completeKind(objects *objectFlags, kind awsauth.Kind) cobra.CompletionFunc {
	return completeLive(objects, func(e *awsauth.Entry) []cobra.Completion {
		if e.Kind != kind {
			return nil
		}
		return []cobra.Completion{cobra.CompletionWithDesc(e.ARN, visible.Text(e.Username))}
	})
}

// completeLive completes what a function finds in the entries of the cluster,
// each once and without those that are given already.
func completeLive(objects *objectFlags, of func(*awsauth.Entry) []cobra.Completion) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		o, err := objects.objects()
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), requestTimeout)
		defer cancel()
		cm, err := o.awsAuth(configmap.FieldManager, dryRunNone).Get(ctx)
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		doc, _ := readable(cm.Data)
		given := map[string]bool{"": true}
		for _, arg := range args {
			given[arg] = true
		}
		var found []cobra.Completion
		for _, l := range doc.Entries() {
			for _, c := range of(&l.Entry) {
				if text, _, _ := strings.Cut(c, "\t"); !given[text] && visible.Text(text) == text {
					given[text] = true
					found = append(found, c)
				}
			}
		}
		return found, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
	}
}
