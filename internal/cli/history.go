package cli

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/config"
	"github.com/rolecall/rolecall/internal/history"
	"github.com/rolecall/rolecall/internal/register/configmap"
	"github.com/rolecall/rolecall/internal/visible"
)

// live is what aws-auth holds now, beside its revisions.
const live = "live"

// whyShown is how much of a revision's reason a table shows that is not wide,
// in bytes.
const whyShown = 60

type historyFlags struct {
	objects objectFlags
	output  string
}

func newHistory() *cobra.Command {
	var f historyFlags
	cmd := &cobra.Command{
		Use:   "history [REV]",
		Short: "List what aws-auth was, or print one of these contents",
		Long: fmt.Sprintf(`List the revisions of aws-auth, with who wrote each and when. With a revision, by
number or by name, its content is printed as a manifest.

A revision is a content: its keys' texts and binaryData, which decide access. It
has the labels and annotations that stood with it last; that a tool writes these
makes no revision.

Kept are %d good contents, thinned with age: the newest %d, then the newest of each
of %d hours, then of each of %d days on which there was one. While that is fewer,
the newest of the others fill it up. Beside them the last %d broken ones are kept,
which the authenticator could not read.

The exit status is 0, or 1 if the history cannot be read.`,
			history.Kept, history.KeptNewest, history.KeptHours, history.KeptDays, history.KeptBroken),
		Example: `  rolecall history                        # what was written, when and by whom?
  rolecall history -o wide
  rolecall history 12                     # as a manifest
  rolecall history diff 12                # what has changed since?
  rolecall rollback 12                    # back to it`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: completeRevision(&f.objects, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			formats := []string{"table", "wide", "json", "yaml", "name"}
			if err := checkOutput(f.output, formats...); err != nil {
				return err
			}
			o, err := f.objects.objects()
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), requestTimeout)
			defer cancel()
			list, err := o.revisions().List(ctx)
			if err != nil {
				return fmt.Errorf("namespace %s: %w", o.namespace, err)
			}
			if len(args) == 0 {
				return f.list(ctx, o, list, cmd.OutOrStdout(), cmd.ErrOrStderr())
			}
			r, err := findRevision(list, args[0], o.namespace)
			if err != nil {
				return err
			}
			if f.output == "table" || f.output == "wide" || f.output == "name" {
				return f.list(ctx, o, []history.Revision{*r}, cmd.OutOrStdout(), cmd.ErrOrStderr())
			}
			return f.print(o, r, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f.objects.addTo(cmd.Flags())
	cmd.Flags().StringVarP(&f.output, "output", "o", "", "table, wide, json, yaml or name")
	cmd.AddCommand(newHistoryDiff())
	return cmd
}

func newHistoryDiff() *cobra.Command {
	var objects objectFlags
	cmd := &cobra.Command{
		Use:   "diff REV [REV]",
		Short: "Show what has changed in aws-auth since a revision, or between two",
		Long: `Show what has changed from a revision to what aws-auth holds now, or to another
revision: the keys' texts, labels, annotations and binaryData.

The exit status is kubectl diff's: 0 if nothing differs, 1 if something does, 2
if it cannot be told.`,
		Example: `  rolecall history diff 12
  rolecall history diff 11 12`,
		Args: func(cmd *cobra.Command, args []string) error {
			if err := cobra.RangeArgs(1, 2)(cmd, args); err != nil {
				return &exitCode{exitPlan, err}
			}
			return nil
		},
		ValidArgsFunction: completeRevision(&objects, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			o, err := objects.objects()
			if err != nil {
				return &exitCode{exitPlan, err}
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), requestTimeout)
			defer cancel()
			differs, err := diffRevisions(ctx, o, args, cmd.OutOrStdout())
			switch {
			case err != nil:
				return &exitCode{exitPlan, err}
			case differs:
				return &exitCode{code: exitDiffers}
			}
			return nil
		},
	}
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return &exitCode{exitPlan, cmd.Parent().FlagErrorFunc()(cmd, err)}
	})
	objects.addTo(cmd.Flags())
	return cmd
}

// revisions are aws-auth's history. Reading it takes the verb list.
func (o *objects) revisions() *history.Store {
	return history.New(o.client.AppsV1().ControllerRevisions(o.namespace), o.awsAuthName, configmap.FieldManager)
}

