package judge

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/internal/plan"
	"github.com/rolecall/rolecall/internal/register/configmap"
)

var now = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// TestReading reads every document of the corpus with both.
func TestReading(t *testing.T) {
	for name, data := range corpus(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if why := differs(data); why != "" {
				t.Errorf("%s\n%q", why, data)
			}
		})
	}
}

// TestReadingMalformed reads what the authenticator drops or loses.
func TestReadingMalformed(t *testing.T) {
	const arn = "arn:aws:iam::111122223333:role/a"
	for _, text := range []string{
		"", " \n", "``", `""`, "''", "null", "~", "[]", "{}", "# nothing", "---", "...", "\ufeff", "\ufeff[]", "``\n# x",
		"text", "42", "true", "a: b", `{"a": []}`, " {", "{a: b}: c", "\u00a0{}", "[", "[[]]", "- [", "- {", "- 'x", "- *x", "- &x *x", "- &x [*x]", "- <<: x", "-\tx", "- a\n\tb", "- a\nb: c",
		"- x\x01", "- x\xff", "- !!binary x", "- !!binary eA==", "- !!int x", "- .inf", "- .nan", "- {[a]: b}", "- {{a}}", "- {? {a: b} : c}", "- null\n- ~\n-\n- ''", "- 0777\n- 1_000\n- 1e3\n- 2026-01-02\n- yes\n- !!str 1",
		"- rolearn: " + arn + "\n  username: {{SessionName}}\n", "- rolearn: " + arn + "\n  username: 1\n  groups: x\n", "- rolearn: " + arn + "\n  groups: [1, a, null, [b]]\n",
		"- rolearn: [" + arn + "]\n", "- rolearn: null\n", "- rolearn: ''\n", "- rolearn: " + arn + "\n  ROLEARN: x\n", "- rolearn: " + arn + "\n  ROLEARN: 1\n", "- rolearn: " + arn + "\n  rolearn: x\n",
		"- {rolearn: " + arn + ", sso: null}", "- {rolearn: " + arn + ", sso: {}}", "- {rolearn: " + arn + ", sso: x}", "- {rolearn: " + arn + ", sso: []}",
		"- {sso: {permissionSetName: x, accountID: \"111122223333\"}}", "- {sso: {permissionSetName: '*', accountID: x}}", "- {sso: {permissionSetName: x, accountID: 111122223333, partition: moon}}",
		"- &a {rolearn: " + arn + ", username: a}\n- {<<: *a, username: b}\n- *a\n", "- rolearn: " + arn + "\n---\n- rolearn: x\n", "%YAML 1.1\n---\n- rolearn: x\n", "%YAML 1.2\n---\n- rolearn: x\n", "%BAD\n---\n- x\n",
		`["a\/b"]`, `["\u0041"]`, `[{"rolearn":"` + arn + `","username":"\ud83d\ude00"}]`, "- ro\u017flearn: x\n", "- ROLEA\u0052N: x\n", "- u\u017fername: x\n  u\u017ferarn: y\n  rolearn: z\n",
		"- rolearn: x\u0085- rolearn: y", "- rolearn: x\r- rolearn: y\r", "- rolearn: x\u2028- rolearn: y", "- ? rolearn\n  : x\n", "- !!map {rolearn: !!str 1}\n", "- rolearn: !local x\n", "- !!set {rolearn}\n", "- !!omap [rolearn: x]\n",
		strings.Repeat("[", 200) + strings.Repeat("]", 200), "- &a [x]\n- &b [*a, *a]\n- [*b, *b]\n",
	} {
		for _, key := range []string{"mapRoles", "mapUsers", "mapAccounts"} {
			if why := differs(map[string]string{key: text}); why != "" {
				t.Errorf("%s %q: %s", key, text, why)
			}
		}
	}
}

// TestPlans carries random plans out on every document of the corpus and asks
// the authenticator's code what each identity is mapped to then.
func TestPlans(t *testing.T) {
	for name, data := range corpus(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(12) {
				r := rand.New(rand.NewPCG(seed, 1))
				doc, err := awsauth.Parse(data)
				if err != nil {
					t.Fatal(err)
				}
				var state *plan.State
				for step := range 3 {
					req := request(r, doc)
					req.State = state
					planned := configmap.MakePlan(doc, 0, req)
					if why := leftOut(planned); why != "" {
						t.Fatalf("seed %d step %d: %s", seed, step, why)
					}
					if why := misjudged(req, planned); why != "" {
						t.Fatalf("seed %d step %d: %s\nrequest %+v\nbefore %q\nafter %q", seed, step, why, req, doc.Data(), planned.After.Data())
					}
					doc = planned.After
					if planned.Settled != nil {
						state = planned.Settled
					}
				}
			}
		})
	}
}

