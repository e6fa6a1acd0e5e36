package trial

import (
	"context"
	"flag"
	"fmt"
	"os"
	"sync"
	"testing"

	"github.com/rolecall/rolecall/test/fleet"
	"github.com/rolecall/rolecall/test/stage"
)

// parallel is how many tests run at once unless -parallel says otherwise. One for
// each processor is the default of "go test", but tests here mostly wait.
const parallel = "6"

// binary is rolecall, built when the first test asks for it. Main sets it, and a
// test binary has one Main.
var binary func() (string, error)

// OtherBinary is the environment variable with the path of a rolecall to test in
// place of the one that is built: whether a test fails on an older version.
const OtherBinary = "ROLECALL_TEST_BINARY"

// Main runs the tests of a binary, with rolecall built for them where one asks for
// it, and returns the exit code. The flags are go build's, after -race where the
// tests themselves watch for data races.
func Main(m *testing.M, flags ...string) int {
	dir, err := os.MkdirTemp("", "rolecall-trial-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	if Race {
		flags = append([]string{"-race"}, flags...)
	}
	binary = sync.OnceValues(func() (string, error) {
		if path := os.Getenv(OtherBinary); path != "" {
			return path, nil
		}
		return fleet.Build(context.Background(), dir, flags...)
	})
	flag.Parse()
	if p := flag.Lookup("test.parallel"); p.Value.String() == p.DefValue {
		if err := p.Value.Set(parallel); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return stage.Main(m)
}

// Binary is the path of rolecall.
func Binary(t testing.TB) string {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	return path
}
