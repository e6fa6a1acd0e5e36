package faults_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/rolecall/rolecall/test/faultproxy"
	"github.com/rolecall/rolecall/test/fleet"
	"github.com/rolecall/rolecall/test/trial"
)

// A target is a request that the leader needs.
type target struct {
	name     string
	match    faultproxy.Match
	resource schema.GroupResource
	metric   string // the object of rolecall_writes_total; none for a read
}

var targets = []target{
	{"read aws-auth", faultproxy.Match{Verb: "get", Name: "aws-auth"}, corev1.Resource("configmaps"), ""},
	{"write aws-auth", faultproxy.Match{Verb: "update", Name: "aws-auth"}, corev1.Resource("configmaps"), "aws-auth"},
	{"read ledger", faultproxy.Match{Verb: "get", Name: fleet.LedgerName}, corev1.Resource("configmaps"), ""},
	{"write ledger", faultproxy.Match{Verb: "update", Name: fleet.LedgerName}, corev1.Resource("configmaps"), "ledger"},
	{"read lease", faultproxy.Match{Verb: "get", Name: fleet.LeaseName, Resource: "leases"}, coordinationv1.Resource("leases"), ""},
	{"write lease", faultproxy.Match{Verb: "update", Name: fleet.LeaseName, Resource: "leases"}, coordinationv1.Resource("leases"), ""},
	{"list roster", faultproxy.Match{Verb: "list", Resource: "leases"}, coordinationv1.Resource("leases"), ""},
}

// refusals are what an API server answers that is busy, broken or set up wrong.
func refusals(r schema.GroupResource, name string) map[string]*apierrors.StatusError {
	return map[string]*apierrors.StatusError{
		"409": apierrors.NewConflict(r, name, errors.New("the object has been modified")),
		"429": apierrors.NewTooManyRequests("too many requests", 1),
		"500": apierrors.NewInternalError(errors.New("etcdserver: request timed out")),
		"403": apierrors.NewForbidden(r, name, errors.New("not allowed")),
	}
}

// The API server refuses, for each request that the leader needs and in each
// way, a few times in a row. No process ends, the health stays good, what fails
// is counted, and the change comes through by itself.
func TestRefused(t *testing.T) {
	t.Parallel()
	long(t)
	for _, target := range targets {
		t.Run(target.name, func(t *testing.T) {
			t.Parallel()
			c := newCluster(t, opsOnly, calm...)
			c.Create(foreignText)
			c.nodes()
			c.settled("merged", with(trial.NodeRole("workers"), ops)...)
			configs, wants := []string{opsAndAna, opsOnly}, [][]fleet.Mapping{with(trial.NodeRole("workers"), ops, ana), with(trial.NodeRole("workers"), ops)}
			i := 0
			for name, refusal := range refusals(target.resource, target.match.Name) {
				c.refused(target, name, refusal, configs[i%2], wants[i%2])
				i++
			}
			c.judge(foreignText, "workers")
		})
	}
}

// The shortest of it: what decides most, refused once.
func TestWriteRefused(t *testing.T) {
	t.Parallel()
	c := newCluster(t, opsOnly, calm...)
	c.Create(foreignText)
	c.nodes()
	c.settled("merged", with(trial.NodeRole("workers"), ops)...)
	c.refused(targets[1], "409", refusals(corev1.Resource("configmaps"), "aws-auth")["409"], opsAndAna, with(trial.NodeRole("workers"), ops, ana))
	c.refused(targets[3], "500", refusals(corev1.Resource("configmaps"), fleet.LedgerName)["500"], opsOnly, with(trial.NodeRole("workers"), ops))
	c.judge(foreignText, "workers")
}

// refused makes a change while the leader's requests are refused, twice.
func (c *cluster) refused(target target, name string, refusal *apierrors.StatusError, config string, want []fleet.Mapping) {
	c.T.Helper()
	const times = 2
	leader := c.OneLeads()
	result := map[bool]string{true: "conflict", false: "error"}[apierrors.IsConflict(refusal)]
	counted := 0.0
	if target.metric != "" {
		counted = c.Value(leader, "rolecall_writes_total", "object", target.metric, "result", result)
	}
	match := target.match
	match.Client, match.Times = leader.Name, times
	rule := c.proxy.Add(match, faultproxy.Answer(refusal))
	defer rule.Remove()
	c.Mount(config)
	if target.name != "read ledger" && target.name != "read lease" { // which are not read for every change
		c.hit(rule, times)
	}
	c.settled(fmt.Sprintf("%s refused with %s", target.name, name), want...)
	if target.metric != "" && !apierrors.IsTooManyRequests(refusal) { // client-go itself tries again
		c.AtLeast(leader, counted+times, "rolecall_writes_total", "object", target.metric, "result", result)
	}
	c.alive()
}