// misjudged says in what the authenticator sees the document after a plan
// otherwise than planned, or "".
func misjudged(req plan.Snapshot, planned *configmap.Plan) string {
	if why := differs(planned.After.Data()); why != "" {
		return why
	}
	before, after := read(planned.Before.Data()), read(planned.After.Data())
	if len(after.lost) > 0 {
		return fmt.Sprintf("the authenticator cannot read %q", after.lost)
	}
	for _, o := range planned.Managed {
		if o.Kind == awsauth.Account {
			if !slices.Contains(after.accounts, o.ARN) {
				return fmt.Sprintf("account %s is missing", o.ARN)
			}
			continue
		}
		if got := after.resolve(o.ARN); len(got) != 1 || !same(got[0], o.Entry) {
			return fmt.Sprintf("%s is mapped to %+v, planned was %+v", o.ARN, got, o.Entry)
		}
	}
	excused := map[string]bool{}
	for _, c := range planned.Conflicts {
		excused[strings.ToLower(c.Ours.ARN)] = true
	}
	for _, e := range planned.NoRoom {
		excused[strings.ToLower(e.ARN)] = true
	}
	for _, l := range planned.Left {
		excused[strings.ToLower(l.Entry.ARN)] = true
	}
	touched := map[string]bool{}
	for _, c := range planned.Changes {
		touched[strings.ToLower(c.Entry.ARN)] = true
	}
	for _, s := range req.Sources {
		for _, e := range s.Entries {
			if e.Kind == awsauth.Account || excused[strings.ToLower(e.ARN)] {
				continue
			}
			got := after.resolve(e.ARN)
			if len(got) == 0 {
				return fmt.Sprintf("%s is not mapped", e.ARN)
			}
			// Of foreign users in several cases any may answer.
			if len(got) == 1 && slices.ContainsFunc(e.Groups, func(g string) bool { return !slices.Contains(got[0].Groups, g) }) {
				return fmt.Sprintf("%s is mapped to %+v without %q", e.ARN, got, e.Groups)
			}
		}
	}
	for _, e := range before.entries() {
		if e.Kind == awsauth.Account || touched[strings.ToLower(e.ARN)] {
			continue
		}
		was, is := before.resolve(e.ARN), after.resolve(e.ARN)
		if len(was) != len(is) {
			return fmt.Sprintf("%s was mapped to %+v and is to %+v", e.ARN, was, is)
		}
		for _, w := range was {
			if !slices.ContainsFunc(is, func(i awsauth.Entry) bool { return same(i, w) && i.ARN == w.ARN }) {
				return fmt.Sprintf("%s was mapped to %+v and is to %+v", e.ARN, was, is)
			}
		}
	}
	return ""
}

// leftOut says what of a plan is left out without a good reason, or "". An
// unmanaged entry that cannot be edited is a conflict, no more.
func leftOut(p *configmap.Plan) string {
	for _, l := range p.Left {
		if l.Op != plan.Adopt || !slices.ContainsFunc(p.Conflicts, func(c plan.Conflict) bool { return c.Ours.ARN == l.Entry.ARN }) {
			return fmt.Sprintf("left out: %+v", l)
		}
	}
	return ""
}

func same(a, b awsauth.Entry) bool {
	set := func(groups []string) []string {
		s := slices.Sorted(slices.Values(groups))
		return slices.Compact(s)
	}
	return a.Username == b.Username && slices.Equal(set(a.Groups), set(b.Groups))
}

// request draws entries, partly of ARNs that the document has.
func request(r *rand.Rand, doc *awsauth.Document) plan.Snapshot {
	known := doc.Entries()
	texts := []string{"system:masters", "system:node:{{EC2PrivateDNSName}}", "{{SessionName}}", "yes", "1", "a # b", "é", "\"", "it's", "- x", "tail:", "\u0090", "null"}
	req := plan.Snapshot{Now: now, AdoptConflicts: r.IntN(3) == 0}
	for _, name := range []string{"file", "node"} {
		s := plan.Source{Name: name}
		for range r.IntN(5) {
			e := awsauth.Entry{Kind: []awsauth.Kind{awsauth.Role, awsauth.User, awsauth.Account}[r.IntN(3)]}
			if k := r.IntN(len(known) + 1); k < len(known) && known[k].ARN != "" && r.IntN(2) == 0 {
				e = known[k].Entry
				e.Groups = slices.Clone(e.Groups)
			} else if e.Kind == awsauth.Account {
				e.ARN = fmt.Sprintf("%012d", r.IntN(3))
			} else {
				e.ARN = fmt.Sprintf("arn:aws:iam::111122223333:%s/n%d", e.Kind, r.IntN(5))
			}
			if e.Kind != awsauth.Account {
				e.Username = texts[r.IntN(len(texts))]
				for range r.IntN(3) {
					e.Groups = append(e.Groups, texts[r.IntN(len(texts))])
				}
			}
			s.Entries = append(s.Entries, e)
		}
		req.Sources = append(req.Sources, s)
	}
	return req
}

// FuzzJudge reads any text with both, and plans on what can be read.
func FuzzJudge(f *testing.F) {
	for _, data := range corpus(f) {
		f.Add(data["mapRoles"], data["mapUsers"], data["mapAccounts"], uint64(1))
	}
	f.Fuzz(func(t *testing.T, roles, users, accounts string, seed uint64) {
		data := map[string]string{"mapRoles": roles, "mapUsers": users, "mapAccounts": accounts}
		if why := differs(data); why != "" {
			t.Fatal(why)
		}
		doc, err := awsauth.Parse(data)
		if err != nil {
			return
		}
		req := request(rand.New(rand.NewPCG(seed, 2)), doc)
		planned := configmap.MakePlan(doc, 0, req)
		if why := misjudged(req, planned); why != "" {
			t.Fatal(why)
		}
	})
}
