package awsauth

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	yamlv3 "go.yaml.in/yaml/v3"
)

// This file finds out where the elements of a list stand in its text, so that
// an edit cuts and inserts bytes and leaves all others as they are. What an
// element means is read.go's business; that an edit meant what it should is
// verify.go's.

type style int

const (
	styleEmpty style = iota // no list yet: nothing, comments, null or []
	styleBlock              // - a
	styleFlow               // [a, b], JSON too
)

// span is a range of bytes, [start, end).
type span struct{ start, end int }

// layout is the text of one key with the places of its elements.
type layout struct {
	text  string
	style style
	eol   string // the text's own line break
	items []item

	indent string // before the dash, for block style
	stop   int    // where the first YAML document ends; the rest is never read

	aliases bool // some element is an alias, or has one inside

	hole span // what stands for the empty list ([] or null), for styleEmpty

	open, close int   // the brackets' offsets, for flow style
	commas      []int // their offsets, one after each element but maybe the last
}

// item is an element's place. In block style it is whole lines, from the
// dash's to the last one with content; in flow style the value alone.
type item struct {
	span
	fields []field // of a block mapping with one key a line; else nil
}

// field is a key of a block mapping with its value: whole lines, but for the
// dash and what stands before it in the first one.
type field struct {
	span
	name string
}

// errLayout says that the text is readable but laid out in a way that this
// package cannot edit.
func errLayout(kind Kind, why string) error {
	return fmt.Errorf("%s is laid out in a way that rolecall cannot edit without touching foreign entries (%s): rewrite it as a plain YAML list", kind.Key(), why)
}

// layOut locates the elements of text, of which the authenticator sees n.
func layOut(kind Kind, text string, n int) (*layout, error) {
	l := &layout{text: text, eol: lineBreak(text), stop: len(text)}
	if isBlank(text) {
		l.hole.end = len(text)
		return l, nil
	}
	bom := 0
	if strings.HasPrefix(text, "\ufeff") {
		bom = len("\ufeff")
	}
	var doc yamlv3.Node
	if err := yamlv3.Unmarshal([]byte(text[bom:]), &doc); err != nil {
		return nil, errLayout(kind, "the YAML parser for editing does not accept it")
	}
	lines := newLineIndex(text, bom)
	if doc.Kind == 0 || len(doc.Content) == 0 {
		l.stop = lines.documentEnd(1)
		l.hole = span{l.stop, l.stop}
		return l, nil
	}
	root := doc.Content[0]
	l.aliases = hasAlias(root)
	l.stop = lines.documentEnd(root.Line)
	start := lines.offset(root.Line, root.Column)
	switch {
	case root.Kind == yamlv3.ScalarNode && root.Tag == "!!null" && n == 0:
		l.hole = l.nullAt(start, root.Value)
		return l, nil
	case root.Kind != yamlv3.SequenceNode:
		return nil, errLayout(kind, "it is not a plain list")
	case len(root.Content) != n:
		return nil, errLayout(kind, "two YAML parsers see different entries")
	case root.Style&yamlv3.FlowStyle != 0:
		return l, l.flow(kind, start, n)
	}
	return l, l.block(kind, root, lines)
}

// nullAt is where a null stands whose node begins at start. An anchor or a tag
// before it goes with it, but for one that a comment follows.
func (l *layout) nullAt(start int, value string) span {
	s := flowScanner{text: l.text[:l.stop], pos: start}
	end := start
	for s.pos < len(s.text) && (s.text[s.pos] == '&' || s.text[s.pos] == '!') {
		for s.pos < len(s.text) && !isSpace(s.text[s.pos]) && breakAt(s.text, s.pos) == 0 {
			s.pos++
		}
		end = s.pos
		s.skipBlanks()
	}
	if value == "" {
		return span{start, end}
	}
	if strings.Contains(l.text[start:s.pos], "#") {
		start = s.pos
	}
	return span{start, min(s.pos+len(value), l.stop)}
}

func hasAlias(n *yamlv3.Node) bool {
	return n.Kind == yamlv3.AliasNode || slices.ContainsFunc(n.Content, hasAlias)
}

// block locates the elements of a block sequence. The column of the root is
// that of every dash, but for a root with an anchor or a tag: that stands on a line
// before the first dash.
func (l *layout) block(kind Kind, root *yamlv3.Node, lines *lineIndex) error {
	l.style = styleBlock
	column, first := root.Column-1, root.Line
	if root.Anchor != "" || root.Style&yamlv3.TaggedStyle != 0 {
		column, first = lines.firstDash(root.Line+1, lines.lineOf(l.stop))
	}
	l.indent = strings.Repeat(" ", column)
	dashes := make([]int, len(root.Content), len(root.Content)+1) // line numbers
	previous := first - 1
	for i, node := range root.Content {
		line := node.Line
		for line > previous && !lines.hasDash(line, column) {
			line--
		}
		if line == previous {
			return errLayout(kind, fmt.Sprintf("the dash of entry %d cannot be found", i+1))
		}
		dashes[i], previous = line, line
	}
	dashes = append(dashes, lines.lineOf(l.stop))
	l.items = make([]item, len(root.Content))
	for i, node := range root.Content {
		it := &l.items[i]
		it.start = lines.start(dashes[i])
		if i == 0 && dashes[0] == 1 {
			it.start += lines.bom
		}
		it.end = lines.contentEnd(dashes[i], dashes[i+1])
		it.fields = blockFields(node, lines, dashes[i], dashes[i+1])
	}
	return nil
}

