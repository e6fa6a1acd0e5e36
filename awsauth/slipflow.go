package awsauth

import (
	"regexp"
	"slices"
	"strings"
)

// This file finds slips in flow style: JSON, and the lists and maps in brackets
// that a line may have.

// flowLines corrects every flow collection of a text: the whole text, or what is in
// a line.
func flowLines(_ Kind, lines []textLine) ([]textLine, []slip) {
	var found []slip
	out := slices.Clone(lines)
	for i := 0; i < len(out); i++ {
		p := partsOf(out[i].body)
		if p.blank || p.comment {
			continue
		}
		from := p.keyColIn(out[i].body)
		if p.key != "" && !p.noColon && !strings.HasPrefix(p.rest, "[") && !strings.HasPrefix(p.rest, "{") {
			at := strings.Index(out[i].body, p.value)
			if p.value == "" || at < 0 {
				continue
			}
			from = at
		}
		if from >= len(out[i].body) || out[i].body[from] != '[' && out[i].body[from] != '{' {
			continue
		}
		// What is open at the end of the line goes on below, unless a line there is
		// one of the block around it.
		last := i
		for depth := opens(out[i].body[from:]); depth > 0 && last+1 < len(out); last++ {
			next := partsOf(out[last+1].body)
			before := strings.TrimRight(lineComment.ReplaceAllString(out[last].body, ""), " \t")
			open := before != "" && strings.IndexByte("[{,:", before[len(before)-1]) >= 0
			if (p.dash || p.key != "") && !open && !next.blank && !next.comment && (next.dash || next.field != "" && !strings.HasSuffix(next.value, ",")) {
				break
			}
			if !next.comment {
				depth += opens(next.rest)
			}
		}
		var chunk strings.Builder
		chunk.WriteString(out[i].body[from:])
		for j := i + 1; j <= last; j++ {
			chunk.WriteString("\n" + out[j].body)
		}
		c := flowChunk{text: chunk.String()}
		c.run()
		for _, s := range c.found {
			before := c.text[:s.at]
			row := strings.Count(before, "\n")
			col := column(before[strings.LastIndexByte(before, '\n')+1:], len(before)-strings.LastIndexByte(before, '\n')-1)
			if row == 0 {
				col += column(out[i].body, from) - 1
			}
			found = append(found, slip{rule: RuleUnreadableKey, line: out[i+row].number, column: col, message: s.message, write: s.write, certain: s.certain})
		}
		if len(c.found) > 0 {
			bodies := strings.Split(c.corrected(), "\n")
			out[i].body = out[i].body[:from] + bodies[0]
			for j, body := range bodies[1:] {
				out[i+1+j].body = body
			}
		}
		i = last
	}
	return out, found
}

// flowSlip is a slip in a flow collection: del bytes give way to ins.
type flowSlip struct {
	at, del        int
	ins            string
	message, write string
	certain        bool
}

// flowChunk is a flow collection from its first bracket on.
type flowChunk struct {
	text  string
	found []flowSlip
}

func (c *flowChunk) corrected() string {
	var out strings.Builder
	pos := 0
	for _, s := range c.found {
		if s.at < pos {
			continue
		}
		out.WriteString(c.text[pos:s.at] + s.ins)
		pos = s.at + s.del
	}
	return out.String() + c.text[pos:]
}

// what a flow collection waits for
type flowState int

const (
	flowValue flowState = iota // an element of a list, or a field's name
	flowColon
	flowOf // the value of a field
	flowComma
)

var bareFieldInFlow = regexp.MustCompile(`^(?i:rolearn|userarn|username|groups)[ \t]*:`)

var fieldInFlow = regexp.MustCompile(`^["']?(?i:rolearn|userarn|username|groups)["']?[ \t]*:`)

func (c *flowChunk) slip(at, del int, ins string, certain bool, message, write string) {
	if len(c.found) >= maxSlips {
		return
	}
	c.found = append(c.found, flowSlip{at, del, ins, message, write, certain})
}

