package awsauth

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	yamlv3 "go.yaml.in/yaml/v3"
)

// Mend returns the data with every finding mended that can be mended without
// asking what was meant, and the findings that it has mended. Nobody else is
// mapped otherwise by it: the result has been read back, and every identity
// resolves in it as before but those whose entry was mended. All other bytes
// stay. Data in which there is nothing to mend comes back as it is.
func Mend(data map[string]string) (map[string]string, []Finding) {
	out := maps.Clone(data)
	var done []Finding
	// Keys that cannot be read come first: what is in them shows only then.
	for range len(Keys) + 1 {
		found := Lint(out)
		next, mended := mendKeys(out, found)
		if len(mended) == 0 {
			break
		}
		out, done = next, append(done, mended...)
	}
	for _, kind := range []Kind{Role, User, Account} {
		next, mended := mendList(kind, out, Lint(out))
		out, done = next, append(done, mended...)
	}
	// What was cut or moved may have hidden another finding.
	for _, kind := range []Kind{Role, User, Account} {
		next, mended := mendList(kind, out, Lint(out))
		out, done = next, append(done, mended...)
	}
	sortFindings(done)
	return out, done
}

// fix is how a finding is mended.
type fix struct {
	kind    Kind
	whole   *string           // the key's text anew, where it could not be read
	also    map[string]string // with it, the texts of other keys that stood in it
	changes map[string]bool   // the identities that it maps otherwise, as they are meant
	rename  string            // the key under which the text stands now

	cuts   []span // bytes that go
	at     span   // or bytes that give way
	with   string // to these
	want   Entry  // what the entry says then
	remove bool   // the whole entry goes
}

// edits reports whether the fix edits one entry of a list.
func (f *fix) edits() bool { return f != nil && f.whole == nil && f.rename == "" }

// replaceValue is a fix that writes a scalar anew; nil where it cannot.
func (l *linter) replaceValue(kind Kind, i int, n *yamlv3.Node, with string, want Entry) *fix {
	at, ok := l.at[kind].valueSpan(n)
	if !ok || l.isAlias(kind, i) {
		return nil
	}
	return &fix{kind: kind, at: at, with: with, want: want}
}

// replaceIn is a fix that writes a part of a field's value anew.
func (l *linter) replaceIn(kind Kind, i int, what, was, with string, want Entry) *fix {
	field, ok := l.at[kind].field(i, what)
	if !ok {
		return nil
	}
	at, ok := l.at[kind].valueSpan(field.value)
	if !ok || l.isAlias(kind, i) || strings.Count(l.at[kind].text[at.start:at.end], was) != 1 {
		return nil
	}
	return &fix{kind: kind, at: at, with: strings.Replace(l.at[kind].text[at.start:at.end], was, with, 1), want: want}
}

func (l *linter) isAlias(kind Kind, i int) bool {
	n := l.at[kind].node(i)
	return n == nil || n.Kind == yamlv3.AliasNode
}

// cut is a fix that takes an entry out; nil where it cannot.
func (l *linter) cut(kind Kind, i int) *fix {
	lay := l.layout(kind)
	if lay == nil || lay.style != styleBlock || len(lay.items) < 2 {
		return nil
	}
	it := lay.items[i]
	if strings.Contains(lay.text[it.start:it.end], "#") || strings.Contains(lay.text[it.start:it.end], "&") {
		return nil // a comment or an anchor that others may need
	}
	return &fix{kind: kind, at: it.span, remove: true}
}

