package config

import (
	"bytes"
	"encoding/json"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/rolecall/rolecall/awsauth"
)

// The schema of config.yaml. It is made from the types of this package (which
// keys there are and what they hold), reference.yaml (how keys are spelled, what
// they mean, defaults and examples), and the rules below (what the decoder asks
// of a text). "go test ./config -run TestSchema -update" writes it.
const (
	schemaFile = "config.schema.json"
	schemaURL  = "https://raw.githubusercontent.com/rolecall/rolecall/main/config/" + schemaFile

	// schemaDraft is what yaml-language-server reads best
	// (https://github.com/redhat-developer/yaml-language-server#readme).
	schemaDraft = "http://json-schema.org/draft-07/schema#"
)

// A schema is the part of JSON Schema that the one of config.yaml needs.
type schema struct {
	Schema               string     `json:"$schema,omitempty"`
	ID                   string     `json:"$id,omitempty"`
	Title                string     `json:"title,omitempty"`
	Description          string     `json:"description,omitempty"`
	Type                 any        `json:"type,omitempty"` // a word, or several
	Const                string     `json:"const,omitempty"`
	Enum                 []string   `json:"enum,omitempty"`
	Pattern              string     `json:"pattern,omitempty"`
	MinLength            int        `json:"minLength,omitempty"`
	MaxLength            int        `json:"maxLength,omitempty"`
	AllOf                []schema   `json:"allOf,omitempty"`
	AnyOf                []schema   `json:"anyOf,omitempty"`
	Not                  *schema    `json:"not,omitempty"`
	Default              any        `json:"default,omitempty"`
	Examples             []any      `json:"examples,omitempty"`
	MinItems             int        `json:"minItems,omitempty"`
	Items                *schema    `json:"items,omitempty"`
	Required             []string   `json:"required,omitempty"`
	Properties           properties `json:"properties,omitempty"`
	AdditionalProperties *bool      `json:"additionalProperties,omitempty"`
}

// properties keep the order of reference.yaml, in which editors show them.
type properties []property

type property struct {
	name   string
	schema schema
}

func (p properties) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, q := range p {
		if i > 0 {
			b.WriteByte(',')
		}
		name, err := json.Marshal(q.name)
		if err != nil {
			return nil, err
		}
		b.Write(name)
		b.WriteByte(':')
		value, err := marshal(q.schema)
		if err != nil {
			return nil, err
		}
		b.Write(value)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// marshal leaves the < and > of descriptions as they are.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return b.Bytes(), err
}

