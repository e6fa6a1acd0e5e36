package configmap

import (
	"encoding/json"
	"flag"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/internal/plan"
	"github.com/rolecall/rolecall/test/corpus"
)

var (
	update  = flag.Bool("update", false, "write what comes of the archives of testdata anew")
	seeds   = flag.Uint64("seeds", 5, "how many lives each document of the corpus has")
	mangled = flag.Uint64("mangled", 2000, "how many mangled documents are planned on")
)

// now is when every plan of the tests is made.
var now = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// readCorpus reads the documents that the tests share with awsauth.
func readCorpus(tb testing.TB) map[string]map[string]string {
	tb.Helper()
	return corpus.Read(tb, "../../../awsauth/testdata/corpus")
}

func role(name, username string, groups ...string) awsauth.Entry {
	return awsauth.Entry{Kind: awsauth.Role, ARN: "arn:aws:iam::111122223333:role/" + name, Username: username, Groups: groups}
}

func user(name, username string, groups ...string) awsauth.Entry {
	return awsauth.Entry{Kind: awsauth.User, ARN: "arn:aws:iam::111122223333:user/" + name, Username: username, Groups: groups}
}

func account(id string) awsauth.Entry { return awsauth.Entry{Kind: awsauth.Account, ARN: id} }

// from is a source that answered.
func from(name string, entries ...awsauth.Entry) plan.Source {
	return plan.Source{Name: name, Entries: entries}
}

// down is the source group/x, which failed.
func down() plan.Source { return plan.Source{Name: "group/x", Failed: true} }

// owned is an entry of the ledger for which the sources ask just what it says.
func owned(e awsauth.Entry, sources ...string) plan.Owned {
	o := plan.Owned{Entry: e, Since: now.AddDate(0, -1, 0)}
	for _, s := range sources {
		o.Claims = append(o.Claims, plan.Claim{Source: s, Username: e.Username, Groups: e.Groups})
	}
	return o
}

func pending(o plan.Owned) plan.Owned {
	o.Pending = true
	return o
}

func marked(entries ...awsauth.Entry) string   { return list(true, entries...) }
func unmarked(entries ...awsauth.Entry) string { return list(false, entries...) }

// show is an entry in short, for tables.
func show(e awsauth.Entry) string {
	name := e.ARN[strings.LastIndexByte(e.ARN, ':')+1:]
	if e.Kind == awsauth.Account {
		return "account/" + name
	}
	if !strings.HasPrefix(name, string(e.Kind)) {
		name = string(e.Kind) + " " + name
	}
	return fmt.Sprintf("%s %s%v", name, e.Username, e.Groups)
}

// resolution is what the authenticator would answer for every ARN of the
// document, and its accounts.
func resolution(doc *awsauth.Document) []string {
	var out []string
	for _, l := range doc.Entries() {
		e := l.Entry
		if l.Dropped != "" {
			continue
		}
		if e.Kind != awsauth.Account {
			e, _ = resolve(doc, e.ARN)
		}
		if s := show(e); !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	slices.Sort(out)
	return out
}

// list writes entries as a text of one key: those that are managed with the mark.
func list(managed bool, entries ...awsauth.Entry) string {
	var out strings.Builder
	for _, e := range entries {
		if e.Kind == awsauth.Account {
			fmt.Fprintf(&out, "- %q\n", e.ARN)
			continue
		}
		fmt.Fprintf(&out, "- %sarn: %s\n  username: %s\n", e.Kind, scalar(e.ARN), scalar(e.Username))
		if len(e.Groups) > 0 {
			out.WriteString("  groups:\n")
		}
		for _, g := range e.Groups {
			out.WriteString("  - " + scalar(g) + "\n")
		}
		if managed {
			out.WriteString("  syncedBy: rolecall\n")
		}
	}
	return out.String()
}

var plainScalar = regexp.MustCompile(`^[A-Za-z][\w:/@.-]*[\w]$|^[A-Za-z]$`)

func scalar(s string) string {
	if plainScalar.MatchString(s) && !slices.Contains([]string{"yes", "no", "on", "off", "y", "n", "null", "true", "false"}, strings.ToLower(s)) {
		return s
	}
	quoted, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return string(quoted)
}

// stateOf is a state in which every entry is asked for by the source.
func stateOf(source string, entries ...awsauth.Entry) *plan.State {
	s := &plan.State{Config: "1"}
	for _, e := range entries {
		s.Owned = append(s.Owned, owned(e, source))
	}
	s.Sort()
	return s
}

func limit(percent int, approved ...string) *plan.Limit {
	return &plan.Limit{Percent: percent, Approved: approved}
}

func parse(tb testing.TB, data map[string]string) *awsauth.Document {
	tb.Helper()
	doc, err := awsauth.Parse(data)
	if err != nil {
		tb.Fatal(err)
	}
	return doc
}

// makePlan plans with a state; a nil one is empty.
func makePlan(doc *awsauth.Document, state *plan.State, s plan.Snapshot) *Plan {
	s.State = state
	return MakePlan(doc, 0, s)
}

// wholePlan is a plan of which nothing is left out without a good reason.
func wholePlan(tb testing.TB, doc *awsauth.Document, state *plan.State, s plan.Snapshot) *Plan {
	tb.Helper()
	p := makePlan(doc, state, s)
	if why := leftOut(p); why != "" {
		tb.Fatal(why)
	}
	return p
}

// settledOf is the state after the plan was carried out.
func settledOf(p *Plan, was *plan.State) *plan.State {
	switch {
	case p.Settled != nil:
		return p.Settled
	case p.Ahead != nil:
		return p.Ahead
	}
	return was
}

func sameAccess(a, b awsauth.Entry) bool { return a.SameAccess(b) }

func principal(e awsauth.Entry) string { return e.Principal() }
