package migrate

import (
	"errors"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/rolecall/rolecall/awsauth"
)

// An item is one identity as a file names it, before it is checked.
type item struct {
	value
	kind          awsauth.Kind
	arn           string
	permissionSet string // in place of arn
	username      string
	groups        []string
	unique        bool    // another entry of the ARN is to be refused
	grants        []grant // of the service whose role it is
}

// configMap reads the manifest of a ConfigMap with aws-auth's keys. The keys
// are read as the authenticator reads them.
func (r *reader) configMap(v value) []item {
	for _, f := range v.field("binaryData").fields() {
		if _, ok := kindOf(f.name); ok {
			r.problem(f.value, "the authenticator does not read the key %s in binaryData, so to it the list is empty: write its text, in UTF-8, under data", quote(f.name))
		}
	}
	return r.keys(v.field("data"), func(f field) string {
		if f.node.Kind != yaml.ScalarNode {
			r.problem(f.value, `found %s where a ConfigMap has a text: write "%s: |" and the list below it, indented`, found(f.value), f.name)
			return ""
		}
		return f.node.Value
	})
}

// bareKeys reads a mapping of aws-auth's keys, each with its text or its list.
func (r *reader) bareKeys(v value) []item {
	return r.keys(v, func(f field) string {
		if f.node.Kind == yaml.ScalarNode {
			return f.node.Value
		}
		return encode(f.node)
	})
}

func (r *reader) keys(data value, text func(field) string) []item {
	var out []item
	for _, f := range data.fields() {
		kind, ok := kindOf(f.name)
		switch {
		case !ok && keyLike(f.name):
			r.leave(f.value, "the authenticator does not read the key %s: write %s", quote(f.name), strings.Join(awsauth.Keys[:], ", "))
		case ok && f.is():
			out = append(out, r.mappings(kind, f.value, text(f))...)
		}
	}
	return out
}

// kindOf is the kind of entry of a key of aws-auth's.
func kindOf(key string) (awsauth.Kind, bool) {
	for _, k := range []awsauth.Kind{awsauth.Role, awsauth.User, awsauth.Account} {
		if k.Key() == key {
			return k, true
		}
	}
	return "", false
}

// keyLike reports whether a key was probably meant to be one of aws-auth's.
func keyLike(key string) bool {
	for _, k := range awsauth.Keys {
		if strings.EqualFold(k, key) || strings.EqualFold(k, key+"s") || strings.EqualFold(strings.TrimPrefix(k, "map"), key) {
			return true
		}
	}
	return false
}

// mappings reads the text of a key.
func (r *reader) mappings(kind awsauth.Kind, v value, text string) []item {
	elements := r.elements(v, text)
	doc, err := awsauth.Parse(map[string]string{kind.Key(): text})
	if p := (*awsauth.ParseError)(nil); errors.As(err, &p) {
		at := v
		line := syntaxLine(text)
		if inner, ok := v.inner(); ok {
			at.line = inner + max(p.Line, line)
		} else if v.node.Kind != yaml.ScalarNode {
			at.line = max(oddKey(v.node), v.at())
		}
		r.problem(at, `%s, so to the authenticator the whole list is empty: write "- %s", one entry below the other, and quotes round a value that begins with {{`, p.Reason, example(kind))
		return nil
	}
	if err != nil {
		r.problem(v, "%v", err)
		return nil
	}
	var out []item
	for i, listed := range doc.Entries() {
		it := item{value: v, kind: kind, arn: listed.ARN, username: listed.Username, groups: listed.Groups}
		it.key = fmt.Sprintf("%s[%d]", v.key, i)
		if i < len(elements) {
			it.value = elements[i]
		}
		if r.element(&it, listed.Dropped) {
			out = append(out, it)
		}
	}
	return out
}

func example(kind awsauth.Kind) string {
	switch kind {
	case awsauth.Role:
		return "rolearn: arn:aws:iam::111122223333:role/NAME"
	case awsauth.User:
		return "userarn: arn:aws:iam::111122223333:user/NAME"
	}
	return `"111122223333"`
}

