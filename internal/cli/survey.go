package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/config"
	"github.com/rolecall/rolecall/election"
	"github.com/rolecall/rolecall/internal/history"
	"github.com/rolecall/rolecall/internal/plan"
	"github.com/rolecall/rolecall/internal/register"
	"github.com/rolecall/rolecall/internal/register/configmap"
	"github.com/rolecall/rolecall/internal/report"
	"github.com/rolecall/rolecall/internal/roster"
)

// A health says whether a person has to act.
type health string

const (
	healthGood    health = "healthy"
	healthBad     health = "needs attention"
	healthUnknown health = "unknown"
)

// A survey is all that can be seen at one moment, as -o json and -o yaml print
// it. A part that is missing could not be read or does not exist; Unread says
// which.
type survey struct {
	APIVersion string    `json:"apiVersion"`
	Kind       string    `json:"kind"`
	At         time.Time `json:"at"`
	Health     health    `json:"health"`
	Problems   []string  `json:"problems"`         // what needs a person
	Notes      []string  `json:"notes,omitempty"`  // what is good to know
	Unread     []unread  `json:"unread,omitempty"` // what could not be read

	Leader  *leaderView    `json:"leader,omitempty"`
	Status  *report.Status `json:"status,omitempty"` // what the leader publishes; missing where nobody leads
	Agents  *agentsView    `json:"agents,omitempty"`
	Applied string         `json:"appliedConfig,omitempty"` // hash of the config that the ledger has
	AWSAuth *awsAuthView   `json:"awsAuth,omitempty"`
	Last    *writeView     `json:"lastWrite,omitempty"`

	Sources   []sourceView   `json:"sources"`
	Held      []listedHold   `json:"held"`
	NodeRoles []nodeRoleView `json:"nodeRoles"`
}

type unread struct {
	What  string `json:"what"`
	Error string `json:"error"`

	needed bool // without it health cannot be told
}

type leaderView struct {
	Node     string    `json:"node"`
	Identity string    `json:"identity"`
	Since    time.Time `json:"since,omitzero"`
	Renewed  time.Time `json:"renewed,omitzero"` // by the leader's clock
	Stale    bool      `json:"stale"`            // it was not renewed for longer than the Lease lasts
}

type agentsView struct {
	Reckoned int      `json:"reckonedWith,omitempty"` // as the leader publishes it for the standbys
	Set      *setView `json:"daemonSet,omitempty"`
}

type setView struct {
	Name    string `json:"name"`
	Desired int32  `json:"desired"`
	Ready   int32  `json:"ready"`
	Updated int32  `json:"updated"`
}

type awsAuthView struct {
	Name      string `json:"name"` // with its namespace
	Exists    bool   `json:"exists"`
	Malformed string `json:"malformed,omitempty"` // why the authenticator cannot read it
	Bytes     int    `json:"bytes"`
	Limit     int    `json:"limit"`
	Entries   int    `json:"entries"`
	Foreign   *int   `json:"foreign,omitempty"`   // of them, of others; missing where the ledger cannot be read
	Ignored   int    `json:"ignored"`             // of them, by the authenticator
	ManagedBy string `json:"managedBy,omitempty"` // namespace of the installation that writes it; missing where it names none

	elsewhere bool // that is another installation than the one looked at
}

type writeView struct {
	At       time.Time `json:"at"`
	Who      string    `json:"who"` // field manager
	Why      string    `json:"why,omitempty"`
	Revision int64     `json:"revision,omitempty"` // 0: none of the history
}

type sourceView struct {
	Name     string          `json:"name"`
	Entries  *int            `json:"entries,omitempty"` // of aws-auth, that it asks for; missing where the ledger cannot be read
	Answered time.Time       `json:"answered,omitzero"` // when it last did, in this leader's term
	Trouble  *report.Trouble `json:"trouble,omitempty"` // what it fails with now
	Told     bool            `json:"toldByLeader"`      // whether the leader says how it does
}

type nodeRoleView struct {
	RoleARN string    `json:"roleARN"`
	Node    string    `json:"node"` // that reported it last
	At      time.Time `json:"at"`   // by that node's clock
}

// A surveyor looks at a cluster.
type surveyor struct {
	*objects
	leaseName, daemonSet string

	// The revisions are read anew only where aws-auth has changed.
	revisions    []history.Revision
	revisionsErr error
	revisionsOf  string // resourceVersion of aws-auth; empty for none read
}

