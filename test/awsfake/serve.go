package awsfake

import (
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"time"
)

// server serves a handler on a free port of 127.0.0.1.
type server struct {
	mu   sync.Mutex
	http *http.Server
	done chan struct{} // closed when Serve has returned
	url  string
}

func (s *server) start(h http.Handler) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.http != nil {
		return s.url, nil
	}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("start a stand-in for AWS: %w", err)
	}
	s.http = &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          log.New(io.Discard, "", 0), // faults abort handlers, which is logged as if it were news
	}
	s.done = make(chan struct{})
	s.url = "http://" + l.Addr().String()
	go func(srv *http.Server, done chan struct{}) {
		defer close(done)
		_ = srv.Serve(l) // always ErrServerClosed, after Close
	}(s.http, s.done)
	return s.url, nil
}

func (s *server) address() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.url
}

func (s *server) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.http == nil {
		return nil
	}
	err := s.http.Close()
	<-s.done
	s.http, s.url = nil, ""
	return err
}

// pause waits for d, or until the client has gone; false means gone. A
// negative d waits for the client alone.
func pause(r *http.Request, d time.Duration) bool {
	if d == 0 {
		return true
	}
	var after <-chan time.Time
	if d > 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		after = t.C
	}
	select {
	case <-after:
		return true
	case <-r.Context().Done():
		return false
	}
}
