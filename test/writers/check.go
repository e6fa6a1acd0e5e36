package writers

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// A Version is aws-auth as one write left it.
type Version struct {
	*corev1.ConfigMap
	Seen time.Time // when the record got it
	Edit *Edit     // what made it; nil where rolecall did
	Base *string   // of rolecall's: the resourceVersion that its request named; nil where that is unknown
}

// A Grant is what an entry lets somebody in as.
type Grant struct {
	Username string
	Groups   []string // sorted
}

// Rules say what rolecall was asked for. ARNs are those of entries that only
// rolecall makes, and that tools at most remove, strip or shadow.
type Rules struct {
	Asked  map[string][]Grant // by ARN, everything that any source ever asked for
	Always []string           // ARNs that a source asks for all the time, once they have been mapped; live nodes' roles among them
	Nodes  []string           // ARNs of the roles of live nodes, once they have been mapped
	Final  map[string]Grant   // what is asked for at the end
}

// Kinds of what can be wrong with a version.
const (
	Unexplained = "unexplained" // a tool's version is not what its edit declared
	Blind       = "blind write" // rolecall wrote without, or not on top of, the version before
	Lost        = "lost"        // a foreign edit's element or text is gone or changed by rolecall
	Comment     = "comment"     // a comment is gone by rolecall, or came by it
	Stranger    = "stranger"    // rolecall wrote what no source ever asked for, or without its mark
	Disowned    = "disowned"    // rolecall left an entry of its own without a mark, as if it were foreign
	Doubled     = "doubled"     // rolecall left an ARN of ours in force twice
	Lockout     = "lockout"     // rolecall left the role of a live node out, or weakened it
	Missing     = "missing"     // rolecall left out what sources ask for all the time
	LeftOver    = "left over"   // at the end there is an entry of ours that no source asks for
	Recreated   = "recreated"   // it is another object than before
)

// A Violation is something wrong with a version.
type Violation struct {
	Kind            string
	ResourceVersion string
	Detail          string
	Edits           []string // that are lost
}

func (v Violation) String() string {
	return fmt.Sprintf("resourceVersion %s: %s: %s", v.ResourceVersion, v.Kind, v.Detail)
}

// Away is a span in which an entry that is always asked for was not there.
type Away struct {
	ARN   string
	From  time.Time
	Took  time.Duration
	Edits int // of tools in that time
}

// A Report is what a history comes to.
type Report struct {
	Violations []Violation
	Versions   int
	Ours       int // versions that rolecall wrote
	Edits      int // versions that tools wrote
	Standing   int // edits that something of is there at the end
	Ended      int // edits that others ended by effects they declared, or that left nothing to last
	Lost       int // edits that rolecall ended
	Removals   int // times that a tool took away an entry that is always asked for
	Away       []Away
}

// Of are the violations of one kind.
func (r *Report) Of(kind string) []Violation {
	return slices.DeleteFunc(slices.Clone(r.Violations), func(v Violation) bool { return v.Kind != kind })
}

// Longest is the longest time that an entry was away.
func (r *Report) Longest() Away {
	if len(r.Away) == 0 {
		return Away{}
	}
	return slices.MaxFunc(r.Away, func(a, b Away) int { return cmp.Compare(a.Took, b.Took) })
}

// checker is the walk through a history.
type checker struct {
	rules    Rules
	report   *Report
	rv       string          // of the version that is looked at
	mapped   map[string]bool // ARNs that rolecall has mapped once
	disowned map[string]bool // ARNs
	edits    map[string]bool // ids of all so far
	lost     map[string]bool // and of those that are lost
	away     map[string]*Away
}

// Check holds a history against the model. The first version is where it
// starts from: in it, what has our mark and was asked for is ours, and so are
// accounts that were asked for; all else is foreign.
func Check(history []Version, rules Rules) (*Report, error) {
	c := &checker{
		rules: rules, report: &Report{Versions: len(history)},
		mapped: map[string]bool{}, disowned: map[string]bool{}, edits: map[string]bool{}, lost: map[string]bool{}, away: map[string]*Away{},
	}
	var model *state
	for i, v := range history {
		found, err := readState(v.ConfigMap)
		if err != nil {
			return nil, fmt.Errorf("read resourceVersion %s: %w", v.ResourceVersion, err)
		}
		c.rv = v.ResourceVersion
		if i == 0 {
			model = c.first(found)
			continue
		}
		before := history[i-1]
		if v.UID != before.UID {
			c.violated(Recreated, "uid %s became %s", before.UID, v.UID)
		}
		if v.Edit != nil {
			model = c.tool(model, found, v.Edit, before.ResourceVersion)
		} else {
			model = c.rolecall(model, found, v.Base, before.ResourceVersion)
		}
		c.presence(model, v)
	}
	if model != nil {
		c.end(model)
	}
	return c.report, nil
}

func (c *checker) violated(kind, format string, args ...any) *Violation {
	c.report.Violations = append(c.report.Violations, Violation{Kind: kind, ResourceVersion: c.rv, Detail: fmt.Sprintf(format, args...)})
	return &c.report.Violations[len(c.report.Violations)-1]
}

