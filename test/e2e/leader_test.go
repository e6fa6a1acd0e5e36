package e2e_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/rolecall/rolecall/test/awsfake"
	"github.com/rolecall/rolecall/test/fleet"
	"github.com/rolecall/rolecall/test/trial"
)

var errNobodyLeads = errors.New("nobody leads")

func TestLeaderKilled(t *testing.T) {
	t.Parallel()
	c := newCluster(t, rarely, quick...)
	c.AWS.SetMembers("Developers", "ana")
	c.Create(map[string]string{"mapRoles": othersRoles})
	c.threeNodes()
	want := []fleet.Mapping{
		others("role/break-glass", "break-glass", "system:masters"), others("role/ci", "ci", "deployers"),
		trial.NodeRole("workers"), trial.NodeRole("ingress"), trial.Ours("user/ana", "ana", "developers"), trial.Ours("user/ops", "ops", "viewers"),
	}
	c.Maps("merged", want...)

	dead := c.OneLeads()
	dead.Kill()
	begin := time.Now()
	// The role of nodes that still run, the dead leader's among them.
	c.Edit(func(data map[string]string) { data["mapRoles"] = dropElement(data["mapRoles"], ":role/workers") })
	c.Maps("a role that got lost while nobody led is back", want...)
	c.OneLeads(dead)
	t.Logf("a crash was over after %s, with a lease of 8 s", time.Since(begin).Round(time.Millisecond))

	c.StartAgent(dead)
	c.Healthy()
	c.OneLeads(dead)
}

func TestLeaderTerminated(t *testing.T) {
	t.Parallel()
	c := newCluster(t, rarely, "--lease-duration=60s", "--renew-deadline=40s", "--retry-period=1s")
	c.AWS.AddGroup("Developers")
	c.threeNodes()
	want := []fleet.Mapping{trial.NodeRole("workers"), trial.NodeRole("ingress"), trial.Ours("user/ops", "ops", "viewers")}
	c.Maps("merged", want...)
	old := c.OneLeads()
	c.Healthy() // who has not seen the Lease yet cannot see it released

	ctx, cancel := context.WithTimeout(t.Context(), trial.Patience)
	defer cancel()
	begin := time.Now()
	if err := old.Terminate(ctx); err != nil {
		t.Fatalf("%s does not end well: %v", old.Name, err)
	}
	t.Logf("ended after %s", time.Since(begin).Round(time.Millisecond))
	c.OneLeads(old)
	// Without a release it would take the 60 s of the Lease.
	took := time.Since(begin)
	t.Logf("handed over after %s", took.Round(time.Millisecond))
	if took > 20*time.Second {
		t.Errorf("handing over took %s, want about a second", took)
	}
	c.StillMaps(want...)
}

// A leader that stood still and wakes up after another has taken over, as on a
// node that was frozen, neither leads nor undoes what was done meanwhile.
func TestLeaderPaused(t *testing.T) {
	t.Parallel()
	c := newCluster(t, rarely, quick...)
	c.AWS.AddGroup("Developers")
	c.threeNodes()
	want := []fleet.Mapping{trial.NodeRole("workers"), trial.NodeRole("ingress"), trial.Ours("user/ops", "ops", "viewers")}
	c.Maps("merged", want...)
	old := c.OneLeads()
	if err := old.Pause(); err != nil {
		t.Fatal(err)
	}
	var next *fleet.Node
	c.Eventually("another leads", func(ctx context.Context) error {
		for _, n := range c.Nodes() {
			if n == old {
				continue // it answers nobody
			}
			metrics, err := n.Metrics(ctx)
			if err != nil {
				return err
			}
			if v, _ := metrics.Value("rolecall_leader"); v == 1 {
				next = n
				return nil
			}
		}
		return errNobodyLeads
	})
	const edited = rarely + "accounts: [\"555566667777\"]\n"
	c.Mount(edited)
	want = append(want, fleet.Mapping{ARN: "555566667777"})
	c.Maps("the new leader took the new config", want...)

	if err := old.Resume(); err != nil {
		t.Fatal(err)
	}
	c.Metric(old, 0, "rolecall_leader")
	if now := c.OneLeads(); now != next {
		t.Errorf("%s leads, not %s", now.Name, next.Name)
	}
	c.Ready(old, http.StatusOK, "[+]election ok: standing by")
	c.StillMaps(want...)
}

// A node whose instance has no role, or no IMDS that a pod can reach, is told
// of with its likely cause. Its agent leads all the same, by the account that
// STS names, and maps the roles that others report.
func TestNodeWithoutIMDS(t *testing.T) {
	t.Parallel()
	c := newCluster(t, rarely+"accounts: [$ACCOUNTID]\n", calm...)
	c.AWS.AddGroup("Developers")
	blind := c.NewNode("node-a", "blind")
	blind.IMDS.Set(awsfake.IMDSDisabled)
	c.StartAgent(blind)
	c.StartNode("node-b", "workers", "--report-only")
	rest := []fleet.Mapping{trial.NodeRole("workers"), trial.Ours("user/ops", "ops", "viewers"), {ARN: "111122223333"}}
	c.Maps("what the other node reports is mapped", rest...)
	c.Metric(blind, 1, "rolecall_leader")
	line := c.Logs(blind, "the node's role is unknown").Text
	c.Ready(blind, http.StatusOK, "[!]node-role: ", "403")
	if !strings.Contains(line, "403") || c.AWS.Requests("GetCallerIdentity") == 0 {
		t.Errorf("the log says %s, and STS was asked %d times", line, c.AWS.Requests("GetCallerIdentity"))
	}

	blind.IMDS.Set(awsfake.IMDSHealthy)
	c.Maps("IMDS answers, and its role is mapped too", append(rest, trial.NodeRole("blind"))...)
	c.Ready(blind, http.StatusOK, "[+]node-role ok: "+trial.Account+"role/blind")
}
