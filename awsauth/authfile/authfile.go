package authfile

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
	corev1 "k8s.io/api/core/v1"

	"github.com/rolecall/rolecall/awsauth"
)

// ErrNone says that there is no aws-auth in a file.
var ErrNone = errors.New("there is no aws-auth in it: no ConfigMap aws-auth, none with mapRoles, mapUsers or mapAccounts, and no list of entries")

// A Document is one aws-auth in a file.
type Document struct {
	Name string            // NAMESPACE/NAME of the ConfigMap, as far as it says; empty for a bare text
	Data map[string]string // by key; a bare text is one key
	// Object is what the file says of the ConfigMap, with the same Data; nil where
	// there is no object around the data. It must not be changed.
	Object *corev1.ConfigMap

	file      []byte // in UTF-8
	original  []byte // as it was given
	encoding  string // of that, where it is none of UTF-8
	number    int    // among the file's
	places    map[string]place
	root      *yaml.Node // of the object, or of the data alone; nil of a bare text
	dataAlone bool
}

// place is where a key's text stands in the file.
type place struct {
	key, value *yaml.Node // nil for a bare text, which is the whole file
}

// Read finds every aws-auth in a file. The name of the file tells which key a
// bare text is, if it has one's name; else what stands in it tells. The error
// is ErrNone, or says that the file cannot be read.
//
// A file in UTF-16, as PowerShell writes it, is read as well ([Document.Lint] says so).
func Read(name string, file []byte) ([]*Document, error) {
	text, encoding, ok := awsauth.DecodeText(file)
	if !ok || encoding == "UTF-8" {
		return read(name, file)
	}
	docs, err := read(name, []byte(text))
	for _, d := range docs {
		d.original, d.encoding = file, encoding
	}
	return docs, err
}

func read(name string, file []byte) ([]*Document, error) {
	roots, err := decode(file)
	if err != nil {
		if manifestLine.Match(file) {
			if line, why := outdented(file); line > 0 {
				err = fmt.Errorf("line %d: %s", line, why)
			}
			return nil, fmt.Errorf("it is no YAML that kubectl could read: %w", err)
		}
		return []*Document{bare(name, file)}, nil // what is wrong with it, lint says
	}
	var found []*Document
	for _, root := range roots {
		found = append(found, configMaps(root)...)
	}
	if len(found) == 0 {
		if !isBare(roots) {
			return nil, ErrNone
		}
		return []*Document{bare(name, file)}, nil
	}
	for i, d := range found {
		d.file, d.original, d.number = file, file, i
		d.Data = map[string]string{}
		for k, p := range d.places {
			text := p.value
			if text.Kind == yaml.AliasNode {
				text = text.Alias
			}
			if text.Kind != yaml.ScalarNode || text.Tag != "!!str" && text.Tag != "!!null" {
				return nil, fmt.Errorf("line %d: %s is no text, so the API server would refuse the ConfigMap: write %s: | and the list below it, indented", p.key.Line, k, k)
			}
			d.Data[k] = text.Value
		}
		if !d.dataAlone {
			d.Object = object(d.root, d.Data)
		}
	}
	return found, nil
}

// manifestLine tells a manifest that cannot be parsed from a bare text.
var manifestLine = regexp.MustCompile(`(?m)^[ \t]*"?(?:kind|data)"?[ \t]*:`)

// blockHead begins the text of a key as a block.
var blockHead = regexp.MustCompile(`^( *)(?:- +)?["']?(mapRoles|mapUsers|mapAccounts)["']?:[ \t]*[|>][-+0-9]*[ \t]*(?:#.*)?[\r\n]*$`)

// outdented is the first line by which a text of one of our keys ends before its end,
// since it is indented by less than the text's first line; 0 where there is none. The
// parser names the line of what is around.
func outdented(file []byte) (line int, why string) {
	name, outer, inner, comment := "", 0, -1, 0
	for i, l := range splitLines(file) {
		body := strings.TrimLeft(l, " ")
		n := len(l) - len(body)
		switch m := blockHead.FindStringSubmatch(l); {
		case m != nil && (name == "" || n <= outer):
			name, outer, inner, comment = m[2], len(m[1]), -1, 0
		case name == "" || strings.TrimSpace(body) == "":
		case inner < 0:
			inner = n
		case comment == 0 && n >= inner:
		case comment == 0 && body[0] == '\t':
			return i + 1, "a tab stands where YAML wants blanks"
		case comment == 0 && body[0] == '#':
			comment = i + 1
		case n > outer || n == outer && body[0] == '-':
			if comment > 0 {
				return comment, fmt.Sprintf("the comment ends the text of %s, since it is indented by less than %s", name, blanks(inner))
			}
			return i + 1, fmt.Sprintf("it is indented by %s, and so ends the text of %s, of which the first line has %s", blanks(n), name, blanks(inner))
		case body[0] != '#':
			name = ""
		}
	}
	return 0, ""
}

