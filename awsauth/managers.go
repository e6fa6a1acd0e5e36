package awsauth

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// A Tool keeps objects of a cluster as a source outside of it says.
type Tool string

// The tools that [Managers] knows by their marks. Any other server-side applier is
// [OtherTool].
const (
	Terraform    Tool = "Terraform"
	KubectlApply Tool = "kubectl apply"
	Helm         Tool = "Helm"
	ArgoCD       Tool = "Argo CD"
	Flux         Tool = "Flux"
	Pulumi       Tool = "Pulumi"
	Kapp         Tool = "kapp"
	OtherTool    Tool = "server-side apply"
)

// A Manager is a tool that manages a ConfigMap from a source of its own: what is
// edited beside that source, the tool undoes the next time that it is run.
type Manager struct {
	Tool Tool `json:"tool"`
	// FieldManager is its name in metadata.managedFields, empty where an annotation
	// or label alone shows it. Others choose it freely: it may hold any text.
	FieldManager string `json:"fieldManager,omitempty"`
	// ServerSide says that it applies server-side: a field that somebody else has
	// written since makes its next apply fail with a conflict unless it forces.
	ServerSide bool `json:"serverSide,omitempty"`
	// Keys are the keys of data that it manages, sorted. Nil: nothing tells which.
	Keys []string `json:"keys,omitempty"`
}

// Manages reports whether the tool manages a key of data, or may, where nothing
// tells which keys it does.
func (m *Manager) Manages(key string) bool { return m.Keys == nil || slices.Contains(m.Keys, key) }

// Undoes says what undoes an edit of a key that the tool manages, in one clause.
func (m *Manager) Undoes() string {
	undoes := map[Tool]string{
		Terraform: "the next terraform apply", KubectlApply: "the next kubectl apply of its manifest", Helm: "the next helm upgrade",
		ArgoCD: "the next sync of Argo CD", Flux: "the next reconcile of Flux", Pulumi: "the next pulumi up", Kapp: "the next kapp deploy",
	}[m.Tool]
	if undoes == "" {
		undoes = fmt.Sprintf("the next server-side apply by %q", m.FieldManager)
	}
	if m.ServerSide {
		return undoes + " undoes it, or fails with a conflict"
	}
	return undoes + " undoes it"
}

// LastApplied is the annotation in which kubectl apply, and others that work as it
// does, keep the manifest that they applied last.
const LastApplied = "kubectl.kubernetes.io/last-applied-configuration"

// Managers lists the tools that manage a ConfigMap, each once, sorted by name. They
// show in metadata.managedFields: whoever applies server-side, and the known tools
// that update; in kubectl's annotation of what was applied last; and in the
// annotations and labels by which Helm, Argo CD, Flux, Pulumi, kapp and Terraform
// modules mark what is theirs. Someone who wrote once, by hand or as EKS does, is
// none. It makes no request.
//
// Sources: the field managers are "HashiCorp" (a prefix of the user agent of
// hashicorp/terraform-provider-kubernetes) and "Terraform" (its default in
// kubernetes_config_map_v1_data and kubernetes_manifest), "helm",
// "argocd-controller", "kustomize-controller" and "helm-controller" of Flux,
// "pulumi-kubernetes", and "kubectl" of kubectl apply --server-side.
func Managers(meta *metav1.ObjectMeta) []Manager {
	found := map[string]*Manager{}
	at := func(tool Tool, name string) *Manager {
		id := string(tool)
		if tool == OtherTool {
			id += " " + name
		}
		if found[id] == nil {
			found[id] = &Manager{Tool: tool}
		}
		if name != "" {
			found[id].FieldManager = name
		}
		return found[id]
	}
	var applier Tool // whose the annotation of kubectl apply is
	for i := range meta.ManagedFields {
		e := &meta.ManagedFields[i]
		tool := toolOf(e.Manager, e.Operation)
		if tool == "" || e.Subresource != "" {
			continue
		}
		keys, annotates := managedKeys(e.FieldsV1.GetRawBytes())
		if annotates {
			applier = tool
		}
		if len(keys) == 0 {
			continue
		}
		m := at(tool, e.Manager)
		m.ServerSide = m.ServerSide || e.Operation == metav1.ManagedFieldsOperationApply
		m.addKeys(keys)
	}
	for _, s := range signs {
		value, ok := meta.Annotations[s.name]
		if s.label {
			value, ok = meta.Labels[s.name]
		}
		if ok && (s.value == "" || strings.EqualFold(value, s.value)) {
			at(s.tool, "")
			if s.tool == ArgoCD && applier == "" {
				applier = ArgoCD
			}
		}
	}
	if text, ok := meta.Annotations[LastApplied]; ok {
		if applier == "" {
			applier = KubectlApply
		}
		var applied struct {
			Data, BinaryData map[string]json.RawMessage
		}
		m := at(applier, "")
		if json.Unmarshal([]byte(text), &applied) == nil {
			keys := []string{}
			for _, data := range []map[string]json.RawMessage{applied.Data, applied.BinaryData} {
				for k := range data {
					keys = append(keys, k)
				}
			}
			m.addKeys(keys)
		}
	}
	out := make([]Manager, 0, len(found))
	for _, m := range found {
		out = append(out, *m)
	}
	slices.SortFunc(out, func(a, b Manager) int {
		return strings.Compare(string(a.Tool)+"\x00"+a.FieldManager, string(b.Tool)+"\x00"+b.FieldManager)
	})
	return out
}

