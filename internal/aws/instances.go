package aws

import (
	"context"
	"fmt"
	"maps"
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
// 200 nodes and once for each instance profile. The error is an [*Error]; there
// is no answer in part.
func (d *Directory) NodeRoles(ctx context.Context, nodes []string) (map[string][]string, error) {
	profiles := map[string][]string{} // of nodes
	for names := range slices.Chunk(dnsNames(nodes), filterValues) {
		if err := d.describe(ctx, names, profiles); err != nil {
			return nil, err
		}
	}
	roles := map[string][]string{} // of profiles
	for _, arns := range profiles {
		for _, profile := range arns {
			roles[profile] = nil
		}
	}
	for _, profile := range slices.Sorted(maps.Keys(roles)) {
		var err error
		if roles[profile], err = d.profileRoles(ctx, profile); err != nil {
			return nil, err
		}
	}
	out := map[string][]string{}
	for node, arns := range profiles {
		for _, profile := range arns {
			out[node] = append(out[node], roles[profile]...)
		}
		if len(out[node]) == 0 {
			delete(out, node)
		}
	}
	return out, nil
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
