package cli_test

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/rolecall/rolecall/internal/serviceaccess"
	"github.com/rolecall/rolecall/test/faultproxy"
	"github.com/rolecall/rolecall/test/stage"
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
	// terminating NAME makes a namespace that is being deleted: nothing here
	// finishes that.
	"terminating": func(ts *testscript.TestScript, c *trial.Cluster, _ bool, args []string) {
		namespaces := c.Client.CoreV1().Namespaces()
		_, err := namespaces.Create(c.T.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: args[0]}}, metav1.CreateOptions{})
		ts.Check(err)
		ts.Check(namespaces.Delete(c.T.Context(), args[0], metav1.DeleteOptions{}))
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

// What goes wrong on the way to a service's Role and RoleBinding leaves aws-auth
// unwritten, or says what was done; --retry tries again what can pass; and what
// somebody else writes meanwhile is not overwritten unseen.
func TestServiceFaults(t *testing.T) {
	t.Parallel()
	cp := stage.ForTest(t)
	busy := faultproxy.Answer(apierrors.NewTooManyRequests("too many requests", 0))
	role := faultproxy.Match{Verb: "create", Resource: "roles", Times: 1}
	binding := faultproxy.Match{Verb: "create", Resource: "rolebindings", Times: 1}
	write := faultproxy.Match{Verb: "update", Name: "aws-auth", Times: 1}
	foreign := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: "emr-containers"}, Rules: []rbacv1.PolicyRule{{APIGroups: []string{"coordination.k8s.io"}, Resources: []string{"leases"}, Verbs: []string{"get"}}}}
	for _, tt := range []struct {
		name   string
		match  faultproxy.Match
		fault  faultproxy.Action
		other  *rbacv1.Role // that somebody else makes while the request is under way
		flags  []string
		code   int
		stderr string
		made   []bool // the Role, the RoleBinding, the entry
	}{
		{name: "busy before the first", match: role, fault: busy, code: 1, stderr: "too many requests; --retry tries again; AWS_AUTH is not written\n", made: []bool{false, false, false}},
		{name: "busy before the second", match: binding, fault: busy, code: 1, stderr: "is not written; done already: Role emr-containers in namespace NAMESPACE created; to ask", made: []bool{true, false, false}},
		{name: "busy before aws-auth", match: write, fault: busy, code: 1, stderr: "--retry tries again; done already: Role emr-containers in namespace NAMESPACE created, RoleBinding emr-containers in namespace NAMESPACE created; to ask", made: []bool{true, true, false}},
		{name: "busy, --retry", match: role, fault: busy, flags: []string{"--retry", "--retry-min-time=10ms"}, made: []bool{true, true, true}},
		{name: "given up", match: faultproxy.Match{Verb: "create", Resource: "roles"}, fault: busy, flags: []string{"--retry", "--retry-max-count=2", "--retry-min-time=10ms"}, code: 1, stderr: "given up after 2 retries", made: []bool{false, false, false}},
		{name: "out of time", match: faultproxy.Match{Verb: "create", Resource: "roles"}, fault: busy, flags: []string{"--retry", "--retry-min-time=10ms", "--retry-max-count=1000000", "--timeout=1s"}, code: 1, stderr: "not done within 1s", made: []bool{false, false, false}},
		{name: "the answer is lost, --retry", match: role, fault: faultproxy.LoseAnswer(), flags: []string{"--retry", "--retry-min-time=10ms"}, made: []bool{true, true, true}},
		{name: "no look at the namespace", match: faultproxy.Match{Verb: "get", Resource: "namespaces", Times: 1}, fault: busy, code: 1, stderr: "read namespace NAMESPACE: too many requests; --retry tries again\n", made: []bool{false, false, false}},
		{name: "somebody makes the same", match: role, other: serviceaccess.Grant{Service: "emr-containers"}.Role(), made: []bool{true, true, true}},
		{name: "somebody makes another", match: role, other: foreign, code: 1, stderr: "run the command again to see what it would do now", made: []bool{true, false, false}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := trial.New(t, "", trial.Options{})
			c.Create(map[string]string{"mapRoles": "- rolearn: arn:aws:iam::111122223333:role/theirs # by hand\n  username: theirs\n"})
			proxy, kubeconfig := throughProxy(t, cp, c)
			user := "system:serviceaccount:" + c.Namespace + ":rolecall"
			err := grantAs(c, c.Namespace, "rbac", user,
				rbacv1.PolicyRule{APIGroups: []string{rbacv1.GroupName}, Resources: []string{"roles", "rolebindings"}, Verbs: []string{"get", "create", "update", "escalate", "bind"}})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), trial.Patience)
			defer cancel()
			others := make(chan error, 1)
			if tt.other == nil {
				proxy.Add(tt.match, tt.fault)
				others <- nil
			} else {
				hold := proxy.HoldBefore(tt.match)
				go func() {
					held, err := hold.Next(ctx)
					if err == nil {
						_, err = c.Client.RbacV1().Roles(c.Namespace).Create(ctx, tt.other, metav1.CreateOptions{})
						held.Release()
					}
					others <- err
				}()
			}
			code, says := runAs(ctx, t, c, kubeconfig, append([]string{"upsert", "--service-name=emr-containers", "--service-namespace=" + c.Namespace}, tt.flags...)...)
			if err := <-others; err != nil {
				t.Fatal(err)
			}
			want := strings.NewReplacer("NAMESPACE", c.Namespace, "AWS_AUTH", c.AWSAuthNamespace+"/aws-auth").Replace(tt.stderr)
			if code != tt.code || !strings.Contains(says, want) {
				t.Errorf("exit status %d, want %d and %q:\n%s", code, tt.code, want, says)
			}
			made, err := c.Client.RbacV1().Roles(c.Namespace).Get(ctx, "emr-containers", metav1.GetOptions{})
			_, bindingErr := c.Client.RbacV1().RoleBindings(c.Namespace).Get(ctx, "emr-containers", metav1.GetOptions{})
			text := c.Now().Data["mapRoles"]
			if got := []bool{err == nil, bindingErr == nil, strings.Contains(text, "AmazonEMRContainers")}; !slices.Equal(got, tt.made) {
				t.Errorf("Role, RoleBinding and entry are there: %v, want %v", got, tt.made)
			}
			if tt.other != nil && len(made.Rules) != len(tt.other.Rules) {
				t.Errorf("somebody else's Role was written: %v", made.Rules)
			}
			if !strings.HasPrefix(text, "- rolearn: arn:aws:iam::111122223333:role/theirs # by hand\n") {
				t.Errorf("what others wrote has changed: %q", text)
			}
		})
	}
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
