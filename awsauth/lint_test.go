package awsauth

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/test/corpus"
)

const testRole = "arn:aws:iam::111122223333:role/a"

// lintCases are texts with one thing wrong each: what Lint says of them, as
// rule, severity, line and column, and what Mend makes of the text. In texts,
// ROLE and USER stand for ARNs, and an entry of Masters follows.
var lintCases = []struct {
	name, key, text string
	want            []string
	mended          string // empty: nothing is mended
}{
	{"fine", "mapRoles", "- rolearn: ROLE\n  username: a\n  groups: [viewers]\n", nil, ""},
	{"fine in upper case", "mapRoles", "- rolearn: ARN:AWS:IAM::111122223333:ROLE/A\n  username: a\n", nil, ""},
	{"fine node", "mapRoles", "- rolearn: ROLE\n  username: system:node:{{EC2PrivateDNSName}}\n  groups:\n  - system:bootstrappers\n  - system:nodes\n", nil, ""},
	{"fine session", "mapRoles", "- rolearn: ROLE\n  username: ops:{{SessionName}}\n  groups: []\n", nil, ""},
	{"fine user with a path", "mapUsers", "- userarn: arn:aws-cn:iam::111122223333:user/x/y/ana\n  username: ana\n", nil, ""},
	{"fine federated user", "mapUsers", "- userarn: arn:aws:sts::111122223333:federated-user/ana\n  username: ana\n", nil, ""},
	{"fine accounts", "mapAccounts", "- \"012345678901\"\n", nil, ""},
	{"blank", "mapRoles", "\n", nil, ""},
	{"another tool's fields", "mapRoles", "- rolearn: ROLE\n  username: a\n  syncedBy: other\n  comment: x\n", nil, ""},

	{"no list", "mapRoles", "a: b\n", []string{"unreadable-key fatal 0:0"}, ""},
	{"unbalanced", "mapRoles", "- rolearn: ROLE\n  username: a\n  groups: [a\n", []string{"unreadable-key fatal 3:13"}, "- rolearn: ROLE\n  username: a\n  groups: [a]\n"},
	{"wrapped", "mapRoles", "mapRoles: |\n  - rolearn: ROLE\n    username: a\n", []string{"unreadable-key fatal 1:1"}, "- rolearn: ROLE\n  username: a\n"},
	{"no dash", "mapRoles", "rolearn: ROLE\nusername: a\ngroups:\n- b\n", []string{"unreadable-key fatal 1:1"}, "- rolearn: ROLE\n  username: a\n  groups:\n  - b\n"},
	{"no blank behind a colon", "mapRoles", "- rolearn: ROLE\n  username:a\n", []string{"unreadable-key fatal 2:12"}, "- rolearn: ROLE\n  username: a\n"},
	{"at sign", "mapUsers", "- userarn: USER\n  username: @ana # x\n", []string{"unreadable-key fatal 2:13"}, "- userarn: USER\n  username: \"@ana\" # x\n"},
	{
		"braces", "mapRoles", "# x\n- rolearn: ROLE\n  username: {{SessionName}}  # c\n",
		[]string{"unquoted-braces fatal 3:13"},
		"# x\n- rolearn: ROLE\n  username: \"{{SessionName}}\"  # c\n",
	},
	{
		"braces in braces", "mapRoles", "- {rolearn: ROLE, username: a:{{SessionName}}, groups: [\"{{x\", b]}\n",
		[]string{"unquoted-braces fatal 1:3"},
		"- {rolearn: ROLE, username: \"a:{{SessionName}}\", groups: [\"{{x\", b]}\n",
	},
	{
		"braces in groups", "mapRoles", "- rolearn: ROLE\n  username: a:{{SessionName}}\n  groups:\n  - {{AccountID}}-x\n",
		[]string{"unquoted-braces fatal 4:5"},
		"- rolearn: ROLE\n  username: a:{{SessionName}}\n  groups:\n  - \"{{AccountID}}-x\"\n",
	},
	{"single braces", "mapRoles", "- rolearn: ROLE\n  username: {SessionName}\n", []string{"unquoted-braces error 2:13"}, ""},
	{
		"tabs", "mapRoles", "-\trolearn: ROLE\r\n\tusername: a\r\n",
		[]string{"tab fatal 1:2", "tab fatal 2:1"},
		"- rolearn: ROLE\r\n  username: a\r\n",
	},
	{"a tab of an unknown width", "mapRoles", "- rolearn: ROLE\n  groups:\n    - a\n\t- b\n  username: a\n", []string{"tab fatal 4:1"}, ""},
	{"tab and braces", "mapRoles", "- rolearn: ROLE\n\tusername: {{SessionName}}-a\n", []string{"unquoted-braces fatal 2:12", "tab fatal 2:1"}, "- rolearn: ROLE\n  username: \"{{SessionName}}-a\"\n"},

	{"fewer entries than it seems", "mapRoles", "- rolearn: ROLE\n  username: @a\n  rolearn: ROLE2\n", []string{"unreadable-key fatal 2:13", "unreadable-key fatal 3:3"}, ""},

	{
		"groups without blanks behind the dashes", "mapRoles", "- rolearn: ROLE\n  username: a\n  groups:\n    -b\n    -c\n",
		[]string{"groups-no-list error 4:5", "misread error 4:6", "misread error 5:6"},
		"- rolearn: ROLE\n  username: a\n  groups:\n    - b\n    - c\n",
	},

	{"UTF-16 without a mark", "mapRoles", string(wide("- rolearn: "+testRole+"\n  username: a\n", false, false)), []string{"unreadable-key fatal 1:0"}, "- rolearn: ROLE\n  username: a\n"},
	{"documents", "mapRoles", "- rolearn: ROLE\n  username: a\n---\n- rolearn: ROLE2\n", []string{"unread-document fatal 3:1"}, ""},
	{"first document empty", "mapRoles", "---\n---\n- rolearn: ROLE2\n", []string{"unread-document fatal 2:1"}, ""},
	{"documents without a second", "mapRoles", "---\n- rolearn: ROLE\n  username: a\n---\n# nothing\n", nil, ""},

	{"null", "mapRoles", "- rolearn: ROLE\n  username: a\n- null\n", []string{"dropped-entry fatal 3:3"}, "- rolearn: ROLE\n  username: a\n"},
	{"text", "mapRoles", "- ROLE\n", []string{"dropped-entry fatal 1:3"}, ""},
	{"no arn", "mapRoles", "- username: a\n", []string{"dropped-entry fatal 1:3"}, ""},
	{"arn of the other list", "mapUsers", "- rolearn: ROLE\n  username: a\n", []string{"dropped-entry fatal 1:3"}, ""},
	{"misspelt arn", "mapRoles", "- role_arn: ROLE\n  username: a\n", []string{"dropped-entry fatal 1:3"}, ""},
	{"arn is a list", "mapRoles", "- rolearn: [ROLE]\n  username: a\n", []string{"dropped-entry fatal 1:12"}, ""},
	{"sso", "mapRoles", "- sso: {permissionSetName: Admin, accountID: \"111122223333\"}\n  username: a\n", []string{"sso-entry fatal 1:3"}, ""},
	{"sso and arn", "mapRoles", "- rolearn: ROLE\n  sso: {permissionSetName: Admin, accountID: \"111122223333\"}\n  username: a\n", []string{"dropped-entry fatal 1:12"}, ""},

	{"bare name", "mapRoles", "- rolearn: dev\n  username: a\n", []string{"no-identity fatal 1:12"}, ""},
	{"pattern", "mapRoles", "- rolearn: arn:aws:iam::111122223333:role/*\n  username: a\n", []string{"no-identity fatal 1:12"}, ""},
	{"partition", "mapRoles", "- rolearn: arn:moon:iam::111122223333:role/a\n  username: a\n", []string{"no-identity fatal 1:12"}, ""},
	{"short account", "mapRoles", "- rolearn: arn:aws:iam::1111:role/a\n  username: a\n", []string{"no-identity fatal 1:12"}, ""},
	{"policy", "mapRoles", "- rolearn: arn:aws:iam::111122223333:policy/a\n  username: a\n", []string{"no-identity fatal 1:12"}, ""},
	{"bucket", "mapRoles", "- rolearn: arn:aws:s3:::111122223333\n  username: a\n", []string{"no-identity fatal 1:12"}, ""},
	{"blank at the end", "mapRoles", "- rolearn: \"ROLE \"\n  username: a\n", []string{"no-identity fatal 1:12"}, ""},
	{
		"path", "mapRoles", "- rolearn: 'arn:aws:iam::111122223333:role/x/y/a' # c\n  username: a\n",
		[]string{"role-path fatal 1:12"},
		"- rolearn: 'arn:aws:iam::111122223333:role/a' # c\n  username: a\n",
	},
	{"path of a role that is mapped", "mapRoles", "- rolearn: arn:aws:iam::111122223333:role/x/A\n  username: a\n- rolearn: ROLE\n  username: b\n", []string{"role-path fatal 1:12"}, ""},
	{"session", "mapRoles", "- rolearn: arn:aws:sts::111122223333:assumed-role/a/b\n  username: a\n", []string{"session-arn fatal 1:12"}, ""},
	{"profile", "mapRoles", "- rolearn: arn:aws:iam::111122223333:instance-profile/a\n  username: a\n", []string{"instance-profile fatal 1:12"}, ""},
	{"user in mapRoles", "mapRoles", "- rolearn: USER\n  username: a\n", []string{"wrong-list warning 1:12"}, ""},
	{"role in mapUsers", "mapUsers", "- userarn: ROLE\n  username: a\n", []string{"wrong-list warning 1:12"}, ""},
	{"root", "mapUsers", "- userarn: arn:aws:iam::111122223333:root\n  username: a\n", []string{"root-arn warning 1:12"}, ""},

	{"account as a number", "mapAccounts", "- 012345678901\n- 111122223333 # x\n", []string{"unquoted-account warning 1:3", "unquoted-account note 2:3"}, "- \"012345678901\"\n- \"111122223333\" # x\n"},
	{"no account", "mapAccounts", "- 11112222333\n- 1.11122223333e+11\n- [a]\n", []string{"account-id fatal 1:3", "account-id fatal 2:3", "dropped-entry fatal 3:3"}, ""},

	{
		"shadowed", "mapRoles", "- rolearn: ROLE\n  username: a\n  groups: [x]\n- rolearn: ROLE\n  username: a\n  groups: [z]\n",
		[]string{"shadowed error 1:12"},
		"",
	},
	{
		"covered", "mapRoles", "- rolearn: ROLE\n  username: a\n  groups: [x]\n- rolearn: arn:aws:iam::111122223333:role/A\n  username: a\n  groups: [z, x]\n",
		[]string{"shadowed warning 1:12"},
		"- rolearn: arn:aws:iam::111122223333:role/A\n  username: a\n  groups: [z, x]\n",
	},
	{"case variants", "mapUsers", "- userarn: USER\n  username: a\n- userarn: arn:aws:iam::111122223333:user/U\n  username: b\n", []string{"case-variants error 1:12"}, ""},
	{
		"case variants that agree", "mapUsers", "- userarn: USER\n  username: a\n- userarn: arn:aws:iam::111122223333:user/U\n  username: a\n",
		[]string{"case-variants warning 1:12"},
		"- userarn: arn:aws:iam::111122223333:user/U\n  username: a\n",
	},

	{"no username", "mapRoles", "- rolearn: ROLE\n", []string{"empty-username error 1:3"}, ""},
	{"username of digits", "mapRoles", "- rolearn: ROLE\n  username: 0123\n", []string{"empty-username error 2:13"}, "- rolearn: ROLE\n  username: \"0123\"\n"},
	{"username of a user's session", "mapUsers", "- userarn: USER\n  username: \"{{SessionName}}\"\n", []string{"empty-username error 2:13"}, ""},
	{"groups is a text", "mapRoles", "- rolearn: ROLE\n  username: a\n  groups: viewers\n", []string{"groups-no-list error 3:11"}, "- rolearn: ROLE\n  username: a\n  groups: [\"viewers\"]\n"},
	{"groups is a text with commas", "mapRoles", "- rolearn: ROLE\n  username: a\n  groups: viewers, editors\n", []string{"groups-no-list error 3:11"}, ""},
	{"group of digits", "mapRoles", "- rolearn: ROLE\n  username: a\n  groups: [1, b, yes]\n", []string{"group-no-text error 3:12", "group-no-text error 3:18"}, "- rolearn: ROLE\n  username: a\n  groups: [\"1\", b, \"yes\"]\n"},
	{"username twice", "mapRoles", "- rolearn: ROLE\n  username: a\n  username: b\n", []string{"repeated-field error 3:3"}, ""},
	{"the same twice", "mapRoles", "- rolearn: ROLE\n  groups: [b]\n  username: a\n  groups: [b]\n", []string{"repeated-field error 4:3"}, "- rolearn: ROLE\n  username: a\n  groups: [b]\n"},
	{"capitals", "mapRoles", "- roleARN: ROLE\n  \"userName\": a\n", []string{"field-case note 1:3", "field-case note 2:3"}, "- rolearn: ROLE\n  username: a\n"},
	{"misspelt fields", "mapRoles", "- rolearn: ROLE\n  user: a\n  group: [b]\n", []string{"empty-username error 1:3", "unknown-field warning 2:3", "unknown-field warning 3:3"}, ""},
	{"blank in a group", "mapRoles", "- rolearn: ROLE\n  username: a\n  groups: [\"b \"]\n", []string{"odd-text warning 3:12"}, ""},

	{"no-break space in a username", "mapRoles", "- rolearn: ROLE\n  username: a\u00a0b\n", []string{"odd-text warning 2:13"}, ""},
	{"access key", "mapRoles", "- rolearn: ROLE\n  username: a:{{AccessKeyID}}\n", []string{"access-key error 2:13"}, ""},
	{"session name alone", "mapRoles", "- rolearn: ROLE\n  username: \"{{SessionNameRaw}}\"\n", []string{"session-name warning 2:13"}, ""},
	{"session name in a group", "mapRoles", "- rolearn: ROLE\n  username: a\n  groups:\n  - \"{{SessionName}}\"\n", []string{"session-name error 4:5"}, ""},
	{"fargate", "mapRoles", "- rolearn: ROLE\n  username: system:node:{{SessionName}}\n  groups: [system:bootstrappers, system:nodes, system:node-proxier]\n", []string{"session-name note 2:13"}, ""},
	{"unknown placeholder", "mapRoles", "- rolearn: ROLE\n  username: a:{{ SessionName }}\n", []string{"placeholder error 2:13"}, ""},
	{"instance of a user", "mapUsers", "- userarn: USER\n  username: a:{{EC2PrivateDNSName}}\n", []string{"instance-only fatal 2:13"}, ""},
	{"system username", "mapRoles", "- rolearn: ROLE\n  username: system:admin\n", []string{"reserved-username warning 2:13"}, ""},
	{"system group", "mapRoles", "- rolearn: ROLE\n  username: a\n  groups: [system:master, system:admins, system:serviceaccounts:x]\n", []string{"system-group warning 3:12", "system-group warning 3:27"}, ""},
	{"node without its group", "mapRoles", "- rolearn: ROLE\n  username: system:node:{{EC2PrivateDNSName}}\n  groups: [system:bootstrappers]\n", []string{"node-groups error 3:11"}, ""},
	{"node without bootstrappers", "mapRoles", "- rolearn: ROLE\n  username: system:node:{{EC2PrivateDNSName}}\n  groups: [system:nodes]\n", []string{"node-groups warning 3:11"}, ""},
	{"nodes under another name", "mapRoles", "- rolearn: ROLE\n  username: node\n  groups: [system:nodes, system:bootstrappers]\n", []string{"node-username error 2:13"}, ""},
	{"nodes as masters", "mapRoles", "- rolearn: ROLE\n  username: system:node:{{EC2PrivateDNSName}}\n  groups: [system:nodes, system:bootstrappers, system:masters]\n", []string{"node-masters error 3:11"}, ""},

	{"instance profile of nodes", "mapRoles", "- rolearn: arn:aws:iam::111122223333:instance-profile/a\n  username: system:node:{{EC2PrivateDNSName}}\n  groups: [system:bootstrappers, system:nodes]\n", []string{"instance-profile fatal 1:12"}, ""},
	{"session of a node", "mapRoles", "- rolearn: arn:aws:sts::111122223333:assumed-role/a/i-0123\n  username: system:node:{{EC2PrivateDNSName}}\n  groups: [system:bootstrappers]\n", []string{"node-groups error 3:11", "session-arn fatal 1:12"}, ""},
	{"session with a session's name", "mapRoles", "- rolearn: arn:aws:sts::111122223333:assumed-role/a/ana\n  username: a:{{SessionName}}\n", []string{"session-arn fatal 1:12"}, ""},

	{"unfilled account", "mapRoles", "- rolearn: arn:aws:iam::${AWS::AccountId}:role/a\n  username: a\n", []string{"unfilled-template fatal 1:12"}, ""},
	{"unfilled account, and a path", "mapRoles", "- rolearn: arn:aws:iam::<account-id>:role/t/a\n  username: a\n", []string{"role-path fatal 1:12", "unfilled-template fatal 1:12"}, ""},
	{"unfilled account in words", "mapUsers", "- userarn: arn:aws:iam::ACCOUNT_ID:user/a\n  username: a\n", []string{"unfilled-template fatal 1:12"}, ""},
	{"unfilled account id", "mapAccounts", "- ${ACCOUNT}\n", []string{"unfilled-template fatal 1:3"}, ""},
	{"unfilled names", "mapRoles", "- rolearn: ROLE\n  username: ${var.name}\n  groups: [<groups>, \"{{ .Values.group }}\"]\n", []string{"unfilled-template error 2:13", "unfilled-template error 3:12", "unfilled-template error 3:22"}, ""},
	{"angle brackets", "mapRoles", "- rolearn: ROLE\n  username: <system:node:{{EC2PrivateDNSName}}>\n  groups:\n  - <system:bootstrappers>\n  - <system:nodes>\n", []string{"unfilled-template error 2:13", "unfilled-template error 4:5", "unfilled-template error 5:5"}, ""},
	{"two faults of an ARN", "mapRoles", "- rolearn: arn:aws-x:iam::1111:role/t/a\n  username: a\n", []string{"no-identity fatal 1:12", "no-identity fatal 1:12", "role-path fatal 1:12"}, ""},
	{"two faults of a username", "mapRoles", "- rolearn: ROLE\n  username: \" a:{{AccessKeyID}}\"\n", []string{"access-key error 2:13", "odd-text warning 2:13"}, ""},
	{"dropped, and more", "mapRoles", "- rolearn: \"\"\n  username: a:{{ SessionName }}\n  groups: viewers\n", []string{"dropped-entry fatal 1:12", "groups-no-list error 3:11", "placeholder error 2:13"}, "- rolearn: \"\"\n  username: a:{{ SessionName }}\n  groups: [\"viewers\"]\n"},
	{"IAM group", "mapUsers", "- userarn: arn:aws:iam::111122223333:group/devs\n  username: a\n", []string{"no-identity fatal 1:12"}, ""},
	{"account in a map", "mapAccounts", "- default: 111122223333\n", []string{"dropped-entry fatal 1:3"}, ""},
	{"single braces round a placeholder", "mapRoles", "- rolearn: ROLE\n  username: \"a:{SessionName}\"\n", []string{"placeholder error 2:13"}, ""},
	{"too many braces", "mapRoles", "- rolearn: ROLE\n  username: \"a:{{{SessionName}}}\"\n", []string{"placeholder error 2:13"}, ""},
	{"placeholder without braces", "mapRoles", "- rolearn: ROLE\n  username: a:SessionName\n", []string{"placeholder warning 2:13"}, ""},
	{"session in a name of Kubernetes", "mapRoles", "- rolearn: ROLE\n  username: system:{{SessionName}}\n", []string{"reserved-username error 2:13"}, ""},
	{"name that access entries refuse", "mapRoles", "- rolearn: ROLE\n  username: eks:a\n", []string{"reserved-username note 2:13"}, ""},
	{"nodes named by instance ID", "mapRoles", "- rolearn: ROLE\n  username: system:node:{{SessionNameRaw}}\n  groups: [system:bootstrappers, system:nodes]\n", []string{"session-name note 2:13"}, ""},
	{"one node's name", "mapRoles", "- rolearn: ROLE\n  username: system:node:ip-10-0-0-1.ec2.internal\n  groups: [system:bootstrappers, system:nodes]\n", []string{"node-username warning 2:13"}, ""},
	{"misspelt key", "maproles", "- rolearn: ROLE\n  username: a\n", []string{"misspelt-key fatal 0:0"}, "- rolearn: ROLE\n  username: a\n"},
	{"almost a key", "mapRole", "- rolearn: ROLE\n  username: a\n", []string{"misspelt-key fatal 0:0"}, ""},
	{"a list under another key", "roles.yaml", "- rolearn: ROLE\n  username: a\n", []string{"unread-list fatal 0:0"}, "- rolearn: ROLE\n  username: a\n"},
	{"a manifest under another key", "aws-auth.yaml", "data:\n  mapRoles: |\n    - rolearn: ROLE\n      username: a\n", []string{"unread-list fatal 0:0"}, "- rolearn: ROLE\n  username: a\n"},
	{"a copy of what once was", "mapRoles.bak", "- rolearn: ROLE\n  username: a\n", []string{"unread-list warning 0:0"}, ""},
	{"another key", "notes", "x", []string{"unknown-key note 0:0"}, ""},
	{"large", "notes", strings.Repeat("x", Limit/100*75), []string{"size warning 0:0", "unknown-key note 0:0"}, ""},
}

