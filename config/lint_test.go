package config

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// An entry without a username, or with an empty one, gets the default in config.yaml
// and in the files of other tools alike.
func TestDefaultUsernames(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"config.yaml": `apiVersion: rolecall.dev/v1
kind: Config
roles:
- {permissionSet: A, groups: [g]}
- {permissionSet: B, username: "", groups: [g]}
- {arn: "arn:aws:iam::$ACCOUNTID:role/c", groups: [g]}
- {arn: "arn:aws:iam::111122223333:role/team/d", username: "", groups: [g]}
- {arn: "arn:aws:iam::111122223333:role/e", groups: [system:bootstrappers, system:nodes]}
- {arn: "arn:aws:iam::111122223333:role/f", groups: [system:bootstrappers, system:nodes, system:node-proxier]}
users:
- {arn: "arn:aws:iam::111122223333:user/team/g", groups: [g]}
iamGroups:
- {name: H, username: "", groups: [g]}
`,
		"mapRoles": "- {permissionset: I, username: \"\", groups: [g]}\n- {rolearn: arn:aws:iam::111122223333:role/j, groups: [g]}\n",
		"mapUsers": "- {userarn: arn:aws:iam::111122223333:user/k, username: \"\", groups: [g]}\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	file, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range file.Config.Roles {
		got = append(got, r.Username)
	}
	for _, u := range file.Config.Users {
		got = append(got, u.Username)
	}
	for _, g := range file.Config.IAMGroups {
		got = append(got, g.Username)
	}
	want := []string{
		"A:{{SessionName}}", "B:{{SessionName}}", "c:{{SessionName}}", "d:{{SessionName}}", "system:node:{{EC2PrivateDNSName}}", "system:node:{{SessionName}}",
		"I:{{SessionName}}", "j:{{SessionName}}", "g", "k", "{{UserName}}",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
