package serviceaccess

import (
	"context"
	"errors"
	"fmt"
	"slices"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/component-helpers/auth/rbac/validation"

	"github.com/rolecall/rolecall/awsauth"
)

// Roles is the part of client-go's RoleInterface that is needed, bound to one
// namespace.
type Roles interface {
	Get(ctx context.Context, name string, opts metav1.GetOptions) (*rbacv1.Role, error)
	Create(ctx context.Context, role *rbacv1.Role, opts metav1.CreateOptions) (*rbacv1.Role, error)
	Update(ctx context.Context, role *rbacv1.Role, opts metav1.UpdateOptions) (*rbacv1.Role, error)
}

// RoleBindings is the part of client-go's RoleBindingInterface that is needed,
// bound to one namespace.
type RoleBindings interface {
	Get(ctx context.Context, name string, opts metav1.GetOptions) (*rbacv1.RoleBinding, error)
	Create(ctx context.Context, binding *rbacv1.RoleBinding, opts metav1.CreateOptions) (*rbacv1.RoleBinding, error)
	Update(ctx context.Context, binding *rbacv1.RoleBinding, opts metav1.UpdateOptions) (*rbacv1.RoleBinding, error)
}

// Objects reads and writes the objects of a grant. It keeps no state and is safe
// for concurrent use as far as its clients are.
type Objects struct {
	Roles        func(namespace string) Roles
	RoleBindings func(namespace string) RoleBindings
	// FieldManager is under whom writes are recorded.
	FieldManager string
	// DryRun is that of the options of every write: nil, or metav1.DryRunAll.
	DryRun []string
}

// A Change is one object that a grant lacks, or that is otherwise than it needs.
// Its zero value is none.
type Change struct {
	Op    awsauth.Op // Add or Update
	Kind  string     // Role or RoleBinding
	Grant Grant
	// Before and After are a *rbacv1.Role or a *rbacv1.RoleBinding each; Before
	// is nil where there is no such object.
	Before, After metav1.Object
}

func (c *Change) String() string {
	return c.Kind + " " + c.Grant.Service + " in namespace " + c.Grant.Namespace
}

// Replaces reports whether rules go that somebody else may have meant.
func (c *Change) Replaces() bool { return c.Kind == "Role" && c.Op == awsauth.Update }

// Same reports whether two changes take the same from what stands there, and
// make the same of it.
func (c *Change) Same(other *Change) bool {
	if c.Kind != other.Kind || c.Op != other.Op || c.Grant != other.Grant {
		return false
	}
	switch before := c.Before.(type) {
	case *rbacv1.Role:
		was, ok := other.Before.(*rbacv1.Role)
		return ok && equality.Semantic.DeepEqual(before.Rules, was.Rules)
	case *rbacv1.RoleBinding:
		was, ok := other.Before.(*rbacv1.RoleBinding)
		return ok && equality.Semantic.DeepEqual(before.Subjects, was.Subjects)
	}
	return true
}

// A BoundError says that the RoleBinding of a service binds another role than
// the service's. Kubernetes lets nobody change that.
type BoundError struct {
	Grant Grant
	To    rbacv1.RoleRef
}

func (e *BoundError) Error() string {
	return fmt.Sprintf("the RoleBinding %s in namespace %s binds the %s %q, and Kubernetes lets nobody change that: look who needs it (kubectl -n %s get rolebinding %s -o yaml), delete it, and try again",
		e.Grant.Service, e.Grant.Namespace, e.To.Kind, e.To.Name, e.Grant.Namespace, e.Grant.Service)
}

// Plan reads what stands in the namespaces and returns what is to be written,
// each Role before the RoleBinding that names it. A grant that is named twice
// is one. The error is or joins a [*BoundError], or is the API server's.
func (o *Objects) Plan(ctx context.Context, grants ...Grant) ([]Change, error) {
	var changes []Change
	var errs []error
	for i, g := range grants {
		if slices.Contains(grants[:i], g) {
			continue
		}
		for _, plan := range []func(context.Context, Grant) (Change, error){o.planRole, o.planRoleBinding} {
			c, err := plan(ctx, g)
			if err != nil {
				errs = append(errs, err)
			} else if c.Op != "" {
				changes = append(changes, c)
			}
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return changes, nil
}

func (o *Objects) planRole(ctx context.Context, g Grant) (Change, error) {
	want := g.Role()
	c := Change{Kind: "Role", Grant: g}
	have, err := o.Roles(g.Namespace).Get(ctx, want.Name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		c.Op, c.After = awsauth.Add, want
		return c, nil
	case err != nil:
		return c, fmt.Errorf("read %s: %w", &c, err)
	}
	if covers, _ := validation.Covers(have.Rules, want.Rules); covers {
		return Change{}, nil
	}
	after := have.DeepCopy()
	after.Rules = want.Rules
	c.Op, c.Before, c.After = awsauth.Update, have, after
	return c, nil
}

func (o *Objects) planRoleBinding(ctx context.Context, g Grant) (Change, error) {
	want := g.RoleBinding()
	c := Change{Kind: "RoleBinding", Grant: g}
	have, err := o.RoleBindings(g.Namespace).Get(ctx, want.Name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		c.Op, c.After = awsauth.Add, want
		return c, nil
	case err != nil:
		return c, fmt.Errorf("read %s: %w", &c, err)
	case have.RoleRef != want.RoleRef:
		return c, &BoundError{g, have.RoleRef}
	case slices.Contains(have.Subjects, want.Subjects[0]):
		return Change{}, nil
	}
	after := have.DeepCopy()
	after.Subjects = append(after.Subjects, want.Subjects...)
	c.Op, c.Before, c.After = awsauth.Update, have, after
	return c, nil
}

// Write carries a change out, with the resourceVersion that was read. The error
// matches [awsauth.ErrConflict] where somebody else was first. After an error
// that can pass (see [awsauth.Transient]) the write may have been done.
func (o *Objects) Write(ctx context.Context, c *Change) error {
	var err error
	create := metav1.CreateOptions{FieldManager: o.FieldManager, DryRun: o.DryRun}
	update := metav1.UpdateOptions{FieldManager: o.FieldManager, DryRun: o.DryRun}
	switch after := c.After.(type) {
	case *rbacv1.Role:
		if c.Op == awsauth.Add {
			_, err = o.Roles(c.Grant.Namespace).Create(ctx, after, create)
		} else {
			_, err = o.Roles(c.Grant.Namespace).Update(ctx, after, update)
		}
	case *rbacv1.RoleBinding:
		if c.Op == awsauth.Add {
			_, err = o.RoleBindings(c.Grant.Namespace).Create(ctx, after, create)
		} else {
			_, err = o.RoleBindings(c.Grant.Namespace).Update(ctx, after, update)
		}
	}
	gone := c.Op == awsauth.Update && apierrors.IsNotFound(err)
	switch {
	case err == nil:
		return nil
	case apierrors.IsConflict(err), apierrors.IsAlreadyExists(err), gone:
		return fmt.Errorf("write %s: %w: %w", c, awsauth.ErrConflict, err)
	}
	return fmt.Errorf("write %s: %w", c, err)
}
