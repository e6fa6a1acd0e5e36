package configmap

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/internal/plan"
	"github.com/rolecall/rolecall/test/corpus"
)

// TestRollBack shows for each document under testdata/rollback what becomes of
// it: the archive holds the ARNs that the ledger has, the former keys and,
// under after/, those that change.
func TestRollBack(t *testing.T) {
	corpus.Golden(t, "rollback", *update, func(t *testing.T, given []txtar.File) []txtar.File {
		data, arns := corpus.GivenKeys(given, "ledger")
		state := &plan.State{}
		for arn := range strings.FieldsSeq(string(arns)) {
			state.Owned = append(state.Owned, plan.Owned{Entry: awsauth.Entry{Kind: awsauth.Role, ARN: arn}})
		}
		former := parse(t, data)
		after, unmarked, err := RollBack(former, state)
		if err != nil {
			t.Fatal(err)
		}
		if p := rolledBackBadly(former, state, after, unmarked); p != "" {
			t.Error(p)
		}
		return corpus.ChangedKeys(given, data, after.Data())
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
				doc, state := parse(t, data), &plan.State{}
				for range 2 {
					planned := makePlan(doc, state, randomRequest(r, doc))
					if why := leftOut(planned); why != "" {
						t.Fatal(why)
					}
					doc, state = planned.After, settledOf(planned, state)
				}
				today := &plan.State{}
				for _, o := range state.Owned {
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
			_, text := corpus.Unescape(a.Name, string(a.Data))
			f.Add(text, text)
		}
	}
	f.Fuzz(func(t *testing.T, roles, users string) {
		doc, err := awsauth.Parse(map[string]string{"mapRoles": roles, "mapUsers": users})
		if err != nil {
			return
		}
		after, unmarked, err := RollBack(doc, nil)
		if err != nil {
			return
		}
		if p := rolledBackBadly(doc, &plan.State{}, after, unmarked); p != "" {
			t.Fatal(p)
		}
	})
}

// rolledBackBadly says which promise of RollBack is broken, or "". It works from
// texts and from what [Document.Entries] lists.
func rolledBackBadly(former *awsauth.Document, state *plan.State, after *awsauth.Document, unmarked []awsauth.Entry) string {
	again, err := awsauth.Parse(after.Data())
	if err != nil {
		return err.Error()
	}
	was, is := former.Entries(), again.Entries()
	if len(was) != len(is) {
		return fmt.Sprintf("%d entries of %d are left", len(is), len(was))
	}
	lost := map[awsauth.Kind]map[int]bool{awsauth.Role: {}, awsauth.User: {}, awsauth.Account: {}}
	at := map[awsauth.Kind]int{}
	var want []awsauth.Entry
	for i, w := range was {
		known := slices.ContainsFunc(state.Owned, func(o plan.Owned) bool { return strings.EqualFold(o.ARN, w.ARN) })
		if w.Kind != awsauth.Account && w.Dropped == "" && w.SyncedBy == "rolecall" && !known {
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
	for k, text := range former.Data() {
		kind := map[string]awsauth.Kind{"mapRoles": awsauth.Role, "mapUsers": awsauth.User}[k]
		if len(lost[kind]) == 0 && after.Data()[k] != text {
			return fmt.Sprintf("key %q was written without need", k)
		}
		if len(lost[kind]) == 0 {
			continue
		}
		if why := otherBytesLost(kind, former, after, lost[kind]); why != "" {
			return why
		}
	}
	return takenAway(state, after, unmarked)
}

// otherBytesLost looks for the bytes of every element that keeps its mark, for
// every comment line and for what follows the YAML document.
func otherBytesLost(kind awsauth.Kind, former, after *awsauth.Document, lost map[int]bool) string {
	was, rest := former.Data()[kind.Key()], after.Data()[kind.Key()]
	texts, err := former.Texts(kind)
	if err != nil {
		return err.Error()
	}
	for i, text := range texts {
		if lost[i] {
			continue
		}
		bytes := strings.TrimRight(text, "\r\n")
		at := strings.Index(rest, bytes)
		if at < 0 {
			return fmt.Sprintf("entry %d of %s lost its bytes %q", i, kind, bytes)
		}
		rest = rest[at+len(bytes):]
	}
	lines := corpus.Lines(after.Data()[kind.Key()])
	for _, line := range corpus.Lines(was) {
		if strings.HasPrefix(line, "#") && !strings.ContainsAny(line, `'"`) && !slices.ContainsFunc(lines, func(is string) bool { return strings.Contains(is, line) }) {
			return fmt.Sprintf("%s lost the comment %q", kind.Key(), line)
		}
	}
	if tail := documentTail(was, texts[len(texts)-1]); strings.HasPrefix(strings.TrimLeft(texts[0], " "), "-") && !strings.HasSuffix(after.Data()[kind.Key()], tail) {
		return fmt.Sprintf("%s lost what follows its YAML document", kind.Key())
	}
	return ""
}

// takenAway plans as a leader would whose sources ask for nothing, and for what
// the ledger has: nothing may happen to an entry without a mark.
func takenAway(state *plan.State, after *awsauth.Document, unmarked []awsauth.Entry) string {
	ask := plan.Source{Name: "file"}
	for _, o := range state.Owned {
		ask.Entries = append(ask.Entries, o.Entry)
	}
	for _, sources := range [][]plan.Source{nil, {ask}} {
		planned := makePlan(after, state, plan.Snapshot{Now: now, Sources: sources})
		for _, c := range planned.Changes {
			if slices.ContainsFunc(unmarked, func(e awsauth.Entry) bool { return strings.EqualFold(e.ARN, c.Entry.ARN) }) {
				return fmt.Sprintf("the next pass does %+v", c)
			}
		}
	}
	return ""
}
