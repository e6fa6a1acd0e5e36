package manifests_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/rolecall/rolecall/config"
)

// mounted lays the shipped ConfigMap out as the kubelet would, after edit has
// had its way with config.yaml, and loads it.
func mounted(t *testing.T, edit func(string) string) config.Config {
	t.Helper()
	return configOf(t, edit(find[corev1.ConfigMap](t, "ConfigMap", "rolecall-system", "rolecall").Data["config.yaml"]))
}

// configOf loads the text of a config.yaml.
func configOf(t *testing.T, text string) config.Config {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "config.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := config.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range file.Warnings {
		t.Errorf("warning: %v", w)
	}
	return file.Config
}

// What is shipped maps node roles, and gives nobody else access.
func TestExampleConfig(t *testing.T) {
	c := mounted(t, func(s string) string { return s })
	if !c.NodeRoles.Report {
		t.Error("the roles of nodes are not reported")
	}
	if n := len(c.NodeRoles.Accounts) + len(c.NodeRoles.Extra) + len(c.NodeRoles.Windows) + len(c.Karpenter.NodeRoleARNs) +
		len(c.Roles) + len(c.IAMGroups) + len(c.Users) + len(c.Accounts) + len(c.Adopt); n != 0 {
		t.Errorf("the example maps %d things that nobody asked for: %+v", n, c)
	}
}

// commented matches a line of example, not of prose: a key with its colon, or
// an item of a list.
var commented = regexp.MustCompile(`^( *)# ( *(?:- .*|[a-zA-Z]+:(?: .*)?))$`)

// What the example has commented out is right as well: taking the marks away
// makes a config that is accepted.
func TestCommentedExamples(t *testing.T) {
	var uncommented int
	c := mounted(t, func(s string) string {
		lines := strings.Split(s, "\n")
		for i, line := range lines {
			if m := commented.FindStringSubmatch(line); m != nil {
				lines[i] = m[1] + m[2]
				uncommented++
			}
		}
		return strings.Join(lines, "\n")
	})
	if uncommented == 0 {
		t.Fatal("no commented example was found")
	}
	got := map[string]int{
		"nodeRoles.accounts":     len(c.NodeRoles.Accounts),
		"nodeRoles.extra":        len(c.NodeRoles.Extra),
		"nodeRoles.windows":      len(c.NodeRoles.Windows),
		"karpenter.nodeRoleARNs": len(c.Karpenter.NodeRoleARNs),
		"roles":                  len(c.Roles),
		"iamGroups":              len(c.IAMGroups),
		"users":                  len(c.Users),
		"accounts":               len(c.Accounts),
	}
	want := map[string]int{
		"nodeRoles.accounts": 1, "nodeRoles.extra": 1, "nodeRoles.windows": 1, "karpenter.nodeRoleARNs": 1,
		"roles": 2, "iamGroups": 1, "users": 1, "accounts": 1,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("number of examples that came into force (-want +got)\n%s", diff)
	}
	if c.AWS.Region == "" || c.AWS.RoleARN == "" {
		t.Errorf("the example of aws didn't come into force: %+v", c.AWS)
	}
}
