package election

import (
	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	leader  prometheus.Gauge
	changes prometheus.Counter
	polls   prometheus.Counter

	last string // the last holder that was seen; guarded by Elector.mu
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		leader: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "rolecall_leader",
			Help: "Whether this agent leads (1) or not (0).",
		}),
		changes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "rolecall_leader_changes_total",
			Help: "Changes of the leader that this agent has seen.",
		}),
		polls: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "rolecall_standby_polls_total",
			Help: "Reads of the Lease by this agent while it stood by.",
		}),
	}
	if reg == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.leader, m.changes, m.polls} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *metrics) setLeading(yes bool) {
	if yes {
		m.leader.Set(1)
	} else {
		m.leader.Set(0)
	}
}

// holder counts a change from one leader to another, not the first one seen
// and not the time in between when nobody leads.
func (m *metrics) holder(id string) {
	if id == "" {
		return
	}
	if m.last != "" && m.last != id {
		m.changes.Inc()
	}
	m.last = id
}
