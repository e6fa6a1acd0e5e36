package awsauth

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// edit is what becomes of one list: every element that is not named stays as
// it is, byte for byte.
type edit struct {
	remove  map[int]bool
	replace map[int]Entry
	add     []Entry
}

func (e *edit) empty() bool { return len(e.remove)+len(e.replace)+len(e.add) == 0 }

// rewrites returns the text after an edit, best first. They differ in where
// added elements go: a block scalar that ends the list can swallow what is put
// behind it, and then the check after the edit refuses the first.
func (l *layout) rewrites(e *edit, current []mapping) []string {
	switch l.style {
	case styleEmpty:
		return []string{l.fill(e.add, l.hole), l.fill(e.add, span{l.stop, l.stop})}
	case styleFlow:
		return []string{l.rewriteFlow(e, current)}
	}
	last := l.items[len(l.items)-1].end
	points := []int{max(last, l.lastLine()), l.stop, l.items[0].start}
	if len(e.add) == 0 {
		points = points[:1]
	}
	texts := make([]string, len(points))
	for i, at := range points {
		texts[i] = l.rewriteBlock(e, current, at)
	}
	return slices.Compact(texts)
}

// lastLine is the offset after the document's last line that is not blank.
func (l *layout) lastLine() int {
	body := strings.TrimRight(l.text[:l.stop], " \t\r\n")
	if n := strings.IndexByte(l.text[len(body):l.stop], '\n'); n >= 0 {
		return len(body) + n + 1
	}
	return l.stop
}

// fill puts a list where there was none, in place of hole.
func (l *layout) fill(add []Entry, hole span) string {
	var out strings.Builder
	before, after := l.text[:hole.start], l.text[hole.end:l.stop]
	line := before[strings.LastIndexAny(before, "\r\n")+1:]
	if strings.Trim(line, " \t\ufeff") == "" {
		out.WriteString(strings.TrimRight(before, " \t"))
	} else {
		out.WriteString(before + l.eol)
	}
	for i := range add {
		writeBlock(&out, &add[i], "", l.eol)
	}
	// The rest of the hole's line goes if there is nothing on it.
	if rest := strings.TrimLeft(after, " \t"); rest != "" {
		if n := breakAt(rest, 0); n > 0 {
			rest = rest[n:]
		}
		out.WriteString(rest)
	}
	out.WriteString(l.text[l.stop:])
	return out.String()
}

// rewriteBlock edits a block sequence; added elements go to the offset at,
// which is not inside an element.
func (l *layout) rewriteBlock(e *edit, current []mapping, at int) string {
	var out strings.Builder
	out.Grow(len(l.text) + 256*len(e.add))
	pos := 0
	copyTo := func(to int) {
		if pos <= at && at <= to && at >= 0 {
			out.WriteString(l.text[pos:at])
			l.addBlock(&out, e.add)
			pos, at = at, -1
		}
		out.WriteString(l.text[pos:to])
		pos = to
	}
	for i, it := range l.items {
		replacement, replaced := e.replace[i]
		if !replaced && !e.remove[i] {
			continue
		}
		copyTo(it.start)
		switch {
		case !replaced:
			for _, c := range comments(l.text[it.start:it.end]) {
				out.WriteString(l.indent + c + l.eol)
			}
		default:
			l.replaceBlock(&out, it, replacement, current[i])
		}
		pos = it.end
	}
	copyTo(len(l.text))
	return out.String()
}

func (l *layout) addBlock(out *strings.Builder, add []Entry) {
	if text := out.String(); text != "" && len(add) > 0 && !strings.HasSuffix(text, "\n") && !strings.HasSuffix(text, "\r") && text != "\ufeff" {
		out.WriteString(l.eol)
	}
	for i := range add {
		writeBlock(out, &add[i], l.indent, l.eol)
	}
}