// run goes through the collection once.
func (c *flowChunk) run() {
	var stack []byte
	state := flowValue
	end := 0 // of the last token
	t := c.text
	closing := map[byte]byte{'[': ']', '{': '}'}
	for i := 0; i < len(t); {
		ch := t[i]
		if ch == ' ' || ch == '\t' || ch == '\n' || ch == '\r' {
			i++
			continue
		}
		if ch == '#' && (i == 0 || strings.IndexByte(" \t\n", t[i-1]) >= 0) {
			i += lineLength(t[i:])
			continue
		}
		if len(stack) == 0 && end > 0 {
			if strings.IndexByte("]}", ch) >= 0 {
				c.slip(i, 1, "", true, "a bracket closes that none has opened", "it without "+string(ch))
				i++
				continue
			}
			return // what stands behind is none of it
		}
		var top byte
		if len(stack) > 0 {
			top = stack[len(stack)-1]
		}
		switch {
		case ch == '[' || ch == '{':
			if state == flowComma {
				c.slip(end, 0, ",", true, "a comma is missing", "a comma behind the value before")
			}
			stack = append(stack, ch)
			state = flowValue
			i++
		case ch == ']' || ch == '}':
			if top != 0 && closing[top] != ch {
				// The one within is not closed, if the one around would be.
				if len(stack) > 1 && closing[stack[len(stack)-2]] == ch {
					c.slip(end, 0, string(closing[top]), true, "a bracket is opened and not closed", string(closing[top])+" behind the value before")
					stack = stack[:len(stack)-1]
				} else {
					c.slip(i, 1, string(closing[top]), true, "a bracket closes another one than was opened", string(closing[top]))
				}
			}
			stack = stack[:max(len(stack)-1, 0)]
			state = flowComma
			i++
		case ch == ',':
			if state == flowValue && (end == 0 || strings.IndexByte(",[{", t[end-1]) >= 0) {
				c.slip(i, 1, "", true, "there is a comma too many", "one comma between two values")
				i++
				continue
			}
			// A map of entries goes on with the next entry: it was not closed.
			if next := strings.TrimLeft(t[i+1:], " \t\r\n"); top == '{' && strings.HasPrefix(next, "{") && len(stack) > 1 {
				c.slip(end, 0, "}", true, "a bracket is opened and not closed", "} behind the value before")
				stack = stack[:len(stack)-1]
			}
			// A list of groups in which the next field begins, too.
			if next := strings.TrimLeft(t[i+1:], " \t\r\n"); top == '[' && len(stack) > 1 && fieldInFlow.MatchString(next) {
				c.slip(end, 0, "]", true, "a bracket is opened and not closed", "] behind the value before")
				stack = stack[:len(stack)-1]
			}
			state = flowValue
			i++
		case ch == ':':
			state = flowOf
			i++
		case ch == '"' || ch == '\'':
			i = c.quoted(i, ch, top, &state, end)
		default:
			i = c.plain(i, top, &state, end)
		}
		end = i
	}
	for j := len(stack) - 1; j >= 0; j-- {
		c.slip(end, 0, string(closing[stack[j]]), true, "a bracket is opened and not closed", string(closing[stack[j]])+" at its end")
	}
}

// began notes that a value or a field's name begins at a place.
func (c *flowChunk) began(state *flowState, end int) {
	switch *state {
	case flowComma:
		c.slip(end, 0, ",", true, "a comma is missing", "a comma behind the value before")
		*state = flowValue
	case flowColon:
		c.slip(end, 0, ":", true, "a colon is missing", "a colon behind the field's name")
		*state = flowOf
	}
}

// ended is what a list or map waits for after a value.
func ended(top byte, state flowState) flowState {
	if top == '{' && state == flowValue {
		return flowColon
	}
	return flowComma
}

