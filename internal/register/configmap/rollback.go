package configmap

import (
	"fmt"
	"slices"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/internal/plan"
)

// RollBack returns a former document as it can be written again so that it
// stays. An entry that carries our mark, or one that the config adopts, and that
// the state of today does not have would be taken away at the next reconcile,
// since no source asks for it; it loses the mark and is unmanaged from then on.
// These entries are returned, in the order of the document. All others, and what
// stands between them, keep their bytes. A nil state is an empty one.
//
// The result has been read back: every identity resolves as in the former
// document. The error says that the document is laid out in a way that cannot
// be edited; then it can only be written as it was.
//
// Accounts carry no mark: what the state does not have of them is unmanaged.
func RollBack(former *awsauth.Document, state *plan.State) (*awsauth.Document, []awsauth.Entry, error) {
	known := map[string]bool{}
	marks := []string{awsauth.Mark}
	if state != nil {
		for i := range state.Owned {
			known[state.Owned[i].Principal()] = true
		}
		marks = append(marks, state.Adopt...)
	}
	var unmarked []awsauth.Entry
	edits := map[awsauth.Kind]*awsauth.Edit{awsauth.Role: {Unmark: map[int]bool{}}, awsauth.User: {Unmark: map[int]bool{}}}
	for _, l := range former.Entries() {
		if l.Kind != awsauth.Account && l.Dropped == "" && slices.Contains(marks, l.SyncedBy) && !known[l.Principal()] {
			edits[l.Kind].Unmark[l.Index] = true
			unmarked = append(unmarked, l.Entry)
		}
	}
	out, err := former.Edit(edits)
	if err != nil {
		return nil, nil, fmt.Errorf("take the mark from entries that no source asks for any more: %w", err)
	}
	was, is := former.Mapped(), out.Mapped()
	for k, entry := range was {
		if now, ok := is[k]; !ok || !entry.SameAccess(now) {
			return nil, nil, &awsauth.CheckError{ARN: entry.ARN, Planned: &entry, Found: found(is, k)}
		}
	}
	if len(was) != len(is) {
		return nil, nil, fmt.Errorf("nothing is written: %d identities would be mapped instead of %d", len(is), len(was))
	}
	return out, unmarked, nil
}
