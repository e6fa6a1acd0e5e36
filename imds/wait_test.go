package imds

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/rolecall/rolecall/test/awsfake"
)

// inProcess asks a handler without a network, so that synctest's clock runs on.
type inProcess struct{ handler http.Handler }

func (p inProcess) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body == nil {
		r.Body = http.NoBody
	}
	w := httptest.NewRecorder()
	p.handler.ServeHTTP(w, r)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return w.Result(), nil
}

func waiting(t *testing.T, o awsfake.IMDSOptions) (*awsfake.IMDS, *Client) {
	t.Helper()
	t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://imds.test")
	t.Setenv("AWS_EC2_METADATA_DISABLED", "")
	m := awsfake.NewIMDS(o)
	c := New(Options{})
	c.http.Transport = inProcess{m}
	return m, c
}

func TestWaitTellsEachFailureOnce(t *testing.T) {
	m, c := waiting(t, awsfake.IMDSOptions{})
	m.Set(awsfake.IMDSHang)
	synctest.Test(t, func(t *testing.T) {
		var told []error
		go func() {
			for _, f := range []awsfake.IMDSFault{awsfake.IMDSDisabled, awsfake.IMDSHang, awsfake.IMDSUnavailable, awsfake.IMDSHealthy} {
				time.Sleep(10 * time.Minute)
				m.Set(f)
			}
			time.Sleep(10 * time.Minute)
			m.SetRole("node")
		}()
		id, err := c.Wait(t.Context(), func(err error) { told = append(told, err) })
		if err != nil {
			t.Fatal(err)
		}
		if id.RoleName != "node" {
			t.Errorf("got %+v", id)
		}
		want := []error{ErrUnreachable, ErrDisabled, ErrUnavailable, ErrNoRole}
		if diff := cmp.Diff(want, told, cmpopts.EquateErrors()); diff != "" {
			t.Errorf("told (-want +got):\n%s", diff)
		}
	})
}

func TestWaitBacksOff(t *testing.T) {
	m, c := waiting(t, awsfake.IMDSOptions{})
	m.Set(awsfake.IMDSUnavailable)
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Hour)
		defer cancel()
		start := time.Now()
		_, err := c.Wait(ctx, nil)
		if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, ErrUnavailable) {
			t.Errorf("got %v, want that time ran out and why", err)
		}
		if got := time.Since(start); got != 2*time.Hour {
			t.Errorf("returned after %v, want when its context ended", got)
		}
		// Between half a minute and a minute apart, but for the first few; and
		// as many requests each at the end as at the beginning.
		if got := m.Requests()["PUT "+awsfake.IMDSTokenPath] / tries; got < 115 || got > 245 {
			t.Errorf("asked %d times in two hours", got)
		}
	})
}

func TestWaitEndsWithItsContext(t *testing.T) {
	m, c := waiting(t, awsfake.IMDSOptions{})
	m.Set(awsfake.IMDSHang)
	synctest.Test(t, func(t *testing.T) {
		for _, after := range []time.Duration{0, time.Second, 9 * time.Second} { // before, in a request, in a pause
			ctx, cancel := context.WithCancel(t.Context())
			go func() {
				time.Sleep(after)
				cancel()
			}()
			start := time.Now()
			if _, err := c.Wait(ctx, nil); !errors.Is(err, context.Canceled) {
				t.Errorf("got %v, want that it was canceled", err)
			}
			if got := time.Since(start); got != after {
				t.Errorf("canceled after %v, returned after %v", after, got)
			}
		}
	})
}

// The bound that Identity promises, however the service behaves.
func TestIdentityIsBounded(t *testing.T) {
	m, c := waiting(t, awsfake.IMDSOptions{Role: "node"})
	for name, lets := range map[string]func(n int) bool{
		"never answers":           func(int) bool { return false },
		"answers each third time": func(n int) bool { return n%3 == 0 },
	} {
		synctest.Test(t, func(t *testing.T) {
			n := 0
			c.http.Transport = inProcess{http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if n++; !lets(n) {
					<-r.Context().Done()
					return
				}
				m.ServeHTTP(w, r)
			})}
			start := time.Now()
			_, err := c.Identity(t.Context())
			if got := time.Since(start); got > 10*time.Second || err == nil {
				t.Errorf("a service that %s: took %v (%v)", name, got, err)
			}
		})
	}
}

// A proxy would answer for the instance that it runs on itself.
func TestNoProxy(t *testing.T) {
	if newHTTPClient(time.Second).Transport.(*http.Transport).Proxy != nil {
		t.Error("the metadata service is asked through a proxy")
	}
}
