package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/yaml"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/internal/serviceaccess"
	"github.com/rolecall/rolecall/internal/visible"
)

// A serviceEdit is what an edit of aws-auth writes beside it, before it: the
// Roles and RoleBindings of AWS services. Nil writes nothing.
type serviceEdit struct {
	*handEdit
	access serviceaccess.Objects
	grants []serviceaccess.Grant

	planned []serviceaccess.Change // all of them
	pending []serviceaccess.Change // those that are not written yet
}

// newServiceEdit reads what stands in the namespaces and plans. It is an error
// if there is no such namespace.
func newServiceEdit(ctx context.Context, h *handEdit, command string, grants []serviceaccess.Grant) (*serviceEdit, error) {
	s := &serviceEdit{handEdit: h, grants: grants, access: serviceaccess.Objects{
		Roles:        func(namespace string) serviceaccess.Roles { return h.o.client.RbacV1().Roles(namespace) },
		RoleBindings: func(namespace string) serviceaccess.RoleBindings { return h.o.client.RbacV1().RoleBindings(namespace) },
		FieldManager: "rolecall-" + command,
	}}
	if h.dryRun == dryRunServer {
		s.access.DryRun = []string{metav1.DryRunAll}
	}
	for _, g := range grants {
		if err := s.request(ctx, func(ctx context.Context) error { return hasNamespace(ctx, h.o.client, g) }); err != nil {
			return nil, s.explain(err, g)
		}
		var changes []serviceaccess.Change
		err := s.request(ctx, func(ctx context.Context) (err error) {
			changes, err = s.access.Plan(ctx, g)
			return err
		})
		if err != nil {
			return nil, s.explain(err, g)
		}
		s.planned = append(s.planned, changes...)
	}
	s.pending = append(s.pending, s.planned...)
	return s, nil
}

// hasNamespace says that a namespace is missing, or going. Who may not look at
// it is told by the first write.
func hasNamespace(ctx context.Context, client kubernetes.Interface, g serviceaccess.Grant) error {
	ns, err := client.CoreV1().Namespaces().Get(ctx, g.Namespace, metav1.GetOptions{})
	switch {
	case apierrors.IsForbidden(err):
		return nil
	case apierrors.IsNotFound(err):
		return fmt.Errorf("there is no namespace %s for the service %s: make it (kubectl create namespace %s), or write another; nothing is written", g.Namespace, g.Service, g.Namespace)
	case err != nil:
		return fmt.Errorf("read namespace %s: %w", g.Namespace, err)
	case ns.DeletionTimestamp != nil:
		return fmt.Errorf("the namespace %s for the service %s is being deleted: wait until it is gone and make it anew, or write another; nothing is written", g.Namespace, g.Service)
	}
	return nil
}

// concerns are about what somebody else may have meant.
func (s *serviceEdit) concerns() []concern {
	if s == nil {
		return nil
	}
	var found []concern
	for i := range s.pending {
		if c := &s.pending[i]; c.Replaces() {
			found = append(found, concern{fmt.Sprintf("%s is there with other rules, which would be replaced: whoever is bound to it gets what the service needs, and loses the rest", c), true})
		}
	}
	return found
}

// render shows the changes as the difference of manifests.
func (s *serviceEdit) render(b *bytes.Buffer, c palette) error {
	if s == nil {
		return nil
	}
	for i := range s.pending {
		change := &s.pending[i]
		before, err := manifest(change.Kind, change.Before)
		if err != nil {
			return err
		}
		after, err := manifest(change.Kind, change.After)
		if err != nil {
			return err
		}
		name := fmt.Sprintf("%s %s/%s", change.Kind, change.Grant.Namespace, change.Grant.Service)
		renderTexts(b, name+" ("+live+")", name+" (edited)", before, after, c)
	}
	return nil
}

// manifest is an object as kubectl shows it, without what the API server keeps
// in it for itself; nothing for none.
func manifest(kind string, object metav1.Object) (string, error) {
	if object == nil {
		return "", nil
	}
	text, err := yaml.Marshal(object)
	if err != nil {
		return "", fmt.Errorf("show %s %s: %w", kind, object.GetName(), err)
	}
	var tree map[string]any
	if err := yaml.Unmarshal(text, &tree); err != nil {
		return "", fmt.Errorf("show %s %s: %w", kind, object.GetName(), err)
	}
	tree["apiVersion"], tree["kind"] = "rbac.authorization.k8s.io/v1", kind
	if meta, ok := tree["metadata"].(map[string]any); ok {
		for _, key := range []string{"creationTimestamp", "managedFields", "resourceVersion", "uid"} {
			delete(meta, key)
		}
	}
	if text, err = yaml.Marshal(tree); err != nil {
		return "", fmt.Errorf("show %s %s: %w", kind, object.GetName(), err)
	}
	return string(text), nil
}

// write writes what is pending. Where it fails, aws-auth is not written yet.
func (s *serviceEdit) write(ctx context.Context) error {
	if s == nil || s.dryRun == dryRunClient {
		return nil
	}
	for len(s.pending) > 0 {
		c := &s.pending[0]
		if err := s.request(ctx, func(ctx context.Context) error { return s.writeOne(ctx, c) }); err != nil {
			return told{fmt.Errorf("%w; %s is not written%s", s.explain(err, c.Grant), s.o.name(), s.done())}
		}
		s.pending = s.pending[1:]
	}
	return nil
}

