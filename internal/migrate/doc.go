// Package migrate reads what other tools know of who may enter an EKS cluster,
// and writes it in rolecall's config format or as EKS access entries.
//
// # What it promises
//
// [Read] tells by the text which format it has: aws-auth's own, eksctl's
// ClusterConfig, rolecall's config, or objects of other controllers, which may
// stand beside each other. It reads all of it or nothing: the error names every
// line that is wrong and what to write instead. [FromFile] does so too, and tells
// Terraform and the other tools apart.
//
// What is read and has no equivalent is a note, with the line where it stands
// and what to do instead. Nothing is left out in silence.
//
// # What it does not promise
//
// That an ARN, a group or an account exists: the package asks neither AWS nor
// Kubernetes. It does no I/O and is safe for concurrent use.
package migrate
