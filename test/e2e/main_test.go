// Package e2e_test runs the real binary, as one process for every node, against
// a real API server with RBAC, and judges by what stands in aws-auth and by what
// the agents say of themselves.
package e2e_test

import (
	"os"
	"testing"

	"github.com/rolecall/rolecall/test/trial"
)

func TestMain(m *testing.M) { os.Exit(trial.Main(m)) }
