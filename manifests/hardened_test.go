package manifests_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"

	"github.com/rolecall/rolecall/config"
	"github.com/rolecall/rolecall/internal/roster"
	"github.com/rolecall/rolecall/test/fleet"
	"github.com/rolecall/rolecall/test/stage"
)

const (
	writer   = "rolecall"
	reporter = "rolecall-reporter"
)

// hardened renders the overlay with other namespaces in place of its own.
func hardened(t *testing.T, namespace, awsAuthNamespace string) []*unstructured.Unstructured {
	t.Helper()
	text, err := fleet.Render(t.Context(), "overlays/hardened")
	if errors.Is(err, stage.ErrNoAssets) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	text = strings.NewReplacer("rolecall-system", namespace, "kube-system", awsAuthNamespace).Replace(text)
	return objects(t, "overlays/hardened", []byte(text))
}

// A guarded is a namespace with the overlay hardened in force.
type guarded struct {
	*testing.T
	cp        *stage.ControlPlane
	admin     kubernetes.Interface
	namespace string
	awsAuth   string // the namespace of aws-auth
}

func newGuarded(t *testing.T, cp *stage.ControlPlane) *guarded {
	t.Helper()
	g := &guarded{T: t, cp: cp, admin: client(t, cp.Config(), nil), namespace: cp.Namespace(t)}
	g.awsAuth = g.namespace + "-aws-auth"
	if err := cp.CreateNamespace(t.Context(), g.awsAuth); err != nil {
		t.Fatal(err)
	}
	a := newApplier(t, cp.Config())
	for _, u := range hardened(t, g.namespace, g.awsAuth) {
		if u.GetKind() == "DaemonSet" { // no pods run here
			continue
		}
		if err := a.apply(t.Context(), u, false); err != nil {
			t.Fatalf("apply %s %s: %v", u.GetKind(), u.GetName(), err)
		}
	}
	// Who may do all there is in a namespace, and nothing beyond it.
	owner := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "owner"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
		Subjects:   []rbacv1.Subject{{Kind: "User", APIGroup: rbacv1.GroupName, Name: "owner-" + g.namespace}},
	}
	if _, err := g.admin.RbacV1().RoleBindings(g.namespace).Create(t.Context(), owner, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	g.inForce()
	return g
}

// inForce waits until the API server, which learns of policies, roles and quotas
// by watches, has seen them all.
func (g *guarded) inForce() {
	g.Helper()
	dryRun := metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}
	owner, report := g.owner(), g.pod(reporter, "node-0")
	g.eventually("both policies refuse the namespace's owner", func(ctx context.Context) error {
		_, err := owner.CoreV1().ConfigMaps(g.namespace).Create(ctx, ledger(), dryRun)
		if !denied(err) {
			return fmt.Errorf("the ledger is anybody's: %w", err)
		}
		_, err = owner.CoordinationV1().Leases(g.namespace).Create(ctx, named("rolecall"), dryRun)
		if !denied(err) {
			return fmt.Errorf("the leader's Lease is anybody's: %w", err)
		}
		if _, err = report.CoordinationV1().Leases(g.namespace).Get(ctx, "none", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
			return fmt.Errorf("a reporter can't read Leases: %w", err)
		}
		return nil
	})
}

func (g *guarded) eventually(what string, check func(context.Context) error) {
	g.Helper()
	ctx, cancel := context.WithTimeoutCause(g.Context(), time.Minute, errors.New("not so"))
	defer cancel()
	if took, err := fleet.Until(ctx, check); err != nil {
		g.Fatalf("%s: %v", what, err)
	} else {
		g.Logf("%s: %s", what, took.Round(time.Millisecond))
	}
}

// pod returns a client with the token that a pod of the account has on a node.
func (g *guarded) pod(account, node string) kubernetes.Interface {
	g.Helper()
	return client(g.T, g.podConfig(account, node), nil)
}

