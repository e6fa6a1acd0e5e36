package configmap

import (
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rolecall/rolecall/internal/register"
)

// owned sets or takes the annotation that names the installation.
func ownedByHand(owner string) func(*corev1.ConfigMap) {
	return func(cm *corev1.ConfigMap) {
		if owner == "" {
			delete(cm.Annotations, InstallationAnnotation)
			return
		}
		metav1.SetMetaDataAnnotation(&cm.ObjectMeta, InstallationAnnotation, owner)
	}
}

// refused checks that a reconcile finds the installation "other" and writes nothing.
func (x *testTerm) refused(when string) {
	x.t.Helper()
	x.client.ClearActions()
	_, _, err := x.reconcile()
	elsewhere := (*register.ElsewhereError)(nil)
	if !errors.As(err, &elsewhere) {
		x.t.Errorf("%s: %v, want that another installation writes it", when, err)
		return
	}
	want := &register.ElsewhereError{Register: "kube-system/aws-auth", Owner: "other", Self: "n"}
	if diff := cmp.Diff(want, elsewhere); diff != "" {
		x.t.Errorf("%s (-want +got):\n%s", when, diff)
	}
	for _, a := range x.client.Actions() {
		if !slices.Contains([]string{"get", "list", "watch"}, a.GetVerb()) {
			x.t.Errorf("%s: it has done %s of %s", when, a.GetVerb(), a.GetResource().Resource)
		}
	}
}

// An aws-auth that another installation writes is left alone, whatever becomes of it:
// only the command hands it over.
func TestAnotherInstallationWritesIt(t *testing.T) {
	x := newTestTerm(t, map[string]string{"mapRoles": entryOf("theirs")}, "ours")
	x.edit(ownedByHand("other"))
	x.refused("at first")
	x.edit(func(cm *corev1.ConfigMap) { cm.Data["mapRoles"] = unreadable })
	x.refused("malformed")
	x.edit(ownedByHand(""))
	x.refused("the annotation is gone")
	x.edit(func(cm *corev1.ConfigMap) { cm.Data["mapRoles"] = "" })
	x.refused("it is empty")
	x.remove()
	x.refused("it is gone")
	x.clock = x.clock.Add(deletedGrace)
	x.refused("it has been gone for long")
}

// What the command hands over is written from then on.
func TestHandedOver(t *testing.T) {
	x := newTestTerm(t, map[string]string{}, "ours")
	x.edit(ownedByHand("other"))
	x.refused("at first")
	x.edit(ownedByHand("n"))
	if _, written := x.must(); !written.Wrote || x.current().Data["mapRoles"] == "" {
		t.Errorf("it is ours and not written: %+v", written)
	}
	x.edit(ownedByHand("other"))
	x.refused("handed over to another")
}

// The first write says which installation writes it.
func TestFirstWriteSaysWhose(t *testing.T) {
	for _, data := range []map[string]string{nil, {}, {"mapRoles": entryOf("theirs")}} {
		x := newTestTerm(t, data, "ours")
		x.must()
		if got := x.current().Annotations[InstallationAnnotation]; got != "n" {
			t.Errorf("of %v the installation is %q", data, got)
		}
	}
}

// An aws-auth that a former version wrote does not say whose it is. One write says it,
// and changes nothing else.
func TestFormerAWSAuthIsClaimed(t *testing.T) {
	x := newTestTerm(t, map[string]string{"mapRoles": "# a comment\n" + entryOf("theirs"), "theirs": "kept"}, "ours")
	x.must()
	x.edit(func(cm *corev1.ConfigMap) {
		ownedByHand("")(cm)
		metav1.SetMetaDataAnnotation(&cm.ObjectMeta, "theirs", "kept")
	})
	before := x.current()
	x.anew()
	x.client.ClearActions()
	if _, written := x.must(); !written.Wrote {
		t.Error("it does not say that it wrote")
	}
	if got := x.writes(); !slices.Equal(got, []string{"update in kube-system"}) {
		t.Errorf("it did %q, want one write of aws-auth", got)
	}
	after := x.current()
	want := before.DeepCopy()
	ownedByHand("n")(want)
	want.ResourceVersion = after.ResourceVersion
	want.ManagedFields, after.ManagedFields = nil, nil
	if diff := cmp.Diff(want, after); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	x.client.ClearActions()
	if _, written := x.must(); written.Wrote {
		t.Error("it says that it wrote")
	}
	x.anew()
	x.must()
	if got := x.writes(); len(got) > 0 {
		t.Errorf("what is claimed is written again: %q", got)
	}
}

// Where nothing in it is managed, it is nobody's, and a reconcile that has nothing to
// write claims nothing.
func TestNothingManagedClaimsNothing(t *testing.T) {
	x := newTestTerm(t, map[string]string{"mapRoles": entryOf("theirs")})
	x.must()
	x.must()
	if got := x.writes(); slices.Contains(got, "update in kube-system") {
		t.Errorf("it did %q", got)
	}
}
