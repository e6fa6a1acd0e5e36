// Package visible shows text that others wrote to people and to programs that
// read line by line.
//
// ARNs, usernames, groups and names reach rolecall from aws-auth, Leases, IAM,
// IMDS and files, and anything can stand in them: line breaks that would forge a
// line of a log, escape sequences that steer a terminal, letters that turn the
// direction of the text around. Here they become the escapes that Go, and JSON,
// write for them; whatever prints stays as it is.
package visible

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Text returns s on one line. Line breaks, control and format characters,
// blanks other than the space, and bytes that are no UTF-8 become Go's escapes,
// such as \n, \x1b and \u202e. It is for people to read, not to be undone: a
// backslash stays as it is.
func Text(s string) string { return text(s, "") }

// Lines is [Text] for a text of several lines: line feeds and tabs stay.
func Lines(s string) string { return text(s, "\n\t") }

func text(s, keep string) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return hidden(r) && !strings.ContainsRune(keep, r) }) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case hidden(r) && !strings.ContainsRune(keep, r):
			quoted := strconv.QuoteRune(r)
			b.WriteString(quoted[1 : len(quoted)-1])
		default:
			b.WriteRune(r)
		}
		i += n
	}
	return b.String()
}

// hidden reports whether a rune does not show, or may be a broken byte.
func hidden(r rune) bool { return !unicode.IsPrint(r) || r == utf8.RuneError }

// Cut returns s if it has at most max bytes, and else its beginning and how
// long it is.
func Cut(s string, max int) string {
	if len(s) <= max {
		return s
	}
	end := max
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return fmt.Sprintf("%s… (%d bytes)", s[:end], len(s))
}

// JSON returns a JSON text that means the same and holds nothing but what
// prints, and line feeds between its values.
func JSON(body []byte) []byte {
	plain := func(r rune) bool { return r == '\n' || !hidden(r) }
	if bytes.IndexFunc(body, func(r rune) bool { return !plain(r) }) < 0 {
		return body
	}
	var b bytes.Buffer
	for _, r := range string(body) { // what is no UTF-8 becomes U+FFFD
		switch {
		case plain(r) || r < ' ': // within a string JSON has no such letter
			b.WriteRune(r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&b, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.Bytes()
}

// JSONWriter hands on to w, through [JSON], what is written to it. Each Write
// must be of whole letters, as a whole record is.
func JSONWriter(w io.Writer) io.Writer { return jsonWriter{w} }

type jsonWriter struct{ w io.Writer }

func (j jsonWriter) Write(p []byte) (int, error) {
	if _, err := j.w.Write(JSON(p)); err != nil {
		return 0, err
	}
	return len(p), nil
}
