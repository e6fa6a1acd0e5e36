package awsauth

import "fmt"

// RollBack returns a former document as it can be written again so that it
// stays. An entry that carries our mark and that the ledger of today does not
// have would be taken away at the next pass, since no source asks for it; it
// loses the mark and with it becomes foreign. These entries are returned, in
// the order of the document. All others, and what stands between them, keep
// their bytes. A nil ledger is an empty one.
//
// The result has been read back: every identity resolves as in the former
// document. The error says that the document is laid out in a way that cannot
// be edited; then it can only be written as it was.
//
// Accounts carry no mark: what the ledger does not have of them is foreign.
func RollBack(former *Document, ledger *Ledger) (*Document, []Entry, error) {
	known := map[string]bool{}
	if ledger != nil {
		for i := range ledger.Owned {
			known[ledger.Owned[i].key()] = true
		}
	}
	var unmarked []Entry
	edits := map[Kind]*edit{}
	for _, kind := range []Kind{Role, User} {
		e := &edit{unmark: map[int]bool{}}
		list := former.list(kind)
		for i := range list {
			if m := &list[i]; m.inForce() && m.mark == Mark && !known[m.key()] {
				e.unmark[i] = true
				unmarked = append(unmarked, m.Entry)
			}
		}
		edits[kind] = e
	}
	out, err := former.edit(edits)
	if err != nil {
		return nil, nil, fmt.Errorf("take the mark from entries that no source asks for any more: %w", err)
	}
	was, is := former.resolver(), out.resolver()
	for k, entry := range was {
		if now, ok := is[k]; !ok || !sameGrant(entry, now) {
			return nil, nil, &CheckError{ARN: entry.ARN, Planned: &entry, Found: found(is, k)}
		}
	}
	if len(was) != len(is) {
		return nil, nil, fmt.Errorf("nothing is written: %d identities would be mapped instead of %d", len(is), len(was))
	}
	return out, unmarked, nil
}
