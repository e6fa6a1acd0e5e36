package awsauth

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
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
	layouts map[Kind]*layout // made when asked for
	bare    map[string]int   // how many entries have an ARN but for its path; made when asked for
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

// isNode reports whether an entry looks like that of nodes.
func isNode(m *mapping) bool {
	return strings.Contains(m.Username, "{{EC2PrivateDNSName}}") || slices.Contains(m.Groups, nodesGroup)
}

// lockedOut says whom an entry without effect locks out.
func lockedOut(m *mapping) string {
	switch {
	case isNode(m):
		return "every node of this role is locked out"
	case m.Kind == Role:
		return "whoever has only this role is locked out"
	}
	return "this user is locked out"
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

var twelveDigits = regexp.MustCompile(`^[0-9]{12}$`)

func (l *linter) accountIDs() {
	seen := map[string]bool{}
	for i := range l.accounts {
		m := &l.accounts[i]
		n := l.at[Account].node(i)
		switch {
		case !m.inForce():
			l.entry(Account, i, "", RuleDroppedEntry, "it is no account id but a map, a list or far too long").ARN = ""
		case m.ARN == "":
			f := l.entry(Account, i, "", RuleDroppedEntry, "it is empty")
			f.fix = l.cut(Account, i)
		case !twelveDigits.MatchString(m.ARN):
			f := l.entry(Account, i, "", RuleAccountID, fmt.Sprintf("%q is no account id", m.ARN))
			switch v, err := strconv.ParseFloat(m.ARN, 64); {
			case strings.Trim(m.ARN, "0123456789") == "" && len(m.ARN) < 12:
				f.Write = fmt.Sprintf("its 12 digits, in quotes: %q, if zeros were lost at its beginning", strings.Repeat("0", 12-len(m.ARN))+m.ARN)
			case err == nil && v >= 1e10 && v < 1e12:
				f.Write = fmt.Sprintf("its 12 digits, in quotes: %q, if a tool has made a number of it", fmt.Sprintf("%012.0f", v))
			}
		case seen[m.ARN]:
		case n != nil && n.Kind == yamlv3.ScalarNode && n.Style == 0:
			f := l.entry(Account, i, "", RuleUnquotedAccount, "")
			f.Write = strconv.Quote(m.ARN)
			if m.ARN[0] != '0' {
				f.Severity = Note
				f.Consequence = "the authenticator reads it as it stands, and so does every tool that does not make a number of it"
			}
			f.fix = l.replaceValue(Account, i, n, strconv.Quote(m.ARN), m.Entry)
		}
		seen[m.ARN] = true
	}
}

// mapping looks at one element of mapRoles or mapUsers.
func (l *linter) mapping(kind Kind, i int) {
	m := &l.list(kind)[i]
	if !m.inForce() {
		l.dropped(kind, i)
		return
	}
	l.identity(kind, i)
	l.username(kind, i)
	l.groups(kind, i)
	l.nodes(kind, i)
	l.fields(kind, i)
}

func (l *linter) dropped(kind Kind, i int) {
	m := &l.list(kind)[i]
	var fields map[string]json.RawMessage
	isMap := json.Unmarshal(m.raw, &fields) == nil && fields != nil
	want := string(kind) + "arn"
	switch {
	case string(m.raw) == "null":
		l.entry(kind, i, "", RuleDroppedEntry, "the entry is empty").fix = l.cut(kind, i)
		return
	case !isMap:
		l.entry(kind, i, "", RuleDroppedEntry, "the entry is no map of fields")
		return
	case strings.Contains(m.dropped, "permission set"):
		l.entry(kind, i, "", RuleSSOEntry, "")
		return
	case m.ARN != "": // it has sso, too
		l.entry(kind, i, "arn", RuleDroppedEntry, m.dropped).Write = "the ARN alone"
		return
	}
	f := l.entry(kind, i, "", RuleDroppedEntry, m.dropped)
	if isNode(m) {
		f.Consequence = "the authenticator drops it: the nodes that were meant are locked out"
	}
	f.Write = want + ": with the ARN"
	other := map[Kind]Kind{Role: User, User: Role}[kind]
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		switch {
		case fieldKind(name, kind) == "arn":
			f.Message = fmt.Sprintf("its %s is no text", want)
			f.Line, f.Column = l.at[kind].of(i, "arn")
			if string(fields[name]) == `""` || string(fields[name]) == "null" {
				f.Message = fmt.Sprintf("its %s is empty", want)
			}
		case fieldKind(name, other) == "arn":
			f.Message = fmt.Sprintf("%s, but a %s", m.dropped, name)
			f.Write = fmt.Sprintf("the entry in %s, or %s in place of %s", other.Key(), want, name)
		case almost(name, want) || strings.EqualFold(name, "arn"):
			f.Message = fmt.Sprintf("%s, but %q", m.dropped, name)
			f.Write = fmt.Sprintf("%s in place of %q", want, name)
		}
	}
}

