package authfile

import (
	"bytes"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// This file knows which bytes of a file are which of a text that stands in quotes, or
// plain on its line.

// scalarOffsets are the places in the file of each byte of a scalar's text, and of its
// end. They are nil for a block, for a text that is folded over lines, and for one
// whose escapes are not known here.
func scalarOffsets(file []byte, n *yaml.Node) []int {
	at := offset(file, n.Line, n.Column)
	if n.Anchor != "" || n.Style&yaml.TaggedStyle != 0 || at >= len(file) {
		return nil
	}
	var text []byte
	var places []int
	put := func(s string, from int) {
		for range len(s) {
			places = append(places, from)
		}
		text = append(text, s...)
	}
	switch {
	case n.Style&yaml.SingleQuotedStyle != 0:
		for i := at + 1; i < len(file) && file[i] != '\n'; i++ {
			if file[i] == '\'' {
				if i+1 == len(file) || file[i+1] != '\'' {
					places = append(places, i)
					break
				}
				put("'", i)
				i++
				continue
			}
			put(string(file[i:i+1]), i)
		}
	case n.Style&yaml.DoubleQuotedStyle != 0:
		for i := at + 1; i < len(file); i++ {
			if file[i] == '\n' {
				return nil
			}
			if file[i] == '"' {
				places = append(places, i)
				break
			}
			if file[i] != '\\' {
				put(string(file[i:i+1]), i)
				continue
			}
			s, size := unescape(file[i:])
			if size == 0 {
				return nil
			}
			put(s, i)
			i += size - 1
		}
	case n.Style == 0 && bytes.HasPrefix(file[at:], []byte(n.Value)):
		put(n.Value, at)
		for i := range places {
			places[i] += i
		}
		places = append(places, at+len(n.Value))
	}
	if string(text) != n.Value || len(places) != len(text)+1 {
		return nil
	}
	return places
}

// unescape reads one escape in double quotes; size is 0 for one that is not known here.
func unescape(s []byte) (text string, size int) {
	if len(s) < 2 {
		return "", 0
	}
	switch s[1] {
	case 'n':
		return "\n", 2
	case 't', '\t':
		return "\t", 2
	case 'r':
		return "\r", 2
	case '"', '\\', '/', ' ':
		return string(s[1:2]), 2
	case 'x', 'u', 'U':
		digits := map[byte]int{'x': 2, 'u': 4, 'U': 8}[s[1]]
		if len(s) < 2+digits {
			return "", 0
		}
		v, err := strconv.ParseInt(string(s[2:2+digits]), 16, 32)
		if err != nil || v > utf8.MaxRune || !utf8.ValidRune(rune(v)) {
			return "", 0
		}
		return string(rune(v)), 2 + digits
	}
	return "", 0
}

// splice writes into a scalar in quotes, or a plain one, what differs in another text,
// in the same quotes; nil where it can't.
func splice(file []byte, n *yaml.Node, text string) []byte {
	places := scalarOffsets(file, n)
	if places == nil {
		return nil
	}
	old := n.Value
	head := 0
	for head < min(len(old), len(text)) && old[head] == text[head] {
		head++
	}
	for head > 0 && (head < len(old) && !utf8.RuneStart(old[head]) || head < len(text) && !utf8.RuneStart(text[head])) {
		head--
	}
	tail := 0
	for tail < min(len(old), len(text))-head && old[len(old)-1-tail] == text[len(text)-1-tail] {
		tail++
	}
	for tail > 0 && !utf8.RuneStart(old[len(old)-tail]) {
		tail--
	}
	with := text[head : len(text)-tail]
	switch {
	case n.Style&yaml.SingleQuotedStyle != 0:
		if strings.ContainsAny(with, "\n\r") {
			return nil
		}
		with = strings.ReplaceAll(with, "'", "''")
	case n.Style&yaml.DoubleQuotedStyle != 0:
		quoted, err := quote(with)
		if err != nil {
			return nil
		}
		with = string(quoted[1 : len(quoted)-1])
	}
	return []byte(string(file[:places[head]]) + with + string(file[places[len(old)-tail]:]))
}

// textOffset is the place of a line and a column, from 1, in a text.
func textOffset(text string, line, column int) int {
	at := 0
	for range line - 1 {
		i := strings.IndexByte(text[at:], '\n')
		if i < 0 {
			return len(text)
		}
		at += i + 1
	}
	for range column - 1 {
		if at == len(text) || text[at] == '\n' {
			break
		}
		_, size := utf8.DecodeRuneInString(text[at:])
		at += size
	}
	return at
}

// position is the line and column, from 1, of a place in the file.
func position(file []byte, at int) (line, column int) {
	before := file[:at]
	start := bytes.LastIndexByte(before, '\n') + 1
	return bytes.Count(before, []byte("\n")) + 1, utf8.RuneCount(before[start:]) + 1
}
