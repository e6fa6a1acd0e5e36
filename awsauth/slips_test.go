package awsauth

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// goodDocuments are lists as people and tools write them: what each slip is made in.
var goodDocuments = map[string]struct {
	kind Kind
	text string
}{
	"eksctl": {Role, `- groups:
  - system:bootstrappers
  - system:nodes
  rolearn: arn:aws:iam::111122223333:role/nodes
  username: system:node:{{EC2PrivateDNSName}}
- groups:
  - system:masters
  rolearn: arn:aws:iam::111122223333:role/admin
  username: admin
`},
	"by hand": {Role, `# nodes
- rolearn: arn:aws:iam::111122223333:role/nodes
  username: system:node:{{EC2PrivateDNSName}}
  groups:
    - system:bootstrappers
    - system:nodes

# people
- rolearn: arn:aws:iam::111122223333:role/admin # ours
  username: admin
  groups:
    - system:masters
- rolearn: arn:aws:iam::111122223333:role/dev
  username: dev:{{SessionName}}
  groups: [developers, viewers]
`},
	"Terraform": {User, `- "groups":
  - "system:masters"
  "userarn": "arn:aws:iam::111122223333:user/ana"
  "username": "ana"
- "groups":
  - "viewers"
  - "editors"
  "userarn": "arn:aws:iam::111122223333:user/ben"
  "username": "ben"
`},
	"users": {User, `- userarn: arn:aws:iam::111122223333:user/ana
  username: ana
  groups:
  - system:masters
- userarn: arn:aws:iam::111122223333:user/ben
  username: ben
  groups:
  - viewers
  - editors
`},
	"flow lines": {Role, `- {rolearn: arn:aws:iam::111122223333:role/a, username: a, groups: [viewers, editors]}
- {rolearn: arn:aws:iam::111122223333:role/b, username: "b:{{SessionName}}", groups: [viewers]}
`},
	"JSON": {Role, `[{"rolearn":"arn:aws:iam::111122223333:role/a","username":"a","groups":["viewers","editors"]},` +
		`{"rolearn":"arn:aws:iam::111122223333:role/b","username":"b:{{SessionName}}","groups":["viewers"]}]`},
	"pretty JSON": {User, `[
  {
    "userarn": "arn:aws:iam::111122223333:user/ana",
    "username": "ana",
    "groups": [
      "system:masters",
      "viewers"
    ]
  },
  {
    "userarn": "arn:aws:iam::111122223333:user/ben",
    "username": "ben",
    "groups": ["viewers"]
  }
]
`},
	"accounts": {Account, "- \"111122223333\"\n- \"444455556666\"\n- \"012345678901\"\n"},
}

// slipKind makes one slip of a kind at each place of a document where it can be made.
type slipKind struct {
	name string
	// at finds the places in a line; write makes the line with the slip. A style that
	// has none of them is left out.
	at    *regexp.Regexp
	write func(line string, at []int) string
	says  string // in the message
	block bool   // in block style alone
	flow  bool   // in flow style alone
	// unsure: what was meant is not the only reading, so it is said and not fixed.
	unsure bool
}

func replaceAt(with string) func(string, []int) string {
	return func(line string, at []int) string { return line[:at[0]] + with + line[at[1]:] }
}

