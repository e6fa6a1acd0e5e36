package apply_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"k8s.io/client-go/rest"

	"github.com/rolecall/rolecall/test/cluster"
	"github.com/rolecall/rolecall/test/stage"
	"github.com/rolecall/rolecall/test/trial"
)

// podSecurity: what the levels baseline and restricted would refuse of the pods
// that run is the host's network and its port.
func podSecurity(c *chapter) {
	for _, level := range []string{"baseline", "restricted"} {
		said := c.run("label", "--dry-run=server", "--overwrite", "namespace", namespace, "pod-security.kubernetes.io/enforce="+level)
		warning := regexp.MustCompile(`(?m)^Warning: rolecall-\w+ .*: (.+)$`).FindStringSubmatch(said)
		if warning == nil {
			c.t.Fatalf("level %s refuses nothing: %s", level, said)
		}
		got := strings.Split(warning[1], ", ")
		slices.Sort(got)
		if want := []string{"host namespaces", "hostPort"}; !slices.Equal(got, want) {
			c.t.Errorf("level %s refuses %q, want %q", level, got, want)
		}
	}
	c.saw("baseline and restricted refuse the host's network and port, and nothing else")
}

// hardened installs the overlay of that name over what runs: one node's agent may
// lead, all others report.
func hardened(c *chapter) {
	folder := c.overlay("hardened", "overlays/hardened", "verify: ec2\nextra: [\"arn:$PARTITION:iam::$ACCOUNTID:role/gpu-nodes\", \"arn:$PARTITION:iam::$ACCOUNTID:role/fresh\"]")
	c.run("label", "node", "node-1", "rolecall.node-restriction.kubernetes.io/candidate=true")
	c.run("apply", "--server-side", "--force-conflicts", "-k", folder)
	c.run("--namespace="+namespace, "rollout", "status", "daemonset/rolecall", "--timeout=3m")
	c.run("--namespace="+namespace, "rollout", "status", "daemonset/rolecall-reporter", "--timeout=3m")
	c.allReady()
	c.eventually("node-1 leads", func(ctx context.Context) error {
		leader, err := c.leader(ctx)
		if err == nil && leader.Name != "node-1" {
			err = fmt.Errorf("%s leads", leader.Name)
		}
		return err
	})
	n, err := c.Add(c.t.Context(), cluster.NodeOptions{Number: 6, Role: "verified"})
	c.must("add a node", err)
	c.must("join", n.Ready(c.t.Context()))
	c.mapped(trial.NodeRole("verified"))
	c.allReady()
	c.saw("node-1 leads, 4 nodes report; a new node's role is mapped once EC2 has borne it out")
}

// tokens tries what somebody could who has taken over a node, by the token that the
// kubelet has mounted into its reporter.
func tokens(c *chapter) {
	n, err := c.Node("node-2")
	c.must("find the node", err)
	pods, err := c.agents(c.t.Context())
	c.must("list the agents", err)
	token, err := os.ReadFile(filepath.Join(n.PodFiles(pods["node-2"], "kubernetes.io~projected", "token"), "token"))
	c.must("read the token of node-2's agent", err)
	config := rest.AnonymousClientConfig(c.ControlPlane.Config())
	config.BearerToken = string(token)
	kubeconfig := filepath.Join(c.dir, "kubeconfig-stolen")
	c.must("write a kubeconfig", stage.WriteKubeconfig(kubeconfig, config))

	report := func(name, role, node string) string {
		return fmt.Sprintf(`{"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": %q, "namespace": %q,
			"labels": {"rolecall.dev/roster": "node-role"}, "annotations": {"rolecall.dev/role-arn": "arn:aws:iam::111122223333:role/%s"}},
			"spec": {"holderIdentity": %q, "leaseDurationSeconds": 3600}}`, name, namespace, role, node)
	}
	for _, try := range []struct{ what, object, refusal string }{
		{"report for another node", report("node-role-0123", "stolen", "node-1"), "a node reports for itself alone"},
		{"take the leader's Lease", `{"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "rolecall", "namespace": "rolecall-system"},
			"spec": {"holderIdentity": "node-2", "leaseDurationSeconds": 15}}`, "the leader's Lease is for the ServiceAccount rolecall alone"},
		{"write aws-auth", `{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "aws-auth", "namespace": "kube-system"}, "data": {"mapRoles": ""}}`, "forbidden"},
		{"write the config", `{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "rolecall", "namespace": "rolecall-system"}, "data": {}}`, "forbidden"},
	} {
		said, err := c.replaceOrCreate(kubeconfig, try.object)
		if err == nil || !strings.Contains(said, try.refusal) {
			c.t.Errorf("a reporter's token can %s, or is refused with other words than %q: %v\n%s", try.what, try.refusal, err, said)
		}
	}
	// A kubelet can't make its node a candidate either.
	cmd := c.command(c.t.Context(), "label", "node", "node-2", "rolecall.node-restriction.kubernetes.io/candidate=true")
	cmd.Env = append(os.Environ(), "KUBECONFIG="+n.Kubeconfig(), "HOME="+c.dir)
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "is not allowed to modify labels") {
		c.t.Errorf("a kubelet can make its node a candidate, or is refused otherwise than by NodeRestriction: %v\n%s", err, out)
	}
	c.saw("a reporter's mounted token can't report for others, take the Lease, or write aws-auth or the config; its kubelet can't make it a candidate")
}

// replaceOrCreate tries both, and returns what was said of the last.
func (c *chapter) replaceOrCreate(kubeconfig, object string) (said string, err error) {
	c.t.Helper()
	for _, verb := range []string{"replace", "create"} {
		cmd := c.command(c.t.Context(), verb, "--filename=-", "--validate=false")
		cmd.Env = append(os.Environ(), "KUBECONFIG="+kubeconfig, "HOME="+c.dir)
		cmd.Stdin = strings.NewReader(object)
		out, runErr := cmd.CombinedOutput()
		said, err = said+string(out), runErr
		if exit := (*exec.ExitError)(nil); err == nil || !errors.As(err, &exit) {
			return said, err
		}
	}
	return said, err
}
