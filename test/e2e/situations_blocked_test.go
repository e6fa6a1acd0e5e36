package e2e_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/rolecall/rolecall/test/awsfake"
	"github.com/rolecall/rolecall/test/fleet"
	"github.com/rolecall/rolecall/test/trial"
)

// brokenUsers is a mapUsers that the authenticator cannot read.
const brokenUsers = "- userarn: arn:aws:iam::111122223333:user/batch\n  username: {{SessionName}}\n"

// mapsRoles waits until mapRoles maps exactly this, whatever the other keys hold.
func (c *cluster) mapsRoles(what string, want ...fleet.Mapping) {
	c.T.Helper()
	c.Eventually(what, func(ctx context.Context) error {
		cm, err := c.AWSAuth(ctx)
		if err != nil {
			return err
		}
		return trial.Differs(&corev1.ConfigMap{Data: map[string]string{"mapRoles": cm.Data["mapRoles"]}}, want)
	})
}

// mapUsers cannot be read, and nobody puts it back: a node's role goes into mapRoles
// all the same (B1).
func TestNodeRoleBesideUnreadableMapUsers(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		config string
		before map[string]string // aws-auth before rolecall
		late   bool              // mapUsers breaks under the leader
	}{
		"it was so before rolecall": {plain, map[string]string{"mapRoles": othersRoles, "mapUsers": brokenUsers}, false},
		"with onMalformed: refuse":  {plain + "safety: {onMalformed: refuse}\n", map[string]string{"mapRoles": othersRoles}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCluster(t, test.config, calm...)
			c.Create(test.before)
			leader := c.StartNode("node-a", "workers")
			roles := append(breakGlass[:2:2], trial.NodeRole("workers"))
			if test.late {
				c.Maps("merged", append(roles, plainOps)...)
				c.Edit(func(data map[string]string) { data["mapUsers"] = brokenUsers })
			}
			c.StartNode("node-b", "gpu", "--report-only")
			roles = append(roles, trial.NodeRole("gpu"))
			c.mapsRoles("the nodes' roles are mapped", roles...)
			c.Metric(leader, 1, "rolecall_aws_auth_malformed")
			c.Event("Malformed", "mapUsers")
			if got := c.Now().Data["mapUsers"]; got != brokenUsers {
				t.Errorf("mapUsers is\n%s\nit was\n%s", got, brokenUsers)
			}
			if status := c.status(); !strings.Contains(status, "mapUsers") {
				t.Errorf("rolecall status does not say that mapUsers cannot be read:\n%s", status)
			}
		})
	}
}

// An entry of rolecall's that no source asks for cannot be taken out of the text. All
// else is done, a node's role first, and what is left is named (B2).
func TestRemovalThatCannotBeEdited(t *testing.T) {
	t.Parallel()
	const (
		removable = "- {rolearn: 'arn:aws:iam::111122223333:role/plain', username: plain, groups: [g], syncedBy: rolecall}\n"
		users     = "- {userarn: 'arn:aws:iam::111122223333:user/plain', username: plain, groups: [g], syncedBy: rolecall}\n"
	)
	for name, text := range map[string]string{
		"a comment behind a block scalar": "- rolearn: arn:aws:iam::111122223333:role/theirs\n  username: f\n  groups: [g]\n  note: |\n    why it is here\n" +
			"- rolearn: arn:aws:iam::111122223333:role/ours\n  username: u1\n  groups:\n  - g\n  syncedBy: rolecall\n    # a comment, indented\n",
		"an anchor that an entry of others uses": "- rolearn: arn:aws:iam::111122223333:role/ours\n  username: u1\n  groups: &g\n  - g\n  syncedBy: rolecall\n" +
			"- rolearn: arn:aws:iam::111122223333:role/theirs\n  username: f\n  groups: *g\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCluster(t, plain, append(calm, "--settle-time=0")...)
			c.Create(map[string]string{"mapRoles": removable + text, "mapUsers": users})
			leader := c.StartNode("node-a", "workers")
			want := []fleet.Mapping{
				trial.NodeRole("workers"), plainOps, others("role/theirs", "f", "g"), trial.Ours("role/ours", "u1", "g"),
			}
			c.Maps("all that can be done is done", want...)
			c.Metric(leader, 1, "rolecall_changes_left_out", "node", "false")
			c.Event("ChangeLeftOut", "role/ours")

			c.StartNode("node-b", "gpu", "--report-only")
			c.Maps("a new node's role is mapped", append(want, trial.NodeRole("gpu"))...)
			if status := c.status(); !strings.Contains(status, "role/ours") {
				t.Errorf("rolecall status does not say what is left out:\n%s", status)
			}
		})
	}
}

