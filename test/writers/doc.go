// Package writers is the others who write aws-auth, and the judge of what comes
// of it: tools with the habits of eksctl, kubectl, Terraform and the like, a
// record of every version of the ConfigMap, and a model that the record is held
// against.
//
// Every edit of a tool declares its effects: "an entry is appended", "all
// entries are serialised anew, without comments". [Check] walks through the
// recorded versions with a model of who made what. A version of a tool's must be
// exactly the version before it with the declared effects. A version of
// rolecall's must hold all that is foreign byte for byte, in its order, and
// nothing else but entries that a source asked for. So a foreign edit lasts until
// a tool ends it by an effect that it declares; if it ends otherwise, it is lost,
// and the version that lost it is named.
//
// The model shares no code with package awsauth: it knows the block style alone,
// which the tools here write, and refuses any other.
package writers