// cutRepeated is a fix that takes out all of an element's fields of one name but
// the one that the authenticator goes by; nil where they do not say the same,
// since one of them was meant, or cannot be cut.
func (l *linter) cutRepeated(kind Kind, i int, list []pair, what string) *fix {
	lay := l.layout(kind)
	if lay == nil || lay.style != styleBlock || what == "mark" {
		return nil
	}
	fields := lay.items[i].fields
	if len(fields) != len(l.at[kind].pairs(i)) {
		return nil
	}
	keep := list[0]
	for _, f := range list {
		if f.key.Value >= keep.key.Value { // as field has it
			keep = f
		}
	}
	fx := &fix{kind: kind, want: l.list(kind)[i].Entry}
	for j, f := range l.at[kind].pairs(i) {
		if !slices.Contains(list, f) || f == keep {
			continue
		}
		if !sameValue(f.value, keep.value) {
			return nil
		}
		at := fields[j].span
		if strings.Contains(lay.text[at.start:at.end], "#") {
			return nil
		}
		if j == 0 { // the next field moves up beside the dash
			if len(fields) < 2 {
				return nil
			}
			at.end = fields[1].start + len(lay.text[fields[1].start:]) - len(strings.TrimLeft(lay.text[fields[1].start:], " "))
		}
		fx.cuts = append(fx.cuts, at)
	}
	return fx
}

func sameValue(a, b *yamlv3.Node) bool {
	return a.Kind == b.Kind && a.Value == b.Value && a.Tag == b.Tag && a.Alias == b.Alias && slices.EqualFunc(a.Content, b.Content, sameValue)
}

// layout is a key's layout, or nil where there is none.
func (l *linter) layout(kind Kind) *layout {
	if l.layouts == nil {
		l.layouts = map[Kind]*layout{}
	}
	lay, known := l.layouts[kind]
	if !known {
		lay, _ = layOut(kind, l.data[kind.Key()], len(l.list(kind)))
		l.layouts[kind] = lay
	}
	return lay
}

// spans are the bytes that a fix takes out or replaces.
func (f *fix) spans() []span {
	if len(f.cuts) > 0 {
		return f.cuts
	}
	return []span{f.at}
}

// longLine is the longest line, in bytes, that a finding shows whole.
const longLine = 160

// describeFix says in a finding what Mend would write, if it can.
func (l *linter) describeFix(f *Finding) {
	if !f.fix.edits() {
		if f.fix != nil && f.fix.rename != "" {
			f.Mendable, f.Mended = true, f.fix.kind.Key()
		}
		return
	}
	f.Mendable = true
	if len(f.Advice) == 0 && f.index >= 0 {
		if is := l.list(f.fix.kind)[f.index].Entry; f.fix.remove {
			f.advise(f.fix.kind, f.index, nil)
		} else if want := f.fix.want; is.ARN != want.ARN || is.Username != want.Username || !slices.Equal(is.Groups, want.Groups) {
			f.advise(f.fix.kind, f.index, &want)
		}
	}
	if f.fix.remove {
		return
	}
	text := l.data[f.fix.kind.Key()]
	all := f.fix.spans()
	start, end := all[0].start, all[len(all)-1].end
	for start > 0 && text[start-1] != '\n' && text[start-1] != '\r' {
		start--
	}
	end += lineLength(text[end:])
	if lay := l.layout(f.fix.kind); end-start > longLine && lay != nil && lay.style == styleFlow && f.index < len(lay.items) {
		it := lay.items[f.index] // the entry alone, of a line with many
		start, end = max(start, it.start), min(end, it.end)
	}
	f.Mended = strings.TrimRight(applied(text[start:end], f.fix, start), "\r\n")
}

// applied carries one fix out on a text of which the first bytes are missing.
func applied(text string, f *fix, missing int) string {
	all := f.spans()
	for i := len(all) - 1; i >= 0; i-- {
		text = text[:all[i].start-missing] + f.with + text[all[i].end-missing:]
	}
	return text
}

