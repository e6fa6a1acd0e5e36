package report

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/internal/plan"
	"github.com/rolecall/rolecall/internal/register"
	"github.com/rolecall/rolecall/internal/source"
	"github.com/rolecall/rolecall/internal/visible"
)

// WarnAt is the size of aws-auth in bytes from which on it is near its limit.
const WarnAt = awsauth.Limit / 100 * 70

// notice is something that stands until somebody acts: it is logged and
// recorded as an Event once, when it begins, and logged once when it ends.
type notice struct {
	reason  string // of the Event
	message string // of the log
	args    []any  // of the log
	note    string // of the Event
}

// notices are those that a result gives rise to, by an id that stays the same
// while the notice stands.
func notices(r *Result) map[string]notice {
	found := map[string]notice{}
	failures(r, found)
	if r.Change == nil {
		return found
	}
	for _, c := range r.Change.Conflicts {
		found[fmt.Sprintf("conflict %s %q %q", c.Foreign.ARN, c.Foreign.Username, c.Foreign.Groups)] = notice{
			reason:  "Conflict",
			message: "an unmanaged entry stands in the way and is kept",
			args: []any{
				"arn", c.Foreign.ARN, "has_username", c.Foreign.Username, "has_groups", c.Foreign.Groups,
				"want_username", c.Ours.Username, "want_groups", c.Ours.Groups, "sources", c.Sources,
			},
			note: fmt.Sprintf("an unmanaged entry maps %q to %q %q where the config asks for %q %q; it is kept: %s",
				c.Foreign.ARN, c.Foreign.Username, c.Foreign.Groups, c.Ours.Username, c.Ours.Groups, c.Advice()),
		}
	}
	for name, err := range r.Asked.Errs {
		found["source "+name] = notice{
			reason:  "SourceFailed",
			message: "a source failed and its entries stay as they are",
			args:    []any{"source", name, "err", err},
			note:    fmt.Sprintf("source %s failed, its entries stay as they are: %v", name, err),
		}
	}
	for i := range r.Change.Removals {
		h := &r.Change.Removals[i]
		found["held "+h.ID] = notice{
			reason:  "RemovalHeld",
			message: "removals wait until somebody approves them",
			args:    []any{"hold", h.ID, "source", cmp.Or(h.Source, source.UnknownKind), "entries", len(h.Changes), "of", h.Of, "since", h.Since},
			note:    pendingNote(h),
		}
	}
	if left := r.Change.Left; len(left) > maxRefusals {
		found["left"] = notice{
			reason:  "ChangeLeftOut",
			message: "changes could not be made and are left out",
			args:    []any{"changes", len(left), "nodes", r.LeftNodes(), "one_of_them", left[0].Entry.ARN, "err", left[0].Why},
			note:    fmt.Sprintf("%d changes are left out, all else is done; one of them, %s of %s: %s", len(left), left[0].Op, left[0].Entry.ARN, left[0].Why),
		}
	} else {
		maps.Copy(found, leftOut(left))
	}
	people(r, found)
	settling(r, found)
	if r.History != nil {
		found["history"] = notice{
			reason:  "HistoryFailed",
			message: "what aws-auth was cannot be kept",
			args:    []any{"err", r.History},
			note:    fmt.Sprintf("no revision of aws-auth can be kept, so that rolecall rollback may lack the newest: %v", r.History),
		}
	}
	maps.Copy(found, refusals(r.Asked.Refused))
	room(r, found)
	return found
}

// leftOut are the changes that could not be made, one by one.
func leftOut(left []register.Left) map[string]notice {
	found := map[string]notice{}
	for _, l := range left {
		found[fmt.Sprintf("left %s %s", l.Op, l.Entry.ARN)] = notice{
			reason:  "ChangeLeftOut",
			message: "a change could not be made and is left out",
			args:    []any{"op", string(l.Op), "arn", l.Entry.ARN, "node", l.Node, "err", l.Why},
			note:    fmt.Sprintf("%s of %s is left out, all else is done: %s", l.Op, l.Entry.ARN, l.Why),
		}
	}
	return found
}

// people are roles that nodes report and that are people's. More than a few are told
// as one.
func people(r *Result, found map[string]notice) {
	for i, x := range r.Change.Refused {
		if i == maxRefusals {
			return
		}
		found["people "+x.ARN] = notice{
			reason:  "ReportRefused",
			message: "a role that nodes report is people's, and is not mapped as a node's",
			args:    []any{"arn", x.ARN, "sources", x.Sources},
			note: fmt.Sprintf("%s is asked for as a node's role by %s, and is mapped for people: it gets no rights of a node; use a role of its own for nodes",
				x.ARN, strings.Join(x.Sources, ", ")),
		}
	}
}