// raw is what was read at one moment, with why the rest was not.
type raw struct {
	lease         *coordinationv1.Lease
	leaseErr      error
	stale         bool
	ledger        *plan.State
	ledgerErr     error
	awsAuth       *corev1.ConfigMap
	awsAuthExists bool
	awsAuthErr    error
	set           *appsv1.DaemonSet
	setErr        error
	roster        roster.ListResult
	rosterErr     error
	revisions     []history.Revision
	revisionsErr  error
}

// look reads all there is, as far as it may. It never fails as a whole.
func (s *surveyor) look(ctx context.Context) *survey {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	var r raw
	var group sync.WaitGroup
	group.Go(func() { r.lease, r.stale, r.leaseErr = s.lease(ctx) })
	group.Go(func() { r.ledger, r.ledgerErr = s.ledger(ctx) })
	group.Go(func() {
		if s.daemonSet != "" {
			r.set, r.setErr = s.client.AppsV1().DaemonSets(s.namespace).Get(ctx, s.daemonSet, metav1.GetOptions{})
		}
	})
	group.Go(func() {
		r.roster, r.rosterErr = roster.New(roster.Leases(s.client.CoordinationV1(), s.namespace)).List(ctx, "")
	})
	group.Go(func() {
		r.awsAuth, r.awsAuthExists, r.awsAuthErr = s.awsAuth(configmap.FieldManager, dryRunNone).Read(ctx)
		if version := versionOf(r.awsAuth); version == "" || version != s.revisionsOf || s.revisionsErr != nil {
			s.revisions, s.revisionsErr = s.objects.revisions().List(ctx)
			s.revisionsOf = version
		}
		r.revisions, r.revisionsErr = s.revisions, s.revisionsErr
	})
	group.Wait()
	return s.understand(&r, time.Now())
}

func versionOf(cm *corev1.ConfigMap) string {
	if cm == nil {
		return ""
	}
	return cm.ResourceVersion
}

// staleLook is for how long a Lease that looks stale is looked at again: its
// time is the leader's clock's, which may be behind the one here.
const staleLook = 5 * time.Second

// lease reads the leader's Lease. It is stale if it was not renewed for as long
// as it lasts, and is not renewed while it is looked at either.
func (s *surveyor) lease(ctx context.Context) (lease *coordinationv1.Lease, stale bool, err error) {
	leases := s.client.CoordinationV1().Leases(s.namespace)
	lease, err = leases.Get(ctx, s.leaseName, metav1.GetOptions{})
	if err != nil || !looksStale(lease, time.Now()) {
		return lease, false, err
	}
	was := lease.ResourceVersion
	again := time.NewTicker(staleLook / 5)
	defer again.Stop()
	for until := time.Now().Add(staleLook); time.Now().Before(until); {
		select {
		case <-ctx.Done():
			return lease, true, nil
		case <-again.C:
		}
		now, err := leases.Get(ctx, s.leaseName, metav1.GetOptions{})
		if err != nil {
			return lease, true, nil //nolint:nilerr // what was read before stands
		}
		if lease = now; now.ResourceVersion != was {
			return lease, false, nil
		}
	}
	return lease, true, nil
}

func looksStale(lease *coordinationv1.Lease, now time.Time) bool {
	if holder(lease) == "" || lease.Spec.RenewTime == nil || lease.Spec.LeaseDurationSeconds == nil {
		return false
	}
	return now.Sub(lease.Spec.RenewTime.Time) > time.Duration(*lease.Spec.LeaseDurationSeconds)*time.Second
}

func holder(lease *coordinationv1.Lease) string {
	if lease.Spec.HolderIdentity == nil {
		return ""
	}
	return *lease.Spec.HolderIdentity
}

// understand makes a survey of what was read.
func (s *surveyor) understand(r *raw, now time.Time) *survey {
	v := newSurvey(now)
	s.understandLease(v, r)
	s.understandAgents(v, r)
	doc := s.understandAWSAuth(v, r)
	s.understandLedger(v, r, doc, now)
	s.understandLastWrite(v, r)
	if r.rosterErr != nil {
		v.missing("the roster (Leases)", r.rosterErr, false)
	}
	for _, report := range r.roster.Reports {
		v.NodeRoles = append(v.NodeRoles, nodeRoleView{report.RoleARN, report.Node, report.Renewed})
	}
	v.judge()
	return v
}

func newSurvey(now time.Time) *survey {
	return &survey{
		APIVersion: config.APIVersion, Kind: "Status", At: now.UTC().Truncate(time.Second),
		Problems: []string{}, Sources: []sourceView{}, Held: []listedHold{}, NodeRoles: []nodeRoleView{},
	}
}

