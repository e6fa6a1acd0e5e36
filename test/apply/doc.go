// Package apply does with rolecall what its users do, on a cluster of real nodes:
// kubectl apply, nodes that come and go, an edited ConfigMap, a rolling update, a
// Prometheus that scrapes, and IAM identities that log in by what stands in
// aws-auth. It is run by "make e2e", which prints every check with what was seen
// and how long it took.
package apply
