// Package source is where access is asked for: the config, IAM, the nodes.
//
// One file is one kind of source, and [Kinds] lists them. A kind becomes a
// [Source] for each term of a leader; [Set] is all of them. What a source has to
// ask AWS it asks by Refresh, beside the reconciles; what it wants it says by Want,
// from what is at hand, so that no reconcile waits for AWS.
//
// A source that failed says so in its answer, and what it asked for before stays.
// One item of a source that fails fails alone.
package source
