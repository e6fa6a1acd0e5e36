package writers_test

import (
	"context"
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
	dir, err := os.MkdirTemp("", "rolecall-writers-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = sync.OnceValues(func() (string, error) {
		return fleet.Build(context.Background(), dir, raceFlags()...)
	})
	return stage.Main(m)
}

// raceFlags has the binary watched for data races if the tests are.
func raceFlags() []string {
	if raceEnabled {
		return []string{"-race"}
	}
	return nil
}
