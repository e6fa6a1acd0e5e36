package awsauth

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// This file finds slips in a list of block style, which is what people write. The
// list is known to hold entries with four fields, of which one has a list of groups:
// that tells for each line where it should stand.

// fieldWords find where a field of that name seems to be.
var fieldWords = map[string]*regexp.Regexp{
	"rolearn":  regexp.MustCompile(`(?i)(?:^|[\s{,\[-])["']?rolearn["']?[\s:]`),
	"userarn":  regexp.MustCompile(`(?i)(?:^|[\s{,\[-])["']?userarn["']?[\s:]`),
	"username": regexp.MustCompile(`(?i)(?:^|[\s{,\[-])["']?username["']?[\s:]`),
	"account":  regexp.MustCompile(`(?:^|[\s,\["'-])[0-9]{12}(?:$|[\s,\]"'])`),
}

// fieldCount is how many fields of a name seem to stand in lines, comments left
// aside: "arn" is the one of a kind's entries.
func fieldCount(kind Kind, what string, lines []textLine) int {
	switch {
	case kind == Account:
		what = "account"
	case what == "arn":
		what = string(kind) + "arn"
	}
	n := 0
	for _, l := range lines {
		if body := strings.TrimLeft(l.body, " \t"); !strings.HasPrefix(body, "#") {
			n += len(fieldWords[what].FindAllStringIndex(lineComment.ReplaceAllString(l.body, ""), -1))
		}
	}
	return n
}

var (
	lineKey   = regexp.MustCompile(`^(["']?)([A-Za-z_][\w.-]*)["']?[ \t]*:(?:[ \t]+(.*))?$`)
	bareField = regexp.MustCompile(`^(rolearn|userarn|username|groups)(?:[ \t]+(.*))?$`)
	// odd constructs, of which the structure says nothing here
	beyondLines = regexp.MustCompile(`(?m)^[ \t]*(?:-[ \t]+)*(?:[&?][ \t\w]|<<[ \t]*:|[\w"']+:[ \t]+[&*!])|^(?:---|\.\.\.|%)`)
	wholeID     = regexp.MustCompile(`^["']?[0-9]{12}["']?$`)
)

// knownField is the name of one of our fields, without case; empty for others.
func knownField(name string) string {
	switch n := strings.ToLower(name); n {
	case "rolearn", "userarn", "username", "groups":
		return n
	}
	return ""
}

// lineParts is a line taken apart.
type lineParts struct {
	col         int // of the first character that is no white space, from 0
	tab         bool
	dash, tight bool // a dash; one with no blank behind it
	keyCol      int  // of what follows the dash
	rest        string
	key, field  string // as written; as ours, or empty
	value       string // without a comment
	noColon     bool
	comment     bool
	blank       bool
}

func partsOf(body string) lineParts {
	rest := strings.TrimLeft(strings.TrimPrefix(body, "\ufeff"), " \t")
	p := lineParts{rest: rest}
	indent := strings.TrimPrefix(body, "\ufeff")
	indent = indent[:len(indent)-len(rest)]
	p.col, p.tab = len(indent), strings.Contains(indent, "\t")
	p.blank, p.comment = rest == "", strings.HasPrefix(rest, "#")
	if p.blank || p.comment {
		return p
	}
	p.keyCol = p.col
	if rest == "-" || strings.HasPrefix(rest, "- ") || strings.HasPrefix(rest, "-\t") {
		p.dash = true
		p.rest = strings.TrimLeft(rest[1:], " \t")
		gap := rest[1 : len(rest)-len(p.rest)]
		p.tab = p.tab || strings.Contains(gap, "\t")
		p.keyCol = p.col + 1 + len(gap)
	} else if rest[0] == '-' && !strings.HasPrefix(rest, "--") {
		p.dash, p.tight = true, true
		p.rest = rest[1:]
		p.keyCol = p.col + 1
	}
	if m := lineKey.FindStringSubmatch(p.rest); m != nil {
		p.key, p.field = m[2], knownField(m[2])
		p.value = strings.TrimRight(lineComment.ReplaceAllString(" "+m[3], ""), " \t")
		p.value = strings.TrimLeft(p.value, " \t")
	} else if m := bareField.FindStringSubmatch(p.rest); m != nil {
		p.key, p.field, p.noColon, p.value = m[1], m[1], true, m[2]
	}
	return p
}

