package awsauth

import (
	"bytes"
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"slices"
	"unicode/utf8"
)

// Limit is the size at which the API server refuses a ConfigMap, in bytes of
// its values (k8s.io/kubernetes pkg/apis/core/validation, MaxSecretSize).
const Limit = 1 << 20

// A Document is the data of aws-auth, read as the authenticator reads it. It
// is never changed: an edit makes a new one. It is safe for concurrent use.
type Document struct {
	data   map[string]string
	broken map[Kind]*ParseError // keys that cannot be read
	reading
}

// Parse reads the data of aws-auth; nil data is an empty document. The error
// joins a [*ParseError] for every key that the authenticator cannot read.
func Parse(data map[string]string) (*Document, error) {
	r, err := readAll(data)
	if err != nil {
		return nil, err
	}
	return &Document{data: maps.Clone(data), reading: r}, nil
}

// ParseReadable reads the keys that the authenticator can read. What the others
// hold is nothing to it, and they take no edit; [Document.Unreadable] lists them.
func ParseReadable(data map[string]string) *Document {
	r, err := readAll(data)
	d := &Document{data: maps.Clone(data), reading: r}
	for _, p := range ParseErrors(err) {
		for _, kind := range Kinds() {
			if kind.Key() == p.Key {
				if d.broken == nil {
					d.broken = map[Kind]*ParseError{}
				}
				d.broken[kind] = p
			}
		}
	}
	return d
}

// ParseConfigMap is [ParseReadable] of a whole ConfigMap. A key of aws-auth in its
// binaryData is one that the authenticator cannot read, since that looks at data
// alone (pkg/mapper/configmap/configmap.go:125): kubectl create configmap --from-file
// puts a file there that is not UTF-8, such as one in UTF-16. The maps are not changed.
func ParseConfigMap(data map[string]string, binaryData map[string][]byte) *Document {
	d := ParseReadable(data)
	for _, kind := range Kinds() {
		body, ok := binaryData[kind.Key()]
		if !ok {
			continue
		}
		if d.broken == nil {
			d.broken = map[Kind]*ParseError{}
		}
		d.broken[kind] = &ParseError{Key: kind.Key(), Reason: "it stands in binaryData, which the authenticator does not read: " + encoding(body)}
	}
	return d
}

// encoding says of a text in binaryData how it is encoded.
func encoding(body []byte) string {
	switch {
	case bytes.HasPrefix(body, []byte{0xff, 0xfe}), bytes.HasPrefix(body, []byte{0xfe, 0xff}), bytes.IndexByte(body, 0) >= 0 && utf8.Valid(body):
		return "the file that it was made of is in UTF-16, and must be in UTF-8"
	case utf8.Valid(body):
		return "it belongs under data"
	}
	return "the file that it was made of is not in UTF-8"
}

// Unreadable are the keys that the authenticator cannot read, in the order of
// [Keys]; none of a document that [Parse] returned.
func (d *Document) Unreadable() []*ParseError {
	var out []*ParseError
	for _, kind := range Kinds() {
		if p := d.broken[kind]; p != nil {
			out = append(out, p)
		}
	}
	return out
}

// Mapped is the entry that answers for each principal ([Entry.Principal]) of
// mapRoles and mapUsers, as the authenticator would take it.
func (d *Document) Mapped() map[string]Entry { return d.resolver() }

// Data returns a copy of the document as the ConfigMap's data.
func (d *Document) Data() map[string]string { return maps.Clone(d.data) }

// Size is the bytes that the API server counts against [Limit].
func (d *Document) Size() int {
	n := 0
	for _, text := range d.data {
		n += len(text)
	}
	return n
}

// Listed is an entry of the document in its place.
type Listed struct {
	Entry
	Index    int    // in the list of its kind, from 0
	SyncedBy string // the mark of the tool that wrote it, if it left one
	Dropped  string // why the authenticator ignores it; empty if it is in force
}

// Entries lists the entries in the order of the document: roles, users, accounts.
func (d *Document) Entries() []Listed {
	out := make([]Listed, 0, len(d.roles)+len(d.users)+len(d.accounts))
	for _, list := range [][]mapping{d.roles, d.users, d.accounts} {
		for i := range list {
			out = append(out, Listed{list[i].Entry, i, list[i].mark, list[i].dropped})
		}
	}
	return out
}

// Texts returns the entries of a kind as they stand in the document, byte for byte,
// in the order of [Document.Entries]. In a block list an entry is whole lines, from
// the one of its dash to the last that is neither blank nor a comment; in a flow
// list it is the value alone. The error says that the list can be read, but its
// entries cannot be told apart; then it takes no [Document.Edit] either.
func (d *Document) Texts(kind Kind) ([]string, error) {
	if p := d.broken[kind]; p != nil {
		return nil, p
	}
	l, err := layOut(kind, d.data[kind.Key()], len(d.list(kind)))
	if err != nil {
		return nil, err
	}
	texts := make([]string, len(l.items))
	for i, it := range l.items {
		texts[i] = l.text[it.start:it.end]
	}
	return texts, nil
}

// list returns the elements of one kind.
func (r *reading) list(kind Kind) []mapping {
	switch kind {
	case Role:
		return r.roles
	case User:
		return r.users
	}
	return r.accounts
}

