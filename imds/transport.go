package imds

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// maxBody bounds an answer, in bytes; the largest that is asked for, the
// identity document, has about 500.
const maxBody = 64 << 10

var errTooLarge = fmt.Errorf("the answer has over %d bytes", maxBody)

// newHTTPClient returns the client for one try of a request, which takes no
// longer than timeout, answer included. It follows no redirect, since the
// service gives none, and uses no proxy.
func newHTTPClient(timeout time.Duration) *http.Client {
	return &http.Client{
		Timeout: timeout,
		Transport: &http.Transport{
			Proxy:           nil,
			DialContext:     (&net.Dialer{Timeout: timeout}).DialContext,
			MaxIdleConns:    1,
			IdleConnTimeout: 10 * time.Second,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// exchange is one request and what came of it.
type exchange struct {
	method, path string // empty: there was none
	status       int    // 0 where err is set
	err          error
}

func (x exchange) timeout() bool {
	var t interface{ Timeout() bool }
	return errors.As(x.err, &t) && t.Timeout() || errors.Is(x.err, context.DeadlineExceeded)
}

func (x exchange) String() string {
	switch {
	case x.method == "":
		return ""
	case x.err == nil:
		return fmt.Sprintf("%s %s gave %d", x.method, x.path, x.status)
	case x.timeout():
		return fmt.Sprintf("%s %s ran out of time", x.method, x.path)
	}
	return fmt.Sprintf("%s %s failed", x.method, x.path)
}

// trace remembers the last exchange of a call. The SDK's own error does not do:
// where the token is concerned it hides its cause, the HTTP status included
// (feature/ec2/imds v1.20.7 token_provider.go:254). A call carries it in its
// context.
type trace struct {
	mu   sync.Mutex
	last exchange
}

type traceKey struct{}

func (t *trace) set(x exchange) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last = x
}

func (t *trace) get() exchange {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.last
}

// tracer is the HTTP client that the SDK is given: it reads each answer whole
// and leaves a note in the trace.
type tracer struct{ client *http.Client }

// Do sends a request.
func (t tracer) Do(r *http.Request) (*http.Response, error) {
	resp, err := t.do(r)
	if tr, ok := r.Context().Value(traceKey{}).(*trace); ok {
		x := exchange{method: r.Method, path: r.URL.Path, err: err}
		if err == nil {
			x.status = resp.StatusCode
		}
		tr.set(x)
	}
	return resp, err
}

func (t tracer) do(r *http.Request) (*http.Response, error) {
	resp, err := t.client.Do(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	if err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	if len(body) > maxBody {
		return nil, errTooLarge
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return resp, nil
}