// opens reports whether a value opens brackets that it does not close.
func opens(value string) int {
	depth := 0
	s := flowScanner{text: value}
	for s.pos < len(value) {
		switch c := value[s.pos]; c {
		case '"', '\'':
			if s.pos == 0 || strings.IndexByte("[{,: ", value[s.pos-1]) >= 0 {
				if !s.quoted(c) {
					return depth
				}
				continue
			}
		case '[', '{':
			depth++
		case ']', '}':
			depth--
		case '#':
			if s.pos > 0 && value[s.pos-1] == ' ' {
				return depth
			}
		}
		s.pos++
	}
	return depth
}

// lineEntry is an entry on its way through the lines.
type lineEntry struct {
	at    int   // its first line
	can   int   // the column that its fields should have
	cols  []int // those that they may have as typed; one once it is known
	wrong int   // the column of the last field that had none of these; -1
	first string
	seen  map[string]bool
}

// structure writes every line where it should stand, with the dash, colon and
// blanks that it lacks.
func structure(kind Kind, lines []textLine) ([]textLine, []slip) {
	text := textOf(lines)
	if beyondLines.MatchString(text) || strings.HasPrefix(strings.TrimLeft(text, " \t\r\n\ufeff"), "[") || strings.HasPrefix(strings.TrimLeft(text, " \t\r\n\ufeff"), "{") {
		return lines, nil
	}
	b := &blockLines{kind: kind, in: lines, parts: make([]lineParts, len(lines)), nested: -1}
	for i, l := range lines {
		b.parts[i] = partsOf(l.body)
	}
	b.measure()
	for i := range lines {
		b.line(i)
	}
	return b.out, b.found
}

// blockLines is a block list on its way.
type blockLines struct {
	kind  Kind
	in    []textLine
	parts []lineParts
	out   []textLine
	found []slip

	dash   int // the column of the entries' dashes
	others int // how many entries have it
	offset int // of the groups' dashes from their field

	entry       *lineEntry
	inGroups    bool
	groupsField int // the column of the field groups, as typed
	groupCol    int // that of the dashes as typed; -1 before the first
	groupCan    int // as it should be
	groupSpaces bool
	nested      int // the column of a field whose value is on deeper lines; -1
	shift       int // of the line before
	depth       int // of brackets that are open
}

// measure finds where entries and groups stand in most of the text.
func (b *blockLines) measure() {
	dashes, offsets := map[int]int{}, map[int]int{}
	var order, offsetOrder []int
	groups := -1
	for i, p := range b.parts {
		switch {
		case p.blank || p.comment || p.tab:
			continue
		case p.dash && (p.key != "" || strings.HasPrefix(p.rest, "{") || b.kind == Account):
			if dashes[p.col] == 0 {
				order = append(order, p.col)
			}
			dashes[p.col] += 2
			if !p.tight {
				b.others++
			}
			// An entry whose fields stand where the dash says is the better witness.
			if next := b.next(i); next != nil && !next.dash && next.key != "" && next.col == p.keyCol {
				dashes[p.col]++
			}
			groups = -1
			if p.field == "groups" && p.value == "" {
				groups = p.keyCol
			}
		case p.field == "groups" && !p.dash && p.value == "":
			groups = p.col
		case p.dash && groups >= 0:
			if offsets[p.col-groups] == 0 {
				offsetOrder = append(offsetOrder, p.col-groups)
			}
			offsets[p.col-groups]++
		}
	}
	for _, c := range order {
		if dashes[c] > dashes[b.dash] {
			b.dash = c
		}
	}
	if len(order) == 0 {
		b.dash = 0
	}
	b.offset = 2
	best := 0
	for _, o := range offsetOrder {
		if o >= 0 && offsets[o] > best {
			b.offset, best = o, offsets[o]
		}
	}
}

// next is the next line with content; nil at the end.
func (b *blockLines) next(i int) *lineParts {
	for j := i + 1; j < len(b.parts); j++ {
		if p := &b.parts[j]; !p.blank && !p.comment {
			return p
		}
	}
	return nil
}

func (b *blockLines) slip(i, column int, certain bool, message, write string) {
	rule := RuleUnreadableKey
	if strings.HasPrefix(message, "a tab") {
		rule = RuleTab
	}
	b.found = append(b.found, slip{rule: rule, line: b.in[i].number, column: column, message: message, write: write, certain: certain})
}

