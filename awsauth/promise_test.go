package awsauth

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/google/go-cmp/cmp"
)

// broken says which promise of the package a plan breaks, or "". It works from
// texts and from what [Document.Entries] lists, not from what led to the plan.
func broken(doc *Document, ledger *Ledger, req Request, p *Plan) string {
	for _, check := range []func(*Document, *Ledger, Request, *Plan) string{
		brokenKeys, brokenForeign, brokenComments, brokenGrants, brokenLeftovers, brokenLedger, brokenRepeat,
	} {
		if why := check(doc, ledger, req, p); why != "" {
			return fmt.Sprintf("NO RERUN: %s\nrequest %+v\nledger %+v\nchanges %+v\nconflicts %+v\nBEFORE\n%s\nAFTER\n%s", why, req, *ledger, p.Changes, p.Conflicts, dump(doc), dump(p.After))
		}
	}
	return ""
}

// brokenKeys holds keys that no change is about against what they were.
func brokenKeys(doc *Document, _ *Ledger, req Request, p *Plan) string {
	if p.Before != doc {
		return "the plan is for another document"
	}
	touched := map[string]bool{}
	for _, c := range p.Changes {
		touched[c.Entry.Kind.Key()] = true
	}
	for k, text := range p.After.data {
		was, had := doc.data[k]
		if !touched[k] && (!had || was != text) {
			return fmt.Sprintf("key %q was written without a change", k)
		}
	}
	for k := range doc.data {
		if _, ok := p.After.data[k]; !ok {
			return fmt.Sprintf("key %q is gone", k)
		}
	}
	size := req.Other
	for _, text := range p.After.data {
		size += len(text)
	}
	if p.Size != size {
		return fmt.Sprintf("its size is %d, not %d", size, p.Size)
	}
	return ""
}

// foreign reports for every element of a list whether nothing may happen to
// it. Where the ledger makes one of several equal ones ours, none is said to be
// foreign. An element that the plan says it adopts is not foreign.
func foreign(kind Kind, doc *Document, ledger *Ledger, req Request, p *Plan) []bool {
	adopted := map[string]bool{}
	for _, c := range p.Changes {
		if c.Op == Adopt {
			adopted[strings.ToLower(c.Entry.ARN)] = req.AdoptConflicts
		}
	}
	list := doc.list(kind)
	out := make([]bool, len(list))
	for i := range list {
		m := &list[i]
		ours := kind != Account && (m.mark == Mark || m.mark != "" && slices.Contains(req.Adopt, m.mark)) || adopted[strings.ToLower(m.ARN)]
		for _, o := range ledger.Owned {
			ours = ours || (!o.Pending || kind == Account) && m.mark == "" && o.Kind == kind && strings.EqualFold(o.ARN, m.ARN) && o.Username == m.Username && sameSet(o.Groups, m.Groups)
		}
		out[i] = !ours || !m.inForce()
	}
	return out
}

// brokenForeign finds every foreign element in the text after, in the same
// order, with the same bytes and the same meaning.
func brokenForeign(doc *Document, ledger *Ledger, req Request, p *Plan) string {
	all := 0
	for _, kind := range []Kind{Role, User, Account} {
		was, is := doc.data[kind.Key()], p.After.data[kind.Key()]
		list, after := doc.list(kind), p.After.list(kind)
		all += len(after)
		if was == is {
			continue
		}
		keep := foreign(kind, doc, ledger, req, p)
		l, err := layOut(kind, was, len(list))
		if err != nil {
			return err.Error()
		}
		rest := is
		for i, m := range list {
			if !keep[i] {
				continue
			}
			bytes := strings.TrimRight(was[l.items[i].start:l.items[i].end], "\r\n")
			at := strings.Index(rest, bytes)
			if at < 0 {
				return fmt.Sprintf("foreign entry %d of %s lost its bytes %q", i, kind, bytes)
			}
			rest = rest[at+len(bytes):]
			found := slices.IndexFunc(after, func(a mapping) bool {
				return string(a.raw) == string(m.raw) && a.ARN == m.ARN && a.dropped == m.dropped
			})
			if found < 0 {
				return fmt.Sprintf("foreign entry %d of %s is gone or reads otherwise", i, kind)
			}
			after = after[found+1:]
		}
		if l.style == styleBlock && only(Add, kind, p) && !inserted(was, is) {
			return fmt.Sprintf("%s changed elsewhere than where entries were added", kind.Key())
		}
		if l.stop < len(was) && !strings.HasSuffix(is, was[l.stop:]) {
			return fmt.Sprintf("%s lost what follows its YAML document", kind.Key())
		}
	}
	if p.Foreign != all-len(p.Ours) {
		return fmt.Sprintf("%d entries, %d of them ours, %d foreign", all, len(p.Ours), p.Foreign)
	}
	return ""
}

