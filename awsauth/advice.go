package awsauth

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Advised is what the advice of a finding makes of one entry, as a value. Followed by
// itself it takes access from nobody who has it, and makes nobody an administrator
// but whom the entry itself says so of. What would do either, or takes to know what
// was meant, is a sentence in [Finding.Write] and no value.
type Advised struct {
	Key   string `json:"key"`             // mapRoles, mapUsers or mapAccounts
	Index int    `json:"index"`           // in the key's list, from 0; -1: a new entry at its end
	Entry *Entry `json:"entry,omitempty"` // as it is to be; absent where it goes
}

// Follow returns the data with the advice of a finding followed, and all other
// entries as they are. The finding must be of exactly this data. The error says that
// it has no advice that is a value, or that the document cannot be edited so.
func Follow(data map[string]string, f *Finding) (map[string]string, error) {
	if len(f.Advice) == 0 {
		return nil, errors.New("the finding has no advice that could be followed without knowing what was meant")
	}
	doc := ParseReadable(data)
	edits := handEdits()
	for _, a := range f.Advice {
		kind := kindOfKey(a.Key)
		e := edits[kind]
		if e == nil || a.Index >= len(doc.list(kind)) {
			return nil, fmt.Errorf("there is no entry %d in %s", a.Index+1, a.Key)
		}
		switch {
		case a.Entry == nil:
			e.Remove[a.Index] = true
		case a.Index < 0:
			e.Add = append(e.Add, *a.Entry)
		case kind != Account && doc.list(kind)[a.Index].ARN == a.Entry.ARN && doc.list(kind)[a.Index].dropped == "":
			e.Replace[a.Index] = *a.Entry
		default: // of an entry that stays only username and groups are written anew
			e.Remove[a.Index] = true
			e.Add = append(e.Add, *a.Entry)
		}
	}
	next, err := doc.Edit(edits)
	if err != nil {
		return nil, err
	}
	return next.Data(), nil
}

func kindOfKey(name string) Kind {
	for _, kind := range Kinds() {
		if kind.Key() == name {
			return kind
		}
	}
	return ""
}

// advise adds what is to become of an entry to the advice; nil: it goes.
func (f *Finding) advise(kind Kind, i int, entry *Entry) {
	f.Advice = append(f.Advice, Advised{Key: kind.Key(), Index: i, Entry: entry})
}

// place is where an entry stands.
type place struct {
	kind  Kind
	index int
}

// indexARNs finds who answers for which ARN, and who would.
func (l *linter) indexARNs() {
	if l.alive != nil {
		return
	}
	l.alive, l.comers = map[string][]place{}, map[string][]place{}
	for _, kind := range []Kind{User, Role} { // mapRoles is tried first
		list := l.list(kind)
		for i := range list {
			m := &list[i]
			if !m.inForce() {
				continue
			}
			if m.Unmatched() == "" {
				l.alive[key(m.ARN)] = append(l.alive[key(m.ARN)], place{kind, i})
				continue
			}
			for _, f := range identityFaults(kind, m.ARN) {
				if f.instead != "" {
					l.comers[key(f.instead)] = append(l.comers[key(f.instead)], place{kind, i})
				}
			}
		}
	}
}

// answers is the entry that lets somebody in under an ARN, if one does. Entries that
// let in nobody count for nothing.
func (l *linter) answers(arn string) (place, bool) {
	l.indexARNs()
	if all := l.alive[key(arn)]; len(all) > 0 {
		return all[len(all)-1], true
	}
	return place{}, false
}

func (l *linter) entryAt(p place) *mapping { return &l.list(p.kind)[p.index] }

