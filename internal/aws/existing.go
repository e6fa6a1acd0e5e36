package aws

import (
	"context"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/iam"
)

// Names are the roles or users of an account: the ARN, with its path, by the
// name in lower case. IAM tells no two names apart that differ in case alone.
type Names map[string]string

// RoleNames returns every role of the account. The error is an [*Error]; there
// is then no answer in part.
func (d *Directory) RoleNames(ctx context.Context) (Names, error) {
	c := d.begin(ctx, "iam:ListRoles", "the account's roles")
	defer c.end()
	names := Names{}
	var p pages
	list := iam.NewListRolesPaginator(d.iam, &iam.ListRolesInput{MaxItems: aws.Int32(pageSize)})
	for list.HasMorePages() {
		page, err := list.NextPage(c.ctx)
		if err != nil {
			return nil, c.fail(err)
		}
		if err := p.check(page.Roles != nil, page.IsTruncated, page.Marker); err != nil {
			return nil, c.fail(err)
		}
		for _, r := range page.Roles {
			if err := names.add(r.RoleName, r.Arn); err != nil {
				return nil, c.fail(err)
			}
		}
	}
	return names, nil
}

// UserNames returns every user of the account, like [Directory.RoleNames].
func (d *Directory) UserNames(ctx context.Context) (Names, error) {
	c := d.begin(ctx, "iam:ListUsers", "the account's users")
	defer c.end()
	names := Names{}
	var p pages
	list := iam.NewListUsersPaginator(d.iam, &iam.ListUsersInput{MaxItems: aws.Int32(pageSize)})
	for list.HasMorePages() {
		page, err := list.NextPage(c.ctx)
		if err != nil {
			return nil, c.fail(err)
		}
		if err := p.check(page.Users != nil, page.IsTruncated, page.Marker); err != nil {
			return nil, c.fail(err)
		}
		for _, u := range page.Users {
			if err := names.add(u.UserName, u.Arn); err != nil {
				return nil, c.fail(err)
			}
		}
	}
	return names, nil
}

func (n Names) add(name, id *string) error {
	a, err := arn.Parse(aws.ToString(id))
	if err != nil || aws.ToString(name) == "" || !strings.HasSuffix(a.Resource, "/"+aws.ToString(name)) {
		return fmt.Errorf("%w: %q without the ARN that belongs to it", ErrTruncated, aws.ToString(name))
	}
	n[strings.ToLower(aws.ToString(name))] = a.String()
	return nil
}
