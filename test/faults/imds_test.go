package faults_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/rolecall/rolecall/test/awsfake"
	"github.com/rolecall/rolecall/test/fleet"
	"github.com/rolecall/rolecall/test/trial"
)

const onlyNodes = "apiVersion: rolecall.dev/v1\nkind: Config\n"

// agentFails checks how many IAM sources of each kind fail.
func agentFails(n *fleet.Node, want float64) func(context.Context) error {
	return func(ctx context.Context) error {
		metrics, err := n.Metrics(ctx)
		if err != nil {
			return err
		}
		for _, kind := range []string{"permission-set", "group"} {
			if got, ok := metrics.Value("rolecall_sources_failed", "source", kind); !ok || got != want {
				return fmt.Errorf("%v sources of the kind %s fail (known: %t), want %v", got, kind, ok, want)
			}
		}
		return nil
	}
}

// Whatever a node's IMDS says or does not say, its agent runs, nothing is
// reported that is not known, nobody else is disturbed, and all comes right when
// IMDS does. Package imds has the kinds of failure one by one.
func TestIMDSFaults(t *testing.T) {
	t.Parallel()
	s := newSite(t, onlyNodes)
	s.StartNode("healthy", "workers")
	s.Maps("the healthy one", trial.NodeRole("workers"))

	const document = awsfake.IMDSDocumentPath
	faults := []struct {
		name, why string
		begin     func(*awsfake.IMDS)
	}{
		{"unauthorized", "401", func(m *awsfake.IMDS) { m.Set(awsfake.IMDSUnauthorized) }},
		{"disabled", "403", func(m *awsfake.IMDS) { m.Set(awsfake.IMDSDisabled) }},
		{"no-profile", "404", func(m *awsfake.IMDS) { m.Set(awsfake.IMDSNoRole) }},
		{"unavailable", "503", func(m *awsfake.IMDS) { m.Set(awsfake.IMDSUnavailable) }},
		{"two-roles", "not the name of one IAM role", func(m *awsfake.IMDS) { m.SetBody(awsfake.IMDSCredentialsPath, "two\nroles") }},
		{"page", "not the name of one IAM role", func(m *awsfake.IMDS) { m.SetBody(awsfake.IMDSCredentialsPath, "<html>\x1b[2J</html>") }},
		{"long", "not the name of one IAM role", func(m *awsfake.IMDS) {
			m.SetBody(awsfake.IMDSCredentialsPath, strings.Repeat("r", 60_000))
		}},
		{"no-json", "IMDS", func(m *awsfake.IMDS) { m.SetBody(document, "\x00\xff") }},
		{"too-large", "over 65536 bytes", func(m *awsfake.IMDS) { m.SetBody(document, strings.Repeat("x", 1<<20)) }},
		{"no-account", "not an AWS account id", func(m *awsfake.IMDS) {
			m.SetBody(document, `{"accountId":"1111\n22223333","region":"eu-west-3"}`)
		}},
		{"no-region", "not the name of an AWS region", func(m *awsfake.IMDS) {
			m.SetBody(document, `{"accountId":"111122223333","region":"mars-west-1"}`)
		}},
	}
	var all []fleet.Mapping
	for _, f := range faults {
		n := s.NewNode(f.name, f.name)
		f.begin(n.IMDS)
		if err := n.Start(); err != nil {
			t.Fatal(err)
		}
		all = append(all, trial.NodeRole(f.name))
	}
	for i, n := range s.Nodes()[1:] {
		body := s.Says(n, "[!]node-role: ", faults[i].why)
		prints(t, "/readyz of "+n.Name, body)
		if len(body) > 8192 {
			t.Errorf("/readyz of %s has %d bytes", n.Name, len(body))
		}
		if status, _, err := n.Get(t.Context(), "/healthz"); err != nil || status != http.StatusOK {
			t.Errorf("/healthz of %s: %d (%v)", n.Name, status, err)
		}
	}
	s.StillMaps(trial.NodeRole("workers"))

	for _, n := range s.Nodes()[1:] {
		n.IMDS.Set(awsfake.IMDSHealthy)
		n.IMDS.SetBody(document, `{"accountId":"111122223333","region":"eu-west-3"}`)
		n.IMDS.SetBody(awsfake.IMDSCredentialsPath, n.Name)
	}
	s.Maps("all, when IMDS is well", append(all, trial.NodeRole("workers"))...)
}

// An instance without a profile at first, or with an IMDS that takes its time.
func TestIMDSLate(t *testing.T) {
	long(t)
	t.Parallel()
	s := newSite(t, onlyNodes)
	late := s.StartNode("late", "")
	slow := s.NewNode("slow", "slow")
	slow.IMDS.SetDelay(1500 * time.Millisecond) // of the 2 s that a try has
	hung := s.NewNode("hung", "hung")
	hung.IMDS.Set(awsfake.IMDSHang)
	for _, n := range []*fleet.Node{slow, hung} {
		if err := n.Start(); err != nil {
			t.Fatal(err)
		}
	}
	s.Maps("the slow one", trial.NodeRole("slow"))
	s.Says(late, "[!]node-role: the instance has no IAM role")
	s.Says(hung, "[!]node-role: the instance metadata service (IMDS) does not answer")
	late.IMDS.SetRole("late")
	hung.IMDS.Set(awsfake.IMDSHealthy)
	s.Maps("all", trial.NodeRole("slow"), trial.NodeRole("late"), trial.NodeRole("hung"))
}

// The instance profile of a running node is exchanged. Its new role is mapped
// within about a minute, and the old one stays, since another node has it.
func TestProfileExchanged(t *testing.T) {
	long(t)
	t.Parallel()
	s := newSite(t, onlyNodes)
	s.StartNode("node-a", "old")
	n := s.StartNode("node-b", "old")
	s.Maps("merged", trial.NodeRole("old"))
	s.Says(n, "role/old")
	n.IMDS.SetRole("new")
	s.Within(3*time.Minute, "the new role", func(ctx context.Context) error {
		cm, err := s.AWSAuth(ctx)
		if err != nil {
			return err
		}
		return trial.Differs(cm, []fleet.Mapping{trial.NodeRole("new"), trial.NodeRole("old")})
	})
	s.Says(n, "role/new")
	// A node without a profile for a moment keeps what is mapped.
	n.IMDS.SetRole("")
	s.Within(3*time.Minute, "the profile is missed", func(ctx context.Context) error {
		if _, body, err := n.Get(ctx, "/readyz?verbose"); err != nil {
			return err
		} else if !strings.Contains(body, "role/new") {
			return errors.New(body)
		}
		found, err := n.Logged("the node's role is unknown")
		if err == nil && len(found) == 0 {
			err = errors.New("it is not said")
		}
		return err
	})
	s.StillMaps(trial.NodeRole("new"), trial.NodeRole("old"))
}