// under says what to write for an entry whose ARN is to become that of a role which
// other entries may name too.
func (l *linter) under(f *Finding, self place, ft *fault) {
	m := l.entryAt(self)
	if other, ok := l.answers(ft.instead); ok {
		l.besides(f, other.kind, other.index)
		f.Consequence = ruleOf(f.Rule).Consequence + "; another entry maps the role"
		f.Write = "no such entry" + l.extra(m, l.entryAt(other))
		if isNode(m) != isNode(l.entryAt(other)) {
			f.Write = "no such entry: a role is either of nodes or of people, and the others need a role of their own"
		}
		f.advise(self.kind, self.index, nil)
		return
	}
	comers := l.comers[key(ft.instead)]
	last := comers[len(comers)-1]
	one := ""
	if len(comers) > 1 {
		one = " in one entry, and no second one of the role"
	}
	want := m.Entry
	want.ARN = ft.instead
	if f.Rule == RuleSessionARN {
		want.Username = l.sessionUsername(&want)
		f.Write = ft.instead + one + ", which lets in every session of the role"
		if want.Username != m.Username && want.Username != "" {
			f.Write += fmt.Sprintf(": username %q tells them apart", want.Username)
		}
		if len(comers) > 1 {
			f.Write += "; people of one role have the same groups, so who is to have others needs another role"
		}
		if slices.Contains(m.Groups, Masters) {
			f.Write += "; with " + Masters + " every session would be administrator, not this one alone"
			return
		}
	} else {
		f.Write = ft.instead + one
	}
	if last != self {
		l.besides(f, last.kind, last.index)
		if sameGrant(m.Entry, l.entryAt(last).Entry) {
			f.fix = l.cut(self.kind, self.index)
		}
		f.advise(self.kind, self.index, nil)
		return
	}
	if f.Rule == RuleSessionARN {
		for _, other := range comers {
			if !slices.Equal(groupSet(l.entryAt(other).Groups), groupSet(m.Groups)) {
				return // whose groups the role is to have, nobody can tell
			}
		}
	} else {
		f.fix = l.replaceIn(self.kind, self.index, "arn", m.ARN, ft.instead, want)
	}
	f.advise(self.kind, self.index, &want)
}

// sessionUsername is an entry's username if it tells sessions apart, else the default
// one.
func (l *linter) sessionUsername(e *Entry) string {
	if strings.Contains(e.Username, "{{") {
		return e.Username
	}
	return DefaultUsername(*e)
}

// extra says which groups one entry has and another lacks.
func (l *linter) extra(m, other *mapping) string {
	var lost []string
	for _, g := range groupSet(m.Groups) {
		if !slices.Contains(other.Groups, g) {
			lost = append(lost, g)
		}
	}
	if len(lost) == 0 {
		return ""
	}
	return "; in the other one " + strings.Join(lost, ", ") + ", if it is to grant that: today it does not"
}

// doubles looks for entries of one list that have the same ARN.
func (l *linter) doubles(kind Kind) {
	list := l.list(kind)
	same := map[string][]int{}
	var order []string
	for i := range list {
		if list[i].inForce() {
			k := key(list[i].ARN)
			if same[k] == nil {
				order = append(order, k)
			}
			same[k] = append(same[k], i)
		}
	}
	slices.Sort(order)
	for _, k := range order {
		all := same[k]
		// ARNs of which nobody has one are another finding, of each entry.
		if len(all) < 2 || len(identityFaults(kind, list[all[0]].ARN)) > 0 {
			continue
		}
		answering := l.answering(kind, list[all[0]].ARN)
		last := answering[len(answering)-1]
		for _, i := range all {
			m := &list[i]
			// Of those with the same key the last one replaces the others.
			winner := i
			for _, j := range all {
				if mapKey(kind, list[j].ARN) == mapKey(kind, m.ARN) {
					winner = j
				}
			}
			switch {
			case winner != i:
				f := l.entry(kind, i, "arn", RuleShadowed, "")
				l.besides(f, kind, winner)
				l.covered(f, kind, i, place{kind, winner})
			case len(answering) > 1 && i != last:
				f := l.entry(kind, i, "arn", RuleCaseVariants, "")
				l.besides(f, kind, last)
				if sameGrant(m.Entry, list[last].Entry) {
					f.Severity, f.Consequence, f.Write = Warning, "either of the two answers, and today they say the same", "no such entry"
					f.fix = l.cut(kind, i)
					f.advise(kind, i, nil)
				} else {
					f.Write = variants(m.Entry, list[last].Entry)
				}
			}
		}
	}
}

// variants says what to write in place of two entries of which either answers.
func variants(a, b Entry) string {
	text := "one entry"
	if groups := withoutMasters(groupSet(append(slices.Clone(a.Groups), b.Groups...))); len(groups) > 0 {
		text += " with the groups " + strings.Join(groups, ", ")
	}
	if slices.Contains(a.Groups, Masters) != slices.Contains(b.Groups, Masters) {
		text += "; " + Masters + " too only if this user is to be administrator always"
	}
	if a.Username != b.Username {
		text += fmt.Sprintf("; of the usernames %q and %q the one that bindings name", a.Username, b.Username)
	}
	return text
}

