package configmap

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/internal/plan"
)

// filled is a document of that many bytes, all of them somebody else's.
func filled(tb testing.TB, size int, text string) *awsauth.Document {
	tb.Helper()
	const name = "foreign"
	return parse(tb, map[string]string{"mapRoles": text, name: strings.Repeat("x", size-len(text))})
}

// many are n new roles of about 150 bytes each.
func many(n int) []awsauth.Entry {
	var out []awsauth.Entry
	for i := range n {
		out = append(out, role(fmt.Sprintf("new-%04d", i), "system:node:{{EC2PrivateDNSName}}", "system:nodes"))
	}
	return out
}

// TestNewEntriesLeaveRoom fills the document up to 95 % and no further; the
// roles of live nodes find room beyond.
func TestNewEntriesLeaveRoom(t *testing.T) {
	const size = awsauth.Limit / 100 * 94
	entries := many(500)
	live := entries[len(entries)-3:]
	req := plan.Snapshot{Now: now, Sources: []plan.Source{from("file", entries...)}}
	for _, e := range live {
		req.Required = append(req.Required, strings.ToUpper(e.ARN))
	}
	planned := wholePlan(t, filled(t, size, ""), nil, req)
	if p := broken(planned.Before, &plan.State{}, req, planned); p != "" {
		t.Error(p[:200])
	}
	if len(planned.NoRoom) == 0 || len(planned.Managed) < 20 || len(planned.NoRoom)+len(planned.Managed) != len(entries) {
		t.Errorf("%d refused and %d written of %d", len(planned.NoRoom), len(planned.Managed), len(entries))
	}
	if planned.Size <= awsauth.Limit/100*94 || planned.Size > awsauth.Limit/100*95 {
		t.Errorf("the size is %.2f %%", 100*float64(planned.Size)/awsauth.Limit)
	}
	for _, e := range live {
		if _, ok := resolve(planned.After, e.ARN); !ok {
			t.Errorf("%s, of a live node, found no room", e.ARN)
		}
	}

	// Above 95 % there is room for the roles of live nodes alone, up to the limit.
	const full = awsauth.Limit - 1000
	planned = wholePlan(t, filled(t, full, ""), nil, req)
	if len(planned.Managed) != len(live) || planned.Size > awsauth.Limit {
		t.Errorf("%d written, of which %d are live nodes' roles; the size is %d of %d", len(planned.Managed), len(live), planned.Size, awsauth.Limit)
	}

	// And none where the limit is reached.
	planned = wholePlan(t, filled(t, awsauth.Limit-100, ""), nil, req)
	if planned.Writes() || len(planned.NoRoom) != len(entries) {
		t.Errorf("%d refused of %d, changes %+v", len(planned.NoRoom), len(entries), planned.Changes)
	}
}

// TestOtherCounts counts what else the ConfigMap holds.
func TestOtherCounts(t *testing.T) {
	const other = awsauth.Limit / 100 * 95
	req := plan.Snapshot{Now: now, Sources: []plan.Source{from("file", many(1)...)}}
	planned := MakePlan(parse(t, nil), other, req)
	if len(planned.NoRoom) != 1 || planned.Size != other {
		t.Errorf("refused %d, the size is %d", len(planned.NoRoom), planned.Size)
	}
}

// TestRemovalsAreDoneInAFullDocument removes and makes room in one write.
func TestRemovalsAreDoneInAFullDocument(t *testing.T) {
	gone := list(true, many(400)...)
	req := plan.Snapshot{Now: now, Sources: []plan.Source{from("file", role("a", "a"), role("b", "b"))}}
	planned := wholePlan(t, filled(t, awsauth.Limit-10, gone), nil, req)
	if len(planned.NoRoom) != 0 || len(planned.Managed) != 2 || len(planned.Changes) != 402 {
		t.Errorf("refused %d, ours %d, changes %d", len(planned.NoRoom), len(planned.Managed), len(planned.Changes))
	}

	few := list(true, many(2)...)
	planned = wholePlan(t, filled(t, awsauth.Limit-10, few), nil, req)
	if len(planned.NoRoom) != 2 || len(planned.Changes) != 2 || planned.Size >= awsauth.Limit-10 {
		t.Errorf("refused %d, changes %d, the size is %d", len(planned.NoRoom), len(planned.Changes), planned.Size)
	}
}

// TestNothingIsWrittenBeyondTheLimit leaves out an update that does not fit, and
// does the rest.
func TestNothingIsWrittenBeyondTheLimit(t *testing.T) {
	doc := filled(t, awsauth.Limit-10, marked(role("a", "a"), role("gone", "gone")))
	req := plan.Snapshot{Now: now, Sources: []plan.Source{from("file", role("a", "a", strings.Repeat("g", 300)))}}
	p := makePlan(doc, nil, req)
	if len(p.Left) != 1 || p.Left[0].Op != plan.Update || !strings.Contains(p.Left[0].Why, "remove entries") {
		t.Errorf("left out: %+v", p.Left)
	}
	if got := resolution(p.After); len(p.Changes) != 1 || !slices.Equal(got, []string{"role/a a[]"}) {
		t.Errorf("changes %+v, stands %q", p.Changes, got)
	}
	if why := broken(doc, &plan.State{}, req, p); why != "" {
		t.Error(why[:200])
	}
}

// TestAMoveWithoutRoomStays keeps an entry that stands under the wrong key
// until there is room under the right one.
func TestAMoveWithoutRoomStays(t *testing.T) {
	text := marked(awsauth.Entry{Kind: awsauth.User, ARN: role("a", "").ARN, Username: "a"})
	doc := parse(t, map[string]string{"mapUsers": text, "other": strings.Repeat("x", awsauth.Limit-len(text))})
	req := plan.Snapshot{Now: now, Required: []string{role("a", "").ARN}, Sources: []plan.Source{from("node", role("a", "a"))}}
	planned := wholePlan(t, doc, nil, req)
	if p := broken(doc, &plan.State{}, req, planned); p != "" {
		t.Error(p[:200])
	}
	if planned.Writes() || len(planned.NoRoom) != 1 || len(planned.Managed) != 1 {
		t.Errorf("changes %+v, refused %+v, ours %+v", planned.Changes, planned.NoRoom, planned.Managed)
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
				req := plan.Snapshot{Now: now, Sources: []plan.Source{from("file", many(40)...)}}
				planned := wholePlan(t, doc, nil, req)
				again := wholePlan(t, planned.After, planned.Settled, req)
				if again.Writes() || len(again.NoRoom) != len(planned.NoRoom) || len(planned.NoRoom) == 0 || planned.Size > refuseAt || planned.Size < refuseAt-200 {
					t.Errorf("%d refused, then %d; the size is %d of %d, then %d", len(planned.NoRoom), len(again.NoRoom), planned.Size, refuseAt, again.Size)
				}
			}
		})
	}
}
