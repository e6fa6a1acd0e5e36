package migrate

import (
	"cmp"
	"errors"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/config"
	"github.com/rolecall/rolecall/internal/serviceaccess"
)

const exampleRole = "arn:aws:iam::111122223333:role/NAME"

// A Format is one that Read knows.
type Format string

// The formats that Read tells apart.
const (
	AWSAuth Format = "aws-auth" // the ConfigMap, or the text of one or several of its keys
	Eksctl  Format = "eksctl"   // a ClusterConfig with iamIdentityMappings
	Own     Format = "rolecall" // a config.yaml, or the ConfigMap that holds it
)

// An Input is what a file asks for.
type Input struct {
	Format Format
	// Entries in the order of the file, each ARN once and as aws-auth must know
	// it: a role without its path. They satisfy awsauth's checks.
	Entries []awsauth.Entry
	// NoDuplicateARNs are the ARNs for which eksctl's noDuplicateARNs is set:
	// where aws-auth has another entry of one, eksctl fails.
	NoDuplicateARNs []string
	// Services are those that eksctl lets into namespaces, in the order of the
	// file. Their entries are in Entries.
	Services []serviceaccess.Grant
	// Notes say what of the file is not in Entries, or otherwise than it stands
	// there, by line.
	Notes []config.Problem
}

// Read reads entries from a text in one of the formats of [Format]; file is the
// name by which errors and notes call it. The error is a *[config.Error] with
// every problem: where there is one, nothing was read.
//
// Of the config format, permission sets, IAM groups and the roles of nodes are
// left out with a note, since only the agent knows what they stand for.
//
// fill puts the account in place of $ACCOUNTID and $PARTITION in an ARN or an
// account id. It is called for texts that have one of them; with nil they are
// problems.
func Read(file string, data []byte, fill func(string) (string, error)) (*Input, error) {
	r := &reader{file: file, fill: fill}
	in := &Input{}
	r.check(in, r.detect(in, data))
	if err := r.fail(); err != nil {
		return nil, err
	}
	slices.SortStableFunc(r.notes, func(a, b config.Problem) int { return cmp.Compare(a.Line, b.Line) })
	in.Notes = r.notes
	return in, nil
}

// detect finds the format by the documents of the text and reads them.
func (r *reader) detect(in *Input, data []byte) []item {
	docs := flatten(r.documents(data))
	if len(docs) == 0 {
		if len(r.problems) == 0 {
			r.failAt(1, "the file is empty: %s", formats())
		}
		return nil
	}
	var out []item
	var alone *format // that must stand alone among those of its kind
	for _, doc := range docs {
		format := formatOf(doc)
		switch {
		case format == nil && len(docs) > 1 && doc.field("kind").is():
			r.note(doc, "a %s is not read: %s", quote(doc.field("kind").scalar()), ownFormats)
			continue
		case format == nil:
			r.unknown(doc, formats())
			return nil
		case alone != nil && alone.name != format.name && !format.object:
			r.problem(doc, "the file has the formats %s and %s: give a file of its own for each", alone.name, format.name)
			return nil
		case format.name == Own && len(docs) > 1:
			r.problem(doc, "a second document begins here: give a file of its own for each config")
			return nil
		}
		if in.Format == "" {
			in.Format = format.name
		}
		if !format.object {
			alone = format
		}
		out = append(out, format.read(r, in, doc, data)...)
	}
	if in.Format == "" {
		r.failAt(1, "no document is of a known format: %s", formats())
	}
	for _, g := range r.groups {
		r.noteGroup(g.value, g.name)
	}
	return out
}

// flatten puts the items of Kubernetes' lists in place of the lists.
func flatten(docs []value) []value {
	var out []value
	for _, doc := range docs {
		kind := doc.field("kind").scalar()
		if items := doc.field("items"); strings.HasSuffix(kind, "List") && items.is() {
			out = append(out, items.items()...)
			continue
		}
		out = append(out, doc)
	}
	return out
}

func isOwn(doc value) bool {
	kind := doc.field("kind").scalar()
	return strings.HasPrefix(doc.field("apiVersion").scalar(), "rolecall.dev/") || kind == config.Kind && !doc.field("clusters").is() ||
		kind == "ConfigMap" && doc.field("data").field("config.yaml").is()
}

