package awsauth

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// This file makes the edits that a person or a pipeline asks for. They are
// foreign to the agent: what they add has no mark, and what they change keeps
// the one that it has.

// UpsertOptions say what becomes of an entry that is there already. The zero
// value makes it as asked.
type UpsertOptions struct {
	// Append adds the groups to those that the entry has, without doubles.
	Append bool
	// KeepUsername leaves the username of the entry as it is. One that is asked
	// for without a username keeps it in any case.
	KeepUsername bool
	// DefaultUsername gives an entry that has no username, and is asked for without
	// one, that of the function [DefaultUsername]. Else it is an error.
	DefaultUsername bool
	// KeepGroups leaves the groups of the entry as they are.
	KeepGroups bool
	// NoDuplicates makes an entry that is there and otherwise than asked an
	// error, an [*ExistsError].
	NoDuplicates bool
	// AnyARN takes ARNs and account ids that no identity can have. Else they
	// are an error where they are not in the document already.
	AnyARN bool
}

// Upsert returns the document with these entries in force, and what that
// changes, in the order of the entries. Where all is as asked, the document
// itself is returned; the order of groups makes no difference. An entry that is
// there is edited field by field and keeps all else, its mark too; a new one
// has no mark. Of several entries for one ARN each is put upon the one before.
//
// Where the document has an ARN several times, the entry that the authenticator
// goes by is edited, the last one; the others stay, and the change's Reason says
// so. A role's ARN is written without its path, as [RoleARN] does.
//
// The result has been read back. The error is or joins an [*ARNError], an
// [*ExistsError], a [*ShadowedError], an [ErrTooLarge], or says which username
// or group is wrong, or that the document cannot be edited; then nothing is
// changed.
func (d *Document) Upsert(opts UpsertOptions, entries ...Entry) (*Document, []Change, error) {
	places := map[Kind]map[string]spot{}
	for _, kind := range []Kind{Role, User, Account} {
		places[kind] = d.places(kind)
	}
	var order []string
	asked := map[string]*upsertion{}
	var errs []error
	for _, given := range entries {
		u, err := newUpsertion(given, places, opts)
		if err == nil {
			k := string(u.want.Kind) + " " + u.want.key()
			if before, ok := asked[k]; ok {
				u.is, u.at, u.have = true, before.at, before.want
				u.was, u.stands = before.was, before.stands
			} else {
				order = append(order, k)
			}
			asked[k] = u
			err = u.merge(given, opts)
		}
		if err != nil {
			errs = append(errs, err)
		}
	}
	if len(errs) > 0 {
		return nil, nil, errors.Join(errs...)
	}
	edits := handEdits()
	var changes []Change
	for _, k := range order {
		u := asked[k]
		e := edits[u.want.Kind]
		switch {
		case !u.stands:
			e.Add = append(e.Add, u.want)
			changes = append(changes, Change{Op: Add, Entry: u.want})
		case !sameGrant(u.was, u.want):
			e.Replace[u.at.last] = u.want
			changes = append(changes, Change{Op: Update, Entry: u.want, Before: &u.was, Reason: u.at.doubles()})
		}
	}
	next, err := d.byHand(edits)
	if err != nil {
		return nil, nil, err
	}
	index := next.resolver()
	for _, k := range order {
		want := asked[k].want
		if by := index[want.key()]; want.Kind != Account && (by.Kind != want.Kind || !sameGrant(by, want)) {
			errs = append(errs, &ShadowedError{Entry: want, By: by})
		}
	}
	if len(errs) > 0 {
		return nil, nil, errors.Join(errs...)
	}
	return next, changes, nil
}

// spot is where an ARN stands in a list.
type spot struct {
	last  int // the element in force
	more  int // elements in force with the same ARN before it
	cases bool
	entry Entry // the last one
}

// places finds every ARN of a list.
func (d *Document) places(kind Kind) map[string]spot {
	list := d.list(kind)
	found := make(map[string]spot, len(list))
	for i := range list {
		if m := &list[i]; m.inForce() {
			p, again := found[m.key()]
			if again {
				p.more++
				p.cases = p.cases || kind == User && p.entry.ARN != m.ARN
			}
			p.last, p.entry = i, m.Entry
			found[m.key()] = p
		}
	}
	return found
}

// doubles says what else stands under an ARN.
func (p *spot) doubles() string {
	switch {
	case p.more == 0:
		return ""
	case p.cases:
		return "its ARN stands in the list once more in other letters: which of the two answers is random"
	case p.more == 1:
		return "an earlier entry has its ARN too: the authenticator ignores that one"
	}
	return fmt.Sprintf("%d earlier entries have its ARN too: the authenticator ignores them", p.more)
}