// only reports whether all changes to one list are of one sort.
func only(op Op, kind Kind, p *Plan) bool {
	return !slices.ContainsFunc(p.Changes, func(c Change) bool { return c.Entry.Kind == kind && c.Op != op })
}

// inserted reports whether a text came about by putting one piece into another.
func inserted(was, is string) bool {
	head := 0
	for head < min(len(was), len(is)) && was[head] == is[head] {
		head++
	}
	return strings.HasSuffix(is, was[head:]) && len(is) >= len(was)
}

// brokenComments looks for comment lines: whoever they stand with, they stay,
// be it beside something else.
func brokenComments(doc *Document, _ *Ledger, _ Request, p *Plan) string {
	for _, kind := range []Kind{Role, User, Account} {
		after := trimmedLines(p.After.data[kind.Key()])
		for _, line := range trimmedLines(doc.data[kind.Key()]) {
			if !strings.HasPrefix(line, "#") || strings.ContainsAny(line, `'"`) {
				continue // no comment, or perhaps the end of a quoted text
			}
			i := slices.IndexFunc(after, func(a string) bool { return a == line || strings.HasSuffix(a, " "+line) })
			if i < 0 {
				return fmt.Sprintf("%s lost the comment %q", kind.Key(), line)
			}
			after = slices.Delete(after, i, i+1)
		}
	}
	return ""
}

func trimmedLines(text string) []string {
	var lines []string
	for _, line := range strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune("\r\n\u0085\u2028\u2029", r) }) {
		lines = append(lines, strings.Trim(strings.TrimPrefix(line, "\ufeff"), " \t"))
	}
	return lines
}

// resolve answers as the authenticator does: roles before users, the last of
// equal ones.
func resolve(doc *Document, arn string) (found Entry, ok bool) {
	for _, e := range doc.Entries() {
		if e.Dropped == "" && e.Kind != Account && strings.EqualFold(e.ARN, arn) && !(found.Kind == Role && e.Kind == User) {
			found, ok = e.Entry, true
		}
	}
	return found, ok
}

// wanted is what the sources that answered ask, by ARN in lower case.
func wanted(req Request) map[string]Entry {
	out := map[string]Entry{}
	for _, s := range req.Sources {
		if s.Failed {
			continue
		}
		for _, e := range s.Entries {
			k := strings.ToLower(e.ARN)
			w, ok := out[k]
			if !ok {
				w = Entry{Kind: e.Kind, ARN: e.ARN}
			}
			if w.Username == "" {
				w.Username = e.Username
			}
			w.Groups = slices.Concat(w.Groups, e.Groups)
			out[k] = w
		}
	}
	return out
}

// brokenGrants resolves every ARN of the request and of the document.
func brokenGrants(doc *Document, ledger *Ledger, req Request, p *Plan) string {
	excused := map[string]bool{}
	for _, c := range p.Conflicts {
		k := strings.ToLower(c.Ours.ARN)
		excused[k] = true
		now, ok := resolve(p.After, k)
		was, _ := resolve(doc, k)
		if !ok || !sameGrant(now, was) && !sameGrant(now, c.Ours) && !sameGrant(now, c.Foreign) {
			return fmt.Sprintf("%s, of a conflict, was mapped to %+v and is to %+v", k, was, now)
		}
	}
	for _, e := range p.Refused {
		excused[strings.ToLower(e.ARN)] = true
	}
	failed := anyFailed(req)
	for k, w := range wanted(req) {
		if w.Kind == Account {
			has := func(id string) bool {
				return slices.ContainsFunc(p.After.Entries(), func(l Listed) bool { return l.Kind == Account && l.ARN == id && l.Dropped == "" })
			}
			if !excused[k] && !has(w.ARN) {
				return fmt.Sprintf("account %s is missing", w.ARN)
			}
			continue
		}
		got, ok := resolve(p.After, k)
		switch {
		case excused[k]:
		case !ok:
			return fmt.Sprintf("%s is not mapped", w.ARN)
		case !includes(got.Groups, w.Groups):
			return fmt.Sprintf("%s is mapped to %+v without %q", w.ARN, got, w.Groups)
		case got.Username != w.Username && !failed:
			return fmt.Sprintf("%s is mapped to %+v, not to the username %q", w.ARN, got, w.Username)
		}
	}
	touched := map[string]bool{}
	for _, c := range p.Changes {
		touched[strings.ToLower(c.Entry.ARN)] = true
	}
	for _, e := range doc.Entries() {
		if e.Dropped != "" || e.Kind == Account || touched[strings.ToLower(e.ARN)] {
			continue
		}
		was, _ := resolve(doc, e.ARN)
		if is, ok := resolve(p.After, e.ARN); !ok || !sameGrant(was, is) {
			return fmt.Sprintf("%s was mapped to %+v and is to %+v", e.ARN, was, is)
		}
	}
	for _, arn := range req.Required {
		if _, ok := resolve(p.After, arn); !ok && !excused[strings.ToLower(arn)] {
			return fmt.Sprintf("%s, of a live node, is not mapped", arn)
		}
	}
	return ""
}

