package awsauth

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	yamlv3 "go.yaml.in/yaml/v3"
)

// This file lints one entry. Each check looks at the entry by itself, so that no
// finding hides another, and advises from what stands in it.

// LintEntries lints entries that stand in no document, such as those that a config
// makes, each for itself: what has to do with others is not looked at. The findings
// of the entry i are at i. It makes no request.
func LintEntries(entries ...Entry) [][]Finding {
	out := make([][]Finding, len(entries))
	for i, e := range entries {
		m := mapping{Entry: e}
		l := &linter{broken: map[Kind]*ParseError{}, at: map[Kind]*places{e.Kind: placesOf(e.Kind, "", 0)}}
		fields := map[string]any{string(e.Kind) + "arn": e.ARN, "groups": e.Groups}
		if e.Username != "" {
			fields["username"] = e.Username
		}
		m.raw, _ = json.Marshal(fields) // texts always encode
		switch e.Kind {
		case Role:
			l.roles = []mapping{m}
		case User:
			l.users = []mapping{m}
		default:
			l.accounts = []mapping{m}
			l.accountIDs()
			out[i] = l.found
			continue
		}
		l.mapping(e.Kind, 0)
		sortFindings(l.found)
		out[i] = l.found
	}
	return out
}

var (
	twelveDigits = regexp.MustCompile(`^[0-9]{12}$`)
	digitsWithin = regexp.MustCompile(`(?:^|[^0-9])([0-9]{12})(?:[^0-9]|$)`)
)

// accountWithin is the account id that a text or the values of a map hold; empty
// where it is none, or more than one.
func accountWithin(n *yamlv3.Node, text string) string {
	found := map[string]bool{}
	add := func(s string) {
		for _, m := range digitsWithin.FindAllStringSubmatch(s, -1) {
			found[m[1]] = true
		}
		if id := strings.NewReplacer("-", "", " ", "", "_", "").Replace(s); twelveDigits.MatchString(id) {
			found[id] = true
		}
	}
	add(text)
	if n != nil && n.Kind == yamlv3.AliasNode {
		n = n.Alias
	}
	if n != nil {
		for _, c := range n.Content {
			if c.Kind == yamlv3.ScalarNode && len(c.Value) <= maxAccount {
				add(c.Value)
			}
		}
	}
	for id := range found {
		if len(found) == 1 {
			return id
		}
	}
	return ""
}