// emit writes a line at a column.
func (b *blockLines) emit(i, column int, rest string) {
	l := b.in[i]
	if p := &b.parts[i]; p.col == column && !p.tab && strings.HasSuffix(l.body, rest) && len(strings.TrimPrefix(l.body, "\ufeff"))-len(rest) == column {
		b.out = append(b.out, l)
	} else {
		bom := ""
		if strings.HasPrefix(l.body, "\ufeff") {
			bom = "\ufeff"
		}
		b.out = append(b.out, textLine{l.number, bom + strings.Repeat(" ", max(column, 0)) + rest, l.eol})
	}
	b.shift = column - b.parts[i].col
}

// dashed is what stands behind the indentation of a line that begins with a dash.
func (b *blockLines) dashed(p *lineParts, can int) string {
	if p.tight || p.tab || !p.dash {
		return "- " + p.rest
	}
	return "-" + strings.Repeat(" ", max(can, 1)) + p.rest
}

func (b *blockLines) line(i int) {
	p := &b.parts[i]
	if p.blank || p.comment {
		b.out = append(b.out, b.in[i])
		return
	}
	if b.depth > 0 {
		b.depth = max(b.depth+opens(p.rest), 0)
		b.emit(i, p.col+b.shift, strings.TrimLeft(b.in[i].body, " \t"))
		return
	}
	if b.nested >= 0 && p.col > b.nested && !(p.dash && p.field != "") {
		b.emit(i, p.col+b.shift, strings.TrimLeft(b.in[i].body, " \t"))
		return
	}
	b.nested = -1
	switch {
	case b.kind == Account:
		b.account(i, p)
	case p.dash && (p.field != "" || p.key != "" && !b.inGroups || strings.HasPrefix(p.rest, "{") && !b.inGroups):
		b.entryLine(i, p)
	case p.dash && p.rest == "" && !b.inGroups:
		b.entry = &lineEntry{at: i, can: b.dash + 2, wrong: -1, seen: map[string]bool{}}
		if next := b.next(i); next != nil && next.col > p.col {
			b.entry.cols, b.entry.can = []int{next.col}, next.col
		}
		b.emit(i, b.dash, "-")
	case p.dash:
		b.group(i, p)
	case p.key != "" && (p.field != "" || !b.inGroups || p.col <= b.groupsField):
		b.field(i, p)
	default:
		b.rest(i, p)
	}
	if !p.dash || p.key != "" || strings.HasPrefix(p.rest, "{") {
		value := p.value
		if p.key == "" {
			value = p.rest
		}
		if strings.HasPrefix(value, "[") || strings.HasPrefix(value, "{") {
			b.depth = max(opens(value), 0)
		}
	}
}

// indented says where a line stands and should.
func indented(what string, is, should int) (message, write string) {
	return fmt.Sprintf("%s is indented by %s and belongs at %d", what, blanks(is), should), blanks(should) + " before it"
}

func blanks(n int) string {
	switch n {
	case 0:
		return "no blank"
	case 1:
		return "1 blank"
	}
	return fmt.Sprintf("%d blanks", n)
}

const tightDash = "there is no blank behind the dash"

// account is a line of mapAccounts.
func (b *blockLines) account(i int, p *lineParts) {
	rest := strings.TrimRight(lineComment.ReplaceAllString(" "+p.rest, ""), " \t")
	switch {
	case !p.dash && wholeID.MatchString(strings.TrimSpace(rest)):
		b.slip(i, p.col+1, true, "there is no dash before the account id", "- before it")
	case !p.dash:
		b.emit(i, p.col+b.shift, p.rest)
		return
	case p.tight:
		b.slip(i, p.col+2, true, tightDash, "- and a blank")
	}
	b.placed(i, p, b.dash, "the account id", b.others > 1)
	b.emit(i, b.dash, b.dashed(p, p.keyCol-p.col-1))
}

// placed records a line that stands elsewhere than it should.
func (b *blockLines) placed(i int, p *lineParts, should int, what string, certain bool) {
	switch {
	case p.tab:
		b.slip(i, strings.IndexByte(b.in[i].body, '\t')+1, certain, "a tab stands where YAML wants blanks", "blanks")
	case p.col != should:
		message, write := indented(what, p.col, should)
		b.slip(i, p.col+1, true, message, write)
	}
}

