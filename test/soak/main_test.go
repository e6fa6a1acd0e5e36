// Package soak_test runs agents for a long time under one fault after the other,
// and looks for what only time shows: memory, goroutines, file descriptors or
// threads that grow, data races, a cluster that does not settle.
//
//	make soak SOAK=1h
package soak_test

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"

	"github.com/rolecall/rolecall/test/fleet"
	"github.com/rolecall/rolecall/test/stage"
)

// binary is rolecall that looks for data races, built when the first test asks
// for it.
var binary func() (string, error)

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "rolecall-soak-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = sync.OnceValues(func() (string, error) {
		return fleet.Build(context.Background(), dir, "-race")
	})
	return stage.Main(m)
}
