package e2e_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/internal/history"
	"github.com/rolecall/rolecall/internal/roster"
	"github.com/rolecall/rolecall/test/fleet"
	"github.com/rolecall/rolecall/test/stage"
	"github.com/rolecall/rolecall/test/trial"
)

// Rights and IAM actions that are granted for code that is yet to come. Once it
// is there, the test fails until they are taken out of here.
var (
	expectedSoon      = []string{}
	expectedSoonOfAWS = []string{}
)

// everyVerifiedSource is everySource with reports that EC2 has to bear out.
func everyVerifiedSource() string {
	return strings.Replace(everySource, "nodeRoles:\n", "nodeRoles:\n  verify: ec2\n", 1)
}

// All that agents do in a cluster, under the overlay hardened, by an audit log of
// the API server: what a Role grants is used, what is used is granted, and what
// is always done to one object is granted for that one alone. The same of the
// IAM policies. And that they do it: aws-auth is right in the end.
func TestRights(t *testing.T) {
	t.Parallel()
	stage.ForTest(t) // skips where there is none
	audit := filepath.Join(t.TempDir(), "audit.log")
	cp, err := stage.Start(t.Context(), stage.Options{
		AuditLog: audit,
		// A watch of a newer server begins with a list; clients ask older ones for
		// it, which EKS still runs.
		APIServerFlags: []string{"--feature-gates=WatchList=false"},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cp.Stop(); err != nil {
			t.Error(err)
		}
	})
	c := newClusterIn(t, cp, everyVerifiedSource(), trial.Options{Options: fleet.Options{Overlay: "hardened", Flags: quick}})
	c.liveThroughAll()
	if err := c.Close(); err != nil { // all is in the log then
		t.Fatal(err)
	}

	rights := map[string][]*right{} // by ServiceAccount
	for _, account := range []string{"rolecall", "rolecall-reporter"} {
		rights[account] = c.granted(account)
	}
	for _, r := range requests(t, audit, c.Namespace) {
		if err := r.cover(rights[r.account]); err != nil {
			t.Error(err)
		}
	}
	for account, granted := range rights {
		for _, r := range granted {
			soon := slices.Contains(expectedSoon, account+": "+r.String())
			switch {
			case r.used == nil && !soon:
				t.Errorf("%s may %s and never does", account, r)
			case r.used != nil && soon:
				t.Errorf("%s does %s: take that out of expectedSoon", account, r)
			case r.tooWide():
				t.Errorf("%s may %s, and does so to %q alone: name it in the Role", account, r, r.used)
			}
		}
	}
	c.judgeIAMPolicies()
}

