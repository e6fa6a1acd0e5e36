package manifests_test

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/rolecall/rolecall/test/fleet"
	"github.com/rolecall/rolecall/test/stage"
)

// A right is one verb on one resource.
type right struct {
	account   string // of whom
	namespace string
	resource  string // with its API group, as in "leases.coordination.k8s.io"
	name      string // empty: every name
	verb      string
}

func (r right) String() string {
	name := r.name
	if name == "" {
		name = "*"
	}
	return fmt.Sprintf("%s in %s: %s %s %s", r.account, r.namespace, r.verb, r.resource, name)
}

// spread writes out a rule: one right for each verb, resource and name.
func spread(account, namespace string, groups, resources, names, verbs []string) []string {
	if len(names) == 0 {
		names = []string{""}
	}
	var out []string
	for _, group := range groups {
		for _, resource := range resources {
			if group != "" {
				resource += "." + group
			}
			for _, name := range names {
				for _, verb := range verbs {
					out = append(out, right{account, namespace, resource, name, verb}.String())
				}
			}
		}
	}
	return out
}

// rights are all that the Roles among the objects grant, in one namespace or in
// all. Whether each is needed, and none is missing, is for test/e2e TestRights to
// say.
func rights(t *testing.T, objects []*unstructured.Unstructured, only string) []string {
	t.Helper()
	var all []string
	for _, u := range objects {
		if u.GetKind() != "Role" || only != "" && u.GetNamespace() != only {
			continue
		}
		var role rbacv1.Role
		if err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(u.Object, &role, true); err != nil {
			t.Fatal(err)
		}
		for _, rule := range role.Rules {
			all = append(all, spread(role.Name, role.Namespace, rule.APIGroups, rule.Resources, rule.ResourceNames, rule.Verbs)...)
		}
	}
	slices.Sort(all)
	return all
}

// Roles are granted within their namespaces alone, and to the ServiceAccount of
// the same name alone.
func TestRolesAreTheAgents(t *testing.T) {
	for name, objects := range map[string][]*unstructured.Unstructured{
		"install.yaml": install(t), "overlays/hardened": hardened(t, "rolecall-system", "kube-system"),
	} {
		for _, u := range objects {
			switch u.GetKind() {
			case "ClusterRole", "ClusterRoleBinding":
				t.Errorf("%s: %s %s: rolecall needs no right of the whole cluster", name, u.GetKind(), u.GetName())
			case "RoleBinding":
				var binding rbacv1.RoleBinding
				if err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(u.Object, &binding, true); err != nil {
					t.Fatal(err)
				}
				want := rbacv1.RoleBinding{
					TypeMeta: binding.TypeMeta, ObjectMeta: binding.ObjectMeta,
					RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: binding.Name},
					Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Name: binding.Name, Namespace: "rolecall-system"}},
				}
				if diff := cmp.Diff(want, binding); diff != "" {
					t.Errorf("%s: RoleBinding %s/%s (-want +got)\n%s", name, u.GetNamespace(), u.GetName(), diff)
				}
			}
		}
	}
}

// SECURITY.md says what each right is for: a line more there is a line more in
// what rolecall can do to the clusters of others.
func TestSecurityNamesEveryRight(t *testing.T) {
	text, err := os.ReadFile("../SECURITY.md")
	if err != nil {
		t.Fatal(err)
	}
	// | `account` | `namespace` | `resource name` | verb, verb | why |
	row := regexp.MustCompile("(?m)^\\| `([a-z-]+)` \\| `([a-z-]+)` \\| `([a-z.0-9]+)(?: ([a-z-]+))?` \\| ([a-z, ]+) \\| (.+) \\|$")
	var got []string
	for _, m := range row.FindAllStringSubmatch(string(text), -1) {
		for verb := range strings.SplitSeq(m[5], ", ") {
			got = append(got, right{m[1], m[2], m[3], m[4], verb}.String())
		}
	}
	slices.Sort(got)
	if diff := cmp.Diff(rights(t, hardened(t, "rolecall-system", "kube-system"), ""), got); diff != "" {
		t.Errorf("rights (-Roles +SECURITY.md)\n%s", diff)
	}
}

