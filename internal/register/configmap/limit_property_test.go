package configmap

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/internal/plan"
)

// TestNoMoreLosesAccessThanTheLimit lives through hours of random changes of what is
// asked, and of aws-auth itself. The authenticator's rules alone say who had access
// before each write and after it.
func TestNoMoreLosesAccessThanTheLimit(t *testing.T) {
	sees := map[string]int{}
	for seed := range *seeds * 6 {
		c := newChurn(t, seed)
		for range 12 {
			c.step(sees)
		}
	}
	t.Logf("%v", sees)
	for what, least := range map[string]int{"lost": 300, "pending": 100, "held by the hour": 10, "required": 300, "approved": 10, "last admins": 2} {
		if sees[what] < least*int(*seeds)/6 {
			t.Errorf("%q was seen %d times only: the test sees too little", what, sees[what])
		}
	}
}

// A churn is a cluster whose people come and go.
type churn struct {
	t       *testing.T
	r       *rand.Rand
	seed    uint64
	doc     *awsauth.Document
	state   *plan.State
	sources []plan.Source
	percent int
	at      time.Time
	lost    []lossOf // without approval
}

// lossOf is a principal that lost access.
type lossOf struct {
	at    time.Time
	kinds []string // of the sources that asked for it; "" for all
	stays []string // those that ask for it still
}

func newChurn(t *testing.T, seed uint64) *churn {
	c := &churn{t: t, r: rand.New(rand.NewPCG(seed, 21)), seed: seed, at: now}
	c.percent = []int{0, 10, 30, 50, 80}[c.r.IntN(5)]
	c.doc, c.state = parse(t, map[string]string{"mapRoles": unmarked(role("theirs", "theirs", "view"))}), &plan.State{}
	c.sources = []plan.Source{{Name: "file"}}
	for i := range 8 {
		c.sources = append(c.sources, from(fmt.Sprintf("permission-set/s%d", i), role(fmt.Sprintf("AWSReservedSSO_s%d_0123456789abcdef", i), fmt.Sprintf("s%d", i), c.groups()...)))
	}
	for i := range 4 {
		c.sources = append(c.sources, plan.Source{Name: fmt.Sprintf("group/g%d", i)})
	}
	c.sources = append(c.sources, plan.Source{Name: "node", Nodes: true})
	for i := range c.sources {
		for range c.r.IntN(14) {
			c.add(&c.sources[i])
		}
	}
	p := makePlan(c.doc, c.state, plan.Snapshot{Sources: c.sources, Now: c.at})
	c.doc, c.state = p.After, settledOf(p, c.state)
	return c
}

func (c *churn) groups() []string {
	all := []string{"view", "edit", "dev", "ops", awsauth.Masters}
	return all[c.r.IntN(len(all)):][:1]
}

func (c *churn) add(s *plan.Source) {
	name := fmt.Sprintf("p%02d", c.r.IntN(50))
	if s.Nodes {
		s.Entries = append(s.Entries, node("node-"+name))
		return
	}
	s.Entries = append(s.Entries, user(name, name, c.groups()...))
}

// change changes what is asked.
func (c *churn) change() {
	for range 1 + c.r.IntN(4) {
		if len(c.sources) == 0 {
			return
		}
		i := c.r.IntN(len(c.sources))
		s := &c.sources[i]
		s.Entries = slices.Clone(s.Entries)
		switch n := c.r.IntN(10); {
		case n == 0:
			c.sources = slices.Delete(slices.Clone(c.sources), i, i+1)
		case n == 1:
			s.Entries = nil
		case n == 2: // the section of the kind goes
			kind := plan.KindOf(s.Name)
			c.sources = slices.DeleteFunc(slices.Clone(c.sources), func(s plan.Source) bool { return plan.KindOf(s.Name) == kind })
		case n == 3:
			s.Failed = !s.Failed
		case n == 4 && !s.Nodes:
			for k := range s.Entries {
				s.Entries[k].Groups = c.groups()
			}
		case n == 5 && !s.Nodes:
			for k := range s.Entries {
				if c.r.IntN(2) == 0 {
					s.Entries[k].Username += "x"
				}
			}
		case n <= 7 && len(s.Entries) > 0:
			s.Entries = s.Entries[:len(s.Entries)-1]
		default:
			for range c.r.IntN(5) {
				c.add(s)
			}
		}
	}
}

