// Package roster keeps which IAM roles the cluster's nodes run under: one Lease
// for every distinct role, written by whichever node of that role finds it
// missing or stale. So its size, and the writes to it, depend on the roles and
// not on the nodes.
//
// The package promises that a report is made once however many nodes make it
// at the same moment, and that a Lease whose annotation does not belong to its
// name is never taken for a report. It does not judge whether a report is
// true: who may write Leases here can claim any role, and the reader decides
// which roles it believes.
package roster