func (c *checker) first(found *state) *state {
	for _, key := range lists {
		for i := range found.lists[key] {
			a := &found.lists[key][i]
			if e, err := a.read(); err == nil && !a.isComment() && (e.Mark == "rolecall" || key == mapAccounts) {
				_, a.Ours = c.rules.Asked[e.ARN]
			}
		}
	}
	return found
}

// tool checks a version of a tool's: the one before it with the declared effects.
func (c *checker) tool(model, found *state, edit *Edit, before string) *state {
	c.report.Edits++
	c.edits[edit.ID] = true
	if edit.Base != "" && edit.Base != before {
		c.violated(Unexplained, "%s wrote on top of resourceVersion %s, and before it came %s", edit.ID, edit.Base, before)
	}
	want := model.clone()
	for _, e := range edit.Effects {
		e.apply(want, edit.ID)
	}
	if diff := want.differs(found); diff != "" {
		c.violated(Unexplained, "%s declared %+v, which is not what it did:\n%s", edit.ID, edit.Effects, diff)
		return c.guess(model, found)
	}
	return want
}

// guess tells ours from foreign in a version that the model does not explain,
// so that the walk can go on: ours are the ARNs that sources ask for.
func (c *checker) guess(model, found *state) *state {
	known := map[string]Atom{}
	for _, key := range lists {
		for _, a := range model.lists[key] {
			known[key+a.Text] = a
		}
	}
	for _, key := range lists {
		for i := range found.lists[key] {
			a := &found.lists[key][i]
			if was, ok := known[key+a.Text]; ok {
				*a = was
			} else {
				_, a.Ours = c.rules.Asked[a.arn()]
			}
		}
	}
	for p, v := range found.pairs {
		if was := model.pairs[p]; was.Text == v.Text {
			found.pairs[p] = was
		}
	}
	return found
}

// rolecall checks a version of rolecall's, and returns it with every part told
// ours from foreign.
func (c *checker) rolecall(model, found *state, base *string, before string) *state {
	c.report.Ours++
	if base != nil && *base != before {
		c.violated(Blind, "the request named resourceVersion %q, and before it came %s", *base, before)
	}
	for _, p := range slices.SortedFunc(maps.Keys(model.pairs), func(a, b pair) int { return cmp.Compare(a.Where+a.Key, b.Where+b.Key) }) {
		was, is := model.pairs[p], found.pairs[p]
		if was.Text != is.Text {
			c.loses(was.By, "%s %q was %q and is %q", p.Where, p.Key, was.Text, is.Text)
			continue
		}
		found.pairs[p] = was
	}
	for p := range found.pairs {
		if _, ok := model.pairs[p]; !ok {
			c.violated(Stranger, "%s %q came by rolecall", p.Where, p.Key)
		}
	}
	for _, key := range lists {
		c.list(key, model.lists[key], found.lists[key])
	}
	c.answers(model, found)
	return found
}

// loses notes a violation that ends an edit.
func (c *checker) loses(edit, format string, args ...any) {
	v := c.violated(Lost, format, args...)
	if edit != "" {
		v.Edits = []string{edit}
		c.lost[edit] = true
	}
}

// list checks one list of a version of rolecall's: the foreign atoms are there,
// in their order, byte for byte. What stands between them must be ours. It marks
// in found what is whose.
func (c *checker) list(key string, was, found []Atom) {
	var foreign []Atom
	ours, spare := map[string]bool{}, map[string]int{}
	for _, a := range was {
		if !a.Ours {
			foreign = append(foreign, a)
			continue
		}
		ours[a.Text] = true
		for text, n := range comments([]Atom{a}) {
			spare[text] += n
		}
	}
	for i := range found {
		a := &found[i]
		n := slices.IndexFunc(foreign, func(f Atom) bool { return f.Text == a.Text })
		// Where some are gone, those behind them still count as found; but of two
		// that are the same, one of ours and a foreign one, each has its own place.
		if n == 0 || n > 0 && !ours[a.Text] {
			for _, gone := range foreign[:n] {
				c.loses(gone.By, "%s has no more, in its place:\n%s", key, gone.Text)
			}
			*a, foreign = foreign[n], foreign[n+1:]
			continue
		}
		if a.isComment() {
			if spare[a.Text] == 0 {
				c.violated(Comment, "%s got %q by rolecall", key, a.Text)
			}
			spare[a.Text]--
			continue
		}
		a.Ours = true
		c.wrote(key, *a, ours[a.Text])
	}
	for _, gone := range foreign {
		c.loses(gone.By, "%s has no more, in its place:\n%s", key, gone.Text)
	}
	before, after := comments(was), comments(found)
	if !maps.Equal(before, after) {
		for text, n := range before {
			if after[text] < n {
				c.violated(Comment, "%s lost %q", key, text)
			}
		}
	}
}

