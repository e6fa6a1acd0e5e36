// Package e2e_test runs the real binary, as one process for every node, against
// a real API server with RBAC, and judges by what stands in aws-auth and by what
// the agents say of themselves.
//
// Every test has a fleet of its own, in namespaces of its own, so they run side
// by side on one control plane. None sleeps: what takes time is waited for, with
// a deadline that is far off, and the time it took is logged.
package e2e_test

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
	dir, err := os.MkdirTemp("", "rolecall-e2e-")
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
