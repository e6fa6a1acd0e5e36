package agent

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// Each check is one line, whatever the reason says.
func TestHealthPageIsALineACheck(t *testing.T) {
	look := func(state Health) Check {
		return Check{Name: "a", Look: func() (Health, string) { return state, "x\n[+]b ok\x1b[2J\u202e" }}
	}
	for state, want := range map[Health]string{
		Good:   "[+]a ok: x\\n[+]b ok\\x1b[2J\\u202e\nreadyz check passed\n",
		Notice: "[!]a: x\\n[+]b ok\\x1b[2J\\u202e\nreadyz check passed\n",
		Bad:    "[-]a failed: x\\n[+]b ok\\x1b[2J\\u202e\nreadyz check failed\n",
	} {
		answer := httptest.NewRecorder()
		server := Server{Ready: []Check{look(state)}}
		server.Handler().ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/readyz?verbose", nil))
		if got := answer.Body.String(); got != want {
			t.Errorf("state %d: %q, want %q", state, got, want)
		}
	}
}