// besides puts the place of another entry into a finding.
func (l *linter) besides(f *Finding, kind Kind, i int) {
	f.OtherKey = kind.Key()
	f.OtherLine, _ = l.at[kind].of(i, "arn")
}

// covered is about an entry that another one keeps from answering.
func (l *linter) covered(f *Finding, kind Kind, i int, other place) {
	m, winner := &l.list(kind)[i], l.entryAt(other)
	if why := winner.Unmatched(); why != "" {
		f.Consequence = "it is ignored, and the entry that answers lets nobody in: " + why
		f.Write = "no such other entry"
		f.advise(other.kind, other.index, nil)
		return
	}
	role := isRole(&m.Entry)
	var lost []string
	for _, g := range groupSet(m.Groups) {
		if !slices.Contains(winner.Groups, g) {
			lost = append(lost, g)
		}
	}
	switch {
	case m.Username == winner.Username && len(lost) == 0:
		f.Severity, f.Consequence = Warning, "it is ignored, and what it grants the other one grants too"
		f.Write = "no such entry"
		f.fix = l.cut(kind, i)
		f.advise(kind, i, nil)
	case len(lost) == 0:
		f.Consequence = fmt.Sprintf("it is ignored: the username is %q", winner.Username)
		f.Write = "no such entry" + oneUsername(role, winner)
		f.advise(kind, i, nil)
	case isNode(m) != isNode(winner):
		f.Consequence = "it is ignored: it grants nobody " + strings.Join(lost, ", ")
		f.Write = "one entry: a role is either of nodes or of people, and the others need a role of their own"
	default:
		f.Consequence = "it is ignored: it grants nobody " + strings.Join(lost, ", ")
		want := winner.Entry
		want.Groups = append(slices.Clone(winner.Groups), withoutMasters(lost)...)
		f.Write = "one entry"
		if groups := slices.DeleteFunc(slices.Clone(groupSet(want.Groups)), func(g string) bool { return g == "" }); len(groups) > 0 {
			f.Write += " with the groups " + strings.Join(groups, ", ")
		}
		if slices.Contains(lost, Masters) {
			f.Write += "; " + Masters + " too only if everybody whom it lets in is to be administrator: nobody is by it today"
		}
		if m.Username != winner.Username {
			f.Write += oneUsername(role, winner)
		}
		f.advise(kind, i, nil)
		if len(want.Groups) > len(winner.Groups) {
			f.advise(other.kind, other.index, &want)
		}
	}
}

// oneUsername says what can be done for two people of one role, and what can't.
func oneUsername(role bool, winner *mapping) string {
	if !role {
		return ""
	}
	text := ": people of one role have one username and the same groups"
	if name := DefaultUsername(winner.Entry); name != "" && !strings.Contains(winner.Username, sessionName) {
		text += fmt.Sprintf("; username %q would tell their sessions apart", name)
	}
	return text + ", and who is to have other groups needs another role"
}

func withoutMasters(groups []string) []string {
	return slices.DeleteFunc(slices.Clone(groups), func(g string) bool { return g == Masters })
}

// acrossLists looks for entries of mapUsers whose ARN mapRoles has as well.
func (l *linter) acrossLists() {
	roles := map[string]int{}
	for i := range l.roles {
		if l.roles[i].inForce() {
			roles[key(l.roles[i].ARN)] = i
		}
	}
	for i := range l.users {
		m := &l.users[i]
		if j, too := roles[key(m.ARN)]; m.inForce() && too && len(identityFaults(User, m.ARN)) == 0 {
			f := l.entry(User, i, "arn", RuleShadowed, "mapRoles has the same ARN")
			l.besides(f, Role, j)
			l.covered(f, User, i, place{Role, j})
			f.Consequence = "mapRoles is tried first: " + f.Consequence
		}
	}
}

// quotedList writes groups as a YAML list in brackets.
func quotedList(groups []string) string {
	out := make([]string, len(groups))
	for i, g := range groups {
		out[i] = strconv.Quote(g)
		if plainScalar.MatchString(g) {
			out[i] = flowScalar(g)
		}
	}
	return "[" + strings.Join(out, ", ") + "]"
}
