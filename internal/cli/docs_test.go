package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/rolecall/rolecall/test/trial"
)

const docs = "../../docs"

// The pages of the commands are what the commands say of themselves, and what
// they print on a real API server. -update (make docs) writes them.
func TestDocs(t *testing.T) {
	pages := map[string]string{}
	all := documented(newRoot())
	for _, cmd := range all {
		if _, there := examples[cmd.CommandPath()]; !there {
			t.Errorf("%q has no example: add one to examples in internal/cli/docs_examples_test.go and run make docs", cmd.CommandPath())
		}
		if exitStatus(cmd) == "" {
			t.Errorf("the help of %q does not say its exit status: end its Long with a paragraph \"The exit status is ...\"", cmd.CommandPath())
		}
		var page strings.Builder
		writeCommand(&page, cmd)
		pages["commands/"+pageName(cmd)] = page.String()
	}
	for path := range examples {
		if !slices.ContainsFunc(all, func(cmd *cobra.Command) bool { return cmd.CommandPath() == path }) {
			t.Errorf("examples in internal/cli/docs_examples_test.go has %q, which is no command", path)
		}
	}
	pages["exit-codes.md"] = exitCodes(all)
	for _, cmd := range all {
		t.Run(cmd.CommandPath(), func(t *testing.T) {
			t.Parallel()
			name := "commands/" + pageName(cmd)
			page := pages[name] + printed(t, cmd)
			check(t, name, page)
		})
	}
	t.Run("exit-codes.md", func(t *testing.T) { check(t, "exit-codes.md", pages["exit-codes.md"]) })
	t.Run("README.md", func(t *testing.T) { check(t, "README.md", index(t, all)) })
	t.Run("no others", func(t *testing.T) {
		files, err := filepath.Glob(docs + "/commands/*.md")
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if _, there := pages["commands/"+filepath.Base(file)]; !there {
				t.Errorf("%s is the page of no command: delete it", file)
			}
		}
	})
}

// check compares a page, or writes it.
func check(t *testing.T, name, page string) {
	t.Helper()
	path := filepath.Join(docs, filepath.FromSlash(name))
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(page), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	was, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(was), "\n"), strings.Split(page, "\n")); diff != "" {
		t.Errorf("docs/%s is not what the command says and prints now: run make docs (-page +now)\n%s", name, diff)
	}
}

// documented lists the commands that have a page: all but help and the shells
// of completion, which have cobra's help.
func documented(root *cobra.Command) []*cobra.Command {
	var all []*cobra.Command
	var walk func(*cobra.Command)
	walk = func(cmd *cobra.Command) {
		if cmd.Hidden || cmd.Name() == "help" {
			return
		}
		if cmd.HasParent() && (cmd.Runnable() || cmd.Name() == "completion") {
			all = append(all, cmd)
		}
		if cmd.Name() == "completion" {
			return
		}
		for _, sub := range cmd.Commands() {
			walk(sub)
		}
	}
	walk(root)
	return all
}

// pageName is history-diff.md for rolecall history diff.
func pageName(cmd *cobra.Command) string {
	_, path, _ := strings.Cut(cmd.CommandPath(), " ")
	return strings.ReplaceAll(path, " ", "-") + ".md"
}

func writeCommand(b *strings.Builder, cmd *cobra.Command) {
	fmt.Fprintf(b, "<!-- Written by make docs: edit the command's own help in internal/cli. -->\n\n# %s\n\n%s.\n\n", cmd.CommandPath(), markdown(cmd.Short))
	fmt.Fprintf(b, "    %s\n\n", strings.ReplaceAll(cmd.UseLine(), "\n", "\n    "))
	b.WriteString(markdown(cmd.Long) + "\n")
	if subs := cmd.Commands(); len(subs) > 0 {
		b.WriteString("\n## Commands below it\n\n")
		for _, sub := range subs {
			if sub.IsAvailableCommand() {
				name := "`" + sub.CommandPath() + "`"
				if cmd.Name() != "completion" {
					name = fmt.Sprintf("[%s](%s)", name, pageName(sub))
				}
				fmt.Fprintf(b, "- %s: %s\n", name, markdown(sub.Short))
			}
		}
	}
	if cmd.Example != "" {
		fmt.Fprintf(b, "\n## Examples\n\n```sh\n%s\n```\n", dedent(cmd.Example))
	}
	cmd.InitDefaultHelpFlag()
	fmt.Fprintf(b, "\n## Flags\n\n| Flag | Default | Environment | |\n|---|---|---|---|\n")
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		name := "`--" + f.Name + "`"
		if f.Shorthand != "" {
			name = "`-" + f.Shorthand + "`, " + name
		}
		def, env := "", ""
		if f.DefValue != "" && f.DefValue != "[]" && f.DefValue != "false" {
			def = "`" + f.DefValue + "`"
		}
		if takesEnvironment(cmd, f) {
			env = "`" + envName(f.Name) + "`"
		}
		_, usage := pflag.UnquoteUsage(f)
		fmt.Fprintf(b, "| %s | %s | %s | %s |\n", name, def, env, strings.ReplaceAll(markdown(usage), "|", `\|`))
	})
}