// Patterns are of the kind that both ECMA-262 and Go's regexp read, and with
// one meaning: no lookahead, no \s, no \u.
var (
	accountPattern   = `([0-9]{12}|\` + accountPlaceholder + `)`
	partitionPattern = func() string {
		all := awsauth.Partitions()
		for _, p := range awsauth.Partitions() {
			all = append(all, `\`+partitionPlaceholder+strings.TrimPrefix(p, checkPartition))
		}
		return "(" + strings.Join(all, "|") + ")"
	}()
	// What follows "role/" or "user/": a path of any printable ASCII, and a name.
	// A placeholder counts as one character of the name's 64.
	pathPattern = `(([!-#%-.0-~]|\$ACCOUNTID|\$PARTITION)*/)*`
	namePattern = `([0-9A-Za-z_+=,.@-]|\$ACCOUNTID|\$PARTITION){1,64}`

	rolePattern      = "^arn:" + partitionPattern + ":iam::" + accountPattern + ":role/" + pathPattern + namePattern + "$"
	userPattern      = "^arn:" + partitionPattern + ":iam::" + accountPattern + ":user/" + pathPattern + namePattern + "$"
	plainRolePattern = "^arn:(" + strings.Join(awsauth.Partitions(), "|") + "):iam::[0-9]{12}:role/([!-#%-.0-~]*/)*[0-9A-Za-z_+=,.@-]{1,64}$"

	// durationPattern is time.ParseDuration's notation without a minus sign.
	durationPattern = `^\+?(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+$`

	// trimmedPattern keeps ASCII's white space away from the ends, and control
	// characters from anywhere.
	trimmedPattern = `^[^\x00-\x20]([^\x00-\x1f]*[^\x00-\x20])?$`
)

// ofKubernetes is what begins with system: and is filled in, but for nodes.
const ofKubernetes = `^system:((([^n]|n[^o]|no[^d]|nod[^e]|node[^:]).*)?|n|no|nod|node)\{\{(AccountID|EC2PrivateDNSName|SessionName|SessionNameRaw|UserName)\}\}`

// username is one that may be left empty.
func username(s schema, refused string) schema {
	s.AnyOf = []schema{{Pattern: "^$"}, {Pattern: trimmedPattern}}
	s.Not = &schema{Pattern: refused + "|" + ofKubernetes}
	return s
}

func identity(s schema) schema {
	s.Pattern = trimmedPattern
	s.Not = &schema{Pattern: `\{\{AccessKeyID\}\}`}
	return s
}

var duration = schema{Pattern: durationPattern, AllOf: []schema{{Pattern: "[1-9]"}}}

// rules are what the types don't say, by the key's path; a list and its items
// have one path, and the rule of a list of texts is that of its items.
var rules = map[string]schema{
	"":           {Required: []string{"apiVersion", "kind"}},
	"apiVersion": {Const: APIVersion},
	"kind":       {Const: Kind},
	// Of the durations below 10s those that people write.
	"refreshInterval":        {Pattern: durationPattern, AllOf: duration.AllOf, Not: &schema{Pattern: `^[0-9](\.[0-9]*)?s$`}},
	"aws.region":             {Pattern: "^[a-z0-9-]*$"},
	"aws.roleARN":            {AnyOf: []schema{{Pattern: "^$"}, {Pattern: plainRolePattern}}},
	"nodeRoles.accounts":     {Pattern: "^" + accountPattern + "$"},
	"nodeRoles.extra":        {Pattern: rolePattern},
	"nodeRoles.windows":      {AnyOf: []schema{{Pattern: roleName.String()}, {Pattern: rolePattern}}},
	"nodeRoles.keepUnused":   {AnyOf: []schema{{Const: forever}, duration}},
	"nodeRoles.verify":       {Enum: []string{string(VerifyNone), string(VerifyEC2)}},
	"nodeRoles.vpcs":         {Pattern: vpcID.String()},
	"karpenter.nodeRoleARNs": {Pattern: rolePattern},
	"roles": {AnyOf: []schema{
		{Required: []string{"permissionSet"}, Not: &schema{Required: []string{"arn"}}},
		{Required: []string{"arn"}, Not: &schema{Required: []string{"permissionSet"}}},
	}},
	"roles.permissionSet": {Pattern: permissionSetName.String(), Not: &schema{Pattern: reservedRole.String()}},
	"roles.arn":           {Pattern: rolePattern},
	"roles.username":      username(schema{}, `\{\{AccessKeyID\}\}`),
	"roles.groups":        identity(schema{}),
	"iamGroups":           {Required: []string{"name", "groups"}},
	"iamGroups.name":      {Pattern: groupName.String()},
	"iamGroups.username":  username(schema{}, `\{\{(AccessKeyID|EC2PrivateDNSName|SessionName|SessionNameRaw)\}\}`),
	"iamGroups.groups":    identity(schema{MinItems: 1}),
	"users":               {Required: []string{"arn"}},
	"users.arn":           {Pattern: userPattern},
	"users.username":      username(schema{}, `\{\{AccessKeyID\}\}`),
	"users.groups":        identity(schema{}),
	"accounts":            {Pattern: "^" + accountPattern + "$"},
	"adopt":               {Pattern: trimmedPattern},
	"safety.removalLimit": {Pattern: "^0*(100|[0-9]{1,2})%$"},
	"safety.onMalformed":  {Enum: []string{string(Restore), string(Refuse)}},
	"safety.onConflict":   {Enum: []string{string(Keep), string(Adopt)}},
}

// A shownKey is a key of reference.yaml; the keys of a list are those of all
// its items.
type shownKey struct {
	name, comment string
	value         *yaml.Node
	keys          []*shownKey
}

func (k *shownKey) key(name string) *shownKey {
	for _, c := range k.keys {
		if strings.EqualFold(c.name, name) {
			return c
		}
	}
	return nil
}

// add adds the keys of a value, the first of a name winning. YAML gives the
// comment above the first key to the mapping around it, if that is a list's item.
func (k *shownKey) add(n *yaml.Node) {
	switch n.Kind {
	case yaml.SequenceNode:
		for _, item := range n.Content {
			k.add(item)
		}
	case yaml.MappingNode:
		for i := 0; i < len(n.Content); i += 2 {
			key, value := n.Content[i], n.Content[i+1]
			comment := key.HeadComment
			if i == 0 && comment == "" {
				comment = n.HeadComment
			}
			c := k.key(key.Value)
			if c == nil {
				c = &shownKey{name: key.Value, comment: comment, value: value}
				k.keys = append(k.keys, c)
			}
			c.add(value)
		}
	}
}

// prose makes paragraphs of a comment.
func prose(comment string) string {
	var lines []string
	for line := range strings.Lines(comment) {
		lines = append(lines, strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(line), "#")))
	}
	paragraphs := strings.Split(strings.Join(lines, "\n"), "\n\n")
	for i, p := range paragraphs {
		paragraphs[i] = strings.ReplaceAll(p, "\n", " ")
	}
	return strings.Join(paragraphs, "\n\n")
}