// disturb has somebody else edit aws-auth.
func (c *churn) disturb() {
	switch c.r.IntN(8) {
	case 0:
		c.doc = stripMarks(c.t, c.doc)
	case 1:
		gone := map[awsauth.Kind]*awsauth.Edit{awsauth.User: {Remove: map[int]bool{0: true}}}
		if doc, err := c.doc.Edit(gone); err == nil && len(entriesOf(c.doc, awsauth.User)) > 0 {
			c.doc = doc
		}
	case 2:
		data := c.doc.Data()
		data["mapUsers"] = unmarked(user(fmt.Sprintf("p%02d", c.r.IntN(50)), "theirs", c.groups()...)) + data["mapUsers"]
		if doc, err := awsauth.Parse(data); err == nil {
			c.doc = doc
		}
	}
}

func (c *churn) step(sees map[string]int) {
	c.t.Helper()
	c.at = c.at.Add(time.Duration(1+c.r.IntN(40)) * time.Minute)
	c.change()
	c.disturb()
	req := plan.Snapshot{Sources: c.sources, Limit: limit(c.percent), Now: c.at, AdoptConflicts: c.r.IntN(4) == 0}
	req.Limit.Hour = inTheHour(c.state, c.at)
	for i := range c.sources {
		if s := &c.sources[i]; s.Nodes {
			for _, e := range s.Entries {
				req.Required = append(req.Required, e.ARN)
			}
		}
	}
	p := makePlan(c.doc, c.state, req)
	approved := map[string]bool{}
	if len(p.Removals) > 0 && c.r.IntN(6) == 0 {
		sees["approved"]++
		req.Limit.Approved = []string{p.Removals[0].ID}
		for _, change := range p.Removals[0].Changes {
			approved[principal(change.Entry)] = true
		}
		p = makePlan(c.doc, c.state, req)
	}
	c.judge(req, p, approved, sees)
	c.doc, c.state = p.After, settledOf(p, c.state)
}

// judge holds a plan against its promises.
func (c *churn) judge(req plan.Snapshot, p *Plan, approved map[string]bool, sees map[string]int) {
	c.t.Helper()
	fail := func(format string, args ...any) {
		c.t.Helper()
		c.t.Fatalf("seed %d at %s: %s\nlimit %+v\nchanges %+v\npending %q\nstate %q\nBEFORE\n%s\nAFTER\n%s", c.seed, c.at.Format("15:04"), fmt.Sprintf(format, args...),
			*req.Limit, p.Changes, pendingOf(p), lines(c.state), dump(c.doc), dump(p.After))
	}
	if why := leftOut(p); why != "" {
		fail("%s", why)
	}
	for _, check := range []func(*awsauth.Document, *plan.State, plan.Snapshot, *Plan) string{brokenKeys, brokenForeign, brokenComments, brokenLedger} {
		if why := check(c.doc, c.state, req, p); why != "" {
			fail("%s", why)
		}
	}
	if why := brokenRepeat(c.doc, c.state, req, p); why != "" && !grows(c.doc, c.state, p) && len(approved) == 0 {
		fail("%s", why)
	}
	if admins(c.doc) > 0 && admins(p.After) == 0 && len(approved) == 0 {
		fail("nobody is left who can log in as administrator")
	}
	for _, arn := range req.Required {
		sees["required"]++
		if _, ok := resolve(p.After, arn); !ok {
			fail("%s, the role of a live node, is not mapped", arn)
		}
	}
	c.judgeAdditions(p, fail)
	c.judgeLosses(p, approved, sees, fail)
	for _, r := range p.Removals {
		sees["pending"]++
		if r.Source == awsauth.Masters {
			sees["last admins"]++
		}
		if len(r.Changes) <= plan.Floor && r.Source != awsauth.Masters && len(req.Limit.Hour) > 0 {
			sees["held by the hour"]++
		}
	}
}

