package stage

import (
	"context"
	"crypto/x509/pkix"
	"fmt"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// Config is a new client configuration of the cluster's administrator, a member
// of system:masters. No configuration of this package limits its client's rate.
func (cp *ControlPlane) Config() *rest.Config { return cp.certificateConfig(cp.admin) }

// UserConfig is a client configuration of the user with this name and these
// groups, by a client certificate. RBAC decides what the user may do.
func (cp *ControlPlane) UserConfig(name string, groups ...string) (*rest.Config, error) {
	pair, err := cp.authority.issue(pkix.Name{CommonName: name, Organization: groups})
	if err != nil {
		return nil, err
	}
	return cp.certificateConfig(pair), nil
}

// ServiceAccountConfig is a client configuration of a ServiceAccount, which has
// to exist, by a token bound to it and good for a day. RBAC decides what it may
// do.
func (cp *ControlPlane) ServiceAccountConfig(ctx context.Context, namespace, name string) (*rest.Config, error) {
	return cp.tokenConfig(ctx, namespace, name, nil)
}

// PodConfig is a client configuration of a Pod: a token of its ServiceAccount
// that is bound to the Pod as the kubelet's is. It names the Pod's node, and
// ends with the Pod.
func (cp *ControlPlane) PodConfig(ctx context.Context, pod *corev1.Pod) (*rest.Config, error) {
	return cp.tokenConfig(ctx, pod.Namespace, pod.Spec.ServiceAccountName,
		&authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: pod.Name, UID: pod.UID})
}

func (cp *ControlPlane) tokenConfig(ctx context.Context, namespace, account string, bound *authenticationv1.BoundObjectReference) (*rest.Config, error) {
	client, err := kubernetes.NewForConfig(cp.Config())
	if err != nil {
		return nil, err
	}
	seconds := int64((24 * time.Hour).Seconds())
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &seconds, BoundObjectRef: bound}}
	token, err := client.CoreV1().ServiceAccounts(namespace).CreateToken(ctx, account, request, metav1.CreateOptions{})
	if err != nil {
		return nil, fmt.Errorf("request a token of service account %s/%s: %w", namespace, account, err)
	}
	config := cp.certificateConfig(keyPair{})
	config.BearerToken = token.Status.Token
	return config, nil
}

func (cp *ControlPlane) certificateConfig(pair keyPair) *rest.Config {
	return &rest.Config{
		Host:            cp.url,
		TLSClientConfig: rest.TLSClientConfig{CAData: cp.authority.pem, CertData: pair.cert, KeyData: pair.key},
		QPS:             -1,
	}
}

// Kubeconfig writes the administrator's kubeconfig to a file, mode 0600.
func (cp *ControlPlane) Kubeconfig(path string) error { return WriteKubeconfig(path, cp.Config()) }

// WriteKubeconfig writes a configuration of this package as a kubeconfig file,
// mode 0600, for programs that run as processes of their own. A token file is
// named in it, and its token left out.
func WriteKubeconfig(path string, config *rest.Config) error {
	const name = "stage"
	if config.BearerTokenFile != "" {
		config = rest.CopyConfig(config)
		config.BearerToken = "" // in a kubeconfig it would win
	}
	kubeconfig := clientcmdapi.NewConfig()
	kubeconfig.Clusters[name] = &clientcmdapi.Cluster{Server: config.Host, CertificateAuthorityData: config.CAData}
	kubeconfig.AuthInfos[name] = &clientcmdapi.AuthInfo{
		ClientCertificateData: config.CertData, ClientKeyData: config.KeyData,
		Token: config.BearerToken, TokenFile: config.BearerTokenFile,
	}
	kubeconfig.Contexts[name] = &clientcmdapi.Context{Cluster: name, AuthInfo: name}
	kubeconfig.CurrentContext = name
	return clientcmd.WriteToFile(*kubeconfig, path)
}

// CreateNamespace makes sure that the namespace exists.
func (cp *ControlPlane) CreateNamespace(ctx context.Context, name string) error {
	_, err := cp.createNamespace(ctx, metav1.ObjectMeta{Name: name})
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}

// Namespace makes a namespace of a test's own and returns its name.
func (cp *ControlPlane) Namespace(tb testing.TB) string {
	tb.Helper()
	name, err := cp.createNamespace(tb.Context(), metav1.ObjectMeta{GenerateName: "test-"})
	if err != nil {
		tb.Fatalf("create a namespace: %v", err)
	}
	return name
}

func (cp *ControlPlane) createNamespace(ctx context.Context, meta metav1.ObjectMeta) (string, error) {
	client, err := kubernetes.NewForConfig(cp.Config())
	if err != nil {
		return "", err
	}
	namespace, err := client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: meta}, metav1.CreateOptions{})
	if err != nil {
		return "", err
	}
	return namespace.Name, nil
}
