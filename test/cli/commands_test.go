package cli_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"
	authorizationv1 "k8s.io/api/authorization/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corev1apply "k8s.io/client-go/applyconfigurations/core/v1"

	"github.com/rolecall/rolecall/internal/history"
	"github.com/rolecall/rolecall/internal/register/configmap"
	"github.com/rolecall/rolecall/test/fleet"
	"github.com/rolecall/rolecall/test/trial"
)

// What needs no cluster: testdata/alone.
func TestCommands(t *testing.T) {
	t.Parallel()
	path := trial.Binary(t)
	testscript.Run(t, testscript.Params{
		Dir:      "testdata/alone",
		Deadline: time.Now().Add(10 * trial.Patience), // an agent that is not refused runs on; others may run first
		Setup: func(env *testscript.Env) error {
			env.Setenv("PATH", filepath.Dir(path)+string(os.PathListSeparator)+env.Getenv("PATH"))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits},
	})
}

// What asks a cluster and AWS: testdata/cluster.
func TestClusterCommands(t *testing.T) {
	t.Parallel()
	scripts(t, "cluster", map[string]command{
		// grant USER lets somebody do what README.md says that approve and
		// rollback take, and no more.
		"grant": func(ts *testscript.TestScript, c *trial.Cluster, _ bool, args []string) {
			ts.Check(grant(c, c.AWSAuthNamespace, args[0],
				rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"configmaps"}, ResourceNames: []string{"aws-auth"}, Verbs: []string{"get", "update"}}))
			ts.Check(grant(c, c.Namespace, args[0],
				rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"configmaps"}, ResourceNames: []string{fleet.LedgerName}, Verbs: []string{"get"}},
				rbacv1.PolicyRule{APIGroups: []string{"apps"}, Resources: []string{"controllerrevisions"}, Verbs: []string{"list"}}))
		},
		// managed-by NAMESPACE names the installation that writes aws-auth; manager
		// NAMESPACE holds that it is named so.
		"managed-by": func(_ *testscript.TestScript, c *trial.Cluster, _ bool, args []string) {
			c.Change(func(cm *corev1.ConfigMap) {
				metav1.SetMetaDataAnnotation(&cm.ObjectMeta, configmap.InstallationAnnotation, args[0])
			})
		},
		"manager": func(ts *testscript.TestScript, c *trial.Cluster, _ bool, args []string) {
			if got := c.Now().Annotations[configmap.InstallationAnnotation]; got != args[0] {
				ts.Fatalf("aws-auth is managed by %q, want %q", got, args[0])
			}
		},
		// lease HOLDER AGO makes the leader's Lease anew, renewed that long ago.
		"lease": func(ts *testscript.TestScript, c *trial.Cluster, _ bool, args []string) {
			ago, err := time.ParseDuration(args[1])
			ts.Check(err)
			leases := c.Client.CoordinationV1().Leases(c.Namespace)
			if err := leases.Delete(c.T.Context(), fleet.LeaseName, metav1.DeleteOptions{}); !apierrors.IsNotFound(err) {
				ts.Check(err)
			}
			_, err = leases.Create(c.T.Context(), &coordinationv1.Lease{
				ObjectMeta: metav1.ObjectMeta{Name: fleet.LeaseName},
				Spec: coordinationv1.LeaseSpec{
					HolderIdentity: &args[0], LeaseDurationSeconds: new(int32(15)), RenewTime: &metav1.MicroTime{Time: time.Now().Add(-ago)},
				},
			}, metav1.CreateOptions{})
			ts.Check(err)
		},
		// revision NAME [broken] puts the number of the newest revision, or of
		// the newest broken one, into a variable.
		"revision": func(ts *testscript.TestScript, c *trial.Cluster, _ bool, args []string) {
			for _, r := range c.Revisions() {
				if len(args) == 1 || r.Broken != "" {
					ts.Setenv(args[0], strconv.FormatInt(r.Number, 10))
					return
				}
			}
			ts.Fatalf("there is no such revision")
		},
		// decorate has somebody add to aws-auth what is none of its data;
		// decorated looks for it.
		"decorate": func(ts *testscript.TestScript, c *trial.Cluster, _ bool, _ []string) {
			cm := c.Now()
			decorate(cm)
			_, err := c.Client.CoreV1().ConfigMaps(cm.Namespace).Update(c.T.Context(), cm, metav1.UpdateOptions{})
			ts.Check(err)
		},
		"decorated": func(ts *testscript.TestScript, c *trial.Cluster, _ bool, _ []string) {
			var want corev1.ConfigMap
			decorate(&want)
			got := c.Now()
			delete(got.Annotations, configmap.InstallationAnnotation) // "manager" looks at it
			if diff := cmp.Diff(history.ContentOf(&want), history.Content{Labels: got.Labels, Annotations: got.Annotations, BinaryData: got.BinaryData}); diff != "" {
				ts.Fatalf("beside its data aws-auth has (-want +got):\n%s", diff)
			}
		},
		// binary-key KEY=FILE moves a key of aws-auth to binaryData, in UTF-16, as kubectl
		// create configmap --from-file does with such a file.
		"binary-key": func(ts *testscript.TestScript, c *trial.Cluster, _ bool, args []string) {
			key, file, _ := strings.Cut(args[0], "=")
			body := []byte{0xff, 0xfe}
			for _, u := range utf16.Encode([]rune(ts.ReadFile(file))) {
				body = append(body, byte(u), byte(u>>8))
			}
			c.Change(func(cm *corev1.ConfigMap) {
				delete(cm.Data, key)
				cm.BinaryData = map[string][]byte{key: body}
			})
		},
		// apply-as MANAGER KEY=FILE applies a key server-side, as a tool with a source of
		// its own does.
		"apply-as": func(ts *testscript.TestScript, c *trial.Cluster, _ bool, args []string) {
			key, file, _ := strings.Cut(args[1], "=")
			cm := corev1apply.ConfigMap(c.Now().Name, c.Now().Namespace).WithData(map[string]string{key: ts.ReadFile(file)})
			_, err := c.Client.CoreV1().ConfigMaps(c.Now().Namespace).Apply(c.T.Context(), cm, metav1.ApplyOptions{FieldManager: args[0], Force: true})
			ts.Check(err)
		},
		// immutable makes aws-auth take no change any more.
		"immutable": func(_ *testscript.TestScript, c *trial.Cluster, _ bool, _ []string) {
			c.Change(func(cm *corev1.ConfigMap) { cm.Immutable = new(true) })
		},
		// settle-ledger takes what is held back off the ledger, as a leader does
		// that has acted.
		"settle-ledger": func(ts *testscript.TestScript, c *trial.Cluster, _ bool, _ []string) {
			ledger := c.Ledger()
			ledger.Removals = nil
			body, _, err := configmap.EncodeLedger(ledger)
			ts.Check(err)
			ts.Check(putLedger(c, body))
		},
		// break-ledger [newer] leaves in its place what nobody can read, or what
		// only a newer version can.
		"break-ledger": func(ts *testscript.TestScript, c *trial.Cluster, _ bool, args []string) {
			body := []byte("broken")
			if len(args) > 0 {
				var b bytes.Buffer
				w := gzip.NewWriter(&b)
				_, err := w.Write([]byte(`{"version": 99}`))
				ts.Check(errors.Join(err, w.Close()))
				body = b.Bytes()
			}
			ts.Check(putLedger(c, body))
		},
		// twin NUMBER makes a second revision of that number, as two leaders at
		// once can.
		"twin": func(ts *testscript.TestScript, c *trial.Cluster, _ bool, args []string) {
			revisions := c.Client.AppsV1().ControllerRevisions(c.Namespace)
			list, err := revisions.List(c.T.Context(), metav1.ListOptions{})
			ts.Check(err)
			for i := range list.Items {
				if r := &list.Items[i]; strconv.FormatInt(r.Revision, 10) == args[0] {
					r.ObjectMeta = metav1.ObjectMeta{Name: r.Name + "-twin", Labels: r.Labels, Annotations: r.Annotations}
					_, err := revisions.Create(c.T.Context(), r, metav1.CreateOptions{})
					ts.Check(err)
					return
				}
			}
			ts.Fatalf("there is no revision %s", args[0])
		},
		// held NAME puts the ID of what is held back into a variable.
		"held": func(ts *testscript.TestScript, c *trial.Cluster, _ bool, args []string) {
			ledger := c.Ledger()
			if len(args) != 1 || len(ledger.Removals) != 1 {
				ts.Fatalf("%d holds, one is wanted with the name of a variable", len(ledger.Removals))
			}
			ts.Setenv(args[0], ledger.Removals[0].ID)
		},
		// approved ID... holds aws-auth's annotation against these IDs; an
		// empty one is none.
		"approved": func(ts *testscript.TestScript, c *trial.Cluster, _ bool, args []string) {
			cm, err := c.AWSAuth(c.T.Context())
			ts.Check(err)
			got := configmap.Approved(cm.Annotations[configmap.ApprovalAnnotation], time.Now())
			if want := strings.Fields(strings.Join(args, " ")); !slices.Equal(got, want) {
				ts.Fatalf("approved are %q, want %q", got, want)
			}
		},
		// approvals FILE writes what is approved now to a file.
		"approvals": func(ts *testscript.TestScript, c *trial.Cluster, _ bool, args []string) {
			cm, err := c.AWSAuth(c.T.Context())
			ts.Check(err)
			ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(cm.Annotations[configmap.ApprovalAnnotation]), 0o600))
		},
		// reapproved FILE waits until that is no longer what is approved.
		"reapproved": func(ts *testscript.TestScript, c *trial.Cluster, _ bool, args []string) {
			was := ts.ReadFile(args[0])
			ctx, cancel := context.WithTimeout(c.T.Context(), trial.Patience)
			defer cancel()
			_, err := fleet.Until(ctx, func(ctx context.Context) error {
				cm, err := c.AWSAuth(ctx)
				if err == nil && cm.Annotations[configmap.ApprovalAnnotation] == was {
					err = errors.New("nobody has approved anything since")
				}
				return err
			})
			ts.Check(err)
		},
	})
}

