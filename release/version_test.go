package release_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// sh runs a command in a folder and returns what it prints on both streams.
func sh(t *testing.T, dir, name string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

func mustSh(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	out, err := sh(t, dir, name, args...)
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return out
}

// tracked is what git has, and what it has not been told to ignore.
func tracked(t *testing.T) []string {
	t.Helper()
	out := mustSh(t, "..", "git", "ls-files", "--cached", "--others", "--exclude-standard")
	return strings.Split(out, "\n")
}

// checkout is a copy of the repository whose CHANGELOG.md has the text.
func checkout(t *testing.T, changelog string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range tracked(t) {
		if strings.HasPrefix(name, "test/") || strings.Contains(name, "testdata/") {
			continue
		}
		text, err := os.ReadFile(filepath.Join("..", name))
		if os.IsNotExist(err) {
			continue // deleted, and not yet committed
		} else if err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(filepath.Join("..", name))
		if err != nil {
			t.Fatal(err)
		}
		to := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, text, info.Mode().Perm()); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "CHANGELOG.md"), []byte(changelog), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// All that names the version names the newest of CHANGELOG.md.
func TestOneVersion(t *testing.T) {
	t.Parallel()
	if out, err := sh(t, "..", "release/stamp", "-n"); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// A new version in CHANGELOG.md is found to be nowhere else, and is everywhere
// once it has been stamped: the old one is left nowhere.
func TestStamp(t *testing.T) {
	t.Parallel()
	old := mustSh(t, "..", "release/version")
	dir := checkout(t, "# Changelog\n\n## v7.8.9-rc.1 - unreleased\n\n### Added\n\n- Much.\n\n## "+old+" - 2020-01-02\n\n- Little.\n")
	out, err := sh(t, dir, "release/stamp", "-n")
	if err == nil {
		t.Error("nobody notices that all else is of the version before")
	}
	for _, file := range []string{"charts/rolecall/Chart.yaml", "manifests/base/kustomization.yaml", "manifests/install.yaml", "docs/install.md", "docs/commands/version.md"} {
		if !strings.Contains(out, file+" is not of v7.8.9-rc.1") {
			t.Errorf("nobody notices that %s is of the version before:\n%s", file, out)
		}
	}
	mustSh(t, dir, "release/stamp")
	mustSh(t, dir, "release/stamp", "-n")
	for _, want := range []struct{ file, line string }{
		{"charts/rolecall/Chart.yaml", "\nversion: 7.8.9-rc.1\nappVersion: v7.8.9-rc.1\n"},
		{"manifests/base/kustomization.yaml", "\n    newTag: v7.8.9-rc.1\n"},
		{"manifests/install.yaml", "image: ghcr.io/rolecall/rolecall:v7.8.9-rc.1\n"},
		{"docs/install.md", "rolecall//manifests/base?ref=v7.8.9-rc.1\n"},
	} {
		text, err := os.ReadFile(filepath.Join(dir, want.file))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Contains(text, []byte(want.line)) {
			t.Errorf("%s has no %q", want.file, want.line)
		}
	}
	// "v1" is not among them, nor are versions of others.
	left := regexp.MustCompile(`(^|[^0-9A-Za-z.])` + regexp.QuoteMeta(old) + `($|[^0-9A-Za-z.])`)
	for _, name := range tracked(t) {
		if strings.HasSuffix(name, "go.sum") || strings.HasSuffix(name, "go.mod") || strings.HasPrefix(name, "release/") || strings.HasPrefix(name, ".cache/") {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			continue // a test's own, not copied
		}
		for i, line := range strings.Split(string(text), "\n") {
			if name != "CHANGELOG.md" && left.MatchString(line) {
				t.Errorf("%s:%d still says %s: teach release/stamp the place, or write it without a version\n\t%s", name, i+1, old, line)
			}
		}
	}
}

// The notes of a version are its section and no other's.
func TestNotes(t *testing.T) {
	t.Parallel()
	dir := checkout(t, "# Changelog\n\n## Unreleased\n\n- Next.\n\n## v1.1.0 - 2026-02-03\n\n### Added\n\n- Much.\n\n## v1.0.0 - 2026-01-02\n\n- All.\n\n## v1.0.0-rc.1 - 2026-01-01\n\n- Some.\n")
	for version, want := range map[string]string{
		"":            "## Added\n\n- Much.",
		"v1.1.0":      "## Added\n\n- Much.",
		"v1.0.0":      "- All.",
		"v1.0.0-rc.1": "- Some.",
	} {
		args := []string{version}
		if version == "" {
			args = nil
		}
		if diff := cmp.Diff(want, mustSh(t, dir, "release/notes", args...)); diff != "" {
			t.Errorf("notes of %q (-want +got)\n%s", version, diff)
		}
	}
	if out, err := sh(t, dir, "release/notes", "v2.0.0"); err == nil {
		t.Errorf("there are notes of a version that there is not: %s", out)
	}
}

// A tag is released only if everything is of it.
func TestReady(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ changelog, tag, says string }{
		{"## v1.1.0 - 2026-02-03\n\n- Much.\n", "v1.1.0", ""},
		{"## v1.1.0 - 2026-02-03\n\n- Much.\n", "v1.1.1", "the newest version in CHANGELOG.md v1.1.0"},
		{"## v1.1.0 - unreleased\n\n- Much.\n", "v1.1.0", "write the date"},
		{"## Unreleased\n\n- Next.\n\n## v1.1.0 - 2026-02-03\n\n- Much.\n", "v1.1.0", `"Unreleased" above v1.1.0`},
		{"## v1.1.0 - 2026-02-03\n\n## v1.0.0 - 2026-01-02\n\n- All.\n", "v1.1.0", "says nothing of v1.1.0"},
		{"## 1.1.0 - 2026-02-03\n\n- Much.\n", "v1.1.0", "has no heading"},
	} {
		dir := checkout(t, "# Changelog\n\n"+tt.changelog)
		if _, err := sh(t, dir, "release/version"); err == nil {
			mustSh(t, dir, "release/stamp")
		}
		out, err := sh(t, dir, "release/ready", tt.tag)
		if (err == nil) != (tt.says == "") || !strings.Contains(out, tt.says) {
			t.Errorf("%s of %q: %v, %q, want %q", tt.tag, tt.changelog, err, out, tt.says)
		}
	}
	dir := checkout(t, "# Changelog\n\n## v7.8.9 - 2026-02-03\n\n- Much.\n")
	if out, err := sh(t, dir, "release/ready", "v7.8.9"); err == nil {
		t.Errorf("released, though nothing was stamped: %s", out)
	}
}
