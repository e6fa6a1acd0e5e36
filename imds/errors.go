package imds

import (
	"errors"
	"net/http"
	"strings"
)

// Why the metadata service gave no identity. Each text is what a person who
// meets it should know; an [*Error] says besides what was seen.
var (
	// ErrUnreachable: nothing answers, or no token comes back.
	ErrUnreachable = errors.New("the instance metadata service (IMDS) does not answer: " +
		"most likely the instance's hop limit is 1 and the pod is not on the host's network (set hostNetwork: true), " +
		"or the node is one that has no IMDS (Fargate, a hybrid node)")

	// ErrDisabled: 403.
	ErrDisabled = errors.New("the instance metadata service (IMDS) refuses every request: " +
		"most likely it is switched off for this instance " +
		"(set HttpEndpoint to enabled: aws ec2 modify-instance-metadata-options --http-endpoint enabled)")

	// ErrSwitchedOff: the SDK was told not to ask.
	ErrSwitchedOff = errors.New("the instance metadata service (IMDS) is not asked because AWS_EC2_METADATA_DISABLED is true: " +
		"take that variable out of the pod's environment")

	// ErrNoRole: the instance has no role to tell.
	ErrNoRole = errors.New("the instance has no IAM role: " +
		"no instance profile is attached to it, or not yet (attach one that holds the node role)")

	// ErrUnauthorized: 401 to a token that is fresh.
	ErrUnauthorized = errors.New("the instance metadata service (IMDS) refuses a token that it has just handed out: " +
		"most likely a proxy stands in between, or two instances answer at one address " +
		"(let the pod reach 169.254.169.254 directly)")

	// ErrUnavailable: 5xx, 429, or no answer in time although it is reached.
	ErrUnavailable = errors.New("the instance metadata service (IMDS) is there but fails or is too slow: " +
		"most likely it is overloaded by other programs of this instance, or for a moment (it is asked again)")

	// ErrInvalid: an answer that cannot be right.
	ErrInvalid = errors.New("what answers as the instance metadata service (IMDS) is not EC2's, or not its version 2: " +
		"look for a credential proxy (kube2iam, kiam) that takes the traffic to 169.254.169.254, " +
		"and at AWS_EC2_METADATA_SERVICE_ENDPOINT and _MODE")
)

// An Error says why the metadata service gave no identity. It matches its Kind
// and its cause under errors.Is.
type Error struct {
	Kind   error  // one of the Err… variables of this package
	Detail string // what was seen, without what differs from try to try; may be empty
	Err    error  // the cause; may be nil
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Kind.Error())
	if e.Detail != "" {
		b.WriteString("; seen: " + e.Detail)
	}
	if e.Err != nil {
		b.WriteString(": " + e.Err.Error())
	}
	return b.String()
}

// Unwrap returns the kind and the cause.
func (e *Error) Unwrap() []error {
	if e.Err == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Err}
}

// kindOf says what the last exchange with the service means.
func kindOf(x exchange) error {
	switch {
	case x.method == "", errors.Is(x.err, errTooLarge):
		return ErrInvalid // with no method, nothing was sent: the endpoint is no URL
	case x.err != nil && x.timeout() && x.method != http.MethodPut:
		return ErrUnavailable // there was a token before, so it is within reach
	case x.err != nil:
		return ErrUnreachable
	}
	switch {
	case x.status == http.StatusUnauthorized:
		return ErrUnauthorized
	case x.status == http.StatusForbidden:
		return ErrDisabled
	case x.status == http.StatusNotFound && x.path == credentialsPath:
		return ErrNoRole
	case x.status == http.StatusTooManyRequests, x.status >= http.StatusInternalServerError:
		return ErrUnavailable
	}
	return ErrInvalid
}
