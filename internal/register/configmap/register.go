package configmap

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/internal/history"
	"github.com/rolecall/rolecall/internal/plan"
	"github.com/rolecall/rolecall/internal/register"
)

const (
	// LedgerName is the ConfigMap in the installation's namespace that holds the
	// ledger.
	LedgerName = "rolecall-ledger"

	// FieldManager is the name under which the API server records our writes.
	FieldManager = "rolecall"

	// InstallationAnnotation is the annotation of aws-auth that names the
	// installation that writes it, by its namespace. Any other writes nothing.
	InstallationAnnotation = "rolecall.dev/installation"

	// CallTimeout is how long one request to the API server may take.
	CallTimeout = 15 * time.Second

	// ledgerFresh is for how long the ledger is not read again, since nobody else
	// writes it. It is shorter than what it takes to lose the lease.
	ledgerFresh = 5 * time.Second

	// deletedGrace is how long a deleted aws-auth is left to who deleted it: tools
	// replace it by deleting it and making it anew.
	deletedGrace = 2 * time.Second
)

// Annotations are those that rolecall itself writes on aws-auth: good for one write,
// and no content of it.
func Annotations() []string {
	return []string{WriteAnnotation, ApprovalAnnotation, InstallationAnnotation}
}

var errJustDeleted = errors.New("aws-auth was deleted: waiting a moment whether somebody is replacing it")

// Options is what a [Register] works with.
type Options struct {
	Client    kubernetes.Interface
	Namespace string // of the ledger and the history: the installation's

	AWSAuthNamespace string // default kube-system
	AWSAuthName      string // default aws-auth

	NodeName string // in the history
	// KeepWrites is how many of the last changes of aws-auth a term remembers; 0 for
	// none.
	KeepWrites int
	// Unattended says that nobody watches aws-auth: a deleted one is put back at
	// once.
	Unattended bool
	// Wrote is told of every write, by object (aws-auth, ledger, revision) and what
	// came of it; nil: nobody is.
	Wrote  func(object string, err error)
	Logger *slog.Logger
	Now    func() time.Time // default time.Now
}

// A Register is the ConfigMap aws-auth in one term of a leader. It implements
// [register.Register].
type Register struct {
	opts Options

	awsAuth, ledgerStore *awsauth.Store
	restorer             *restorer
	own                  *ownWrites
	diary                *diary

	ledger    *ledgerObject     // as read or written last; nil to read it again
	parsed    *awsauth.Document // as read or written last; nil before
	elsewhere string            // the other installation that was seen to write aws-auth
}

