package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/rolecall/rolecall/internal/visible"
)

// Health is what a check says.
type Health int

// The states of a check.
const (
	Good   Health = iota
	Notice        // it works, but somebody should look; shown, counts as good
	Bad
)

// A Check is a line of /healthz or /readyz.
type Check struct {
	Name string
	// Look says how things stand and, unless good, why in one line. It must
	// return at once and be safe for concurrent use.
	Look func() (Health, string)
}

// A Server answers /metrics, /healthz and /readyz.
type Server struct {
	Gatherer prometheus.Gatherer
	Alive    []Check // /healthz: a bad one has the kubelet restart the agent
	Ready    []Check // /readyz
}

// Handler returns the server's routes. Both health pages answer 200 or 503 and
// with ?verbose a line a check, as Kubernetes' own do.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.Gatherer, promhttp.HandlerOpts{EnableOpenMetrics: true}))
	mux.Handle("GET /healthz", checks("healthz", s.Alive))
	mux.Handle("GET /readyz", checks("readyz", s.Ready))
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "rolecall agent\n\n/metrics\n/healthz?verbose\n/readyz?verbose\n")
	})
	return mux
}

func checks(page string, list []Check) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var out strings.Builder
		code := http.StatusOK
		for _, c := range list {
			state, why := c.Look()
			why = visible.Text(why)
			switch state {
			case Bad:
				code = http.StatusServiceUnavailable
				fmt.Fprintf(&out, "[-]%s failed: %s\n", c.Name, why)
			case Notice:
				fmt.Fprintf(&out, "[!]%s: %s\n", c.Name, why)
			case Good:
				fmt.Fprintf(&out, "[+]%s ok", c.Name)
				if why != "" {
					out.WriteString(": " + why)
				}
				out.WriteByte('\n')
			}
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.WriteHeader(code)
		switch _, verbose := r.URL.Query()["verbose"]; {
		case code != http.StatusOK:
			fmt.Fprintf(w, "%s%s check failed\n", out.String(), page)
		case verbose:
			fmt.Fprintf(w, "%s%s check passed\n", out.String(), page)
		default:
			fmt.Fprint(w, "ok")
		}
	}
}

// Serve answers on the listener until ctx ends and returns nil then.
func (s *Server) Serve(ctx context.Context, listener net.Listener) error {
	if err := Serve(ctx, listener, s.Handler()); err != nil {
		return fmt.Errorf("serve metrics and health: %w", err)
	}
	return nil
}

// Serve has a handler answer on the listener until ctx ends and returns nil then.
// Requests are small and have to come in at once.
func Serve(ctx context.Context, listener net.Listener, handler http.Handler) error {
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second, MaxHeaderBytes: 32 << 10}
	stopped := make(chan struct{})
	unhook := context.AfterFunc(ctx, func() {
		defer close(stopped)
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		_ = server.Shutdown(grace)
	})
	err := server.Serve(listener)
	if !unhook() {
		<-stopped
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}