// document is the data of a case, with an entry of Masters beside it.
func document(name, text string) map[string]string {
	text = strings.NewReplacer("ROLE2", testRole+"2", ":ROLE/", ":ROLE/", "ROLE", testRole, "USER", "arn:aws:iam::111122223333:user/u").Replace(text)
	data := map[string]string{name: text}
	for _, kind := range []Kind{User, Role} {
		if _, taken := data[kind.Key()]; !taken {
			data[kind.Key()] = fmt.Sprintf("- %sarn: arn:aws:iam::999900001111:%s/root\n  username: root\n  groups: [system:masters]\n", kind, kind)
			break
		}
	}
	return data
}

func brief(found []Finding) []string {
	var out []string
	for _, f := range found {
		out = append(out, fmt.Sprintf("%s %s %d:%d", f.Rule, f.Severity, f.Line, f.Column))
	}
	slices.Sort(out)
	return out
}

func TestLint(t *testing.T) {
	t.Parallel()
	for _, c := range lintCases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			data := document(c.key, c.text)
			found := Lint(data)
			want := slices.Sorted(slices.Values(c.want))
			if diff := cmp.Diff(want, brief(found)); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
			for _, f := range found {
				if f.Message == "" || f.Consequence == "" || f.Write == "" {
					t.Errorf("finding %s has no message, consequence or advice: %+v", f.Rule, f)
				}
				for _, text := range []string{f.Message, f.Consequence, f.Write} {
					if strings.HasSuffix(text, ".") || strings.Contains(text, "::\n") {
						t.Errorf("finding %s says %q", f.Rule, text)
					}
				}
			}
			out, done := Mend(data)
			wantData := maps.Clone(data)
			if c.mended != "" {
				k := c.key
				if k == "maproles" || k == "roles.yaml" || k == "aws-auth.yaml" {
					delete(wantData, k)
					k = "mapRoles"
				}
				wantData[k] = document("x", c.mended)["x"]
			}
			if diff := cmp.Diff(wantData, out); diff != "" {
				t.Errorf("mended (-want +got):\n%s", diff)
			}
			if (len(done) > 0) != (c.mended != "") {
				t.Errorf("%d findings are said to be mended: %+v", len(done), done)
			}
		})
	}
}

