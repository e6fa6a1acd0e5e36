package aws

import (
	"cmp"
	"net/http"
	"net/netip"
	"net/url"
	"sync"

	"golang.org/x/net/http/httpproxy"
)

// proxies chooses the proxy for a request: that of the environment (HTTPS_PROXY,
// HTTP_PROXY, NO_PROXY as net/http reads them), and none for a link-local address,
// whatever NO_PROXY says. It is safe for concurrent use.
type proxies struct {
	of func(*url.URL) (*url.URL, error)
}

// newProxies reads the environment once.
func newProxies() proxies { return proxies{httpproxy.FromEnvironment().ProxyFunc()} }

// choose is the Proxy of an [http.Transport]. It notes in the request's call which
// one was chosen.
func (p proxies) choose(r *http.Request) (*url.URL, error) {
	var proxy *url.URL
	if !linkLocal(r.URL.Hostname()) {
		var err error
		if proxy, err = p.of(r.URL); err != nil {
			return nil, err
		}
	}
	if way, ok := r.Context().Value(wayKey{}).(*way); ok {
		way.set(r.URL, proxy)
	}
	return proxy, nil
}

// ec2Local is where EC2 has its services of the node over IPv6: fd00:ec2::254 is IMDS,
// fd00:ec2::23 EKS Pod Identity
// (https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html,
// https://docs.aws.amazon.com/eks/latest/userguide/pod-id-how-it-works.html).
var ec2Local = netip.MustParsePrefix("fd00:ec2::/32")

// linkLocal reports whether a host is an address that only the node itself has:
// 169.254.169.254 of IMDS, 169.254.170.2 and 169.254.170.23 of container credentials,
// and those of IPv6. A proxy asks its own node there, or nobody.
func linkLocal(host string) bool {
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return false
	}
	addr = addr.Unmap().WithZone("")
	return addr.IsLinkLocalUnicast() || ec2Local.Contains(addr)
}

// A way is how the last request of a call was sent.
type way struct {
	mu    sync.Mutex
	host  string // that was asked
	proxy string // scheme, host and port; empty for none
}

type wayKey struct{}

func (w *way) set(to, proxy *url.URL) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.host, w.proxy = to.Hostname(), ""
	if proxy != nil {
		w.proxy = shown(proxy)
	}
}

func (w *way) get() (host, proxy string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.host, w.proxy
}

// noWay is what to do where a host does not answer.
func noWay(host, proxy string) string {
	switch {
	case proxy != "":
		return host + " is asked through the proxy " + proxy + ": have the proxy let it through, " +
			"or add " + host + " to NO_PROXY where it is reached without (a VPC endpoint)"
	case host == "169.254.169.254" || host == "fd00:ec2::254":
		return host + " is the node's instance metadata service, which is asked without a proxy: " +
			"look whether it is switched on, and whether the pod is on the host's network where its hop limit is 1"
	case linkLocal(host):
		return host + " is on the node itself and is asked without a proxy: look whether the EKS Pod Identity agent " +
			"(DaemonSet eks-pod-identity-agent) runs on this node, and whether a NetworkPolicy keeps the pod from it"
	}
	return "look for a way from the node to AWS: a NAT gateway, a VPC endpoint or HTTPS_PROXY"
}

// Unanswered is what to look at while requests to AWS wait for their answers: the
// environment's proxy where one is set, else the way to AWS.
func Unanswered() string {
	proxy, err := newProxies().of(&url.URL{Scheme: "https", Host: "iam.amazonaws.com"})
	if err != nil || proxy == nil {
		return noWay("", "")
	}
	return "requests go through the proxy " + shown(proxy) + ": look whether it lets AWS through, " +
		"and add to NO_PROXY what is reached without it (VPC endpoints)"
}

// shown is a proxy without its user and password.
func shown(proxy *url.URL) string { return cmp.Or(proxy.Scheme, "http") + "://" + proxy.Host }