// blockFields locates the keys of a block mapping that has each on a line of
// its own, the first beside the dash. It returns nil for any other node.
func blockFields(node *yamlv3.Node, lines *lineIndex, dash, next int) []field {
	if node.Kind != yamlv3.MappingNode || node.Style&yamlv3.FlowStyle != 0 || node.Anchor != "" ||
		node.Style&yamlv3.TaggedStyle != 0 || len(node.Content) == 0 || node.Content[0].Line != dash {
		return nil
	}
	fields := make([]field, len(node.Content)/2)
	for i := range fields {
		k := node.Content[2*i]
		if k.Kind != yamlv3.ScalarNode || k.Anchor != "" || k.Column != node.Content[0].Column || k.Tag == "!!merge" {
			return nil
		}
		end := next
		if 2*i+2 < len(node.Content) {
			end = node.Content[2*i+2].Line
		}
		if end <= k.Line {
			return nil
		}
		f := field{span{lines.start(k.Line), lines.contentEnd(k.Line, end)}, k.Value}
		before := lines.text[f.start:lines.offset(k.Line, k.Column)]
		if strings.Contains(before, "?") {
			return nil // a key of more than one line, written "? key"
		}
		if i == 0 {
			f.start += len(before)
		}
		fields[i] = f
	}
	return fields
}

// flow locates the elements of a flow sequence that opens at start.
func (l *layout) flow(kind Kind, start, n int) error {
	l.style = styleFlow
	open := strings.IndexByte(l.text[start:], '[') // after an anchor or a tag
	if open < 0 {
		return errLayout(kind, "its bracket cannot be found")
	}
	l.open = start + open
	s := flowScanner{text: l.text, pos: l.open + 1}
	for {
		s.skipBlanks()
		begin := s.pos
		end, ok := s.value()
		if !ok {
			return errLayout(kind, "its closing bracket cannot be found")
		}
		if end > begin {
			l.items = append(l.items, item{span: span{begin, end}})
		}
		if l.text[s.pos] == ']' {
			l.close = s.pos
			break
		}
		l.commas = append(l.commas, s.pos)
		s.pos++
	}
	if len(l.items) != n {
		return errLayout(kind, "its entries cannot be told apart")
	}
	if n == 0 && strings.TrimSpace(l.text[l.open+1:l.close]) == "" {
		l.style = styleEmpty
		l.hole = span{l.open, l.close + 1}
	}
	return nil
}

// flowScanner finds the end of values in YAML's flow style. It knows quotes,
// comments and brackets, and leaves what they mean to the parsers.
type flowScanner struct {
	text string
	pos  int
}

// skipBlanks goes past white space and comments.
func (s *flowScanner) skipBlanks() {
	for s.pos < len(s.text) {
		switch c := s.text[s.pos]; {
		case c == ' ' || c == '\t':
			s.pos++
		case c == '#':
			s.pos += lineLength(s.text[s.pos:])
		case breakAt(s.text, s.pos) > 0:
			s.pos += breakAt(s.text, s.pos)
		default:
			return
		}
	}
}

// value goes to the comma or closing bracket after the value at pos and
// returns where the value itself ends. ok is false where the text ends first.
func (s *flowScanner) value() (end int, ok bool) {
	depth, plain := 0, false
	lineStart := s.pos
	end = s.pos
	for s.pos < len(s.text) {
		c := s.text[s.pos]
		switch {
		case c == ',' || c == ']' || c == '}':
			if depth == 0 {
				return end, c != '}'
			}
			if c != ',' {
				depth--
			}
			plain = false
		case c == '[' || c == '{':
			depth++
			plain = false
		case (c == '"' || c == '\'') && !plain:
			if !s.quoted(c) {
				return end, false
			}
			end = s.pos
			continue
		case c == '#' && (!plain || s.pos == lineStart || isSpace(s.text[s.pos-1])):
			s.pos += lineLength(s.text[s.pos:])
			continue
		case c == ':':
			plain = false
		case c == ' ' || c == '\t':
			s.pos++
			continue
		case breakAt(s.text, s.pos) > 0:
			s.pos += breakAt(s.text, s.pos)
			lineStart = s.pos
			continue
		default:
			plain = true
		}
		s.pos++
		end = s.pos
	}
	return end, false
}

