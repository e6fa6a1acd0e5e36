package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

const (
	// maxSize is the most bytes that a file may hold: what a whole ConfigMap can
	// (https://kubernetes.io/docs/concepts/configuration/configmap/#motivation).
	maxSize = 1 << 20

	// maxAliased is the most nodes that aliases may add to a file. It leaves room
	// for a list of groups shared by thousands of entries, and none for a text
	// of a few lines that grows until memory is full.
	maxAliased = 100_000

	// maxReread is how many bytes are read again at most to find the line of a
	// fault: a second's work, and all that it takes for a file of 100 KiB.
	maxReread = 4 << 20
)

// parse returns the root of the only document in a file, or the problem that
// keeps it from being read. The root is nil where the file holds no value.
func parse(f source) (*yaml.Node, *Problem) {
	if p := checkText(f); p != nil {
		return nil, p
	}
	dec := yaml.NewDecoder(bytes.NewReader(f.content))
	var doc, second yaml.Node
	if err := decodeNode(dec, &doc); errors.Is(err, io.EOF) {
		return nil, nil
	} else if err != nil {
		return nil, syntaxProblem(f, err)
	}
	switch err := decodeNode(dec, &second); {
	case err == nil:
		return nil, &Problem{File: f.path, Line: second.Line, Message: `a second document begins here: write one document, without a line "---" in its middle`}
	case !errors.Is(err, io.EOF):
		return nil, syntaxProblem(f, err)
	}
	root := doc.Content[0]
	if p := checkAliases(f, root); p != nil {
		return nil, p
	}
	if root.Kind == yaml.ScalarNode && root.ShortTag() == "!!null" {
		return nil, nil
	}
	return root, nil
}

// decodeNode reads the next document. The YAML package reports some internal
// faults by panicking (decode.go, "please report"); what a ConfigMap holds must
// not end the process, so they become errors here.
func decodeNode(dec *yaml.Decoder, n *yaml.Node) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("the YAML reader failed: %v", r)
		}
	}()
	return dec.Decode(n)
}

// checkText returns what is wrong with the bytes of a file before any YAML.
func checkText(f source) *Problem {
	if f.size > maxSize {
		return &Problem{File: f.path, Line: 1, Message: fmt.Sprintf("the file has %d bytes, but a ConfigMap holds at most %d: shorten it, or name the right file", f.size, maxSize)}
	}
	text := f.content
	if bytes.HasPrefix(text, []byte("\xff\xfe")) || bytes.HasPrefix(text, []byte("\xfe\xff")) {
		return &Problem{File: f.path, Line: 1, Column: 1, Message: "the file is in UTF-16: save it as UTF-8"}
	}
	for i := 0; i < len(text); {
		r, n := utf8.DecodeRune(text[i:])
		var message string
		switch {
		case r == utf8.RuneError && n == 1:
			message = fmt.Sprintf("the byte 0x%02x (number %d of the file) is not UTF-8: save the file as UTF-8", text[i], i+1)
		case r == 0:
			message = "the file holds a NUL byte: remove it"
		// The rest of what YAML forbids (https://yaml.org/spec/1.2.2/#51-character-set),
		// which its reader would report without a line.
		case r < ' ' && r != '\t' && r != '\n' && r != '\r', r >= 0x7f && r < 0xa0 && r != 0x85, r == 0xfffe, r == 0xffff:
			message = fmt.Sprintf("the file holds the control character %U: remove it", r)
		}
		if message != "" {
			before := text[:i]
			return &Problem{File: f.path, Line: 1 + bytes.Count(before, []byte("\n")), Column: i - bytes.LastIndexByte(before, '\n'), Message: message}
		}
		i += n
	}
	return nil
}

// checkAliases refuses aliases that contain themselves or add up to more than
// a person would write, so that the decoder can follow all others blindly.
func checkAliases(f source, root *yaml.Node) *Problem {
	const unbounded = -1
	sizes := map[*yaml.Node]int{} // of what an anchor names; unbounded while being counted
	var size func(n *yaml.Node) (nodes int, bad *yaml.Node)
	size = func(n *yaml.Node) (int, *yaml.Node) {
		if n.Kind == yaml.AliasNode {
			nodes, known := sizes[n.Alias]
			if nodes == unbounded {
				return 0, n
			}
			if known {
				return nodes, nil
			}
			return size(n.Alias)
		}
		if n.Anchor != "" {
			sizes[n] = unbounded
		}
		sum := 1
		for _, c := range n.Content {
			nodes, bad := size(c)
			if bad != nil {
				return 0, bad
			}
			// Saturates, so that no chain of anchors can overflow it.
			sum = min(sum+nodes, maxSize+maxAliased)
		}
		if n.Anchor != "" {
			sizes[n] = sum
		}
		return sum, nil
	}
	added := 0
	var walk func(n *yaml.Node) *Problem
	walk = func(n *yaml.Node) *Problem {
		if n.Kind == yaml.AliasNode {
			nodes, bad := size(n)
			if bad != nil {
				return &Problem{File: f.path, Line: bad.Line, Column: bad.Column, Message: fmt.Sprintf("the alias *%s stands inside what it names: write the value out", bad.Value)}
			}
			if added += nodes; added > maxAliased {
				return &Problem{File: f.path, Line: n.Line, Column: n.Column, Message: fmt.Sprintf("the aliases up to *%s repeat more than %d values: write fewer of them, or the values themselves", n.Value, maxAliased)}
			}
			return nil
		}
		for _, c := range n.Content {
			if p := walk(c); p != nil {
				return p
			}
		}
		return nil
	}
	return walk(root)
}

