package cluster

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/rolecall/rolecall/test/awsfake"
	"github.com/rolecall/rolecall/test/child"
	"github.com/rolecall/rolecall/test/fleet"
)

// clusterID is what tokens are signed for.
const clusterID = "e2e"

// An authenticator is aws-iam-authenticator's own server: the API server asks it
// who a token is, and it asks STS, and aws-auth.
type authenticator struct {
	program string
	dir     string
	sts     sts
	server  *http.Server // of STS
	process *child.Process
}

// newAuthenticator makes its certificate and what the API server is told of it.
func newAuthenticator(ctx context.Context, program, dir string) (*authenticator, error) {
	a := &authenticator{program: program, dir: filepath.Join(dir, "authenticator"), sts: sts{callers: map[string]string{}}}
	if err := os.MkdirAll(a.dir, 0o700); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, program, "init", "--cluster-id="+clusterID)
	cmd.Dir = a.dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("aws-iam-authenticator init: %w: %s", err, bytes.TrimSpace(out))
	}
	return a, nil
}

// flags are those of the API server. It forgets who a token was after a second,
// not after two minutes, so that a test of who may not enter any more is short.
func (a *authenticator) flags() []string {
	return []string{
		"--authentication-token-webhook-config-file=" + filepath.Join(a.dir, "aws-iam-authenticator.kubeconfig"),
		"--authentication-token-webhook-cache-ttl=1s",
	}
}

// start starts the server, and STS for it.
func (a *authenticator) start(ctx context.Context, certificate tls.Certificate, authority, kubeconfig string) (err error) {
	if a.server, err = a.sts.serve(certificate); err != nil {
		return err
	}
	log := filepath.Join(a.dir, "server.log")
	a.process, err = child.Start(a.program, a.dir, []string{
		"server", "--cluster-id=" + clusterID, "--backend-mode=EKSConfigMap", "--kubeconfig=" + kubeconfig,
		"--kubeconfig-pregenerated", "--state-dir=" + a.dir,
	}, []string{
		"SSL_CERT_FILE=" + authority, "AWS_REGION=eu-west-3", "AWS_EC2_METADATA_DISABLED=true",
		"AWS_ENDPOINT_URL_EC2=http://" + gateway.String(), "AWS_ACCESS_KEY_ID=AKIAIOSFODNN7EXAMPLE", "AWS_SECRET_ACCESS_KEY=" + awsfake.ExampleSecret,
	}, log)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	_, err = fleet.Until(ctx, func(ctx context.Context) error {
		if a.process.Ended() {
			return a.process.Err()
		}
		conn, err := new(net.Dialer).DialContext(ctx, "tcp4", "127.0.0.1:21362")
		if err == nil {
			err = conn.Close()
		}
		return err
	})
	if err != nil {
		err = fmt.Errorf("start aws-iam-authenticator: %w\n%s", err, tail(log))
	}
	return err
}

func (a *authenticator) close() error {
	if a.process != nil {
		a.process.Kill()
	}
	if a.server == nil {
		return nil
	}
	return a.server.Close()
}

// IAMKubeconfig writes the kubeconfig of an IAM identity to a file: its client signs
// a token with the identity's access key, as the AWS CLI and aws-iam-authenticator
// do.
func (c *Cluster) IAMKubeconfig(path, arn string) error {
	key := "AKIA" + strings.ToUpper(rand.Text()[:16])
	c.authenticator.sts.know(key, arn)
	return c.writeExecKubeconfig(path, map[string]string{
		"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": awsfake.ExampleSecret, "AWS_REGION": "eu-west-3", "AWS_EC2_METADATA_DISABLED": "true",
	})
}

// writeExecKubeconfig writes a kubeconfig whose client runs aws-iam-authenticator
// for its token.
func (c *Cluster) writeExecKubeconfig(path string, env map[string]string) error {
	if c.authenticator == nil {
		return errors.New("the cluster was started without aws-iam-authenticator")
	}
	config := c.ControlPlane.Config()
	const name = "iam"
	kubeconfig := clientcmdapi.NewConfig()
	kubeconfig.Clusters[name] = &clientcmdapi.Cluster{Server: config.Host, CertificateAuthorityData: config.CAData}
	plugin := &clientcmdapi.ExecConfig{
		APIVersion: "client.authentication.k8s.io/v1beta1", Command: c.authenticator.program,
		Args: []string{"token", "--cluster-id", clusterID}, InteractiveMode: clientcmdapi.NeverExecInteractiveMode,
	}
	for name, value := range env {
		plugin.Env = append(plugin.Env, clientcmdapi.ExecEnvVar{Name: name, Value: value})
	}
	kubeconfig.AuthInfos[name] = &clientcmdapi.AuthInfo{Exec: plugin}
	kubeconfig.Contexts[name] = &clientcmdapi.Context{Cluster: name, AuthInfo: name}
	kubeconfig.CurrentContext = name
	return clientcmd.WriteToFile(*kubeconfig, path)
}
