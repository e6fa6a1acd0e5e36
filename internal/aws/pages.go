package aws

import (
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// pages holds each page of a list against the ones before. The SDK's paginators
// go on where IsTruncated says so and there is a Marker, and else end without
// an error: of a list that broke off they would make a short one.
type pages struct {
	seen map[string]bool // markers
}

// check returns an error that matches [ErrTruncated] if the list cannot be
// whole. complete says that the page holds the elements that every page does:
// an answer with no body at all reaches here as one with nothing in it
// (service/iam v1.64.8 deserializers.go:13431).
func (p *pages) check(complete, truncated bool, marker *string) error {
	m := aws.ToString(marker)
	switch {
	case !complete:
		return fmt.Errorf("%w: an answer with nothing in it", ErrTruncated)
	case truncated && m == "":
		return fmt.Errorf("%w: more is announced, but not where it begins", ErrTruncated)
	case !truncated && m != "":
		return fmt.Errorf("%w: no more is announced, and yet where it begins", ErrTruncated)
	case p.seen[m]:
		return fmt.Errorf("%w: the pages go round in a circle", ErrTruncated)
	}
	if m != "" {
		if p.seen == nil {
			p.seen = map[string]bool{}
		}
		p.seen[m] = true
	}
	return nil
}
