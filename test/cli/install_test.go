package cli_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/hclwrite"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
	"github.com/zclconf/go-cty/cty/function/stdlib"
	"go.yaml.in/yaml/v3"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	sigsyaml "sigs.k8s.io/yaml"

	"github.com/rolecall/rolecall/config"
	"github.com/rolecall/rolecall/test/stage"
	"github.com/rolecall/rolecall/test/trial"
)

// A snippet is a block of code in a page, without what it is indented by.
type snippet struct {
	page, language, file, text string
}

func (s snippet) String() string { return s.page + " " + s.language + " " + s.file }

// installPages are docs/install.md and docs/uninstall.md, and their snippets.
func installPages(t *testing.T) (pages map[string]string, snippets []snippet) {
	t.Helper()
	anywhere := regexp.MustCompile("(?ms)^( *)```([^\n]*)\n(.*?)^ *```$")
	pages = map[string]string{}
	for _, page := range []string{"install.md", "uninstall.md"} {
		text, err := os.ReadFile(filepath.Join("../../docs", page))
		if err != nil {
			t.Fatal(err)
		}
		pages[page] = string(text)
		for _, m := range anywhere.FindAllStringSubmatch(string(text), -1) {
			language, file, _ := strings.Cut(m[2], " file=")
			body := regexp.MustCompile("(?m)^"+m[1]).ReplaceAllString(m[3], "")
			snippets = append(snippets, snippet{page, language, file, body})
		}
	}
	return pages, snippets
}

// What docs/install.md and docs/uninstall.md tell to write and to type is right
// as far as it can be told without AWS; TestPages runs what they show. A policy
// that lets in more than the one ServiceAccount, or an overlay that does not
// render, fails it.
func TestInstallPages(t *testing.T) {
	t.Parallel()
	pages, snippets := installPages(t)
	of := func(language string) (out []snippet) {
		for _, s := range snippets {
			if s.language == language {
				out = append(out, s)
			}
		}
		if len(out) == 0 {
			t.Errorf("there is no block of %s", language)
		}
		return out
	}
	t.Run("languages", func(t *testing.T) {
		for _, s := range snippets {
			if !slices.Contains([]string{"sh", "console", "json", "yaml", "hcl"}, s.language) {
				t.Errorf("%s: nothing looks at a block of %q", s, s.language)
			}
		}
	})
	t.Run("policies", func(t *testing.T) { checkPolicies(t, pages["install.md"], of("json")) })
	t.Run("terraform", func(t *testing.T) { checkTerraform(t, of("hcl"), of("json")) })
	t.Run("yaml", func(t *testing.T) { checkYAML(t, of("yaml")) })
	t.Run("overlays", func(t *testing.T) { checkOverlays(t, of("yaml")) })
	t.Run("commands", func(t *testing.T) { checkTyped(t, pages, of("sh")) })
	t.Run("places", func(t *testing.T) { checkPlaces(t, pages) })
}

