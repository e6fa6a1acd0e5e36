package roster

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/pager"
	"k8s.io/utils/ptr"
)

// StaleAfter is the age at which a report is renewed.
const StaleAfter = time.Hour

// Selector is the label selector of the roster's Leases.
const Selector = "rolecall.dev/roster=node-role"

// RoleAnnotation holds the role's ARN.
const RoleAnnotation = "rolecall.dev/role-arn"

const pageSize = 500

// Leases is the part of client-go's LeaseInterface that a roster needs.
type Leases interface {
	Get(ctx context.Context, name string, opts metav1.GetOptions) (*coordinationv1.Lease, error)
	List(ctx context.Context, opts metav1.ListOptions) (*coordinationv1.LeaseList, error)
	Create(ctx context.Context, lease *coordinationv1.Lease, opts metav1.CreateOptions) (*coordinationv1.Lease, error)
	Update(ctx context.Context, lease *coordinationv1.Lease, opts metav1.UpdateOptions) (*coordinationv1.Lease, error)
}

// A Report says that a node runs under a role.
type Report struct {
	RoleARN string
	Node    string    // which wrote the report last
	Renewed time.Time // by that node's clock
}

// ListResult is the roster as it was read.
type ListResult struct {
	Reports []Report
	Invalid []string // names of Leases that are no reports
}

// A Roster reads and writes the reports. It keeps no state and is safe for
// concurrent use.
type Roster struct{ leases Leases }

// New returns the roster in the Leases of one namespace.
func New(leases Leases) *Roster { return &Roster{leases} }

// LeaseName is the name of the Lease that stands for a role. ARNs are compared
// without case, so the name does not depend on it.
func LeaseName(roleARN string) string {
	sum := sha256.Sum256([]byte(strings.ToLower(roleARN)))
	return "node-role-" + hex.EncodeToString(sum[:8])
}

// Report says that node runs under a role, and returns whether it had to be
// written. It costs one request where the report is fresh. That another node
// made it at the same moment is no error.
func (r *Roster) Report(ctx context.Context, roleARN, node string, now time.Time) (wrote bool, err error) {
	name := LeaseName(roleARN)
	lease, err := r.leases.Get(ctx, name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		lease = &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: name}}
		fill(lease, roleARN, node, now)
		_, err = r.leases.Create(ctx, lease, metav1.CreateOptions{})
	case err != nil:
		return false, fmt.Errorf("read the report %s: %w", name, err)
	default:
		report, ok := reportOf(lease)
		if age := now.Sub(report.Renewed); ok && age < StaleAfter && age > -StaleAfter {
			return false, nil
		}
		fill(lease, roleARN, node, now)
		_, err = r.leases.Update(ctx, lease, metav1.UpdateOptions{})
	}
	if apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("write the report %s: %w", name, err)
	}
	return true, nil
}

func fill(lease *coordinationv1.Lease, roleARN, node string, now time.Time) {
	if lease.Labels == nil {
		lease.Labels = map[string]string{}
	}
	if lease.Annotations == nil {
		lease.Annotations = map[string]string{}
	}
	key, value, _ := strings.Cut(Selector, "=")
	lease.Labels[key] = value
	lease.Labels["app.kubernetes.io/managed-by"] = "rolecall"
	lease.Annotations[RoleAnnotation] = roleARN
	lease.Spec.HolderIdentity = ptr.To(node)
	lease.Spec.RenewTime = ptr.To(metav1.NewMicroTime(now))
}

// List reads all reports. A Lease that is no report is named, not an error: one
// that somebody forged must not hide the others.
func (r *Roster) List(ctx context.Context) (ListResult, error) {
	var out ListResult
	p := pager.New(func(ctx context.Context, opts metav1.ListOptions) (runtime.Object, error) {
		return r.leases.List(ctx, opts)
	})
	p.PageSize = pageSize
	err := p.EachListItem(ctx, metav1.ListOptions{LabelSelector: Selector}, func(o runtime.Object) error {
		lease, ok := o.(*coordinationv1.Lease)
		if !ok {
			return fmt.Errorf("%T is no Lease", o)
		}
		if report, ok := reportOf(lease); ok {
			out.Reports = append(out.Reports, report)
		} else {
			out.Invalid = append(out.Invalid, lease.Name)
		}
		return nil
	})
	if err != nil {
		return ListResult{}, fmt.Errorf("list the reports: %w", err)
	}
	return out, nil
}

// reportOf reads a Lease; it is a report if its annotation belongs to its name.
func reportOf(lease *coordinationv1.Lease) (Report, bool) {
	arn := lease.Annotations[RoleAnnotation]
	if arn == "" || LeaseName(arn) != lease.Name || lease.Spec.RenewTime == nil || lease.Spec.HolderIdentity == nil {
		return Report{}, false
	}
	return Report{RoleARN: arn, Node: *lease.Spec.HolderIdentity, Renewed: lease.Spec.RenewTime.Time}, true
}