// liveThroughAll has two candidates and two reporters meet all that makes agents
// ask something of the API server.
func (c *cluster) liveThroughAll() {
	c.T.Helper()
	made := time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
	for i, set := range []string{"Admin", "AdminReadOnly", "Admin_Read"} {
		c.AWS.AddPermissionSet(set, fmt.Sprintf("%016x", i), "eu-west-3", made.AddDate(0, i, 0))
	}
	c.AWS.SetMembers("Admins", "ana", "ben")
	c.AWS.SetMembers("Developers", "ben", "cleo")
	c.Create(map[string]string{"mapRoles": othersRoles})
	c.fillHistory()
	for _, role := range []string{"control", "workers", "ingress"} {
		c.AWS.SetProfile("eks-"+role, role)
	}
	for _, name := range []string{"candidate-a", "candidate-b"} {
		c.AWS.SetInstance(name, "eks-control")
		c.StartNode(name, "control")
	}
	// One of them reports a role that its instance does not have.
	c.AWS.SetInstance("reporter-a", "eks-workers")
	c.AWS.SetInstance("reporter-b", "eks-ingress")
	c.AWS.SetInstance("reporter-c", "eks-workers")
	for name, role := range map[string]string{"reporter-a": "workers", "reporter-b": "ingress", "reporter-c": "stolen"} {
		n, err := c.AddReporter(c.T.Context(), name, role)
		if err != nil {
			c.T.Fatal(err)
		}
		c.StartAgent(n)
	}
	foreign := []fleet.Mapping{others("role/break-glass", "break-glass", "system:masters"), others("role/ci", "ci", "deployers")}
	want := []fleet.Mapping{
		trial.NodeRole("control"), trial.NodeRole("workers"), trial.NodeRole("ingress"), trial.NodeRole("gpu"), trial.NodeRole("karpenter"), trial.NodeRole("windows", "eks:kube-proxy-windows"),
		{ARN: "555566667777"},
		trial.Ours("role/AWSReservedSSO_Admin_0000000000000000", "Admin:{{SessionName}}", "system:masters"),
		trial.Ours("role/AWSReservedSSO_Admin_Read_0000000000000002", "reader:{{SessionName}}", "viewers"),
		trial.Ours("role/generic", "generic", "deployers"),
		trial.Ours("user/ana", "ana", "system:masters"),
		trial.Ours("user/ben", "ben", "developers", "system:masters"),
		trial.Ours("user/cleo", "dev:cleo", "developers"),
		trial.Ours("user/team/ops", "ops", "viewers"),
	}
	c.Maps("all is merged", append(foreign, want...)...)
	leader := c.OneLeads()
	c.Event("ReportRefused", "reporter-c", "runs under "+trial.Account+"role/workers")

	// Each write is told by an Event, and one that says the same as another counts
	// that one up. A content that comes back is a revision that is there already.
	extra := strings.Replace(everyVerifiedSource(), `["555566667777"]`, `["555566667777", "666677778888"]`, 1)
	for range 3 {
		c.Mount(extra)
		c.Maps("an account more", append(append(foreign, want...), fleet.Mapping{ARN: "666677778888"})...)
		c.Mount(everyVerifiedSource())
		c.Maps("and gone", append(foreign, want...)...)
	}

	// An agent finds its report old, and renews it.
	for _, n := range c.Nodes() {
		if n == leader {
			continue
		}
		c.ageReports()
		n.Kill()
		c.StartAgent(n)
		c.Metric(n, 1, "rolecall_node_reports_total", "result", "written")
	}

	// A takeover, and a removal by the next leader. A deleted aws-auth is made
	// anew: of foreign entries, whatever history knows of them.
	leader.Kill()
	c.AWS.SetMembers("Admins", "ben")
	want = slices.DeleteFunc(want, func(m fleet.Mapping) bool { return m.ARN == trial.Account+"user/ana" })
	c.Maps("a user who left is out", append(foreign, want...)...)
	next := c.OneLeads(leader)
	c.Delete()
	c.Eventually("a deleted aws-auth is made anew", func(ctx context.Context) error {
		cm, err := c.AWSAuth(ctx)
		if err != nil {
			return err
		}
		return contains(cm.Data, "role/workers", "role/ingress", "user/ben")
	})
	c.Event("Updated")
	c.Metric(next, 1, "rolecall_leader")
}

// fillHistory makes as many revisions as are kept, so that the next one is one
// too many. The leader itself records no faster than it has to.
func (c *cluster) fillHistory() {
	c.T.Helper()
	store := history.New(c.Client.AppsV1().ControllerRevisions(c.Namespace), awsauth.Name, "somebody")
	for i := range history.Kept {
		content := history.Content{Data: map[string]string{"mapRoles": strings.Repeat("# former\n", i) + othersRoles}}
		if _, err := store.Record(c.T.Context(), history.Revision{Who: "somebody", At: time.Now()}, content); err != nil {
			c.T.Fatal(err)
		}
	}
}

// ageReports makes all reports look two hours old.
func (c *cluster) ageReports() {
	c.T.Helper()
	leases := c.Client.CoordinationV1().Leases(c.Namespace)
	list, err := leases.List(c.T.Context(), metav1.ListOptions{LabelSelector: roster.Selector})
	if err != nil {
		c.T.Fatal(err)
	}
	for i := range list.Items {
		lease := &list.Items[i]
		lease.Spec.RenewTime = &metav1.MicroTime{Time: time.Now().Add(-2 * time.Hour)}
		if _, err := leases.Update(c.T.Context(), lease, metav1.UpdateOptions{}); err != nil {
			c.T.Fatal(err)
		}
	}
}