func (g *guarded) podConfig(account, node string) *rest.Config {
	g.Helper()
	pod, err := g.admin.CoreV1().Pods(g.namespace).Create(g.Context(), podOn(account, node), metav1.CreateOptions{})
	if err != nil {
		g.Fatal(err)
	}
	cfg, err := g.cp.PodConfig(g.Context(), pod)
	if err != nil {
		g.Fatal(err)
	}
	return cfg
}

// podOn is a pod with a token, as the admission plugin ServiceAccount, which is
// off here, or the reporters' DaemonSet mounts it.
func podOn(account, node string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{GenerateName: account + "-"},
		Spec: corev1.PodSpec{
			ServiceAccountName: account, NodeName: node,
			Containers: []corev1.Container{{Name: "agent", Image: "none"}},
			Volumes: []corev1.Volume{{Name: "token", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{
				Sources: []corev1.VolumeProjection{{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Path: "token"}}},
			}}}},
		},
	}
}

// account returns a client with a token of an account that is bound to no pod.
func (g *guarded) account(namespace, name string) kubernetes.Interface {
	g.Helper()
	cfg, err := g.cp.ServiceAccountConfig(g.Context(), namespace, name)
	return client(g.T, cfg, err)
}

func (g *guarded) owner() kubernetes.Interface {
	g.Helper()
	cfg, err := g.cp.UserConfig("owner-" + g.namespace)
	return client(g.T, cfg, err)
}

func (g *guarded) report(c kubernetes.Interface, role, node string) error {
	_, err := roster.New(c.CoordinationV1().Leases(g.namespace)).Report(g.Context(), arn(role), node, time.Now())
	return err
}

// change edits a Lease and updates it.
func (g *guarded) change(c kubernetes.Interface, name string, edit func(*coordinationv1.Lease)) error {
	leases := c.CoordinationV1().Leases(g.namespace)
	l, err := leases.Get(g.Context(), name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	edit(l)
	_, err = leases.Update(g.Context(), l, metav1.UpdateOptions{})
	return err
}

func (g *guarded) create(c kubernetes.Interface, l *coordinationv1.Lease) error {
	_, err := c.CoordinationV1().Leases(g.namespace).Create(g.Context(), l, metav1.CreateOptions{})
	return err
}

func arn(role string) string { return "arn:aws:iam::111122223333:role/" + role }

func named(name string) *coordinationv1.Lease {
	return &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: name}}
}

// reportOf is what an agent would write, to be spoilt.
func reportOf(role, node string, spoil ...func(*coordinationv1.Lease)) *coordinationv1.Lease {
	l := named(roster.LeaseName(arn(role)))
	l.Labels = map[string]string{roster.Label: roster.LabelValue}
	l.Annotations = map[string]string{roster.RoleARNAnnotation: arn(role)}
	l.Spec = coordinationv1.LeaseSpec{HolderIdentity: &node, RenewTime: ptr.To(metav1.NewMicroTime(time.Now()))}
	for _, f := range spoil {
		f(l)
	}
	return l
}

func ledger() *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "rolecall-ledger"}}
}

func revision(name string) *appsv1.ControllerRevision {
	return &appsv1.ControllerRevision{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"rolecall.dev/history": "aws-auth"}},
		Data:       runtime.RawExtension{Raw: []byte("{}")},
		Revision:   1,
	}
}

// denied reports whether a policy has refused it, not RBAC.
func denied(err error) bool {
	return err != nil && strings.Contains(err.Error(), "ValidatingAdmissionPolicy")
}

// An attempt is what somebody tries; refusal is in the error, empty where it
// has to pass.
type attempt struct {
	what    string
	refusal string
	try     func() error
}

func (g *guarded) judge(attempts []attempt) {
	g.Helper()
	for _, a := range attempts {
		err := a.try()
		switch {
		case a.refusal == "" && err != nil:
			g.Errorf("%s: refused: %v", a.what, err)
		case a.refusal != "" && err == nil:
			g.Errorf("%s: passes", a.what)
		case a.refusal != "" && !strings.Contains(err.Error(), a.refusal):
			g.Errorf("%s: refused by %v\nwant %q", a.what, err, a.refusal)
		}
	}
}

