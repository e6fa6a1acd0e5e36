package cli_test

import (
	"os"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/rolecall/rolecall/test/trial"
)

// ofServices are commands of the scripts about the Role and the RoleBinding that
// an AWS service has in a namespace.
var ofServices = map[string]command{
	// role NAMESPACE FILE writes the rules of the Role emr-containers to a file;
	// with ! it holds that there is none.
	"role": func(ts *testscript.TestScript, c *trial.Cluster, neg bool, args []string) {
		role, err := c.Client.RbacV1().Roles(args[0]).Get(c.T.Context(), "emr-containers", metav1.GetOptions{})
		saveObject(ts, neg, args, err, func() any { return role.Rules })
	},
	// binding NAMESPACE FILE does so with the RoleBinding.
	"binding": func(ts *testscript.TestScript, c *trial.Cluster, neg bool, args []string) {
		binding, err := c.Client.RbacV1().RoleBindings(args[0]).Get(c.T.Context(), "emr-containers", metav1.GetOptions{})
		saveObject(ts, neg, args, err, func() any {
			return struct {
				RoleRef  rbacv1.RoleRef   `json:"roleRef"`
				Subjects []rbacv1.Subject `json:"subjects"`
			}{binding.RoleRef, binding.Subjects}
		})
	},
	// somebodys NAMESPACE FILE has somebody make the Role or the RoleBinding of
	// a file, in place of one that is there.
	"somebodys": func(ts *testscript.TestScript, c *trial.Cluster, _ bool, args []string) {
		text := []byte(ts.ReadFile(args[1]))
		var kind metav1.TypeMeta
		ts.Check(yaml.Unmarshal(text, &kind))
		ctx, rbac := c.T.Context(), c.Client.RbacV1()
		switch kind.Kind {
		case "Role":
			var o rbacv1.Role
			ts.Check(yaml.UnmarshalStrict(text, &o))
			if err := rbac.Roles(args[0]).Delete(ctx, o.Name, metav1.DeleteOptions{}); !apierrors.IsNotFound(err) {
				ts.Check(err)
			}
			_, err := rbac.Roles(args[0]).Create(ctx, &o, metav1.CreateOptions{})
			ts.Check(err)
		case "RoleBinding":
			var o rbacv1.RoleBinding
			ts.Check(yaml.UnmarshalStrict(text, &o))
			if err := rbac.RoleBindings(args[0]).Delete(ctx, o.Name, metav1.DeleteOptions{}); !apierrors.IsNotFound(err) {
				ts.Check(err)
			}
			_, err := rbac.RoleBindings(args[0]).Create(ctx, &o, metav1.CreateOptions{})
			ts.Check(err)
		default:
			ts.Fatalf("%s holds a %q", args[1], kind.Kind)
		}
	},
	// envsubst FILE fills the script's variables in where a file has $NAME.
	"envsubst": func(ts *testscript.TestScript, _ *trial.Cluster, _ bool, args []string) {
		ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(os.Expand(ts.ReadFile(args[0]), ts.Getenv)), 0o600))
	},
	// may USER NAMESPACE RESOURCES VERBS lets somebody do that with RBAC's
	// objects in a namespace; both are lists with commas.
	"may": func(ts *testscript.TestScript, c *trial.Cluster, _ bool, args []string) {
		ts.Check(grantAs(c, args[1], args[0]+"-"+strings.ReplaceAll(args[2]+"-"+args[3], ",", "-"), args[0],
			rbacv1.PolicyRule{APIGroups: []string{rbacv1.GroupName}, Resources: strings.Split(args[2], ","), Verbs: strings.Split(args[3], ",")}))
	},
}

func saveObject(ts *testscript.TestScript, neg bool, args []string, err error, object func() any) {
	switch {
	case neg && apierrors.IsNotFound(err):
		return
	case neg:
		ts.Fatalf("there is one (%v)", err)
	}
	ts.Check(err)
	text, err := yaml.Marshal(object())
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), text, 0o600))
}