func contains(data map[string]string, texts ...string) error {
	all := data["mapRoles"] + data["mapUsers"]
	for _, text := range texts {
		if !strings.Contains(all, text) {
			return fmt.Errorf("aws-auth lacks %s:\n%s", text, all)
		}
	}
	return nil
}

// A right is one verb on one resource in one namespace.
type right struct {
	namespace string
	resource  string // with its API group, as in "leases.coordination.k8s.io"
	name      string // empty: every name
	verb      string

	used []string // the names of what it was used for; nil where it was not
}

func (r *right) String() string {
	name := ""
	if r.name != "" {
		name = " " + r.name
	}
	return r.verb + " " + r.resource + name + " in " + r.namespace
}

// hashed are names that nobody knows beforehand: of reports, revisions, Events.
var hashed = regexp.MustCompile(`[.-][0-9a-f]{16}$`)

// tooWide reports whether a right that holds for every name was used for one
// alone that could be named. RBAC can't name what is created; a list and a watch
// have the name of their field selector.
func (r *right) tooWide() bool {
	return r.name == "" && len(r.used) == 1 && r.used[0] != "" && !hashed.MatchString(r.used[0]) && r.verb != "create"
}

// granted is all that bindings give to a ServiceAccount of the agents' namespace.
func (c *cluster) granted(account string) []*right {
	c.T.Helper()
	ctx, rbac := c.T.Context(), c.Client.RbacV1()
	its := func(s rbacv1.Subject) bool {
		return s.Kind == rbacv1.ServiceAccountKind && s.Name == account && s.Namespace == c.Namespace
	}
	cluster, err := rbac.ClusterRoleBindings().List(ctx, metav1.ListOptions{})
	if err != nil {
		c.T.Fatal(err)
	}
	for _, b := range cluster.Items {
		if slices.ContainsFunc(b.Subjects, its) {
			c.T.Errorf("ClusterRoleBinding %s gives %s rights in the whole cluster", b.Name, account)
		}
	}
	bindings, err := rbac.RoleBindings("").List(ctx, metav1.ListOptions{})
	if err != nil {
		c.T.Fatal(err)
	}
	var all []*right
	for _, b := range bindings.Items {
		if !slices.ContainsFunc(b.Subjects, its) {
			continue
		}
		if b.RoleRef.Kind != "Role" {
			c.T.Errorf("RoleBinding %s/%s gives %s the %s %s", b.Namespace, b.Name, account, b.RoleRef.Kind, b.RoleRef.Name)
			continue
		}
		role, err := rbac.Roles(b.Namespace).Get(ctx, b.RoleRef.Name, metav1.GetOptions{})
		if err != nil {
			c.T.Fatal(err)
		}
		for _, rule := range role.Rules {
			all = append(all, spread(b.Namespace, rule)...)
		}
	}
	if len(all) == 0 {
		c.T.Errorf("%s has no rights at all", account)
	}
	return all
}

// spread writes out a rule: one right for each verb, resource and name.
func spread(namespace string, rule rbacv1.PolicyRule) (all []*right) {
	names := rule.ResourceNames
	if len(names) == 0 {
		names = []string{""}
	}
	for _, group := range rule.APIGroups {
		for _, resource := range rule.Resources {
			for _, name := range names {
				for _, verb := range rule.Verbs {
					all = append(all, &right{namespace: namespace, resource: qualified(resource, group), name: name, verb: verb})
				}
			}
		}
	}
	return all
}

func qualified(resource, group string) string {
	if group == "" {
		return resource
	}
	return resource + "." + group
}

