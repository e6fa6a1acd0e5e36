package stage

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestBuildAgrees: what the build script builds is what Assets finds.
func TestBuildAgrees(t *testing.T) {
	t.Setenv("KUBEBUILDER_ASSETS", "")
	root, err := repository()
	if err != nil {
		t.Fatal(err)
	}
	output, err := exec.Command("sh", filepath.Join(root, "test", "controlplane", "build"), "-n").Output()
	if err != nil {
		t.Fatal(err)
	}
	want, err := built(root)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.TrimSpace(string(output)); got != want {
		t.Errorf("the script builds %s, Assets looks for %s", got, want)
	}
}

func TestAssetsFromEnvironment(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("KUBEBUILDER_ASSETS", dir)
	if _, err := Assets(); !errors.Is(err, ErrNoAssets) {
		t.Errorf("empty folder: %v, want ErrNoAssets", err)
	}
	for _, program := range []string{"etcd", "kube-apiserver"} {
		if err := os.WriteFile(filepath.Join(dir, program), nil, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := Assets(); got != dir || err != nil {
		t.Errorf("Assets() = %q, %v, want %q", got, err, dir)
	}
}

// TestForTestWithoutAssets runs a test that calls ForTest in a process of its
// own, since this one may have a control plane already.
func TestForTestWithoutAssets(t *testing.T) {
	for _, c := range []struct{ require, want string }{{"", "--- SKIP: "}, {"1", "--- FAIL: "}} {
		child := exec.Command(os.Args[0], "-test.run=^TestCreateNamespaceTwice$", "-test.v")
		child.Env = append(os.Environ(), "KUBEBUILDER_ASSETS="+t.TempDir(), "ROLECALL_REQUIRE_STAGE="+c.require)
		output, err := child.CombinedOutput()
		if (err != nil) != (c.require == "1") {
			t.Errorf("ROLECALL_REQUIRE_STAGE=%q: %v", c.require, err)
		}
		for _, want := range []string{c.want, "run `make control-plane`"} {
			if !strings.Contains(string(output), want) {
				t.Errorf("ROLECALL_REQUIRE_STAGE=%q says %s\nwithout %q", c.require, output, want)
			}
		}
	}
}
