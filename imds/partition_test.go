package imds_test

import (
	"testing"

	"github.com/rolecall/rolecall/imds"
)

func TestPartitionOfRegion(t *testing.T) {
	for region, want := range map[string]string{
		"us-east-1":       "aws",
		"eu-west-3":       "aws",
		"ap-southeast-7":  "aws",
		"af-south-1":      "aws",
		"il-central-1":    "aws",
		"mx-central-1":    "aws",
		"sa-east-1":       "aws",
		"cn-northwest-1":  "aws-cn",
		"us-gov-west-1":   "aws-us-gov",
		"us-iso-east-1":   "aws-iso",
		"us-isob-east-1":  "aws-iso-b",
		"eu-isoe-west-1":  "aws-iso-e",
		"us-isof-south-1": "aws-iso-f",
		"eusc-de-east-1":  "aws-eusc",
	} {
		if got, err := imds.PartitionOfRegion(region); err != nil || got != want {
			t.Errorf("PartitionOfRegion(%q) = %q, %v, want %q", region, got, err, want)
		}
	}
	for _, region := range []string{"", "us-east", "US-EAST-1", "xx-east-1", "us-east-1 ", "us-east-1\n", "eusc-fr-west-1", "us-isoz-east-1", "aws-global", "us-east-1a", "cn-north-1.evil"} {
		if got, err := imds.PartitionOfRegion(region); err == nil {
			t.Errorf("PartitionOfRegion(%q) = %q, want an error", region, got)
		}
	}
}
