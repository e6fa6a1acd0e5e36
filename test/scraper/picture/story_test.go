package picture

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rolecall/rolecall/test/awsfake"
	"github.com/rolecall/rolecall/test/fleet"
	"github.com/rolecall/rolecall/test/scraper"
	"github.com/rolecall/rolecall/test/trial"
)

const config = `apiVersion: rolecall.dev/v1
kind: Config
refreshInterval: 10s
roles:
  - permissionSet: Admin
    groups: [system:masters]
iamGroups:
  - name: Developers
    groups: [developers]
users:
  - {arn: "arn:aws:iam::111122223333:user/ops", username: ops, groups: [viewers]}
`

const byHand = `- userarn: arn:aws:iam::111122223333:user/eve
  username: eve
  groups: [guests]
`

// A story is what the picture shows: a cluster, and a Prometheus that watches it.
type story struct {
	*trial.Cluster
	*scraper.Server
	addresses map[*fleet.Node]string
}

// TestStory draws the picture: real agents on a real API server, watched by a real
// Prometheus, while some of what can happen does. It takes six minutes, so only
// "make dashboard-picture" runs it.
func TestStory(t *testing.T) {
	if !*update {
		t.Skip(`takes minutes: "make dashboard-picture"`)
	}
	b, err := Read(dashboard)
	if err != nil {
		t.Fatal(err)
	}
	program, err := scraper.Program(t.Context(), root)
	if err != nil {
		t.Fatal(err)
	}
	s := begin(t, program)
	const step = 2 * time.Second
	span := Span{From: s.now().Truncate(step).Add(2 * step), Step: step} // where all have been scraped
	s.happens()
	span.To = s.now().Truncate(step)
	answers, err := Ask(t.Context(), s.Server, b, span)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range b.Panels {
		if p.Type != "row" && len(answers[p.ID]) == 0 {
			t.Errorf("panel %q shows nothing", p.Title)
		}
	}
	if t.Failed() {
		return
	}
	if err := os.MkdirAll(filepath.Dir(shown), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(shown, Draw(b, span, answers), 0o644); err != nil {
		t.Fatal(err)
	}
}

// begin starts all, and waits until the agents are well and have been scraped.
func begin(t *testing.T, program string) *story {
	t.Helper()
	c := trial.New(t, config, trial.Options{})
	c.AWS.AddPermissionSet("Admin", "0123456789abcdef", "eu-west-3", time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC))
	c.AWS.SetMembers("Developers", developers(8)...)
	c.Create(map[string]string{"mapRoles": "- {rolearn: \"arn:aws:iam::111122223333:role/ci\", username: ci, groups: [deployers]}\n"})
	s := &story{Cluster: c, addresses: map[*fleet.Node]string{}}
	var targets []any
	for i, role := range []string{"workers", "workers", "ingress"} {
		name := fmt.Sprintf("node-%d", i+1)
		n := c.StartNode(name, role)
		ctx, cancel := context.WithTimeout(t.Context(), trial.Patience)
		address, err := n.Address(ctx)
		cancel()
		if err != nil {
			t.Fatal(err)
		}
		s.addresses[n] = address
		// As from pods, whose address tells more than a port of this machine.
		targets = append(targets, map[string]any{"targets": []string{address}, "labels": map[string]string{
			"namespace": fleet.DefaultNamespace, "pod": fleet.PodName(name), "node": name, "instance": name + ":9465",
		}})
	}
	c.Healthy()
	c.OneLeads()
	var err error
	s.Server, err = scraper.Start(program, t.TempDir(), map[string]any{
		"global":         map[string]any{"scrape_interval": "2s"},
		"scrape_configs": []any{map[string]any{"job_name": "rolecall", "static_configs": targets}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Server.Close(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("Prometheus said:\n%s", s.Server.Log())
		}
	})
	c.Eventually("all agents are scraped", func(ctx context.Context) error {
		found, err := s.At(ctx, "sum(up) == 3", time.Now())
		if err == nil && len(found) == 0 {
			err = errors.New("they are not")
		}
		return err
	})
	return s
}

// developers are the names of so many users.
func developers(n int) []string {
	names := []string{"ana", "ben", "cleo", "dan", "finn", "gina", "hugo", "ida"}
	return names[:n]
}

// now is the time of the last scrape of all agents.
func (s *story) now() time.Time {
	s.T.Helper()
	found, err := s.At(s.T.Context(), "min(timestamp(up))", time.Now())
	if err != nil || len(found) != 1 {
		s.T.Fatalf("%d answers, %v", len(found), err)
	}
	return time.UnixMilli(int64(1000 * found[0].Points[0].Value))
}

// watched waits until Prometheus has watched for that long.
func (s *story) watched(d time.Duration) {
	s.T.Helper()
	until := s.now().Add(d)
	s.Within(d+trial.Patience, fmt.Sprintf("watched for %s", d), func(context.Context) error {
		if now := s.now(); now.Before(until) {
			return fmt.Errorf("it is %s", now.Format(time.TimeOnly))
		}
		return nil
	})
}

// leaderHas waits until a metric of who leads then has a value: on a machine with
// much else to do it may be another each time.
func (s *story) leaderHas(want float64, name string, labels ...string) {
	s.T.Helper()
	s.Eventually(fmt.Sprintf("the leader has %s%s %v", name, labels, want), func(ctx context.Context) error {
		leader, err := s.Leader(ctx)
		if err != nil {
			return err
		}
		metrics, err := leader.Metrics(ctx)
		if err != nil {
			return err
		}
		if got, _ := metrics.Value(name, labels...); got != want {
			return fmt.Errorf("%s has %v", leader.Name, got)
		}
		return nil
	})
}

// happens is all that the picture shows.
func (s *story) happens() {
	s.watched(40 * time.Second)

	s.T.Log("IAM does not answer for the group")
	s.AWS.Fail("GetGroup", awsfake.Deny())
	s.leaderHas(1, "rolecall_sources_failed", "source", "group")
	s.watched(40 * time.Second)
	s.AWS.Heal()
	s.leaderHas(0, "rolecall_sources_failed", "source", "group")
	s.watched(20 * time.Second)

	s.T.Log("somebody maps a developer by hand, and then she joins the group")
	s.Edit(func(data map[string]string) { data["mapUsers"] += byHand })
	s.AWS.SetMembers("Developers", append(developers(8), "eve")...)
	s.leaderHas(1, "rolecall_conflicts")
	s.watched(25 * time.Second)
	s.Edit(func(data map[string]string) { data["mapUsers"] = strings.Replace(data["mapUsers"], byHand, "", 1) })
	s.leaderHas(0, "rolecall_conflicts")
	s.watched(20 * time.Second)

	s.T.Log("aws-auth is deleted")
	s.Delete()
	s.leaderHas(1, "rolecall_restores_total")
	s.watched(25 * time.Second)

	s.T.Log("the leader is killed, and comes back later")
	killed := s.OneLeads()
	killed.Kill()
	s.watched(20 * time.Second)
	s.OneLeads(killed)
	s.StartAgent(killed, "--http-address="+s.addresses[killed])
	s.watched(25 * time.Second)

	s.T.Log("a config is wrong, and then mended")
	s.Mount(config + "nodeRoles: {extra: [\"arn:aws:iam::111122223333:instance-profile/gpu-nodes\"]}\n")
	for _, n := range s.Nodes() {
		s.Metric(n, 0, "rolecall_config_valid")
	}
	s.watched(25 * time.Second)
	s.Mount(config + "nodeRoles: {extra: [\"arn:aws:iam::111122223333:role/gpu-nodes\"]}\n")
	for _, n := range s.Nodes() {
		s.Metric(n, 1, "rolecall_config_valid")
	}
	s.watched(30 * time.Second)

	s.T.Log("seven of nine developers leave at once, which nobody has approved")
	s.AWS.SetMembers("Developers", developers(2)...)
	s.leaderHas(7, "rolecall_removals_held", "source", "group")
	s.watched(30 * time.Second)
}