func (l *linter) accountIDs() {
	seen := map[string]bool{}
	meant := func(f *Finding, i int, id string) {
		if id == "" {
			return
		}
		f.Write = strconv.Quote(id)
		if slices.ContainsFunc(l.accounts, func(m mapping) bool { return m.ARN == id }) {
			f.Write = fmt.Sprintf("no such entry: %q stands there already", id)
			f.advise(Account, i, nil)
			return
		}
		f.advise(Account, i, &Entry{Kind: Account, ARN: id})
	}
	for i := range l.accounts {
		m := &l.accounts[i]
		n := l.at[Account].node(i)
		switch {
		case !m.inForce():
			f := l.entry(Account, i, "", RuleDroppedEntry, "it is no account id but a map, a list or far too long")
			f.ARN, f.Write = "", "the account's 12 digits, in quotes"
			f.Consequence = "the authenticator drops it: the account is not let in"
			meant(f, i, accountWithin(n, ""))
		case m.ARN == "":
			f := l.entry(Account, i, "", RuleDroppedEntry, "it is empty")
			f.Write = "the account's 12 digits, in quotes, or no such entry"
			f.fix = l.cut(Account, i)
		case !twelveDigits.MatchString(m.ARN):
			f := l.entry(Account, i, "", RuleAccountID, fmt.Sprintf("%q is no account id", m.ARN))
			switch v, err := strconv.ParseFloat(m.ARN, 64); {
			case strings.Trim(m.ARN, "0123456789") == "" && len(m.ARN) < 12:
				f.Write = fmt.Sprintf("its 12 digits, in quotes: %q, if zeros were lost at its beginning", strings.Repeat("0", 12-len(m.ARN))+m.ARN)
			case err == nil && v >= 1e10 && v < 1e12:
				f.Write = fmt.Sprintf("its 12 digits, in quotes: %q, if a tool has made a number of it", fmt.Sprintf("%012.0f", v))
			case templates.MatchString(m.ARN):
				f.Rule, f.Message = RuleTemplate, fmt.Sprintf("a template was not filled in: %q stands where an account id belongs", m.ARN)
			default:
				meant(f, i, accountWithin(nil, m.ARN))
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

// isNode reports whether an entry looks like that of nodes.
func isNode(m *mapping) bool {
	username, _ := inAngles(m.Username)
	return strings.Contains(username, instanceName) || strings.HasPrefix(username, nodeUsername) || slices.ContainsFunc(m.Groups, isNodesGroup)
}

func isNodesGroup(g string) bool {
	g, _ = inAngles(g)
	return g == nodesGroup
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

// mapping looks at one element of mapRoles or mapUsers.
func (l *linter) mapping(kind Kind, i int) {
	m := &l.list(kind)[i]
	if m.inForce() {
		l.identity(kind, i)
	} else if !l.dropped(kind, i) {
		return
	}
	l.username(kind, i)
	l.groups(kind, i)
	l.nodes(kind, i)
	l.fields(kind, i)
}

// dropped is about an entry that the authenticator drops. It reports whether the
// entry has fields that are worth a look.
func (l *linter) dropped(kind Kind, i int) bool {
	m := &l.list(kind)[i]
	var fields map[string]json.RawMessage
	isMap := json.Unmarshal(m.raw, &fields) == nil && fields != nil
	want := string(kind) + "arn"
	switch {
	case string(m.raw) == "null":
		f := l.entry(kind, i, "", RuleDroppedEntry, "the entry is empty")
		f.Write = "no such entry"
		f.fix = l.cut(kind, i)
		return false
	case !isMap:
		l.droppedText(kind, i)
		return false
	case strings.Contains(m.dropped, "permission set"):
		l.sso(kind, i, fields)
		return true
	case m.ARN != "": // it has sso, too
		l.entry(kind, i, "arn", RuleDroppedEntry, m.dropped).Write = "the ARN alone: " + want + ": " + m.ARN
		return true
	}
	f := l.entry(kind, i, "", RuleDroppedEntry, m.dropped)
	if isNode(m) {
		f.Consequence = "the authenticator drops it: the nodes that were meant are locked out"
	}
	f.Write = want + ": with the ARN, as " + exampleARN(kind)
	other := map[Kind]Kind{Role: User, User: Role}[kind]
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		var value string
		_ = json.Unmarshal(fields[name], &value)
		switch {
		case fieldKind(name, kind) == "arn":
			f.Message = fmt.Sprintf("its %s is no text", want)
			f.Line, f.Column = l.at[kind].of(i, "arn")
			if string(fields[name]) == `""` || string(fields[name]) == "null" {
				f.Message = fmt.Sprintf("its %s is empty", want)
			}
		case groupOf(name, value) != "":
			f.Message = fmt.Sprintf("aws-auth knows no IAM groups, and the entry names one in %q", name)
			f.Write = groupAdvice(groupOf(name, value), m.Groups)
		case fieldKind(name, other) == "arn":
			f.Message = fmt.Sprintf("%s, but a %s", m.dropped, name)
			f.Write = fmt.Sprintf("the entry in %s, or %s in place of %s", other.Key(), want, name)
			if value != "" {
				f.Write = fmt.Sprintf("%s: %s, in place of %s", want, value, name)
				if kindOfARN(value) == other {
					f.Write = fmt.Sprintf("the entry in %s, as it is", other.Key())
				}
			}
		case almost(name, want) || strings.EqualFold(name, "arn"):
			f.Message = fmt.Sprintf("%s, but %q", m.dropped, name)
			f.Write = fmt.Sprintf("%s in place of %q", want, name)
		}
	}
	return len(fields) > 0
}

// droppedText is about an entry that is no map of fields.
func (l *linter) droppedText(kind Kind, i int) {
	f := l.entry(kind, i, "", RuleDroppedEntry, "the entry is no map of fields")
	f.Write = fmt.Sprintf("an entry with %sarn, username and groups", kind)
	var text string
	if json.Unmarshal(l.list(kind)[i].raw, &text) != nil || text == "" {
		return
	}
	f.Message = fmt.Sprintf("the entry is the text %q, not a map of fields", text)
	if got := kindOfARN(text); got != "" {
		f.Write = fmt.Sprintf("in %s: %sarn: %s, with a username and groups", got.Key(), got, text)
	}
}

// kindOfARN is the kind of entry that an ARN belongs into; empty where it is neither
// a role's nor a user's.
func kindOfARN(arn string) Kind {
	f := strings.SplitN(key(arn), ":", 6)
	switch {
	case len(f) != 6:
		return ""
	case strings.HasPrefix(f[5], "role/"):
		return Role
	case strings.HasPrefix(f[5], "user/"):
		return User
	}
	return ""
}

// groupOf is the IAM group that a field names, or "".
func groupOf(field, value string) string {
	name := punctuation.Replace(strings.ToLower(field))
	if f := strings.SplitN(value, ":", 6); len(f) == 6 && strings.HasPrefix(strings.ToLower(f[5]), "group/") {
		return f[5][strings.LastIndexByte(f[5], '/')+1:]
	}
	if strings.Contains(name, "group") && strings.Contains(name, "arn") || name == "iamgroup" {
		return value[strings.LastIndexByte(value, '/')+1:]
	}
	return ""
}

// sso is about an entry that names a permission set in the authenticator's own way.
func (l *linter) sso(kind Kind, i int, fields map[string]json.RawMessage) {
	f := l.entry(kind, i, "", RuleSSOEntry, "")
	for name, raw := range fields {
		var set struct{ PermissionSetName string }
		if strings.EqualFold(name, "sso") && json.Unmarshal(raw, &set) == nil && permissionSetName.MatchString(set.PermissionSetName) {
			f.Write = fmt.Sprintf("roles: [{permissionSet: %s}] with this entry's groups in rolecall's config, or the ARN of the "+
				"permission set's role without its path", flowScalar(set.PermissionSetName))
		}
	}
}

// permissionSetName is what a permission set can be named
// (https://docs.aws.amazon.com/singlesignon/latest/APIReference/API_PermissionSet.html).
var permissionSetName = regexp.MustCompile(`^[0-9A-Za-z_+=,.@-]{1,32}$`)

// identity looks at whether the entry's ARN can be that of a caller.
func (l *linter) identity(kind Kind, i int) {
	m := &l.list(kind)[i]
	faults := identityFaults(kind, m.ARN)
	for j := range faults {
		ft := &faults[j]
		f := l.entry(kind, i, "arn", ft.rule, ft.message)
		f.Consequence = ruleOf(ft.rule).Consequence
		if ft.consequence != "" {
			f.Consequence = ft.consequence
		}
		f.Consequence += ": " + lockedOut(m)
		if ft.write != "" {
			f.Write = ft.write
		}
		if f5 := strings.SplitN(m.ARN, ":", 6); len(f5) == 6 && ft.rule == RuleNoIdentity && strings.HasPrefix(strings.ToLower(f5[5]), "group/") {
			f.Write = groupAdvice(f5[5][strings.LastIndexByte(f5[5], '/')+1:], m.Groups)
		}
		if ft.instead != "" {
			l.indexARNs()
			l.under(f, place{kind, i}, ft)
		}
	}
	if len(faults) > 0 {
		return
	}
	resource, rest, _ := strings.Cut(strings.SplitN(key(m.ARN), ":", 6)[5], "/")
	switch {
	case resource == "root" && rest == "":
		account, _ := ARNAccount(m.ARN)
		l.entry(kind, i, "arn", RuleRootARN, "").Write = fmt.Sprintf("as well, the ARNs that are meant, or the account in mapAccounts, "+
			"%q, which gives no groups; this entry goes once nobody logs in as root", account)
	case resource == "role" && kind == User, resource == "user" && kind == Role:
		other := map[Kind]Kind{Role: User, User: Role}[kind]
		f := l.entry(kind, i, "arn", RuleWrongList, fmt.Sprintf("the ARN of a %s stands in %s", other, kind.Key()))
		f.Write = fmt.Sprintf("the entry in %s, with %sarn", other.Key(), other)
		if l.broken[other] == nil && !slices.ContainsFunc(l.list(other), func(o mapping) bool { return SameARN(o.ARN, m.ARN) }) &&
			l.count(kind, m.ARN) == 1 {
			moved := m.Entry
			moved.Kind = other
			f.advise(kind, i, nil)
			f.advise(other, -1, &moved)
		}
	}
}

// count is how many entries of a list have an ARN.
func (l *linter) count(kind Kind, arn string) int {
	n := 0
	list := l.list(kind)
	for i := range list {
		if SameARN(list[i].ARN, arn) {
			n++
		}
	}
	return n
}

func (l *linter) username(kind Kind, i int) {
	m := &l.list(kind)[i]
	if m.Username == "" {
		l.noUsername(kind, i)
		return
	}
	l.name(kind, i, "username", m.Username, -1)
	if !ofRole(&m.Entry) && strings.Trim(stripPlaceholders(m.Username, sessionName, sessionNameRaw), " ") == "" {
		f := l.entry(kind, i, "username", RuleEmptyUsername, "a user has no session: {{SessionName}} becomes nothing")
		f.Write = "the user's name"
		l.adviseUsername(f, kind, i)
	}
	l.reserved(kind, i)
}

// reserved is about usernames of which the prefix has a meaning.
func (l *linter) reserved(kind Kind, i int) {
	m := &l.list(kind)[i]
	switch {
	case fillsSystem(m.Username):
		f := l.entry(kind, i, "username", RuleReservedUsername, fmt.Sprintf("the username %q begins with system:, and a part of it is "+
			"filled in at login", m.Username))
		f.Severity = Error
		f.Consequence = "whoever may assume the role chooses the name of the session, and with it which of Kubernetes' own users to " +
			"be, such as system:kube-controller-manager"
		if prefix, _, _ := strings.Cut(m.Username, "{{"); prefix != "system:" {
			f.Consequence = "whoever may assume the role chooses the name of the session, and with it which of Kubernetes' own users to " +
				"be, of those that begin with " + prefix
		}
		f.Write = "a prefix other than system:, and bindings that name the new username"
		if rest := strings.TrimPrefix(m.Username, "system:"); strings.HasPrefix(rest, "{{") {
			if name := DefaultUsername(meantRole(Entry{Kind: kind, ARN: m.ARN})); name != "" {
				f.Write = fmt.Sprintf("username %q, and bindings that name it", name)
			}
		}
	case strings.HasPrefix(m.Username, "system:") && !strings.HasPrefix(m.Username, nodeUsername):
		f := l.entry(kind, i, "username", RuleReservedUsername, fmt.Sprintf("the username %q begins with system:", m.Username))
		f.Write = "another username, once the bindings that name this one name it too"
	default:
		for _, prefix := range ownPrefixes {
			if strings.HasPrefix(m.Username, prefix) {
				f := l.entry(kind, i, "username", RuleReservedUsername, fmt.Sprintf("the username %q begins with %q", m.Username, prefix))
				f.Severity = Note
				f.Consequence = "aws-auth takes it; an EKS access entry refuses usernames that begin with " +
					strings.Join(append([]string{strconv.Quote("system:")}, quoted(ownPrefixes)...), ", ")
				f.Write = "another username before the move to access entries, once the bindings that name this one name it too"
			}
		}
	}
}

func quoted(list []string) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = strconv.Quote(s)
	}
	return out
}

// adviseUsername has the entry get the default username, where it has one.
func (l *linter) adviseUsername(f *Finding, kind Kind, i int) {
	m := &l.list(kind)[i]
	want := m.Entry
	want.Username = DefaultUsername(meantRole(Entry{Kind: kind, ARN: m.ARN, Groups: m.Groups}))
	if want.Username == "" {
		return
	}
	f.Write = "username: " + strconv.Quote(want.Username)
	l.adviseInstances(f, kind, i, &want)
}

// adviseInstances advises what an entry is to be, which may let in instances alone: an
// entry that gives more than nodes' rights lets in people today, who would lose them.
func (l *linter) adviseInstances(f *Finding, kind Kind, i int, want *Entry) {
	m := &l.list(kind)[i]
	switch {
	case !m.inForce():
	case !OnlyInstances(*want) || OnlyInstances(m.Entry) || nodesOnly(m.Groups):
		f.advise(kind, i, want)
	default:
		f.Write += ", once whoever else logs in by this entry has a role of their own"
	}
}

// nodesOnly reports whether groups are nodes' alone.
func nodesOnly(groups []string) bool {
	return !slices.ContainsFunc(groups, func(g string) bool {
		g, _ = inAngles(g)
		return !slices.Contains([]string{"", nodesGroup, bootstrappersGroup, fargateGroup, windowsGroup}, g)
	})
}

// noUsername is about an entry without one.
func (l *linter) noUsername(kind Kind, i int) {
	m := &l.list(kind)[i]
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
		return
	case len(raw) > 0 && raw[0] == '{':
		f.Rule, f.Severity = RuleUnquotedBraces, Error
		f.Message, f.Write = "the username is a map: its braces are not quoted", `username: "NAME:{{SessionName}}"`
	case len(raw) > 0 && string(raw) != "null" && raw[0] != '"':
		f.Message = "the username is no text"
	}
	var fields map[string]json.RawMessage
	_ = json.Unmarshal(m.raw, &fields)
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		var value string
		if meantField[strings.ToLower(name)] == "username" && json.Unmarshal(fields[name], &value) == nil && CheckUsername(value) == nil {
			f.Write = fmt.Sprintf("username: %s, in place of %q", strconv.Quote(value), name)
			return
		}
	}
	l.adviseUsername(f, kind, i)
}