// entryLine is a line with a dash and a field: an entry begins.
func (b *blockLines) entryLine(i int, p *lineParts) {
	gap := p.keyCol - p.col - 1
	e := &lineEntry{at: i, wrong: -1, first: p.field, seen: map[string]bool{strings.ToLower(p.key): true}}
	if p.tight {
		b.slip(i, p.col+2, true, tightDash, "- and a blank")
		e.can, e.cols = b.dash+2, []int{p.col + 1, b.dash + 2}
		gap = 1
	} else {
		e.can, e.cols = b.dash+1+gap, []int{p.keyCol}
		if p.tab {
			e.can, e.cols, gap = b.dash+2, []int{b.dash + 2, p.keyCol}, 1
		} else if p.col != b.dash {
			e.cols = append(e.cols, b.dash+1+gap)
		}
		// Where all other fields of the entry agree on another column, it is this
		// line that has too many blanks or too few behind the dash.
		if col, ok := b.fieldColumn(i); ok && !p.tab && col == b.dash+2 && p.col == b.dash && gap != 1 {
			b.slip(i, p.keyCol+1, true, fmt.Sprintf("%d blanks stand behind the dash, and the other fields of the entry are indented by %d", gap, col), "one blank")
			e.can, e.cols, gap = col, []int{col}, 1
		}
	}
	b.placed(i, p, b.dash, "the entry", true)
	b.entry, b.inGroups = e, false
	if p.noColon {
		b.colon(i, p)
	}
	b.emit(i, b.dash, b.dashed(p, gap))
	b.shift = e.can - p.keyCol
	b.afterKey(p, p.keyCol)
}

// colon puts in the colon that a field lacks.
func (b *blockLines) colon(i int, p *lineParts) {
	b.slip(i, p.keyCol+len(p.key)+1, true, "there is no colon behind "+p.key, p.key+": with a blank behind the colon")
	p.rest = strings.TrimRight(p.key+": "+strings.TrimLeft(p.rest[len(p.key):], " \t"), " ")
}

// fieldColumn is the column that all fields of an entry have but the first.
func (b *blockLines) fieldColumn(i int) (int, bool) {
	col := -1
	for j := i + 1; j < len(b.parts); j++ {
		p := &b.parts[j]
		switch {
		case p.blank || p.comment:
		case p.dash && p.key != "":
			return col, col >= 0
		case p.dash:
		case p.field == "":
			return col, col >= 0
		case p.tab || col >= 0 && p.col != col:
			return 0, false
		default:
			col = p.col
		}
	}
	return col, col >= 0
}

// hasField reports whether a field stands in what begins at a line, before the next
// entry.
func (b *blockLines) hasField(i int, name string) bool {
	arns := 0
	for j := i; j < len(b.parts); j++ {
		p := &b.parts[j]
		if p.field == string(b.kind)+"arn" {
			arns++
		}
		if j > i && p.dash && p.field != "" || arns > 1 {
			return false
		}
		if p.field == name {
			return true
		}
	}
	return false
}

// afterKey notes what the field of a line opens.
func (b *blockLines) afterKey(p *lineParts, col int) {
	b.inGroups = p.field == "groups" && p.value == ""
	if b.inGroups {
		b.groupsField, b.groupCol, b.groupCan, b.groupSpaces = col, -1, b.entry.can+b.offset, false
		return
	}
	if p.field == "" && p.value == "" || strings.HasPrefix(p.value, "|") || strings.HasPrefix(p.value, ">") {
		b.nested = col
	}
}

// field is a line with a field and no dash.
func (b *blockLines) field(i int, p *lineParts) {
	name := strings.ToLower(p.key)
	arn := string(b.kind) + "arn"
	e := b.entry
	again := e != nil && e.seen[name] && (name == arn || p.field != "" && p.field == e.first && e.seen[arn])
	if e == nil && (p.field == "" || p.tab) {
		b.emit(i, p.col, p.rest)
		return
	}
	if e == nil || again {
		should := b.dash
		if b.others == 0 {
			should = p.col
			b.dash = p.col
		}
		// A second ARN in an entry may also be one that was left over: only what has a
		// username of its own is an entry.
		certain := e == nil || e.seen["username"] && b.hasField(i, "username")
		b.slip(i, p.col+1, certain, "the entry has no dash before "+p.key, "- before it")
		b.entry = &lineEntry{at: i, can: should + 2, cols: []int{p.col, should + 2}, wrong: -1, first: p.field, seen: map[string]bool{name: true}}
		if p.noColon {
			b.colon(i, p)
		}
		b.emit(i, should, "- "+p.rest)
		b.shift = should + 2 - p.col
		b.afterKey(p, p.col)
		return
	}
	e.seen[name] = true
	switch {
	case p.tab:
		b.slip(i, strings.IndexByte(b.in[i].body, '\t')+1, true, "a tab stands where YAML wants blanks", "blanks")
	case slices.Contains(e.cols, p.col):
		e.cols = []int{p.col}
	case len(e.cols) == 0:
		e.cols = []int{p.col}
		e.can = p.col
	case p.col != e.wrong:
		message, write := indented(p.key, p.col, e.can)
		b.slip(i, p.col+1, true, message, write)
		e.wrong = p.col
	}
	if p.noColon {
		b.colon(i, p)
	}
	b.emit(i, e.can, p.rest)
	b.afterKey(p, p.col)
}

