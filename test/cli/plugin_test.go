package cli_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

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

// The manifest for kubectl's plugin manager offers what "make dist" builds.
func TestKrewManifest(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../.krew.yaml")
	if err != nil {
		t.Fatal(err)
	}
	// As krew-release-bot fills it in.
	archive := regexp.MustCompile(`\{\{addURIAndSha "([^"]+)" \.TagName \}\}`)
	filled := archive.ReplaceAllString(string(text), "uri: $1\n    sha256: "+strings.Repeat("0", 64))
	filled = strings.ReplaceAll(filled, "{{ .TagName }}", "v1.2.3")
	if strings.Contains(filled, "{{") {
		t.Fatalf("there is more of a template in it than the tag and the archives:\n%s", filled)
	}
	var manifest struct {
		APIVersion, Kind string
		Metadata         struct{ Name string }
		Spec             struct {
			Version, Homepage, ShortDescription, Description, Caveats string
			Platforms                                                 []struct {
				Selector         struct{ MatchLabels map[string]string }
				URI, SHA256, Bin string
			}
		}
	}
	if err := yaml.UnmarshalStrict([]byte(filled), &manifest); err != nil {
		t.Fatal(err)
	}
	if manifest.APIVersion != "krew.googlecontainertools.github.com/v1alpha2" || manifest.Kind != "Plugin" || manifest.Metadata.Name != "rolecall" || manifest.Spec.Version != "v1.2.3" {
		t.Errorf("%s %s %q of version %q", manifest.APIVersion, manifest.Kind, manifest.Metadata.Name, manifest.Spec.Version)
	}
	// krew's own limit: docs/naming-guide and the checks of krew-index.
	if n := len(manifest.Spec.ShortDescription); n == 0 || n > 50 {
		t.Errorf("the short description has %d letters, want 1 to 50", n)
	}
	makefile, err := os.ReadFile("../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	built := regexp.MustCompile(`(?m)^DIST = (.*)$`).FindSubmatch(makefile)
	if built == nil {
		t.Fatal("the Makefile has no line DIST = ...")
	}
	var want, got []string
	for platform := range strings.FieldsSeq(string(built[1])) {
		bin := "kubectl-rolecall"
		if strings.HasPrefix(platform, "windows_") {
			bin += ".exe"
		}
		want = append(want, fmt.Sprintf("%s https://github.com/rolecall/rolecall/releases/download/v1.2.3/kubectl-rolecall_%s.tar.gz %s", platform, platform, bin))
	}
	for _, p := range manifest.Spec.Platforms {
		got = append(got, fmt.Sprintf("%s_%s %s %s", p.Selector.MatchLabels["os"], p.Selector.MatchLabels["arch"], p.URI, p.Bin))
	}
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("platforms (-Makefile +.krew.yaml):\n%s", diff)
	}
}
