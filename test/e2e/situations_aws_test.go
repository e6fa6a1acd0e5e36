package e2e_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/rolecall/rolecall/test/awsfake"
	"github.com/rolecall/rolecall/test/fleet"
	"github.com/rolecall/rolecall/test/trial"
)

// readNodes gives the agents what manifests/components/read-nodes does, under names of
// this test's own: the control plane is shared.
func (c *cluster) readNodes() {
	c.T.Helper()
	file, err := os.Open("../../manifests/components/read-nodes/rbac.yaml")
	if err != nil {
		c.T.Fatal(err)
	}
	defer file.Close()
	d := yaml.NewYAMLOrJSONDecoder(file, 4096)
	var role rbacv1.ClusterRole
	var binding rbacv1.ClusterRoleBinding
	for _, into := range []any{&role, &binding} {
		if err := d.Decode(into); err != nil {
			c.T.Fatal(err)
		}
	}
	role.Name += "-" + c.Namespace
	binding.Name, binding.RoleRef.Name, binding.Subjects[0].Namespace = role.Name, role.Name, c.Namespace
	rbac := c.Client.RbacV1()
	if _, err := rbac.ClusterRoles().Create(c.T.Context(), &role, metav1.CreateOptions{}); err != nil {
		c.T.Fatal(err)
	}
	if _, err := rbac.ClusterRoleBindings().Create(c.T.Context(), &binding, metav1.CreateOptions{}); err != nil {
		c.T.Fatal(err)
	}
	c.T.Cleanup(func() {
		ctx := context.WithoutCancel(c.T.Context())
		_ = rbac.ClusterRoleBindings().Delete(ctx, binding.Name, metav1.DeleteOptions{})
		_ = rbac.ClusterRoles().Delete(ctx, role.Name, metav1.DeleteOptions{})
	})
}

// node makes a Node of the cluster.
func (c *cluster) node(name, providerID string) {
	c.T.Helper()
	nodes := c.Client.CoreV1().Nodes()
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.NodeSpec{ProviderID: providerID}}
	if _, err := nodes.Create(c.T.Context(), node, metav1.CreateOptions{}); err != nil {
		c.T.Fatal(err)
	}
	c.T.Cleanup(func() {
		_ = nodes.Delete(context.WithoutCancel(c.T.Context()), name, metav1.DeleteOptions{})
	})
}

// With "verify: ec2" a role is mapped where the node's instance, in the cluster's VPC,
// has it: a node named by its instance's id or private DNS name, and by the providerID of
// its Node where the name tells nothing (D3). An instance of another VPC that has the
// node's private DNS name too proves nothing (D4).
func TestWhoseInstanceIsTheNodes(t *testing.T) {
	t.Parallel()
	config := strings.Replace(plain, "refreshInterval: 1h", "refreshInterval: 10s", 1) + "nodeRoles: {verify: ec2}\n"
	c := newCluster(t, config, calm...)
	const another = "vpc-0fedcba9876543210"
	id := func(n int) string { return fmt.Sprintf("i-0%016x", n) }
	dns := func(n int) string { return fmt.Sprintf("ip-10-9-0-%d.eu-west-3.compute.internal", n) }
	for _, role := range []string{"control", "workers", "billing", "ingress", "gpu"} {
		c.AWS.SetProfile("eks-"+role, role)
	}
	instance := func(vpc string, n int, name, role string) { c.AWS.SetInstanceIn(vpc, id(n), name, "eks-"+role) }
	instance(awsfake.DefaultVPC, 1, dns(1), "control")
	instance(awsfake.DefaultVPC, 2, dns(2), "workers")
	instance(another, 3, dns(2), "billing") // has the same name
	instance(another, 4, dns(4), "ingress")
	instance(awsfake.DefaultVPC, 5, dns(5), "gpu")
	custom := "worker-" + c.Namespace + ".example.com"

	leader := c.StartNode(id(1), "control") // named by its instance's id, as nodeadm does
	want := []fleet.Mapping{trial.NodeRole("control"), plainOps}
	c.Maps("a node named by its instance's id", want...)
	second := c.StartNode(dns(2), "workers", "--report-only")
	want = append(want, trial.NodeRole("workers"))
	c.Maps("a node named by its private DNS name", want...)

	// The second node reports a role that an instance of another VPC has.
	second.IMDS.SetRole("billing")
	c.restart(second, "--report-only")
	c.Event("ReportRefused", dns(2), "runs under "+trial.Account+"role/workers")
	for name, role := range map[string]string{dns(4): "ingress", custom: "gpu"} {
		c.StartNode(name, role, "--report-only")
	}
	c.Event("ReportRefused", dns(4), "no running instance", "nodeRoles.vpcs", "read-nodes")
	c.Event("ReportRefused", custom, "manifests/components/read-nodes", "rbac.readNodes", "nodeRoles.extra")
	c.StillMaps(want...)
	c.Metric(leader, 3, "rolecall_node_reports_refused")

	c.readNodes()
	c.node(custom, "aws:///eu-west-3a/"+id(5))
	want = append(want, trial.NodeRole("gpu"))
	c.Maps("the Node tells the instance", want...)
	c.StillMaps(want...)
	c.Metric(leader, 2, "rolecall_node_reports_refused")
}

