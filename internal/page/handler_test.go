package page

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

func TestHeaders(t *testing.T) {
	w := answer(t, leading(), http.MethodGet, "/")
	_, rest, _ := strings.Cut(w.Body.String(), "<style>")
	style, _, _ := strings.Cut(rest, "</style>")
	sum := sha256.Sum256([]byte(style))
	for _, target := range []string{"/", "/nowhere"} {
		w := answer(t, leading(), http.MethodGet, target)
		for name, want := range map[string]string{
			"Content-Security-Policy": "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
				"'; img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
			"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store", "X-Frame-Options": "DENY",
			"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin",
		} {
			if got := w.Header().Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", target, name, got, want)
			}
		}
	}
	if got := w.Header().Get("Content-Type"); got != "text/html; charset=utf-8" {
		t.Errorf("Content-Type is %q", got)
	}
}

func TestMethodsAndPaths(t *testing.T) {
	for _, test := range []struct {
		method, target string
		status         int
	}{
		{http.MethodGet, "/", 200},
		{http.MethodGet, "/?q=x&page=7&of=all", 200},
		{http.MethodHead, "/", 200},
		{http.MethodPost, "/", 405},
		{http.MethodPut, "/", 405},
		{http.MethodDelete, "/", 405},
		{http.MethodOptions, "/", 405},
		{http.MethodGet, "/index.html", 404},
		{http.MethodGet, "/metrics", 404},
		{http.MethodPost, "/x", 404},
	} {
		w := answer(t, leading(), test.method, test.target)
		if w.Code != test.status {
			t.Errorf("%s %s: status %d, want %d", test.method, test.target, w.Code, test.status)
		}
		if allow := w.Header().Get("Allow"); test.status == 405 && allow != "GET, HEAD" {
			t.Errorf("%s %s: Allow is %q", test.method, test.target, allow)
		}
	}
	server := httptest.NewServer(New(leading))
	defer server.Close()
	response, err := http.Head(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != 200 || response.ContentLength < 1000 {
		t.Errorf("HEAD: status %d, Content-Length %d", response.StatusCode, response.ContentLength)
	}
}

// A site whose name is made to lead to the reader's port-forward gets nothing.
func TestHostIsLocal(t *testing.T) {
	h := New(leading)
	for host, local := range map[string]bool{
		"localhost": true, "localhost:9466": true, "LOCALHOST:8080": true, "127.0.0.1": true, "127.0.0.1:1": true, "127.8.8.8:1": true, "[::1]:9466": true, "[::1]": true,
		"": false, "evil.example": false, "evil.example:9466": false, "localhost.evil.example": false, "10.0.0.1:9466": false, "0.0.0.0:9466": false, "[::]:9466": false,
		"127.0.0.1.evil.example": false, "169.254.169.254": false, "127.1": false,
	} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
		r.Host = host
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		want := http.StatusMisdirectedRequest
		if local {
			want = http.StatusOK
		}
		if w.Code != want {
			t.Errorf("Host %q: status %d, want %d", host, w.Code, want)
		}
		if !local && strings.Contains(w.Body.String(), "ip-10-0-1-17") {
			t.Errorf("Host %q is told of the cluster", host)
		}
	}
}

// Only few pages are made at a time; whoever waits gets one later, and who goes
// away meanwhile is let go.
func TestFewAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var inside atomic.Int32
		leave := make(chan struct{})
		h := New(func() View { inside.Add(1); <-leave; return leading() })
		ask := func(ctx context.Context) *httptest.ResponseRecorder {
			w := httptest.NewRecorder()
			r := httptest.NewRequestWithContext(ctx, http.MethodGet, "http://localhost/", nil)
			go h.ServeHTTP(w, r)
			return w
		}
		answers := make([]*httptest.ResponseRecorder, atOnce+1)
		for i := range answers {
			answers[i] = ask(t.Context())
		}
		synctest.Wait() // so that they are before the next
		impatient, goAway := context.WithCancel(t.Context())
		gone := ask(impatient)
		synctest.Wait()
		if got := inside.Load(); got != atOnce {
			t.Errorf("%d pages are made at once, want %d", got, atOnce)
		}
		goAway()
		synctest.Wait()
		close(leave)
		synctest.Wait()
		for _, w := range answers {
			if w.Code != http.StatusOK || w.Body.Len() == 0 {
				t.Errorf("status %d, %d bytes", w.Code, w.Body.Len())
			}
		}
		if gone.Body.Len() > 0 || inside.Load() != atOnce+1 {
			t.Errorf("who went away got %d bytes; %d pages were made", gone.Body.Len(), inside.Load())
		}
	})
}
