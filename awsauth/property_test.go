package awsauth

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"testing"
)

var (
	seeds   = flag.Uint64("seeds", 5, "how many lives each document of the corpus has")
	mangled = flag.Uint64("mangled", 2000, "how many mangled documents are planned on")
)

// TestPlansKeepTheirPromise makes random plans on every document of the corpus
// and holds the promises of the package against each: foreign entries stay
// byte for byte, ours are as planned, a second run changes nothing.
func TestPlansKeepTheirPromise(t *testing.T) {
	for name, data := range readCorpus(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			doc, err := Parse(data)
			if err != nil {
				t.Fatal(err)
			}
			for seed := range *seeds {
				life{t: t, r: rand.New(rand.NewPCG(seed, 1)), name: fmt.Sprintf("seed %d", seed)}.live(doc)
			}
		})
	}
}

// A life is a row of plans on one document, each on what the one before left,
// with other tools and crashes between them.
type life struct {
	t    testing.TB
	r    *rand.Rand
	name string
}

func (l life) live(doc *Document) {
	l.t.Helper()
	ledger := &Ledger{}
	seed := l.name
	for step := range 5 {
		l.name = fmt.Sprintf("%s step %d", seed, step)
		req := randomRequest(l.r, doc)
		if step == 4 {
			req = Request{Now: now} // takes everything of ours away
		}
		if l.r.IntN(4) == 0 {
			doc = stripMarks(l.t, doc)
		}
		plan, err := MakePlan(doc, ledger, req)
		if err != nil {
			l.t.Fatalf("%s: %v\n%s", l.name, err, dump(doc))
		}
		if p := broken(doc, ledger, req, plan); p != "" {
			l.t.Fatalf("%s: %s", l.name, p)
		}
		l.crashes(doc, ledger, req, plan)
		doc, ledger = plan.After, settledOf(plan, ledger)
	}
	if len(ledger.Owned) != 0 {
		l.t.Fatalf("%s: the ledger still has %+v", l.name, ledger.Owned)
	}
}

// crashes goes on from every point at which a write can have been interrupted.
func (l life) crashes(doc *Document, ledger *Ledger, req Request, plan *Plan) {
	l.t.Helper()
	ahead := ledger
	if plan.Ahead != nil {
		ahead = plan.Ahead
	}
	for i, at := range []struct {
		doc    *Document
		ledger *Ledger
	}{{doc, ahead}, {plan.After, ahead}} {
		again, err := MakePlan(at.doc, at.ledger, req)
		if err != nil {
			l.t.Fatalf("%s, crash %d: %v", l.name, i, err)
		}
		if p := broken(at.doc, at.ledger, req, again); p != "" {
			l.t.Fatalf("%s, crash %d: %s", l.name, i, p)
		}
		if !anyFailed(req) && !slices.EqualFunc(again.Ours, plan.Ours, func(a, b Owned) bool { return a.key() == b.key() && sameGrant(a.Entry, b.Entry) }) {
			l.t.Fatalf("%s, crash %d: ours would be\n%+v, without the crash\n%+v", l.name, i, again.Ours, plan.Ours)
		}
	}
}

func anyFailed(req Request) bool {
	return slices.ContainsFunc(req.Sources, func(s Source) bool { return s.Failed })
}

var marks = regexp.MustCompile(`, "syncedBy": "rolecall"|(?:\r\n|[\r\n])[ \t]*syncedBy: rolecall\b`)

// stripMarks does what tools do that know only the authenticator's fields.
func stripMarks(t testing.TB, doc *Document) *Document {
	t.Helper()
	data := doc.Data()
	for k, text := range data {
		data[k] = marks.ReplaceAllString(text, "")
	}
	stripped, err := Parse(data)
	if err != nil {
		t.Fatalf("without the marks: %v\n%q", err, data)
	}
	return stripped
}

// randomRequest draws a request whose ARNs are partly those of the document.
func randomRequest(r *rand.Rand, doc *Document) Request {
	req := Request{Now: now, Config: fmt.Sprint(r.IntN(3)), AdoptConflicts: r.IntN(4) == 0}
	if r.IntN(3) == 0 {
		req.Adopt = []string{"some-tool"}
	}
	var known []Entry
	for _, l := range doc.Entries() {
		if l.ARN != "" {
			known = append(known, l.Entry)
		}
	}
	groups := []string{"system:nodes", "system:bootstrappers", "system:masters", "viewers", "on", "a b", "é", "- x", "#", "a: b", "{{x}}", "it's", `"`, "\u0090"}
	names := []string{"x", "yes", "system:node:{{EC2PrivateDNSName}}", "{{SessionName}}", "a # b", "tail:"}
	for _, name := range []string{"file", "permission-set/Admin", "group/dev", "node"} {
		s := Source{Name: name, Failed: r.IntN(6) == 0}
		for range r.IntN(4) {
			e := Entry{Kind: []Kind{Role, User, Account}[r.IntN(3)]}
			switch {
			case len(known) > 0 && r.IntN(3) == 0:
				e = known[r.IntN(len(known))]
				if r.IntN(3) == 0 { // it grants the same
					break
				}
				e.Username, e.Groups = names[r.IntN(len(names))], nil
			case e.Kind == Account:
				e.ARN = fmt.Sprintf("%012d", r.IntN(4))
			default:
				e.ARN = fmt.Sprintf("arn:aws:iam::111122223333:%s/n%d", e.Kind, r.IntN(6))
				e.Username = names[r.IntN(len(names))]
			}
			if e.Kind == Account {
				e.Username, e.Groups = "", nil
			} else {
				e.Groups = slices.Clone(e.Groups)
				for range r.IntN(3) {
					e.Groups = append(e.Groups, groups[r.IntN(len(groups))])
				}
				if e.Kind == Role && !s.Failed && r.IntN(3) == 0 {
					req.Required = append(req.Required, e.ARN)
				}
			}
			s.Entries = append(s.Entries, e)
		}
		req.Sources = append(req.Sources, s)
	}
	return req
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
