package fleet

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/test/awsfake"
	"github.com/rolecall/rolecall/test/stage"
)

// LeaseName is the leader's Lease, as the agent calls it by default.
const LeaseName = "rolecall"

// Options say what a fleet is made of. ControlPlane, Binary and Dir are required.
type Options struct {
	ControlPlane *stage.ControlPlane
	Binary       string // path of rolecall, as [Build] returns it
	Dir          string // a folder for the fleet's own, which is left to the caller

	// Namespace of the agents. By default it and that of aws-auth are the
	// manifests'. With any other the fleet keeps to itself: its aws-auth lies in
	// NAMESPACE-kube-system, so that several fleets can share a control plane.
	Namespace string

	// AWSAuthNamespace is that of another fleet, whose aws-auth is this one's too: a
	// second installation in the same cluster. It needs a Namespace. By default a fleet
	// has an aws-auth of its own.
	AWSAuthNamespace string

	// Overlay of manifests/overlays that is installed in place of
	// manifests/install.yaml. It takes kubectl.
	Overlay string

	// Manifests is a file that is installed in place of manifests/install.yaml, such
	// as that of another version.
	Manifests string

	Config map[string]string // files of the ConfigMap that all nodes mount at first
	Flags  []string          // of every agent, after those that the fleet gives
	AWS    awsfake.AWSOptions

	// Through changes the configuration with which the agent of a node reaches the
	// API server, such as to lead it through a proxy. The administrator's stays.
	Through func(node string, config *rest.Config) *rest.Config
}

// A Fleet is some nodes of one cluster, each with its agent. Its methods, and
// those of its nodes, are safe for concurrent use.
type Fleet struct {
	Client           kubernetes.Interface // the cluster's administrator
	AWS              *awsfake.AWS
	Namespace        string // of the agents
	AWSAuthNamespace string

	options Options

	mu     sync.Mutex
	config map[string]string
	nodes  []*Node
}

// New installs the manifests and starts the stand-in for AWS. ctx bounds that
// alone: end the fleet with [Fleet.Close].
func New(ctx context.Context, o Options) (*Fleet, error) {
	f := &Fleet{options: o, config: o.Config, Namespace: o.Namespace, AWSAuthNamespace: o.Namespace + "-kube-system"}
	if o.Namespace == "" || o.Namespace == DefaultNamespace {
		f.Namespace, f.AWSAuthNamespace = DefaultNamespace, awsauth.Namespace
	}
	own := func(name string) string { return name }
	if o.AWSAuthNamespace != "" {
		f.AWSAuthNamespace = o.AWSAuthNamespace
		own = func(name string) string { return name + "-" + o.Namespace } // beside those of the other fleet
	}
	var err error
	if f.Client, err = kubernetes.NewForConfig(o.ControlPlane.Config()); err != nil {
		return nil, err
	}
	if err := install(ctx, &o, f.Namespace, f.AWSAuthNamespace, own); err != nil {
		return nil, err
	}
	if err := o.ControlPlane.Kubeconfig(f.Kubeconfig()); err != nil {
		return nil, err
	}
	f.AWS = awsfake.NewAWS(o.AWS)
	if _, err := f.AWS.Start(); err != nil {
		return nil, err
	}
	return f, nil
}

// Kubeconfig is the path of the administrator's kubeconfig.
func (f *Fleet) Kubeconfig() string { return filepath.Join(f.options.Dir, "kubeconfig") }

// Add adds a node whose instance has an IAM role, or none if that is empty. Its
// agent is not started yet.
func (f *Fleet) Add(ctx context.Context, name, role string) (*Node, error) {
	return f.add(ctx, name, role, serviceAccount)
}

// AddReporter adds a node whose agent only reports, by the rights that the
// overlay hardened gives it.
func (f *Fleet) AddReporter(ctx context.Context, name, role string) (*Node, error) {
	return f.add(ctx, name, role, reporterAccount)
}

