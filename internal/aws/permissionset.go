package aws

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
)

// permissionSetPath is the reserved path below which IAM Identity Center, and
// nobody else, makes roles; a region may follow it.
// https://docs.aws.amazon.com/singlesignon/latest/userguide/referencingpermissionsets.html
const permissionSetPath = "/aws-reserved/sso.amazonaws.com/"

// permissionSetRole takes a role's name apart. A set's name may hold
// underscores and be the beginning of another's, so only the end is sure: the
// last underscore and 16 hex digits.
var permissionSetRole = regexp.MustCompile(`^AWSReservedSSO_(.+)_[0-9a-fA-F]{16}$`)

// Role is the role that stands for a permission set in this account.
type Role struct {
	Name    string    // AWSReservedSSO_SET_SUFFIX
	ARN     string    // as IAM says it, with its path
	Created time.Time // when IAM Identity Center made it
	Others  []string  // ARNs of the set's other roles, older ones left over from assignments made anew; sorted
}

// PermissionSets returns the role of every permission set that is assigned in
// this account, by the set's exact name. Where a set has several roles, the one
// created last is meant, and of two created in the same second the one whose
// name sorts last.
//
// The error is an [*Error]; there is then no map.
func (d *Directory) PermissionSets(ctx context.Context) (map[string]Role, error) {
	c := d.begin(ctx, "iam:ListRoles", "the roles below "+permissionSetPath)
	defer c.end()
	sets := map[string]Role{}
	var p pages
	list := iam.NewListRolesPaginator(d.iam, &iam.ListRolesInput{
		PathPrefix: aws.String(permissionSetPath),
		MaxItems:   aws.Int32(pageSize),
	})
	for list.HasMorePages() {
		page, err := list.NextPage(c.ctx)
		if err != nil {
			return nil, c.fail(err)
		}
		if err := p.check(page.Roles != nil, page.IsTruncated, page.Marker); err != nil {
			return nil, c.fail(err)
		}
		for _, r := range page.Roles {
			set, role, err := permissionSet(r)
			if err != nil {
				return nil, c.fail(err)
			}
			if set == "" {
				continue
			}
			if before, ok := sets[set]; ok {
				role = newest(before, role)
			}
			sets[set] = role
		}
	}
	return sets, nil
}

// permissionSet returns the set that a role stands for, empty for a role that
// stands for none, such as one of Identity Center's own.
func permissionSet(r types.Role) (set string, role Role, err error) {
	name := aws.ToString(r.RoleName)
	a, err := arn.Parse(aws.ToString(r.Arn))
	if err != nil || name == "" || r.CreateDate == nil || !strings.HasSuffix(a.Resource, "/"+name) {
		return "", Role{}, fmt.Errorf("%w: role %q without the ARN or the date that belong to it", ErrTruncated, name)
	}
	m := permissionSetRole.FindStringSubmatch(name)
	// Anyone may call a role so, but not put it there.
	if m == nil || !strings.HasPrefix(a.Resource, "role"+permissionSetPath) {
		return "", Role{}, nil
	}
	return m[1], Role{Name: name, ARN: a.String(), Created: *r.CreateDate}, nil
}

func newest(a, b Role) Role {
	if a.Name == b.Name {
		return a // a page that moved while it was read
	}
	older := b
	if d := a.Created.Compare(b.Created); d < 0 || d == 0 && a.Name < b.Name {
		a, older = b, a
	}
	others := append(slices.Concat(a.Others, older.Others), older.ARN)
	slices.Sort(others)
	a.Others = slices.DeleteFunc(slices.Compact(others), func(arn string) bool { return arn == a.ARN })
	return a
}
