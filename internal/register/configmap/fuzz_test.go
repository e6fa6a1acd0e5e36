package configmap

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/internal/plan"
	"github.com/rolecall/rolecall/test/corpus"
)

// FuzzPlan plans on any text that the authenticator can read. What of a
// plan cannot be done is left out; the rest keeps the promises of the package.
func FuzzPlan(f *testing.F) {
	for _, data := range readCorpus(f) {
		f.Add(data["mapRoles"], data["mapUsers"], data["mapAccounts"], uint64(1))
	}
	for _, text := range corpus.BadTexts() {
		f.Add(text, text, text, uint64(2))
	}
	f.Fuzz(func(t *testing.T, roles, users, accounts string, seed uint64) {
		doc, err := awsauth.Parse(map[string]string{"mapRoles": roles, "mapUsers": users, "mapAccounts": accounts})
		if err != nil {
			return
		}
		l := life{t: t, r: rand.New(rand.NewPCG(seed, 2)), name: fmt.Sprintf("seed %d", seed)}
		state := randomLedger(l.r, doc)
		req := randomRequest(l.r, doc)
		planned := makePlan(doc, state, req)
		if p := broken(doc, state, req, planned); p != "" {
			t.Fatalf("%s: %s", l.name, p)
		}
	})
}

// FuzzLedger reads any text as a ledger. What can be read is written and read
// again as it was, and a plan with it keeps the promises of the package.
func FuzzLedger(f *testing.F) {
	const arn = `"arn":"arn:aws:iam::111122223333:role/a"`
	for _, body := range []string{
		``, `null`, `[]`, `{}`, `{"version":2}`, `{"version":-1,"owned":null}`, `{"version":1,"owned":[null,{}]}`,
		`{"version":1,"owned":[{"kind":"role",` + arn + `,"username":"u","groups":["g"],"claims":[{"source":"file","username":"u","groups":["g"]}],"since":"2026-01-02T03:04:05Z"}]}`,
		`{"version":1,"owned":[{"kind":"role",` + arn + `,"pending":true},{"kind":"user",` + arn + `},{"kind":"role",` + arn + `}]}`,
		`{"version":1,"owned":[{"kind":"nothing","arn":"","claims":[{"source":""},{"source":"\u0000\n"}]}]}`,
		`{"version":1,"owned":[{"kind":"account","arn":"*"},{"kind":"role","arn":"\ud800","since":"9999-12-31T23:59:59Z"}]}`,
		strings.Repeat("[", 20_000), `{"version":1,"owned":[` + strings.Repeat("{},", 500) + `{}]}`,
		`{"owned":[{"claims":[{}]}]}`, `{"owned":[{"kind":"group","arn":"arn:aws:iam::111122223333:group/x","claims":[{"source":"file"}]}]}`,
	} {
		f.Add([]byte(body), uint64(0))
		f.Add([]byte(body), uint64(1))
	}
	doc, err := awsauth.Parse(readCorpus(f)["after-flow"])
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body []byte, seed uint64) {
		if l, _, err := DecodeLedger(body); (l == nil) == (err == nil) {
			t.Fatalf("not packed: %v, %v", l, err)
		}
		state, _, err := DecodeLedger(zipped(t, string(body)))
		if err != nil {
			return
		}
		data, wrote, err := EncodeLedger(state)
		if err != nil {
			return // a year that JSON does not know
		}
		again, read, err := DecodeLedger(data)
		if err != nil || read != wrote || !again.Equal(state) {
			t.Fatalf("reads %+v (%v), and was %+v", again, err, state)
		}
		req := randomRequest(rand.New(rand.NewPCG(seed, 3)), doc)
		planned := makePlan(doc, state, req)
		for _, o := range planned.Managed {
			for _, c := range o.Claims {
				if c.Source != plan.UnknownSource && !slices.ContainsFunc(req.Sources, func(s plan.Source) bool { return s.Name == c.Source }) {
					t.Errorf("the source %q is the ledger's alone, and would name a metric", c.Source)
				}
			}
		}
	})
}

// randomLedger claims some of the document's entries, and others.
func randomLedger(r *rand.Rand, doc *awsauth.Document) *plan.State {
	state := &plan.State{}
	own := func(e awsauth.Entry) {
		o := plan.Owned{Entry: e, Since: now, Pending: r.IntN(4) == 0}
		for _, source := range []string{"file", "group/dev"} {
			if r.IntN(2) == 0 {
				o.Claims = append(o.Claims, plan.Claim{Source: source, Username: e.Username, Groups: e.Groups})
			}
		}
		state.Owned = append(state.Owned, o)
	}
	for _, l := range doc.Entries() {
		if l.ARN != "" && r.IntN(3) == 0 {
			own(l.Entry)
		}
	}
	if r.IntN(2) == 0 {
		own(awsauth.Entry{Kind: awsauth.User, ARN: "arn:aws:iam::111122223333:user/n1", Username: "x", Groups: []string{"on"}})
	}
	state.Sort()
	return state
}
