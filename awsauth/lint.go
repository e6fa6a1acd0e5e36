package awsauth

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	yamlv3 "go.yaml.in/yaml/v3"
)

// Lint says what the authenticator makes of the data of aws-auth otherwise
// than its author can have meant, and what in it is dangerous: in the order of
// the document, so that the same data always has the same findings. Messages
// hold what stands in the document.
func Lint(data map[string]string) []Finding {
	return newLinter(data).run()
}

// Gone returns a finding for every entry of an ARN that IAM does not have any
// more. How that is known is the caller's business.
func Gone(data map[string]string, arns []string) []Finding {
	l := newLinter(data)
	gone := map[string]bool{}
	for _, arn := range arns {
		gone[key(arn)] = true
	}
	for _, kind := range []Kind{Role, User} {
		for i := range l.list(kind) {
			if m := &l.list(kind)[i]; m.inForce() && gone[key(m.ARN)] {
				l.entry(kind, i, "arn", RuleGone, "").Write = "no such entry: rolecall remove " + m.ARN
			}
		}
	}
	sortFindings(l.found)
	return l.found
}

type linter struct {
	data    map[string]string
	broken  map[Kind]*ParseError
	at      map[Kind]*places
	found   []Finding
	layouts map[Kind]*layout   // made when asked for
	alive   map[string][]place // the entries that let somebody in, by their ARN's key; made when asked for
	comers  map[string][]place // those whose ARN would have to lose its path or session, by the role's
	reading
}

func newLinter(data map[string]string) *linter {
	l := &linter{data: data, broken: map[Kind]*ParseError{}, at: map[Kind]*places{}}
	var err error
	l.reading, err = readAll(data)
	for _, p := range ParseErrors(err) {
		for _, kind := range []Kind{Role, User, Account} {
			if kind.Key() == p.Key {
				l.broken[kind] = p
			}
		}
	}
	for _, kind := range []Kind{Role, User, Account} {
		l.at[kind] = placesOf(kind, data[kind.Key()], len(l.list(kind)))
	}
	return l
}

func (l *linter) run() []Finding {
	for _, kind := range []Kind{Role, User, Account} {
		if p := l.broken[kind]; p != nil {
			l.unreadable(kind, p)
			continue
		}
		l.unreadDocument(kind)
		l.misread(kind)
		if kind == Account {
			l.accountIDs()
			continue
		}
		for i := range l.list(kind) {
			l.mapping(kind, i)
		}
		l.doubles(kind)
	}
	l.acrossLists()
	l.keys()
	l.masters()
	l.size()
	sortFindings(l.found)
	for i := range l.found {
		l.describeFix(&l.found[i])
	}
	return l.found
}

// add appends a finding with what its rule says.
func (l *linter) add(rule RuleID, key, message string) *Finding {
	r := ruleOf(rule)
	if message == "" {
		message = r.Title
	}
	l.found = append(l.found, Finding{Rule: r.ID, Severity: r.Severity, Key: key, Message: message, Consequence: r.Consequence, Write: r.Write, index: -1})
	return &l.found[len(l.found)-1]
}

// entry appends a finding on one of an entry's fields.
func (l *linter) entry(kind Kind, i int, what string, rule RuleID, message string) *Finding {
	f := l.add(rule, kind.Key(), message)
	f.ARN, f.index = l.list(kind)[i].ARN, i
	if what == "" {
		f.Line, f.Column = l.at[kind].at(i)
	} else {
		f.Line, f.Column = l.at[kind].of(i, what)
	}
	return f
}

// unreadable is about a key that the authenticator cannot read.
func (l *linter) unreadable(kind Kind, p *ParseError) {
	text := l.data[kind.Key()]
	consequence := "the authenticator takes all of " + kind.Key() + " for empty: whoever stands in it is locked out"
	if kind == Role && (strings.Contains(text, nodesGroup) || strings.Contains(text, "{{EC2PrivateDNSName}}")) {
		consequence = "the authenticator takes all of " + kind.Key() + " for empty: every node is locked out"
	}
	if l.slipsOf(kind, p, consequence) {
		return
	}
	f := l.add(RuleUnreadableKey, kind.Key(), "it cannot be read: "+p.Reason)
	f.Line, f.Consequence = p.Line, consequence
	if strings.Contains(p.Reason, "aliases") {
		f.Message, f.Write = "it cannot be read here: "+p.Reason, "the entries without anchors and aliases"
	}
}

