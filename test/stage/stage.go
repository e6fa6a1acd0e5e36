package stage

import (
	"context"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"k8s.io/client-go/rest"
)

// startTimeout bounds the start of a control plane, and of an API server alone,
// on a machine that is busy with something else. Undisturbed it takes seconds.
const startTimeout = 2 * time.Minute

// Options say how a control plane is run. The zero value is good.
type Options struct {
	// Dir is where data, keys and logs are kept: a folder that is empty or not
	// there yet, and that stays after Stop. Default: a temporary one that goes.
	Dir string
	// Assets is the folder with etcd and kube-apiserver. Default: see [Assets].
	Assets string
	// AuditLog is a file that gets a line of JSON (audit.k8s.io/v1 Event, level
	// Metadata) for each request, before it is answered. Default: none.
	AuditLog string
	// Address is where the API server listens. Default: a free port of 127.0.0.1.
	Address netip.AddrPort
	// Nodes makes this the control plane of a whole cluster, which kubelets join:
	// kube-controller-manager and kube-scheduler run too, pods get ServiceAccounts,
	// and a node may do what its name lets it (Node authorizer, NodeRestriction).
	// Pods look for the API server at 10.0.0.1:443, the Service "kubernetes"; that
	// it is found there is the caller's to see to.
	Nodes bool
	// APIServerFlags come after ours, so they win: "--v=4".
	APIServerFlags []string
	// Logger is told what is started and stopped. Default: nobody is.
	Logger *slog.Logger
}

// A ControlPlane is a running etcd and kube-apiserver. Its methods may be called
// from several goroutines.
type ControlPlane struct {
	assets, dir, url string
	keep             bool // dir
	flags            []string
	authority        *authority
	admin            keyPair
	log              *slog.Logger

	mu              sync.Mutex // held while a process is started or stopped
	etcd, apiserver *process   // nil when not running
	controllers     []*process // with Options.Nodes
}

// Start runs a control plane and returns when it is ready to be used: the API
// server says so, RBAC's default roles are there and so is kube-system. It gives
// up when ctx ends or after 2 minutes; then nothing is left running. ctx is only
// for the start: end the control plane with [ControlPlane.Stop].
func Start(ctx context.Context, o Options) (_ *ControlPlane, err error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	cp := &ControlPlane{assets: o.Assets, dir: o.Dir, keep: o.Dir != "", log: o.Logger}
	if cp.log == nil {
		cp.log = slog.New(slog.DiscardHandler)
	}
	if cp.assets == "" {
		cp.assets, err = Assets()
	} else {
		cp.assets, err = complete(cp.assets)
	}
	if err != nil {
		return nil, err
	}
	if cp.keep {
		if cp.dir, err = filepath.Abs(cp.dir); err == nil {
			err = os.MkdirAll(cp.dir, 0o700)
		}
	} else {
		cp.dir, err = os.MkdirTemp("", "rolecall-stage-")
	}
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = cp.Stop() // its error could only repeat err
		}
	}()

	etcdPort, err := FreePort()
	if err != nil {
		return nil, err
	}
	address := o.Address
	if !address.IsValid() {
		port, err := FreePort()
		if err != nil {
			return nil, err
		}
		address = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(port))
	}
	cp.url = "https://" + address.String()
	etcdURL := "https://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(etcdPort))
	if err := cp.prepare(address.Addr()); err != nil {
		return nil, err
	}
	cp.flags = slices.Concat(apiserverFlags(etcdURL, address), admissionFlags(o.Nodes))
	if o.AuditLog != "" {
		path, err := filepath.Abs(o.AuditLog)
		if err != nil {
			return nil, err
		}
		cp.flags = append(cp.flags, "--audit-policy-file=audit-policy.yaml", "--audit-log-path="+path)
	}
	cp.flags = append(cp.flags, o.APIServerFlags...)

	cp.etcd, err = start(filepath.Join(cp.assets, "etcd"), cp.dir, etcdFlags(etcdURL)...)
	if err != nil {
		return nil, err
	}
	if err := cp.StartAPIServer(ctx); err != nil {
		return nil, err
	}
	if o.Nodes {
		if err := cp.startControllers(); err != nil {
			return nil, err
		}
	}
	return cp, nil
}

