package awsauth

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// request draws a random request whose ARNs are partly those of the document.
func randomRequest(r *rand.Rand, doc *Document) Request {
	req := Request{Now: now, Config: fmt.Sprint(r.IntN(3)), AdoptConflicts: r.IntN(4) == 0}
	var known []Entry
	for _, l := range doc.Entries() {
		if l.ARN != "" {
			known = append(known, l.Entry)
		}
	}
	groups := []string{"system:nodes", "system:bootstrappers", "system:masters", "viewers", "on", "a b", "é", "- x", "#", "a: b", "{{x}}"}
	for _, name := range []string{"file", "permission-set/Admin", "group/dev", "node"} {
		s := Source{Name: name, Failed: r.IntN(6) == 0}
		for range r.IntN(4) {
			e := Entry{Kind: []Kind{Role, User, Account}[r.IntN(3)]}
			switch {
			case len(known) > 0 && r.IntN(3) == 0:
				e = known[r.IntN(len(known))]
				e.Groups = nil
			case e.Kind == Account:
				e.ARN = fmt.Sprintf("%012d", r.IntN(4))
			default:
				e.ARN = fmt.Sprintf("arn:aws:iam::111122223333:%s/n%d", e.Kind, r.IntN(6))
			}
			if e.Kind != Account {
				e.Username = []string{"x", "yes", "system:node:{{EC2PrivateDNSName}}", "{{SessionName}}", "a # b", "tail:"}[r.IntN(6)]
				for range r.IntN(3) {
					e.Groups = append(e.Groups, groups[r.IntN(len(groups))])
				}
			}
			s.Entries = append(s.Entries, e)
		}
		req.Sources = append(req.Sources, s)
	}
	return req
}

// TestForeignBytesStay holds the promise of the package: for any document and
// any plan, foreign entries stay byte for byte, ours are as planned, and a
// second run changes nothing.
func TestForeignBytesStay(t *testing.T) {
	for name, data := range readCorpus(t) {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(300) {
				checkRuns(t, data, seed)
			}
		})
	}
}

// checkRuns makes several plans in a row, each on what the one before left.
func checkRuns(t *testing.T, data map[string]string, seed uint64) {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 1))
	doc, err := Parse(data)
	if err != nil {
		t.Skipf("not readable: %v", err)
	}
	ledger := &Ledger{}
	for step := range 4 {
		req := randomRequest(r, doc)
		if step == 3 {
			req.Sources = nil // the last one takes everything of ours away
		}
		plan, err := MakePlan(doc, ledger, req)
		if err != nil {
			t.Fatalf("seed %d step %d: %v\n%s", seed, step, err, dump(doc.Data()))
		}
		checkForeign(t, plan, seed)
		again, err := MakePlan(plan.After, settledOf(plan, ledger), req)
		if err != nil {
			t.Fatalf("seed %d step %d, second run: %v", seed, step, err)
		}
		if again.Writes() || again.Settled != nil {
			t.Fatalf("seed %d step %d: a second run changes %+v\nledger %+v\n was %+v\nfirst %+v\n%s", seed, step, again.Changes, again.Settled, settledOf(plan, ledger), plan.Changes, dump(plan.After.Data()))
		}
		doc, ledger = plan.After, settledOf(plan, ledger)
	}
	if len(ledger.Owned) != 0 {
		t.Fatalf("seed %d: the ledger still has %+v", seed, ledger.Owned)
	}
}

// settledOf is the ledger after the plan was carried out.
func settledOf(p *Plan, was *Ledger) *Ledger {
	switch {
	case p.Settled != nil:
		return p.Settled
	case p.Ahead != nil:
		return p.Ahead
	}
	return was
}

// checkForeign finds every piece of the text before that is not ours in the
// text after, in the same order, with nothing but entries of ours, white space
// and commas added or gone.
func checkForeign(t *testing.T, p *Plan, seed uint64) {
	t.Helper()
	for k, text := range p.Before.data {
		if p.After.data[k] != text && !slices.Contains([]string{"mapRoles", "mapUsers", "mapAccounts"}, k) {
			t.Fatalf("seed %d: key %s changed", seed, k)
		}
	}
	touched := map[string]bool{}
	for _, c := range p.Changes {
		touched[key(c.Entry.ARN)] = true
	}
	for _, kind := range []Kind{Role, User} {
		var before, after []string
		for _, m := range p.Before.list(kind) {
			if !touched[key(m.ARN)] || !m.inForce() {
				before = append(before, string(m.raw))
			}
		}
		for _, m := range p.After.list(kind) {
			if !touched[key(m.ARN)] || !m.inForce() {
				after = append(after, string(m.raw))
			}
		}
		if diff := cmp.Diff(before, after); diff != "" {
			t.Fatalf("seed %d: untouched entries of %s (-before +after):\n%s", seed, kind, diff)
		}
		was, is := p.Before.data[kind.Key()], p.After.data[kind.Key()]
		if was == is {
			continue
		}
		list := p.Before.list(kind)
		l, err := layOut(kind, was, len(list))
		if err != nil {
			t.Fatal(err)
		}
		rest := is
		for i, it := range l.items {
			if list[i].mark == Mark || touched[key(list[i].ARN)] && list[i].inForce() {
				continue
			}
			bytes := was[it.start:it.end]
			if i == len(l.items)-1 {
				bytes = strings.TrimRight(bytes, "\r\n")
			}
			at := strings.Index(rest, bytes)
			if at < 0 {
				t.Fatalf("seed %d: entry %d of %s lost its bytes %q\n%s", seed, i, kind, bytes, is)
			}
			rest = rest[at+len(bytes):]
		}
		if b, a := comments(was), comments(is); !subset(b, a) {
			t.Fatalf("seed %d: comments lost: %q, now %q\n%s\n---\n%s", seed, b, a, was, is)
		}
	}
}

func subset(some, all []string) bool {
	all = slices.Clone(all)
	for _, s := range some {
		i := slices.Index(all, s)
		if i < 0 {
			return false
		}
		all = slices.Delete(all, i, i+1)
	}
	return true
}

func dump(data map[string]string) string {
	var out bytes.Buffer
	for k, v := range data {
		fmt.Fprintf(&out, "-- %s --\n%s\n", k, v)
	}
	return out.String()
}
