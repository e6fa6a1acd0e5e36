package faultproxy

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"
)

// A Request is what a client asks of the API server.
type Request struct {
	Client string // the name that was given to [Proxy.Config]

	// Verb is RBAC's: get, list, watch, create, update, patch, delete or
	// deletecollection; of what is no resource the HTTP method in lower case.
	Verb        string
	Resource    string // "configmaps"; of what is no resource the path: "/readyz"
	Subresource string
	Namespace   string
	// Name is also that of an object to be created, and of the only one that a
	// list or watch selects by the field metadata.name.
	Name string
	// Version is the resourceVersion of which a get, list or watch wants to read, or
	// a later one; empty for the newest, and for where a watch begins by itself.
	Version string

	Object runtime.Object // that a create or update sends, of a kind that client-go knows; else nil
}

// Writes reports whether the request may change something.
func (r Request) Writes() bool {
	switch r.Verb {
	case "create", "update", "patch", "delete", "deletecollection":
		return true
	}
	return false
}

// String is for messages: "node-a update configmaps/aws-auth".
func (r Request) String() string {
	what := r.Resource
	for _, part := range []string{r.Name, r.Subresource} {
		if part != "" {
			what += "/" + part
		}
	}
	return fmt.Sprintf("%s %s %s", r.Client, r.Verb, what)
}

// parse reads what is asked, as the API server does
// (k8s.io/apiserver/pkg/endpoints/request/requestinfo.go). The body is read and
// put back.
func parse(client string, r *http.Request) (Request, error) {
	q := Request{Client: client, Verb: strings.ToLower(r.Method), Resource: r.URL.Path}
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	switch {
	case len(parts) > 2 && parts[0] == "api":
		parts = parts[2:]
	case len(parts) > 3 && parts[0] == "apis":
		parts = parts[3:]
	default:
		return q, nil
	}
	if len(parts) > 2 && parts[0] == "namespaces" {
		q.Namespace, parts = parts[1], parts[2:]
	}
	q.Resource = parts[0]
	if len(parts) > 1 {
		q.Name = parts[1]
	}
	if len(parts) > 2 {
		q.Subresource = strings.Join(parts[2:], "/")
	}
	q.Verb = verb(r, q.Name)
	q.Version = r.URL.Query().Get("resourceVersion")
	if q.Name == "" && (q.Verb == "list" || q.Verb == "watch") {
		q.Name = selected(r)
	}
	if q.Verb == "create" || q.Verb == "update" {
		if err := q.readObject(r); err != nil {
			return q, fmt.Errorf("read the body of %s: %w", q, err)
		}
	}
	return q, nil
}

func verb(r *http.Request, name string) string {
	switch r.Method {
	case http.MethodPost:
		return "create"
	case http.MethodPut:
		return "update"
	case http.MethodDelete:
		if name == "" {
			return "deletecollection"
		}
	case http.MethodGet:
		if w := r.URL.Query().Get("watch"); w != "" && w != "0" && w != "false" {
			return "watch"
		}
		if name == "" {
			return "list"
		}
	}
	return strings.ToLower(r.Method)
}

// readObject decodes the body, of JSON or protobuf. What client-go does not
// know stays undecoded.
func (r *Request) readObject(from *http.Request) error {
	body, err := io.ReadAll(from.Body)
	if err != nil {
		return err
	}
	from.Body = io.NopCloser(bytes.NewReader(body))
	object, _, err := scheme.Codecs.UniversalDeserializer().Decode(body, nil, nil)
	if err != nil {
		return nil
	}
	r.Object = object
	if m, err := meta.Accessor(object); err == nil && r.Name == "" {
		r.Name = m.GetName()
	}
	return nil
}

// selected is the only name that the field selector of a list or watch allows.
func selected(r *http.Request) string {
	selector, err := fields.ParseSelector(r.URL.Query().Get("fieldSelector"))
	if err != nil {
		return ""
	}
	name, _ := selector.RequiresExactMatch(metav1.ObjectNameField)
	return name
}