var slipKinds = []slipKind{
	{name: "no blank behind a dash", at: regexp.MustCompile(`- `), write: replaceAt("-"), says: "no blank behind the dash", block: true},
	{
		name: "no blank behind a colon", at: regexp.MustCompile(`(?:rolearn|userarn|username): `), says: "no blank behind the colon",
		write: func(line string, at []int) string { return line[:at[1]-1] + line[at[1]:] },
	},
	{
		name: "no colon", at: regexp.MustCompile(`(?:rolearn|userarn|username|groups):(?: |$)`), says: "no colon behind", block: true,
		write: func(line string, at []int) string {
			end := at[1]
			if line[end-1] == ' ' {
				end--
			}
			return line[:end-1] + line[end:]
		},
	},
	{
		name: "no dash", at: regexp.MustCompile(`^( *)- `), says: "no dash before", block: true,
		write: func(line string, at []int) string { return line[:at[1]-2] + line[at[1]:] },
	},
	{
		name: "blanks for a dash", at: regexp.MustCompile(`^( *)- `), says: "no dash before", block: true,
		write: func(line string, at []int) string { return line[:at[1]-2] + "  " + line[at[1]:] },
	},
	{name: "one blank more", at: regexp.MustCompile(`^`), write: replaceAt(" "), says: " is indented by ", block: true},
	{name: "three blanks more", at: regexp.MustCompile(`^`), write: replaceAt("   "), says: " is indented by ", block: true},
	{name: "one blank less", at: regexp.MustCompile(`^ `), write: replaceAt(""), says: " is indented by ", block: true},
	{name: "a tab", at: regexp.MustCompile(`^(?:  )+`), write: replaceAt("\t"), says: "a tab stands", block: true},
	{
		name: "an en dash", at: regexp.MustCompile(`^ *- `), says: "U+2013 (en dash)", block: true,
		write: func(line string, at []int) string { return line[:at[1]-2] + "– " + line[at[1]:] },
	},
	{
		name: "an em dash", at: regexp.MustCompile(`^ *- `), says: "U+2014 (em dash)", block: true,
		write: func(line string, at []int) string { return line[:at[1]-2] + "— " + line[at[1]:] },
	},
	{
		name: "a bullet", at: regexp.MustCompile(`^ *- `), says: "stands where a dash belongs", block: true,
		write: func(line string, at []int) string { return line[:at[1]-2] + "* " + line[at[1]:] },
	},
	{name: "a no-break space in the indentation", at: regexp.MustCompile(`^ `), write: replaceAt("\u00a0"), says: "U+00A0 (no-break space)"},
	{name: "a no-break space behind a dash", at: regexp.MustCompile(`- `), write: replaceAt("-\u00a0"), says: "U+00A0 (no-break space)", block: true},
	{
		name: "a no-break space behind a colon", at: regexp.MustCompile(`(?:arn|name|groups)"?: `), says: "U+00A0 (no-break space)",
		write: func(line string, at []int) string { return line[:at[1]-1] + "\u00a0" + line[at[1]:] },
	},
	{name: "an ideographic space", at: regexp.MustCompile(`^ `), write: replaceAt("\u3000"), says: "U+3000 (ideographic space)"},
	{
		name: "a zero-width space", at: regexp.MustCompile(`(?:rolearn|userarn|username|groups)`), says: "U+200B (zero-width space)",
		write: func(line string, at []int) string { return line[:at[0]] + "\u200b" + line[at[0]:] },
	},
	{
		name: "a byte order mark", at: regexp.MustCompile(`- `), says: "U+FEFF (byte order mark)", block: true,
		write: func(line string, at []int) string { return line[:at[1]] + "\ufeff" + line[at[1]:] },
	},
	{
		name: "typographic quotes", at: regexp.MustCompile(`"[^"]*"`), says: "where a quote belongs",
		write: func(line string, at []int) string {
			return line[:at[0]] + "“" + line[at[0]+1:at[1]-1] + "”" + line[at[1]:]
		},
	},
	{
		name: "a quote is not closed", at: regexp.MustCompile(`"[^":]*"(?:$|,|\])`), says: "quote is opened and not closed",
		write: func(line string, at []int) string {
			end := at[0] + 1 + strings.IndexByte(line[at[0]+1:], '"')
			return line[:end] + line[end+1:]
		},
	},
	{
		name: "a bracket is not closed", at: regexp.MustCompile(`[\]}]`), says: "bracket is opened and not closed",
		write: func(line string, at []int) string {
			if line[max(at[0]-1, 0)] == '}' || at[1] < len(line) && line[at[1]] == '}' && line[at[0]] == '}' {
				return line // of a placeholder
			}
			return line[:at[0]] + line[at[1]:]
		},
	},
	{name: "no comma", at: regexp.MustCompile(`,`), write: replaceAt(" "), says: "a comma is missing", flow: true},
	{name: "a comma too many", at: regexp.MustCompile(`,`), write: replaceAt(",,"), says: "a comma too many", flow: true},
	{
		name: "braces without quotes", at: regexp.MustCompile(`^ *"?username"?: .*$`), says: "{{…}} is not quoted", block: true,
		write: func(line string, _ []int) string { return line[:strings.Index(line, ": ")] + ": {{SessionName}}" },
	},
	{name: "the value ends with a colon", at: regexp.MustCompile(`\{\{[^"]*\}\}$`), write: replaceAt(""), says: "ends with a colon", block: true, unsure: true},
	{name: "groups on the field's line", at: regexp.MustCompile(`groups:$`), write: replaceAt("groups: - x"), says: "begins on the line of its field", block: true},
}