func (v *survey) problem(format string, args ...any) {
	v.Problems = append(v.Problems, fmt.Sprintf(format, args...))
}

func (v *survey) note(format string, args ...any) {
	v.Notes = append(v.Notes, fmt.Sprintf(format, args...))
}

func (v *survey) missing(what string, err error, needed bool) {
	v.Unread = append(v.Unread, unread{what, err.Error(), needed})
}

func (s *surveyor) understandLease(v *survey, r *raw) {
	logs := fmt.Sprintf("kubectl -n %s logs daemonset/%s", s.namespace, cmp.Or(s.daemonSet, defaultDaemonSet))
	switch {
	case apierrors.IsNotFound(r.leaseErr):
		v.problem("nobody has ever led: there is no Lease %s in namespace %s: give the agents' namespace with -n; where it is the right one, see why no agent stands for election: %s", s.leaseName, s.namespace, logs)
		return
	case r.leaseErr != nil:
		v.missing("the Lease "+s.leaseName, r.leaseErr, true)
		return
	}
	lease := r.lease
	id := holder(lease)
	if id == "" {
		when := ""
		if lease.Spec.RenewTime != nil {
			when = fmt.Sprintf(" %s ago", age(lease.Spec.RenewTime.Time))
		}
		v.problem("nobody leads: the Lease was released%s and no agent has taken it: %s", when, logs)
		return
	}
	node, _, _ := strings.Cut(id, "_")
	v.Leader = &leaderView{Node: node, Identity: id, Stale: r.stale}
	if lease.Spec.AcquireTime != nil {
		v.Leader.Since = lease.Spec.AcquireTime.UTC()
	}
	if lease.Spec.RenewTime != nil {
		v.Leader.Renewed = lease.Spec.RenewTime.UTC()
	}
	if r.stale {
		v.problem("nobody leads: node %s holds the Lease and has not renewed it for %s, and no other agent takes it: %s", node, age(v.Leader.Renewed), logs)
	}
	v.understandPublished(lease.Annotations[report.StatusAnnotation], id)
}

// understandPublished takes in what the leader says of its term. What another
// agent said is not its.
func (v *survey) understandPublished(value, leader string) {
	if value == "" {
		if !v.Leader.Stale {
			v.note("the leader has not said yet how its sources do: it has just begun, or is of an older version")
		}
		return
	}
	status, err := report.DecodeStatus(value)
	if err != nil {
		v.missing("what the leader says of its sources", err, false)
		return
	}
	if status.Leader != leader {
		v.note("what is said on the Lease of the sources is another leader's and not shown")
		return
	}
	v.Status = status
	switch status.Result {
	case string(report.Elsewhere):
		v.problem("the leader writes nothing: %s", status.Error)
	case string(report.Malformed):
		v.problem("the leader leaves alone what it cannot read: %s", status.Error)
	case string(report.Immutable):
		v.problem("the leader can't write, nothing is added, changed or removed: %s", status.Error)
	case string(report.Failed):
		v.problem("the leader's last pass failed, it tries again: %s", status.Error)
		if status.Waiting > 0 {
			some := strings.Join(status.WaitingSome, ", ")
			if rest := status.Waiting - len(status.WaitingSome); rest > 0 {
				some = strings.TrimPrefix(fmt.Sprintf("%s, %d more", some, rest), ", ")
			}
			v.problem("%s for that: %s", counted(status.Waiting, "entry waits", "entries wait"), some)
		}
	}
	if status.Immutable != "" && !strings.Contains(status.Error, "is immutable") {
		v.problem("%s", status.Immutable)
	}
	if e := status.ConfigError; e != nil {
		v.problem("the config is refused since %s ago, the last good one is in force: %s", age(e.Since), e.Error)
	}
	for _, source := range status.Sources {
		if source.Trouble != nil {
			v.problem("source %s has failed for %s, its entries stay as they are: %s", source.Name, age(source.Trouble.Since), source.Trouble.Error)
		}
	}
	if status.MoreFailed > 0 {
		v.problem("%d more sources fail: see the metric rolecall_sources_failed and the Events on aws-auth", status.MoreFailed)
	}
	for _, c := range status.ConflictsSome {
		v.problem("a foreign entry stands in the way and is kept: %s is mapped to %q, the config asks for %q: see rolecall plan, which "+
			"says what to do about it", c.ARN, c.Has, c.Want)
	}
	if rest := status.Conflicts - len(status.ConflictsSome); rest > 0 {
		v.problem("%d more foreign entries stand in the way: see rolecall plan", rest)
	}
	for _, refusal := range status.RefusedSome {
		v.problem("the role that Lease %s reports is not mapped: %s", refusal.Lease, refusal.Error)
	}
	if rest := status.Refused - len(status.RefusedSome); rest > 0 {
		v.problem("%d more reports of node roles are not believed: see the Events on aws-auth", rest)
	}
	if status.NoRoom > 0 {
		v.problem("aws-auth is full, %d new entries are left out: remove entries that nobody needs, or let groups in by a role that their members assume", status.NoRoom)
	}
	for _, left := range status.LeftSome {
		v.problem("a change could not be made and is left out, the leader tries it again: %s", left)
	}
	if rest := status.Left - len(status.LeftSome); rest > 0 {
		v.problem("%d more changes are left out: see rolecall plan", rest)
	}
	if status.History != "" {
		v.problem("no revision of aws-auth can be kept, so that rolecall rollback may lack the newest: %s", status.History)
	}
	switch {
	case status.Settling == report.StateLost:
		v.note("the ledger is missing or damaged, so who asked for the managed entries is not known: the leader only adds until its config has settled")
	case status.AddOnly:
		v.note("the leader only adds until its mounted config has settled: it differs from the one applied last")
	}
}

