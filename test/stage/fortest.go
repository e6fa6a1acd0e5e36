package stage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
)

// shared is the control plane of this test binary: its tests are the only ones
// who could own it, and they know nothing of each other.
var shared struct {
	once sync.Once
	cp   *ControlPlane
	err  error
}

// ForTest gives the control plane that all tests of a binary share, which the
// first call starts and [Main] stops. Tests that run at the same time keep to
// namespaces of their own; one that stops or pauses the API server doesn't run
// in parallel with others and mends it, or it takes a control plane of its own
// by [Start].
//
// With -short, and where there is no control plane to run, the test is skipped;
// with ROLECALL_REQUIRE_STAGE=1 in the environment the latter fails it. It must
// not be called inside a testing/synctest bubble.
func ForTest(tb testing.TB) *ControlPlane {
	tb.Helper()
	if testing.Short() {
		tb.Skip("needs a control plane: not with -short")
	}
	shared.once.Do(func() { shared.cp, shared.err = Start(context.Background(), Options{}) })
	switch err := shared.err; {
	case errors.Is(err, ErrNoAssets) && os.Getenv("ROLECALL_REQUIRE_STAGE") != "1":
		tb.Skip(err)
	case err != nil:
		tb.Fatal(err)
	}
	return shared.cp
}

// Main runs the tests of a binary, stops what [ForTest] started and returns the
// exit code, for TestMain.
func Main(m *testing.M) int {
	code := m.Run()
	if shared.cp == nil {
		return code
	}
	if err := shared.cp.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, "stop the control plane:", err)
		return max(code, 1)
	}
	return code
}
