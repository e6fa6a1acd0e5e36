package main

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/kubernetes"
	coordinationv1client "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/client-go/rest"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rolecall/rolecall/agent"
	"github.com/rolecall/rolecall/election"
	"github.com/rolecall/rolecall/internal/roster"
	"github.com/rolecall/rolecall/test/fleet"
)

// newAgents are n of rolecall's agents in this process: what internal/cli runs on
// a node, but for the config file, the pages for metrics and health, and IMDS,
// none of which the API server notices.
func newAgents(ctx context.Context, c *cluster, n int, slow bool) (group, error) {
	g, err := newInside(ctx, c, n, slow)
	if err != nil {
		return nil, err
	}
	silent := slog.New(slog.DiscardHandler)
	account := agent.Account{ID: "111122223333", Partition: "aws"}
	spec := &agent.Spec{Hash: "bench", Refresh: time.Minute, Nodes: agent.Nodes{Report: true}, RemovalLimit: 50, Restore: true}
	g.serve = func(_ context.Context, i int, config *rest.Config, w *wire) (func(context.Context) error, error) {
		identity := election.Identity(nodeName(i))
		http, err := rest.HTTPClientFor(w.config(config))
		if err != nil {
			return nil, err
		}
		leases, err := coordinationv1client.NewForConfigAndClient(w.config(config), http)
		if err != nil {
			return nil, err
		}
		nodes := roster.New(leases.Leases(c.Namespace))
		reporter := &agent.Reporter{
			Identify: func(context.Context) (agent.Node, error) {
				return agent.Node{RoleARN: "arn:aws:iam::111122223333:role/" + roleName(i), Account: account}, nil
			},
			Report: nodes.Report, NodeName: nodeName(i), Logger: silent,
		}
		// Renewals have a connection of their own, as in internal/cli.
		renewals, err := rest.HTTPClientFor(w.config(config))
		if err != nil {
			return nil, err
		}
		own, err := coordinationv1client.NewForConfigAndClient(w.config(config), renewals)
		if err != nil {
			return nil, err
		}
		client := func() (kubernetes.Interface, error) { return kubernetes.NewForConfigAndClient(w.config(config), http) }
		elector, err := election.New(election.Config{
			Client: own, Reader: leases, Namespace: c.Namespace, Name: fleet.LeaseName, Identity: identity, Logger: silent,
			CountAgents: func(ctx context.Context) (int, error) {
				all, err := client()
				if err != nil {
					return 0, err
				}
				set, err := all.AppsV1().DaemonSets(c.Namespace).Get(ctx, "rolecall", metav1.GetOptions{})
				if err != nil {
					return 0, err
				}
				return int(set.Status.DesiredNumberScheduled), nil
			},
		})
		if err != nil {
			return nil, err
		}
		lead := func(ctx context.Context) error {
			all, err := client()
			if err != nil {
				return err
			}
			leader := agent.NewLeader(agent.Options{
				Client: all, Namespace: c.Namespace, AWSAuthNamespace: c.AWSAuthNamespace, Roster: nodes, Self: reporter.Self,
				Directory: func(context.Context, string, string) (agent.Directory, error) {
					return nil, errors.New("this config asks IAM nothing")
				},
				NodeName: nodeName(i), Identity: identity, Version: "bench", Logger: silent,
			})
			leader.Apply(spec)
			return leader.Lead(ctx)
		}
		return func(ctx context.Context) error {
			g, ctx := errgroup.WithContext(ctx)
			g.Go(func() error { return reporter.Run(ctx) })
			g.Go(func() error { return elector.Run(ctx, lead) })
			return g.Wait()
		}, nil
	}
	return g, nil
}
