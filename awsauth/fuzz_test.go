package awsauth

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// FuzzPlan plans on any text that the authenticator can read. A plan may be
// refused; one that is made keeps the promises of the package.
func FuzzPlan(f *testing.F) {
	for _, data := range readCorpus(f) {
		f.Add(data["mapRoles"], data["mapUsers"], data["mapAccounts"], uint64(1))
	}
	for _, text := range badTexts() {
		f.Add(text, text, text, uint64(2))
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

// badTexts are small ones of what readers stumble over: encodings, controls,
// nesting and aliases. TestHostileTexts has the large ones.
func badTexts() []string {
	return []string{
		"\xff\xfe-\x00 \x00a\x00", "\xfe\xff\x00-\x00 \x00a", "\ufeff- a", "- \xff\xfe", "- a\x00b", "- \"\x1b[2J\u202e\u0085\u2028\"",
		strings.Repeat("[", 200), strings.Repeat("[", 100) + strings.Repeat("]", 100), strings.Repeat("- ", 200), strings.Repeat("? ", 100),
		"- &a [*a]", "- &a {rolearn: r, username: &u u, groups: &g [g, *u]}\n- {rolearn: s, username: *u, groups: *g}\n- *a\n",
		"- &a [x, x]\n- &b [*a, *a]\n- &c [*b, *b]\n- [*c, *c]\n", "- &a {a: b}\n- {<<: [*a, *a]}\n", "- ? {a: b}\n  : c\n",
		"- !!binary aGk=\n", "- !!python/object:x {}\n", "%YAML 1.1\n---\n- a\n...\n", "- 1e999999999\n- .inf\n- 0o17\n- 012345678901\n",
		`[{"rolearn":"r","ROLEARN":"s","username":"\ud800"}]`,
	}
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
	doc, err := Parse(readCorpus(f)["after-flow"])
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body []byte, seed uint64) {
		if l, err := DecodeLedger(body); (l == nil) == (err == nil) {
			t.Fatalf("not packed: %v, %v", l, err)
		}
		ledger, err := DecodeLedger(zipped(t, string(body)))
		if err != nil {
			return
		}
		data, err := ledger.Encode()
		if err != nil {
			return // a year that JSON does not know
		}
		again, err := DecodeLedger(data)
		if err != nil || !again.Equal(ledger) {
			t.Fatalf("reads %+v (%v), and was %+v", again, err, ledger)
		}
		req := randomRequest(rand.New(rand.NewPCG(seed, 3)), doc)
		plan, err := MakePlan(doc, ledger, req)
		if err != nil {
			return
		}
		for _, o := range plan.Ours {
			for _, c := range o.Claims {
				if c.Source != unknownSource && !slices.ContainsFunc(req.Sources, func(s Source) bool { return s.Name == c.Source }) {
					t.Errorf("the source %q is the ledger's alone, and would name a metric", c.Source)
				}
			}
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
