// Package awsauth reads, edits and checks kube-system/aws-auth, the ConfigMap
// that says which IAM roles and users may enter an EKS cluster and as whom.
//
// What it promises:
//
//   - A document is read as the authenticator reads it, dropped entries and
//     doubled ARNs included ([Parse]).
//   - A [Plan] merges what several sources ask for into the document. Foreign
//     entries, comments, unknown fields and unknown keys stay byte for byte;
//     what was asked for stands in it once; making the same plan again changes
//     nothing ([MakePlan]).
//   - A plan that was made has been read back from the text to be written. If
//     an identity would not be mapped as planned, or a foreign one otherwise
//     than before, there is no plan but an error.
//   - With a [Guard] no plan takes more than its limit from a source, nor the
//     last of [Masters], before a person has approved exactly that.
//   - An edit by hand ([Document.Upsert], [Document.Remove]) touches the entries
//     that it names and nothing else, keeps their comments, marks and unknown
//     fields, changes nothing when made again, and has been read back too.
//   - A former document can be written again so that it stays ([RollBack]).
//   - What in a document does not mean what it seems to is told with its place
//     and its consequence ([Lint], and [LintObject] for the whole ConfigMap). What is
//     fixed without asking maps nobody else otherwise, and keeps all other bytes ([Mend],
//     [FixObject]).
//   - For a caller's ARN it is told what the authenticator answers ([Resolve]).
//   - A write goes through with the resourceVersion that was read, or not at
//     all ([Store]). An [Editor] tries again when others were first.
//
// What it does not promise: the layout of entries of ours (a field that is
// already right stays as it stands, others are written anew), or an edit of
// every text that YAML allows. A text that it cannot edit safely is refused.
//
// The package does no I/O but in [Store], reads no clock but where an [Editor]
// waits, and logs nothing. It imports no AWS SDK and no Kubernetes client, only
// the API types.
package awsauth
