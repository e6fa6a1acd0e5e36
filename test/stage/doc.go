// Package stage runs a Kubernetes control plane on this machine, for tests and
// for the demo: etcd and kube-apiserver as processes of their own, on loopback
// ports, with RBAC, signed ServiceAccount tokens and certificates that clients
// verify. Most tests need two lines:
//
//	func TestMain(m *testing.M) { os.Exit(stage.Main(m)) }
//
//	func TestX(t *testing.T) { cp := stage.ForTest(t); … }
//
// What a control plane here lacks, because no kube-controller-manager runs:
// objects are stored but nothing acts on them. A DaemonSet gets no pods, a
// deleted namespace stays in phase Terminating, no garbage is collected and a
// namespace has no default ServiceAccount (the admission plugin that would
// insist on one is off).
//
// The programs come from $KUBEBUILDER_ASSETS or from test/controlplane/build;
// this package never builds them. It runs on Unix. On Linux the kernel ends the
// processes with their parent, however that ends; elsewhere a parent that is
// killed leaves them behind.
package stage
