package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"

	corev1 "k8s.io/api/core/v1"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/internal/aws"
	"github.com/rolecall/rolecall/internal/visible"
)

// mend carries --fix out. Afterwards the documents hold what stands where they
// came from.
func (f *lintFlags) mend(ctx context.Context, docs []*lintDoc, stdin io.Reader, stdout, stderr io.Writer) error {
	shown := stdout
	if f.output != "" && f.output != "text" {
		shown = stderr
	}
	if docs[0].live != nil {
		return f.mendLive(ctx, docs[0], stdin, shown, stderr)
	}
	edits, err := editFiles(docs)
	if err != nil {
		return err
	}
	for i := range edits {
		e := &edits[i]
		if e.path == "-" {
			if err := f.mendStdin(e, stdout, stderr); err != nil {
				return err
			}
			continue
		}
		if bytes.Equal(e.before, e.after) {
			continue
		}
		c := newPalette(colour(shown))
		var b bytes.Buffer
		renderTexts(&b, e.path+" (now)", e.path+" (mended)", string(e.before), string(e.after), c)
		fmt.Fprintf(shown, "%s\n", b.Bytes())
		if err := f.ask(ctx, stdin, stderr, e.path); err != nil {
			return err
		}
		if f.dryRun == dryRunNone {
			if err := e.write(); err != nil {
				return err
			}
			if err := e.reread(); err != nil {
				return err
			}
		}
		fmt.Fprintf(shown, "%s mended%s\n", visible.Text(e.path), f.dryRun.note())
	}
	return nil
}

// mendStdin prints the mended text: whoever sends it on decides.
func (f *lintFlags) mendStdin(e *fileEdit, stdout, stderr io.Writer) error {
	if f.output != "" && f.output != "text" {
		return errors.New("-f - --fix prints the mended text: leave --output out")
	}
	if !bytes.Equal(e.before, e.after) {
		var b bytes.Buffer
		renderTexts(&b, "stdin", "mended", string(e.before), string(e.after), newPalette(colour(stderr)))
		fmt.Fprintf(stderr, "%s\n", b.Bytes())
	}
	body := e.after
	if f.dryRun != dryRunNone {
		body = e.before
	}
	if _, err := stdout.Write(body); err != nil {
		return err
	}
	if f.dryRun != dryRunNone {
		return nil
	}
	return e.reread()
}

func (f *lintFlags) ask(ctx context.Context, stdin io.Reader, stderr io.Writer, name string) error {
	if f.yes || f.dryRun != dryRunNone {
		return nil
	}
	return confirm(ctx, stdin, stderr, fmt.Sprintf("Write this to %s?", visible.Text(name)))
}

// mendLive mends the live aws-auth. What others have written meanwhile is
// mended anew, and shown again.
func (f *lintFlags) mendLive(ctx context.Context, d *lintDoc, stdin io.Reader, shown, stderr io.Writer) error {
	var seen string
	for try := 1; ; try++ {
		fixed, _ := awsauth.FixObject(d.object())
		if maps.Equal(fixed.Data, d.data) && len(fixed.BinaryData) == len(d.live.BinaryData) {
			return nil
		}
		var b bytes.Buffer
		renderDiff(&b, d.data, fixed.Data, d.label, live, "mended", newPalette(colour(shown)))
		if text := b.String(); text != seen {
			fmt.Fprintf(shown, "%s\n", text)
			seen = text
			if err := f.ask(ctx, stdin, stderr, d.label); err != nil {
				return err
			}
		}
		err := f.putLive(ctx, d, fixed)
		switch {
		case err == nil:
			fmt.Fprintf(shown, "%s mended%s\n", visible.Text(d.label), f.dryRun.note())
			if f.dryRun == dryRunNone {
				d.data, d.live.BinaryData = fixed.Data, fixed.BinaryData
			}
			return nil
		case !errors.Is(err, awsauth.ErrConflict):
			return err
		case try == lintTries:
			return fmt.Errorf("%w: %d times in a row; find out who writes it with rolecall history", err, try)
		}
		complain(stderr, "warning", fmt.Sprintf("somebody else has written %s meanwhile: looked at anew", d.label))
		again, err := liveDoc(ctx, &f.objects)
		if err != nil {
			return err
		}
		*d = *again
	}
}

func (f *lintFlags) putLive(ctx context.Context, d *lintDoc, fixed *corev1.ConfigMap) error {
	if f.dryRun == dryRunClient {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	if fixed.Immutable != nil && *fixed.Immutable {
		return fmt.Errorf("%s is immutable, so nothing in it can be changed: somebody whom an access entry lets in has to delete it and create it again without immutable", d.label)
	}
	_, err := d.objects.awsAuth(lintManager, f.dryRun).Put(ctx, fixed)
	return err
}

// askIAM adds the entries whose role or user IAM has no longer. An answer that
// failed is no finding.
func (f *lintFlags) askIAM(ctx context.Context, docs []*lintDoc, report *lintReport, stderr io.Writer) error {
	dir, err := aws.New(ctx, aws.Options{Region: f.region})
	if err != nil {
		return err
	}
	caller, err := dir.Caller(ctx)
	if err != nil {
		return fmt.Errorf("which roles and users exist is not known: %w", err)
	}
	names := map[awsauth.Kind]aws.Names{}
	var errs []error
	others := 0
	for _, d := range docs {
		identities := awsauth.Identities(d.data)
		var gone []string
		instead := map[string]string{}
		for _, id := range identities {
			if id.Account != caller.AccountID || id.Partition != caller.Partition {
				others++
				continue
			}
			known, asked := names[id.Kind]
			if !asked {
				list := dir.RoleNames
				if id.Kind == awsauth.User {
					list = dir.UserNames
				}
				var err error
				if known, err = list(ctx); err != nil {
					errs = append(errs, fmt.Errorf("whether the %ss exist is not known: %w", id.Kind, err))
				}
				names[id.Kind] = known
			}
			if known == nil {
				continue
			}
			arn, exists := known[id.Name]
			if !exists || id.Kind == awsauth.User && !awsauth.SameARN(arn, id.ARN) {
				gone = append(gone, id.ARN)
				instead[id.ARN] = arn
			}
		}
		for _, found := range awsauth.Gone(d.data, gone) {
			if arn := instead[found.ARN]; arn != "" {
				found.Message, found.Write = "IAM has the user under another path", arn
			}
			report.add(d, found)
		}
	}
	if others > 0 {
		complain(stderr, "warning", fmt.Sprintf("IAM was not asked about %s of other accounts than %s, whose credentials these are", counted(others, "entry", "entries"), caller.AccountID))
	}
	return errors.Join(errs...)
}
