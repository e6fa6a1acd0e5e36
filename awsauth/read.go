package awsauth

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	yamlv2 "go.yaml.in/yaml/v2"
	yamlv3 "go.yaml.in/yaml/v3"
	"sigs.k8s.io/yaml"
)

// This file reads aws-auth as the authenticator does, along the very path
// that it takes: YAML to JSON by sigs.k8s.io/yaml, then encoding/json
// (sigs.k8s.io/aws-iam-authenticator v0.7.18 pkg/mapper/configmap/configmap.go:125).
// The module under test/judge holds it against the authenticator's own code.

// Mark is the value of the field syncedBy in every entry that rolecall writes.
const Mark = "rolecall"

// A ParseError says that the authenticator cannot read a key of aws-auth: to
// it the whole list is empty, so everybody in it is locked out.
type ParseError struct {
	Key    string // mapRoles, mapUsers or mapAccounts
	Line   int    // of the key's text, from 1; 0 where the parser names none
	Reason string // without any of the text
}

func (e *ParseError) Error() string {
	if e.Line > 0 {
		return fmt.Sprintf("%s line %d: %s", e.Key, e.Line, e.Reason)
	}
	return e.Key + ": " + e.Reason
}

// mapping is an element of mapRoles or mapUsers as the authenticator reads it.
type mapping struct {
	Entry
	mark    string          // the value of syncedBy where it is a string
	raw     json.RawMessage // the element whole, for comparing
	dropped string          // why it can map no identity on EKS; empty if it is in force
}

// inForce reports whether the entry can map an identity on EKS.
func (m *mapping) inForce() bool { return m.dropped == "" }

// element mirrors config.RoleMapping and config.UserMapping
// (pkg/config/types.go:43); encoding/json matches keys without case and goes
// on after a value of the wrong type, leaving its field at zero.
type element struct {
	RoleARN  string    `json:"rolearn"`
	UserARN  string    `json:"userarn"`
	SSO      *struct{} `json:"sso"`
	Username string    `json:"username"`
	Groups   []string  `json:"groups"`
	SyncedBy any       `json:"syncedBy"`
}

// isBlank mirrors isSkippable (configmap.go:192).
func isBlank(text string) bool {
	switch strings.TrimSpace(text) {
	case "", "``", `""`, `''`:
		return true
	}
	return false
}

// readMappings reads the text of mapRoles or mapUsers.
func readMappings(kind Kind, text string) ([]mapping, error) {
	if isBlank(text) {
		return nil, nil
	}
	if list, ok := readPlain(kind, text); ok {
		return list, nil
	}
	return parseMappings(kind, text)
}

// parseMappings reads it whatever it looks like.
func parseMappings(kind Kind, text string) ([]mapping, error) {
	if expands(text) {
		return nil, &ParseError{Key: kind.Key(), Reason: fmt.Sprintf("its aliases repeat more than %d MiB", maxExpanded>>20)}
	}
	body, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		return nil, parseError(kind, err)
	}
	var elements []json.RawMessage
	if err := json.Unmarshal(body, &elements); err != nil {
		return nil, &ParseError{Key: kind.Key(), Reason: "it is not a list of entries"}
	}
	out := make([]mapping, len(elements))
	for i, raw := range elements {
		var e element
		err := json.Unmarshal(raw, &e)
		if typeErr := (*json.UnmarshalTypeError)(nil); err != nil && !errors.As(err, &typeErr) {
			return nil, &ParseError{Key: kind.Key(), Reason: fmt.Sprintf("entry %d cannot be read", i+1)}
		}
		m := mapping{Entry: Entry{Kind: kind, ARN: e.RoleARN, Username: e.Username, Groups: e.Groups}, raw: raw}
		m.mark, _ = e.SyncedBy.(string)
		switch {
		case kind == User:
			m.ARN = e.UserARN
			if m.ARN == "" {
				m.dropped = "it has no userarn"
			}
		case e.SSO == nil && m.ARN == "":
			m.dropped = "it has no rolearn"
		case e.SSO != nil && m.ARN != "":
			m.dropped = "it has both a rolearn and sso"
		case e.SSO != nil:
			m.dropped = "it matches a permission set, which EKS does not switch on"
		}
		out[i] = m
	}
	return out, nil
}

// maxExpanded is the most bytes that a key's texts may come to with its aliases
// written out: many times what aws-auth holds. The authenticator knows no bound
// but its memory's.
const maxExpanded = 16 << 20

// expands reports whether the aliases of a text would make far more of it than
// it is. The parser bounds how many values they repeat, but not how long those
// are: as JSON, where each has its own copy, 1 MiB can be 50 GiB. It is told
// from the node tree, where an alias is a pointer. A text that v3 can't read
// and v2 can would get by.
func expands(text string) bool {
	if !strings.Contains(text, "*") || !strings.Contains(text, "&") {
		return false
	}
	var root yamlv3.Node
	if err := yamlv3.Unmarshal([]byte(text), &root); err != nil {
		return false // the parser's own error says more
	}
	sizes := map[*yamlv3.Node]int{} // of what an anchor names
	var size func(n *yamlv3.Node) int
	size = func(n *yamlv3.Node) int {
		if n.Kind == yamlv3.AliasNode {
			n = n.Alias
		}
		if known, ok := sizes[n]; ok {
			return known
		}
		if n.Anchor != "" {
			sizes[n] = 0 // one that stands in itself is the parser's to refuse
		}
		sum := 1 + len(n.Value)
		for _, c := range n.Content {
			sum = min(sum+size(c), maxExpanded+1) // no chain of anchors can overflow it
		}
		if n.Anchor != "" {
			sizes[n] = sum
		}
		return sum
	}
	return size(&root) > maxExpanded
}

