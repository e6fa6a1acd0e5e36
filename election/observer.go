package election

import (
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

// A verdict is what one look at the Lease says.
type verdict int

const (
	unknown  verdict = iota // the look failed
	missing                 // there is no Lease
	released                // nobody holds it
	ours                    // this agent holds it, known or not: an answer may have been lost
	stale                   // somebody holds it, but seems not to renew it
	healthy                 // somebody else holds and renews it
)

// stalePeriods is how many halves of a RetryPeriod may pass since the last
// renewal before a holder is given up: two renewals, and a half for the time
// that requests take. A holder that is only slow costs a standby some requests.
const stalePeriods = 5

// An observer judges a Lease by looks at it that may be seconds or many minutes
// apart. A renewTime is by the holder's clock; whichever way that differs from
// ours, a dead holder is found out in the end: the observer learns the
// difference where it can, and a Lease that did not change in all the time
// between two looks is stale whatever the clocks say.
//
// Nothing is decided by it except whether to stand by or to join the elector.
type observer struct {
	self     string        // our identity
	patience time.Duration // how old a renewal may be

	holder string        // "" if nobody, or nothing was seen yet
	renew  time.Time     // of the holder
	first  time.Time     // when we first saw this holder and renewal
	last   time.Time     // when we last looked
	offset time.Duration // age that a renewal of this holder has when it is new
}

// look takes in a Lease as it was read at now, nil if there is none.
func (o *observer) look(lease *coordinationv1.Lease, now time.Time) verdict {
	if lease == nil {
		o.forget(now)
		return missing
	}
	switch holder := ptr.Deref(lease.Spec.HolderIdentity, ""); holder {
	case "":
		o.forget(now)
		return released
	case o.self:
		o.forget(now)
		return ours
	default:
		return o.judge(holder, ptr.Deref(lease.Spec.RenewTime, metav1.MicroTime{}).Time, now)
	}
}

func (o *observer) forget(now time.Time) {
	*o = observer{self: o.self, patience: o.patience, last: now}
}

func (o *observer) judge(holder string, renew, now time.Time) verdict {
	sameHolder := holder == o.holder
	unchanged := sameHolder && renew.Equal(o.renew)
	sinceLast := now.Sub(o.last)
	if !sameHolder {
		o.offset = 0
	}
	if !unchanged {
		o.holder, o.renew, o.first = holder, renew, now
	}
	o.last = now

	age := now.Sub(renew)
	o.offset = min(o.offset, age) // their clock is at least that much ahead
	switch {
	case unchanged && now.Sub(o.first) > o.patience:
		return stale
	case age-o.offset <= o.patience:
		return healthy
	case sameHolder && !unchanged && sinceLast <= o.patience:
		// Renewed a moment ago and yet old: their clock is behind ours, or was
		// set back.
		o.offset = age
		return healthy
	}
	return stale
}
