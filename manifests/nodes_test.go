package manifests_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/ptr"

	"github.com/rolecall/rolecall/test/stage"
)

// candidateLabel chooses the nodes of agents that may lead.
const candidateLabel = "rolecall.node-restriction.kubernetes.io/candidate"

func jsonDiff(t *testing.T, want, got *unstructured.Unstructured) string {
	t.Helper()
	var texts [2]string
	for i, u := range []*unstructured.Unstructured{want, got} {
		text, err := json.MarshalIndent(u.Object, "", " ")
		if err != nil {
			t.Fatal(err)
		}
		texts[i] = string(text)
	}
	return cmp.Diff(texts[0], texts[1])
}

// Whoever has taken over a node has its kubelet's credential. With that, the
// node's own agent can be impersonated, no other's, and it can't be made one that
// may lead. The authorizer Node and the admission plugin NodeRestriction see to
// it, which every EKS cluster has on.
func TestStolenKubelet(t *testing.T) {
	stage.ForTest(t) // skips where there is none
	cp, err := stage.Start(t.Context(), stage.Options{APIServerFlags: []string{
		"--authorization-mode=Node", "--enable-admission-plugins=NodeRestriction", // beside RBAC
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cp.Stop(); err != nil {
			t.Error(err)
		}
	})
	g := newGuarded(t, cp)
	ctx := t.Context()
	pods := map[string]*corev1.Pod{}
	for _, at := range [][2]string{{"node-c", writer}, {"node-b", reporter}, {"node-a", reporter}} { // node-a's is the one that is waited for
		node, account := at[0], at[1]
		if _, err := g.admin.CoreV1().Nodes().Create(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: node}}, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		pod, err := g.admin.CoreV1().Pods(g.namespace).Create(ctx, podOn(account, node), metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		pods[node] = pod
	}
	node, err := g.admin.CoreV1().Nodes().Get(ctx, "node-a", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := cp.UserConfig("system:node:node-a", "system:nodes")
	kubelet := client(t, cfg, err)
	token := func(account string, pod *corev1.Pod) error {
		return requestToken(ctx, kubelet, g.namespace, account, pod)
	}
	label := func(key string) error {
		patch := fmt.Appendf(nil, `{"metadata":{"labels":{%q:"true"}}}`, key)
		_, err := kubelet.CoreV1().Nodes().Patch(ctx, "node-a", types.StrategicMergePatchType, patch, metav1.PatchOptions{})
		return err
	}
	g.eventually("the kubelet is given its own pod's token", func(context.Context) error { return token(reporter, pods["node-a"]) })

	// A label in a domain of rolecall's own would do the same to the scheduler,
	// and a kubelet may set it.
	if domain, _, _ := strings.Cut(candidateLabel, "/"); !strings.HasSuffix(domain, ".node-restriction.kubernetes.io") {
		t.Errorf("the candidates' label %s is one that a kubelet may give itself", candidateLabel)
	}
	g.judge([]attempt{
		{"a label of another domain", "", func() error { return label("rolecall.dev/candidate") }},
		{"the candidates' label", "is not allowed to modify labels", func() error { return label(candidateLabel) }},
		{"the writer's token for a reporter's pod", "no relationship found", func() error { return token(writer, pods["node-a"]) }},
		{"the token of another node's pod", "different node", func() error { return token(reporter, pods["node-b"]) }},
		{"the token of a candidate on another node", "no relationship found", func() error { return token(writer, pods["node-c"]) }},
		{"a token of no pod", "not bound to a pod", func() error { return token(reporter, nil) }},
		{"a pod of the writer's on the node", "can only create mirror pods", func() error {
			_, err := kubelet.CoreV1().Pods(g.namespace).Create(ctx, podOn(writer, "node-a"), metav1.CreateOptions{})
			return err
		}},
		{"a mirror pod of the writer's", "can not create pods that reference serviceaccounts", func() error {
			pod := podOn(writer, "node-a")
			pod.Name, pod.Annotations = "mirror", map[string]string{corev1.MirrorPodAnnotationKey: "x"}
			pod.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: "node-a", UID: node.UID, Controller: ptr.To(true)}}
			_, err := kubelet.CoreV1().Pods(g.namespace).Create(ctx, pod, metav1.CreateOptions{})
			return err
		}},
	})
}

func requestToken(ctx context.Context, c kubernetes.Interface, namespace, account string, pod *corev1.Pod) error {
	request := &authenticationv1.TokenRequest{}
	if pod != nil {
		request.Spec.BoundObjectRef = &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: pod.Name, UID: pod.UID}
	}
	_, err := c.CoreV1().ServiceAccounts(namespace).CreateToken(ctx, account, request, metav1.CreateOptions{})
	return err
}
