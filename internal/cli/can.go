package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/rolecall/rolecall/awsauth"
)

// canFlags say what is asked of the API server, as kubectl auth can-i does.
type canFlags struct {
	verb        string
	subresource string
	everywhere  bool
	namespace   string // that was given
}

func (f *canFlags) addTo(flags *pflag.FlagSet) {
	flags.StringVar(&f.verb, "can", "", "verb: ask whether it may do this to the RESOURCE[/NAME] that is the last argument")
	flags.StringVar(&f.subresource, "subresource", "", "subresource that --can asks about, such as log")
	flags.BoolVarP(&f.everywhere, "all-namespaces", "A", false, "--can asks about all namespaces")
}

// access is what the API server answers.
type access struct {
	Verb        string `json:"verb"`
	Group       string `json:"group,omitempty"`
	Resource    string `json:"resource,omitempty"`
	Subresource string `json:"subresource,omitempty"`
	Name        string `json:"name,omitempty"`
	Namespace   string `json:"namespace,omitempty"` // empty: all, or none
	Path        string `json:"path,omitempty"`      // of a URL that is no resource
	Allowed     bool   `json:"allowed"`
	Reason      string `json:"reason,omitempty"`
}

func (a *access) String() string {
	what := a.Path
	if what == "" {
		what = schema.GroupResource{Group: a.Group, Resource: a.Resource}.String()
		if a.Subresource != "" {
			what += "/" + a.Subresource
		}
		if a.Name != "" {
			what += " " + a.Name
		}
		if a.Namespace != "" {
			what += " in " + a.Namespace
		}
	}
	answer := map[bool]string{true: "yes", false: "no"}[a.Allowed]
	if a.Reason != "" {
		answer += " (" + a.Reason + ")"
	}
	return fmt.Sprintf("%s %s: %s", a.Verb, what, answer)
}

// ask makes the review with the user and the groups that the authenticator
// gives, and the group that the API server gives to everybody who is let in.
func (f *canFlags) ask(ctx context.Context, cfg *rest.Config, kube *kubeFlags, r *awsauth.Resolution, resource string, stderr io.Writer) (*access, error) {
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return nil, err
	}
	spec := authorizationv1.SubjectAccessReviewSpec{User: r.Username, Groups: append(slices.Clone(r.Groups), "system:authenticated")}
	out := &access{Verb: f.verb}
	if strings.HasPrefix(resource, "/") {
		if f.subresource != "" || f.everywhere || f.namespace != "" {
			return nil, errors.New("a URL has no namespace and no subresource: leave --namespace, --all-namespaces and --subresource out")
		}
		out.Path = resource
		spec.NonResourceAttributes = &authorizationv1.NonResourceAttributes{Path: resource, Verb: f.verb}
	} else {
		kind, name, _ := strings.Cut(resource, "/")
		gvr, namespaced := f.lookUp(client, kind, stderr)
		out.Group, out.Resource, out.Name, out.Subresource = gvr.Group, gvr.Resource, name, f.subresource
		if namespaced && !f.everywhere {
			if out.Namespace, err = f.whichNamespace(kube); err != nil {
				return nil, err
			}
		}
		spec.ResourceAttributes = &authorizationv1.ResourceAttributes{
			Namespace: out.Namespace, Verb: f.verb, Group: gvr.Group, Version: gvr.Version, Resource: gvr.Resource, Subresource: f.subresource, Name: name,
		}
	}
	review, err := client.AuthorizationV1().SubjectAccessReviews().Create(ctx, &authorizationv1.SubjectAccessReview{Spec: spec}, metav1.CreateOptions{})
	if apierrors.IsForbidden(err) {
		return nil, fmt.Errorf("--can takes the right to create subjectaccessreviews.authorization.k8s.io: %w", err)
	}
	if err != nil {
		return nil, fmt.Errorf("ask the API server what %q may do: %w", r.Username, err)
	}
	out.Allowed, out.Reason = review.Status.Allowed, review.Status.Reason
	if review.Status.EvaluationError != "" {
		out.Reason = strings.TrimPrefix(out.Reason+"; "+review.Status.EvaluationError, "; ")
	}
	return out, nil
}

// lookUp finds the resource that a person means: pods, po, deployment,
// deployments.apps. One that the API server does not know is asked about as it
// was given: rules may name it all the same.
func (f *canFlags) lookUp(client kubernetes.Interface, kind string, stderr io.Writer) (gvr schema.GroupVersionResource, namespaced bool) {
	full, given := schema.ParseResourceArg(strings.ToLower(kind))
	if kind == "*" {
		return schema.GroupVersionResource{Group: "*", Resource: "*"}, true
	}
	groups, err := restmapper.GetAPIGroupResources(client.Discovery())
	if err == nil {
		mapper := restmapper.NewShortcutExpander(restmapper.NewDiscoveryRESTMapper(groups), client.Discovery(), nil)
		tries := []schema.GroupVersionResource{given.WithVersion("")}
		if full != nil {
			tries = append([]schema.GroupVersionResource{*full}, tries...)
		}
		for _, try := range tries {
			found, lookErr := mapper.ResourceFor(try)
			if lookErr != nil {
				err = lookErr
				continue
			}
			return found, isNamespaced(groups, found)
		}
	}
	complain(stderr, "warning", fmt.Sprintf("the API server knows no resource %q, asked about as it was given: %v", kind, err))
	return given.WithVersion(""), true
}

func isNamespaced(groups []*restmapper.APIGroupResources, gvr schema.GroupVersionResource) bool {
	for _, g := range groups {
		if g.Group.Name != gvr.Group {
			continue
		}
		for _, r := range g.VersionedResources[gvr.Version] {
			if r.Name == gvr.Resource {
				return r.Namespaced
			}
		}
	}
	return true
}

// whichNamespace is the one given, else that of the kubeconfig's context.
func (f *canFlags) whichNamespace(kube *kubeFlags) (string, error) {
	if f.namespace != "" {
		return f.namespace, nil
	}
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = kube.kubeconfig
	namespace, _, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &kube.overrides).Namespace()
	if err != nil {
		return "", fmt.Errorf("load kubeconfig: %w", err)
	}
	return namespace, nil
}