// upsertion is what becomes of one entry.
type upsertion struct {
	want   Entry
	is     bool  // there is an entry to put this one upon,
	have   Entry // namely
	stands bool  // in the document, that is
	was    Entry
	at     spot
}

// newUpsertion finds what the document has under the ARN of an entry.
func newUpsertion(given Entry, places map[Kind]map[string]spot, opts UpsertOptions) (*upsertion, error) {
	u := &upsertion{want: Entry{Kind: given.Kind, ARN: given.ARN}}
	var err error
	switch given.Kind {
	case Role:
		u.want.ARN, err = RoleARN(given.ARN)
	case User:
		u.want.ARN, err = UserARN(given.ARN)
	case Account:
		err = CheckAccountID(given.ARN)
	default:
		return nil, fmt.Errorf("%q is no kind of entry: write %s, %s or %s", given.Kind, Role, User, Account)
	}
	if err != nil {
		u.want.ARN = given.ARN
	}
	u.at, u.stands = places[given.Kind][u.want.key()]
	if err != nil && !u.stands && (!opts.AnyARN || given.ARN == "") {
		return nil, err
	}
	if u.stands {
		u.want.ARN = u.at.entry.ARN
		u.is, u.have, u.was = true, u.at.entry, u.at.entry
	}
	return u, nil
}

// merge puts what was given upon what is there.
func (u *upsertion) merge(given Entry, opts UpsertOptions) error {
	if given.Kind == Account {
		if given.Username != "" || len(given.Groups) > 0 {
			return fmt.Errorf("account %s: an account has no username and no groups: leave them out", given.ARN)
		}
		return nil
	}
	var errs []error
	u.want.Username = given.Username
	if u.is && (opts.KeepUsername || given.Username == "") {
		u.want.Username = u.have.Username
	}
	if u.is && opts.KeepGroups {
		u.want.Groups = slices.Clone(u.have.Groups)
	} else {
		if u.is && opts.Append {
			u.want.Groups = slices.Clone(u.have.Groups)
		}
		for _, g := range given.Groups {
			if !slices.Contains(u.want.Groups, g) {
				errs = append(errs, CheckGroup(g))
				u.want.Groups = append(u.want.Groups, g)
			}
		}
	}
	if u.want.Username == "" && opts.DefaultUsername {
		u.want.Username = DefaultUsername(u.want) // which can depend on the groups
	}
	if u.want.Username == "" || !u.is || u.want.Username != u.have.Username {
		errs = append([]error{CheckUsername(u.want.Username)}, errs...)
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("%s: %w", given.ARN, err)
	}
	if opts.NoDuplicates && u.stands && !sameGrant(u.was, u.want) {
		return &ExistsError{Entry: u.was}
	}
	return nil
}

// A Match says which entries are meant: those that are as every field says that
// is filled in.
type Match struct {
	Kind Kind
	// ARN, compared without case and, of roles, without the path; of an account
	// its id.
	ARN      string
	Username string
	Groups   []string // in any order; empty but not nil: none
	// First means only the first of them in the document.
	First bool
}

func (m Match) String() string {
	kind, list := "entry", []string{}
	if m.Kind != "" {
		kind = string(m.Kind)
	}
	if m.ARN != "" {
		list = append(list, m.ARN)
	}
	if m.Username != "" {
		list = append(list, fmt.Sprintf("with the username %q", m.Username))
	}
	switch {
	case m.Groups == nil:
	case len(m.Groups) == 0:
		list = append(list, "without groups")
	default:
		list = append(list, fmt.Sprintf("with the groups %q", m.Groups))
	}
	return strings.Join(append([]string{kind}, list...), " ")
}

// Is reports whether an entry is one that is meant.
func (m Match) Is(e Entry) bool {
	return (m.Kind == "" || m.Kind == e.Kind) &&
		(m.ARN == "" || sameIdentity(e.Kind, e.ARN, m.ARN)) &&
		(m.Username == "" || m.Username == e.Username) &&
		(m.Groups == nil || slices.Equal(groupSet(m.Groups), groupSet(e.Groups)))
}

// sameIdentity reports whether two texts name the same IAM role, user or
// account. That a role's ARN with a path never matches makes no difference: it
// means that role all the same.
func sameIdentity(kind Kind, a, b string) bool {
	if kind != Role || SameARN(a, b) || strings.Count(a, "/")+strings.Count(b, "/") < 3 {
		return SameARN(a, b)
	}
	bare, err := RoleARN(a)
	other, otherErr := RoleARN(b)
	return err == nil && otherErr == nil && SameARN(bare, other)
}