// replaceBlock writes an element of ours anew. Fields that are right already
// and fields that are not ours stay as they stand, and so does every comment.
func (l *layout) replaceBlock(out *strings.Builder, it item, want Entry, have mapping) {
	if !editable(it.fields, have.Kind) || want.Kind == Account {
		for _, c := range comments(l.text[it.start:it.end]) {
			out.WriteString(l.indent + c + l.eol)
		}
		writeBlock(out, &want, l.indent, l.eol)
		unknown := unknownFields(have.raw)
		for _, name := range slices.Sorted(maps.Keys(unknown)) {
			out.WriteString(l.indent + "  " + scalar(name) + ": " + string(unknown[name]) + l.eol)
		}
		return
	}
	indent := strings.Repeat(" ", it.fields[0].start-it.start)
	pos := it.start
	missing := map[string]bool{"arn": true, "username": true, "groups": true, "mark": true}
	end := func() {
		if text := out.String(); !strings.HasSuffix(text, "\n") && !strings.HasSuffix(text, "\r") {
			out.WriteString(l.eol)
		}
	}
	for i, f := range it.fields {
		what := fieldKind(f.name, have.Kind)
		delete(missing, what)
		if rightAlready(what, want, have) {
			continue
		}
		out.WriteString(l.text[pos:f.start])
		if i > 0 {
			out.WriteString(indent)
		}
		writeField(out, what, &want, indent, l.eol)
		for _, c := range comments(l.text[f.start:f.end]) {
			out.WriteString(indent + c + l.eol)
		}
		pos = f.end
	}
	out.WriteString(l.text[pos:it.end])
	for _, what := range []string{"arn", "username", "groups", "mark"} {
		if missing[what] {
			end()
			out.WriteString(indent)
			writeField(out, what, &want, indent, l.eol)
		}
	}
}

// editable reports whether an element can be edited field by field: its keys
// are known by position and none is doubled.
func editable(fields []field, kind Kind) bool {
	seen := map[string]bool{}
	for _, f := range fields {
		name := strings.ToLower(f.name)
		if seen[name] {
			return false
		}
		seen[name] = true
	}
	return len(fields) > 0
}

// fieldKind says which of our fields a key is; empty for others. Keys match
// without case, as the authenticator's do.
func fieldKind(name string, kind Kind) string {
	switch name = strings.ToLower(name); {
	case name == "rolearn" && kind == Role, name == "userarn" && kind == User:
		return "arn"
	case name == "username" || name == "groups":
		return name
	case name == "syncedby":
		return "mark"
	}
	return ""
}

func rightAlready(what string, want Entry, have mapping) bool {
	switch what {
	case "arn":
		return SameARN(want.ARN, have.ARN)
	case "username":
		return want.Username == have.Username
	case "groups":
		return slices.Equal(groupSet(want.Groups), groupSet(have.Groups))
	case "mark":
		return have.mark == Mark
	}
	return true
}

// unknownFields returns the fields of an element that are not ours, as JSON,
// which is YAML too.
func unknownFields(raw json.RawMessage) map[string]json.RawMessage {
	var all map[string]json.RawMessage
	if json.Unmarshal(raw, &all) != nil {
		return nil
	}
	for name := range all {
		switch strings.ToLower(name) {
		case "rolearn", "userarn", "username", "groups", "syncedby":
			delete(all, name)
		}
	}
	return all
}

// writeBlock writes an entry as an element of a block sequence.
func writeBlock(out *strings.Builder, e *Entry, indent, eol string) {
	out.WriteString(indent + "- ")
	if e.Kind == Account {
		out.WriteString(strconv.Quote(e.ARN) + eol)
		return
	}
	inner := indent + "  "
	for i, what := range []string{"arn", "username", "groups", "mark"} {
		if i > 0 {
			out.WriteString(inner)
		}
		writeField(out, what, e, inner, eol)
	}
}

// writeField writes one field without the indentation of its first line.
func writeField(out *strings.Builder, what string, e *Entry, indent, eol string) {
	switch what {
	case "arn":
		out.WriteString(string(e.Kind) + "arn: " + scalar(e.ARN) + eol)
	case "username":
		out.WriteString("username: " + scalar(e.Username) + eol)
	case "groups":
		if len(e.Groups) == 0 {
			out.WriteString("groups: []" + eol)
			return
		}
		out.WriteString("groups:" + eol)
		for _, g := range e.Groups {
			out.WriteString(indent + "- " + scalar(g) + eol)
		}
	case "mark":
		out.WriteString("syncedBy: " + Mark + eol)
	}
}

