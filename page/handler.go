package page

import (
	"bytes"
	"crypto/sha256"
	_ "embed" // of the template and the stylesheet
	"encoding/base64"
	"fmt"
	"html/template"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
)

//go:embed page.html
var templateText string

//go:embed page.css
var stylesheet string

// atOnce is how many pages are made at the same time. Others wait: whoever asks
// without end slows down the page and not the agent.
const atOnce = 2

// warnAt is where the meter of aws-auth's size changes its colour, in percent.
const warnAt = 70

// Handler makes the page.
type handler struct {
	look    func() View
	page    *template.Template
	policy  string
	working chan struct{}
}

// New returns a handler that answers GET and HEAD of "/" with the page of what
// look returns. look must return at once and be safe for concurrent use.
//
// The query takes q, part of an ARN, username, group, source or mark; of, ours
// or others; and page, from 1. What makes no sense in it is left out.
func New(look func() View) (http.Handler, error) {
	style := strings.TrimSpace(stylesheet)
	page, err := template.New("page").Funcs(functions(style)).Parse(templateText)
	if err != nil {
		return nil, fmt.Errorf("read the template of the status page: %w", err)
	}
	sum := sha256.Sum256([]byte(style))
	h := &handler{
		look: look, page: page, working: make(chan struct{}, atOnce),
		// The icon is an empty one within the page: without it, browsers ask for
		// /favicon.ico.
		policy: "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; img-src data:; " +
			"form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
	}
	mux := http.NewServeMux()
	mux.Handle("GET /{$}", h)
	return h.guard(mux), nil
}

func functions(style string) template.FuncMap {
	return template.FuncMap{
		// Ours, and the very text that the policy has the hash of.
		"style": func() template.CSS { return template.CSS(style) }, //nolint:gosec // it is embedded
		"when":  when, "stamp": stamp, "clock": clock, "arn": arn, "count": count, "standbys": standbys, "short": short,
		"percent": percent, "size": size,
		"plus":      func(a, b int) int { return a + b },
		"minus":     func(a, b int) int { return a - b },
		"high":      func(limit int) int { return limit / 100 * warnAt },
		"held":      func(c []Change) []Change { return c[:min(len(c), maxHeld)] },
		"unheld":    func(c []Change) int { return max(len(c)-maxHeld, 0) },
		"refused":   func(r []Refusal) []Refusal { return r[:min(len(r), maxRoles)] },
		"unrefused": func(r []Refusal) int { return max(len(r)-maxRoles, 0) },
	}
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
	if err := h.page.Execute(&body, newModel(h.look(), parseQuery(r.URL.Query()))); err != nil {
		http.Error(w, "the page cannot be made: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(body.Len()))
	_, _ = w.Write(body.Bytes()) // who went away needs no answer
}
