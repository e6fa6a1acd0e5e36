// Package faultproxy stands between agents and a real kube-apiserver, and has
// chosen requests go wrong: refused, late, never answered, or carried out with
// the answer lost. What no rule is for passes through as it is, watches
// included, under the client's own token.
//
//	proxy, err := faultproxy.Start(controlPlane.Config())
//	fleet.New(ctx, fleet.Options{..., Through: proxy.Config})
//
//	proxy.Add(faultproxy.Match{Verb: "update", Name: "aws-auth", Times: 1}, faultproxy.LoseAnswer())
//
// A [Hold] stops a request at a point, before the API server gets it or before
// the client gets its answer, and tells the test, which then does what it likes
// (kill the client, take its Lease) and has the request go on or not.
//
// All requests are recorded, so that a test can say what was tried, by whom and
// in which order: [Proxy.Records].
//
// What it does not do: break the TCP connection. Clients speak HTTP/2, where
// many requests share one; a request that is cut has its stream reset, and the
// others go on.
package faultproxy
