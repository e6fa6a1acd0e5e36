package manifests_test

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// The binary itself judges the DaemonSet's arguments: its parser takes them, its
// help names the variables, its default address is the port that is declared.
func TestBinaryKnowsItsArguments(t *testing.T) {
	if testing.Short() {
		t.Skip("builds rolecall: not with -short")
	}
	binary := filepath.Join(t.TempDir(), "rolecall")
	if out, err := run(t.Context(), "go", "build", "-o", binary, "../cmd/rolecall"); err != nil {
		t.Fatalf("build the binary: %v\n%s", err, out)
	}
	c := agent(t)
	if len(c.Command) > 0 {
		t.Errorf("the command is %q: leave it to the image", c.Command)
	}

	// The parser reads all flags before it answers --help.
	help, err := run(t.Context(), binary, append(c.Args, "--help")...)
	if err != nil {
		t.Fatalf("rolecall refuses %q: %v\n%s", c.Args, err, help)
	}
	if out, err := run(t.Context(), binary, c.Args[0], "--no-such-flag", "--help"); err == nil {
		t.Fatalf("rolecall takes flags that it doesn't have, so that this test tells nothing:\n%s", out)
	}

	for _, env := range c.Env {
		flag, isFlag := strings.CutPrefix(env.Name, "ROLECALL_")
		if isFlag {
			flag = "--" + strings.ReplaceAll(strings.ToLower(flag), "_", "-")
			if !regexp.MustCompile(`(?m)^ .*` + regexp.QuoteMeta(flag) + `\b`).MatchString(help) {
				t.Errorf("%s is set, but there is no flag %s", env.Name, flag)
			}
		} else if !regexp.MustCompile(`\b` + regexp.QuoteMeta(env.Name) + `\b`).MatchString(help) {
			t.Errorf("%s is set, but the help of the agent doesn't name it:\n%s", env.Name, help)
		}
	}

	address := regexp.MustCompile(`--http-address .*\(default "?:([0-9]+)"?\)`).FindStringSubmatch(help)
	if address == nil {
		t.Fatalf("the help of the agent names no default --http-address:\n%s", help)
	}
	checkPorts(t, c, address[1])
}

// checkPorts checks that all that names a port means the one that the agent
// listens on.
func checkPorts(t *testing.T, c corev1.Container, listening string) {
	t.Helper()
	if len(c.Ports) != 1 {
		t.Fatalf("the container declares %d ports, want 1", len(c.Ports))
	}
	port := c.Ports[0]
	if fmt.Sprint(port.ContainerPort) != listening || fmt.Sprint(port.HostPort) != listening {
		t.Errorf("containerPort %d, hostPort %d, but the agent listens on %s", port.ContainerPort, port.HostPort, listening)
	}
	if got := daemonSet(t).Spec.Template.Annotations["prometheus.io/port"]; got != listening {
		t.Errorf("prometheus.io/port is %q, but the agent listens on %s", got, listening)
	}
	for what, probe := range map[string]*corev1.Probe{"liveness": c.LivenessProbe, "readiness": c.ReadinessProbe} {
		if probe == nil || probe.HTTPGet == nil {
			t.Errorf("there is no %s probe by HTTP", what)
		} else if p := probe.HTTPGet.Port; p.String() != port.Name && p.String() != listening {
			t.Errorf("the %s probe asks port %s, but the agent listens on %s", what, p.String(), listening)
		}
	}
}
