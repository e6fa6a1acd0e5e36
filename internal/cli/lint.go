package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/prometheus/common/version"
	"github.com/spf13/cobra"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/awsauth/authfile"
	"github.com/rolecall/rolecall/config"
	"github.com/rolecall/rolecall/internal/visible"
)

const (
	// lintManager is the name under which the API server records what --fix writes.
	lintManager = "rolecall-lint"

	// lintTries is how often the live aws-auth is mended anew if others write
	// meanwhile.
	lintTries = 5
)

type lintFlags struct {
	objects   objectFlags
	files     []string
	fix       bool
	iam       bool
	region    string
	listRules bool
	yes       bool
	quiet     bool
	output    string
	dryRun    dryRun
}

func newLint() *cobra.Command {
	var f lintFlags
	cmd := &cobra.Command{
		Use:   "lint",
		Short: "Say what in aws-auth does not mean what it seems to, and mend it",
		Long: `Say what the authenticator makes of aws-auth otherwise than its author can have
meant: keys and entries that it drops, ARNs that match nobody, entries that
others keep from answering, and what is dangerous. The object and the file are
read too: keys that stand twice, beside data or in binaryData, another namespace,
an aws-auth that takes no change, and tools that undo edits. Each finding has its
place, the consequence, and what to write; of a key that cannot be read it is the
line of the slip.

Without --filename the live aws-auth is read. A file may be a manifest as kubectl
prints it, with other objects too, the text of one key, or a directory of either;
lines are those of the file. No cluster is asked then.

--fix writes what can be mended without asking what was meant: it shows the
difference and asks. Nobody else is mapped otherwise by it, and all other bytes
stay. A file is written in place; of standard input the mended text goes to
standard output. The live aws-auth is written only if nobody has written it since
it was read.

--iam asks IAM, with the AWS credentials found here, which roles and users of the
caller's account exist no longer; it takes iam:ListRoles and iam:ListUsers.

The exit status is 0 if there is nothing but notes, 1 if there are findings, 2 if
it cannot be told.`,
		Example: `  rolecall lint                                   # the live one
  rolecall lint -f aws-auth.yaml                  # without any cluster
  rolecall lint -f aws-auth.yaml --fix            # show what can be mended, ask, write
  rolecall lint --iam -o json | jq -r '.items[] | select(.severity == "fatal") | .arn'
  rolecall lint -f deploy/ -o sarif > rolecall.sarif
  kubectl -n kube-system get cm aws-auth -o yaml | rolecall lint -f - --fix --yes | kubectl replace -f -`,
		Args: func(cmd *cobra.Command, args []string) error {
			if err := cobra.NoArgs(cmd, args); err != nil {
				return &exitCode{exitPlan, fmt.Errorf("%w: give files with --filename", err)}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			worst, err := f.run(cmd.Context(), cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr())
			switch {
			case err != nil:
				return &exitCode{exitPlan, err}
			case worst:
				return &exitCode{code: exitDiffers}
			}
			return nil
		},
	}
	// A flag that is wrong must not look like findings.
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return &exitCode{exitPlan, cmd.Parent().FlagErrorFunc()(cmd, err)}
	})
	flags := cmd.Flags()
	f.objects.addTo(flags)
	flags.StringArrayVarP(&f.files, "filename", "f", nil, "file or directory to read in place of the live aws-auth, - for standard input; may be repeated")
	flags.BoolVar(&f.fix, "fix", false, "mend what can be mended without asking what was meant")
	flags.BoolVar(&f.iam, "iam", false, "ask IAM which roles and users exist no longer")
	flags.StringVar(&f.region, "region", "", "AWS region to ask IAM in (default: the SDK's own chain); outside of partition aws it must be known")
	flags.BoolVar(&f.listRules, "list-rules", false, "list the rules and exit")
	flags.BoolVarP(&f.yes, "yes", "y", false, "do not ask")
	flags.BoolVarP(&f.quiet, "quiet", "q", false, "print nothing where there is nothing but notes")
	flags.StringVarP(&f.output, "output", "o", "", "text, json, yaml or sarif")
	f.dryRun.addTo(flags)
	_ = cmd.MarkFlagFilename("filename", "yaml", "yml", "json")
	return cmd
}

