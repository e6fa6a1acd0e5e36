package configmap

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"testing"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/internal/plan"
)

// TestPlansKeepTheirPromise makes random plans on every document of the corpus
// and holds the promises of the package against each: foreign entries stay
// byte for byte, ours are as planned, a second run changes nothing.
func TestPlansKeepTheirPromise(t *testing.T) {
	for name, data := range readCorpus(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			doc, err := awsauth.Parse(data)
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

func (l life) live(doc *awsauth.Document) {
	l.t.Helper()
	state := &plan.State{}
	seed := l.name
	for step := range 5 {
		l.name = fmt.Sprintf("%s step %d", seed, step)
		req := randomRequest(l.r, doc)
		if step == 4 {
			req = plan.Snapshot{Now: now} // takes everything of ours away
		}
		if l.r.IntN(4) == 0 {
			doc = stripMarks(l.t, doc)
		}
		planned := makePlan(doc, state, req)
		if why := leftOut(planned); why != "" {
			l.t.Fatalf("%s: %s\n%s", l.name, why, dump(doc))
		}
		if p := broken(doc, state, req, planned); p != "" {
			l.t.Fatalf("%s: %s", l.name, p)
		}
		l.crashes(doc, state, req, planned)
		doc, state = planned.After, settledOf(planned, state)
	}
	if len(state.Owned) != 0 {
		l.t.Fatalf("%s: the ledger still has %+v", l.name, state.Owned)
	}
}

// crashes goes on from every point at which a write can have been interrupted.
func (l life) crashes(doc *awsauth.Document, state *plan.State, req plan.Snapshot, planned *Plan) {
	l.t.Helper()
	ahead := state
	if planned.Ahead != nil {
		ahead = planned.Ahead
	}
	for i, at := range []struct {
		doc   *awsauth.Document
		state *plan.State
	}{{doc, ahead}, {planned.After, ahead}} {
		again := makePlan(at.doc, at.state, req)
		if why := leftOut(again); why != "" {
			l.t.Fatalf("%s, crash %d: %s", l.name, i, why)
		}
		if p := broken(at.doc, at.state, req, again); p != "" {
			l.t.Fatalf("%s, crash %d: %s", l.name, i, p)
		}
		if !anyFailed(req) && !slices.EqualFunc(again.Managed, planned.Managed, func(a, b plan.Owned) bool { return a.Principal() == b.Principal() && sameAccess(a.Entry, b.Entry) }) {
			l.t.Fatalf("%s, crash %d: ours would be\n%+v, without the crash\n%+v", l.name, i, again.Managed, planned.Managed)
		}
	}
}

// leftOut says what of a plan on the corpus is left out without a good reason, or
// "". An unmanaged entry that cannot be edited is a conflict, no more.
func leftOut(p *Plan) string {
	for _, l := range p.Left {
		if l.Op != plan.Adopt || !slices.ContainsFunc(p.Conflicts, func(c plan.Conflict) bool { return c.Ours.ARN == l.Entry.ARN }) {
			return fmt.Sprintf("left out: %+v", l)
		}
	}
	return ""
}

func anyFailed(req plan.Snapshot) bool {
	return slices.ContainsFunc(req.Sources, func(s plan.Source) bool { return s.Failed })
}

var marks = regexp.MustCompile(`, "syncedBy": "rolecall"|(?:\r\n|[\r\n])[ \t]*syncedBy: rolecall\b`)

// stripMarks does what tools do that know only the authenticator's fields.
func stripMarks(t testing.TB, doc *awsauth.Document) *awsauth.Document {
	t.Helper()
	data := doc.Data()
	for k, text := range data {
		data[k] = marks.ReplaceAllString(text, "")
	}
	stripped, err := awsauth.Parse(data)
	if err != nil {
		t.Fatalf("without the marks: %v\n%q", err, data)
	}
	return stripped
}

// randomRequest draws a request whose ARNs are partly those of the document.
func randomRequest(r *rand.Rand, doc *awsauth.Document) plan.Snapshot {
	req := plan.Snapshot{Now: now, Config: fmt.Sprint(r.IntN(3)), AdoptConflicts: r.IntN(4) == 0}
	if r.IntN(3) == 0 {
		req.Adopt = []string{"some-tool"}
	}
	var known []awsauth.Entry
	for _, l := range doc.Entries() {
		if l.ARN != "" {
			known = append(known, l.Entry)
		}
	}
	groups := []string{"system:nodes", "system:bootstrappers", "system:masters", "viewers", "on", "a b", "é", "- x", "#", "a: b", "{{x}}", "it's", `"`, "\u0090"}
	names := []string{"x", "yes", "system:node:{{EC2PrivateDNSName}}", "{{SessionName}}", "a # b", "tail:"}
	for _, name := range []string{"file", "permission-set/Admin", "group/dev", "node"} {
		s := plan.Source{Name: name, Failed: r.IntN(6) == 0, Nodes: name == "node"}
		for range r.IntN(4) {
			e := awsauth.Entry{Kind: []awsauth.Kind{awsauth.Role, awsauth.User, awsauth.Account}[r.IntN(3)]}
			switch {
			case len(known) > 0 && r.IntN(3) == 0:
				e = known[r.IntN(len(known))]
				if r.IntN(3) == 0 { // it grants the same
					break
				}
				e.Username, e.Groups = names[r.IntN(len(names))], nil
			case e.Kind == awsauth.Account:
				e.ARN = fmt.Sprintf("%012d", r.IntN(4))
			default:
				e.ARN = fmt.Sprintf("arn:aws:iam::111122223333:%s/n%d", e.Kind, r.IntN(6))
				e.Username = names[r.IntN(len(names))]
			}
			if e.Kind == awsauth.Account {
				e.Username, e.Groups = "", nil
			} else {
				e.Groups = slices.Clone(e.Groups)
				for range r.IntN(3) {
					e.Groups = append(e.Groups, groups[r.IntN(len(groups))])
				}
				if e.Kind == awsauth.Role && !s.Failed && r.IntN(3) == 0 {
					req.Required = append(req.Required, e.ARN)
				}
			}
			s.Entries = append(s.Entries, e)
		}
		req.Sources = append(req.Sources, s)
	}
	return req
}
