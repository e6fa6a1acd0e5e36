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
// stay and all that is none of the data keep their bytes. A key may get another
// name, if its text goes on under that and the name is not taken.
func (d *Document) Write(data map[string]string) ([]byte, error) {
	if maps.Equal(d.Data, data) {
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
	// From the last to the first, so that places stay right.
	names := slices.SortedFunc(maps.Keys(d.Data), func(a, b string) int { return d.places[b].key.Line - d.places[a].key.Line })
	file := d.file
	for _, name := range names {
		p := d.places[name]
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
		for k, now := range data {
			if _, had := d.Data[k]; !had && strings.EqualFold(k, name) && now == d.Data[name] {
				renamed = k
			}
		}
		at := offset(file, p.key.Line, p.key.Column)
		if renamed == "" || p.key.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0 {
			return nil, errWrite
		}
		if i := bytes.Index(file[at:min(at+len(name)+2, len(file))], []byte(name)); i >= 0 {
			at += i
			file = slices.Concat(file[:at], []byte(renamed), file[at+len(name):])
		}
	}
	if err := d.check(file, data); err != nil {
		return nil, err
	}
	return file, nil
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
	} else if end := scalarEnd(file, p.value); end > 0 {
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
	eol := "\n"
	if strings.HasSuffix(head, "\r\n") {
		eol = "\r\n"
	}
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
	if end == len(lines) && len(lines) > 0 && !strings.HasSuffix(lines[len(lines)-1], "\n") {
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
func (d *Document) check(file []byte, data map[string]string) error {
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
	a, errA := rest(d.file)
	b, errB := rest(file)
	if errA != nil || errB != nil || !reflect.DeepEqual(a, b) {
		return errWrite
	}
	return nil
}

// rest is what a file holds beside the data of its documents.
func rest(file []byte) ([]any, error) {
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
		}
	}
	var all []any
	for _, root := range roots {
		all = append(all, skeleton(root))
	}
	return all, nil
}

// skeleton is a node without places.
func skeleton(n *yaml.Node) any {
	s := []any{n.Kind, n.Tag, n.Value, n.Anchor, n.HeadComment, n.LineComment, n.FootComment}
	for _, c := range n.Content {
		s = append(s, skeleton(c))
	}
	return s
}
