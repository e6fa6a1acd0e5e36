package manifests_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/rolecall/rolecall/test/stage"
)

// The component read-nodes adds the right to get Nodes to what the base and the overlay
// give the writer, and nothing else to anybody.
func TestReadNodes(t *testing.T) {
	assets, err := stage.Assets()
	if err != nil {
		t.Skip(err)
	}
	for _, to := range []string{"base", "overlays/hardened"} {
		build := func(components string) map[string]*unstructured.Unstructured {
			t.Helper()
			dir := t.TempDir()
			here, err := os.Getwd()
			if err != nil {
				t.Fatal(err)
			}
			root, err := filepath.EvalSymlinks(dir)
			if err != nil {
				t.Fatal(err)
			}
			at, err := filepath.Rel(root, here)
			if err != nil {
				t.Fatal(err)
			}
			text := "resources: [" + filepath.Join(at, to) + "]\n" + strings.ReplaceAll(components, "DIR", at)
			if err := os.WriteFile(filepath.Join(dir, "kustomization.yaml"), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			out, err := exec.CommandContext(t.Context(), filepath.Join(assets, "kubectl"), "kustomize", dir).Output()
			if err != nil {
				t.Fatal(err)
			}
			all := map[string]*unstructured.Unstructured{}
			for _, u := range objects(t, to, out) {
				all[u.GetKind()+" "+u.GetNamespace()+"/"+u.GetName()] = u
			}
			return all
		}
		without, with := build(""), build("components: [DIR/components/read-nodes]\n")
		var role rbacv1.ClusterRole
		var binding rbacv1.ClusterRoleBinding
		for key, into := range map[string]any{"ClusterRole /rolecall-read-nodes": &role, "ClusterRoleBinding /rolecall-read-nodes": &binding} {
			u := with[key]
			if u == nil {
				t.Fatalf("%s: there is no %s", to, key)
			}
			if err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(u.Object, into, true); err != nil {
				t.Fatal(err)
			}
			delete(with, key)
		}
		want := []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"nodes"}, Verbs: []string{"get"}}}
		if diff := cmp.Diff(want, role.Rules); diff != "" {
			t.Errorf("%s: rules (-want +got)\n%s", to, diff)
		}
		subjects := []rbacv1.Subject{{Kind: "ServiceAccount", Name: "rolecall", Namespace: "rolecall-system"}}
		if diff := cmp.Diff(subjects, binding.Subjects); diff != "" || binding.RoleRef.Name != role.Name {
			t.Errorf("%s: subjects of %s (-want +got)\n%s", to, binding.RoleRef.Name, diff)
		}
		if diff := cmp.Diff(without, with); diff != "" {
			t.Errorf("%s: what else the component changes (-without +with)\n%s", to, diff)
		}
	}
}
