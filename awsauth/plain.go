package awsauth

import (
	"bytes"
	"strings"
)

// This file reads the texts that mapRoles and mapUsers mostly are, a plain list
// of plain fields, many times as fast as two parsers and a detour by JSON do: of
// 6,500 entries that was the larger part of what "rolecall get" took. It takes
// nothing of which they could be of another mind; FuzzPlain holds it against them.

// readPlain reads a text that is nothing but entries of this form:
//
//   - rolearn: TEXT # comment
//     username: TEXT
//     groups:
//   - TEXT
//     syncedBy: TEXT
//
// The fields may stand in any order, and all but the ARN may be missing; between
// the lines there may be blank ones and comments; groups: [] is none. A TEXT is a
// plain scalar that surely means itself, or a quoted one without escapes.
func readPlain(kind Kind, text string) ([]mapping, bool) {
	for i := range len(text) {
		if c := text[i]; c < ' ' && c != '\n' || c > '~' {
			return nil, false
		}
	}
	r := plainReader{kind: kind, dash: -1, out: make([]mapping, 0, strings.Count(text, string(kind)+"arn:"))}
	for line := range strings.SplitSeq(text, "\n") {
		body := strings.TrimLeft(line, " ")
		if body != "" && body[0] != '#' && !r.line(body, len(line)-len(body)) {
			return nil, false
		}
	}
	return r.out, r.end()
}

// plainReader is in the midst of a list.
type plainReader struct {
	kind Kind
	dash int // the column of every entry's dash; -1 before the first
	out  []mapping

	arn, username, mark *string // of the entry that is being read
	groups              []string
	listed              bool // it has groups
	items               int  // the column of the dashes of its groups; -1 where no group may come, -2 before the first
}

// line reads a line without its indentation.
func (r *plainReader) line(body string, column int) bool {
	item, dashed := strings.CutPrefix(body, "- ")
	switch {
	case r.dash < 0 && dashed:
		r.dash = column
		return r.field(item)
	case r.dash < 0:
		return false
	case column == r.dash && dashed:
		if !r.end() {
			return false
		}
		r.arn, r.username, r.mark, r.groups, r.listed = nil, nil, nil, nil, false
		return r.field(item)
	case column == r.dash+2 && !dashed:
		return r.items != -2 && r.field(body)
	case dashed && column >= r.dash+2 && (r.items == -2 || r.items == column):
		group, ok := plainText(item)
		r.items = column
		r.groups = append(r.groups, group)
		return ok
	}
	return false
}

// field reads a field of an entry.
func (r *plainReader) field(body string) bool {
	name, rest, ok := strings.Cut(body, ":")
	if !ok || rest != "" && rest[0] != ' ' {
		return false
	}
	r.items = -1
	var into **string
	switch name {
	case string(r.kind) + "arn":
		into = &r.arn
	case "username":
		into = &r.username
	case "syncedBy":
		into = &r.mark
	case "groups":
		if r.listed {
			return false
		}
		r.listed = true
		switch value, ok := plainValue(rest); {
		case !ok:
			return false
		case value == "":
			r.items = -2
		case value == "[]":
			r.groups = []string{}
		default:
			return false
		}
		return true
	default:
		return false
	}
	text, ok := plainText(rest)
	if *into != nil || !ok {
		return false
	}
	*into = &text
	return true
}

// end ends an entry.
func (r *plainReader) end() bool {
	if r.arn == nil || r.items == -2 {
		return false
	}
	m := mapping{Entry: Entry{Kind: r.kind, ARN: *r.arn, Groups: r.groups}}
	// As encoding/json writes what the parsers have read: the keys sorted.
	raw := make([]byte, 0, 64+len(*r.arn)+32*len(r.groups))
	raw = append(raw, '{')
	if r.listed {
		raw = append(raw, `"groups":[`...)
		for i, g := range r.groups {
			if i > 0 {
				raw = append(raw, ',')
			}
			raw = append(append(append(raw, '"'), g...), '"')
		}
		raw = append(raw, `],`...)
	}
	add := func(name string, value *string) {
		if value != nil {
			raw = append(append(append(append(append(append(raw, '"'), name...), `":"`...), *value...), '"'), ',')
		}
	}
	if r.kind == Role {
		add("rolearn", r.arn)
	}
	add("syncedBy", r.mark)
	if r.kind == User {
		add("userarn", r.arn)
	}
	add("username", r.username)
	raw = append(bytes.TrimSuffix(raw, []byte(",")), '}')
	m.raw = raw
	if r.username != nil {
		m.Username = *r.username
	}
	if r.mark != nil {
		m.mark = *r.mark
	}
	if m.ARN == "" {
		return false
	}
	r.out = append(r.out, m)
	return true
}

// plainValue is what stands behind a colon or a dash, without the comment.
func plainValue(s string) (string, bool) {
	s = strings.Trim(s, " ")
	if s != "" && (s[0] == '"' || s[0] == '\'') {
		end := strings.IndexByte(s[1:], s[0])
		if end < 0 {
			return "", false
		}
		if rest := s[end+2:]; rest != "" && (rest[0] != ' ' || strings.TrimLeft(rest, " ")[0] != '#') {
			return "", false
		}
		return s[:end+2], true
	}
	if s != "" && s[0] == '#' {
		return "", true
	}
	if i := strings.Index(s, " #"); i >= 0 {
		s = strings.TrimRight(s[:i], " ")
	}
	return s, true
}

// plainText is the text that stands there.
func plainText(s string) (string, bool) {
	value, ok := plainValue(s)
	if !ok || value == "" {
		return "", false
	}
	if value[0] == '"' || value[0] == '\'' {
		value = value[1 : len(value)-1]
		return value, !strings.ContainsAny(value, `"'\<>&`) // which one of the parsers would write otherwise
	}
	return value, scalar(value) == value
}
