package migrate

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/rolecall/rolecall/config"
)

const (
	// maxSize is the most bytes that are read: a ConfigMap holds 1 MiB, and a
	// manifest of it, or the state of Terraform around it, some more.
	maxSize = 16 << 20

	// maxNodes is the most values that a text may have with its aliases written
	// out, and maxText the most bytes. Without them a text of a few lines can
	// grow until memory is full.
	maxNodes = 500_000
	maxText  = 32 << 20
)

// A reader collects what is to be said of a file. It never stops at a problem.
type reader struct {
	file     string
	problems []config.Problem
	notes    []config.Problem
	fill     func(string) (string, error) // see Read
	groups   []group                      // IAM groups whose users are mapped
	sso      bool                         // a role mapping may name a permission set as the authenticator's config does
	perItem  bool                         // what can't be read is left out alone, as in an import
}

// A value is a node with the path of keys that leads to it, such as
// iamIdentityMappings[2].groups, and how many lines its text stands below the
// beginning of the file.
type value struct {
	node *yaml.Node
	key  string
	// shift is added to the node's line. A text inside of a text is parsed on
	// its own and counts its lines from 1.
	shift int
	// line is the line of the text around where it cannot be told; else 0.
	line int
	file string // where it is from; empty: the reader's file
}

func (v value) at() int {
	if v.line > 0 || v.node == nil {
		return max(v.line, 1)
	}
	return max(v.node.Line+v.shift, 1)
}

// maxSaid bounds what is said of one file, as config does.
const maxSaid = 1000

func (r *reader) problem(v value, format string, args ...any) {
	if len(r.problems) < maxSaid {
		r.problems = append(r.problems, r.said(v, format, args...))
	}
}

func (r *reader) note(v value, format string, args ...any) {
	if len(r.notes) < maxSaid {
		r.notes = append(r.notes, r.said(v, format, args...))
	}
}

func (r *reader) said(v value, format string, args ...any) config.Problem {
	return config.Problem{File: cmp.Or(v.file, r.file), Line: v.at(), Key: v.key, Message: fmt.Sprintf(format, args...)}
}

// fail is the error of what was found to be wrong, by line, or nil.
func (r *reader) fail() error {
	if len(r.problems) == 0 {
		return nil
	}
	slices.SortStableFunc(r.problems, func(a, b config.Problem) int { return cmp.Compare(a.Line, b.Line) })
	return &config.Error{Problems: r.problems}
}

func (r *reader) failAt(line int, format string, args ...any) {
	r.problem(value{node: &yaml.Node{}, line: max(line, 1)}, format, args...)
}

// documents parses the documents of a YAML or JSON text. Aliases are written
// out, and documents without a value left out.
func (r *reader) documents(data []byte) []value {
	if len(data) > maxSize {
		r.failAt(1, "the file has %d bytes: give one of at most %d MiB", len(data), maxSize>>20)
		return nil
	}
	data = untab(data)
	var docs []value
	budget := &budget{nodes: maxNodes, bytes: maxText}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	for {
		var doc yaml.Node
		err := decode(dec, &doc)
		if errors.Is(err, io.EOF) {
			return docs
		}
		if err != nil {
			line, reason := fault(err)
			r.failAt(line, "the text is neither YAML nor JSON (%s): write a value that begins with {{ in quotes, and indent with spaces", reason)
			return nil
		}
		if len(doc.Content) == 0 || null(doc.Content[0]) {
			continue
		}
		root := budget.expand(doc.Content[0])
		if root == nil {
			r.failAt(doc.Line, "the aliases repeat more than %d values: write fewer of them, or the values themselves", maxNodes)
			return nil
		}
		docs = append(docs, value{node: root})
	}
}

// untab makes blanks of the tabs of a JSON text, which YAML does not take for
// indentation. In a string of JSON no tab can stand as it is.
func untab(data []byte) []byte {
	if bytes.ContainsRune(data, '\t') && json.Valid(data) {
		return bytes.ReplaceAll(data, []byte("\t"), []byte(" "))
	}
	return data
}

// decode reads the next document. The YAML package reports some internal faults
// by panicking (decode.go, "please report").
func decode(dec *yaml.Decoder, n *yaml.Node) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the YAML reader failed: %v", p)
		}
	}()
	return dec.Decode(n)
}

var faultLine = regexp.MustCompile(`^yaml: line (\d+): (.*)$`)

// fault takes an error of the YAML package apart: the line, and its own words
// where they hold nothing of the text.
func fault(err error) (line int, reason string) {
	reason = strings.TrimPrefix(err.Error(), "yaml: ")
	if m := faultLine.FindStringSubmatch(err.Error()); m != nil {
		line, _ = strconv.Atoi(m[1])
		reason = m[2]
	}
	return line, reason
}

// A budget is what a file may still grow by its aliases.
type budget struct{ nodes, bytes int }

// expand copies a tree with its aliases written out and its anchors left out;
// nil where it is too large, as one is that stands in itself.
func (b *budget) expand(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	b.nodes--
	b.bytes -= len(n.Value)
	if b.nodes < 0 || b.bytes < 0 {
		return nil
	}
	out := &yaml.Node{Kind: n.Kind, Style: n.Style, Tag: n.Tag, Value: n.Value, Line: n.Line, Column: n.Column}
	for _, c := range n.Content {
		copied := b.expand(c)
		if copied == nil {
			return nil
		}
		out.Content = append(out.Content, copied)
	}
	return out
}

