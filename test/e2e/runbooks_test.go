package e2e_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/rolecall/rolecall/test/stage"
	"github.com/rolecall/rolecall/test/trial"
)

// TestRunbookCommands holds that what the runbooks tell to type exists: every
// command of rolecall and of kubectl, with its flags. They run with --help.
func TestRunbookCommands(t *testing.T) {
	t.Parallel()
	assets, err := stage.Assets()
	if err != nil {
		t.Fatal(err)
	}
	programs := map[string]string{"rolecall": trial.Binary(t), "kubectl": filepath.Join(assets, "kubectl")}
	pages, err := filepath.Glob("../../docs/runbooks/*.md")
	if err != nil {
		t.Fatal(err)
	}
	pages = append(pages, "../../docs/monitoring.md", "../../docs/config-schema.md")
	block := regexp.MustCompile("(?s)```sh\n(.*?)```")
	span := regexp.MustCompile("`((?:rolecall|kubectl) [^`]+)`")
	end := regexp.MustCompile(` +(?:#|\||>|&&) .*$`) // of a command, before another or a comment
	ran := map[string]bool{}
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		var lines []string
		for _, m := range block.FindAllSubmatch(text, -1) {
			lines = append(lines, strings.Split(string(m[1]), "\n")...)
		}
		for _, m := range span.FindAllSubmatch(text, -1) {
			lines = append(lines, string(m[1]))
		}
		for _, line := range lines {
			line = strings.TrimSpace(end.ReplaceAllString(line, ""))
			name, arguments, _ := strings.Cut(line, " ")
			if line == "" || ran[line] {
				continue
			}
			ran[line] = true
			program, ok := programs[name]
			if !ok {
				t.Errorf("%s: %s is neither rolecall's nor kubectl's", page, line)
				continue
			}
			if out, err := exec.CommandContext(t.Context(), "sh", "-c", `exec "$0" `+arguments+" --help", program).CombinedOutput(); err != nil {
				t.Errorf("%s: %s: %v\n%.500s", page, line, err, out)
			}
		}
	}
	if len(ran) < 40 {
		t.Errorf("%d commands only", len(ran))
	}
}
