package awsauth

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// This file finds what was typed wrong in a text that cannot be read, or that
// reads as something else than was typed. Nothing can be parsed there, so each
// remedy looks for one kind of slip, line by line, and writes what was meant. What
// comes out counts only if the authenticator's parser reads it then, with every
// entry that the text seems to have.

// A slip is one mistake in a text.
type slip struct {
	rule           RuleID
	line, column   int // of the text as it was given, from 1; column 0: the line
	message, write string
	mended         string // the line as it was meant
	// certain says that what was meant is the only reading.
	certain bool
}

// textLine is a line on its way through the remedies.
type textLine struct {
	number    int // in the text as it was given
	body, eol string
}

func textLines(text string) []textLine {
	var lines []textLine
	for line := range strings.Lines(text) {
		body := strings.TrimRight(line, "\r\n")
		lines = append(lines, textLine{len(lines) + 1, body, line[len(body):]})
	}
	return lines
}

func textOf(lines []textLine) string {
	var out strings.Builder
	for _, l := range lines {
		out.WriteString(l.body + l.eol)
	}
	return out.String()
}

// remedy returns the lines without one kind of slip, and the slips. Lines without
// it come back as they are.
type remedy func(kind Kind, lines []textLine) ([]textLine, []slip)

// remedies are taken one after the other: a later one sees what the earlier ones
// have corrected.
var remedies = []remedy{characters, quoteBraces, spaceColons, quoteStarts, unjoin, lineValues, flowLines, structure}

// A correction is what a text was meant to be.
type correction struct {
	text  string
	also  map[string]string // texts of other keys that stood in it
	slips []slip
	lines []textLine
	list  []mapping // what is read from it
}

// certain reports whether there is one reading alone.
func (c *correction) certain() bool {
	return !slices.ContainsFunc(c.slips, func(s slip) bool { return !s.certain })
}

// maxSlips is how many slips of a text are looked at: one with more was not typed.
const maxSlips = 200

// maxTries is the largest text, in bytes, for which more than all remedies together
// are tried: each try reads it whole.
const maxTries = 128 << 10

// correct finds the slips of a text. The correction is nil where what was meant
// can't be told; the slips that were found on the way come back all the same.
func correct(kind Kind, text string) (*correction, []slip) {
	if len(text) > Limit {
		return nil, nil
	}
	if strings.Contains(text, "\x00") {
		decoded, encoding, ok := DecodeText([]byte(text))
		if !ok || encoding == "UTF-8" {
			return nil, nil
		}
		s := slip{rule: RuleUnreadableKey, line: 1, message: "the text is in " + encoding, write: "the text in UTF-8", certain: true}
		c := &correction{text: decoded, slips: []slip{s}, lines: textLines(decoded)}
		if c.list = meantList(kind, c.lines, decoded); c.list == nil {
			return nil, c.slips
		}
		return c, c.slips
	}
	lines, also, pasted := unpaste(kind, textLines(text))
	if pasted != nil && len(lines) == 0 {
		// Nothing is left of it: all that it holds is another key's.
		return &correction{text: "", also: also, slips: []slip{*pasted}}, nil
	}
	given, _ := characters(kind, lines)
	all := uint(1)<<len(remedies) - 1
	tried := func(set uint) (*correction, []slip, bool) {
		now, found := lines, []slip(nil)
		if pasted != nil {
			found = []slip{*pasted}
		}
		for i, fix := range remedies {
			if set&(1<<i) == 0 {
				continue
			}
			next, where := fix(kind, now)
			now, found = next, append(found, where...)
			if len(found) > maxSlips {
				return nil, found[:maxSlips], false
			}
		}
		if len(found) == 0 {
			return nil, nil, false
		}
		c := &correction{text: textOf(now), also: also, slips: found, lines: now}
		c.list = meantList(kind, given, c.text)
		if c.list == nil {
			return nil, found, false
		}
		c.mended(now)
		return c, found, true
	}
	best, found, ok := tried(all)
	if !ok && len(found) >= maxSlips {
		return nil, sortedSlips(found)
	}
	if !ok {
		// One of them may have seen what is none.
		for i := 0; i < len(remedies) && !ok && len(text) <= maxTries; i++ {
			best, _, ok = tried(all &^ (1 << i))
		}
		if !ok {
			return nil, sortedSlips(found)
		}
	}
	// The fewest that do: what is no slip stays as it stands.
	set := all
	for i := len(remedies) - 1; i >= 0 && len(text) <= maxTries; i-- {
		if less, _, ok := tried(set &^ (1 << i)); ok && len(less.slips) < len(best.slips) && slices.EqualFunc(less.list, best.list, sameElement) {
			set &^= 1 << i
			best = less
		}
	}
	best.slips = sortedSlips(best.slips)
	return best, best.slips
}

