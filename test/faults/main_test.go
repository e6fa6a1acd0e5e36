// Package faults_test breaks what the leader stands on, its Lease, its
// requests, its rights and its own process, against a real API server, and says
// what comes of it: what aws-auth said at every version that it had, what the
// agents' metrics, health and logs said, and that it all mends by itself.
//
// Every test has a fleet of its own whose agents reach the API server through a
// [faultproxy.Proxy]. What takes seconds always runs; what takes longer runs
// with ROLECALL_FAULTS=1, which "make faults" sets.
package faults_test

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

// binary is rolecall, built when the first test asks for it.
var binary func() (string, error)

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "rolecall-faults-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = sync.OnceValues(func() (string, error) {
		return fleet.Build(context.Background(), dir, raceFlags()...)
	})
	flag.Parse()
	if parallel := flag.Lookup("test.parallel"); parallel.Value.String() == parallel.DefValue {
		// One for each processor is the default, but tests here mostly wait.
		if err := parallel.Value.Set("6"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return stage.Main(m)
}

// raceFlags has the binary watched for data races if the tests are.
func raceFlags() []string {
	if raceEnabled {
		return []string{"-race"}
	}
	return nil
}

// long skips what takes longer than a few seconds unless the whole suite is
// asked for.
func long(t *testing.T) {
	t.Helper()
	if os.Getenv("ROLECALL_FAULTS") != "1" {
		t.Skipf("NOT TESTED: %s takes long and runs by \"make faults\" (ROLECALL_FAULTS=1)", t.Name())
	}
}
