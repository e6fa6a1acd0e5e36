package awsauth

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"github.com/rolecall/rolecall/test/corpus"
)

// handEdit is an edit as testdata/hand writes it.
type handEdit struct {
	Options  UpsertOptions `json:"options"`
	Upsert   []Entry       `json:"upsert"`
	Removing RemoveOptions `json:"removing"`
	Remove   []Match       `json:"remove"`
}

func (h *handEdit) on(doc *Document) (*Document, []Change, error) {
	if h.Remove != nil {
		return doc.Remove(h.Removing, h.Remove...)
	}
	return doc.Upsert(h.Options, h.Upsert...)
}

// TestHand shows for each document under testdata/hand what edits make of it,
// one after the other: the archive holds the edits, the keys before, what each
// edit does or why not, and the keys that are otherwise in the end.
func TestHand(t *testing.T) {
	corpus.Golden(t, "hand", *update, func(t *testing.T, given []txtar.File) []txtar.File {
		data, text := corpus.GivenKeys(given, "edit.json")
		var edits []handEdit
		corpus.Strictly(t, text, &edits)
		doc := parse(t, data)
		var said strings.Builder
		for i := range edits {
			next, changes, err := edits[i].on(doc)
			fmt.Fprintf(&said, "%d:\n%s", i+1, sayChanges(changes, err))
			if err != nil {
				continue
			}
			if p := brokenHand(doc, next, changes, &edits[i]); p != "" {
				t.Errorf("edit %d: %s", i+1, p)
			}
			doc = next
		}
		results := []txtar.File{{Name: "changes", Data: []byte(said.String())}}
		for _, k := range slices.Concat(Keys[:], []string{"theirs"}) { // also one that was not given
			if text := doc.data[k]; text != data[k] {
				results = append(results, txtar.File{Name: "after/" + k, Data: []byte(text)})
			}
		}
		return results
	})
}

func sayChanges(changes []Change, err error) string {
	var out strings.Builder
	if err != nil {
		for line := range strings.SplitSeq(err.Error(), "\n") {
			out.WriteString("  error: " + line + "\n")
		}
		return out.String()
	}
	for _, c := range changes {
		out.WriteString("  " + string(c.Op) + " " + show(c.Entry))
		if c.Before != nil {
			out.WriteString(", before " + show(*c.Before))
		}
		if c.Reason != "" {
			out.WriteString(" (" + c.Reason + ")")
		}
		out.WriteString("\n")
	}
	return out.String()
}

// brokenHand says which promise an edit by hand breaks, or "".
func brokenHand(before, after *Document, changes []Change, h *handEdit) string {
	why := brokenEdit(before, after, changes)
	if again, more, err := (&handEdit{h.Options, h.Upsert, RemoveOptions{IgnoreNotFound: true}, h.Remove}).on(after); why == "" && !slices.ContainsFunc(h.Remove, func(m Match) bool { return m.First }) {
		if err != nil || len(more) > 0 || again != after {
			why = fmt.Sprintf("the same edit again: %v, %+v", err, more)
		}
	}
	if why == "" {
		return ""
	}
	return fmt.Sprintf("NO RERUN: %s\nedit %+v\nchanges %+v\nBEFORE\n%s\nAFTER\n%s", why, *h, changes, dump(before), dump(after))
}

