package cli

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/rolecall/rolecall/internal/visible"
)

// Exit codes of status.
const (
	exitAttention = 1 // something needs a person
	exitUnknown   = 2 // health cannot be told
)

type statusFlags struct {
	objects   objectFlags
	leaseName string
	daemonSet string
	output    string
	watch     bool
	interval  time.Duration
}

func newStatus() *cobra.Command {
	var f statusFlags
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show who leads, how the sources do, and what needs a person",
		Long: `Show who leads and since when, how many agents there are, how each source did
when it was last asked, which node roles are reported, what aws-auth holds, who
wrote it last, and what is held back. What needs a person comes first, each with
what to do about it.

It takes the rights to get the Lease, the ledger and the DaemonSet and to list
leases and controllerrevisions in the agents' namespace, and to get aws-auth.
What cannot be read is said, and the rest is shown. What only the leader knows,
such as why a source fails, it publishes on its Lease.

With --watch it shows that again and again until it is interrupted.

The exit status is 0 if all is well, 1 if something needs a person (nobody
leads, the leader does not renew its Lease, its last pass failed, an edit of the
config is refused, a source failed, a report is not believed, removals are held
back, a change could not be made, an unmanaged entry stands in the way, aws-auth is
malformed or nearly full, or another installation manages it),
2 if nothing is known to need one, but the Lease, the ledger or aws-auth cannot
be read. With --watch it is 0.`,
		Example: `  rolecall status
  rolecall status --watch
  rolecall status -o wide                            # whole identities, hashes and errors
  rolecall status -o json | jq -r '.problems[]'      # what needs a person?
  rolecall status -n rolecall-system --as=nobody     # what may others see?`,
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.check(); err != nil {
				return &exitCode{exitUnknown, err}
			}
			o, err := f.objects.objects()
			if err != nil {
				return &exitCode{exitUnknown, err}
			}
			s := &surveyor{objects: o, leaseName: f.leaseName, daemonSet: f.daemonSet}
			if f.watch {
				return f.follow(cmd.Context(), s, cmd.OutOrStdout())
			}
			return f.once(cmd.Context(), s, cmd.OutOrStdout())
		},
	}
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return &exitCode{exitUnknown, cmd.Parent().FlagErrorFunc()(cmd, err)}
	})
	flags := cmd.Flags()
	f.objects.addTo(flags)
	f.objects.own.StringVar(&f.leaseName, "lease-name", defaultLeaseName, "name of the Lease that elects the leader")
	f.objects.own.StringVar(&f.daemonSet, "daemonset", defaultDaemonSet, "name of the agents' DaemonSet; empty for none")
	flags.AddFlagSet(f.objects.own)
	flags.StringVarP(&f.output, "output", "o", "", "table, wide, json or yaml")
	flags.BoolVarP(&f.watch, "watch", "w", false, "show it again and again")
	flags.DurationVar(&f.interval, "interval", 5*time.Second, "how often with --watch, from 1s")
	return cmd
}

func (f *statusFlags) check() error {
	if f.interval < time.Second {
		return fmt.Errorf("--interval %s: write a time from 1s", f.interval)
	}
	return checkOutput(f.output, "table", "wide", "json", "yaml")
}

func (f *statusFlags) once(ctx context.Context, s *surveyor, stdout io.Writer) error {
	survey := s.look(ctx)
	if err := ctx.Err(); err != nil {
		return &exitCode{exitUnknown, errors.New("interrupted")}
	}
	if err := f.print(stdout, survey); err != nil {
		return &exitCode{exitUnknown, err}
	}
	switch survey.Health {
	case healthBad:
		return &exitCode{code: exitAttention}
	case healthUnknown:
		return &exitCode{code: exitUnknown}
	}
	return nil
}

// follow shows the status again and again until ctx ends.
func (f *statusFlags) follow(ctx context.Context, s *surveyor, stdout io.Writer) error {
	again := time.NewTicker(f.interval)
	defer again.Stop()
	for first := true; ; first = false {
		survey := s.look(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err := f.redraw(stdout, survey, first); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-again.C:
		}
	}
}