// unreadDocument is about what stands behind the first YAML document.
func (l *linter) unreadDocument(kind Kind) {
	p := l.at[kind]
	if isBlank(p.text) || p.stop >= len(p.text) {
		return
	}
	first := 0
	for line := p.lines.lineOf(p.stop) + 1; line <= p.lines.count() && first == 0; line++ {
		if body := p.lines.body(line); !isBlankLine(body) && body[0] != '#' && !strings.HasPrefix(body, "---") && !strings.HasPrefix(body, "...") {
			first = line
		}
	}
	if first == 0 {
		return
	}
	f := l.add(RuleUnreadDocument, kind.Key(), "")
	f.Line, f.Column = p.lines.lineOf(p.stop), 1
	if rest := p.text[p.stop:]; kind == Role && (strings.Contains(rest, nodesGroup) || strings.Contains(rest, "{{EC2PrivateDNSName}}")) {
		f.Consequence = "the authenticator reads the first YAML document and no other: the nodes whose roles stand behind are locked out"
	}
}

func printable(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r <= 0x20 || r > 0x7e }) < 0
}

// bareKey is the key of an ARN, without the path if it is a role's.
func bareKey(arn string) string {
	k := key(arn)
	if before, rest, ok := strings.Cut(k, ":role/"); ok {
		return before + ":role/" + rest[strings.LastIndexByte(rest, '/')+1:]
	}
	return k
}

// rawField is the JSON of one of an element's own fields; nil where it has none.
func (m *mapping) rawField(what string) json.RawMessage {
	var all map[string]json.RawMessage
	if json.Unmarshal(m.raw, &all) != nil {
		return nil
	}
	var found json.RawMessage
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if fieldKind(name, m.Kind) == what {
			found = all[name]
		}
	}
	return found
}

// plainNumber reports whether JSON is a number or a truth value, that is, a
// text that lacks its quotes.
func plainNumber(raw json.RawMessage) bool {
	return len(raw) > 0 && (raw[0] == 't' || raw[0] == 'f' || raw[0] == '-' || raw[0] >= '0' && raw[0] <= '9')
}

func stripPlaceholders(s string, names ...string) string {
	for _, p := range names {
		s = strings.ReplaceAll(s, p, "")
	}
	return s
}

// groupNode is the node of an entry's group, or nil.
func (l *linter) groupNode(kind Kind, i, group int) *yamlv3.Node {
	f, ok := l.at[kind].field(i, "groups")
	if !ok {
		return nil
	}
	n := f.value
	if n.Kind == yamlv3.AliasNode {
		n = n.Alias
	}
	if n.Kind != yamlv3.SequenceNode || group >= len(n.Content) {
		return nil
	}
	return n.Content[group]
}

// systemGroups are those that Kubernetes and EKS know
// (k8s.io/apiserver/pkg/authentication/user/user.go:71,
// serviceaccount/util.go:33; system:node-proxier: EKS, for Fargate).
var systemGroups = []string{
	Masters, nodesGroup, bootstrappersGroup, "system:node-proxier", "system:monitoring",
	"system:authenticated", "system:unauthenticated", "system:serviceaccounts",
}