// findRevision looks one up by its number or its name.
func findRevision(list []history.Revision, given, namespace string) (*history.Revision, error) {
	var found []*history.Revision
	var numbers, names []string
	for i := range list {
		r := &list[i]
		number := strconv.FormatInt(r.Number, 10)
		if given == number || given == r.Name {
			found = append(found, r)
			names = append(names, r.Name)
		}
		numbers = append(numbers, number)
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1: // two leaders at once, see package history
		return nil, fmt.Errorf("%d revisions have the number %s: write one's name, %s", len(found), given, strings.Join(names, " or "))
	case len(list) == 0:
		return nil, fmt.Errorf("there are no revisions in namespace %s: give the agents' namespace with -n; where it is the right one, no agent has led yet", namespace)
	}
	return nil, fmt.Errorf("there is no revision %q: there are %s; see rolecall history", given, strings.Join(numbers, ", "))
}

// completeRevision is the shell's completion of up to n revisions.
func completeRevision(objects *objectFlags, n int) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) >= n {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		o, err := objects.objects()
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), completionTimeout)
		defer cancel()
		list, err := o.revisions().List(ctx)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var found []cobra.Completion
		for i := range list {
			r := &list[i]
			found = append(found, cobra.CompletionWithDesc(strconv.FormatInt(r.Number, 10), visible.Text(fmt.Sprintf("%s ago by %s", age(r.At), r.Who))))
		}
		return found, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
	}
}

// revisionList is the history as -o json and -o yaml print it.
type revisionList struct {
	APIVersion string           `json:"apiVersion"`
	Kind       string           `json:"kind"`
	Items      []listedRevision `json:"items"` // the newest first
}

type listedRevision struct {
	Number  int64     `json:"number"`
	Name    string    `json:"name"` // of the ControllerRevision
	At      time.Time `json:"at"`
	Who     string    `json:"who"`
	Why     string    `json:"why,omitempty"`
	Version string    `json:"resourceVersion,omitempty"` // of aws-auth
	Broken  string    `json:"broken,omitempty"`          // why the authenticator could not read it
	Live    bool      `json:"live"`                      // aws-auth holds it now
	Entries int       `json:"entries"`                   // that the authenticator reads
	Bytes   int       `json:"bytes"`
}

func (f *historyFlags) list(ctx context.Context, o *objects, list []history.Revision, stdout, stderr io.Writer) error {
	if f.output == "name" {
		for i := range list {
			fmt.Fprintf(stdout, "controllerrevision.apps/%s\n", visible.Text(list[i].Name))
		}
		return nil
	}
	now, exists, err := o.awsAuth(configmap.FieldManager, dryRunNone).Read(ctx)
	if err != nil {
		complain(stderr, "warning", fmt.Sprintf("which of them is live is not known: %v", err))
	}
	out := revisionList{APIVersion: config.APIVersion, Kind: "RevisionList", Items: make([]listedRevision, len(list))}
	for i := range list {
		r, item := &list[i], &out.Items[i]
		*item = listedRevision{Number: r.Number, Name: r.Name, At: r.At, Who: r.Who, Why: r.Why, Version: r.Version, Broken: r.Broken}
		content, err := r.Content()
		if err != nil {
			complain(stderr, "warning", err.Error())
			continue
		}
		item.Live = exists && content.Key() == history.ContentOf(now).Key()
		for _, text := range content.Data {
			item.Bytes += len(text)
		}
		for _, body := range content.BinaryData {
			item.Bytes += len(body)
		}
		if doc := awsauth.ParseConfigMap(content.Data, content.BinaryData); len(doc.Unreadable()) == 0 {
			item.Entries = len(doc.Entries())
		}
	}
	if f.output == "json" || f.output == "yaml" {
		return printObject(stdout, f.output, out)
	}
	if len(list) == 0 {
		fmt.Fprintf(stderr, "no revisions in namespace %s: give the agents' namespace with -n; where it is the right one, no agent has led yet\n", visible.Text(o.namespace))
		return nil
	}
	return printTable(stdout, out.rows(f.output == "wide"))
}

