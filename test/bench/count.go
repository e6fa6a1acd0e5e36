package main

import (
	"bytes"
	"context"
	"fmt"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"k8s.io/client-go/kubernetes"
)

// counts is what the API server says of itself at one moment.
type counts struct {
	at       time.Time
	requests map[asked]float64 // apiserver_request_total
	cpu      float64           // seconds, process_cpu_seconds_total
}

// asked is a kind of request.
type asked struct{ verb, resource, code string }

// counted scrapes the API server. The scrape is no request for a resource and
// not among those that are counted.
func counted(ctx context.Context, client kubernetes.Interface) (counts, error) {
	body, err := client.Discovery().RESTClient().Get().AbsPath("/metrics").DoRaw(ctx)
	if err != nil {
		return counts{}, err
	}
	c := counts{at: time.Now(), requests: map[asked]float64{}}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(body))
	if err != nil {
		return counts{}, fmt.Errorf("read the API server's metrics: %w", err)
	}
	for _, m := range families["apiserver_request_total"].GetMetric() {
		a := asked{label(m, "verb"), label(m, "resource"), label(m, "code")}
		if a.resource != "" {
			c.requests[a] += m.GetCounter().GetValue()
		}
	}
	for _, m := range families["process_cpu_seconds_total"].GetMetric() {
		c.cpu = m.GetCounter().GetValue()
	}
	return c, nil
}

func label(m *dto.Metric, name string) string {
	for _, l := range m.GetLabel() {
		if l.GetName() == name {
			return l.GetValue()
		}
	}
	return ""
}

// since is how many requests of a kind there were since another moment; an empty
// field matches all.
func (c counts) since(before counts, kind asked) (n float64) {
	for a, v := range c.requests {
		if (kind.verb == "" || kind.verb == a.verb) && (kind.resource == "" || kind.resource == a.resource) && (kind.code == "" || kind.code == a.code) {
			n += v - before.requests[a]
		}
	}
	return n
}

// rate is all requests a second since another moment.
func (c counts) rate(before counts) float64 {
	return c.since(before, asked{}) / c.at.Sub(before.at).Seconds()
}
