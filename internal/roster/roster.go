package roster

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	coordinationv1client "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/client-go/tools/pager"
	"k8s.io/utils/ptr"
)

const (
	// RoleARNAnnotation holds the ARN of the role that a Lease stands for.
	RoleARNAnnotation = "rolecall.dev/role-arn"
	// Label is the label of the roster's Leases.
	Label = "rolecall.dev/roster"
	// LabelValue is its value.
	LabelValue = "node-role"
	// Selector selects the Leases of the roster.
	Selector = Label + "=" + LabelValue
	// StaleAfter is the age from which on a report is written again.
	StaleAfter = time.Hour

	// MaxReports is how many reports are believed. It is IAM's own limit to the
	// roles of an account, as long as nobody has it raised, and fills a quarter
	// of aws-auth: who floods the roster leaves room for what else is mapped.
	MaxReports = 1000

	namePrefix = "node-role-"
	pageSize   = 100
	maxARN     = 2048 // bytes, more than any that IAM gives
	maxHolder  = 253  // bytes of a node's name
)

// LeaseName returns the name of the Lease that stands for a role. Two ARNs that
// differ in case alone have the same: they are one role to IAM.
func LeaseName(roleARN string) string {
	sum := sha256.Sum256([]byte(strings.ToLower(roleARN)))
	return namePrefix + hex.EncodeToString(sum[:8])
}

// A Report says that a node runs under a role.
type Report struct {
	RoleARN string    // as the node that made the Lease wrote it
	Node    string    // that reported last
	Renewed time.Time // when it did, by its own clock, which may be wrong or lie
}

// A Roster is the Leases of one namespace. Its methods are safe for concurrent
// use, also by many processes.
type Roster struct {
	leases coordinationv1client.LeaseInterface
}

// New returns the roster that is kept in the namespace of leases, as [Leases] returns
// them. It needs the verbs get, create and update to report, and list to read all.
func New(leases coordinationv1client.LeaseInterface) *Roster { return &Roster{leases} }

// Report makes sure that there is a report of roleARN that is younger than
// StaleAfter by now, this node's clock, and says whether it had to write one.
// Where another node reports the same role at the same time, one of the two
// writes and the other has nothing more to do.
//
// After an error Report can simply be called again. A Lease of that name that
// says another role is put right: it would keep this one from being reported. If
// two ARNs ever share a hash (64 bits), their nodes take turns, and the leader
// keeps both.
func (r *Roster) Report(ctx context.Context, roleARN, node string, now time.Time) (wrote bool, err error) {
	if roleARN == "" || node == "" {
		return false, errors.New("report to the roster: the role ARN or the node is empty")
	}
	name := LeaseName(roleARN)
	lease, err := r.leases.Get(ctx, name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		lease = &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: name}}
		metav1.SetMetaDataAnnotation(&lease.ObjectMeta, RoleARNAnnotation, roleARN)
		sign(lease, node, now)
		_, err = r.leases.Create(ctx, lease, metav1.CreateOptions{})
	case err != nil:
		return false, fmt.Errorf("read report %s: %w", name, err)
	case fresh(lease, roleARN, now):
		return false, nil
	default:
		lease = lease.DeepCopy()
		if !strings.EqualFold(lease.Annotations[RoleARNAnnotation], roleARN) {
			metav1.SetMetaDataAnnotation(&lease.ObjectMeta, RoleARNAnnotation, roleARN)
		}
		sign(lease, node, now)
		_, err = r.leases.Update(ctx, lease, metav1.UpdateOptions{})
	}
	if apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) {
		return false, nil // another node was faster
	}
	if err != nil {
		return false, fmt.Errorf("write report %s: %w", name, err)
	}
	return true, nil
}

// fresh reports whether a Lease can stay as it is. One that claims to be from
// long after now was written by a node whose clock is wrong, and one without
// its label is not found by List.
func fresh(lease *coordinationv1.Lease, roleARN string, now time.Time) bool {
	age := now.Sub(ptr.Deref(lease.Spec.RenewTime, metav1.MicroTime{}).Time)
	return age.Abs() < StaleAfter && lease.Labels[Label] == LabelValue &&
		strings.EqualFold(lease.Annotations[RoleARNAnnotation], roleARN)
}