func sortedSlips(list []slip) []slip {
	slices.SortStableFunc(list, func(a, b slip) int {
		if a.line != b.line {
			return a.line - b.line
		}
		return a.column - b.column
	})
	return list
}

// mended puts into each slip the line as it was meant.
func (c *correction) mended(lines []textLine) {
	for i := range c.slips {
		s := &c.slips[i]
		var own []string
		for _, l := range lines {
			if l.number == s.line {
				own = append(own, l.body)
			}
		}
		if s.mended == "" {
			s.mended = strings.Join(own, "\n")
		}
	}
}

func sameElement(a, b mapping) bool { return a.ARN == b.ARN && string(a.raw) == string(b.raw) }

// meantList reads a text that was corrected; nil where it can't be read, or not
// with all that the given one seems to have.
func meantList(kind Kind, given []textLine, text string) []mapping {
	if isBlank(text) {
		return nil
	}
	list, err := readBack(kind, text)
	if err != nil || len(list) == 0 || placesOf(kind, text, len(list)).stop != len(text) {
		return nil
	}
	if kind == Account {
		for i := range list {
			if !list[i].inForce() || !twelveDigits.MatchString(list[i].ARN) {
				return nil
			}
		}
		if len(list) != fieldCount(kind, "arn", given) {
			return nil
		}
		return list
	}
	named := 0
	for i := range list {
		m := &list[i]
		if !m.inForce() || strings.ContainsAny(m.ARN, " \t\r\n") {
			return nil
		}
		if m.Username != "" {
			named++
		}
		for _, g := range m.Groups {
			if g == "" || strings.HasPrefix(g, "-") || strings.Contains(g, " -") || strings.ContainsAny(g, "\r\n") {
				return nil // it would be the slip itself as a value
			}
		}
		var one string
		if json.Unmarshal(m.rawField("groups"), &one) == nil && (asTyped(one) || strings.Contains(one, " -")) {
			return nil
		}
	}
	if len(list) != fieldCount(kind, "arn", given) || named < min(len(list), fieldCount(kind, "username", given)) {
		return nil
	}
	return list
}

// slipsOf appends the findings on the slips of a text that can't be read. It
// reports whether there is any.
func (l *linter) slipsOf(kind Kind, p *ParseError, consequence string) bool {
	text := l.data[kind.Key()]
	c, found := correct(kind, text)
	if c == nil {
		// What was meant is not known. What stands above the place where the parser
		// gave up is a slip all the same.
		n := 0
		for _, s := range found {
			if p.Line == 0 || s.line <= p.Line+1 {
				l.slip(kind, s, Fatal, consequence)
				n++
			}
		}
		return n > 0
	}
	certain := c.certain() && l.vacant(c.also)
	for i, s := range c.slips {
		f := l.slip(kind, s, Fatal, consequence)
		if len(c.also) > 0 && !l.vacant(c.also) && strings.Contains(s.message, "inside the text of") {
			keys := strings.Join(slices.Sorted(maps.Keys(c.also)), ", ")
			f.Write = fmt.Sprintf("the list of %s alone, and the entries of %s in the %s that is there as well", kind.Key(), keys, keys)
		}
		if !certain {
			continue
		}
		if i == 0 { // they are fixed together or not at all
			f.fix = &fix{kind: kind, whole: &c.text, also: c.also}
		}
		f.Mendable, f.Mended = true, s.mended
	}
	return len(c.slips) > 0
}

// vacant reports whether keys hold nothing, and can take other texts.
func (l *linter) vacant(keys map[string]string) bool {
	for k := range keys {
		list, err := readList(kindOf(k), l.data[k])
		if err != nil || len(list) > 0 {
			return false
		}
	}
	return true
}

// kindOf is the kind whose key it is.
func kindOf(key string) Kind {
	for _, k := range Kinds() {
		if k.Key() == key {
			return k
		}
	}
	return ""
}

func (l *linter) slip(kind Kind, s slip, severity Severity, consequence string) *Finding {
	f := l.add(s.rule, kind.Key(), s.message)
	f.Line, f.Column, f.Severity, f.Consequence = s.line, s.column, severity, consequence
	if s.write != "" {
		f.Write = s.write
	}
	return f
}