// print prints a survey as asked.
func (f *statusFlags) print(w io.Writer, v *survey) error {
	if f.output == "json" || f.output == "yaml" {
		return printObject(w, f.output, v)
	}
	var b bytes.Buffer
	if err := v.render(&b, f.output == "wide", newPalette(colour(w))); err != nil {
		return err
	}
	_, err := w.Write(b.Bytes())
	return err
}

// redraw prints a survey in place of the one before on a terminal, behind it
// elsewhere: YAML documents and tables with "---" between them, JSON objects
// one after the other.
func (f *statusFlags) redraw(w io.Writer, v *survey, first bool) error {
	text := f.output == "" || f.output == "table" || f.output == "wide"
	if !text || !isTerminal(w) {
		if !first && f.output != "json" {
			if _, err := fmt.Fprintln(w, "---"); err != nil {
				return err
			}
		}
		return f.print(w, v)
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s, every %s\n\n", v.At.Local().Format(time.DateTime), f.interval)
	if err := v.render(&b, f.output == "wide", newPalette(colour(w))); err != nil {
		return err
	}
	shown := b.String()
	if file, ok := w.(*os.File); ok {
		if _, height, err := term.GetSize(int(file.Fd())); err == nil {
			shown = firstLines(shown, height)
		}
	}
	// In one go: cursor home, clear, text.
	_, err := io.WriteString(w, "\x1b[H\x1b[2J"+shown)
	return err
}

// firstLines is as much of a text as a terminal of that height shows: what needs
// a person stands first and must not scroll away.
func firstLines(text string, height int) string {
	lines := strings.SplitAfter(text, "\n")
	if height < 4 || len(lines) <= height {
		return text
	}
	return strings.Join(lines[:height-2], "") + fmt.Sprintf("... %d more lines\n", len(lines)-1-(height-2))
}

// rolesShown is how many node roles a table shows that is not wide.
const rolesShown = 20

// render prints a survey for a person: what needs one first.
func (v *survey) render(w io.Writer, wide bool, c palette) error {
	v.renderHealth(w, c)
	rows := v.summary(wide)
	if len(rows) > 0 {
		fmt.Fprintln(w)
	}
	width := 0
	for _, row := range rows {
		width = max(width, len(row[0]))
	}
	for _, row := range rows {
		fmt.Fprintf(w, "%-*s   %s\n", width+1, row[0]+":", visible.Text(row[1]))
	}
	for _, table := range [][][]string{v.sourceRows(), v.roleRows(wide)} {
		if len(table) < 2 {
			continue
		}
		fmt.Fprintln(w)
		if err := printTable(w, table); err != nil {
			return err
		}
	}
	if n := len(v.NodeRoles) - rolesShown; n > 0 && !wide {
		fmt.Fprintf(w, "and %d more: -o wide shows all\n", n)
	}
	return nil
}

func (v *survey) renderHealth(w io.Writer, c palette) {
	switch v.Health {
	case healthGood:
		fmt.Fprintf(w, "%shealthy%s\n", c.green, c.reset)
	case healthUnknown:
		fmt.Fprintf(w, "%swhether all is well cannot be told%s\n", c.yellow, c.reset)
	case healthBad:
		fmt.Fprintf(w, "%sneeds attention%s\n", c.red, c.reset)
	}
	for _, text := range v.Problems {
		fmt.Fprintf(w, "%s! %s%s\n", c.red, visible.Text(text), c.reset)
	}
	for _, u := range v.Unread {
		fmt.Fprintf(w, "%s? cannot read %s: %s%s\n", c.yellow, visible.Text(u.What), visible.Text(u.Error), c.reset)
	}
	for _, text := range v.Notes {
		fmt.Fprintf(w, "%s- %s%s\n", c.dim, visible.Text(text), c.reset)
	}
}

// summary are the lines between what needs a person and the tables.
func (v *survey) summary(wide bool) [][2]string {
	var rows [][2]string
	add := func(what, format string, args ...any) {
		rows = append(rows, [2]string{what, fmt.Sprintf(format, args...)})
	}
	if l := v.Leader; l != nil {
		name := l.Node
		if wide {
			name = l.Identity
		}
		add("Leader", "%s for %s, renewed %s ago", name, age(l.Since), age(l.Renewed))
	}
	if s := v.Status; s != nil {
		version := ""
		if wide && s.Version != "" {
			version = ", version " + s.Version
		}
		add("Last pass", "%s ago: %s%s", age(s.Pass), s.Result, version)
	}
	if text := v.config(wide); text != "" {
		add("Config", "%s", text)
	}
	if a := v.Agents; a != nil {
		var parts []string
		if a.Reckoned > 0 {
			parts = append(parts, fmt.Sprintf("%d", a.Reckoned))
		}
		if s := a.Set; s != nil {
			parts = append(parts, fmt.Sprintf("DaemonSet %s: %d desired, %d ready, %d updated", s.Name, s.Desired, s.Ready, s.Updated))
		}
		add("Agents", "%s", strings.Join(parts, "; "))
	}
	if a := v.AWSAuth; a != nil {
		switch {
		case !a.Exists:
			add("aws-auth", "there is no %s", a.Name)
		default:
			text := a.Name + ": "
			if a.Malformed != "" {
				text += "malformed, "
			}
			text += counted(a.Entries, "entry", "entries")
			if a.Foreign != nil {
				text += fmt.Sprintf(", %d of others", *a.Foreign)
			}
			if a.Ignored > 0 {
				text += fmt.Sprintf(", %d ignored by the authenticator", a.Ignored)
			}
			add("aws-auth", "%s; %d of %d bytes", text, a.Bytes, a.Limit)
		}
		if a.ManagedBy != "" && (wide || a.elsewhere) {
			add("Managed by", "the installation in namespace %s", a.ManagedBy)
		}
	}
	if l := v.Last; l != nil {
		text := fmt.Sprintf("%s ago by %s", age(l.At), l.Who)
		if l.Revision > 0 {
			text += fmt.Sprintf(", revision %d", l.Revision)
		}
		if l.Why != "" && wide {
			text += ": " + l.Why
		} else if l.Why != "" {
			text += ": " + visible.Cut(l.Why, whyShown)
		}
		add("Last write", "%s", text)
	}
	return rows
}

// config tells which config is in force and which was applied.
func (v *survey) config(wide bool) string {
	short := func(hash string) string {
		if !wide && len(hash) > 12 {
			return hash[:12]
		}
		return hash
	}
	inForce := ""
	if v.Status != nil {
		inForce = v.Status.Config
	}
	switch {
	case inForce == "" && v.Applied == "":
		return ""
	case inForce == "":
		return short(v.Applied) + " was applied last"
	case v.Applied == "" || v.Applied == inForce:
		return short(inForce)
	}
	return fmt.Sprintf("the leader's is %s, %s was applied last", short(inForce), short(v.Applied))
}

func (v *survey) sourceRows() [][]string {
	rows := [][]string{{"SOURCE", "ENTRIES", "ANSWERED", "STATE"}}
	for i := range v.Sources {
		s := &v.Sources[i]
		entries, answered, state := "?", "-", "good"
		if s.Entries != nil {
			entries = strconv.Itoa(*s.Entries)
		}
		if !s.Answered.IsZero() {
			answered = age(s.Answered) + " ago"
		}
		switch {
		case s.Trouble != nil:
			state = "failing for " + age(s.Trouble.Since)
		case !s.Told:
			state = "?"
		case s.Answered.IsZero():
			state = "not asked yet"
		}
		rows = append(rows, []string{cmp.Or(s.Name, "no known source"), entries, answered, state})
	}
	return rows
}

func (v *survey) roleRows(wide bool) [][]string {
	rows := [][]string{{"NODE ROLE", "NODE", "REPORTED"}}
	for i := range v.NodeRoles {
		r := &v.NodeRoles[i]
		if i == rolesShown && !wide {
			break
		}
		rows = append(rows, []string{r.RoleARN, r.Node, age(r.At) + " ago"})
	}
	return rows
}