// Every rule is shown by a case.
func TestEveryRuleHasACase(t *testing.T) {
	t.Parallel()
	seen := map[RuleID]bool{RuleGone: true, RuleNoMasters: true} // tests of their own
	for _, id := range objectRules {
		seen[id] = true
	}
	for _, c := range lintCases {
		for _, w := range c.want {
			seen[RuleID(strings.Fields(w)[0])] = true
		}
	}
	ids := map[RuleID]bool{}
	for _, r := range Rules() {
		if !seen[r.ID] {
			t.Errorf("no case shows %s", r.ID)
		}
		if ids[r.ID] || !regexp.MustCompile(`^[a-z]+(-[a-z]+)*$`).MatchString(string(r.ID)) || r.Title == "" || r.Consequence == "" || r.Write == "" || r.Severity.rank() < 0 {
			t.Errorf("rule %+v is doubled or says too little", r)
		}
		ids[r.ID] = true
	}
}

func TestLintNoMasters(t *testing.T) {
	t.Parallel()
	if diff := cmp.Diff([]string{"no-masters note 0:0"}, brief(Lint(nil))); diff != "" {
		t.Errorf("of an empty document (-want +got):\n%s", diff)
	}
}

func TestGone(t *testing.T) {
	t.Parallel()
	data := document("mapRoles", "- rolearn: ROLE\n  username: a\n- rolearn: ROLE2\n  username: a\n")
	if diff := cmp.Diff([]string{"gone warning 3:12"}, brief(Gone(data, []string{strings.ToUpper(testRole + "2")}))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// What a broken key locks out is said.
func TestLintSaysWho(t *testing.T) {
	t.Parallel()
	found := Lint(map[string]string{"mapRoles": "- rolearn: a\n  username: system:node:{{EC2PrivateDNSName}}\n- {{x}}\n"})
	if len(found) == 0 || !strings.HasSuffix(found[0].Consequence, "every node is locked out") {
		t.Errorf("%+v", found)
	}
}

// Of any document, what Mend makes of it has fewer findings, maps everybody else
// as before, and is not mended again.
func TestMend(t *testing.T) {
	t.Parallel()
	docs := corpus.Read(t, documents)
	for _, c := range lintCases {
		docs["case "+c.name] = document(c.key, c.text)
	}
	for i, text := range corpus.BadTexts() {
		docs[fmt.Sprintf("bad %d", i)] = map[string]string{"mapRoles": text, "mapUsers": text, "mapAccounts": text}
	}
	for name, data := range docs {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if p := mendBroken(data); p != "" {
				t.Error(p)
			}
		})
	}
}

