package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"time"

	"k8s.io/client-go/rest"
)

// A wire is the network of one agent in this process. Cut, it does to the API
// server what the death of the agent's machine does: nothing more comes.
type wire struct {
	slow bool // answers take as long as those of an API server with a p99 of 3 s

	mu    sync.Mutex
	cut   bool
	conns map[net.Conn]bool
}

var errCut = errors.New("the wire is cut")

// config is a configuration of a client with a connection of its own: since its
// dialer is nobody else's, client-go shares nothing of its transport.
func (w *wire) config(c *rest.Config) *rest.Config {
	c = rest.CopyConfig(c)
	c.Dial = w.dial
	c.UserAgent = "bench"
	c.ContentType = "application/vnd.kubernetes.protobuf"
	c.AcceptContentTypes = "application/vnd.kubernetes.protobuf,application/json"
	c.QPS = -1
	if w.slow {
		c.Wrap(func(next http.RoundTripper) http.RoundTripper { return slowly{next} })
	}
	return c
}

func (w *wire) dial(ctx context.Context, network, address string) (net.Conn, error) {
	w.mu.Lock()
	cut := w.cut
	w.mu.Unlock()
	if cut {
		return nil, errCut
	}
	conn, err := (&net.Dialer{Timeout: 30 * time.Second}).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cut {
		_ = conn.Close()
		return nil, errCut
	}
	if w.conns == nil {
		w.conns = map[net.Conn]bool{}
	}
	own := &wired{conn, w}
	w.conns[own] = true
	return own, nil
}

// end cuts the wire.
func (w *wire) end() {
	w.mu.Lock()
	conns := w.conns
	w.cut, w.conns = true, nil
	w.mu.Unlock()
	for c := range conns {
		_ = c.Close()
	}
}

// wired is a connection that its wire knows until it is closed.
type wired struct {
	net.Conn
	wire *wire
}

func (c *wired) Close() error {
	c.wire.mu.Lock()
	delete(c.wire.conns, c)
	c.wire.mu.Unlock()
	return c.Conn.Close()
}

// slowly holds requests up as a slow API server holds up answers.
type slowly struct{ next http.RoundTripper }

func (s slowly) RoundTrip(r *http.Request) (*http.Response, error) {
	d := 5*time.Millisecond + rand.N(50*time.Millisecond)
	if rand.N(50) == 0 {
		d = 3 * time.Second
	}
	if !pause(r.Context(), d) {
		return nil, r.Context().Err()
	}
	return s.next.RoundTrip(r)
}