func isAWSAuthText(doc value) bool {
	aKey := func(f field) bool { return keyLike(f.name) }
	switch kind := doc.field("kind").scalar(); {
	case doc.node.Kind == yaml.SequenceNode:
		return true
	case kind == "ConfigMap":
		return slices.ContainsFunc(doc.field("data").fields(), aKey) || doc.field("metadata").field("name").scalar() == awsauth.Name
	default:
		return kind == "" && slices.ContainsFunc(doc.fields(), aKey)
	}
}

func (r *reader) awsAuth(doc value) []item {
	switch {
	case doc.node.Kind == yaml.SequenceNode:
		return r.bareList(doc)
	case doc.field("kind").scalar() == "ConfigMap":
		return r.configMap(doc)
	}
	return r.bareKeys(doc)
}

// own reads our config, or the ConfigMap that holds it.
func (r *reader) own(in *Input, doc value, text []byte) {
	root := doc
	if data := doc.field("data"); doc.field("kind").scalar() == "ConfigMap" {
		main := data.field("config.yaml")
		for _, f := range data.fields() {
			if _, ok := kindOf(f.name); ok {
				r.problem(f.value, "the key stands beside config.yaml: give each in a file of its own")
			}
		}
		text = []byte(main.scalar())
		root = value{node: &yaml.Node{Line: 1}}
		if docs := new(reader).documents(text); len(docs) > 0 { // its error is config's to tell
			root = docs[0]
		}
		if inner, ok := main.inner(); ok {
			root.shift = inner
		} else {
			root.line = main.at()
		}
	}
	here := func(problems []config.Problem) []config.Problem {
		for i := range problems {
			if problems[i].Line += root.shift; root.line > 0 {
				problems[i].Line = root.line
			}
		}
		return problems
	}
	file, err := config.Parse(r.file, text)
	if problems := (*config.Error)(nil); errors.As(err, &problems) {
		r.problems = append(r.problems, here(problems.Problems)...)
		return
	}
	if err != nil {
		r.failAt(1, "%v", err)
		return
	}
	r.notes = append(r.notes, here(file.Warnings)...)
	r.ownEntries(in, &file.Config, root)
}

// ownEntries takes over what needs no agent. Several entries of one identity
// are one with all their groups.
func (r *reader) ownEntries(in *Input, c *config.Config, root value) {
	place := func(i int, keys ...string) value {
		v := root
		for _, k := range keys {
			v = v.field(k)
		}
		if items := v.items(); i < len(items) {
			return items[i]
		}
		return root
	}
	add := func(v value, e awsauth.Entry) {
		var ok bool
		if e.ARN, ok = r.filled(v, e.ARN); !ok {
			return
		}
		for i := range in.Entries {
			if have := &in.Entries[i]; have.Kind == e.Kind && awsauth.SameARN(have.ARN, e.ARN) {
				for _, g := range e.Groups {
					if !slices.Contains(have.Groups, g) {
						have.Groups = append(have.Groups, g)
					}
				}
				return
			}
		}
		e.Groups = slices.Clone(e.Groups)
		in.Entries = append(in.Entries, e)
	}
	for i, role := range c.Roles {
		v := place(i, "roles")
		if role.PermissionSet != "" {
			r.noteSet(v, role.PermissionSet)
			continue
		}
		add(v, awsauth.Entry{Kind: awsauth.Role, ARN: role.ARN, Username: role.Username, Groups: role.Groups})
	}
	for i, g := range c.IAMGroups {
		r.noteGroup(place(i, "iamGroups"), g.Name)
	}
	node := func(v value, arn string) {
		r.note(v, `the node role %s is left out: it is the agent's. Give the config to the agent, or write the role with username "system:node:{{EC2PrivateDNSName}}" and groups [system:bootstrappers, system:nodes]`, quote(arn))
	}
	for i, arn := range c.NodeRoles.Extra {
		node(place(i, "nodeRoles", "extra"), arn)
	}
	for i, arn := range c.Karpenter.NodeRoleARNs {
		node(place(i, "karpenter", "nodeRoleARNs"), arn)
	}
	for i, u := range c.Users {
		add(place(i, "users"), awsauth.Entry{Kind: awsauth.User, ARN: u.ARN, Username: u.Username, Groups: u.Groups})
	}
	for i, id := range c.Accounts {
		add(place(i, "accounts"), awsauth.Entry{Kind: awsauth.Account, ARN: id})
	}
}

