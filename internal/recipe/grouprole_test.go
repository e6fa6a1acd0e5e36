package recipe

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/yaml"

	"github.com/rolecall/rolecall/config"
)

var update = flag.Bool("update", false, "rewrite testdata")

// asked is a request with what is required.
func asked() GroupRole {
	return GroupRole{IAMGroup: "rnd", Role: "eks-dev", Groups: []string{"viewers"}, Cluster: "prod", Account: "111122223333", Region: "eu-west-3"}
}

// all has everything that can be asked for.
func all() GroupRole {
	r := asked()
	r.Partition, r.ClusterRole, r.Namespace = "aws-cn", "edit", "team-a"
	r.UserPath, r.PrincipalTag, r.MFA, r.NamedSessions = "/rnd/", "team=rnd", true, true
	r.Groups = []string{"viewers", `it's "x": $(touch canary)`}
	return r
}

func TestText(t *testing.T) {
	for name, r := range map[string]GroupRole{"plain": asked(), "all": all()} {
		t.Run(name, func(t *testing.T) {
			recipe, err := r.Write()
			if err != nil {
				t.Fatal(err)
			}
			got, err := recipe.Text()
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join("testdata", name+".md")
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
}

// No policy allows more than the recipe needs, in any of its forms.
func TestLeastPrivilege(t *testing.T) {
	requests := []GroupRole{asked(), all()}
	for bits := range 16 {
		r := asked()
		if bits&1 != 0 {
			r.UserPath = "/rnd/"
		}
		if bits&2 != 0 {
			r.PrincipalTag = "team=rnd"
		}
		r.MFA, r.NamedSessions = bits&4 != 0, bits&8 != 0
		requests = append(requests, r)
	}
	for _, r := range requests {
		recipe, err := r.Write()
		if err != nil {
			t.Fatal(err)
		}
		for name, policy := range policies(t, recipe) {
			if policy.Version != "2012-10-17" || len(policy.Statement) != 1 {
				t.Errorf("%s: %+v", name, policy)
			}
			for _, s := range policy.Statement {
				if s.Effect != "Allow" || !slices.Contains([]string{"sts:AssumeRole", "eks:DescribeCluster"}, s.Action) {
					t.Errorf("%s allows %q", name, s.Action)
				}
				if strings.Contains(s.Resource, "*") {
					t.Errorf("%s is for the resource %q", name, s.Resource)
				}
				if name == "trust-policy.json" {
					continue
				}
				if s.Resource == "" || s.Principal != nil {
					t.Errorf("%s: %+v", name, s)
				}
			}
		}
		s := recipe.TrustPolicy.Statement[0]
		arn := s.Condition["ArnLike"]["aws:PrincipalArn"]
		partition := "aws"
		if r.Partition != "" {
			partition = r.Partition
		}
		path := "/"
		if r.UserPath != "" {
			path = r.UserPath
		}
		if want := "arn:" + partition + ":iam::111122223333:user" + path + "*"; arn != want {
			t.Errorf("the trust is in %q, want %q", arn, want)
		}
		if got := s.Condition["Bool"]["aws:MultiFactorAuthPresent"] == "true"; got != r.MFA {
			t.Errorf("MFA is asked for: %t, want %t", got, r.MFA)
		}
		if got := s.Condition["StringEquals"]["sts:RoleSessionName"] == "${aws:username}"; got != r.NamedSessions {
			t.Errorf("sessions are named: %t, want %t", got, r.NamedSessions)
		}
		if got := s.Condition["StringEquals"]["aws:PrincipalTag/team"] == "rnd"; got != (r.PrincipalTag != "") {
			t.Errorf("a tag is asked for: %t", got)
		}
	}
}

// policies are read from the files, as AWS reads them.
func policies(t *testing.T, r *Recipe) map[string]Policy {
	t.Helper()
	files, err := r.Files()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]Policy{}
	for _, f := range files {
		if strings.HasSuffix(f.Name, ".json") {
			dec := json.NewDecoder(strings.NewReader(f.Text))
			dec.DisallowUnknownFields()
			var p Policy
			if err := dec.Decode(&p); err != nil {
				t.Fatalf("%s: %v", f.Name, err)
			}
			out[f.Name] = p
		}
	}
	if len(out) != 3 {
		t.Fatalf("%d policies, want 3", len(out))
	}
	return out
}

// Our config takes the entry, and the binding is what was asked for.
func TestEntryAndBinding(t *testing.T) {
	recipe, err := all().Write()
	if err != nil {
		t.Fatal(err)
	}
	file, err := config.Parse("config.yaml", []byte("apiVersion: rolecall.dev/v1\nkind: Config\n"+recipe.ConfigEntry))
	if err != nil {
		t.Fatalf("%v\n%s", err, recipe.ConfigEntry)
	}
	want := []config.Role{{ARN: "arn:aws-cn:iam::111122223333:role/eks-dev", Username: "eks-dev:{{SessionName}}", Groups: all().Groups}}
	if diff := cmp.Diff(want, file.Config.Roles); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	var binding rbacv1.RoleBinding
	if err := yaml.UnmarshalStrict([]byte(recipe.Binding), &binding); err != nil {
		t.Fatalf("%v\n%s", err, recipe.Binding)
	}
	wantBinding := rbacv1.RoleBinding{RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "edit"}}
	wantBinding.APIVersion, wantBinding.Kind, wantBinding.Name, wantBinding.Namespace = "rbac.authorization.k8s.io/v1", "RoleBinding", "iam-role-eks-dev", "team-a"
	for _, g := range all().Groups {
		wantBinding.Subjects = append(wantBinding.Subjects, rbacv1.Subject{APIGroup: rbacv1.GroupName, Kind: rbacv1.GroupKind, Name: g})
	}
	if diff := cmp.Diff(wantBinding, binding); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	plain, err := asked().Write()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(plain.Binding, "kind: ClusterRoleBinding\n") || strings.Contains(plain.Binding, "namespace:") {
		t.Errorf("without a namespace the binding is\n%s", plain.Binding)
	}
}

// The script runs against an aws and a kubectl that write down how they are
// called.
func TestScript(t *testing.T) {
	recipe, err := all().Write()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		exists bool
		update string
		fails  bool
		want   []string
	}{
		{"new", false, "", false, []string{"iam get-group rnd", "iam get-role eks-dev", "iam create-role eks-dev", "iam put-role-policy eks-dev", "iam put-group-policy rnd", "kubectl apply"}},
		{"there already", true, "", true, []string{"iam get-group rnd", "iam get-role eks-dev"}},
		{"update", true, "1", false, []string{"iam get-group rnd", "iam get-role eks-dev", "iam update-assume-role-policy eks-dev", "iam put-role-policy eks-dev", "iam put-group-policy rnd", "kubectl apply"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			stub(t, dir, "aws", fmt.Sprintf(`if [ "$2" = get-role ]; then exit %d; fi`, map[bool]int{true: 0, false: 254}[c.exists]))
			stub(t, dir, "kubectl", "cat > "+filepath.Join(dir, "applied"))
			cmd := exec.CommandContext(t.Context(), "bash", "-c", recipe.Script)
			cmd.Dir = dir
			cmd.Env = []string{"PATH=" + dir + ":/usr/bin:/bin", "UPDATE=" + c.update}
			out, err := cmd.CombinedOutput()
			if (err != nil) != c.fails {
				t.Fatalf("%v\n%s", err, out)
			}
			var got []string
			for _, call := range calls(t, dir) {
				switch call[0] {
				case "aws":
					got = append(got, strings.Join([]string{call[1], call[2], call[4]}, " "))
				default:
					got = append(got, call[0]+" "+call[1])
				}
				for name, want := range map[string]Policy{"create-role": recipe.TrustPolicy, "update-assume-role-policy": recipe.TrustPolicy, "put-role-policy": recipe.RolePolicy, "put-group-policy": recipe.AssumePolicy} {
					if len(call) < 3 || call[2] != name {
						continue
					}
					i := slices.IndexFunc(call, func(a string) bool { return strings.HasSuffix(a, "policy-document") })
					var sent Policy
					if err := json.Unmarshal([]byte(call[i+1]), &sent); err != nil {
						t.Fatalf("%s: %v", name, err)
					}
					if diff := cmp.Diff(want, sent); diff != "" {
						t.Errorf("%s (-want +sent)\n%s", name, diff)
					}
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s\n%s", diff, out)
			}
			if _, err := os.Stat(filepath.Join(dir, "canary")); err == nil {
				t.Error("the name of a group was run")
			}
			if c.fails {
				return
			}
			applied, err := os.ReadFile(filepath.Join(dir, "applied"))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(recipe.Binding, string(applied)); diff != "" {
				t.Errorf("applied (-want +got)\n%s", diff)
			}
		})
	}
}

func stub(t *testing.T, dir, name, body string) {
	t.Helper()
	text := fmt.Sprintf("#!/bin/sh\n{ printf '%%s\\0' %s \"$@\"; printf '\\1\\0'; } >> '%s'\n%s\n", name, filepath.Join(dir, "calls"), body)
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
}

func calls(t *testing.T, dir string) (all [][]string) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "calls"))
	if err != nil {
		t.Fatal(err)
	}
	var call []string
	for arg := range strings.SplitSeq(strings.TrimSuffix(string(data), "\x00"), "\x00") {
		if arg == "\x01" {
			all, call = append(all, call), nil
			continue
		}
		call = append(call, arg)
	}
	return all
}

