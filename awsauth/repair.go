package awsauth

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// This file has the remedies for values that YAML takes for something else, and for
// what was pasted with the list.

// eachLine hands every line that is no comment to a function.
func eachLine(lines []textLine, write func(line string, number int) string) []textLine {
	out := make([]textLine, len(lines))
	for i, l := range lines {
		if !strings.HasPrefix(strings.TrimLeft(l.body, " \t"), "#") {
			l.body = write(l.body, l.number)
		}
		out[i] = l
	}
	return out
}

var (
	lineHead    = regexp.MustCompile(`^[ \t]*(?:-[ \t]+)*(?:["']?\w+["']?[ \t]*:[ \t]+)?`)
	lineComment = regexp.MustCompile(`[ \t]+#.*$`)
	openFlow    = regexp.MustCompile(`^[ \t]*(?:-[ \t]+)*(?:["']?\w+["']?[ \t]*:[ \t]+)?[\[{](?:[^{]|$)`)
)

// quoteBraces puts a value into quotes that begins with {{, or has it inside
// other brackets, where YAML takes it for a map.
func quoteBraces(_ Kind, lines []textLine) ([]textLine, []slip) {
	var found []slip
	written := eachLine(lines, func(line string, number int) string {
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
		if token := unfilledIn(line, out); out != line && token != "" {
			found = append(found, slip{
				rule: RuleTemplate, line: number, column: head + 1, message: fmt.Sprintf("a template was not filled in: YAML takes %s for a map", token),
				write: "what " + strconv.Quote(token) + " stands for",
			})
		} else if out != line {
			found = append(found, slip{rule: RuleUnquotedBraces, line: number, column: head + 1, message: "a value with {{…}} is not quoted, so YAML takes the braces for a map", write: "it in double quotes", certain: true})
		}
		return out
	})
	return written, found
}

// unfilledIn is what a template was to fill in of a line that had no quotes around it,
// and has them in another one; or "".
func unfilledIn(line, quoted string) string {
	for _, token := range anyPlaceholder.FindAllString(line, -1) {
		known := slices.Contains(placeholders, token) || placeholderOf(bareWordOf(token), false) != ""
		if !known && strings.Count(quoted, `"`) > strings.Count(line, `"`) {
			return token
		}
	}
	return ""
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

var noSpace = regexp.MustCompile(`^([ \t]*(?:-[ \t]*)?(?:rolearn|userarn|username|groups):)([^\s].*)$`)

// spaceColons puts the blank behind a field's colon that YAML wants.
func spaceColons(_ Kind, lines []textLine) ([]textLine, []slip) {
	var found []slip
	written := eachLine(lines, func(line string, number int) string {
		m := noSpace.FindStringSubmatch(line)
		if m == nil {
			return line
		}
		found = append(found, slip{rule: RuleUnreadableKey, line: number, column: len(m[1]) + 1, message: "there is no blank behind the colon", write: "a blank behind it", certain: true})
		return m[1] + " " + m[2]
	})
	return written, found
}

// quoteStarts quotes values that begin with a character that YAML keeps for
// itself.
func quoteStarts(_ Kind, lines []textLine) ([]textLine, []slip) {
	var found []slip
	written := eachLine(lines, func(line string, number int) string {
		head := len(lineHead.FindString(line))
		value := strings.TrimRight(lineComment.ReplaceAllString(line[head:], ""), " \t")
		if value == "" || strings.IndexByte("@`%", value[0]) < 0 || strings.ContainsAny(value, `"\`) {
			return line
		}
		found = append(found, slip{rule: RuleUnreadableKey, line: number, column: head + 1, message: fmt.Sprintf("a value begins with %c, which YAML keeps for itself", value[0]), write: "it in double quotes", certain: true})
		return line[:head] + strconv.Quote(value) + line[head+len(value):]
	})
	return written, found
}

var (
	pastedKey    = regexp.MustCompile(`^[ \t]*["']?(mapRoles|mapUsers|mapAccounts)["']?:[ \t]*([|>][-+0-9]*)?[ \t]*(?:#.*)?$`)
	manifestHead = regexp.MustCompile(`^[ \t]*["']?(?:apiVersion|kind|metadata|data|name|namespace|labels|annotations|creationTimestamp|resourceVersion|uid)["']?:(?:[ \t].*)?$`)
)

// unpaste takes the list out of what was pasted with it: its own key, another key
// with its list, or a whole manifest. The texts of other keys are returned beside.
func unpaste(kind Kind, lines []textLine) (own []textLine, also map[string]string, found *slip) {
	texts := map[string][]textLine{}
	key, first, manifest := kind.Key(), -1, false
	for i, l := range lines {
		if m := pastedKey.FindStringSubmatch(l.body); m != nil {
			if first < 0 {
				first = i
			}
			if len(texts[m[1]]) > 0 {
				return lines, nil, nil // the same twice: which one is meant?
			}
			key = m[1]
			continue
		}
		trimmed := strings.TrimSpace(l.body)
		if manifestHead.MatchString(l.body) && (key == kind.Key() && len(texts[key]) == 0 || !strings.HasPrefix(l.body, " ")) {
			if !manifest && first < 0 {
				first = i
			}
			manifest = true
			continue
		}
		if trimmed == "---" && len(texts[key]) == 0 {
			continue
		}
		texts[key] = append(texts[key], l)
	}
	if first < 0 || manifest && key == kind.Key() && len(texts) < 2 && !slices.ContainsFunc(lines, func(l textLine) bool { return pastedKey.MatchString(l.body) }) {
		return lines, nil, nil
	}
	s := &slip{rule: RuleUnreadableKey, line: lines[first].number, column: 1, certain: true}
	name := ""
	if m := pastedKey.FindStringSubmatch(lines[first].body); m != nil {
		name = m[1]
	}
	switch {
	case manifest:
		s.message, s.write = fmt.Sprintf("a whole manifest stands inside the text of %s", kind.Key()), "the list alone"
	case name == kind.Key():
		s.message, s.write = fmt.Sprintf("the list stands under another %s", kind.Key()), "the list alone"
	default:
		s.message = fmt.Sprintf("%s stands inside the text of %s", name, kind.Key())
		s.write = fmt.Sprintf("%s: beside %s, with the same indentation", name, kind.Key())
	}
	own = dedent(texts[kind.Key()])
	for k, list := range texts {
		if k == kind.Key() {
			continue
		}
		text := textOf(dedent(list))
		if !isBlank(text) && meantList(kindOf(k), textLines(text), text) == nil {
			return lines, nil, nil
		}
		if also == nil {
			also = map[string]string{}
		}
		also[k] = text
	}
	if isBlank(textOf(own)) {
		if len(also) == 0 {
			return lines, nil, nil
		}
		own = nil
	} else if name == kind.Key() || manifest {
		s.mended = own[0].body
	}
	return own, also, s
}

// dedent takes off the indentation that all lines have.
func dedent(lines []textLine) []textLine {
	indent := -1
	for _, l := range lines {
		if body := strings.TrimLeft(l.body, " "); body != "" && body[0] != '#' {
			if n := len(l.body) - len(body); indent < 0 || n < indent {
				indent = n
			}
		}
	}
	out := make([]textLine, len(lines))
	for i, l := range lines {
		body := strings.TrimLeft(l.body, " ")
		l.body = l.body[min(max(indent, 0), len(l.body)-len(body)):]
		out[i] = l
	}
	return out
}
