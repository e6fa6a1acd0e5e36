package aws_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/internal/aws"
	"github.com/rolecall/rolecall/test/awsfake"
)

// Names come from all pages, and are none at all where a page is missing.
func TestNames(t *testing.T) {
	a := start(t, awsfake.AWSOptions{PageSize: 2})
	wantRoles, wantUsers := aws.Names{}, aws.Names{}
	for i := range 5 {
		a.AddRole(awsfake.Role{Name: fmt.Sprintf("Role%d", i), Path: "/team/"})
		wantRoles[fmt.Sprintf("role%d", i)] = fmt.Sprintf("arn:aws:iam::111122223333:role/team/Role%d", i)
		a.AddUser(awsfake.User{Name: fmt.Sprintf("User%d", i)})
		wantUsers[fmt.Sprintf("user%d", i)] = fmt.Sprintf("arn:aws:iam::111122223333:user/User%d", i)
	}
	d := open(t, aws.Options{MaxAttempts: 1})
	for _, c := range []struct {
		operation string
		names     func(context.Context) (aws.Names, error)
		want      aws.Names
	}{
		{"ListRoles", d.RoleNames, wantRoles},
		{"ListUsers", d.UserNames, wantUsers},
	} {
		got, err := c.names(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.operation, diff)
		}
		for _, fault := range []awsfake.FaultKind{awsfake.FaultDenied, awsfake.FaultHollow, awsfake.FaultNoMarker, awsfake.FaultSameMarker, awsfake.FaultCut} {
			a.Fail(c.operation, awsfake.Fault{Kind: fault})
			got, err := c.names(t.Context())
			a.Heal()
			if e := (*aws.Error)(nil); got != nil || !errors.As(err, &e) || e.Action != "iam:"+c.operation {
				t.Errorf("%s, fault %d: %v, %v", c.operation, fault, got, err)
			}
		}
	}
}