// mendKeys mends what is wrong with whole keys.
func mendKeys(data map[string]string, found []Finding) (map[string]string, []Finding) {
	out := maps.Clone(data)
	var done []Finding
	whole := map[Kind]bool{}
	for i := range found {
		f := &found[i]
		switch {
		case f.fix == nil && f.Mendable && f.index < 0 && slices.ContainsFunc(done, func(d Finding) bool { return d.Key == f.Key }):
			done = append(done, *f) // by the fix of another finding
		case f.fix == nil:
		case f.fix.whole != nil && !whole[f.fix.kind]:
			next := maps.Clone(out)
			next[f.Key] = *f.fix.whole
			maps.Copy(next, f.fix.also)
			if mappedAsBefore(out, next, f.fix.changes) {
				whole[f.fix.kind] = true
				out, done = next, append(done, *f)
			}
		case f.fix.rename != "" && (f.fix.also != nil || isBlank(out[f.fix.kind.Key()])):
			next := maps.Clone(out)
			if f.fix.also == nil {
				next[f.fix.kind.Key()] = out[f.fix.rename]
			}
			maps.Copy(next, f.fix.also)
			delete(next, f.fix.rename)
			if mappedAsBefore(out, next, nil) {
				out, done = next, append(done, *f)
			}
		}
	}
	return out, done
}

// mappedAsBefore reports whether whoever is mapped in one document is mapped in
// the other in the same way, but for those whose entry is mended. Others may be there
// as well.
func mappedAsBefore(before, after map[string]string, mended map[string]bool) bool {
	// A key that cannot be read is empty in both.
	was, _ := readAll(before)
	is, _ := readAll(after)
	b := is.resolver()
	for k, entry := range was.resolver() {
		if now, ok := b[k]; !mended[k] && (!ok || !sameGrant(entry, now)) {
			return false
		}
	}
	return true
}

// mendList mends entries of one list, all at once if that can be done, else
// one after the other.
func mendList(kind Kind, data map[string]string, found []Finding) (map[string]string, []Finding) {
	var todo []Finding
	for i := range found {
		if f := &found[i]; f.fix.edits() && f.fix.kind == kind {
			todo = append(todo, *f)
		}
	}
	if len(todo) == 0 {
		return data, nil
	}
	if out, err := mendEntries(kind, data, found, todo); err == nil {
		return out, todo
	}
	if len(todo) > maxSingly {
		return data, nil
	}
	var done []Finding
	for i := range todo {
		// Places and indices are those of before, so they are found anew.
		now := Lint(data)
		j := slices.IndexFunc(now, func(f Finding) bool {
			return f.fix.edits() && f.fix.kind == kind && f.Rule == todo[i].Rule && f.ARN == todo[i].ARN && f.Message == todo[i].Message
		})
		if j < 0 {
			continue
		}
		if out, err := mendEntries(kind, data, now, now[j:j+1]); err == nil {
			data, done = out, append(done, now[j])
		}
	}
	return data, done
}

// maxSingly bounds how many entries are mended one after the other, each of
// which reads the whole document.
const maxSingly = 200

