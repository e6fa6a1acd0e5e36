package awsauth

import (
	"fmt"
	"strings"
	"unicode"
)

// This file knows the characters that look like those of YAML and are none:
// what word processors, chats and web pages make of blanks, dashes and quotes.

// charClass is what a character is taken for by whoever types or pastes it.
type charClass int

const (
	charOther     charClass = iota
	charSpace               // looks like a blank
	charInvisible           // is not seen at all
	charDash                // looks like a dash
	charDouble              // looks like a double quote
	charSingle              // looks like a single quote
	charColon               // looks like a colon
	charComma               // looks like a comma
)

// charNames are the characters that have a name of their own in messages
// (Unicode 15, NamesList.txt, in lower case).
var charNames = map[rune]struct {
	class charClass
	name  string
}{
	0x00a0: {charSpace, "no-break space"}, 0x1680: {charSpace, "ogham space mark"}, 0x2007: {charSpace, "figure space"},
	0x202f: {charSpace, "narrow no-break space"}, 0x205f: {charSpace, "medium mathematical space"}, 0x3000: {charSpace, "ideographic space"},
	0x200b: {charInvisible, "zero-width space"}, 0x200c: {charInvisible, "zero-width non-joiner"}, 0x200d: {charInvisible, "zero-width joiner"},
	0x2060: {charInvisible, "word joiner"}, 0xfeff: {charInvisible, "byte order mark"}, 0x00ad: {charInvisible, "soft hyphen"},
	0x200e: {charInvisible, "left-to-right mark"}, 0x200f: {charInvisible, "right-to-left mark"}, 0x180e: {charInvisible, "mongolian vowel separator"},
	0x2010: {charDash, "hyphen"}, 0x2011: {charDash, "non-breaking hyphen"}, 0x2012: {charDash, "figure dash"}, 0x2013: {charDash, "en dash"},
	0x2014: {charDash, "em dash"}, 0x2015: {charDash, "horizontal bar"}, 0x2212: {charDash, "minus sign"}, 0xfe63: {charDash, "small hyphen-minus"},
	0xff0d: {charDash, "fullwidth hyphen-minus"}, 0x2022: {charDash, "bullet"}, 0x25e6: {charDash, "white bullet"}, 0x00b7: {charDash, "middle dot"},
	0x2023: {charDash, "triangular bullet"},
	0x201c: {charDouble, "left double quotation mark"}, 0x201d: {charDouble, "right double quotation mark"}, 0x201e: {charDouble, "low double quotation mark"},
	0x201f: {charDouble, "reversed double quotation mark"}, 0x00ab: {charDouble, "left guillemet"}, 0x00bb: {charDouble, "right guillemet"},
	0x2033: {charDouble, "double prime"}, 0xff02: {charDouble, "fullwidth quotation mark"},
	0x2018: {charSingle, "left single quotation mark"}, 0x2019: {charSingle, "right single quotation mark"}, 0x201a: {charSingle, "low single quotation mark"},
	0x201b: {charSingle, "reversed single quotation mark"}, 0x2032: {charSingle, "prime"}, 0x00b4: {charSingle, "acute accent"}, 0xff07: {charSingle, "fullwidth apostrophe"},
	0xff1a: {charColon, "fullwidth colon"}, 0xa789: {charColon, "modifier letter colon"}, 0xfe55: {charColon, "small colon"},
	0xff0c: {charComma, "fullwidth comma"}, 0xfe50: {charComma, "small comma"},
}

// lookAlike tells what a character is taken for, and its name; charOther for one
// that YAML and names may hold.
func lookAlike(r rune) (charClass, string) {
	if r < 0x80 {
		return charOther, ""
	}
	if c, ok := charNames[r]; ok {
		return c.class, c.name
	}
	switch {
	case unicode.Is(unicode.Zs, r):
		return charSpace, "white space"
	case unicode.Is(unicode.Cf, r):
		return charInvisible, "invisible character"
	}
	return charOther, ""
}

// codePoint is a character as messages name it: its own glyph would show nothing.
func codePoint(r rune) string {
	_, name := lookAlike(r)
	if name == "" {
		return fmt.Sprintf("U+%04X", r)
	}
	return fmt.Sprintf("U+%04X (%s)", r, name)
}

// oddRune is the first character of a name that is not what it looks like. In a
// name dashes and quotes may be meant; blanks of another kind, and what nobody
// sees, are not.
func oddRune(s string) (rune, bool) {
	for _, r := range s {
		if class, _ := lookAlike(r); class == charSpace || class == charInvisible {
			return r, true
		}
	}
	return 0, false
}

// characters puts the characters of YAML in place of those that look like them,
// wherever a line has them as part of its structure: in the indentation, for its
// dash, behind the dash and the colon, and as quotes. Invisible ones go.
func characters(_ Kind, lines []textLine) ([]textLine, []slip) {
	var found []slip
	out := make([]textLine, len(lines))
	depth := 0 // of brackets that are open
	for i, l := range lines {
		c := charLine{number: l.number, first: i == 0, flow: depth > 0}
		out[i] = textLine{l.number, c.plain(l.body), l.eol}
		found = append(found, c.found...)
		if p := partsOf(out[i].body); depth > 0 || strings.HasPrefix(p.rest, "[") || strings.HasPrefix(p.rest, "{") || strings.HasPrefix(p.value, "[") || strings.HasPrefix(p.value, "{") {
			depth = max(depth+opens(p.rest), 0)
		}
	}
	return out, found
}

