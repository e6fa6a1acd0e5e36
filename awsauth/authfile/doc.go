// Package authfile finds aws-auth in files: in manifests of a ConfigMap, of a
// List and of several documents, as kubectl prints them and people keep them in
// git, and in bare texts as mapRoles has them. It knows which line of the file
// a line of a key's text is, and writes a key's text anew with all other bytes
// of the file as they were.
//
// It lints the file as well ([Document.Lint]): keys that stand twice, of which kubectl
// takes the last one without a word, keys beside the data, another object, and all that
// [awsauth.LintObject] finds, each with its line in the file. [Document.Fix] writes what
// can be fixed without asking.
//
// What it has written has been read back: the file holds what was asked for and
// otherwise what it held before, or there is an error and nothing to write.
//
// The package does no I/O.
package authfile
