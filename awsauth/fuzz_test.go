package awsauth

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// FuzzPlan plans on any text that the authenticator can read. A plan may be
// refused; one that is made keeps the promises of the package.
func FuzzPlan(f *testing.F) {
	for _, data := range readCorpus(f) {
		f.Add(data["mapRoles"], data["mapUsers"], data["mapAccounts"], uint64(1))
	}
	f.Fuzz(func(t *testing.T, roles, users, accounts string, seed uint64) {
		doc, err := Parse(map[string]string{"mapRoles": roles, "mapUsers": users, "mapAccounts": accounts})
		if err != nil {
			return
		}
		l := life{t: t, r: rand.New(rand.NewPCG(seed, 2)), name: fmt.Sprintf("seed %d", seed)}
		ledger := randomLedger(l.r, doc)
		req := randomRequest(l.r, doc)
		plan, err := MakePlan(doc, ledger, req)
		if err != nil {
			return
		}
		if p := broken(doc, ledger, req, plan); p != "" {
			t.Fatalf("%s: %s", l.name, p)
		}
	})
}

// randomLedger claims some of the document's entries, and others.
func randomLedger(r *rand.Rand, doc *Document) *Ledger {
	ledger := &Ledger{}
	own := func(e Entry) {
		o := Owned{Entry: e, Since: now, Pending: r.IntN(4) == 0}
		for _, source := range []string{"file", "group/dev"} {
			if r.IntN(2) == 0 {
				o.Claims = append(o.Claims, Claim{source, e.Username, e.Groups})
			}
		}
		ledger.Owned = append(ledger.Owned, o)
	}
	for _, l := range doc.Entries() {
		if l.ARN != "" && r.IntN(3) == 0 {
			own(l.Entry)
		}
	}
	if r.IntN(2) == 0 {
		own(Entry{User, "arn:aws:iam::111122223333:user/n1", "x", []string{"on"}})
	}
	ledger.sort()
	return ledger
}