// element holds an entry as the authenticator reads it against what stands in
// the file, and reports whether it can be used.
func (r *reader) element(it *item, dropped string) bool {
	if set := it.fold("sso").fold("permissionSetName"); r.sso && it.kind == awsauth.Role && set.is() && it.arn == "" {
		if account := it.fold("sso").fold("accountID"); account.is() {
			r.note(account, "the role of the permission set is looked for in the account whose IAM rolecall asks, which must be %s", quote(account.scalar()))
		}
		it.permissionSet = r.text(set, "AdministratorAccess")
		return it.permissionSet != ""
	}
	if set := it.fold("permissionset"); it.kind == awsauth.Role && set.is() && it.arn == "" {
		it.permissionSet = r.text(set, "AdministratorAccess")
		return it.permissionSet != ""
	}
	if dropped != "" {
		r.leave(it.value, "the authenticator ignores the entry, since %s: write %s", dropped, example(it.kind))
		return false
	}
	if name := it.fold("username"); name.is() && it.username == "" && name.scalar() != "" {
		r.problem(name, "the authenticator reads no text here, and so an empty username: put it in quotes, %s", quote(name.scalar()))
		return false
	}
	if groups := it.fold("groups"); groups.is() && len(it.groups) == 0 && groups.node.Kind != yaml.SequenceNode {
		r.problem(groups, "the authenticator reads no list here, and so no groups: write [%s]", quote(groups.scalar()))
		return false
	}
	return true
}

// elements are the places of a list's elements, null ones too.
func (r *reader) elements(v value, text string) []value {
	list, shift, line := v.node, v.shift, v.line
	if v.node.Kind == yaml.ScalarNode {
		docs := new(reader).documents([]byte(text)) // its error is the authenticator's reader's to tell
		if len(docs) == 0 {
			return nil
		}
		list = docs[0].node
		if inner, ok := v.inner(); ok {
			shift = inner
		} else {
			line = v.at()
		}
	}
	var out []value
	if list.Kind == yaml.SequenceNode {
		for i, n := range list.Content {
			out = append(out, value{n, fmt.Sprintf("%s[%d]", v.key, i), shift, line, v.file})
		}
	}
	return out
}

// syntaxLine is the line of a text at which the authenticator's reader of YAML
// stumbles, as far as another reader can tell: a fault of the syntax, or a key
// that is no text, as {{x}} without quotes has one. It is 0 if there is none.
func syntaxLine(text string) int {
	r := new(reader)
	docs := r.documents([]byte(text))
	if len(r.problems) > 0 {
		return r.problems[0].Line
	}
	for _, doc := range docs {
		if line := oddKey(doc.node); line > 0 {
			return line
		}
	}
	return 0
}

// oddKey is the line of the first key that is no scalar, or 0.
func oddKey(n *yaml.Node) int {
	for i, c := range n.Content {
		if n.Kind == yaml.MappingNode && i%2 == 0 && c.Kind != yaml.ScalarNode {
			return c.Line
		}
		if line := oddKey(c); line > 0 {
			return line
		}
	}
	return 0
}

// inner is the line of the file before the first of a text that stands in it
// as it is.
func (v value) inner() (int, bool) {
	if v.line > 0 || v.node.Kind != yaml.ScalarNode || v.node.Style&yaml.LiteralStyle == 0 {
		return 0, false
	}
	return v.at(), true
}

// bareList reads a list of entries, each of which says by its keys what it is.
// "eksctl get iamidentitymapping -o yaml" prints such a list too.
func (r *reader) bareList(v value) []item {
	lists := map[awsauth.Kind]*yaml.Node{}
	places := map[awsauth.Kind][]value{}
	for _, e := range v.items() {
		kind, n := awsauth.Kind(""), e.node
		account := e.field("account")
		switch {
		case n.Kind == yaml.ScalarNode:
			kind = awsauth.Account
		case e.fold("rolearn").is() || e.fold("permissionset").is():
			kind = awsauth.Role
		case e.fold("userarn").is():
			kind = awsauth.User
		case account.is():
			kind, n = awsauth.Account, account.node
		default:
			r.problem(e, "the entry names no role, user or account: write rolearn: ARN, userarn: ARN, or an account's 12 digits in quotes")
			continue
		}
		if lists[kind] == nil {
			lists[kind] = &yaml.Node{Kind: yaml.SequenceNode, Line: v.node.Line}
		}
		lists[kind].Content = append(lists[kind].Content, n)
		places[kind] = append(places[kind], e)
	}
	var out []item
	for _, kind := range []awsauth.Kind{awsauth.Role, awsauth.User, awsauth.Account} {
		list := lists[kind]
		if list == nil {
			continue
		}
		for i, it := range r.mappings(kind, value{node: list, key: kind.Key()}, encode(list)) {
			if it.kind == awsauth.Account && i < len(places[kind]) {
				it.value = places[kind][i]
			}
			out = append(out, it)
		}
	}
	return out
}

// encode writes a list of the file out as a text of its own.
func encode(n *yaml.Node) string {
	body, err := yaml.Marshal(n)
	if err != nil {
		return "\t" // which the reader refuses: what can't be encoded, nobody reads
	}
	return string(body)
}
