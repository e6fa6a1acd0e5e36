package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rolecall/rolecall/test/awsfake"
	"github.com/rolecall/rolecall/test/child"
	"github.com/rolecall/rolecall/test/fleet"
)

// A Node is a host with a containerd and a kubelet.
type Node struct {
	Name   string
	Number int
	IMDS   *awsfake.IMDS

	cluster    *Cluster
	dir        string
	server     *http.Server // of instance metadata
	containerd *child.Process
	kubelet    *child.Process
}

func nodeName(number int) string { return fmt.Sprintf("node-%d", number) }

// NodeOptions say what a node is.
type NodeOptions struct {
	Number int    // from 1 to 200
	Role   string // of its instance

	// ByIAM has the kubelet log in by its role, as on EKS: it is let in by what
	// stands in aws-auth. Else it has a certificate.
	ByIAM bool
}

// Add adds a node and returns when its kubelet runs. ctx bounds that;
// [Node.Ready] waits for more.
func (c *Cluster) Add(ctx context.Context, o NodeOptions) (_ *Node, err error) {
	number, id := o.Number, fmt.Sprintf("i-%017d", o.Number)
	accessKey := fmt.Sprintf("ASIA%016d", number)
	n := &Node{
		Name: nodeName(number), Number: number, cluster: c, dir: filepath.Join(c.dir, nodeName(number)),
		IMDS: awsfake.NewIMDS(awsfake.IMDSOptions{Role: o.Role, InstanceID: id, AccessKeyID: accessKey}),
	}
	c.AWS.SetProfile(o.Role+"-profile", o.Role)
	c.AWS.SetInstance(n.Name, o.Role+"-profile")
	c.AWS.SetInstanceID(n.Name, id)
	if c.authenticator != nil {
		c.authenticator.sts.know(accessKey, "arn:aws:sts::111122223333:assumed-role/"+o.Role+"/"+id)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("add %s: %w", n.Name, err), n.stop())
		}
	}()
	if err := os.MkdirAll(n.dir, 0o755); err != nil {
		return nil, err
	}
	if err := makeHost(number); err != nil {
		return nil, err
	}
	listener, err := listen(n.Name, imds)
	if err != nil {
		return nil, fmt.Errorf("serve instance metadata: %w", err)
	}
	n.server = &http.Server{Handler: n.IMDS, ReadHeaderTimeout: 10 * time.Second}
	go n.server.Serve(listener) //nolint:errcheck // always ErrServerClosed
	if err := n.startContainerd(ctx); err != nil {
		return nil, err
	}
	if err := n.startKubelet(o.ByIAM); err != nil {
		return nil, err
	}
	c.mu.Lock()
	c.nodes = append(c.nodes, n)
	c.mu.Unlock()
	return n, nil
}

// Ready waits until the node says that it is ready, for two minutes at most
// besides ctx.
func (n *Node) Ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	_, err := fleet.Until(ctx, func(ctx context.Context) error {
		if n.kubelet.Ended() {
			return fmt.Errorf("the kubelet has ended: %w", n.kubelet.Err())
		}
		node, err := n.cluster.Client.CoreV1().Nodes().Get(ctx, n.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		for _, c := range node.Status.Conditions {
			if c.Type == corev1.NodeReady && c.Status != corev1.ConditionTrue {
				return fmt.Errorf("%s is not ready: %s", n.Name, c.Message)
			}
			if c.Type == corev1.NodeReady {
				return nil
			}
		}
		return fmt.Errorf("%s has no condition yet", n.Name)
	})
	if err != nil {
		err = fmt.Errorf("%w\nthe end of the kubelet's log:\n%s", err, tail(n.logFile("kubelet")))
	}
	return err
}

// CutOff takes the node's cable out: it reaches nobody but itself. [Node.Connect]
// plugs it in again.
func (n *Node) CutOff() error {
	return ip("link", "set", fmt.Sprintf("cable-%d", n.Number), "down")
}

// Connect ends a [Node.CutOff].
func (n *Node) Connect() error {
	return ip("link", "set", fmt.Sprintf("cable-%d", n.Number), "up")
}

// Get asks a server that the node reaches, such as an agent on its own loopback
// address, and returns what it answers. It works on a node that is cut off.
func (n *Node) Get(ctx context.Context, address, page string) (status int, body string, err error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	transport := &http.Transport{
		DialContext:       func(ctx context.Context, _, address string) (net.Conn, error) { return dial(ctx, n.Name, address) },
		DisableKeepAlives: true,
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+page, nil)
	if err != nil {
		return 0, "", err
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return 0, "", fmt.Errorf("%s: %w", n.Name, err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return response.StatusCode, string(text), err
}

// PodFiles is the folder of a pod's volume, as the kubelet has it on the host:
// what is mounted into the container.
func (n *Node) PodFiles(pod *corev1.Pod, plugin, volume string) string {
	return filepath.Join(n.dir, "kubelet", "pods", string(pod.UID), "volumes", plugin, volume)
}

// Remove takes the node out of service, as its instance's end does: it ends all
// at once, with its containers, and the Node object goes.
func (n *Node) Remove(ctx context.Context) error {
	n.cluster.mu.Lock()
	for i, other := range n.cluster.nodes {
		if other == n {
			n.cluster.nodes = append(n.cluster.nodes[:i:i], n.cluster.nodes[i+1:]...)
			break
		}
	}
	n.cluster.mu.Unlock()
	err := errors.Join(n.CutOff(), n.stop())
	return errors.Join(err, n.cluster.Client.CoreV1().Nodes().Delete(ctx, n.Name, metav1.DeleteOptions{}))
}

// stop ends the node's programs at once, and its containers with them.
func (n *Node) stop() error {
	var errs []error
	if n.kubelet != nil {
		n.kubelet.Kill()
	}
	if n.containerd != nil {
		errs = append(errs, n.endContainers())
		n.containerd.Kill()
	}
	if n.server != nil {
		errs = append(errs, n.server.Close())
	}
	return errors.Join(errs...)
}

// start runs a program in the node's network. Its output is appended to NAME.log.
func (n *Node) start(name, path string, args ...string) (*child.Process, error) {
	nsenter, err := exec.LookPath("nsenter")
	if err != nil {
		return nil, err
	}
	args = append([]string{"--net=" + namespaceFile(n.Name), "--", path}, args...)
	return child.Start(nsenter, n.dir, args, []string{"PATH=" + os.Getenv("PATH")}, n.logFile(name))
}

func (n *Node) logFile(program string) string { return filepath.Join(n.dir, program+".log") }

// KubeletLog is what the kubelet has said.
func (n *Node) KubeletLog() (string, error) {
	text, err := os.ReadFile(n.logFile("kubelet"))
	return string(text), err
}

// Kubeconfig is the path of the kubelet's.
func (n *Node) Kubeconfig() string { return filepath.Join(n.dir, "kubeconfig") }

// tail is the end of a log, for error messages.
func tail(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-6000):])
}
