package soak_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/test/awsfake"
	"github.com/rolecall/rolecall/test/faultproxy"
	"github.com/rolecall/rolecall/test/fleet"
	"github.com/rolecall/rolecall/test/trial"
	"github.com/rolecall/rolecall/test/writers"
)

// A fault goes wrong and ends; then the cluster has to settle.
type fault struct {
	name   string
	do     func(context.Context, *cluster) error
	errors []string // texts of what may be logged as an error meanwhile
}

// What an agent may log as an error while the API server does not do as it is
// asked.
var failing = []string{"reconcile failed, trying again", `"logger":"client-go"`, "leaderelection", "watch"}

// What it may log when it is told to end: client-go takes a request that is cut
// off by that for an error.
var ending = []string{`"err":"context canceled"`}

var faults = []fault{
	{"kill an agent", func(ctx context.Context, c *cluster) error {
		n, err := c.victim(ctx)
		if err != nil {
			return err
		}
		n.Kill()
		wait(ctx, time.Duration(c.random.IntN(2000))*time.Millisecond)
		return n.Start()
	}, nil},
	{"end an agent", func(ctx context.Context, c *cluster) error {
		n, err := c.victim(ctx)
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		if err := n.Terminate(ctx); err != nil {
			return err
		}
		return n.Start()
	}, ending},
	{"freeze the leader until another leads", func(ctx context.Context, c *cluster) error {
		n, err := c.leader(ctx)
		if err != nil {
			return err
		}
		if err := n.Pause(); err != nil {
			return err
		}
		wait(ctx, lease+time.Duration(c.random.IntN(3000))*time.Millisecond)
		return n.Resume()
	}, failing},
	{"freeze the leader for a moment", func(ctx context.Context, c *cluster) error {
		n, err := c.leader(ctx)
		if err != nil {
			return err
		}
		if err := n.Pause(); err != nil {
			return err
		}
		wait(ctx, time.Duration(c.random.IntN(1500))*time.Millisecond)
		return n.Resume()
	}, failing},
	{"take the Lease away", func(ctx context.Context, c *cluster) error {
		return c.Client.CoordinationV1().Leases(c.Namespace).Delete(ctx, fleet.LeaseName, metav1.DeleteOptions{})
	}, failing},
	{"hang the API server", func(ctx context.Context, c *cluster) error {
		if err := c.stage.Pause(); err != nil {
			return err
		}
		wait(ctx, time.Duration(1000+c.random.IntN(6000))*time.Millisecond)
		return c.stage.Resume()
	}, failing},
	{"restart the API server", func(ctx context.Context, c *cluster) error {
		return c.stage.RestartAPIServer(ctx)
	}, append([]string{"forbidden", "the server could not find the requested resource"}, failing...)},
	{"refuse writes to aws-auth", func(ctx context.Context, c *cluster) error {
		resource := schema.GroupResource{Resource: "configmaps"}
		answers := []*apierrors.StatusError{
			apierrors.NewInternalError(errors.New("a fault of the soak")),
			apierrors.NewTooManyRequests("a fault of the soak", 1),
			apierrors.NewForbidden(resource, awsauth.Name, errors.New("a fault of the soak")),
			apierrors.NewConflict(resource, awsauth.Name, errors.New("a fault of the soak")),
			apierrors.NewServiceUnavailable("a fault of the soak"),
		}
		return c.through(ctx, faultproxy.Answer(answers[c.random.IntN(len(answers))]))
	}, failing},
	{"lose the answer to a write", func(ctx context.Context, c *cluster) error {
		return c.through(ctx, faultproxy.LoseAnswer())
	}, failing},
	{"cut writes off", func(ctx context.Context, c *cluster) error {
		return c.through(ctx, faultproxy.Cut())
	}, failing},
	{"be slow", func(ctx context.Context, c *cluster) error {
		rule := c.proxy.Add(faultproxy.Match{}, faultproxy.Delay(300*time.Millisecond))
		defer rule.Remove()
		wait(ctx, 4*time.Second)
		return nil
	}, failing},
	{"let IAM fail", func(ctx context.Context, c *cluster) error {
		kinds := []awsfake.Fault{awsfake.Deny(), awsfake.Throttle(0), awsfake.Truncate(), awsfake.Cut(), awsfake.Down(), awsfake.Slow(time.Second)}
		f := kinds[c.random.IntN(len(kinds))]
		for _, operation := range []string{"ListRoles", "GetGroup"} {
			c.AWS.Fail(operation, f)
		}
		defer c.AWS.Heal()
		c.config++
		if err := c.swap(text(c.config)); err != nil {
			return err
		}
		if f.Kind == awsfake.FaultSlow {
			wait(ctx, 3*time.Second)
			return nil
		}
		return c.metric(ctx, 1, "rolecall_sources_failed")
	}, nil},
	{"take IMDS away while an agent starts", func(ctx context.Context, c *cluster) error {
		n := c.mortal[c.random.IntN(len(c.mortal))]
		kinds := []awsfake.IMDSFault{awsfake.IMDSUnauthorized, awsfake.IMDSDisabled, awsfake.IMDSNoRole, awsfake.IMDSUnavailable, awsfake.IMDSHang}
		n.IMDS.Set(kinds[c.random.IntN(len(kinds))])
		defer n.IMDS.Set(awsfake.IMDSHealthy)
		n.Kill()
		if err := n.Start(); err != nil {
			return err
		}
		wait(ctx, 2*time.Second)
		return nil
	}, nil},
	{"edit the config", func(_ context.Context, c *cluster) error {
		c.config++
		return c.swap(text(c.config))
	}, nil},
	{"edit the config ten times", func(ctx context.Context, c *cluster) error {
		for range 10 {
			c.config++
			if err := c.swap(text(c.config)); err != nil {
				return err
			}
			wait(ctx, time.Duration(c.random.IntN(100))*time.Millisecond)
		}
		return nil
	}, nil},
	{"break the config", func(ctx context.Context, c *cluster) error {
		if err := c.swap(text(c.config) + "unknown: 1\n"); err != nil {
			return err
		}
		if err := c.refusesConfig(ctx); err != nil {
			return err
		}
		return c.swap(text(c.config))
	}, []string{"config"}},
	{"delete aws-auth", func(ctx context.Context, c *cluster) error {
		if err := c.put(ctx, nil); err != nil {
			return err
		}
		return c.mend(ctx)
	}, []string{"deleted", "restored"}},
	{"empty aws-auth", func(ctx context.Context, c *cluster) error {
		return c.put(ctx, foreign())
	}, nil},
	{"make aws-auth malformed", func(ctx context.Context, c *cluster) error {
		data := foreign()
		data["mapRoles"] += "- rolearn: arn:aws:iam::111122223333:role/new\n  username: {{SessionName}}\n"
		if err := c.put(ctx, data); err != nil {
			return err
		}
		return c.mend(ctx)
	}, []string{"malformed", "could not be read"}},
	{"take the ledger away", func(ctx context.Context, c *cluster) error {
		err := c.Client.CoreV1().ConfigMaps(c.Namespace).Delete(ctx, fleet.LedgerName, metav1.DeleteOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			return err
		}
		// Somebody writes, so that it is missed.
		return c.put(ctx, foreign())
	}, failing},
	{"write with eight tools", tools, nil},
}

