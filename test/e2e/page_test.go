package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/rolecall/rolecall/test/faultproxy"
	"github.com/rolecall/rolecall/test/fleet"
	"github.com/rolecall/rolecall/test/stage"
	"github.com/rolecall/rolecall/test/trial"
)

// look asks for the status page at an address under the name of a host.
func look(ctx context.Context, method, address, host string) (answer, error) {
	r, err := http.NewRequestWithContext(ctx, method, "http://"+address+"/", nil)
	if err != nil {
		return answer{}, err
	}
	r.Host = host
	w, err := http.DefaultClient.Do(r)
	if err != nil {
		return answer{}, err
	}
	defer w.Body.Close()
	body, err := io.ReadAll(w.Body)
	return answer{w.StatusCode, w.Header, string(body)}, err
}

// An answer is what look got.
type answer struct {
	status int
	header http.Header
	body   string
}

// The status page is served where it is asked for and nowhere else, and costs the
// API server nothing, whoever looks at it however often.
func TestStatusPage(t *testing.T) {
	t.Parallel()
	cp := stage.ForTest(t)
	proxy, err := faultproxy.Start(cp.Config())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(proxy.Close)
	c := &cluster{trial.New(t, rarely, trial.Options{Options: fleet.Options{ControlPlane: cp, Flags: quick, Through: proxy.Config}})}
	c.AWS.AddGroup("Developers")
	c.Create(map[string]string{"mapRoles": othersRoles})
	leader := c.NewNode("node-a", "workers")
	leader.Setenv("ROLECALL_STATUS_PAGE=127.0.0.1:0")
	c.StartAgent(leader)
	if got := c.OneLeads(); got != leader {
		t.Fatalf("%s leads", got.Name)
	}
	standby := c.StartNode("node-b", "ingress", "--status-page=127.0.0.1:0")
	without := c.StartNode("node-c", "ingress")

	addresses := map[*fleet.Node]string{}
	shows := func(n *fleet.Node, texts ...string) {
		t.Helper()
		c.Eventually(n.Name+" shows it", func(ctx context.Context) error {
			if addresses[n] == "" {
				var err error
				if addresses[n], err = n.PageAddress(ctx); err != nil {
					return err
				}
			}
			w, err := look(ctx, http.MethodGet, addresses[n], "localhost:9466")
			for _, text := range texts {
				if err == nil && !strings.Contains(w.body, text) {
					err = fmt.Errorf("it lacks %q", text)
				}
			}
			return err
		})
	}
	shows(leader, "leads", "All is well", "role/</span>workers", "role/</span>ingress", "role/</span>break-glass", "group/Developers", "@@")
	shows(standby, "stands by", "All is well", "<strong>node-a</strong>", "role/</span>ingress", "group/Developers")

	// From here on nothing changes: what is asked now is asked for the pages.
	c.AtLeast(standby, 1, "rolecall_node_report_last_success_timestamp_seconds")
	c.AtLeast(without, 1, "rolecall_node_report_last_success_timestamp_seconds")
	c.Eventually("what they report has been acted on", func(context.Context) error {
		for _, r := range proxy.Records() {
			if r.Name != fleet.LeaseName && (time.Since(r.Begun) < time.Second || r.Verb != "watch" && r.Ended.IsZero()) {
				return fmt.Errorf("just now: %s", r.Request)
			}
		}
		return nil
	})
	from := len(proxy.Records())
	for range 25 {
		for n, address := range addresses {
			if w, err := look(t.Context(), http.MethodGet, address, "127.0.0.1"); err != nil || w.status != http.StatusOK {
				t.Fatalf("%s: %d, %v", n.Name, w.status, err)
			}
		}
	}
	for _, r := range proxy.Records()[from:] {
		if r.Resource == "daemonsets" { // which the leader counts each minute
			continue
		}
		if r.Resource != "leases" || r.Name != fleet.LeaseName {
			t.Errorf("while pages were looked at: %s", r.Request)
		}
	}

	for n, address := range addresses {
		w, err := look(t.Context(), http.MethodGet, address, "rebound.example")
		if err != nil || w.status != http.StatusMisdirectedRequest || strings.Contains(w.body, "node-a") {
			t.Errorf("%s, by another name: %d, %v\n%s", n.Name, w.status, err, w.body)
		}
		w, err = look(t.Context(), http.MethodPost, address, "localhost")
		if err != nil || w.status != http.StatusMethodNotAllowed || w.header.Get("Allow") != "GET, HEAD" {
			t.Errorf("%s, POST: %d, %v", n.Name, w.status, err)
		}
	}

	// The address of the metrics has nothing of it, and without the flag nothing has.
	for _, n := range []*fleet.Node{leader, without} {
		if status, body, err := n.Get(t.Context(), "/"); err != nil || status != http.StatusOK || strings.Contains(body, "arn:") || strings.Contains(body, "<") {
			t.Errorf("%s: status %d, %v\n%s", n.Name, status, err, body)
		}
	}
	if served, err := without.Logged("serving the status page"); err != nil || len(served) > 0 {
		t.Errorf("it serves a page unasked: %v, %v", served, err)
	}

	// An address that is taken costs the agent its page and nothing else.
	c.StartNode("node-d", "spot", "--status-page="+addresses[leader])
	c.Logs(c.Nodes()[3], "the status page is not served: give another --status-page")
	shows(leader, "role/</span>spot")

	// A new leader shows the page of one, which begins anew.
	leader.Kill()
	next := c.OneLeads(leader)
	if next != standby { // another one than ours may have been faster
		without.Kill()
		c.Nodes()[3].Kill()
		next = c.OneLeads(without, c.Nodes()[3], leader)
	}
	if next != standby {
		t.Fatal(errors.New(next.Name + " leads"))
	}
	shows(standby, "leads", "role/</span>spot", "Nobody has written aws-auth since this leader’s term began")
}
