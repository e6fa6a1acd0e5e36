package cli_test

import (
	"errors"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"k8s.io/client-go/rest"

	"github.com/rolecall/rolecall/test/awsfake"
	"github.com/rolecall/rolecall/test/stage"
	"github.com/rolecall/rolecall/test/trial"
)

// A command of the scripts. It is given the script's cluster, and whether "!"
// stands before it.
type command func(ts *testscript.TestScript, c *trial.Cluster, neg bool, args []string)

// scripts runs those of testdata/NAME. Every script has a cluster of its own
// without nodes, in whose IAM there are the permission sets Admin and
// AdminReadOnly and the group Developers of ana and ben. Besides more it has the
// commands of common.
func scripts(t *testing.T, name string, more map[string]command) {
	t.Helper()
	type key struct{} // of the script's cluster
	commands := map[string]func(*testscript.TestScript, bool, []string){"exits": exits}
	all := maps.Clone(common)
	maps.Copy(all, more)
	for name, run := range all {
		commands[name] = func(ts *testscript.TestScript, neg bool, args []string) {
			run(ts, ts.Value(key{}).(*trial.Cluster), neg, args)
		}
	}
	path := trial.Binary(t)
	testscript.Run(t, testscript.Params{
		Dir:      filepath.Join("testdata", name),
		Deadline: time.Now().Add(10 * trial.Patience),
		Setup: func(env *testscript.Env) error {
			t, ok := env.T().(testing.TB)
			if !ok {
				return errors.New("testscript gives no testing.TB")
			}
			c := trial.New(t, "", trial.Options{})
			made := time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
			c.AWS.AddPermissionSet("Admin", "00000000000000aa", "", made)
			c.AWS.AddPermissionSet("AdminReadOnly", "00000000000000bb", "", made)
			c.AWS.SetMembers("Developers", "ana", "ben")
			env.Vars = append(env.Vars, c.Env()...)
			env.Setenv("PATH", filepath.Dir(path)+string(os.PathListSeparator)+env.Getenv("PATH"))
			env.Setenv("NAMESPACE", c.Namespace)
			env.Setenv("AWS_AUTH_NAMESPACE", c.AWSAuthNamespace)
			env.Setenv("AWS_AUTH", c.AWSAuthNamespace+"/aws-auth")
			env.Values[key{}] = c
			return nil
		},
		Cmds: commands,
	})
}

var common = map[string]command{
	// aws-auth KEY=FILE... makes aws-auth anew of files.
	"aws-auth": func(ts *testscript.TestScript, c *trial.Cluster, _ bool, args []string) {
		data := map[string]string{}
		for _, arg := range args {
			name, file, _ := strings.Cut(arg, "=")
			data[name] = ts.ReadFile(file)
		}
		c.Replace(data)
	},
	// no-aws-auth deletes aws-auth; with ! it holds that there is none.
	"no-aws-auth": func(ts *testscript.TestScript, c *trial.Cluster, neg bool, _ []string) {
		if !neg {
			c.Delete()
			return
		}
		if cm, err := c.AWSAuth(c.T.Context()); err == nil {
			ts.Fatalf("there is an aws-auth: %q", cm.Data)
		}
	},
	// edit KEY=FILE has somebody else write a key of aws-auth.
	"edit": func(ts *testscript.TestScript, c *trial.Cluster, _ bool, args []string) {
		name, file, _ := strings.Cut(args[0], "=")
		text := ts.ReadFile(file)
		c.Edit(func(data map[string]string) { data[name] = text })
	},
	// get KEY... writes keys of aws-auth to files of that name.
	"get": func(ts *testscript.TestScript, c *trial.Cluster, _ bool, args []string) {
		cm := c.Now()
		for _, name := range args {
			ts.Check(os.WriteFile(ts.MkAbs(name), []byte(cm.Data[name]), 0o600))
		}
	},
	// version NAME puts aws-auth's resourceVersion into a variable.
	"version": func(ts *testscript.TestScript, c *trial.Cluster, _ bool, args []string) {
		ts.Setenv(args[0], c.Now().ResourceVersion)
	},
	// unwritten VERSION holds that nobody has written aws-auth since.
	"unwritten": func(ts *testscript.TestScript, c *trial.Cluster, _ bool, args []string) {
		if cm := c.Now(); cm.ResourceVersion != args[0] {
			ts.Fatalf("aws-auth was written: %q", cm.Data)
		}
	},
	// members NAME... are those of the group Developers from now on.
	"members": func(_ *testscript.TestScript, c *trial.Cluster, _ bool, args []string) {
		c.AWS.SetMembers("Developers", args...)
	},
	// stranger FILE makes a kubeconfig of somebody whom the cluster does not know.
	"stranger": func(ts *testscript.TestScript, c *trial.Cluster, _ bool, args []string) {
		known := stage.ForTest(c.T).Config()
		ts.Check(stage.WriteKubeconfig(ts.MkAbs(args[0]), &rest.Config{
			Host: known.Host, BearerToken: "nobody's", TLSClientConfig: rest.TLSClientConfig{CAData: known.CAData, CAFile: known.CAFile},
		}))
	},
	// deny OPERATION... has AWS refuse it; without one, all is well again.
	"deny": func(_ *testscript.TestScript, c *trial.Cluster, _ bool, args []string) {
		c.AWS.Heal()
		for _, operation := range args {
			c.AWS.Fail(operation, awsfake.Deny())
		}
	},
}

// exits CODE COMMAND... runs a command that has to end with that status; its
// output is then looked at with stdout and stderr.
func exits(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	err = ts.Exec(args[1], args[2:]...)
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit status %d, want %d", got, want)
	}
}
