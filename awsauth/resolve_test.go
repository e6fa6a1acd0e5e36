package awsauth

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestResolve(t *testing.T) {
	t.Parallel()
	data := map[string]string{
		"mapRoles": `- rolearn: arn:aws:iam::111122223333:role/dev
  username: first
- rolearn: arn:aws:iam::111122223333:role/Dev
  username: dev:{{SessionName}}:{{AccountID}}
  groups: [viewers, "of-{{SessionNameRaw}}"]
- rolearn: arn:aws:iam::111122223333:role/team/node
  username: never
- rolearn: arn:aws:iam::111122223333:role/node
  username: system:node:{{EC2PrivateDNSName}}
  groups: [system:nodes]
- rolearn: arn:aws:iam::111122223333:user/both
  username: by-roles
- rolearn: arn:aws:iam::111122223333:role/dev
  sso: {permissionSetName: x, accountID: "111122223333"}
`,
		"mapUsers": `- userarn: arn:aws:iam::111122223333:user/team/ana
  username: "ana{{SessionName}}"
- userarn: arn:aws:iam::111122223333:user/both
  username: by-users
- userarn: arn:aws:iam::111122223333:user/Bob
  username: bob1
- userarn: arn:aws:iam::111122223333:user/bob
  username: bob2
- userarn: arn:aws:iam::111122223333:user/node
  username: "{{EC2PrivateDNSName}}"
`,
		"mapAccounts": "- \"444455556666\"\n- '111122223333x'\n",
	}
	type answer struct {
		ARN, Username string
		Groups        []string
		By            string // kind, line
		Shadowed      []int
		Random        []int
		Open          []string
		Refused       bool
	}
	for arn, want := range map[string]answer{
		"arn:aws:sts::111122223333:assumed-role/dev/ana@example.com": {
			ARN: "arn:aws:iam::111122223333:role/dev", Username: "dev:ana-example.com:111122223333", Groups: []string{"viewers", "of-ana@example.com"}, By: "role 3", Shadowed: []int{1, 13},
		},
		"arn:aws:iam::111122223333:role/DEV": {
			ARN: "arn:aws:iam::111122223333:role/DEV", Username: "dev:{{SessionName}}:111122223333", Groups: []string{"viewers", "of-{{SessionNameRaw}}"}, By: "role 3", Shadowed: []int{1, 13},
			Open: []string{"{{SessionNameRaw}}", "{{SessionName}}"},
		},
		"arn:aws:iam::111122223333:role/any/path/node": {
			ARN: "arn:aws:iam::111122223333:role/node", Username: "system:node:{{EC2PrivateDNSName}}", Groups: []string{"system:nodes"}, By: "role 8", Shadowed: []int{6}, Open: []string{"{{EC2PrivateDNSName}}"},
		},
		"arn:aws:sts::111122223333:assumed-role/node/i-0123456789abcdef0": {
			ARN: "arn:aws:iam::111122223333:role/node", Username: "system:node:{{EC2PrivateDNSName}}", Groups: []string{"system:nodes"}, By: "role 8", Shadowed: []int{6}, Open: []string{"{{EC2PrivateDNSName}}"},
		},
		"arn:aws:sts::111122223333:assumed-role/node/ana": {
			ARN: "arn:aws:iam::111122223333:role/node", Username: "system:node:{{EC2PrivateDNSName}}", Groups: []string{"system:nodes"}, By: "role 8", Shadowed: []int{6}, Open: []string{"{{EC2PrivateDNSName}}"}, Refused: true,
		},
		"arn:aws:iam::111122223333:user/team/ana":         {ARN: "arn:aws:iam::111122223333:user/team/ana", Username: "ana", By: "user 1"},
		"arn:aws:iam::111122223333:user/ana":              {ARN: "arn:aws:iam::111122223333:user/ana"},
		"arn:aws:iam::111122223333:user/both":             {ARN: "arn:aws:iam::111122223333:user/both", Username: "by-roles", By: "role 11", Shadowed: []int{3}},
		"arn:aws:iam::111122223333:user/BOB":              {ARN: "arn:aws:iam::111122223333:user/BOB", Username: "bob2", By: "user 7", Random: []int{5}},
		"arn:aws:iam::111122223333:user/node":             {ARN: "arn:aws:iam::111122223333:user/node", Username: "{{EC2PrivateDNSName}}", By: "user 9", Open: []string{"{{EC2PrivateDNSName}}"}, Refused: true},
		"arn:aws:iam::444455556666:user/Any":              {ARN: "arn:aws:iam::444455556666:user/Any", Username: "arn:aws:iam::444455556666:user/Any", By: "account 1"},
		"arn:aws:sts::444455556666:assumed-role/Any/x":    {ARN: "arn:aws:iam::444455556666:role/Any", Username: "arn:aws:iam::444455556666:role/Any", By: "account 1"},
		"arn:aws:iam::444455556666:root":                  {ARN: "arn:aws:iam::444455556666:root", Username: "arn:aws:iam::444455556666:root", By: "account 1"},
		"arn:aws:sts::111122223333:federated-user/x":      {ARN: "arn:aws:sts::111122223333:federated-user/x"},
		"arn:aws:sts::111122223333:assumed-role/nobody/x": {ARN: "arn:aws:iam::111122223333:role/nobody"},
	} {
		r, err := Resolve(data, arn)
		if err != nil {
			t.Errorf("%s: %v", arn, err)
			continue
		}
		got := answer{ARN: r.ARN, Username: r.Username, Groups: r.Groups, Open: r.Open, Refused: r.Refused != ""}
		if r.Entry != nil {
			got.By = fmt.Sprintf("%s %d", r.Entry.Kind, r.Entry.Line)
		}
		for i := range r.Shadowed {
			got.Shadowed = append(got.Shadowed, r.Shadowed[i].Line)
		}
		for i := range r.Random {
			got.Random = append(got.Random, r.Random[i].Line)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", arn, diff)
		}
		if r.Allowed() != (want.By != "" && !want.Refused) {
			t.Errorf("%s: allowed is %v", arn, r.Allowed())
		}
	}
}

func TestResolveBroken(t *testing.T) {
	t.Parallel()
	data := map[string]string{"mapRoles": "- rolearn: a\n  username: {{SessionName}}\n", "mapUsers": "- {userarn: 'arn:aws:iam::111122223333:user/ana', username: ana}"}
	r, err := Resolve(data, "arn:aws:iam::111122223333:user/ana")
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Broken) != 1 || r.Broken[0].Key != "mapRoles" || r.Username != "ana" {
		t.Errorf("%+v", r)
	}
}

func TestResolveRefuses(t *testing.T) {
	t.Parallel()
	for _, arn := range []string{
		"", "dev", "role/dev", "arn:aws:iam::111122223333", "arn:moon:iam::111122223333:role/a", "arn:aws:iam::1111:role/a", "arn:aws:iam::111122223333:role/", "arn:aws:iam::111122223333:role",
		"arn:aws:iam::111122223333:user/a/", "arn:aws:iam::111122223333:instance-profile/a", "arn:aws:sts::111122223333:assumed-role/a", "arn:aws:sts::111122223333:assumed-role/a/", "arn:aws:s3:::bucket", "arn:aws:iam::111122223333:group/g",
	} {
		_, err := Resolve(nil, arn)
		if e := (*ARNError)(nil); !errors.As(err, &e) || e.Write == "" {
			t.Errorf("%q: %v", arn, err)
		}
	}
}