// takesEnvironment reports whether a flag can be given in the environment: all of
// agent and plan, and those that say which cluster and which objects.
func takesEnvironment(cmd *cobra.Command, f *pflag.Flag) bool {
	if f.Name == "help" {
		return false
	}
	var objects objectFlags
	objects.addTo(pflag.NewFlagSet("", pflag.ContinueOnError))
	switch cmd.Name() {
	case "agent", "plan":
		return true
	case "status", "handover":
		if f.Name == "lease-name" || f.Name == "daemonset" {
			return true
		}
	}
	return objects.own.Lookup(f.Name) != nil
}

// markdown keeps a help text's paragraphs; what is indented becomes code.
func markdown(text string) string {
	escape := strings.NewReplacer("<", "&lt;", "*", `\*`)
	var out strings.Builder
	for i, block := range strings.Split(strings.TrimSpace(text), "\n\n") {
		if i > 0 {
			out.WriteString("\n\n")
		}
		code := false
		for j, line := range strings.Split(block, "\n") {
			indented := strings.HasPrefix(line, "  ")
			if indented != code {
				if j > 0 {
					out.WriteByte('\n')
				}
				if code = indented; code && j > 0 {
					out.WriteByte('\n') // a paragraph ends
				}
			} else if j > 0 {
				out.WriteByte('\n')
			}
			if code {
				out.WriteString("    " + strings.TrimSpace(line))
			} else {
				out.WriteString(escape.Replace(line))
			}
		}
	}
	return out.String()
}

func dedent(text string) string {
	lines := strings.Split(strings.Trim(text, "\n"), "\n")
	for i := range lines {
		lines[i] = strings.TrimPrefix(lines[i], "  ")
	}
	return strings.Join(lines, "\n")
}

// exitStatus is the sentence of a command's help that tells its exit status.
func exitStatus(cmd *cobra.Command) string {
	text := strings.Join(strings.Fields(strings.ReplaceAll(cmd.Long, "\n\n", " \x00 ")), " ")
	_, after, there := strings.Cut(text, "The exit status is ")
	if !there {
		return ""
	}
	after, _, _ = strings.Cut(after, " \x00")
	return "The exit status is " + after
}

func exitCodes(all []*cobra.Command) string {
	var b strings.Builder
	b.WriteString(`<!-- Written by make docs from the help of the commands. -->

# Exit status

Every command ends with 0 when it did what was asked. Errors are printed on
stderr, with what to do next. A wrong flag or argument, a cluster that cannot be
reached and an answer of no at a question are errors.

`)
	for _, cmd := range all {
		fmt.Fprintf(&b, "## [%s](commands/%s)\n\n%s\n\n", cmd.CommandPath(), pageName(cmd), markdown(exitStatus(cmd)))
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// index lists the pages of docs: those of the commands, and the others by their
// headings.
func index(t *testing.T, all []*cobra.Command) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("<!-- Written by make docs. -->\n\n# Documentation\n\n")
	files, err := filepath.Glob(docs + "/*.md")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(files, func(f string) bool { return filepath.Base(f) == "exit-codes.md" }) {
		files = append(files, docs+"/exit-codes.md")
		slices.Sort(files)
	}
	for _, file := range files {
		name := filepath.Base(file)
		if name == "README.md" {
			continue
		}
		heading := "Exit status"
		if text, err := os.ReadFile(file); err == nil {
			m := regexp.MustCompile(`(?m)^# (.+)$`).FindSubmatch(text)
			if m == nil {
				t.Errorf("docs/%s has no heading \"# ...\" for the index", name)
				continue
			}
			heading = string(m[1])
		}
		fmt.Fprintf(&b, "- [%s](%s)\n", heading, name)
	}
	b.WriteString("\n## Commands\n\n| | |\n|---|---|\n")
	for _, cmd := range all {
		fmt.Fprintf(&b, "| [%s](commands/%s) | %s |\n", strings.ReplaceAll(cmd.CommandPath(), " ", "&nbsp;"), pageName(cmd), markdown(cmd.Short))
	}
	return b.String()
}

// printed runs a command's examples and shows what they print.
func printed(t *testing.T, cmd *cobra.Command) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("\n## What it prints\n")
	s := newStory(t)
	for _, e := range examples[cmd.CommandPath()] {
		if e.before != nil {
			e.before(s)
		}
		if e.run == "" {
			continue
		}
		out := s.sh(e.run, e.code)
		fmt.Fprintf(&b, "\n%s\n\n```console\n$ %s\n%s", e.text, e.run, out)
		if out != "" && !strings.HasSuffix(out, "\n") {
			b.WriteByte('\n')
		}
		b.WriteString("```\n")
		if e.code != 0 {
			fmt.Fprintf(&b, "\nThe exit status is %d.\n", e.code)
		}
	}
	return b.String()
}

