package faults_test

import (
	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/utils/ptr"

	"github.com/rolecall/rolecall/test/faultproxy"
)

// holder is whom a write of a Lease names.
func holder(r faultproxy.Record) string {
	if lease, ok := r.Object.(*coordinationv1.Lease); ok {
		return ptr.Deref(lease.Spec.HolderIdentity, "")
	}
	return ""
}