// readAccounts reads the text of mapAccounts. Of a list the authenticator
// keeps what it can read (configmap.go:174).
func readAccounts(text string) ([]mapping, error) {
	if isBlank(text) {
		return nil, nil
	}
	var elements []accountElement
	err := yamlv2.Unmarshal([]byte(text), &elements)
	if typeErr := (*yamlv2.TypeError)(nil); errors.As(err, &typeErr) {
		return nil, &ParseError{Key: Account.Key(), Reason: "it is not a list of entries"}
	}
	if err != nil {
		return nil, parseError(Account, err)
	}
	out := make([]mapping, len(elements))
	for i, e := range elements {
		out[i] = mapping{Entry: Entry{Kind: Account, ARN: e.id}, dropped: e.dropped}
	}
	return out, nil
}

// accountElement is an element of mapAccounts.
type accountElement struct{ id, dropped string }

// UnmarshalYAML takes any scalar for an id, as a string does.
func (a *accountElement) UnmarshalYAML(unmarshal func(any) error) error {
	err := unmarshal(&a.id)
	if typeErr := (*yamlv2.TypeError)(nil); errors.As(err, &typeErr) {
		a.dropped = "it is no account id"
		return nil
	}
	if len(a.id) > maxAccount {
		a.dropped = "it is no account id"
	}
	return err
}

// maxAccount is the longest text in mapAccounts, in bytes, that is dealt with.
// An alias makes many of one that is long, and no identity is of any of them.
const maxAccount = 4096

var yamlLine = regexp.MustCompile(`^(?:error converting YAML to JSON: )?yaml: (?:line (\d+): )?([a-z][^\n]*)$`)

// parseError turns an error of the YAML parser into one that carries nothing
// of the text: only the scanner's own sentences are passed on.
func parseError(kind Kind, err error) error {
	p := &ParseError{Key: kind.Key(), Reason: "it is not valid YAML"}
	if m := yamlLine.FindStringSubmatch(err.Error()); m != nil {
		p.Line, _ = strconv.Atoi(m[1])
		if !strings.ContainsAny(m[2], "`\"'{") || strings.Contains(m[2], "expected ':'") || strings.HasPrefix(m[2], "did not find expected") {
			p.Reason = m[2]
		}
	}
	return p
}

// reading is aws-auth as the authenticator holds it in memory.
type reading struct {
	roles, users, accounts []mapping
}

func readAll(data map[string]string) (reading, error) {
	var r reading
	var errs [3]error
	r.roles, errs[0] = readList(Role, data[Role.Key()])
	r.users, errs[1] = readList(User, data[User.Key()])
	r.accounts, errs[2] = readList(Account, data[Account.Key()])
	return r, errors.Join(errs[:]...)
}

// readList reads the text of one key.
func readList(kind Kind, text string) ([]mapping, error) {
	if kind == Account {
		return readAccounts(text)
	}
	return readMappings(kind, text)
}

// readBack reads a text that is about to be written, by the authenticator's own
// way and no shorter one: what [readPlain] misreads is then found out.
func readBack(kind Kind, text string) ([]mapping, error) {
	if kind == Account || isBlank(text) {
		return readList(kind, text)
	}
	return parseMappings(kind, text)
}

// resolver answers for every ARN at once what the authenticator would.
type resolver map[string]Entry

// resolver indexes the reading: the last of equal role ARNs wins (saveMap,
// configmap.go:236), roles are tried before users (mapper.go:49), and of two
// users that differ in case alone a random one answers; here it is the last.
func (r reading) resolver() resolver {
	index := make(resolver, len(r.roles)+len(r.users))
	for _, list := range [][]mapping{r.users, r.roles} {
		for i := range list {
			if list[i].inForce() {
				index[key(list[i].ARN)] = list[i].Entry
			}
		}
	}
	return index
}

// key is the identity of an ARN: the authenticator compares without case, and
// to strings.EqualFold the Kelvin sign is a K too.
func key(arn string) string {
	for i := range len(arn) {
		if arn[i] >= utf8.RuneSelf {
			arn = strings.Map(foldRune, arn)
			break
		}
	}
	return strings.ToLower(arn)
}

// foldRune returns the smallest of the runes that differ from r in case alone.
func foldRune(r rune) rune {
	for {
		next := unicode.SimpleFold(r)
		if next <= r {
			return next
		}
		r = next
	}
}

// sameGrant reports whether two entries let an identity in as the same user
// with the same groups, whatever their order or repetition.
func sameGrant(a, b Entry) bool {
	return a.Username == b.Username && slices.Equal(groupSet(a.Groups), groupSet(b.Groups))
}

// groupSet returns the groups sorted and without doubles. A sorted set is
// returned as it is.
func groupSet(groups []string) []string {
	sorted := true
	for i := 1; i < len(groups); i++ {
		if groups[i-1] >= groups[i] {
			sorted = false
			break
		}
	}
	if sorted {
		return groups
	}
	set := slices.Clone(groups)
	slices.Sort(set)
	return slices.Compact(set)
}

// includes reports whether every one of sub is in set.
func includes(set, sub []string) bool {
	for _, g := range sub {
		if !slices.Contains(set, g) {
			return false
		}
	}
	return true
}
