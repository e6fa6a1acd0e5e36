package awsauth

import (
	"strings"

	yamlv3 "go.yaml.in/yaml/v3"
)

// places tells where the elements of one key stand in its text. It is made for
// messages and for edits of single values, so it knows less than a layout and
// takes more: where two parsers see different elements, it knows none.
type places struct {
	kind  Kind
	text  string
	lines *lineIndex
	root  *yamlv3.Node   // of the first document; nil where v3 can't read it
	nodes []*yamlv3.Node // of the elements; nil where they cannot be told
	stop  int            // where the first document ends
}

func placesOf(kind Kind, text string, n int) *places {
	p := &places{kind: kind, text: text, stop: len(text)}
	bom := 0
	if strings.HasPrefix(text, "\ufeff") {
		bom = len("\ufeff")
	}
	p.lines = newLineIndex(text, bom)
	if isBlank(text) {
		return p
	}
	var doc yamlv3.Node
	if err := yamlv3.Unmarshal([]byte(text[bom:]), &doc); err != nil {
		return p
	}
	if len(doc.Content) == 0 {
		p.stop = p.lines.documentEnd(1)
		return p
	}
	p.root = doc.Content[0]
	// An empty document's value stands where the next one begins.
	if p.root.Kind != yamlv3.ScalarNode || p.root.Value != "" {
		p.stop = p.lines.documentEnd(p.root.Line)
	} else {
		p.stop = p.lines.documentEnd(max(p.root.Line-1, 1))
	}
	if p.root.Kind == yamlv3.SequenceNode && len(p.root.Content) == n {
		p.nodes = p.root.Content
	}
	return p
}

// node is an element's, or nil.
func (p *places) node(i int) *yamlv3.Node {
	if i >= len(p.nodes) {
		return nil
	}
	return p.nodes[i]
}

// a pair is a key of an element with its value.
type pair struct{ key, value *yamlv3.Node }

// pairs are the keys of an element that stand in it, and are not merged in.
func (p *places) pairs(i int) []pair {
	n := p.node(i)
	if n != nil && n.Kind == yamlv3.AliasNode {
		n = n.Alias
	}
	if n == nil || n.Kind != yamlv3.MappingNode {
		return nil
	}
	out := make([]pair, 0, len(n.Content)/2)
	for j := 0; j+1 < len(n.Content); j += 2 {
		if n.Content[j].Tag != "!!merge" {
			out = append(out, pair{n.Content[j], n.Content[j+1]})
		}
	}
	return out
}

// field is the pair that says one of our fields; of several, the one that the
// authenticator goes by: encoding/json takes the last, and they come to it
// sorted by name.
func (p *places) field(i int, what string) (pair, bool) {
	var found pair
	for _, f := range p.pairs(i) {
		if fieldKind(f.key.Value, p.kind) == what && (found.key == nil || f.key.Value >= found.key.Value) {
			found = f
		}
	}
	return found, found.key != nil
}

// at is where an element begins.
func (p *places) at(i int) (line, column int) { return position(p.node(i)) }

// of is where one of an element's fields has its value, or where the element
// begins.
func (p *places) of(i int, what string) (line, column int) {
	f, ok := p.field(i, what)
	switch {
	case !ok:
		return p.at(i)
	case f.value.Line > 0:
		return position(f.value)
	}
	return position(f.key)
}

func position(n *yamlv3.Node) (line, column int) {
	if n == nil {
		return 0, 0
	}
	return n.Line, n.Column
}

// valueSpan is where a scalar stands, quotes included. It knows those on one
// line, plain or quoted.
func (p *places) valueSpan(n *yamlv3.Node) (span, bool) {
	if n == nil || n.Kind != yamlv3.ScalarNode || n.Line == 0 || n.Anchor != "" || n.Style&yamlv3.TaggedStyle != 0 {
		return span{}, false
	}
	start := p.lines.offset(n.Line, n.Column)
	switch {
	case start >= len(p.text):
		return span{}, false
	case n.Style == 0:
		end := start + len(n.Value)
		return span{start, end}, n.Value != "" && end <= len(p.text) && p.text[start:end] == n.Value
	case n.Style&(yamlv3.DoubleQuotedStyle|yamlv3.SingleQuotedStyle) != 0:
		quote := p.text[start]
		s := flowScanner{text: p.text[:start+lineLength(p.text[start:])], pos: start}
		if quote != '"' && quote != '\'' || !s.quoted(quote) {
			return span{}, false
		}
		return span{start, s.pos}, true
	}
	return span{}, false
}