const (
	leasesPolicy = "ValidatingAdmissionPolicy 'leases."
	memoryPolicy = "ValidatingAdmissionPolicy 'memory."
	byRBAC       = "cannot "
)

// A node's token reports for that node, by the code that agents run, and for no
// other.
func TestReporterSpeaksForItsNode(t *testing.T) {
	g := newGuarded(t, stage.ForTest(t))
	a, b := g.pod(reporter, "node-a"), g.pod(reporter, "node-b")
	candidate := g.pod(writer, "node-c")
	workers, gpu := roster.LeaseName(arn("workers")), roster.LeaseName(arn("gpu"))
	old := func(l *coordinationv1.Lease) {
		l.Spec.RenewTime = ptr.To(metav1.NewMicroTime(time.Now().Add(-2 * time.Hour)))
	}

	g.judge([]attempt{
		{"a report", "", func() error { return g.report(a, "workers", "node-a") }},
		{"the report of a role that another node reported", "", func() error { return g.report(b, "workers", "node-b") }},
		{"the report of another role", "", func() error { return g.report(b, "gpu", "node-b") }},
		{"a candidate's report", "", func() error { return g.report(candidate, "ingress", "node-c") }},
		{"its renewal makes it look old", "", func() error { return g.change(b, gpu, old) }},
		{"the renewal of an old one", "", func() error { return g.report(b, "gpu", "node-b") }},

		{
			"a forged report for another node", `this token was given to a pod on node "node-a", the report says "node-b"`,
			func() error { return g.report(a, "forged", "node-b") },
		},
		{
			"one node's token replayed for another's report", `this token was given to a pod on node "node-a", the report says "node-b"`,
			func() error {
				return g.change(a, gpu, func(l *coordinationv1.Lease) { l.Spec.RenewTime = ptr.To(metav1.NewMicroTime(time.Now())) })
			},
		},
		{
			"a candidate's forged report", `this token was given to a pod on node "node-c", the report says "node-b"`,
			func() error { return g.report(candidate, "forged", "node-b") },
		},
		{
			"a report of no node", `the report says ""`,
			func() error {
				return g.create(a, reportOf("forged", "", func(l *coordinationv1.Lease) { l.Spec.HolderIdentity = nil }))
			},
		},
		{
			"a token of no node", `this token was given to a pod on node ""`,
			func() error { return g.report(g.account(g.namespace, reporter), "forged", "node-a") },
		},
		{
			"a token of no node that says so", leasesPolicy,
			func() error { return g.create(g.account(g.namespace, reporter), reportOf("forged", "")) },
		},
		{
			"another role in a Lease", `this Lease is the report of "` + arn("workers") + `"`,
			func() error {
				return g.change(a, workers, func(l *coordinationv1.Lease) {
					l.Spec.HolderIdentity, l.Annotations[roster.RoleARNAnnotation] = ptr.To("node-a"), arn("admin")
				})
			},
		},
		{
			"a Lease's role taken out", "a report names the ARN of an IAM role",
			func() error {
				return g.change(a, workers, func(l *coordinationv1.Lease) { l.Spec.HolderIdentity, l.Annotations = ptr.To("node-a"), nil })
			},
		},
		{
			"a Lease's label taken off", "neither without the other",
			func() error {
				return g.change(a, workers, func(l *coordinationv1.Lease) { l.Spec.HolderIdentity, l.Labels = ptr.To("node-a"), nil })
			},
		},
		{
			"a report without its label", "neither without the other",
			func() error {
				return g.create(a, reportOf("forged", "node-a", func(l *coordinationv1.Lease) { l.Labels = nil }))
			},
		},
		{
			"a labelled Lease of another name", "neither without the other",
			func() error {
				return g.create(a, reportOf("forged", "node-a", func(l *coordinationv1.Lease) { l.Name = "forged" }))
			},
		},
		{
			"a labelled Lease whose name the server makes", "neither without the other",
			func() error {
				return g.create(a, reportOf("forged", "node-a", func(l *coordinationv1.Lease) { l.Name, l.GenerateName = "", "x-" }))
			},
		},
		{
			"the ARN of a user", "a report names the ARN of an IAM role",
			func() error {
				return g.create(a, reportOf("forged", "node-a", func(l *coordinationv1.Lease) {
					l.Annotations[roster.RoleARNAnnotation] = "arn:aws:iam::111122223333:user/root"
				}))
			},
		},
		{
			"more than an ARN", "a report names the ARN of an IAM role",
			func() error { return g.report(a, "forged\n- rolearn: x", "node-a") },
		},
		{
			"a new report of the next century", "a new report is of now",
			func() error {
				return g.create(a, reportOf("forged", "node-a", func(l *coordinationv1.Lease) {
					l.Spec.RenewTime = ptr.To(metav1.NewMicroTime(time.Now().AddDate(100, 0, 0)))
				}))
			},
		},
		{
			"a new report of no time", "a new report is of now",
			func() error {
				return g.create(a, reportOf("forged", "node-a", func(l *coordinationv1.Lease) { l.Spec.RenewTime = nil }))
			},
		},
		{
			"ballast", "8 short annotations",
			func() error {
				return g.create(a, reportOf("forged", "node-a", func(l *coordinationv1.Lease) { l.Annotations["x"] = strings.Repeat("x", 701) }))
			},
		},
		{
			"a finalizer", "no finalizers",
			func() error {
				return g.create(a, reportOf("forged", "node-a", func(l *coordinationv1.Lease) { l.Finalizers = []string{"example.com/stay"} }))
			},
		},
	})

	// A Lease that somebody made under a role's hash is put right by a candidate
	// of that role, and by no reporter.
	squatted := roster.LeaseName(arn("squatted"))
	g.judge([]attempt{
		{"a Lease under another role's hash", "", func() error {
			return g.create(a, reportOf("whatever", "node-a", func(l *coordinationv1.Lease) { l.Name = squatted }))
		}},
		{"a reporter puts it right", `this Lease is the report of "` + arn("whatever") + `"`, func() error { return g.report(b, "squatted", "node-b") }},
		{"a candidate puts it right", "", func() error { return g.report(candidate, "squatted", "node-c") }},
	})
}

