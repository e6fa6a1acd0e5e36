// Package authenticator pins aws-iam-authenticator, the program that lets IAM
// identities into a cluster by its aws-auth, for the end-to-end tests on real
// nodes: build it with the script beside this file.
package authenticator