func (m *Manager) addKeys(keys []string) {
	if m.Keys == nil {
		m.Keys = []string{}
	}
	m.Keys = append(m.Keys, keys...)
	slices.Sort(m.Keys)
	m.Keys = slices.Compact(m.Keys)
}

// signs are annotations and labels by which tools mark what is theirs.
var signs = []struct {
	name  string
	label bool
	value string // empty: any
	tool  Tool
}{
	{"meta.helm.sh/release-name", false, "", Helm},
	{"argocd.argoproj.io/tracking-id", false, "", ArgoCD},
	{"argocd.argoproj.io/instance", true, "", ArgoCD},
	{"kustomize.toolkit.fluxcd.io/name", true, "", Flux},
	{"helm.toolkit.fluxcd.io/name", true, "", Flux},
	{"pulumi.com/autonamed", false, "", Pulumi},
	{"kapp.k14s.io/app", true, "", Kapp},
	{"app.kubernetes.io/managed-by", true, "Terraform", Terraform}, // terraform-aws-modules/eks
	{"terraform.io/module", true, "", Terraform},                   // the same
	{"app.kubernetes.io/managed-by", true, "Helm", Helm},
	{"app.kubernetes.io/managed-by", true, "pulumi", Pulumi},
}

// toolOf is the tool that writes under the name of a field manager; empty for one
// that keeps no source. Whoever applies has one.
func toolOf(manager string, op metav1.ManagedFieldsOperationType) Tool {
	name := strings.ToLower(manager)
	applies := op == metav1.ManagedFieldsOperationApply
	switch {
	case name == "hashicorp" || strings.Contains(name, "terraform") || strings.Contains(name, "opentofu"):
		return Terraform
	case name == "helm" || strings.HasPrefix(name, "helm-") && name != "helm-controller":
		return Helm
	case strings.HasPrefix(name, "argocd"):
		return ArgoCD
	case name == "kustomize-controller", name == "helm-controller", name == "gotk", strings.HasPrefix(name, "flux"):
		return Flux
	case strings.HasPrefix(name, "pulumi"):
		return Pulumi
	case name == "kapp" || name == "kapp-server-side-apply":
		return Kapp
	case name == "kubectl-client-side-apply", applies && name == "kubectl":
		return KubectlApply
	case applies:
		return OtherTool
	}
	return ""
}

// managedKeys are the keys of data and binaryData in an entry of managedFields, and
// whether it has kubectl's annotation.
func managedKeys(raw []byte) (keys []string, annotates bool) {
	var fields struct {
		Data       map[string]json.RawMessage `json:"f:data"`
		BinaryData map[string]json.RawMessage `json:"f:binaryData"`
		Metadata   struct {
			Annotations map[string]json.RawMessage `json:"f:annotations"`
		} `json:"f:metadata"`
	}
	if json.Unmarshal(raw, &fields) != nil {
		return nil, false
	}
	for _, data := range []map[string]json.RawMessage{fields.Data, fields.BinaryData} {
		for k := range data {
			if key, ok := strings.CutPrefix(k, "f:"); ok {
				keys = append(keys, key)
			}
		}
	}
	_, annotates = fields.Metadata.Annotations["f:"+LastApplied]
	return keys, annotates
}
