package main

import (
	"context"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	coordinationv1client "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/client-go/rest"

	"github.com/rolecall/rolecall/agent"
	"github.com/rolecall/rolecall/awsauth"
	rolecallconfig "github.com/rolecall/rolecall/config"
	"github.com/rolecall/rolecall/election"
	"github.com/rolecall/rolecall/internal/register"
	"github.com/rolecall/rolecall/internal/register/configmap"
	events "github.com/rolecall/rolecall/internal/report"
	"github.com/rolecall/rolecall/internal/roster"
	"github.com/rolecall/rolecall/internal/source"
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
	account := source.Account{ID: "111122223333", Partition: "aws"}
	file := &rolecallconfig.File{Hash: "bench", Config: rolecallconfig.Config{
		RefreshInterval: time.Minute,
		NodeRoles:       rolecallconfig.NodeRoles{Report: true},
		Safety:          rolecallconfig.Safety{RemovalLimit: rolecallconfig.RemovalLimit{Percent: 50}, OnMalformed: rolecallconfig.Restore},
	}}
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
			Identify: func(context.Context) (source.Node, error) {
				return source.Node{RoleARN: "arn:aws:iam::111122223333:role/" + roleName(i), Account: account}, nil
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
				Register: func(wrote func(object string, err error)) register.Register {
					return configmap.New(configmap.Options{
						Client: all, Namespace: c.Namespace, AWSAuthNamespace: c.AWSAuthNamespace, NodeName: nodeName(i), Wrote: wrote, Logger: silent,
					})
				},
				Env: source.Env{Self: reporter.Self}, Roster: nodes, WatchRoster: nodes.Watch, // this config asks IAM nothing
				Events: func(ctx context.Context) (*events.Events, func()) {
					return events.StartEvents(ctx, all.CoreV1().Events(c.AWSAuthNamespace), nodeName(i), &corev1.ConfigMap{
						TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"},
						ObjectMeta: metav1.ObjectMeta{Namespace: c.AWSAuthNamespace, Name: awsauth.Name},
					})
				},
				Identity: identity, Version: "bench", Logger: silent,
			})
			leader.Apply(file)
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
