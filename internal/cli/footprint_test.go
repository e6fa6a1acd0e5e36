package cli

import (
	"context"
	"runtime"
	"runtime/debug"
	"testing"
)

// A standby uses one core, a leader all of them, and a former leader one again;
// unless whoever starts the agent says how many.
func TestCores(t *testing.T) {
	all := runtime.GOMAXPROCS(0)
	if all < 2 {
		t.Skip("one core is all there is")
	}
	t.Cleanup(func() { runtime.GOMAXPROCS(all) })
	var led int
	lead := onAllCores(func(context.Context) error {
		led = runtime.GOMAXPROCS(0)
		return nil
	})
	if n := runtime.GOMAXPROCS(0); n != 1 {
		t.Errorf("standing by it uses %d cores", n)
	}
	if err := lead(t.Context()); err != nil || led < 2 {
		t.Errorf("leading it used %d cores of %d, err %v", led, all, err)
	}
	if n := runtime.GOMAXPROCS(0); n != 1 {
		t.Errorf("after its term it uses %d cores", n)
	}

	runtime.GOMAXPROCS(all)
	t.Setenv("GOMAXPROCS", "2")
	onAllCores(nil)
	if n := runtime.GOMAXPROCS(0); n != all {
		t.Errorf("GOMAXPROCS is set, and it uses %d cores of its own accord", n)
	}
}

// The soft limit holds, and whoever sets GOMEMLIMIT knows better.
func TestLimitMemory(t *testing.T) {
	was := debug.SetMemoryLimit(-1)
	t.Cleanup(func() { debug.SetMemoryLimit(was) })
	t.Setenv("GOMEMLIMIT", "1GiB")
	limitMemory()
	if got := debug.SetMemoryLimit(-1); got != was {
		t.Errorf("GOMEMLIMIT is set, and the limit becomes %d", got)
	}
	t.Setenv("GOMEMLIMIT", "")
	limitMemory()
	if got := debug.SetMemoryLimit(-1); got != softMemory {
		t.Errorf("the limit is %d, want %d", got, softMemory)
	}
}
