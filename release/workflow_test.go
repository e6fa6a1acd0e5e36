package release_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

type workflow struct {
	On          map[string]struct{ Tags, Types []string }
	Permissions map[string]string
	Jobs        map[string]job
}

type job struct {
	Needs       string
	Permissions map[string]string
	Steps       []step
}

type step struct {
	Uses, Run string
	With      map[string]any
}

func readWorkflow(t *testing.T, name string) workflow {
	t.Helper()
	var w workflow
	if err := yaml.Unmarshal([]byte(read(t, "../.github/workflows/"+name)), &w); err != nil {
		t.Fatal(err)
	}
	return w
}

// The workflow runs on tags of versions, once all has passed, with the rights that
// signing takes and no others, and with no code that can change under its name.
func TestReleaseWorkflow(t *testing.T) {
	t.Parallel()
	w := readWorkflow(t, "release.yml")
	if len(w.On) != 1 || !slices.Equal(w.On["push"].Tags, []string{"v*"}) {
		t.Errorf("it runs on %v", w.On)
	}
	if len(w.Permissions) != 1 || w.Permissions["contents"] != "read" {
		t.Errorf("every job may %v", w.Permissions)
	}
	job := w.Jobs["release"]
	if job.Needs != "check" {
		t.Error("it releases what nothing has checked")
	}
	want := []string{"attestations", "contents", "id-token", "packages"}
	var got []string
	for name, level := range job.Permissions {
		if level == "write" {
			got = append(got, name)
		}
	}
	slices.Sort(got)
	if !slices.Equal(want, got) {
		t.Errorf("it may write %q, want %q", got, want)
	}
	pinned := regexp.MustCompile(`@[0-9a-f]{40}$`)
	var runs []string
	for _, job := range w.Jobs {
		for _, s := range job.Steps {
			if s.Uses != "" && !pinned.MatchString(s.Uses) {
				t.Errorf("%s is not pinned to a commit", s.Uses)
			}
			if strings.HasPrefix(s.Uses, "actions/checkout@") && s.With["persist-credentials"] != false {
				t.Errorf("%s leaves its token in the checkout", s.Uses)
			}
			if s.With["cache"] != false && strings.HasPrefix(s.Uses, "actions/setup-go@") {
				t.Errorf("%s takes what another run built", s.Uses)
			}
			runs = append(runs, s.Run)
		}
	}
	all := strings.Join(runs, "\n")
	for _, want := range []string{`release/ready "$GITHUB_REF_NAME"`, "bash .ci/run", "make release-tools", "release/extras bin/release", `release/notes "$GITHUB_REF_NAME" > bin/notes.md`, "goreleaser release --clean --release-notes=bin/notes.md"} {
		if !strings.Contains(all, want) {
			t.Errorf("it does not run %q", want)
		}
	}
}

// Who runs all tests has the whole history: test/compat builds an earlier commit.
func TestChecksHaveTheHistory(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"ci.yml", "release.yml"} {
		var w struct{ Jobs map[string]job }
		if err := yaml.Unmarshal([]byte(read(t, "../.github/workflows/"+name)), &w); err != nil {
			t.Fatal(err)
		}
		checks := 0
		for _, job := range w.Jobs {
			if !slices.ContainsFunc(job.Steps, func(s step) bool { return s.Run == "bash .ci/run" }) {
				continue
			}
			checks++
			for _, s := range job.Steps {
				if depth, ok := s.With["fetch-depth"].(int); strings.HasPrefix(s.Uses, "actions/checkout@") && (!ok || depth != 0) {
					t.Errorf("%s: %s of a job that runs .ci/run has fetch-depth %v, want 0", name, s.Uses, s.With["fetch-depth"])
				}
			}
		}
		if checks == 0 {
			t.Errorf("no job of %s runs .ci/run", name)
		}
	}
}

// What docs/verify.md tells to check is what the workflow and GoReleaser make.
func TestVerifyPage(t *testing.T) {
	t.Parallel()
	page := read(t, "../docs/verify.md")
	version := mustSh(t, "..", "release/version")
	identity := "https://github.com/rolecall/rolecall/.github/workflows/release.yml@refs/tags/$VERSION"
	config := read(t, "../.goreleaser.yaml")
	for _, want := range []string{
		"\nVERSION=" + version + "\n",
		"--certificate-identity \"" + identity + "\"",
		"--certificate-oidc-issuer https://token.actions.githubusercontent.com",
		"--bundle checksums.txt.sigstore.json",
		"cosign verify ghcr.io/rolecall/rolecall:$VERSION",
		"cosign verify ghcr.io/rolecall/charts/rolecall:",
		"gh attestation verify",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("docs/verify.md does not say %q", strings.TrimSpace(want))
		}
	}
	for _, made := range []string{"checksums.txt", "${artifact}.sigstore.json", ".cdx.json", "ghcr.io/rolecall/rolecall"} {
		if !strings.Contains(config, made) {
			t.Errorf("GoReleaser does not make %s", made)
		}
	}
	c := goreleaser(t)
	names := map[string]bool{"checksums.txt": true, "checksums.txt.sigstore.json": true, "rolecall_linux_amd64.cdx.json": true}
	for _, name := range archives(t, c) {
		names[name] = true
	}
	for _, name := range regexp.MustCompile(`\brolecall_[a-z0-9_]+\.[a-z.]*[a-z]`).FindAllString(page, -1) {
		if !names[name] {
			t.Errorf("docs/verify.md speaks of %s, which GoReleaser does not make", name)
		}
	}
}
