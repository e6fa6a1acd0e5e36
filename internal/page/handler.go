package page

import (
	"bytes"
	"crypto/sha256"
	_ "embed" // of the stylesheet
	"encoding/base64"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
)

//go:embed page.css
var stylesheet string

// atOnce is how many pages are made at the same time. Others wait: whoever asks
// without end slows down the page and not the agent.
const atOnce = 2

// Handler makes the page.
type handler struct {
	look    func() View
	style   string
	policy  string
	working chan struct{}
}

// New returns a handler that answers GET and HEAD of "/" with the page of what
// look returns. look must return at once and be safe for concurrent use.
//
// The query takes q, part of an ARN, username, group, source or mark; of, ours
// or others; and page, from 1. What makes no sense in it is left out.
func New(look func() View) http.Handler {
	style := strings.TrimSpace(stylesheet)
	sum := sha256.Sum256([]byte(style))
	h := &handler{
		look: look, style: style, working: make(chan struct{}, atOnce),
		// Images are let in for the icon, which is within the page.
		policy: "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; img-src data:; " +
			"form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
	}
	mux := http.NewServeMux()
	mux.Handle("GET /{$}", h)
	return h.guard(mux)
}

// guard sets the headers of every answer and turns away who came by a name that
// is not the local host's.
func (h *handler) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header.Set("Content-Security-Policy", h.policy)
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("X-Frame-Options", "DENY")
		header.Set("Referrer-Policy", "no-referrer")
		header.Set("Cache-Control", "no-store")
		header.Set("Cross-Origin-Opener-Policy", "same-origin")
		header.Set("Cross-Origin-Resource-Policy", "same-origin")
		if !isLocal(r.Host) {
			http.Error(w, "this page answers to localhost and loopback addresses only: reach it by kubectl port-forward, as http://localhost:PORT/", http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// isLocal reports whether a Host header names the local host, with whatever
// port: a port-forward may have any.
func isLocal(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	if strings.EqualFold(name, "localhost") {
		return true
	}
	address, err := netip.ParseAddr(strings.Trim(name, "[]"))
	return err == nil && address.IsLoopback()
}

// ServeHTTP makes a page as a whole before it sends any of it.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	select {
	case h.working <- struct{}{}:
		defer func() { <-h.working }()
	case <-r.Context().Done():
		return
	}
	var body bytes.Buffer
	m := newModel(h.look(), parseQuery(r.URL.Query()))
	_ = document(m, h.style).Render(&body) // a buffer takes all that is written
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(body.Len()))
	_, _ = w.Write(body.Bytes()) // who went away needs no answer
}
