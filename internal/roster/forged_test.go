package roster

import (
	"fmt"
	"slices"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

// A flood of reports pushes out none that was there before, whatever the names
// of its Leases are.
func TestFloodKeepsTheFirst(t *testing.T) {
	f := newFake(t)
	var first []string
	for i := range MaxReports + 300 {
		arn := fmt.Sprintf("arn:aws:iam::111122223333:role/r%d", i)
		if i < 10 {
			first = append(first, arn)
		}
		f.put(&coordinationv1.Lease{
			ObjectMeta: metav1.ObjectMeta{
				Name: LeaseName(arn), Labels: map[string]string{Label: LabelValue},
				Annotations:       map[string]string{RoleARNAnnotation: arn},
				CreationTimestamp: metav1.NewTime(now.Add(time.Duration(min(i, 10)) * time.Second)),
			},
			Spec: coordinationv1.LeaseSpec{HolderIdentity: ptr.To("n"), RenewTime: ptr.To(metav1.NewMicroTime(now))},
		})
	}
	list, err := New(f).List(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	if len(list.Reports) != MaxReports || list.Surplus != 300 {
		t.Errorf("%d reports and %d in surplus, want %d and 300", len(list.Reports), list.Surplus, MaxReports)
	}
	for _, arn := range first {
		if !slices.ContainsFunc(list.Reports, func(r Report) bool { return r.RoleARN == arn }) {
			t.Errorf("%s was there before the flood, and is out", arn)
		}
	}
}
