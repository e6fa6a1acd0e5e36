// Package scraper runs a real Prometheus, the one that test/prometheus/build has
// made, and asks it: for tests of what is shipped for it.
package scraper

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rolecall/rolecall/test/child"
	"github.com/rolecall/rolecall/test/stage"
)

// Program is the path of prometheus. It fails, saying what to do, where it was not
// built; root is the repository.
func Program(ctx context.Context, root string) (string, error) {
	out, err := exec.CommandContext(ctx, filepath.Join(root, "test", "prometheus", "build"), "-n").Output()
	if err != nil {
		return "", fmt.Errorf("find prometheus: %w", err)
	}
	path := filepath.Join(strings.TrimSpace(string(out)), "prometheus")
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("%w: run test/prometheus/build, which takes minutes once", err)
	}
	return path, nil
}

// A Server is a running Prometheus. Its methods may be called from several
// goroutines.
type Server struct {
	address string
	process *child.Process
	log     string
}

// Start starts a Prometheus on a free loopback port, with a configuration that
// becomes its prometheus.yml, in a folder of its own. It is not yet ready then.
func Start(program, dir string, config map[string]any) (*Server, error) {
	text, err := json.Marshal(config) // which is YAML, too
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, "prometheus.yml"), text, 0o600); err != nil {
		return nil, err
	}
	port, err := stage.FreePort()
	if err != nil {
		return nil, err
	}
	s := &Server{address: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), log: filepath.Join(dir, "prometheus.log")}
	s.process, err = child.Start(program, dir, []string{
		"--config.file=prometheus.yml", "--storage.tsdb.path=data", "--web.listen-address=" + s.address,
	}, nil, s.log)
	return s, err
}

// Close ends it and waits for that.
func (s *Server) Close() error {
	err := s.process.Signal(syscall.SIGTERM)
	select {
	case <-s.process.Done():
	case <-time.After(20 * time.Second):
		s.process.Kill()
	}
	return err
}

// Log is what it has said.
func (s *Server) Log() string {
	text, err := os.ReadFile(s.log)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// get asks the API, and decodes the field "data" of the answer.
func (s *Server) get(ctx context.Context, path string, values url.Values, into any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.address+path+"?"+values.Encode(), nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	var answer struct {
		Status, Error string
		Data          json.RawMessage
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return fmt.Errorf("%s answers %s: %w", path, response.Status, err)
	}
	if answer.Status != "success" {
		return fmt.Errorf("%s: %s", path, answer.Error)
	}
	return json.Unmarshal(answer.Data, into)
}

// Query returns how many series a query has now.
func (s *Server) Query(ctx context.Context, expr string) (int, error) {
	var data struct{ Result []json.RawMessage }
	err := s.get(ctx, "/api/v1/query", url.Values{"query": {expr}}, &data)
	return len(data.Result), err
}

// Alerts are those that are pending or fire, with their state.
func (s *Server) Alerts(ctx context.Context) (map[string]string, error) {
	var data struct {
		Alerts []struct {
			Labels map[string]string
			State  string
		}
	}
	if err := s.get(ctx, "/api/v1/alerts", nil, &data); err != nil {
		return nil, err
	}
	states := map[string]string{}
	for _, a := range data.Alerts {
		states[a.Labels["alertname"]] = a.State
	}
	return states, nil
}

// Evaluated returns how many rules there are, and fails unless each was evaluated
// without an error.
func (s *Server) Evaluated(ctx context.Context) (int, error) {
	var data struct {
		Groups []struct {
			Rules []struct{ Name, Health, LastError string }
		}
	}
	if err := s.get(ctx, "/api/v1/rules", nil, &data); err != nil {
		return 0, err
	}
	n := 0
	for _, g := range data.Groups {
		for _, r := range g.Rules {
			n++
			if r.Health != "ok" {
				return n, fmt.Errorf("rule %s is %s: %s", r.Name, r.Health, r.LastError)
			}
		}
	}
	return n, nil
}

// Answers returns how many queries a dashboard has, and fails where one is not
// answered, or has nothing to show and its panel is not among those that may.
func (s *Server) Answers(ctx context.Context, dashboard []Query, mayBeEmpty map[string]bool) (int, error) {
	var missing []error
	for _, q := range dashboard {
		n, err := s.Query(ctx, q.Expr)
		switch {
		case err != nil:
			return 0, fmt.Errorf("panel %q: %w", q.Panel, err)
		case n == 0 && !mayBeEmpty[q.Panel]:
			missing = append(missing, fmt.Errorf("panel %q shows nothing for %s", q.Panel, q.Expr))
		}
	}
	return len(dashboard), errors.Join(missing...)
}