// agentClient is a client with a token of the agent's ServiceAccount, which has
// the Roles of install.yaml.
func agentClient(t *testing.T, cp *stage.ControlPlane) kubernetes.Interface {
	t.Helper()
	applied(t, cp.Config(), "Namespace", "ServiceAccount", "Role", "RoleBinding")
	pod := daemonSet(t).Spec.Template.Spec
	if err := fleet.Authorized(t.Context(), cp, "rolecall-system", "kube-system"); err != nil {
		t.Fatal(err)
	}
	cfg, err := cp.ServiceAccountConfig(t.Context(), "rolecall-system", pod.ServiceAccountName)
	return client(t, cfg, err)
}

func client(t *testing.T, cfg *rest.Config, err error) kubernetes.Interface {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	c, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// allowed asks the API server for all that a user may do in the namespace.
func allowed(t *testing.T, client kubernetes.Interface, namespace string) []string {
	t.Helper()
	review, err := client.AuthorizationV1().SelfSubjectRulesReviews().Create(t.Context(), &authorizationv1.SelfSubjectRulesReview{
		Spec: authorizationv1.SelfSubjectRulesReviewSpec{Namespace: namespace},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, r := range review.Status.ResourceRules {
		out = append(out, spread("rolecall", namespace, r.APIGroups, r.Resources, r.ResourceNames, r.Verbs)...)
	}
	return out
}

// The authorizer grants the agent its Roles, beyond what it grants everybody.
func TestServerGrantsTheRoles(t *testing.T) {
	cp := stage.ForTest(t)
	cfg, err := cp.UserConfig("somebody")
	somebody := client(t, cfg, err)
	agent := agentClient(t, cp)
	for _, namespace := range []string{"rolecall-system", "kube-system", "default"} {
		everybody := allowed(t, somebody, namespace)
		got := slices.DeleteFunc(allowed(t, agent, namespace), func(r string) bool { return slices.Contains(everybody, r) })
		slices.Sort(got)
		if diff := cmp.Diff(rights(t, install(t), namespace), slices.Compact(got), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("rights in %s (-Roles +server)\n%s", namespace, diff)
		}
	}
}

// The agent can watch aws-auth, and can't read its neighbours.
func TestAgentSeesOnlyAWSAuth(t *testing.T) {
	agent := agentClient(t, stage.ForTest(t))
	configMaps := agent.CoreV1().ConfigMaps("kube-system")

	awsAuth := metav1.ListOptions{FieldSelector: "metadata.name=aws-auth"}
	if _, err := configMaps.List(t.Context(), awsAuth); err != nil {
		t.Errorf("list aws-auth: %v", err)
	}
	if w, err := configMaps.Watch(t.Context(), awsAuth); err != nil {
		t.Errorf("watch aws-auth: %v", err)
	} else {
		w.Stop()
	}
	if _, err := configMaps.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "aws-auth"}},
		metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}); err != nil {
		t.Errorf("create aws-auth: %v", err)
	}

	refused := map[string]error{}
	_, refused["list every ConfigMap"] = configMaps.List(t.Context(), metav1.ListOptions{})
	_, refused["read another ConfigMap"] = configMaps.Get(t.Context(), "extension-apiserver-authentication", metav1.GetOptions{})
	refused["delete aws-auth"] = configMaps.Delete(t.Context(), "aws-auth", metav1.DeleteOptions{})
	_, refused["list Secrets"] = agent.CoreV1().Secrets("rolecall-system").List(t.Context(), metav1.ListOptions{})
	for what, err := range refused {
		if !apierrors.IsForbidden(err) {
			t.Errorf("%s: got %v, want Forbidden", what, err)
		}
	}
}