func (s *surveyor) understandAgents(v *survey, r *raw) {
	view := &agentsView{}
	if r.lease != nil && r.leaseErr == nil {
		_, _ = fmt.Sscanf(r.lease.Annotations[election.AgentsAnnotation], "%d", &view.Reckoned)
	}
	switch {
	case apierrors.IsNotFound(r.setErr): // --agents is for clusters without one
	case r.setErr != nil:
		v.missing("the DaemonSet "+s.daemonSet, r.setErr, false)
	case r.set != nil:
		st := &r.set.Status
		view.Set = &setView{r.set.Name, st.DesiredNumberScheduled, st.NumberReady, st.UpdatedNumberScheduled}
	}
	if view.Reckoned > 0 || view.Set != nil {
		v.Agents = view
	}
}

// understandAWSAuth returns nil where aws-auth cannot be read.
func (s *surveyor) understandAWSAuth(v *survey, r *raw) *awsauth.Document {
	if r.awsAuthErr != nil {
		v.missing(s.name(), r.awsAuthErr, true)
		return nil
	}
	view := &awsAuthView{Name: s.name(), Exists: r.awsAuthExists, Limit: awsauth.Limit}
	v.AWSAuth = view
	for _, text := range r.awsAuth.Data {
		view.Bytes += len(text)
	}
	for _, body := range r.awsAuth.BinaryData {
		view.Bytes += len(body)
	}
	if view.Bytes > report.WarnAt {
		v.problem("%s has %d of %d bytes: let groups in by a role that their members assume, or use access entries", s.name(), view.Bytes, awsauth.Limit)
	}
	s.understandInstallation(v, r)
	if cm := r.awsAuth; cm.Immutable != nil && *cm.Immutable && (v.Status == nil || v.Status.Immutable == "") {
		v.problem("%s", (&register.ImmutableError{Namespace: s.awsAuthNamespace, Name: s.awsAuthName}).Error())
	}
	doc := awsauth.ParseConfigMap(r.awsAuth.Data, r.awsAuth.BinaryData)
	var unreadable []string
	for _, p := range doc.Unreadable() {
		unreadable = append(unreadable, p.Error())
		v.problem("%s cannot be read, and every principal in it is locked out: %s: see rolecall history, and rolecall rollback", p.Key, p)
	}
	view.Malformed = strings.Join(unreadable, "; ")
	for _, l := range doc.Entries() {
		view.Entries++
		if l.Dropped != "" {
			view.Ignored++
		}
	}
	if !view.Exists && r.ledger != nil && len(r.ledger.Owned) > 0 {
		v.problem("%s is gone, whoever stood in it is locked out: the leader puts it back; see rolecall history", s.name())
	}
	return doc
}

// understandInstallation says that aws-auth is another installation's, where the
// leader has not.
func (s *surveyor) understandInstallation(v *survey, r *raw) {
	owner := r.awsAuth.Annotations[configmap.InstallationAnnotation]
	v.AWSAuth.ManagedBy, v.AWSAuth.elsewhere = owner, owner != "" && owner != s.namespace
	said := v.Status != nil && v.Status.Result == string(report.Elsewhere)
	if v.AWSAuth.elsewhere && !said {
		v.problem("%s", (&register.ElsewhereError{Register: s.name(), Owner: owner, Self: s.namespace}).Error())
	}
}

