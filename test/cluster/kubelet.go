package cluster

import (
	"fmt"
	"path/filepath"
	"text/template"

	"github.com/rolecall/rolecall/test/stage"
)

// kubeletConfig is a node's as a cluster has it, but for what this machine may not
// have (cgroup v2, no swap, room on the disk), and for leases that are renewed
// more often, so that a node that is gone is noticed sooner.
//
// The kubelet watches the ConfigMaps of its pods, as its default is; an edit
// reaches the mount with its next look at the pod, within a minute.
var kubeletConfig = template.Must(template.New("kubelet").Parse(`apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication:
  anonymous: {enabled: false}
  webhook: {enabled: true}
  x509: {clientCAFile: "{{.Authority}}"}
authorization: {mode: Webhook}
cgroupDriver: cgroupfs
cgroupRoot: {{.Group}}
failCgroupV1: false
failSwapOn: false
containerRuntimeEndpoint: unix://{{.Socket}}
configMapAndSecretChangeDetectionStrategy: Watch
nodeLeaseDurationSeconds: 8
podLogsDir: {{.Dir}}/pods
resolvConf: ""
evictionHard: {memory.available: "0%", nodefs.available: "0%", nodefs.inodesFree: "0%", imagefs.available: "0%"}
imageGCHighThresholdPercent: 100
serializeImagePulls: false
volumePluginDir: {{.Dir}}/plugins
`))

// startKubelet starts the kubelet, which registers the node.
func (n *Node) startKubelet(byIAM bool) error {
	group, err := makeGroup(n.Name)
	if err != nil {
		return fmt.Errorf("make a control group: %w", err)
	}
	kubeconfig := n.Kubeconfig()
	if byIAM {
		err = n.cluster.writeExecKubeconfig(kubeconfig, map[string]string{"AWS_REGION": "eu-west-3"})
	} else {
		err = n.writeCertificate(kubeconfig)
	}
	if err != nil {
		return err
	}
	config := filepath.Join(n.dir, "kubelet.yaml")
	err = render(config, kubeletConfig, map[string]any{
		"Dir": n.dir, "Socket": n.socket(), "Group": group, "Authority": n.cluster.ControlPlane.AuthorityFile(),
	})
	if err != nil {
		return err
	}
	root := filepath.Join(n.dir, "kubelet")
	n.kubelet, err = n.start("kubelet", filepath.Join(n.cluster.assets, "kubelet"),
		"--config="+config, "--kubeconfig="+kubeconfig, "--root-dir="+root, "--cert-dir="+filepath.Join(root, "pki"),
		"--hostname-override="+n.Name, "--node-ip="+nodeAddress(n.Number).String())
	return err
}

// writeCertificate writes a kubeconfig that lets the node in whatever aws-auth says.
func (n *Node) writeCertificate(path string) error {
	user, err := n.cluster.ControlPlane.UserConfig("system:node:"+n.Name, "system:nodes")
	if err != nil {
		return err
	}
	return stage.WriteKubeconfig(path, user)
}
