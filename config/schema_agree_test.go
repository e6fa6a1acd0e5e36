package config

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"go.yaml.in/yaml/v3"
	"golang.org/x/tools/txtar"
)

// unseen are the problems that no JSON Schema can see, or that ours leaves to
// "rolecall validate": its patterns do without lookahead.
var unseen = []struct {
	message *regexp.Regexp
	why     string
}{
	{regexp.MustCompile(`write the same one in both places$`), "it compares entries"},
	{regexp.MustCompile(`^the tag "`), "an editor drops tags"},
	{regexp.MustCompile(`^found the date `), "to YAML 1.2, and so to editors, a date is a text"},
	{regexp.MustCompile(`^the text has \d+ bytes`), "a schema counts characters"},
	{regexp.MustCompile(`is too short, since IAM limits`), "a pattern can't add units up"},
	{regexp.MustCompile(`is not longer than nothing`), "below a nanosecond"},
	{regexp.MustCompile(`^".*\d{4}.*" is no duration`), "more than 64 bits of nanoseconds"},
	{regexp.MustCompile(`is no placeholder of an IAM group's usernames`), "any other text in braces"},
	{regexp.MustCompile(`^".*\\u.*" is no syncedBy mark`), "beyond ASCII"},
	{regexp.MustCompile(`^the entry has no username, and the one that its name would give`), "the default of another key"},
	{regexp.MustCompile(`begins or ends with white space|holds a control character`), "beyond ASCII"},
	{regexp.MustCompile(`^".*\$(ACCOUNTID|PARTITION).*" ends with ".*", which is no IAM name`), "longer than 64 with its placeholders filled in"},
}

