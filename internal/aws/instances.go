package aws

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
)

// filterValues is how many values a filter of DescribeInstances takes
// (https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeInstances.html).
const filterValues = 200

// An InstanceQuery says which EC2 instances are looked for, in the directory's region
// and account.
type InstanceQuery struct {
	VPCs     []string // ids; an instance of another VPC is not found. None: of every VPC
	DNSNames []string // private DNS names, of which instances of two VPCs can have one
	IDs      []string
}

// An Instance is an EC2 instance that is pending or running.
type Instance struct {
	ID      string
	DNSName string // private
	VPC     string
	Roles   []string // ARNs of the roles of its instance profile: none, or one as a rule
	Err     error    // an [*Error]: why Roles can't be told; nil where they can
}

// Instances returns the instances that have one of the names or ids, by id. Those that
// are not found are left out.
//
// It needs ec2:DescribeInstances and iam:GetInstanceProfile, and asks once for 200
// names, once for 200 ids and once for each instance profile. An instance whose profile
// cannot be read, because it was deleted under the instance or because a policy denies
// this one, has an Err. Where EC2 or IAM cannot be asked, or denies all, the error is an
// [*Error] and there is no answer about any instance.
func (d *Directory) Instances(ctx context.Context, q InstanceQuery) ([]Instance, error) {
	found := map[string]described{}
	for _, by := range []struct {
		filter string
		values []string
	}{{"private-dns-name", plainValues(q.DNSNames)}, {"instance-id", plainValues(q.IDs)}} {
		for values := range slices.Chunk(by.values, filterValues) {
			if err := d.describe(ctx, q.VPCs, by.filter, values, found); err != nil {
				return nil, err
			}
		}
	}
	rolesOf, errOf, err := d.allProfileRoles(ctx, found)
	if err != nil {
		return nil, err
	}
	out := make([]Instance, 0, len(found))
	for _, id := range slices.Sorted(maps.Keys(found)) {
		i := found[id]
		i.Roles, i.Err = rolesOf[i.profile], errOf[i.profile]
		out = append(out, i.Instance)
	}
	return out, nil
}

// described is what EC2 says of an instance.
type described struct {
	Instance
	profile string // ARN of its instance profile; empty for none
}

// allProfileRoles returns the roles of each instance profile of the instances, or why
// that profile cannot be read. The error says why none can.
func (d *Directory) allProfileRoles(ctx context.Context, instances map[string]described) (roles map[string][]string, failed map[string]error, err error) {
	roles, failed = map[string][]string{}, map[string]error{}
	var profiles []string
	for _, i := range instances {
		if i.profile != "" {
			profiles = append(profiles, i.profile)
		}
	}
	slices.Sort(profiles)
	var denied error
	for _, profile := range slices.Compact(profiles) {
		arns, err := d.profileRoles(ctx, profile)
		if err == nil {
			roles[profile] = arns
			continue
		}
		if ctx.Err() != nil || !isAnswer(err) {
			return nil, nil, err // each of the others would take as long
		}
		if Reason(err) == ReasonDenied {
			denied = err
		}
		failed[profile] = err
	}
	if denied != nil && len(roles) == 0 {
		return nil, nil, denied
	}
	return roles, failed, nil
}

// isAnswer reports whether an error is what IAM says of what was asked, and not that
// it cannot be asked now.
func isAnswer(err error) bool {
	switch Reason(err) {
	case ReasonThrottled, ReasonTimeout, ReasonUnreachable:
		return false
	}
	var status interface{ HTTPStatusCode() int }
	return !errors.As(err, &status) || status.HTTPStatusCode() < http.StatusInternalServerError
}

// plainValues leaves out what is no DNS name and no id: a filter takes wildcards.
func plainValues(values []string) []string {
	var out []string
	for _, value := range values {
		if value != "" && strings.Trim(value, "abcdefghijklmnopqrstuvwxyz0123456789.-") == "" {
			out = append(out, value)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// describe adds the instances that have one of the values. An id that is not there is
// no error, since it is asked for by a filter.
func (d *Directory) describe(ctx context.Context, vpcs []string, filter string, values []string, found map[string]described) error {
	c := d.begin(ctx, "ec2:DescribeInstances", fmt.Sprintf("%d nodes", len(values)))
	defer c.end()
	filters := []types.Filter{
		{Name: aws.String(filter), Values: values},
		{Name: aws.String("instance-state-name"), Values: []string{"pending", "running"}},
	}
	if len(vpcs) > 0 {
		filters = append(filters, types.Filter{Name: aws.String("vpc-id"), Values: vpcs})
	}
	pages := ec2.NewDescribeInstancesPaginator(d.ec2, &ec2.DescribeInstancesInput{Filters: filters})
	for pages.HasMorePages() {
		page, err := pages.NextPage(c.ctx)
		if err != nil {
			return c.fail(err)
		}
		for _, r := range page.Reservations {
			for _, i := range r.Instances {
				is := described{Instance: Instance{ID: aws.ToString(i.InstanceId), DNSName: aws.ToString(i.PrivateDnsName), VPC: aws.ToString(i.VpcId)}}
				if i.IamInstanceProfile != nil {
					is.profile = aws.ToString(i.IamInstanceProfile.Arn)
				}
				// What answers need not heed the filters.
				asked := slices.Contains(values, is.DNSName) || slices.Contains(values, is.ID)
				if is.ID != "" && asked && (len(vpcs) == 0 || slices.Contains(vpcs, is.VPC)) {
					found[is.ID] = is
				}
			}
		}
	}
	return nil
}

// profileRoles returns the roles of an instance profile: one, or none while it
// is being exchanged.
func (d *Directory) profileRoles(ctx context.Context, profile string) ([]string, error) {
	name := profile[strings.LastIndexByte(profile, '/')+1:]
	c := d.begin(ctx, "iam:GetInstanceProfile", "instance profile "+name)
	defer c.end()
	out, err := d.iam.GetInstanceProfile(c.ctx, &iam.GetInstanceProfileInput{InstanceProfileName: &name})
	if err != nil {
		return nil, c.fail(err)
	}
	if out.InstanceProfile == nil {
		return nil, c.fail(fmt.Errorf("%w: no instance profile", ErrTruncated))
	}
	var arns []string
	for _, r := range out.InstanceProfile.Roles {
		arns = append(arns, aws.ToString(r.Arn))
	}
	return arns, nil
}
