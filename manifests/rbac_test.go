package manifests_test

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
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
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/rolecall/rolecall/test/stage"
)

// A right is one verb on one resource, and the function that needs it.
type right struct {
	namespace string
	resource  string // with its API group, as in "leases.coordination.k8s.io"
	name      string // empty: every name
	verb      string
	usedBy    string // folder.Function, or folder.Type.Method
}

func (r right) String() string {
	name := r.name
	if name == "" {
		name = "*"
	}
	return fmt.Sprintf("%s: %s %s %s", r.namespace, r.verb, r.resource, name)
}

const (
	leases    = "leases.coordination.k8s.io"
	revisions = "controllerrevisions.apps"
)

// rights is all that the agent may do in a cluster. A line more here is a line
// more in what rolecall can do to the clusters of others: say what it is for.
var rights = []right{
	{"rolecall-system", leases, "", "get", "roster.Roster.Report"},
	{"rolecall-system", leases, "", "list", "roster.Roster.List"},
	{"rolecall-system", leases, "", "watch", "agent.Leader.watchRoster"},
	{"rolecall-system", leases, "", "create", "roster.Roster.Report"},
	{"rolecall-system", leases, "", "update", "election.lease.Update"},
	{"rolecall-system", "configmaps", "rolecall-ledger", "get", "awsauth.Store.Get"},
	{"rolecall-system", "configmaps", "rolecall-ledger", "update", "awsauth.Store.Put"},
	{"rolecall-system", "configmaps", "", "create", "awsauth.Store.Put"},
	{"rolecall-system", "daemonsets.apps", "rolecall", "get", "cmd/rolecall.process.countAgents"},
	{"rolecall-system", revisions, "", "list", "history.Store.List"},
	{"rolecall-system", revisions, "", "create", "history.Store.write"},
	{"rolecall-system", revisions, "", "update", "history.Store.write"},
	{"rolecall-system", revisions, "", "delete", "history.Store.prune"},

	{"kube-system", "configmaps", "aws-auth", "get", "awsauth.Store.Get"},
	{"kube-system", "configmaps", "aws-auth", "list", "agent.Leader.watchAWSAuth"},
	{"kube-system", "configmaps", "aws-auth", "watch", "agent.Leader.watchAWSAuth"},
	{"kube-system", "configmaps", "aws-auth", "update", "awsauth.Store.Put"},
	{"kube-system", "configmaps", "", "create", "awsauth.Store.Put"},
	{"kube-system", "events", "", "create", "agent.Leader.event"},
	{"kube-system", "events", "", "patch", "agent.Leader.event"},
}

func wantRights(namespace string) []string {
	var want []string
	for _, r := range rights {
		if namespace == "" || r.namespace == namespace {
			want = append(want, r.String())
		}
	}
	slices.Sort(want)
	return want
}

// spread writes out a rule: one right for each verb, resource and name.
func spread(namespace string, groups, resources, names, verbs []string) []string {
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
					out = append(out, right{namespace: namespace, resource: resource, name: name, verb: verb}.String())
				}
			}
		}
	}
	return out
}

// The Roles grant the rights of the table, and no object grants any beyond a
// namespace or to anybody but the agent.
func TestRolesAreTheTable(t *testing.T) {
	var got []string
	for _, u := range install(t) {
		switch kind := u.GetKind(); kind {
		case "ClusterRole", "ClusterRoleBinding":
			t.Errorf("%s %s: rolecall needs no right of the whole cluster", kind, u.GetName())
		case "Role":
			for _, rule := range find[rbacv1.Role](t, kind, u.GetNamespace(), u.GetName()).Rules {
				got = append(got, spread(u.GetNamespace(), rule.APIGroups, rule.Resources, rule.ResourceNames, rule.Verbs)...)
			}
		case "RoleBinding":
			binding := find[rbacv1.RoleBinding](t, kind, u.GetNamespace(), u.GetName())
			agent := []rbacv1.Subject{{Kind: "ServiceAccount", Name: daemonSet(t).Spec.Template.Spec.ServiceAccountName, Namespace: "rolecall-system"}}
			if diff := cmp.Diff(agent, binding.Subjects); diff != "" {
				t.Errorf("RoleBinding %s/%s binds others than the agent (-want +got)\n%s", u.GetNamespace(), u.GetName(), diff)
			}
			find[rbacv1.Role](t, binding.RoleRef.Kind, u.GetNamespace(), binding.RoleRef.Name)
		}
	}
	slices.Sort(got)
	if diff := cmp.Diff(wantRights(""), got); diff != "" {
		t.Errorf("rights (-table +Roles)\n%s", diff)
	}
}

// What the table says needs a right is there.
func TestRightsAreOfCode(t *testing.T) {
	for _, r := range rights {
		folder, function, _ := strings.Cut(r.usedBy, ".")
		if err := declared(filepath.Join("..", folder), function); err != nil {
			t.Errorf("%v: is said to be used by %s: %v", r, r.usedBy, err)
		}
	}
}

// declared returns an error where the folder doesn't declare Function or
// Type.Method outside its tests.
func declared(folder, function string) error {
	files, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil {
		return err
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, text, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, decl := range parsed.Decls {
			if fn, ok := decl.(*ast.FuncDecl); ok && qualified(fn) == function {
				return nil
			}
		}
	}
	return errors.New("no such function")
}

// qualified is Function, or Type.Method for a method.
func qualified(fn *ast.FuncDecl) string {
	if fn.Recv == nil {
		return fn.Name.Name
	}
	receiver := fn.Recv.List[0].Type
	if star, ok := receiver.(*ast.StarExpr); ok {
		receiver = star.X
	}
	if name, ok := receiver.(*ast.Ident); ok {
		return name.Name + "." + fn.Name.Name
	}
	return fn.Name.Name
}

// agentClient is a client with a token of the agent's ServiceAccount, which has
// the Roles of install.yaml.
func agentClient(t *testing.T, cp *stage.ControlPlane) kubernetes.Interface {
	t.Helper()
	applied(t, cp.Config(), "Namespace", "ServiceAccount", "Role", "RoleBinding")
	pod := daemonSet(t).Spec.Template.Spec
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
		out = append(out, spread(namespace, r.APIGroups, r.Resources, r.ResourceNames, r.Verbs)...)
	}
	return out
}

// The authorizer grants the agent the table, beyond what it grants everybody.
func TestServerGrantsTheTable(t *testing.T) {
	cp := stage.ForTest(t)
	cfg, err := cp.UserConfig("somebody")
	somebody := client(t, cfg, err)
	agent := agentClient(t, cp)
	for _, namespace := range []string{"rolecall-system", "kube-system", "default"} {
		everybody := allowed(t, somebody, namespace)
		got := slices.DeleteFunc(allowed(t, agent, namespace), func(r string) bool { return slices.Contains(everybody, r) })
		slices.Sort(got)
		if diff := cmp.Diff(wantRights(namespace), slices.Compact(got), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("rights in %s (-table +server)\n%s", namespace, diff)
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
