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
	"os"
	"testing"

	"github.com/rolecall/rolecall/test/trial"
)

func TestMain(m *testing.M) { os.Exit(trial.Main(m)) }

// long skips what takes longer than a few seconds unless the whole suite is
// asked for.
func long(t *testing.T) {
	t.Helper()
	if os.Getenv("ROLECALL_FAULTS") != "1" {
		t.Skipf("NOT TESTED: %s takes long and runs by \"make faults\" (ROLECALL_FAULTS=1)", t.Name())
	}
}
