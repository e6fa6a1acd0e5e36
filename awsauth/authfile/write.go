package authfile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// errWrite says that a file is written in a way that cannot be edited.
var errWrite = errors.New("it is written in a way that cannot be edited without touching the rest of it: edit it by hand")

// Write returns the file with other data in place of the document's. Texts that
// stay and all that is none of the data keep their bytes, and so do the parts of a
// text in quotes that stay. A key may get another name, if its text goes on under
// that and the name is not taken; a new one stands behind the others.
func (d *Document) Write(data map[string]string) ([]byte, error) { return d.write(data, nil) }

// write is Write; keys of binaryData can be left out.
func (d *Document) write(data map[string]string, drop []string) ([]byte, error) {
	if maps.Equal(d.Data, data) && len(drop) == 0 {
		return d.file, nil
	}
	if d.Bare() {
		for k := range d.Data {
			if text, ok := data[k]; ok && len(data) == 1 {
				return []byte(text), nil
			}
		}
		return nil, errWrite
	}
	added := map[string]string{}
	for k, text := range data {
		if _, had := d.Data[k]; !had {
			added[k] = text
		}
	}
	// From the last to the first, so that places stay right.
	names := slices.SortedFunc(maps.Keys(d.Data), func(a, b string) int { return d.places[b].key.Line - d.places[a].key.Line })
	file := d.file
	moved := false // a key came or went
	last := ""     // that stays
	for _, name := range names {
		if _, kept := data[name]; kept && last == "" {
			last = name
		}
	}
	if parent, _ := get(d.root, "binaryData"); len(drop) > 0 && last != "" && parent.Line > d.places[last].key.Line {
		next, err := d.unbinary(file, drop, nil)
		if err != nil {
			return nil, err
		}
		file, drop, moved = next, nil, true
	}
	for _, name := range names {
		p := d.places[name]
		if name == last && len(added) > 0 && !d.renames(added, data) {
			next, err := d.insert(file, p, added)
			if err != nil {
				return nil, err
			}
			file, added, moved = next, nil, true
		}
		if now, kept := data[name]; kept {
			if now == d.Data[name] {
				continue
			}
			next, err := d.replace(file, name, now)
			if err != nil {
				return nil, err
			}
			file = next
			continue
		}
		renamed := ""
		for _, k := range slices.Sorted(maps.Keys(added)) {
			if added[k] == d.Data[name] && (strings.EqualFold(k, name) || renamed == "") {
				renamed = k
			}
		}
		at := offset(file, p.key.Line, p.key.Column)
		if renamed == "" || p.key.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0 {
			return nil, errWrite
		}
		delete(added, renamed)
		if i := bytes.Index(file[at:min(at+len(name)+2, len(file))], []byte(name)); i >= 0 {
			at += i
			file = slices.Concat(file[:at], []byte(renamed), file[at+len(name):])
		}
	}
	if len(drop) > 0 {
		next, err := d.unbinary(file, drop, added)
		if err != nil {
			return nil, err
		}
		file, moved = next, true
	} else if len(added) > 0 {
		return nil, errWrite
	}
	if err := d.check(file, data, moved); err != nil {
		return nil, err
	}
	return file, nil
}

// renames reports whether each new key takes over the text of one that goes.
func (d *Document) renames(added, data map[string]string) bool {
	for _, text := range added {
		found := false
		for name, was := range d.Data {
			_, kept := data[name]
			found = found || !kept && was == text
		}
		if !found {
			return false
		}
	}
	return true
}

// insert writes new keys as blocks behind the text of another one.
func (d *Document) insert(file []byte, p place, added map[string]string) ([]byte, error) {
	lines := splitLines(file)
	head := lines[p.key.Line-1]
	indent := p.key.Column - 1
	if strings.TrimSpace(head[:min(indent, len(head))]) != "" {
		return nil, errWrite // in brackets, or behind a dash
	}
	end := p.key.Line // the first line that is not its own
	for end < len(lines) {
		body := strings.TrimLeft(lines[end], " ")
		if strings.TrimSpace(body) != "" && len(lines[end])-len(body) <= indent {
			break
		}
		end++
	}
	for end > p.key.Line && strings.TrimSpace(lines[end-1]) == "" {
		end--
	}
	eol := lineEnd(head)
	if !strings.ContainsAny(lines[end-1], "\r\n") {
		lines[end-1] += eol
	}
	text := strings.Join(lines[:end], "")
	for _, k := range slices.Sorted(maps.Keys(added)) {
		text += blockOf(k, added[k], indent, eol)
	}
	return []byte(text + strings.Join(lines[end:], "")), nil
}

