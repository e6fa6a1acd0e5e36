package configmap

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/internal/plan"
	"github.com/rolecall/rolecall/test/corpus"
)

// broken says which promise of the package a plan breaks, or "". It works from
// texts and from what [Document.Entries] lists, not from what led to the plan.
func broken(doc *awsauth.Document, state *plan.State, req plan.Snapshot, p *Plan) string {
	for _, check := range []func(*awsauth.Document, *plan.State, plan.Snapshot, *Plan) string{
		brokenKeys, brokenForeign, brokenComments, brokenGrants, brokenLeftovers, brokenLedger, brokenRepeat,
	} {
		if why := check(doc, state, req, p); why != "" {
			return fmt.Sprintf("NO RERUN: %s\nrequest %+v\nledger %+v\nchanges %+v\nconflicts %+v\nBEFORE\n%s\nAFTER\n%s", why, req, *state, p.Changes, p.Conflicts, dump(doc), dump(p.After))
		}
	}
	return ""
}

// brokenKeys holds keys that no change is about against what they were.
func brokenKeys(doc *awsauth.Document, _ *plan.State, req plan.Snapshot, p *Plan) string {
	if p.Before != doc {
		return "the plan is for another document"
	}
	touched := map[string]bool{}
	for _, c := range p.Changes {
		touched[c.Entry.Kind.Key()] = true
	}
	for k, text := range p.After.Data() {
		was, had := doc.Data()[k]
		if !touched[k] && (!had || was != text) {
			return fmt.Sprintf("key %q was written without a change", k)
		}
	}
	for k := range doc.Data() {
		if _, ok := p.After.Data()[k]; !ok {
			return fmt.Sprintf("key %q is gone", k)
		}
	}
	size := 0
	for _, text := range p.After.Data() {
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
func foreign(kind awsauth.Kind, doc *awsauth.Document, state *plan.State, req plan.Snapshot, p *Plan) []bool {
	adopted := map[string]bool{}
	for _, c := range p.Changes {
		if c.Op == plan.Adopt {
			adopted[strings.ToLower(c.Entry.ARN)] = req.AdoptConflicts
		}
	}
	var out []bool
	for _, l := range entriesOf(doc, kind) {
		ours := kind != awsauth.Account && (l.SyncedBy == awsauth.Mark || l.SyncedBy != "" && slices.Contains(req.Adopt, l.SyncedBy)) || adopted[strings.ToLower(l.ARN)]
		for _, o := range state.Owned {
			ours = ours || (!o.Pending || kind == awsauth.Account) && l.SyncedBy == "" && o.Kind == kind && strings.EqualFold(o.ARN, l.ARN) && o.Username == l.Username && sameSet(o.Groups, l.Groups)
		}
		out = append(out, !ours || l.Dropped != "")
	}
	return out
}

// entriesOf are the entries of a kind.
func entriesOf(doc *awsauth.Document, kind awsauth.Kind) []awsauth.Listed {
	return slices.DeleteFunc(doc.Entries(), func(l awsauth.Listed) bool { return l.Kind != kind })
}

// element is an entry with all of its fields, as JSON.
type element struct {
	awsauth.Listed
	fields string
}

// elements are the entries of a kind, read by another parser than awsauth's.
func elements(doc *awsauth.Document, kind awsauth.Kind) ([]element, error) {
	entries := entriesOf(doc, kind)
	var raw []json.RawMessage
	if len(entries) > 0 { // else it is blank, which the parser may not take
		err := yaml.Unmarshal([]byte(doc.Data()[kind.Key()]), &raw)
		if err != nil && kind == awsauth.Account { // of accounts that it cannot read, awsauth keeps the texts
			raw = make([]json.RawMessage, len(entries))
		} else if err != nil {
			return nil, err
		}
	}
	if len(raw) != len(entries) {
		return nil, fmt.Errorf("%s has %d elements, and %d entries are read", kind.Key(), len(raw), len(entries))
	}
	out := make([]element, len(raw))
	for i := range raw {
		out[i] = element{entries[i], string(raw[i])}
	}
	return out, nil
}

// documentTail is what follows the YAML document that ends with an entry.
func documentTail(text, last string) string {
	at := strings.LastIndex(text, last) + len(last)
	if found := documentEnd.FindStringIndex(text[at:]); found != nil {
		return text[at+found[0]:]
	}
	return ""
}

var documentEnd = regexp.MustCompile(`(?m)^(?:---|\.\.\.)(?:\s|$)`)

// brokenForeign finds every unmanaged element in the text after, in the same
// order, with the same bytes and the same meaning.
func brokenForeign(doc *awsauth.Document, state *plan.State, req plan.Snapshot, p *Plan) string {
	all := 0
	for _, kind := range awsauth.Kinds() {
		was, is := doc.Data()[kind.Key()], p.After.Data()[kind.Key()]
		all += len(entriesOf(p.After, kind))
		if was == is {
			continue
		}
		before, err := elements(doc, kind)
		if err != nil {
			return err.Error()
		}
		after, err := elements(p.After, kind)
		if err != nil {
			return err.Error()
		}
		texts, err := doc.Texts(kind)
		if err != nil {
			return err.Error()
		}
		rest := is
		for i, keep := range foreign(kind, doc, state, req, p) {
			if !keep {
				continue
			}
			bytes := strings.TrimRight(texts[i], "\r\n")
			at := strings.Index(rest, bytes)
			if at < 0 {
				return fmt.Sprintf("unmanaged entry %d of %s lost its bytes %q", i, kind, bytes)
			}
			rest = rest[at+len(bytes):]
			found := slices.IndexFunc(after, func(a element) bool {
				return a.fields == before[i].fields && a.ARN == before[i].ARN && a.Dropped == before[i].Dropped
			})
			if found < 0 {
				return fmt.Sprintf("unmanaged entry %d of %s is gone or reads otherwise", i, kind)
			}
			after = after[found+1:]
		}
		if len(texts) > 0 && strings.HasPrefix(strings.TrimLeft(texts[0], " "), "-") {
			if only(plan.Add, kind, p) && !inserted(was, is) {
				return fmt.Sprintf("%s changed elsewhere than where entries were added", kind.Key())
			}
			if tail := documentTail(was, texts[len(texts)-1]); !strings.HasSuffix(is, tail) {
				return fmt.Sprintf("%s lost what follows its YAML document", kind.Key())
			}
		}
	}
	if p.Unmanaged != all-len(p.Managed) {
		return fmt.Sprintf("%d entries, %d of them managed, %d not", all, len(p.Managed), p.Unmanaged)
	}
	return ""
}

// only reports whether all changes to one list are of one sort.
func only(op plan.Op, kind awsauth.Kind, p *Plan) bool {
	return !slices.ContainsFunc(p.Changes, func(c plan.Change) bool { return c.Entry.Kind == kind && c.Op != op })
}

// inserted reports whether a text came about by putting one piece into another.
func inserted(was, is string) bool {
	head := 0
	for head < min(len(was), len(is)) && was[head] == is[head] {
		head++
	}
	return strings.HasSuffix(is, was[head:]) && len(is) >= len(was)
}

// brokenComments looks for comment lines.
func brokenComments(doc *awsauth.Document, _ *plan.State, _ plan.Snapshot, p *Plan) string {
	return corpus.LostComment(doc.Data(), p.After.Data())
}

// resolve answers as the authenticator does: roles before users, the last of
// equal ones.
func resolve(doc *awsauth.Document, arn string) (found awsauth.Entry, ok bool) {
	for _, e := range doc.Entries() {
		if e.Dropped == "" && e.Kind != awsauth.Account && strings.EqualFold(e.ARN, arn) && !(found.Kind == awsauth.Role && e.Kind == awsauth.User) {
			found, ok = e.Entry, true
		}
	}
	return found, ok
}

// wanted is what the sources ask, by ARN in lower case, but for what the plan says
// it refuses.
func wanted(req plan.Snapshot, p *Plan) map[string]awsauth.Entry {
	refused := map[[2]string]bool{}
	for _, r := range p.Refused {
		for _, source := range r.Sources {
			refused[[2]string{strings.ToLower(r.ARN), source}] = true
		}
	}
	out := map[string]awsauth.Entry{}
	for _, s := range req.Sources {
		for _, e := range s.Entries {
			k := strings.ToLower(e.ARN)
			if refused[[2]string{k, s.Name}] {
				continue
			}
			w, ok := out[k]
			if !ok {
				w = awsauth.Entry{Kind: e.Kind, ARN: e.ARN}
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
func brokenGrants(doc *awsauth.Document, state *plan.State, req plan.Snapshot, p *Plan) string {
	excused := map[string]bool{}
	for _, c := range p.Conflicts {
		k := strings.ToLower(c.Ours.ARN)
		excused[k] = true
		now, ok := resolve(p.After, k)
		was, _ := resolve(doc, k)
		if !ok || !sameAccess(now, was) && !sameAccess(now, c.Ours) && !sameAccess(now, c.Foreign) {
			return fmt.Sprintf("%s, of a conflict, was mapped to %+v and is to %+v", k, was, now)
		}
	}
	for _, e := range p.NoRoom {
		excused[strings.ToLower(e.ARN)] = true
	}
	for _, l := range p.Left {
		excused[strings.ToLower(l.Entry.ARN)] = true
	}
	failed := anyFailed(req)
	nodes := map[string]bool{} // that nobody but sources of nodes asks for
	for _, nodesAlone := range []bool{true, false} {
		for _, s := range req.Sources {
			for _, e := range s.Entries {
				if s.Nodes == nodesAlone {
					nodes[strings.ToLower(e.ARN)] = nodesAlone
				}
			}
		}
	}
	for k, w := range wanted(req, p) {
		if w.Kind == awsauth.Account {
			has := func(id string) bool {
				return slices.ContainsFunc(p.After.Entries(), func(l awsauth.Listed) bool { return l.Kind == awsauth.Account && l.ARN == id && l.Dropped == "" })
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
		case !sameSet(slices.Concat(got.Groups, w.Groups), got.Groups):
			return fmt.Sprintf("%s is mapped to %+v without %q", w.ARN, got, w.Groups)
		case got.Username != w.Username && !failed && !(nodes[k] && servesNodes(got)):
			return fmt.Sprintf("%s is mapped to %+v, not to the username %q", w.ARN, got, w.Username)
		}
	}
	touched := map[string]bool{}
	for _, c := range p.Changes {
		touched[strings.ToLower(c.Entry.ARN)] = true
	}
	for _, e := range doc.Entries() {
		if e.Dropped != "" || e.Kind == awsauth.Account || touched[strings.ToLower(e.ARN)] {
			continue
		}
		was, _ := resolve(doc, e.ARN)
		if is, ok := resolve(p.After, e.ARN); !ok || !sameAccess(was, is) {
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

// servesNodes reports whether nodes are let in as nodes, whatever they are named by.
func servesNodes(e awsauth.Entry) bool {
	return strings.HasPrefix(e.Username, "system:node:{{") && slices.Contains(e.Groups, "system:nodes") && slices.Contains(e.Groups, "system:bootstrappers")
}

// brokenLeftovers looks for entries of ours that nobody asks for, or twice.
func brokenLeftovers(doc *awsauth.Document, state *plan.State, req plan.Snapshot, p *Plan) string {
	want := wanted(req, p)
	stays := map[string]bool{} // as it stands: it is left out, or what is asked for it is refused
	for _, l := range p.Left {
		stays[strings.ToLower(l.Entry.ARN)] = true
	}
	for _, r := range p.Refused {
		stays[strings.ToLower(r.ARN)] = true
	}
	var marked, owned []string
	for _, e := range p.After.Entries() {
		if e.Dropped != "" || e.SyncedBy != awsauth.Mark {
			continue
		}
		k := string(e.Kind) + " " + strings.ToLower(e.ARN)
		if stays[strings.ToLower(e.ARN)] {
			continue
		}
		if _, ok := want[strings.ToLower(e.ARN)]; !ok && !anyFailed(req) {
			return fmt.Sprintf("%s is ours and nobody asks for it", k)
		}
		if slices.Contains(marked, k) {
			return fmt.Sprintf("%s is ours twice", k)
		}
		marked = append(marked, k)
	}
	for _, o := range p.Managed {
		if o.Pending {
			return fmt.Sprintf("%s is still pending after the write", o.ARN)
		}
		if o.Kind != awsauth.Account && !stays[strings.ToLower(o.ARN)] {
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
func brokenLedger(doc *awsauth.Document, state *plan.State, _ plan.Snapshot, p *Plan) string {
	ahead := state
	if p.Ahead != nil {
		ahead = p.Ahead
	}
	if p.Ahead != nil && !p.Writes() {
		return "the ledger is written ahead of no write"
	}
	covers := func(e awsauth.Entry, pending bool) bool {
		return slices.ContainsFunc(ahead.Owned, func(o plan.Owned) bool {
			return o.Principal() == e.Principal() && o.Kind == e.Kind && sameAccess(o.Entry, e) && (pending || !o.Pending)
		})
	}
	if p.Writes() {
		for _, o := range p.Managed {
			if !covers(o.Entry, true) {
				return fmt.Sprintf("%s %s will be ours and the ledger ahead does not have it", o.Kind, o.ARN)
			}
		}
		for _, o := range state.Owned {
			if !o.Pending && !covers(o.Entry, false) {
				return fmt.Sprintf("%s %s is ours and the ledger ahead forgot it", o.Kind, o.ARN)
			}
		}
	}
	// What waits behind foreign entries is in the ledger and not ours.
	settled := &plan.State{Owned: slices.Clone(settledOf(p, state).Owned)}
	settled.Owned = slices.DeleteFunc(settled.Owned, func(o plan.Owned) bool { return o.Pending })
	if !settled.Equal(&plan.State{Owned: p.Managed}) {
		return fmt.Sprintf("the settled ledger is not Plan.Ours:\n%+v\n%+v", settled.Owned, p.Managed)
	}
	return ""
}

// brokenRepeat makes the same plan again on what was left.
func brokenRepeat(_ *awsauth.Document, state *plan.State, req plan.Snapshot, p *Plan) string {
	fresh, err := awsauth.Parse(p.After.Data())
	if err != nil {
		return fmt.Sprintf("what is written cannot be read: %v", err)
	}
	if text, held := fresh.Entries(), p.After.Entries(); !reflect.DeepEqual(text, held) {
		return "the document after is not its text (-text +document):\n" + cmp.Diff(text, held)
	}
	settled := settledOf(p, state)
	if req.Limit == nil {
		req.Now = req.Now.AddDate(0, 0, 1)
	} else { // in the same hour
		limit := *req.Limit
		req.Now = req.Now.Add(time.Second)
		limit.Hour = inTheHour(settled, req.Now)
		req.Limit = &limit
	}
	again := makePlan(fresh, settled, req)
	if again.Writes() || again.Settled != nil || again.Ahead != nil {
		return fmt.Sprintf("a second run changes %+v, the ledger (-first +second):\n%s", again.Changes, cmp.Diff(lines(settled), lines(settledOf(again, settled))))
	}
	return ""
}

// lines is a state as text.
func lines(s *plan.State) []string {
	out := []string{"config " + s.Config, fmt.Sprintf("adopts %q", s.Adopt)}
	for _, o := range s.Owned {
		out = append(out, fmt.Sprintf("%s %v since %s pending %t waiting %t", show(o.Entry), o.Claims, o.Since, o.Pending, o.Waiting))
	}
	for _, r := range s.Removals {
		out = append(out, fmt.Sprintf("%s of %q: %d of %d since %s", r.ID, r.Source, len(r.Changes), r.Of, r.Since))
	}
	for _, l := range s.Lost {
		out = append(out, fmt.Sprintf("lost %+v", l))
	}
	return out
}

func sameSet(a, b []string) bool { return slices.Equal(awsauth.GroupSet(a), awsauth.GroupSet(b)) }

func dump(doc *awsauth.Document) string {
	var out strings.Builder
	for _, k := range slices.Sorted(maps.Keys(doc.Data())) {
		text := doc.Data()[k]
		if strings.ContainsAny(text, "\r\t\u0085\u2028\u2029\ufeff") {
			text = strconv.Quote(text)
		}
		fmt.Fprintf(&out, "-- %s --\n%s\n", k, text)
	}
	return out.String()
}
