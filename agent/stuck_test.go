package agent

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/rolecall/rolecall/election"
	"github.com/rolecall/rolecall/internal/roster"
)

// silentServer is an API server in which nothing exists and which takes every
// request of some sort without ever answering.
type silentServer struct{ silent func(*http.Request) bool }

func (s silentServer) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Query().Get("watch") != "" || s.silent(r) {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	return &http.Response{
		StatusCode: http.StatusNotFound, Header: http.Header{"Content-Type": {"application/json"}}, Request: r,
		Body: io.NopCloser(strings.NewReader(`{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"NotFound","code":404}`)),
	}, nil
}

// stuckRoster does not even return when its context ends.
type stuckRoster struct{ forever chan struct{} }

func (s stuckRoster) List(context.Context, string) (roster.ListResult, error) {
	<-s.forever
	return roster.ListResult{}, nil
}

// newSilent returns a leader of such an API server.
func newSilent(t *testing.T, silent func(*http.Request) bool, nodes Roster) *Leader {
	t.Helper()
	client, err := kubernetes.NewForConfigAndClient(&rest.Config{Host: "https://127.0.0.1", QPS: -1}, &http.Client{Transport: silentServer{silent}})
	if err != nil {
		t.Fatal(err)
	}
	opts := options(client, nodes)
	opts.Registerer = nil
	l := NewLeader(opts)
	l.Apply(reported())
	return l
}

// The work is stuck: nothing that it calls returns. Whoever looks at the health
// alone, with the Lease renewed all the while, sees it within minutes.
func TestStuckWorkIsSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stuck := stuckRoster{make(chan struct{})}
		l := newSilent(t, func(*http.Request) bool { return false }, stuck)
		lead(t, l)
		t.Cleanup(func() { close(stuck.forever) })
		time.Sleep(stuckAfter)
		synctest.Wait()
		if state, why := l.Alive(); state != Good {
			t.Errorf("after %s, which a slow API server can take: %s", stuckAfter, why)
		}
		time.Sleep(2 * time.Second)
		if state, why := l.Alive(); state != Bad || !strings.Contains(why, "stuck for 3m") {
			t.Errorf("a moment later: %v %q", state, why)
		}
	})
}

// An API server that answers nothing, or not the writes, is not cured by ending
// the agent, though it gives the Lease up and leads again.
func TestSilentServerIsNotStuckWork(t *testing.T) {
	for name, silent := range map[string]func(*http.Request) bool{
		"all":      func(*http.Request) bool { return true },
		"writes":   func(r *http.Request) bool { return r.Method != http.MethodGet },
		"aws-auth": func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/aws-auth") },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newSilent(t, silent, newWorld(roster.Report{RoleARN: roleOf("workers"), Renewed: time.Now()}))
				leadAgain(t, l)
				for range 60 {
					time.Sleep(10 * time.Second)
					if state, why := l.Alive(); state != Good {
						t.Fatal(why)
					}
				}
			})
		})
	}
}

// leadAgain has it lead until the test's end, and again where it gives way, as an
// elector would where nobody else can lead.
func leadAgain(t *testing.T, l *Leader) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			if err := l.Lead(ctx); err != nil && !errors.Is(err, election.ErrUnable) {
				t.Error(err)
			}
			pause(ctx, 20*time.Second)
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
}

// Requests that hang end with the term, whatever hangs.
func TestHungRequestsEndWithTheTerm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newSilent(t, func(*http.Request) bool { return true }, &world{})
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		begin := time.Now()
		if err := l.Lead(ctx); err != nil {
			t.Error(err)
		}
		if took := time.Since(begin); took != time.Second {
			t.Errorf("the work ended %s after its term", took-time.Second)
		}
	})
}