// A key that would answer for somebody whom another one maps today is not mended.
func TestMendKeepsOthers(t *testing.T) {
	t.Parallel()
	const user = "arn:aws:iam::111122223333:user/u"
	data := map[string]string{"mapRoles": "- rolearn: " + user + "\n  username: @a\n", "mapUsers": "- userarn: " + user + "\n  username: b\n"}
	if out, done := Mend(data); len(done) > 0 || !maps.Equal(out, data) {
		t.Errorf("%q", out)
	}
}

// A fix that does something else than it is for is not carried out.
func TestMendReadsBack(t *testing.T) {
	t.Parallel()
	text := "- {rolearn: " + testRole + ", username: 1}\n- {rolearn: " + testRole + "2, username: b}\n"
	data := map[string]string{"mapRoles": text}
	found := Lint(data)
	one := Entry{Kind: Role, ARN: testRole, Username: "1"}
	digit, b := strings.Index(text, "1}"), strings.Index(text, "b}")
	for name, f := range map[string]fix{
		"another entry": {kind: Role, at: span{b, b + 1}, with: "c", want: one},
		"another value": {kind: Role, at: span{digit, digit + 1}, with: `"2"`, want: one},
		"who answers":   {kind: Role, at: span{0, strings.IndexByte(text, '\n') + 1}, remove: true},
	} {
		if out, err := mendEntries(Role, data, found, []Finding{{fix: &f, index: 0}}); err == nil {
			t.Errorf("%s: %q", name, out)
		}
	}
	right := fix{kind: Role, at: span{digit, digit + 1}, with: `"1"`, want: one}
	if _, err := mendEntries(Role, data, found, []Finding{{fix: &right, index: 0}}); err != nil {
		t.Error(err)
	}
}

