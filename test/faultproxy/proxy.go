package faultproxy

import (
	"bytes"
	"context"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"time"

	"k8s.io/client-go/rest"
)

// A Proxy is a server of its own, with a certificate of its own, in front of an
// API server. Its methods are safe for concurrent use.
type Proxy struct {
	server *httptest.Server
	up     *httputil.ReverseProxy
	closed chan struct{}

	mu      sync.Mutex
	rules   []*Rule
	records []*Record
}

// A Record is a request with what became of it.
type Record struct {
	Request
	From  string    // address of the client's end of the connection
	Begun time.Time // when it came
	Ended time.Time // zero while it is under way
	// Code is what the client was answered, 0 for nothing (yet).
	Code int
	// Upstream is what the API server answered, 0 where it was not asked or has
	// not answered (yet).
	Upstream int
}

// Start serves the API server of the configuration on a free port of the
// loopback address. Of the configuration it takes the address and what proves
// the server's identity, not the user.
func Start(target *rest.Config) (*Proxy, error) {
	to, err := url.Parse(target.Host)
	if err != nil {
		return nil, fmt.Errorf("start the fault proxy: %w", err)
	}
	transport, err := rest.TransportFor(rest.AnonymousClientConfig(target))
	if err != nil {
		return nil, fmt.Errorf("start the fault proxy: %w", err)
	}
	silent := log.New(io.Discard, "", 0) // requests that are cut are logged as if they were news
	p := &Proxy{closed: make(chan struct{})}
	p.up = &httputil.ReverseProxy{
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(to) },
		Transport:     transport,
		FlushInterval: -1, // a watch's events come one by one
		ErrorLog:      silent,
		// Where there is no API server there is no answer either.
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}
	p.server = httptest.NewUnstartedServer(p)
	p.server.Config.ErrorLog = silent
	p.server.EnableHTTP2 = true // what clients speak with an API server
	p.server.StartTLS()
	return p, nil
}

// Config is a configuration with the same user that reaches the API server
// through the proxy. Its requests are known by the client's name, which must
// not hold a slash.
func (p *Proxy) Config(client string, c *rest.Config) *rest.Config {
	c = rest.CopyConfig(c)
	c.Host = p.server.URL + "/" + client
	c.CAFile = ""
	c.CAData = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.server.Certificate().Raw})
	return c
}

// Close breaks all requests off and ends the server.
func (p *Proxy) Close() {
	p.mu.Lock()
	select {
	case <-p.closed:
	default:
		close(p.closed)
	}
	p.mu.Unlock()
	p.server.CloseClientConnections()
	p.server.Close()
}

// Records are all requests so far, in the order in which they came.
func (p *Proxy) Records() []Record {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make([]Record, len(p.records))
	for i, r := range p.records {
		all[i] = *r
	}
	return all
}

// ServeHTTP takes the client's name from the path and does what the rules say.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	client, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	r.URL.Path, r.URL.RawPath = "/"+rest, ""
	request, err := parse(client, r)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	x := &exchange{proxy: p, r: r, w: &statusWriter{ResponseWriter: w}, record: &Record{Request: request, From: r.RemoteAddr, Begun: time.Now()}}
	p.mu.Lock()
	p.records = append(p.records, x.record)
	p.mu.Unlock()
	defer x.end()
	if x.rule = p.take(request); x.rule != nil {
		x.rule.action(x)
	} else {
		x.pass()
	}
}

// An exchange is one request on its way.
type exchange struct {
	proxy  *Proxy
	rule   *Rule // nil if none is for it
	r      *http.Request
	w      *statusWriter
	record *Record
}

// end completes the record. A request that was cut got no answer, whatever was
// begun.
func (x *exchange) end() {
	x.proxy.mu.Lock()
	x.record.Ended, x.record.Code = time.Now(), x.w.code
	x.proxy.mu.Unlock()
}

// pass passes the request on and the answer back, as it comes.
func (x *exchange) pass() {
	x.w.onCode = x.answered
	x.proxy.up.ServeHTTP(x.w, x.r)
}

func (x *exchange) answered(code int) {
	x.proxy.mu.Lock()
	x.record.Upstream = code
	x.proxy.mu.Unlock()
}

// cut breaks the request off. It does not return.
func (x *exchange) cut() { panic(http.ErrAbortHandler) }

// An answer is the API server's, whole.
type answer struct {
	code   int // 0: there is none
	header http.Header
	body   []byte
}

// fetch has the request carried out, even if the client has gone.
func (x *exchange) fetch() (a answer) {
	w := httptest.NewRecorder()
	defer func() {
		_ = recover() // http.ErrAbortHandler: there is no answer
		x.answered(a.code)
	}()
	x.proxy.up.ServeHTTP(w, x.r.WithContext(context.WithoutCancel(x.r.Context())))
	return answer{w.Code, w.Header(), w.Body.Bytes()}
}

// relay gives the client the answer.
func (x *exchange) relay(a answer) {
	if a.code == 0 {
		x.cut()
	}
	maps.Copy(x.w.Header(), a.header)
	x.w.WriteHeader(a.code)
	_, _ = io.Copy(x.w, bytes.NewReader(a.body)) // fails only if the client has gone
}

// A statusWriter remembers the status.
type statusWriter struct {
	http.ResponseWriter
	code   int
	onCode func(int) // or nil
}

func (w *statusWriter) WriteHeader(code int) {
	if w.code == 0 && code >= 200 {
		w.code = code
		if w.onCode != nil {
			w.onCode(code)
		}
	}
	w.ResponseWriter.WriteHeader(code)
}

// Unwrap lets [http.ResponseController] flush.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
