package apply_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/rolecall/rolecall/test/trial"
)

// overlayConfig asks for all that IAM knows.
const overlayConfig = `apiVersion: rolecall.dev/v1
kind: Config
refreshInterval: 10s
nodeRoles:
%s
roles:
  - permissionSet: ReadOnlyAccess
    username: viewer:{{SessionName}}
    groups: [viewers]
iamGroups:
  - name: Developers
    groups: [developers]
`

// overlay writes a user's own folder for kubectl apply -k, as docs/install.md has
// it, over one of the manifests'. AWS is where the stand-in is.
func (c *chapter) overlay(name, base, nodeRoles string) string {
	c.t.Helper()
	folder := filepath.Join(c.dir, name)
	c.must("make a folder", os.MkdirAll(folder, 0o700))
	here, err := filepath.Abs(manifests)
	c.must("find the manifests", err)
	resolved, err := filepath.EvalSymlinks(folder) // kustomize resolves them, and takes relative paths alone
	c.must("find the folder", err)
	relative, err := filepath.Rel(resolved, filepath.Join(here, base))
	c.must("find the manifests", err)
	kustomization := fmt.Sprintf(`apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [%s]
configMapGenerator:
  - name: rolecall
    namespace: rolecall-system
    behavior: replace
    files: [config.yaml]
    options: {disableNameSuffixHash: true}
patches:
  - target: {kind: DaemonSet, name: rolecall}
    patch: |-
      - {op: add, path: /spec/template/spec/containers/0/env/-, value: {name: AWS_ENDPOINT_URL, value: "%[2]s"}}
      - {op: add, path: /spec/template/spec/containers/0/env/-, value: {name: AWS_ENDPOINT_URL_STS, value: "%[2]s"}}
      - {op: add, path: /spec/template/spec/containers/0/args/-, value: "--status-page=127.0.0.1:9466"}
`, relative, c.AWSURL())
	c.must("write it", os.WriteFile(filepath.Join(folder, "kustomization.yaml"), []byte(kustomization), 0o600))
	config := fmt.Sprintf(overlayConfig, "  "+strings.ReplaceAll(nodeRoles, "\n", "\n  "))
	c.must("write it", os.WriteFile(filepath.Join(folder, "config.yaml"), []byte(config), 0o600))
	return folder
}

// overlaid: permission sets by name and the users of IAM groups, by an overlay.
func overlaid(c *chapter) {
	c.AWS.AddPermissionSet("ReadOnlyAccess", "0123456789abcdef", "eu-west-3", time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC))
	c.AWS.SetMembers("Developers", "ana", "ben")
	folder := c.overlay("overlay", "base", `extra: ["arn:$PARTITION:iam::$ACCOUNTID:role/gpu-nodes"]`)
	// kubectl edit owns the ConfigMap's text by now.
	c.run("apply", "--server-side", "--force-conflicts", "-k", folder)
	begin := time.Now()
	c.run("--namespace="+namespace, "rollout", "status", "daemonset/rolecall", "--timeout=3m")
	c.mapped(trial.Ours("role/AWSReservedSSO_ReadOnlyAccess_0123456789abcdef", "viewer:{{SessionName}}", "viewers"))
	at := c.mapped(trial.Ours("user/ana", "ana", "developers"))
	c.mapped(trial.Ours("user/ben", "ben", "developers"))
	c.allReady()
	c.saw("a permission set and an IAM group's two users are mapped %s after it", at.Sub(begin).Round(100*time.Millisecond))
}
