// Package picture draws a Grafana dashboard as Grafana lays it out, from the answers
// of a real Prometheus, as one SVG that needs nothing else. It is for the
// documents: it knows what the shipped dashboard has, and refuses all else rather
// than leave it out. The same dashboard and answers give the same bytes.
//
// What it can't do is to be Grafana: it estimates how wide a text is, and nothing
// in it reacts.
package picture
