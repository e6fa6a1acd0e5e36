package main

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/rolecall/rolecall/test/fleet"
	"github.com/rolecall/rolecall/test/stage"
)

// A story is the demo as it goes along.
type story struct {
	*screen
	dir    string
	binary string
	stage  *stage.ControlPlane
	fleet  *fleet.Fleet
	begun  time.Time // when the agents were started
	checks int       // that held
}

// A chapter does something and checks what comes of it. What it returns is told
// in one line.
type chapter struct {
	title string
	do    func(context.Context) (found string, err error)
}

func (s *story) chapters() []chapter {
	return []chapter{
		{"A control plane starts: etcd and kube-apiserver", s.controlPlane},
		{"manifests/install.yaml is applied; IAM has permission sets, users and a group", s.install},
		{"aws-auth is there already: other people wrote it, with comments", s.foreign},
		{"Three agents start, on three nodes of two roles, and answer the roll call", s.rollCall},
		{"They elect a leader", s.election},
		{"The leader merges what is missing into aws-auth, and touches nothing else", s.merge},
		{"rolecall plan: is there anything left to do?", s.plan},
		{"Nothing changes, so nothing is written", s.steady},
		{"Somebody edits the ConfigMap, and the kubelet swaps the mount", s.edit},
		{"A user leaves an IAM group", s.leave},
		{"Another tool overwrites aws-auth with what it knows", s.wipe},
		{"The leader is killed with -9; before another leads, a node's role gets lost", s.crash},
		{"Somebody breaks the config: an instance profile in place of a role", s.breakConfig},
		{"The config is mended, and the leader asked to end, as in a rollout", s.rollout},
	}
}

// patience is how long a chapter may take. None needs a third of it on a
// machine that does nothing else.
const patience = 45 * time.Second

// tell tells all chapters, up to the first whose check does not hold: the later
// ones build on the earlier ones.
func (s *story) tell(ctx context.Context) error {
	for i, c := range s.chapters() {
		s.title(i+1, c.title)
		if err := s.chapter(ctx, c); err != nil {
			return err
		}
		s.checks++
	}
	return nil
}

func (s *story) chapter(ctx context.Context, c chapter) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("not so within %s", patience))
	defer cancel()
	begin := time.Now()
	found, err := c.do(ctx)
	if err == nil {
		s.held(found, time.Since(begin))
	}
	return err
}

// awsAuthBecomes waits until the entries of ours in aws-auth are these, shows
// what changed since before, and checks that nobody else's were touched.
func (s *story) awsAuthBecomes(ctx context.Context, before *corev1.ConfigMap, ours ...fleet.Mapping) error {
	var after *corev1.ConfigMap
	_, err := fleet.Until(ctx, func(ctx context.Context) (err error) {
		if after, err = s.fleet.AWSAuth(ctx); err != nil {
			return err
		}
		return compare(after, ours)
	})
	if err != nil {
		return err
	}
	s.diff(before.Data, after.Data)
	return foreignKept(after)
}

// resourceVersions are those of aws-auth and of the ledger, once what was
// written last is noted there.
func (s *story) resourceVersions(ctx context.Context) (versions [2]string, err error) {
	awsAuth, ledger, err := s.fleet.Settled(ctx)
	if err != nil {
		return versions, err
	}
	return [2]string{awsAuth.ResourceVersion, ledger.ResourceVersion}, nil
}
