package agent

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/rolecall/rolecall/awsauth"
)

// metrics are the leader's. Counters live as long as the process; what the
// leader knows of the cluster is exported only while it leads, so that a
// former leader's figures do not linger.
type metrics struct {
	reconciles *prometheus.CounterVec
	duration   prometheus.Histogram
	writes     *prometheus.CounterVec
	restores   *prometheus.CounterVec
	state      *stateCollector
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		reconciles: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "rolecall_reconciles_total",
			Help: "Passes of the leader over aws-auth by result: unchanged, changed, conflict, malformed, error.",
		}, []string{"result"}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "rolecall_reconcile_duration_seconds",
			Help:    "How long a pass of the leader took.",
			Buckets: prometheus.ExponentialBuckets(0.005, 2, 13),
		}),
		writes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "rolecall_writes_total",
			Help: "Writes by object (aws-auth, ledger, revision) and result (ok, conflict, error).",
		}, []string{"object", "result"}),
		restores: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "rolecall_restores_total",
			Help: "How often aws-auth was put back, by what had become of it: malformed, deleted.",
		}, []string{"reason"}),
		state: &stateCollector{},
	}
	for _, result := range []string{"unchanged", "changed", "conflict", "malformed", "error"} {
		m.reconciles.WithLabelValues(result)
	}
	for _, object := range []string{"aws-auth", "ledger", "revision"} {
		for _, result := range []string{"ok", "conflict", "error"} {
			m.writes.WithLabelValues(object, result)
		}
	}
	for _, reason := range []string{"malformed", "deleted"} {
		m.restores.WithLabelValues(reason)
	}
	if reg != nil {
		reg.MustRegister(m.reconciles, m.duration, m.writes, m.restores, m.state)
	}
	return m
}

func (m *metrics) wrote(object string, err error) {
	result := "ok"
	switch {
	case errors.Is(err, awsauth.ErrConflict):
		result = "conflict"
	case err != nil:
		result = "error"
	}
	m.writes.WithLabelValues(object, result).Inc()
}

func (m *metrics) passed(took time.Duration, out *Outcome, err error) {
	m.duration.Observe(took.Seconds())
	m.reconciles.WithLabelValues(result(out, err)).Inc()
	m.state.mu.Lock()
	defer m.state.mu.Unlock()
	m.state.malformed = errors.Is(err, ErrMalformed)
	m.state.seen = true
	if err == nil {
		m.state.outcome = out
	}
}

func (m *metrics) sources(lastSuccess map[string]time.Time, out *Outcome) {
	m.state.mu.Lock()
	defer m.state.mu.Unlock()
	m.state.lastSuccess = lastSuccess
	m.state.failed = map[string]int{}
	for kind := range lastSuccess {
		m.state.failed[kind] = 0
	}
	for name := range out.Failed {
		m.state.failed[sourceKind(name)]++
	}
}

// clear is for the end of a term.
func (m *metrics) clear() {
	m.state.mu.Lock()
	defer m.state.mu.Unlock()
	m.state.seen, m.state.malformed, m.state.outcome, m.state.lastSuccess, m.state.failed = false, false, nil, nil, nil
}

// stateCollector exports what the leader saw last.
type stateCollector struct {
	mu          sync.Mutex
	seen        bool
	malformed   bool
	outcome     *Outcome
	lastSuccess map[string]time.Time // by kind of source
	failed      map[string]int
}

