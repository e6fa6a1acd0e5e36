package apply_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/rolecall/rolecall/test/cluster"
	"github.com/rolecall/rolecall/test/trial"
)

const sso = "arn:aws:sts::111122223333:assumed-role/AWSReservedSSO_ReadOnlyAccess_0123456789abcdef/erin"

// loggedIn: aws-iam-authenticator's own server lets in whom rolecall has mapped,
// with the groups that it gave, and nobody else.
func loggedIn(c *chapter) {
	for arn, want := range map[string]struct{ name, group string }{
		trial.Account + "user/ana": {"ana", "developers"},
		sso:                        {"viewer:erin", "viewers"},
	} {
		kubeconfig := c.kubeconfig(arn)
		var name string
		var groups []string
		c.eventually(arn+" gets in", func(ctx context.Context) (err error) {
			name, groups, err = c.whoAmI(ctx, kubeconfig)
			return err
		})
		if name != want.name || !slices.Contains(groups, want.group) {
			c.t.Errorf("%s is %s of %q, want %s of %s", arn, name, groups, want.name, want.group)
		}
		c.saw("%s is %s of %s", arn[strings.LastIndexByte(arn, ':')+1:], name, want.group)
	}
	if name, _, err := c.whoAmI(c.t.Context(), c.kubeconfig(trial.Account+"user/mallory")); err == nil {
		c.t.Errorf("mallory, whom nobody maps, gets in as %s", name)
	}
	c.saw("mallory, who is mapped nowhere, stays out")
}

// loggedOut: who leaves the IAM group does not get in any more.
func loggedOut(c *chapter) {
	ben := c.kubeconfig(trial.Account + "user/ben")
	c.eventually("ben gets in", func(ctx context.Context) error {
		_, _, err := c.whoAmI(ctx, ben)
		return err
	})
	c.AWS.SetMembers("Developers", "ana")
	begin := time.Now()
	c.eventually("ben stays out", func(ctx context.Context) error {
		if name, _, err := c.whoAmI(ctx, ben); err == nil {
			return fmt.Errorf("he gets in as %s", name)
		}
		return nil
	})
	c.unmapped(trial.Account + "user/ben")
	c.saw("refused %s after he left the IAM group (refreshInterval: 10s; a new leader with a new config takes nothing away for 2m)", since(begin))
}

// letIn: a node whose kubelet logs in by its role, as on EKS, can't join before
// the role is mapped, and does once nodeRoles.extra names it.
func letIn(c *chapter) {
	n, err := c.Add(c.t.Context(), cluster.NodeOptions{Number: 5, Role: "fresh", ByIAM: true})
	c.must("add a node", err)
	c.eventually("the kubelet is refused", func(context.Context) error {
		log, err := n.KubeletLog()
		if err == nil && !strings.Contains(log, "Unauthorized") {
			err = fmt.Errorf("it is not")
		}
		return err
	})
	begin := time.Now()
	c.edit("role/gpu-nodes", `role/gpu-nodes", "arn:$PARTITION:iam::$ACCOUNTID:role/fresh`)
	at := c.mapped(trial.NodeRole("fresh"))
	c.must("join", n.Ready(c.t.Context()))
	c.allReady()
	c.saw("locked out, mapped %s after the edit of nodeRoles.extra, Ready %s later", at.Sub(begin).Round(100*time.Millisecond), time.Since(at).Round(time.Second))
}

// kubeconfig is that of an IAM identity.
func (c *chapter) kubeconfig(arn string) string {
	c.t.Helper()
	path := filepath.Join(c.dir, "kubeconfig-"+strings.NewReplacer(":", "-", "/", "-").Replace(arn))
	c.must("write a kubeconfig", c.IAMKubeconfig(path, arn))
	return path
}

// whoAmI asks the API server whom it takes the identity of a kubeconfig for.
func (c *chapter) whoAmI(ctx context.Context, kubeconfig string) (name string, groups []string, err error) {
	cmd := c.command(ctx, "auth", "whoami", "--output=json")
	cmd.Env = append(os.Environ(), "KUBECONFIG="+kubeconfig, "HOME="+c.dir)
	out, err := cmd.Output()
	if err != nil {
		return "", nil, err
	}
	var review struct {
		Status struct {
			UserInfo struct {
				Username string
				Groups   []string
			}
		}
	}
	err = json.Unmarshal(out, &review)
	return review.Status.UserInfo.Username, review.Status.UserInfo.Groups, err
}