// charLine makes one line plain.
type charLine struct {
	number int
	first  bool // of the text
	flow   bool // it begins inside brackets
	found  []slip
}

// note records a character at a column, from 1; one slip a character and place.
func (c *charLine) note(column int, message, write string) {
	for i := range c.found {
		if c.found[i].message == message {
			return
		}
	}
	c.found = append(c.found, slip{rule: RuleUnreadableKey, line: c.number, column: column, message: message, write: write, certain: true})
}

func (c *charLine) plain(body string) string {
	if isASCII(body) && !strings.ContainsAny(body, "*+") {
		return body
	}
	in := []rune(body)
	end := len(in) // where a comment begins
	for i, r := range in {
		if r == '#' && (i == 0 || in[i-1] == ' ' || in[i-1] == '\t') {
			end = i
			break
		}
	}
	var out []rune
	columns := make([]int, 0, len(in)) // of each rune of out, in the line as given
	for i, r := range in[:end] {
		if class, _ := lookAlike(r); class == charInvisible && !(c.first && i == 0 && r == 0xfeff) {
			c.note(i+1, codePoint(r)+" stands in the line and is not seen", "the line without it")
			continue
		}
		out, columns = append(out, r), append(columns, i+1)
	}
	class := func(i int) charClass {
		if i >= len(out) {
			return charOther
		}
		k, _ := lookAlike(out[i])
		return k
	}
	blank := func(i int) bool { return i < len(out) && (out[i] == ' ' || out[i] == '\t' || class(i) == charSpace) }
	spaces := func(i int, where string) int {
		for ; blank(i); i++ {
			if class(i) == charSpace {
				c.note(columns[i], fmt.Sprintf("%s stands %s, where YAML wants a blank", codePoint(out[i]), where), "a blank, U+0020")
				out[i] = ' '
			}
		}
		return i
	}
	at := 0
	if c.first && len(out) > 0 && out[0] == 0xfeff {
		at = 1
	}
	at = spaces(at, "in the indentation")
	if at < len(out) {
		r := out[at]
		bullet := (r == '*' || r == '+') && blank(at+1)
		if class(at) == charDash || bullet {
			message := fmt.Sprintf("%s stands where a dash belongs", codePoint(r))
			if bullet {
				message = fmt.Sprintf("%q stands where a dash belongs", r)
			}
			c.note(columns[at], message, "- (U+002D) and a blank")
			out[at] = '-'
		}
		if out[at] == '-' {
			at = spaces(at+1, "behind the dash")
		}
	}
	// A field's name, its colon and what follows.
	flow := c.flow || at < len(out) && strings.ContainsRune("[{", out[at])
	if n := fieldAt(out[at:]); n > 0 {
		at += n
		if class(at) == charColon {
			c.note(columns[at], codePoint(out[at])+" stands where a colon belongs", ": (U+003A) and a blank")
			out[at] = ':'
		}
		if at < len(out) && out[at] == ':' {
			at = spaces(at+1, "behind the colon")
		}
	}
	flow = flow || at < len(out) && strings.ContainsRune("[{", out[at])
	for i := at; i < len(out); i++ {
		quote := map[charClass]rune{charDouble: '"', charSingle: '\''}[class(i)]
		edge := i == at || trailing(out[i+1:]) || i+1 < len(out) && out[i+1] == ':'
		if flow {
			edge = strings.ContainsRune("[]{},: \t", out[max(i-1, 0)]) || i+1 == len(out) || strings.ContainsRune("[]{},:", out[i+1]) || blank(i+1)
		}
		switch {
		case quote != 0 && edge:
			c.note(columns[i], codePoint(out[i])+" stands where a quote belongs", `quotes as in "name" (U+0022)`)
			out[i] = quote
		case flow && class(i) == charComma:
			c.note(columns[i], codePoint(out[i])+" stands where a comma belongs", ", (U+002C)")
			out[i] = ','
		case class(i) == charSpace && (flow && strings.ContainsRune("[]{},:\"'", out[max(i-1, 0)]) || trailing(out[i+1:])):
			c.note(columns[i], codePoint(out[i])+" stands where YAML wants a blank", "a blank, U+0020")
			out[i] = ' '
		}
	}
	return string(out) + string(in[end:])
}

// trailing reports whether there is nothing but white space.
func trailing(rest []rune) bool {
	for _, r := range rest {
		if class, _ := lookAlike(r); r != ' ' && r != '\t' && class != charSpace {
			return false
		}
	}
	return true
}

// fieldAt is the length of a field's name at the beginning, with the quotes around
// it; 0 where there is none.
func fieldAt(s []rune) int {
	i := 0
	quoted := i < len(s) && (s[i] == '"' || s[i] == '\'')
	if quoted {
		i++
	}
	for i < len(s) && (s[i] == '_' || s[i] < 0x80 && unicode.IsLetter(s[i])) {
		i++
	}
	if quoted && i < len(s) && s[i] == s[0] {
		i++
	}
	if i == 0 || i == len(s) {
		return 0
	}
	if class, _ := lookAlike(s[i]); s[i] == ':' || class == charColon {
		return i
	}
	return 0
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}