// makeSchema makes the schema anew.
func makeSchema(t *testing.T) []byte {
	t.Helper()
	text, err := os.ReadFile(reference)
	if err != nil {
		t.Fatal(err)
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	root := &shownKey{}
	root.add(doc.Content[0])

	used := map[string]bool{}
	var object func(typ reflect.Type, path string, shown *shownKey) schema
	value := func(f reflect.StructField, path string, shown *shownKey) schema {
		rule, ok := rules[path]
		used[path] = true
		typ := f.Type
		list := typ.Kind() == reflect.Slice
		if list {
			typ = typ.Elem()
		}
		s := rule
		switch {
		case typ.Kind() == reflect.Struct && typ != reflect.TypeFor[RemovalLimit]():
			s = object(typ, path, shown)
		case typ.Kind() == reflect.Bool:
			s.Type = "boolean"
		case typ.Kind() == reflect.String, typ == reflect.TypeFor[time.Duration](), typ == reflect.TypeFor[RemovalLimit]():
			if !ok {
				t.Errorf("no rule for the texts of %s", path)
			}
			s.Type = "string"
			if len(s.Enum) == 0 {
				s.MaxLength = maxText
			}
		default:
			t.Errorf("%s: no rule for the type %s", path, typ)
		}
		if list {
			items := s
			items.MinItems = 0
			s = schema{Type: []string{"array", "null"}, Items: &items}
			if s.MinItems = rule.MinItems; s.MinItems > 0 {
				s.Type = "array"
			}
		}
		s.Description = prose(shown.comment)
		switch shown.value.Kind {
		case yaml.ScalarNode:
			var v any
			if err := shown.value.Decode(&v); err != nil {
				t.Fatal(err)
			}
			// TestReferenceLoads holds that what is no example is the default.
			if typ.Kind() == reflect.String && typ.Name() == "string" {
				s.Examples = []any{v}
			} else {
				s.Default = v
			}
		case yaml.SequenceNode:
			if typ.Kind() == reflect.String {
				var v any
				if err := shown.value.Decode(&v); err != nil {
					t.Fatal(err)
				}
				s.Examples = []any{v}
			}
		}
		return s
	}
	no := false
	object = func(typ reflect.Type, path string, shown *shownKey) schema {
		rule := rules[path]
		used[path] = true
		s := schema{Type: []string{"object", "null"}, Required: rule.Required, AnyOf: rule.AnyOf, AdditionalProperties: &no}
		if len(s.Required)+len(s.AnyOf) > 0 {
			s.Type = "object" // null is not a way to leave out what is required
		}
		at := map[string]schema{}
		for f := range typ.Fields() {
			k := shown.key(f.Name)
			if k == nil {
				t.Fatalf("%s has no key for the field %s.%s", reference, typ, f.Name)
			}
			at[k.name] = value(f, strings.TrimPrefix(path+"."+k.name, "."), k)
		}
		for _, k := range shown.keys {
			p, ok := at[k.name]
			if path == "" && (k.name == "apiVersion" || k.name == "kind") {
				p, ok = rules[k.name], true
				used[k.name] = true
				p.Type, p.Description = "string", prose(k.comment)
			}
			if !ok {
				t.Errorf("%s: the key %s.%s is no field of %s", reference, path, k.name, typ)
			}
			s.Properties = append(s.Properties, property{k.name, p})
		}
		return s
	}
	s := object(reflect.TypeFor[Config](), "", root)
	s.Schema, s.ID, s.Title = schemaDraft, schemaURL, "config.yaml of rolecall"
	for path := range rules {
		if !used[path] {
			t.Errorf("the rule of %q is no key's", path)
		}
	}
	compact, err := marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var indented bytes.Buffer
	if err := json.Indent(&indented, bytes.TrimSpace(compact), "", "  "); err != nil {
		t.Fatal(err)
	}
	indented.WriteByte('\n')
	return indented.Bytes()
}

func TestSchemaIsCurrent(t *testing.T) {
	want := makeSchema(t)
	if *update {
		if err := os.WriteFile(schemaFile, want, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s is not what the types and %s make (run with -update; -want +got):\n%s", schemaFile, reference, diff)
	}
}

// TestSchemaIsDescribed holds that an editor has a word for every key.
func TestSchemaIsDescribed(t *testing.T) {
	var walk func(path string, v any)
	walk = func(path string, v any) {
		m, ok := v.(map[string]any)
		if !ok {
			return
		}
		if p, ok := m["properties"].(map[string]any); ok {
			for name, v := range p {
				if d, _ := v.(map[string]any)["description"].(string); d == "" || strings.Contains(d, "#") {
					t.Errorf("%s.%s has the description %q", path, name, d)
				}
				walk(path+"."+name, v)
			}
		}
		walk(path, m["items"])
	}
	var v any
	if err := json.Unmarshal(makeSchema(t), &v); err != nil {
		t.Fatal(err)
	}
	walk("", v)
}

// TestSchemaKnowsTheWords compares the words that the schema offers with those
// that the decoder says it takes.
func TestSchemaKnowsTheWords(t *testing.T) {
	offered := regexp.MustCompile(`: write ([a-z0-9]+(?: or [a-z0-9]+)+)$`)
	for path, rule := range rules {
		if len(rule.Enum) == 0 {
			continue
		}
		outer, inner, _ := strings.Cut(path, ".")
		_, err := Parse("x", []byte(head+outer+": {"+inner+": other}\n"))
		m := offered.FindStringSubmatch(err.Error())
		if m == nil {
			t.Errorf("%s: Parse said %v, which offers no words", path, err)
			continue
		}
		if words := strings.Split(m[1], " or "); !slices.Equal(words, rule.Enum) {
			t.Errorf("%s: the decoder takes %q, the schema %q", path, words, rule.Enum)
		}
	}
}