// through has a few of the next writes to aws-auth go wrong, and sees to it that
// there are some.
func (c *cluster) through(ctx context.Context, action faultproxy.Action) error {
	rule := c.proxy.Add(faultproxy.Match{Verb: "update", Name: awsauth.Name, Times: 1 + c.random.IntN(4)}, action)
	defer rule.Remove()
	c.config++
	if err := c.swap(text(c.config)); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, patience, errors.New("nobody writes aws-auth"))
	defer cancel()
	_, err := fleet.Until(ctx, func(context.Context) error {
		if rule.Hits() == 0 {
			return errors.New("no write was hit")
		}
		return nil
	})
	wait(ctx, 2*time.Second)
	return err
}

// mend puts back what others had, as a person does some seconds later, unless
// rolecall has by then.
func (c *cluster) mend(ctx context.Context) error {
	short, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if c.settled(short) == nil {
		return nil
	}
	return c.put(ctx, foreign())
}

// tools has those of package writers edit aws-auth, and holds what came of it
// against the model.
func tools(ctx context.Context, c *cluster) error {
	record, err := writers.Follow(ctx, c.Client, c.AWSAuthNamespace, awsauth.Name)
	if err != nil {
		return err
	}
	defer record.Stop()
	rules := writers.Rules{Asked: map[string][]writers.Grant{turn(c.config): {turnGrant}}, Final: c.wanted()}
	options := writers.Options{
		Client: c.Client, Namespace: c.AWSAuthNamespace, Record: record, Seed: c.random.Uint64(),
	}
	for arn, grant := range c.constant() {
		rules.Asked[arn] = []writers.Grant{grant}
		rules.Always = append(rules.Always, arn)
		options.Targets = append(options.Targets, writers.TargetOf(arn, grant))
	}
	for arn := range c.nodeRoles() {
		rules.Nodes = append(rules.Nodes, arn)
	}
	slices.SortFunc(options.Targets, func(a, b writers.Target) int { return cmp.Compare(a.ARN, b.ARN) })
	left := atomic.Int64{}
	left.Store(60)
	options.Pace = func() error {
		wait(ctx, 30*time.Millisecond)
		if left.Add(-1) < 0 {
			return errors.New("that was enough")
		}
		return nil
	}
	if err := writers.Run(ctx, options, &writers.Counts{}); err != nil {
		return err
	}
	last, err := c.answered(ctx)
	if err != nil {
		return err
	}
	if err := record.Reaches(ctx, last.ResourceVersion); err != nil {
		return err
	}
	versions, err := record.Versions()
	if err != nil {
		return err
	}
	report, err := writers.Check(versions, rules)
	if err != nil {
		return err
	}
	for _, v := range report.Violations {
		c.t.Errorf(trial.NoRerun+"%s", v)
	}
	c.t.Logf("%s", report)
	return c.put(ctx, foreign()) // what is left of the tools' entries would pile up
}

