package awsauth

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// TestParse reads as the authenticator does; test/judge holds it against the
// authenticator's own code.
func TestParse(t *testing.T) {
	const (
		arn  = "arn:aws:iam::111122223333:role/a"
		uarn = "arn:aws:iam::111122223333:user/a"
	)
	roleA := func(username string, groups ...string) Listed { return Listed{Entry: role("a", username, groups...)} }
	tests := []struct {
		name, key, text string
		want            []Listed
	}{
		{"plain", "mapRoles", "- rolearn: " + arn + "\n  username: a\n  groups: [g]\n", []Listed{roleA("a", "g")}},
		{"JSON", "mapRoles", `[{"rolearn":"` + arn + `","username":"a","groups":["g"]}]`, []Listed{roleA("a", "g")}},
		{"keys without case", "mapRoles", "- RoleARN: " + arn + "\n  userName: a\n  GROUPS: [g]\n", []Listed{roleA("a", "g")}},
		{"the mark", "mapRoles", "- rolearn: " + arn + "\n  username: a\n  syncedby: rolecall\n", []Listed{{Entry: role("a", "a"), SyncedBy: "rolecall"}}},
		{"a mark that is no string", "mapRoles", "- rolearn: " + arn + "\n  username: a\n  syncedBy: [rolecall]\n", []Listed{roleA("a")}},
		{"a username that is a number", "mapRoles", "- rolearn: " + arn + "\n  username: 123\n  groups: [g]\n", []Listed{roleA("", "g")}},
		{"groups that are no list", "mapRoles", "- rolearn: " + arn + "\n  username: a\n  groups: g\n", []Listed{roleA("a")}},
		{"a key twice", "mapRoles", "- rolearn: x\n  rolearn: " + arn + "\n  username: a\n", []Listed{roleA("a")}},
		{"a merged mapping", "mapRoles", "- <<: {username: a, rolearn: x}\n  rolearn: " + arn + "\n", []Listed{roleA("a")}},
		{"no rolearn", "mapRoles", "- username: a\n", []Listed{{Entry: Entry{Role, "", "a", nil}, Dropped: "it has no rolearn"}}},
		{"null and a string", "mapRoles", "- null\n- text\n", []Listed{{Entry: Entry{Kind: Role}, Dropped: "it has no rolearn"}, {Entry: Entry{Kind: Role}, Dropped: "it has no rolearn"}}},
		{"rolearn and sso", "mapRoles", "- rolearn: " + arn + "\n  sso: {}\n", []Listed{{Entry: role("a", ""), Dropped: "it has both a rolearn and sso"}}},
		{"sso", "mapRoles", "- sso: {permissionSetName: x}\n", []Listed{{Entry: Entry{Kind: Role}, Dropped: "it matches a permission set, which EKS does not switch on"}}},
		{"userarn among roles", "mapRoles", "- userarn: " + arn + "\n", []Listed{{Entry: Entry{Kind: Role}, Dropped: "it has no rolearn"}}},
		{"no userarn", "mapUsers", "- username: a\n", []Listed{{Entry: Entry{User, "", "a", nil}, Dropped: "it has no userarn"}}},
		{"a user", "mapUsers", "- userarn: " + uarn + "\n  username: a\n  sso: {}\n", []Listed{{Entry: user("a", "a")}}},
		{"only the first document", "mapUsers", "- userarn: " + uarn + "\n---\n- userarn: x\n", []Listed{{Entry: user("a", "")}}},
		{"accounts", "mapAccounts", "- \"012345678901\"\n- 012345678901\n- 1e3\n- null\n", []Listed{{Entry: account("012345678901")}, {Entry: account("012345678901")}, {Entry: account("1e3")}, {Entry: account("")}}},
		{"accounts that are none", "mapAccounts", "- {a: b}\n- '111122223333'\n- {[a]: b}\n- [a]\n", []Listed{
			{Entry: account(""), Dropped: "it is no account id"},
			{Entry: account("111122223333")},
			{Entry: account(""), Dropped: "it is no account id"},
			{Entry: account(""), Dropped: "it is no account id"},
		}},
		{"another key", "maproles", "- rolearn: " + arn, nil},
	}
	for _, blank := range []string{"", " \n\t", "``", `""`, "''\n", "null", "~", "[]", "# nothing", "---\n", "\ufeff"} {
		for _, k := range []string{"mapRoles", "mapUsers", "mapAccounts"} {
			tests = append(tests, struct {
				name, key, text string
				want            []Listed
			}{"blank", k, blank, nil})
		}
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			doc, err := Parse(map[string]string{test.key: test.text})
			if err != nil {
				t.Fatal(err)
			}
			for i := range test.want { // all are of one kind
				test.want[i].Index = i
			}
			if diff := cmp.Diff(test.want, doc.Entries(), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("%q (-want +got):\n%s", test.text, diff)
			}
		})
	}
}