func brokenEdit(before, after *Document, changes []Change) string {
	if (len(changes) == 0) != (after == before) {
		return fmt.Sprintf("%d changes, and the document is another one: %t", len(changes), after != before)
	}
	if again, err := Parse(after.data); err != nil || !cmp.Equal(again.Entries(), after.Entries()) {
		return fmt.Sprintf("it reads otherwise than it says: %v", err)
	}
	touched := map[Kind]bool{}
	about := map[string]bool{}
	for _, c := range changes {
		touched[c.Entry.Kind] = true
		about[string(c.Entry.Kind)+" "+key(c.Entry.ARN)] = true
	}
	for k, text := range after.data {
		if !touched[Role] && k == "mapRoles" || !touched[User] && k == "mapUsers" || !touched[Account] && k == "mapAccounts" || !slices.Contains(Keys[:], k) {
			if before.data[k] != text {
				return fmt.Sprintf("key %q was written without a change", k)
			}
		}
	}
	for k := range before.data {
		if _, ok := after.data[k]; !ok {
			return fmt.Sprintf("key %q is gone", k)
		}
	}
	others := func(d *Document, kind Kind) (out []string) {
		for _, m := range d.list(kind) {
			if !about[string(kind)+" "+key(m.ARN)] {
				out = append(out, fmt.Sprintf("%s %s %s", m.ARN, m.raw, m.dropped))
			}
		}
		return out
	}
	for _, kind := range []Kind{Role, User, Account} {
		if diff := cmp.Diff(others(before, kind), others(after, kind)); diff != "" {
			return "entries that no change is about (-before +after):\n" + diff
		}
	}
	if why := corpus.LostComment(before.data, after.data); why != "" {
		return why
	}
	for _, c := range changes {
		got, ok := resolve(after, c.Entry.ARN)
		switch {
		case c.Entry.Kind == Account:
		case c.Op == Remove && ok && got.Kind == c.Entry.Kind && sameGrant(got, c.Entry):
			// Another one of the same may stand on, where a match said "first".
		case c.Op != Remove && (!ok || !sameGrant(got, c.Entry)):
			return fmt.Sprintf("%s resolves to %+v", c.Entry.ARN, got)
		}
	}
	return ""
}

// randomHand asks for some edit of a document.
func randomHand(r *rand.Rand, doc *Document) *handEdit {
	listed := doc.Entries()
	arn := func(kind Kind) string {
		for range 3 {
			if n := len(listed); n > 0 && r.IntN(2) == 0 {
				if l := listed[r.IntN(n)]; l.Kind == kind {
					return l.ARN
				}
			}
		}
		if kind == Account {
			return fmt.Sprintf("1111222233%02d", r.IntN(100))
		}
		return fmt.Sprintf("arn:aws:iam::111122223333:%s/n%d", kind, r.IntN(6))
	}
	words := []string{"a", "b", "system:node:{{EC2PrivateDNSName}}", "{{SessionName}}", "on", "1", "a, b", "x: #y", "é", "'", `"`, "-", "*a"}
	word := func() string { return words[r.IntN(len(words))] }
	some := func() (out []string) {
		for range r.IntN(4) {
			out = append(out, word())
		}
		return out
	}
	h := &handEdit{Options: UpsertOptions{Append: r.IntN(2) == 0, KeepUsername: r.IntN(4) == 0, KeepGroups: r.IntN(4) == 0, AnyARN: r.IntN(2) == 0}}
	kinds := []Kind{Role, User, Account}
	if r.IntN(3) == 0 {
		for range 1 + r.IntN(2) {
			m := Match{Kind: kinds[r.IntN(3)], First: r.IntN(8) == 0}
			if r.IntN(3) > 0 {
				m.ARN = arn(m.Kind)
			}
			if r.IntN(4) == 0 {
				m.Username = word()
			}
			h.Remove = append(h.Remove, m)
		}
		h.Removing.IgnoreNotFound = r.IntN(2) == 0
		return h
	}
	for range 1 + r.IntN(3) {
		e := Entry{Kind: kinds[r.IntN(3)]}
		e.ARN = arn(e.Kind)
		if e.Kind != Account {
			e.Username, e.Groups = word(), some()
		}
		h.Upsert = append(h.Upsert, e)
	}
	return h
}