// A request is one of an agent's, as the API server has logged it.
type request struct {
	account, verb, uri        string
	namespace, resource, name string
	code                      int
	decision, reason          string // the authorizer's
}

// requests are those that came with the token of a pod in the namespace.
func requests(t *testing.T, log, namespace string) []request {
	t.Helper()
	file, err := os.Open(log)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	type event struct {
		Verb, RequestURI string
		User             struct {
			Username string
			Extra    map[string][]string
		}
		ObjectRef      struct{ Resource, Subresource, Namespace, Name, APIGroup string }
		ResponseStatus struct{ Code int }
		Annotations    map[string]string
	}
	var all []request
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			t.Fatal(err)
		}
		account, ours := strings.CutPrefix(e.User.Username, "system:serviceaccount:"+namespace+":")
		if !ours || len(e.User.Extra["authentication.kubernetes.io/pod-name"]) == 0 {
			continue
		}
		o := e.ObjectRef
		if o.Subresource != "" {
			o.Resource += "/" + o.Subresource
		}
		all = append(all, request{
			account, e.Verb, e.RequestURI, o.Namespace, qualified(o.Resource, o.APIGroup), o.Name,
			e.ResponseStatus.Code, e.Annotations["authorization.k8s.io/decision"], e.Annotations["authorization.k8s.io/reason"],
		})
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	if len(all) == 0 {
		t.Fatal("the audit log holds no request of an agent")
	}
	return all
}

// cover notes which of the rights let the request pass. It fails where none
// did, and where it was refused, by an admission policy (422) for one.
func (r *request) cover(rights []*right) error {
	if r.decision != "allow" || r.code == 401 || r.code == 403 || r.code == 422 && r.verb != "watch" {
		return fmt.Errorf("%s: %s %s is refused with %d (%s %s)", r.account, r.verb, r.uri, r.code, r.decision, r.reason)
	}
	covered := false
	for _, right := range rights {
		if right.namespace != r.namespace || right.resource != r.resource || right.verb != r.verb || right.name != "" && right.name != r.name {
			continue
		}
		covered = true
		if !slices.Contains(right.used, r.name) {
			right.used = append(right.used, r.name)
		}
	}
	if !covered {
		return fmt.Errorf("%s: %s %s is granted by none of its Roles, but by %s", r.account, r.verb, r.uri, r.reason)
	}
	return nil
}

// judgeIAMPolicies compares the policies that the manifests have with what the
// agents asked of AWS.
func (c *cluster) judgeIAMPolicies() {
	c.T.Helper()
	allowed := map[string]bool{}
	for _, file := range []string{"iam-policy.json", "iam-policy-verify-ec2.json"} {
		text, err := os.ReadFile("../../manifests/" + file)
		if err != nil {
			c.T.Fatal(err)
		}
		var policy struct {
			Version   string
			Statement []struct {
				Effect, Resource string
				Action           []string
			}
		}
		if err := json.Unmarshal(text, &policy); err != nil {
			c.T.Fatalf("%s: %v", file, err)
		}
		for _, s := range policy.Statement {
			if s.Effect != "Allow" || policy.Version != "2012-10-17" || s.Resource == "" {
				c.T.Errorf("%s: a policy of %q %s %q, want one that allows", file, policy.Version, s.Effect, s.Resource)
			}
			for _, action := range s.Action {
				allowed[action] = true
			}
		}
	}
	asked := c.AWS.Actions()
	for _, action := range asked {
		// Everybody may ask who they are.
		if !allowed[action] && action != "sts:GetCallerIdentity" {
			c.T.Errorf("the agents ask for %s, which no policy allows", action)
		}
	}
	for action := range allowed {
		switch soon := slices.Contains(expectedSoonOfAWS, action); {
		case !slices.Contains(asked, action) && !soon:
			c.T.Errorf("a policy allows %s, which no agent asks for", action)
		case slices.Contains(asked, action) && soon:
			c.T.Errorf("the agents ask for %s: take it out of expectedSoonOfAWS", action)
		}
	}
}