// TestParseMalformed refuses what empties a whole key for the authenticator.
// The error names the key and carries nothing of the text.
func TestParseMalformed(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"a mapping", "secret: x\n", "it is not a list of entries"},
		{"a string", "secret", "it is not a list of entries"},
		{"a number", "42", "it is not a list of entries"},
		{"a JSON object", `{"secret": []}`, "it is not a list of entries"},
		{"tabs", "- rolearn: secret\n\tusername: x\n", "line 2: found a tab character that violates indentation"},
		{"an unquoted placeholder", "- rolearn: a\n  username: {{SessionName}}\n", "invalid"},
		{"no end of a list", "[secret", "line 1: did not find expected ',' or ']'"},
		{"no end of a quote", "- 'secret", "found unexpected end of stream"},
		{"an unknown alias", "- *secret\n", "it is not valid YAML"},
		{"an escape of JSON that YAML 1.1 has not", `["a\/secret"]`, "found unknown escape character"},
		{"a control character", "- secret\x01\n", "control characters are not allowed"},
		{"not UTF-8", "- secret\xff\n", "invalid"},
		{"a number that JSON has not", "- secret: .inf\n", "it is not valid YAML"},
		{"a key beside the list", "- secret\nsecret: x\n", "line 1: did not find expected '-' indicator"},
		{"a list as a key", "- {[111122223333]: x}\n", "it is not valid YAML"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			for _, k := range []string{"mapRoles", "mapUsers", "mapAccounts"} {
				doc, err := Parse(map[string]string{k: test.text, "mapOther": "["})
				if k == "mapAccounts" && slices.Contains([]string{"a number that JSON has not", "an unquoted placeholder", "a list as a key"}, test.name) {
					continue // of accounts the authenticator drops such an element alone
				}
				var parseErr *ParseError
				if !errors.As(err, &parseErr) || doc != nil {
					t.Errorf("%s: got %v, %v", k, doc, err)
					continue
				}
				if parseErr.Key != k || !strings.Contains(err.Error(), k) || strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "1111") {
					t.Errorf("%s: %v", k, err)
				}
				if !strings.Contains(err.Error(), test.want) && !strings.Contains(err.Error(), "it is not valid YAML") {
					t.Errorf("%s: got %v, want %q", k, err, test.want)
				}
			}
		})
	}
}

// TestParseNamesEveryKey joins the errors of all keys.
func TestParseNamesEveryKey(t *testing.T) {
	_, err := Parse(map[string]string{"mapRoles": "[", "mapUsers": "{", "mapAccounts": "x"})
	if err == nil {
		t.Fatal("no error")
	}
	for _, k := range []string{"mapRoles line 1", "mapUsers line 1", "mapAccounts: "} {
		if !strings.Contains(err.Error(), k) {
			t.Errorf("%v does not name %q", err, k)
		}
	}
}

// TestDocumentIsNotChanged by a caller's hands on what it returned, nor by an edit.
func TestDocumentIsNotChanged(t *testing.T) {
	given := map[string]string{"mapRoles": unmarked(role("a", "a")), "x": "12345"}
	doc := parse(t, given)
	before := dump(doc)
	given["mapRoles"] = "changed"
	doc.Data()["x"] = "changed"
	after, err := doc.Edit(map[Kind]*Edit{Role: {Add: []Entry{role("b", "b")}}})
	if err != nil {
		t.Fatal(err)
	}
	if dump(doc) != before || len(doc.Entries()) != 1 || len(after.Entries()) != 2 {
		t.Error("the document changed")
	}
	if want := len(unmarked(role("a", "a"))) + 5; doc.Size() != want {
		t.Errorf("its size is %d, want %d", doc.Size(), want)
	}
	if (&Document{}).Data() != nil || (&Document{}).Size() != 0 {
		t.Error("an empty document is not empty")
	}
}
