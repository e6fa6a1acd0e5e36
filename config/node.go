package config

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxText is the longest text, in bytes, that a value may be. The longest that
// makes sense is an ARN with a path: under 700.
const maxText = 1024

// A decoder walks the nodes of a configuration's files and collects what is
// wrong with them. It never stops at a problem; what it returns beside one is
// of no use.
type decoder struct {
	file     string
	awsAuth  bool // the file is in aws-auth's own format: keys match without case, and unknown ones only warn
	problems []Problem
	warnings []Problem
	claims   map[string]claim
}

// A value is a node with the path of keys that leads to it, such as
// roles[2].groups. Aliases are followed already.
type value struct {
	node *yaml.Node
	key  string
}

func at(n *yaml.Node, key string) value {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return value{n, key}
}

func (v value) null() bool {
	return v.node.Kind == yaml.ScalarNode && v.node.ShortTag() == "!!null"
}

// number reports whether YAML takes the value for a number, not for a text.
func (v value) number() bool {
	return v.node.Kind == yaml.ScalarNode && (v.node.ShortTag() == "!!int" || v.node.ShortTag() == "!!float")
}

// keys says how to read each key of a mapping.
type keys map[string]func(value)

func (d *decoder) problem(v value, format string, args ...any) {
	if len(d.problems) < maxProblems {
		d.problems = append(d.problems, d.place(v, format, args...))
	}
}

func (d *decoder) warn(v value, format string, args ...any) {
	if len(d.warnings) < maxProblems {
		d.warnings = append(d.warnings, d.place(v, format, args...))
	}
}

func (d *decoder) place(v value, format string, args ...any) Problem {
	return Problem{File: d.file, Line: v.node.Line, Column: v.node.Column, Key: v.key, Message: fmt.Sprintf(format, args...)}
}

// mapping reads the keys of a mapping, each by its function, and returns those
// that were there. A value that is missing altogether has no keys.
func (d *decoder) mapping(v value, known keys) map[string]value {
	names := slices.Sorted(maps.Keys(known))
	if v.null() {
		return nil
	}
	if v.node.Kind != yaml.MappingNode {
		d.problem(v, "found %s where a mapping belongs: write its keys, one a line: %s", found(v), strings.Join(names, ", "))
		return nil
	}
	if !d.untagged(v) {
		return nil
	}
	seen := make(map[string]value)
	for i := 0; i+1 < len(v.node.Content); i += 2 {
		k, item := at(v.node.Content[i], v.key), v.node.Content[i+1]
		if k.node.Kind != yaml.ScalarNode {
			d.problem(k, "found %s where a key belongs: write one of %s", found(k), strings.Join(names, ", "))
			continue
		}
		name := k.node.Value
		if k.node.ShortTag() == "!!merge" {
			d.problem(k, "the merge key << is not read: write the keys out, or use an alias for a whole value")
			continue
		}
		if d.awsAuth {
			if i := slices.IndexFunc(names, func(n string) bool { return strings.EqualFold(n, name) }); i >= 0 {
				name = names[i]
			}
		}
		k.key = join(v.key, name)
		read, ok := known[name]
		if !ok {
			d.unknownKey(k, name, names)
			continue
		}
		if first, again := seen[name]; again {
			d.problem(k, "the key is given twice, first on line %d: remove one of them", first.node.Line)
			continue
		}
		seen[name] = k
		read(at(item, k.key))
	}
	return seen
}

func (d *decoder) unknownKey(k value, name string, names []string) {
	hint := "known here are " + strings.Join(names, ", ")
	if near := nearest(name, names); near != "" {
		hint = "did you mean " + near + "?"
	}
	if d.awsAuth {
		d.warn(k, "the key is not read and has no effect: %s", hint)
		return
	}
	d.problem(k, "the key is unknown: %s", hint)
}

// list calls item for every item of a list. A value that is missing altogether
// has no items. The example shows in an error what to write.
func (d *decoder) list(v value, example string, item func(value)) {
	switch {
	case v.null() || !d.untagged(v):
	case braces(v):
		d.problem(v, "%s", bracesHint)
	case v.node.Kind != yaml.SequenceNode:
		d.problem(v, "found %s where a list belongs: write one, for example %s", found(v), example)
	default:
		for i, n := range v.node.Content {
			it := at(n, fmt.Sprintf("%s[%d]", v.key, i))
			if it.null() {
				d.problem(it, "the item is empty: write a value, or remove the item")
				continue
			}
			item(it)
		}
	}
}