// judgeAdditions finds every group that is asked for: additions never wait.
func (c *churn) judgeAdditions(p *Plan, fail func(string, ...any)) {
	c.t.Helper()
	excused := map[string]bool{}
	for _, conflict := range p.Conflicts {
		excused[principal(conflict.Ours)] = true
	}
	is := answers(p.After)
	for _, s := range c.sources {
		for _, e := range s.Entries {
			got, ok := is[principal(e)]
			if !excused[principal(e)] && (!ok || !sameSet(slices.Concat(got.Groups, e.Groups), got.Groups)) {
				fail("%s asks for %s, which is mapped to %+v", s.Name, show(e), got)
			}
		}
	}
}

// answers are the entries that answer for each principal: roles before users, the
// last of equal ones.
func answers(doc *awsauth.Document) map[string]awsauth.Entry {
	out := map[string]awsauth.Entry{}
	for _, kind := range []awsauth.Kind{awsauth.User, awsauth.Role} {
		for _, l := range entriesOf(doc, kind) {
			if l.Dropped == "" {
				out[principal(l.Entry)] = l.Entry
			}
		}
	}
	return out
}

// judgeLosses counts who loses access by the write.
func (c *churn) judgeLosses(p *Plan, approved map[string]bool, sees map[string]int, fail func(string, ...any)) {
	c.t.Helper()
	kinds := map[string][]string{}
	managed := map[string]bool{}
	for _, o := range c.state.Owned {
		k := principal(o.Entry)
		managed[k] = managed[k] || !o.Pending
		for _, name := range o.Sources() {
			if !slices.Contains(kinds[k], plan.KindOf(name)) {
				kinds[k] = append(kinds[k], plan.KindOf(name))
			}
		}
	}
	for _, l := range c.doc.Entries() {
		managed[principal(l.Entry)] = managed[principal(l.Entry)] || l.SyncedBy == awsauth.Mark
	}
	stays := map[string][]string{}
	for _, o := range p.Managed {
		k := principal(o.Entry)
		stays[k] = []string{""}
		for _, name := range o.Sources() {
			stays[k] = append(stays[k], plan.KindOf(name))
		}
	}
	base := map[string]int{} // managed principals by kind of source, all under ""
	now := map[string]bool{} // kinds that lose now
	before, after := answers(c.doc), answers(p.After)
	for k, was := range before {
		of := append([]string{""}, kinds[k]...)
		if managed[k] {
			for _, kind := range of {
				base[kind]++
			}
		}
		is := after[k]
		lost := is.Username != was.Username || !sameSet(slices.Concat(is.Groups, was.Groups), is.Groups)
		if lost || c.r.IntN(40) == 0 { // the library says the same
			c.agrees(was, is, lost, p, fail)
		}
		if !lost || approved[k] {
			continue
		}
		sees["lost"]++
		c.lost = append(c.lost, lossOf{c.at, of, stays[k]})
		for _, kind := range of {
			now[kind] = true
		}
	}
	hour := map[string]int{}
	for _, l := range c.lost {
		if c.at.Sub(l.at) >= time.Hour {
			continue
		}
		for _, kind := range l.kinds {
			hour[kind]++
			if !l.at.Equal(c.at) && !slices.Contains(l.stays, kind) {
				base[kind]++
			}
		}
	}
	for kind := range now {
		if most := max(5, c.percent*base[kind]/100); hour[kind] > most {
			fail("%d of %d principals of %q lost access within an hour, %d may", hour[kind], base[kind], kind, most)
		}
	}
}

// agrees asks the authenticator's rules whether a principal loses access.
func (c *churn) agrees(before, after awsauth.Entry, lost bool, p *Plan, fail func(string, ...any)) {
	c.t.Helper()
	was, err := c.doc.Resolve(before.ARN)
	if err != nil {
		fail("%v", err)
	}
	is, err := p.After.Resolve(before.ARN)
	if err != nil {
		fail("%v", err)
	}
	loses := was.Allowed() && (!is.Allowed() || was.Username != is.Username || !sameSet(slices.Concat(is.Groups, was.Groups), is.Groups))
	if loses != lost {
		fail("%s was mapped to %+v and is to %+v: it loses access is %t, by awsauth %t", before.ARN, before, after, lost, loses)
	}
}

// admins counts those who are let in as administrators and are no nodes.
func admins(doc *awsauth.Document) int {
	n := 0
	for _, e := range answers(doc) {
		if slices.Contains(e.Groups, awsauth.Masters) && !strings.Contains(e.Username, "EC2PrivateDNSName") {
			n++
		}
	}
	return n
}
