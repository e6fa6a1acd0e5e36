package recipe

import (
	"encoding/json"
	"fmt"
	"strings"
)

// A File is one of the files that a recipe is written to.
type File struct {
	Name string
	Text string
}

// Files are those of the recipe: policies, config entry, binding and script.
func (r *Recipe) Files() ([]File, error) {
	out := []File{}
	for _, p := range []struct {
		name   string
		policy Policy
	}{{"trust-policy.json", r.TrustPolicy}, {"role-policy.json", r.RolePolicy}, {"assume-policy.json", r.AssumePolicy}} {
		text, err := json.MarshalIndent(p.policy, "", "  ")
		if err != nil {
			return nil, fmt.Errorf("encode %s: %w", p.name, err)
		}
		out = append(out, File{p.name, string(text) + "\n"})
	}
	out = append(out, File{"config-entry.yaml", r.ConfigEntry}, File{"rbac.yaml", r.Binding}, File{"apply.sh", r.Script})
	if r.AWSConfig != "" {
		out = append(out, File{"aws-config", r.AWSConfig})
	}
	return append(out, File{"kubeconfig.sh", r.Kubeconfig + "\n"}), nil
}

// Text is the recipe for people, in the order in which it is carried out.
func (r *Recipe) Text() (string, error) {
	files, err := r.Files()
	if err != nil {
		return "", err
	}
	texts := map[string]string{}
	for _, f := range files {
		texts[f.Name] = f.Text
	}
	var b strings.Builder
	section := func(title, text string) {
		fmt.Fprintf(&b, "## %s\n\n", title)
		for line := range strings.Lines(text) {
			if strings.TrimSpace(line) != "" {
				b.WriteString("    ")
			}
			b.WriteString(line)
		}
		b.WriteString("\n")
	}
	section("1. The role's trust policy: who may assume it", texts["trust-policy.json"])
	section("2. The role's own policy: what it may do in AWS", texts["role-policy.json"])
	section("3. The group's policy: what its members may assume", texts["assume-policy.json"])
	section("4. The RBAC binding: what the role may do in the cluster", texts["rbac.yaml"])
	section("5. The script that makes 1 to 4 (with --out DIR: apply.sh)", texts["apply.sh"])
	section("6. The entry for rolecall's config", texts["config-entry.yaml"])
	if r.AWSConfig != "" {
		section("7. What each member writes into ~/.aws/config, and runs", r.AWSConfig+"\n"+r.Kubeconfig+"\n")
	} else {
		section("7. What each member runs", r.Kubeconfig+"\n")
	}
	b.WriteString("## Why\n")
	for _, reason := range r.Reasons {
		fmt.Fprintf(&b, "\n- %s: %s\n", reason.Of, reason.Why)
	}
	return b.String(), nil
}