// text reads a text. The example, already quoted where YAML needs it, shows in
// an error what to write.
func (d *decoder) text(v value, example string) (string, bool) {
	switch {
	case v.node.Kind == yaml.MappingNode && braces(v):
		d.problem(v, "%s", bracesHint)
	case v.node.Kind != yaml.ScalarNode:
		d.problem(v, "found %s where a text belongs: write a single value, for example %s", found(v), example)
	case !d.untagged(v):
	case v.null():
		d.problem(v, "the key has no value: write one, for example %s, or remove the key", example)
	case v.node.ShortTag() != "!!str":
		d.problem(v, "found %s where a text belongs: put it in quotes, %s", found(v), quote(v.node.Value))
	case len(v.node.Value) > maxText:
		d.problem(v, "the text has %d bytes: write at most %d, for example %s", len(v.node.Value), maxText, example)
	default:
		return v.node.Value, true
	}
	return "", false
}

// boolean reads true or false.
func (d *decoder) boolean(v value) (is, ok bool) {
	if !d.untagged(v) {
		return false, false
	}
	if v.node.Kind != yaml.ScalarNode || v.node.ShortTag() != "!!bool" {
		d.problem(v, "found %s where a truth value belongs: write true or false, without quotes", found(v))
		return false, false
	}
	return strings.EqualFold(v.node.Value, "true"), true
}

// untagged refuses YAML tags that make something else of a value than it looks
// like, such as !!binary.
func (d *decoder) untagged(v value) bool {
	if v.node.Style&yaml.TaggedStyle == 0 {
		return true
	}
	switch v.node.ShortTag() {
	case "!!str", "!!seq", "!!map", "!!bool":
		return true
	}
	d.problem(v, "the tag %s is not read: write the value without it", quote(v.node.Tag))
	return false
}

// braces reports whether a mapping is what YAML makes of a bare {{Name}}.
func braces(v value) bool {
	n := v.node
	return n.Kind == yaml.MappingNode && n.Style&yaml.FlowStyle != 0 && len(n.Content) > 0 &&
		n.Content[0].Kind == yaml.MappingNode && n.Content[0].Style&yaml.FlowStyle != 0
}

// found says what a value is.
func found(v value) string {
	switch v.node.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	text := v.node.Value
	if len(text) > 60 {
		text = text[:60] + "..."
	}
	switch v.node.ShortTag() {
	case "!!null":
		return "nothing"
	case "!!int", "!!float":
		return "the number " + text
	case "!!bool":
		return "the truth value " + text
	case "!!timestamp":
		return "the date " + text
	}
	return "the text " + quote(v.node.Value)
}

// quote quotes a text of the file for a message, shortened to a length that
// fits in one.
func quote(s string) string {
	if r := []rune(s); len(r) > 60 {
		s = string(r[:60]) + "..."
	}
	return strconv.Quote(s)
}

func join(key, name string) string {
	if len(name) > 60 {
		name = name[:60] + "..."
	}
	if !plainKey(name) {
		name = strconv.Quote(name)
	}
	if key == "" {
		return name
	}
	return key + "." + name
}

func plainKey(s string) bool {
	for _, r := range s {
		if r <= ' ' || r > '~' || strings.ContainsRune(`."'[]`, r) {
			return false
		}
	}
	return s != ""
}

// nearest returns the name that was probably meant by an unknown one, or "".
func nearest(unknown string, names []string) string {
	// aws-auth's words for what config.yaml calls arn.
	if strings.EqualFold(unknown, "rolearn") || strings.EqualFold(unknown, "userarn") {
		if slices.Contains(names, "arn") {
			return "arn"
		}
	}
	best, least := "", max(1, len(unknown)/3)
	for _, n := range names {
		if d := distance(strings.ToLower(unknown), strings.ToLower(n), least); d <= least && (best == "" || d < least) {
			best, least = n, d
		}
	}
	for _, n := range names {
		if best == "" && len(unknown) > 2 && strings.HasPrefix(strings.ToLower(n), strings.ToLower(unknown)) {
			best = n
		}
	}
	return best
}

// distance is how many letters must be put in, taken out or replaced to make b
// of a (Levenshtein). It returns limit+1 for words whose lengths alone differ
// by more than limit.
func distance(a, b string, limit int) int {
	if len(a)-len(b) > limit || len(b)-len(a) > limit {
		return limit + 1
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}
