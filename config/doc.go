// Package config reads rolecall's configuration and keeps it up to date while
// the program runs.
//
// # The files
//
// A configuration is a directory, as a mounted ConfigMap is one, or a single
// file. Of a directory, config.yaml is read, and the keys mapRoles, mapUsers
// and mapAccounts in aws-auth's own format, so that the source ConfigMap of
// aws-iam-authenticator-sso-wrapper can be mounted as it is. reference.yaml in
// this folder shows every key of config.yaml with its meaning, unit and default.
//
// # What it promises
//
// [Load] is strict. An unknown key, a doubled key or a value of the wrong type
// is an error, never a default. It reports every problem that it finds, each
// with file, line, column, key and a sentence that says what to write instead.
// What it returns has all defaults filled in and nothing left to check.
//
// [Load] reads one generation of a mounted ConfigMap: the kubelet may swap the
// mount meanwhile, but old and new files are never mixed.
//
// [Watcher] takes over an edit within two seconds of the kubelet's swap. A file
// with a problem changes nothing that runs: the last good configuration stays,
// and log, metrics and [Watcher.Status] say what is wrong.
//
// # What it does not promise
//
// That a permission set, group, role or account exists: the package knows
// neither AWS nor Kubernetes. That an edit is seen at once: the kubelet itself
// takes up to about two minutes to bring it to the node, and each node has its
// own moment. A mount with subPath never changes; the Watcher says so, but
// cannot mend it. A plain directory that is edited file by file, without the
// kubelet's swap, may be read between two of its files.
package config
