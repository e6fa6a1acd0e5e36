package cli_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/rolecall/rolecall/test/fleet"
	"github.com/rolecall/rolecall/test/trial"
)

// What takes agents: testdata/status.
func TestStatus(t *testing.T) {
	t.Parallel()
	scripts(t, "status", map[string]command{
		// settles CODE COMMAND... runs a command until it ends with that status.
		"settles": func(ts *testscript.TestScript, _ *trial.Cluster, _ bool, args []string) {
			settles(ts, args[0], args[1:], func(string) bool { return true })
		},
		// shows REGEXP CODE COMMAND... runs a command until it ends with that
		// status and prints such a line.
		"shows": func(ts *testscript.TestScript, _ *trial.Cluster, _ bool, args []string) {
			line, err := regexp.Compile("(?m)" + args[0])
			ts.Check(err)
			settles(ts, args[1], args[2:], line.MatchString)
		},
		// mount FILE is the config of all nodes from now on.
		"mount": func(ts *testscript.TestScript, c *trial.Cluster, _ bool, args []string) {
			c.Mount(ts.ReadFile(args[0]))
		},
		// start NODE ROLE [FLAG...] adds a node and starts its agent.
		"start": func(_ *testscript.TestScript, c *trial.Cluster, _ bool, args []string) {
			c.StartNode(args[0], args[1], args[2:]...)
		},
		// terminate NODE ends an agent as the kubelet does, crash NODE at once.
		"terminate": func(ts *testscript.TestScript, c *trial.Cluster, _ bool, args []string) {
			ctx, cancel := context.WithTimeout(c.T.Context(), trial.Patience)
			defer cancel()
			ts.Check(nodeOf(ts, c, args[0]).Terminate(ctx))
		},
		"crash": func(ts *testscript.TestScript, c *trial.Cluster, _ bool, args []string) {
			nodeOf(ts, c, args[0]).Kill()
		},
		// let USER get KIND NAME lets somebody read that of the agents'
		// namespace, or aws-auth.
		"let": func(ts *testscript.TestScript, c *trial.Cluster, _ bool, args []string) {
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
	})
}

func nodeOf(ts *testscript.TestScript, c *trial.Cluster, name string) *fleet.Node {
	for _, n := range c.Nodes() {
		if n.Name == name {
			return n
		}
	}
	ts.Fatalf("there is no node %s", name)
	return nil
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
