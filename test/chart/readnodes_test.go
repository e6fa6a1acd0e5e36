package chart_test

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// With rbac.readNodes the chart adds what the component does, and without it no right
// in the whole cluster.
func TestReadNodesIsTheComponent(t *testing.T) {
	text, err := os.ReadFile("../../manifests/components/read-nodes/rbac.yaml")
	if err != nil {
		t.Fatal(err)
	}
	component, err := decode(text)
	if err != nil {
		t.Fatal(err)
	}
	clusterWide := func(values string) []unstructured.Unstructured {
		var out []unstructured.Unstructured
		for _, o := range mustRender(t, "rolecall", values) {
			if strings.HasPrefix(o.GetKind(), "ClusterRole") {
				out = append(out, o)
			}
		}
		return out
	}
	if diff := cmp.Diff(comparable(t, component), comparable(t, clusterWide("{rbac: {readNodes: true}, hardened: {enabled: true}}"))); diff != "" {
		t.Errorf("(-component +chart):\n%s", diff)
	}
	for _, values := range []string{"", "hardened: {enabled: true}", "{rbac: {readNodes: true, create: false}}"} {
		if got := clusterWide(values); len(got) > 0 {
			t.Errorf("%q: %s %s", values, got[0].GetKind(), got[0].GetName())
		}
	}
}
