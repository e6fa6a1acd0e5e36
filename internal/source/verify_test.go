package source

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rolecall/rolecall/config"
	"github.com/rolecall/rolecall/internal/roster"
)

// ec2 says under which roles the instances of nodes run.
type ec2 struct {
	roles  map[string][]string
	failed map[string]error
	err    error

	instances []Instance // beside them

	mu    sync.Mutex
	asked [][]string
}

func (e *ec2) Instances(_ context.Context, q InstanceQuery) ([]Instance, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.asked = append(e.asked, slices.Concat(q.DNSNames, q.IDs))
	if e.err != nil {
		return nil, e.err
	}
	var out []Instance
	for _, name := range q.DNSNames {
		if e.roles[name] != nil || e.failed[name] != nil {
			out = append(out, Instance{ID: "of " + name, DNSName: name, Roles: e.roles[name], Err: e.failed[name]})
		}
	}
	for _, i := range e.instances {
		if slices.Contains(q.VPCs, i.VPC) && (slices.Contains(q.DNSNames, i.DNSName) || slices.Contains(q.IDs, i.ID)) {
			out = append(out, i)
		}
	}
	return out, nil
}

func by(node, role string) roster.Report {
	return roster.Report{RoleARN: arn(role), Node: node, Renewed: start}
}

func verifying() *config.Config {
	c := reporting()
	c.NodeRoles.Verify = config.VerifyEC2
	return c
}

// A new role is mapped once EC2 confirms its report, and not before; one that is
// mapped already is believed whatever EC2 says or does not.
func TestVerify(t *testing.T) {
	w := newWorld()
	w.reports.Reports = []roster.Report{by("a", "true"), by("b", "false"), by("c", "nowhere"), by("d", "known"), by("e", "marked"), by("f", "path"), by("g", "deleted")}
	e := &ec2{err: errors.New("no answer")}
	w.instances = e
	c := verifying()
	w.owned("known", "node")
	w.stands("marked", "rolecall", "system:nodes")
	s := w.set()
	check := func(when string, refused map[string]string, failed bool, want ...string) {
		t.Helper()
		asked := w.ask(s, c)
		if failed {
			want = append(want, "FAILED")
		}
		wantEntries(t, when, asked, map[string][]string{"node": want})
		if (asked.Errs["node"] != nil) != failed {
			t.Errorf("%s: the source's error is %v", when, asked.Errs["node"])
		}
		if len(asked.Refused) != len(refused) {
			t.Errorf("%s: refused %v, want %v", when, asked.Refused, refused)
		}
		for role, why := range refused {
			if err := asked.Refused[roster.LeaseName(arn(role))]; err == nil || !strings.Contains(err.Error(), why) {
				t.Errorf("%s: %s is refused for %v, want %q", when, role, err, why)
			}
		}
	}
	// due reports whether the set has something to ask, and asks it.
	due := func() bool {
		t.Helper()
		select {
		case <-s.Due():
		default:
			return false
		}
		if err := s.RefreshDue(t.Context(), c); (err != nil) != (e.err != nil) {
			t.Errorf("EC2 said %v, and the refresh %v", e.err, err)
		}
		return true
	}
	ours := []string{"role/known", "role/marked"}
	check("not asked yet", nil, false, ours...)
	if err := s.Refresh(t.Context(), c); err != nil || len(e.asked) != 0 {
		t.Errorf("the refresh asked %q: %v", e.asked, err)
	}
	if !due() || due() {
		t.Error("a new report has EC2 asked once")
	}

	all := map[string]string{}
	for _, role := range []string{"true", "false", "nowhere", "path", "deleted"} {
		all[role] = "no answer"
	}
	check("EC2 does not answer", all, true, ours...)
	if due() {
		t.Error("EC2 is asked again at once")
	}

	e.err = nil
	e.roles = map[string][]string{
		"a": {arn("other"), arn("TRUE")}, "b": {arn("other")}, "d": {arn("other")},
		"f": {"arn:aws:iam::111122223333:role/of/a/path"},
	}
	e.failed = map[string]error{"g": errors.New("NoSuchEntity: instance profile")}
	w.now = w.now.Add(time.Minute)
	check("still no answer", all, true, ours...)
	if !due() {
		t.Error("EC2 is not asked again")
	}
	lies := map[string]string{"false": "runs under " + arn("other"), "nowhere": "no running instance", "deleted": "NoSuchEntity"}
	check("EC2 answers", lies, false, "role/known", "role/marked", "role/path", "role/true")
	if want := []string{"a", "b", "c", "f", "g"}; !slices.Equal(e.asked[1], want) {
		t.Errorf("asked about %q, want %q", e.asked[1], want)
	}

	// What was confirmed is not asked about again, and what another node says is.
	w.reports.Reports[0] = by("a2", "true")
	check("another node reports it", lies, false, "role/known", "role/marked", "role/path")
	if !due() || !slices.Equal(e.asked[2], []string{"a2"}) {
		t.Errorf("asked about %q, want a2", e.asked[2:])
	}
	w.now = w.now.Add(time.Minute)
	lies["true"] = "no running instance"
	check("a minute later", lies, false, "role/known", "role/marked", "role/path")
	if want := []string{"a2", "b", "c", "g"}; !due() || !slices.Equal(e.asked[3], want) {
		t.Errorf("asked about %q, want %q", e.asked[3:], want)
	}

	// A report that is gone is forgotten.
	reports := w.reports.Reports
	w.reports.Reports = nil
	w.ask(s, c)
	w.reports.Reports = reports[5:6]
	check("back again", nil, false, ours...)
	if !due() || !slices.Equal(e.asked[4], []string{"f"}) {
		t.Errorf("asked about %q, want f", e.asked[4:])
	}

	// Without the option all are believed.
	w.reports.Reports = []roster.Report{by("b", "false")}
	c = reporting()
	check("not to be verified", nil, false, "role/false", "role/known", "role/marked")
}

