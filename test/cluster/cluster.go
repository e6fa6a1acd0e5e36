package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"k8s.io/client-go/kubernetes"

	"github.com/rolecall/rolecall/test/awsfake"
	"github.com/rolecall/rolecall/test/stage"
)

// Options say what a cluster is made of. The zero value is good.
type Options struct {
	// Authenticator is the path of aws-iam-authenticator. If given, its server says
	// who an IAM identity is in the cluster.
	Authenticator string
}

// A Cluster is a control plane, some nodes, and a stand-in for AWS. Its methods
// are for one goroutine but where they say otherwise.
type Cluster struct {
	Client       kubernetes.Interface // the administrator's
	ControlPlane *stage.ControlPlane
	AWS          *awsfake.AWS

	dir    string
	assets string
	images []string

	authenticator *authenticator // nil without one
	aws           *http.Server

	mu    sync.Mutex
	nodes []*Node
}

// Start starts a cluster without nodes. It has to run in the namespaces of
// [Main]. dir is for what it leaves: data and logs.
func Start(ctx context.Context, dir string, o Options) (_ *Cluster, err error) {
	archives := os.Getenv(insideVariable)
	if archives == "" {
		return nil, errors.New("a cluster runs in the namespaces that cluster.Main makes")
	}
	c := &Cluster{dir: dir, images: Images{Dir: archives}.archives(), AWS: awsfake.NewAWS(awsfake.AWSOptions{})}
	defer func() {
		if err != nil {
			_ = c.Close() // its error could only repeat err
		}
	}()
	if c.assets, err = stage.Assets(); err != nil {
		return nil, err
	}
	if err := makeBridge(); err != nil {
		return nil, err
	}
	if c.aws, err = serveAWS(c.AWS); err != nil {
		return nil, err
	}
	var flags []string
	if o.Authenticator != "" {
		if c.authenticator, err = newAuthenticator(ctx, o.Authenticator, dir); err != nil {
			return nil, err
		}
		flags = c.authenticator.flags()
	}
	c.ControlPlane, err = stage.Start(ctx, stage.Options{
		Dir: filepath.Join(dir, "control-plane"), Assets: c.assets, Address: apiServer, Nodes: true, APIServerFlags: flags,
	})
	if err != nil {
		return nil, err
	}
	if c.Client, err = kubernetes.NewForConfig(c.ControlPlane.Config()); err != nil {
		return nil, err
	}
	if err := c.ControlPlane.Kubeconfig(c.Kubeconfig()); err != nil {
		return nil, err
	}
	if c.authenticator == nil {
		return c, nil
	}
	certificate, err := c.ControlPlane.ServerCertificate(stsHost)
	if err != nil {
		return nil, err
	}
	return c, c.authenticator.start(ctx, certificate, c.ControlPlane.AuthorityFile(), c.Kubeconfig())
}

// serveAWS answers for IAM, STS and EC2 where agents are told to look for them.
func serveAWS(handler http.Handler) (*http.Server, error) {
	listener, err := net.Listen("tcp4", gateway.String()+":80")
	if err != nil {
		return nil, err
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	go server.Serve(listener) //nolint:errcheck // always ErrServerClosed
	return server, nil
}

// AWSURL is where nodes and pods find the stand-in for AWS.
func (c *Cluster) AWSURL() string { return "http://" + gateway.String() }

// Kubeconfig is the path of the administrator's kubeconfig.
func (c *Cluster) Kubeconfig() string { return filepath.Join(c.dir, "kubeconfig") }

// Nodes returns all nodes that were not removed, in the order in which they were
// added. It may be called from several goroutines.
func (c *Cluster) Nodes() []*Node {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.nodes)
}

// Node finds a node by its name.
func (c *Cluster) Node(name string) (*Node, error) {
	for _, n := range c.Nodes() {
		if n.Name == name {
			return n, nil
		}
	}
	return nil, fmt.Errorf("there is no node %q", name)
}

// Close ends all nodes with their containers, and the control plane, and takes away
// what kubelets have mounted.
func (c *Cluster) Close() error {
	var errs []error
	for _, n := range c.Nodes() {
		errs = append(errs, n.stop())
	}
	if c.authenticator != nil {
		errs = append(errs, c.authenticator.close())
	}
	if c.aws != nil {
		errs = append(errs, c.aws.Close())
	}
	if c.ControlPlane != nil {
		errs = append(errs, c.ControlPlane.Stop())
	}
	return errors.Join(append(errs, unmount(c.dir))...)
}
