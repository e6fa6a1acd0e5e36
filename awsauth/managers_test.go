package awsauth_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rolecall/rolecall/awsauth"
)

const fieldsOfAll = `{"f:data":{".":{},"f:mapAccounts":{},"f:mapRoles":{},"f:mapUsers":{}}}`

func managed(manager string, op metav1.ManagedFieldsOperationType, fields string) metav1.ObjectMeta {
	return metav1.ObjectMeta{ManagedFields: []metav1.ManagedFieldsEntry{{
		Manager: manager, Operation: op, FieldsType: "FieldsV1",
		FieldsV1: metav1.NewFieldsV1(fields),
	}}}
}

func TestManagers(t *testing.T) {
	t.Parallel()
	const apply, update = metav1.ManagedFieldsOperationApply, metav1.ManagedFieldsOperationUpdate
	all := []string{"mapAccounts", "mapRoles", "mapUsers"}
	annotated := func(m metav1.ObjectMeta, name, value string) metav1.ObjectMeta {
		m.Annotations = map[string]string{name: value}
		return m
	}
	labelled := func(name, value string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Labels: map[string]string{name: value}}
	}
	const lastApplied = `{"apiVersion":"v1","kind":"ConfigMap","data":{"mapRoles":"[]"}}`
	const fieldsOfApply = `{"f:data":{"f:mapRoles":{}},"f:metadata":{"f:annotations":{"f:kubectl.kubernetes.io/last-applied-configuration":{}}}}`
	for name, c := range map[string]struct {
		meta metav1.ObjectMeta
		want []awsauth.Manager
	}{
		"nobody":                    {},
		"server-side, by Terraform": {managed("Terraform", apply, fieldsOfAll), []awsauth.Manager{{awsauth.Terraform, "Terraform", true, all}}},
		"Terraform's kubernetes_config_map": {
			managed("HashiCorp", update, fieldsOfAll), []awsauth.Manager{{awsauth.Terraform, "HashiCorp", false, all}},
		},
		"a Terraform module's label": {labelled("app.kubernetes.io/managed-by", "Terraform"), []awsauth.Manager{{Tool: awsauth.Terraform}}},
		"kubectl apply": {
			annotated(managed("kubectl-client-side-apply", update, fieldsOfApply), awsauth.LastApplied, lastApplied),
			[]awsauth.Manager{{awsauth.KubectlApply, "kubectl-client-side-apply", false, []string{"mapRoles"}}},
		},
		"kubectl apply, once everybody else has written": {
			annotated(managed("rolecall-upsert", update, fieldsOfAll), awsauth.LastApplied, lastApplied),
			[]awsauth.Manager{{awsauth.KubectlApply, "", false, []string{"mapRoles"}}},
		},
		"kubectl apply of a text that is no JSON": {
			annotated(metav1.ObjectMeta{}, awsauth.LastApplied, "x"), []awsauth.Manager{{Tool: awsauth.KubectlApply}},
		},
		"kubectl apply of no key":     {annotated(metav1.ObjectMeta{}, awsauth.LastApplied, `{"data":null}`), []awsauth.Manager{{Tool: awsauth.KubectlApply, Keys: []string{}}}},
		"kubectl apply --server-side": {managed("kubectl", apply, fieldsOfAll), []awsauth.Manager{{awsauth.KubectlApply, "kubectl", true, all}}},
		"Helm": {
			annotated(managed("helm", update, fieldsOfAll), "meta.helm.sh/release-name", "x"), []awsauth.Manager{{awsauth.Helm, "helm", false, all}},
		},
		"Helm, by its annotation alone": {
			annotated(metav1.ObjectMeta{}, "meta.helm.sh/release-name", "x"),
			[]awsauth.Manager{{Tool: awsauth.Helm}},
		},
		"Argo CD, client-side": {
			annotated(managed("argocd-controller", update, fieldsOfApply), awsauth.LastApplied, lastApplied),
			[]awsauth.Manager{{awsauth.ArgoCD, "argocd-controller", false, []string{"mapRoles"}}},
		},
		"Argo CD, server-side": {managed("argocd-controller", apply, fieldsOfAll), []awsauth.Manager{{
			awsauth.ArgoCD, "argocd-controller",
			true, all,
		}}},
		"Flux": {managed("kustomize-controller", apply, fieldsOfAll), []awsauth.Manager{{
			awsauth.Flux,
			"kustomize-controller", true, all,
		}}},
		"anybody server-side": {managed("ops", apply, fieldsOfAll), []awsauth.Manager{{awsauth.OtherTool, "ops", true, all}}},
		"two of one tool": {metav1.ObjectMeta{ManagedFields: append(managed("a", apply, fieldsOfAll).ManagedFields, managed("b",
			apply, fieldsOfAll).ManagedFields...)}, []awsauth.Manager{{awsauth.OtherTool, "a", true, all}, {awsauth.OtherTool, "b", true, all}}},
		"labels alone, server-side": {
			managed("ops", apply, `{"f:metadata":{"f:labels":{"f:a":{}}}}`), nil,
		},
		"EKS":             {managed("vpcLambda", update, fieldsOfAll), nil},
		"kubectl edit":    {managed("kubectl-edit", update, fieldsOfAll), nil},
		"rolecall":        {managed("rolecall", update, fieldsOfAll), nil},
		"no fields":       {metav1.ObjectMeta{ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "Terraform", Operation: apply}}}, nil},
		"unreadable ones": {managed("Terraform", apply, `{"f:data":[`), nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := awsauth.Managers(&c.meta)
			if len(got) == 0 {
				got = nil
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			for i := range got {
				if got[i].Undoes() == "" || got[i].Manages("mapRoles") != (got[i].Keys == nil || len(got[i].Keys) > 0) {
					t.Errorf("%+v: %q, manages mapRoles: %v", got[i], got[i].Undoes(), got[i].Manages("mapRoles"))
				}
			}
		})
	}
}