// A reporter touches the roster, and nothing else there is.
func TestReporterTouchesTheRosterOnly(t *testing.T) {
	g := newGuarded(t, stage.ForTest(t))
	a, candidate := g.pod(reporter, "node-a"), g.pod(writer, "node-c")
	leases, awsAuth, own := a.CoordinationV1().Leases(g.namespace), a.CoreV1().ConfigMaps(g.awsAuth), a.CoreV1().ConfigMaps(g.namespace)
	ctx := t.Context()
	if err := g.create(candidate, named("rolecall")); err != nil {
		t.Fatalf("a candidate can't lead: %v", err)
	}
	if err := g.report(a, "workers", "node-a"); err != nil {
		t.Fatal(err)
	}
	for _, cm := range []*corev1.ConfigMap{{ObjectMeta: metav1.ObjectMeta{Name: "aws-auth", Namespace: g.awsAuth}}, {ObjectMeta: metav1.ObjectMeta{Name: "rolecall-ledger", Namespace: g.namespace}}} {
		if _, err := g.admin.CoreV1().ConfigMaps(cm.Namespace).Create(ctx, cm, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}

	g.judge([]attempt{
		{"take the leader's Lease", "the leader's Lease is for the ServiceAccount rolecall alone", func() error {
			return g.change(a, "rolecall", func(l *coordinationv1.Lease) { l.Spec.HolderIdentity = ptr.To("node-a_x") })
		}},
		{"take it as if it were a report", "neither without the other", func() error {
			return g.change(a, "rolecall", func(l *coordinationv1.Lease) {
				l.Labels, l.Annotations = reportOf("workers", "node-a").Labels, reportOf("workers", "node-a").Annotations
				l.Spec.HolderIdentity = ptr.To("node-a")
			})
		}},
		{"patch it", byRBAC, func() error {
			_, err := leases.Patch(ctx, "rolecall", types.MergePatchType, []byte(`{"spec":{"holderIdentity":"x"}}`), metav1.PatchOptions{})
			return err
		}},
		{"make another Lease", leasesPolicy, func() error { return g.create(a, named("another")) }},
		{"list Leases", byRBAC, func() error { _, err := leases.List(ctx, metav1.ListOptions{}); return err }},
		{"delete a report", byRBAC, func() error {
			return leases.Delete(ctx, roster.LeaseName(arn("workers")), metav1.DeleteOptions{})
		}},
		{"read the ledger", byRBAC, func() error { _, err := own.Get(ctx, "rolecall-ledger", metav1.GetOptions{}); return err }},
		{"write the ledger", byRBAC, func() error { _, err := own.Update(ctx, ledger(), metav1.UpdateOptions{}); return err }},
		{"make a ConfigMap", byRBAC, func() error {
			_, err := own.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "any"}}, metav1.CreateOptions{})
			return err
		}},
		{"read the config", byRBAC, func() error { _, err := own.Get(ctx, "rolecall", metav1.GetOptions{}); return err }},
		{"read aws-auth", byRBAC, func() error { _, err := awsAuth.Get(ctx, "aws-auth", metav1.GetOptions{}); return err }},
		{"write aws-auth", byRBAC, func() error {
			_, err := awsAuth.Update(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "aws-auth"}}, metav1.UpdateOptions{})
			return err
		}},
		{"record an Event", byRBAC, func() error {
			_, err := a.CoreV1().Events(g.awsAuth).Create(ctx, &corev1.Event{ObjectMeta: metav1.ObjectMeta{Name: "x"}}, metav1.CreateOptions{})
			return err
		}},
		{"make a revision", byRBAC, func() error {
			_, err := a.AppsV1().ControllerRevisions(g.namespace).Create(ctx, revision("x"), metav1.CreateOptions{})
			return err
		}},
		{"read Secrets", byRBAC, func() error { _, err := a.CoreV1().Secrets(g.namespace).List(ctx, metav1.ListOptions{}); return err }},
	})
}

