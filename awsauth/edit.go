package awsauth

import (
	"bytes"
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// An Edit is what becomes of the list of one kind: every element that is not named
// stays as it is, byte for byte. What it replaces or adds carries our [Mark].
type Edit struct {
	Remove  map[int]bool  // elements, by their index in the list
	Replace map[int]Entry // elements of which username, groups and mark are written anew
	Unmark  map[int]bool  // elements that only lose their mark
	Add     []Entry       // at the end of the list, in this order

	hand bool // marks stay as they are, and what is added gets none
}

func (e *Edit) empty() bool { return len(e.Remove)+len(e.Replace)+len(e.Unmark)+len(e.Add) == 0 }

// fields are those of ours that an entry gets where it is written.
func (e *Edit) fields(entry *Entry) []string {
	if e.hand {
		return unmarkedFields(entry)
	}
	return ownFields
}

// write writes an entry that is added as an element of a block sequence.
func (e *Edit) write(out *strings.Builder, entry *Entry, indent, eol string) {
	if e.hand && entry.Kind != Account {
		writeFields(out, entry, indent, eol, unmarkedFields(entry))
		return
	}
	writeBlock(out, entry, indent, eol)
}

// others are the fields of an element that stay where it is written anew.
func (e *Edit) others(m mapping) map[string]json.RawMessage {
	if e.hand {
		return unwrittenFields(m)
	}
	return unknownFields(m)
}

// rewrites yields the text after an edit, best first. They differ in where
// added elements go and in how much of replaced ones stays: a block scalar
// that ends the list can swallow what is put behind it, and one that ends the
// text gets a line break from what follows. Then the check after the edit
// refuses the first.
func (l *layout) rewrites(e *Edit, current []mapping) iter.Seq[string] {
	return func(yield func(string) bool) {
		switch l.style {
		case styleEmpty:
			_ = yield(l.fill(e, l.hole)) && yield(l.fill(e, span{l.stop, l.stop}))
			return
		case styleFlow:
			if yield(l.rewriteFlow(e, current, false)) && (len(e.Unmark) > 0 || e.hand && len(e.Replace) > 0) {
				yield(l.rewriteFlow(e, current, true))
			}
			return
		}
		last := l.items[len(l.items)-1].end
		points := []int{max(last, l.lastLine()), l.stop, l.items[0].start}
		if len(e.Add) == 0 {
			points = points[:1]
		}
		for _, whole := range []bool{false, true} {
			for _, at := range points {
				if !yield(l.rewriteBlock(e, current, at, whole)) {
					return
				}
			}
			if len(e.Replace)+len(e.Unmark) == 0 {
				break
			}
		}
		if len(e.Add) == 0 && len(e.Remove) == len(l.items) {
			// A list that has a tag must stay one.
			first := l.items[0].start
			text := l.rewriteBlock(e, current, last, false)
			yield(text[:first] + "[]" + l.eol + text[first:])
		}
	}
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
func (l *layout) fill(e *Edit, hole span) string {
	var out strings.Builder
	before, after := l.text[:hole.start], l.text[hole.end:l.stop]
	line := before[strings.LastIndexAny(before, "\r\n")+1:]
	if strings.Trim(line, " \t\ufeff") == "" {
		out.WriteString(strings.TrimRight(before, " \t"))
	} else {
		out.WriteString(strings.TrimRight(before, " \t") + l.eol)
	}
	for i := range e.Add {
		e.write(&out, &e.Add[i], "", l.eol)
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

// rewriteBlock edits a block sequence. Added elements go to the offset at,
// which is not inside an element; replaced ones are written anew wholly or as
// far as they must.
func (l *layout) rewriteBlock(e *Edit, current []mapping, at int, whole bool) string {
	var out strings.Builder
	out.Grow(len(l.text) + 256*len(e.Add))
	pos := 0
	copyTo := func(to int) {
		if pos <= at && at <= to && at >= 0 {
			out.WriteString(l.text[pos:at])
			l.addBlock(&out, e)
			pos, at = at, -1
		}
		out.WriteString(l.text[pos:to])
		pos = to
	}
	for i, it := range l.items {
		replacement, replaced := e.Replace[i]
		if !replaced && !e.Remove[i] && !e.Unmark[i] {
			continue
		}
		copyTo(it.start)
		switch {
		case e.Unmark[i]:
			l.unmarkBlock(&out, it, current[i], whole)
		case !replaced:
			for _, c := range comments(l.text[it.start:it.end]) {
				out.WriteString(l.indent + c + l.eol)
			}
		default:
			l.replaceBlock(&out, e, it, replacement, current[i], whole)
		}
		pos = it.end
	}
	copyTo(len(l.text))
	return out.String()
}

func (l *layout) addBlock(out *strings.Builder, e *Edit) {
	if text := out.String(); text != "" && len(e.Add) > 0 && !strings.HasSuffix(text, "\n") && !strings.HasSuffix(text, "\r") && text != "\ufeff" {
		out.WriteString(l.eol)
	}
	for i := range e.Add {
		e.write(out, &e.Add[i], l.indent, l.eol)
	}
}

// replaceBlock writes an element anew. Fields that are right already and
// fields that are not ours stay as they stand where that can be done, and so
// does every comment.
func (l *layout) replaceBlock(out *strings.Builder, e *Edit, it item, want Entry, have mapping, whole bool) {
	fields := e.fields(&want)
	if !whole && e.hand && it.fields == nil {
		if text, ok := editFlowMapping(l.text[it.start:it.end], want, have); ok {
			out.WriteString(text)
			return
		}
	}
	if whole || !editable(it.fields) {
		l.rewriteWhole(out, it, want, fields, e.others(have))
		return
	}
	indent := strings.Repeat(" ", it.fields[0].start-it.start)
	pos := it.start
	missing := map[string]bool{}
	for _, what := range fields {
		missing[what] = true
	}
	end := func() {
		if text := out.String(); !strings.HasSuffix(text, "\n") && !strings.HasSuffix(text, "\r") {
			out.WriteString(l.eol)
		}
	}
	for i, f := range it.fields {
		what := fieldKind(f.name, have.Kind)
		delete(missing, what)
		if what == "mark" && e.hand || rightAlready(what, want, have) {
			continue
		}
		if text, ok := moreGroups(l.text[f.start:f.end], what, &want, have, l.eol); ok && e.hand {
			out.WriteString(l.text[pos:f.start] + text)
			pos = f.end
			continue
		}
		out.WriteString(l.text[pos:f.start])
		if i > 0 {
			out.WriteString(indent)
		}
		beside, below := splitComments(l.text[f.start:f.end])
		writeField(out, what, &want, indent, beside, l.eol)
		for _, c := range below {
			out.WriteString(indent + c + l.eol)
		}
		pos = f.end
	}
	out.WriteString(l.text[pos:it.end])
	for _, what := range fields {
		if missing[what] {
			end()
			out.WriteString(indent)
			writeField(out, what, &want, indent, "", l.eol)
		}
	}
}

// rewriteWhole writes an element anew with these of our fields, these others,
// and its comments before it.
func (l *layout) rewriteWhole(out *strings.Builder, it item, want Entry, fields []string, others map[string]json.RawMessage) {
	for _, c := range comments(l.text[it.start:it.end]) {
		out.WriteString(l.indent + c + l.eol)
	}
	writeFields(out, &want, l.indent, l.eol, fields)
	for _, name := range slices.Sorted(maps.Keys(others)) {
		out.WriteString(l.indent + "  " + scalar(name) + ": " + string(others[name]) + l.eol)
	}
}

// moreGroups writes the field groups with more at its end, where what stands in
// it is right as far as it goes and is a list of one item a line or of one line.
// Whether it did that well is seen when the result is read back.
func moreGroups(field, what string, want *Entry, have mapping, eol string) (string, bool) {
	n := len(have.Groups)
	if what != "groups" || n == 0 || n >= len(want.Groups) || !slices.Equal(have.Groups, want.Groups[:n]) {
		return "", false
	}
	if beside, below := splitComments(field); len(below) == 0 {
		line := field[:lineLength(field)]
		if value := strings.TrimRight(strings.TrimSuffix(strings.TrimRight(line, " \t"), beside), " \t"); strings.HasSuffix(value, "]") {
			var more strings.Builder
			for _, g := range want.Groups[n:] {
				if strings.ContainsAny(g, "[]{},") {
					more.WriteString(", " + quoteJSON(g))
				} else {
					more.WriteString(", " + scalar(g))
				}
			}
			at := len(value) - 1
			return field[:at] + more.String() + field[at:], true
		}
	}
	body := strings.TrimRight(field, "\r\n")
	if body == field {
		return "", false
	}
	last := body[strings.LastIndexAny(body, "\r\n")+1:]
	item := strings.TrimLeft(last, " ")
	if !strings.HasPrefix(item, "- ") {
		return "", false
	}
	indent := last[:len(last)-len(item)]
	var out strings.Builder
	out.WriteString(field)
	for _, g := range want.Groups[n:] {
		out.WriteString(indent + "- " + scalar(g) + eol)
	}
	return out.String(), true
}

// unmarkBlock takes the mark out of an element of ours. All else stays as it
// stands where that can be done, and so does every comment.
func (l *layout) unmarkBlock(out *strings.Builder, it item, have mapping, whole bool) {
	n := slices.IndexFunc(it.fields, func(f field) bool { return fieldKind(f.name, have.Kind) == "mark" })
	switch {
	case whole:
	case n >= 0 && len(it.fields) > 1 && editable(it.fields):
		l.cutField(out, it, n)
		return
	default:
		if text, ok := withoutMark(l.text[it.start:it.end]); ok {
			out.WriteString(text)
			return
		}
	}
	l.rewriteWhole(out, it, have.Entry, unmarkedFields(&have.Entry), unknownFields(have))
}

// cutField writes an element without one of its fields, of which it has more.
// A comment of the field gets a line of its own.
func (l *layout) cutField(out *strings.Builder, it item, n int) {
	f := it.fields[n]
	indent := strings.Repeat(" ", it.fields[0].start-it.start)
	out.WriteString(l.text[it.start:f.start])
	rest := l.text[f.end:it.end]
	found := comments(l.text[f.start:f.end])
	for i, c := range found {
		if n > 0 || i > 0 {
			out.WriteString(indent)
		}
		out.WriteString(c + l.eol)
	}
	if n == 0 && len(found) == 0 { // the next field moves up beside the dash
		rest = strings.TrimLeft(rest, white)
	}
	out.WriteString(rest)
}

// markForms are the ways in which a mark stands in an element that has not each
// field on a line of its own. What they take out is a guess: the element is
// read back without it.
var markForms = []struct {
	mark *regexp.Regexp
	by   string
}{
	{regexp.MustCompile(`,\s*["']?syncedBy["']?\s*:\s*["']?` + Mark + `["']?(\s*[,}])`), "$1"},
	{regexp.MustCompile(`(\{\s*)["']?syncedBy["']?\s*:\s*["']?` + Mark + `["']?\s*,\s*`), "$1"},
	{regexp.MustCompile(`(?:\r\n|[\r\n])[ \t]*syncedBy:[ \t]+` + Mark + `[ \t]*([\r\n]|$)`), "$1"},
}

// withoutMark takes the only mark out of an element's text.
func withoutMark(text string) (string, bool) {
	for _, form := range markForms {
		if len(form.mark.FindAllStringIndex(text, 2)) == 1 {
			return form.mark.ReplaceAllString(text, form.by), true
		}
	}
	return "", false
}

// editable reports whether an element can be edited field by field: its keys
// are known by position and none is doubled.
func editable(fields []field) bool {
	seen := map[string]bool{}
	for _, f := range fields {
		name := key(f.name)
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
	switch {
	case strings.EqualFold(name, string(kind)+"arn"):
		return "arn"
	case strings.EqualFold(name, "username"):
		return "username"
	case strings.EqualFold(name, "groups"):
		return "groups"
	case strings.EqualFold(name, "syncedBy"):
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
func unknownFields(m mapping) map[string]json.RawMessage {
	all := unwrittenFields(m)
	maps.DeleteFunc(all, func(name string, _ json.RawMessage) bool { return fieldKind(name, m.Kind) == "mark" })
	return all
}

// unwrittenFields is unknownFields and the mark.
func unwrittenFields(m mapping) map[string]json.RawMessage {
	var all map[string]json.RawMessage
	if json.Unmarshal(m.raw, &all) != nil {
		return nil
	}
	maps.DeleteFunc(all, func(name string, _ json.RawMessage) bool {
		what := fieldKind(name, m.Kind)
		return what != "" && what != "mark"
	})
	return all
}

// writeBlock writes an entry as an element of a block sequence.
func writeBlock(out *strings.Builder, e *Entry, indent, eol string) {
	if e.Kind == Account {
		out.WriteString(indent + "- " + strconv.Quote(e.ARN) + eol)
		return
	}
	writeFields(out, e, indent, eol, ownFields)
}

// ownFields are the fields that an entry of ours has.
var ownFields = []string{"arn", "username", "groups", "mark"}

// unmarkedFields are those of an entry that is to be foreign.
func unmarkedFields(e *Entry) []string {
	if e.Groups == nil {
		return ownFields[:2]
	}
	return ownFields[:3]
}

// writeFields writes these fields of an entry as an element of a block sequence.
func writeFields(out *strings.Builder, e *Entry, indent, eol string, fields []string) {
	out.WriteString(indent + "- ")
	inner := indent + "  "
	for i, what := range fields {
		if i > 0 {
			out.WriteString(inner)
		}
		writeField(out, what, e, inner, "", eol)
	}
}

// writeField writes one field without the indentation of its first line, at
// whose end stands the comment beside.
func writeField(out *strings.Builder, what string, e *Entry, indent, beside, eol string) {
	switch what {
	case "arn":
		out.WriteString(string(e.Kind) + "arn: " + scalar(e.ARN))
	case "username":
		out.WriteString("username: " + scalar(e.Username))
	case "groups":
		out.WriteString("groups:")
		if len(e.Groups) == 0 {
			out.WriteString(" []")
		}
	case "mark":
		out.WriteString("syncedBy: " + Mark)
	}
	out.WriteString(beside + eol)
	if what == "groups" {
		for _, g := range e.Groups {
			out.WriteString(indent + "- " + scalar(g) + eol)
		}
	}
}

// rewriteFlow edits a flow sequence. Commas are made anew where neighbours
// change; all else between elements stays where it is, and so do the comments
// of what goes.
func (l *layout) rewriteFlow(e *Edit, current []mapping, whole bool) string {
	join := l.join()
	lineBreak := join[1:] // between two elements, without the comma
	lead := l.text[l.open+1 : l.close]
	if len(l.items) > 0 {
		lead = lead[:l.items[0].start-l.open-1]
	}
	var out strings.Builder
	out.WriteString(l.text[:l.open+1])
	// What is behind the last value that stays: without its comma, and as it stood.
	gap, exact := []byte(lead), ""
	values := 0
	for i, it := range l.items {
		value, behind := l.text[it.start:it.end], l.behind(i)
		bare := behind
		if i < len(l.commas) {
			comma := l.commas[i] - it.end
			bare = behind[:comma] + behind[comma+1:]
		}
		replacement, replaced := e.Replace[i]
		if !replaced && e.Remove[i] {
			gap, exact = mergeGaps(gap, comments(value), bare, i == len(l.items)-1, lineBreak), ""
			continue
		}
		switch {
		case values == 0:
			out.Write(gap)
		case exact != "":
			out.WriteString(exact)
		default:
			out.WriteString(",")
			out.Write(gap)
		}
		anew := ""
		switch {
		case replaced:
			if text, ok := editFlowMapping(value, replacement, current[i]); ok && e.hand && !whole {
				value = text
			} else {
				anew = e.flow(&replacement)
			}
		case e.Unmark[i]:
			if text, ok := withoutMark(value); ok && !whole {
				value = text
			} else {
				anew = unmarkedFlow(&current[i].Entry)
			}
		}
		if anew != "" {
			for _, c := range comments(value) {
				if text := out.String(); !isSpace(text[len(text)-1]) {
					out.WriteString(" ")
				}
				out.WriteString(c + lineBreak)
			}
			value = withOthers(anew, e.others(current[i]))
		}
		out.WriteString(value)
		values++
		gap, exact = append(gap[:0], bare...), behind
	}
	if len(e.Add) == 0 {
		if exact != "" {
			gap = []byte(exact) // a comma behind the last element stays
		}
		out.Write(gap)
		out.WriteString(l.text[l.close:])
		return out.String()
	}
	body := string(bytes.TrimRight(gap, white))
	switch {
	case values > 0 && body == "":
		out.WriteString(join)
	case values > 0:
		out.WriteString("," + body + lineBreak)
	case body != "":
		out.WriteString(body + lineBreak)
	default:
		out.WriteString(lead)
	}
	for i := range e.Add {
		if i > 0 {
			out.WriteString(join)
		}
		out.WriteString(e.flow(&e.Add[i]))
	}
	out.Write(gap[len(body):])
	out.WriteString(l.text[l.close:])
	return out.String()
}

// editFlowMapping writes the username and the groups of an element in flow style
// anew, each only where it is wrong, and leaves all else as it stands. Whether it
// did that well is seen when the result is read back.
func editFlowMapping(text string, want Entry, have mapping) (string, bool) {
	open := strings.IndexByte(text, '{')
	if open < 0 || strings.Trim(text[:open], "- \t") != "" {
		return "", false
	}
	var out strings.Builder
	s := flowScanner{text: text, pos: open + 1}
	copied, last, quoted := 0, open+1, false
	missing := map[string]bool{"username": want.Username != have.Username, "groups": !rightAlready("groups", want, have)}
	for {
		s.skipBlanks()
		begin := s.pos
		end, _ := s.value()
		if s.pos >= len(text) || text[s.pos] == ']' {
			return "", false
		}
		if end > begin {
			name, at, ok := flowKey(text[begin:end])
			if !ok {
				return "", false
			}
			if last == open+1 {
				quoted = text[begin] == '"'
			}
			last = end
			if what := fieldKind(name, have.Kind); missing[what] {
				missing[what] = false
				out.WriteString(text[copied : begin+at])
				copied = end
				value := text[begin+at : end]
				if n := len(have.Groups); what == "groups" && strings.HasSuffix(value, "]") && n > 0 && n < len(want.Groups) && slices.Equal(have.Groups, want.Groups[:n]) {
					out.WriteString(value[:len(value)-1] + ", " + flowGroups(want.Groups[n:])[1:])
				} else {
					out.WriteString(flowField(what, &want))
				}
			}
		}
		if text[s.pos] == '}' {
			break
		}
		s.pos++
	}
	out.WriteString(text[copied:last])
	for _, what := range []string{"username", "groups"} {
		if !missing[what] {
			continue
		}
		if last > open+1 {
			out.WriteString(", ")
		}
		if quoted {
			out.WriteString(quoteJSON(what) + ": " + flowField(what, &want))
		} else {
			out.WriteString(what + ": " + flowField(what, &want))
		}
	}
	out.WriteString(text[last:])
	return out.String(), true
}

// flowKey returns the key of a pair in flow style, and where its value begins.
func flowKey(pair string) (name string, value int, ok bool) {
	var colon int
	if pair[0] == '"' || pair[0] == '\'' {
		s := flowScanner{text: pair}
		if !s.quoted(pair[0]) {
			return "", 0, false
		}
		name, colon = pair[1:s.pos-1], s.pos
		for colon < len(pair) && pair[colon] == ' ' {
			colon++
		}
	} else if colon = strings.IndexByte(pair, ':'); colon > 0 {
		name = strings.TrimRight(pair[:colon], " ")
	}
	if colon <= 0 || colon >= len(pair) || pair[colon] != ':' {
		return "", 0, false
	}
	value = colon + 1
	for value < len(pair) && pair[value] == ' ' {
		value++
	}
	return name, value, true
}

// flowField is the value of a field as JSON.
func flowField(what string, e *Entry) string {
	if what == "groups" {
		return flowGroups(e.Groups)
	}
	return quoteJSON(e.Username)
}

func flowGroups(list []string) string {
	groups := make([]string, len(list))
	for i, g := range list {
		groups[i] = quoteJSON(g)
	}
	return "[" + strings.Join(groups, ", ") + "]"
}

// white is what stands between elements, beside comments and commas.
const white = " \t\r\n"

// behind is what follows an element of a flow sequence, up to the next one or
// the closing bracket.
func (l *layout) behind(i int) string {
	if i == len(l.items)-1 {
		return l.text[l.items[i].end:l.close]
	}
	return l.text[l.items[i].end:l.items[i+1].start]
}

// mergeGaps appends to what stood before an element that goes what stays of
// it: its comments, and what stood behind it without the comma.
func mergeGaps(gap []byte, comments []string, behind string, last bool, lineBreak string) []byte {
	if len(gap) == 0 && (len(comments) > 0 || strings.Contains(behind, "#")) {
		gap = append(gap, ' ')
	}
	for _, c := range comments {
		gap = append(append(gap, c...), lineBreak...)
	}
	if body := strings.TrimLeft(behind, white); body != "" {
		return append(gap, body...)
	}
	if !last {
		return gap
	}
	gap = bytes.TrimRight(gap, white)
	if len(gap) == 0 || strings.ContainsAny(behind, "\r\n") {
		return append(gap, behind...)
	}
	return append(gap, lineBreak...)
}

// join is what stands between two elements of a flow sequence.
func (l *layout) join() string {
	if inside := l.text[l.open:l.close]; lineLength(inside) == len(inside) {
		return ", "
	}
	indent := "  "
	if len(l.items) > 0 {
		line := l.text[:l.items[0].start]
		line = line[strings.LastIndexAny(line, "\r\n")+1:]
		if strings.Trim(line, " \t") == "" {
			indent = line
		}
	}
	return "," + l.eol + indent
}

// flow is an entry as JSON with the fields that it gets.
func (e *Edit) flow(entry *Entry) string {
	if e.hand && entry.Kind != Account {
		return unmarkedFlow(entry)
	}
	return flowEntry(entry)
}

// flowEntry is an entry as JSON, so that a JSON text stays one.
func flowEntry(e *Entry) string {
	if e.Kind == Account {
		return quoteJSON(e.ARN)
	}
	marked := *e
	if marked.Groups == nil {
		marked.Groups = []string{}
	}
	return strings.TrimSuffix(unmarkedFlow(&marked), "}") + `, "syncedBy": "` + Mark + `"}`
}

// unmarkedFlow is flowEntry of a role or user that is to be foreign.
func unmarkedFlow(e *Entry) string {
	text := `{` + quoteJSON(string(e.Kind)+"arn") + `: ` + quoteJSON(e.ARN) + `, "username": ` + quoteJSON(e.Username)
	if e.Groups == nil {
		return text + "}"
	}
	return text + `, "groups": ` + flowGroups(e.Groups) + `}`
}

// withOthers adds fields that are not ours to an entry written as JSON.
func withOthers(entry string, others map[string]json.RawMessage) string {
	entry = strings.TrimSuffix(entry, "}")
	for _, name := range slices.Sorted(maps.Keys(others)) {
		entry += ", " + quoteJSON(name) + ": " + string(others[name])
	}
	return entry + "}"
}

func quoteJSON(s string) string {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s) // a string always encodes
	// YAML takes some characters only escaped that JSON takes as they are.
	var escaped strings.Builder
	for _, r := range strings.TrimSuffix(out.String(), "\n") {
		if r >= 0x7f && r <= 0x9f || r >= 0xfffe && r <= 0xffff || r == 0xfeff {
			fmt.Fprintf(&escaped, `\u%04x`, r)
		} else {
			escaped.WriteRune(r)
		}
	}
	return escaped.String()
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
// what stands before them. Of a scalar over several lines, a line that looks
// like a comment is taken for one: better kept twice than lost.
func comments(text string) []string {
	if !strings.Contains(text, "#") {
		return nil
	}
	var found []string
	plain, depth := false, 0 // inside a plain scalar, inside so many brackets
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case breakAt(text, i) > 0:
			plain = false
			i += breakAt(text, i) - 1
		case c == '#' && (!plain || isSpace(text[i-1])):
			line := text[i : i+lineLength(text[i:])]
			found = append(found, strings.TrimRight(line, " \t"))
			i += len(line) - 1
		case (c == '"' || c == '\'') && !plain:
			s := flowScanner{text: text[:i+lineLength(text[i:])], pos: i}
			if plain = !s.quoted(c); !plain {
				i = s.pos - 1
			}
		case strings.IndexByte("[]{},", c) >= 0 && (depth > 0 || !plain):
			plain = false
			switch c {
			case '[', '{':
				depth++
			case ']', '}':
				depth--
			}
		case c == ':' && (!plain || i+1 == len(text) || isSpace(text[i+1])):
			plain = false
		case (c == '-' || c == '?') && (i+1 == len(text) || isSpace(text[i+1])):
			// An indicator, or a part of the scalar that it stands in.
		case !isSpace(c):
			plain = true
		}
	}
	return found
}

// splitComments returns the comment at the end of a field's first line, with
// the white space before it, and all others.
func splitComments(field string) (beside string, below []string) {
	line := strings.TrimRight(field[:lineLength(field)], " \t")
	below = comments(field)
	if len(below) == 0 || !strings.HasSuffix(line, below[0]) {
		return "", below
	}
	value := strings.TrimRight(line[:len(line)-len(below[0])], " \t")
	return line[len(value):], below[1:]
}

// lineLength is the bytes of a text up to its first line break.
func lineLength(text string) int {
	for i := range len(text) {
		if breakAt(text, i) > 0 {
			return i
		}
	}
	return len(text)
}