// quoted goes past a value in quotes.
func (c *flowChunk) quoted(at int, quote, top byte, state *flowState, end int) int {
	c.began(state, end)
	line := at + lineLength(c.text[at:])
	s := flowScanner{text: strings.TrimRight(c.text[:line], "\n"), pos: at}
	closed := s.quoted(quote)
	to := s.pos
	rest := strings.TrimLeft(c.text[to:], " \t")
	ends := rest == "" || strings.IndexByte(",]}:\n\r#", rest[0]) >= 0 || rest[0] == '"' || rest[0] == '\'' || rest[0] == '{' || rest[0] == '[' || bareFieldInFlow.MatchString(rest)
	// A quote that is not closed swallows the comma, and closes with the quote that
	// opens the next value.
	if closed && ends {
		*state = ended(top, *state)
		return to
	}
	stop := at + 1
	for stop < line && strings.IndexByte(",]}\n", c.text[stop]) < 0 {
		if c.text[stop] == ':' && *state == flowValue && top == '{' {
			break
		}
		stop++
	}
	value := strings.TrimRight(c.text[at:stop], " \t\r")
	c.slip(at+len(value), 0, string(quote), true, "a quote is opened and not closed", "the closing quote")
	*state = ended(top, *state)
	return at + len(value)
}

// plain goes past a value without quotes.
func (c *flowChunk) plain(at int, top byte, state *flowState, end int) int {
	t := c.text
	c.began(state, end)
	to := at
	for to < len(t) {
		if p := anyPlaceholder.FindStringIndex(t[to:]); p != nil && p[0] == 0 {
			to += p[1]
			continue
		}
		if strings.IndexByte(",[]{}\n", t[to]) >= 0 || t[to] == ':' && (to+1 == len(t) || strings.IndexByte(" \t\n\r,[]{}", t[to+1]) >= 0) || t[to] == '#' && to > at && t[to-1] == ' ' {
			break
		}
		to++
	}
	token := strings.TrimRight(t[at:to], " \t\r")
	to = at + len(token)
	inMap := top == '{' && *state == flowValue
	// "rolearn:arn:…" is one name to YAML.
	if m := tightField.FindStringSubmatch(t[at:]); m != nil && inMap {
		c.slip(at+len(m[1]), 0, " ", true, "there is no blank behind the colon", "a blank behind it")
		*state = flowOf
		return at + len(m[1])
	}
	// A name whose first quote is missing.
	if quote := token[len(token)-1]; (quote == '"' || quote == '\'') && !strings.ContainsAny(token[:len(token)-1], `"'`) && len(token) > 1 {
		c.slip(at, 0, string(quote), true, "a quote closes and none has opened", "the quote before the value")
		*state = ended(top, *state)
		return to
	}
	// A value with the name of the next field in it: the comma is missing.
	if i := strings.LastIndexAny(token, " \t"); i > 0 && *state == flowOf && to < len(t) && t[to] == ':' && knownField(token[i+1:]) != "" {
		value := strings.TrimRight(token[:i], " \t")
		c.slip(at+len(value), 0, ",", true, "a comma is missing", "a comma behind the value before")
		*state = flowColon
		return to
	}
	// Several words in a list may be several groups, or one whose name has a blank.
	if i := strings.IndexAny(token, " \t"); i > 0 && top == '[' && !strings.Contains(token, "{{") {
		c.slip(at+i, 0, ",", false, "a comma is missing, or a group whose name has a blank is not quoted", "a comma between two groups, or the name in quotes")
	}
	*state = ended(top, *state)
	return max(to, at+1)
}

// tightInFlow finds a field without a blank behind its colon, in brackets.
var tightInFlow = regexp.MustCompile(`[{,][ \t]*(?i:rolearn|userarn|username|groups):[^\s]`)

var tightField = regexp.MustCompile(`^((?i:rolearn|userarn|username|groups):)[^ ]`)