// EC2 has an instance whose instance profile was deleted under it. The reports of
// other nodes are verified (B4).
func TestVerifyBesideAnInstanceWithoutItsProfile(t *testing.T) {
	t.Parallel()
	config := strings.Replace(plain, "1h", "10s", 1) + "nodeRoles: {verify: ec2}\n"
	c := newCluster(t, config, calm...)
	for node, role := range map[string]string{"node-a": "workers", "node-c": "gpu"} {
		c.AWS.SetInstance(node, role+"-profile")
		c.AWS.SetProfile(role+"-profile", role)
	}
	c.AWS.SetInstance("node-b", "deleted")
	leader := c.StartNode("node-a", "workers")
	want := []fleet.Mapping{trial.NodeRole("workers"), plainOps}
	c.Maps("merged", want...)

	lost := c.StartNode("node-b", "lost", "--report-only")
	c.Logs(lost, "reported the node's role")
	asked := c.AWS.Requests("GetInstanceProfile")
	c.Eventually("IAM is asked for the profile that is gone", func(context.Context) error {
		if n := c.AWS.Requests("GetInstanceProfile"); n == asked {
			return fmt.Errorf("%d requests", n)
		}
		return nil
	})
	c.StartNode("node-c", "gpu", "--report-only")
	want = append(want, trial.NodeRole("gpu"))
	c.Maps("a healthy node's role is mapped", want...)
	c.Metric(leader, 1, "rolecall_node_reports_refused")
	if status := c.status(); !strings.Contains(status, "node-b") {
		t.Errorf("rolecall status does not say whose report is not believed:\n%s", status)
	}
}

// The account is unknown. An entry whose ARN needs it fails alone (B5).
func TestAccountPlaceholderFailsAlone(t *testing.T) {
	t.Parallel()
	const placeholder = "  - {arn: 'arn:aws:iam::$ACCOUNTID:user/ana', username: ana, groups: [developers]}\n"
	c := newCluster(t, plain+placeholder, calm...)
	c.AWS.Fail("GetCallerIdentity", awsfake.Deny())
	leader := c.NewNode("node-a", "blind")
	leader.IMDS.Set(awsfake.IMDSDisabled)
	c.StartAgent(leader)
	c.Maps("the other entry is mapped", plainOps)
	c.Metric(leader, 1, "rolecall_sources_failed", "source", "file")
	c.Event("SourceFailed", "$ACCOUNTID")

	leader.IMDS.Set(awsfake.IMDSHealthy)
	c.Maps("the account is known", plainOps, trial.Ours("user/ana", "ana", "developers"), trial.NodeRole("blind"))
}

// The leader has neither IMDS nor credentials, and needs none: the roles that other
// nodes report are mapped (B6).
func TestLeaderWithoutIMDSAndCredentials(t *testing.T) {
	t.Parallel()
	c := newCluster(t, plain, calm...)
	leader := c.NewNode("node-a", "blind")
	leader.IMDS.Set(awsfake.IMDSDisabled)
	leader.Setenv("AWS_ACCESS_KEY_ID=", "AWS_SECRET_ACCESS_KEY=")
	c.StartAgent(leader)
	c.Maps("it leads", plainOps)
	c.StartNode("node-b", "workers", "--report-only")
	c.Maps("a role that another node reports is mapped", plainOps, trial.NodeRole("workers"))
	c.StartNode("node-c", "gpu", "--report-only")
	c.Maps("and a second one", plainOps, trial.NodeRole("workers"), trial.NodeRole("gpu"))
	c.Metric(leader, 1, "rolecall_leader")
	if n := c.AWS.Requests("GetCallerIdentity"); n > 0 {
		t.Errorf("STS was asked %d times, with credentials that nobody gave", n)
	}
}
