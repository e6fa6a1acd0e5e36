package agent

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/rolecall/rolecall/awsauth"
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

// notices are those that an outcome gives rise to, by an id that stays the
// same while the notice stands.
func notices(out *Outcome) map[string]notice {
	found := map[string]notice{}
	for _, c := range out.Plan.Conflicts {
		found[fmt.Sprintf("conflict %s %q %q", c.Foreign.ARN, c.Foreign.Username, c.Foreign.Groups)] = notice{
			reason:  "Conflict",
			message: "a foreign entry stands in the way and is kept",
			args: []any{
				"arn", c.Foreign.ARN, "has_username", c.Foreign.Username, "has_groups", c.Foreign.Groups,
				"want_username", c.Ours.Username, "want_groups", c.Ours.Groups, "sources", c.Sources,
			},
			note: fmt.Sprintf("a foreign entry maps %q to %q %q where the config asks for %q %q; it is kept: remove it or change it (safety.onConflict: adopt takes it over where it has no group that the config lacks)",
				c.Foreign.ARN, c.Foreign.Username, c.Foreign.Groups, c.Ours.Username, c.Ours.Groups),
		}
	}
	for name, err := range out.Failed {
		found["source "+name] = notice{
			reason:  "SourceFailed",
			message: "a source failed and its entries stay as they are",
			args:    []any{"source", name, "err", err},
			note:    fmt.Sprintf("source %s failed, its entries stay as they are: %v", name, err),
		}
	}
	for _, h := range out.Plan.Held {
		source := cmp.Or(h.Source, sourceUnknown)
		found["held "+h.ID] = notice{
			reason:  "RemovalHeld",
			message: "removals are held back until somebody approves them",
			args:    []any{"hold", h.ID, "source", source, "entries", len(h.Changes), "of", h.Of, "since", h.Since},
			note:    heldNote(h, source),
		}
	}
	if out.AddOnly {
		found["unsettled"] = notice{
			reason:  "ConfigDiffers",
			message: "the config differs from the one applied last: adding only, until the mount has settled",
			note:    "the new leader's config differs from the one applied last: nothing is changed or removed until its mount has settled",
		}
	}
	if out.history != nil {
		found["history"] = notice{
			reason:  "HistoryFailed",
			message: "what aws-auth was cannot be kept",
			args:    []any{"err", out.history},
			note:    fmt.Sprintf("no revision of aws-auth can be kept, so that rolecall rollback may lack the newest: %v", out.history),
		}
	}
	maps.Copy(found, refusals(out.Refused))
	size := []any{"bytes", out.Plan.Size, "limit", awsauth.Limit}
	switch {
	case len(out.Plan.Refused) > 0:
		found["full"] = notice{
			reason:  "NoRoom",
			message: "aws-auth has no room for new entries",
			args:    append(size, "refused", len(out.Plan.Refused)),
			note:    fmt.Sprintf("aws-auth has %d of %d bytes: %d new entries are left out", out.Plan.Size, awsauth.Limit, len(out.Plan.Refused)),
		}
	case out.Plan.Size > WarnAt:
		found["filling"] = notice{
			reason:  "NearLimit",
			message: "aws-auth is over 70 % of its limit",
			args:    size,
			note:    fmt.Sprintf("aws-auth is over 70 %% of %d bytes: let groups in by a role that their members assume, or use access entries", awsauth.Limit),
		}
	}
	return found
}

func heldNote(h awsauth.Hold, source string) string {
	why := fmt.Sprintf("source %q no longer asks for %d of its %d entries", source, len(h.Changes), h.Of)
	if h.Source == awsauth.Masters {
		why = "nobody would be in system:masters any more"
	}
	stay := fmt.Sprintf("%d entries stay as they are", len(h.Changes))
	if len(h.Changes) == 1 {
		stay = "1 entry stays as it is"
	}
	return fmt.Sprintf("%s: %s until somebody approves: rolecall approve %s (rolecall plan shows what is held back)", why, stay, h.ID)
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

// tell logs and records the notices that are new, and logs those that ended.
func (l *Leader) tell(on *corev1.ConfigMap, found map[string]notice) {
	for _, id := range slices.Sorted(maps.Keys(found)) {
		if _, known := l.standing[id]; known {
			continue
		}
		n := found[id]
		l.log.Warn(n.message, n.args...) //nolint:sloglint // one of the constants above
		l.event(on, corev1.EventTypeWarning, n.reason, n.note)
	}
	for _, id := range slices.Sorted(maps.Keys(l.standing)) {
		if _, still := found[id]; !still {
			l.log.Info("what needed attention is settled", "what", l.standing[id].message)
		}
	}
	l.standing = found
}
