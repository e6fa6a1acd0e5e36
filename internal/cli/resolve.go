package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/config"
	"github.com/rolecall/rolecall/internal/aws"
	"github.com/rolecall/rolecall/internal/visible"
)

type resolveFlags struct {
	objects objectFlags
	file    string
	region  string
	output  string
	can     canFlags
}

func newResolve() *cobra.Command {
	var f resolveFlags
	cmd := &cobra.Command{
		Use:   "resolve [ARN] [--can VERB RESOURCE[/NAME]]",
		Short: "Say who an ARN is in the cluster, by which entry, and what it may do",
		Long: `Say what the authenticator answers for an ARN: the username and the groups, the
entry that says so, and the entries that look as if they did. The ARN may be that
of a user, of a role with its path or without, or of a session as "aws sts
get-caller-identity" says it; placeholders are filled in as far as it tells.
Without an ARN it is the caller's own, which STS is asked for.

With --can the API server is asked whether that user with these groups may do
something (a SubjectAccessReview, as kubectl auth can-i makes one): a verb, and a
resource with or without a name, or a URL that begins with /. It takes the right to
create subjectaccessreviews.

With --filename a file is read in place of the live aws-auth; no cluster is asked
then but for --can.

The exit status is 0 if the ARN is let in, and with --can if the answer is yes;
else 1.`,
		Example: `  rolecall resolve arn:aws:iam::111122223333:role/dev
  rolecall resolve arn:aws:sts::111122223333:assumed-role/dev/ana@example.com -o json
  rolecall resolve                                     # who am I here?
  rolecall resolve --can get pods                      # and may I?
  rolecall resolve arn:aws:iam::111122223333:role/dev --can delete deployments.apps/web -n shop
  rolecall resolve arn:aws:iam::111122223333:role/dev -f aws-auth.yaml`,
		Args: f.args,
		RunE: func(cmd *cobra.Command, args []string) error {
			// The agents' own namespace, in the environment, is none to ask about.
			f.can.namespace = f.objects.kube.namespace
			return f.run(cmd.Context(), args, cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	flags := cmd.Flags()
	f.objects.addTo(flags)
	flags.Lookup("namespace").Usage = "namespace that --can asks about (default: that of the kubeconfig's context)"
	flags.StringVarP(&f.file, "filename", "f", "", "file to read in place of the live aws-auth, - for standard input")
	flags.StringVar(&f.region, "region", "", "AWS region to ask STS in (default: the SDK's own chain)")
	flags.StringVarP(&f.output, "output", "o", "", "text, json or yaml")
	f.can.addTo(flags)
	_ = cmd.MarkFlagFilename("filename", "yaml", "yml", "json")
	return cmd
}

func (f *resolveFlags) args(cmd *cobra.Command, args []string) error {
	if f.can.verb == "" {
		return cobra.MaximumNArgs(1)(cmd, args)
	}
	if len(args) == 0 || len(args) > 2 || strings.HasPrefix(args[len(args)-1], "arn:") {
		return fmt.Errorf("--can %s: name what: --can VERB RESOURCE[/NAME], such as --can get pods", f.can.verb)
	}
	return nil
}

func (f *resolveFlags) run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	if err := checkOutput(f.output, "text", "json", "yaml"); err != nil {
		return err
	}
	var resource string
	if f.can.verb != "" {
		resource = args[len(args)-1]
		args = args[:len(args)-1]
	}
	doc, err := f.read(ctx, stdin)
	if err != nil {
		return err
	}
	var arn string
	if len(args) > 0 {
		arn = args[0]
	} else if arn, err = f.caller(ctx); err != nil {
		return err
	}
	r, err := awsauth.Resolve(doc.data, arn)
	if err != nil {
		return err
	}
	out := newResolution(r, doc)
	for _, p := range r.Broken {
		complain(stderr, "warning", fmt.Sprintf("%s: %v: the authenticator takes the key for empty, so whoever it lists is mapped by nothing; see rolecall lint", doc.label, p))
	}
	if f.can.verb != "" && r.Allowed() {
		if len(r.Open) > 0 {
			complain(stderr, "warning", fmt.Sprintf("the ARN does not tell %s: asked with it as it stands", strings.Join(r.Open, ", ")))
		}
		if out.Access, err = f.ask(ctx, r, resource, stderr); err != nil {
			return err
		}
	}
	if f.output == "json" || f.output == "yaml" {
		err = printObject(stdout, f.output, out)
	} else {
		err = out.print(stdout, colour(stdout))
	}
	if err == nil && (!r.Allowed() || out.Access != nil && !out.Access.Allowed) {
		return &exitCode{code: exitError}
	}
	return err
}

// read returns the aws-auth that is asked about.
func (f *resolveFlags) read(ctx context.Context, stdin io.Reader) (*lintDoc, error) {
	if f.file == "" {
		return liveDoc(ctx, &f.objects)
	}
	docs, err := readLintFiles([]string{f.file}, stdin)
	if err != nil {
		return nil, err
	}
	if len(docs) != 1 {
		return nil, fmt.Errorf("%s holds %d aws-auths: give a file with one", f.file, len(docs))
	}
	return docs[0], nil
}

// caller asks STS whose credentials these are.
func (f *resolveFlags) caller(ctx context.Context) (string, error) {
	dir, err := aws.New(ctx, aws.Options{Region: f.region})
	if err != nil {
		return "", err
	}
	who, err := dir.Caller(ctx)
	if err != nil {
		return "", fmt.Errorf("who the caller is, is not known: %w; or give an ARN", err)
	}
	return who.ARN, nil
}

// ask asks the API server what the resolved user may do.
func (f *resolveFlags) ask(ctx context.Context, r *awsauth.Resolution, resource string, stderr io.Writer) (*access, error) {
	cfg, err := f.objects.kube.config()
	if err != nil {
		return nil, fmt.Errorf("--can asks the API server: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	return f.can.ask(ctx, cfg, &f.objects.kube, r, resource, stderr)
}

// resolution is what -o json and -o yaml print.
type resolution struct {
	APIVersion string        `json:"apiVersion"`
	Kind       string        `json:"kind"`
	Source     string        `json:"source"` // NAMESPACE/NAME of the live one, or the file
	Asked      string        `json:"asked"`
	ARN        string        `json:"arn"` // that the authenticator looks up
	Session    string        `json:"session,omitempty"`
	Allowed    bool          `json:"allowed"` // whether the authenticator lets it in
	Username   string        `json:"username,omitempty"`
	Groups     []string      `json:"groups,omitempty"`
	Open       []string      `json:"open,omitempty"` // placeholders that the ARN does not tell
	Entry      *placedEntry  `json:"entry,omitempty"`
	Refused    string        `json:"refused,omitempty"` // why, although there is an entry
	Random     []placedEntry `json:"random,omitempty"`  // that might as well answer
	Shadowed   []placedEntry `json:"shadowed,omitempty"`
	Broken     []brokenKey   `json:"broken,omitempty"`
	Access     *access       `json:"access,omitempty"` // of --can
}

// placedEntry is an entry with its place in its key's text.
type placedEntry struct {
	awsauth.Entry
	Key      string `json:"key"`
	Line     int    `json:"line,omitempty"`
	Column   int    `json:"column,omitempty"`
	FileLine int    `json:"fileLine,omitempty"`
	SyncedBy string `json:"syncedBy,omitempty"`
	Why      string `json:"why,omitempty"` // it does not answer

	source string
}

type brokenKey struct {
	Key    string `json:"key"`
	Line   int    `json:"line,omitempty"`
	Reason string `json:"reason"`
}

func placed(l *awsauth.Located, d *lintDoc) placedEntry {
	e := placedEntry{Entry: l.Entry, Key: l.Kind.Key(), Line: l.Line, Column: l.Column, SyncedBy: l.SyncedBy, Why: l.Why}
	e.source, e.FileLine, _ = d.locate(e.Key, l.Line, l.Column)
	return e
}

func placedAll(list []awsauth.Located, d *lintDoc) []placedEntry {
	var out []placedEntry
	for i := range list {
		out = append(out, placed(&list[i], d))
	}
	return out
}

func newResolution(r *awsauth.Resolution, d *lintDoc) *resolution {
	out := &resolution{
		APIVersion: config.APIVersion, Kind: "Resolution", Source: d.label,
		Asked: r.Asked, ARN: r.ARN, Session: r.Session, Allowed: r.Allowed(),
		Username: r.Username, Groups: r.Groups, Open: r.Open, Refused: r.Refused,
		Random: placedAll(r.Random, d), Shadowed: placedAll(r.Shadowed, d),
	}
	if r.Entry != nil {
		entry := placed(r.Entry, d)
		out.Entry = &entry
	}
	for _, p := range r.Broken {
		out.Broken = append(out.Broken, brokenKey{p.Key, p.Line, p.Reason})
	}
	return out
}

func (e *placedEntry) String() string {
	s := e.Key
	switch {
	case e.FileLine > 0:
		s = fmt.Sprintf("%s:%d", e.source, e.FileLine)
	case e.Line > 0:
		s += fmt.Sprintf(" line %d", e.Line)
	}
	if e.Why == "" {
		return s + ": " + e.ARN
	}
	return s + ": " + e.Why
}

func (r *resolution) print(w io.Writer, colour bool) error {
	c := newPalette(colour)
	var b bytes.Buffer
	line := func(what, text string) { fmt.Fprintf(&b, "%-9s %s\n", what, visible.Text(text)) }
	line("arn", r.ARN)
	if r.Session != "" {
		line("session", r.Session)
	}
	switch {
	case r.Entry == nil:
		fmt.Fprintf(&b, "%snobody%s    no entry of %s maps it, nor its account\n", c.red, c.reset, visible.Text(r.Source))
	case r.Refused != "":
		fmt.Fprintf(&b, "%srefused%s   %s\n", c.red, c.reset, visible.Text(r.Refused))
		line("entry", r.Entry.String())
	default:
		line("username", r.Username)
		line("groups", groups(r.Groups))
		line("entry", r.Entry.String())
	}
	for i := range r.Random {
		e := &r.Random[i]
		fmt.Fprintf(&b, "%sor%s        %s\n", c.yellow, c.reset, visible.Text(fmt.Sprintf("%s, username %s, %s: which of the two answers is chance", e.String(), e.Username, groups(e.Groups))))
	}
	for i := range r.Shadowed {
		line("shadowed", r.Shadowed[i].String())
	}
	if r.Access != nil {
		line("can", r.Access.String())
	}
	_, err := w.Write(b.Bytes())
	return err
}