func (l *revisionList) rows(wide bool) [][]string {
	rows := [][]string{{"REVISION", "AGE", "WHO", "ENTRIES", "BYTES", "STATUS", "WHY"}}
	if wide {
		rows[0] = slices.Concat(rows[0][:6], []string{"TIME", "NAME", "WHY"})
	}
	for i := range l.Items {
		r := &l.Items[i]
		entries, status, why := strconv.Itoa(r.Entries), "good", r.Why
		switch {
		case r.Broken != "":
			entries, status, why = "-", "broken", r.Broken
		case r.Live:
			status = live
		}
		row := []string{strconv.FormatInt(r.Number, 10), age(r.At), r.Who, entries, strconv.Itoa(r.Bytes), status}
		if wide {
			row = append(row, r.At.Local().Format(time.RFC3339), r.Name, why)
		} else {
			row = append(row, visible.Cut(why, whyShown))
		}
		rows = append(rows, row)
	}
	return rows
}

// print prints a revision's content as the manifest of aws-auth.
func (f *historyFlags) print(o *objects, r *history.Revision, stdout, stderr io.Writer) error {
	content, err := r.Content()
	if err != nil {
		return err
	}
	if r.Broken != "" {
		complain(stderr, "warning", fmt.Sprintf("revision %d is broken, with it whoever stands in aws-auth is locked out: %s", r.Number, r.Broken))
	}
	format := f.output
	if format == "" {
		format = "yaml"
		fmt.Fprintf(stdout, "# revision %d of %s, %s by %s\n", r.Number, visible.Text(o.name()), r.At.Local().Format(time.RFC3339), visible.Text(r.Who))
	}
	return printObject(stdout, format, &corev1.ConfigMap{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"},
		ObjectMeta: metav1.ObjectMeta{Namespace: o.awsAuthNamespace, Name: o.awsAuthName, Labels: content.Labels, Annotations: content.Annotations},
		Data:       content.Data,
		BinaryData: content.BinaryData,
	})
}

// diffRevisions prints the difference from a revision to another, or to what is
// live.
func diffRevisions(ctx context.Context, o *objects, args []string, stdout io.Writer) (differs bool, err error) {
	list, err := o.revisions().List(ctx)
	if err != nil {
		return false, fmt.Errorf("namespace %s: %w", o.namespace, err)
	}
	var contents [2]history.Content
	labels := [2]string{1: live}
	for i, arg := range args {
		r, err := findRevision(list, arg, o.namespace)
		if err != nil {
			return false, err
		}
		if contents[i], err = r.Content(); err != nil {
			return false, err
		}
		labels[i] = fmt.Sprintf("revision %d", r.Number)
	}
	if len(args) == 1 {
		cm, err := o.awsAuth(configmap.FieldManager, dryRunNone).Get(ctx)
		if err != nil {
			return false, err
		}
		contents[1] = history.ContentOf(cm)
	}
	var b bytes.Buffer
	renderDiff(&b, parts(contents[0]), parts(contents[1]), o.name(), labels[0], labels[1], newPalette(colour(stdout)))
	_, err = stdout.Write(b.Bytes())
	return b.Len() > 0, err
}

// parts are the texts of a content: its keys', and in brackets, which no key
// can have, what else there is. Annotations of ours are no part of it, as they
// are none of a revision.
func parts(c history.Content) map[string]string {
	out := maps.Clone(c.Data)
	if out == nil {
		out = map[string]string{}
	}
	lines := func(name string, m map[string]string) {
		for _, k := range slices.Sorted(maps.Keys(m)) {
			if name == "(annotations)" && slices.Contains(configmap.Annotations(), k) {
				continue
			}
			out[name] += fmt.Sprintf("%s: %q\n", k, m[k])
		}
	}
	lines("(labels)", c.Labels)
	lines("(annotations)", c.Annotations)
	for _, k := range slices.Sorted(maps.Keys(c.BinaryData)) {
		sum := sha256.Sum256(c.BinaryData[k])
		out["(binaryData)"] += fmt.Sprintf("%s: %d bytes, sha256 %s\n", k, len(c.BinaryData[k]), hex.EncodeToString(sum[:]))
	}
	return out
}

// differences are the names of the parts that two contents do not share.
func differences(a, b history.Content) []string {
	var names []string
	x, y := parts(a), parts(b)
	for _, k := range bothKeys(x, y) {
		was, had := x[k]
		if is, has := y[k]; had != has || was != is {
			names = append(names, k)
		}
	}
	return names
}