// identity looks at whether the entry's ARN can be that of a caller.
func (l *linter) identity(kind Kind, i int) {
	m := &l.list(kind)[i]
	if fault := identityFault(kind, m.ARN); fault != nil {
		f := l.entry(kind, i, "arn", fault.rule, fault.message)
		f.Consequence = ruleOf(fault.rule).Consequence + ": " + lockedOut(m)
		if fault.write != "" {
			f.Write = fault.write
		}
		if fault.bare == "" {
			return
		}
		if l.free(fault.bare) {
			want := m.Entry
			want.ARN = fault.bare
			f.fix = l.replaceIn(kind, i, "arn", m.ARN, fault.bare, want)
		} else {
			f.Consequence = ruleOf(RuleRolePath).Consequence + "; another entry maps the role"
			f.Write = "no such entry, or its groups in the other one"
		}
		return
	}
	resource, rest, _ := strings.Cut(strings.SplitN(key(m.ARN), ":", 6)[5], "/")
	switch {
	case resource == "root" && rest == "":
		l.entry(kind, i, "arn", RuleRootARN, "")
	case resource == "role" && kind == User, resource == "user" && kind == Role:
		other := map[Kind]Kind{Role: User, User: Role}[kind]
		f := l.entry(kind, i, "arn", RuleWrongList, fmt.Sprintf("the ARN of a %s stands in %s", other, kind.Key()))
		f.Write = fmt.Sprintf("the entry in %s, with %sarn", other.Key(), other)
	}
}

func printable(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r <= 0x20 || r > 0x7e }) < 0
}