// New returns a register that has asked nothing yet.
func New(opts Options) *Register {
	if opts.AWSAuthNamespace == "" {
		opts.AWSAuthNamespace = awsauth.Namespace
	}
	if opts.AWSAuthName == "" {
		opts.AWSAuthName = awsauth.Name
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Wrote == nil {
		opts.Wrote = func(string, error) {}
	}
	return &Register{
		opts:        opts,
		awsAuth:     awsauth.NewStore(opts.Client.CoreV1().ConfigMaps(opts.AWSAuthNamespace), opts.AWSAuthName, FieldManager),
		ledgerStore: awsauth.NewStore(opts.Client.CoreV1().ConfigMaps(opts.Namespace), LedgerName, FieldManager),
		restorer:    newRestorer(history.New(opts.Client.AppsV1().ControllerRevisions(opts.Namespace), opts.AWSAuthName, FieldManager), opts.Now),
		own:         &ownWrites{},
		diary:       &diary{keep: opts.KeepWrites, now: opts.Now},
	}
}

// observation is the handle of a [register.Observation].
type observation struct {
	cm       *corev1.ConfigMap // as it was read
	exists   bool              // cm does
	doc      *awsauth.Document // of it, or of what is put back
	restores *restoration      // nil for nothing
	ledger   *ledgerObject
	claims   bool // aws-auth does not say yet that this installation writes it
	other    int  // bytes beside the document
}

// Observe implements [register.Register]. What the watch has just seen of aws-auth
// is not read once more.
func (r *Register) Observe(ctx context.Context, rules register.Rules) (*register.Observation, error) {
	ledger, cm, exists, err := r.read(ctx, r.restorer.takeLatest())
	if err != nil {
		return nil, err
	}
	elsewhere := r.writtenElsewhere(cm)
	if elsewhere != nil && !rules.Foresee {
		return nil, elsewhere
	}
	doc, restores, left, err := r.understand(ctx, rules, cm, exists, ledger.state)
	if err != nil {
		return nil, err
	}
	r.diary.found(cm, exists)
	base := cm
	if restores != nil {
		base = restores.base
	}
	h := &observation{cm: cm, exists: exists, doc: doc, restores: restores, ledger: ledger, other: binarySize(base)}
	h.claims = exists && cm.Annotations[InstallationAnnotation] == "" && len(ledger.state.Owned) > 0
	var s plan.Snapshot
	Observed(doc, h.other, &s)
	written := cm.Annotations[WriteAnnotation]
	o := &register.Observation{
		Standing: s.Standing, Room: s.Room, State: ledger.state, Unreadable: doc.Unreadable(),
		StateLost:  ledger.lost && slices.ContainsFunc(s.Standing, func(e plan.Standing) bool { return e.Mark == awsauth.Mark }),
		Confirmed:  written != "" && written == ledger.id && slices.ContainsFunc(ledger.state.Owned, func(o plan.Owned) bool { return o.Pending && !o.Waiting }),
		Approved:   Approved(cm.Annotations[ApprovalAnnotation], r.opts.Now()),
		Unrestored: left,
		Elsewhere:  elsewhere,
		Immutable:  immutable(cm, r.opts.AWSAuthNamespace),
		Before:     cm.Data,
		Handle:     h,
	}
	if restores != nil {
		o.Restored, o.Deleted = restores.String(), restores.deleted
	}
	return o, nil
}

// writtenElsewhere says that another installation writes aws-auth; nil: none does.
// Where the annotation has gone since it was seen, it is still theirs: only the
// command hands it over.
func (r *Register) writtenElsewhere(cm *corev1.ConfigMap) *register.ElsewhereError {
	switch owner := cm.Annotations[InstallationAnnotation]; owner {
	case r.opts.Namespace:
		r.elsewhere = ""
	case "":
	default:
		r.elsewhere = owner
	}
	if r.elsewhere == "" {
		return nil
	}
	return &register.ElsewhereError{Register: r.opts.AWSAuthNamespace + "/" + r.opts.AWSAuthName, Owner: r.elsewhere, Self: r.opts.Namespace}
}

// read reads the ledger and aws-auth, or takes the aws-auth that the watch has just
// seen, where seen is not nil. Each is written by its resourceVersion, so that what
// others write from here on spoils the reconcile, and no order of the two says more.
func (r *Register) read(ctx context.Context, seen *corev1.ConfigMap) (ledger *ledgerObject, cm *corev1.ConfigMap, exists bool, err error) {
	var ledgerErr error
	var reading sync.WaitGroup
	reading.Go(func() { ledger, ledgerErr = r.readLedger(ctx) })
	cm, exists = seen, true
	if cm == nil {
		cm, err = call(ctx, func(ctx context.Context) (cm *corev1.ConfigMap, err error) {
			cm, exists, err = r.awsAuth.Read(ctx)
			return cm, err
		})
	}
	reading.Wait()
	if ledgerErr != nil {
		err = ledgerErr
	}
	return ledger, cm, exists, err
}

// understand reads aws-auth as the authenticator does. Where it can't, or where
// aws-auth is gone, it says what is to be put back. A key that cannot be read and
// is not put back is left alone, and left says why; the others go on.
func (r *Register) understand(ctx context.Context, rules register.Rules, cm *corev1.ConfigMap, exists bool, state *plan.State) (doc *awsauth.Document, restores *restoration, left, err error) {
	if !exists {
		doc, restores, err = r.understandDeleted(ctx, rules, cm, state)
		return doc, restores, nil, err
	}
	doc = r.parse(cm)
	broken := doc.Unreadable()
	if len(broken) == 0 {
		r.restorer.read(cm)
		return doc, nil, nil, nil
	}
	if !rules.Restore {
		return doc, nil, errRefused, nil
	}
	if restores, left = r.restorer.unreadable(ctx, cm, broken); restores == nil {
		return doc, nil, left, nil
	}
	return parseWhole(restores.base), restores, left, nil
}

var errRefused = errors.New("it is left alone, for safety.onMalformed is refuse")

func (r *Register) understandDeleted(ctx context.Context, rules register.Rules, cm *corev1.ConfigMap, state *plan.State) (*awsauth.Document, *restoration, error) {
	empty := awsauth.ParseReadable(cm.Data)
	restores, err := r.restorer.deleted(ctx, cm)
	switch {
	case restores == nil && err == nil && len(state.Owned) == 0:
		return empty, nil, nil // it never was there
	case !rules.Restore:
		return nil, nil, fmt.Errorf("%w: it was deleted, and safety.onMalformed is refuse", register.ErrMalformed)
	case err != nil:
		return nil, nil, fmt.Errorf("%w: %w", register.ErrMalformed, err)
	}
	if missed := r.restorer.miss(); !r.opts.Unattended && missed < deletedGrace {
		return nil, nil, &register.LaterError{After: deletedGrace - missed, Err: errJustDeleted}
	}
	if restores == nil {
		return empty, nil, nil // of what it was only the managed entries are known
	}
	return parseWhole(restores.base), restores, nil
}

// parse reads aws-auth. A text that is the one read or written last is known: to
// compare 1 MiB takes a hundredth of what reading it does.
func (r *Register) parse(cm *corev1.ConfigMap) *awsauth.Document {
	for _, key := range awsauth.Keys {
		if _, binary := cm.BinaryData[key]; binary {
			return parseWhole(cm)
		}
	}
	if r.parsed == nil || len(r.parsed.Unreadable()) > 0 || !maps.Equal(r.parsed.Data(), cm.Data) {
		r.parsed = parseWhole(cm)
	}
	return r.parsed
}

func parseWhole(cm *corev1.ConfigMap) *awsauth.Document {
	return awsauth.ParseConfigMap(cm.Data, cm.BinaryData)
}

// immutable says that a ConfigMap takes no write; nil: it does.
func immutable(cm *corev1.ConfigMap, namespace string) *register.ImmutableError {
	if cm.Immutable == nil || !*cm.Immutable {
		return nil
	}
	return &register.ImmutableError{Namespace: namespace, Name: cm.Name}
}

// takesWrite says that a write of the change would be refused, before any part of it is
// made: labels and annotations of an immutable ConfigMap can be written, its data can't.
func (r *Register) takesWrite(h *observation, p *Plan) error {
	if fixed := immutable(h.cm, r.opts.AWSAuthNamespace); fixed != nil {
		switch {
		case h.restores != nil:
			return fmt.Errorf("%w: %s: %w", register.ErrMalformed, h.restores.broken, fixed)
		case p.Writes():
			return fixed
		}
	}
	if fixed := immutable(h.ledger.cm, r.opts.Namespace); fixed != nil && (p.Ahead != nil || p.Settled != nil) {
		return fixed
	}
	return nil
}

// Prepare implements [register.Register].
func (r *Register) Prepare(o *register.Observation, s *plan.Snapshot, decisions []plan.Decision, removals []plan.PendingRemoval) *register.Change {
	h := o.Handle.(*observation) //nolint:errcheck,forcetypeassert // Observe made it
	p := Prepare(h.doc, h.other, s, decisions, removals)
	p.Listed, p.Texts, p.Handle = p.After.Entries(), p.After.Data(), p
	return &p.Change
}

// Commit implements [register.Register]: it writes the ledger ahead, aws-auth, and
// the ledger as it settled. Each write needs the resourceVersion that was read;
// where one fails, those behind it are left out, and the next reconcile sets right
// what is left over.
//
// What a write takes away is recorded before it, all else after.
func (r *Register) Commit(ctx context.Context, o *register.Observation, c *register.Change) (*register.Written, error) {
	h, p := o.Handle.(*observation), c.Handle.(*Plan) //nolint:errcheck,forcetypeassert // Observe and Prepare made them
	out := &register.Written{}
	ledger := h.ledger
	found := record{cm: h.cm, absent: !h.exists}
	if h.restores == nil {
		found.broken = why(h.doc.Unreadable())
	} else {
		found.broken = h.restores.broken
	}
	if err := r.takesWrite(h, p); err != nil {
		r.record(ctx, found, out)
		return out, err
	}
	if !p.Writes() && h.restores == nil && !h.claims {
		r.record(ctx, found, out)
		return out, r.settle(ctx, ledger, p)
	}
	takes := p.TakesAway()
	var lost error // why nothing has the broken text
	switch {
	case h.restores != nil && !h.restores.deleted:
		lost = r.recordBroken(ctx, found)
	case takes:
		r.record(ctx, found, out)
	}
	if p.Ahead != nil {
		next, err := r.writeLedger(ctx, ledger, p.Ahead)
		if err != nil {
			return out, err
		}
		ledger = next
	}
	written, err := r.writeAWSAuth(ctx, r.toWrite(h, p, ledger))
	if err != nil {
		return out, err
	}
	out.Wrote, out.Version = true, written.ResourceVersion
	r.parsed = p.After
	r.restorer.read(written)
	because := reason(h.restores, p)
	r.diary.wrote(h, written, because)
	if err := r.settle(ctx, ledger, p); err != nil {
		return out, err
	}
	if h.restores == nil && !takes {
		r.record(ctx, found, out)
	}
	r.record(ctx, record{cm: written, who: "rolecall on " + r.opts.NodeName, why: because, broken: why(p.After.Unreadable())}, out)
	if lost != nil {
		out.History = fmt.Errorf("the text of aws-auth that could not be read is lost: %w", lost)
	}
	return out, nil
}

// reason is why a write was made, in one line.
func reason(restores *restoration, p *Plan) string {
	switch {
	case restores != nil && p.Writes():
		return restores.String() + "; " + plan.Summary(p.Changes)
	case restores != nil:
		return restores.String()
	case p.Writes():
		return plan.Summary(p.Changes)
	}
	return "it says now which installation of rolecall writes it"
}

// writeAWSAuth writes aws-auth. What others wrote meanwhile wakes the reconciles,
// and the event of this write does not.
func (r *Register) writeAWSAuth(ctx context.Context, cm *corev1.ConfigMap) (*corev1.ConfigMap, error) {
	r.own.begin()
	written, err := call(ctx, func(ctx context.Context) (*corev1.ConfigMap, error) { return r.awsAuth.Put(ctx, cm) })
	version := ""
	if err == nil {
		version = written.ResourceVersion
	}
	for _, seen := range r.own.end(version) {
		r.restorer.saw(seen)
		r.restorer.unsure() // aws-auth may have been deleted since
		r.own.wake()
	}
	r.opts.Wrote("aws-auth", err)
	return written, err
}

// toWrite is aws-auth with the plan's text, signed with the ledger that stands.
func (r *Register) toWrite(h *observation, p *Plan, ledger *ledgerObject) *corev1.ConfigMap {
	cm := h.cm
	if h.restores != nil {
		cm = h.restores.base
	}
	cm = cm.DeepCopy()
	if cm.Data == nil {
		cm.Data = map[string]string{}
	}
	maps.Copy(cm.Data, p.After.Data())
	if p.Writes() || h.restores != nil {
		metav1.SetMetaDataAnnotation(&cm.ObjectMeta, WriteAnnotation, ledger.id)
	}
	metav1.SetMetaDataAnnotation(&cm.ObjectMeta, InstallationAnnotation, r.opts.Namespace)
	if len(p.Removals) == 0 {
		delete(cm.Annotations, ApprovalAnnotation) // used, or over
	}
	return cm
}

func (r *Register) settle(ctx context.Context, ledger *ledgerObject, p *Plan) error {
	if p.Settled == nil {
		return nil
	}
	_, err := r.writeLedger(ctx, ledger, p.Settled)
	return err
}

// record keeps a content in the history. That it can't is told and hinders
// nothing: nodes must get in all the same.
func (r *Register) record(ctx context.Context, rec record, out *register.Written) {
	done, again, err := r.restorer.record(ctx, rec)
	out.History = r.restorer.err
	if again > 0 && (out.Again == 0 || again < out.Again) {
		out.Again = again
	}
	if done {
		r.opts.Wrote("revision", err)
	}
}

// recordBroken keeps what the authenticator cannot read before it is restored: nothing
// else will have it. Where it can't be kept, or not soon, restoring still goes first.
func (r *Register) recordBroken(ctx context.Context, rec record) error {
	ctx, cancel := context.WithTimeout(ctx, recordPatience)
	defer cancel()
	err := r.restorer.recordNow(ctx, rec)
	r.opts.Wrote("revision", err)
	return err
}

// ledgerObject is the ledger with the ConfigMap that it was read from.
type ledgerObject struct {
	cm    *corev1.ConfigMap
	state *plan.State
	id    string
	lost  bool // there is none, or it cannot be read
	read  time.Time
}

// readLedger returns the ledger as this term read or wrote it last. A write of
// somebody else's shows at the next write, by its resourceVersion.
func (r *Register) readLedger(ctx context.Context) (*ledgerObject, error) {
	if r.ledger != nil && r.opts.Now().Sub(r.ledger.read) < ledgerFresh {
		return r.ledger, nil
	}
	cm, err := call(ctx, r.ledgerStore.Get)
	if err != nil {
		return nil, err
	}
	body := cm.BinaryData[LedgerKey]
	state, id, err := DecodeLedger(body)
	switch {
	case errors.Is(err, ErrNewerLedger):
		return nil, err
	case err != nil:
		r.opts.Logger.Error("the ledger is damaged: the marks in aws-auth tell which entries are managed, and nothing is removed until the config has settled", "err", err)
		state = &plan.State{}
	}
	r.ledger = &ledgerObject{cm, state, id, err != nil || len(body) == 0, r.opts.Now()}
	return r.ledger, nil
}

func (r *Register) writeLedger(ctx context.Context, ledger *ledgerObject, state *plan.State) (*ledgerObject, error) {
	data, id, err := EncodeLedger(state)
	if err != nil {
		return nil, err
	}
	cm := ledger.cm.DeepCopy()
	if cm.BinaryData == nil {
		cm.BinaryData = map[string][]byte{}
	}
	if cm.Labels == nil {
		cm.Labels = map[string]string{}
	}
	cm.BinaryData[LedgerKey] = data
	cm.Labels["app.kubernetes.io/managed-by"] = "rolecall"
	written, err := call(ctx, func(ctx context.Context) (*corev1.ConfigMap, error) { return r.ledgerStore.Put(ctx, cm) })
	r.opts.Wrote("ledger", err)
	if err != nil {
		r.ledger = nil
		return nil, err
	}
	r.ledger = &ledgerObject{cm: written, state: state, id: id, read: r.opts.Now()}
	return r.ledger, nil
}

// Forget has what is remembered read again: a request failed, and what the last
// writes did is not known.
func (r *Register) Forget() { r.ledger = nil }

// Writes are the last changes of aws-auth, newest first. They are never changed.
func (r *Register) Writes() []register.Write { return r.diary.writes }

// Object is aws-auth, for Events.
func (r *Register) Object(version string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: r.opts.AWSAuthNamespace, Name: r.opts.AWSAuthName, ResourceVersion: version}}
}

// call bounds one request to the API server, so that one that hangs does not hold
// up the work for longer than CallTimeout.
func call[T any](ctx context.Context, request func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, CallTimeout)
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
