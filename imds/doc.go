// Package imds tells which node this process runs on: the IAM role of the EC2
// instance, its account, partition, region and zone. It asks the instance
// metadata service, version 2 alone.
//
// The role's name comes from iam/security-credentials/, not from the instance
// profile, whose name may differ; the account comes from the instance identity
// document; the partition, which no answer names, follows from the region.
// Every answer is held to the rules for its kind, so that something else which
// answers at that address (a credential proxy, say) gives an error and never a
// wrong ARN.
//
// [Client.Identity] asks once, with a few retries and a bound on its time.
// [Client.Wait] asks until there is an answer. A failure is an [*Error]: its
// text names the likely cause and what to change.
//
// Where the service is found is up to the SDK's environment variables alone:
// AWS_EC2_METADATA_SERVICE_ENDPOINT, AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE and
// AWS_EC2_METADATA_DISABLED. No proxy is ever used: it would answer for the
// instance that it runs on itself.
//
// The package knows nothing of Kubernetes.
package imds
