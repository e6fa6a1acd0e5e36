package e2e_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/rolecall/rolecall/test/fleet"
	"github.com/rolecall/rolecall/test/trial"
)

// The kubelet's swap is seen by its event: the files are looked at without one
// only every 15 s.
const reloadDeadline = 10 * time.Second

func TestEditedConfigIsLive(t *testing.T) {
	t.Parallel()
	c := newCluster(t, rarely, calm...)
	c.AWS.AddGroup("Developers")
	c.threeNodes()
	want := []fleet.Mapping{trial.NodeRole("workers"), trial.NodeRole("ingress"), trial.Ours("user/ops", "ops", "viewers")}
	c.Maps("merged", want...)
	leader := c.OneLeads()
	hash := strings.TrimSpace(configInfo(c, leader))

	c.Mount(rarely + "karpenter: {nodeRoleARNs: [\"arn:aws:iam::111122223333:role/karpenter\"]}\n")
	c.MapsWithin(reloadDeadline, "an added role", append(want, trial.NodeRole("karpenter"))...)
	if now := configInfo(c, leader); now == hash || strings.Count(now, "\n") > 0 {
		t.Errorf("rolecall_config_info is %q, and was %q", now, hash)
	}

	c.Mount(rarely)
	c.MapsWithin(reloadDeadline, "and removed again", want...)

	// A ConfigMap without the key is no config, and takes nothing away.
	if err := c.Swap(map[string]string{"other": ""}); err != nil {
		t.Fatal(err)
	}
	c.Ready(leader, http.StatusOK, "[!]config: ")
	c.StillMaps(want...)
}

// configInfo is the line of rolecall_config_info.
func configInfo(c *cluster, n *fleet.Node) string {
	var lines []string
	for line := range strings.Lines(c.mustMetrics(n).Text) {
		if strings.HasPrefix(line, "rolecall_config_info{") {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return strings.Join(lines, "\n")
}

func TestBrokenConfigDisturbsNothing(t *testing.T) {
	t.Parallel()
	c := newCluster(t, rarely, quick...)
	c.AWS.SetMembers("Developers", "ana")
	c.threeNodes()
	want := []fleet.Mapping{trial.NodeRole("workers"), trial.NodeRole("ingress"), trial.Ours("user/ana", "ana", "developers"), trial.Ours("user/ops", "ops", "viewers")}
	good := c.Maps("merged", want...)
	leader := c.OneLeads()

	const broken = rarely + "nodeRoles:\n  extra: [arn:aws:iam::111122223333:instance-profile/gpu]\n"
	c.Mount(broken)
	for _, n := range c.Nodes() {
		c.Ready(n, http.StatusOK, "[!]config: refused since ", "config.yaml:", "nodeRoles.extra[0]", "instance profile")
		c.Metric(n, 0, "rolecall_config_valid")
		c.Metric(n, 1, "rolecall_config_reloads_total", "result", "invalid")
		c.Logs(n, "the config is refused, the last good one stays in force", `"key":"nodeRoles.extra[0]"`, `"line":`)
	}
	if now := c.Now(); now.ResourceVersion != good.ResourceVersion {
		t.Errorf("a broken config had aws-auth written:\n%s", now.Data)
	}

	// The work goes on by the last good one, under a new leader too as long as
	// its agent has read a good one.
	c.Edit(func(data map[string]string) { delete(data, "mapUsers") })
	c.Maps("what was wiped is back", want...)
	leader.Kill()
	c.Edit(func(data map[string]string) { delete(data, "mapUsers") })
	c.Maps("and under another leader", want...)

	// The killed one comes back, has no good config, and says so; it runs.
	c.StartAgent(leader)
	c.Ready(leader, http.StatusServiceUnavailable, "[-]config failed: ", "config.yaml:")
	status, body, err := leader.Get(t.Context(), "/healthz")
	if err != nil || status != http.StatusOK {
		t.Errorf("/healthz of %s, which waits for a good config: %d %s (%v)", leader.Name, status, body, err)
	}

	c.Mount(rarely)
	c.Healthy()
	c.Metric(leader, 1, "rolecall_config_valid")
	c.Logs(leader, "the config is in force")
}
