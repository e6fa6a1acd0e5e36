package fleet

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// Get asks the agent for a page of its HTTP server, such as /readyz?verbose,
// and returns what it answers.
func (n *Node) Get(ctx context.Context, page string) (status int, body string, err error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	address, err := n.Address(ctx)
	if err != nil {
		return 0, "", err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+page, nil)
	if err != nil {
		return 0, "", err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, "", fmt.Errorf("%s: %w", n.Name, err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return response.StatusCode, string(text), err
}

// Metrics is one scrape of an agent.
type Metrics struct {
	Text     string
	families map[string]*dto.MetricFamily
}

// Metrics scrapes the agent.
func (n *Node) Metrics(ctx context.Context) (Metrics, error) {
	status, text, err := n.Get(ctx, "/metrics")
	if err != nil {
		return Metrics{}, err
	}
	if status != http.StatusOK {
		return Metrics{}, fmt.Errorf("%s: /metrics answers %d: %s", n.Name, status, text)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		return Metrics{}, fmt.Errorf("%s: read /metrics: %w", n.Name, err)
	}
	return Metrics{text, families}, nil
}

// Names are the names of all metrics, sorted.
func (m Metrics) Names() []string { return slices.Sorted(maps.Keys(m.families)) }

// Value is the sum of the counters and gauges of that name that have all of the
// labels, given as name, value, name, value; a histogram counts its
// observations. ok says whether there was one.
func (m Metrics) Value(name string, labels ...string) (sum float64, ok bool) {
	for _, metric := range m.families[name].GetMetric() {
		if !labelled(metric, labels) {
			continue
		}
		ok = true
		sum += metric.GetCounter().GetValue() + metric.GetGauge().GetValue() + metric.GetUntyped().GetValue() +
			float64(metric.GetHistogram().GetSampleCount())
	}
	return sum, ok
}

func labelled(metric *dto.Metric, labels []string) bool {
	for pair := range slices.Chunk(labels, 2) {
		has := slices.ContainsFunc(metric.GetLabel(), func(l *dto.LabelPair) bool {
			return l.GetName() == pair[0] && l.GetValue() == pair[1]
		})
		if !has {
			return false
		}
	}
	return true
}