func putLedger(c *trial.Cluster, body []byte) error {
	cms := c.Client.CoreV1().ConfigMaps(c.Namespace)
	cm, err := cms.Get(c.T.Context(), fleet.LedgerName, metav1.GetOptions{})
	if err == nil {
		cm.BinaryData[configmap.LedgerKey] = body
		_, err = cms.Update(c.T.Context(), cm, metav1.UpdateOptions{})
	}
	return err
}

func decorate(cm *corev1.ConfigMap) {
	metav1.SetMetaDataLabel(&cm.ObjectMeta, "team", "platform")
	metav1.SetMetaDataAnnotation(&cm.ObjectMeta, "note", "theirs")
	cm.BinaryData = map[string][]byte{"bin": {0, 1, 2}}
}

// grant gives a user these rights in a namespace.
func grant(c *trial.Cluster, namespace, user string, rules ...rbacv1.PolicyRule) error {
	return grantAs(c, namespace, user, user, rules...)
}

// grantAs is grant under a name, for who has several.
func grantAs(c *trial.Cluster, namespace, name, user string, rules ...rbacv1.PolicyRule) error {
	rbac := c.Client.RbacV1()
	meta := metav1.ObjectMeta{Name: name}
	if _, err := rbac.Roles(namespace).Create(c.T.Context(), &rbacv1.Role{ObjectMeta: meta, Rules: rules}, metav1.CreateOptions{}); err != nil {
		return err
	}
	_, err := rbac.RoleBindings(namespace).Create(c.T.Context(), &rbacv1.RoleBinding{
		ObjectMeta: meta,
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: name},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: user}},
	}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	return inForce(c, namespace, user, rules)
}

