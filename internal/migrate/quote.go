package migrate

import (
	"fmt"
	"strings"
)

// quoted writes a text in double quotes as YAML and HCL both read it: within
// ASCII, so that no parser's idea of a line break or of what prints matters.
// What is no UTF-8 becomes U+FFFD. In HCL ${ and %{ are still to be escaped.
func quoted(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r >= ' ' && r <= '~':
			b.WriteRune(r)
		case r > 0xffff:
			fmt.Fprintf(&b, `\U%08x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
