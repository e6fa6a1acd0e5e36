package fleet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/restmapper"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/test/stage"
)

// What manifests/install.yaml calls things.
const (
	// DefaultNamespace is where the manifests put the agents.
	DefaultNamespace = "rolecall-system"
	serviceAccount   = "rolecall"
	reporterAccount  = "rolecall-reporter" // of the overlay hardened
	daemonSet        = "rolecall"
)

// install does what "kubectl apply --server-side -f manifests/install.yaml"
// does, or what it does with an overlay or another file, with the agents and aws-auth in
// namespaces that may be others, and waits until the rights that it gives are in
// force. own names what stands beside aws-auth.
func install(ctx context.Context, o *Options, namespace, awsAuthNamespace string, own func(string) string) error {
	cp := o.ControlPlane
	text, err := o.manifests(ctx)
	if err != nil {
		return err
	}
	moved := strings.NewReplacer(DefaultNamespace, namespace, awsauth.Namespace, awsAuthNamespace).Replace(text)
	for _, name := range []string{namespace, awsAuthNamespace} {
		if err := cp.CreateNamespace(ctx, name); err != nil {
			return fmt.Errorf("create namespace %s: %w", name, err)
		}
	}
	rename := func(object *unstructured.Unstructured) error {
		if object.GetNamespace() != awsAuthNamespace {
			return nil
		}
		object.SetName(own(object.GetName()))
		role, there, err := unstructured.NestedString(object.Object, "roleRef", "name")
		if there {
			err = unstructured.SetNestedField(object.Object, own(role), "roleRef", "name")
		}
		return err
	}
	if err := apply(ctx, cp, moved, rename); err != nil {
		return fmt.Errorf("apply the manifests: %w", err)
	}
	return Authorized(ctx, cp, namespace, awsAuthNamespace)
}

// manifests are the text of what is installed.
func (o *Options) manifests(ctx context.Context) (string, error) {
	if o.Manifests != "" {
		text, err := os.ReadFile(o.Manifests)
		return string(text), err
	}
	root, err := repository(ctx)
	if err != nil {
		return "", err
	}
	if o.Overlay != "" {
		return Render(ctx, filepath.Join(root, "manifests", "overlays", o.Overlay))
	}
	text, err := os.ReadFile(filepath.Join(root, "manifests", "install.yaml"))
	return string(text), err
}

// Render does what "kubectl kustomize" does for a folder of manifests/overlays.
func Render(ctx context.Context, folder string) (string, error) {
	// "go test" takes a result of before for a test that has read the same files,
	// and does not see what kubectl reads.
	err := filepath.WalkDir(filepath.Join(folder, "..", ".."), func(path string, _ fs.DirEntry, err error) error {
		if err == nil && filepath.Ext(path) == ".yaml" {
			_, err = os.ReadFile(path)
		}
		return err
	})
	if err != nil {
		return "", err
	}
	assets, err := stage.Assets()
	if err != nil {
		return "", fmt.Errorf("find kubectl: %w", err)
	}
	text, err := exec.CommandContext(ctx, filepath.Join(assets, "kubectl"), "kustomize", folder).Output()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		err = fmt.Errorf("kubectl kustomize %s: %w\n%s", folder, err, exit.Stderr)
	}
	return string(text), err
}

// apply applies the objects of a YAML stream by server-side apply, each after change.
func apply(ctx context.Context, cp *stage.ControlPlane, text string, change func(*unstructured.Unstructured) error) error {
	client, err := dynamic.NewForConfig(cp.Config())
	if err != nil {
		return err
	}
	server, err := discovery.NewDiscoveryClientForConfig(cp.Config())
	if err != nil {
		return err
	}
	groups, err := restmapper.GetAPIGroupResources(server)
	if err != nil {
		return err
	}
	mapper := restmapper.NewDiscoveryRESTMapper(groups)
	documents := yaml.NewYAMLOrJSONDecoder(bytes.NewReader([]byte(text)), 4096)
	for {
		var object unstructured.Unstructured
		if err := documents.Decode(&object); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if err := change(&object); err != nil {
			return err
		}
		gvk := object.GroupVersionKind()
		mapping, err := mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
		if err != nil {
			return err
		}
		opts := metav1.ApplyOptions{FieldManager: "fleet", Force: true}
		resource := client.Resource(mapping.Resource)
		if object.GetNamespace() == "" {
			_, err = resource.Apply(ctx, object.GetName(), &object, opts)
		} else {
			_, err = resource.Namespace(object.GetNamespace()).Apply(ctx, object.GetName(), &object, opts)
		}
		if err != nil {
			return fmt.Errorf("%s %s: %w", gvk.Kind, object.GetName(), err)
		}
	}
}

// Authorized waits until the API server's authorizer has seen the roles and
// their bindings: it learns of them by a watch.
func Authorized(ctx context.Context, cp *stage.ControlPlane, namespace, awsAuthNamespace string) error {
	config, err := cp.ServiceAccountConfig(ctx, namespace, serviceAccount)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	for _, asked := range []authorizationv1.ResourceAttributes{
		{Namespace: namespace, Verb: "create", Group: "coordination.k8s.io", Resource: "leases"},
		{Namespace: awsAuthNamespace, Verb: "update", Resource: "configmaps", Name: awsauth.Name},
	} {
		_, err := Until(ctx, func(ctx context.Context) error {
			review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &asked}}
			answer, err := client.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, review, metav1.CreateOptions{})
			if err == nil && !answer.Status.Allowed {
				return fmt.Errorf("the agents may not %s %s in %s", asked.Verb, asked.Resource, asked.Namespace)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}
