// Package report renders what came of a reconcile, a [Result], for everybody who
// looks: log and Events ([Teller]), metrics ([Metrics]), the status on the Lease
// ([Status]) and the page ([View]). Each is a renderer: none of them finds out a
// condition anew.
package report
