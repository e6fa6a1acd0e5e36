// Package manifests_test holds the manifests against what they speak of: the
// rendering of the base, the config file's own parser, the flags of the binary,
// and a real API server with its admission and its authorizer.
package manifests_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/rolecall/rolecall/test/stage"
)

func TestMain(m *testing.M) { os.Exit(stage.Main(m)) }

// install reads install.yaml: its objects in their order.
func install(t *testing.T) []*unstructured.Unstructured {
	t.Helper()
	text, err := os.ReadFile("install.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return objects(t, "install.yaml", text)
}

// objects reads the objects of a YAML stream in their order.
func objects(t *testing.T, name string, text []byte) []*unstructured.Unstructured {
	t.Helper()
	var all []*unstructured.Unstructured
	dec := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(text), 4096)
	for {
		u := &unstructured.Unstructured{}
		if err := dec.Decode(&u.Object); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatalf("%s: object %d: %v", name, len(all)+1, err)
		}
		if len(u.Object) == 0 {
			t.Fatalf("%s: object %d is empty", name, len(all)+1)
		}
		all = append(all, u)
	}
}

// find decodes the only object of the kind and name strictly into a T.
func find[T any](t *testing.T, kind, namespace, name string) *T {
	t.Helper()
	var found *T
	for _, u := range install(t) {
		if u.GetKind() != kind || u.GetNamespace() != namespace || u.GetName() != name {
			continue
		}
		if found != nil {
			t.Fatalf("install.yaml holds %s %s/%s twice", kind, namespace, name)
		}
		found = new(T)
		if err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(u.Object, found, true); err != nil {
			t.Fatalf("install.yaml: %s %s/%s: %v", kind, namespace, name, err)
		}
	}
	if found == nil {
		t.Fatalf("install.yaml holds no %s %s/%s", kind, namespace, name)
	}
	return found
}

func daemonSet(t *testing.T) *appsv1.DaemonSet {
	t.Helper()
	return find[appsv1.DaemonSet](t, "DaemonSet", "rolecall-system", "rolecall")
}

// agent is the DaemonSet's only container.
func agent(t *testing.T) corev1.Container {
	t.Helper()
	containers := daemonSet(t).Spec.Template.Spec.Containers
	if len(containers) != 1 {
		t.Fatalf("the DaemonSet has %d containers, want 1", len(containers))
	}
	return containers[0]
}

// install.yaml is what "make generate" makes of the base.
func TestInstallIsRendered(t *testing.T) {
	kubectl, err := kubectl(t)
	if err != nil {
		if os.Getenv("ROLECALL_REQUIRE_STAGE") == "1" {
			t.Fatal(err)
		}
		t.Skipf("NOT CHECKED that install.yaml is up to date: %v", err)
	}
	var stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), kubectl, "kustomize", "base")
	cmd.Stderr = &stderr
	rendered, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, &stderr)
	}
	text, err := os.ReadFile("install.yaml")
	if err != nil {
		t.Fatal(err)
	}
	// "make generate" puts a comment of its own on top.
	body := string(text)
	for strings.HasPrefix(body, "#") {
		_, body, _ = strings.Cut(body, "\n")
	}
	if diff := cmp.Diff(string(rendered), body); diff != "" {
		t.Errorf("install.yaml is not what base renders to: run make generate (-rendered +install.yaml)\n%s", diff)
	}
}

// kubectl finds the kubectl that is built along with the control plane.
func kubectl(t *testing.T) (string, error) {
	t.Helper()
	assets, err := stage.Assets()
	if err != nil {
		return "", fmt.Errorf("find kubectl: %w", err)
	}
	path := filepath.Join(assets, "kubectl")
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("find kubectl beside the control plane: %w", err)
	}
	return path, nil
}

// The config directory that the agent is told of is the whole ConfigMap,
// mounted: a subPath would never be updated.
func TestConfigMount(t *testing.T) {
	var dir string
	for _, arg := range agent(t).Args {
		if d, ok := strings.CutPrefix(arg, "--config="); ok {
			dir = d
		}
	}
	var mount *corev1.VolumeMount
	for _, m := range agent(t).VolumeMounts {
		if m.MountPath == dir {
			mount = &m
		}
	}
	if mount == nil {
		t.Fatalf("nothing is mounted on --config=%s", dir)
	}
	if mount.SubPath != "" || mount.SubPathExpr != "" {
		t.Errorf("the config is mounted by subPath, which the kubelet doesn't update")
	}
	for _, v := range daemonSet(t).Spec.Template.Spec.Volumes {
		if v.Name != mount.Name {
			continue
		}
		if v.ConfigMap == nil || len(v.ConfigMap.Items) > 0 {
			t.Fatalf("volume %s is not a whole ConfigMap", v.Name)
		}
		find[corev1.ConfigMap](t, "ConfigMap", "rolecall-system", v.ConfigMap.Name)
		return
	}
	t.Errorf("there is no volume %s", mount.Name)
}

// The image runs as the user whom the DaemonSet names, and starts what its args
// are written for.
func TestDockerfileAgrees(t *testing.T) {
	text, err := os.ReadFile("../Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	sc := daemonSet(t).Spec.Template.Spec.SecurityContext
	for _, want := range []string{
		fmt.Sprintf("\nUSER %d:%d\n", *sc.RunAsUser, *sc.RunAsGroup),
		"\nENTRYPOINT [\"/rolecall\"]\n",
		fmt.Sprintf("\nCMD [%q]\n", agent(t).Args[0]),
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the Dockerfile has no line %q", strings.TrimSpace(want))
		}
	}
}

// run runs a command and returns what it printed on both streams.
func run(ctx context.Context, name string, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	return string(out), err
}
