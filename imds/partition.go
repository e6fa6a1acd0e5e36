package imds

import (
	"fmt"
	"regexp"
)

// partitions tells a region's partition by the form of its name, as the SDK
// does (aws-sdk-go-v2 v1.47.7 internal/endpoints/awsrulesfn/partitions.json,
// which it doesn't export). No name matches two of them.
var partitions = []struct {
	id     string
	region *regexp.Regexp
}{
	{"aws", regexp.MustCompile(`^(us|eu|ap|sa|ca|me|af|il|mx)-\w+-\d+$`)},
	{"aws-cn", regexp.MustCompile(`^cn-\w+-\d+$`)},
	{"aws-us-gov", regexp.MustCompile(`^us-gov-\w+-\d+$`)},
	{"aws-iso", regexp.MustCompile(`^us-iso-\w+-\d+$`)},
	{"aws-iso-b", regexp.MustCompile(`^us-isob-\w+-\d+$`)},
	{"aws-iso-e", regexp.MustCompile(`^eu-isoe-\w+-\d+$`)},
	{"aws-iso-f", regexp.MustCompile(`^us-isof-\w+-\d+$`)},
	{"aws-eusc", regexp.MustCompile(`^eusc-de-\w+-\d+$`)},
}

// PartitionOfRegion returns the AWS partition that a region belongs to, such as
// "aws" or "aws-us-gov". Unlike the SDK it does not take a region of unknown
// form for one of partition aws: that is an error.
func PartitionOfRegion(region string) (string, error) {
	for _, p := range partitions {
		if p.region.MatchString(region) {
			return p.id, nil
		}
	}
	return "", fmt.Errorf("%q is not the name of an AWS region of any known partition", region)
}
