package cli

import (
	"fmt"
	"os"
	"strings"

	"github.com/prometheus/common/version"
	"github.com/spf13/pflag"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// defaultNamespace is that of the manifests.
const defaultNamespace = "rolecall-system"

// kubeFlags are kubectl's own flags for reaching a cluster.
type kubeFlags struct {
	kubeconfig string
	overrides  clientcmd.ConfigOverrides
	namespace  string
}

// addTo adds --kubeconfig, --context, --as, --as-group and --namespace.
func (k *kubeFlags) addTo(flags *pflag.FlagSet) {
	flags.StringVar(&k.kubeconfig, "kubeconfig", "", "path of the kubeconfig (default: KUBECONFIG, ~/.kube/config, or in a pod its ServiceAccount)")
	flags.StringVar(&k.overrides.CurrentContext, "context", "", "name of the kubeconfig's context")
	flags.StringVar(&k.overrides.AuthInfo.Impersonate, "as", "", "username to impersonate")
	flags.StringSliceVar(&k.overrides.AuthInfo.ImpersonateGroups, "as-group", nil, "groups to impersonate: a,b or repeated; one with a comma in double quotes")
	flags.StringVarP(&k.namespace, "namespace", "n", "", "namespace of the agent (default: POD_NAMESPACE, else the pod's, else "+defaultNamespace+")")
}

// config loads the client's configuration.
func (k *kubeFlags) config() (*rest.Config, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = k.kubeconfig
	cfg, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &k.overrides).ClientConfig()
	if err != nil {
		if clientcmd.IsEmptyConfig(err) {
			if path := os.Getenv(clientcmd.RecommendedConfigPathEnvVar); path != "" {
				return nil, fmt.Errorf("no cluster to talk to: there is nothing at %s, which KUBECONFIG names: set it anew, or give --kubeconfig", path)
			}
			return nil, fmt.Errorf("no cluster to talk to: give --kubeconfig or set KUBECONFIG")
		}
		return nil, fmt.Errorf("load kubeconfig: %w", err)
	}
	return tuned(cfg), nil
}

// client connects to the cluster; it makes no request.
func (k *kubeFlags) client() (kubernetes.Interface, error) {
	cfg, err := k.config()
	if err != nil {
		return nil, err
	}
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return nil, fmt.Errorf("connect to the cluster: %w", err)
	}
	return client, nil
}

// tuned names the program in the API server's logs, speaks protobuf, and leaves
// limiting to the API server's priority and fairness.
func tuned(cfg *rest.Config) *rest.Config {
	cfg = rest.CopyConfig(cfg)
	cfg.UserAgent = program + "/" + version.Version
	cfg.ContentType = "application/vnd.kubernetes.protobuf"
	cfg.AcceptContentTypes = "application/vnd.kubernetes.protobuf,application/json"
	cfg.QPS = -1
	return cfg
}

// agentNamespace is the namespace given, else the pod's, else the manifests'.
func agentNamespace(given string) string {
	if given != "" {
		return given
	}
	if ns := os.Getenv("POD_NAMESPACE"); ns != "" {
		return ns
	}
	if ns, err := os.ReadFile("/var/run/secrets/kubernetes.io/serviceaccount/namespace"); err == nil {
		return strings.TrimSpace(string(ns))
	}
	return defaultNamespace
}