// failures are notices of a register that is left alone.
func failures(r *Result, found map[string]notice) {
	switch r.Outcome() {
	case Malformed:
		const message = "aws-auth is malformed and left alone"
		found["malformed"] = notice{reason: "Malformed", message: message, args: []any{"err", r.Problem()}, note: r.Problem().Error()}
	case Elsewhere:
		found["elsewhere"] = notice{
			reason:  "ManagedElsewhere",
			message: "another installation of rolecall writes aws-auth: this one writes nothing",
			args:    []any{"err", r.Err},
			note:    r.Err.Error(),
		}
	}
	immutable(r, found)
}

// immutable says that a ConfigMap takes no write, also before there is one to be made.
func immutable(r *Result, found map[string]notice) {
	fixed := (*register.ImmutableError)(nil)
	if !errors.As(r.Err, &fixed) && r.Observed != nil {
		fixed = r.Observed.Immutable
	}
	if fixed == nil {
		return
	}
	found["immutable "+fixed.Name] = notice{
		reason:  "Immutable",
		message: "a ConfigMap is immutable: until it is created anew nothing in it is added, changed or removed",
		args:    []any{"namespace", fixed.Namespace, "name", fixed.Name, "err", fixed},
		note:    fixed.Error(),
	}
}

func settling(r *Result, found map[string]notice) {
	switch r.Settling {
	case ConfigDiffers:
		found["unsettled"] = notice{
			reason:  "ConfigDiffers",
			message: "the config differs from the one applied last: adding only, until the mount has settled",
			note:    "the new leader's config differs from the one applied last: nothing is changed or removed until its mount has settled",
		}
	case StateLost:
		found["unsettled"] = notice{
			reason:  "LedgerLost",
			message: "the ledger is missing or damaged: adding only, until the config has settled",
			note:    "the ledger is missing or damaged, so who asked for the managed entries is not known: nothing is changed or removed until the config has settled",
		}
	}
}

func room(r *Result, found map[string]notice) {
	size := []any{"bytes", r.Change.Size, "limit", r.Change.Limit}
	switch {
	case len(r.Change.NoRoom) > 0:
		found["full"] = notice{
			reason:  "NoRoom",
			message: "aws-auth has no room for new entries",
			args:    append(size, "refused", len(r.Change.NoRoom)),
			note:    fmt.Sprintf("aws-auth has %d of %d bytes: %d new entries are left out", r.Change.Size, r.Change.Limit, len(r.Change.NoRoom)),
		}
	case r.Change.Size > WarnAt:
		found["filling"] = notice{
			reason:  "NearLimit",
			message: "aws-auth is over 70 % of its limit",
			args:    size,
			note:    fmt.Sprintf("aws-auth is over 70 %% of %d bytes: let groups in by a role that their members assume, or use access entries", r.Change.Limit),
		}
	}
}

// WhyPending says what is unusual about a pending removal.
func WhyPending(h *plan.PendingRemoval) string {
	if h.Source == awsauth.Masters {
		return "nobody could log in as administrator any more"
	}
	principals := "principals"
	if h.Of == 1 {
		principals = "principal"
	}
	name := visible.Text(h.Source)
	if name == "" {
		name = "no known source"
	}
	return fmt.Sprintf("%d of %d %s of %s would lose access", len(h.Changes), h.Of, principals, name)
}

func pendingNote(h *plan.PendingRemoval) string {
	stay := fmt.Sprintf("%d entries stay as they are", len(h.Changes))
	if len(h.Changes) == 1 {
		stay = "1 entry stays as it is"
	}
	return fmt.Sprintf("%s: %s until somebody approves: rolecall approve %s (rolecall plan shows what waits)", WhyPending(h), stay, h.ID)
}

// maxRefusals is how many reports that are not believed are told one by one. A
// node that writes thousands of them must not fill the log.
const maxRefusals = 10

func refusals(refused map[string]error) map[string]notice {
	const message = "a report in the roster is not believed, its role is not mapped"
	found := map[string]notice{}
	for _, lease := range slices.Sorted(maps.Keys(refused)) {
		n := notice{
			reason:  "ReportRefused",
			message: message,
			args:    []any{"lease", lease, "err", refused[lease]},
			note:    fmt.Sprintf("the role that Lease %s reports is not mapped: %v", lease, refused[lease]),
		}
		if len(refused) > maxRefusals {
			n.args = append(n.args, "refused", len(refused))
			n.note = fmt.Sprintf("%d roles that Leases report are not mapped, one of them: Lease %s: %v", len(refused), lease, refused[lease])
			return map[string]notice{"reports": n}
		}
		found["report "+lease] = n
	}
	return found
}

// A Teller says in the log and by Events what came of the reconciles of one term:
// each condition once, when it begins, and once in the log when it ends.
type Teller struct {
	log      *slog.Logger
	events   *Events
	standing map[string]notice
	failed   string // the kind of the last Event of a reconcile that failed; empty after one that did not
}

// maxWaiting is how many entries that wait an Event and the status name.
const maxWaiting = 3

