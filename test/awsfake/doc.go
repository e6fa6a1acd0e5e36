// Package awsfake stands in for the parts of AWS that rolecall talks to: the
// instance metadata service of a node ([IMDS]) and the query APIs of IAM, STS and
// EC2 ([AWS]). Both are plain http.Handlers that can be started on a loopback port,
// and both are found by an unmodified program through the SDK's own
// environment variables, which Env returns.
//
// They promise the shape of the real services where a client can tell: IMDSv2
// alone, with token checks; paged answers with opaque markers; the error codes
// and HTTP statuses that AWS documents. And they fail on demand, in the ways
// that the real ones fail but never when a test wants them to.
//
// They do not check signatures, policies or trust policies. Everything is safe
// for concurrent use.
package awsfake