func (r *reader) noteGroup(v value, name string) {
	r.note(v, "the IAM group %s is left out: only the agent asks IAM for its users. Give the config to the agent, or write the users", quote(name))
}

func (r *reader) noteSet(v value, name string) {
	r.note(v, "the permission set %s is left out: only the agent finds its role. Give the config to the agent, or write the ARN of the role", quote(name))
}

// check makes entries of the items, or says what is wrong with them.
func (r *reader) check(in *Input, items []item) {
	last := map[string]int{} // by identity: the line that is in force
	for i := len(items) - 1; i >= 0; i-- {
		it := &items[i]
		if it.permissionSet != "" {
			r.noteSet(it.value, it.permissionSet)
			continue
		}
		e, ok := r.entry(it)
		if !ok {
			continue
		}
		identity := string(e.Kind) + " " + strings.ToLower(e.ARN)
		if line, again := last[identity]; again {
			r.note(it.value, "the entry for %s is left out: the authenticator lets the last of several win, which is on line %d", quote(e.ARN), line)
			continue
		}
		last[identity] = it.at()
		in.Entries = append(in.Entries, e)
		if it.unique {
			in.NoDuplicateARNs = append(in.NoDuplicateARNs, e.ARN)
		}
	}
	for i := range items {
		for _, g := range items[i].grants {
			in.Services = append(in.Services, g.Grant)
		}
	}
	if len(items) > 0 {
		slices.Reverse(in.Entries)
		slices.Reverse(in.NoDuplicateARNs)
	}
}

// filled is an ARN or an account id with the account in place of placeholders.
func (r *reader) filled(v value, arn string) (string, bool) {
	if !strings.Contains(arn, "$") {
		return arn, true
	}
	if r.fill == nil {
		r.problem(v, "a placeholder in %s is filled in by the agent alone: write the account's 12 digits and the partition", quote(arn))
		return "", false
	}
	full, err := r.fill(arn)
	if err != nil {
		r.problem(v, "the account in %s is not known: %v; or write its 12 digits and the partition: %s", quote(arn), err, strings.NewReplacer("$ACCOUNTID", "111122223333", "$PARTITION", "aws").Replace(arn))
		return "", false
	}
	r.note(v, "%s is written as %s", quote(arn), quote(full))
	return full, true
}

// entry checks an item by awsauth's rules.
func (r *reader) entry(it *item) (awsauth.Entry, bool) {
	e := awsauth.Entry{Kind: it.kind, ARN: it.arn, Username: it.username, Groups: it.groups}
	before := len(r.problems)
	var ok bool
	if e.ARN, ok = r.filled(it.value, e.ARN); !ok {
		return e, false
	}
	var err error
	switch e.Kind {
	case awsauth.Account:
		if err := awsauth.CheckAccountID(e.ARN); err != nil {
			r.problem(it.value, "%v", err)
			return e, false
		}
		return awsauth.Entry{Kind: awsauth.Account, ARN: e.ARN}, true
	case awsauth.Role:
		given := e.ARN
		if e.ARN, err = awsauth.RoleARN(given); err == nil && e.ARN != given {
			r.note(it.value, "the path is left out, since the authenticator never sees a role's path: %s becomes %s", quote(given), quote(e.ARN))
		}
	case awsauth.User:
		e.ARN, err = awsauth.UserARN(e.ARN)
	}
	if err != nil {
		r.problem(it.value, "%v", err)
	}
	// One without a username keeps that of the entry that is there, or gets the
	// default one.
	if e.Username != "" {
		if err := awsauth.CheckUsername(e.Username); err != nil {
			r.problem(it.value, "%v", err)
		}
	}
	for _, g := range e.Groups {
		if err := awsauth.CheckGroup(g); err != nil {
			r.problem(it.value, "%v", err)
		}
	}
	return e, len(r.problems) == before
}
