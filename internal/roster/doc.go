// Package roster keeps the roll: which IAM roles the nodes of a cluster run
// under.
//
// There is one Lease for each role, whatever the number of nodes, named after
// the hash of the role's ARN. Its annotation [RoleARNAnnotation] says the ARN,
// its holderIdentity the node that wrote last and its renewTime when. An agent
// reports its node's role when it starts and about hourly: one read, and a
// write only where the Lease is missing or an hour old. So the number of writes
// depends on roles, not on nodes.
//
// A report is a claim, not a proof. Whoever may write Leases in the namespace
// can report any role; the reader decides which accounts and partitions it
// believes. Nothing is ever deleted here.
package roster
