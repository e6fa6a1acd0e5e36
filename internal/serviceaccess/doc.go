// Package serviceaccess knows how an AWS service is let into a namespace of a
// cluster: by an entry in aws-auth for its service-linked role, and by a Role
// and a RoleBinding in that namespace. It makes the same of them as "eksctl
// create iamidentitymapping --service-name" does.
//
// It plans a write before it makes one, and takes nothing from others unseen: a
// Role that grants at least as much stays as it is, one that grants anything
// else is a change that tells what it replaces, and subjects that others have
// put into the RoleBinding stay there. It does not write aws-auth, and it asks
// nobody.
package serviceaccess