func checkPolicies(t *testing.T, page string, documents []snippet) {
	const issuer = "oidc.eks.eu-west-3.amazonaws.com/id/EXAMPLED539D4633E53DE1B71EXAMPLE"
	type object = map[string]any
	want := map[string]object{
		"trust-pod-identity.json": {
			"Sid": "RolecallByPodIdentity", "Effect": "Allow",
			"Principal": object{"Service": "pods.eks.amazonaws.com"},
			"Action":    []any{"sts:AssumeRole", "sts:TagSession"},
			"Condition": object{"StringEquals": object{
				"aws:RequestTag/kubernetes-namespace":       "rolecall-system",
				"aws:RequestTag/kubernetes-service-account": "rolecall",
			}},
		},
		"trust-irsa.json": {
			"Sid": "RolecallByIRSA", "Effect": "Allow",
			"Principal": object{"Federated": "arn:aws:iam::111122223333:oidc-provider/" + issuer},
			"Action":    "sts:AssumeRoleWithWebIdentity",
			"Condition": object{"StringEquals": object{
				issuer + ":sub": "system:serviceaccount:rolecall-system:rolecall",
				issuer + ":aud": "sts.amazonaws.com",
			}},
		},
		"trust-reader.json": {
			"Sid": "RolecallOfAnotherAccount", "Effect": "Allow",
			"Principal": object{"AWS": "arn:aws:iam::111122223333:role/rolecall"},
			"Action":    []any{"sts:AssumeRole", "sts:TagSession"},
		},
		"policy-assume-reader.json": {
			"Sid": "ReadIAMOfAnotherAccount", "Effect": "Allow",
			"Action":   []any{"sts:AssumeRole", "sts:TagSession"},
			"Resource": "arn:aws:iam::444455556666:role/rolecall-reader",
		},
	}
	got := map[string]object{}
	for _, d := range documents {
		var p struct {
			Version   string
			Statement []object
		}
		decoder := json.NewDecoder(strings.NewReader(d.text))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&p); err != nil {
			t.Errorf("%s: %v", d, err)
			continue
		}
		if p.Version != "2012-10-17" || len(p.Statement) != 1 {
			t.Errorf("%s has version %q and %d statements", d, p.Version, len(p.Statement))
			continue
		}
		got[d.file] = p.Statement[0]
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("statements (-want +page)\n%s", diff)
	}

	// The page names each action of the policies that it links to.
	for _, name := range []string{"iam-policy.json", "iam-policy-verify-ec2.json"} {
		text, err := os.ReadFile(filepath.Join("../../manifests", name))
		if err != nil {
			t.Fatal(err)
		}
		var p struct{ Statement []struct{ Action []string } }
		if err := json.Unmarshal(text, &p); err != nil {
			t.Fatal(err)
		}
		var actions []string
		for _, s := range p.Statement {
			actions = append(actions, s.Action...)
		}
		row := regexp.MustCompile(`(?m)^\|.*\(\.\./manifests/` + regexp.QuoteMeta(name) + `\).*\|$`).FindString(page)
		named := regexp.MustCompile("`((?:iam|ec2|sts):\\w+)`").FindAllStringSubmatch(row, -1)
		var says []string
		for _, m := range named {
			says = append(says, m[1])
		}
		if diff := cmp.Diff(actions, says); diff != "" {
			t.Errorf("actions of %s (-file +page)\n%s", name, diff)
		}
	}
}

// checkTerraform evaluates the trust policies of the snippets: they are those
// that the page has as JSON.
func checkTerraform(t *testing.T, files, documents []snippet) {
	const issuer = "oidc.eks.eu-west-3.amazonaws.com/id/EXAMPLED539D4633E53DE1B71EXAMPLE"
	list := func(v cty.Value) cty.Value { return cty.ListVal([]cty.Value{v}) }
	object := func(name string, v cty.Value) cty.Value { return cty.ObjectVal(map[string]cty.Value{name: v}) }
	known := &hcl.EvalContext{
		Functions: map[string]function.Function{"jsonencode": stdlib.JSONEncodeFunc, "replace": stdlib.ReplaceFunc},
		Variables: map[string]cty.Value{"data": cty.ObjectVal(map[string]cty.Value{
			"aws_eks_cluster": object("prod", object("identity", list(object("oidc", list(object("issuer", cty.StringVal("https://"+issuer))))))),
			"aws_iam_openid_connect_provider": object("prod", object("arn",
				cty.StringVal("arn:aws:iam::111122223333:oidc-provider/"+issuer))),
		})},
	}
	evaluate := func(a *hclsyntax.Attribute) cty.Value {
		v, diags := a.Expr.Value(known)
		if diags.HasErrors() {
			t.Fatalf("%s: %v", a.Name, diags)
		}
		return v
	}
	for _, f := range files {
		parsed, diags := hclsyntax.ParseConfig([]byte(f.text), f.file, hcl.InitialPos)
		if diags.HasErrors() {
			t.Errorf("%s: %v", f, diags)
			continue
		}
		checkByTerraform(t, f)
		if diff := cmp.Diff(string(hclwrite.Format([]byte(f.text))), f.text); diff != "" {
			t.Errorf("%s: terraform fmt would change it (-formatted +page)\n%s", f, diff)
		}
		attributes := map[string]*hclsyntax.Attribute{} // of all blocks, by label and name
		locals := map[string]cty.Value{}
		body := parsed.Body.(*hclsyntax.Body)
		for _, b := range body.Blocks {
			for name, a := range b.Body.Attributes {
				attributes[strings.Join(append(slices.Clone(b.Labels), name), ".")] = a
				if b.Type == "locals" {
					locals[name] = evaluate(a)
				}
			}
		}
		known.Variables["local"] = cty.ObjectVal(locals)
		want := "trust-" + strings.TrimSuffix(f.file, ".tf") + ".json"
		i := slices.IndexFunc(documents, func(d snippet) bool { return d.file == want })
		trust, there := attributes["aws_iam_role.rolecall.assume_role_policy"]
		if i < 0 || !there {
			t.Errorf("%s: has a trust policy: %t, the page has %s: %t", f, there, want, i >= 0)
			continue
		}
		if diff := cmp.Diff(decoded(t, documents[i].text), decoded(t, evaluate(trust).AsString())); diff != "" {
			t.Errorf("%s: the trust policy (-%s +terraform)\n%s", f, want, diff)
		}
		for name, want := range map[string]string{"namespace": "rolecall-system", "service_account": "rolecall"} {
			a, there := attributes["aws_eks_pod_identity_association.rolecall."+name]
			if there != (f.file == "pod-identity.tf") {
				t.Errorf("%s: an association has %s: %t", f, name, there)
			} else if there && evaluate(a).AsString() != want {
				t.Errorf("%s: %s is %s, want %s", f, name, evaluate(a).AsString(), want)
			}
		}
	}
}