// name looks at a username, or at the group of an index.
func (l *linter) name(kind Kind, i int, what, s string, group int) {
	m := &l.list(kind)[i]
	field := map[bool]string{true: "username", false: "groups"}[group < 0]
	place := func(f *Finding) *Finding {
		if group >= 0 {
			if g := l.groupNode(kind, i, group); g != nil {
				f.Line, f.Column = position(g)
			}
		}
		return f
	}
	// A username that bindings may name is no matter of spelling alone.
	bindings := ""
	if group < 0 {
		bindings = ", and bindings that name it"
	}
	if strings.Contains(s, "{{AccessKeyID}}") {
		f := place(l.entry(kind, i, field, RuleAccessKey, fmt.Sprintf("the %s %q takes {{AccessKeyID}}", what, s)))
		switch {
		case group >= 0:
			f.Write = "the group's name"
		case ofRole(&m.Entry):
			f.Write = strconv.Quote(strings.ReplaceAll(s, "{{AccessKeyID}}", sessionName)) + bindings
		default:
			f.Write = "the user's name" + bindings
		}
	}
	if r, odd := oddRune(s); odd {
		place(l.entry(kind, i, field, RuleOddText, fmt.Sprintf("the %s %q holds %s", what, s, codePoint(r))))
	} else if err := checkText(what, s); err != nil {
		message, write, _ := strings.Cut(err.Error(), ": write ")
		place(l.entry(kind, i, field, RuleOddText, message)).Write = "it " + strings.TrimPrefix(write, "it ")
	}
	if token := templateIn(s); token != "" {
		l.unfilledName(kind, i, what, s, token, place)
	} else if group >= 0 || !isNode(m) || !strings.HasPrefix(s, nodeUsername) {
		for _, p := range brokenPlaceholders(s) {
			f := place(l.entry(kind, i, field, RulePlaceholder, fmt.Sprintf("the authenticator knows no %s, as the %s %q has it", p, what, s)))
			if fixed, whole := repairPlaceholders(s); whole && fixed != s {
				f.Write = l.meantName(kind, i, fixed, group) + bindings
			}
			if !strings.ContainsAny(p, "{}") { // it may be meant as it stands
				f.Severity, f.Message = Warning, fmt.Sprintf("%s stands in the %s %q without the braces of a placeholder", p, what, s)
				f.Write = l.meantName(kind, i, strings.Replace(s, p, placeholderOf(bareWordOf(p), true), 1), group) + ", if the placeholder is meant"
			}
		}
	}
	session := ofRole(&m.Entry)
	if !session && strings.Contains(s, instanceName) {
		f := place(l.entry(kind, i, field, RuleInstanceOnly, ""))
		if group < 0 {
			l.adviseUsername(f, kind, i)
		}
	}
	if !session || !strings.Contains(s, "{{SessionName") {
		return
	}
	switch fixed := s[:strings.Index(s, "{{")]; {
	case group >= 0:
		f := place(l.entry(kind, i, field, RuleSessionName, fmt.Sprintf("the group %q is what the session's name says", s)))
		f.Severity, f.Consequence, f.Write = Error, "whoever may assume the role chooses the name, and with it the group", "the group's name"
	case fixed == nodeUsername && slices.Contains(m.Groups, nodesGroup):
		f := l.entry(kind, i, field, RuleSessionName, "the session's name says which node it is")
		f.Severity, f.Consequence = Note, "EKS writes it so for Fargate and hybrid nodes, and nodes named by instance ID need it; "+
			"whoever else may assume the role can be any node"
		f.Write = "nothing else, where the nodes are named so; system:node:{{EC2PrivateDNSName}} for nodes of EC2 that are named by " +
			"their private DNS name"
	case fixed == "" && strings.TrimSpace(stripPlaceholders(s, sessionName, sessionNameRaw)) == "":
		f := l.entry(kind, i, field, RuleSessionName, fmt.Sprintf("the username %q has no prefix", s))
		if name := DefaultUsername(meantRole(Entry{Kind: kind, ARN: m.ARN})); name != "" {
			f.Write = fmt.Sprintf("a prefix that no other username has, as in %q%s", name, bindings)
		}
	}
}

