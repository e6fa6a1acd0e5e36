package config

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// The values of the label result.
const (
	resultLoaded     = "loaded"     // the configuration is good
	resultInvalid    = "invalid"    // the files were read, and something in them is wrong
	resultUnreadable = "unreadable" // the files could not be read
)

type metrics struct {
	reloads     *prometheus.CounterVec
	valid       prometheus.Gauge
	lastSuccess prometheus.Gauge
	info        *prometheus.GaugeVec
}

func newMetrics() *metrics {
	m := &metrics{
		reloads: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "rolecall_config_reloads_total",
			Help: "Configurations taken up for the first time or after a change, by result: loaded, invalid or unreadable.",
		}, []string{"result"}),
		valid: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "rolecall_config_valid",
			Help: "1 if the configuration on disk is the one that is in force, 0 if it was refused or none was found yet.",
		}),
		lastSuccess: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "rolecall_config_last_success_timestamp_seconds",
			Help: "Unix time at which the configuration was last found good after a change.",
		}),
		info: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "rolecall_config_info",
			Help: "Always 1; the label hash is the beginning of the hash of the configuration in force.",
		}, []string{"hash"}),
	}
	for _, r := range []string{resultLoaded, resultInvalid, resultUnreadable} {
		m.reloads.WithLabelValues(r)
	}
	return m
}

// register registers all metrics, or tells why one cannot be.
func (m *metrics) register(r prometheus.Registerer) error {
	for _, c := range []prometheus.Collector{m.reloads, m.valid, m.lastSuccess, m.info} {
		if err := r.Register(c); err != nil {
			return err
		}
	}
	return nil
}

func (m *metrics) good(hash string, now time.Time) {
	m.reloads.WithLabelValues(resultLoaded).Inc()
	m.valid.Set(1)
	m.lastSuccess.Set(float64(now.UnixMilli()) / 1000)
	m.info.Reset()
	m.info.WithLabelValues(short(hash)).Set(1)
}

func (m *metrics) bad(result string) {
	m.reloads.WithLabelValues(result).Inc()
	m.valid.Set(0)
}

// short is as much of a hash as a person compares.
func short(hash string) string { return hash[:min(12, len(hash))] }