func blanks(n int) string {
	switch n {
	case 0:
		return "none"
	case 1:
		return "1 blank"
	}
	return fmt.Sprintf("%d blanks", n)
}

// decode reads every document of a stream.
func decode(file []byte) ([]*yaml.Node, error) {
	dec := yaml.NewDecoder(bytes.NewReader(file))
	var roots []*yaml.Node
	for {
		var doc yaml.Node
		err := dec.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return roots, nil
		}
		if err != nil {
			return nil, plain(err)
		}
		if len(doc.Content) > 0 {
			roots = append(roots, doc.Content[0])
		}
	}
}

var yamlError = regexp.MustCompile(`^yaml: (line \d+: )?([a-z][a-z ,':]*)$`)

// plain is the parser's error without anything of the file.
func plain(err error) error {
	if m := yamlError.FindStringSubmatch(err.Error()); m != nil {
		return errors.New(m[1] + m[2])
	}
	return errors.New("the parser does not accept it")
}

// get is the value of a map's key, with the key.
func get(n *yaml.Node, name string) (key, value *yaml.Node) {
	if n == nil || n.Kind != yaml.MappingNode {
		return nil, nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == name {
			key, value = n.Content[i], n.Content[i+1]
		}
	}
	return key, value
}

func text(n *yaml.Node, path ...string) string {
	for _, name := range path {
		_, n = get(n, name)
	}
	if n == nil || n.Kind != yaml.ScalarNode {
		return ""
	}
	return n.Value
}

// configMaps finds every aws-auth in one document of a file.
func configMaps(root *yaml.Node) []*Document {
	kind := text(root, "kind")
	if _, items := get(root, "items"); strings.HasSuffix(kind, "List") && items != nil {
		var all []*Document
		for _, item := range items.Content {
			if text(item, "kind") == "" && kind == "ConfigMapList" {
				all = append(all, configMap(item)...)
			} else {
				all = append(all, configMaps(item)...)
			}
		}
		return all
	}
	switch {
	case kind == "ConfigMap", strings.EqualFold(kind, "ConfigMap"), kind == "Secret" && text(root, "metadata", "name") == awsauth.Name:
		return configMap(root)
	case kind == "" && hasText(root): // the data alone
		return []*Document{{places: placesOf(root), root: root, dataAlone: true}}
	}
	return nil
}

func configMap(n *yaml.Node) []*Document {
	_, data := get(n, "data")
	_, binary := get(n, "binaryData")
	if text(n, "metadata", "name") != awsauth.Name && !hasKey(data) && !hasKey(binary) && !hasKey(n) {
		return nil
	}
	name := strings.TrimPrefix(text(n, "metadata", "namespace")+"/"+text(n, "metadata", "name"), "/")
	return []*Document{{Name: cmp.Or(name, awsauth.Name), places: placesOf(data), root: n}}
}

func isKey(name string) bool {
	return slices.ContainsFunc(awsauth.Keys[:], func(k string) bool { return strings.EqualFold(k, name) })
}

func hasKey(data *yaml.Node) bool {
	return slices.ContainsFunc(pairs(data), func(p place) bool { return isKey(p.key.Value) })
}

// hasText reports whether one of aws-auth's keys is there as a text.
func hasText(data *yaml.Node) bool {
	return slices.ContainsFunc(pairs(data), func(p place) bool {
		return isKey(p.key.Value) && p.value.Kind == yaml.ScalarNode && p.value.Tag == "!!str"
	})
}

func pairs(n *yaml.Node) []place {
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	var all []place
	for i := 0; i+1 < len(n.Content); i += 2 {
		all = append(all, place{n.Content[i], n.Content[i+1]})
	}
	return all
}

func placesOf(data *yaml.Node) map[string]place {
	all := map[string]place{}
	for _, p := range pairs(data) {
		all[p.key.Value] = p
	}
	return all
}

