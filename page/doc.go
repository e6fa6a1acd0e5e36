// Package page shows people what an agent knows: one HTML page, made on the
// server, without scripts and with nothing from elsewhere.
//
// What it shows are ARNs, usernames and groups of aws-auth and errors of IAM,
// which others wrote. All of it goes through package visible and html/template,
// whatever field it stands in, and the page's Content-Security-Policy would let
// nothing run even so.
//
// It answers to names of the local host alone. A page of another site, whose
// name is made to lead to the reader's own port-forward, gets nothing (DNS
// rebinding).
//
// It promises that a request reads one [View] and locks nothing, that its work
// grows with the entries and its answer does not, and that few requests are
// worked on at a time. It does not know who asks: who may reach it is the
// listener's business.
package page