// TestSlips makes every slip at every place of every document. Where it changes what
// is read, the line and what is wrong with it are said, and Mend gives back what was
// read before, or leaves the text as it is: a slip never becomes a value.
func TestSlips(t *testing.T) {
	t.Parallel()
	for name, doc := range goodDocuments {
		good, err := readList(doc.kind, doc.text)
		if err != nil || len(good) < 2 {
			t.Fatalf("%s: %v", name, err)
		}
		block := strings.HasPrefix(doc.text, "-") || strings.HasPrefix(doc.text, "#")
		for _, k := range slipKinds {
			t.Run(name+"/"+k.name, func(t *testing.T) {
				t.Parallel()
				lines := strings.SplitAfter(doc.text, "\n")
				for i := range lines {
					body := strings.TrimRight(lines[i], "\n")
					trimmed := strings.TrimLeft(body, " ")
					if trimmed == "" || trimmed[0] == '#' {
						continue
					}
					inFlow := strings.ContainsAny(body, "[{") && strings.Contains(body, ",") || !block
					if k.block && inFlow || k.flow && !inFlow {
						continue
					}
					for _, at := range k.at.FindAllStringIndex(body, -1) {
						bad := k.write(body, at)
						if bad == body {
							continue
						}
						text := strings.Join(lines[:i], "") + bad + lines[i][len(body):] + strings.Join(lines[i+1:], "")
						if why := slipMissed(doc.kind, text, i+1, &k, good); why != "" {
							t.Errorf("line %d, %q: %s", i+1, bad, why)
						}
					}
				}
			})
		}
	}
}

// slipMissed says what is wrong with what is said and made of a text with a slip.
func slipMissed(kind Kind, text string, line int, k *slipKind, good []mapping) string {
	data := map[string]string{kind.Key(): text}
	list, err := readList(kind, text)
	if err == nil && sameReading(list, good) {
		if out, done := Mend(data); len(done) > 0 && !sameMended(kind, out, good) {
			return fmt.Sprintf("it reads as before, and is mended to %q", out)
		}
		return ""
	}
	found := Lint(data)
	said := slices.ContainsFunc(found, func(f Finding) bool {
		return f.Key == kind.Key() && (f.Line == line || k.name == "a bracket is not closed" && f.Line == line-1) &&
			(strings.Contains(f.Message, k.says) || strings.HasPrefix(k.says, "no dash") && strings.Contains(f.Message, "not a list"))
	})
	if !said {
		var all []string
		for _, f := range found {
			all = append(all, f.String())
		}
		return fmt.Sprintf("want %q on line %d:\n%s", k.says, line, strings.Join(all, "\n"))
	}
	out, done := Mend(data)
	if k.name == "a tab" && maps.Equal(out, data) || k.name == "no comma" && strings.Contains(found[0].Message, "or a group") {
		return "" // how wide it is decides, or whether a name has a blank
	}
	if k.unsure {
		if len(done) > 0 {
			return fmt.Sprintf("it is mended to %q", out)
		}
		return ""
	}
	if maps.Equal(out, data) && k.name != "groups on the field's line" && k.name != "braces without quotes" {
		return "it is not mended"
	}
	if k.name == "groups on the field's line" || k.name == "braces without quotes" { // they put a value in place of another
		if list, err := readList(kind, out[kind.Key()]); err != nil || len(list) != len(good) {
			return fmt.Sprintf("it is mended to %q", out)
		}
		return ""
	}
	if !sameMended(kind, out, good) {
		return fmt.Sprintf("it is mended to\n%s", out[kind.Key()])
	}
	return ""
}