// A yamlFault is an error of the YAML package taken apart.
type yamlFault struct {
	line int // 0 where it gives none
	text string
}

func newFault(err error) yamlFault {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	if rest, ok := strings.CutPrefix(text, "line "); ok {
		if number, message, ok := strings.Cut(rest, ": "); ok {
			if line, err := strconv.Atoi(number); err == nil {
				return yamlFault{line, message}
			}
		}
	}
	return yamlFault{0, text}
}

// syntaxProblem turns an error of the YAML package into a problem with the line
// at fault and a plain hint.
func syntaxProblem(f source, err error) *Problem {
	fault := newFault(err)
	lines := bytes.SplitAfter(f.content, []byte("\n"))
	line := faultLine(lines, fault)
	text := ""
	if line <= len(lines) {
		text = string(lines[line-1])
	}
	return &Problem{File: f.path, Line: line, Message: syntaxHint(fault.text, text)}
}

// faultLine returns the line, from 1, at which the YAML package stumbled: the
// shortest beginning of the file that has the same fault ends with it. The line
// that the package names is often that of the block around it, less one
// (decode.go:112).
func faultLine(lines [][]byte, fault yamlFault) int {
	if strings.Contains(fault.text, "unexpected end of stream") {
		// A quote that is never closed: the package names where it opens,
		// and a shorter beginning could end inside an earlier, sound one.
		return max(fault.line, 1)
	}
	budget := maxReread
	fails := func(n int) bool {
		text := bytes.Join(lines[:n], nil)
		if budget -= len(text); budget < 0 {
			return true
		}
		return readFault(bytes.NewReader(text)).text == fault.text
	}
	// The package reads little beyond a fault, so the line up to which it asks
	// is a good bound, and few shorter beginnings have to be tried.
	r := &lineReader{lines: lines}
	readFault(r)
	low, high := 0, max(r.given, 1)
	for step := 1; high-step > 0; step *= 2 {
		if !fails(high - step) {
			low = high - step
			break
		}
		high -= step
	}
	line := low + 1 + sort.Search(high-low-1, func(i int) bool { return fails(low + 1 + i) })
	if budget < 0 {
		return max(fault.line, 1)
	}
	return line
}

// readFault reads documents up to the first fault; it returns that of the end
// of the file if there is none.
func readFault(r io.Reader) yamlFault {
	for dec := yaml.NewDecoder(r); ; {
		if err := decodeNode(dec, new(yaml.Node)); err != nil {
			return newFault(err)
		}
	}
}

// A lineReader hands out one line at a time and knows how many it gave.
type lineReader struct {
	lines [][]byte
	given int
	rest  []byte // of the line that was begun last
}

func (r *lineReader) Read(p []byte) (int, error) {
	if len(r.rest) == 0 {
		if r.given == len(r.lines) {
			return 0, io.EOF
		}
		r.rest = r.lines[r.given]
		r.given++
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// bareBraces matches a value that begins with {{ and has no quotes.
var bareBraces = regexp.MustCompile(`(^|[:,\[-])\s*\{\{`)

const bracesHint = `YAML takes {{ for the beginning of a mapping: put quotes round the whole value, for example "{{SessionName}}"`

// syntaxHint says in plain words what is wrong with a line, given the YAML
// package's own words (scannerc.go and parserc.go).
func syntaxHint(fault, line string) string {
	indent := line[:len(line)-len(strings.TrimLeft(line, " \t"))]
	switch {
	case strings.Contains(indent, "\t"), strings.Contains(fault, "tab character"):
		return "the line is indented with a tab: indent with spaces"
	case bareBraces.MatchString(line):
		return bracesHint
	}
	for _, h := range []struct{ fault, hint string }{
		{"cannot start any token", "a value begins with a character that YAML keeps for itself, as @, ` or %: put quotes round the value"},
		{"unexpected end of stream", "a quote is opened here and never closed: close it"},
		{"mapping values are not allowed", `a ":" stands where none is expected: write a space after the ":" of each key, and quotes round a text that holds ": "`},
		{"block sequence entries are not allowed", `a list begins in the middle of a line: write each "- " on a line of its own`},
		{"could not find expected ':'", `a key without ":" stands here or on the line above: write KEY: VALUE`},
		{"did not find expected key", "the line is no key of the mapping around it: indent it like the keys above, and write text after a closing quote inside the quotes"},
		{"expected '-' indicator", `the line is no item of the list around it: indent it like the items above and begin it with "- "`},
		{"expected ',' or ']'", "a list that is opened with [, here or above, is not closed: write commas between its items and ] at its end"},
		{"expected ',' or '}'", "a mapping that is opened with {, here or above, is not closed: write commas between its keys and } at its end"},
		{"expected node content", "a value is missing, or a bracket that is opened is not closed: write the value, or close the bracket"},
		{"unknown anchor", "YAML takes a text that begins with * for an alias: put quotes round it"},
		{"expected alphabetic or numeric character", "YAML takes a text that begins with * or & for an alias or anchor: put quotes round it"},
		{"expected comment or line break", "a text follows | or > on the same line: write it on the next line, indented"},
		{"exceeded max depth", "brackets stand in brackets deeper than any value here needs: remove them"},
		{"unknown escape character", `a backslash in double quotes begins an escape that YAML does not know: write \\, or use single quotes`},
	} {
		if strings.Contains(fault, h.fault) {
			return h.hint
		}
	}
	return fmt.Sprintf("the line is no valid YAML (%s): write KEY: VALUE, indented with spaces", fault)
}
