package report

import (
	"errors"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/internal/plan"
	"github.com/rolecall/rolecall/internal/register"
	"github.com/rolecall/rolecall/internal/source"
)

// Metrics are the leader's. Counters live as long as the process; what the
// leader knows of the cluster is exported only while it leads, so that a
// former leader's figures do not linger.
type Metrics struct {
	reconciles *prometheus.CounterVec
	duration   prometheus.Histogram
	writes     *prometheus.CounterVec
	restores   *prometheus.CounterVec
	state      *stateCollector
}

// NewMetrics registers the metrics; kinds are the kinds of source, nil: none is
// known.
func NewMetrics(reg prometheus.Registerer, kinds []source.Kind) *Metrics {
	m := &Metrics{
		reconciles: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "rolecall_reconciles_total",
			Help: "Reconciles of aws-auth by the leader, by result: unchanged, changed, conflict, malformed, elsewhere (another installation writes it), immutable (the API server takes no write), error.",
		}, []string{"result"}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "rolecall_reconcile_duration_seconds",
			Help:    "How long a reconcile of the leader took.",
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
		state: &stateCollector{kinds: kinds},
	}
	for _, outcome := range Outcomes() {
		m.reconciles.WithLabelValues(string(outcome))
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

// Wrote counts a write of an object.
func (m *Metrics) Wrote(object string, err error) {
	result := "ok"
	switch {
	case errors.Is(err, register.ErrConflict):
		result = "conflict"
	case err != nil:
		result = "error"
	}
	m.writes.WithLabelValues(object, result).Inc()
}

// Reconciled takes in what came of a reconcile; lastSuccess is when each kind of
// source was last right.
func (m *Metrics) Reconciled(r *Result, lastSuccess map[string]time.Time) {
	m.duration.Observe(r.Took.Seconds())
	m.reconciles.WithLabelValues(string(r.Outcome())).Inc()
	if r.Wrote && r.Observed.Restored != "" {
		why := "malformed"
		if r.Observed.Deleted {
			why = "deleted"
		}
		m.restores.WithLabelValues(why).Inc()
	}
	m.state.mu.Lock()
	defer m.state.mu.Unlock()
	m.state.seen = true
	m.state.last = r
	switch {
	case r.Err == nil:
		m.state.good, m.state.lastSuccess = r, lastSuccess
	case r.Outcome() == Elsewhere:
		m.state.good = nil // what stood before the other installation took over is no longer so
	}
}

// Clear is for the end of a term.
func (m *Metrics) Clear() {
	m.state.mu.Lock()
	defer m.state.mu.Unlock()
	m.state.seen, m.state.last, m.state.good, m.state.lastSuccess = false, nil, nil, nil
}

// stateCollector exports what the leader saw last.
type stateCollector struct {
	kinds []source.Kind

	mu          sync.Mutex
	seen        bool
	last, good  *Result
	lastSuccess map[string]time.Time // by kind of source
}

var (
	descEntries = prometheus.NewDesc("rolecall_entries",
		"Entries of aws-auth that rolecall manages, by kind and by kind of source; an entry with several sources counts for its most explicit one.", []string{"source", "kind"}, nil)
	descForeign     = prometheus.NewDesc("rolecall_foreign_entries", "Entries of aws-auth that others wrote.", nil, nil)
	descNodeRoles   = prometheus.NewDesc("rolecall_node_roles_reported", "Distinct node roles that live agents report.", nil, nil)
	descMissing     = prometheus.NewDesc("rolecall_node_roles_missing", "Distinct node roles that live agents report and that aws-auth does not map to the groups of nodes.", nil, nil)
	descUnbelieved  = prometheus.NewDesc("rolecall_node_reports_refused", "Leases of the roster that are not believed: of another account or partition, or no reports at all.", nil, nil)
	descConflicts   = prometheus.NewDesc("rolecall_conflicts", "Foreign entries that grant less than the config asks for, or another username.", nil, nil)
	descRefused     = prometheus.NewDesc("rolecall_entries_refused", "New entries left out because aws-auth is full.", nil, nil)
	descHeld        = prometheus.NewDesc("rolecall_removals_held", "Entries that are not removed until somebody approves it (rolecall approve), by kind of source.", []string{"source"}, nil)
	descLeft        = prometheus.NewDesc("rolecall_changes_left_out", "Changes that could not be made and are left out, by whether they are about the role of a live node.", []string{"node"}, nil)
	descElsewhere   = prometheus.NewDesc("rolecall_managed_elsewhere", "1 while another installation of rolecall writes aws-auth, so that this one writes nothing.", nil, nil)
	descHistory     = prometheus.NewDesc("rolecall_history_failed", "1 while no revision of aws-auth can be kept.", nil, nil)
	descAddOnly     = prometheus.NewDesc("rolecall_config_unsettled", "1 while this leader only adds, because its config differs from the one applied last.", nil, nil)
	descBytes       = prometheus.NewDesc("rolecall_aws_auth_bytes", "Size of aws-auth; the API server takes 1048576.", nil, nil)
	descMalformed   = prometheus.NewDesc("rolecall_aws_auth_malformed", "1 while the authenticator cannot read aws-auth, or it is gone, and nothing is put back.", nil, nil)
	descSuccess     = prometheus.NewDesc("rolecall_source_last_success_timestamp_seconds", "When all sources of a kind were last read wholly.", []string{"source"}, nil)
	descFailed      = prometheus.NewDesc("rolecall_sources_failed", "Sources of a kind that could not be read, or have been silent for 15 s, and whose entries stay as they are.", []string{"source"}, nil)
	stateCollection = []*prometheus.Desc{descEntries, descForeign, descNodeRoles, descMissing, descUnbelieved, descConflicts, descRefused, descHeld, descLeft, descElsewhere, descHistory, descAddOnly, descBytes, descMalformed, descSuccess, descFailed}
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
	gauge(descMalformed, boolGauge(s.last.Outcome() == Malformed))
	gauge(descElsewhere, boolGauge(s.last.Outcome() == Elsewhere))
	for kind, at := range s.lastSuccess {
		gauge(descSuccess, float64(at.UnixNano())/1e9, kind)
	}
	r := s.good
	if r == nil {
		return
	}
	for kind, n := range s.failed(r) {
		gauge(descFailed, float64(n), kind)
	}
	for key, n := range s.entries(r.Change.Managed) {
		gauge(descEntries, float64(n), key[0], key[1])
	}
	gauge(descForeign, float64(r.Change.Unmanaged))
	gauge(descNodeRoles, float64(len(r.Asked.Live)))
	gauge(descMissing, float64(r.Unmapped))
	gauge(descUnbelieved, float64(len(r.Asked.Refused)+len(r.Change.Refused)))
	gauge(descConflicts, float64(len(r.Change.Conflicts)))
	gauge(descRefused, float64(len(r.Change.NoRoom)))
	for kind, n := range s.held(r.Change.Removals) {
		gauge(descHeld, float64(n), kind)
	}
	nodes := r.LeftNodes()
	gauge(descLeft, float64(nodes), "true")
	gauge(descLeft, float64(len(r.Change.Left)-nodes), "false")
	gauge(descHistory, boolGauge(r.History != nil))
	gauge(descAddOnly, boolGauge(r.Settling != Settled))
	gauge(descBytes, float64(r.Change.Size))
}

func boolGauge(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// failed counts the sources that fail by kind: all kinds that ever answered, so
// that one that recovers is a zero.
func (s *stateCollector) failed(r *Result) map[string]int {
	n := map[string]int{}
	for kind := range s.lastSuccess {
		n[kind] = 0
	}
	for name := range r.Asked.Errs {
		n[source.KindName(s.kinds, name)]++
	}
	return n
}

// held counts the entries that wait for approval by kind of source: all kinds, so
// that a pending removal that ends is a zero.
func (s *stateCollector) held(removals []plan.PendingRemoval) map[string]int {
	n := map[string]int{source.UnknownKind: 0, awsauth.Masters: 0}
	for _, kind := range source.Names(s.kinds) {
		n[kind] = 0
	}
	for i := range removals {
		n[source.KindName(s.kinds, removals[i].Source)] += len(removals[i].Changes)
	}
	return n
}

// entries counts entries by kind of source and kind of entry.
func (s *stateCollector) entries(managed []plan.Owned) map[[2]string]int {
	n := map[[2]string]int{}
	for i := range managed {
		kind := source.UnknownKind // managed by its mark alone, the ledger being lost
		if claims := managed[i].Claims; len(claims) > 0 {
			kind = source.KindName(s.kinds, claims[0].Source)
		}
		n[[2]string{kind, string(managed[i].Kind)}]++
	}
	return n
}
