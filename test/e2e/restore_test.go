package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rolecall/rolecall/internal/history"
	"github.com/rolecall/rolecall/internal/register/configmap"
	"github.com/rolecall/rolecall/test/fleet"
	"github.com/rolecall/rolecall/test/trial"
)

// malformedRoles is what a person wrote who forgot the quotes.
const malformedRoles = `- rolearn: arn:aws:iam::111122223333:role/new
  username: {{SessionName}}
`

// revision waits for one that is as it should be.
func (c *cluster) revision(what string, is func(*history.Revision, history.Content) bool) (found history.Revision, content history.Content) {
	c.T.Helper()
	c.Eventually("revision: "+what, func(context.Context) error {
		list := c.Revisions()
		for i := range list {
			data, err := list[i].Content()
			if err != nil {
				return err
			}
			if is(&list[i], data) {
				found, content = list[i], data
				return nil
			}
		}
		return fmt.Errorf("there is none among %d", len(list))
	})
	return found, content
}

// newest waits until the newest revision is what aws-auth holds.
func (c *cluster) newest() history.Revision {
	c.T.Helper()
	now := c.Now()
	var newest history.Revision
	c.Eventually("the newest revision is what aws-auth holds", func(context.Context) error {
		list := c.Revisions()
		if len(list) == 0 {
			return errors.New("there is none")
		}
		newest = list[0]
		content, err := newest.Content()
		if err != nil {
			return err
		}
		if diff := cmp.Diff(now.Data, content.Data); diff != "" {
			return errors.New(diff)
		}
		return nil
	})
	return newest
}

// What the authenticator cannot read comes back as it was, foreign entries and
// comments included, and the broken text is kept for whoever wrote it.
func TestMalformedIsRestored(t *testing.T) {
	t.Parallel()
	c := newCluster(t, rarely, quick...)
	c.AWS.SetMembers("Developers", "ana")
	c.Create(map[string]string{"mapRoles": othersRoles, "theirs": "kept"})
	c.threeNodes()
	want := []fleet.Mapping{
		others("role/break-glass", "break-glass", "system:masters"), others("role/ci", "ci", "deployers"),
		trial.NodeRole("workers"), trial.NodeRole("ingress"), trial.Ours("user/ana", "ana", "developers"), trial.Ours("user/ops", "ops", "viewers"),
	}
	good := c.Maps("merged", want...)
	c.newest()

	c.Edit(func(data map[string]string) { data["mapRoles"] = malformedRoles })
	now := c.Maps("put back", want...)
	if diff := cmp.Diff(good.Data, now.Data); diff != "" {
		t.Errorf("it is not as it was (-was +is):\n%s", diff)
	}
	leader := c.OneLeads()
	c.Metric(leader, 1, "rolecall_restores_total", "reason", "malformed")
	c.Metric(leader, 0, "rolecall_aws_auth_malformed")
	c.Event("Restored", "mapRoles", "rolecall history")
	c.Logs(leader, "aws-auth locked everybody out and was put back")
	broken, content := c.revision("the broken text", func(r *history.Revision, _ history.Content) bool { return r.Broken != "" })
	if content.Data["mapRoles"] != malformedRoles || broken.Who != "another-tool" {
		t.Errorf("the broken text is kept as %q of %q", content.Data["mapRoles"], broken.Who)
	}
	if strings.Contains(broken.Broken, "SessionName") {
		t.Errorf("why it is broken holds some of its text: %s", broken.Broken)
	}

	// What somebody edits well and breaks right after is not lost.
	const late = "- {rolearn: 'arn:aws:iam::111122223333:role/late', username: late}\n"
	c.Edit(func(data map[string]string) { data["mapRoles"] += late })
	c.Edit(func(data map[string]string) { data["mapRoles"] += "  oops" })
	want = append(want, others("role/late", "late"))
	good = c.Maps("put back with the last good edit", want...)
	if !strings.Contains(good.Data["mapRoles"], late) {
		t.Errorf("the last good edit is not as it was:\n%s", good.Data["mapRoles"])
	}
	c.newest()

	// A new leader knows the last good text from the history alone.
	leader.Kill()
	c.Edit(func(data map[string]string) {
		data["mapRoles"] = "- rolearn: [\n"
		data["mapUsers"] = "\t- x"
	})
	now = c.Maps("put back by the next leader", want...)
	if diff := cmp.Diff(good.Data, now.Data); diff != "" {
		t.Errorf("it is not as it was (-was +is):\n%s", diff)
	}
}

// theirs are the annotations that others set.
func theirs(cm *corev1.ConfigMap) map[string]string {
	out := maps.Clone(cm.Annotations)
	delete(out, configmap.WriteAnnotation)
	return out
}