// A proxy that takes requests to AWS and never answers: nodes are mapped all the same,
// and after 15 s the source counts as failing, with NO_PROXY named, though the request
// still runs (E11).
func TestProxyThatSwallows(t *testing.T) {
	t.Parallel()
	c := newCluster(t, plain+"iamGroups:\n  - {name: Developers, groups: [developers]}\n", calm...)
	proxy := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	}))
	t.Cleanup(func() { proxy.CloseClientConnections(); proxy.Close() })
	n := c.NewNode("node-a", "workers")
	n.Setenv("HTTP_PROXY="+proxy.URL, "HTTPS_PROXY="+proxy.URL, "NO_PROXY=", "AWS_ENDPOINT_URL=http://iam.example", "AWS_ENDPOINT_URL_STS=http://sts.example")
	c.StartAgent(n)
	c.Maps("what needs no IAM", trial.NodeRole("workers"), plainOps)
	c.Ready(n, http.StatusOK, "[!]sources: group/Developers: no answer for", proxy.URL, "NO_PROXY")
	c.Event("SourceFailed", "group/Developers", "no answer since", "NO_PROXY")
	c.Metric(n, 1, "rolecall_sources_failed", "source", "group")
	c.Eventually("rolecall status says it", func(context.Context) error {
		if status := c.status(); !strings.Contains(status, "no answer since") || !strings.Contains(status, "NO_PROXY") || strings.Contains(status, "HTTPS_PROXY") {
			return fmt.Errorf("it says\n%s", status)
		}
		return nil
	})
}

// The leader's pod got no credentials of its own, a standby's did: it says so and passes
// the Lease on, and the group's users are mapped. Where no other pod has any either, it
// is passed on no more (C4).
func TestLeaderWithoutCredentials(t *testing.T) {
	t.Parallel()
	c := newCluster(t, plain+"iamGroups:\n  - {name: Developers, groups: [developers]}\n", calm...)
	c.AWS.SetMembers("Developers", "ana")
	// What comes from the nodes' own role is refused.
	c.AWS.Fail("GetGroup", awsfake.Fault{Kind: awsfake.FaultDenied, Key: "ASIAIOSFODNN7EXAMPLE"})
	start := func(name string, credentials bool) *fleet.Node {
		n := c.NewNode(name, "workers")
		if !credentials {
			n.Setenv("AWS_ACCESS_KEY_ID=", "AWS_SECRET_ACCESS_KEY=")
		}
		return n
	}
	first, second := start("node-a", false), start("node-b", true)
	c.StartAgent(first)
	c.Logs(first, "no credentials of its own", "giving the lease up")
	c.StartAgent(second)
	c.Maps("the standby can", trial.NodeRole("workers"), plainOps, trial.Ours("user/ana", "ana", "developers"))
	if leader := c.OneLeads(); leader != second {
		t.Errorf("%s leads", leader.Name)
	}
	if lease, err := c.Client.CoordinationV1().Leases(c.Namespace).Get(t.Context(), fleet.LeaseName, metav1.GetOptions{}); err != nil || lease.Annotations["rolecall.dev/gave-up"] != "1" {
		t.Errorf("the Lease says %v, %v", lease.Annotations, err)
	}

	// Back to the first one, which has passed it on once: it leads on.
	c.terminate(second)
	c.OneLeads(second)
	c.Eventually("rolecall status says whose role was used", func(context.Context) error {
		if status := c.status(); !strings.Contains(status, "no credentials of its own") || !strings.Contains(status, "role/workers") {
			return fmt.Errorf("it says\n%s", status)
		}
		return nil
	})
	c.StillMaps(trial.NodeRole("workers"), plainOps, trial.Ours("user/ana", "ana", "developers"))
}
