// Package soak_test runs agents for a long time under one fault after the other,
// and looks for what only time shows: memory, goroutines, file descriptors or
// threads that grow, data races, a cluster that does not settle.
//
//	make soak SOAK=1h
package soak_test

import (
	"os"
	"testing"

	"github.com/rolecall/rolecall/test/trial"
)

// The binary always looks for data races.
func TestMain(m *testing.M) { os.Exit(trial.Main(m, "-race")) }
