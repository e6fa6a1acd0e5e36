package faults_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rolecall/rolecall/test/awsfake"
	"github.com/rolecall/rolecall/test/fleet"
	"github.com/rolecall/rolecall/test/stage"
)

// A site is a fleet whose sources are broken: IAM, IMDS, the mount, and what
// others write. Its API server is well.
type site struct {
	*fleet.Fleet
	t testing.TB
}

// sitePatience is the deadline of what has none of its own.
const sitePatience = time.Minute

// shortLease are flags with which a leader is soon found.
var shortLease = []string{"--lease-duration=4s", "--renew-deadline=3s", "--retry-period=300ms"}

func newSite(t testing.TB, config string, flags ...string) *site {
	t.Helper()
	cp := stage.ForTest(t)
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), sitePatience)
	defer cancel()
	f, err := fleet.New(ctx, fleet.Options{
		ControlPlane: cp, Binary: path, Dir: t.TempDir(), Namespace: cp.Namespace(t),
		Config: map[string]string{"config.yaml": config}, Flags: slices.Concat(shortLease, flags),
		AWS: awsfake.AWSOptions{PageSize: 2}, // so that every answer worth a test has several pages
	})
	if err != nil {
		t.Fatal(err)
	}
	s := &site{f, t}
	t.Cleanup(s.end)
	return s
}

func (s *site) end() {
	if err := s.Close(); err != nil {
		s.t.Error(err)
	}
	for _, n := range s.Nodes() {
		for _, never := range []string{"DATA RACE", "panic: ", "is forbidden"} {
			if found, err := n.Logged(never); err != nil || len(found) > 0 {
				s.t.Errorf("the log of %s holds %q: %v (%v)", n.Name, never, found, err)
			}
		}
		if s.t.Failed() {
			s.t.Logf("the end of the log of %s:\n%s", n.Name, n.Tail(25))
		}
	}
}

// add adds a node, whose agent is not started.
func (s *site) add(name, role string) *fleet.Node {
	s.t.Helper()
	n, err := s.Add(s.t.Context(), name, role)
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}

// start adds a node and starts its agent.
func (s *site) start(name, role string) *fleet.Node {
	s.t.Helper()
	n := s.add(name, role)
	if err := n.Start(); err != nil {
		s.t.Fatal(err)
	}
	return n
}

func (s *site) eventually(what string, check func(context.Context) error) {
	s.t.Helper()
	s.within(sitePatience, what, check)
}

func (s *site) within(deadline time.Duration, what string, check func(context.Context) error) {
	s.t.Helper()
	ctx, cancel := context.WithTimeoutCause(s.t.Context(), deadline, errors.New("not so"))
	defer cancel()
	took, err := fleet.Until(ctx, check)
	if err != nil {
		s.t.Fatalf("%s: %v", what, err)
	}
	s.t.Logf("%s: %s", what, took.Round(time.Millisecond))
}

// maps waits until aws-auth maps exactly these.
func (s *site) maps(what string, want ...fleet.Mapping) {
	s.t.Helper()
	s.eventually(what, func(ctx context.Context) error {
		cm, err := s.AWSAuth(ctx)
		if err != nil {
			return err
		}
		return unlike(cm, want)
	})
}

// stillMaps fails unless aws-auth maps exactly these now.
func (s *site) stillMaps(want ...fleet.Mapping) {
	s.t.Helper()
	cm, err := s.AWSAuth(s.t.Context())
	if err == nil {
		err = unlike(cm, want)
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

func unlike(cm *corev1.ConfigMap, want []fleet.Mapping) error {
	got, err := fleet.Mappings(cm)
	if err != nil {
		return err
	}
	want = slices.Clone(want)
	slices.SortStableFunc(want, func(a, b fleet.Mapping) int { return strings.Compare(a.ARN, b.ARN) })
	if diff := cmp.Diff(want, got); diff != "" {
		return fmt.Errorf("aws-auth (-want +got)\n%s", diff)
	}
	return nil
}

// measures waits until a metric of an agent has a value.
func (s *site) measures(n *fleet.Node, want float64, name string, labels ...string) {
	s.t.Helper()
	s.eventually(fmt.Sprintf("%s %s%s %v", n.Name, name, labels, want), func(ctx context.Context) error {
		metrics, err := n.Metrics(ctx)
		if err != nil {
			return err
		}
		if got, ok := metrics.Value(name, labels...); !ok || got != want {
			return fmt.Errorf("%s%s is %v (there: %t), want %v", name, labels, got, ok, want)
		}
		return nil
	})
}

// says waits until an agent's /readyz?verbose holds all of the texts.
func (s *site) says(n *fleet.Node, texts ...string) string {
	s.t.Helper()
	var body string
	s.eventually(fmt.Sprintf("/readyz of %s holds %q", n.Name, texts), func(ctx context.Context) (err error) {
		if _, body, err = n.Get(ctx, "/readyz?verbose"); err != nil {
			return err
		}
		for _, text := range texts {
			if !strings.Contains(body, text) {
				return fmt.Errorf("it lacks %q:\n%s", text, body)
			}
		}
		return nil
	})
	return body
}

// mount brings a config to all nodes.
func (s *site) mount(config string) {
	s.t.Helper()
	if err := s.Swap(map[string]string{"config.yaml": config}); err != nil {
		s.t.Fatal(err)
	}
}

// createAWSAuth makes the aws-auth that is there before rolecall.
func (s *site) createAWSAuth(data map[string]string) {
	s.t.Helper()
	cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "aws-auth"}, Data: data}
	if _, err := s.Client.CoreV1().ConfigMaps(s.AWSAuthNamespace).Create(s.t.Context(), cm, metav1.CreateOptions{}); err != nil {
		s.t.Fatal(err)
	}
}

// inAccount is an ARN of the account that all fleets have.
const inAccount = "arn:aws:iam::111122223333:"

// mine is an entry of rolecall's.
func mine(arn, username string, groups ...string) fleet.Mapping {
	return fleet.Mapping{ARN: inAccount + arn, Username: username, Groups: groups, SyncedBy: "rolecall"}
}

// nodeRole is the entry of a node's role.
func nodeRole(role string) fleet.Mapping {
	return mine("role/"+role, "system:node:{{EC2PrivateDNSName}}", "system:bootstrappers", "system:nodes")
}
