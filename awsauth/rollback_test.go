package awsauth

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
)

// TestRollBack shows for each document under testdata/rollback what becomes of
// it: the archive holds the ARNs that the ledger has, the former keys and,
// under after/, those that change.
func TestRollBack(t *testing.T) {
	golden(t, "rollback", func(t *testing.T, given []txtar.File) []txtar.File {
		data, arns := givenKeys(given, "ledger")
		ledger := &Ledger{}
		for arn := range strings.FieldsSeq(string(arns)) {
			ledger.Owned = append(ledger.Owned, Owned{Entry: Entry{Kind: Role, ARN: arn}})
		}
		former := parse(t, data)
		after, unmarked, err := RollBack(former, ledger)
		if err != nil {
			t.Fatal(err)
		}
		if p := rolledBackBadly(former, ledger, after, unmarked); p != "" {
			t.Error(p)
		}
		return changedKeys(given, data, after)
	})
}

// TestRollBackKeepsAllElse rolls back to every document of the corpus after
// random plans, with a ledger that has forgotten some of what is ours.
func TestRollBackKeepsAllElse(t *testing.T) {
	for name, data := range readCorpus(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for seed := range *seeds * 4 {
				r := rand.New(rand.NewPCG(seed, 3))
				doc, ledger := parse(t, data), &Ledger{}
				for range 2 {
					plan, err := MakePlan(doc, ledger, randomRequest(r, doc))
					if err != nil {
						t.Fatal(err)
					}
					doc, ledger = plan.After, settledOf(plan, ledger)
				}
				today := &Ledger{}
				for _, o := range ledger.Owned {
					if r.IntN(2) == 0 {
						today.Owned = append(today.Owned, o)
					}
				}
				after, unmarked, err := RollBack(doc, today)
				if err != nil {
					t.Fatalf("seed %d: %v\n%s", seed, err, dump(doc))
				}
				if p := rolledBackBadly(doc, today, after, unmarked); p != "" {
					t.Fatalf("NO RERUN: seed %d: %s\nledger %+v\nFORMER\n%s\nAFTER\n%s", seed, p, today.Owned, dump(doc), dump(after))
				}
			}
		})
	}
}

// TestRollBackOfAnAnchor refuses to edit what others refer to.
func TestRollBackOfAnAnchor(t *testing.T) {
	former := parse(t, map[string]string{"mapRoles": "- &a {rolearn: 'arn:aws:iam::111122223333:role/a', username: a, # why\n   syncedBy: rolecall}\n" +
		"- {<<: *a, rolearn: 'arn:aws:iam::111122223333:role/b', syncedBy: theirs}\n"})
	after, _, err := RollBack(former, nil)
	if err == nil {
		t.Fatalf("it is edited:\n%s", dump(after))
	}
	if want := "an anchor that others use"; !strings.Contains(err.Error(), want) {
		t.Errorf("the error %q lacks %q", err, want)
	}
}

// FuzzRollBack rolls back to any text that the authenticator can read. It may
// be refused; one that is not keeps what it promises.
func FuzzRollBack(f *testing.F) {
	files, err := filepath.Glob("testdata/rollback/*.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		archive, err := txtar.ParseFile(file)
		if err != nil {
			f.Fatal(err)
		}
		for _, a := range archive.Files {
			_, text := unescape(a.Name, string(a.Data))
			f.Add(text, text)
		}
	}
	f.Fuzz(func(t *testing.T, roles, users string) {
		doc, err := Parse(map[string]string{"mapRoles": roles, "mapUsers": users})
		if err != nil {
			return
		}
		after, unmarked, err := RollBack(doc, nil)
		if err != nil {
			return
		}
		if p := rolledBackBadly(doc, &Ledger{}, after, unmarked); p != "" {
			t.Fatal(p)
		}
	})
}

