package aws

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go/middleware"
	"github.com/prometheus/client_golang/prometheus"
)

// counter counts the requests to IAM, STS and EC2: each page and each retry by
// itself, and those for credentials too.
type counter struct{ requests *prometheus.CounterVec }

func newCounter(r prometheus.Registerer) (counter, error) {
	c := counter{prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "rolecall_iam_requests_total",
		Help: "Requests sent to IAM, STS and EC2, retries included, by operation and by result: ok or why it failed.",
	}, []string{"operation", "result"})}
	if r == nil {
		return c, nil
	}
	err := r.Register(c.requests)
	var already prometheus.AlreadyRegisteredError
	if errors.As(err, &already) {
		// A directory made anew after an edit of the configuration.
		if requests, ok := already.ExistingCollector.(*prometheus.CounterVec); ok {
			return counter{requests}, nil
		}
	}
	if err != nil {
		return c, fmt.Errorf("register rolecall_iam_requests_total: %w", err)
	}
	return c, nil
}

// apiOptions puts the counter where it sees each attempt once, with the error
// that the SDK makes of the answer.
func (c counter) apiOptions() []func(*middleware.Stack) error {
	return []func(*middleware.Stack) error{func(s *middleware.Stack) error {
		return s.Deserialize.Add(middleware.DeserializeMiddlewareFunc("rolecall.CountRequests",
			func(ctx context.Context, in middleware.DeserializeInput, next middleware.DeserializeHandler) (middleware.DeserializeOutput, middleware.Metadata, error) {
				out, metadata, err := next.HandleDeserialize(ctx, in)
				switch middleware.GetServiceID(ctx) {
				case iam.ServiceID, sts.ServiceID, ec2.ServiceID:
					result := "ok"
					if err != nil {
						result = Reason(err)
					}
					c.requests.WithLabelValues(middleware.GetOperationName(ctx), result).Inc()
				}
				if last, ok := ctx.Value(lastErrorKey{}).(*lastError); ok {
					last.set(err)
				}
				return out, metadata, err
			}), middleware.Before)
	}}
}

// lastError remembers how the last attempt of a call failed.
type lastError struct {
	mu  sync.Mutex
	err error
}

type lastErrorKey struct{}

func (l *lastError) set(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err = err
}

func (l *lastError) get() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}
