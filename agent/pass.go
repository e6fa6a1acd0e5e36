package agent

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/internal/roster"
)

const (
	conflictTries = 5                // passes in a row that somebody else may spoil before backing off
	callTimeout   = 15 * time.Second // of one request to the API server
	// ledgerFresh is for how long the ledger is not read again, since nobody
	// else writes it. It is shorter than what it takes to lose the lease.
	ledgerFresh = 5 * time.Second
)

// ErrMalformed says that the authenticator cannot read aws-auth, or that it is
// deleted, and that nothing was put back.
var ErrMalformed = errors.New("whoever stands in aws-auth is locked out")

// errJustDeleted says that aws-auth was deleted a moment ago.
var errJustDeleted = errors.New("aws-auth was deleted: waiting a moment whether somebody is replacing it")

// deletedGrace is how long a deleted aws-auth is left to who deleted it: tools
// replace it by deleting it and making it anew.
const deletedGrace = 2 * time.Second

// Outcome is what one pass saw and did.
type Outcome struct {
	Plan     *awsauth.Plan
	Failed   map[string]error // sources that could not be asked, by name
	Reported int              // node roles that live agents report
	Reports  []roster.Report  // of the roster, those that are not believed too
	Unmapped int              // of them, those that aws-auth as planned doesn't map to the groups of nodes
	Refused  map[string]error // Leases of the roster that are not believed, by name
	Wrote    bool             // aws-auth
	Mended   string           // what was, or with a dry run would be, put back; empty if nothing
	AddOnly  bool             // nothing of ours was changed or removed, for the config may be an old one
	before   *corev1.ConfigMap
	history  error          // why the history could not be kept
	unread   error          // why the roster could not be read
	states   []SourceStatus // of the sources, the most explicit first
}

// Before is the text of aws-auth's keys that the plan was made for.
func (o *Outcome) Before() map[string]string { return o.before.Data }

// pass reads, plans and writes once, again from reading aws-auth where somebody
// else wrote in between. With dryRun nothing is written.
func (l *Leader) pass(ctx context.Context, spec *Spec, dryRun bool) (*Outcome, error) {
	seen := ""
	if at := l.rosterSeen.Load(); at != nil {
		seen = *at
	}
	// Whoever is locked out waits for all of them.
	var reports rosterView
	var asking sync.WaitGroup
	asking.Go(func() { reports = l.gather.reports(ctx, spec, seen) })
	ledger, cm, err := l.read(ctx, l.past.news())
	asking.Wait()
	if seen != "" && reports.newest {
		l.rosterSeen.Store(nil) // refused: of an API server whose data is an older copy, say
	}
	for try := 1; ; try++ {
		var out *Outcome
		if err == nil {
			out, err = l.tryPass(ctx, spec, ledger, cm, &reports, dryRun)
		}
		if err == nil || !errors.Is(err, awsauth.ErrConflict) || try == conflictTries {
			return out, err
		}
		l.log.Debug("somebody else wrote first", "try", try, "err", err)
		now := l.now()
		l.busySince.Store(&now)
		ledger, cm, err = l.read(ctx, nil)
	}
}

// read reads the ledger and aws-auth, or takes the aws-auth that the watch has just
// seen, where seen is not nil. Each is written by its resourceVersion, so that what
// others write from here on spoils the pass, and no order of the two says more.
func (l *Leader) read(ctx context.Context, seen *corev1.ConfigMap) (*ledgerObject, *corev1.ConfigMap, error) {
	var ledger *ledgerObject
	var ledgerErr error
	var reading sync.WaitGroup
	reading.Go(func() { ledger, ledgerErr = l.readLedger(ctx) })
	cm, err := seen, error(nil)
	if cm == nil {
		cm, err = call(ctx, l.awsAuth.Get)
	}
	reading.Wait()
	if ledgerErr != nil {
		err = ledgerErr
	}
	return ledger, cm, err
}