// groupColumn is the column that most dashes of a list of groups have.
func (b *blockLines) groupColumn(i int) int {
	count := map[int]int{}
	best := -1
	for j := i; j < len(b.parts); j++ {
		p := &b.parts[j]
		if p.blank || p.comment {
			continue
		}
		if !p.dash || p.key != "" {
			break
		}
		if p.tab || p.col < b.groupsField {
			continue
		}
		count[p.col]++
		if best < 0 || count[p.col] > count[best] || count[p.col] == count[best] && p.col-b.groupsField == b.offset {
			best = p.col
		}
	}
	return best
}

// group is a line with a dash and no field.
func (b *blockLines) group(i int, p *lineParts) {
	if b.entry == nil || !b.inGroups {
		b.emit(i, p.col+max(b.shift, -p.col), strings.TrimLeft(b.in[i].body, " \t"))
		return
	}
	if p.tight {
		b.slip(i, p.col+2, true, tightDash, "- and a blank")
	}
	if b.groupCol < 0 {
		if col := b.groupColumn(i); col >= 0 {
			b.groupCol, b.groupCan = col, b.entry.can+col-b.groupsField
		} else { // tabs alone
			b.groupCol = b.groupsField + b.offset
		}
	}
	switch {
	case p.tab:
		b.slip(i, strings.IndexByte(b.in[i].body, '\t')+1, !b.groupSpaces, "a tab stands where YAML wants blanks", "blanks")
	case p.col != b.groupCol:
		message, write := indented("the group", p.col, b.groupCan)
		b.slip(i, p.col+1, true, message, write)
	}
	b.groupSpaces = b.groupSpaces || !p.tab
	b.emit(i, b.groupCan, b.dashed(p, p.keyCol-p.col-1))
}

// rest is a line that has neither a dash nor a field.
func (b *blockLines) rest(i int, p *lineParts) {
	if b.inGroups && b.entry != nil && p.key == "" && !strings.ContainsAny(strings.TrimSpace(lineComment.ReplaceAllString(p.rest, "")), " \t[]{}|>") {
		if b.groupCol < 0 {
			for j := i + 1; j < len(b.parts); j++ {
				if q := &b.parts[j]; q.dash && q.key == "" && !q.tab {
					b.groupCol, b.groupCan = q.col, b.entry.can+q.col-b.groupsField
					break
				} else if !q.blank && !q.comment {
					break
				}
			}
		}
		b.slip(i, p.col+1, true, "there is no dash before the group", "- before it")
		b.emit(i, b.groupCan, "- "+p.rest)
		return
	}
	b.emit(i, p.col+max(b.shift, -p.col), p.rest)
}

// column counts a place in a line in characters, from 1.
func column(body string, at int) int { return utf8.RuneCountInString(body[:at]) + 1 }

var joinedField = regexp.MustCompile(`[ \t]+(?:rolearn|userarn|username|groups):[ \t]`)

