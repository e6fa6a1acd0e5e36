package awsauth

import (
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// wide is a text in UTF-16.
func wide(text string, big, mark bool) []byte {
	var out []byte
	if mark {
		text = "\ufeff" + text
	}
	for _, u := range utf16.Encode([]rune(text)) {
		a, b := byte(u), byte(u>>8)
		if big {
			a, b = b, a
		}
		out = append(out, a, b)
	}
	return out
}

func TestDecodeText(t *testing.T) {
	t.Parallel()
	const text = "- rolearn: ä\n"
	for name, c := range map[string]struct {
		body     []byte
		encoding string
		ok       bool
	}{
		"UTF-8":                      {[]byte(text), "UTF-8", true},
		"UTF-8 with a mark":          {[]byte("\ufeff" + text), "UTF-8", true},
		"UTF-16LE":                   {wide(text, false, true), "UTF-16LE", true},
		"UTF-16BE":                   {wide(text, true, true), "UTF-16BE", true},
		"UTF-16LE, no mark":          {wide(text, false, false), "UTF-16LE", true},
		"UTF-16BE, no mark":          {wide(text, true, false), "UTF-16BE", true},
		"half a unit":                {wide(text, false, true)[:5], "UTF-16LE", false},
		"half a pair":                {[]byte{0xff, 0xfe, 0x00, 0xd8}, "UTF-16LE", false},
		"Latin-1":                    {[]byte("- rolearn: \xe4\n"), "UTF-8", false},
		"zeros that are no UTF-16":   {[]byte("a\x00b\x00\x00c"), "UTF-8", false},
		"nothing":                    {nil, "UTF-8", true},
		"a mark and nothing besides": {[]byte{0xff, 0xfe}, "UTF-16LE", true},
	} {
		got, encoding, ok := DecodeText(c.body)
		if encoding != c.encoding || ok != c.ok || ok && len(c.body) > 3 && got != text {
			t.Errorf("%s: %q, %s, %v", name, got, encoding, ok)
		}
	}
}

// Who has access by one document and not, or not all of it, by another.
func TestLostAccess(t *testing.T) {
	t.Parallel()
	one := "- rolearn: ROLE\n  username: a\n  groups: [x, y]\n"
	for name, c := range map[string]struct {
		before, after string
		want          int
	}{
		"the same":                   {one, one, 0},
		"more":                       {one, strings.Replace(one, "[x", "[z, x", 1), 0},
		"a group less":               {one, strings.Replace(one, ", y", "", 1), 1},
		"another username":           {one, strings.Replace(one, "username: a", "username: b", 1), 1},
		"gone":                       {one, "", 1},
		"unreadable":                 {one, "{{", 1},
		"shadowed then":              {one, one + "- rolearn: ROLE\n  username: a\n", 1},
		"shadowed before":            {"- rolearn: ROLE\n  username: z\n" + one, one, 0},
		"matches nobody":             {strings.ReplaceAll(one, "role/", "role/x/"), "", 0},
		"by an entry of a dead path": {one, strings.ReplaceAll(one, "ROLE", "ROLE/PATH"), 1},
	} {
		text := func(s string) map[string]string {
			s = strings.ReplaceAll(s, "ROLE/PATH", "arn:aws:iam::111122223333:role/path/a")
			s = strings.ReplaceAll(s, "ROLE", testRole)
			if name == "matches nobody" {
				s = strings.ReplaceAll(s, "role/", "role/x/")
			}
			return map[string]string{"mapRoles": s}
		}
		if lost := LostAccess(text(c.before), text(c.after)); len(lost) != c.want {
			t.Errorf("%s: %+v", name, lost)
		}
	}
	accounts := map[string]string{"mapAccounts": "- \"111122223333\"\n"}
	if lost := LostAccess(accounts, nil); len(lost) != 1 || len(LostAccess(accounts, accounts)) != 0 {
		t.Errorf("of accounts: %+v", lost)
	}
}

// A key in binaryData is read by nobody; it moves to data in UTF-8.
func TestLintObject(t *testing.T) {
	t.Parallel()
	yes := true
	text := "- rolearn: " + testRole + "\n  username: system:node:{{EC2PrivateDNSName}}\n  groups: [system:bootstrappers, system:nodes]\n"
	admins := map[string]string{"mapUsers": "- userarn: arn:aws:iam::999900001111:user/root\n  username: root\n  groups: [system:masters]\n"}
	with := func(name, text string) map[string]string {
		return map[string]string{"mapUsers": admins["mapUsers"], name: text}
	}
	here := metav1.ObjectMeta{Namespace: Namespace, Name: Name}
	for name, c := range map[string]struct {
		cm    corev1.ConfigMap
		want  []string
		says  string
		fixed map[string]string
	}{
		"fine":          {corev1.ConfigMap{ObjectMeta: here, Data: admins}, nil, "", admins},
		"UTF-16":        {corev1.ConfigMap{ObjectMeta: here, Data: admins, BinaryData: map[string][]byte{"mapRoles": wide(text, false, true)}}, []string{"binary-data fatal 0:0"}, "every node of these roles is locked out: role/a", with("mapRoles", text)},
		"UTF-8":         {corev1.ConfigMap{ObjectMeta: here, Data: admins, BinaryData: map[string][]byte{"mapRoles": []byte(text)}}, []string{"binary-data fatal 0:0"}, "every node", with("mapRoles", text)},
		"UTF-16, empty": {corev1.ConfigMap{ObjectMeta: here, Data: admins, BinaryData: map[string][]byte{"mapRoles": wide("[]\n", true, true)}}, []string{"binary-data warning 0:0"}, "finds nothing of it", with("mapRoles", "[]\n")},
		"Latin-1":       {corev1.ConfigMap{ObjectMeta: here, Data: admins, BinaryData: map[string][]byte{"mapRoles": []byte("# \xe4\n" + text)}}, []string{"binary-data fatal 0:0"}, "", admins},
		"another key":   {corev1.ConfigMap{ObjectMeta: here, Data: admins, BinaryData: map[string][]byte{"x": {0}}}, nil, "", admins},
		"with a slip in it": {
			corev1.ConfigMap{ObjectMeta: here, Data: admins, BinaryData: map[string][]byte{"mapRoles": wide(strings.Replace(text, "- r", "-r", 1), false, true)}},
			[]string{"binary-data fatal 0:0"},
			"every node", with("mapRoles", text),
		},
		"immutable": {corev1.ConfigMap{ObjectMeta: here, Data: admins, Immutable: &yes}, []string{"immutable error 0:0"}, "every change", admins},
		"elsewhere": {
			corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: Name}, Data: admins},
			[]string{"wrong-object fatal 0:0"},
			"administrators lose access: user/root", admins,
		},
		"no namespace": {corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: Name}, Data: admins}, []string{"wrong-object note 0:0"}, "the namespace of its context", admins},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			before := c.cm.DeepCopy()
			found := LintObject(&c.cm, "", "")
			if diff := cmp.Diff(c.want, brief(found)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			for _, f := range found {
				if !strings.Contains(f.Consequence, c.says) {
					t.Errorf("%q does not say %q", f.Consequence, c.says)
				}
			}
			fixed, done := FixObject(&c.cm)
			if diff := cmp.Diff(c.fixed, fixed.Data); diff != "" {
				t.Errorf("fixed (-want +got):\n%s", diff)
			}
			if _, still := fixed.BinaryData["mapRoles"]; len(c.cm.BinaryData["mapRoles"]) > 0 && still == (len(done) > 0) {
				t.Errorf("fixed %v, and it is in binaryData: %v", done, still)
			}
			if diff := cmp.Diff(before, &c.cm); diff != "" {
				t.Errorf("what was given is changed:\n%s", diff)
			}
		})
	}
}