// run reports whether there are findings that are no notes. What was found is
// printed even where the error says that not everything could be looked at.
func (f *lintFlags) run(ctx context.Context, stdin io.Reader, stdout, stderr io.Writer) (bool, error) {
	if err := checkOutput(f.output, "text", "json", "yaml", "sarif"); err != nil {
		return false, err
	}
	if f.listRules {
		return false, f.printRules(stdout)
	}
	if !f.fix && f.dryRun != dryRunNone {
		return false, errors.New("--dry-run without --fix: nothing is written anyway")
	}
	var docs []*lintDoc
	var err error
	switch {
	case len(f.files) > 0 && f.dryRun == dryRunServer:
		return false, errors.New("--dry-run=server: no server is asked about files; write client")
	case len(f.files) > 0:
		docs, err = readLintFiles(f.files, stdin)
	default:
		var d *lintDoc
		if d, err = liveDoc(ctx, &f.objects); err == nil {
			docs = append(docs, d)
		}
	}
	if len(docs) == 0 {
		return false, err
	}
	if f.fix {
		if fixErr := f.mend(ctx, docs, stdin, stdout, stderr); fixErr != nil {
			return false, errors.Join(err, fixErr)
		}
	}
	report := newLintReport(docs)
	if f.iam {
		iamErr := f.askIAM(ctx, docs, report, stderr)
		err = errors.Join(err, iamErr)
	}
	out := stdout
	if f.fix && slices.Contains(f.files, "-") {
		out = stderr // where the mended text is not
	}
	return report.worst(), errors.Join(err, f.print(out, report))
}

// liveDoc reads the aws-auth of the cluster.
func liveDoc(ctx context.Context, f *objectFlags) (*lintDoc, error) {
	o, err := f.objects()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	cm, exists, err := o.awsAuth(lintManager, dryRunNone).Read(ctx)
	if err != nil {
		return nil, err
	}
	if !exists {
		return nil, fmt.Errorf("there is no %s, so nobody is mapped by it: \"rolecall upsert\" makes one, \"rolecall history\" tells whether there was one", o.name())
	}
	return &lintDoc{label: o.name(), data: cm.Data, objects: o, live: cm}, nil
}

// lintReport is what was found as -o json and -o yaml print it.
type lintReport struct {
	APIVersion string       `json:"apiVersion"`
	Kind       string       `json:"kind"`
	Items      []lintedItem `json:"items"`

	docs []*lintDoc
}

// lintedItem is a finding with its place: Line and Column are those of the
// key's text, FileLine and FileColumn those of the file.
type lintedItem struct {
	Source string `json:"source"` // NAMESPACE/NAME of the live one, or the file
	awsauth.Finding
	FileLine   int `json:"fileLine,omitempty"`
	FileColumn int `json:"fileColumn,omitempty"`
	// Of the other entry.
	OtherSource   string `json:"otherSource,omitempty"`
	OtherFileLine int    `json:"otherFileLine,omitempty"`
}

func newLintReport(docs []*lintDoc) *lintReport {
	r := &lintReport{APIVersion: config.APIVersion, Kind: "LintReport", Items: []lintedItem{}, docs: docs}
	for _, d := range docs {
		for _, f := range d.lint() {
			r.addAt(d, f)
		}
	}
	return r
}

// add appends a finding on the data.
func (r *lintReport) add(d *lintDoc, f awsauth.Finding) {
	own := authfile.Finding{Finding: f}
	_, own.FileLine, own.FileColumn = d.locate(f.Key, f.Line, f.Column)
	if f.OtherLine > 0 {
		_, own.OtherFileLine, _ = d.locate(f.OtherKey, f.OtherLine, 0)
	}
	r.addAt(d, own)
}

// addAt appends a finding of which the place in the file is known.
func (r *lintReport) addAt(d *lintDoc, f authfile.Finding) {
	item := lintedItem{Finding: f.Finding, FileLine: f.FileLine, FileColumn: f.FileColumn, OtherFileLine: f.OtherFileLine}
	item.Source, _, _ = d.locate(f.Key, f.Line, f.Column)
	if f.OtherLine > 0 || f.OtherFileLine > 0 {
		item.OtherSource, _, _ = d.locate(f.OtherKey, f.OtherLine, 0)
	}
	r.Items = append(r.Items, item)
}

// worst reports whether there is more than notes.
func (r *lintReport) worst() bool {
	return slices.ContainsFunc(r.Items, func(i lintedItem) bool { return i.Severity != awsauth.Note })
}

