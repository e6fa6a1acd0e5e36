// Package prometheus holds what is shipped for Prometheus and Grafana, in
// manifests/monitoring and docs, against Prometheus itself: promtool checks the
// rules and runs their tests, and the queries of rules and dashboard are read by
// PromQL's own parser and held against docs/metrics.md.
//
// It is a module of its own because of what Prometheus brings with it. The
// script build makes prometheus and promtool from the same go.mod.
package prometheus
