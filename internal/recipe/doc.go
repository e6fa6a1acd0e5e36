// Package recipe writes out how to let people into a cluster by ways that are
// not rolecall's own work.
//
// # What it promises
//
// [GroupRole] has a role that the members of an IAM group may assume, in place
// of their users in aws-auth: policies, calls of the AWS CLI, RBAC and
// kubeconfig, ready to run, with the reasons. No policy allows more than the
// recipe needs: no action by a wildcard, no trust in the whole account without a
// condition, no resource but the role and the cluster.
//
// What is asked for has been checked: no shell and no policy takes any of it for
// its own.
//
// # What it does not promise
//
// That the group or the cluster exists. The package does no I/O.
package recipe
