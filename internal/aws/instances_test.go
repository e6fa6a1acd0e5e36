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

	got, err := open(t, aws.Options{}).NodeRoles(t.Context(), nodes)
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	// 450 and a few names are three filters of 200, their answers five pages.
	if n := a.Requests("DescribeInstances"); n != 5 {
		t.Errorf("%d requests to EC2, want 5", n)
	}
	if n := a.Requests("GetInstanceProfile"); n != 2 {
		t.Errorf("%d requests for 2 instance profiles", n)
	}
}

// Half an answer is none.
func TestNodeRolesFail(t *testing.T) {
	for operation, action := range map[string]string{"DescribeInstances": "ec2:DescribeInstances", "GetInstanceProfile": "iam:GetInstanceProfile"} {
		a := start(t, awsfake.AWSOptions{PageSize: 1})
		a.SetProfile("p", "workers")
		a.SetInstance("a", "p")
		a.SetInstance("b", "p")
		fault := awsfake.Fault{Kind: awsfake.FaultDenied}
		if operation == "DescribeInstances" {
			fault.Page = 2
		}
		a.Fail(operation, fault)
		got, err := open(t, aws.Options{}).NodeRoles(t.Context(), []string{"a", "b"})
		var failed *aws.Error
		if !errors.As(err, &failed) || failed.Action != action || got != nil {
			t.Errorf("%s denied: %v, %v", operation, got, err)
		}
	}
}
