package e2e_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rolecall/rolecall/test/fleet"
	"github.com/rolecall/rolecall/test/trial"
)

// Four others edit aws-auth as fast as they can, each time taking away an entry
// of ours, so that the leader has to write between them. Whoever writes without
// having read what is there loses somebody's edit.
func TestConcurrentWritersLoseNothing(t *testing.T) {
	t.Parallel()
	c := newCluster(t, rarely, calm...)
	c.AWS.SetMembers("Developers", "ana", "ben", "cleo")
	c.Create(map[string]string{"mapRoles": othersRoles})
	c.threeNodes()
	want := []fleet.Mapping{
		others("role/break-glass", "break-glass", "system:masters"), others("role/ci", "ci", "deployers"),
		trial.NodeRole("workers"), trial.NodeRole("ingress"), trial.Ours("user/ops", "ops", "viewers"),
		trial.Ours("user/ana", "ana", "developers"), trial.Ours("user/ben", "ben", "developers"), trial.Ours("user/cleo", "cleo", "developers"),
	}
	c.Maps("merged", want...)
	leader := c.OneLeads()

	t.Cleanup(func() {
		if t.Failed() {
			t.Log(trial.NoRerun + "an edit may be lost")
		}
	})
	const rounds, edits = 5, 10 // of each of the four
	for round := range rounds {
		var writers sync.WaitGroup
		for _, drop := range []string{"ops", "ana", "ben", "cleo"} {
			writer := fmt.Sprintf("%s-%d", drop, round)
			writers.Go(func() {
				for i := range edits {
					c.contend(fmt.Sprintf("%s-%d", writer, i), "user/"+drop)
				}
			})
			for i := range edits {
				name := fmt.Sprintf("%s-%d", writer, i)
				want = append(want, others("user/"+name, name, "others"))
			}
		}
		writers.Wait()
		c.Maps("all edits so far are there, and ours", want...)
	}
	t.Logf("beside %d edits the leader wrote %v times and met %v conflicts", 4*rounds*edits,
		c.Value(leader, "rolecall_writes_total", "object", "aws-auth", "result", "ok"),
		c.Value(leader, "rolecall_writes_total", "object", "aws-auth", "result", "conflict"))
}

// contend adds an entry of another's and removes one of ours, by a read and a
// write with the resourceVersion that was read. It is for other goroutines.
func (c *cluster) contend(name, drop string) {
	maps := c.Client.CoreV1().ConfigMaps(c.AWSAuthNamespace)
	for {
		cm, err := c.AWSAuth(c.T.Context())
		if err != nil {
			c.T.Error(err)
			return
		}
		var b strings.Builder
		b.WriteString(dropElement(cm.Data["mapUsers"], trial.Account+drop+"\n"))
		fmt.Fprintf(&b, "- userarn: %suser/%s\n  username: %s # by hand\n  groups: [others]\n", trial.Account, name, name)
		cm.Data["mapUsers"] = b.String()
		_, err = maps.Update(c.T.Context(), cm, metav1.UpdateOptions{FieldManager: "another-tool"})
		if err == nil {
			return
		}
		if !apierrors.IsConflict(err) {
			c.T.Error(err)
			return
		}
	}
}
