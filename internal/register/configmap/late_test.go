package configmap

import (
	"testing"
	"time"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/internal/plan"
)

// A leader dies between the ledger and aws-auth, its successor wants nothing of
// it, and then the write arrives.
func TestLateAccount(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	asked := plan.Snapshot{Now: now, Sources: []plan.Source{{Name: "file", Entries: []awsauth.Entry{{Kind: awsauth.Account, ARN: "555566667777"}}}}}
	empty := parse(t, nil)
	first := wholePlan(t, empty, nil, asked)
	for _, test := range []struct {
		name    string
		after   time.Duration
		removes int
	}{{"soon", time.Second, 1}, {"when it can be nobody's but a person's", time.Hour, 0}} {
		t.Run(test.name, func(t *testing.T) {
			nobody := plan.Snapshot{Now: now.Add(test.after), Sources: []plan.Source{{Name: "file"}}}
			second := wholePlan(t, empty, first.Ahead, nobody)
			if second.Writes() || second.Settled == nil {
				t.Fatalf("the successor plans %v, ledger %v", second.Changes, second.Settled)
			}
			again := wholePlan(t, empty, second.Settled, nobody)
			if again.Writes() || again.Settled != nil {
				t.Errorf("a second pass changes something: %v, ledger %v", again.Changes, again.Settled)
			}
			failed := wholePlan(t, empty, second.Settled, plan.Snapshot{Now: nobody.Now, Sources: []plan.Source{{Name: "file", Failed: true}}})
			if failed.Writes() {
				t.Errorf("a source that fails asks for it again: %v", failed.Changes)
			}
			last := wholePlan(t, first.After, second.Settled, nobody)
			if len(last.Changes) != test.removes {
				t.Errorf("when it has arrived: %v, want %d removals", last.Changes, test.removes)
			}
		})
	}
}