// brokenLeftovers looks for entries of ours that nobody asks for, or twice.
func brokenLeftovers(doc *Document, ledger *Ledger, req Request, p *Plan) string {
	want := wanted(req)
	var marked, owned []string
	for _, e := range p.After.Entries() {
		if e.Dropped != "" || e.SyncedBy != Mark {
			continue
		}
		k := string(e.Kind) + " " + strings.ToLower(e.ARN)
		if _, ok := want[strings.ToLower(e.ARN)]; !ok && !anyFailed(req) {
			return fmt.Sprintf("%s is ours and nobody asks for it", k)
		}
		if slices.Contains(marked, k) {
			return fmt.Sprintf("%s is ours twice", k)
		}
		marked = append(marked, k)
	}
	for _, o := range p.Ours {
		if o.Pending {
			return fmt.Sprintf("%s is still pending after the write", o.ARN)
		}
		if o.Kind != Account {
			owned = append(owned, string(o.Kind)+" "+strings.ToLower(o.ARN))
		}
	}
	slices.Sort(marked)
	slices.Sort(owned)
	if !slices.Equal(marked, owned) {
		return "marked entries and Plan.Ours differ (-marked +Ours):\n" + cmp.Diff(marked, owned)
	}
	return ""
}

// brokenLedger holds the ledger before the write against what it must cover.
func brokenLedger(doc *Document, ledger *Ledger, _ Request, p *Plan) string {
	ahead := ledger
	if p.Ahead != nil {
		ahead = p.Ahead
	}
	if p.Ahead != nil && !p.Writes() {
		return "the ledger is written ahead of no write"
	}
	covers := func(e Entry, pending bool) bool {
		return slices.ContainsFunc(ahead.Owned, func(o Owned) bool {
			return o.key() == e.key() && o.Kind == e.Kind && sameGrant(o.Entry, e) && (pending || !o.Pending)
		})
	}
	if p.Writes() {
		for _, o := range p.Ours {
			if !covers(o.Entry, true) {
				return fmt.Sprintf("%s %s will be ours and the ledger ahead does not have it", o.Kind, o.ARN)
			}
		}
		for _, o := range ledger.Owned {
			if !o.Pending && !covers(o.Entry, false) {
				return fmt.Sprintf("%s %s is ours and the ledger ahead forgot it", o.Kind, o.ARN)
			}
		}
	}
	// What waits behind foreign entries is in the ledger and not ours.
	settled := &Ledger{Owned: slices.Clone(settledOf(p, ledger).Owned)}
	settled.Owned = slices.DeleteFunc(settled.Owned, func(o Owned) bool { return o.Pending })
	if !settled.Equal(&Ledger{Owned: p.Ours}) {
		return fmt.Sprintf("the settled ledger is not Plan.Ours:\n%+v\n%+v", settled.Owned, p.Ours)
	}
	return ""
}

// brokenRepeat makes the same plan again on what was left.
func brokenRepeat(_ *Document, ledger *Ledger, req Request, p *Plan) string {
	fresh, err := Parse(p.After.Data())
	if err != nil {
		return fmt.Sprintf("what is written cannot be read: %v", err)
	}
	if text, held := fresh.Entries(), p.After.Entries(); !reflect.DeepEqual(text, held) {
		return "the document after is not its text (-text +document):\n" + cmp.Diff(text, held)
	}
	req.Now = req.Now.AddDate(0, 0, 1)
	again, err := MakePlan(fresh, settledOf(p, ledger), req)
	if err != nil {
		return fmt.Sprintf("second run: %v", err)
	}
	if again.Writes() || again.Settled != nil || again.Ahead != nil {
		return fmt.Sprintf("a second run changes %+v, the ledger %+v to %+v", again.Changes, settledOf(p, ledger), again.Settled)
	}
	return ""
}

func sameSet(a, b []string) bool { return includes(a, b) && includes(b, a) }

func dump(doc *Document) string {
	var out strings.Builder
	for _, k := range slices.Sorted(maps.Keys(doc.data)) {
		text := doc.data[k]
		if strings.ContainsAny(text, "\r\t\u0085\u2028\u2029\ufeff") {
			text = strconv.Quote(text)
		}
		fmt.Fprintf(&out, "-- %s --\n%s\n", k, text)
	}
	return out.String()
}
