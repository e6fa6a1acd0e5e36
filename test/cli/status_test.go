package cli_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/rolecall/rolecall/test/awsfake"
	"github.com/rolecall/rolecall/test/fleet"
	"github.com/rolecall/rolecall/test/trial"
)

// What takes agents: testdata/status. Every script has a cluster of its own
// without nodes, in whose IAM there is the group Developers of ana and ben.
func TestStatus(t *testing.T) {
	t.Parallel()
	type key struct{} // of the script's cluster
	of := func(ts *testscript.TestScript) *trial.Cluster { return ts.Value(key{}).(*trial.Cluster) }
	node := func(ts *testscript.TestScript, name string) *fleet.Node {
		for _, n := range of(ts).Nodes() {
			if n.Name == name {
				return n
			}
		}
		ts.Fatalf("there is no node %s", name)
		return nil
	}
	path := trial.Binary(t)
	testscript.Run(t, testscript.Params{
		Dir:      "testdata/status",
		Deadline: time.Now().Add(10 * trial.Patience),
		Setup: func(env *testscript.Env) error {
			t, ok := env.T().(testing.TB)
			if !ok {
				return errors.New("testscript gives no testing.TB")
			}
			c := trial.New(t, "", trial.Options{})
			c.AWS.SetMembers("Developers", "ana", "ben")
			env.Vars = append(env.Vars, c.Env()...)
			env.Setenv("PATH", filepath.Dir(path)+string(os.PathListSeparator)+env.Getenv("PATH"))
			env.Setenv("NAMESPACE", c.Namespace)
			env.Setenv("AWS_AUTH", c.AWSAuthNamespace+"/aws-auth")
			env.Values[key{}] = c
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits,
			// settles CODE COMMAND... runs a command until it ends with that status.
			"settles": func(ts *testscript.TestScript, _ bool, args []string) {
				settles(ts, args[0], args[1:], func(string) bool { return true })
			},
			// shows REGEXP CODE COMMAND... runs a command until it ends with that
			// status and prints such a line.
			"shows": func(ts *testscript.TestScript, _ bool, args []string) {
				line, err := regexp.Compile("(?m)" + args[0])
				ts.Check(err)
				settles(ts, args[1], args[2:], line.MatchString)
			},
			// mount FILE is the config of all nodes from now on.
			"mount": func(ts *testscript.TestScript, _ bool, args []string) { of(ts).Mount(ts.ReadFile(args[0])) },
			// start NODE ROLE [FLAG...] adds a node and starts its agent.
			"start": func(ts *testscript.TestScript, _ bool, args []string) {
				of(ts).StartNode(args[0], args[1], args[2:]...)
			},
			// terminate NODE ends an agent as the kubelet does, crash NODE at once.
			"terminate": func(ts *testscript.TestScript, _ bool, args []string) {
				ctx, cancel := context.WithTimeout(of(ts).T.Context(), trial.Patience)
				defer cancel()
				ts.Check(node(ts, args[0]).Terminate(ctx))
			},
			"crash": func(ts *testscript.TestScript, _ bool, args []string) { node(ts, args[0]).Kill() },
			// edit KEY=FILE has somebody else write a key of aws-auth.
			"edit": func(ts *testscript.TestScript, _ bool, args []string) {
				name, file, _ := strings.Cut(args[0], "=")
				text := ts.ReadFile(file)
				of(ts).Edit(func(data map[string]string) { data[name] = text })
			},
			"members": func(ts *testscript.TestScript, _ bool, args []string) { of(ts).AWS.SetMembers("Developers", args...) },
			"deny": func(ts *testscript.TestScript, _ bool, args []string) {
				of(ts).AWS.Heal()
				for _, operation := range args {
					of(ts).AWS.Fail(operation, awsfake.Deny())
				}
			},
			// let USER get KIND NAME lets somebody read that of the agents'
			// namespace, or aws-auth.
			"let": func(ts *testscript.TestScript, _ bool, args []string) {
				c := of(ts)
				namespace, group := c.Namespace, map[string]string{"leases": "coordination.k8s.io", "daemonsets": "apps", "controllerrevisions": "apps"}[args[2]]
				if args[3] == "aws-auth" {
					namespace = c.AWSAuthNamespace
				}
				rule := rbacv1.PolicyRule{APIGroups: []string{group}, Resources: []string{args[2]}, Verbs: []string{args[1]}}
				if args[1] == "get" {
					rule.ResourceNames = []string{args[3]}
				}
				ts.Check(grantAs(c, namespace, strings.Join(args, "-"), args[0], rule))
			},
		},
	})
}

// settles runs a command until it ends with a status and what it prints is good.
func settles(ts *testscript.TestScript, code string, command []string, good func(string) bool) {
	ctx, cancel := context.WithTimeout(context.Background(), trial.Patience)
	defer cancel()
	_, err := fleet.Until(ctx, func(context.Context) error {
		got := "0"
		err := ts.Exec(command[0], command[1:]...)
		if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
			got = fmt.Sprint(exit.ExitCode())
		}
		if got != code || !good(ts.ReadFile("stdout")) {
			return fmt.Errorf("exit status %s, want %s\n%s%s", got, code, ts.ReadFile("stdout"), ts.ReadFile("stderr"))
		}
		return nil
	})
	ts.Check(err)
}

// With --watch the status is shown again and again, and an interrupt ends it as
// what it is: what the person wanted.
func TestStatusWatch(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		output, begins, between string
	}{{"table", "needs attention", "---"}, {"yaml", "agents:", "---"}, {"json", "{", "{"}} {
		t.Run(tt.output, func(t *testing.T) {
			t.Parallel()
			c := trial.New(t, "", trial.Options{})
			ctx, cancel := context.WithTimeout(t.Context(), trial.Patience)
			defer cancel()
			cmd := exec.CommandContext(ctx, trial.Binary(t), "status", "--watch", "--interval=1s", "-o", tt.output)
			cmd.Env, cmd.Stderr = c.Env(), os.Stderr
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			seen, first := 0, ""
			lines := bufio.NewScanner(out)
			for seen < 2 && lines.Scan() {
				if first == "" {
					first = lines.Text()
					seen = strings.Count(first, tt.between)
				} else if lines.Text() == tt.between {
					seen++
				}
			}
			if !strings.HasPrefix(first, tt.begins) {
				t.Errorf("it begins with %q, want %q", first, tt.begins)
			}
			if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
				t.Fatal(err)
			}
			for lines.Scan() { // Wait closes the pipe
			}
			if err := cmd.Wait(); err != nil {
				t.Errorf("after an interrupt: %v, want exit status 0", err)
			}
		})
	}
}