func (f *lintFlags) print(w io.Writer, r *lintReport) error {
	switch f.output {
	case "json", "yaml":
		return printObject(w, f.output, r)
	case "sarif":
		return printSARIF(w, r)
	}
	if f.quiet && !r.worst() {
		return nil
	}
	var b bytes.Buffer
	c := newPalette(colour(w))
	count := map[awsauth.Severity]int{}
	mendable := 0
	for i := range r.Items {
		item := &r.Items[i]
		count[item.Severity]++
		if item.Mendable {
			mendable++
		}
		renderFinding(&b, item, c)
	}
	for _, d := range r.docs {
		if !slices.ContainsFunc(r.Items, func(i lintedItem) bool { return i.Source == d.label || strings.HasPrefix(i.Source, d.label+"/") }) {
			fmt.Fprintf(&b, "%s: nothing found\n", visible.Text(d.label))
		}
	}
	if len(r.Items) > 0 {
		var parts []string
		for _, s := range []awsauth.Severity{awsauth.Fatal, awsauth.Error, awsauth.Warning, awsauth.Note} {
			if count[s] > 0 {
				parts = append(parts, fmt.Sprintf("%d %s", count[s], s))
			}
		}
		fmt.Fprint(&b, strings.Join(parts, ", "))
		if mendable > 0 {
			fmt.Fprintf(&b, "; --fix mends %d", mendable)
		}
		fmt.Fprintln(&b)
	}
	_, err := w.Write(b.Bytes())
	return err
}

// place is FILE:LINE:COLUMN as editors take it, or the key and its line where
// there is no file.
func (i *lintedItem) place() string {
	return placeOf(i.Source, i.FileLine, i.FileColumn, i.Key, i.Line, i.Column)
}

// other is the place of the other entry, or "".
func (i *lintedItem) other() string {
	if i.OtherSource == "" {
		return ""
	}
	return placeOf(i.OtherSource, i.OtherFileLine, 0, i.OtherKey, i.OtherLine, 0)
}

func placeOf(source string, fileLine, fileColumn int, key string, line, column int) string {
	if fileLine > 0 {
		line, column = fileLine, fileColumn
	} else if key != "" {
		source += " " + key
	}
	if line > 0 {
		source += fmt.Sprintf(":%d", line)
		if column > 0 {
			source += fmt.Sprintf(":%d", column)
		}
	}
	return source
}

func renderFinding(b *bytes.Buffer, i *lintedItem, c palette) {
	tint := map[awsauth.Severity]string{awsauth.Fatal: c.red, awsauth.Error: c.red, awsauth.Warning: c.yellow, awsauth.Note: c.dim}[i.Severity]
	fmt.Fprintf(b, "%s: %s%s%s: %s (%s)\n", visible.Text(i.place()), tint, i.Severity, c.reset, visible.Text(i.Message), i.Rule)
	line := func(what, text string) {
		if text != "" {
			fmt.Fprintf(b, "    %-7s %s\n", what, visible.Text(text))
		}
	}
	line("entry", i.ARN)
	line("other", i.other())
	line("so", i.Consequence)
	line("write", i.Write)
	if i.Mendable && i.Mended != "" {
		for n, text := range strings.Split(i.Mended, "\n") {
			line(map[bool]string{true: "--fix"}[n == 0], strings.TrimRight(text, "\r"))
		}
	}
}

// ruleList is the rules as -o json and -o yaml print them.
type ruleList struct {
	APIVersion string         `json:"apiVersion"`
	Kind       string         `json:"kind"`
	Items      []awsauth.Rule `json:"items"`
}

func (f *lintFlags) printRules(w io.Writer) error {
	switch f.output {
	case "json", "yaml":
		return printObject(w, f.output, ruleList{config.APIVersion, "LintRuleList", awsauth.Rules()})
	case "sarif":
		return printSARIF(w, &lintReport{})
	}
	rows := [][]string{{"RULE", "SEVERITY", "FIX", "WHAT IS WRONG"}}
	for _, r := range awsauth.Rules() {
		rows = append(rows, []string{string(r.ID), string(r.Severity), map[bool]string{true: "yes", false: "no"}[r.Mendable], r.Title})
	}
	return printTable(w, rows)
}

// ruleHelp is where a rule is explained.
func ruleHelp(id awsauth.RuleID) string {
	ref := "main"
	if v := version.Version; strings.HasPrefix(v, "v") && !strings.Contains(v, "-") {
		ref = v
	}
	return "https://github.com/rolecall/rolecall/blob/" + ref + "/docs/lint.md#" + string(id)
}

// openFile reads a file, or standard input for "-".
func openFile(name string, stdin io.Reader) ([]byte, error) {
	if name == "-" {
		body, err := io.ReadAll(stdin)
		if err != nil {
			return nil, fmt.Errorf("read standard input: %w", err)
		}
		return body, nil
	}
	return os.ReadFile(name)
}