// unjoin puts entries and fields that stand on one line on lines of their own: a
// folded block scalar (>) has made one line of several.
func unjoin(kind Kind, lines []textLine) ([]textLine, []slip) {
	var out []textLine
	var found []slip
	again := fmt.Sprintf(`[ \t]+-[ \t]+["']?%sarn["']?:`, kind)
	if kind == Account {
		again = `[ \t]+-[ \t]+["']?[0-9]{12}`
	}
	next := regexp.MustCompile(again)
	for _, l := range lines {
		p := partsOf(l.body)
		if p.blank || p.comment || strings.ContainsAny(l.body, "[{") && next.FindStringIndex(l.body) == nil {
			out = append(out, l)
			continue
		}
		if at := next.FindStringIndex(l.body); p.dash && at != nil && at[0] >= p.col {
			found = append(found, slip{
				rule: RuleUnreadableKey, line: l.number, column: column(l.body, at[0]), certain: true,
				message: "several entries stand on one line, as > and >- join lines", write: "each entry on a line of its own, and | in place of >",
			})
			indent := l.body[:p.col]
			rest := l.body
			for at := next.FindStringIndex(rest); at != nil; at = next.FindStringIndex(rest) {
				out = append(out, textLine{l.number, rest[:at[0]], orBreak(l.eol)})
				rest = indent + strings.TrimLeft(rest[at[0]:], " \t")
				if next.FindStringIndex(rest[len(indent):]) == nil {
					break
				}
			}
			out = append(out, textLine{l.number, rest, l.eol})
			continue
		}
		at := joinedField.FindStringIndex(l.body)
		if kind != Account && p.field != "" && !p.noColon && at != nil && at[0] > p.keyCol && !strings.ContainsAny(l.body[:at[0]], `"'#`) {
			found = append(found, slip{
				rule: RuleUnreadableKey, line: l.number, column: column(l.body, at[0]), certain: true,
				message: "two fields stand on one line", write: "each field on a line of its own",
			})
			rest := l.body
			for at != nil {
				out = append(out, textLine{l.number, rest[:at[0]], orBreak(l.eol)})
				rest = strings.Repeat(" ", p.keyCol) + strings.TrimLeft(rest[at[0]:], " \t")
				at = joinedField.FindStringIndex(rest[p.keyCol:])
				if at != nil {
					at[0] += p.keyCol
				}
			}
			out = append(out, textLine{l.number, rest, l.eol})
			continue
		}
		out = append(out, l)
	}
	return out, found
}

func orBreak(eol string) string {
	if eol == "" {
		return "\n"
	}
	return eol
}