// What rolecall remembers is the writer's, even where somebody may do all there
// is in the namespace.
func TestMemoryIsTheWriters(t *testing.T) {
	g := newGuarded(t, stage.ForTest(t))
	ctx := t.Context()
	candidate, owner := g.pod(writer, "node-c"), g.owner()
	its := candidate.AppsV1().ControllerRevisions(g.namespace)
	configMaps, revisions, leases := owner.CoreV1().ConfigMaps(g.namespace), owner.AppsV1().ControllerRevisions(g.namespace), owner.CoordinationV1().Leases(g.namespace)
	gone := metav1.DeleteOptions{}

	g.judge([]attempt{
		{"the writer's report", "", func() error { return g.report(candidate, "workers", "node-c") }},
		{"the writer's ledger", "", func() error {
			cm, err := candidate.CoreV1().ConfigMaps(g.namespace).Create(ctx, ledger(), metav1.CreateOptions{})
			if err != nil {
				return err
			}
			cm.BinaryData = map[string][]byte{"x": {1}}
			_, err = candidate.CoreV1().ConfigMaps(g.namespace).Update(ctx, cm, metav1.UpdateOptions{})
			return err
		}},
		{"the writer's revisions", "", func() error {
			for _, name := range []string{"one", "two"} {
				if _, err := its.Create(ctx, revision(name), metav1.CreateOptions{}); err != nil {
					return err
				}
			}
			return its.Delete(ctx, "two", gone)
		}},

		{"another's edit of the config", "", func() error {
			_, err := configMaps.Patch(ctx, "rolecall", types.MergePatchType, []byte(`{"data":{"x":"y"}}`), metav1.PatchOptions{})
			return err
		}},
		{"another edits the ledger", memoryPolicy, func() error {
			_, err := configMaps.Update(ctx, ledger(), metav1.UpdateOptions{})
			return err
		}},
		{"another applies the ledger", memoryPolicy, func() error {
			_, err := configMaps.Patch(ctx, "rolecall-ledger", types.ApplyPatchType, []byte(`{"apiVersion":"v1","kind":"ConfigMap","data":{"z":"y"}}`),
				metav1.PatchOptions{FieldManager: "another", Force: ptr.To(true)})
			return err
		}},
		{"another deletes the ledger", "only the ServiceAccount rolecall changes what rolecall remembers", func() error { return configMaps.Delete(ctx, "rolecall-ledger", gone) }},
		{"another deletes all ConfigMaps", "configmaps rolecall-ledger: only the ServiceAccount rolecall changes", func() error { return configMaps.DeleteCollection(ctx, gone, metav1.ListOptions{}) }},
		{"another edits a revision", memoryPolicy, func() error {
			_, err := revisions.Patch(ctx, "one", types.MergePatchType, []byte(`{"revision":7}`), metav1.PatchOptions{})
			return err
		}},
		{"another takes a revision's label off", memoryPolicy, func() error {
			_, err := revisions.Patch(ctx, "one", types.MergePatchType, []byte(`{"metadata":{"labels":null}}`), metav1.PatchOptions{})
			return err
		}},
		{"another slips a revision in", memoryPolicy, func() error {
			_, err := revisions.Create(ctx, revision("forged"), metav1.CreateOptions{})
			return err
		}},
		{"another deletes all revisions", "controllerrevisions one: only the ServiceAccount rolecall changes", func() error { return revisions.DeleteCollection(ctx, gone, metav1.ListOptions{}) }},
		{"another takes the leader's Lease", leasesPolicy, func() error { return g.create(owner, named("rolecall")) }},
		{"another deletes all Leases", "may not delete Lease " + roster.LeaseName(arn("workers")), func() error { return leases.DeleteCollection(ctx, gone, metav1.ListOptions{}) }},
		{"another reports", leasesPolicy, func() error { return g.create(owner, reportOf("forged", "node-a")) }},

		{"a DaemonSet's revision", "", func() error {
			r := revision("daemonset")
			r.Labels = map[string]string{"app.kubernetes.io/name": "rolecall", "app.kubernetes.io/managed-by": "rolecall"}
			_, err := revisions.Create(ctx, r, metav1.CreateOptions{})
			return err
		}},
		{"the administrator's edit of the ledger", "", func() error {
			_, err := g.admin.CoreV1().ConfigMaps(g.namespace).Update(ctx, ledger(), metav1.UpdateOptions{})
			return err
		}},
		{"the administrator's deletion of a report", "", func() error {
			return g.admin.CoordinationV1().Leases(g.namespace).Delete(ctx, roster.LeaseName(arn("workers")), gone)
		}},
	})
	left, err := g.admin.AppsV1().ControllerRevisions(g.namespace).List(ctx, metav1.ListOptions{LabelSelector: "rolecall.dev/history"})
	if err != nil || len(left.Items) != 1 || left.Items[0].Revision != 1 {
		t.Errorf("after all that, the revisions are %+v, %v; want the writer's only", left, err)
	}
}

