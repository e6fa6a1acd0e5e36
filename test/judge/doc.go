// Package judge holds awsauth against the authenticator itself: what
// configmap.ParseMap of sigs.k8s.io/aws-iam-authenticator reads from a document
// is what [awsauth.Document.Entries] says, and what a plan writes maps every
// identity as planned. It also measures the merge beside the authenticator's
// own reading and writing.
//
// The authenticator brings hundreds of packages along, so this is a module of
// its own, with tests and nothing else.
package judge
