package awsauth

import (
	"fmt"
	"strings"
	"testing"
)

// filled is a document of that many bytes, all of them somebody else's.
func filled(tb testing.TB, size int, text string) *Document {
	tb.Helper()
	const name = "foreign"
	return parse(tb, map[string]string{"mapRoles": text, name: strings.Repeat("x", size-len(text))})
}

// many are n new roles of about 150 bytes each.
func many(n int) []Entry {
	var out []Entry
	for i := range n {
		out = append(out, role(fmt.Sprintf("new-%04d", i), "system:node:{{EC2PrivateDNSName}}", "system:nodes"))
	}
	return out
}

// TestNewEntriesLeaveRoom fills the document up to 95 % and no further; the
// roles of live nodes find room beyond.
func TestNewEntriesLeaveRoom(t *testing.T) {
	const size = Limit / 100 * 94
	entries := many(500)
	live := entries[len(entries)-3:]
	req := Request{Now: now, Sources: []Source{from("file", entries...)}}
	for _, e := range live {
		req.Required = append(req.Required, strings.ToUpper(e.ARN))
	}
	plan, err := MakePlan(filled(t, size, ""), nil, req)
	if err != nil {
		t.Fatal(err)
	}
	if p := broken(plan.Before, &Ledger{}, req, plan); p != "" {
		t.Error(p[:200])
	}
	if len(plan.Refused) == 0 || len(plan.Ours) < 20 || len(plan.Refused)+len(plan.Ours) != len(entries) {
		t.Errorf("%d refused and %d written of %d", len(plan.Refused), len(plan.Ours), len(entries))
	}
	if plan.Size <= Limit/100*94 || plan.Size > Limit/100*95 {
		t.Errorf("the size is %.2f %%", 100*float64(plan.Size)/Limit)
	}
	for _, e := range live {
		if _, ok := resolve(plan.After, e.ARN); !ok {
			t.Errorf("%s, of a live node, found no room", e.ARN)
		}
	}

	// Above 95 % there is room for the roles of live nodes alone, up to the limit.
	const full = Limit - 1000
	plan, err = MakePlan(filled(t, full, ""), nil, req)
	if err != nil {
		t.Fatal(err)
	}
	if len(plan.Ours) != len(live) || plan.Size > Limit {
		t.Errorf("%d written, of which %d are live nodes' roles; the size is %d of %d", len(plan.Ours), len(live), plan.Size, Limit)
	}

	// And none where the limit is reached.
	plan, err = MakePlan(filled(t, Limit-100, ""), nil, req)
	if err != nil {
		t.Fatal(err)
	}
	if plan.Writes() || len(plan.Refused) != len(entries) {
		t.Errorf("%d refused of %d, changes %+v", len(plan.Refused), len(entries), plan.Changes)
	}
}

// TestOtherCounts counts what else the ConfigMap holds.
func TestOtherCounts(t *testing.T) {
	req := Request{Now: now, Other: Limit / 100 * 95, Sources: []Source{from("file", many(1)...)}}
	plan, err := MakePlan(parse(t, nil), nil, req)
	if err != nil {
		t.Fatal(err)
	}
	if len(plan.Refused) != 1 || plan.Size != req.Other {
		t.Errorf("refused %d, the size is %d", len(plan.Refused), plan.Size)
	}
}

// TestRemovalsAreDoneInAFullDocument removes and makes room in one write.
func TestRemovalsAreDoneInAFullDocument(t *testing.T) {
	gone := list(true, many(400)...)
	req := Request{Now: now, Sources: []Source{from("file", role("a", "a"), role("b", "b"))}}
	plan, err := MakePlan(filled(t, Limit-10, gone), nil, req)
	if err != nil {
		t.Fatal(err)
	}
	if len(plan.Refused) != 0 || len(plan.Ours) != 2 || len(plan.Changes) != 402 {
		t.Errorf("refused %d, ours %d, changes %d", len(plan.Refused), len(plan.Ours), len(plan.Changes))
	}

	few := list(true, many(2)...)
	plan, err = MakePlan(filled(t, Limit-10, few), nil, req)
	if err != nil {
		t.Fatal(err)
	}
	if len(plan.Refused) != 2 || len(plan.Changes) != 2 || plan.Size >= Limit-10 {
		t.Errorf("refused %d, changes %d, the size is %d", len(plan.Refused), len(plan.Changes), plan.Size)
	}
}

// TestNothingIsWrittenBeyondTheLimit refuses a plan whose updates do not fit.
func TestNothingIsWrittenBeyondTheLimit(t *testing.T) {
	doc := filled(t, Limit-10, marked(role("a", "a")))
	req := Request{Now: now, Sources: []Source{from("file", role("a", "a", strings.Repeat("g", 100)))}}
	if plan, err := MakePlan(doc, nil, req); err == nil || !strings.Contains(err.Error(), "remove entries") {
		t.Errorf("got %v, %+v", err, plan)
	}
}

// TestAMoveWithoutRoomStays keeps an entry that stands under the wrong key
// until there is room under the right one.
func TestAMoveWithoutRoomStays(t *testing.T) {
	text := marked(Entry{User, role("a", "").ARN, "a", nil})
	doc := parse(t, map[string]string{"mapUsers": text, "other": strings.Repeat("x", Limit-len(text))})
	req := Request{Now: now, Required: []string{role("a", "").ARN}, Sources: []Source{from("node", role("a", "a"))}}
	plan, err := MakePlan(doc, nil, req)
	if err != nil {
		t.Fatal(err)
	}
	if p := broken(doc, &Ledger{}, req, plan); p != "" {
		t.Error(p[:200])
	}
	if plan.Writes() || len(plan.Refused) != 1 || len(plan.Ours) != 1 {
		t.Errorf("changes %+v, refused %+v, ours %+v", plan.Changes, plan.Refused, plan.Ours)
	}
}

// TestRoomIsCountedToTheByte fills lists of every layout: what a first run
// refuses, a second one refuses too.
func TestRoomIsCountedToTheByte(t *testing.T) {
	for name, text := range map[string]string{
		"empty":       "",
		"null":        "--- # none\n",
		"brackets":    "# none\n[] # yet\n",
		"block":       unmarked(role("a", "a")),
		"indented":    "      - rolearn: x\n",
		"no line end": "- rolearn: x",
		"CRLF":        "- rolearn: x\r\n",
		"JSON":        `[{"rolearn":"x"}]`,
		"flow":        "[\n    {rolearn: x}\n]\n",
		"ours to go":  marked(role("a", "a"), role("b", "b")),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for extra := range 12 {
				doc := filled(t, refuseAt-3000+20*extra, text)
				req := Request{Now: now, Sources: []Source{from("file", many(40)...)}}
				plan, err := MakePlan(doc, nil, req)
				if err != nil {
					t.Fatal(err)
				}
				again, err := MakePlan(plan.After, plan.Settled, req)
				if err != nil {
					t.Fatal(err)
				}
				if again.Writes() || len(again.Refused) != len(plan.Refused) || len(plan.Refused) == 0 || plan.Size > refuseAt || plan.Size < refuseAt-200 {
					t.Errorf("%d refused, then %d; the size is %d of %d, then %d", len(plan.Refused), len(again.Refused), plan.Size, refuseAt, again.Size)
				}
			}
		})
	}
}
