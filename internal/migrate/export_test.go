package migrate

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"golang.org/x/tools/txtar"
	"sigs.k8s.io/yaml"

	"github.com/rolecall/rolecall/awsauth"
)

func TestAccessEntries(t *testing.T) {
	golden(t, "accessentries", func(t *testing.T, name string, data []byte) string {
		listed, problems, err := Listing(name, data)
		if err != nil {
			return listing(nil, err)
		}
		entries, notes := AccessEntries(listed)
		var b strings.Builder
		for _, e := range entries {
			fmt.Fprintf(&b, "%s %s %q %q admin=%t\n", e.Type, e.PrincipalARN, e.Username, e.Groups, e.Admin)
		}
		for _, n := range problems {
			fmt.Fprintf(&b, "note %s\n", n)
		}
		for _, n := range notes {
			fmt.Fprintf(&b, "note %s\n", n)
		}
		return b.String()
	})
}

// What the formats look like.
func TestExportGolden(t *testing.T) {
	x := Export{
		Cluster: "prod", Region: "eu-west-3", From: "kube-system/aws-auth",
		Entries: []AccessEntry{
			{PrincipalARN: "arn:aws:iam::111122223333:role/admins", Type: Standard, Username: "admin:{{SessionName}}", Admin: true},
			{PrincipalARN: "arn:aws:iam::111122223333:role/nodes", Type: EC2Linux},
			{PrincipalARN: "arn:aws:iam::111122223333:user/team/ops", Type: Standard, Groups: []string{"ops", "viewers"}},
		},
		Notes: []string{"what is lost"},
	}
	for _, format := range ExportFormats() {
		t.Run(format, func(t *testing.T) {
			got, err := x.Write(format)
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join("testdata", "export", format)
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
	if _, err := x.Write("xml"); err == nil {
		t.Error("xml is taken for a format")
	}
	for _, bad := range []Export{{Cluster: "a; b"}, {Cluster: ""}, {Cluster: "-x"}, {Cluster: "a", Region: "$(x)"}} {
		if text, err := bad.Write("awscli"); err == nil {
			t.Errorf("%+v is written:\n%s", bad, text)
		}
	}
}

// hostile are texts that want to be more than text, to a shell, YAML, HCL, the
// AWS CLI or CloudFormation. In canary they would make a file.
func hostile(canary string) []string {
	run := "touch " + canary
	return []string{
		"$(" + run + ")", "`" + run + "`", "'; " + run + "; '", `"; ` + run + `; "`, "'$(" + run + ")'", `\'; ` + run + ` #`, "a & " + run + " &", "| " + run, "${" + canary + "}",
		"--endpoint-url=http://192.0.2.1", "-h", "--profile", "file://" + canary, "http://192.0.2.1/", "@" + canary, "!echo", "~root", "*", "a b  c", "#", "a #b", "x: y", "- z", "{a}", "[b]", "yes", "null", "1e3", "0x1",
		`"`, `\`, `\n`, "%{ if true }x%{ endif }", "$${x}", "%%{x}", "<<EOT", "é", "😀", "\u202ex", "END", "Ref!", "!Ref x", "&a", "*a", "%", ",", "a,b", "a=b",
	}
}

// hostileExport has every hostile text as username and as group.
func hostileExport(t *testing.T, canary string) Export {
	t.Helper()
	var listed []awsauth.Listed
	for i, text := range hostile(canary) {
		listed = append(listed, awsauth.Listed{Entry: awsauth.Entry{
			Kind: awsauth.Role, ARN: fmt.Sprintf("arn:aws:iam::111122223333:role/r%03d", i), Username: text, Groups: []string{text, awsauth.Masters},
		}})
	}
	for _, arn := range []string{"arn:aws:iam::111122223333:role/$(touch x)", "arn:aws:iam::111122223333:role/a'b", "arn:aws:iam::111122223333:role/a\nb", "arn:aws:iam::111122223333:user/p'`x`/u", "arn:aws:iam::111122223333:user/$(touch${IFS}" + canary + ")/${x}/%{y}/u", "x"} {
		kind := awsauth.Role
		if strings.Contains(arn, ":user/") {
			kind = awsauth.User
		}
		listed = append(listed, awsauth.Listed{Entry: awsauth.Entry{Kind: kind, ARN: arn, Username: "u", Groups: []string{"g"}}})
	}
	listed = append(listed, awsauth.Listed{Entry: awsauth.Entry{Kind: awsauth.Account, ARN: "\n" + canary}})
	entries, notes := AccessEntries(listed)
	if len(entries) < len(hostile(canary)) {
		t.Fatalf("%d entries, want at least %d", len(entries), len(hostile(canary)))
	}
	return Export{Cluster: "prod", Region: "eu-west-3", From: "a\nb'$(touch " + canary + ")", Entries: entries, Notes: append(notes, "a\n$(touch "+canary+")\n---\nkind: x")}
}

// byARN is for comparing entries, whatever order a parser finds them in.
func byARN(t *testing.T, entries []AccessEntry) map[string]AccessEntry {
	t.Helper()
	out := map[string]AccessEntry{}
	for _, e := range entries {
		if len(e.Groups) == 0 {
			e.Groups = nil
		}
		out[e.PrincipalARN] = e
	}
	return out
}

func TestCloudFormationHostile(t *testing.T) {
	x := hostileExport(t, "canary")
	text, err := x.Write("cloudformation")
	if err != nil {
		t.Fatal(err)
	}
	var template struct {
		AWSTemplateFormatVersion, Description string
		Resources                             map[string]struct {
			Type       string
			Properties struct {
				ClusterName, PrincipalArn, Type, Username string
				KubernetesGroups                          []string
				AccessPolicies                            []struct {
					PolicyArn   string
					AccessScope struct{ Type string }
				}
			}
		}
	}
	if err := yaml.UnmarshalStrict([]byte(text), &template); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	var got []AccessEntry
	for name, r := range template.Resources {
		if strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") != "" || r.Type != "AWS::EKS::AccessEntry" || r.Properties.ClusterName != "prod" {
			t.Errorf("resource %s: %+v", name, r)
		}
		p := r.Properties
		got = append(got, AccessEntry{PrincipalARN: p.PrincipalArn, Type: EntryType(p.Type), Username: p.Username, Groups: p.KubernetesGroups, Admin: len(p.AccessPolicies) > 0})
	}
	if diff := cmp.Diff(byARN(t, x.Entries), byARN(t, got)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	// CloudFormation resolves {{resolve:…}} in any text.
	if strings.Contains(text, "{{resolve") {
		t.Error("a dynamic reference gets through")
	}
}

func TestEksctlHostile(t *testing.T) {
	x := hostileExport(t, "canary")
	text, err := x.Write("eksctl")
	if err != nil {
		t.Fatal(err)
	}
	var cfg struct {
		APIVersion   string                        `json:"apiVersion"`
		Kind         string                        `json:"kind"`
		Metadata     struct{ Name, Region string } `json:"metadata"`
		AccessConfig struct {
			AuthenticationMode string `json:"authenticationMode"`
			AccessEntries      []struct {
				PrincipalARN       string   `json:"principalARN"`
				Type               string   `json:"type"`
				KubernetesUsername string   `json:"kubernetesUsername"`
				KubernetesGroups   []string `json:"kubernetesGroups"`
				AccessPolicies     []struct {
					PolicyARN   string                `json:"policyARN"`
					AccessScope struct{ Type string } `json:"accessScope"`
				} `json:"accessPolicies"`
			} `json:"accessEntries"`
		} `json:"accessConfig"`
	}
	if err := yaml.UnmarshalStrict([]byte(text), &cfg); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	var got []AccessEntry
	for _, e := range cfg.AccessConfig.AccessEntries {
		got = append(got, AccessEntry{PrincipalARN: e.PrincipalARN, Type: EntryType(e.Type), Username: e.KubernetesUsername, Groups: e.KubernetesGroups, Admin: len(e.AccessPolicies) > 0})
	}
	if diff := cmp.Diff(byARN(t, x.Entries), byARN(t, got)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestTerraformHostile(t *testing.T) {
	x := hostileExport(t, "canary")
	text, err := x.Write("terraform")
	if err != nil {
		t.Fatal(err)
	}
	file, diags := hclsyntax.ParseConfig([]byte(text), "x.tf", hcl.InitialPos)
	if diags.HasErrors() {
		t.Fatalf("%v\n%s", diags, text)
	}
	texts := func(a *hclsyntax.Attribute) (out []string) {
		if a == nil {
			return nil
		}
		v, diags := a.Expr.Value(nil) // knows no variable: an expression fails
		if diags.HasErrors() {
			t.Fatalf("%s: %v", a.Name, diags)
		}
		if !v.Type().IsPrimitiveType() {
			for _, e := range v.AsValueSlice() {
				out = append(out, e.AsString())
			}
			return out
		}
		return []string{v.AsString()}
	}
	one := func(a *hclsyntax.Attribute) string { return strings.Join(texts(a), "|") }
	byLabel := map[string]*AccessEntry{}
	for _, b := range file.Body.(*hclsyntax.Body).Blocks {
		if b.Type != "resource" || len(b.Labels) != 2 {
			t.Fatalf("a block %s %q", b.Type, b.Labels)
		}
		if b.Labels[0] == "aws_eks_access_entry" {
			a := b.Body.Attributes
			byLabel[b.Labels[1]] = &AccessEntry{PrincipalARN: one(a["principal_arn"]), Type: EntryType(one(a["type"])), Username: one(a["user_name"]), Groups: texts(a["kubernetes_groups"])}
		}
	}
	for _, b := range file.Body.(*hclsyntax.Body).Blocks {
		if b.Labels[0] == "aws_eks_access_policy_association" {
			byLabel[b.Labels[1]].Admin = true
		}
	}
	var got []AccessEntry
	for _, name := range slices.Sorted(maps.Keys(byLabel)) {
		got = append(got, *byLabel[name])
	}
	if diff := cmp.Diff(byARN(t, x.Entries), byARN(t, got)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// The script runs against an aws that writes down how it is called: with each
// text as one argument, or in JSON, and nothing else is run.
func TestScriptHostile(t *testing.T) {
	dir := t.TempDir()
	canary := filepath.Join(dir, "canary")
	x := hostileExport(t, canary)
	calls, out := runScript(t, dir, &x, `case "$2" in
describe-cluster) echo API_AND_CONFIG_MAP ;;
describe-access-entry) exit 254 ;;
get-role) exit 254 ;;
esac`)
	if _, err := os.Stat(canary); err == nil {
		t.Fatal("a text of aws-auth was run")
	}
	got := map[string]AccessEntry{}
	for _, c := range calls {
		arn := argument(c, "--principal-arn")
		switch c[1] {
		case "create-access-entry":
			want := []string{"eks", "create-access-entry", "--cluster-name", "prod", "--principal-arn", arn, "--cli-input-json"}
			if diff := cmp.Diff(want, c[:len(c)-1]); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			var in struct {
				Type, Username   string
				KubernetesGroups []string
			}
			if err := json.Unmarshal([]byte(c[len(c)-1]), &in); err != nil {
				t.Errorf("%s: %v", c[len(c)-1], err)
			}
			got[arn] = AccessEntry{PrincipalARN: arn, Type: EntryType(in.Type), Username: in.Username, Groups: in.KubernetesGroups}
		case "associate-access-policy":
			e := got[arn]
			e.Admin = argument(c, "--policy-arn") == "arn:aws:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy" && argument(c, "--access-scope") == "type=cluster"
			got[arn] = e
		case "describe-cluster", "describe-access-entry", "get-role":
		default:
			t.Errorf("a call %q", c)
		}
	}
	if diff := cmp.Diff(byARN(t, x.Entries), got); diff != "" {
		t.Errorf("(-want +got)\n%s\n%s", diff, out)
	}
}

// An entry that is there stays; a role's path is asked for, and only believed
// of the same account.
func TestScriptAsks(t *testing.T) {
	x := Export{Cluster: "prod", Entries: []AccessEntry{
		{PrincipalARN: "arn:aws:iam::111122223333:role/a", Type: EC2Linux},
		{PrincipalARN: "arn:aws:iam::444455556666:role/b", Type: Standard, Username: "b"},
		{PrincipalARN: "arn:aws:iam::111122223333:role/c", Type: Standard, Admin: true},
	}}
	calls, out := runScript(t, t.TempDir(), &x, `case "$2 $4 $6" in
"describe-cluster "*) echo API ;;
"get-role a "*) echo arn:aws:iam::111122223333:role/some/path/a ;;
"get-role b "*) echo arn:aws:iam::111122223333:role/other/b ;;
"get-role c "*) exit 254 ;;
"describe-access-entry prod "*role/c) exit 0 ;;
"describe-access-entry "*) exit 254 ;;
esac`)
	var got []string
	for _, c := range calls {
		if strings.HasPrefix(c[1], "create") || strings.HasPrefix(c[1], "associate") {
			got = append(got, c[1]+" "+argument(c, "--principal-arn"))
		}
	}
	want := []string{
		"create-access-entry arn:aws:iam::111122223333:role/some/path/a",
		"create-access-entry arn:aws:iam::444455556666:role/b",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s\n%s", diff, out)
	}

	// A cluster that takes none is told of, and nothing is made.
	text, err := x.Write("awscli")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	log := stub(t, dir, "aws", "echo CONFIG_MAP")
	cmd := exec.CommandContext(t.Context(), "bash", "-c", text)
	cmd.Env = []string{"PATH=" + dir + ":/usr/bin:/bin"}
	said, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(said), "authenticationMode=API_AND_CONFIG_MAP") || len(readCalls(t, log)) != 1 {
		t.Errorf("%v: %s", err, said)
	}
}

// stub makes a program that writes its arguments down, then does what body
// says; it returns where.
func stub(t *testing.T, dir, name, body string) (log string) {
	t.Helper()
	log = filepath.Join(dir, name+".log")
	text := fmt.Sprintf("#!/bin/sh\n{ printf '%%s\\0' \"$@\"; printf '\\1\\0'; } >> '%s'\n%s\n", log, body)
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	return log
}

func readCalls(t *testing.T, log string) (calls [][]string) {
	t.Helper()
	data, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	var call []string
	for arg := range strings.SplitSeq(strings.TrimSuffix(string(data), "\x00"), "\x00") {
		if arg == "\x01" {
			calls, call = append(calls, call), nil
			continue
		}
		call = append(call, arg)
	}
	return calls
}

func argument(call []string, name string) string {
	if i := slices.Index(call, name); i >= 0 && i+1 < len(call) {
		return call[i+1]
	}
	return ""
}

func runScript(t *testing.T, dir string, x *Export, aws string) (calls [][]string, output string) {
	t.Helper()
	text, err := x.Write("awscli")
	if err != nil {
		t.Fatal(err)
	}
	log := stub(t, dir, "aws", aws)
	script := filepath.Join(dir, "entries.sh")
	if err := os.WriteFile(script, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "bash", script)
	cmd.Dir = dir
	cmd.Env = []string{"PATH=" + dir + ":/usr/bin:/bin"}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return readCalls(t, log), string(out)
}

// Whatever order the entries have, the output is the same.
func TestExportIsDeterministic(t *testing.T) {
	archive, err := txtar.ParseFile("testdata/accessentries/all.txtar")
	if err != nil {
		t.Fatal(err)
	}
	listed, _, err := Listing("x", archive.Files[0].Data)
	if err != nil {
		t.Fatal(err)
	}
	var users []awsauth.Listed // of which none is doubled
	for _, l := range listed {
		if l.Kind == awsauth.User {
			users = append(users, l)
		}
	}
	first, _ := AccessEntries(users)
	slices.Reverse(users)
	second, _ := AccessEntries(users)
	if diff := cmp.Diff(first, second); diff != "" || len(first) < 2 {
		t.Errorf("%d entries (-first +second)\n%s", len(first), diff)
	}
}