func sameMended(kind Kind, out map[string]string, good []mapping) bool {
	list, err := readList(kind, out[kind.Key()])
	return err == nil && sameReading(list, good)
}

// sameReading reports whether two lists have the same entries in force.
func sameReading(a, b []mapping) bool {
	return slices.EqualFunc(a, b, func(x, y mapping) bool {
		return x.ARN == y.ARN && x.Username == y.Username && slices.Equal(x.Groups, y.Groups) && x.dropped == y.dropped
	})
}

// Several groups on the line of their field are several, and never one with a dash in it.
func TestGroupsOnOneLine(t *testing.T) {
	t.Parallel()
	const entry = "- rolearn: arn:aws:iam::111122223333:role/a\n  username: a\n  groups:"
	for groups, want := range map[string]string{
		" - system:bootstrappers - system:nodes":      "\n    - system:bootstrappers\n    - system:nodes\n",
		" - system:bootstrappers, - system:nodes":     "\n    - system:bootstrappers\n    - system:nodes\n",
		" -devs -ops # both":                          "\n    - devs\n    - ops # both\n",
		" -system:masters":                            "\n    - system:masters\n",
		" - devs, ops":                                "", // it may be one name
		" - devs of a - ops":                          "",
		"\n    devs -ops":                             "",
		" - system:bootstrappers\n    - system:nodes": "\n    - system:bootstrappers\n    - system:nodes\n",
	} {
		data := document("mapRoles", entry+groups+"\n")
		out, _ := Mend(data)
		if want == "" {
			want = groups + "\n"
		}
		if out["mapRoles"] != entry+want {
			t.Errorf("%q becomes %q", groups, out["mapRoles"])
		}
		for _, f := range Lint(data) {
			if strings.Contains(f.Write, "-ops") || strings.Contains(f.Write, "-system") {
				t.Errorf("%q: write %s", groups, f.Write)
			}
		}
	}
}

// A template that was not filled in is no value that lacks its quotes.
func TestUnfilledBraces(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"- rolearn: {{ .Values.arn }}\n  username: a\n",
		"- rolearn: arn:aws:iam::111122223333:role/a\n  username: {{ .Values.user }}\n",
		"- {rolearn: arn:aws:iam::111122223333:role/a, username: a, groups: [{{group}}]}\n",
		"{{- range .Values.roles }}\n- rolearn: arn:aws:iam::111122223333:role/a\n  username: a\n{{- end }}\n",
	} {
		data := document("mapRoles", text)
		if found := Lint(data); found[0].Rule != RuleTemplate || found[0].Severity != Fatal || found[0].Mendable {
			t.Errorf("%q: %+v", text, found[0])
		}
		if out, _ := Mend(data); !maps.Equal(out, data) {
			t.Errorf("%q becomes %q", text, out["mapRoles"])
		}
	}
}

// A good document has no slip, whatever its style.
func TestNoSlips(t *testing.T) {
	t.Parallel()
	for name, doc := range goodDocuments {
		if c, found := correct(doc.kind, doc.text); c != nil || len(found) > 0 {
			t.Errorf("%s: %+v", name, found)
		}
	}
}