func sign(lease *coordinationv1.Lease, node string, now time.Time) {
	metav1.SetMetaDataLabel(&lease.ObjectMeta, Label, LabelValue)
	lease.Spec.HolderIdentity = &node
	lease.Spec.RenewTime = ptr.To(metav1.NewMicroTime(now))
}

// A ListResult is what the roster says.
type ListResult struct {
	Reports []Report // by role ARN, one for each, MaxReports at most
	// Invalid are the names of Leases that carry the label but do not stand for
	// the role that they say, or for none: by name.
	Invalid []string
	// Surplus is how many reports there are beyond MaxReports. They are those
	// whose Leases were made last, by the API server's clock, so that nobody can
	// push an earlier one out.
	Surplus int
}

// List reads all reports, however old. It returns all of them or an error.
//
// notOlder is the resourceVersion of a Lease that somebody has seen: the answer is
// at least as new, and may be a little older than what was written last. With ""
// it is the newest, for which the API server may wait up to a tenth of a second
// until its cache is known to be (k8s.io/apiserver/pkg/storage/cacher/progress,
// progressRequestPeriod).
func (r *Roster) List(ctx context.Context, notOlder string) (ListResult, error) {
	opts := metav1.ListOptions{LabelSelector: Selector, Limit: pageSize}
	if notOlder != "" {
		opts.ResourceVersion, opts.ResourceVersionMatch = notOlder, metav1.ResourceVersionMatchNotOlderThan
	}
	p := pager.New(func(ctx context.Context, opts metav1.ListOptions) (runtime.Object, error) {
		page, err := r.leases.List(ctx, opts)
		if err != nil {
			return nil, err
		}
		for i := range page.Items {
			slim(&page.Items[i])
		}
		return page, nil
	})
	all, _, err := p.ListWithAlloc(ctx, opts)
	if err != nil {
		return ListResult{}, fmt.Errorf("list reports: %w", err)
	}
	var list ListResult
	var leases []*coordinationv1.Lease
	err = meta.EachListItem(all, func(o runtime.Object) error {
		lease, ok := o.(*coordinationv1.Lease)
		if !ok {
			return fmt.Errorf("list reports: got a %T", o)
		}
		if arn := lease.Annotations[RoleARNAnnotation]; arn == "" || LeaseName(arn) != lease.Name {
			list.Invalid = append(list.Invalid, lease.Name)
		} else {
			leases = append(leases, lease)
		}
		return nil
	})
	if err != nil {
		return ListResult{}, err
	}
	slices.Sort(list.Invalid)
	if list.Surplus = max(0, len(leases)-MaxReports); list.Surplus > 0 {
		slices.SortFunc(leases, func(a, b *coordinationv1.Lease) int {
			return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), strings.Compare(a.Name, b.Name))
		})
		leases = leases[:MaxReports]
	}
	for _, lease := range leases {
		list.Reports = append(list.Reports, Report{
			RoleARN: lease.Annotations[RoleARNAnnotation],
			Node:    ptr.Deref(lease.Spec.HolderIdentity, ""),
			Renewed: ptr.Deref(lease.Spec.RenewTime, metav1.MicroTime{}).Time,
		})
	}
	slices.SortFunc(list.Reports, func(a, b Report) int { return strings.Compare(a.RoleARN, b.RoleARN) })
	return list, nil
}

// slim drops from a Lease what is not read, and all of one that can be no
// report: what others put there must not pile up while the pages are read.
func slim(lease *coordinationv1.Lease) {
	arn, holder := lease.Annotations[RoleARNAnnotation], lease.Spec.HolderIdentity
	kept := metav1.ObjectMeta{
		Namespace: lease.Namespace, Name: lease.Name, ResourceVersion: lease.ResourceVersion, CreationTimestamp: lease.CreationTimestamp,
	}
	spec := coordinationv1.LeaseSpec{HolderIdentity: holder, RenewTime: lease.Spec.RenewTime}
	if len(arn) <= maxARN && len(ptr.Deref(holder, "")) <= maxHolder {
		kept.Annotations = map[string]string{RoleARNAnnotation: arn}
	} else {
		spec.HolderIdentity = nil
	}
	*lease = coordinationv1.Lease{ObjectMeta: kept, Spec: spec}
}
