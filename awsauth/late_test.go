package awsauth

import (
	"testing"
	"time"
)

// A leader dies between the ledger and aws-auth, its successor wants nothing of
// it, and then the write arrives.
func TestLateAccount(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	asked := Request{Now: now, Sources: []Source{{Name: "file", Entries: []Entry{{Kind: Account, ARN: "555566667777"}}}}}
	empty, err := Parse(nil)
	if err != nil {
		t.Fatal(err)
	}
	first, err := MakePlan(empty, nil, asked)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name    string
		after   time.Duration
		removes int
	}{{"soon", time.Second, 1}, {"when it can be nobody's but a person's", time.Hour, 0}} {
		t.Run(test.name, func(t *testing.T) {
			nobody := Request{Now: now.Add(test.after), Sources: []Source{{Name: "file"}}}
			second, err := MakePlan(empty, first.Ahead, nobody)
			if err != nil {
				t.Fatal(err)
			}
			if second.Writes() || second.Settled == nil {
				t.Fatalf("the successor plans %v, ledger %v", second.Changes, second.Settled)
			}
			again, err := MakePlan(empty, second.Settled, nobody)
			if err != nil || again.Writes() || again.Settled != nil {
				t.Errorf("a second pass changes something: %v, ledger %v (%v)", again.Changes, again.Settled, err)
			}
			failed, err := MakePlan(empty, second.Settled, Request{Now: nobody.Now, Sources: []Source{{Name: "file", Failed: true}}})
			if err != nil || failed.Writes() {
				t.Errorf("a source that fails asks for it again: %v (%v)", failed.Changes, err)
			}
			last, err := MakePlan(first.After, second.Settled, nobody)
			if err != nil || len(last.Changes) != test.removes {
				t.Errorf("when it has arrived: %v (%v), want %d removals", last.Changes, err, test.removes)
			}
		})
	}
}