// wrote checks an element that only rolecall can have written.
func (c *checker) wrote(key string, a Atom, unchanged bool) {
	e, err := a.read()
	if err != nil {
		c.violated(Stranger, "%s: %v", key, err)
		return
	}
	grants, asked := c.rules.Asked[e.ARN]
	switch {
	case !asked:
		c.violated(Stranger, "%s has an element that nobody asked for:\n%s", key, a.Text)
	case key == mapAccounts:
	case e.Mark != "rolecall" && unchanged:
		if !c.disowned[e.ARN] { // said once
			c.violated(Disowned, "%s:\n%s", key, a.Text)
		}
		c.disowned[e.ARN] = true
	case e.Mark != "rolecall":
		c.violated(Stranger, "%s has an element of ours without its mark:\n%s", key, a.Text)
	case !slices.ContainsFunc(grants, e.sameGrant):
		c.violated(Stranger, "%s grants what no source asked for:\n%s", key, a.Text)
	}
}

// answers checks what a version of rolecall's lets in.
func (c *checker) answers(before, found *state) {
	seen := map[string]bool{}
	for _, key := range lists {
		for _, a := range found.lists[key] {
			arn := a.arn()
			if _, asked := c.rules.Asked[arn]; !asked {
				continue
			}
			if seen[arn] {
				c.violated(Doubled, "%s", arn)
			}
			seen[arn] = true
			if a.Ours { // a foreign entry says nothing of what sources ask for by now
				c.mapped[arn] = true
			}
		}
	}
	for _, arn := range c.rules.Always {
		if c.mapped[arn] && !seen[arn] {
			kind := Missing
			if slices.Contains(c.rules.Nodes, arn) {
				kind = Lockout
			}
			_, was := before.resolve(arn)
			c.violated(kind, "%s, in force before: %t", arn, was)
		}
	}
	for _, arn := range c.rules.Nodes {
		e, ok := found.resolve(arn)
		if !ok {
			continue // it is missing, and that is said
		}
		for _, g := range c.rules.Asked[arn] {
			if e.Username != g.Username || !subset(g.Groups, e.Groups) {
				c.violated(Lockout, "%s is %q %q, want %q %q", arn, e.Username, e.Groups, g.Username, g.Groups)
			}
		}
	}
}

func subset(sub, set []string) bool {
	return !slices.ContainsFunc(sub, func(s string) bool { return !slices.Contains(set, s) })
}

// presence measures for how long entries are away that are always asked for.
func (c *checker) presence(model *state, v Version) {
	for _, arn := range c.rules.Always {
		if !c.mapped[arn] {
			continue
		}
		away := c.away[arn]
		_, there := model.resolve(arn)
		switch {
		case !there && away == nil:
			c.report.Removals++
			c.away[arn] = &Away{ARN: arn, From: v.Seen}
		case !there && v.Edit != nil:
			away.Edits++
		case there && away != nil:
			away.Took = v.Seen.Sub(away.From)
			c.report.Away = append(c.report.Away, *away)
			delete(c.away, arn)
		}
	}
}

// end checks the last version and counts.
func (c *checker) end(model *state) {
	for _, key := range lists {
		for _, a := range model.lists[key] {
			if !a.Ours {
				continue
			}
			if _, asked := c.rules.Final[a.arn()]; !asked {
				c.violated(LeftOver, "%s:\n%s", key, a.Text)
			}
			if e, err := a.read(); key != mapAccounts && err == nil && e.Mark != "rolecall" && !c.disowned[e.ARN] {
				c.violated(Disowned, "at the end, %s:\n%s", key, a.Text)
			}
		}
	}
	for _, arn := range slices.Sorted(maps.Keys(c.rules.Final)) {
		g := c.rules.Final[arn]
		e, ok := model.resolve(arn)
		if !ok || e.Username != g.Username || !subset(g.Groups, e.Groups) {
			c.violated(Missing, "at the end %s is %q %q (there: %t), want %q %q", arn, e.Username, e.Groups, ok, g.Username, g.Groups)
		}
	}
	standing := model.standing()
	for edit := range c.edits {
		switch {
		case c.lost[edit]:
			c.report.Lost++
		case standing[edit]:
			c.report.Standing++
		default:
			c.report.Ended++
		}
	}
}

// String is the report in a few lines.
func (r *Report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d versions: %d foreign edits and %d writes by rolecall\n", r.Versions, r.Edits, r.Ours)
	fmt.Fprintf(&b, "foreign edits: %d stand at the end, %d were ended by others as these declared, %d lost\n", r.Standing, r.Ended, r.Lost)
	longest := r.Longest()
	fmt.Fprintf(&b, "entries of ours taken away: %d times; longest until one was back: %s, with %d foreign edits meanwhile (%s)\n",
		r.Removals, longest.Took.Round(time.Millisecond), longest.Edits, longest.ARN)
	if len(r.Away) > 0 {
		took := make([]time.Duration, len(r.Away))
		for i, a := range r.Away {
			took[i] = a.Took
		}
		slices.Sort(took)
		fmt.Fprintf(&b, "time away: median %s, 90 %% within %s\n",
			took[len(took)/2].Round(time.Millisecond), took[len(took)*9/10].Round(time.Millisecond))
	}
	kinds := map[string]int{}
	for _, v := range r.Violations {
		kinds[v.Kind]++
	}
	fmt.Fprintf(&b, "violations: %d %v\n", len(r.Violations), kinds)
	return b.String()
}
