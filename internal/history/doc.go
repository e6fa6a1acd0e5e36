// Package history keeps what aws-auth was: its contents as ControllerRevisions
// in the agent's namespace, each with who wrote it, when and why.
//
// A revision is a content, not an event: a content that comes back is the same
// revision with a new number, as Kubernetes' own controllers do it. Contents are told
// apart by data and binaryData, which decide access, and not by labels and
// annotations, which any tool may change every few seconds: a revision has the newest
// of them.
//
// Good ones thin out with age: the newest [KeptNewest] stay, then the newest of each
// of [KeptHours] hours, then of each of [KeptDays] days. Of those that
// the authenticator could not read the last [KeptBroken] stay; a flood of broken ones
// pushes no good one out.
//
// The package promises no more than what it was told to record: contents that
// replaced each other quickly may be missing. It does not know what an entry
// is, and never touches aws-auth itself.
package history