// rolledBackBadly says which promise of RollBack is broken, or "". It works from
// texts and from what [Document.Entries] lists.
func rolledBackBadly(former *Document, ledger *Ledger, after *Document, unmarked []Entry) string {
	again, err := Parse(after.Data())
	if err != nil {
		return err.Error()
	}
	was, is := former.Entries(), again.Entries()
	if len(was) != len(is) {
		return fmt.Sprintf("%d entries of %d are left", len(is), len(was))
	}
	lost := map[Kind]map[int]bool{Role: {}, User: {}, Account: {}}
	at := map[Kind]int{}
	var want []Entry
	for i, w := range was {
		known := slices.ContainsFunc(ledger.Owned, func(o Owned) bool { return key(o.ARN) == key(w.ARN) })
		if w.Kind != Account && w.Dropped == "" && w.SyncedBy == "rolecall" && !known {
			want = append(want, w.Entry)
			lost[w.Kind][at[w.Kind]] = true
			w.SyncedBy = ""
		}
		at[w.Kind]++
		if diff := cmp.Diff(w, is[i]); diff != "" {
			return fmt.Sprintf("entry %d reads otherwise (-want +got):\n%s", i, diff)
		}
	}
	if diff := cmp.Diff(want, unmarked); diff != "" {
		return "unmarked are (-want +got):\n" + diff
	}
	for k, text := range former.data {
		kind := map[string]Kind{"mapRoles": Role, "mapUsers": User}[k]
		if len(lost[kind]) == 0 && after.data[k] != text {
			return fmt.Sprintf("key %q was written without need", k)
		}
		if len(lost[kind]) == 0 {
			continue
		}
		if why := otherBytesLost(kind, former, after, lost[kind]); why != "" {
			return why
		}
	}
	return takenAway(ledger, after, unmarked)
}

// otherBytesLost looks for the bytes of every element that keeps its mark, for
// every comment line and for what follows the YAML document.
func otherBytesLost(kind Kind, former, after *Document, lost map[int]bool) string {
	was, rest := former.data[kind.Key()], after.data[kind.Key()]
	l, err := layOut(kind, was, len(former.list(kind)))
	if err != nil {
		return err.Error()
	}
	for i, it := range l.items {
		if lost[i] {
			continue
		}
		bytes := strings.TrimRight(was[it.start:it.end], "\r\n")
		at := strings.Index(rest, bytes)
		if at < 0 {
			return fmt.Sprintf("entry %d of %s lost its bytes %q", i, kind, bytes)
		}
		rest = rest[at+len(bytes):]
	}
	lines := trimmedLines(after.data[kind.Key()])
	for _, line := range trimmedLines(was) {
		if strings.HasPrefix(line, "#") && !strings.ContainsAny(line, `'"`) && !slices.ContainsFunc(lines, func(is string) bool { return strings.Contains(is, line) }) {
			return fmt.Sprintf("%s lost the comment %q", kind.Key(), line)
		}
	}
	if l.stop < len(was) && !strings.HasSuffix(after.data[kind.Key()], was[l.stop:]) {
		return fmt.Sprintf("%s lost what follows its YAML document", kind.Key())
	}
	return ""
}

// takenAway plans as a leader would whose sources ask for nothing, and for what
// the ledger has: nothing may happen to an entry without a mark.
func takenAway(ledger *Ledger, after *Document, unmarked []Entry) string {
	ask := Source{Name: "file"}
	for _, o := range ledger.Owned {
		ask.Entries = append(ask.Entries, o.Entry)
	}
	for _, sources := range [][]Source{nil, {ask}} {
		plan, err := MakePlan(after, ledger, Request{Now: now, Sources: sources})
		if err != nil {
			return "the next pass fails: " + err.Error()
		}
		for _, c := range plan.Changes {
			if slices.ContainsFunc(unmarked, func(e Entry) bool { return key(e.ARN) == key(c.Entry.ARN) }) {
				return fmt.Sprintf("the next pass does %+v", c)
			}
		}
	}
	return ""
}
