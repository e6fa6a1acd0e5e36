package source

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rolecall/rolecall/config"
	"github.com/rolecall/rolecall/internal/roster"
)

// ec2 says under which roles the instances of nodes run.
type ec2 struct {
	roles  map[string][]string
	failed map[string]error
	err    error

	mu    sync.Mutex
	asked [][]string
}

func (e *ec2) NodeRoles(_ context.Context, nodes []string) (map[string][]string, map[string]error, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.asked = append(e.asked, nodes)
	return e.roles, e.failed, e.err
}

func by(node, role string) roster.Report {
	return roster.Report{RoleARN: arn(role), Node: node, Renewed: start}
}

func verifying() *config.Config {
	c := reporting()
	c.NodeRoles.Verify = config.VerifyEC2
	return c
}

// A new role is mapped once EC2 confirms its report, and not before; one that is
// mapped already is believed whatever EC2 says or does not.
func TestVerify(t *testing.T) {
	w := newWorld()
	w.reports.Reports = []roster.Report{by("a", "true"), by("b", "false"), by("c", "nowhere"), by("d", "known"), by("e", "marked"), by("f", "path"), by("g", "deleted")}
	e := &ec2{err: errors.New("no answer")}
	w.instances = e
	c := verifying()
	w.owned("known", "node")
	w.stands("marked", "rolecall", "system:nodes")
	s := w.set()
	check := func(when string, refused map[string]string, failed bool, want ...string) {
		t.Helper()
		asked := w.ask(s, c)
		if failed {
			want = append(want, "FAILED")
		}
		wantEntries(t, when, asked, map[string][]string{"node": want})
		if (asked.Errs["node"] != nil) != failed {
			t.Errorf("%s: the source's error is %v", when, asked.Errs["node"])
		}
		if len(asked.Refused) != len(refused) {
			t.Errorf("%s: refused %v, want %v", when, asked.Refused, refused)
		}
		for role, why := range refused {
			if err := asked.Refused[roster.LeaseName(arn(role))]; err == nil || !strings.Contains(err.Error(), why) {
				t.Errorf("%s: %s is refused for %v, want %q", when, role, err, why)
			}
		}
	}
	// due reports whether the set has something to ask, and asks it.
	due := func() bool {
		t.Helper()
		select {
		case <-s.Due():
		default:
			return false
		}
		if err := s.RefreshDue(t.Context(), c); (err != nil) != (e.err != nil) {
			t.Errorf("EC2 said %v, and the refresh %v", e.err, err)
		}
		return true
	}
	ours := []string{"role/known", "role/marked"}
	check("not asked yet", nil, false, ours...)
	if err := s.Refresh(t.Context(), c); err != nil || len(e.asked) != 0 {
		t.Errorf("the refresh asked %q: %v", e.asked, err)
	}
	if !due() || due() {
		t.Error("a new report has EC2 asked once")
	}

	all := map[string]string{}
	for _, role := range []string{"true", "false", "nowhere", "path", "deleted"} {
		all[role] = "no answer"
	}
	check("EC2 does not answer", all, true, ours...)
	if due() {
		t.Error("EC2 is asked again at once")
	}

	e.err = nil
	e.roles = map[string][]string{
		"a": {arn("other"), arn("TRUE")}, "b": {arn("other")}, "d": {arn("other")},
		"f": {"arn:aws:iam::111122223333:role/of/a/path"},
	}
	e.failed = map[string]error{"g": errors.New("NoSuchEntity: instance profile")}
	w.now = w.now.Add(time.Minute)
	check("still no answer", all, true, ours...)
	if !due() {
		t.Error("EC2 is not asked again")
	}
	lies := map[string]string{"false": "runs under " + arn("other"), "nowhere": "no running instance", "deleted": "NoSuchEntity"}
	check("EC2 answers", lies, false, "role/known", "role/marked", "role/path", "role/true")
	if want := []string{"a", "b", "c", "f", "g"}; !slices.Equal(e.asked[1], want) {
		t.Errorf("asked about %q, want %q", e.asked[1], want)
	}

	// What was confirmed is not asked about again, and what another node says is.
	w.reports.Reports[0] = by("a2", "true")
	check("another node reports it", lies, false, "role/known", "role/marked", "role/path")
	if !due() || !slices.Equal(e.asked[2], []string{"a2"}) {
		t.Errorf("asked about %q, want a2", e.asked[2:])
	}
	w.now = w.now.Add(time.Minute)
	lies["true"] = "no running instance"
	check("a minute later", lies, false, "role/known", "role/marked", "role/path")
	if want := []string{"a2", "b", "c", "g"}; !due() || !slices.Equal(e.asked[3], want) {
		t.Errorf("asked about %q, want %q", e.asked[3:], want)
	}

	// A report that is gone is forgotten.
	reports := w.reports.Reports
	w.reports.Reports = nil
	w.ask(s, c)
	w.reports.Reports = reports[5:6]
	check("back again", nil, false, ours...)
	if !due() || !slices.Equal(e.asked[4], []string{"f"}) {
		t.Errorf("asked about %q, want f", e.asked[4:])
	}

	// Without the option all are believed.
	w.reports.Reports = []roster.Report{by("b", "false")}
	c = reporting()
	check("not to be verified", nil, false, "role/false", "role/known", "role/marked")
}

// A question to EC2 that was broken off is asked again.
func TestVerifyIsBrokenOff(t *testing.T) {
	w := newWorld()
	w.reports.Reports = []roster.Report{by("a", "a")}
	e := &ec2{roles: map[string][]string{"a": {arn("a")}}}
	w.instances = e
	s := w.set()
	w.ask(s, verifying())
	<-s.Due()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.RefreshDue(ctx, verifying()); !errors.Is(err, context.Canceled) {
		t.Errorf("the refresh says %v", err)
	}
	w.ask(s, verifying())
	<-s.Due()
	if err := s.RefreshDue(t.Context(), verifying()); err != nil {
		t.Error(err)
	}
	wantEntries(t, "asked again", w.ask(s, verifying()), map[string][]string{"node": {"role/a"}})
}

// What EC2 says while the sources are asked is not lost, however the two meet. With
// the race detector it also tells of maps that both use.
func TestVerifyWhileAsking(t *testing.T) {
	w := newWorld()
	e := &ec2{roles: map[string][]string{}}
	w.instances = e
	for i := range 300 {
		node := fmt.Sprint("n", i)
		w.reports.Reports = append(w.reports.Reports, by(node, node))
		e.roles[node] = []string{arn(node)}
	}
	c := verifying()
	for range 20 {
		s := w.set()
		w.ask(s, c)
		<-s.Due()
		stop, started := make(chan struct{}), make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() {
			close(started)
			for {
				select {
				case <-stop:
					return
				default:
					w.ask(s, c)
				}
			}
		})
		<-started
		err := s.RefreshDue(t.Context(), c)
		close(stop)
		wg.Wait()
		if err != nil {
			t.Fatal(err)
		}
		if got := entriesOf(w.ask(s, c))["node"]; len(got) != len(e.roles) && len(s.Due()) == 0 {
			t.Fatalf("%d of %d roles are asked for: EC2 confirmed their reports, and is not asked again", len(got), len(e.roles))
		}
	}
}
