package authfile_test

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/awsauth/authfile"
)

// brief are findings as rule, severity and line; notes are left out.
func brief(found []authfile.Finding) []string {
	var out []string
	for _, f := range found {
		if f.Severity != awsauth.Note {
			out = append(out, fmt.Sprintf("%d %s %s: %s", f.FileLine, f.Severity, f.Rule, f.Message))
		}
	}
	return out
}

// Files that people applied: each finding has the line of the mistake, and says what it is.
func TestInputs(t *testing.T) {
	t.Parallel()
	for name, want := range map[string][]string{
		"m_dupkey.yaml":   {"7 fatal doubled-key: data.mapRoles stands twice, on lines 7 and 11"},
		"m_ns.yaml":       {"17 fatal role-path: the ARN of a role has the role's path", "5 fatal wrong-object: the ConfigMap is default/aws-auth"},
		"m_top.yaml":      {"13 fatal misplaced-key: mapUsers stands beside data, not below it"},
		"b112b.yaml":      {"9 fatal unreadable-key: username is indented by no blank and belongs at 2"},
		"m_inside.yaml":   {"13 fatal unreadable-key: mapUsers stands inside the text of mapRoles"},
		"k2.yaml":         {"10 fatal unreadable-key: the list of groups begins on the line of its field"},
		"k3.yaml":         {"13 fatal unreadable-key: the entry is indented by 1 blank and belongs at 0"},
		"k5.yaml":         {"15 fatal unreadable-key: groups is indented by 3 blanks and belongs at 2"},
		"x_dash.yaml":     {"8 fatal unreadable-key: U+2013 (en dash) stands where a dash belongs", "11 fatal unreadable-key: U+2013 (en dash) stands where a dash belongs"},
		"x_nospace.yaml":  {"8 fatal unreadable-key: there is no blank behind the dash", "11 fatal unreadable-key: there is no blank behind the dash"},
		"x_fold2.yaml":    {"7 fatal unreadable-key: mapUsers is a folded text (>), which joins its lines"},
		"dv.yaml":         {"12 fatal unreadable-key: the value ends with a colon, which YAML takes for a field", "14 warning root-arn: an ARN is that of an account's root"},
		"x_nospace2.yaml": {"11 error groups-no-list: groups is the text \"-system:masters\", not a list", "11 error misread: there is no blank behind the dash"},
		"aws-auth.yaml":   {"7 error reserved-username: the username \"system:{{SessionName}}\" begins with system:, and a part of it is filled in at login"},
		"ltf.yaml":        {"17 fatal role-path: the ARN of a role has the role's path"},
	} {
		body, err := os.ReadFile(filepath.Join("testdata/inputs", name))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, brief(read(t, name, string(body))[0].Lint())); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// What Fix makes of them: the lines that change, and no others.
func TestFixInputs(t *testing.T) {
	t.Parallel()
	for name, want := range map[string][]string{
		"x_nospace2.yaml": {"-        -system:masters", "+        - system:masters"},
		"y2.yaml":         {"-        -system:bootstrappers", "-        -system:nodes", "+        - system:bootstrappers", "+        - system:nodes"},
		"m_inside.yaml":   {"-    mapUsers: |", "-      - userarn: arn:aws:iam::111122223333:user/ana", "-        username: ana", "-        groups:", "-          - system:masters", "+  mapUsers: |", "+    - userarn: arn:aws:iam::111122223333:user/ana", "+      username: ana", "+        - system:masters"},
		"x_fold2.yaml":    {"-  mapUsers: >-", "+  mapUsers: |-"},
		"dv.yaml":         nil,
		"k3.yaml": {
			"-     - rolearn: arn:aws:iam::111122223333:role/admin", "-       username: admin", "-       groups:", "-         - system:masters",
			"+    - rolearn: arn:aws:iam::111122223333:role/admin", "+      username: admin", "+        - system:masters",
		},
	} {
		body, err := os.ReadFile(filepath.Join("testdata/inputs", name))
		if err != nil {
			t.Fatal(err)
		}
		after, _, err := read(t, name, string(body))[0].Fix()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(want, changedLines(string(body), string(after))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// A line that ends the text of a key too early is named, and not the line of data.
func TestReadOutdented(t *testing.T) {
	t.Parallel()
	good := head("data:\n  mapRoles: |\n    - rolearn: arn:aws:iam::111122223333:role/a\n      username: a\n    - rolearn: arn:aws:iam::111122223333:role/b\n      username: b\n  mapUsers: |\n    []\n")
	for want, file := range map[string]string{
		"line 10: it is indented by 3 blanks, and so ends the text of mapRoles, of which the first line has 4 blanks": strings.Replace(good, "    - rolearn: arn:aws:iam::111122223333:role/b\n      ", "   - rolearn: arn:aws:iam::111122223333:role/b\n     ", 1),
		"line 10: it is indented by 2 blanks, and so ends the text of mapRoles, of which the first line has 4 blanks": strings.Replace(good, "    - rolearn: arn:aws:iam::111122223333:role/b\n      ", "  - rolearn: arn:aws:iam::111122223333:role/b\n    ", 1),
		"line 10: it is indented by 4 blanks, and so ends the text of mapRoles, of which the first line has 6 blanks": strings.Replace(good, "    - rolearn: arn:aws:iam::111122223333:role/a", "      rolearn: arn:aws:iam::111122223333:role/a", 1),
		"line 10: a tab stands where YAML wants blanks":                                                               strings.Replace(good, "    - rolearn: arn:aws:iam::111122223333:role/b", "\t- rolearn: arn:aws:iam::111122223333:role/b", 1),
		"line 12: a tab stands where YAML wants blanks":                                                               strings.Replace(good, "  mapUsers", "\tmapUsers", 1),
		"line 10: the comment ends the text of mapRoles, since it is indented by less than 4 blanks":                  strings.Replace(good, "    - rolearn: arn:aws:iam::111122223333:role/b", "# b\n    - rolearn: arn:aws:iam::111122223333:role/b", 1),
		"line 4: mapping values are not allowed in this context":                                                      strings.Replace(good, "name: aws-auth", "name: aws-auth: x", 1),
	} {
		if _, err := authfile.Read("f.yaml", []byte(file)); err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// A carriage return alone ends a line, too: it is mended as any other.
func TestFixCarriageReturns(t *testing.T) {
	t.Parallel()
	good := strings.ReplaceAll(head("data:\n"+list), "\n", "\r")
	after, _, err := read(t, "f.yaml", strings.ReplaceAll(good, "- rolearn", "-rolearn"))[0].Fix()
	if err != nil || string(after) != good {
		t.Errorf("%v: %q, want %q", err, after, good)
	}
}

// changedLines are the lines that one text has and the other has not.
func changedLines(before, after string) []string {
	a, b := strings.Split(before, "\n"), strings.Split(after, "\n")
	var out []string
	for _, l := range a {
		if !slices.Contains(b, l) {
			out = append(out, "-"+l)
		}
	}
	for _, l := range b {
		if !slices.Contains(a, l) {
			out = append(out, "+"+l)
		}
	}
	return out
}

// A JSON list in quotes keeps them, and every byte but those of the fix. Its findings
// have the column of their element.
func TestFixJSON(t *testing.T) {
	t.Parallel()
	body, err := os.ReadFile("testdata/inputs/hcdk.yaml")
	if err != nil {
		t.Fatal(err)
	}
	d := read(t, "hcdk.yaml", string(body))[0]
	after, _, err := d.Fix()
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Replace(string(body), "role/service-role/AWSCloud9", "role/AWSCloud9", 1)
	const doubled = `"rolearn":"arn:aws:iam::111122223333:role/adfs/team/admins"` // one of the two is enough
	last := strings.LastIndex(want, doubled)
	want = want[:last] + strings.Replace(want[last:], "adfs/team/", "", 1)
	if diff := cmp.Diff(want, string(after)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	line := strings.Split(string(body), "\n")[7]
	for _, f := range d.Lint() {
		if f.Rule != awsauth.RuleRolePath {
			continue
		}
		if f.FileLine != 8 || !strings.HasPrefix(line[f.FileColumn-1:], `"`+f.ARN+`"`) {
			t.Errorf("%s is said to be at %d:%d", f.ARN, f.FileLine, f.FileColumn)
		}
		if len(f.Mended) > 200 {
			t.Errorf("%d characters are shown of what is fixed: %s", len(f.Mended), f.Mended)
		}
	}
}

func head(more string) string {
	return "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: aws-auth\n  namespace: kube-system\n" + more
}

const list = "  mapRoles: |\n    - rolearn: arn:aws:iam::111122223333:role/a\n      username: a\n      groups: [system:masters]\n"

func wide(text string) []byte {
	out := []byte{0xff, 0xfe}
	for _, u := range utf16.Encode([]rune(text)) {
		out = append(out, byte(u), byte(u>>8))
	}
	return out
}

// What only the file or the object shows.
func TestLintFile(t *testing.T) {
	t.Parallel()
	wideList := base64.StdEncoding.EncodeToString(wide("- rolearn: arn:aws:iam::111122223333:role/a\n  username: a\n"))
	for name, c := range map[string]struct {
		file string
		want []string
		who  string // in a consequence
	}{
		"fine":                      {head("data:\n" + list), nil, ""},
		"data twice":                {head("data:\n" + list + "data:\n  mapUsers: '[]'\n"), []string{"6 fatal doubled-key: data stands twice, on lines 6 and 11"}, "administrators lose access: role/a"},
		"the same twice":            {head("data:\n" + list + list), []string{"7 warning doubled-key: data.mapRoles stands twice, on lines 7 and 11"}, "the first one is lost"},
		"namespace twice":           {"kind: ConfigMap\nmetadata:\n  name: aws-auth\n  namespace: kube-system\n  namespace: kube-system\ndata:\n" + list, []string{"4 warning doubled-key: metadata.namespace stands twice, on lines 4 and 5"}, ""},
		"twice without a manifest":  {strings.ReplaceAll(list, "  mapRoles", "mapRoles") + "mapRoles: '[]'\n", []string{"1 fatal doubled-key: mapRoles stands twice, on lines 1 and 5"}, "role/a"},
		"below metadata":            {"kind: ConfigMap\nmetadata:\n  name: aws-auth\n  namespace: kube-system\n" + list, []string{"5 fatal misplaced-key: mapRoles stands below metadata, not below data"}, "role/a"},
		"below stringData":          {head("stringData:\n" + list), []string{"7 fatal misplaced-key: mapRoles stands below stringData, not below data"}, "role/a"},
		"beside data, and below it": {head("data:\n" + list + strings.ReplaceAll(list, "  mapRoles", "mapRoles")), []string{"11 error misplaced-key: mapRoles stands beside data, not below it"}, ""},
		"another name, almost":      {"kind: ConfigMap\nmetadata: {name: aws_auth, namespace: kube-system}\ndata:\n" + list, []string{"2 fatal wrong-object: the ConfigMap is kube-system/aws_auth"}, "role/a"},
		"another name":              {"kind: ConfigMap\nmetadata: {name: team-a, namespace: rolecall}\ndata:\n" + list, []string{"2 warning wrong-object: the ConfigMap is rolecall/team-a"}, ""},
		"another kind":              {"kind: Secret\nmetadata: {name: aws-auth, namespace: kube-system}\ndata:\n" + list, []string{"1 fatal wrong-object: the kind is \"Secret\""}, "role/a"},
		"another namespace, nobody": {"kind: ConfigMap\nmetadata: {name: aws-auth, namespace: default}\ndata: {mapRoles: '[]'}\n", nil, ""},
		"immutable":                 {head("immutable: true\ndata:\n" + list), []string{"6 error immutable: the ConfigMap is immutable"}, "the role of a new node"},
		"binary":                    {head("binaryData:\n  mapRoles: " + wideList + "\n"), []string{"7 fatal binary-data: mapRoles stands in binaryData, in UTF-16LE"}, "role/a"},
		"both":                      {head("binaryData:\n  mapRoles: " + wideList + "\ndata:\n" + list), []string{"7 fatal binary-data: mapRoles stands in binaryData, in UTF-16LE, and in data"}, ""},
		"another key in binaryData": {head("binaryData:\n  x: AAAA\ndata:\n" + list), nil, ""},
		"under another key":         {head("data:\n" + strings.ReplaceAll(list, "mapRoles", "aws-auth.yaml")), []string{"7 fatal unread-list: the key \"aws-auth.yaml\" holds the list of mapRoles"}, "role/a"},
		"applied with less": {
			"kind: ConfigMap\nmetadata:\n  name: aws-auth\n  namespace: kube-system\n  annotations:\n    kubectl.kubernetes.io/last-applied-configuration: '{\"data\":{\"mapRoles\":\"[]\"}}'\ndata:\n" + list,
			[]string{"2 warning managed-by: kubectl apply manages mapRoles from a source of its own"},
			"the next kubectl apply of its manifest undoes it: administrators lose access: role/a",
		},
		"UTF-16": {string(wide(head("data:\n" + list))), []string{"1 warning binary-data: the file is in UTF-16LE"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			found := read(t, "f.yaml", c.file)[0].Lint()
			if diff := cmp.Diff(c.want, brief(found)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if c.who != "" && !slices.ContainsFunc(found, func(f authfile.Finding) bool { return strings.Contains(f.Consequence, c.who) }) {
				t.Errorf("nobody is told %q: %+v", c.who, found)
			}
		})
	}
}

// Terraform's server-side apply, as kubectl shows it, is noted, and warned of where
// rolecall's entries would go.
func TestLintManagers(t *testing.T) {
	t.Parallel()
	managed := "  managedFields:\n  - manager: Terraform\n    operation: Apply\n    apiVersion: v1\n    fieldsType: FieldsV1\n    fieldsV1:\n      f:data:\n        f:mapRoles: {}\n"
	for name, want := range map[string]awsauth.Severity{"": awsauth.Note, "      syncedBy: rolecall\n": awsauth.Warning} {
		found := read(t, "f", head(managed+"data:\n"+list+name))[0].Lint()
		i := slices.IndexFunc(found, func(f authfile.Finding) bool { return f.Rule == awsauth.RuleManagedBy })
		if i < 0 || found[i].Severity != want || !strings.Contains(found[i].Consequence, "terraform apply undoes it, or fails with a conflict") {
			t.Errorf("%q: %+v", name, found)
		}
	}
}

// Keys move from binaryData to data, the rest of the file stays.
func TestFixBinaryData(t *testing.T) {
	t.Parallel()
	text := "- rolearn: arn:aws:iam::111122223333:role/a\n  username: ä\n"
	body := base64.StdEncoding.EncodeToString(wide(text))
	block := "  mapRoles: |\n    - rolearn: arn:aws:iam::111122223333:role/a\n      username: ä\n"
	users := "  mapUsers: |\n    - userarn: arn:aws:iam::111122223333:user/u\n      username: u\n"
	for name, c := range map[string]struct{ file, want string }{
		"alone":         {head("# x\nbinaryData:\n  mapRoles: " + body + "\n"), head("# x\ndata:\n" + block)},
		"beside others": {head("binaryData:\n  mapRoles: " + body + "\n  other: AAAA\n"), head("data:\n" + block + "binaryData:\n  other: AAAA\n")},
		"with data":     {head("binaryData:\n  mapRoles: " + body + "\ndata:\n" + users), head("data:\n" + users + block)},
		"before data":   {head("data:\n" + users + "binaryData:\n  mapRoles: " + body + "\n# end\n"), head("data:\n" + users + block + "# end\n")},
		"UTF-16":        {string(wide(head("data:\n" + block))), head("data:\n" + block)},
	} {
		got, done, err := read(t, "f", c.file)[0].Fix()
		if err != nil || len(done) == 0 {
			t.Errorf("%s: %v, %v", name, done, err)
			continue
		}
		if diff := cmp.Diff(c.want, string(got)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// The examples of the page show what they are for, where the file is needed to see it.
func TestDocs(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/lint.md")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range strings.Lines(string(page)) {
		cells := strings.Split(strings.TrimSpace(line), " | ")
		if len(cells) != 6 || !strings.Contains(cells[2], "kind: ConfigMap⏎") {
			continue
		}
		n++
		id := strings.Split(cells[0], "`")[1]
		found := read(t, "f", strings.ReplaceAll(strings.Trim(cells[2], "`"), "⏎", "\n"))[0].Lint()
		if !slices.ContainsFunc(found, func(f authfile.Finding) bool { return string(f.Rule) == id && string(f.Severity) == cells[1] }) {
			t.Errorf("the example of %s does not show it: %v", id, brief(found))
		}
	}
	if n < 6 {
		t.Errorf("%d examples", n)
	}
}