// misread is about a text that can be read and says something else than was typed:
// a dash without its blank makes a text of a list, one that is missing makes one
// entry of two.
func (l *linter) misread(kind Kind) {
	text := l.data[kind.Key()]
	if isBlank(text) || len(text) > Limit || !suspicious(kind, text, l.list(kind)) {
		return
	}
	c, _ := correct(kind, text)
	if c == nil || slices.EqualFunc(c.list, l.list(kind), sameElement) {
		return
	}
	after := maps.Clone(l.data)
	after[kind.Key()] = c.text
	maps.Copy(after, c.also)
	lost := LostAccess(after, l.data)
	was := l.resolver()
	severity, consequence := Error, ruleOf(RuleMisread).Consequence
	if len(lost) > 0 {
		consequence = DescribeLost(lost)
		if slices.ContainsFunc(lost, func(e Entry) bool { return e.Kind != Account && was[key(e.ARN)].ARN == "" }) || kind == Account {
			severity = Fatal
		}
	}
	arns := c.entriesOf(kind, l.list(kind))
	changes := changed(l.data, after)
	certain := c.certain() && l.vacant(c.also) && changes != nil
	for k := range changes {
		// Who is let in by it at last needs no finding of its own.
		_, before := was[k]
		certain = certain && (!before || slices.ContainsFunc(arns, func(arn string) bool { return key(arn) == k }))
	}
	for i, s := range c.slips {
		s.rule = RuleMisread
		f := l.slip(kind, s, severity, consequence)
		if !c.certain() {
			f.Severity = Warning
		}
		f.ARN = arns[i]
		if _, ok := was[key(f.ARN)]; ok && f.Severity == Fatal {
			f.Severity = Error // somebody else is locked out by it, and this one not
		}
		if !certain {
			continue
		}
		if i == 0 {
			f.fix = &fix{kind: kind, whole: &c.text, also: c.also, changes: changes}
		}
		f.Mendable, f.Mended = true, s.mended
	}
}

// entriesOf are the ARNs of the entries in which the slips of a correction are, as
// they stand now.
func (c *correction) entriesOf(kind Kind, now []mapping) []string {
	at := placesOf(kind, c.text, len(c.list))
	arns := make([]string, len(c.slips))
	for i, s := range c.slips {
		for j := range c.list {
			line, _ := at.at(j)
			if line > 0 && line <= len(c.lines) && c.lines[line-1].number <= s.line || j == 0 {
				arns[i] = c.list[j].ARN
			}
			if col := at.node(j); kind != Account && col != nil && line > 0 && line <= len(c.lines) && c.lines[line-1].number == s.line && column(c.lines[line-1].body, min(col.Column-1, len(c.lines[line-1].body))) > s.column && s.column > 0 && j > 0 {
				arns[i] = c.list[j-1].ARN // of several on one line
			}
		}
	}
	if len(now) == len(c.list) {
		for i, arn := range arns {
			if j := slices.IndexFunc(c.list, func(m mapping) bool { return m.ARN == arn }); j >= 0 && now[j].ARN != "" {
				arns[i] = now[j].ARN
			}
		}
	}
	return arns
}

// changed are the keys of the identities that a document maps otherwise than
// another; nil where somebody who can be let in is not any more.
func changed(before, after map[string]string) map[string]bool {
	was, _ := readAll(before)
	is, _ := readAll(after)
	a, b := was.resolver(), is.resolver()
	all := map[string]bool{}
	for k, e := range a {
		now, ok := b[k]
		switch {
		case !ok && e.Unmatched() == "":
			return nil
		case !ok || !sameGrant(e, now):
			all[k] = true
		}
	}
	for k := range b {
		if _, ok := a[k]; !ok {
			all[k] = true
		}
	}
	return all
}

// suspicious reports whether something in a list looks as a slip makes it: only
// then it is worth to look for one.
func suspicious(kind Kind, text string, list []mapping) bool {
	for i := range list {
		m := &list[i]
		raw := string(m.rawField("groups"))
		switch {
		case strings.HasPrefix(raw, `"`) && (strings.HasPrefix(raw, `"-`) || strings.Contains(raw, " ")):
			return true
		case strings.Contains(raw, `arn":`):
			return true
		case slices.ContainsFunc(m.Groups, func(g string) bool { return strings.Contains(g, " ") }):
			return true
		case strings.Contains(m.Username, " "):
			return true
		case !m.inForce() && kind != Account:
			return true
		}
		if strings.IndexFunc(string(m.raw)+m.ARN, func(r rune) bool { class, _ := lookAlike(r); return class != charOther }) >= 0 {
			return true
		}
	}
	lines := textLines(text)
	if !isASCII(text) {
		lines, _ = characters(kind, lines)
	}
	return fieldCount(kind, "arn", lines) > len(list) || tightInFlow.MatchString(text)
}

// asTyped reports whether a value is the slip itself: it begins with the dash of a
// list, or holds a character that is none of names.
func asTyped(value string) bool {
	return strings.HasPrefix(value, "-") || strings.IndexFunc(value, func(r rune) bool { class, _ := lookAlike(r); return class != charOther }) >= 0
}