// mendBroken says which promise of Mend does not hold for some data, or "".
func mendBroken(data map[string]string) string {
	before := maps.Clone(data)
	found := Lint(data)
	out, done := Mend(data)
	if !maps.Equal(before, data) {
		return "the data that was given is changed"
	}
	if len(done) == 0 {
		if !maps.Equal(data, out) {
			return "nothing is mended, and yet the data is another"
		}
		return ""
	}
	after := Lint(out)
	if fatal(after, RuleUnreadableKey, RuleUnquotedBraces, RuleTab) > fatal(found, RuleUnreadableKey, RuleUnquotedBraces, RuleTab) {
		return fmt.Sprintf("more keys cannot be read: %+v", after)
	}
	was, _ := readAll(data)
	is, _ := readAll(out)
	mendedARN := map[string]bool{}
	for _, f := range done {
		mendedARN[key(f.ARN)] = f.ARN != ""
	}
	a, b := was.resolver(), is.resolver()
	for k, e := range a {
		if now, ok := b[k]; !mendedARN[k] && (!ok || !sameGrant(e, now)) {
			return fmt.Sprintf("%s was mapped to %+v and is to %+v", k, e, now)
		}
	}
	again, more := Mend(out)
	if len(more) > 0 || !maps.Equal(again, out) {
		return fmt.Sprintf("it is mended again: %+v", more)
	}
	return ""
}

