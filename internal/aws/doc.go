// Package aws reads the IAM directory of an AWS account: which role stands for
// a permission set of IAM Identity Center, which users a group has, which
// account it is, and under which role the instance of a node runs.
//
// An answer is whole or it is an error. What rolecall takes away from
// somebody's access rests on what is missing in these answers, so a page that
// failed, a list that breaks off and an answer that is empty where IAM's never
// is are errors, told apart from a list that is truly empty.
//
// Credentials come from the SDK's default chain (environment, shared files,
// IRSA, EKS Pod Identity, and at last the instance's own role, by version 2 of
// IMDS alone), endpoints from the SDK's environment variables alone. Proxies are
// the environment's, but link-local addresses are asked through none. Throttling and passing failures are
// retried; each call has a bound on its time. [Reason] sorts any error of this
// package into a few categories for logs and metrics.
//
// The package knows nothing of Kubernetes.
package aws
