package compat_test

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
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
	path, err := previousBinary()
	switch {
	case errors.Is(err, errNoCommit) && os.Getenv("ROLECALL_REQUIRE_COMPAT") != "1":
		t.Skipf("NOT TESTED: %v", err)
	case err != nil:
		t.Fatal(err)
	}
	return path
}

//go:embed before.txt
var beforeText string

// previousCommit is the hash in before.txt, which has comments before it.
func previousCommit() string {
	lines := strings.Split(strings.TrimSpace(beforeText), "\n")
	return lines[len(lines)-1]
}

var errNoCommit = errors.New("the commit of the version before is not in this clone")

// previousBinary is the path of the previous version's binary, built when the first test
// asks for it and kept for later runs.
var previousBinary = sync.OnceValues(func() (string, error) {
	commit := previousCommit()
	root, err := output("", "git", "rev-parse", "--show-toplevel")
	if err == nil {
		_, err = output("", "git", "cat-file", "-e", commit+"^{commit}")
	}
	if err != nil {
		return "", fmt.Errorf("%w: fetch it by `git fetch --unshallow`, or by `git fetch origin %s` (%w)", errNoCommit, commit, err)
	}
	cache := filepath.Join(root, ".cache", "compat", commit)
	path := filepath.Join(cache, "rolecall")
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", err
	}
	work, err := os.MkdirTemp(cache, "build-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(work)
	if err := build(root, commit, work); err != nil {
		return "", fmt.Errorf("build rolecall of %s: %w", commit, err)
	}
	// A rename shows the binary whole or not at all to a run beside this one.
	return path, os.Rename(filepath.Join(work, "rolecall"), path)
})

// build compiles the binary of a commit into a folder. The flags are those of "go test",
// so that dependencies come from Go's build cache: with -trimpath all are compiled anew,
// which takes minutes.
func build(root, commit, work string) error {
	source := filepath.Join(work, "source")
	if err := os.Mkdir(source, 0o755); err != nil {
		return err
	}
	archive := filepath.Join(work, "source.tar")
	for _, step := range []struct {
		dir     string
		command []string
	}{
		{root, []string{"git", "archive", "--output=" + archive, commit}},
		{source, []string{"tar", "-xf", archive}},
		{source, []string{"go", "build", "-o", filepath.Join(work, "rolecall"), "./cmd/rolecall"}},
	} {
		if _, err := output(step.dir, step.command...); err != nil {
			return err
		}
	}
	return nil
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
