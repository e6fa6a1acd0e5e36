package soak_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/test/faultproxy"
	"github.com/rolecall/rolecall/test/fleet"
	"github.com/rolecall/rolecall/test/stage"
	"github.com/rolecall/rolecall/test/writers"
)

const (
	account = "arn:aws:iam::111122223333:"

	// patience is for how long a cluster may take to settle after a fault.
	patience = 5 * time.Minute

	// lease is longer than the pauses of an agent that looks for data races, on a
	// machine that does other things too.
	lease = 10 * time.Second
)

var quick = []string{"--lease-duration=" + lease.String(), "--renew-deadline=5s", "--retry-period=500ms"}

// What others have in aws-auth.
func foreign() map[string]string {
	return map[string]string{
		"mapRoles": `- rolearn: arn:aws:iam::111122223333:role/break-glass # in a safe
  username: break-glass
  groups: [system:masters]
`,
		"notes": "not rolecall's\n",
	}
}

// A cluster is what the soak runs on.
type cluster struct {
	*fleet.Fleet
	t      *testing.T
	stage  *stage.ControlPlane
	proxy  *faultproxy.Proxy
	random *rand.Rand

	mortal []*fleet.Node // whose agents are killed; the others live for as long as the soak
	config int           // number of the config in force
}

// text is a config, of which each number is another.
func text(n int) string {
	return fmt.Sprintf(`apiVersion: rolecall.dev/v1
kind: Config
refreshInterval: 10s
roles:
  - {permissionSet: Admin, groups: [platform]}
iamGroups:
  - {name: Developers, groups: [developers]}
users:
  - {arn: "%[1]suser/ops", username: ops, groups: [viewers]}
  - {arn: "%[1]suser/turn-%[2]d", username: turn, groups: [viewers]}
accounts: ["444455556666"]
`, account, n%7)
}

func (c *cluster) swap(config string) error {
	return c.Swap(map[string]string{"config.yaml": config})
}

var (
	nodeGrant = writers.Grant{Username: "system:node:{{EC2PrivateDNSName}}", Groups: []string{"system:bootstrappers", "system:nodes"}}
	turnGrant = writers.Grant{Username: "turn", Groups: []string{"viewers"}}
)

// constant is what every config asks for, by ARN.
func (c *cluster) constant() map[string]writers.Grant {
	all := map[string]writers.Grant{
		account + "role/AWSReservedSSO_Admin_00000000000000aa": {Username: "Admin:{{SessionName}}", Groups: []string{"platform"}},
		account + "user/ana": {Username: "ana", Groups: []string{"developers"}},
		account + "user/ben": {Username: "ben", Groups: []string{"developers"}},
		account + "user/ops": {Username: "ops", Groups: []string{"viewers"}},
		"444455556666":       {},
	}
	maps.Copy(all, c.nodeRoles())
	return all
}

func (c *cluster) nodeRoles() map[string]writers.Grant {
	all := map[string]writers.Grant{}
	for _, n := range c.Nodes() {
		all[account+"role/"+roleOf(n.Name)] = nodeGrant
	}
	return all
}

func roleOf(node string) string { return "workers-" + strings.TrimPrefix(node, "node-") }

func turn(n int) string { return fmt.Sprintf("%suser/turn-%d", account, n%7) }

func (c *cluster) wanted() map[string]writers.Grant {
	all := c.constant()
	all[turn(c.config)] = turnGrant
	return all
}

// settled waits until all is as it should be: every agent is ready, one leads,
// what is asked for is mapped and nothing else of ours, what others had is there,
// and the ledger agrees.
func (c *cluster) settled(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, errors.New("it does not settle"))
	defer cancel()
	_, err := fleet.Until(ctx, func(ctx context.Context) error {
		cm, err := c.AWSAuth(ctx)
		if err != nil {
			return err
		}
		found, err := fleet.Mappings(cm)
		if err != nil {
			return err
		}
		want, seen := c.wanted(), map[string]bool{}
		for _, m := range found {
			g, asked := want[m.ARN]
			if seen[m.ARN] || (asked || m.SyncedBy == awsauth.Mark) && (m.Username != g.Username || !slices.Equal(m.Groups, g.Groups)) {
				return fmt.Errorf("aws-auth has %+v, asked for is %+v", m, g)
			}
			seen[m.ARN] = true
		}
		for arn := range want {
			if !seen[arn] {
				return fmt.Errorf("%s is not mapped", arn)
			}
		}
		if !strings.Contains(cm.Data["mapRoles"], foreign()["mapRoles"]) || cm.Data["notes"] != foreign()["notes"] {
			return errors.New("what others had is gone")
		}
		if _, err := c.Leader(ctx); err != nil {
			return err
		}
		for _, n := range c.Nodes() {
			if !n.Running() {
				return fmt.Errorf("the agent of %s has ended", n.Name)
			}
			if code, body, err := n.Get(ctx, "/readyz?verbose"); err != nil || code != http.StatusOK {
				return fmt.Errorf("%s is not ready: %d %s (%w)", n.Name, code, body, err)
			}
		}
		return nil
	})
	if err == nil {
		_, _, err = c.Settled(ctx)
	}
	return err
}

// leader waits until one agent leads.
func (c *cluster) leader(ctx context.Context) (leader *fleet.Node, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, errors.New("nobody leads"))
	defer cancel()
	_, err = fleet.Until(ctx, func(ctx context.Context) error {
		leader, err = c.Leader(ctx)
		return err
	})
	return leader, err
}

// victim is an agent that may be killed: the leader, where it may.
func (c *cluster) victim(ctx context.Context) (*fleet.Node, error) {
	leader, err := c.leader(ctx)
	if err != nil || slices.Contains(c.mortal, leader) {
		return leader, err
	}
	return c.mortal[c.random.IntN(len(c.mortal))], nil
}

// put makes aws-auth hold these data, whatever it holds; no data is no aws-auth.
func (c *cluster) put(ctx context.Context, data map[string]string) error {
	client := c.Client.CoreV1().ConfigMaps(c.AWSAuthNamespace)
	if data == nil {
		err := client.Delete(ctx, awsauth.Name, metav1.DeleteOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return err
	}
	_, err := fleet.Until(ctx, func(ctx context.Context) error {
		cm, err := client.Get(ctx, awsauth.Name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			cm = &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: awsauth.Name}, Data: data}
			_, err = client.Create(ctx, cm, metav1.CreateOptions{FieldManager: "person"})
			return err
		}
		if err != nil {
			return err
		}
		cm.Data, cm.Labels, cm.Annotations = data, nil, nil
		_, err = client.Update(ctx, cm, metav1.UpdateOptions{FieldManager: "person"})
		return err
	})
	return err
}

// metric waits until a metric of the leader has a value of at least so much.
func (c *cluster) metric(ctx context.Context, least float64, name string, labels ...string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, errors.New("not so"))
	defer cancel()
	_, err := fleet.Until(ctx, func(ctx context.Context) error {
		leader, err := c.Leader(ctx)
		if err != nil {
			return err
		}
		metrics, err := leader.Metrics(ctx)
		if err != nil {
			return err
		}
		if v, _ := metrics.Value(name, labels...); v < least {
			return fmt.Errorf("%s of %s is %v, want %v", name, leader.Name, v, least)
		}
		return nil
	})
	return err
}

// wait lets some time go by.
func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
