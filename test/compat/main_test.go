// Package compat_test runs agents and commands of the version before beside those of
// this version, on one cluster, against a real API server: what one of them has written
// (aws-auth, the ledger, Leases, revisions) the other must read, and neither may lose,
// double or disown an entry.
//
// The version before is the commit in before.txt. Its binary is built once into the
// folder .cache/compat of the checkout. What the tests expect is read with nothing of
// rolecall's own where that is possible, since the package that reads the ledger changes
// with the version.
package compat_test

import (
	"os"
	"testing"

	"github.com/rolecall/rolecall/test/trial"
)

func TestMain(m *testing.M) { os.Exit(trial.Main(m)) }
