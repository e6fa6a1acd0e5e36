package writers_test

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
)

// A size is how much a run is made to take. The whole of it is for
// ROLECALL_FAULTS=1; each can be given by itself:
//
//	ROLECALL_WRITERS_EDITS=2000 ROLECALL_WRITERS_DEATHS=20 ROLECALL_SEED=1
type size struct {
	edits, deaths int
	seed          uint64
}

func sizeOf(t *testing.T) size {
	t.Helper()
	s := size{edits: 300, deaths: 2, seed: rand.Uint64()}
	if os.Getenv("ROLECALL_FAULTS") == "1" {
		s.edits, s.deaths = 2000, 20
	}
	s.edits = int(number(t, "ROLECALL_WRITERS_EDITS", uint64(s.edits)))
	s.deaths = int(number(t, "ROLECALL_WRITERS_DEATHS", uint64(s.deaths)))
	s.seed = number(t, "ROLECALL_SEED", s.seed)
	t.Logf("%d edits, %d deaths of a leader, ROLECALL_SEED=%d", s.edits, s.deaths, s.seed)
	return s
}

func number(t *testing.T, name string, otherwise uint64) uint64 {
	t.Helper()
	text, ok := os.LookupEnv(name)
	if !ok {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}