// TestHandOnMangledTexts edits documents pieced together from the lines of the
// corpus and from scraps of YAML.
func TestHandOnMangledTexts(t *testing.T) {
	t.Parallel()
	var texts []string
	for _, data := range corpus.Read(t, documents) {
		for _, kind := range []Kind{Role, User} {
			if text := data[kind.Key()]; text != "" {
				texts = append(texts, text)
			}
		}
	}
	slices.Sort(texts)
	made := 0
	for seed := range *mangled {
		r := rand.New(rand.NewPCG(seed, 7))
		doc, err := Parse(map[string]string{"mapRoles": corpus.Mangle(r, texts), "mapUsers": corpus.Mangle(r, texts)})
		if err != nil {
			continue
		}
		h := randomHand(r, doc)
		next, changes, err := h.on(doc)
		if err != nil {
			continue
		}
		made++
		if p := brokenHand(doc, next, changes, h); p != "" {
			t.Fatalf("seed %d: %s", seed, p)
		}
	}
	if uint64(made) < *mangled/8 {
		t.Errorf("only %d of %d documents were edited: the test sees too little", made, *mangled)
	}
}

// FuzzHand edits any text that the authenticator can read. An edit may be
// refused; one that is made keeps the promises of the package.
func FuzzHand(f *testing.F) {
	for _, data := range corpus.Read(f, documents) {
		f.Add(data["mapRoles"], data["mapUsers"], data["mapAccounts"], uint64(1))
	}
	for _, text := range corpus.BadTexts() {
		f.Add(text, text, text, uint64(2))
	}
	f.Fuzz(func(t *testing.T, roles, users, accounts string, seed uint64) {
		doc, err := Parse(map[string]string{"mapRoles": roles, "mapUsers": users, "mapAccounts": accounts, "theirs": "x"})
		if err != nil {
			return
		}
		h := randomHand(rand.New(rand.NewPCG(seed, 8)), doc)
		next, changes, err := h.on(doc)
		if err != nil {
			return
		}
		if p := brokenHand(doc, next, changes, h); p != "" {
			t.Fatal(p)
		}
	})
}

// What goes wrong can be told apart.
func TestHandErrors(t *testing.T) {
	doc := parse(t, map[string]string{"mapRoles": unmarked(role("a", "a"), Entry{Role, user("u", "").ARN, "wrong", nil})})
	_, _, err := doc.Upsert(UpsertOptions{}, Entry{Kind: Role, ARN: "a"}, Entry{Kind: Role, ARN: role("b", "").ARN})
	if arn := (*ARNError)(nil); !errors.As(err, &arn) || arn.Text != "a" {
		t.Errorf("a bad ARN: %v", err)
	}
	_, _, err = doc.Upsert(UpsertOptions{NoDuplicates: true}, role("a", "b"))
	if exists := (*ExistsError)(nil); !errors.As(err, &exists) || exists.Entry.Username != "a" {
		t.Errorf("a duplicate: %v", err)
	}
	_, _, err = doc.Upsert(UpsertOptions{}, user("u", "u"))
	if by := (*ShadowedError)(nil); !errors.As(err, &by) || by.By.Username != "wrong" {
		t.Errorf("a shadowed one: %v", err)
	}
	_, _, err = doc.Remove(RemoveOptions{}, Match{ARN: role("a", "").ARN}, Match{Username: "none"})
	if not := (*NotFoundError)(nil); !errors.As(err, &not) || not.Match.Username != "none" {
		t.Errorf("not found: %v", err)
	}
	_, _, err = doc.Upsert(UpsertOptions{}, role("b", strings.Repeat("x", Limit)))
	if !errors.Is(err, ErrTooLarge) {
		t.Errorf("too large: %.200v", err)
	}
}

// An edit that would change another field than its own is found out.
func TestOtherFieldsAreHeld(t *testing.T) {
	read := func(note string) []mapping {
		list, err := readMappings(Role, "- rolearn: a\n  username: b\n  syncedBy: theirs\n  note: "+note+"\n")
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	was, same, other := read("1"), read("1"), read("2")
	want := []outcome{(&Edit{hand: true}).outcome(&was[0], was[0].Entry)}
	if err := inOrder(Role, same, want); err != nil {
		t.Error(err)
	}
	if err := inOrder(Role, other, want); err == nil {
		t.Error("the note has changed, and nobody says so")
	}
}
