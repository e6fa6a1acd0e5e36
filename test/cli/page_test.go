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

var updateClusterPage = flag.Bool("update-cluster-page", false, "write anew what commands print in docs/from-aws-auth.md")

// block is a piece of code in a page: its info string and its text.
var block = regexp.MustCompile("(?ms)^```([^\n]*)\n(.*?)^```$")

// What docs/from-aws-auth.md shows is what happens. The blocks with file=KEY are
// aws-auth; in a block "console" each line after "$ " is run, and what follows is
// all that it prints.
func TestFromAWSAuth(t *testing.T) {
	t.Parallel()
	const path = "../../docs/from-aws-auth.md"
	c := trial.New(t, "", trial.Options{})
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data := map[string]string{}
	for _, m := range block.FindAllStringSubmatch(string(page), -1) {
		if _, key, ok := strings.Cut(m[1], "file="); ok {
			data[key] = m[2]
		}
	}
	c.Create(data)
	run := func(command string) string {
		var out bytes.Buffer
		cmd := exec.CommandContext(t.Context(), "bash", "-c", command)
		cmd.Env = append(c.Env(), "PATH="+filepath.Dir(trial.Binary(t))+":/usr/bin:/bin")
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
			t.Fatalf("%s: %v", command, err)
		}
		text := strings.ReplaceAll(out.String(), c.AWSAuthNamespace, awsauth.Namespace)
		return strings.ReplaceAll(text, c.Namespace, "rolecall-system")
	}
	shown := 0
	got := block.ReplaceAllStringFunc(string(page), func(text string) string {
		m := block.FindStringSubmatch(text)
		if m[1] != "console" {
			return text
		}
		var b strings.Builder
		for line := range strings.Lines(m[2]) {
			if command, ok := strings.CutPrefix(line, "$ "); ok {
				shown++
				b.WriteString(line)
				b.WriteString(run(command))
			}
		}
		return "```console\n" + b.String() + "```"
	})
	if shown == 0 {
		t.Error("no command is shown")
	}
	if *updateClusterPage {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(string(page), got); diff != "" {
		t.Errorf("the page says otherwise (-page +run); -update-cluster-page writes it anew\n%s", diff)
	}
}