// A question to EC2 that was broken off is asked again.
func TestVerifyIsBrokenOff(t *testing.T) {
	w := newWorld()
	w.reports.Reports = []roster.Report{by("a", "a")}
	e := &ec2{roles: map[string][]string{"a": {arn("a")}}}
	w.instances = e
	s := w.set()
	w.ask(s, verifying())
	<-s.Due()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.RefreshDue(ctx, verifying()); !errors.Is(err, context.Canceled) {
		t.Errorf("the refresh says %v", err)
	}
	w.ask(s, verifying())
	<-s.Due()
	if err := s.RefreshDue(t.Context(), verifying()); err != nil {
		t.Error(err)
	}
	wantEntries(t, "asked again", w.ask(s, verifying()), map[string][]string{"node": {"role/a"}})
}

// What EC2 says while the sources are asked is not lost, however the two meet. With
// the race detector it also tells of maps that both use.
func TestVerifyWhileAsking(t *testing.T) {
	w := newWorld()
	e := &ec2{roles: map[string][]string{}}
	w.instances = e
	for i := range 300 {
		node := fmt.Sprint("n", i)
		w.reports.Reports = append(w.reports.Reports, by(node, node))
		e.roles[node] = []string{arn(node)}
	}
	c := verifying()
	for range 20 {
		s := w.set()
		w.ask(s, c)
		<-s.Due()
		stop, started := make(chan struct{}), make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() {
			close(started)
			for {
				select {
				case <-stop:
					return
				default:
					w.ask(s, c)
				}
			}
		})
		<-started
		err := s.RefreshDue(t.Context(), c)
		close(stop)
		wg.Wait()
		if err != nil {
			t.Fatal(err)
		}
		if got := entriesOf(w.ask(s, c))["node"]; len(got) != len(e.roles) && len(s.Due()) == 0 {
			t.Fatalf("%d of %d roles are asked for: EC2 confirmed their reports, and is not asked again", len(got), len(e.roles))
		}
	}
}

