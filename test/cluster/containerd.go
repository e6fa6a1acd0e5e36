package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"text/template"
	"time"

	"github.com/rolecall/rolecall/test/fleet"
)

// containerdConfig needs little of the kernel: the snapshotter "native" copies
// where overlayfs may not be had, and no process gets a better OOM score than its
// parent.
var containerdConfig = template.Must(template.New("containerd").Parse(`version = 2
root = "{{.Dir}}/containerd"
state = "/run/{{.Name}}/containerd"
[grpc]
  address = "{{.Socket}}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{{.Pause}}"
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "native"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{{.Plugins}}"
    conf_dir = "{{.Dir}}/cni"
`))

// cniConfig is for pods that don't use their host's network: they reach their host.
var cniConfig = template.Must(template.New("cni").Parse(`{
  "cniVersion": "1.0.0",
  "name": "pods",
  "plugins": [{
    "type": "ptp",
    "ipam": {"type": "host-local", "ranges": [[{"subnet": "{{.Pods}}"}]], "routes": [{"dst": "0.0.0.0/0"}], "dataDir": "{{.Dir}}/addresses"}
  }]
}
`))

// socket is where the node's containerd is found: the path of a socket is short.
func (n *Node) socket() string { return "/run/" + n.Name + "/containerd.sock" }

// startContainerd starts it and gives it the images.
func (n *Node) startContainerd(ctx context.Context) error {
	pluginDir, err := pluginFolder()
	if err != nil {
		return err
	}
	values := map[string]any{
		"Dir": n.dir, "Name": n.Name, "Socket": n.socket(), "Pause": pauseImage, "Plugins": pluginDir, "Pods": podNetwork(n.Number),
	}
	if err := errors.Join(
		os.MkdirAll(filepath.Dir(n.socket()), 0o755),
		render(filepath.Join(n.dir, "containerd.toml"), containerdConfig, values),
		render(filepath.Join(n.dir, "cni", "pods.conflist"), cniConfig, values),
	); err != nil {
		return err
	}
	program, err := exec.LookPath("containerd")
	if err != nil {
		return err
	}
	n.containerd, err = n.start("containerd", program, "--config="+filepath.Join(n.dir, "containerd.toml"))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if _, err := fleet.Until(ctx, func(ctx context.Context) error {
		if n.containerd.Ended() {
			return n.containerd.Err()
		}
		return n.ctr(ctx, "version")
	}); err != nil {
		return fmt.Errorf("containerd: %w\n%s", err, tail(n.logFile("containerd")))
	}
	for _, archive := range n.cluster.images {
		if err := n.ctr(ctx, "images", "import", "--snapshotter=native", archive); err != nil {
			return err
		}
	}
	return nil
}

// ctr runs one command of containerd's own client.
func (n *Node) ctr(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, "ctr", append([]string{"--address=" + n.socket(), "--namespace=k8s.io"}, args...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("ctr %s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(out))
	}
	return nil
}

// endContainers kills what runs on the node, as the end of its machine does.
func (n *Node) endContainers() error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "ctr", "--address="+n.socket(), "--namespace=k8s.io", "tasks", "list", "--quiet").Output()
	if err != nil {
		return fmt.Errorf("list the containers of %s: %w", n.Name, err)
	}
	for _, task := range strings.Fields(string(out)) {
		if err := n.ctr(ctx, "tasks", "kill", "--signal=SIGKILL", task); err != nil && !strings.Contains(err.Error(), "not found") {
			return err
		}
	}
	return nil
}

// render writes a file from a template.
func render(path string, t *template.Template, values any) error {
	var text bytes.Buffer
	if err := t.Execute(&text, values); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, text.Bytes(), 0o600)
}