// refusesConfig waits until all agents have.
func (c *cluster) refusesConfig(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, errors.New("not so"))
	defer cancel()
	_, err := fleet.Until(ctx, func(ctx context.Context) error {
		for _, n := range c.Nodes() {
			_, body, err := n.Get(ctx, "/readyz?verbose")
			if err == nil && !strings.Contains(body, "[!]config: refused since ") {
				err = errors.New(body)
			}
			if err != nil {
				return fmt.Errorf("%s: %w", n.Name, err)
			}
		}
		return nil
	})
	return err
}

// answered waits until aws-auth maps what is asked for, by entries of ours or
// by others' in their place, and nothing else of ours.
func (c *cluster) answered(ctx context.Context) (cm *corev1.ConfigMap, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, errors.New("it does not settle"))
	defer cancel()
	want := c.wanted()
	_, err = fleet.Until(ctx, func(ctx context.Context) error {
		if cm, err = c.AWSAuth(ctx); err != nil {
			return err
		}
		found, err := fleet.Mappings(cm)
		if err != nil {
			return err
		}
		there := map[string]bool{}
		for _, m := range found {
			there[m.ARN] = true
			if _, asked := want[m.ARN]; m.SyncedBy == awsauth.Mark && !asked {
				return fmt.Errorf("%s is still mapped", m.ARN)
			}
		}
		for arn := range want {
			if !there[arn] {
				return fmt.Errorf("%s is not mapped", arn)
			}
		}
		return c.Marked(ctx, found)
	})
	return cm, err
}