// inForce waits until the API server's authorizer grants a user all of the rules: it
// learns of them by a watch.
func inForce(c *trial.Cluster, namespace, user string, rules []rbacv1.PolicyRule) error {
	ctx, cancel := context.WithTimeout(c.T.Context(), trial.Patience)
	defer cancel()
	for _, asked := range attributes(namespace, rules) {
		_, err := fleet.Until(ctx, func(ctx context.Context) error {
			review, err := c.Client.AuthorizationV1().SubjectAccessReviews().Create(ctx, &authorizationv1.SubjectAccessReview{
				Spec: authorizationv1.SubjectAccessReviewSpec{User: user, ResourceAttributes: &asked},
			}, metav1.CreateOptions{})
			if err == nil && !review.Status.Allowed {
				err = fmt.Errorf("%s may not %s %s in %s", user, asked.Verb, asked.Resource, namespace)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// attributes are all that rules of Roles allow, one by one.
func attributes(namespace string, rules []rbacv1.PolicyRule) []authorizationv1.ResourceAttributes {
	var all []authorizationv1.ResourceAttributes
	for _, rule := range rules {
		names := rule.ResourceNames
		if len(names) == 0 {
			names = []string{""}
		}
		for _, group := range rule.APIGroups {
			for _, full := range rule.Resources {
				resource, sub, _ := strings.Cut(full, "/")
				for _, verb := range rule.Verbs {
					for _, name := range names {
						all = append(all, authorizationv1.ResourceAttributes{Namespace: namespace, Group: group, Resource: resource, Subresource: sub, Verb: verb, Name: name})
					}
				}
			}
		}
	}
	return all
}