// schemaOf compiles the committed schema.
func schemaOf(t testing.TB) *jsonschema.Schema {
	t.Helper()
	text, err := os.ReadFile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource(schemaURL, doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile(schemaURL)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// asEditorsSee returns the value that a language server validates, or false
// for what it reports by itself: no YAML, several documents, doubled keys.
func asEditorsSee(text []byte) (any, bool) {
	root, problem := parse(source{key: mainKey, path: mainKey, content: text, size: int64(len(text))})
	if problem != nil || root == nil {
		return nil, false
	}
	whole := true
	var see func(n *yaml.Node) any
	see = func(n *yaml.Node) any {
		n = at(n, "").node
		switch n.Kind {
		case yaml.MappingNode:
			m := map[string]any{}
			for i := 0; i < len(n.Content); i += 2 {
				k := at(n.Content[i], "").node
				if _, again := m[k.Value]; again || k.Kind != yaml.ScalarNode {
					whole = false
				}
				m[k.Value] = see(n.Content[i+1])
			}
			return m
		case yaml.SequenceNode:
			list := []any{}
			for _, item := range n.Content {
				list = append(list, see(item))
			}
			return list
		}
		switch n.ShortTag() {
		case "!!null":
			return nil
		case "!!bool":
			return strings.EqualFold(n.Value, "true")
		case "!!int":
			return 1
		case "!!float":
			return 1.5
		}
		return n.Value
	}
	v := see(root)
	return v, whole
}

// places are where a schema finds fault, as keys of problems.
func places(v any, err *jsonschema.ValidationError) []string {
	_, either := err.ErrorKind.(*kind.AnyOf) // which alternative was meant, nobody knows
	if len(err.Causes) > 0 && !either {
		var all []string
		for _, c := range err.Causes {
			all = append(all, places(v, c)...)
		}
		return all
	}
	key := ""
	for _, name := range err.InstanceLocation {
		if list, ok := v.([]any); ok {
			i, _ := strconv.Atoi(name)
			v = list[i]
			key = fmt.Sprintf("%s[%s]", key, name)
			continue
		}
		v = v.(map[string]any)[name]
		key = join(key, name)
	}
	var names []string
	switch k := err.ErrorKind.(type) {
	case *kind.AdditionalProperties:
		names = k.Properties
	case *kind.Required:
		names = k.Missing
	default:
		return []string{key}
	}
	for i, name := range names {
		names[i] = join(key, name)
	}
	return names
}

// related reports whether two keys are one place, or one is inside the other.
func related(a, b string) bool {
	if len(a) > len(b) {
		a, b = b, a
	}
	rest, ok := strings.CutPrefix(b, a)
	return ok && (rest == "" || a == "" || rest[0] == '.' || rest[0] == '[')
}

// agree holds that the schema and the decoder find fault in the same places of
// a config.yaml. It returns whether an editor could judge it at all.
func agree(t testing.TB, s *jsonschema.Schema, text []byte) bool {
	t.Helper()
	v, ok := asEditorsSee(text)
	if !ok {
		return false
	}
	var problems []Problem
	_, err := Parse(mainKey, text)
	if list := (*Error)(nil); errors.As(err, &list) {
		problems = list.Problems
	}
	var faults []string
	if refused := (*jsonschema.ValidationError)(nil); errors.As(s.Validate(v), &refused) {
		faults = places(v, refused)
	}
	if len(problems) == 1 && strings.Contains(problems[0].Message, "the manifest of a ConfigMap") {
		if len(faults) == 0 {
			t.Errorf("the schema takes the manifest of a ConfigMap:\n%s", text)
		}
		return true
	}
	for _, f := range faults {
		if !slices.ContainsFunc(problems, func(p Problem) bool { return related(p.Key, f) }) {
			t.Errorf("the schema refuses %q, which Load takes, in:\n%s\nLoad said: %v", f, text, problems)
		}
	}
	if len(problems) == maxProblems {
		return true // Load stopped counting
	}
	for _, p := range problems {
		known := false
		for _, u := range unseen {
			known = known || u.message.MatchString(p.Message)
		}
		if !known && !slices.ContainsFunc(faults, func(f string) bool { return related(p.Key, f) }) {
			t.Errorf("the schema takes what Load refuses: %s, in:\n%s\nthe schema refused: %q", p, text, faults)
		}
	}
	return true
}

// TestSchemaAgrees has every config.yaml of testdata and those that we ship.
func TestSchemaAgrees(t *testing.T) {
	s := schemaOf(t)
	texts := map[string][]byte{}
	archives, err := filepath.Glob(filepath.Join("testdata", "*", "*.txtar"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range archives {
		archive, err := txtar.ParseFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range archive.Files {
			if f.Name == mainKey {
				texts[path] = f.Data
			}
		}
	}
	for _, path := range []string{reference, "../manifests/base/config.yaml", "../manifests/overlays/hardened/candidate/config.yaml"} {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if line := "# yaml-language-server: $schema=" + schemaURL + "\n"; !strings.HasPrefix(string(text), line) {
			t.Errorf("%s doesn't begin with %s", path, line)
		}
		texts[path] = text
	}
	judged := 0
	for path, text := range texts {
		t.Run(path, func(t *testing.T) {
			if agree(t, s, text) {
				judged++
			}
		})
	}
	if judged < 20 {
		t.Errorf("%d of %d files could be judged, too few", judged, len(texts))
	}
}

// oddValues are texts of YAML, most of which are wrong in most places.
func oddValues() []string {
	return []string{
		``, `null`, `~`, `1`, `0`, `-1`, `1.5`, `true`, `yes`, `[]`, `{}`, `[[]]`, `[{}]`, `[null]`, `[a, a]`, `[1]`, `{a: b}`, `""`, `" "`, `" a"`, `"a "`, `a`, `"1"`,
		`2006-01-02`, `"a\tb"`, `"a\nb"`, `"\ufeffa"`, `"a\u2028b"`, `"\u00a0a"`,
		`forever`, `none`, `ec2`, `None`, `keep`, `adopt`, `restore`, `refuse`, `Config`, `rolecall.dev/v1`, `rolecall.dev/v2`,
		`10s`, `9s`, `9.5s`, `09s`, `1m`, `1h30m`, `.5h`, `1.h`, `+1h`, `-1h`, `1d`, `0s`, `0.0h`, `1e3s`, `1h 2m`, `900000h`, `99999999999h`, `0.00000000001s`, `1ns`, `5µs`, `100000ms`,
		`50%`, `0%`, `100%`, `101%`, `007%`, `-1%`, `+5%`, `5.5%`, `50 %`, `"%"`, `50`,
		`"111122223333"`, `111122223333`, `"11112222333"`, `$ACCOUNTID`, `$PARTITION`, `$ACCOUNT`, `${ACCOUNTID}`, `"１１１１２２２２３３３３"`,
		`arn:aws:iam::111122223333:role/x`, `arn:aws:iam::111122223333:role/a/b/x`, `arn:aws:iam::111122223333:role//x`, `arn:aws:iam::111122223333:role/a:b/x`,
		`arn:aws:iam::111122223333:role/`, `arn:aws:iam::111122223333:role/x/`, `arn:aws:iam::111122223333:role/` + strings.Repeat("x", 64), `arn:aws:iam::111122223333:role/` + strings.Repeat("x", 65),
		`arn:aws:iam::111122223333:role/ä/x`, `arn:aws:iam::111122223333:role/x!`, `arn:aws:iam::111122223333:role/a$b/x`, `arn:aws:iam::111122223333:Role/x`,
		`arn:$PARTITION:iam::$ACCOUNTID:role/$ACCOUNTID-x`, `arn:$PARTITION-cn:iam::$ACCOUNTID:role/x`, `arn:$PARTITION-x:iam::$ACCOUNTID:role/x`, `arn:aws:iam::1$ACCOUNTID:role/x`,
		`arn:aws:iam::$ACCOUNTID:role/` + strings.Repeat("x", 60) + `$ACCOUNTID`, `arn:aws-mars:iam::111122223333:role/x`, `arn:aws:iam:eu-west-3:111122223333:role/x`,
		`arn:aws:iam::111122223333:user/x`, `arn:aws:iam::111122223333:user/a/x`, `arn:aws:iam::111122223333:instance-profile/x`, `arn:aws:sts::111122223333:assumed-role/x/y`,
		`arn:aws:iam::111122223333:root`, `"arn:aws:iam::111122223333:role/x "`, `arn:aws:iam::111122223333:role/AWSReservedSSO_A_0123456789abcdef`,
		`AWSReservedSSO_A_0123456789abcdef`, strings.Repeat("x", 32), strings.Repeat("x", 33), strings.Repeat("x", 64), strings.Repeat("x", 65), strings.Repeat("x", 128), strings.Repeat("x", 129),
		strings.Repeat("x", 1024), strings.Repeat("x", 1025), strings.Repeat("ä", 600), `a/b`, `a b`, `eu-west-3`, `EU`,
		`"{{SessionName}}"`, `"{{UserName}}"`, `"x:{{AccessKeyID}}"`, `"{{AccountID}}"`, `"{{Other}}"`, `{{SessionName}}`, `[viewers]`, `["{{AccessKeyID}}"]`, `"{{ UserName }}"`,
		`{name: A, groups: [a]}`, `{permissionSet: A}`, `[{permissionSet: A}]`, `[{permissionSet: A, arn: "arn:aws:iam::111122223333:role/x"}]`, `[{permissionSet: A, groups: }]`,
		`[{permissionSet: , arn: "arn:aws:iam::111122223333:role/x", username: x}]`, `[{arn: "arn:aws:iam::111122223333:role/x"}]`, `[{username: x}]`, `[{permissionSet: A, username: }]`,
		`[{name: A}]`, `[{name: A, groups: []}]`, `[{name: A, groups: }]`, `[{groups: [a]}]`, `[{arn: "arn:aws:iam::111122223333:user/x"}]`, `[{username: a, groups: [a]}]`, `{nodeRoleARNs: [a]}`,
	}
}

// TestSchemaAgreesOnOddValues puts each of many values in the place of each
// value of reference.yaml, and leaves each key out.
func TestSchemaAgreesOnOddValues(t *testing.T) {
	t.Parallel()
	s := schemaOf(t)
	text, err := os.ReadFile(reference)
	if err != nil {
		t.Fatal(err)
	}
	values := oddValues()
	stride := 1 // with -short, a place gets only every tenth value, and each place others
	if testing.Short() {
		stride = 10
	}
	next := 0
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	judged := 0
	check := func() {
		t.Helper()
		changed, err := yaml.Marshal(&doc)
		if err != nil {
			t.Fatal(err)
		}
		if agree(t, s, changed) {
			judged++
		}
	}
	withoutComments(&doc)
	var walk func(n *yaml.Node)
	walk = func(n *yaml.Node) {
		if n.Kind == yaml.MappingNode {
			for i := 0; i < len(n.Content); i += 2 {
				whole := n.Content
				n.Content = slices.Delete(slices.Clone(whole), i, i+2)
				check()
				n.Content = whole
			}
			n.Content = append(n.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: "unknownKey"}, &yaml.Node{Kind: yaml.ScalarNode, Value: "x"})
			check()
			n.Content = n.Content[:len(n.Content)-2]
		}
		for i, c := range n.Content {
			if n.Kind == yaml.MappingNode && i%2 == 0 {
				continue
			}
			next++
			for at := next % stride; at < len(values); at += stride {
				value := values[at]
				var odd yaml.Node
				if err := yaml.Unmarshal([]byte(value), &odd); err != nil {
					t.Fatalf("%s: %v", value, err)
				}
				n.Content[i] = &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null"}
				if len(odd.Content) > 0 {
					n.Content[i] = odd.Content[0]
				}
				check()
			}
			n.Content[i] = c
			walk(c)
		}
	}
	walk(doc.Content[0])
	if least := 30 * len(values) / stride; judged < least {
		t.Errorf("%d changed configurations were judged, want more than %d", judged, least)
	}
}

// withoutComments keeps what is odd from being taken for the first line's.
func withoutComments(n *yaml.Node) {
	n.HeadComment, n.LineComment, n.FootComment = "", "", ""
	for _, c := range n.Content {
		withoutComments(c)
	}
}

// TestSchemaAgreesOnRandomDocuments has documents that are wrong, or unusual, in
// several places at once: reference.yaml with some values replaced by odd ones or
// by those of another place, and with keys left out, renamed and doubled.
func TestSchemaAgreesOnRandomDocuments(t *testing.T) {
	t.Parallel()
	s := schemaOf(t)
	text, err := os.ReadFile(reference)
	if err != nil {
		t.Fatal(err)
	}
	odd := oddValues()
	documents := uint64(2000)
	if testing.Short() {
		documents = 200
	}
	judged, taken := uint64(0), uint64(0)
	for seed := range documents {
		random := rand.New(rand.NewPCG(seed, 0))
		var doc yaml.Node
		if err := yaml.Unmarshal(text, &doc); err != nil {
			t.Fatal(err)
		}
		withoutComments(&doc)
		for range 1 + random.IntN(5) {
			mangle(t, random, &doc, odd)
		}
		changed, err := yaml.Marshal(&doc)
		if err != nil {
			t.Fatal(err)
		}
		if !agree(t, s, changed) {
			continue
		}
		judged++
		if _, err := Parse(mainKey, changed); err == nil {
			taken++
		}
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	if judged < documents/2 || taken < documents/40 {
		t.Errorf("%d documents judged, %d of them right: too few", judged, taken)
	}
}

// cloned keeps a value that is put into itself from having no end.
func cloned(n *yaml.Node) *yaml.Node {
	out := *n
	out.Content = nil
	for _, c := range n.Content {
		out.Content = append(out.Content, cloned(c))
	}
	return &out
}

// mangle changes one place of a document.
func mangle(t *testing.T, random *rand.Rand, doc *yaml.Node, odd []string) {
	t.Helper()
	var inner, values []*yaml.Node // what has content, and the values in it
	var walk func(n *yaml.Node)
	walk = func(n *yaml.Node) {
		if (n.Kind == yaml.MappingNode || n.Kind == yaml.SequenceNode) && len(n.Content) > 0 {
			inner = append(inner, n)
		}
		for i, c := range n.Content {
			if n.Kind != yaml.MappingNode || i%2 == 1 {
				values = append(values, c)
				walk(c)
			}
		}
	}
	walk(doc.Content[0])
	if len(inner) == 0 || len(values) == 0 {
		return
	}
	n := inner[random.IntN(len(inner))]
	step := 1
	if n.Kind == yaml.MappingNode {
		step = 2
	}
	at := step * random.IntN(len(n.Content)/step)
	switch random.IntN(5) {
	case 0: // left out
		n.Content = slices.Delete(slices.Clone(n.Content), at, at+step)
	case 1: // an item twice, or a key in other letters
		if step == 1 {
			n.Content = append(slices.Clone(n.Content), n.Content[at])
			return
		}
		key := *n.Content[at]
		key.Value = strings.ToUpper(key.Value[:1]) + key.Value[1:]
		n.Content[at] = &key
	case 2: // the value of another place
		*values[random.IntN(len(values))] = *cloned(values[random.IntN(len(values))])
	default:
		var other yaml.Node
		if err := yaml.Unmarshal([]byte(odd[random.IntN(len(odd))]), &other); err != nil {
			t.Fatal(err)
		}
		if len(other.Content) > 0 {
			n.Content[at+step-1] = other.Content[0]
		}
	}
}

// FuzzSchema looks for a config.yaml on which the schema and the decoder differ.
func FuzzSchema(f *testing.F) {
	archives, err := filepath.Glob(filepath.Join("testdata", "*", "*.txtar"))
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range archives {
		archive, err := txtar.ParseFile(path)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range archive.Files {
			if file.Name == mainKey {
				f.Add(file.Data)
			}
		}
	}
	text, err := os.ReadFile(reference)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	s := schemaOf(f)
	f.Fuzz(func(t *testing.T, text []byte) { agree(t, s, text) })
}