// meantName is what to write for a username or group with the placeholders that were
// meant, but for one that whoever logs in could choose as a whole.
func (l *linter) meantName(kind Kind, i int, fixed string, group int) string {
	m := &l.list(kind)[i]
	if !strings.Contains(fixed, "{{SessionName") {
		return strconv.Quote(fixed)
	}
	alone := strings.TrimSpace(stripPlaceholders(fixed, sessionName, sessionNameRaw)) == ""
	name := DefaultUsername(meantRole(Entry{Kind: kind, ARN: m.ARN}))
	switch {
	case group >= 0:
		return "the group's name"
	case !alone:
		return strconv.Quote(fixed)
	case name != "":
		return strconv.Quote(name)
	}
	return "a prefix that no other username has, and " + fixed
}

// unfilledName is about a username or group of which a part was to be filled in.
func (l *linter) unfilledName(kind Kind, i int, what, s, token string, place func(*Finding) *Finding) {
	field := map[bool]string{true: "username", false: "groups"}[what == "username"]
	f := place(l.entry(kind, i, field, RuleTemplate, fmt.Sprintf("a template was not filled in: %q stands in the %s", token, what)))
	f.Severity = Error
	f.Consequence = fmt.Sprintf("the %s is this text as it stands, which no binding names", what)
	if isNode(&l.list(kind)[i]) {
		f.Consequence += ": these nodes cannot join"
	}
	f.Write = fmt.Sprintf("what %q stands for", token)
	inside, whole := inAngles(s)
	if !whole {
		return
	}
	f.Message = fmt.Sprintf("the %s %q stands in angle brackets, as documentation has what is to be filled in", what, s)
	f.Write = strconv.Quote(inside)
	if inside == Masters {
		f.Write += ", only if whoever it lets in is to be administrator: nobody is by it today"
		return
	}
	want, changed := l.list(kind)[i].Entry, false
	want.Groups = slices.Clone(want.Groups)
	clean := func(s string) string {
		inside, ok := inAngles(s)
		if !ok || inside == Masters || CheckUsername(inside) != nil || templateIn(inside) != "" || len(brokenPlaceholders(inside)) > 0 {
			return s
		}
		changed = true
		return inside
	}
	want.Username = clean(want.Username)
	for j, g := range want.Groups {
		want.Groups[j] = clean(g)
	}
	if changed && l.list(kind)[i].inForce() {
		f.advise(kind, i, &want)
	}
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
			list := strings.FieldsFunc(one, func(r rune) bool { return strings.ContainsRune(",; \t\r\n[]\"'", r) })
			for j, g := range list {
				list[j] = strings.TrimLeft(g, "-")
			}
			switch list = slices.DeleteFunc(list, func(g string) bool { return g == "" }); {
			case asTyped(one): // "-a" is a dash without its blank, and no group
				f.Write = "a list: a dash and a blank before each group"
			case !strings.ContainsAny(one, ", \t\r\n;") && CheckGroup(one) == nil:
				want := m.Entry
				want.Groups = []string{one}
				f.fix = l.replaceValue(kind, i, field.value, "["+strconv.Quote(one)+"]", want)
			case len(list) > 0:
				for j, g := range list {
					list[j] = strconv.Quote(g)
				}
				f.Write = "groups: [" + strings.Join(list, ", ") + "]"
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
			if meant, why := groupWithin(elements, j); meant != "" {
				f.Message, f.Write = why, strconv.Quote(meant)
				if meant == Masters {
					f.Write += ", only if whoever the entry lets in is to be administrator: nobody is by it today"
				}
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
		if _, angles := inAngles(g); !angles {
			l.systemGroup(kind, i, g, node)
		}
	}
}

// groupWithin is the group that was meant by one that is a map, as "system: masters" is,
// or a list of one.
func groupWithin(elements []json.RawMessage, j int) (meant, why string) {
	var fields map[string]*string
	var list []string
	switch {
	case j >= len(elements):
	case json.Unmarshal(elements[j], &list) == nil && len(list) == 1:
		return list[0], "a group is a list: there are two dashes before it"
	case json.Unmarshal(elements[j], &fields) == nil && len(fields) == 1:
		for name, value := range fields {
			if value == nil {
				return name, "a group ends with a colon, which YAML takes for a field"
			}
			return name + ":" + *value, "a group holds a colon and a blank, which YAML takes for a field"
		}
	}
	return "", ""
}

// systemGroup is about a group that looks like one of Kubernetes' own.
func (l *linter) systemGroup(kind Kind, i int, g string, node *yamlv3.Node) {
	if strings.Contains(g, "{{") || slices.Contains(systemGroups, g) ||
		strings.HasPrefix(g, "system:serviceaccounts:") || strings.HasPrefix(g, "system:bootstrappers:") {
		return
	}
	meant := ""
	for _, known := range systemGroups {
		if almost(g, known) {
			meant = known
		}
	}
	if meant == "" && !strings.HasPrefix(strings.ToLower(g), "system:") {
		return
	}
	f := l.entry(kind, i, "groups", RuleSystemGroup, fmt.Sprintf("neither Kubernetes nor EKS knows the group %q", g))
	if node != nil {
		f.Line, f.Column = position(node)
	}
	if meant != "" {
		f.Write = meant
	}
	if meant == Masters && !slices.Contains(l.list(kind)[i].Groups, Masters) {
		f.Write = Masters + ", only if whoever the entry lets in is to be administrator: nobody is by it today"
	}
}

// nodeName is what a node can be named: a DNS subdomain.
var nodeName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)