// Which instance is a node's: by its private DNS name or its id as the node's name, else
// by the providerID of its Node, and within the cluster's VPC in any case. Where it is not
// sure, nobody is believed.
func TestWhoseInstance(t *testing.T) {
	const (
		ours, theirs = "vpc-1", "vpc-2"
		dns          = "ip-10-0-0-1.eu-west-3.compute.internal"
		custom       = "worker-1.example.com"
		id, otherID  = "i-0123456789abcdef0", "i-0123456789abcdef1"
	)
	at := func(vpc, id, name, role string) Instance {
		return Instance{ID: id, DNSName: name, VPC: vpc, Roles: []string{arn(role)}}
	}
	node := func(name, providerID string) map[string]string { return map[string]string{name: providerID} }
	for _, tc := range []struct {
		name      string
		node      string
		instances []Instance
		vpcs      []string          // of the config
		nodes     map[string]string // nil: Nodes can't be read
		refused   string            // why; empty: it is mapped
		asks      int               // of EC2, until it is settled
	}{
		{"by its private DNS name", dns, []Instance{at(ours, id, dns, "r")}, nil, nil, "", 1},
		{"an instance of another VPC has the name too", dns, []Instance{at(ours, id, dns, "workers"), at(theirs, otherID, dns, "r")}, nil, nil, "runs under " + arn("workers"), 1},
		{"only an instance of another VPC has the name", dns, []Instance{at(theirs, otherID, dns, "r")}, nil, nil, "no running instance", 1},
		{"the same, with its Node", dns, []Instance{at(theirs, otherID, dns, "r")}, nil, node(dns, "aws:///eu-west-3a/"+otherID), otherID + ", and EC2 has no running instance of that id in vpc-1", 2},
		{"two VPCs of the config have the name", dns, []Instance{at(ours, id, dns, "r"), at(theirs, otherID, dns, "r")}, []string{ours, theirs}, nil, "none is believed", 1},
		{"the same, with its Node", dns, []Instance{at(ours, id, dns, "r"), at(theirs, otherID, dns, "x")}, []string{ours, theirs}, node(dns, "aws:///eu-west-3a/"+id), "", 2},
		{"the same, and the Node is of the other", dns, []Instance{at(ours, id, dns, "r"), at(theirs, otherID, dns, "x")}, []string{ours, theirs}, node(dns, "aws:///eu-west-3a/"+otherID), "runs under " + arn("x"), 2},
		{"a VPC of the config", dns, []Instance{at(theirs, id, dns, "r")}, []string{theirs}, nil, "", 1},
		{"by its id", id, []Instance{at(ours, id, dns, "r")}, nil, nil, "", 1},
		{"by its id, of another VPC", id, []Instance{at(theirs, id, dns, "r")}, nil, nil, "nodeRoles.vpcs", 1},
		{"by its id, of another role", id, []Instance{at(ours, id, dns, "workers")}, nil, nil, "runs under " + arn("workers"), 1},
		{"by its Node", custom, []Instance{at(ours, id, dns, "r")}, nil, node(custom, "aws:///eu-west-3a/"+id), "", 2},
		{"by its Node, of another VPC", custom, []Instance{at(theirs, id, dns, "r")}, nil, node(custom, "aws:///eu-west-3a/"+id), "nodeRoles.vpcs", 2},
		{"by its Node, of another role", custom, []Instance{at(ours, id, dns, "workers")}, nil, node(custom, "aws:///eu-west-3a/"+id), "runs under " + arn("workers"), 2},
		{"Nodes can't be read", custom, []Instance{at(ours, id, dns, "r")}, nil, nil, "manifests/components/read-nodes", 1},
		{"there is no such Node", custom, []Instance{at(ours, id, dns, "r")}, nil, map[string]string{}, "no Node of that name", 1},
		{"its Node is of no instance", custom, nil, nil, node(custom, "eks-hybrid:///eu-west-3/cluster/mi-0123"), "nodeRoles.extra", 1},
		{"its Node says nothing yet", custom, nil, nil, node(custom, ""), "nodeRoles.extra", 1},
		{"its Node is of Fargate", custom, nil, nil, node(custom, "aws:///eu-west-3a/0123-abc/fargate-ip-10-0-0-1.eu-west-3.compute.internal"), "nodeRoles.extra", 1},
		{"without a role", dns, []Instance{{ID: id, DNSName: dns, VPC: ours}}, nil, nil, "runs under no role", 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld()
			w.reports.Reports = []roster.Report{by(tc.node, "r")}
			w.nodes = tc.nodes
			e := &ec2{instances: tc.instances}
			w.instances = e
			c := verifying()
			c.NodeRoles.VPCs = tc.vpcs
			s := w.set()
			settle := func() Asked {
				for {
					asked := w.ask(s, c)
					select {
					case <-s.Due():
						if err := s.RefreshDue(t.Context(), c); err != nil {
							t.Fatal(err)
						}
					default:
						return asked
					}
				}
			}
			asked := settle()
			why := asked.Refused[roster.LeaseName(arn("r"))]
			if got := entriesOf(asked)["node"]; tc.refused == "" && (!slices.Equal(got, []string{"role/r"}) || why != nil) {
				t.Errorf("mapped %q, refused for %v", got, why)
			} else if tc.refused != "" && (len(got) > 0 || why == nil || !strings.Contains(why.Error(), tc.refused)) {
				t.Errorf("mapped %q, refused for %v, want %q", got, why, tc.refused)
			}
			if len(e.asked) != tc.asks {
				t.Errorf("EC2 was asked %d times, %q, want %d", len(e.asked), e.asked, tc.asks)
			}
			// From then on a refresh asks once, as long as it is not confirmed.
			before := len(e.asked)
			w.now = w.now.Add(time.Minute)
			settle()
			want := 1
			if tc.refused == "" {
				want = 0
			}
			if got := len(e.asked) - before; got != want {
				t.Errorf("the next refresh asked EC2 %d times, want %d", got, want)
			}
		})
	}
}