// The controllers that empty a namespace and collect garbage are let through.
func TestControllersAreLetThrough(t *testing.T) {
	cp := stage.ForTest(t)
	for _, controller := range []string{"namespace-controller", "generic-garbage-collector"} {
		t.Run(controller, func(t *testing.T) {
			g := newGuarded(t, cp)
			account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: controller}}
			if _, err := g.admin.CoreV1().ServiceAccounts("kube-system").Create(t.Context(), account, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
				t.Fatal(err)
			}
			c, candidate := g.account("kube-system", controller), g.pod(writer, "node-c")
			g.judge([]attempt{
				{"a report", "", func() error { return g.report(candidate, "workers", "node-c") }},
				{"the leader's Lease", "", func() error { return g.create(candidate, named("rolecall")) }},
				{"the ledger", "", func() error {
					_, err := candidate.CoreV1().ConfigMaps(g.namespace).Create(t.Context(), ledger(), metav1.CreateOptions{})
					return err
				}},
				{"a revision", "", func() error {
					_, err := candidate.AppsV1().ControllerRevisions(g.namespace).Create(t.Context(), revision("one"), metav1.CreateOptions{})
					return err
				}},
				{"delete a report", "", func() error {
					return c.CoordinationV1().Leases(g.namespace).Delete(t.Context(), roster.LeaseName(arn("workers")), metav1.DeleteOptions{})
				}},
				{"delete the leader's Lease", "", func() error {
					return c.CoordinationV1().Leases(g.namespace).Delete(t.Context(), "rolecall", metav1.DeleteOptions{})
				}},
				{"delete the ledger", "", func() error {
					return c.CoreV1().ConfigMaps(g.namespace).Delete(t.Context(), "rolecall-ledger", metav1.DeleteOptions{})
				}},
				{"delete a revision", "", func() error {
					return c.AppsV1().ControllerRevisions(g.namespace).Delete(t.Context(), "one", metav1.DeleteOptions{})
				}},
			})
		})
	}
}