// checkByTerraform has Terraform itself, or OpenTofu, look at a snippet where one
// is there. "validate" would take the providers from a registry.
func checkByTerraform(t *testing.T, f snippet) {
	t.Helper()
	for _, name := range []string{"terraform", "tofu"} {
		program, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		cmd := exec.CommandContext(t.Context(), program, "fmt", "-check", "-diff", "-")
		cmd.Stdin = strings.NewReader(f.text)
		cmd.Env = append(os.Environ(), "CHECKPOINT_DISABLE=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %s fmt: %v\n%s", f, name, err, out)
		}
	}
}

func decoded(t *testing.T, text string) any {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// checkYAML holds each block against what reads it: config.yaml and parts of it
// against the decoder, Helm's values against the chart's schema.
func checkYAML(t *testing.T, blocks []snippet) {
	schema, err := jsonschema.NewCompiler().Compile("../../charts/rolecall/values.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range blocks {
		var node yaml.Node // refuses what JSON's reader lets pass
		if err := yaml.Unmarshal([]byte(b.text), &node); err != nil {
			t.Errorf("%s: %v", b, err)
			continue
		}
		var object map[string]any
		if err := sigsyaml.UnmarshalStrict([]byte(b.text), &object); err != nil {
			t.Errorf("%s: %v", b, err)
			continue
		}
		kind, _ := object["kind"].(string)
		switch {
		case b.file == "values.yaml":
			if err := schema.Validate(object); err != nil {
				t.Errorf("%s: %v", b, err)
			}
			if inner, there := object["config"]; there {
				text, err := sigsyaml.Marshal(inner)
				if err != nil {
					t.Fatal(err)
				}
				checkConfig(t, b, string(text))
			}
		case kind == "Config":
			checkConfig(t, b, b.text)
		case kind == "ClusterConfig":
			var c struct {
				IAM struct {
					PodIdentityAssociations []struct{ Namespace, ServiceAccountName, RoleARN string }
					ServiceAccounts         []struct {
						Metadata struct{ Namespace, Name string }
						RoleOnly bool
					}
				}
			}
			if err := sigsyaml.Unmarshal([]byte(b.text), &c); err != nil {
				t.Fatal(err)
			}
			var accounts []string
			for _, a := range c.IAM.PodIdentityAssociations {
				accounts = append(accounts, a.Namespace+"/"+a.ServiceAccountName)
			}
			for _, a := range c.IAM.ServiceAccounts {
				accounts = append(accounts, a.Metadata.Namespace+"/"+a.Metadata.Name)
				if !a.RoleOnly {
					t.Errorf("%s: eksctl would make the ServiceAccount that the manifests make", b)
				}
			}
			if diff := cmp.Diff([]string{"rolecall-system/rolecall"}, accounts); diff != "" {
				t.Errorf("%s: ServiceAccounts (-want +got)\n%s", b, diff)
			}
		case kind == "Kustomization", kind == "ConfigMap": // rendered, and run by TestPages
		case kind == "" && b.file == "":
			checkConfig(t, b, "apiVersion: rolecall.dev/v1\nkind: Config\n"+b.text)
		default:
			t.Errorf("%s: nothing looks at the kind %q", b, kind)
		}
	}
}

func checkConfig(t *testing.T, b snippet, text string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := config.Load(path)
	if err != nil {
		t.Errorf("%s: %v", b, err)
		return
	}
	for _, w := range file.Warnings {
		t.Errorf("%s: warning: %s", b, w)
	}
}

// checkOverlays renders each Kustomization of the pages on the base that is
// here, and holds the result to what every install must have.
func checkOverlays(t *testing.T, blocks []snippet) {
	kubectl := kubectlOfStage(t)
	base, err := filepath.Abs("../../manifests/base")
	if err != nil {
		t.Fatal(err)
	}
	remote := regexp.MustCompile(`https://github\.com/rolecall/rolecall//manifests/base\?ref=(\S+)`) // release TestOneVersion
	rendered := 0
	for _, b := range blocks {
		if b.file != "kustomization.yaml" {
			continue
		}
		rendered++
		dir, err := filepath.EvalSymlinks(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		local, err := filepath.Rel(dir, base)
		if err != nil {
			t.Fatal(err)
		}
		on := remote.FindStringSubmatch(b.text)
		if on == nil {
			t.Errorf("%s: is on no base", b)
			continue
		}
		files := map[string]string{"kustomization.yaml": strings.ReplaceAll(b.text, on[0], local)}
		for _, other := range blocks {
			if other.file == "config.yaml" {
				files[other.file] = other.text
			}
		}
		for name, text := range files {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		out, err := exec.CommandContext(t.Context(), kubectl, "kustomize", dir).Output()
		if err != nil {
			t.Errorf("%s: %v\n%s", b, err, stderrOf(err))
			continue
		}
		namespaces := map[string]int{}
		configMaps, arn, image := []string{}, "", ""
		env := map[string]string{}
		decoder := yaml.NewDecoder(bytes.NewReader(out))
		for {
			var object map[string]any
			if err := decoder.Decode(&object); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatal(err)
			}
			text, err := sigsyaml.Marshal(object)
			if err != nil {
				t.Fatal(err)
			}
			switch object["kind"] {
			case "Role":
				var o corev1.ConfigMap // of which only the metadata are read
				if err := sigsyaml.Unmarshal(text, &o); err != nil {
					t.Fatal(err)
				}
				namespaces[o.Namespace]++
			case "ConfigMap":
				var o corev1.ConfigMap
				if err := sigsyaml.Unmarshal(text, &o); err != nil {
					t.Fatal(err)
				}
				configMaps = append(configMaps, o.Namespace+"/"+o.Name)
				checkConfig(t, b, o.Data["config.yaml"])
			case "ServiceAccount":
				var o corev1.ServiceAccount
				if err := sigsyaml.Unmarshal(text, &o); err != nil {
					t.Fatal(err)
				}
				arn = o.Annotations["eks.amazonaws.com/role-arn"]
			case "DaemonSet":
				var o appsv1.DaemonSet
				if err := sigsyaml.Unmarshal(text, &o); err != nil {
					t.Fatal(err)
				}
				c := o.Spec.Template.Spec.Containers[0]
				image = c.Image
				for _, e := range c.Env {
					env[e.Name] = e.Value
				}
			}
		}
		if diff := cmp.Diff(map[string]int{"kube-system": 1, "rolecall-system": 1}, namespaces); diff != "" {
			t.Errorf("%s: Roles by namespace (-want +got)\n%s", b, diff)
		}
		if diff := cmp.Diff([]string{"rolecall-system/rolecall"}, configMaps); diff != "" {
			t.Errorf("%s: ConfigMaps (-want +got)\n%s", b, diff)
		}
		if want := strings.Contains(b.text, "role-arn"); want != (arn == "arn:aws:iam::111122223333:role/rolecall") {
			t.Errorf("%s: the ServiceAccount's role is %q", b, arn)
		}
		if _, there := env["NODE_NAME"]; !there {
			t.Errorf("%s: the variables of the base are gone: %v", b, env)
		}
		if strings.Contains(b.text, "HTTPS_PROXY") {
			past := strings.Split(env["NO_PROXY"], ",")
			for _, address := range []string{"169.254.169.254", "169.254.170.23", "fd00:ec2::23"} {
				if env["HTTPS_PROXY"] == "" || !slices.Contains(past, address) {
					t.Errorf("%s: requests to %s would go through the proxy: %v", b, address, env)
				}
			}
		}
		if strings.Contains(b.text, "newName") && image != "111122223333.dkr.ecr.eu-west-3.amazonaws.com/rolecall:"+on[1] {
			t.Errorf("%s: the image is %s", b, image)
		}
	}
	if rendered < 3 {
		t.Errorf("only %d overlays", rendered)
	}
}

// kubectlOfStage is the kubectl that is built along with the control plane.
func kubectlOfStage(t *testing.T) string {
	t.Helper()
	assets, err := stage.Assets()
	if err != nil {
		stage.ForTest(t) // says what is missing
		t.Fatal(err)
	}
	kubectl := filepath.Join(assets, "kubectl")
	if _, err := os.Stat(kubectl); err != nil {
		t.Skipf("no kubectl among the assets: %v", err)
	}
	return kubectl
}

func stderrOf(err error) string {
	if e := (*exec.ExitError)(nil); errors.As(err, &e) {
		return string(e.Stderr)
	}
	return ""
}

// checkTyped holds that what the pages tell to type exists: commands of rolecall
// and of kubectl run with --help, and those of others name the right account.
func checkTyped(t *testing.T, pages map[string]string, blocks []snippet) {
	programs := map[string]string{"rolecall": trial.Binary(t), "kubectl": kubectlOfStage(t)}
	others := []string{"aws", "eksctl", "helm", "docker", "sed", "go", "terraform"}
	var lines []string
	for _, b := range blocks {
		lines = append(lines, strings.Split(strings.ReplaceAll(b.text, "\\\n", " "), "\n")...)
	}
	span := regexp.MustCompile("`([a-z]+ [^`\n]+)`")
	for _, page := range pages {
		page = regexp.MustCompile("(?ms)^ *```.*?^ *```$").ReplaceAllString(page, "")
		for _, m := range span.FindAllStringSubmatch(page, -1) {
			if _, ours := programs[strings.Fields(m[1])[0]]; ours {
				lines = append(lines, m[1])
			}
		}
	}
	ran := map[string]bool{}
	for _, line := range lines {
		line = regexp.MustCompile(` +#.*$`).ReplaceAllString(line, "")
		if strings.Contains(line, "--service-account") && !(strings.Contains(line, "--service-account rolecall") && strings.Contains(line, "--namespace rolecall-system")) {
			t.Errorf("%s: the ServiceAccount is rolecall-system/rolecall", line)
		}
		for command := range strings.SplitSeq(line, " | ") {
			command = strings.TrimSpace(regexp.MustCompile(` > .*$`).ReplaceAllString(command, ""))
			if command == "" || ran[command] {
				continue
			}
			ran[command] = true
			name, arguments, _ := strings.Cut(command, " ")
			program, ours := programs[name]
			if !ours {
				if !slices.Contains(others, name) {
					t.Errorf("%s: of whom is it?", command)
				}
				continue
			}
			if out, err := exec.CommandContext(t.Context(), "sh", "-c", `exec "$0" `+arguments+" --help", program).CombinedOutput(); err != nil {
				t.Errorf("%s: %v\n%.500s", command, err, out)
			}
		}
	}
	if len(ran) < 40 {
		t.Errorf("%d commands only", len(ran))
	}
}

// checkPlaces holds that the files, headings and names that the pages speak of
// are there. TestLinksLead sees to the links to files.
func checkPlaces(t *testing.T, pages map[string]string) {
	headings := func(page string) (out []string) {
		text, err := os.ReadFile(filepath.Join("../../docs", page))
		if err != nil {
			t.Error(err)
			return nil
		}
		for _, m := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(string(text), -1) {
			name := regexp.MustCompile(`[^a-z0-9 -]`).ReplaceAllString(strings.ToLower(m[1]), "")
			out = append(out, strings.ReplaceAll(name, " ", "-"))
		}
		return out
	}
	for name, page := range pages {
		for _, m := range regexp.MustCompile(`\]\(([\w.-]*)#([^)]+)\)`).FindAllStringSubmatch(page, -1) {
			to := m[1]
			if to == "" {
				to = name
			}
			if !slices.Contains(headings(to), m[2]) {
				t.Errorf("%s: %s has no heading %s", name, to, m[2])
			}
		}
		bare := regexp.MustCompile(`https?://\S+`).ReplaceAllString(page, "")
		for _, path := range regexp.MustCompile(`\b(?:manifests|charts|config|docs|cmd)/[\w./-]*\w`).FindAllString(bare, -1) {
			if _, err := os.Stat(filepath.Join("../..", path)); err != nil {
				t.Errorf("%s speaks of %s, which is not there", name, path)
			}
		}
		made := fmt.Sprint(regexp.MustCompile(`file=\S+|> [\w.-]+`).FindAllString(page, -1))
		for _, m := range regexp.MustCompile(`(?:file://|file\("| -f |--config )([\w-]+\.\w+)`).FindAllStringSubmatch(page, -1) {
			if !strings.Contains(made, m[1]) && !(name == "uninstall.md" && m[1] == "config.yaml") {
				t.Errorf("%s: nobody makes %s", name, m[1])
			}
		}
	}
}
