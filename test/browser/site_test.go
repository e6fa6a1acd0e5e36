package browser

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/rolecall/rolecall/test/fleet"
	"github.com/rolecall/rolecall/test/trial"
)

func TestMain(m *testing.M) { os.Exit(trial.Main(m)) }

// config asks for something of every kind, and IAM only when it is edited.
const config = `apiVersion: rolecall.dev/v1
kind: Config
refreshInterval: 1h
nodeRoles:
  report: true
  extra: ["arn:$PARTITION:iam::$ACCOUNTID:role/gpu-nodes"]
karpenter:
  nodeRoleARNs: ["arn:$PARTITION:iam::$ACCOUNTID:role/KarpenterNodeRole-shop"]
roles:
  - permissionSet: AdministratorAccess
    username: admin:{{SessionName}}
    groups: [system:masters]
  - arn: arn:$PARTITION:iam::$ACCOUNTID:role/deployer
    username: deployer
    groups: [deployers, viewers]
iamGroups:
  - {name: Developers, groups: [developers]}
  - {name: Contractors, groups: [viewers]}
users:
  - {arn: "arn:aws:iam::111122223333:user/ops", username: ops, groups: [viewers]}
accounts: ["444455556666"]
`

// theirs is what was there before rolecall; one entry stands in the way.
const theirs = `# kept by the platform team
- rolearn: arn:aws:iam::111122223333:role/break-glass
  username: break-glass
  groups:
  - system:masters
- rolearn: arn:aws:iam::111122223333:role/deployer # since 2023
  username: deploy-bot
  groups:
  - deployers
- rolearn: arn:aws:iam::111122223333:role/ci
  username: ci
  groups:
  - deployers
  syncedBy: terraform
`

const (
	first  = "ip-10-0-12-71.eu-west-3.compute.internal"
	second = "ip-10-0-33-140.eu-west-3.compute.internal"
	third  = "ip-10-0-34-9.eu-west-3.compute.internal"
)

// A site is a cluster whose agents serve the page.
type site struct {
	*trial.Cluster
	leader, standby *fleet.Node
}

// newSite is a cluster with a leader and two standbys, where nothing is wrong
// that others is not the cause of.
func newSite(t *testing.T, o fleet.Options, config, others string) *site {
	t.Helper()
	o.Flags = []string{"--retry-period=500ms", "--renew-deadline=8s"}
	c := trial.New(t, config, trial.Options{Options: o})
	c.AWS.AddPermissionSet("AdministratorAccess", "5c8e1d20a7b94f36", "", time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC))
	c.AWS.SetMembers("Developers", members...)
	c.Create(map[string]string{"mapRoles": others})
	s := &site{c, c.NewNode(first, "shop-workers"), c.NewNode(second, "shop-ingress")}
	last := c.NewNode(third, "shop-ingress")
	port := freePort(t)
	c.StartAgent(s.leader, "--status-page=127.0.0.1:"+port)
	if got := c.OneLeads(); got != s.leader {
		t.Fatalf("%s leads", got.Name)
	}
	c.StartAgent(s.standby, "--status-page=127.0.0.2:"+port) // another node's loopback
	c.StartAgent(last)
	return s
}

// freePort is one that nobody has on two of the loopback addresses: the one that
// the docs name, if it is free.
func freePort(t *testing.T) string {
	t.Helper()
	for i := range 20 {
		one, err := net.Listen("tcp", "127.0.0.1:"+map[bool]string{true: "9466", false: "0"}[i == 0])
		if err != nil {
			continue
		}
		_, port, _ := net.SplitHostPort(one.Addr().String())
		two, err := net.Listen("tcp", "127.0.0.2:"+port)
		one.Close()
		if err == nil {
			two.Close()
			return port
		}
	}
	t.Fatal("no port is free on both")
	return ""
}

var members = []string{"ana", "ben", "cleo", "dora", "eve", "finn", "gus", "hana"}

// origin is where the page of a node's agent is.
func (s *site) origin(n *fleet.Node) string {
	s.T.Helper()
	ctx, cancel := context.WithTimeout(s.T.Context(), trial.Patience)
	defer cancel()
	address, err := n.PageAddress(ctx)
	if err != nil {
		s.T.Fatal(err)
	}
	return "http://" + address
}

// says waits until the page of a node's agent has all of the texts.
func (s *site) says(n *fleet.Node, texts ...string) {
	s.T.Helper()
	url := s.origin(n)
	s.Eventually(fmt.Sprintf("the page of %s says %q", n.Name, texts), func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/", nil)
		if err != nil {
			return err
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		for _, text := range texts {
			if err == nil && !strings.Contains(string(body), text) {
				err = errors.New("it lacks " + text)
			}
		}
		return err
	})
}

// reask edits the config in a way that changes nothing, so that IAM is asked.
func (s *site) reask(config string) {
	s.T.Helper()
	s.Mount(fmt.Sprintf("%s# %d\n", config, time.Now().UnixNano()))
}
