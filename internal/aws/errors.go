package aws

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/smithy-go"
)

// ErrTruncated says that a list broke off, or that an answer lacks what every
// answer has.
var ErrTruncated = errors.New("the answer is not whole")

// The categories of [Reason].
const (
	ReasonDenied      = "denied"      // AWS refuses, or there are no credentials to ask with
	ReasonThrottled   = "throttled"   // too many requests
	ReasonNotFound    = "not_found"   // no such group
	ReasonTimeout     = "timeout"     // no answer in time
	ReasonTruncated   = "truncated"   // an answer that is not whole, or not IAM's
	ReasonUnreachable = "unreachable" // no connection, no such host
	ReasonOther       = "other"
)

// Reason returns the category of an error of this package: one of the Reason…
// constants, or "" for nil. A context that was canceled is ReasonOther.
func Reason(err error) string {
	var (
		api         smithy.APIError
		status      interface{ HTTPStatusCode() int }
		notFound    *types.NoSuchEntityException
		broken      *smithy.DeserializationError
		credentials *CredentialsError
		opErr       *net.OpError
		dnsErr      *net.DNSError
		timeout     interface{ Timeout() bool }
		sendErr     interface{ ConnectionError() bool }
	)
	code := 0
	if errors.As(err, &status) {
		code = status.HTTPStatusCode()
	}
	switch {
	case err == nil:
		return ""
	case errors.As(err, &api) && throttles(api.ErrorCode()), code == http.StatusTooManyRequests:
		return ReasonThrottled
	// By status too: proxies, service control points and some stand-ins give
	// 403 with a body that has no code in it.
	case code == http.StatusForbidden, code == http.StatusUnauthorized:
		return ReasonDenied
	case errors.Is(err, ErrNoGroup), errors.As(err, &notFound):
		return ReasonNotFound
	case errors.As(err, &credentials) && credentials.missing():
		return ReasonDenied
	case errors.Is(err, context.Canceled):
		return ReasonOther
	case errors.Is(err, ErrTruncated):
		return ReasonTruncated
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return ReasonTimeout
	case errors.As(err, &broken) && code == http.StatusOK:
		return ReasonTruncated // it broke off, or what came isn't IAM's
	case errors.As(err, &opErr), errors.As(err, &dnsErr), errors.As(err, &sendErr) && sendErr.ConnectionError():
		return ReasonUnreachable
	case credentials != nil && code >= http.StatusInternalServerError:
		return ReasonOther // the agent of EKS Pod Identity fails for a moment
	case credentials != nil:
		return ReasonDenied // a token file that isn't there, a token that STS finds invalid
	}
	return ReasonOther
}

func throttles(code string) bool {
	_, ok := retry.DefaultThrottleErrorCodes[code]
	return ok
}

// An Error says which call failed, why, and what to do about it.
type Error struct {
	Action string // what was asked, as policies name it: iam:ListRoles
	What   string // what was to be read; may be empty
	Reason string // see the function of that name
	AsNode bool   // it was asked as the node's own role, see [Directory.AsNode]
	Mend   string // what to do about it; empty where waiting is all
	Err    error
}

// advice is what to do about an error.
func (c *call) advice(e *Error) string {
	host, proxy := c.way.get()
	unanswered := e.Reason == ReasonUnreachable || e.Reason == ReasonTimeout
	var credentials *CredentialsError
	if errors.As(e.Err, &credentials) && !unanswered {
		return "" // it has its own
	}
	switch {
	case e.Reason == ReasonDenied && e.AsNode: // short, since the status keeps the end of a text
		return strings.TrimSpace("this pod got no credentials of its own and asked as the node's role "+c.dir.nodeRole()) +
			": give its service account a role (EKS Pod Identity or IRSA) that allows " + e.Action + ", and restart the pod"
	case e.Reason == ReasonDenied:
		return "allow " + e.Action + " in a policy of the role that rolecall's service account has (IRSA or EKS Pod Identity), " +
			"and look for a service control policy or permissions boundary that denies it"
	case e.Reason == ReasonNotFound:
		return "create it, or take it out of the configuration"
	case unanswered:
		return noWay(host, proxy)
	}
	return ""
}

func (e *Error) Error() string {
	s := e.Action
	if e.What != "" {
		s += " of " + e.What
	}
	s += " failed (" + e.Reason + "): " + e.Err.Error()
	if e.Mend != "" {
		s += ": " + e.Mend
	}
	return s
}

// NoOwnCredentials reports whether AWS refuses because this process has no credentials
// but those of the node's own role, or none: another agent may have got some.
func (e *Error) NoOwnCredentials() bool { return e.AsNode && e.Reason == ReasonDenied }

// Persists reports whether to ask again later is of no use: it takes a person.
func (e *Error) Persists() bool { return e.Reason == ReasonDenied || e.Reason == ReasonNotFound }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }
