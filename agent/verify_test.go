package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/internal/roster"
)

// ec2 says under which roles the instances of nodes run.
type ec2 struct {
	roles map[string][]string
	err   error
	asked [][]string
}

func (e *ec2) NodeRoles(_ context.Context, nodes []string) (map[string][]string, error) {
	e.asked = append(e.asked, nodes)
	return e.roles, e.err
}

func roleOf(name string) string { return "arn:aws:iam::111122223333:role/" + name }

func by(node, role string) roster.Report {
	return roster.Report{RoleARN: roleOf(role), Node: node, Renewed: start}
}

// A new role is mapped once EC2 bears its report out, and not before; one that
// is ours is believed whatever EC2 says or does not.
func TestVerify(t *testing.T) {
	w := newWorld()
	w.reports.Reports = []roster.Report{by("a", "true"), by("b", "false"), by("c", "nowhere"), by("d", "known"), by("e", "marked"), by("f", "path")}
	e := &ec2{err: errors.New("no answer")}
	g := w.gatherer()
	g.instances = func(context.Context, string) (Instances, error) { return e, nil }
	spec := &Spec{Nodes: Nodes{Report: true, Verify: true}}
	ledger := &awsauth.Ledger{Owned: []awsauth.Owned{{Entry: nodeEntry(roleOf("known")), Claims: []awsauth.Claim{{Source: sourceNode}}}}}
	doc, err := awsauth.Parse(map[string]string{"mapRoles": `[{"rolearn": "` + roleOf("marked") + `", "username": "x", "groups": ["system:nodes"], "syncedBy": "rolecall"}]`})
	if err != nil {
		t.Fatal(err)
	}
	check := func(when string, refused map[string]string, failed bool, want ...string) {
		t.Helper()
		got, out := asked(t, g, spec, doc, ledger)
		if diff := cmp.Diff(want, got[sourceNode]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", when, diff)
		}
		for _, s := range out.sources {
			if s.Name == sourceNode && s.Failed {
				t.Errorf("%s: the source counts as failed, so what is reported would not be mapped", when)
			}
		}
		if (out.errs[sourceNode] != nil) != failed {
			t.Errorf("%s: the source's error is %v", when, out.errs[sourceNode])
		}
		if len(out.refused) != len(refused) {
			t.Errorf("%s: refused %v, want %v", when, out.refused, refused)
		}
		for role, why := range refused {
			if err := out.refused[roster.LeaseName(roleOf(role))]; err == nil || !strings.Contains(err.Error(), why) {
				t.Errorf("%s: %s is refused for %v, want %q", when, role, err, why)
			}
		}
	}
	ours := []string{"role/known", "role/marked"}
	check("not asked yet", nil, false, ours...)
	if len(e.asked) != 0 || len(g.verdicts.due) != 1 {
		t.Errorf("asked %q, due %d: gathering waits for nobody", e.asked, len(g.verdicts.due))
	}

	all := map[string]string{}
	for _, role := range []string{"true", "false", "nowhere", "path"} {
		all[role] = "no answer"
	}
	if err := g.verify(t.Context(), spec); err == nil {
		t.Error("EC2 did not answer, and nobody says so")
	}
	check("EC2 does not answer", all, true, ours...)

	e.err = nil
	e.roles = map[string][]string{
		"a": {roleOf("other"), roleOf("TRUE")}, "b": {roleOf("other")}, "d": {roleOf("other")},
		"f": {"arn:aws:iam::111122223333:role/of/a/path"},
	}
	if err := g.verify(t.Context(), spec); err != nil {
		t.Error(err)
	}
	lies := map[string]string{"false": "runs under " + roleOf("other"), "nowhere": "no running instance"}
	check("EC2 answers", lies, false, "role/known", "role/marked", "role/path", "role/true")
	if want := []string{"a", "b", "c", "f"}; !slices.Equal(e.asked[1], want) {
		t.Errorf("asked about %q, want %q", e.asked[1], want)
	}

	// What was borne out is not asked about again, and another node's word is.
	w.reports.Reports[0] = by("a2", "true")
	check("another node reports it", lies, false, "role/known", "role/marked", "role/path")
	if err := g.verify(t.Context(), spec); err != nil {
		t.Error(err)
	}
	if want := []string{"a2", "b", "c"}; !slices.Equal(e.asked[2], want) {
		t.Errorf("asked about %q, want %q", e.asked[2], want)
	}

	// A report that is gone is forgotten.
	w.reports.Reports = nil
	asked(t, g, spec, doc, ledger)
	if len(g.verdicts.known) != 0 {
		t.Errorf("it remembers %v", g.verdicts.known)
	}
	// Without the option all are believed.
	w.reports.Reports = []roster.Report{by("b", "false")}
	spec = &Spec{Nodes: Nodes{Report: true}}
	check("not to be verified", nil, false, "role/false", "role/known", "role/marked")
}

// What EC2 says while the sources are gathered is not lost, however the two
// meet. With the race detector it also tells of maps that both use.
func TestVerifyWhileGathering(t *testing.T) {
	w := newWorld()
	e := &ec2{roles: map[string][]string{}}
	for i := range 300 {
		node := fmt.Sprint("n", i)
		w.reports.Reports = append(w.reports.Reports, by(node, node))
		e.roles[node] = []string{roleOf(node)}
	}
	spec := &Spec{Nodes: Nodes{Report: true, Verify: true}}
	for range 20 {
		g := w.gatherer()
		g.instances = func(context.Context, string) (Instances, error) { return e, nil }
		asked(t, g, spec, nil, nil)
		<-g.verdicts.due
		stop, started, stopped := make(chan struct{}), make(chan struct{}), make(chan struct{})
		go func() {
			defer close(stopped)
			close(started)
			for {
				select {
				case <-stop:
					return
				default:
					asked(t, g, spec, nil, nil)
				}
			}
		}()
		<-started
		err := g.verify(t.Context(), spec)
		close(stop)
		<-stopped
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := asked(t, g, spec, nil, nil); len(got[sourceNode]) != len(e.roles) && len(g.verdicts.due) == 0 {
			t.Fatalf("%d of %d roles are mapped: EC2 bore their reports out, and nobody will ask again", len(got[sourceNode]), len(e.roles))
		}
	}
}
