package cli_test

import (
	"context"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/rolecall/rolecall/test/faultproxy"
	"github.com/rolecall/rolecall/test/stage"
	"github.com/rolecall/rolecall/test/trial"
)

// throughProxy is a kubeconfig of the agent's ServiceAccount, which may do what an
// edit takes, that goes through a proxy. The proxy passes tokens on.
func throughProxy(t *testing.T, cp *stage.ControlPlane, c *trial.Cluster) (*faultproxy.Proxy, string) {
	t.Helper()
	proxy, err := faultproxy.Start(cp.Config())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(proxy.Close)
	config, err := cp.ServiceAccountConfig(t.Context(), c.Namespace, "rolecall")
	if err != nil {
		t.Fatal(err)
	}
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	if err := stage.WriteKubeconfig(kubeconfig, proxy.Config("person", config)); err != nil {
		t.Fatal(err)
	}
	return proxy, kubeconfig
}

// runAs runs a command with a kubeconfig and returns how it ended and what it
// says on stderr.
func runAs(ctx context.Context, t *testing.T, c *trial.Cluster, kubeconfig string, args ...string) (code int, says string) {
	t.Helper()
	cmd := exec.CommandContext(ctx, trial.Binary(t), append(args, "--kubeconfig="+kubeconfig)...)
	cmd.Env = c.Env()
	var stderr strings.Builder
	cmd.Stderr = &stderr
	_ = cmd.Run() // the state tells
	return cmd.ProcessState.ExitCode(), stderr.String()
}

// What can pass is tried again where --retry says so, a conflict always, a refusal
// never; an answer that got lost is looked for. Whatever happens, the entry stands
// in aws-auth once, or not at all and the command says so.
func TestRetry(t *testing.T) {
	t.Parallel()
	cp := stage.ForTest(t)
	configMap := schema.GroupResource{Resource: "configmaps"}
	busy := faultproxy.Answer(apierrors.NewTooManyRequests("too many requests", 0))
	for _, tt := range []struct {
		name   string
		fault  faultproxy.Action
		times  int
		flags  []string
		code   int
		writes int // that are tried
		stderr string
	}{
		{name: "too many requests, --retry", fault: busy, times: 2, flags: []string{"--retry", "--retry-min-time=10ms"}, writes: 3},
		{name: "too many requests", fault: busy, times: 2, code: 1, writes: 1, stderr: "too many requests"},
		{name: "given up", fault: busy, times: 9, flags: []string{"--retry", "--retry-max-count=2", "--retry-min-time=10ms"}, code: 1, writes: 3, stderr: "given up after 2 retries"},
		{name: "out of time", fault: busy, times: 9, flags: []string{"--retry", "--retry-min-time=1m", "--retry-max-time=1m", "--timeout=30s"}, code: 1, writes: 1, stderr: "not done within 30s"},
		{name: "not ready, --retry", fault: faultproxy.Answer(apierrors.NewServiceUnavailable("starting")), times: 1, flags: []string{"--retry", "--retry-min-time=10ms"}, writes: 2},
		{name: "a conflict", fault: faultproxy.Answer(apierrors.NewConflict(configMap, "aws-auth", nil)), times: 3, writes: 4},
		{name: "a refusal, --retry", fault: faultproxy.Answer(apierrors.NewForbidden(configMap, "aws-auth", nil)), times: 1, flags: []string{"--retry"}, code: 1, writes: 1, stderr: "forbidden"},
		{name: "the answer is lost", fault: faultproxy.LoseAnswer(), times: 1, writes: 1},
		{name: "the answer is lost, --retry", fault: faultproxy.LoseAnswer(), times: 1, flags: []string{"--retry", "--retry-min-time=10ms"}, writes: 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := trial.New(t, "", trial.Options{})
			c.Create(map[string]string{"mapRoles": "- rolearn: arn:aws:iam::111122223333:role/theirs # by hand\n  username: theirs\n"})
			proxy, kubeconfig := throughProxy(t, cp, c)
			proxy.Add(faultproxy.Match{Verb: "update", Name: "aws-auth", Times: tt.times}, tt.fault)

			ctx, cancel := context.WithTimeout(t.Context(), trial.Patience)
			defer cancel()
			code, says := runAs(ctx, t, c, kubeconfig, append([]string{"upsert", "--role-arn=arn:aws:iam::111122223333:role/ours", "--username=ours", "--groups=a"}, tt.flags...)...)
			if code != tt.code || !strings.Contains(says, tt.stderr) {
				t.Errorf("exit status %d, want %d and %q:\n%s", code, tt.code, tt.stderr, says)
			}
			writes := 0
			for _, r := range proxy.Records() {
				if r.Verb == "update" && r.Name == "aws-auth" {
					writes++
				}
			}
			if writes != tt.writes {
				t.Errorf("%d writes were tried, want %d", writes, tt.writes)
			}
			text := c.Now().Data["mapRoles"]
			if n := strings.Count(text, "role/ours"); n != 1-tt.code || !strings.Contains(text, "role/theirs # by hand\n") {
				t.Errorf("it stands there %d times, want %d:\n%s", n, 1-tt.code, text)
			}
		})
	}
}
