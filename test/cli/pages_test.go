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

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/test/trial"
)

var updatePages = flag.Bool("update-pages", false, "rewrite what commands print in the pages of docs")

// fence is a block of code: its info string and its text.
var fence = regexp.MustCompile("(?ms)^```([^\n]*)\n(.*?)^```$")

// A place is where the commands of a page run.
type place struct {
	file func(name, text string)     // makes one of the page
	run  func(command string) string // what the command prints
}

// What the pages of docs show is what happens. A block with file=NAME is that
// file; in a block "console" each line after "$ " is run by bash, and what
// follows is all that it prints; a block "sh", which needs a cluster, AWS or
// another tool, has every line of rolecall's taken for what the binary knows.
func TestPages(t *testing.T) {
	t.Parallel()
	for page, at := range map[string]func(*testing.T, string) place{
		"access-entries.md":           folder,
		"from-aws-auth.md":            cluster,
		"from-eksctl.md":              folder,
		"from-iam-eks-user-mapper.md": folder,
		"from-other-controllers.md":   folder,
		"from-sso-wrapper.md":         folder,
		"from-terraform.md":           folder,
		"iam-groups.md":               folder,
		"install.md":                  folder,
		"uninstall.md":                folder,
	} {
		t.Run(page, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join("../../docs", page)
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			at := at(t, string(text))
			shown := 0
			got := fence.ReplaceAllStringFunc(string(text), func(block string) string {
				m := fence.FindStringSubmatch(block)
				info, body := m[1], m[2]
				switch _, name, isFile := strings.Cut(info, "file="); {
				case isFile:
					at.file(name, body)
				case info == "console":
					var b strings.Builder
					for line := range strings.Lines(body) {
						if command, ok := strings.CutPrefix(line, "$ "); ok {
							shown++
							b.WriteString(line)
							b.WriteString(at.run(command))
						}
					}
					return "```console\n" + b.String() + "```"
				case info == "sh":
					checkCommands(t, at.run, body)
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
				t.Errorf("the page says otherwise (-page +run); -update-pages writes it anew\n%s", diff)
			}
		})
	}
}

// bash is a place of its own folder, with more in the environment.
func bash(t *testing.T, env ...string) place {
	dir, bin := t.TempDir(), filepath.Dir(trial.Binary(t))
	return place{
		file: func(name, text string) {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		},
		run: func(command string) string {
			var out bytes.Buffer
			cmd := exec.CommandContext(t.Context(), "bash", "-c", command)
			cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &out, &out
			cmd.Env = append([]string{"HOME=" + dir}, append(env, "PATH="+bin+":/usr/bin:/bin")...)
			if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
				t.Fatalf("%s: %v", command, err)
			}
			return out.String()
		},
	}
}

// folder is a place without any cluster.
func folder(t *testing.T, _ string) place { return bash(t) }

// cluster is a place in whose cluster the page's files are the keys of aws-auth.
// Its namespaces are called as the manifests call them.
func cluster(t *testing.T, page string) place {
	c := trial.New(t, "", trial.Options{})
	data := map[string]string{}
	for _, m := range fence.FindAllStringSubmatch(page, -1) {
		if _, key, ok := strings.Cut(m[1], "file="); ok {
			data[key] = m[2]
		}
	}
	c.Create(data)
	at := bash(t, c.Env()...)
	at.file = func(string, string) {}
	run, names := at.run, strings.NewReplacer(c.AWSAuthNamespace, awsauth.Namespace, c.Namespace, "rolecall-system")
	at.run = func(command string) string { return names.Replace(run(command)) }
	return at
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
