package compat_test

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/rolecall/rolecall/test/trial"
)

// A version is the version of a binary.
type version string

const (
	previous version = "previous" // the commit in before.txt
	current  version = "current"  // the working tree
)

// orders are the two ways from one version to the other: an upgrade and a downgrade.
var orders = [][2]version{{previous, current}, {current, previous}}

// inBothOrders runs a test for an upgrade and for a downgrade, side by side.
func inBothOrders(t *testing.T, test func(t *testing.T, first, second version)) {
	t.Parallel()
	for _, order := range orders {
		t.Run(string(order[0]+"-"+order[1]), func(t *testing.T) {
			t.Parallel()
			test(t, order[0], order[1])
		})
	}
}

// binary is the path of a version's rolecall.
func binary(t testing.TB, v version) string {
	t.Helper()
	if v == current {
		return trial.Binary(t)
	}
	return filepath.Join(previousBuild(t), "rolecall")
}

// manifests is the path of a version's install.yaml.
func manifests(t testing.TB, v version) string {
	t.Helper()
	if v == current {
		return filepath.Join("..", "..", "manifests", "install.yaml")
	}
	return filepath.Join(previousBuild(t), "install.yaml")
}

// previousBuild is the folder with the binary and the manifests of the previous version.
// Where there is none to be had the test is skipped, unless it is required.
func previousBuild(t testing.TB) string {
	t.Helper()
	folder, err := buildPrevious()
	switch {
	case errors.Is(err, errNoCommit) && os.Getenv("ROLECALL_REQUIRE_COMPAT") != "1":
		t.Skipf("NOT TESTED: %v", err)
	case err != nil:
		t.Fatal(err)
	}
	return folder
}

//go:embed before.txt
var beforeText string

// previousCommit is the hash in before.txt, which has comments before it.
func previousCommit() string {
	lines := strings.Split(strings.TrimSpace(beforeText), "\n")
	return lines[len(lines)-1]
}

var errNoCommit = errors.New("the commit of the version before is not in this clone")

// buildPrevious builds the previous version when the first test asks for it, and keeps it
// for later runs.
var buildPrevious = sync.OnceValues(func() (string, error) {
	commit := previousCommit()
	root, err := output("", "git", "rev-parse", "--show-toplevel")
	if err == nil {
		_, err = output("", "git", "cat-file", "-e", commit+"^{commit}")
	}
	if err != nil {
		return "", fmt.Errorf("%w: fetch it by `git fetch --unshallow`, or by `git fetch origin %s` (%w)", errNoCommit, commit, err)
	}
	folder := filepath.Join(root, ".cache", "compat", commit)
	if _, err := os.Stat(folder); err == nil {
		return folder, nil
	}
	cache := filepath.Dir(folder)
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", err
	}
	work, err := os.MkdirTemp(cache, "build-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(work)
	made, err := build(root, commit, work)
	if err != nil {
		return "", fmt.Errorf("build rolecall of %s: %w", commit, err)
	}
	// The folder appears whole or not at all, to a run beside this one too.
	if err := os.Rename(made, folder); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", err
	}
	return folder, nil
})

// build makes a folder with the binary and the manifests of a commit. The flags are those
// of "go test", so that dependencies come from Go's build cache: with -trimpath all are
// compiled anew, which takes minutes.
func build(root, commit, work string) (folder string, err error) {
	source, made := filepath.Join(work, "source"), filepath.Join(work, "made")
	for _, dir := range []string{source, made} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return "", err
		}
	}
	archive := filepath.Join(work, "source.tar")
	for _, step := range []struct {
		dir     string
		command []string
	}{
		{root, []string{"git", "archive", "--output=" + archive, commit}},
		{source, []string{"tar", "-xf", archive}},
		{source, []string{"go", "build", "-o", filepath.Join(made, "rolecall"), "./cmd/rolecall"}},
	} {
		if _, err := output(step.dir, step.command...); err != nil {
			return "", err
		}
	}
	return made, os.Rename(filepath.Join(source, "manifests", "install.yaml"), filepath.Join(made, "install.yaml"))
}

// output runs a program in a folder and returns what it prints, trimmed.
func output(dir string, command ...string) (string, error) {
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Dir = dir
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s: %w %s", strings.Join(command[:2], " "), err, bytes.TrimSpace(stderr.Bytes()))
	}
	return strings.TrimSpace(stdout.String()), nil
}
