package awsauth

import (
	"bytes"
	"fmt"
	"math/bits"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// This file mends texts that cannot be read. Nothing can be parsed in them, so
// it tries what people get wrong, and takes a text only if it can be read then
// with every entry that it seems to have.

// A mishap is what was mended in one line.
type mishap struct {
	rule          RuleID
	line, column  int
	message       string
	write, mended string
}

// remedy returns a text without one kind of mistake, and where it was. A text
// without it comes back as it is.
type remedy func(kind Kind, text string) (string, []mishap)

// remedies are tried alone and together, the fewest first.
var remedies = []remedy{quoteBraces, blankTabs(2), blankTabs(4), blankTabs(8), spaceColons, quoteStarts, unwrap, addDash}

// tabRemedies are those of which the width is a guess.
const tabRemedies = 0b1110

// repair mends a text that cannot be read, or returns no mishaps.
func repair(kind Kind, text string) (string, []mishap) {
	if len(text) > Limit {
		return text, nil
	}
	var useful uint
	for i, fix := range remedies {
		if _, where := fix(kind, text); len(where) > 0 {
			useful |= 1 << i
		}
	}
	var sets []uint
	for set := uint(1); set < 1<<len(remedies); set++ {
		if set&^useful == 0 && bits.OnesCount(set&tabRemedies) <= 1 {
			sets = append(sets, set)
		}
	}
	slices.SortStableFunc(sets, func(a, b uint) int { return bits.OnesCount(a) - bits.OnesCount(b) })
	for _, set := range sets {
		mended, where, list := try(kind, text, set)
		if list == nil {
			continue
		}
		if set&tabRemedies != 0 {
			// The width of a tab is a guess: it is certain only where it does not matter.
			for i := range remedies {
				if other := uint(1) << i; other&tabRemedies != 0 {
					if _, _, second := try(kind, text, set&^tabRemedies|other); second != nil && !slices.EqualFunc(list, second, sameElement) {
						return text, nil
					}
				}
			}
		}
		lines := newLineIndex(mended, 0)
		for i := range where {
			if l := where[i].line; l > 0 && lines.count() >= l && where[i].mended == "" {
				where[i].mended = strings.TrimRight(lines.text[lines.start(l):lines.start(l+1)], "\r\n")
			}
		}
		slices.SortStableFunc(where, func(a, b mishap) int { return a.line - b.line })
		return mended, where
	}
	return text, nil
}

func sameElement(a, b mapping) bool { return a.ARN == b.ARN && bytes.Equal(a.raw, b.raw) }

// try takes the remedies of a set; the list is nil where the text cannot be
// read then, or not with all that it seems to have.
func try(kind Kind, text string, set uint) (string, []mishap, []mapping) {
	given := text
	var all []mishap
	for i, fix := range remedies {
		if set&(1<<i) == 0 {
			continue
		}
		mended, where := fix(kind, text)
		text, all = mended, append(all, where...)
	}
	list, err := readList(kind, text)
	if err != nil || len(list) == 0 || isBlank(text) {
		return text, nil, nil
	}
	if kind == Account {
		for i := range list {
			if !list[i].inForce() || !twelveDigits.MatchString(list[i].ARN) {
				return text, nil, nil
			}
		}
		return text, all, list
	}
	for i := range list {
		if !list[i].inForce() || list[i].Username == "" || strings.ContainsAny(list[i].ARN, " \t\r\n") {
			return text, nil, nil
		}
	}
	if len(list) != len(arnLine[kind].FindAllStringIndex(given, -1)) || placesOf(kind, text, len(list)).stop != len(text) {
		return text, nil, nil
	}
	return text, all, list
}

// arnLine finds what seems to be an entry.
var arnLine = map[Kind]*regexp.Regexp{
	Role: regexp.MustCompile(`(?im)(?:^|[\s{,])["']?rolearn["']?\s*:`),
	User: regexp.MustCompile(`(?im)(?:^|[\s{,])["']?userarn["']?\s*:`),
}

// eachLine hands every line that is no comment to a function and puts together
// what comes back. Line breaks stay.
func eachLine(text string, mend func(line string, number int) string) string {
	var out strings.Builder
	number := 0
	for line := range strings.Lines(text) {
		number++
		body := strings.TrimRight(line, "\r\n")
		if strings.HasPrefix(strings.TrimLeft(body, " \t"), "#") {
			out.WriteString(line)
			continue
		}
		out.WriteString(mend(body, number) + line[len(body):])
	}
	return out.String()
}

var (
	lineHead    = regexp.MustCompile(`^[ \t]*(?:-[ \t]+)*(?:["']?\w+["']?[ \t]*:[ \t]+)?`)
	lineComment = regexp.MustCompile(`[ \t]+#.*$`)
	openFlow    = regexp.MustCompile(`^[ \t]*(?:-[ \t]+)*(?:["']?\w+["']?[ \t]*:[ \t]+)?[\[{](?:[^{]|$)`)
)

// quoteBraces puts a value into quotes that begins with {{, or has it inside
// other brackets, where YAML takes it for a map.
func quoteBraces(_ Kind, text string) (string, []mishap) {
	var found []mishap
	mended := eachLine(text, func(line string, number int) string {
		if !strings.Contains(line, "{{") || strings.ContainsAny(line, "\\") {
			return line
		}
		head := len(lineHead.FindString(line))
		var out string
		if openFlow.MatchString(line) {
			out = quoteInFlow(line, head)
		} else {
			value := lineComment.ReplaceAllString(line[head:], "")
			trimmed := strings.TrimRight(value, " \t")
			if !strings.HasPrefix(trimmed, "{{") || strings.ContainsAny(trimmed, `"'`) {
				return line
			}
			out = line[:head] + `"` + trimmed + `"` + line[head+len(trimmed):]
		}
		if out != line {
			found = append(found, mishap{RuleUnquotedBraces, number, head + 1, "a value with {{…}} is not quoted, so YAML takes the braces for a map", "it in double quotes", ""})
		}
		return out
	})
	return mended, found
}

// quoteInFlow quotes the values with {{ of a line that has brackets.
func quoteInFlow(line string, from int) string {
	var out strings.Builder
	out.WriteString(line[:from])
	for i := from; i < len(line); {
		c := line[i]
		if c == '"' || c == '\'' {
			s := flowScanner{text: line, pos: i}
			if !s.quoted(c) {
				out.WriteString(line[i:])
				return out.String()
			}
			out.WriteString(line[i:s.pos])
			i = s.pos
			continue
		}
		// A value ends where a comma, a bracket or ": " follows, braces of
		// placeholders left aside.
		end := i
		for end < len(line) {
			if p := anyPlaceholder.FindStringIndex(line[end:]); p != nil && p[0] == 0 {
				end += p[1]
				continue
			}
			if strings.IndexByte(",[]{}\"'#", line[end]) >= 0 || line[end] == ':' && (end+1 == len(line) || line[end+1] == ' ') {
				break
			}
			end++
		}
		if end == i {
			out.WriteByte(c)
			i++
			continue
		}
		token := line[i:end]
		if value := strings.TrimSpace(token); strings.Contains(value, "{{") {
			token = strings.Replace(token, value, `"`+value+`"`, 1)
		}
		out.WriteString(token)
		i = end
	}
	return out.String()
}

// blankTabs writes blanks for the tabs in the indentation of lines, and behind
// dashes and colons.
func blankTabs(width int) remedy {
	return func(_ Kind, text string) (string, []mishap) {
		var found []mishap
		mended := eachLine(text, func(line string, number int) string {
			head := lineHead.FindString(line)
			at := strings.IndexByte(head, '\t')
			if at < 0 {
				return line
			}
			found = append(found, mishap{RuleTab, number, at + 1, "a tab stands where YAML wants blanks", "blanks", ""})
			indent := head[:len(head)-len(strings.TrimLeft(head, " \t"))]
			rest := strings.ReplaceAll(head[len(indent):], "\t", " ")
			return strings.ReplaceAll(indent, "\t", strings.Repeat(" ", width)) + rest + line[len(head):]
		})
		return mended, found
	}
}

var noSpace = regexp.MustCompile(`^([ \t]*(?:-[ \t]+)*(?:rolearn|userarn|username|groups):)([^\s].*)$`)

// spaceColons puts the blank behind a field's colon that YAML wants.
func spaceColons(_ Kind, text string) (string, []mishap) {
	var found []mishap
	mended := eachLine(text, func(line string, number int) string {
		m := noSpace.FindStringSubmatch(line)
		if m == nil {
			return line
		}
		found = append(found, mishap{RuleUnreadableKey, number, len(m[1]) + 1, "there is no blank behind the colon", "a blank behind it", ""})
		return m[1] + " " + m[2]
	})
	return mended, found
}

// quoteStarts quotes values that begin with a character that YAML keeps for
// itself.
func quoteStarts(_ Kind, text string) (string, []mishap) {
	var found []mishap
	mended := eachLine(text, func(line string, number int) string {
		head := len(lineHead.FindString(line))
		value := strings.TrimRight(lineComment.ReplaceAllString(line[head:], ""), " \t")
		if value == "" || strings.IndexByte("@`%", value[0]) < 0 || strings.ContainsAny(value, `"\`) {
			return line
		}
		found = append(found, mishap{RuleUnreadableKey, number, head + 1, fmt.Sprintf("a value begins with %c, which YAML keeps for itself", value[0]), "it in double quotes", ""})
		return line[:head] + strconv.Quote(value) + line[head+len(value):]
	})
	return mended, found
}

// unwrap takes the list out of a map that has it under the key's own name, as
// the data of a ConfigMap have it.
func unwrap(kind Kind, text string) (string, []mishap) {
	head, rest, ok := strings.Cut(text, "\n")
	for ok && strings.TrimSpace(head) == "" {
		head, rest, ok = strings.Cut(rest, "\n")
	}
	name, style, isKey := strings.Cut(strings.TrimRight(head, " \t\r"), ":")
	if !ok || !isKey || name != kind.Key() || !slices.Contains([]string{"", "|", "|-", "|+"}, strings.TrimSpace(style)) {
		return text, nil
	}
	indent := -1
	for line := range strings.Lines(rest) {
		if body := strings.TrimLeft(line, " "); strings.TrimSpace(body) != "" && body[0] != '#' {
			if n := len(line) - len(body); indent < 0 || n < indent {
				indent = n
			}
		}
	}
	var out strings.Builder
	for line := range strings.Lines(rest) {
		out.WriteString(line[min(max(indent, 0), len(line)-len(strings.TrimLeft(line, " "))):])
	}
	return out.String(), []mishap{{RuleUnreadableKey, 1, 1, fmt.Sprintf("the list stands under another %s", kind.Key()), "the list alone", strings.TrimRight(firstLine(out.String()), "\r\n")}}
}

func firstLine(text string) string {
	return text[:lineLength(text)]
}

// addDash makes the list of one entry that a text without a dash was meant for.
func addDash(kind Kind, text string) (string, []mishap) {
	if kind == Account || !strings.HasPrefix(text, string(kind)+"arn:") {
		return text, nil
	}
	first := true
	var out strings.Builder
	for line := range strings.Lines(text) {
		switch {
		case strings.TrimSpace(line) == "":
			out.WriteString(line)
		case first:
			out.WriteString("- " + line)
			first = false
		default:
			out.WriteString("  " + line)
		}
	}
	return out.String(), []mishap{{RuleUnreadableKey, 1, 1, "the entry has no dash, so there is no list", "- before the entry", ""}}
}