func (s *flowScanner) quoted(quote byte) bool {
	for s.pos++; s.pos < len(s.text); s.pos++ {
		switch c := s.text[s.pos]; {
		case c == '\\' && quote == '"':
			s.pos++
		case c == quote:
			s.pos++
			if quote == '\'' && s.pos < len(s.text) && s.text[s.pos] == quote {
				continue
			}
			return true
		}
	}
	return false
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

// lineIndex finds lines by YAML 1.1's rules for line breaks, which the
// parser's line numbers follow: CR, LF, CRLF, NEL, LS and PS.
type lineIndex struct {
	text   string
	starts []int // of line 1, 2, …, and the text's end
	bom    int   // length of a byte order mark, which the parser does not count
}

func newLineIndex(text string, bom int) *lineIndex {
	starts := []int{0}
	for i := 0; i < len(text); {
		if n := breakAt(text, i); n > 0 {
			i += n
			starts = append(starts, i)
			continue
		}
		i++
	}
	if starts[len(starts)-1] != len(text) {
		starts = append(starts, len(text))
	}
	return &lineIndex{text, starts, bom}
}

// breakAt returns the length of the line break at i, or 0.
func breakAt(text string, i int) int {
	switch text[i] {
	case '\n':
		return 1
	case '\r':
		if i+1 < len(text) && text[i+1] == '\n' {
			return 2
		}
		return 1
	case 0xc2:
		if strings.HasPrefix(text[i:], "\u0085") {
			return 2
		}
	case 0xe2:
		if strings.HasPrefix(text[i:], "\u2028") || strings.HasPrefix(text[i:], "\u2029") {
			return 3
		}
	}
	return 0
}

// start is the offset at which a line begins, or the text's end.
func (x *lineIndex) start(line int) int {
	return x.starts[min(max(line-1, 0), len(x.starts)-1)]
}

// count is the number of lines.
func (x *lineIndex) count() int { return len(x.starts) - 1 }

// body is a line without its indentation.
func (x *lineIndex) body(line int) string {
	return strings.TrimLeft(strings.TrimPrefix(x.text[x.start(line):x.start(line+1)], "\ufeff"), " \t")
}

// offset is the place of the parser's line and column, which counts runes.
func (x *lineIndex) offset(line, column int) int {
	at := x.start(line)
	if line == 1 {
		at += x.bom
	}
	for range column - 1 {
		if at >= len(x.text) {
			break
		}
		_, n := utf8.DecodeRuneInString(x.text[at:])
		at += n
	}
	return at
}

// lineOf is the line that begins at offset, or one past the last.
func (x *lineIndex) lineOf(offset int) int {
	for i := len(x.starts) - 1; i >= 0; i-- {
		if x.starts[i] <= offset {
			return i + 1
		}
	}
	return 1
}

// hasDash reports whether a line's element of a block sequence begins at column.
func (x *lineIndex) hasDash(line, column int) bool {
	at := x.start(line)
	if line == 1 {
		at += x.bom
	}
	rest := x.text[at:x.start(line+1)]
	if len(rest) <= column || strings.Trim(rest[:column], " ") != "" || rest[column] != '-' {
		return false
	}
	return len(rest) == column+1 || isSpace(rest[column+1]) || breakAt(rest, column+1) > 0
}

// firstDash is the column and the line of the first of the lines [from, to) that
// begins with a dash.
func (x *lineIndex) firstDash(from, to int) (column, line int) {
	for line = from; line < to; line++ {
		column = x.start(line+1) - x.start(line) - len(x.body(line))
		if x.hasDash(line, column) {
			break
		}
	}
	return column, line
}

// contentEnd is the offset after the last of the lines [from, to) that is
// neither blank nor a comment.
func (x *lineIndex) contentEnd(from, to int) int {
	for line := to - 1; line > from; line-- {
		if body := x.body(line); !isBlankLine(body) && body[0] != '#' {
			return x.start(line + 1)
		}
	}
	return x.start(from + 1)
}

// documentEnd is the offset of the first line after the given one that ends
// the YAML document or begins another, or the text's end.
func (x *lineIndex) documentEnd(line int) int {
	for line++; line <= x.count(); line++ {
		rest := x.text[x.start(line):x.start(line+1)]
		if (strings.HasPrefix(rest, "---") || strings.HasPrefix(rest, "...")) &&
			(len(rest) == 3 || isSpace(rest[3]) || breakAt(rest, 3) > 0) {
			return x.start(line)
		}
	}
	return len(x.text)
}

func isBlankLine(body string) bool {
	return body == "" || breakAt(body, 0) > 0
}

// lineBreak is the line break that a text uses first; "\n" if it has none.
func lineBreak(text string) string {
	i := strings.IndexAny(text, "\r\n")
	if i < 0 || text[i] == '\n' {
		return "\n"
	}
	return text[i : i+breakAt(text, i)]
}
