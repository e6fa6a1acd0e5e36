package aws

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
)

// ErrNoGroup says that a group does not exist, which is not the same as that it
// is empty.
var ErrNoGroup = errors.New("the group does not exist")

// User is a member of a group.
type User struct {
	Name    string
	ARN     string    // with the user's path
	Created time.Time // by IAM's clock, to the second; zero where IAM does not say
}

// A Group is what one answer says of a group.
type Group struct {
	Created time.Time // as of a user: a group that was made anew is another one
	Users   []User    // each once, sorted by ARN; none where the group is empty
}

// GroupUsers returns a group and its members. The error is an [*Error], which matches
// [ErrNoGroup] where there is no such group; there is then no answer. IAM is eventually
// consistent: an answer may be older than the one before it.
func (d *Directory) GroupUsers(ctx context.Context, group string) (*Group, error) {
	c := d.begin(ctx, "iam:GetGroup", fmt.Sprintf("the group %q", group))
	defer c.end()
	users, out := map[string]User{}, &Group{}
	var p pages
	list := iam.NewGetGroupPaginator(d.iam, &iam.GetGroupInput{
		GroupName: aws.String(group),
		MaxItems:  aws.Int32(pageSize),
	})
	for list.HasMorePages() {
		page, err := list.NextPage(c.ctx)
		var missing *types.NoSuchEntityException
		if errors.As(err, &missing) {
			return nil, c.fail(fmt.Errorf("%w (%w)", ErrNoGroup, err))
		}
		if err != nil {
			return nil, c.fail(err)
		}
		if err := p.check(page.Users != nil && page.Group != nil, page.IsTruncated, page.Marker); err != nil {
			return nil, c.fail(err)
		}
		if name := aws.ToString(page.Group.GroupName); !strings.EqualFold(name, group) {
			return nil, c.fail(fmt.Errorf("the answer is about the group %q", name))
		}
		out.Created = aws.ToTime(page.Group.CreateDate)
		for _, u := range page.Users {
			name := aws.ToString(u.UserName)
			a, err := arn.Parse(aws.ToString(u.Arn))
			if err != nil || name == "" || !strings.HasSuffix(a.Resource, "/"+name) {
				return nil, c.fail(fmt.Errorf("%w: user %q without the ARN that belongs to it", ErrTruncated, name))
			}
			users[a.String()] = User{Name: name, ARN: a.String(), Created: aws.ToTime(u.CreateDate)}
		}
	}
	out.Users = slices.SortedFunc(maps.Values(users), func(a, b User) int { return cmp.Compare(a.ARN, b.ARN) })
	return out, nil
}