// rewriteFlow edits a flow sequence. Commas are made anew where neighbours
// change; all else between elements stays.
func (l *layout) rewriteFlow(e *edit, current []mapping) string {
	type piece struct {
		value string
		after string // what follows up to the next element, without the comma
		exact string // the same as it stood, comma and all
		index int    // of the element, -1 for a new one
	}
	inside := l.text[l.open+1 : l.close]
	lead := inside
	join := ", "
	if len(l.items) > 0 {
		lead = l.text[l.open+1 : l.items[0].start]
	}
	if strings.ContainsAny(inside, "\r\n") {
		indent := "  "
		if len(l.items) > 0 {
			line := l.text[:l.items[0].start]
			line = line[strings.LastIndexAny(line, "\r\n")+1:]
			if strings.Trim(line, " \t") == "" {
				indent = line
			}
		}
		join = "," + l.eol + indent
	}
	var pieces []piece
	tail, trailing, lost := "", "", ""
	if len(l.items) == 0 {
		tail, lead = lead, ""
	}
	for i, it := range l.items {
		next, last := l.close, i == len(l.items)-1
		if !last {
			next = l.items[i+1].start
		}
		after := l.text[it.end:next]
		exact := after
		if i < len(l.commas) {
			comma := l.commas[i] - it.end
			after = after[:comma] + after[comma+1:]
		}
		if last {
			tail, after, trailing = after, "", exact
		}
		value := l.text[it.start:it.end]
		replacement, replaced := e.replace[i]
		switch {
		case replaced:
			for _, c := range comments(value) {
				lost += c + l.eol
			}
			value = flowEntry(&replacement)
			if i < len(current) {
				value = withUnknown(value, unknownFields(current[i].raw))
			}
		case e.remove[i]:
			for _, c := range comments(value + after) {
				lost += c + l.eol
			}
			continue
		}
		pieces = append(pieces, piece{value, after, exact, i})
	}
	for i := range e.add {
		pieces = append(pieces, piece{value: flowEntry(&e.add[i]), index: -1})
	}
	var out strings.Builder
	out.WriteString(l.text[:l.open+1] + lead)
	for i, p := range pieces {
		out.WriteString(p.value)
		last := i == len(pieces)-1
		switch {
		case last && p.index == len(l.items)-1:
			tail = trailing // with its comma, where it has one
		case !last && p.index >= 0 && pieces[i+1].index == p.index+1:
			out.WriteString(p.exact)
		case last:
			if strings.TrimSpace(p.after) != "" {
				out.WriteString(p.after)
			}
		case p.after != "":
			out.WriteString("," + p.after)
		default:
			out.WriteString(join)
		}
	}
	if lost != "" {
		out.WriteString(l.eol + lost)
	}
	out.WriteString(tail + l.text[l.close:])
	return out.String()
}

// flowEntry is an entry as JSON, so that a JSON text stays one.
func flowEntry(e *Entry) string {
	if e.Kind == Account {
		return quoteJSON(e.ARN)
	}
	groups := make([]string, len(e.Groups))
	for i, g := range e.Groups {
		groups[i] = quoteJSON(g)
	}
	return `{` + quoteJSON(string(e.Kind)+"arn") + `: ` + quoteJSON(e.ARN) + `, "username": ` + quoteJSON(e.Username) +
		`, "groups": [` + strings.Join(groups, ", ") + `], "syncedBy": "` + Mark + `"}`
}

// withUnknown adds the fields that are not ours to an entry written as JSON.
func withUnknown(entry string, unknown map[string]json.RawMessage) string {
	entry = strings.TrimSuffix(entry, "}")
	for _, name := range slices.Sorted(maps.Keys(unknown)) {
		entry += ", " + quoteJSON(name) + ": " + string(unknown[name])
	}
	return entry + "}"
}

func quoteJSON(s string) string {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s) // a string always encodes
	return strings.TrimSuffix(out.String(), "\n")
}

// scalar writes a string so that any YAML parser reads it back as that
// string. It stays unquoted where it surely means itself.
func scalar(s string) string {
	switch strings.ToLower(s) {
	case "y", "n", "yes", "no", "on", "off", "true", "false", "null":
		return strconv.Quote(s)
	}
	for i := range len(s) {
		c := s[i]
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_'
		if !letter && (i == 0 || (c < '0' || c > '9') && strings.IndexByte("./@+=,{}:-", c) < 0) {
			return strconv.Quote(s)
		}
	}
	if s == "" || s[len(s)-1] == ':' {
		return strconv.Quote(s)
	}
	return s
}

// comments returns the comments of a piece of YAML in their order, without
// what stands before them. A line of a block scalar that looks like a comment
// is taken for one: better kept twice than lost.
func comments(text string) []string {
	if !strings.Contains(text, "#") {
		return nil
	}
	var found []string
	quote := byte(0)
	for i := 0; i < len(text); i++ {
		c := text[i]
		starts := i == 0 || strings.IndexByte(" \t\r\n,[{:-", text[i-1]) >= 0
		switch {
		case quote != 0:
			if c == '\\' && quote == '"' {
				i++
			} else if c == quote {
				quote = 0
			}
		case (c == '"' || c == '\'') && starts:
			quote = c
		case c == '#' && (i == 0 || isSpace(text[i-1])):
			end := i
			for end < len(text) && breakAt(text, end) == 0 {
				end++
			}
			found = append(found, strings.TrimRight(text[i:end], " \t"))
			i = end
		}
	}
	return found
}