func (l *linter) nodes(kind Kind, i int) {
	m := &l.list(kind)[i]
	username, _ := inAngles(m.Username)
	groups := make([]string, len(m.Groups))
	for j, g := range m.Groups {
		groups[j], _ = inAngles(g)
	}
	named := strings.Contains(username, instanceName) || strings.HasPrefix(username, nodeUsername)
	nodes, boot := slices.Contains(groups, nodesGroup), slices.Contains(groups, bootstrappersGroup)
	if ofRole(&m.Entry) && named && (!nodes || !boot) && !l.groupsUnread(kind, i) {
		f := l.entry(kind, i, "groups", RuleNodeGroups, "the entry of nodes lacks "+nodesGroup)
		f.Consequence = "its nodes cannot join the cluster"
		if nodes {
			f.Message, f.Severity = "the entry of nodes lacks "+bootstrappersGroup, Warning
			f.Consequence = "EKS gives nodes both groups, and what it binds to this one they lack"
		}
		want := m.Entry
		want.Groups = []string{}
		for _, g := range append([]string{bootstrappersGroup, nodesGroup}, m.Groups...) {
			if g != "" && !slices.Contains(want.Groups, g) {
				want.Groups = append(want.Groups, g)
			}
		}
		f.Write = "groups: " + quotedList(want.Groups)
		if m.inForce() && IsNodeUsername(m.Username) {
			f.advise(kind, i, &want)
		}
	}
	l.nodeUsername(kind, i, username, nodes)
	if (strings.Contains(username, instanceName) || nodes) && slices.Contains(m.Groups, Masters) {
		f := l.entry(kind, i, "groups", RuleNodeMasters, "")
		f.Write = "groups: " + quotedList(withoutMasters(m.Groups)) + ", once nothing that runs on these nodes needs more"
	}
}

