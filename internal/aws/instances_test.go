package aws_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/internal/aws"
	"github.com/rolecall/rolecall/test/awsfake"
)

func TestNodeRoles(t *testing.T) {
	a := start(t, awsfake.AWSOptions{PageSize: 100})
	const domain = ".eu-west-3.compute.internal"
	a.SetProfile("eks-workers", "workers") // a profile is seldom named as its role
	a.SetProfile("empty", "")
	want := map[string][]string{}
	var nodes []string
	for i := range 450 {
		name := fmt.Sprintf("ip-10-0-%d-%d%s", i/250, i%250, domain)
		a.SetInstance(name, "eks-workers")
		nodes = append(nodes, name)
		want[name] = []string{"arn:aws:iam::111122223333:role/workers"}
	}
	a.SetInstance("i-0123456789abcdef0"+domain, "")
	a.SetInstance("between"+domain, "empty")
	a.SetInstance("other"+domain, "eks-workers") // nobody asks for it
	nodes = append(nodes, nodes[0], "i-0123456789abcdef0"+domain, "between"+domain, "gone"+domain, "*", "", "A b", "ip-10-0-0-*"+domain)

	got, failed, err := open(t, aws.Options{}).NodeRoles(t.Context(), nodes)
	if diff := cmp.Diff(want, got); diff != "" || err != nil || len(failed) > 0 {
		t.Errorf("%v, %v (-want +got):\n%s", err, failed, diff)
	}
	// 450 and a few names are three filters of 200, their answers five pages.
	if n := a.Requests("DescribeInstances"); n != 5 {
		t.Errorf("%d requests to EC2, want 5", n)
	}
	if n := a.Requests("GetInstanceProfile"); n != 2 {
		t.Errorf("%d requests for 2 instance profiles", n)
	}
}

// An EC2 or IAM that cannot be asked, or denies all, is an error of the whole.
func TestNodeRolesFail(t *testing.T) {
	for _, tc := range []struct {
		operation, action string
		fault             awsfake.Fault
	}{
		{"DescribeInstances", "ec2:DescribeInstances", awsfake.Fault{Kind: awsfake.FaultDenied, Page: 2}},
		{"GetInstanceProfile", "iam:GetInstanceProfile", awsfake.Deny()},
		{"GetInstanceProfile", "iam:GetInstanceProfile", awsfake.Throttle(0)},
		{"GetInstanceProfile", "iam:GetInstanceProfile", awsfake.Down()},
		{"GetInstanceProfile", "iam:GetInstanceProfile", awsfake.Fault{Kind: awsfake.FaultInternal}},
	} {
		a := start(t, awsfake.AWSOptions{PageSize: 1})
		for _, name := range []string{"a", "b"} {
			a.SetProfile(name, "workers")
			a.SetInstance(name, name)
		}
		a.Fail(tc.operation, tc.fault)
		got, perNode, err := open(t, aws.Options{MaxAttempts: 2}).NodeRoles(t.Context(), []string{"a", "b"})
		var failed *aws.Error
		if !errors.As(err, &failed) || failed.Action != tc.action || got != nil || perNode != nil {
			t.Errorf("%s, fault %d: %v, %v, %v", tc.operation, tc.fault.Kind, got, perNode, err)
		}
		if n := a.Requests("GetInstanceProfile"); tc.fault.Kind != awsfake.FaultDenied && n > 2 {
			t.Errorf("%s, fault %d: %d requests, want those for one profile", tc.operation, tc.fault.Kind, n)
		}
	}
}

// A profile that cannot be read is an error of its nodes alone.
func TestNodeRolesOfDeletedProfile(t *testing.T) {
	for _, tc := range []struct {
		name   string
		fault  *awsfake.Fault // of the first profile that is asked about
		reason string
	}{
		{"deleted", nil, aws.ReasonNotFound},
		{"denied", &awsfake.Fault{Kind: awsfake.FaultDenied, Times: 1}, aws.ReasonDenied},
		{"hollow", &awsfake.Fault{Kind: awsfake.FaultHollow, Times: 1}, aws.ReasonTruncated},
	} {
		a := start(t, awsfake.AWSOptions{})
		a.SetProfile("there", "workers")
		a.SetInstance("bad", "aaa")
		a.SetInstance("good", "there")
		if tc.fault != nil {
			a.SetProfile("aaa", "workers")
			a.Fail("GetInstanceProfile", *tc.fault)
		}
		got, failed, err := open(t, aws.Options{}).NodeRoles(t.Context(), []string{"bad", "good", "none"})
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
		}
		want := map[string][]string{"good": {"arn:aws:iam::111122223333:role/workers"}}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.name, diff)
		}
		if len(failed) != 1 || aws.Reason(failed["bad"]) != tc.reason {
			t.Errorf("%s: failed %v, want bad alone, %s", tc.name, failed, tc.reason)
		}
	}
}