// The line that members run is safe as it stands, and the role is in it.
func TestKubeconfig(t *testing.T) {
	plain, err := asked().Write()
	if err != nil {
		t.Fatal(err)
	}
	want := "aws eks update-kubeconfig --name prod --region eu-west-3 --role-arn arn:aws:iam::111122223333:role/eks-dev --assume-role-arn arn:aws:iam::111122223333:role/eks-dev --alias prod-eks-dev"
	if plain.Kubeconfig != want || plain.AWSConfig != "" {
		t.Errorf("got %q and %q, want %q", plain.Kubeconfig, plain.AWSConfig, want)
	}
	named, err := all().Write()
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"role_arn = arn:aws-cn:iam::111122223333:role/eks-dev", "role_session_name = YOUR-IAM-USERNAME", "mfa_serial = arn:aws-cn:iam::111122223333:mfa/YOUR-DEVICE"} {
		if !strings.Contains(named.AWSConfig, line+"\n") {
			t.Errorf("the profile lacks %q:\n%s", line, named.AWSConfig)
		}
	}
}

// What is wrong is named by its flag, all at once, and nothing is written.
func TestRefused(t *testing.T) {
	_, err := GroupRole{}.Write()
	if err == nil {
		t.Fatal("nothing is taken for a request")
	}
	for _, flag := range []string{"--iam-group is missing", "--role is missing", "--cluster is missing", "--account is missing", "--region is missing", "--groups is missing"} {
		if !strings.Contains(err.Error(), flag) {
			t.Errorf("%q is not in: %v", flag, err)
		}
	}
	for flag, change := range map[string]func(*GroupRole, string){
		"--iam-group":     func(r *GroupRole, s string) { r.IAMGroup = s },
		"--role":          func(r *GroupRole, s string) { r.Role = s },
		"--cluster":       func(r *GroupRole, s string) { r.Cluster = s },
		"--account":       func(r *GroupRole, s string) { r.Account = s },
		"--region":        func(r *GroupRole, s string) { r.Region = s },
		"--partition":     func(r *GroupRole, s string) { r.Partition = s },
		"--cluster-role":  func(r *GroupRole, s string) { r.ClusterRole = s },
		"--namespace":     func(r *GroupRole, s string) { r.Namespace = s },
		"--user-path":     func(r *GroupRole, s string) { r.UserPath = s },
		"--principal-tag": func(r *GroupRole, s string) { r.PrincipalTag = s },
	} {
		for _, bad := range []string{"$(touch x)", "a b", "a'b", `a"b`, "-x", "a\nb", "a;b", "*", "${aws:username}", "x/*/"} {
			r := asked()
			change(&r, bad)
			if _, err := r.Write(); err == nil || !strings.Contains(err.Error(), flag) {
				if flag == "--cluster-role" && bad == "-x" {
					continue // a name of an object, which goes to no option
				}
				t.Errorf("%s %q: got %v", flag, bad, err)
			}
		}
	}
	for _, bad := range []string{"", "system:masters", "a\nb", "{{SessionName}}", " x"} {
		r := asked()
		r.Groups = []string{bad}
		if _, err := r.Write(); err == nil {
			t.Errorf("the group %q is taken", bad)
		}
	}
}

func TestShell(t *testing.T) {
	if got, want := shell("it's"), `'it'\''s'`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