func lineEnd(line string) string {
	if end := line[len(strings.TrimRight(line, "\r\n")):]; end != "" {
		return end
	}
	return "\n"
}

// blockOf writes a key with its text as a block.
func blockOf(name, text string, indent int, eol string) string {
	header := "|"
	if !strings.HasSuffix(text, "\n") {
		header = "|-"
	} else if strings.HasSuffix(text, "\n\n") {
		header = "|+"
	}
	out := strings.Repeat(" ", indent) + name + ": " + header + eol
	for line := range strings.Lines(strings.TrimSuffix(text, "\n") + "\n") {
		if line = strings.TrimSuffix(line, "\n"); line != "" {
			out += strings.Repeat(" ", indent+2) + line
		}
		out += eol
	}
	return out
}

// unbinary takes keys out of binaryData, and writes new ones below data.
func (d *Document) unbinary(file []byte, drop []string, added map[string]string) ([]byte, error) {
	parent, binary := get(d.root, "binaryData")
	if binary == nil || binary.Style&yaml.FlowStyle != 0 || parent.Line == binary.Line {
		return nil, errWrite
	}
	lines := splitLines(file)
	gone := make([]bool, len(lines)+1)
	rest := 0
	for i := 0; i+1 < len(binary.Content); i += 2 {
		key := binary.Content[i]
		if !slices.Contains(drop, key.Value) {
			rest++
			continue
		}
		gone[key.Line] = true
		for n := key.Line; n < len(lines); n++ {
			body := strings.TrimLeft(lines[n], " ")
			if strings.TrimSpace(body) == "" || len(lines[n])-len(body) < key.Column {
				break
			}
			gone[n+1] = true
		}
	}
	gone[parent.Line] = rest == 0
	dataKey, data := get(d.root, "data")
	indent := parent.Column - 1
	if len(added) > 0 && data != nil && len(data.Content) > 0 {
		return nil, errWrite // they were to stand behind the others
	}
	var out strings.Builder
	for i, line := range lines {
		if i+1 == parent.Line && len(added) > 0 {
			eol := lineEnd(line)
			if dataKey == nil {
				out.WriteString(strings.Repeat(" ", indent) + "data:" + eol)
				for _, k := range slices.Sorted(maps.Keys(added)) {
					out.WriteString(blockOf(k, added[k], indent+2, eol))
				}
			}
		}
		if gone[i+1] {
			continue
		}
		if dataKey != nil && i+1 == dataKey.Line && len(added) > 0 {
			eol := lineEnd(line)
			out.WriteString(strings.Repeat(" ", indent) + "data:" + eol)
			for _, k := range slices.Sorted(maps.Keys(added)) {
				out.WriteString(blockOf(k, added[k], indent+2, eol))
			}
			continue
		}
		out.WriteString(line)
	}
	return []byte(out.String()), nil
}

// replace writes the text of one key anew: as a block where it is one, else in
// quotes.
func (d *Document) replace(file []byte, name, text string) ([]byte, error) {
	want := maps.Clone(d.Data)
	want[name] = text
	p := d.places[name]
	var tries [][]byte
	if p.value.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0 {
		for _, header := range []string{"", "|", "|-", "|+"} {
			tries = append(tries, d.block(file, p, header, text))
		}
	} else if body := splice(file, p.value, text); body != nil {
		tries = append(tries, body)
	}
	if end := scalarEnd(file, p.value); end > 0 {
		start := offset(file, p.value.Line, p.value.Column)
		quoted, err := quote(text)
		if err != nil {
			return nil, err
		}
		tries = append(tries, slices.Concat(file[:start], quoted, file[end:]))
	}
	for _, body := range tries {
		again, err := Read("", body)
		if err == nil && d.number < len(again) && again[d.number].Data[name] == text {
			return body, nil
		}
	}
	return nil, fmt.Errorf("%s: %w", name, errWrite)
}

// indentMark is the header of a block that says how far its lines are indented.
var indentMark = regexp.MustCompile(`[|>][+-]?([1-9])[+-]?[ \t]*(?:#.*)?\r?\n?$`)

