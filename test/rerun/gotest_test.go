// Package rerun_test holds the script gotest against tests that fail in each way.
package rerun_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// head begins the test file of the module that the script runs. runs counts the
// runs of a test in a file.
const head = `package p

import (
	"fmt"
	"os"
	"testing"
	"time"
)

func runs(name string) int {
	text, _ := os.ReadFile(name)
	_ = os.WriteFile(name, append(text, '.'), 0o600)
	return len(text) + 1
}

var _, _ = fmt.Println, time.Sleep

func TestFine(t *testing.T) {}

`

func TestGotest(t *testing.T) {
	gotestsum := os.Getenv("GOTESTSUM")
	if gotestsum == "" || testing.Short() {
		t.Skip("compiles programs and runs the gotestsum that GOTESTSUM names, as make test does: not here")
	}
	script, err := filepath.Abs("gotest")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name  string
		test  string
		fails bool
		runs  int    // of what counts its runs
		flaky string // the lines
		says  string // in the output
	}{
		{name: "passes", test: `func TestA(t *testing.T) { runs("a") }`, runs: 1, says: "DONE 2 tests"},
		{
			name: "fails once", test: `func TestA(t *testing.T) { if runs("a") == 1 { t.Error("oh") } }`, runs: 2,
			flaky: "FLAKY: TestA in example.com/m/p (failed runs: 1)\n", says: "oh",
		},
		{
			name: "fails twice", test: `func TestA(t *testing.T) { if runs("a") <= 2 { t.Error("oh") } }`, runs: 3,
			flaky: "FLAKY: TestA in example.com/m/p (failed runs: 2)\n",
		},
		{
			name: "a subtest fails once", test: `func TestA(t *testing.T) { t.Run("x/y", func(t *testing.T) { if runs("a") == 1 { t.Error("oh") } }) }`, runs: 2,
			flaky: "FLAKY: TestA in example.com/m/p (failed runs: 1)\n",
		},
		{name: "fails always", test: `func TestA(t *testing.T) { runs("a"); t.Error("oh") }`, fails: true, runs: 3, says: "oh"},
		{
			name:  "a data race once",
			test:  `func TestA(t *testing.T) { if runs("a") == 1 { fmt.Println("WARNING: DATA RACE"); t.Error("race detected during execution of test") } }`,
			fails: true, runs: 1, says: "NOT RUN AGAIN",
		},
		{
			name:  "a data race in the second run",
			test:  `func TestA(t *testing.T) { if n := runs("a"); n <= 2 { t.Errorf("oh"); if n == 2 { fmt.Println("WARNING: DATA RACE") } } }`,
			fails: true, runs: 2, says: "NOT RUN AGAIN",
		},
		{
			name: "a lost write once", test: `func TestA(t *testing.T) { if runs("a") == 1 { t.Error("NO RERUN: a lost write") } }`,
			fails: true, runs: 1, says: "NOT RUN AGAIN:\nexample.com/m/p TestA: p_test.go:20: NO RERUN: a lost write\n",
		},
		{name: "a panic once", test: `func TestA(t *testing.T) { if runs("a") == 1 { panic("oh") } }`, fails: true, runs: 1},
		{name: "a timeout once", test: `func TestA(t *testing.T) { if runs("a") == 1 { time.Sleep(time.Hour) } }`, fails: true, runs: 1},
		{
			name: "an exit once", test: `func TestA(t *testing.T) { if runs("a") == 1 { os.Exit(1) } }`,
			fails: true, runs: 1, says: "NOT RUN AGAIN",
		},
		{
			name:  "an exit after a failure",
			test:  `func TestA(t *testing.T) { if runs("a") == 1 { t.Error("oh") } }; func TestB(t *testing.T) { if runs("b") == 1 { os.Exit(1) } }`,
			fails: true, runs: 1, says: "its process ended before its tests did",
		},
		{
			name:  "TestMain fails once",
			test:  `func TestMain(m *testing.M) { if runs("a") == 1 { os.Exit(1) }; os.Exit(m.Run()) }`,
			fails: true, runs: 1, says: "it failed, and none of its tests did",
		},
		{name: "it does not compile", test: `func TestA(t *testing.T) { x := 1 }`, fails: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			write(t, filepath.Join(dir, "go.mod"), "module example.com/m\n\ngo 1.26\n")
			write(t, filepath.Join(dir, "p", "p_test.go"), head+tt.test+"\n")
			write(t, filepath.Join(dir, "q", "q_test.go"), "package q\n\nimport \"testing\"\n\nfunc TestA(t *testing.T) {}\n")
			flaky := filepath.Join(dir, "flaky")
			cmd := exec.CommandContext(t.Context(), script, "./p", "-timeout=10s", "-count=1")
			cmd.Dir = dir
			cmd.Env = append(os.Environ(), "FLAKY="+flaky, "GOFLAGS=", "GOWORK=off")
			out, err := cmd.CombinedOutput()
			if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
				t.Fatal(err)
			}
			if (err != nil) != tt.fails {
				t.Errorf("it ended with %v, want a failure: %t", err, tt.fails)
			}
			if runs := len(read(t, filepath.Join(dir, "p", "a"))); runs != tt.runs {
				t.Errorf("%d runs, want %d", runs, tt.runs)
			}
			if got := read(t, flaky); got != tt.flaky || !strings.Contains(string(out), tt.flaky) {
				t.Errorf("flaky are %q, want %q, in the output too", got, tt.flaky)
			}
			if !strings.Contains(string(out), tt.says) {
				t.Errorf("the output does not have %q", tt.says)
			}
			if t.Failed() {
				t.Logf("output:\n%s", out)
			}
		})
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// read returns "" for a file that is not there.
func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return string(text)
}