// A deleted aws-auth comes back with all that others had in it.
func TestDeletedIsRestored(t *testing.T) {
	t.Parallel()
	c := newCluster(t, rarely, quick...)
	c.AWS.SetMembers("Developers", "ana")
	cm := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: "aws-auth", Labels: map[string]string{"team": "platform"}, Annotations: map[string]string{"note": "ours"}},
		Data:       map[string]string{"mapRoles": othersRoles, "theirs": "kept"}, BinaryData: map[string][]byte{"bin": {0, 1, 2}},
	}
	if _, err := c.Client.CoreV1().ConfigMaps(c.AWSAuthNamespace).Create(t.Context(), cm, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	c.threeNodes()
	want := []fleet.Mapping{
		others("role/break-glass", "break-glass", "system:masters"), others("role/ci", "ci", "deployers"),
		trial.NodeRole("workers"), trial.NodeRole("ingress"), trial.Ours("user/ana", "ana", "developers"), trial.Ours("user/ops", "ops", "viewers"),
	}
	good := c.Maps("merged", want...)
	c.newest()
	same := func(what string) {
		t.Helper()
		now := c.Now()
		if diff := cmp.Diff(good.Data, now.Data) + cmp.Diff(good.BinaryData, now.BinaryData) + cmp.Diff(good.Labels, now.Labels) + cmp.Diff(theirs(good), theirs(now)); diff != "" {
			t.Errorf("%s: it is not as it was (-was +is):\n%s", what, diff)
		}
	}

	c.Delete()
	c.Maps("put back", want...)
	same("put back")
	c.Event("Restored", "deleted")
	leader := c.OneLeads()
	c.Metric(leader, 1, "rolecall_restores_total", "reason", "deleted")

	leader.Kill()
	c.Delete()
	c.Maps("put back by the next leader", want...)
	same("by the next leader")

	// Who replaces it by deleting it and making it anew is not in the way.
	c.Replace(map[string]string{"mapRoles": othersRoles})
	now := c.Maps("merged into what replaced it", want...)
	if _, there := now.Data["theirs"]; there {
		t.Error("what was replaced came back")
	}

	// Nothing is put back that the config wants left alone.
	leader = c.OneLeads()
	was := configInfo(c, leader)
	c.Mount(rarely + "safety: {onMalformed: refuse}\n")
	c.Eventually("the leader has the config", func(context.Context) error {
		if configInfo(c, leader) == was {
			return errors.New("it has the one before")
		}
		return nil
	})
	c.Delete()
	c.Event("Malformed", "deleted")
	if _, err := c.AWSAuth(t.Context()); !apierrors.IsNotFound(err) {
		t.Errorf("a deleted aws-auth came back although it should not: %v", err)
	}
	c.Metric(leader, 1, "rolecall_aws_auth_malformed")
}

// The history tells who wrote what, keeps a bounded number, and what a person
// puts back from it stays.
func TestHistory(t *testing.T) {
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
	mine := c.newest()
	if !strings.HasPrefix(mine.Who, "rolecall on node-") || !strings.Contains(mine.Why, " added, ") {
		t.Errorf("rolecall's own write is by %q for %q", mine.Who, mine.Why)
	}
	c.revision("as it was before rolecall", func(_ *history.Revision, content history.Content) bool {
		return maps.Equal(content.Data, map[string]string{"mapRoles": othersRoles})
	})

	// Somebody removes an entry of somebody else.
	c.Edit(func(data map[string]string) { data["mapRoles"] = dropElement(data["mapRoles"], "role/ci") })
	c.Maps("without an entry of others", append(want[:1:1], want[2:]...)...)
	if theirs := c.newest(); theirs.Who != "another-tool" || theirs.Number <= mine.Number {
		t.Errorf("their write is revision %d by %q, ours was %d", theirs.Number, theirs.Who, mine.Number)
	}

	// A rollback: the foreign entry is back to stay, through a failover too.
	was, err := mine.Content()
	if err != nil {
		t.Fatal(err)
	}
	c.Edit(func(data map[string]string) { maps.Copy(data, was.Data) })
	c.Maps("rolled back", want...)
	if again := c.newest(); again.Name != mine.Name || again.Who != "another-tool" {
		t.Errorf("the same content is revision %s of %q, was %s", again.Name, again.Who, mine.Name)
	}
	leader := c.OneLeads()
	leader.Kill()
	c.OneLeads(leader)
	c.Edit(func(data map[string]string) { data["theirs"] = "more" })
	c.newest()
	c.StillMaps(want...)

	// However many contents follow, a bounded number is kept.
	for i := range 2 * (history.Kept + recordBurst) {
		c.Edit(func(data map[string]string) { data["theirs"] = fmt.Sprint(i) })
	}
	c.newest()
	c.Eventually("the oldest are gone", func(context.Context) error { // after the newest has come
		if n := len(c.Revisions()); n > history.Kept {
			return fmt.Errorf("%d revisions are kept, want %d at most", n, history.Kept)
		}
		return nil
	})
}

// recordBurst is how many contents are recorded at once, as in package agent.
const recordBurst = 6