// isBare reports whether a file may be the text of one key.
func isBare(roots []*yaml.Node) bool {
	if len(roots) == 0 {
		return true
	}
	r := roots[0]
	if r.Kind == yaml.MappingNode {
		for _, name := range []string{"kind", "apiVersion"} {
			if k, _ := get(r, name); k != nil {
				return false
			}
		}
		return hasKey(r) || slices.ContainsFunc(pairs(r), func(p place) bool { return strings.HasSuffix(strings.ToLower(p.key.Value), "arn") })
	}
	return r.Kind == yaml.SequenceNode || r.Kind == yaml.ScalarNode && r.Tag == "!!null"
}

var (
	roleField = regexp.MustCompile(`(?i)rolearn|:role/|assumed-role`)
	userField = regexp.MustCompile(`(?i)userarn|:user/`)
	anyField  = regexp.MustCompile(`(?m)^[^#\n]*[:{]`)
)

// bare is a text without a manifest around it.
func bare(name string, file []byte) *Document {
	base, _, _ := strings.Cut(filepath.Base(name), ".")
	kind := awsauth.Role
	switch {
	case isKey(base):
		for _, k := range []awsauth.Kind{awsauth.User, awsauth.Account} {
			if strings.EqualFold(base, k.Key()) {
				kind = k
			}
		}
	case roleField.Match(file):
	case userField.Match(file):
		kind = awsauth.User
	case !anyField.Match(file):
		kind = awsauth.Account
	}
	return &Document{Data: map[string]string{kind.Key(): string(file)}, file: file, original: file}
}

// Bare reports whether the file is the text of a key, without a manifest.
func (d *Document) Bare() bool { return d.places == nil }

// File returns the whole file as it was given, which must not be changed.
func (d *Document) File() []byte { return d.original }

// Line is where in the file a line and column of a key's text are, all from 1;
// 0 stands for what is not known. For a line that cannot be told exactly it is
// where the key's text begins.
func (d *Document) Line(key string, line, column int) (fileLine, fileColumn int) {
	if d.Bare() {
		return line, column
	}
	p, ok := d.places[key]
	switch {
	case !ok:
		return 0, 0
	case line == 0:
		return p.key.Line, p.key.Column
	case p.value.Style&yaml.LiteralStyle != 0:
		shift := 0
		lines := splitLines(d.file)
		if n := p.value.Line + line; n <= len(lines) {
			own := strings.Split(p.value.Value, "\n")
			if at := strings.TrimRight(lines[n-1], "\r\n"); line <= len(own) && own[line-1] != "" {
				shift = strings.Count(at[:max(len(at)-len(own[line-1]), 0)], "") - 1
			}
		}
		if column > 0 {
			column += shift
		}
		return p.value.Line + line, column
	}
	if places := scalarOffsets(d.file, p.value); places != nil {
		fileLine, fileColumn = position(d.file, places[textOffset(p.value.Value, line, max(column, 1))])
		return fileLine, fileColumn
	}
	if p.value.Style&yaml.DoubleQuotedStyle != 0 {
		return d.quotedLine(p.value, line)
	}
	return p.value.Line, p.value.Column
}

// quotedLine is where a line begins in a text that is written in quotes, as
// kubectl does where a line ends in a blank.
func (d *Document) quotedLine(n *yaml.Node, line int) (fileLine, fileColumn int) {
	at := offset(d.file, n.Line, n.Column) + 1
	fileLine, fileColumn = n.Line, n.Column+1
	for own := 1; own < line && at+1 < len(d.file); at++ {
		switch d.file[at] {
		case '\\':
			at++
			fileColumn += 2
			if d.file[at] == 'n' {
				own++
			}
			if d.file[at] == '\n' {
				fileLine, fileColumn = fileLine+1, 1
			}
		case '\n':
			fileLine, fileColumn = fileLine+1, 1
		case '"':
			return n.Line, n.Column
		default:
			fileColumn++
		}
	}
	return fileLine, fileColumn
}

// splitLines splits a file where the parser does, which takes a carriage return alone
// for the end of a line as well.
func splitLines(file []byte) []string {
	var lines []string
	for line := range strings.Lines(string(file)) {
		for {
			at := strings.IndexByte(line, '\r')
			if at < 0 || at+1 == len(line) || line[at+1] == '\n' {
				break
			}
			lines, line = append(lines, line[:at+1]), line[at+1:]
		}
		lines = append(lines, line)
	}
	return lines
}

// offset is the place of the parser's line and column, which counts characters.
func offset(file []byte, line, column int) int {
	at := 0
	for i, l := range splitLines(file) {
		if i+1 == line {
			skipped := 0
			for j := range l {
				if skipped == column-1 {
					return at + j
				}
				skipped++
			}
			return at + len(l)
		}
		at += len(l)
	}
	return len(file)
}