// While the cluster's VPC is unknown nothing is verified, and EC2 is not asked; once it
// is known, all are.
func TestVerifyInAnUnknownVPC(t *testing.T) {
	w := newWorld()
	w.vpc = ""
	w.reports.Reports = []roster.Report{by("a", "a"), by("i-0123456789abcdef0", "b")}
	e := &ec2{roles: map[string][]string{"a": {arn("a")}}, instances: []Instance{{ID: "i-0123456789abcdef0", VPC: "vpc-1", Roles: []string{arn("b")}}}}
	w.instances = e
	s := w.set()
	w.ask(s, verifying())
	<-s.Due()
	if err := s.RefreshDue(t.Context(), verifying()); err == nil || len(e.asked) > 0 {
		t.Errorf("the refresh says %v and asked %q", err, e.asked)
	}
	asked := w.ask(s, verifying())
	wantEntries(t, "unknown", asked, map[string][]string{"node": {"FAILED"}})
	wantError(t, "unknown", asked, "node", "VPC is unknown", "no IMDS", "nodeRoles.vpcs")

	w.vpc = "vpc-1"
	w.now = w.now.Add(time.Minute)
	w.ask(s, verifying())
	<-s.Due()
	if err := s.RefreshDue(t.Context(), verifying()); err != nil {
		t.Error(err)
	}
	wantEntries(t, "known", w.ask(s, verifying()), map[string][]string{"node": {"role/a", "role/b"}})
}

// One Node that can't be read fails alone, a Node is read once for all its reports, and
// that Nodes can't be read at all is found out by one of them. An instance that took the
// place of another under a Node's name is found.
func TestNodesAreRead(t *testing.T) {
	w := newWorld()
	const id, next = "i-0123456789abcdef0", "i-0123456789abcdef1"
	e := &ec2{instances: []Instance{{ID: id, VPC: "vpc-1", Roles: []string{arn("r2")}}}}
	w.instances = e
	w.nodes = map[string]string{"custom": "aws:///eu-west-3a/" + id}
	for i := range 5 {
		w.reports.Reports = append(w.reports.Reports, by("custom", fmt.Sprint("r", i)), by(fmt.Sprint("gone-", i), fmt.Sprint("g", i)))
	}
	s := w.set()
	round := func() Asked {
		w.ask(s, verifying())
		select {
		case <-s.Due():
		default:
			t.Error("EC2 is not asked again")
			return w.ask(s, verifying())
		}
		if err := s.RefreshDue(t.Context(), verifying()); err != nil {
			t.Fatal(err)
		}
		return w.ask(s, verifying())
	}
	round()
	if w.read != 6 {
		t.Errorf("%d Nodes were read, want 6", w.read)
	}
	wantEntries(t, "by the Node", round(), map[string][]string{"node": {"role/r2"}})

	e.instances = []Instance{{ID: next, VPC: "vpc-1", Roles: []string{arn("r3")}}}
	w.nodes["custom"] = "aws:///eu-west-3a/" + next
	w.now = w.now.Add(time.Minute)
	round()
	wantEntries(t, "another instance", round(), map[string][]string{"node": {"role/r2", "role/r3"}})

	const third = "i-0123456789abcdef2"
	e.instances = append(e.instances, Instance{ID: third, VPC: "vpc-1", Roles: []string{arn("r4")}})
	w.nodes["custom"] = "aws:///eu-west-3a/" + third
	w.now = w.now.Add(time.Minute)
	round()
	wantEntries(t, "another instance, and the former one runs on", round(), map[string][]string{"node": {"role/r2", "role/r3", "role/r4"}})

	w.nodesErr, w.read = ErrNodesNotReadable, 0
	w.now = w.now.Add(time.Minute)
	if round(); w.read != 1 {
		t.Errorf("%d Nodes were read that can't be, want 1", w.read)
	}
}