// prepare writes the files that the programs' flags name. The API server is
// found at an address.
func (cp *ControlPlane) prepare(address netip.Addr) (err error) {
	if cp.authority, err = newAuthority(); err != nil {
		return err
	}
	server, err := cp.authority.issue(pkix.Name{CommonName: "server"}, address.String())
	if err != nil {
		return err
	}
	cp.admin, err = cp.authority.issue(pkix.Name{CommonName: "admin", Organization: []string{"system:masters"}})
	if err != nil {
		return err
	}
	_, accountKey, err := newKey()
	if err != nil {
		return err
	}
	for name, text := range map[string][]byte{
		"ca.crt": cp.authority.pem, "server.crt": server.cert, "server.key": server.key,
		"admin.crt": cp.admin.cert, "admin.key": cp.admin.key,
		"service-account.key": accountKey, "audit-policy.yaml": []byte(auditPolicy),
	} {
		if err := os.WriteFile(filepath.Join(cp.dir, name), text, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// auditPolicy records who asked for what, once a request, without bodies.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules: [{level: Metadata}]
`

// etcdFlags: speed in exchange for what a crash of the machine would lose, and
// client certificates, so that no other stage's API server finds this etcd.
func etcdFlags(url string) []string {
	return []string{
		"--data-dir=etcd",
		"--listen-client-urls=" + url, "--advertise-client-urls=" + url,
		"--listen-peer-urls=http://127.0.0.1:0", // there are no peers
		"--cert-file=server.crt", "--key-file=server.key", "--trusted-ca-file=ca.crt", "--client-cert-auth",
		"--unsafe-no-fsync", "--enable-grpc-gateway=false", "--log-level=warn",
	}
}

func apiserverFlags(etcdURL string, address netip.AddrPort) []string {
	return []string{
		"--bind-address=" + address.Addr().String(), "--advertise-address=" + address.Addr().String(), "--secure-port=" + strconv.Itoa(int(address.Port())),
		"--etcd-servers=" + etcdURL, "--etcd-cafile=ca.crt", "--etcd-certfile=server.crt", "--etcd-keyfile=server.key",
		"--tls-cert-file=server.crt", "--tls-private-key-file=server.key", "--client-ca-file=ca.crt",
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=service-account.key", "--service-account-signing-key-file=service-account.key",
		"--service-cluster-ip-range=10.0.0.0/24",
		"--endpoint-reconciler-type=none", // no kube-proxy here asks where the Service kubernetes leads
	}
}

// admissionFlags say who may do what, in a cluster with real nodes and without.
func admissionFlags(nodes bool) []string {
	if nodes {
		return []string{
			"--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction",
			"--kubelet-client-certificate=admin.crt", "--kubelet-client-key=admin.key",
			"--kubelet-preferred-address-types=InternalIP", // nobody here resolves the names of nodes
		}
	}
	return []string{
		"--authorization-mode=RBAC",
		"--disable-admission-plugins=ServiceAccount", // it waits for a controller to make default accounts
	}
}

// URL is the API server's address, https://127.0.0.1:PORT.
func (cp *ControlPlane) URL() string { return cp.url }

// AuthorityFile is the certificate of the authority that the API server trusts,
// PEM-encoded, for servers that are to trust the same.
func (cp *ControlPlane) AuthorityFile() string { return filepath.Join(cp.dir, "ca.crt") }

// StartAPIServer starts the API server again after [ControlPlane.StopAPIServer],
// on the same port and data, and returns when it is ready, or fails after 2
// minutes; then it is not running. One that is running is only waited for.
func (cp *ControlPlane) StartAPIServer(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	client, err := rest.HTTPClientFor(cp.Config())
	if err != nil {
		return err
	}
	cp.mu.Lock()
	defer cp.mu.Unlock()
	begin := time.Now()
	if cp.apiserver == nil {
		cp.apiserver, err = start(filepath.Join(cp.assets, "kube-apiserver"), cp.dir, cp.flags...)
		if err != nil {
			return err
		}
	}
	// The system's namespaces are made after the server calls itself ready.
	for _, path := range []string{"/readyz", "/api/v1/namespaces/kube-system"} {
		err := cp.apiserver.until(ctx, func(ctx context.Context) error { return get(ctx, client, cp.url+path) })
		if err != nil {
			_ = stop(&cp.apiserver) // its error could only repeat err
			return err
		}
	}
	cp.log.Info("api server ready", "url", cp.url, "pid", cp.apiserver.Pid, "dir", cp.dir, "took", time.Since(begin))
	return nil
}

func get(ctx context.Context, client *http.Client, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s: %s", url, response.Status, body)
	}
	return nil
}

// StopAPIServer ends the API server and returns when it has gone; etcd runs on.
// Clients see their connections closed, then refused. It does nothing if the
// server is not running, and fails if that had ended by itself.
func (cp *ControlPlane) StopAPIServer() error {
	cp.mu.Lock()
	defer cp.mu.Unlock()
	return stop(&cp.apiserver)
}

// RestartAPIServer stops the API server and starts it.
func (cp *ControlPlane) RestartAPIServer(ctx context.Context) error {
	if err := cp.StopAPIServer(); err != nil {
		return err
	}
	return cp.StartAPIServer(ctx)
}

// Pause freezes the API server: connections are accepted, nothing is answered.
func (cp *ControlPlane) Pause() error {
	return cp.running(func(p *process) error { return p.Pause() })
}

// Resume ends a [ControlPlane.Pause].
func (cp *ControlPlane) Resume() error {
	return cp.running(func(p *process) error { return p.Signal(syscall.SIGCONT) })
}

// running does something with the API server's process.
func (cp *ControlPlane) running(do func(*process) error) error {
	cp.mu.Lock()
	defer cp.mu.Unlock()
	if cp.apiserver == nil {
		return errors.New("the API server is not running")
	}
	return do(cp.apiserver)
}

// Stop ends all processes, waits until they have gone and removes the temporary
// folder. The error says if one had ended before, by itself. A second Stop does
// nothing.
func (cp *ControlPlane) Stop() error {
	cp.mu.Lock()
	defer cp.mu.Unlock()
	err := cp.stopControllers()
	err = errors.Join(err, stop(&cp.apiserver), stop(&cp.etcd))
	if !cp.keep {
		err = errors.Join(err, os.RemoveAll(cp.dir))
	}
	return err
}

func stop(p **process) error {
	if *p == nil {
		return nil
	}
	defer func() { *p = nil }()
	return (*p).stop()
}

var foundPorts sync.Map // by port

// FreePort finds a port of the loopback address to listen on. It stays below
// what Linux (32768) and the BSDs (49152) hand out to outgoing connections: a
// client that keeps dialling the port of a stopped server would sooner or later
// be given that very port, and then hold it. It finds none twice in one
// process: a port is free again from here until a server listens to it.
func FreePort() (int, error) {
	last := errors.New("all were given before")
	for range 100 {
		port := 20000 + rand.IntN(10000)
		if _, found := foundPorts.LoadOrStore(port, true); found {
			continue
		}
		listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err == nil {
			return port, listener.Close()
		}
		last = err
	}
	return 0, fmt.Errorf("find a free port from 20000 to 29999: %w", last)
}