// The API server carries a write out and the answer is lost. Nothing is written
// twice for it, and nothing is taken for another's.
func TestAnswerLost(t *testing.T) {
	t.Parallel()
	c := newCluster(t, opsOnly, calm...)
	c.Create(foreignText)
	leader, _ := c.nodes()
	merged, _ := c.settled("merged", with(trial.NodeRole("workers"), ops)...)
	ctx, cancel := context.WithTimeout(t.Context(), trial.Patience)
	defer cancel()
	if _, err := c.seen.UpTo(ctx, merged); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name   string
		skip   int
		config string
		want   []fleet.Mapping
	}{
		{"aws-auth", 0, opsAndAna, with(trial.NodeRole("workers"), ops, ana)},
		{fleet.LedgerName, 0, opsEdits, with(trial.NodeRole("workers"), editing)},                              // ahead
		{fleet.LedgerName, 1, opsAndAna, with(trial.NodeRole("workers"), ops, ana)},                            // as it settled
		{"aws-auth", 0, withAccount, with(trial.NodeRole("workers"), ops, fleet.Mapping{ARN: "555566667777"})}, // which has no mark
		{"aws-auth", 0, opsOnly, with(trial.NodeRole("workers"), ops)},
	} {
		before := len(c.seen.Versions())
		lost := c.proxy.Add(faultproxy.Match{Client: leader.Name, Verb: "update", Name: test.name, Skip: test.skip, Times: 1}, faultproxy.LoseAnswer())
		c.Mount(test.config)
		c.hit(lost, 1)
		awsAuth, _ := c.settled("the answer of "+test.name+" is lost", test.want...)
		ctx, cancel := context.WithTimeout(t.Context(), trial.Patience)
		defer cancel()
		versions, err := c.seen.UpTo(ctx, awsAuth)
		if err != nil {
			t.Fatal(err)
		}
		if n := len(versions) - before; n != 1 {
			t.Errorf("%s: aws-auth was written %d times, want once", test.name, n)
		}
		lost.Remove()
	}

	// A renewal whose answer is lost has been made all the same.
	transitions := func() int32 {
		var n int32
		c.lease(func(lease *coordinationv1.Lease) { n = *lease.Spec.LeaseTransitions })
		return n
	}
	begin := transitions()
	lost := c.proxy.Add(faultproxy.Match{Client: leader.Name, Verb: "update", Name: fleet.LeaseName, Times: 3}, faultproxy.LoseAnswer())
	c.hit(lost, 3)
	c.Mount(opsAndAna)
	c.settled("renewals' answers are lost", with(trial.NodeRole("workers"), ops, ana)...)
	c.leads(leader)
	if end := transitions(); end != begin {
		t.Errorf("the Lease changed hands %d times", end-begin)
	}
	c.alive()
	c.judge(foreignText, "workers")
}

// The answer to the write that makes aws-auth is lost, and that to the ledger's.
func TestAnswerToCreateLost(t *testing.T) {
	t.Parallel()
	c := newCluster(t, withAccount, calm...)
	var lost []*faultproxy.Rule
	for _, name := range []string{"aws-auth", fleet.LedgerName} {
		lost = append(lost, c.proxy.Add(faultproxy.Match{Verb: "create", Resource: "configmaps", Name: name, Times: 1}, faultproxy.LoseAnswer()))
	}
	leader := c.NewNode("node-a", "workers")
	c.StartAgent(leader)
	c.settled("made", trial.NodeRole("workers"), ops, fleet.Mapping{ARN: "555566667777"})
	for _, r := range lost {
		c.hit(r, 1)
	}
	created := 0
	for _, r := range c.proxy.Records() {
		if r.Verb == "create" && r.Name == "aws-auth" && r.Upstream == http.StatusCreated {
			created++
		}
	}
	if created != 1 {
		t.Errorf("aws-auth was made %d times", created)
	}
	c.Mount(opsOnly)
	c.settled("and all of it is ours", trial.NodeRole("workers"), ops)
	if text := c.Now().Data["mapAccounts"]; strings.Contains(text, "5555") {
		t.Errorf("mapAccounts: %s", text)
	}
	c.judge(nil, "workers")
}
