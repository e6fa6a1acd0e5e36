// Package agent is what runs on every node: it reports the node's role to the
// roster, and while it leads it keeps aws-auth right.
//
// The way of the data of a leader, one pass:
//
//	sources ─> plan ─> ledger ─> aws-auth ─> ledger ─> history
//
// A pass asks what every source wants now ([Spec] and [Directory] and the
// roster), has awsauth plan it, and carries the plan out. Passes run one after
// another, started by an event: somebody wrote aws-auth, a node reported a new
// role, the config changed, IAM was asked again.
//
// What it promises: aws-auth is written only with the resourceVersion that the
// plan was made for; a source that failed removes nothing; what looks like an
// accident waits for a person; a text that nobody can read is kept before a
// former one is put in its place; no write when nothing changes; when
// [Leader.Lead] returns, nothing of it runs any more.
//
// What it does not promise: that only one leader acts at a time. A lease is no
// fence, so two passes may overlap for a moment; the resourceVersion decides
// between them. Nor that the history has every content: recording is paced, and
// that it fails hinders no write but the one that puts a former text back.
package agent
