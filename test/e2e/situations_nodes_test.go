package e2e_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rolecall/rolecall/agent"
	"github.com/rolecall/rolecall/config"
	"github.com/rolecall/rolecall/internal/register/configmap"
	"github.com/rolecall/rolecall/internal/roster"
	"github.com/rolecall/rolecall/internal/source"
	"github.com/rolecall/rolecall/test/fleet"
	"github.com/rolecall/rolecall/test/trial"
)

// A node reports a role that the config gives to people: it gets no rights of a node,
// and that is shown (D5).
func TestReportOfARoleOfPeople(t *testing.T) {
	t.Parallel()
	const config = plain + `roles:
  - {arn: 'arn:aws:iam::111122223333:role/operators', username: 'operator:{{SessionName}}', groups: ['system:masters']}
`
	c := newCluster(t, config, calm...)
	leader := c.StartNode("node-a", "workers")
	want := []fleet.Mapping{trial.NodeRole("workers"), plainOps, trial.Ours("role/operators", "operator:{{SessionName}}", "system:masters")}
	c.Maps("merged", want...)

	c.Logs(c.StartNode("node-b", "operators", "--report-only"), "reported the node's role")
	c.StartNode("node-c", "gpu", "--report-only")
	want = append(want, trial.NodeRole("gpu"))
	c.Maps("a later report is mapped, and people's role is as it was", want...)
	c.Metric(leader, 1, "rolecall_node_reports_refused")
	c.Event("ReportRefused", "role/operators")
	if status := c.status(); !strings.Contains(status, "role/operators") {
		t.Errorf("rolecall status does not say which report is refused:\n%s", status)
	}
	c.StillMaps(want...)
}

// The leader's clock is hours ahead, as of a machine whose clock is set to local time.
// A role that is reported every hour stays, and one that is reported no more goes
// (D7). No agent's process can be given a clock, so this runs the leader's pipeline.
func TestLeadersClockIsAhead(t *testing.T) {
	t.Parallel()
	const text = plain + "nodeRoles: {keepUnused: 3h}\n"
	for name, ahead := range map[string]time.Duration{"by nothing": 0, "by four hours": 4 * time.Hour, "by eight hours": 8 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCluster(t, text)
			path := filepath.Join(t.TempDir(), "config.yaml")
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			file, err := config.Load(path)
			if err != nil {
				t.Fatal(err)
			}
			var passed time.Duration
			start := time.Now()
			nodes := func() time.Time { return start.Add(passed) }
			now := func() time.Time { return start.Add(ahead + passed) }
			reports := roster.New(c.Client.CoordinationV1().Leases(c.Namespace))
			log := slog.New(slog.DiscardHandler)
			self := source.Node{Account: source.Account{ID: "111122223333", Partition: "aws"}}
			leader := &agent.Reconciler{
				Register: configmap.New(configmap.Options{Client: c.Client, Namespace: c.Namespace, AWSAuthNamespace: c.AWSAuthNamespace, Logger: log, Now: now}),
				Sources:  source.NewSet(source.Kinds(), source.Env{Logger: log, Now: now, Self: func() (source.Node, bool) { return self, true }}),
				Roster:   reports,
				Logger:   log,
				Now:      now,
				Term:     &agent.Term{Began: now(), Changed: func() time.Time { return time.Time{} }},
			}
			report := func(role string) {
				t.Helper()
				if _, err := reports.Report(t.Context(), trial.Account+"role/"+role, "node-of-"+role, nodes()); err != nil {
					t.Fatal(err)
				}
			}
			report("gone")
			live := []fleet.Mapping{trial.NodeRole("workers"), plainOps}
			for ; passed < 12*time.Hour; passed += 20 * time.Minute {
				if passed%(80*time.Minute) == 0 { // a report is written again when it is an hour old
					report("workers")
				}
				if r := leader.Reconcile(t.Context(), file, true); r.Err != nil {
					t.Fatal(r.Err)
				}
				want := live
				if passed < 3*time.Hour {
					want = append(live[:2:2], trial.NodeRole("gone"))
				} else if passed < 4*time.Hour {
					continue
				}
				if err := trial.Differs(c.Now(), want); err != nil {
					t.Fatalf("after %s: %v", passed, err)
				}
			}
		})
	}
}