func (s *surveyor) understandLedger(v *survey, r *raw, doc *awsauth.Document, now time.Time) {
	if r.ledgerErr != nil {
		if !errors.Is(r.ledgerErr, errNoLedger) {
			v.missing("the ledger", r.ledgerErr, true)
			v.sources(nil)
			return
		}
		r.ledger = &plan.State{} // nothing is ours
	}
	v.Applied = r.ledger.Config
	v.sources(r.ledger)
	var approved []string
	if r.awsAuthErr == nil {
		approved = configmap.Approved(r.awsAuth.Annotations[configmap.ApprovalAnnotation], now)
	}
	for _, h := range r.ledger.Removals {
		l := listedHold{PendingRemoval: h}
		if r.awsAuthErr == nil {
			l.Approved = new(slices.Contains(approved, h.ID))
		}
		v.Held = append(v.Held, l)
		elsewhere := v.AWSAuth != nil && v.AWSAuth.elsewhere // whose leader does not remove them
		if (l.Approved == nil || !*l.Approved) && !elsewhere {
			v.holdProblem(&h)
		}
	}
	if doc == nil {
		return
	}
	v.AWSAuth.Foreign = new(foreign(doc, r.ledger))
}

func (v *survey) holdProblem(h *plan.PendingRemoval) {
	v.problem("%s, held back for %s: look at it and let it go on with rolecall approve %s", report.WhyPending(h), age(h.Since), h.ID)
}

// foreign counts the entries that have no mark of ours and that the ledger does
// not have.
func foreign(doc *awsauth.Document, ledger *plan.State) int {
	ours := map[string][]awsauth.Entry{}
	for i := range ledger.Owned {
		if o := &ledger.Owned[i]; !o.Waiting {
			ours[strings.ToLower(o.ARN)] = append(ours[strings.ToLower(o.ARN)], o.Entry)
		}
	}
	n := 0
	for _, l := range doc.Entries() {
		if l.SyncedBy != awsauth.Mark && !slices.ContainsFunc(ours[strings.ToLower(l.ARN)], func(e awsauth.Entry) bool { return sameEntry(e, l.Entry) }) {
			n++
		}
	}
	return n
}

// sources puts together what the ledger says of the sources and what the leader
// does.
func (v *survey) sources(ledger *plan.State) {
	at := map[string]int{}
	of := func(name string) *sourceView {
		i, known := at[name]
		if !known {
			i = len(v.Sources)
			at[name] = i
			v.Sources = append(v.Sources, sourceView{Name: name})
			if ledger != nil {
				v.Sources[i].Entries = new(int)
			}
		}
		return &v.Sources[i]
	}
	if v.Status != nil {
		for _, told := range v.Status.Sources {
			s := of(told.Name)
			s.Answered, s.Trouble, s.Told = told.Success, told.Trouble, true
		}
	}
	if ledger != nil {
		for i := range ledger.Owned {
			if o := &ledger.Owned[i]; !o.Pending {
				for _, claim := range o.Claims {
					*of(claim.Source).Entries++
				}
			}
		}
	}
	slices.SortStableFunc(v.Sources, func(a, b sourceView) int { return cmp.Compare(a.Name, b.Name) })
}

func (s *surveyor) understandLastWrite(v *survey, r *raw) {
	if r.revisionsErr != nil {
		v.missing("the history", r.revisionsErr, false)
	}
	if r.awsAuthErr != nil || !r.awsAuthExists {
		return
	}
	who, at := history.LastWriter(r.awsAuth, configmap.FieldManager)
	v.Last = &writeView{At: at.UTC(), Who: who}
	for i := range r.revisions {
		if rev := &r.revisions[i]; rev.Version == r.awsAuth.ResourceVersion {
			v.Last = &writeView{At: rev.At.UTC(), Who: rev.Who, Why: rev.Why, Revision: rev.Number}
			return
		}
	}
}

// judge says whether a person has to act.
func (v *survey) judge() {
	switch {
	case len(v.Problems) > 0:
		v.Health = healthBad
	case slices.ContainsFunc(v.Unread, func(u unread) bool { return u.needed }):
		v.Health = healthUnknown
	default:
		v.Health = healthGood
	}
}
