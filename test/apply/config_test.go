package apply_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rolecall/rolecall/test/trial"
)

// edited does what a person does: kubectl edit, with an editor that saves the file
// with other words in it.
func edited(c *chapter) {
	c.edit("keepUnused: forever", "keepUnused: forever\n      extra: [\"arn:$PARTITION:iam::$ACCOUNTID:role/gpu-nodes\"]")
	begin := time.Now()
	at := c.mapped(trial.NodeRole("gpu-nodes"))
	swapped := c.swapped("gpu-nodes")
	c.saw("mapped %s after the edit, %s after the kubelet's swap", at.Sub(begin).Round(10*time.Millisecond), at.Sub(swapped).Round(10*time.Millisecond))
}

// edit replaces text in the ConfigMap's YAML with kubectl edit.
func (c *chapter) edit(old, text string) {
	c.t.Helper()
	editor := filepath.Join(c.dir, "editor")
	script := "#!/bin/sh\nexec sed -i 's|" + old + "|" + strings.ReplaceAll(text, "\n", `\n`) + "|' \"$1\"\n"
	c.must("write an editor", os.WriteFile(editor, []byte(script), 0o700))
	cmd := c.command(c.t.Context(), "--namespace="+namespace, "edit", "configmap", "rolecall")
	cmd.Env = append(cmd.Env, "KUBE_EDITOR="+editor)
	if said := c.output(cmd); !strings.Contains(said, "edited") {
		c.t.Fatalf("kubectl edit changed nothing: %s", said)
	}
}

// swapped is when the kubelet of the leader's node had renamed the mount's folder
// to one whose config has the text.
func (c *chapter) swapped(text string) time.Time {
	c.t.Helper()
	leader := c.leads()
	pods, err := c.agents(c.t.Context())
	c.must("list the agents", err)
	folder := leader.PodFiles(pods[leader.Name], "kubernetes.io~configmap", "config")
	link := filepath.Join(folder, "..data")
	config, err := os.ReadFile(filepath.Join(link, "config.yaml"))
	if err != nil || !strings.Contains(string(config), text) {
		c.t.Fatalf("the mount of %s lacks %q: %v", leader.Name, text, err)
	}
	info, err := os.Lstat(link)
	c.must("look at the mount", err)
	return info.ModTime()
}

// mistaken: a config that is refused leaves the last good one in force, and says
// which line to mend.
func mistaken(c *chapter) {
	before := c.version()
	c.edit("keepUnused: forever", "keepUnsued: forever")
	leader := c.leads()
	pods, err := c.agents(c.t.Context())
	c.must("list the agents", err)
	said := func(ctx context.Context) (string, error) {
		page := fmt.Sprintf("/api/v1/namespaces/%s/pods/%s:9465/proxy/readyz?verbose", namespace, pods[leader.Name].Name)
		text, err := c.command(ctx, "get", "--raw", page).CombinedOutput()
		if err != nil {
			err = fmt.Errorf("%w: %s", err, text)
		}
		return string(text), err
	}
	took := c.eventually("the leader refuses the config", func(ctx context.Context) error {
		text, err := said(ctx)
		if err == nil && !strings.Contains(text, "keepUnsued") {
			err = fmt.Errorf("it says\n%s", text)
		}
		return err
	})
	c.edit("keepUnsued: forever", "keepUnused: forever")
	c.eventually("the leader takes the mended config", func(ctx context.Context) error {
		text, err := said(ctx)
		if err == nil && strings.Contains(text, "[!]config") {
			err = fmt.Errorf("it says\n%s", text)
		}
		return err
	})
	if after := c.version(); after != before {
		c.t.Errorf("aws-auth was written: resourceVersion %s, then %s", before, after)
	}
	c.saw("refused %s after the edit with its line and key; no pod restarted, nothing written", took.Round(100*time.Millisecond))
	c.noRestarts()
}

// version is the resourceVersion of aws-auth.
func (c *chapter) version() string {
	c.t.Helper()
	cm, err := c.Client.CoreV1().ConfigMaps("kube-system").Get(c.t.Context(), "aws-auth", metav1.GetOptions{})
	c.must("get aws-auth", err)
	return cm.ResourceVersion
}

// noRestarts fails if a container of an agent was started again.
func (c *chapter) noRestarts() {
	c.t.Helper()
	for _, p := range c.pods() {
		for _, s := range p.Status.ContainerStatuses {
			if s.RestartCount > 0 {
				c.t.Errorf("the agent of %s was restarted %d times", p.Spec.NodeName, s.RestartCount)
			}
		}
	}
}
