package e2e_test

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rolecall/rolecall/internal/plan"
	"github.com/rolecall/rolecall/internal/register/configmap"
	"github.com/rolecall/rolecall/test/fleet"
	"github.com/rolecall/rolecall/test/trial"
)

// The files situations_*_test.go hold situations in which earlier versions gave a
// wrong result, each with the id that it has in the list of them. To show that
// something does not happen, a test waits for something else that the leader learns
// at the same time or later.

// plain is a config that asks nobody but the nodes.
const plain = `apiVersion: rolecall.dev/v1
kind: Config
refreshInterval: 1h
users:
  - {arn: "arn:aws:iam::111122223333:user/ops", username: ops, groups: [viewers]}
`

// plainUser adds a user to plain.
func plainUser(name, groups string) string {
	return fmt.Sprintf("  - {arn: 'arn:aws:iam::111122223333:user/%s', username: %s, groups: [%s]}\n", name, name, groups)
}

var plainOps = trial.Ours("user/ops", "ops", "viewers")

// again is a config that says the same and is another text, so that sources are
// asked again.
func again(config string) string { return config + "# once more\n" }

// numbered are n names.
func numbered(name string, n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("%s-%02d", name, i)
	}
	return names
}

// usersOf are the entries of users who have the same groups.
func usersOf(names []string, groups ...string) []fleet.Mapping {
	var all []fleet.Mapping
	for _, name := range names {
		all = append(all, trial.Ours("user/"+name, name, groups...))
	}
	return all
}

// all joins lists of entries.
func all(lists ...[]fleet.Mapping) []fleet.Mapping {
	var out []fleet.Mapping
	for _, list := range lists {
		out = append(out, list...)
	}
	return out
}

// breakGlass is what othersRoles maps.
var breakGlass = []fleet.Mapping{others("role/break-glass", "break-glass", "system:masters"), others("role/ci", "ci", "deployers")}

// onePends waits until one removal waits for approval and no other, of that source
// and of so many entries.
func (c *cluster) onePends(source string, entries int) plan.PendingRemoval {
	c.T.Helper()
	var only plan.PendingRemoval
	c.Eventually("one removal waits for approval", func(ctx context.Context) error {
		cm, err := c.Client.CoreV1().ConfigMaps(c.Namespace).Get(ctx, fleet.LedgerName, metav1.GetOptions{})
		if err != nil {
			return err
		}
		state, _, err := configmap.DecodeLedger(cm.BinaryData[configmap.LedgerKey])
		if err != nil {
			return err
		}
		if len(state.Removals) != 1 {
			return fmt.Errorf("%d removals wait, want 1", len(state.Removals))
		}
		only = state.Removals[0]
		if only.Source != source || len(only.Changes) != entries {
			return fmt.Errorf("%d changes of %q wait, want %d of %q", len(only.Changes), only.Source, entries, source)
		}
		return nil
	})
	c.Event("RemovalHeld", "rolecall approve "+only.ID)
	return only
}

// restart ends an agent well and starts it again: a new leader, with nothing but what
// stands in the cluster.
func (c *cluster) restart(n *fleet.Node, flags ...string) {
	c.T.Helper()
	c.terminate(n)
	c.StartAgent(n, flags...)
}

func (c *cluster) terminate(n *fleet.Node) {
	c.T.Helper()
	ctx, cancel := context.WithTimeout(c.T.Context(), trial.Patience)
	defer cancel()
	if err := n.Terminate(ctx); err != nil {
		c.T.Fatal(err)
	}
}

// status is what rolecall status prints, whatever its exit status.
func (c *cluster) status() string {
	c.T.Helper()
	ctx, cancel := context.WithTimeout(c.T.Context(), trial.Patience)
	defer cancel()
	r, err := c.Run(ctx, "status")
	if err != nil {
		c.T.Fatal(err)
	}
	return r.Stdout + r.Stderr
}
