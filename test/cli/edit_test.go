package cli_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/test/fleet"
	"github.com/rolecall/rolecall/test/trial"
)

// What edits aws-auth by hand: testdata/edit. Every script has a cluster of its
// own without agents.
func TestEditCommands(t *testing.T) {
	t.Parallel()
	type key struct{} // of the script's cluster
	of := func(ts *testscript.TestScript) *trial.Cluster { return ts.Value(key{}).(*trial.Cluster) }
	path := trial.Binary(t)
	testscript.Run(t, testscript.Params{
		Dir:      "testdata/edit",
		Deadline: time.Now().Add(10 * trial.Patience),
		Setup: func(env *testscript.Env) error {
			t, ok := env.T().(testing.TB)
			if !ok {
				return errors.New("testscript gives no testing.TB")
			}
			c := trial.New(t, "", trial.Options{})
			env.Vars = append(env.Vars, c.Env()...)
			env.Setenv("PATH", filepath.Dir(path)+string(os.PathListSeparator)+env.Getenv("PATH"))
			env.Values[key{}] = c
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits,
			// aws-auth KEY=FILE... makes aws-auth anew of files.
			"aws-auth": func(ts *testscript.TestScript, _ bool, args []string) {
				data := map[string]string{}
				for _, arg := range args {
					name, file, _ := strings.Cut(arg, "=")
					data[name] = ts.ReadFile(file)
				}
				of(ts).Replace(data)
			},
			// no-aws-auth deletes aws-auth; with ! it holds that there is none.
			"no-aws-auth": func(ts *testscript.TestScript, neg bool, _ []string) {
				if !neg {
					of(ts).Delete()
					return
				}
				if cm, err := of(ts).AWSAuth(of(ts).T.Context()); err == nil {
					ts.Fatalf("there is an aws-auth: %q", cm.Data)
				}
			},
			// get KEY... writes keys of aws-auth to files of that name.
			"get": func(ts *testscript.TestScript, _ bool, args []string) {
				cm := of(ts).Now()
				for _, name := range args {
					ts.Check(os.WriteFile(ts.MkAbs(name), []byte(cm.Data[name]), 0o600))
				}
			},
			// version NAME puts aws-auth's resourceVersion into a variable.
			"version": func(ts *testscript.TestScript, _ bool, args []string) {
				ts.Setenv(args[0], of(ts).Now().ResourceVersion)
			},
			// unwritten VERSION holds that nobody has written aws-auth since.
			"unwritten": func(ts *testscript.TestScript, _ bool, args []string) {
				if cm := of(ts).Now(); cm.ResourceVersion != args[0] {
					ts.Fatalf("aws-auth was written: %q", cm.Data)
				}
			},
			// manager NAME holds that this was the last to write aws-auth.
			"manager": func(ts *testscript.TestScript, _ bool, args []string) {
				fields := of(ts).Now().ManagedFields
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
			"grant": func(ts *testscript.TestScript, _ bool, args []string) {
				ts.Check(grant(of(ts), of(ts).AWSAuthNamespace, args[0],
					rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"configmaps"}, ResourceNames: []string{"aws-auth"}, Verbs: args[1:]}))
			},
		},
	})
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