// RemoveOptions say how entries are removed.
type RemoveOptions struct {
	// IgnoreNotFound makes a match that finds nothing no error.
	IgnoreNotFound bool
}

// Remove returns the document without the entries that any of the matches means,
// and what that changes, in the order of the document. All of several entries
// with one ARN go, those that the authenticator drops as well, unless the match
// says First. Where nothing goes, the document itself is returned.
//
// The result has been read back. The error joins a [*NotFoundError] for every
// match that finds nothing, or says that the document cannot be edited; then
// nothing is changed.
func (d *Document) Remove(opts RemoveOptions, matches ...Match) (*Document, []Change, error) {
	var errs []error
	edits := handEdits()
	for _, m := range matches {
		if m.Kind == "" && m.ARN == "" && m.Username == "" && m.Groups == nil {
			return nil, nil, errors.New("remove: a match without a kind, an ARN, a username or groups means everything: say what is meant")
		}
		found := false
		for _, kind := range []Kind{Role, User, Account} {
			list := d.list(kind)
			for i := range list {
				if (!found || !m.First) && m.Is(list[i].Entry) {
					found = true
					edits[kind].Remove[i] = true
				}
			}
		}
		if !found && !opts.IgnoreNotFound {
			errs = append(errs, &NotFoundError{Match: m})
		}
	}
	if len(errs) > 0 {
		return nil, nil, errors.Join(errs...)
	}
	var changes []Change
	for _, kind := range []Kind{Role, User, Account} {
		list := d.list(kind)
		for i := range list {
			if edits[kind].Remove[i] {
				changes = append(changes, Change{Op: Remove, Entry: list[i].Entry})
			}
		}
	}
	next, err := d.byHand(edits)
	if err != nil {
		return nil, nil, err
	}
	return next, changes, nil
}

func handEdits() map[Kind]*Edit {
	edits := map[Kind]*Edit{}
	for _, kind := range []Kind{Role, User, Account} {
		edits[kind] = &Edit{hand: true, Remove: map[int]bool{}, Replace: map[int]Entry{}}
	}
	return edits
}

// byHand carries the edits out and reads the result back: every identity must
// be mapped as the lists say that come of the edits.
func (d *Document) byHand(edits map[Kind]*Edit) (*Document, error) {
	var want reading
	writes := false
	for kind, e := range edits {
		writes = writes || !e.empty()
		var list []mapping
		for i, m := range d.list(kind) {
			if entry, ok := e.Replace[i]; ok {
				m.Entry = entry
			}
			if !e.Remove[i] {
				list = append(list, m)
			}
		}
		for _, entry := range e.Add {
			list = append(list, mapping{Entry: entry})
		}
		switch kind {
		case Role:
			want.roles = list
		case User:
			want.users = list
		case Account:
			want.accounts = list
		}
	}
	if !writes {
		return d, nil
	}
	next, err := d.Edit(edits)
	if err != nil {
		return nil, err
	}
	planned, is := want.resolver(), next.resolver()
	for k, entry := range planned {
		if now, ok := is[k]; !ok || !sameGrant(entry, now) {
			return nil, &CheckError{ARN: entry.ARN, Planned: &entry, Found: found(is, k)}
		}
	}
	if len(planned) != len(is) {
		return nil, fmt.Errorf("nothing is written: %d identities would be mapped instead of %d", len(is), len(planned))
	}
	if size := next.Size(); size > Limit && size > d.Size() {
		return nil, fmt.Errorf("nothing is written: %w: %d bytes instead of at most %d: remove entries that nobody needs", ErrTooLarge, size, Limit)
	}
	return next, nil
}

// ErrTooLarge says that aws-auth would be larger than the API server takes.
var ErrTooLarge = errors.New("aws-auth would be too large")

// A NotFoundError says that no entry is as a match says.
type NotFoundError struct{ Match Match }

func (e *NotFoundError) Error() string { return "there is no " + e.Match.String() }

// An ExistsError says that an ARN is mapped already, otherwise than asked.
type ExistsError struct{ Entry Entry }

func (e *ExistsError) Error() string {
	return fmt.Sprintf("%s is mapped already, to the username %q and the groups %q", e.Entry.ARN, e.Entry.Username, e.Entry.Groups)
}

// A ShadowedError says that an entry would not be in force, since one of another
// kind has the same ARN: the authenticator looks for an ARN in mapRoles first.
type ShadowedError struct{ Entry, By Entry }

func (e *ShadowedError) Error() string {
	return fmt.Sprintf("the %s entry for %s would not be in force: %s has that ARN too and is asked first; remove it there", e.Entry.Kind, e.Entry.ARN, e.By.Kind.Key())
}