// tryPass plans by reports, and by the newest ones, which take their place, where
// anything is to be taken away, or held back: a roster that is a moment old may lack a live node's
// role.
func (l *Leader) tryPass(ctx context.Context, spec *Spec, ledger *ledgerObject, cm *corev1.ConfigMap, reports *rosterView, dryRun bool) (*Outcome, error) {
	doc, mended, err := l.understand(ctx, spec, cm, ledger.content)
	if err != nil {
		return nil, err
	}
	out, err := l.plan(spec, ledger.content, cm, doc, mended, *reports)
	if err == nil && !reports.newest && (takesAway(out.Plan) || len(out.Plan.Held) > 0) {
		*reports = l.gather.reports(ctx, spec, "")
		out, err = l.plan(spec, ledger.content, cm, doc, mended, *reports)
	}
	if err != nil || dryRun {
		return out, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return out, l.carryOut(ctx, ledger, cm, mended, out)
}

// plan makes the plan for aws-auth as it was read, which is doc, or what is to be
// put back in its place.
func (l *Leader) plan(spec *Spec, ledger *awsauth.Ledger, cm *corev1.ConfigMap, doc *awsauth.Document, mended *mending, reports rosterView) (*Outcome, error) {
	base := cm
	if mended != nil {
		base = mended.base
	}
	got := l.gather.gather(spec, doc, ledger, reports)
	addOnly := l.unsettled(spec, ledger)
	plan, err := awsauth.MakePlan(doc, ledger, awsauth.Request{
		Sources:        got.sources,
		Required:       got.required,
		Adopt:          spec.Adopt,
		AdoptConflicts: spec.AdoptConflicts,
		Guard:          &awsauth.Guard{Percent: spec.RemovalLimit, Approved: awsauth.Approved(cm.Annotations[awsauth.ApprovalAnnotation], l.now())},
		AddOnly:        addOnly,
		Config:         spec.Hash,
		Written:        cm.Annotations[awsauth.WriteAnnotation],
		Other:          binarySize(base),
		Now:            l.now(),
	})
	if err != nil {
		return nil, fmt.Errorf("plan aws-auth: %w", err)
	}
	out := &Outcome{Plan: plan, Failed: got.errs, Reported: got.reported, Reports: reports.Reports, Unmapped: unmapped(plan.After, got.live), Refused: got.refused, AddOnly: addOnly, before: cm, states: got.states, unread: reports.err}
	if mended != nil {
		out.Mended = mended.String()
	}
	return out, nil
}

// takesAway reports whether a plan takes something from an entry that stands, or all
// of it.
func takesAway(plan *awsauth.Plan) bool {
	return slices.ContainsFunc(plan.Changes, func(c awsauth.Change) bool { return c.Op != awsauth.Add })
}

// understand reads aws-auth as the authenticator does. Where it can't, or where
// aws-auth is gone, it says what is to be put back.
func (l *Leader) understand(ctx context.Context, spec *Spec, cm *corev1.ConfigMap, ledger *awsauth.Ledger) (*awsauth.Document, *mending, error) {
	doc, parseErr := l.parse(cm.Data)
	deleted := cm.ResourceVersion == ""
	if parseErr == nil && !deleted {
		l.past.read(cm)
		return doc, nil, nil
	}
	mended, err := l.past.mend(ctx, cm, parseErr)
	switch {
	case deleted && mended == nil && err == nil && len(ledger.Owned) == 0:
		return doc, nil, nil // it never was there
	case deleted && !spec.Restore:
		return nil, nil, fmt.Errorf("%w: it was deleted, and safety.onMalformed is refuse", ErrMalformed)
	case !spec.Restore:
		return nil, nil, fmt.Errorf("%w: %w; safety.onMalformed is refuse", ErrMalformed, parseErr)
	case err != nil:
		return nil, nil, errors.Join(fmt.Errorf("%w: %w", ErrMalformed, err), parseErr)
	case deleted && l.stillReplacing():
		return nil, nil, errJustDeleted
	case mended == nil:
		return doc, nil, nil // of what it was only our own entries are known
	}
	doc, err = awsauth.Parse(mended.base.Data)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return doc, mended, nil
}

// parse reads aws-auth. A text that is the one read or written last is known
// without: to compare 1 MiB takes a hundredth of what reading it does.
func (l *Leader) parse(data map[string]string) (*awsauth.Document, error) {
	if l.parsed != nil && maps.Equal(l.parsed.Data(), data) {
		return l.parsed, nil
	}
	doc, err := awsauth.Parse(data)
	if err == nil {
		l.parsed = doc
	}
	return doc, err
}

// stillReplacing reports whether aws-auth was first missed less than
// deletedGrace ago. Outside a term nobody waits.
func (l *Leader) stillReplacing() bool {
	if l.began.IsZero() {
		return false
	}
	left := deletedGrace - l.past.missing()
	if left <= 0 {
		return false
	}
	l.wakeIn(left)
	return true
}

// unsettled reports whether the mounted config may be older than the one that
// was applied last. Kubelets update their mounts up to two minutes apart, so a
// new leader whose config differs takes nothing away until its own has not
// changed for that long.
func (l *Leader) unsettled(spec *Spec, ledger *awsauth.Ledger) bool {
	if l.caughtUp || l.began.IsZero() || ledger.Config == "" || ledger.Config == spec.Hash {
		l.caughtUp = true
		return false
	}
	since := l.began
	if changed := l.specChanged.Load(); changed != nil && changed.After(since) {
		since = *changed
	}
	left := l.opts.SettleTime - l.now().Sub(since)
	if left <= 0 {
		l.caughtUp = true
		return false
	}
	l.wakeIn(left)
	return true
}

// wakeIn has a pass made after d, if none is made before: that one says anew when
// the next is due.
func (l *Leader) wakeIn(d time.Duration) {
	if l.again == 0 || d < l.again {
		l.again = d
	}
}

// carryOut writes the ledger ahead, aws-auth, and the ledger as it settled.
// Each write needs the resourceVersion that was read; where one fails, those
// behind it are left out, and the next pass sets right what is left over.
//
// What a write takes away is recorded before it, all else after.
func (l *Leader) carryOut(ctx context.Context, ledger *ledgerObject, cm *corev1.ConfigMap, mended *mending, out *Outcome) error {
	plan := out.Plan
	if !plan.Writes() && mended == nil {
		l.record(ctx, cm, out, "", "")
		return l.settle(ctx, ledger, plan)
	}
	takes := takesAway(plan)
	switch {
	case mended != nil && !mended.deleted:
		// Nothing else will have the broken text.
		_, err := l.past.recordNow(ctx, cm, "", "", mended.broken)
		l.metrics.wrote("revision", err)
		if err != nil {
			return fmt.Errorf("the unreadable aws-auth stays until its text is kept: %w", err)
		}
	case takes:
		l.record(ctx, cm, out, "", "")
	}
	if plan.Ahead != nil {
		if err := l.writeLedger(ctx, ledger, plan.Ahead); err != nil {
			return err
		}
	}
	written, err := l.writeAWSAuth(ctx, toWrite(cm, mended, plan, ledger.content))
	if err != nil {
		return err
	}
	out.Wrote = true
	l.parsed = plan.After
	l.past.read(written)
	l.diary.wrote(cm, written, reason(out))
	if mended != nil {
		l.tellMended(written, mended)
	}
	if plan.Writes() {
		l.tellChanges(written, plan)
	}
	if err := l.settle(ctx, ledger, plan); err != nil {
		return err
	}
	if mended == nil && !takes {
		l.record(ctx, cm, out, "", "")
	}
	l.record(ctx, written, out, "rolecall on "+l.opts.NodeName, reason(out))
	return nil
}

// writeAWSAuth writes aws-auth. What others wrote meanwhile wakes the work, and the
// event of this write does not.
func (l *Leader) writeAWSAuth(ctx context.Context, cm *corev1.ConfigMap) (*corev1.ConfigMap, error) {
	l.own.begin()
	written, err := call(ctx, func(ctx context.Context) (*corev1.ConfigMap, error) { return l.awsAuth.Put(ctx, cm) })
	version := ""
	if err == nil {
		version = written.ResourceVersion
	}
	for _, seen := range l.own.end(version) {
		l.past.saw(seen)
		l.past.unsure() // aws-auth may have been deleted since
		notify(l.wake)
	}
	l.metrics.wrote("aws-auth", err)
	return written, err
}

// toWrite is aws-auth with the plan's text, signed with the ledger that stands.
func toWrite(cm *corev1.ConfigMap, mended *mending, plan *awsauth.Plan, ledger *awsauth.Ledger) *corev1.ConfigMap {
	if mended != nil {
		cm = mended.base
	}
	cm = cm.DeepCopy()
	if cm.Data == nil {
		cm.Data = map[string]string{}
	}
	maps.Copy(cm.Data, plan.After.Data())
	metav1.SetMetaDataAnnotation(&cm.ObjectMeta, awsauth.WriteAnnotation, ledger.ID())
	if len(plan.Held) == 0 {
		delete(cm.Annotations, awsauth.ApprovalAnnotation) // used, or over
	}
	return cm
}

func (l *Leader) settle(ctx context.Context, ledger *ledgerObject, plan *awsauth.Plan) error {
	if plan.Settled == nil {
		return nil
	}
	return l.writeLedger(ctx, ledger, plan.Settled)
}

// record keeps a content in the history. That it can't is told and hinders
// nothing: nodes must get in all the same.
func (l *Leader) record(ctx context.Context, cm *corev1.ConfigMap, out *Outcome, who, why string) {
	before := l.past.recorded
	again, err := l.past.record(ctx, cm, who, why)
	out.history = l.past.err
	if again > 0 {
		l.wakeIn(again)
	}
	if err != nil || l.past.recorded != before {
		l.metrics.wrote("revision", err)
	}
}

// reason is why a write was made, in one line.
func reason(out *Outcome) string {
	var parts []string
	if out.Mended != "" {
		parts = append(parts, out.Mended)
	}
	if out.Plan.Writes() {
		parts = append(parts, summary(out.Plan))
	}
	return strings.Join(parts, "; ")
}

// summary counts a plan's changes and names who asked for them.
func summary(plan *awsauth.Plan) string {
	added, changed, removed := count(plan)
	var sources []string
	for i := range plan.Changes {
		sources = append(sources, plan.Changes[i].Sources...)
	}
	slices.Sort(sources)
	sources = slices.Compact(sources)
	entries := "entries"
	if added == 1 {
		entries = "entry"
	}
	text := fmt.Sprintf("%d %s added, %d changed, %d removed", added, entries, changed, removed)
	if len(sources) > 0 {
		text += ", of " + strings.Join(sources, ", ")
	}
	return text
}

func count(plan *awsauth.Plan) (added, changed, removed int) {
	for i := range plan.Changes {
		switch plan.Changes[i].Op {
		case awsauth.Add:
			added++
		case awsauth.Update, awsauth.Adopt:
			changed++
		case awsauth.Remove, awsauth.Withdraw:
			removed++
		}
	}
	return added, changed, removed
}

// tellChanges logs a write and records it as an Event.
func (l *Leader) tellChanges(cm *corev1.ConfigMap, plan *awsauth.Plan) {
	for _, c := range plan.Changes {
		l.log.Info("entry changed", "op", string(c.Op), "kind", string(c.Entry.Kind), "arn", c.Entry.ARN,
			"username", c.Entry.Username, "groups", c.Entry.Groups, "sources", c.Sources, "reason", c.Reason)
	}
	added, changed, removed := count(plan)
	l.log.Info("wrote aws-auth", "added", added, "changed", changed, "removed", removed, "resource_version", cm.ResourceVersion)
	l.event(cm, corev1.EventTypeNormal, "Updated", summary(plan))
}

// tellMended says that what others broke was put back.
func (l *Leader) tellMended(cm *corev1.ConfigMap, m *mending) {
	why := "malformed"
	if m.deleted {
		why = "deleted"
	}
	l.metrics.restores.WithLabelValues(why).Inc()
	l.log.Error("aws-auth locked everybody out and was put back", "what", m.String())
	note := m.String()
	if !m.deleted {
		note += "; the text that could not be read is kept: see rolecall history"
	}
	l.event(cm, corev1.EventTypeWarning, "Restored", note)
}

// ledgerObject is the ledger with the ConfigMap that it was read from.
type ledgerObject struct {
	cm      *corev1.ConfigMap
	content *awsauth.Ledger
	read    time.Time
}

// readLedger returns the ledger as this leader read or wrote it last. A write
// of somebody else's shows at the next write, by its resourceVersion.
func (l *Leader) readLedger(ctx context.Context) (*ledgerObject, error) {
	if l.ledger != nil && l.now().Sub(l.ledger.read) < ledgerFresh {
		return l.ledger, nil
	}
	cm, err := call(ctx, l.ledgerStore.Get)
	if err != nil {
		return nil, err
	}
	content, err := awsauth.DecodeLedger(cm.BinaryData[awsauth.LedgerKey])
	switch {
	case errors.Is(err, awsauth.ErrNewerLedger):
		return nil, err
	case err != nil:
		l.log.Error("the ledger is damaged: the marks in aws-auth tell what is ours, and nothing of unknown source is removed while a source fails", "err", err)
		content = &awsauth.Ledger{}
	}
	l.ledger = &ledgerObject{cm, content, l.now()}
	return l.ledger, nil
}

func (l *Leader) writeLedger(ctx context.Context, ledger *ledgerObject, content *awsauth.Ledger) error {
	data, err := content.Encode()
	if err != nil {
		return err
	}
	cm := ledger.cm.DeepCopy()
	if cm.BinaryData == nil {
		cm.BinaryData = map[string][]byte{}
	}
	if cm.Labels == nil {
		cm.Labels = map[string]string{}
	}
	cm.BinaryData[awsauth.LedgerKey] = data
	cm.Labels["app.kubernetes.io/managed-by"] = "rolecall"
	written, err := call(ctx, func(ctx context.Context) (*corev1.ConfigMap, error) { return l.ledgerStore.Put(ctx, cm) })
	l.metrics.wrote("ledger", err)
	if err != nil {
		l.ledger = nil
		return err
	}
	l.ledger = &ledgerObject{written, content, l.now()}
	*ledger = *l.ledger
	return nil
}

// call bounds one request to the API server, so that one that hangs does not
// hold up the work for longer than callTimeout.
func call[T any](ctx context.Context, request func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return request(ctx)
}

func binarySize(cm *corev1.ConfigMap) int {
	n := 0
	for _, v := range cm.BinaryData {
		n += len(v)
	}
	return n
}