// groupsUnread reports whether an entry has groups that cannot be read, which another
// finding says.
func (l *linter) groupsUnread(kind Kind, i int) bool {
	raw := l.list(kind)[i].rawField("groups")
	return len(raw) > 0 && raw[0] != '[' && string(raw) != "null"
}

// nodeUsername is about a username of nodes that no node has.
func (l *linter) nodeUsername(kind Kind, i int, username string, nodes bool) {
	m := &l.list(kind)[i]
	name, prefixed := strings.CutPrefix(username, nodeUsername)
	if !nodes && !prefixed || IsNodeUsername(username) || username == "" {
		return
	}
	if prefixed && nodeName.MatchString(name) && len(brokenPlaceholders(username)) == 0 {
		if ofRole(&m.Entry) {
			f := l.entry(kind, i, "username", RuleNodeUsername, fmt.Sprintf("only one node can have the username %q", username))
			f.Severity, f.Consequence = Warning, "the API server lets a node in under its own name alone: all other nodes of the role cannot join"
			f.Write = strconv.Quote(nodeUsernameFor(&m.Entry))
		}
		return
	}
	f := l.entry(kind, i, "username", RuleNodeUsername, fmt.Sprintf("%s goes to the username %q", nodesGroup, username))
	f.Consequence = "the API server takes for a node only whose username begins with system:node, a colon and the node's name: " +
		"these cannot join"
	if prefixed {
		f.Message = fmt.Sprintf("no node can have the username %q", username)
		f.Consequence = "the API server lets a node in under its own name alone: these cannot join"
	}
	want := m.Entry
	want.Username = nodeUsernameFor(&Entry{Username: username, Groups: m.Groups})
	if !ofRole(&m.Entry) {
		f.Write = nodeUsername + "NAME with the node's name, if this user is one node's"
		return
	}
	f.Write = "username: " + strconv.Quote(want.Username)
	if want.Username == nodeUsername+instanceName {
		f.Write += fmt.Sprintf(" (nodes of EC2, Linux or Windows), or %q (Fargate, hybrid nodes, and nodes named by instance ID)",
			nodeUsername+sessionName)
	} else {
		f.Write += fmt.Sprintf(" (Fargate, hybrid nodes, and nodes named by instance ID), or %q (other nodes of EC2)", nodeUsername+instanceName)
	}
	if prefixed && (len(brokenPlaceholders(username)) > 0 || strings.Contains(username, instanceName)) {
		l.adviseInstances(f, kind, i, &want)
	}
}

// mapGroups is about a key that the authenticator never had. Whoever made it wanted
// to let IAM groups in.
func (l *linter) mapGroups(name string) {
	f := l.add(RuleMisspeltKey, name, fmt.Sprintf("aws-auth knows no IAM groups, and so no key %q", name))
	f.Consequence = "the authenticator never reads it: no member of these groups is let in by it"
	var items []map[string]any
	if yamlv3.Unmarshal([]byte(l.data[name]), &items) != nil || len(items) == 0 {
		f.Write = groupAdvice("GROUP", nil)
		return
	}
	f.Write = groupAdvice("GROUP", nil)
	for _, field := range slices.Sorted(maps.Keys(items[0])) {
		text, _ := items[0][field].(string)
		group := groupOf(field, text)
		if group == "" {
			continue
		}
		var groups []string
		list, _ := items[0]["groups"].([]any)
		for _, g := range list {
			if s, ok := g.(string); ok {
				groups = append(groups, s)
			}
		}
		f.ARN, f.Line = text, 1
		f.Write = groupAdvice(group, groups)
	}
}