// fields looks at the names of an entry's fields.
func (l *linter) fields(kind Kind, i int) {
	m := &l.list(kind)[i]
	p := l.at[kind]
	own := map[string][]pair{}
	names := map[string]bool{}
	for _, f := range p.pairs(i) {
		name := f.key.Value
		what := fieldKind(name, kind)
		if what == "" {
			what = "other " + name
		}
		own[what] = append(own[what], f)
		names[name] = true
	}
	for _, what := range slices.Sorted(maps.Keys(own)) {
		list := own[what]
		if len(list) > 1 {
			f := l.entry(kind, i, "", RuleRepeatedField, fmt.Sprintf("%s stands %d times in the entry", list[0].key.Value, len(list)))
			f.Line, f.Column = position(list[len(list)-1].key)
			f.Consequence = "the authenticator goes by one of them, the others are ignored"
			f.Write = list[0].key.Value + " once"
			f.fix = l.cutRepeated(kind, i, list, what)
			continue
		}
		right := map[string]string{"arn": string(kind) + "arn", "username": "username", "groups": "groups"}[what]
		if k := list[0].key; right != "" && k.Value != right {
			f := l.entry(kind, i, "", RuleFieldCase, fmt.Sprintf("%s is spelt %q", right, k.Value))
			f.Line, f.Column = position(k)
			f.Write = right
			f.fix = l.replaceValue(kind, i, k, right, m.Entry)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if fieldKind(name, kind) != "" || len(own["other "+name]) == 0 {
			continue
		}
		for _, right := range []string{string(kind) + "arn", "username", "groups"} {
			if right == string(kind)+"arn" && !m.inForce() {
				continue // that it has no ARN says this already
			}
			if m.rawField(fieldKind(right, kind)) == nil && (almost(name, right) || meantField[strings.ToLower(name)] == right) {
				f := l.entry(kind, i, "", RuleUnknownField, fmt.Sprintf("the authenticator knows no field %q", name))
				f.Line, f.Column = position(own["other "+name][0].key)
				f.Write = right
			}
		}
	}
}

// meantField are names that other tools and formats use for fields.
var meantField = map[string]string{"user": "username", "user_name": "username", "user-name": "username", "group": "groups", "kubernetesgroups": "groups"}

// keys looks at the keys of the ConfigMap's data.
func (l *linter) keys() {
	for _, name := range slices.Sorted(maps.Keys(l.data)) {
		if slices.Contains(Keys[:], name) {
			continue
		}
		meant := Kind("")
		for _, kind := range []Kind{Role, User, Account} {
			if almost(name, kind.Key()) {
				meant = kind
			}
		}
		if strings.EqualFold(name, "mapGroups") && !isBlank(l.data[name]) {
			l.mapGroups(name)
			continue
		}
		if meant == "" && l.unreadList(name) {
			continue
		}
		if meant == "" || isBlank(l.data[name]) {
			l.add(RuleUnknownKey, name, fmt.Sprintf("the authenticator does not know the key %q", name))
			continue
		}
		f := l.add(RuleMisspeltKey, name, fmt.Sprintf("%s is spelt %q", meant.Key(), name))
		f.Write = meant.Key()
		if !isBlank(l.data[meant.Key()]) {
			f.Write = "its entries in " + meant.Key() + ", which is there as well"
		}
		if text := l.data[name]; meant == Role && (strings.Contains(text, nodesGroup) || strings.Contains(text, "{{EC2PrivateDNSName}}")) {
			f.Consequence = "the authenticator never reads it: the nodes in it are locked out"
		}
		if strings.EqualFold(name, meant.Key()) && isBlank(l.data[meant.Key()]) {
			f.fix = &fix{kind: meant, rename: name}
		}
	}
}

func (l *linter) masters() {
	if len(l.broken) > 0 {
		return
	}
	answers := l.resolver()
	dead := false
	for _, list := range [][]mapping{l.roles, l.users} {
		for i := range list {
			m := &list[i]
			if !m.inForce() || !slices.Contains(m.Groups, Masters) || m.Unmatched() != "" {
				continue
			}
			// Of user ARNs that differ in case alone either may answer.
			if e := answers[key(m.ARN)]; slices.Contains(e.Groups, Masters) || e.Kind == User && e.ARN != m.ARN {
				return
			}
			dead = true
		}
	}
	f := l.add(RuleNoMasters, "", "")
	if dead {
		f.Message = "no entry that answers has system:masters"
	}
}

// refuseAt is the size in bytes from which on the agent leaves new entries out, but
// for the roles of live nodes: 95 % of what the API server takes.
const refuseAt = Limit / 100 * 95

func (l *linter) size() {
	n := (&Document{data: l.data}).Size()
	percent := n * 100 / Limit
	switch {
	case n > Limit:
		f := l.add(RuleSize, "", fmt.Sprintf("aws-auth has %d bytes, and the API server takes %d", n, Limit))
		f.Severity, f.Consequence = Error, "it cannot be written"
	case n > refuseAt:
		l.add(RuleSize, "", fmt.Sprintf("aws-auth is at %d %% of the 1 MiB that the API server takes", percent)).Severity = Error
	case percent >= 70:
		l.add(RuleSize, "", fmt.Sprintf("aws-auth is at %d %% of the 1 MiB that the API server takes", percent))
	}
}

// almost reports whether two names differ in case, punctuation or two letters
// and no more.
func almost(name, known string) bool {
	if name == known {
		return false
	}
	a, b := punctuation.Replace(strings.ToLower(name)), punctuation.Replace(strings.ToLower(known))
	return a == b || len(b) > 5 && distance(a, b) <= 1 || len(b) > 9 && distance(a, b) <= 2
}

var punctuation = strings.NewReplacer("_", "", "-", "", ".", "", " ", "", ":", "")

// distance is how many letters must be put in, taken out or changed to make b
// of a.
func distance(a, b string) int {
	if max(len(a), len(b)) > 64 || max(len(a)-len(b), len(b)-len(a)) > 2 || !utf8.ValidString(a) {
		return 99
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		previous := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			previous, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, previous+cost)
		}
	}
	return row[len(b)]
}
