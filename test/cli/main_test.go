// Package cli_test runs the commands of the real binary as scripts: those of
// testdata/alone without a cluster, those of testdata/cluster against a real API
// server.
package cli_test

import (
	"os"
	"testing"

	"github.com/rolecall/rolecall/test/trial"
)

func TestMain(m *testing.M) { os.Exit(trial.Main(m)) }
