package aws

import (
	"strings"
	"testing"
)

func TestLinkLocal(t *testing.T) {
	for host, want := range map[string]bool{
		"169.254.169.254": true, "169.254.170.2": true, "169.254.170.23": true, "::ffff:169.254.170.23": true,
		"fd00:ec2::23": true, "fd00:ec2::254": true, "fe80::1": true, "fe80::1%eth0": true,
		"iam.amazonaws.com": false, "10.0.0.1": false, "170.254.169.254": false, "fd00:ec3::23": false, "169.254.169.254.example": false, "": false,
	} {
		if linkLocal(host) != want {
			t.Errorf("%q: link-local %v, want %v", host, !want, want)
		}
	}
}

// What to do where a host does not answer depends on how it was asked.
func TestNoWay(t *testing.T) {
	for _, tc := range []struct{ host, proxy, want, not string }{
		{"iam.amazonaws.com", "http://proxy:3128", "NO_PROXY", "HTTPS_PROXY"},
		{"iam.amazonaws.com", "", "HTTPS_PROXY", "NO_PROXY"},
		{"169.254.170.23", "", "eks-pod-identity-agent", "HTTPS_PROXY"},
		{"169.254.169.254", "", "instance metadata service", "eks-pod-identity-agent"},
		{"", "", "HTTPS_PROXY", "NO_PROXY"},
	} {
		if got := noWay(tc.host, tc.proxy); !strings.Contains(got, tc.want) || strings.Contains(got, tc.not) {
			t.Errorf("%q by %q: %q, want %q and not %q", tc.host, tc.proxy, got, tc.want, tc.not)
		}
	}
}
