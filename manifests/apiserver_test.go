package manifests_test

import (
	"context"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"

	"github.com/rolecall/rolecall/test/stage"
)

// warnings collects what the API server warns of.
type warnings struct {
	mu   sync.Mutex
	text []string
}

func (w *warnings) HandleWarningHeader(code int, _ string, text string) {
	if code != 299 { // RFC 9111: the only code that Kubernetes uses
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text = append(w.text, text)
}

// An applier does what "kubectl apply --server-side" does.
type applier struct {
	dynamic  dynamic.Interface
	mapper   *restmapper.DeferredDiscoveryRESTMapper
	warnings *warnings
}

func newApplier(t *testing.T, cfg *rest.Config) *applier {
	t.Helper()
	a := &applier{warnings: &warnings{}}
	cfg = rest.CopyConfig(cfg)
	cfg.WarningHandler = a.warnings
	var err error
	if a.dynamic, err = dynamic.NewForConfig(cfg); err != nil {
		t.Fatal(err)
	}
	disco, err := discovery.NewDiscoveryClientForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	a.mapper = restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(disco))
	return a
}

// apply applies the object; where dryRun is set, the server does all but store
// it. A field that the server doesn't know is an error.
func (a *applier) apply(ctx context.Context, u *unstructured.Unstructured, dryRun bool) error {
	gvk := u.GroupVersionKind()
	mapping, err := a.mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
	if err != nil {
		return err
	}
	body, err := u.MarshalJSON()
	if err != nil {
		return err
	}
	opts := metav1.PatchOptions{FieldManager: "manifests-test", FieldValidation: metav1.FieldValidationStrict}
	if dryRun {
		opts.DryRun = []string{metav1.DryRunAll}
	}
	_, err = a.dynamic.Resource(mapping.Resource).Namespace(u.GetNamespace()).
		Patch(ctx, u.GetName(), types.ApplyPatchType, body, opts)
	return err
}

// applied applies, for real, what is of one of the kinds: other objects need
// them to be there.
func applied(t *testing.T, cfg *rest.Config, kinds ...string) *applier {
	t.Helper()
	a := newApplier(t, cfg)
	for _, u := range install(t) {
		if !slices.Contains(kinds, u.GetKind()) {
			continue
		}
		if err := a.apply(t.Context(), u, false); err != nil {
			t.Fatalf("apply %s %s: %v", u.GetKind(), u.GetName(), err)
		}
	}
	return a
}

// A real API server takes every object, field by field and without a warning.
func TestServerAcceptsInstall(t *testing.T) {
	a := applied(t, stage.ForTest(t).Config(), "Namespace")
	for _, u := range install(t) {
		if err := a.apply(t.Context(), u, true); err != nil {
			t.Errorf("%s %s/%s: %v", u.GetKind(), u.GetNamespace(), u.GetName(), err)
		}
	}
	for _, w := range a.warnings.text {
		t.Errorf("the server warns: %s", w)
	}

	// That it would refuse what it doesn't know is what the above rests on.
	ds := install(t)[len(install(t))-1].DeepCopy()
	if err := unstructured.SetNestedField(ds.Object, true, "spec", "template", "spec", "hostNetwrk"); err != nil {
		t.Fatal(err)
	}
	if err := a.apply(t.Context(), ds, true); err == nil {
		t.Errorf("the server takes a misspelt field of a %s", ds.GetKind())
	}
}

// The pods are admitted in their namespace, and all that keeps them from the
// level "restricted" is the host's network and its port.
func TestPodSecurity(t *testing.T) {
	cfg := stage.ForTest(t).Config()
	applied(t, cfg, "Namespace", "ServiceAccount")
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	template := daemonSet(t).Spec.Template
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "rolecall-", Labels: template.Labels},
		Spec:       template.Spec,
	}
	dryRun := metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}
	if _, err := client.CoreV1().Pods("rolecall-system").Create(t.Context(), pod, dryRun); err != nil {
		t.Errorf("the pod is refused in its own namespace: %v", err)
	}

	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		GenerateName: "restricted-",
		Labels:       map[string]string{"pod-security.kubernetes.io/enforce": "restricted"},
	}}
	if ns, err = client.CoreV1().Namespaces().Create(t.Context(), ns, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	sa := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: pod.Spec.ServiceAccountName}}
	if _, err := client.CoreV1().ServiceAccounts(ns.Name).Create(t.Context(), sa, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	_, err = client.CoreV1().Pods(ns.Name).Create(t.Context(), pod, dryRun)
	if !apierrors.IsForbidden(err) {
		t.Fatalf("the level restricted answers %v, want it to refuse hostNetwork", err)
	}
	_, violations, _ := strings.Cut(err.Error(), `violates PodSecurity "restricted:latest": `)
	var got []string
	for _, v := range strings.Split(violations, ", ") {
		got = append(got, regexp.MustCompile(` \(.*`).ReplaceAllString(v, ""))
	}
	if diff := cmp.Diff([]string{"host namespaces", "hostPort"}, got); diff != "" {
		t.Errorf("what the level restricted refuses, of %q (-want +got)\n%s", err, diff)
	}
}
