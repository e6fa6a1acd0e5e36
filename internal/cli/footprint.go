package cli

import (
	"context"
	"log/slog"
	"os"
	"runtime"
	"runtime/debug"
	"time"
)

// softMemory is what the garbage collector keeps the agent's memory below as long
// as it can. A leader of a full aws-auth has half of it in use and else takes
// twice as much in the midst of a write; a standby never comes near.
const softMemory = 44 << 20

// limitMemory sets softMemory, unless whoever starts the agent has set GOMEMLIMIT.
func limitMemory() {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(softMemory)
	}
}

// onAllCores has the agent use one core until it leads: whoever reads a Lease now and
// then needs no second thread, and waking one costs a sixth of all that a standby
// does. Whoever sets GOMAXPROCS has decided otherwise.
func onAllCores(lead func(context.Context) error) func(context.Context) error {
	if os.Getenv("GOMAXPROCS") != "" {
		return lead
	}
	runtime.GOMAXPROCS(1)
	return func(ctx context.Context) error {
		runtime.SetDefaultGOMAXPROCS()
		defer runtime.GOMAXPROCS(1)
		return lead(ctx)
	}
}

// startOver is how long after its start an agent has done what it does once.
const startOver = 10 * time.Second

// slim unmaps what only the start of the program needed of its file, once: a third of
// what a standby has resident. What is needed again is mapped again by itself, from
// the kernel's cache of files.
func slim(ctx context.Context, log *slog.Logger) error {
	timer := time.NewTimer(startOver)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return nil
	case <-timer.C:
	}
	if err := unmapFile(); err != nil {
		log.Debug("the program's file stays in memory as it is", "err", err)
	}
	return nil
}
