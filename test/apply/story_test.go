package apply_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/rolecall/rolecall/test/cluster"
	"github.com/rolecall/rolecall/test/fleet"
	"github.com/rolecall/rolecall/test/stage"
)

// patience is the deadline of what has none of its own, on a machine that is busy.
const patience = 3 * time.Minute

// A story is a life of one cluster. Its chapters build on each other.
type story struct {
	*cluster.Cluster
	dir     string
	kubectl string
	changes *changes // of aws-auth
	rows    []row
}

// A row is a check in the table that is printed at the end.
type row struct {
	what  string
	found []string // what was seen, for people
	took  time.Duration
	state string
}

// States of a row.
const (
	held       = "ok"
	failed     = "FAILED"
	notReached = "not reached"
)

// A chapter is a step of the story with its own test.
type chapter struct {
	*story
	t   *testing.T
	row *row
}

// tell runs the chapters in their order, up to the first that fails, and prints
// the table.
func (s *story) tell(t *testing.T, chapters []struct {
	what string
	do   func(*chapter)
},
) {
	t.Helper()
	s.rows = make([]row, len(chapters))
	for i, c := range chapters {
		s.rows[i] = row{what: c.what, state: notReached}
	}
	defer func() { fmt.Print(s.table()) }()
	for i, c := range chapters {
		r := &s.rows[i]
		r.state = failed
		begin := time.Now()
		ok := t.Run(strings.ReplaceAll(c.what, " ", "_"), func(t *testing.T) { c.do(&chapter{s, t, r}) })
		r.took = time.Since(begin)
		if !ok {
			s.explain(t)
			return
		}
		r.state = held
	}
}

// table lists what was seen.
func (s *story) table() string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\nCHECK\tRESULT\tTOOK\tSEEN")
	ok := 0
	for _, r := range s.rows {
		took := "-"
		if r.state != notReached {
			took = r.took.Round(100 * time.Millisecond).String()
		}
		if r.state == held {
			ok++
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", r.what, r.state, took, strings.Join(r.found, "; "))
	}
	_ = w.Flush() // into memory
	fmt.Fprintf(&b, "\n%d of %d checks held\n", ok, len(s.rows))
	return b.String()
}

// explain says what the cluster looks like after a failure.
func (s *story) explain(t *testing.T) {
	t.Helper()
	for _, args := range [][]string{
		{"get", "nodes,pods", "--all-namespaces", "--output=wide"},
		{"--namespace=rolecall-system", "get", "events", "--sort-by=.lastTimestamp"},
		{"--namespace=rolecall-system", "logs", "--selector=app.kubernetes.io/name", "--prefix", "--tail=25", "--max-log-requests=10"},
		{"--namespace=kube-system", "get", "configmap", "aws-auth", "--output=yaml"},
	} {
		out, err := s.command(context.Background(), args...).CombinedOutput()
		t.Logf("kubectl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// saw adds to what the table says of this chapter.
func (c *chapter) saw(format string, args ...any) {
	c.row.found = append(c.row.found, fmt.Sprintf(format, args...))
}

// eventually waits until check returns nil, and returns how long that took.
func (c *chapter) eventually(what string, check func(context.Context) error) time.Duration {
	c.t.Helper()
	ctx, cancel := context.WithTimeoutCause(c.t.Context(), patience, errors.New("not so"))
	defer cancel()
	took, err := fleet.Until(ctx, check)
	if err != nil {
		c.t.Fatalf("%s: %v", what, err)
	}
	return took
}

// must fails the chapter where err is not nil.
func (c *chapter) must(what string, err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatalf("%s: %v", what, err)
	}
}

// command is one of kubectl's, as the administrator.
func (s *story) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, s.kubectl, args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+s.Kubeconfig(), "HOME="+s.dir)
	return cmd
}

// run runs kubectl as the administrator and returns what it prints.
func (c *chapter) run(args ...string) string {
	c.t.Helper()
	return c.output(c.command(c.t.Context(), args...))
}

// output runs a command that must succeed.
func (c *chapter) output(cmd *exec.Cmd) string {
	c.t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		c.t.Fatalf("%s: %v\n%s%s", strings.Join(cmd.Args, " "), err, &stdout, &stderr)
	}
	return stdout.String() + stderr.String()
}

// newStory starts a cluster without nodes.
func newStory(t *testing.T) *story {
	t.Helper()
	if os.Getenv("ROLECALL_E2E") != "1" || testing.Short() {
		t.Skip("runs with make e2e")
	}
	dir, err := os.MkdirTemp("", "rolecall-e2e-") //nolint:usetesting // it stays where the test fails
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the logs of kubelets and containerds stay in %s", dir)
			return
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	assets, err := stage.Assets()
	if err != nil {
		t.Fatal(err)
	}
	s := &story{dir: dir, kubectl: filepath.Join(assets, "kubectl")}
	authenticator, err := exec.CommandContext(t.Context(), "../authenticator/build", "-n").Output()
	if err != nil {
		t.Fatal(err)
	}
	s.Cluster, err = cluster.Start(t.Context(), dir, cluster.Options{
		Authenticator: filepath.Join(strings.TrimSpace(string(authenticator)), "aws-iam-authenticator"),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	s.changes = watchAWSAuth(t, s.Client)
	return s
}