// writeOne writes a change. If somebody else has written the object meanwhile,
// it is written all the same as long as that has changed nothing of what the
// person has seen; if the answer got lost, it looks whether it was written.
func (s *serviceEdit) writeOne(ctx context.Context, c *serviceaccess.Change) error {
	for {
		err := s.access.Write(ctx, c)
		if s.dryRun == dryRunServer && apierrors.IsNotFound(err) && c.Kind == "RoleBinding" {
			complainUnless(s.quiet, s.stderr, fmt.Sprintf("%s is not tried: who may not bind every Role can't bind one that is not there yet", c))
			return nil
		}
		conflict := errors.Is(err, awsauth.ErrConflict)
		if err == nil || !conflict && refused(err) {
			return err
		}
		now, planErr := s.access.Plan(ctx, c.Grant)
		if planErr != nil {
			return fmt.Errorf("%w; and then: %w", err, planErr)
		}
		var again *serviceaccess.Change
		for i := range now {
			if now[i].Kind == c.Kind {
				again = &now[i]
			}
		}
		switch {
		case again == nil:
			return nil // it is as asked
		case !conflict:
			return err
		case !again.Same(c):
			return fmt.Errorf("%w: run the command again to see what it would do now", err)
		}
		*c = *again
	}
}

// refused reports whether the API server has said no, so that nothing is
// written.
func refused(err error) bool {
	var status apierrors.APIStatus
	return errors.As(err, &status) && status.Status().Code < 500
}

// request makes requests, with --retry also again after what can pass.
func (s *serviceEdit) request(ctx context.Context, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, s.timeout, fmt.Errorf("not done within %s", s.timeout))
	defer cancel()
	wait := s.retryMinTime
	for tries := 0; ; tries++ {
		once, done := context.WithTimeout(ctx, requestTimeout)
		err := do(once)
		done()
		switch {
		case err == nil, !s.retry, !awsauth.Transient(err):
			return err
		case tries == s.retryCount:
			return fmt.Errorf("given up after %d retries: %w", tries, err)
		}
		timer := time.NewTimer(wait)
		wait = min(2*wait, s.retryMaxTime)
		select {
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("%w: %w", context.Cause(ctx), err)
		case <-timer.C:
		}
	}
}

// explain puts beside an error what to do.
func (s *serviceEdit) explain(err error, g serviceaccess.Grant) error {
	const escalation = " is attempting to grant RBAC permissions not currently held"
	switch text := err.Error(); {
	case apierrors.IsForbidden(err) && strings.Contains(text, escalation):
		// What follows is a list of all the rules.
		head, _, _ := strings.Cut(text, escalation)
		return fmt.Errorf("%s%s: Kubernetes lets nobody give rights that he lacks. Have a cluster administrator run this, or give you the verbs escalate and bind on roles in namespace %s", head, escalation, g.Namespace)
	case apierrors.IsForbidden(err):
		return fmt.Errorf("%w; the service %s takes the rights to get, create and update roles and rolebindings in namespace %s", err, g.Service, g.Namespace)
	}
	return s.advised(err)
}

// done says what is written already, as the end of a sentence.
func (s *serviceEdit) done() string {
	if s == nil || s.dryRun != dryRunNone || len(s.pending) == len(s.planned) {
		return ""
	}
	var list []string
	for i := range s.planned[:len(s.planned)-len(s.pending)] {
		list = append(list, s.planned[i].String()+" "+doneTo(s.planned[i].Op))
	}
	return "; done already: " + strings.Join(list, ", ") + "; to ask for the same again does the rest"
}

func doneTo(op awsauth.Op) string {
	if op == awsauth.Add {
		return "created"
	}
	return "updated"
}

// An objectChange is a Change as -o json and -o yaml print it.
type objectChange struct {
	Op        awsauth.Op `json:"op"`
	Kind      string     `json:"kind"`
	Namespace string     `json:"namespace"`
	Name      string     `json:"name"`
}

// changes are those of the report.
func (s *serviceEdit) changes() []objectChange {
	if s == nil {
		return nil
	}
	list := []objectChange{}
	for i := range s.planned {
		c := &s.planned[i]
		list = append(list, objectChange{c.Op, c.Kind, c.Grant.Namespace, c.Grant.Service})
	}
	return list
}

// names prints the objects as kubectl names them.
func (s *serviceEdit) names() {
	if s == nil {
		return
	}
	for i := range s.planned {
		fmt.Fprintf(s.stdout, "%s.rbac.authorization.k8s.io/%s\n", strings.ToLower(s.planned[i].Kind), s.planned[i].Grant.Service)
	}
}

// report says what was done, or that there was nothing to do.
func (s *serviceEdit) report() {
	if s == nil {
		return
	}
	changed := map[serviceaccess.Grant]bool{}
	for i := range s.planned {
		c := &s.planned[i]
		changed[c.Grant] = true
		fmt.Fprintf(s.stdout, "%s %s%s\n", c, doneTo(c.Op), s.dryRun.note())
	}
	for _, g := range s.grants {
		if !changed[g] {
			fmt.Fprintf(s.stdout, "Role and RoleBinding %s in namespace %s are as asked already\n", g.Service, visible.Text(g.Namespace))
		}
	}
}

// tellOfServices says what stays of a service whose entry was removed: eksctl
// leaves it too, and nobody knows in which namespaces it is.
func (h *handEdit) tellOfServices(edited *awsauth.Edited) {
	for _, service := range serviceaccess.Services() {
		role := "/" + serviceaccess.Grant{Service: service}.RoleName()
		for i := range edited.Changes {
			if e := &edited.Changes[i].Entry; e.Username == service && strings.HasSuffix(e.ARN, role) {
				complainUnless(h.quiet, h.stderr, fmt.Sprintf("the Role and the RoleBinding %s stay in the namespaces of the service, and bind nobody now: kubectl get rolebindings --all-namespaces --field-selector metadata.name=%s lists them", service, service))
			}
		}
	}
}
