package e2e_test

import (
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/rolecall/rolecall/test/fleet"
	"github.com/rolecall/rolecall/test/stage"
	"github.com/rolecall/rolecall/test/trial"
)

// quick are flags with which a crash is over sooner than with the defaults. With
// calm no leader loses its Lease where the machine stands still for a while: for
// tests in which none should.
var (
	quick = []string{"--lease-duration=8s", "--renew-deadline=6s", "--retry-period=500ms"}
	calm  = []string{"--lease-duration=60s", "--renew-deadline=40s", "--retry-period=500ms"}
)

// A cluster is a test's own fleet.
type cluster struct{ *trial.Cluster }

// newCluster returns a cluster without nodes, whose agents will mount this
// config. The flags are the agents'.
func newCluster(t testing.TB, config string, flags ...string) *cluster {
	t.Helper()
	return &cluster{trial.New(t, config, trial.Options{Options: fleet.Options{Flags: flags}})}
}

// newClusterIn is newCluster on that control plane, where nobody else is, with
// the agents in the manifests' own namespace.
func newClusterIn(t testing.TB, cp *stage.ControlPlane, config string, o trial.Options) *cluster {
	t.Helper()
	o.ControlPlane, o.Namespace = cp, fleet.DefaultNamespace
	return &cluster{trial.New(t, config, o)}
}

// annotate has somebody change aws-auth's annotations, and returns what was written.
func (c *cluster) annotate(change func(annotations map[string]string)) *corev1.ConfigMap {
	c.T.Helper()
	return c.Change(func(cm *corev1.ConfigMap) {
		if cm.Annotations == nil {
			cm.Annotations = map[string]string{}
		}
		change(cm.Annotations)
	})
}
