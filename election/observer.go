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
// apart. A renewTime is by the holder's clock, so the observer learns how far
// that is from ours. Until it has, a holder whose clock is behind looks stale,
// which costs a visit to the elector; one whose clock is ahead looks healthy
// once, but a Lease that did not change between two looks never does.
//
// Nothing is decided by it except whether to stand by or to join the elector.
type observer struct {
	self     string        // our identity
	patience time.Duration // how old a renewal may be

	holder string        // "" if nobody, or nothing was seen yet
	renew  time.Time     // of the holder
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
	if holder != o.holder {
		o.offset = 0
	}
	renewed := holder == o.holder && !renew.Equal(o.renew) && now.Sub(o.last) <= o.patience
	o.holder, o.renew, o.last = holder, renew, now

	age := now.Sub(renew)
	o.offset = min(o.offset, age) // their clock is at least that much ahead
	switch {
	case age-o.offset <= o.patience:
		return healthy
	case renewed:
		// A moment ago, and yet it is old: their clock is behind ours, or was
		// set back.
		o.offset = age
		return healthy
	}
	return stale
}