// block writes a block scalar's lines anew, under another header if one is
// given.
func (d *Document) block(file []byte, p place, header, text string) []byte {
	lines := splitLines(file)
	head := lines[p.value.Line-1]
	eol := lineEnd(head)
	keyIndent := len(head) - len(strings.TrimLeft(head, " -"))
	indent := -1
	if m := indentMark.FindStringSubmatch(head); m != nil {
		indent = keyIndent + int(m[1][0]-'0')
	}
	end := p.value.Line // after the last line with content
	for i := p.value.Line; i < len(lines); i++ {
		body := strings.TrimLeft(lines[i], " ")
		if strings.TrimSpace(body) == "" {
			continue
		}
		n := len(lines[i]) - len(body)
		if indent < 0 {
			if n <= keyIndent {
				break
			}
			indent = n
		}
		if n < indent {
			break
		}
		end = i + 1
	}
	if indent < 0 {
		indent = keyIndent + 2
	}
	if at := strings.LastIndexAny(head, "|>"); header != "" && at >= 0 {
		head = head[:at] + header + eol
	}
	var out strings.Builder
	for _, l := range lines[:p.value.Line-1] {
		out.WriteString(l)
	}
	out.WriteString(head)
	body := strings.TrimRight(text, "\n")
	for l := range strings.Lines(body + "\n") {
		if l = strings.TrimSuffix(l, "\n"); l != "" {
			out.WriteString(strings.Repeat(" ", indent) + l)
		}
		out.WriteString(eol)
	}
	rest := strings.Join(lines[end:], "")
	if end == len(lines) && len(lines) > 0 && !strings.ContainsAny(lines[len(lines)-1], "\r\n") {
		return []byte(strings.TrimSuffix(out.String(), eol))
	}
	return []byte(out.String() + rest)
}

// scalarEnd is where a scalar in quotes or a plain one on a line ends; 0 where
// that cannot be told.
func scalarEnd(file []byte, n *yaml.Node) int {
	start := offset(file, n.Line, n.Column)
	switch {
	case n.Style&yaml.DoubleQuotedStyle != 0:
		for i := start + 1; i < len(file); i++ {
			switch file[i] {
			case '\\':
				i++
			case '"':
				return i + 1
			}
		}
	case n.Style&yaml.SingleQuotedStyle != 0:
		for i := start + 1; i < len(file); i++ {
			if file[i] != '\'' {
				continue
			}
			if i+1 < len(file) && file[i+1] == '\'' {
				i++
				continue
			}
			return i + 1
		}
	case n.Style == 0 && n.Value != "" && bytes.HasPrefix(file[start:], []byte(n.Value)):
		return start + len(n.Value)
	}
	return 0
}

// quote writes a text as JSON, which is YAML too.
func quote(text string) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(text); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// check reads the file back: it holds the data asked for, and all else as it
// was.
func (d *Document) check(file []byte, data map[string]string, moved bool) error {
	before, err := Read("", d.file)
	if err != nil {
		return err
	}
	after, err := Read("", file)
	if err != nil || len(before) != len(after) {
		return errWrite
	}
	for i := range after {
		want := before[i].Data
		if i == d.number {
			want = data
		}
		if !maps.Equal(after[i].Data, want) {
			return errWrite
		}
	}
	a, errA := rest(d.file, moved)
	b, errB := rest(file, moved)
	if moved && !maps.Equal(comments(d.file), comments(file)) {
		return errWrite
	}
	if errA != nil || errB != nil || !reflect.DeepEqual(a, b) {
		return errWrite
	}
	return nil
}

// rest is what a file holds beside the data of its documents; where a key was moved,
// beside all of data and binaryData.
func rest(file []byte, moved bool) ([]any, error) {
	roots, err := decode(file)
	if err != nil {
		return nil, err
	}
	for _, root := range roots {
		for _, d := range configMaps(root) {
			for _, p := range d.places {
				p.key.Value, p.value.Value = "", ""
				p.key.Style, p.value.Style = 0, 0
			}
			if moved && d.Object != nil || moved && d.root != nil && !d.dataAlone {
				strip(d.root, "data", "binaryData")
			}
		}
	}
	var all []any
	for _, root := range roots {
		all = append(all, skeleton(root, !moved))
	}
	return all, nil
}

// comments are the lines of comments in a file, each with how often it stands there.
func comments(file []byte) map[string]int {
	all := map[string]int{}
	for line := range strings.Lines(string(file)) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "#") {
			all[line]++
		}
	}
	return all
}

// skeleton is a node without places. Comments are left out where a neighbour of theirs
// was moved: the parser gives them to whatever stands next to them.
func skeleton(n *yaml.Node, withComments bool) any {
	s := []any{n.Kind, n.Tag, n.Value, n.Anchor}
	if withComments {
		s = append(s, n.HeadComment, n.LineComment, n.FootComment)
	}
	for _, c := range n.Content {
		s = append(s, skeleton(c, withComments))
	}
	return s
}

// strip takes fields out of a map.
func strip(n *yaml.Node, names ...string) {
	var kept []*yaml.Node
	for i := 0; i+1 < len(n.Content); i += 2 {
		if !slices.Contains(names, n.Content[i].Value) {
			kept = append(kept, n.Content[i], n.Content[i+1])
		}
	}
	n.Content = kept
}
