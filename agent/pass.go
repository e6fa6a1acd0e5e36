package agent

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/rolecall/rolecall/awsauth"
)

const (
	conflictTries = 5                // passes in a row that somebody else may spoil before backing off
	callTimeout   = 15 * time.Second // of one request to the API server
	ledgerFresh   = 30 * time.Second // for how long the ledger is not read again: nobody else writes it
)

// ErrMalformed says that aws-auth cannot be read. Nothing is written then.
var ErrMalformed = errors.New("the authenticator cannot read aws-auth, so whoever stands in it is locked out")

// Outcome is what one pass saw and did.
type Outcome struct {
	Plan     *awsauth.Plan
	Failed   map[string]error // sources that could not be asked, by name
	Reported int              // node roles that live agents report
	Wrote    bool             // aws-auth
	before   *corev1.ConfigMap
}

// Before is the text of aws-auth's keys that the plan was made for.
func (o *Outcome) Before() map[string]string { return o.before.Data }

// pass reads, plans and writes once, again from the start where somebody else
// wrote in between. With dryRun nothing is written.
func (l *Leader) pass(ctx context.Context, spec *Spec, dryRun bool) (*Outcome, error) {
	for try := 1; ; try++ {
		out, err := l.tryPass(ctx, spec, dryRun)
		if err == nil || !errors.Is(err, awsauth.ErrConflict) || try == conflictTries {
			return out, err
		}
		l.log.Debug("somebody else wrote first", "try", try, "err", err)
		l.ledger = nil
	}
}

func (l *Leader) tryPass(ctx context.Context, spec *Spec, dryRun bool) (*Outcome, error) {
	ledger, err := l.readLedger(ctx)
	if err != nil {
		return nil, err
	}
	cm, err := call(ctx, l.awsAuth.Get) // late: what others write from here on spoils the pass
	if err != nil {
		return nil, err
	}
	doc, err := awsauth.Parse(cm.Data)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	got := l.gather.gather(ctx, spec, doc, ledger.content)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	plan, err := awsauth.MakePlan(doc, ledger.content, awsauth.Request{
		Sources:        got.sources,
		Required:       got.required,
		Adopt:          spec.Adopt,
		AdoptConflicts: spec.AdoptConflicts,
		Config:         spec.Hash,
		Other:          binarySize(cm),
		Now:            l.now(),
	})
	if err != nil {
		return nil, fmt.Errorf("plan aws-auth: %w", err)
	}
	out := &Outcome{Plan: plan, Failed: got.errs, Reported: got.reported, before: cm}
	if dryRun {
		return out, nil
	}
	return out, l.carryOut(ctx, ledger, cm, out)
}

// carryOut writes the ledger ahead, aws-auth, and the ledger as it settled.
// Each write needs the resourceVersion that was read; where one fails, those
// behind it are left out, and the next pass sets right what is left over.
func (l *Leader) carryOut(ctx context.Context, ledger *ledgerObject, cm *corev1.ConfigMap, out *Outcome) error {
	plan := out.Plan
	if plan.Ahead != nil {
		if err := l.writeLedger(ctx, ledger, plan.Ahead); err != nil {
			return err
		}
	}
	if plan.Writes() {
		written := cm.DeepCopy()
		if written.Data == nil {
			written.Data = map[string]string{}
		}
		maps.Copy(written.Data, plan.After.Data())
		written, err := call(ctx, func(ctx context.Context) (*corev1.ConfigMap, error) { return l.awsAuth.Put(ctx, written) })
		l.metrics.wrote("aws-auth", err)
		if err != nil {
			return err
		}
		out.Wrote = true
		l.lastWritten.Store(&written.ResourceVersion)
		l.tellChanges(written, plan)
	}
	if plan.Settled != nil {
		return l.writeLedger(ctx, ledger, plan.Settled)
	}
	return nil
}

// tellChanges logs a write and records it as an Event.
func (l *Leader) tellChanges(cm *corev1.ConfigMap, plan *awsauth.Plan) {
	count := map[awsauth.Op]int{}
	for _, c := range plan.Changes {
		count[c.Op]++
		l.log.Info("entry changed", "op", string(c.Op), "kind", string(c.Entry.Kind), "arn", c.Entry.ARN,
			"username", c.Entry.Username, "groups", c.Entry.Groups, "sources", c.Sources, "reason", c.Reason)
	}
	removed := count[awsauth.Remove] + count[awsauth.Withdraw]
	changed := count[awsauth.Update] + count[awsauth.Adopt]
	l.log.Info("wrote aws-auth", "added", count[awsauth.Add], "changed", changed, "removed", removed, "resource_version", cm.ResourceVersion)
	l.event(cm, corev1.EventTypeNormal, "Updated", fmt.Sprintf("%d entries added, %d changed, %d removed", count[awsauth.Add], changed, removed))
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