// mendEntries carries fixes of one list out, or says why the result would not
// be what it should.
func mendEntries(kind Kind, data map[string]string, before, todo []Finding) (map[string]string, error) {
	text := data[kind.Key()]
	have, err := readList(kind, text)
	if err != nil {
		return nil, err
	}
	type change struct {
		span
		with string
	}
	var changes []change
	want := map[int]Entry{}
	removed := map[int]bool{}
	for i := range todo {
		f := &todo[i]
		if f.index < 0 || f.index >= len(have) || removed[f.index] {
			return nil, fmt.Errorf("entry %d cannot be mended", f.index+1)
		}
		for _, at := range f.fix.spans() {
			changes = append(changes, change{at, f.fix.with})
		}
		if f.fix.remove {
			removed[f.index] = true
			continue
		}
		// Several fixes of one entry: what differs from it is what each is for.
		w, again := want[f.index]
		if !again {
			w = have[f.index].Entry
		}
		now := have[f.index].Entry
		if f.fix.want.ARN != now.ARN {
			w.ARN = f.fix.want.ARN
		}
		if f.fix.want.Username != now.Username {
			w.Username = f.fix.want.Username
		}
		if !slices.Equal(f.fix.want.Groups, now.Groups) {
			if again && len(w.Groups) == len(f.fix.want.Groups) { // each mends one of them
				w.Groups = slices.Clone(w.Groups)
				for j, g := range f.fix.want.Groups {
					if g != now.Groups[j] {
						w.Groups[j] = g
					}
				}
			} else {
				w.Groups = f.fix.want.Groups
			}
		}
		want[f.index] = w
	}
	slices.SortFunc(changes, func(a, b change) int { return a.start - b.start })
	var out strings.Builder
	pos := 0
	for _, c := range changes {
		if c.start < pos {
			return nil, fmt.Errorf("two edits at one place")
		}
		out.WriteString(text[pos:c.start] + c.with)
		pos = c.end
	}
	out.WriteString(text[pos:])
	next := maps.Clone(data)
	next[kind.Key()] = out.String()
	got, err := readList(kind, next[kind.Key()])
	if err != nil {
		return nil, err
	}
	if err := mendedAsWanted(have, got, want, removed); err != nil {
		return nil, err
	}
	if err := othersResolve(data, next, have, want); err != nil {
		return nil, err
	}
	if !better(before, Lint(next)) {
		return nil, fmt.Errorf("what is mended is no better")
	}
	return next, nil
}

// mendedAsWanted holds a list against what was wanted of it.
func mendedAsWanted(have, got []mapping, want map[int]Entry, removed map[int]bool) error {
	j := 0
	for i := range have {
		if removed[i] {
			continue
		}
		if j == len(got) {
			return fmt.Errorf("entry %d would be lost", i+1)
		}
		g := &got[j]
		j++
		w, mended := want[i]
		switch {
		case !mended && (g.ARN != have[i].ARN || g.dropped != have[i].dropped || !bytes.Equal(g.raw, have[i].raw)):
			return fmt.Errorf("entry %d would read otherwise than before", i+1)
		case mended && (g.ARN != w.ARN || g.Username != w.Username || !slices.Equal(g.Groups, w.Groups) || g.dropped != have[i].dropped || g.mark != have[i].mark):
			return fmt.Errorf("entry %d would read otherwise than wanted", i+1)
		case mended && !maps.EqualFunc(unknownFields(*g), unknownFields(have[i]), func(a, b json.RawMessage) bool { return bytes.Equal(a, b) }):
			return fmt.Errorf("entry %d would lose a field", i+1)
		}
	}
	if j != len(got) {
		return fmt.Errorf("%d entries instead of %d", len(got), j)
	}
	return nil
}

// othersResolve holds both documents against each other: every identity whose
// entry was not mended is mapped in one as in the other.
func othersResolve(before, after map[string]string, have []mapping, want map[int]Entry) error {
	excused := map[string]bool{}
	for i, w := range want {
		excused[key(have[i].ARN)], excused[key(w.ARN)] = true, true
	}
	// A key that cannot be read is empty in both.
	was, _ := readAll(before)
	is, _ := readAll(after)
	a, b := was.resolver(), is.resolver()
	for k, entry := range a {
		if now, ok := b[k]; !excused[k] && (!ok || !sameGrant(entry, now)) {
			return &CheckError{ARN: entry.ARN, Planned: &entry, Found: found(b, k)}
		}
	}
	for k, entry := range b {
		if _, ok := a[k]; !excused[k] && !ok {
			return fmt.Errorf("%s would be mapped, and is not today", entry.ARN)
		}
	}
	return nil
}

// better reports whether findings are fewer than others, the worst counted
// first.
func better(before, after []Finding) bool {
	var was, is [4]int
	for i := range before {
		was[before[i].Severity.rank()]++
	}
	for i := range after {
		is[after[i].Severity.rank()]++
	}
	return slices.Compare(is[:], was[:]) < 0
}
