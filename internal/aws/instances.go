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

// NodeRoles returns the ARNs of the roles under which the EC2 instances of
// nodes run, by the node's name: its private DNS name, as EKS has it. Nodes are
// looked for in the directory's region and account; one without an instance, or
// whose instance has no role, is left out. Two instances in different VPCs can
// have one name: then both their roles are listed.
//
// It needs ec2:DescribeInstances and iam:GetInstanceProfile, and asks once for
// 200 nodes and once for each instance profile. A node whose instance profile
// cannot be read, because it was deleted under the instance or because a policy
// denies this one, is in failed with an [*Error] and not in roles. Where EC2 or
// IAM cannot be asked, or denies all, the error is an [*Error] and there is no
// answer about any node.
func (d *Directory) NodeRoles(ctx context.Context, nodes []string) (roles map[string][]string, failed map[string]error, err error) {
	profiles := map[string][]string{} // of nodes
	for names := range slices.Chunk(dnsNames(nodes), filterValues) {
		if err := d.describe(ctx, names, profiles); err != nil {
			return nil, nil, err
		}
	}
	rolesOf, errOf, err := d.allProfileRoles(ctx, profiles)
	if err != nil {
		return nil, nil, err
	}
	roles, failed = map[string][]string{}, map[string]error{}
	for node, arns := range profiles {
		for _, profile := range arns {
			if err := errOf[profile]; err != nil {
				failed[node] = err
			}
			roles[node] = append(roles[node], rolesOf[profile]...)
		}
		if len(roles[node]) == 0 || failed[node] != nil {
			delete(roles, node)
		}
	}
	return roles, failed, nil
}

// allProfileRoles returns the roles of each instance profile of the nodes, or why
// that profile cannot be read. The error says why none can.
func (d *Directory) allProfileRoles(ctx context.Context, nodes map[string][]string) (roles map[string][]string, failed map[string]error, err error) {
	roles, failed = map[string][]string{}, map[string]error{}
	profiles := slices.Concat(slices.Collect(maps.Values(nodes))...)
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

// dnsNames leaves out what is no DNS name: a filter takes wildcards.
func dnsNames(nodes []string) []string {
	var out []string
	for _, name := range nodes {
		if name != "" && strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789.-") == "" {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// describe adds the instance profiles of the instances of those names.
func (d *Directory) describe(ctx context.Context, names []string, profiles map[string][]string) error {
	c := d.begin(ctx, "ec2:DescribeInstances", fmt.Sprintf("%d nodes", len(names)))
	defer c.end()
	pages := ec2.NewDescribeInstancesPaginator(d.ec2, &ec2.DescribeInstancesInput{Filters: []types.Filter{
		{Name: aws.String("private-dns-name"), Values: names},
		{Name: aws.String("instance-state-name"), Values: []string{"pending", "running"}},
	}})
	for pages.HasMorePages() {
		page, err := pages.NextPage(c.ctx)
		if err != nil {
			return c.fail(err)
		}
		for _, r := range page.Reservations {
			for _, i := range r.Instances {
				name := aws.ToString(i.PrivateDnsName)
				if i.IamInstanceProfile != nil && slices.Contains(names, name) {
					profiles[name] = append(profiles[name], aws.ToString(i.IamInstanceProfile.Arn))
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
