package awsfake

import (
	"net/http"
	"time"
)

// FaultKind is a way in which an [AWS] fails a request.
type FaultKind int

const (
	FaultSlow       FaultKind = iota // answers well, after Delay
	FaultDenied                      // 403 AccessDenied
	FaultForbidden                   // 403 with a body that is not AWS's, as from a proxy
	FaultThrottled                   // 400 Throttling
	FaultInternal                    // 503 ServiceUnavailable
	FaultExpired                     // 403 ExpiredToken
	FaultDropped                     // the connection is closed without an answer
	FaultCut                         // the connection is closed in the middle of the answer
	FaultEmpty                       // 200 without a body
	FaultHollow                      // 200 with a result that has nothing in it
	FaultNoMarker                    // IsTruncated, without a Marker to go on from
	FaultSameMarker                  // IsTruncated, with the Marker of the page before
	FaultEndless                     // IsTruncated, with a new Marker, and no end ever
	FaultBothWays                    // not IsTruncated, and yet a Marker
	FaultHang                        // takes the request and never answers
)

// AnyOperation makes a fault hit every operation that has none of its own.
const AnyOperation = "*"

// A Fault says how an operation of an [AWS] fails, and for how long.
type Fault struct {
	Kind  FaultKind
	Times int           // requests that it hits; 0: all, until Heal
	Page  int           // the page of a paged answer that it hits, from 1; 0: every page
	Delay time.Duration // before the answer or the failure
	Key   string        // the access key id whose requests it hits; empty: everyone's
}

// Deny refuses every request.
func Deny() Fault { return Fault{Kind: FaultDenied} }

// Throttle refuses the next n requests as too many; 0 refuses all.
func Throttle(n int) Fault { return Fault{Kind: FaultThrottled, Times: n} }

// Truncate says that there is more and does not say where it goes on.
func Truncate() Fault { return Fault{Kind: FaultNoMarker} }

// Cut closes the connection in the middle of each answer.
func Cut() Fault { return Fault{Kind: FaultCut} }

// Slow answers well, but only after d.
func Slow(d time.Duration) Fault { return Fault{Kind: FaultSlow, Delay: d} }

// Down closes each connection without an answer.
func Down() Fault { return Fault{Kind: FaultDropped} }

// Fail makes an operation ("ListRoles", or [AnyOperation]) fail from now on, in
// place of any earlier fault of that operation.
func (a *AWS) Fail(operation string, f Fault) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.faults[operation] = &f
}

// Heal ends the faults of these operations, or all faults where none is named.
func (a *AWS) Heal(operations ...string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(operations) == 0 {
		clear(a.faults)
	}
	for _, op := range operations {
		delete(a.faults, op)
	}
}

// take returns the fault that hits a request, used up by one, or nil. Called
// with mu held.
func (a *AWS) take(operation, key string, page int) *Fault {
	for _, of := range []string{operation, AnyOperation} {
		f, ok := a.faults[of]
		if !ok || f.Key != "" && f.Key != key {
			continue
		}
		if f.Page != 0 && f.Page != page {
			continue
		}
		hit := *f
		if f.Times > 0 {
			if f.Times--; f.Times == 0 {
				delete(a.faults, of)
			}
		}
		return &hit
	}
	return nil
}

// apiError is an error as the query protocol tells it.
type apiError struct {
	status  int
	code    string
	message string
}

// asError is what a fault answers, or nil where it is no error answer.
func (f *Fault) asError(caller, operation string) *apiError {
	if f == nil {
		return nil
	}
	switch f.Kind {
	case FaultDenied:
		return &apiError{http.StatusForbidden, "AccessDenied", "User: " + caller + " is not authorized to perform: " + action(operation) + " on resource: *"}
	case FaultThrottled:
		return &apiError{http.StatusBadRequest, "Throttling", "Rate exceeded"}
	case FaultInternal:
		return &apiError{http.StatusServiceUnavailable, "ServiceUnavailable", "Service is unavailable, please try again later."}
	case FaultExpired:
		return &apiError{http.StatusForbidden, "ExpiredToken", "The security token included in the request is expired"}
	}
	return nil
}