// A token ends with its pod: the copy of one that was stolen from a node is good
// for nothing once the pod is deleted.
func TestTokenEndsWithItsPod(t *testing.T) {
	g := newGuarded(t, stage.ForTest(t))
	c := g.pod(reporter, "node-a")
	if err := g.report(c, "workers", "node-a"); err != nil {
		t.Fatal(err)
	}
	if err := g.admin.CoreV1().Pods(g.namespace).DeleteCollection(t.Context(), metav1.DeleteOptions{GracePeriodSeconds: new(int64)}, metav1.ListOptions{}); err != nil {
		t.Fatal(err)
	}
	// The API server remembers for 10 s that a token was good.
	g.eventually("the token is refused", func(context.Context) error {
		if err := g.report(c, "workers", "node-a"); !apierrors.IsUnauthorized(err) {
			return fmt.Errorf("got %w, want Unauthorized", err)
		}
		return nil
	})
}

// The API server takes the overlay without a warning. What it asks of Pod
// Security is the base's namespace.
func TestServerAcceptsHardened(t *testing.T) {
	cp := stage.ForTest(t)
	a := applied(t, cp.Config(), "Namespace")
	all := hardened(t, "rolecall-system", "kube-system")
	for _, u := range all {
		if err := a.apply(t.Context(), u, true); err != nil {
			t.Errorf("%s %s/%s: %v", u.GetKind(), u.GetNamespace(), u.GetName(), err)
		}
	}
	for _, w := range a.warnings.text {
		t.Errorf("the server warns: %s", w)
	}
	// What the base has is there unchanged, but for the DaemonSet's nodes and what
	// the config says of reports.
	for _, want := range install(t) {
		i := slices.IndexFunc(all, func(u *unstructured.Unstructured) bool {
			return u.GetKind() == want.GetKind() && u.GetNamespace() == want.GetNamespace() && u.GetName() == want.GetName()
		})
		if i < 0 {
			t.Errorf("the overlay has no %s %s", want.GetKind(), want.GetName())
			continue
		}
		got := all[i].DeepCopy()
		if got.GetKind() == "ConfigMap" {
			text, _, _ := unstructured.NestedString(got.Object, "data", "config.yaml")
			if c := configOf(t, text); c.NodeRoles.Verify != config.VerifyEC2 || !c.NodeRoles.Report {
				t.Errorf("the overlay's config believes every report: %+v", c.NodeRoles)
			}
			continue
		}
		if got.GetKind() == "DaemonSet" {
			unstructured.RemoveNestedField(got.Object, "spec", "template", "spec", "nodeSelector", candidateLabel)
		}
		if diff := jsonDiff(t, want, got); diff != "" {
			t.Errorf("%s %s differs from the base's (-base +overlay)\n%s", want.GetKind(), want.GetName(), diff)
		}
	}
}
