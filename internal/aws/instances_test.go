package aws_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/internal/aws"
	"github.com/rolecall/rolecall/test/awsfake"
)

// nodeRoles are the roles of the instances that have those private DNS names, or why they
// can't be told, by name. Those without a role are left out.
func nodeRoles(t *testing.T, o aws.Options, names []string) (roles map[string][]string, failed map[string]error, err error) {
	t.Helper()
	found, err := open(t, o).Instances(t.Context(), aws.InstanceQuery{DNSNames: names})
	if err != nil {
		if found != nil {
			t.Errorf("an answer beside %v: %v", err, found)
		}
		return nil, nil, err
	}
	roles, failed = map[string][]string{}, map[string]error{}
	for _, i := range found {
		switch {
		case i.Err != nil:
			failed[i.DNSName] = i.Err
		case len(i.Roles) > 0:
			roles[i.DNSName] = append(roles[i.DNSName], i.Roles...)
		}
	}
	return roles, failed, nil
}

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

	got, failed, err := nodeRoles(t, aws.Options{}, nodes)
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
		got, perNode, err := nodeRoles(t, aws.Options{MaxAttempts: 2}, []string{"a", "b"})
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
		got, failed, err := nodeRoles(t, aws.Options{}, []string{"bad", "good", "none"})
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

// Instances are found by id too, each once, and those of other VPCs not. What is asked
// for by one kind costs as much as by the other.
func TestInstances(t *testing.T) {
	a := start(t, awsfake.AWSOptions{})
	const ours, theirs = "vpc-0000000000000000a", "vpc-0000000000000000b"
	name := func(n int) string { return fmt.Sprintf("ip-10-0-0-%d.eu-west-3.compute.internal", n) }
	id := func(n int) string { return fmt.Sprintf("i-%017x", n) }
	a.SetProfile("eks-workers", "workers")
	a.SetProfile("eks-billing", "billing")
	a.SetInstanceIn(ours, id(1), name(1), "eks-workers")
	a.SetInstanceIn(theirs, id(2), name(1), "eks-billing") // the same name
	a.SetInstanceIn(theirs, id(3), name(3), "eks-billing")
	a.SetInstanceIn(ours, id(4), name(4), "")
	a.SetInstanceIn(ours, id(5), name(5), "gone")
	const workers, billing = "arn:aws:iam::111122223333:role/workers", "arn:aws:iam::111122223333:role/billing"
	for _, tc := range []struct {
		name     string
		query    aws.InstanceQuery
		want     map[string]string // role by id
		requests int
	}{
		{"by name", aws.InstanceQuery{DNSNames: []string{name(1), name(3)}}, map[string]string{id(1): workers, id(2): billing, id(3): billing}, 1},
		{"by name in a VPC", aws.InstanceQuery{VPCs: []string{ours}, DNSNames: []string{name(1), name(3)}}, map[string]string{id(1): workers}, 1},
		{"by name in two VPCs", aws.InstanceQuery{VPCs: []string{theirs, ours}, DNSNames: []string{name(1)}}, map[string]string{id(1): workers, id(2): billing}, 1},
		{"by id", aws.InstanceQuery{IDs: []string{id(1), id(2), id(9), "i-*"}}, map[string]string{id(1): workers, id(2): billing}, 1},
		{"by id in a VPC", aws.InstanceQuery{VPCs: []string{ours}, IDs: []string{id(1), id(2)}}, map[string]string{id(1): workers}, 1},
		{"by both", aws.InstanceQuery{VPCs: []string{ours}, IDs: []string{id(1), id(4)}, DNSNames: []string{name(1)}}, map[string]string{id(1): workers, id(4): ""}, 2},
		{"without a profile", aws.InstanceQuery{IDs: []string{id(4), id(5)}}, map[string]string{id(4): "", id(5): "not_found"}, 1},
		{"nothing", aws.InstanceQuery{VPCs: []string{ours}, DNSNames: []string{"*"}}, map[string]string{}, 0},
	} {
		before := a.Requests("DescribeInstances")
		found, err := open(t, aws.Options{}).Instances(t.Context(), tc.query)
		if err != nil {
			t.Fatalf("%s: %v", tc.name, err)
		}
		got := map[string]string{}
		for _, i := range found {
			got[i.ID] = strings.Join(i.Roles, ",") + aws.Reason(i.Err)
		}
		if diff := cmp.Diff(tc.want, got); diff != "" || len(found) != len(got) {
			t.Errorf("%s: %d instances (-want +got):\n%s", tc.name, len(found), diff)
		}
		if n := a.Requests("DescribeInstances") - before; n != tc.requests {
			t.Errorf("%s: %d requests to EC2, want %d", tc.name, n, tc.requests)
		}
	}
}
