// Package page shows people what an agent knows: one HTML page, made on the
// server, without scripts and with nothing from elsewhere.
//
// What it shows are ARNs, usernames and groups of aws-auth and errors of IAM,
// which others wrote. All of it goes through package visible, whatever field it
// stands in, and gomponents escapes it, in elements and in attributes. It does not
// look at what an attribute is for, as html/template would: nothing of others may
// stand in a link or a style. The page's Content-Security-Policy would let nothing
// run even so.
//
// The markup is Go and no template, since text/template, on which html/template
// is built, calls methods by name: the linker would have to keep all methods of
// all clients in the program, which then is more than twice as large.
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