func null(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

// A field is a key of a mapping and its value.
type field struct {
	name string
	value
}

// fields are those of a mapping, of which each name comes once: the last of two
// equal ones wins, and what stands in the mapping itself over what is merged
// into it. What is no mapping, or not there, has none.
func (v value) fields() []field {
	if v.node == nil || v.node.Kind != yaml.MappingNode {
		return nil
	}
	var out []field
	places := map[string]int{}
	put := func(f field, over bool) {
		switch i, again := places[f.name]; {
		case !again:
			places[f.name] = len(out)
			out = append(out, f)
		case over:
			out[i] = f
		}
	}
	var merged []field
	for i := 0; i+1 < len(v.node.Content); i += 2 {
		k, n := v.node.Content[i], v.node.Content[i+1]
		if k.ShortTag() == "!!merge" {
			from := []*yaml.Node{n}
			if n.Kind == yaml.SequenceNode {
				from = n.Content
			}
			for _, m := range from {
				merged = append(merged, v.child(m, v.key).fields()...)
			}
			continue
		}
		if k.Kind == yaml.ScalarNode {
			put(field{k.Value, v.child(n, join(v.key, k.Value))}, true)
		}
	}
	for _, f := range merged {
		put(f, false)
	}
	return out
}

func (v value) child(n *yaml.Node, key string) value { return value{n, key, v.shift, v.line, v.file} }

// join is the path of a key below another.
func join(key, name string) string {
	if len(name) > 60 {
		name = name[:60] + "..."
	}
	if strings.ContainsAny(name, " .[]\"'") || strings.ContainsFunc(name, func(c rune) bool { return c < ' ' || c > '~' }) {
		name = strconv.Quote(name)
	}
	if key == "" {
		return name
	}
	return key + "." + name
}

// field is the one of that name; without its node where there is none.
func (v value) field(name string) value {
	for _, f := range v.fields() {
		if f.name == name {
			return f.value
		}
	}
	return value{}
}

// fold is field, found without case, as encoding/json finds it.
func (v value) fold(name string) value {
	for _, f := range v.fields() {
		if strings.EqualFold(f.name, name) {
			return f.value
		}
	}
	return value{}
}

// is reports whether the value is there and is no null.
func (v value) is() bool { return v.node != nil && !null(v.node) }

// scalar is the text of a scalar, or "".
func (v value) scalar() string {
	if v.node == nil || v.node.Kind != yaml.ScalarNode || null(v.node) {
		return ""
	}
	return v.node.Value
}

// items are those of a list, null ones left out.
func (v value) items() []value {
	if v.node == nil || v.node.Kind != yaml.SequenceNode {
		return nil
	}
	var out []value
	for i, n := range v.node.Content {
		if !null(n) {
			out = append(out, v.child(n, fmt.Sprintf("%s[%d]", v.key, i)))
		}
	}
	return out
}

// list reads a list. The example shows in an error what to write.
func (r *reader) list(v value, example string) []value {
	if v.is() && v.node.Kind != yaml.SequenceNode {
		r.problem(v, "found %s where a list belongs: write one, for example %s", found(v), example)
	}
	return v.items()
}

// text reads a text. What YAML takes for a number or a truth value is none: it
// may not be what was written.
func (r *reader) text(v value, example string) string {
	switch {
	case !v.is():
	case v.node.Kind == yaml.MappingNode && v.node.Style&yaml.FlowStyle != 0 && len(v.node.Content) > 0 && v.node.Content[0].Kind == yaml.MappingNode:
		r.problem(v, `YAML takes {{ for the beginning of a mapping: put quotes round the whole value, for example "{{SessionName}}"`)
	case v.node.Kind != yaml.ScalarNode:
		r.problem(v, "found %s where a text belongs: write a single value, for example %s", found(v), example)
	case v.node.ShortTag() != "!!str":
		r.problem(v, "found %s where a text belongs: put it in quotes, %s", found(v), quote(v.node.Value))
	default:
		return v.node.Value
	}
	return ""
}

// texts reads a list of texts.
func (r *reader) texts(v value, example string) []string {
	var out []string
	for _, item := range r.list(v, "["+example+"]") {
		if text := r.text(item, example); text != "" {
			out = append(out, text)
		}
	}
	return out
}

// boolean reads true or false; what is missing is false.
func (r *reader) boolean(v value) bool {
	if !v.is() {
		return false
	}
	if is, err := strconv.ParseBool(strings.ToLower(v.scalar())); err == nil {
		return is
	}
	r.problem(v, "found %s where a truth value belongs: write true or false", found(v))
	return false
}

// found says what a value is.
func found(v value) string {
	switch v.node.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	switch v.node.ShortTag() {
	case "!!null":
		return "nothing"
	case "!!int", "!!float":
		return "the number " + cut(v.node.Value)
	case "!!bool":
		return "the truth value " + cut(v.node.Value)
	}
	return "the text " + quote(v.node.Value)
}

// quote quotes a text of the file for a message, shortened to a length that
// fits in one.
func quote(s string) string { return strconv.Quote(cut(s)) }

func cut(s string) string {
	const max = 120 // an ARN as they are goes in
	if r := []rune(s); len(r) > max {
		return string(r[:max]) + "..."
	}
	return s
}
