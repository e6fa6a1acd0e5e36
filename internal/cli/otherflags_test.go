package cli

import (
	"bytes"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// toolFlags are all flags that the documentation of the tools that rolecall stands
// in for names, by the command line that a user has: keikoproj/aws-auth v0.5 cmd/cli;
// eksctl v0.2xx pkg/ctl/{create,get,delete}/iamidentitymapping.go with
// pkg/ctl/cmdutils; iam-eks-user-mapper src/main.rs; aws-iam-authenticator-sso-wrapper's
// README. "is" is the flag of rolecall's that it sets; without one it is an error that
// says what to use.
var toolFlags = []struct {
	page, command, flag, value, is string
}{
	{"aws-auth", "upsert", "--kubeconfig", "x", "kubeconfig"},
	{"aws-auth", "upsert", "--username", "x", "username"},
	{"aws-auth", "upsert", "--rolearn", "x", "role-arn"},
	{"aws-auth", "upsert", "--userarn", "x", "user-arn"},
	{"aws-auth", "upsert", "--groups", "a,b", "groups"},
	{"aws-auth", "upsert", "--maproles", "", "maproles"},
	{"aws-auth", "upsert", "--mapusers", "", "mapusers"},
	{"aws-auth", "upsert", "--append", "", "append"},
	{"aws-auth", "upsert", "--update-username", "", "update-username"},
	{"aws-auth", "upsert", "--retry", "", "retry"},
	{"aws-auth", "upsert", "--retry-min-time", "1s", "retry-min-time"},
	{"aws-auth", "upsert", "--retry-max-time", "1s", "retry-max-time"},
	{"aws-auth", "upsert", "--retry-max-count", "1", "retry-max-count"},
	{"aws-auth", "upsert", "--as", "x", "as"},
	{"aws-auth", "upsert", "--as-group", "a,b", "as-group"},
	{"aws-auth", "remove", "--kubeconfig", "x", "kubeconfig"},
	{"aws-auth", "remove", "--username", "x", "username"},
	{"aws-auth", "remove", "--rolearn", "x", "role-arn"},
	{"aws-auth", "remove", "--userarn", "x", "user-arn"},
	{"aws-auth", "remove", "--groups", "a,b", "groups"},
	{"aws-auth", "remove", "--maproles", "", "maproles"},
	{"aws-auth", "remove", "--mapusers", "", "mapusers"},
	{"aws-auth", "remove", "--force", "", "force"},
	{"aws-auth", "remove", "--retry", "", "retry"},
	{"aws-auth", "remove", "--retry-min-time", "1s", "retry-min-time"},
	{"aws-auth", "remove", "--retry-max-time", "1s", "retry-max-time"},
	{"aws-auth", "remove", "--retry-max-count", "1", "retry-max-count"},
	{"aws-auth", "remove", "--as", "x", "as"},
	{"aws-auth", "remove", "--as-group", "a,b", "as-group"},
	{"aws-auth", "remove-by-username", "--kubeconfig", "x", "kubeconfig"},
	{"aws-auth", "remove-by-username", "--username", "x", "username"},
	{"aws-auth", "remove-by-username", "--force", "", "force"},
	{"aws-auth", "remove-by-username", "--retry", "", "retry"},
	{"aws-auth", "remove-by-username", "--retry-min-time", "1s", "retry-min-time"},
	{"aws-auth", "remove-by-username", "--retry-max-time", "1s", "retry-max-time"},
	{"aws-auth", "remove-by-username", "--retry-max-count", "1", "retry-max-count"},
	{"aws-auth", "remove-by-username", "--as", "x", "as"},
	{"aws-auth", "remove-by-username", "--as-group", "a,b", "as-group"},
	{"aws-auth", "get", "--kubeconfig", "x", "kubeconfig"},
	{"aws-auth", "get", "--format", "table", "output"},
	{"aws-auth", "get", "--as", "x", "as"},
	{"aws-auth", "get", "--as-group", "a,b", "as-group"},

	{"eksctl", "upsert", "--arn", "x", "arn"},
	{"eksctl", "upsert", "--role", "x", "role-arn"},
	{"eksctl", "upsert", "--username", "x", "username"},
	{"eksctl", "upsert", "--group", "a,b", "groups"},
	{"eksctl", "upsert", "--account", "1", "account"},
	{"eksctl", "upsert", "--service-name", "x", "service-name"},
	{"eksctl", "upsert", "--namespace", "x", "namespace"}, // of the agents: beside --service-name an error, see service.txtar
	{"eksctl", "upsert", "--no-duplicate-arns", "", "no-duplicate-arns"},
	{"eksctl", "upsert", "--config-file", "x", "filename"},
	{"eksctl", "upsert", "-f", "x", "filename"},
	{"eksctl", "upsert", "--timeout", "1m", "timeout"},
	{"eksctl", "remove", "--arn", "x", "arn"},
	{"eksctl", "remove", "--role", "x", "role-arn"},
	{"eksctl", "remove", "--account", "1", "account"},
	{"eksctl", "remove", "--all", "", "all"},
	{"eksctl", "remove", "--timeout", "1m", "timeout"},
	{"eksctl", "get", "--arn", "x", "arn"},
	{"eksctl", "get", "--role", "x", "arn"},
	{"eksctl", "get", "--output", "json", "output"},
	{"eksctl", "get", "-o", "yaml", "output"},
	{"eksctl", "get", "--chunk-size", "1", ""},
	{"eksctl", "get", "--timeout", "1m", ""},
	{"eksctl", "get", "--config-file", "x", ""},
	{"eksctl", "remove", "--config-file", "x", ""},

	{"iam-eks-user-mapper", "import iam-eks-user-mapper", "--service-account-name", "x", "service-account-name"},
	{"iam-eks-user-mapper", "import iam-eks-user-mapper", "--aws-role-arn", "x", "aws-role-arn"},
	{"iam-eks-user-mapper", "import iam-eks-user-mapper", "--aws-access-key-id", "x", "aws-access-key-id"},
	{"iam-eks-user-mapper", "import iam-eks-user-mapper", "--aws-secret-access-key", "x", "aws-secret-access-key"},
	{"iam-eks-user-mapper", "import iam-eks-user-mapper", "--aws-default-region", "x", "aws-default-region"},
	{"iam-eks-user-mapper", "import iam-eks-user-mapper", "--refresh-interval-seconds", "30", "refresh-interval-seconds"},
	{"iam-eks-user-mapper", "import iam-eks-user-mapper", "--admins-users-arns", "x", "admins-users-arns"},
	{"iam-eks-user-mapper", "import iam-eks-user-mapper", "--enable-group-user-sync", "", "enable-group-user-sync"},
	{"iam-eks-user-mapper", "import iam-eks-user-mapper", "--iam-k8s-groups", "a->b", "iam-k8s-groups"},
	{"iam-eks-user-mapper", "import iam-eks-user-mapper", "--enable-sso", "", "enable-sso"},
	{"iam-eks-user-mapper", "import iam-eks-user-mapper", "--iam-sso-role-arn", "x", "iam-sso-role-arn"},
	{"iam-eks-user-mapper", "import iam-eks-user-mapper", "--karpenter-role-arn", "x", "karpenter-role-arn"},
	{"iam-eks-user-mapper", "import iam-eks-user-mapper", "--verbose", "", "verbose"},
	{"iam-eks-user-mapper", "agent", "--service-account-name", "x", ""},
	{"iam-eks-user-mapper", "agent", "--aws-role-arn", "x", ""},
	{"iam-eks-user-mapper", "agent", "--aws-access-key-id", "x", ""},
	{"iam-eks-user-mapper", "agent", "--aws-secret-access-key", "x", ""},
	{"iam-eks-user-mapper", "agent", "--aws-default-region", "x", ""},
	{"iam-eks-user-mapper", "agent", "--refresh-interval-seconds", "30", ""},
	{"iam-eks-user-mapper", "agent", "--admins-users-arns", "x", ""},
	{"iam-eks-user-mapper", "agent", "--enable-group-user-sync", "", ""},
	{"iam-eks-user-mapper", "agent", "--iam-k8s-groups", "a->b", ""},
	{"iam-eks-user-mapper", "agent", "--enable-sso", "", ""},
	{"iam-eks-user-mapper", "agent", "--iam-sso-role-arn", "x", ""},
	{"iam-eks-user-mapper", "agent", "--karpenter-role-arn", "x", ""},
	{"iam-eks-user-mapper", "agent", "--verbose", "", ""},

	{"sso-wrapper", "agent", "-src-configmap", "x", ""},
	{"sso-wrapper", "agent", "-src-namespace", "x", ""},
	{"sso-wrapper", "agent", "-dst-configmap", "x", ""},
	{"sso-wrapper", "agent", "-dst-namespace", "x", ""},
	{"sso-wrapper", "agent", "-interval", "30", ""},
	{"sso-wrapper", "agent", "-aws-region", "x", ""},
	{"sso-wrapper", "agent", "-debug", "", ""},
	{"sso-wrapper", "agent", "-disable-auto-worker-node-role", "", ""},
	{"sso-wrapper", "agent", "--src-configmap", "x", ""},
	{"sso-wrapper", "agent", "--interval", "30", ""},
}

// A user of another tool types what is documented there: each flag is taken, with the
// same meaning, or an error says what to use instead, and the page about coming from
// the tool names it.
func TestFlagsOfOtherTools(t *testing.T) {
	t.Parallel()
	table := slices.Clone(toolFlags)
	for _, command := range []string{"upsert", "remove", "get"} {
		for _, flag := range []string{"--cluster", "--name", "--region", "-r", "--profile", "-p", "--aws-api-timeout", "--color", "-C", "--verbose", "-v", "--dumpLogs", "-d"} {
			table = append(table, struct{ page, command, flag, value, is string }{"eksctl", command, flag, "x", ""})
		}
	}
	pages := map[string]string{}
	for _, tc := range table {
		if pages[tc.page] == "" {
			text, err := os.ReadFile("../../docs/from-" + tc.page + ".md")
			if err != nil {
				t.Fatal(err)
			}
			pages[tc.page] = string(text)
		}
		if !regexp.MustCompile("`[^`]*" + regexp.QuoteMeta(strings.TrimLeft(tc.flag, "-")) + "[^`]*`").MatchString(pages[tc.page]) {
			t.Errorf("docs/from-%s.md does not name %s", tc.page, tc.flag)
		}
		root := newRoot()
		cmd, _, err := root.Find(strings.Fields(tc.command))
		if err != nil {
			t.Fatal(err)
		}
		args := []string{tc.flag}
		if tc.value != "" {
			args[0] += map[bool]string{true: "=", false: ""}[strings.HasPrefix(tc.flag, "--") || len(tc.flag) > 2] + tc.value
		}
		err = cmd.ParseFlags(args)
		if tc.is == "" {
			var stderr bytes.Buffer
			code := Run(t.Context(), append(append([]string{"rolecall"}, strings.Fields(tc.command)...), args...), strings.NewReader(""), &stderr, &stderr)
			text := stderr.String()
			if err == nil || code != exitError || strings.Contains(text, "unknown") || !strings.Contains(text, "is a flag of ") || !strings.Contains(text, tc.flag) {
				t.Errorf("rolecall %s %s: status %d: %s", tc.command, args[0], code, text)
			}
			continue
		}
		if err != nil {
			t.Errorf("rolecall %s %s: %v", tc.command, args[0], err)
			continue
		}
		set := map[string]string{}
		cmd.Flags().Visit(func(f *pflag.Flag) { set[f.Name] = f.Value.String() })
		if _, is := set[tc.is]; !is || len(set) != 1 {
			t.Errorf("rolecall %s %s sets %v, want --%s", tc.command, args[0], set, tc.is)
		}
		if tc.value == "a,b" {
			if list, ok := cmd.Flags().Lookup(tc.is).Value.(pflag.SliceValue); ok && !slices.Equal(list.GetSlice(), []string{"a", "b"}) {
				t.Errorf("rolecall %s %s is %q, want two", tc.command, args[0], list.GetSlice())
			} else if !ok && set[tc.is] != "[a,b]" {
				t.Errorf("rolecall %s %s is %q, want two", tc.command, args[0], set[tc.is])
			}
		}
	}
}

// What eksctl asks for a cluster by is an error that names the kubeconfig's context: a
// command that left it out would write into another cluster.
func TestClusterIsTheContext(t *testing.T) {
	t.Parallel()
	for _, line := range []string{"upsert --arn x --cluster prod", "remove --arn x --region eu-west-3", "get iamidentitymapping --cluster=prod", "get -r eu-west-3", "lint --cluster prod", "resolve x --cluster prod", "status --region x", "history diff --cluster x", "rollback 1 --cluster x", "approve --cluster x", "plan --cluster x", "handover --cluster x"} {
		var stderr bytes.Buffer
		code := Run(t.Context(), append([]string{"rolecall"}, strings.Fields(line)...), strings.NewReader(""), &stderr, &stderr)
		if code == exitOK || !strings.Contains(stderr.String(), "the kubeconfig's context") || !strings.Contains(stderr.String(), "--context") {
			t.Errorf("rolecall %s: status %d: %s", line, code, stderr.String())
		}
	}
	for line, want := range map[string]string{"create iamidentitymapping --cluster prod": "rolecall upsert", "delete iamidentitymapping": "rolecall remove"} {
		var stderr bytes.Buffer
		code := Run(t.Context(), append([]string{"rolecall"}, strings.Fields(line)...), strings.NewReader(""), &stderr, &stderr)
		if code != exitError || !strings.Contains(stderr.String(), want) {
			t.Errorf("rolecall %s: status %d: %s", line, code, stderr.String())
		}
	}
}
