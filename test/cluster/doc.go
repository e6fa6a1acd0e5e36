// Package cluster runs a Kubernetes cluster of several real nodes on this machine:
// a control plane (package stage) with kube-controller-manager and kube-scheduler,
// and for each node a kubelet and a containerd in a network namespace of its own,
// with its own instance metadata service at 169.254.169.254:80. Pods are real
// containers, of an image that is built from the Dockerfile.
//
// It takes Linux, root and programs that Debian has packages of; [Missing] says
// what a machine lacks. All of it runs in namespaces that [Main] makes for the
// tests of a binary: of the network, so that nothing reaches the machine's own and
// addresses and ports are free; of processes, so that all of them end with the
// tests, however these end; and of mounts, so that no mount is left behind. Control
// groups know no such end: Main removes them.
//
// Nodes are called node-1, node-2 and so on. The API server is at 10.0.0.1, where
// pods look for it, and is its own load balancer: there is no kube-proxy, no
// cluster DNS, and no network between the pods of different nodes. Agents need
// none, for they use their host's.
package cluster