// A story is a cluster with its files, in which a command's examples are run one
// after the other.
type story struct {
	*trial.Cluster
	t   *testing.T
	dir string
}

func newStory(t *testing.T) *story {
	t.Helper()
	c := trial.New(t, sampleConfig, trial.Options{})
	dir := t.TempDir()
	s := &story{c, t, dir}
	s.file("config.yaml", sampleConfig)
	return s
}

// file writes a file into the folder in which the examples are run.
func (s *story) file(name, text string) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// sh runs a line as a person would, in a terminal without colour, and returns
// what is printed, with what differs from run to run made the same.
func (s *story) sh(line string, code int) string {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), trial.Patience)
	defer cancel()
	sh := exec.CommandContext(ctx, "sh", "-c", line)
	path := filepath.Dir(trial.Binary(s.t)) + string(os.PathListSeparator) + os.Getenv("PATH")
	sh.Env, sh.Dir = append(s.Env(), "PATH="+path, "TZ=UTC", "NODE_NAME=node-a"), s.dir
	var out bytes.Buffer
	sh.Stdout, sh.Stderr = &out, &out
	err := sh.Run()
	got := 0
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		got = exit.ExitCode()
	} else if err != nil {
		s.t.Fatalf("%s: %v", line, err)
	}
	if got != code {
		s.t.Fatalf("%s: exit status %d, want %d\n%s", line, got, code, &out)
	}
	return s.scrub(out.String())
}

// scrubs make the same what differs from run to run.
var scrubs = []struct {
	what *regexp.Regexp
	by   string
}{
	{regexp.MustCompile(`\b20\d\d-\d\d-\d\d([T ])\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)?`), "2026-01-02${1}03:04:05${3}"},
	{regexp.MustCompile(`\b(node-[a-z])_[0-9a-z]{13}\b`), "${1}_4k7d2m9x1c5zq"},
	{regexp.MustCompile(`RequestID: [0-9A-Z]+`), "RequestID: 0123456789ABCDEF"},
	{regexp.MustCompile(`("resourceVersion": ")\d+`), "${1}4711"},
	{regexp.MustCompile(`(resourceVersion: ")\d+`), "${1}4711"},
	{regexp.MustCompile(`(resource_version"?[=:]"?)\d+`), "${1}4711"},
	{regexp.MustCompile(`version \S* \(revision: \S+\)`), "version v0.1.0 (revision: 0123456789abcdef0123456789abcdef01234567)"},
	{regexp.MustCompile(`build date: .*`), "build date: 2026-01-02T03:04:05Z"},
	{regexp.MustCompile(`go1\.[0-9.]+`), "go1.26.0"},
	{regexp.MustCompile(`(linux|darwin|windows)/(amd64|arm64)`), "linux/amd64"},
}

// ages are those of kubectl's tables and sentences; what stands behind one keeps
// its column.
var ages = regexp.MustCompile(`\b\d+(?:m\d+s|m|s|ms)( ago\b)?( +|\b)`)

func (s *story) scrub(text string) string {
	text = strings.NewReplacer(s.AWSAuthNamespace, "kube-system", s.Namespace, "rolecall-system", s.dir+"/", "").Replace(text)
	for _, r := range scrubs {
		text = r.what.ReplaceAllString(text, r.by)
	}
	text = ages.ReplaceAllStringFunc(text, func(age string) string {
		same, trimmed := "12s", strings.TrimRight(age, " ")
		if strings.HasSuffix(trimmed, " ago") {
			same += " ago"
		}
		if spaces := len(age) - len(trimmed); spaces <= 1 {
			return same + strings.Repeat(" ", spaces)
		}
		return same + strings.Repeat(" ", max(1, len(age)-len(same)))
	})
	return regexp.MustCompile(`(?m) +$`).ReplaceAllString(text, "")
}