// varying is what differs between two failures of a kind: ports, durations, IDs of
// requests.
var varying = regexp.MustCompile(`[0-9A-Fa-f-]*[0-9][0-9A-Fa-f-]*`)

// failedKind is the same for failures that are one Event. Events on one object share a
// budget: were each failure one, those that say more would be dropped.
func failedKind(err error, waiting []plan.Change) string {
	return waitingText(waiting) + "\n" + varying.ReplaceAllLiteralString(err.Error(), "#")
}

// failedNote says why a reconcile failed, which entries wait for it, and what to do where
// an admission webhook stands in the way.
func failedNote(err error, waiting []plan.Change) string {
	note := "a reconcile failed and is made again: "
	if len(waiting) > 0 {
		note = fmt.Sprintf("a reconcile failed and is made again; %s: ", waitingText(waiting))
	}
	note += err.Error()
	switch text := err.Error(); {
	case strings.Contains(text, "denied the request"):
		note += ": the webhook's words say what it refuses; change that entry in the config, or the webhook's rule"
	case strings.Contains(text, "failed calling webhook"):
		note += ": the webhook does not answer; look at the service behind it (kubectl get validatingwebhookconfigurations); " +
			"where it is EKS's own, open a support case"
	}
	return note
}

func waitingText(waiting []plan.Change) string {
	if len(waiting) == 0 {
		return ""
	}
	texts := waitingSome(waiting)
	if more := len(waiting) - len(texts); more > 0 {
		texts = append(texts, fmt.Sprintf("%d more", more))
	}
	entries := "entries wait"
	if len(waiting) == 1 {
		entries = "entry waits"
	}
	return fmt.Sprintf("%d %s: %s", len(waiting), entries, strings.Join(texts, ", "))
}

// waitingSome names the first of the entries that wait, and what is to be done to them.
func waitingSome(waiting []plan.Change) []string {
	var out []string
	for i := range waiting[:min(len(waiting), maxWaiting)] {
		out = append(out, fmt.Sprintf("%s of %s", waiting[i].Op, waiting[i].Entry.ARN))
	}
	return out
}

// NewTeller returns a teller that has said nothing yet; nil events: it records
// none.
func NewTeller(log *slog.Logger, events *Events) *Teller { return &Teller{log: log, events: events} }

// Tell says what came of a reconcile.
func (t *Teller) Tell(r *Result) {
	switch r.Outcome() {
	case Conflict:
		t.log.Warn("others write aws-auth at the same time, trying again", "err", r.Err)
		return
	case Failed:
		later := (*register.LaterError)(nil)
		if errors.As(r.Err, &later) {
			t.log.Warn("aws-auth is gone", "err", r.Err)
			return
		}
		waiting := r.Waiting()
		t.log.Error("reconcile failed, trying again", "err", r.Err, "entries_waiting", len(waiting))
		if kind := failedKind(r.Err, waiting); kind != t.failed {
			t.events.record(corev1.EventTypeWarning, "ReconcileFailed", failedNote(r.Err, waiting))
			t.failed = kind
		}
		return
	}
	t.failed = ""
	t.written(r)
	found := notices(r)
	for _, id := range slices.Sorted(maps.Keys(found)) {
		if _, known := t.standing[id]; known {
			continue
		}
		n := found[id]
		t.log.Warn(n.message, n.args...) //nolint:sloglint // one of the constants above
		t.events.record(corev1.EventTypeWarning, n.reason, n.note)
	}
	for _, id := range slices.Sorted(maps.Keys(t.standing)) {
		if _, still := found[id]; !still {
			t.log.Info("what needed attention is over", "what", t.standing[id].message)
		}
	}
	t.standing = found
	if r.Change != nil {
		t.log.Debug("reconciled", "changes", len(r.Change.Changes))
	}
}

// written tells a write.
func (t *Teller) written(r *Result) {
	if !r.Wrote {
		return
	}
	if r.Observed.Restored != "" {
		t.log.Error("aws-auth locked everybody out and was put back", "what", r.Observed.Restored)
		note := r.Observed.Restored
		if !r.Observed.Deleted && r.History == nil {
			note += "; the text that could not be read is kept: see rolecall history"
		}
		t.events.record(corev1.EventTypeWarning, "Restored", note)
	}
	if !r.Change.Writes() {
		return
	}
	for _, c := range r.Change.Changes {
		t.log.Info("entry changed", "op", string(c.Op), "kind", string(c.Entry.Kind), "arn", c.Entry.ARN,
			"username", c.Entry.Username, "groups", c.Entry.Groups, "sources", c.Sources, "reason", c.Reason)
	}
	added, changed, removed := plan.Count(r.Change.Changes)
	t.log.Info("wrote aws-auth", "added", added, "changed", changed, "removed", removed, "resource_version", r.Version)
	t.events.record(corev1.EventTypeNormal, "Updated", plan.Summary(r.Change.Changes))
}
