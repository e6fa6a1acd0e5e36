package chart_test

import (
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/engine"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/rolecall/rolecall/config"
	"github.com/rolecall/rolecall/test/stage"
)

// In hardened mode the chart is the overlay, but for labels, the Namespace, and
// how the config spells its defaults.
func TestHardenedIsTheOverlay(t *testing.T) {
	assets, err := stage.Assets()
	if err != nil {
		stage.ForTest(t) // says what is missing
		t.Fatal(err)
	}
	text, err := exec.CommandContext(t.Context(), filepath.Join(assets, "kubectl"), "kustomize", "../../manifests/overlays/hardened").Output()
	if err != nil {
		t.Fatal(err)
	}
	objects, err := decode(text)
	if err != nil {
		t.Fatal(err)
	}
	overlay := slices.DeleteFunc(objects, func(o unstructured.Unstructured) bool { return o.GetKind() == "Namespace" })
	release := installed(mustRender(t, "rolecall", "hardened: {enabled: true}"))
	if diff := cmp.Diff(effective(t, overlay), effective(t, release)); diff != "" {
		t.Errorf("the config (-overlay +chart):\n%s", diff)
	}
	want, got := comparable(t, overlay), comparable(t, release)
	delete(want, "ConfigMap rolecall-system/rolecall")
	delete(got, "ConfigMap rolecall-system/rolecall")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-overlay +chart):\n%s", diff)
	}
}

// effective is the config among objects, with defaults filled in.
func effective(t *testing.T, objects []unstructured.Unstructured) config.Config {
	t.Helper()
	i := slices.IndexFunc(objects, func(o unstructured.Unstructured) bool { return id(&o) == "ConfigMap rolecall-system/rolecall" })
	if i < 0 {
		t.Fatal("there is no config")
	}
	text, _, err := unstructured.NestedString(objects[i].Object, "data", "config.yaml")
	if err != nil {
		t.Fatal(err)
	}
	file, err := config.Parse("config.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return file.Config
}

// Two DaemonSets must not select each other's pods.
func TestSelectorsAreApart(t *testing.T) {
	selected := map[string]string{}
	for _, o := range installed(mustRender(t, "rolecall", "hardened: {enabled: true}")) {
		if o.GetKind() != "DaemonSet" {
			continue
		}
		labels, _, err := unstructured.NestedStringMap(o.Object, "spec", "selector", "matchLabels")
		if err != nil {
			t.Fatal(err)
		}
		pod, _, err := unstructured.NestedStringMap(o.Object, "spec", "template", "metadata", "labels")
		if err != nil {
			t.Fatal(err)
		}
		name := labels["app.kubernetes.io/name"]
		if name == "" || pod["app.kubernetes.io/name"] != name {
			t.Errorf("%s selects %v, its pods have %v", o.GetName(), labels, pod)
		}
		if other, taken := selected[name]; taken {
			t.Errorf("%s and %s select the same pods", o.GetName(), other)
		}
		selected[name] = o.GetName()
	}
	if len(selected) != 2 {
		t.Errorf("%d DaemonSets, want 2", len(selected))
	}
}

// On a cluster without ValidatingAdmissionPolicies hardened mode would hold
// nothing, so it is refused there.
func TestHardenedNeedsPolicies(t *testing.T) {
	c := load(t)
	for version, want := range map[string]bool{"v1.29.9-eks-abc": false, "v1.30.0-eks-abc": true, "v1.36.3": true} {
		values, err := util.ToRenderValues(c, map[string]any{"hardened": map[string]any{"enabled": true}}, common.ReleaseOptions{Name: "rolecall", Namespace: namespace}, cluster(t, version))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := engine.Render(c, values); (err == nil) != want || err != nil && !strings.Contains(err.Error(), "1.30") {
			t.Errorf("on %s: %v, want it taken: %t", version, err, want)
		}
	}
}