// free reports whether no other entry has an ARN, nor would come to it by
// losing its path.
func (l *linter) free(arn string) bool {
	if l.bare == nil {
		l.bare = map[string]int{}
		for _, list := range [][]mapping{l.roles, l.users} {
			for i := range list {
				l.bare[bareKey(list[i].ARN)]++
			}
		}
	}
	return l.bare[bareKey(arn)] == 1
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

func (l *linter) username(kind Kind, i int) {
	m := &l.list(kind)[i]
	if m.Username == "" {
		raw := m.rawField("username")
		f := l.entry(kind, i, "username", RuleEmptyUsername, "the entry has no username")
		switch {
		case plainNumber(raw):
			f.Message = fmt.Sprintf("the username %s is no text", raw)
			if field, ok := l.at[kind].field(i, "username"); ok {
				want := m.Entry
				want.Username = field.value.Value
				f.Write = "username: " + strconv.Quote(want.Username)
				f.fix = l.replaceValue(kind, i, field.value, strconv.Quote(want.Username), want)
			}
		case len(raw) > 0 && raw[0] == '{':
			f.Rule, f.Severity = RuleUnquotedBraces, Error
			f.Message, f.Write = "the username is a map: its braces are not quoted", `username: "{{SessionName}}"`
		case len(raw) > 0 && string(raw) != "null" && raw[0] != '"':
			f.Message = "the username is no text"
		}
		return
	}
	l.name(kind, i, "username", m.Username, -1)
	if !isRole(&m.Entry) && strings.Trim(stripPlaceholders(m.Username, "{{SessionName}}", "{{SessionNameRaw}}"), " ") == "" {
		l.entry(kind, i, "username", RuleEmptyUsername, "a user has no session: {{SessionName}} becomes nothing").Write = "the user's name"
	}
	if rest, ok := strings.CutPrefix(m.Username, "system:"); ok && !strings.HasPrefix(rest, "node:") {
		l.entry(kind, i, "username", RuleReservedUsername, fmt.Sprintf("the username %q begins with system:", m.Username))
	}
}

func stripPlaceholders(s string, names ...string) string {
	for _, p := range names {
		s = strings.ReplaceAll(s, p, "")
	}
	return s
}

var anyPlaceholder = regexp.MustCompile(`\{\{[^{}]*\}\}`)

// name looks at a username, or at the group of an index.
func (l *linter) name(kind Kind, i int, what, s string, group int) {
	field := map[bool]string{true: "username", false: "groups"}[group < 0]
	place := func(f *Finding) *Finding {
		if group >= 0 {
			if g := l.groupNode(kind, i, group); g != nil {
				f.Line, f.Column = position(g)
			}
		}
		return f
	}
	if strings.Contains(s, "{{AccessKeyID}}") {
		place(l.entry(kind, i, field, RuleAccessKey, fmt.Sprintf("the %s %q takes {{AccessKeyID}}", what, s)))
	} else if r, odd := oddRune(s); odd {
		place(l.entry(kind, i, field, RuleOddText, fmt.Sprintf("the %s %q holds %s", what, s, codePoint(r))))
	} else if err := checkIdentity(what, s); err != nil {
		message, write, _ := strings.Cut(err.Error(), ": write ")
		place(l.entry(kind, i, field, RuleOddText, message)).Write = "it " + strings.TrimPrefix(write, "it ")
	}
	for _, p := range slices.Compact(slices.Sorted(slices.Values(anyPlaceholder.FindAllString(s, -1)))) {
		if slices.Contains(placeholders, p) {
			continue
		}
		f := place(l.entry(kind, i, field, RulePlaceholder, fmt.Sprintf("the authenticator knows no %s", p)))
		for _, known := range placeholders {
			if almost(strings.ReplaceAll(p, " ", ""), known) {
				f.Write = known
			}
		}
	}
	session := isRole(&l.list(kind)[i].Entry)
	if !session && strings.Contains(s, "{{EC2PrivateDNSName}}") {
		place(l.entry(kind, i, field, RuleInstanceOnly, ""))
	}
	if !session || !strings.Contains(s, "{{SessionName") {
		return
	}
	switch fixed := s[:strings.Index(s, "{{")]; {
	case group >= 0:
		f := place(l.entry(kind, i, field, RuleSessionName, fmt.Sprintf("the group %q is what the session's name says", s)))
		f.Severity, f.Consequence, f.Write = Error, "whoever may assume the role chooses the name, and with it the group", "the group's name"
	case fixed == "system:node:" && slices.Contains(l.list(kind)[i].Groups, nodesGroup):
		f := l.entry(kind, i, field, RuleSessionName, "the session's name says which node it is")
		f.Severity, f.Consequence = Note, "EKS writes it so for Fargate and hybrid nodes; whoever else may assume the role can be any node"
		f.Write = "system:node:{{EC2PrivateDNSName}} for nodes of EC2"
	case fixed == "" && strings.TrimSpace(stripPlaceholders(s, "{{SessionName}}", "{{SessionNameRaw}}")) == "":
		l.entry(kind, i, field, RuleSessionName, fmt.Sprintf("the username %q has no prefix", s))
	}
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

const (
	nodesGroup         = "system:nodes"
	bootstrappersGroup = "system:bootstrappers"
)

// systemGroups are those that Kubernetes and EKS know
// (k8s.io/apiserver/pkg/authentication/user/user.go:71,
// serviceaccount/util.go:33; system:node-proxier: EKS, for Fargate).
var systemGroups = []string{
	Masters, nodesGroup, bootstrappersGroup, "system:node-proxier", "system:monitoring",
	"system:authenticated", "system:unauthenticated", "system:serviceaccounts",
}

func (l *linter) groups(kind Kind, i int) {
	m := &l.list(kind)[i]
	raw := m.rawField("groups")
	if len(raw) > 0 && raw[0] != '[' && string(raw) != "null" {
		f := l.entry(kind, i, "groups", RuleGroupsNoList, "")
		var one string
		if field, ok := l.at[kind].field(i, "groups"); ok && json.Unmarshal(raw, &one) == nil && one != "" {
			f.Message = fmt.Sprintf("groups is the text %q, not a list", one)
			f.Write = "groups: [" + strconv.Quote(one) + "]"
			if !strings.ContainsAny(one, ", \t\r\n;") && CheckGroup(one) == nil && !asTyped(one) {
				want := m.Entry
				want.Groups = []string{one}
				f.fix = l.replaceValue(kind, i, field.value, "["+strconv.Quote(one)+"]", want)
			} else if asTyped(one) {
				f.Write = "a list: a dash and a blank before each group"
			} else {
				f.Write = "groups: [" + strconv.Quote("A") + ", " + strconv.Quote("B") + "]"
			}
		}
		return
	}
	var elements []json.RawMessage
	_ = json.Unmarshal(raw, &elements)
	for j, g := range m.Groups {
		node := l.groupNode(kind, i, j)
		if g == "" {
			f := l.entry(kind, i, "groups", RuleGroupNoText, "a group is empty")
			if node != nil {
				f.Line, f.Column = position(node)
			}
			if j < len(elements) && plainNumber(elements[j]) {
				f.Message = fmt.Sprintf("the group %s is no text", elements[j])
				if node != nil && node.Kind == yamlv3.ScalarNode {
					want := m.Entry
					want.Groups = slices.Clone(want.Groups)
					want.Groups[j] = node.Value
					f.Write = strconv.Quote(node.Value)
					f.fix = l.replaceValue(kind, i, node, strconv.Quote(node.Value), want)
				}
			}
			continue
		}
		l.name(kind, i, "group", g, j)
		if strings.Contains(g, "{{") || slices.Contains(systemGroups, g) || strings.HasPrefix(g, "system:serviceaccounts:") || strings.HasPrefix(g, "system:bootstrappers:") {
			continue
		}
		meant := ""
		for _, known := range systemGroups {
			if almost(g, known) {
				meant = known
			}
		}
		if meant == "" && !strings.HasPrefix(strings.ToLower(g), "system:") {
			continue
		}
		f := l.entry(kind, i, "groups", RuleSystemGroup, fmt.Sprintf("neither Kubernetes nor EKS knows the group %q", g))
		if node != nil {
			f.Line, f.Column = position(node)
		}
		if meant != "" {
			f.Write = meant
		}
	}
}

func (l *linter) nodes(kind Kind, i int) {
	m := &l.list(kind)[i]
	instance := strings.Contains(m.Username, "{{EC2PrivateDNSName}}")
	nodes, boot := slices.Contains(m.Groups, nodesGroup), slices.Contains(m.Groups, bootstrappersGroup)
	if isRole(&m.Entry) && instance && (!nodes || !boot) {
		f := l.entry(kind, i, "groups", RuleNodeGroups, "the entry of nodes lacks "+nodesGroup)
		f.Consequence = "its nodes cannot join the cluster"
		if nodes {
			f.Message, f.Severity = "the entry of nodes lacks "+bootstrappersGroup, Warning
			f.Consequence = "EKS gives nodes both groups, and what it binds to this one they lack"
		}
		f.Write = "groups: [" + bootstrappersGroup + ", " + nodesGroup + "]"
	}
	if nodes && !strings.HasPrefix(m.Username, "system:node:") {
		f := l.entry(kind, i, "username", RuleNodeUsername, fmt.Sprintf("%s goes to the username %q", nodesGroup, m.Username))
		f.Consequence = "the API server takes for a node only whose username begins with system:node, a colon and the node's name: these cannot join"
	}
	if (instance || nodes) && slices.Contains(m.Groups, Masters) {
		l.entry(kind, i, "groups", RuleNodeMasters, "")
	}
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

// doubles looks for entries of one list that have the same ARN.
func (l *linter) doubles(kind Kind) {
	list := l.list(kind)
	same := map[string][]int{}
	for i := range list {
		if list[i].inForce() {
			same[key(list[i].ARN)] = append(same[key(list[i].ARN)], i)
		}
	}
	for _, k := range slices.Sorted(maps.Keys(same)) {
		all := same[k]
		if len(all) < 2 {
			continue
		}
		answering := l.answering(kind, list[all[0]].ARN)
		last := answering[len(answering)-1]
		for _, i := range all {
			m := &list[i]
			// Of those with the same key the last one replaces the others.
			winner := i
			for _, j := range all {
				if mapKey(kind, list[j].ARN) == mapKey(kind, m.ARN) {
					winner = j
				}
			}
			switch {
			case winner != i:
				f := l.entry(kind, i, "arn", RuleShadowed, "")
				l.besides(f, kind, winner)
				l.covered(f, kind, i, &list[winner])
			case len(answering) > 1 && i != last:
				f := l.entry(kind, i, "arn", RuleCaseVariants, "")
				l.besides(f, kind, last)
				if sameGrant(m.Entry, list[last].Entry) {
					f.Severity, f.Consequence = Warning, "either of the two answers, and today they say the same"
					f.fix = l.cut(kind, i)
				} else {
					f.Write = oneEntry(m.Entry, list[last].Entry)
				}
			}
		}
	}
}

// besides puts the place of another entry into a finding.
func (l *linter) besides(f *Finding, kind Kind, i int) {
	f.OtherKey = kind.Key()
	f.OtherLine, _ = l.at[kind].of(i, "arn")
}

// oneEntry says what to write in place of two.
func oneEntry(a, b Entry) string {
	groups := groupSet(append(slices.Clone(a.Groups), b.Groups...))
	if len(groups) == 0 {
		return "one entry"
	}
	return "one entry with the groups " + strings.Join(groups, ", ")
}

// covered is about an entry that another one keeps from answering.
func (l *linter) covered(f *Finding, kind Kind, i int, winner *mapping) {
	m := &l.list(kind)[i]
	switch {
	case m.Username == winner.Username && includes(winner.Groups, m.Groups):
		f.Severity, f.Consequence = Warning, "it is ignored, and what it grants the other one grants too"
		f.Write = "no such entry"
		f.fix = l.cut(kind, i)
	case includes(winner.Groups, m.Groups):
		f.Consequence = fmt.Sprintf("it is ignored: the username is %q", winner.Username)
	default:
		var lost []string
		for _, g := range groupSet(m.Groups) {
			if !slices.Contains(winner.Groups, g) {
				lost = append(lost, g)
			}
		}
		f.Consequence = "it is ignored: it grants nobody " + strings.Join(lost, ", ")
		f.Write = oneEntry(m.Entry, winner.Entry)
	}
}

// acrossLists looks for entries of mapUsers whose ARN mapRoles has as well.
func (l *linter) acrossLists() {
	roles := map[string]int{}
	for i := range l.roles {
		if l.roles[i].inForce() {
			roles[key(l.roles[i].ARN)] = i
		}
	}
	for i := range l.users {
		m := &l.users[i]
		if j, too := roles[key(m.ARN)]; m.inForce() && too {
			f := l.entry(User, i, "arn", RuleShadowed, "mapRoles has the same ARN")
			l.besides(f, Role, j)
			l.covered(f, User, i, &l.roles[j])
			f.Consequence = "mapRoles is tried first: " + f.Consequence
		}
	}
}

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
		if meant == "" && l.unreadList(name) {
			continue
		}
		if meant == "" || isBlank(l.data[name]) {
			l.add(RuleUnknownKey, name, fmt.Sprintf("the authenticator does not know the key %q", name))
			continue
		}
		f := l.add(RuleMisspeltKey, name, fmt.Sprintf("%s is spelt %q", meant.Key(), name))
		f.Write = meant.Key()
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
	for _, list := range [][]mapping{l.roles, l.users} {
		for i := range list {
			if m := &list[i]; m.inForce() && slices.Contains(m.Groups, Masters) && m.Unmatched() == "" {
				return
			}
		}
	}
	l.add(RuleNoMasters, "", "")
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
