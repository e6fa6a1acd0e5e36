// Package fleet runs rolecall as it runs in a cluster: one process of the real
// binary for every node, against a control plane of [stage] and AWS's stand-ins
// of [awsfake]. The end-to-end tests and the demo are made of it.
//
// A node of a fleet has what a pod of the DaemonSet finds on a real one: an IMDS
// of its own that names the node's role, a mount of the ConfigMap that is
// swapped as the kubelet swaps it, NODE_NAME and POD_NAMESPACE, and the token of
// the ServiceAccount with no other rights than those of manifests/install.yaml.
// What it does not have is the container: the process runs as the user who
// started the tests, with nothing but a kubeconfig and a token file in place of
// the files of the ServiceAccount.
//
// Nodes are started, killed, paused and ended one by one, and each one's log is
// kept in a file of its own. On Linux the kernel ends the agents with the
// process that started them, however that ends.
package fleet