var (
	descEntries = prometheus.NewDesc("rolecall_entries",
		"Entries of aws-auth that rolecall keeps, by kind and by kind of source; an entry with several sources counts for its most explicit one.", []string{"source", "kind"}, nil)
	descForeign     = prometheus.NewDesc("rolecall_foreign_entries", "Entries of aws-auth that others wrote.", nil, nil)
	descNodeRoles   = prometheus.NewDesc("rolecall_node_roles_reported", "Distinct node roles that live agents report.", nil, nil)
	descMissing     = prometheus.NewDesc("rolecall_node_roles_missing", "Distinct node roles that live agents report and that aws-auth does not map to the groups of nodes.", nil, nil)
	descUnbelieved  = prometheus.NewDesc("rolecall_node_reports_refused", "Leases of the roster that are not believed: of another account or partition, or no reports at all.", nil, nil)
	descConflicts   = prometheus.NewDesc("rolecall_conflicts", "Foreign entries that grant less than the config asks for, or another username.", nil, nil)
	descRefused     = prometheus.NewDesc("rolecall_entries_refused", "New entries left out because aws-auth is full.", nil, nil)
	descHeld        = prometheus.NewDesc("rolecall_removals_held", "Entries that are not removed until somebody approves it (rolecall approve), by kind of source.", []string{"source"}, nil)
	descHistory     = prometheus.NewDesc("rolecall_history_failed", "1 while no revision of aws-auth can be kept.", nil, nil)
	descAddOnly     = prometheus.NewDesc("rolecall_config_unsettled", "1 while this leader only adds, because its config differs from the one applied last.", nil, nil)
	descBytes       = prometheus.NewDesc("rolecall_aws_auth_bytes", "Size of aws-auth; the API server takes 1048576.", nil, nil)
	descMalformed   = prometheus.NewDesc("rolecall_aws_auth_malformed", "1 while the authenticator cannot read aws-auth, or it is gone, and nothing is put back.", nil, nil)
	descSuccess     = prometheus.NewDesc("rolecall_source_last_success_timestamp_seconds", "When all sources of a kind were last read wholly.", []string{"source"}, nil)
	descFailed      = prometheus.NewDesc("rolecall_sources_failed", "Sources of a kind that could not be read and whose entries stay as they are.", []string{"source"}, nil)
	stateCollection = []*prometheus.Desc{descEntries, descForeign, descNodeRoles, descMissing, descUnbelieved, descConflicts, descRefused, descHeld, descHistory, descAddOnly, descBytes, descMalformed, descSuccess, descFailed}
)

// Describe implements [prometheus.Collector].
func (s *stateCollector) Describe(c chan<- *prometheus.Desc) {
	for _, d := range stateCollection {
		c <- d
	}
}

// Collect implements [prometheus.Collector].
func (s *stateCollector) Collect(c chan<- prometheus.Metric) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.seen {
		return
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		c <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	gauge(descMalformed, boolGauge(s.malformed))
	for kind, at := range s.lastSuccess {
		gauge(descSuccess, float64(at.UnixNano())/1e9, kind)
	}
	for kind, n := range s.failed {
		gauge(descFailed, float64(n), kind)
	}
	if s.outcome == nil {
		return
	}
	for key, n := range countEntries(s.outcome.Plan.Ours) {
		gauge(descEntries, float64(n), key[0], key[1])
	}
	gauge(descForeign, float64(s.outcome.Plan.Foreign))
	gauge(descNodeRoles, float64(s.outcome.Reported))
	gauge(descMissing, float64(s.outcome.Unmapped))
	gauge(descUnbelieved, float64(len(s.outcome.Refused)))
	gauge(descConflicts, float64(len(s.outcome.Plan.Conflicts)))
	gauge(descRefused, float64(len(s.outcome.Plan.Refused)))
	for kind, n := range countHeld(s.outcome.Plan.Held) {
		gauge(descHeld, float64(n), kind)
	}
	gauge(descHistory, boolGauge(s.outcome.history != nil))
	gauge(descAddOnly, boolGauge(s.outcome.AddOnly))
	gauge(descBytes, float64(s.outcome.Plan.Size))
}

func boolGauge(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// countHeld counts the entries that wait for approval by kind of source: all
// kinds, so that a hold that ends is a zero.
func countHeld(held []awsauth.Hold) map[string]int {
	n := map[string]int{sourceFile: 0, sourceSet: 0, sourceGroup: 0, sourceKarpenter: 0, sourceExtra: 0, sourceNode: 0, sourceUnknown: 0, awsauth.Masters: 0}
	for _, h := range held {
		n[sourceKind(h.Source)] += len(h.Changes)
	}
	return n
}

// unmapped counts the roles that a document does not map as nodes' roles, as the
// authenticator reads it: without case, the last of equal ARNs winning.
func unmapped(doc *awsauth.Document, roles []string) int {
	if len(roles) == 0 {
		return 0
	}
	mapped := map[string]bool{}
	for _, e := range doc.Entries() {
		if e.Kind == awsauth.Role && e.Dropped == "" {
			mapped[strings.ToLower(e.ARN)] = !slices.ContainsFunc(nodeGroups(), func(group string) bool { return !slices.Contains(e.Groups, group) })
		}
	}
	n := 0
	for _, arn := range roles {
		if !mapped[strings.ToLower(arn)] {
			n++
		}
	}
	return n
}

// countEntries counts entries by kind of source and kind of entry.
func countEntries(owned []awsauth.Owned) map[[2]string]int {
	n := map[[2]string]int{}
	for i := range owned {
		source := sourceUnknown // ours by its mark alone, the ledger being lost
		if claims := owned[i].Claims; len(claims) > 0 {
			source = sourceKind(claims[0].Source)
		}
		n[[2]string{source, string(owned[i].Kind)}]++
	}
	return n
}
