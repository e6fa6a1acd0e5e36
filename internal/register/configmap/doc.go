// Package configmap is the register kube-system/aws-auth: a ConfigMap whose text
// people and tools share.
//
//	Observe ─► (plan) ─► Prepare: edit the text, read it back ─► Commit: ledger, aws-auth, ledger
//
// What it remembers of the register, a [plan.State], it keeps in the ledger, a
// ConfigMap of its own. A write of aws-auth is an Update with the resourceVersion
// that was read; the ledger is written before it and after. What the authenticator
// cannot read, or what was deleted, is put back from what aws-auth was.
//
// What cannot be prepared as a whole is prepared in part (see [Prepare]): nothing
// stands in the way of the role of a live node but the text of its own key.
package configmap