// Edit carries out the edits and returns the new document. An element that no
// edit names reads in it as it did before and every edited one as asked, or
// the error says that nothing could be done. The list of a key that cannot be
// read takes no edit.
func (d *Document) Edit(edits map[Kind]*Edit) (*Document, error) {
	next := &Document{data: maps.Clone(d.data), reading: d.reading, broken: d.broken}
	if next.data == nil {
		next.data = map[string]string{}
	}
	for _, kind := range []Kind{Role, User, Account} {
		e := edits[kind]
		if e == nil || e.empty() {
			continue
		}
		if p := d.broken[kind]; p != nil {
			return nil, p
		}
		have := d.list(kind)
		l, err := layOut(kind, d.data[kind.Key()], len(have))
		if err != nil {
			return nil, err
		}
		if err := next.replaceList(kind, l.rewrites(e, have), expected(have, e), len(e.Add)); err != nil {
			if l.aliases {
				return nil, errLayout(kind, "an entry that must change has an anchor that others use")
			}
			return nil, err
		}
	}
	return next, nil
}

// replaceList takes the first of the texts that reads as expected.
func (d *Document) replaceList(kind Kind, texts iter.Seq[string], want []outcome, added int) error {
	var firstErr error
	for text := range texts {
		list, err := readBack(kind, text)
		if err == nil {
			err = matches(kind, list, want, added)
		}
		if err != nil {
			if firstErr == nil {
				firstErr = err
			}
			continue
		}
		d.data[kind.Key()] = text
		switch kind {
		case Role:
			d.roles = list
		case User:
			d.users = list
		case Account:
			d.accounts = list
		}
		return nil
	}
	return fmt.Errorf("nothing is written: after the edit the authenticator would not read %s as planned: %w", kind.Key(), firstErr)
}

// outcome is what must stand at one place of a list after an edit.
type outcome struct {
	kept     *mapping // an element that must read as before, or
	unmarked *mapping // one that must read as before but for its mark, or
	edited   *mapping // one that must read as before but for what is written, or
	written  Entry    // an entry that must stand there
	mark     string   // its mark
}

// expected is the list after an edit, the added entries last.
func expected(have []mapping, e *Edit) []outcome {
	want := make([]outcome, 0, len(have)+len(e.Add))
	for i := range have {
		if entry, ok := e.Replace[i]; ok {
			want = append(want, e.outcome(&have[i], entry))
		} else if e.Unmark[i] {
			want = append(want, outcome{unmarked: &have[i]})
		} else if !e.Remove[i] {
			want = append(want, outcome{kept: &have[i]})
		}
	}
	for _, entry := range e.Add {
		want = append(want, e.outcome(nil, entry))
	}
	return want
}

// outcome is what must stand where an entry is written; was is the element that
// stood there, if one did.
func (e *Edit) outcome(was *mapping, entry Entry) outcome {
	switch {
	case !e.hand:
		return outcome{written: entry, mark: Mark}
	case was != nil:
		return outcome{written: entry, mark: was.mark, edited: was}
	}
	return outcome{written: entry}
}

// matches holds a list against what was expected of it. The last added
// entries may as well stand in front of all others.
func matches(kind Kind, list []mapping, want []outcome, added int) error {
	if len(list) != len(want) {
		return fmt.Errorf("%d entries instead of %d", len(list), len(want))
	}
	err := inOrder(kind, list, want)
	if err != nil && added > 0 && added < len(want) {
		last := len(want) - added
		if inOrder(kind, list[:added], want[last:]) == nil && inOrder(kind, list[added:], want[:last]) == nil {
			return nil
		}
	}
	return err
}

func inOrder(kind Kind, list []mapping, want []outcome) error {
	for i := range want {
		got := &list[i]
		switch w := &want[i]; {
		case w.kept != nil:
			if got.ARN != w.kept.ARN || got.dropped != w.kept.dropped || !bytes.Equal(got.raw, w.kept.raw) {
				return fmt.Errorf("entry %d would read otherwise than before", i+1)
			}
		case w.unmarked != nil:
			if !sameButMark(got, w.unmarked) {
				return fmt.Errorf("entry %d would read otherwise than before but for its mark", i+1)
			}
		case !SameARN(got.ARN, w.written.ARN), kind != Account && (!got.inForce() || got.mark != w.mark || !sameGrant(got.Entry, w.written)):
			return fmt.Errorf("entry %d, for %s, would read otherwise than planned", i+1, w.written.ARN)
		case w.edited != nil && !sameFields(unwrittenFields(*got), unwrittenFields(*w.edited)):
			return fmt.Errorf("entry %d, for %s, would have other fields than before beside those that are edited", i+1, w.written.ARN)
		}
	}
	return nil
}

// sameButMark reports whether an element reads as another one did, apart from a
// mark that it no longer has.
func sameButMark(got, was *mapping) bool {
	return got.mark == "" && got.dropped == was.dropped && got.ARN == was.ARN && got.Username == was.Username && slices.Equal(got.Groups, was.Groups) &&
		sameFields(unknownFields(*got), unknownFields(*was))
}

func sameFields(a, b map[string]json.RawMessage) bool {
	return maps.EqualFunc(a, b, func(a, b json.RawMessage) bool { return bytes.Equal(a, b) })
}
