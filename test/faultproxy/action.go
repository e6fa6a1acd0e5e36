package faultproxy

import (
	"context"
	"encoding/json"
	"strconv"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// An Action is what a [Rule] does with a request. This package makes all there
// are.
type Action func(*exchange)

// Answer refuses: the API server never sees the request, and the client gets
// the error's status, with Retry-After where the error says so. The
// constructors of k8s.io/apimachinery/pkg/api/errors make them.
func Answer(err *apierrors.StatusError) Action {
	return func(x *exchange) {
		status := err.Status()
		status.Kind, status.APIVersion = "Status", "v1"
		body, err := json.Marshal(status)
		if err != nil {
			x.cut()
		}
		header := x.w.Header()
		header.Set("Content-Type", "application/json")
		if d := status.Details; d != nil && d.RetryAfterSeconds > 0 {
			header.Set("Retry-After", strconv.Itoa(int(d.RetryAfterSeconds)))
		}
		x.w.WriteHeader(int(status.Code))
		_, _ = x.w.Write(body) // fails only if the client has gone
	}
}

// Delay passes the request on after a while, unless the client has gone.
func Delay(d time.Duration) Action {
	return func(x *exchange) {
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-x.rule.gone:
		case <-x.r.Context().Done():
			x.cut()
		}
		x.pass()
	}
}

// Hang takes the request and neither passes it on nor answers, until the rule
// is removed: then it passes it on, unless the client has gone.
func Hang() Action {
	return func(x *exchange) {
		select {
		case <-x.rule.gone:
		case <-x.r.Context().Done():
			x.cut()
		}
		x.pass()
	}
}

// Cut breaks the request off before the API server sees it.
func Cut() Action { return func(x *exchange) { x.cut() } }

// LoseAnswer has the API server carry the request out, and breaks it off when
// the answer has come. It is not for watches.
func LoseAnswer() Action {
	return func(x *exchange) {
		x.fetch()
		x.cut()
	}
}

// A Hold is a rule that stops requests at a point and leaves them to the test.
type Hold struct {
	*Rule
	held chan *Held
}

// A Held request waits for [Held.Release] or [Held.Drop], whether its client
// still lives or not. Closing the proxy drops it.
type Held struct {
	Request Request
	Code    int // of the API server's answer; 0 before it was asked, and where it did not answer
	decide  chan bool
}

// HoldBefore stops requests before the API server gets them. One that is
// released is carried out even if its client has gone: it was under way.
func (p *Proxy) HoldBefore(m Match) *Hold {
	return p.hold(m, func(x *exchange, wait func(code int) bool) {
		if !wait(0) {
			x.cut()
		}
		x.relay(x.fetch())
	})
}

// HoldAfter stops requests when the API server has carried them out and its
// answer has come, before the client gets it. It is not for watches.
func (p *Proxy) HoldAfter(m Match) *Hold {
	return p.hold(m, func(x *exchange, wait func(code int) bool) {
		a := x.fetch()
		if !wait(a.code) {
			x.cut()
		}
		x.relay(a)
	})
}

func (p *Proxy) hold(m Match, do func(x *exchange, wait func(code int) bool)) *Hold {
	h := &Hold{held: make(chan *Held)}
	h.Rule = p.Add(m, func(x *exchange) {
		do(x, func(code int) bool {
			held := &Held{Request: x.record.Request, Code: code, decide: make(chan bool, 1)}
			select {
			case h.held <- held:
			case <-x.rule.gone:
				return true
			case <-p.closed:
				return false
			}
			select {
			case on := <-held.decide:
				return on
			case <-p.closed:
				return false
			}
		})
	})
	return h
}

// Next waits until a request is held.
func (h *Hold) Next(ctx context.Context) (*Held, error) {
	select {
	case held := <-h.held:
		return held, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// Release has the request go on. Only the first of Release and Drop counts.
func (h *Held) Release() { h.settle(true) }

// Drop breaks the request off where it is.
func (h *Held) Drop() { h.settle(false) }

func (h *Held) settle(on bool) {
	select {
	case h.decide <- on:
	default:
	}
}
