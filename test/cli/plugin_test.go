package cli_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rolecall/rolecall/test/stage"
	"github.com/rolecall/rolecall/test/trial"
)

// kubectl finds rolecall as its plugin, which then calls itself so, and has it
// complete what is written.
func TestKubectlPlugin(t *testing.T) {
	t.Parallel()
	assets, err := stage.Assets()
	if err != nil {
		stage.ForTest(t) // says what is missing
		t.Fatal(err)
	}
	kubectl := filepath.Join(assets, "kubectl")
	if _, err := os.Stat(kubectl); err != nil {
		t.Skipf("no kubectl among the assets: %v", err)
	}
	c := trial.New(t, "", trial.Options{})
	dir := t.TempDir()
	if err := os.Symlink(trial.Binary(t), filepath.Join(dir, "kubectl-rolecall")); err != nil {
		t.Fatal(err)
	}
	script, err := os.ReadFile("../../plugin/kubectl_complete-rolecall")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "kubectl_complete-rolecall"), script, 0o700); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) string {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), trial.Patience)
		defer cancel()
		cmd := exec.CommandContext(ctx, kubectl, args...)
		cmd.Env = append(c.Env(), "PATH="+dir+string(os.PathListSeparator)+os.Getenv("PATH"))
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		_ = cmd.Run() // what it prints tells
		return out.String()
	}
	for _, tt := range []struct {
		args  string
		wants []string
		never string
	}{
		{"rolecall version", []string{"kubectl rolecall, version "}, ""},
		{"rolecall --help", []string{"Usage:\n  kubectl rolecall [command]\n", `"kubectl rolecall plan" shows`}, "  rolecall "},
		{"rolecall approve --help", []string{"Usage:\n  kubectl rolecall approve [HOLD...] [flags]\n", "\n  kubectl rolecall approve 3f9ac2d4b18e  "}, "\n  rolecall "},
		{"rolecall status --nosuch", []string{"rolecall: unknown flag: --nosuch: see 'kubectl rolecall status --help'\n"}, ""},
		{"rolecall nosuch", []string{`unknown command "nosuch" for "kubectl rolecall"`}, ""},
		{"rolecall rollback 1", []string{"rolecall: there are no revisions"}, ""},
		{"rolecall completion kubectl", []string{string(script)}, ""},
		{"plugin list", []string{"/kubectl-rolecall\n"}, "warning"},
		{"__complete rolecall roll", []string{"rollback\tPut a former content"}, ""},
		{"__complete rolecall status -n kube-sys", []string{"kube-system\n:4\n"}, ""},
	} {
		got := run(strings.Fields(tt.args)...)
		for _, want := range tt.wants {
			if !strings.Contains(got, want) {
				t.Errorf("kubectl %s prints %q, want %q in it", tt.args, got, want)
			}
		}
		if tt.never != "" && strings.Contains(got, tt.never) {
			t.Errorf("kubectl %s prints %q, want no %q in it", tt.args, got, tt.never)
		}
	}
}
