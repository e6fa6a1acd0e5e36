// Package plan decides what becomes of each principal in a register.
//
//	Snapshot ─► Decide ─► policies ─► decisions, pending removals
//
// A [Snapshot] is everything that one reconcile knows. [Decide] makes one
// [Decision] for each principal from it, and a chain of policies ([Chain])
// changes decisions: what has to wait for approval, what finds no room. All of
// it is pure: no text, no index, no API, no clock but Snapshot.Now. A register
// turns the decisions into a write.
//
// The unit is access: which principal gets which username and groups. An entry
// is only how a register stores it, so what is limited is the loss of access
// and not the disappearance of entries ([Decision.Loses]).
package plan