func fatal(found []Finding, rules ...RuleID) int {
	n := 0
	for _, f := range found {
		if f.Severity == Fatal && slices.Contains(rules, f.Rule) {
			n++
		}
	}
	return n
}

// FuzzLint lints and mends any text.
func FuzzLint(f *testing.F) {
	for _, data := range corpus.Read(f, documents) {
		f.Add(data["mapRoles"], data["mapUsers"], data["mapAccounts"])
	}
	for _, c := range lintCases {
		if text := document("x", c.text)["x"]; len(text) < 1000 {
			f.Add(text, text, text)
		}
	}
	for _, text := range corpus.BadTexts() {
		f.Add(text, text, text)
	}
	f.Fuzz(func(t *testing.T, roles, users, accounts string) {
		data := map[string]string{"mapRoles": roles, "mapUsers": users, "mapAccounts": accounts}
		_, err := Parse(data)
		broken := map[string]bool{}
		for _, p := range ParseErrors(err) {
			broken[p.Key] = true
		}
		said := map[string]bool{}
		for _, f := range Lint(data) {
			if f.Severity == Fatal && slices.Contains([]RuleID{RuleUnreadableKey, RuleUnquotedBraces, RuleTab}, f.Rule) {
				said[f.Key] = true
			}
		}
		if !maps.Equal(broken, said) {
			t.Fatalf("cannot be read: %v, said: %v", broken, said)
		}
		if p := mendBroken(data); p != "" {
			t.Fatal(p)
		}
	})
}