// lineValues finds what is wrong with the value of a line.
func lineValues(_ Kind, lines []textLine) ([]textLine, []slip) {
	var out []textLine
	var found []slip
	nested, depth := -1, 0
	anchors := slices.ContainsFunc(lines, func(l textLine) bool { return strings.Contains(l.body, "&") })
	for i, l := range lines {
		p := partsOf(l.body)
		if p.blank || p.comment || nested >= 0 && p.col > nested || depth > 0 {
			if depth > 0 {
				depth = max(depth+opens(p.rest), 0)
			}
			out = append(out, l)
			continue
		}
		nested = -1
		if p.key == "" && !p.dash && (strings.HasPrefix(p.rest, "[") || strings.HasPrefix(p.rest, "{")) {
			depth = max(opens(p.rest), 0)
			out = append(out, l)
			continue
		}
		if strings.HasPrefix(p.value, "|") || strings.HasPrefix(p.value, ">") {
			nested = p.keyCol
		}
		value, at := p.value, len(l.body)
		if p.key != "" && !p.noColon {
			at = strings.Index(l.body[p.keyColIn(l.body):], ":") + p.keyColIn(l.body) + 1
			for at < len(l.body) && (l.body[at] == ' ' || l.body[at] == '\t') {
				at++
			}
		} else if p.dash && p.key == "" {
			value = strings.TrimSpace(lineComment.ReplaceAllString(" "+p.rest, ""))
			at = strings.Index(l.body, value)
		}
		add := func(column int, certain bool, message, write string) {
			found = append(found, slip{rule: RuleUnreadableKey, line: l.number, column: column, message: message, write: write, certain: certain})
		}
		if value == "" || at+len(value) > len(l.body) || l.body[at:at+len(value)] != value {
			out = append(out, l)
			continue
		}
		tail := l.body[at+len(value):]
		first, last := value[0], value[len(value)-1]
		switch {
		case (first == '[' || first == '{'):
			depth = max(opens(value), 0)
		case p.field == "groups" && (value == "-" || strings.HasPrefix(value, "- ") || tightGroup(value)):
			items, certain := inlineGroups(value)
			write := "it on a line of its own, below groups:"
			if len(items) > 1 {
				write = "each group on a line of its own, below groups:"
			}
			add(column(l.body, at), certain, "the list of groups begins on the line of its field", write)
			indent := p.keyCol + 2
			if i+1 < len(lines) {
				if next := partsOf(lines[i+1].body); next.dash && next.key == "" && next.col >= p.keyCol && !next.tab {
					indent = next.col
				}
			}
			out = append(out, textLine{l.number, strings.TrimRight(l.body[:at], " \t"), orBreak(l.eol)})
			for j, item := range items {
				line := textLine{l.number, strings.Repeat(" ", indent) + item, orBreak(l.eol)}
				if j+1 == len(items) {
					line.body, line.eol = line.body+tail, l.eol
				}
				out = append(out, line)
			}
			continue
		case first == '"' || first == '\'':
			s := flowScanner{text: value}
			closed := s.quoted(first)
			switch {
			case closed && s.pos == len(value):
			case closed && first == '\'' && strings.HasPrefix(value[s.pos:], ":"):
			case closed:
				add(column(l.body, at+s.pos), false, "text stands behind the quote that closes the value", "the whole value in quotes")
			case last == '"' || last == '\'':
				add(column(l.body, at+len(value)-1), true, fmt.Sprintf("the value opens with %c and closes with %c", first, last), "the same quotes at both ends")
				l.body = l.body[:at+len(value)-1] + string(first) + tail
			case len(value) == 1 || strings.Contains(value, ": ") || value[len(value)-1] == ':':
				add(column(l.body, at), false, "a quote is opened and not closed", "the closing quote")
			default:
				add(column(l.body, at), true, "a quote is opened and not closed", "the closing quote")
				l.body = l.body[:at+len(value)] + string(first) + tail
			}
		case last == ':' && p.key != "":
			add(column(l.body, at+len(value)-1), false, "the value ends with a colon, which YAML takes for a field", "the value in quotes, with what belongs behind the colon")
			l.body = l.body[:at] + `"` + value + `"` + tail
		case p.field != "" && joinedField.MatchString(value):
			add(column(l.body, at+joinedField.FindStringIndex(value)[0]), false, "two fields stand on one line", "each field on a line of its own")
		case p.key != "" && strings.Contains(value, ": ") && namedByColons.MatchString(strings.ReplaceAll(value, ": ", ":")):
			add(column(l.body, at+strings.Index(value, ": ")), false, "the value holds a colon and a blank, which YAML takes for a field", "the value without the blank")
		case p.key != "" && strings.Contains(value, ": "):
			add(column(l.body, at+strings.Index(value, ": ")), false, "the value holds a colon and a blank, which YAML takes for a field", "the value in double quotes")
			if !strings.ContainsAny(value, `"\`) {
				l.body = l.body[:at] + `"` + value + `"` + tail
			}
		case first == '*' && p.key != "" && !anchors:
			add(column(l.body, at), true, "a value begins with *, which YAML keeps for itself", "it in double quotes")
			l.body = l.body[:at] + `"` + value + `"` + tail
		}
		out = append(out, l)
	}
	return out, found
}

// namedByColons is what has colons in it and no blank behind them.
var namedByColons = regexp.MustCompile(`^(?:arn|system):[^ ]*$`)

// tightGroup reports whether a value is a group with a dash that has no blank.
func tightGroup(value string) bool { return len(value) > 1 && value[0] == '-' && value[1] != '-' }

// betweenGroups is what people write between groups that stand on one line.
var betweenGroups = regexp.MustCompile(`,?[ \t]+-[ \t]*|,[ \t]*`)

// inlineGroups are the lines of a list of groups that begins on the line of its field,
// and whether there is no other reading: a comma alone may be one of a name.
func inlineGroups(value string) (lines []string, certain bool) {
	list := strings.TrimSpace(value[1:])
	if list == "" || strings.ContainsAny(list, "\"'[]{}") {
		return []string{value}, true
	}
	certain = !slices.ContainsFunc(betweenGroups.FindAllString(list, -1), func(s string) bool { return !strings.Contains(s, "-") })
	for _, name := range betweenGroups.Split(list, -1) {
		certain = certain && name != "" && !strings.ContainsAny(name, " \t")
		lines = append(lines, "- "+name)
	}
	return lines, certain
}

// keyColIn is the offset of what follows the dash, in bytes of the line.
func (p *lineParts) keyColIn(body string) int {
	if strings.HasPrefix(body, "\ufeff") {
		return p.keyCol + len("\ufeff")
	}
	return p.keyCol
}
