package imds_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/rolecall/rolecall/imds"
	"github.com/rolecall/rolecall/test/awsfake"
)

func TestVPC(t *testing.T) {
	m, c := stand(t, awsfake.IMDSOptions{VPC: "vpc-12345678"})
	if got, err := c.VPC(t.Context()); err != nil || got != "vpc-12345678" {
		t.Errorf("got %q, %v", got, err)
	}
	if n := m.Requests()["PUT "+awsfake.IMDSTokenPath]; n != 1 {
		t.Errorf("%d tokens for one question", n)
	}
}

// What is no answer is an error of its kind, and never a VPC.
func TestNoVPC(t *testing.T) {
	const mac = "/latest/meta-data/mac"
	for name, tc := range map[string]struct {
		fault awsfake.IMDSFault
		mac   string
		vpc   string
		kind  error
	}{
		"switched off":           {fault: awsfake.IMDSDisabled, kind: imds.ErrDisabled},
		"fails":                  {fault: awsfake.IMDSUnavailable, kind: imds.ErrUnavailable},
		"refuses its tokens":     {fault: awsfake.IMDSUnauthorized, kind: imds.ErrUnauthorized},
		"another path":           {mac: "../../iam/security-credentials", kind: imds.ErrInvalid},
		"no such interface":      {mac: "02:00:00:00:00:00", kind: imds.ErrInvalid},
		"no VPC":                 {vpc: "subnet-12345678", kind: imds.ErrInvalid},
		"a page of a proxy":      {vpc: "<html>vpc-12345678</html>", kind: imds.ErrInvalid},
		"more than one, somehow": {vpc: "vpc-12345678\nvpc-87654321", kind: imds.ErrInvalid},
	} {
		m, c := stand(t, awsfake.IMDSOptions{VPC: tc.vpc})
		m.Set(tc.fault)
		if tc.mac != "" {
			m.SetBody(mac, tc.mac)
		}
		got, err := c.VPC(t.Context())
		if got != "" || !errors.Is(err, tc.kind) {
			t.Errorf("%s: got %q, %v, want %v", name, got, err, tc.kind)
		}
	}
	setenv(t, "AWS_EC2_METADATA_DISABLED=true")
	if _, err := quick().VPC(t.Context()); !errors.Is(err, imds.ErrSwitchedOff) || !strings.Contains(err.Error(), "AWS_EC2_METADATA_DISABLED") {
		t.Errorf("switched off by the environment: %v", err)
	}
}
