package agent

import (
	"errors"
	"fmt"
	"testing"
)

// Ten reports that are not believed are told one by one, a flood of them as one.
func TestFloodOfRefusedReportsIsOneNotice(t *testing.T) {
	for flood, want := range map[int]int{0: 0, 1: 1, maxRefusals: maxRefusals, maxRefusals + 1: 1, 100_000: 1} {
		refused := map[string]error{}
		for i := range flood {
			refused[fmt.Sprintf("node-role-%d", i)] = errors.New("of another account")
		}
		if got := len(refusals(refused)); got != want {
			t.Errorf("%d refused reports are told by %d notices, want %d", flood, got, want)
		}
	}
}
