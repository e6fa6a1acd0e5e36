package faults_test

import (
	"context"
	"errors"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/rolecall/rolecall/test/fleet"
	"github.com/rolecall/rolecall/test/trial"
)

// unbind takes the agents' rights in a namespace away, and returns what gives
// them back.
func (c *cluster) unbind(namespace string) func() {
	c.T.Helper()
	bindings := c.Client.RbacV1().RoleBindings(namespace)
	binding, err := bindings.Get(c.T.Context(), "rolecall", metav1.GetOptions{})
	if err != nil {
		c.T.Fatal(err)
	}
	if err := bindings.Delete(c.T.Context(), binding.Name, metav1.DeleteOptions{}); err != nil {
		c.T.Fatal(err)
	}
	return func() {
		c.T.Helper()
		again := &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Name: binding.Name}, RoleRef: binding.RoleRef, Subjects: binding.Subjects}
		if _, err := bindings.Create(c.T.Context(), again, metav1.CreateOptions{}); err != nil {
			c.T.Fatal(err)
		}
	}
}

// Somebody takes the rights to aws-auth away, then those to the Lease and the
// ledger. Each time it is said, nobody ends, and all goes on with the rights.
func TestRightsTakenAway(t *testing.T) {
	t.Parallel()
	c := newCluster(t, opsOnly, quick...)
	c.Create(foreignText)
	leader, _ := c.nodes()
	c.settled("merged", with(trial.NodeRole("workers"), ops)...)

	back := c.unbind(c.AWSAuthNamespace)
	c.Eventually("the rights are gone", func(ctx context.Context) error {
		c.Mount(opsAndAna)
		found, err := leader.Logged("ERROR", "forbidden")
		if err == nil && len(found) == 0 {
			c.Mount(opsEdits)
			err = errors.New("not yet")
		}
		return err
	})
	c.Mount(opsAndAna)
	c.AtLeast(leader, 1, "rolecall_reconciles_total", "result", "error")
	c.alive()
	back()
	c.settled("the rights to aws-auth are back", with(trial.NodeRole("workers"), ops, ana)...)

	back = c.unbind(c.Namespace)
	c.stoodBy(leader)
	c.Mount(opsOnly)
	c.alive()
	back()
	c.settled("the rights to the Lease are back", with(trial.NodeRole("workers"), ops)...)
	c.OneLeads()
	c.alive()
	c.judge(foreignText, "workers")
}

// The leader's token is not good any more. Another agent leads; the former
// leader neither ends nor calls itself sick, and is back with a new token in
// its file, without a restart.
func TestTokenExpired(t *testing.T) {
	t.Parallel()
	long(t) // the API server believes a token that it has seen for 10 s
	c := newCluster(t, opsOnly, quick...)
	c.Create(foreignText)
	old, next := c.NewNode("node-a", "workers"), c.NewNode("node-b", "workers")
	expire := c.mortal(old)
	c.StartAgent(old)
	c.leads(old)
	c.StartAgent(next)
	c.settled("merged", with(trial.NodeRole("workers"), ops)...)

	expire()
	c.leads(next)
	expired := time.Now()
	c.Mount(opsAndAna)
	c.settled("the other goes on", with(trial.NodeRole("workers"), ops, ana)...)
	c.Logs(old, "the lease is lost")
	if writes := c.writesOf(old, expired); len(writes) > 0 {
		t.Errorf("the old leader tried to write: %v", writes)
	}
	c.alive()

	c.mortal(old)
	next.Kill()                                                                            // nobody but the old one is left
	c.Within(2*trial.Patience, "the old leader is back", func(ctx context.Context) error { // client-go reads the file once a minute
		_, err := c.Leader(ctx)
		return err
	})
	c.Mount(opsOnly)
	c.settled("it works with the new token", with(trial.NodeRole("workers"), ops)...)
	c.judge(foreignText, "workers")
}

// mortal gives a node a token that can be ended: it is bound to an object, with
// which it goes. The least life that the API server gives is ten minutes.
func (c *cluster) mortal(n *fleet.Node) (expire func()) {
	c.T.Helper()
	ctx := c.T.Context()
	secrets := c.Client.CoreV1().Secrets(c.Namespace)
	bound, err := secrets.Create(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{GenerateName: "bound-"}}, metav1.CreateOptions{})
	if err != nil {
		c.T.Fatal(err)
	}
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		ExpirationSeconds: ptr.To(int64(600)),
		BoundObjectRef:    &authenticationv1.BoundObjectReference{Kind: "Secret", APIVersion: "v1", Name: bound.Name, UID: bound.UID},
	}}
	token, err := c.Client.CoreV1().ServiceAccounts(c.Namespace).CreateToken(ctx, "rolecall", request, metav1.CreateOptions{})
	if err != nil {
		c.T.Fatal(err)
	}
	if err := n.SetToken(token.Status.Token); err != nil {
		c.T.Fatal(err)
	}
	return func() {
		c.T.Helper()
		if err := secrets.Delete(ctx, bound.Name, metav1.DeleteOptions{}); err != nil {
			c.T.Fatal(err)
		}
	}
}
