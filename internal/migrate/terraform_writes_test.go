package migrate

import (
	"fmt"
	"strings"
	"testing"

	"github.com/rolecall/rolecall/config"
)

func TestNewestMajor(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"17.24.0": "17 true", "= 17.24.0": "17 true", "v17.1": "17 true", "~> 17.0": "17 true", "~> 17.24.0": "17 true", "< 18": "17 true", "< 18.0.0": "17 true",
		"< 17.5": "17 true", "<= 17.24": "17 true", ">= 17.0, < 18.0": "17 true", "~> 19.0": "19 true", "20.8.4": "20 true", ">= 20.0, < 21, != 20.1.0": "20 true",
		"": "0 false", ">= 17.0": "0 false", "~> 17": "0 false", "main": "0 false", "!= 18.0.0": "0 false",
	} {
		major, bounded := newestMajor(text)
		if got := fmt.Sprint(major, " ", bounded); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

// Every module that writes aws-auth, by default or by one setting alone, is told with
// its line in HCL and in JSON, and none that does not.
func TestModulesThatWrite(t *testing.T) {
	t.Parallel()
	const eks, blueprints = "terraform-aws-modules/eks/aws", "github.com/aws-ia/terraform-aws-eks-blueprints"
	for _, tc := range []struct {
		source, version, settings string
		writes                    bool
	}{
		{eks, "17.24.0", "", true},
		{eks, "~> 16.2", "", true},
		{eks, ">= 17.0, < 18.0", "", true},
		{eks, "", "map_roles = []", true},
		{eks, "17.24.0", "manage_aws_auth = true", true},
		{eks, "17.24.0", "manage_aws_auth = var.manage", true},
		{eks, "17.24.0", "manage_aws_auth = false", false},
		{eks, "17.24.0", "create_eks = false", false},
		{eks, "~> 18.0", "", false},
		{eks, "~> 18.20", "manage_aws_auth_configmap = true", true},
		{eks, "~> 19.0", "", false},
		{eks, "~> 19.0", "manage_aws_auth_configmap = true", true},
		{eks, "~> 19.0", "create_aws_auth_configmap = true", true},
		{eks, "~> 19.0", "manage_aws_auth_configmap = false", false},
		{eks, "~> 20.0", "", false},
		{eks, "", "", false},
		{eks, ">= 17.0", "", false},
		{eks + "//modules/aws-auth", "~> 20.0", "", true},
		{eks + "//modules/aws-auth", "", "create_aws_auth_configmap = false", true},
		{eks + "//modules/aws-auth", "", "manage_aws_auth_configmap = true", true},
		{eks + "//modules/aws-auth", "", "manage_aws_auth_configmap = false", false},
		{eks + "//modules/aws-auth", "", "create = false", false},
		{eks + "//modules/karpenter", "~> 20.0", "", false},
		{eks + "//modules/eks-managed-node-group", "17.24.0", "", false},
		{"git::https://github.com/terraform-aws-modules/terraform-aws-eks.git?ref=v17.24.0", "", "", true},
		{"git::https://github.com/terraform-aws-modules/terraform-aws-eks.git?ref=v19.21.0", "", "", false},
		{"github.com/terraform-aws-modules/terraform-aws-eks//modules/aws-auth?ref=v20.37.2", "", "", true},
		{"cloudposse/eks-cluster/aws", "2.9.0", "", true},
		{"cloudposse/eks-cluster/aws", "2.9.0", "apply_config_map_aws_auth = false", false},
		{"cloudposse/eks-cluster/aws", "4.1.0", "", false},
		{blueprints + "?ref=v4.32.1", "", "", true},
		{blueprints + "?ref=v5.0.0", "", "", false},
		{"./modules/aws-auth", "", "", true},
		{"aidanmelen/eks-auth/aws", "1.0.0", "", true},
		{"terraform-aws-modules/vpc/aws", "3.0.0", "", false},
		{"./modules/aws-authenticator", "", "", false},
	} {
		hcl := fmt.Sprintf("# a comment\nmodule \"m\" {\n  source = %q\n", tc.source)
		json := fmt.Sprintf("{\n\"module\": {\"m\": {\"source\": %q", tc.source)
		if tc.version != "" {
			hcl += fmt.Sprintf("  version = %q\n", tc.version)
			json += fmt.Sprintf(", \"version\": %q", tc.version)
		}
		if name, value, ok := strings.Cut(tc.settings, " = "); ok {
			hcl += "  " + tc.settings + "\n"
			if strings.HasPrefix(value, "var.") {
				value = `"${` + value + `}"`
			}
			json += fmt.Sprintf(", %q: %s", name, value)
		}
		for file, text := range map[string]string{"main.tf": hcl + "}\n", "main.tf.json": json + "}}}\n"} {
			result, err := FromTerraform(file, []byte(text))
			if tc.writes != (err == nil) {
				t.Errorf("%+v in %s: err %v, want that it writes: %t", tc, file, err, tc.writes)
				continue
			}
			if err != nil {
				continue
			}
			told := 0
			for _, n := range result.Notes {
				if strings.Contains(n.Message, "each apply overwrites") {
					told++
					checkPlace(t, n, file)
				}
			}
			if told != 1 {
				t.Errorf("%+v in %s: told %d times: %v", tc, file, told, result.Notes)
			}
		}
	}
}

func checkPlace(t *testing.T, n config.Problem, file string) {
	t.Helper()
	if n.File != file || n.Line < 2 || !strings.HasPrefix(n.Key, "module.m") {
		t.Errorf("the place is %s:%d: %s", n.File, n.Line, n.Key)
	}
}
