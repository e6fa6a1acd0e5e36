package cli_test

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/internal/roster"
	"github.com/rolecall/rolecall/test/fleet"
	"github.com/rolecall/rolecall/test/trial"
)

// What edits aws-auth by hand: testdata/edit.
func TestEditCommands(t *testing.T) {
	t.Parallel()
	more := map[string]command{
		// manager NAME holds that this was the last to write aws-auth.
		"manager": func(ts *testscript.TestScript, c *trial.Cluster, _ bool, args []string) {
			fields := c.Now().ManagedFields
			newest := ""
			for _, f := range fields {
				newest += " " + f.Manager
			}
			if !strings.Contains(newest, args[0]) {
				ts.Fatalf("its managers are%s", newest)
			}
		},
		// grant USER VERB... lets somebody do that with aws-auth, and nothing
		// with the ledger.
		"grant": func(ts *testscript.TestScript, c *trial.Cluster, _ bool, args []string) {
			ts.Check(grant(c, c.AWSAuthNamespace, args[0],
				rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"configmaps"}, ResourceNames: []string{"aws-auth"}, Verbs: args[1:]}))
		},
		// kubectl ARG... runs it on aws-auth's namespace.
		"kubectl": func(ts *testscript.TestScript, c *trial.Cluster, _ bool, args []string) {
			cmd := exec.CommandContext(c.T.Context(), kubectlOfStage(t), append([]string{
				"--kubeconfig", c.Kubeconfig(), "-n",
				c.AWSAuthNamespace,
			}, args...)...)
			cmd.Dir = ts.MkAbs(".")
			cmd.Env = append(os.Environ(), "HOME="+ts.MkAbs("home"))
			if out, err := cmd.CombinedOutput(); err != nil {
				ts.Fatalf("kubectl %q: %v\n%s", args, err, out)
			}
		},
		// report ARN has a node report its role.
		"report": func(ts *testscript.TestScript, c *trial.Cluster, _ bool, args []string) {
			_, err := roster.New(c.Client.CoordinationV1().Leases(c.Namespace)).Report(c.T.Context(), args[0], "node-1", time.Now())
			ts.Check(err)
		},
	}
	maps.Copy(more, ofServices)
	scripts(t, "edit", more)
}

// Fifty processes at once lose nothing.
func TestFiftyAtOnce(t *testing.T) {
	t.Parallel()
	const many = 50
	c := trial.New(t, "", trial.Options{})
	const there = "# theirs\n- rolearn: arn:aws:iam::111122223333:role/there # as it was\n  username: there\n  groups: [b, a]\n  note: 1\n"
	c.Create(map[string]string{"mapRoles": there, "mapAccounts": "- '111122223333'\n", "theirs": "a note\n"})
	ctx, cancel := context.WithTimeout(t.Context(), 5*trial.Patience)
	defer cancel()
	var group sync.WaitGroup
	for i := range many {
		group.Go(func() {
			r, err := c.Run(ctx, "upsert", "--role-arn", fmt.Sprintf("arn:aws:iam::111122223333:role/r%02d", i), "--username", fmt.Sprintf("u%02d", i), "--groups", "viewers")
			if err != nil || r.Code != 0 {
				t.Errorf("exit status %d, %v\n%s%s", r.Code, err, r.Stdout, r.Stderr)
			}
		})
	}
	group.Wait()
	cm := c.Now()
	doc, err := awsauth.Parse(cm.Data)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for _, l := range doc.Entries() {
		seen[l.ARN+" "+l.Username]++
	}
	for i := range many {
		if n := seen[fmt.Sprintf("arn:aws:iam::111122223333:role/r%02d u%02d", i, i)]; n != 1 {
			t.Errorf("role r%02d is there %d times", i, n)
		}
	}
	if n := len(doc.Entries()); n != many+2 {
		t.Errorf("%d entries, want %d", n, many+2)
	}
	if !strings.HasPrefix(cm.Data["mapRoles"], there) || cm.Data["mapAccounts"] != "- '111122223333'\n" || cm.Data["theirs"] != "a note\n" {
		t.Errorf("what others wrote has changed: %q", cm.Data)
	}
	if _, err := fleet.Mappings(cm); err != nil {
		t.Error(err)
	}
}
