package cli_test

import (
	"bytes"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/test/trial"
)

var updatePages = flag.Bool("update-pages", false, "rewrite what commands print in the pages of docs")

// pages are those whose commands are run.
var pages = []string{"access-entries.md", "from-eksctl.md", "from-iam-eks-user-mapper.md", "from-sso-wrapper.md", "from-terraform.md", "iam-groups.md", "install.md", "uninstall.md"}

// fence is a block of code: its info string and its text.
var fence = regexp.MustCompile("(?ms)^```([^\n]*)\n(.*?)^```$")

// What the pages of docs show is what happens. A block with file=NAME is that
// file; in a block "console" each line after "$ " is run by bash, and what
// follows is all that it prints; a block "sh", which needs a cluster, AWS or
// another tool, has every line of rolecall's taken for what the binary knows.
func TestPages(t *testing.T) {
	t.Parallel()
	binary := trial.Binary(t)
	for _, page := range pages {
		t.Run(page, func(t *testing.T) {
			path := filepath.Join("../../docs", page)
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			run := func(command string) string {
				var out bytes.Buffer
				cmd := exec.CommandContext(t.Context(), "bash", "-c", command)
				cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &out, &out
				cmd.Env = []string{"PATH=" + filepath.Dir(binary) + ":/usr/bin:/bin", "HOME=" + dir}
				if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
					t.Fatalf("%s: %v", command, err)
				}
				return out.String()
			}
			shown := 0
			got := fence.ReplaceAllStringFunc(string(text), func(block string) string {
				m := fence.FindStringSubmatch(block)
				info, body := m[1], m[2]
				switch _, name, isFile := strings.Cut(info, "file="); {
				case isFile:
					if err := os.WriteFile(filepath.Join(dir, name), []byte(body), 0o600); err != nil {
						t.Fatal(err)
					}
				case info == "console":
					var b strings.Builder
					for line := range strings.Lines(body) {
						if command, ok := strings.CutPrefix(line, "$ "); ok {
							shown++
							b.WriteString(line)
							b.WriteString(run(command))
						}
					}
					return "```console\n" + b.String() + "```"
				case info == "sh":
					checkCommands(t, run, body)
				}
				return block
			})
			if shown == 0 {
				t.Error("no command is shown")
			}
			if *updatePages {
				if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(text), got); diff != "" {
				t.Errorf("the page says otherwise (-page +run)\n%s", diff)
			}
		})
	}
}

var (
	redirected = regexp.MustCompile(`(?m)\s*(\||>|&&|#).*$`)
	longFlag   = regexp.MustCompile(`\s--([a-z][a-z-]*)`)
)

// checkCommands holds that rolecall has each command and each of its flags.
func checkCommands(t *testing.T, run func(string) string, body string) {
	t.Helper()
	for line := range strings.Lines(strings.ReplaceAll(body, "\\\n", "")) {
		i := strings.Index(line, "rolecall ")
		if i < 0 || i > 0 && !strings.HasSuffix(line[:i], "| ") {
			continue
		}
		command := redirected.ReplaceAllString(strings.TrimSpace(line[i:]), "")
		words := strings.Fields(command)
		known := 1
		for known < len(words) && known < 3 && regexp.MustCompile(`^[a-z][a-z-]*$`).MatchString(words[known]) {
			known++
		}
		help := run(strings.Join(append(words[:known:known], "--help"), " "))
		if !strings.Contains(help, "Usage:\n  "+words[0]+" "+words[1]) {
			t.Errorf("%q is no command:\n%s", command, help)
			continue
		}
		for _, m := range longFlag.FindAllStringSubmatch(command, -1) {
			if !strings.Contains(help, "--"+m[1]) {
				t.Errorf("%q: there is no flag --%s", command, m[1])
			}
		}
	}
}