func (f *Fleet) add(ctx context.Context, name, role, account string) (*Node, error) {
	dir := filepath.Join(f.options.Dir, name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	mount, err := NewMount(filepath.Join(dir, "config"), f.config)
	if err != nil {
		return nil, fmt.Errorf("mount the config of %s: %w", name, err)
	}
	token, err := f.podToken(ctx, name, account)
	if err != nil {
		return nil, err
	}
	if f.options.Through != nil {
		token = f.options.Through(name, token)
	}
	token.BearerTokenFile = filepath.Join(dir, "token")
	kubeconfig := filepath.Join(dir, "kubeconfig")
	if err := stage.WriteKubeconfig(kubeconfig, token); err != nil {
		return nil, err
	}
	imds := awsfake.NewIMDS(awsfake.IMDSOptions{Role: role, AccountID: f.options.AWS.AccountID, Region: f.options.AWS.Region})
	if _, err := imds.Start(); err != nil {
		return nil, err
	}
	n := &Node{Name: name, IMDS: imds, Mount: mount, ReportOnly: account == reporterAccount, fleet: f, dir: dir, kubeconfig: kubeconfig}
	if err := n.SetToken(token.BearerToken); err != nil {
		return nil, err
	}
	f.nodes = append(f.nodes, n)
	return n, f.count(ctx)
}

// podToken makes the pod of a node's agent, anew where there is one, and
// returns a token of it, as the kubelet would mount it.
func (f *Fleet) podToken(ctx context.Context, node, account string) (*rest.Config, error) {
	pods := f.Client.CoreV1().Pods(f.Namespace)
	now := metav1.DeleteOptions{GracePeriodSeconds: new(int64)}
	if err := pods.Delete(ctx, PodName(node), now); err != nil && !apierrors.IsNotFound(err) {
		return nil, err
	}
	pod, err := pods.Create(ctx, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: PodName(node)},
		Spec: corev1.PodSpec{
			ServiceAccountName: account, NodeName: node,
			Containers: []corev1.Container{{Name: "agent", Image: "runs-as-a-process"}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		return nil, err
	}
	return f.options.ControlPlane.PodConfig(ctx, pod)
}

// PodName is what the pod of a node's agent is called.
func PodName(node string) string { return "rolecall-" + node }

// count does what the DaemonSet's controller would: it says how many agents
// there are that may lead. Called with mu held.
func (f *Fleet) count(ctx context.Context) error {
	sets := f.Client.AppsV1().DaemonSets(f.Namespace)
	set, err := sets.Get(ctx, daemonSet, metav1.GetOptions{})
	if err != nil {
		return err
	}
	set.Status.DesiredNumberScheduled = 0
	for _, n := range f.nodes {
		if !n.ReportOnly {
			set.Status.DesiredNumberScheduled++
		}
	}
	_, err = sets.UpdateStatus(ctx, set, metav1.UpdateOptions{})
	return err
}

// Nodes returns all nodes in the order in which they were added.
func (f *Fleet) Nodes() []*Node {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.nodes)
}

// Swap brings new files to every node's mount, those added later included.
func (f *Fleet) Swap(files map[string]string) error {
	f.mu.Lock()
	f.config = files
	f.mu.Unlock()
	for _, n := range f.Nodes() {
		if err := n.Mount.Swap(files); err != nil {
			return fmt.Errorf("swap the mount of %s: %w", n.Name, err)
		}
	}
	return nil
}

// Leader returns the node whose agent leads: the only one that says so, the
// Lease says it too, and the process lives. It fails where there is no such one
// at the moment.
func (f *Fleet) Leader(ctx context.Context) (*Node, error) {
	var leaders []*Node
	for _, n := range f.Nodes() {
		if !n.Running() {
			continue
		}
		metrics, err := n.Metrics(ctx)
		if err != nil {
			return nil, err
		}
		if v, _ := metrics.Value("rolecall_leader"); v == 1 {
			leaders = append(leaders, n)
		}
	}
	if len(leaders) != 1 {
		return nil, fmt.Errorf("%d agents lead", len(leaders))
	}
	lease, err := f.Client.CoordinationV1().Leases(f.Namespace).Get(ctx, LeaseName, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	holder := ""
	if lease.Spec.HolderIdentity != nil {
		holder, _, _ = strings.Cut(*lease.Spec.HolderIdentity, "_") // NODE_RANDOM
	}
	if holder != leaders[0].Name {
		return nil, fmt.Errorf("%s says that it leads, and the Lease that %q does", leaders[0].Name, holder)
	}
	return leaders[0], nil
}

// AWSAuth reads aws-auth.
func (f *Fleet) AWSAuth(ctx context.Context) (*corev1.ConfigMap, error) {
	return f.Client.CoreV1().ConfigMaps(f.AWSAuthNamespace).Get(ctx, awsauth.Name, metav1.GetOptions{})
}

// Close ends all agents at once, waits for them, and ends the stand-ins. What is
// in the cluster stays.
func (f *Fleet) Close() error {
	var errs []error
	for _, n := range f.Nodes() {
		n.Kill()
		errs = append(errs, n.IMDS.Close())
	}
	return errors.Join(append(errs, f.AWS.Close())...)
}
