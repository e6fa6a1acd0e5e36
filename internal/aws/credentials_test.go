package aws_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/internal/aws"
	"github.com/rolecall/rolecall/test/awsfake"
)

// endpoints are the variables that lead to a, without credentials.
func endpoints(a *awsfake.AWS) []string {
	var env []string
	for _, e := range a.Env() {
		if !strings.Contains(e, "ACCESS_KEY") {
			env = append(env, e)
		}
	}
	return env
}

func write(t *testing.T, name, text string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestCaller(t *testing.T) {
	start(t, awsfake.AWSOptions{AccountID: "444455556666", Partition: "aws-cn", Region: "cn-north-1"})
	got, err := open(t, aws.Options{}).Caller(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := aws.Caller{AccountID: "444455556666", Partition: "aws-cn", ARN: "arn:aws-cn:iam::444455556666:user/rolecall-test"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("caller (-want +got):\n%s", diff)
	}
}

func TestCallerHollow(t *testing.T) {
	a := start(t, awsfake.AWSOptions{})
	for _, kind := range []awsfake.FaultKind{awsfake.FaultEmpty, awsfake.FaultHollow} {
		a.Fail("GetCallerIdentity", awsfake.Fault{Kind: kind})
		if got, err := open(t, aws.Options{}).Caller(t.Context()); aws.Reason(err) != aws.ReasonTruncated {
			t.Errorf("got %+v, %v", got, err)
		}
	}
}

func TestAssumedRole(t *testing.T) {
	a := start(t, awsfake.AWSOptions{})
	a.AddRole(awsfake.Role{Name: "reader", Path: "/team/"})
	d := open(t, aws.Options{RoleARN: "arn:aws:iam::111122223333:role/team/reader"})
	const want = "arn:aws:sts::111122223333:assumed-role/reader/rolecall"
	if got, err := d.Caller(t.Context()); err != nil || got.ARN != want {
		t.Errorf("caller is %+v, %v, want %s", got, err, want)
	}
	if _, err := d.PermissionSets(t.Context()); err != nil {
		t.Error(err)
	}
	if got := a.Caller("ListRoles"); got != want {
		t.Errorf("roles were listed by %s, want %s", got, want)
	}
	if got := a.Caller("AssumeRole"); got != "arn:aws:iam::111122223333:user/rolecall-test" {
		t.Errorf("the role was assumed by %s", got)
	}
}

func TestAssumedRoleOfAnotherAccount(t *testing.T) {
	start(t, awsfake.AWSOptions{})
	got, err := open(t, aws.Options{RoleARN: "arn:aws:iam::444455556666:role/reader"}).Caller(t.Context())
	if err != nil || got.AccountID != "444455556666" {
		t.Errorf("caller is %+v, %v, want one of 444455556666", got, err)
	}
}

func TestAssumeRoleDenied(t *testing.T) {
	a := start(t, awsfake.AWSOptions{})
	a.AddRole(awsfake.Role{Name: "reader"})
	a.Fail("AssumeRole", awsfake.Deny())
	d := open(t, aws.Options{RoleARN: "arn:aws:iam::111122223333:role/reader"})
	_, err := d.PermissionSets(t.Context())
	if aws.Reason(err) != aws.ReasonDenied {
		t.Fatalf("got %v for the reason %q", err, aws.Reason(err))
	}
	for _, s := range []string{"arn:aws:iam::111122223333:role/reader", "sts:AssumeRole", "trust policy"} {
		if !strings.Contains(err.Error(), s) {
			t.Errorf("%q does not speak of %q", err, s)
		}
	}
	if got := a.Requests("ListRoles"); got != 0 {
		t.Errorf("%d requests without the role", got)
	}
	a.Heal()
	if _, err := d.PermissionSets(t.Context()); err != nil {
		t.Errorf("after it was allowed: %v", err)
	}
}

// Throttled by STS is throttled.
func TestAssumeRoleThrottled(t *testing.T) {
	a := start(t, awsfake.AWSOptions{})
	a.Fail("AssumeRole", awsfake.Throttle(0))
	_, err := open(t, aws.Options{RoleARN: "arn:aws:iam::444455556666:role/reader"}).PermissionSets(t.Context())
	if aws.Reason(err) != aws.ReasonThrottled {
		t.Errorf("got %v for the reason %q", err, aws.Reason(err))
	}
}

// A session that is about to run out is replaced before it does, any other kept.
func TestSessionExpires(t *testing.T) {
	for life, want := range map[time.Duration]int{30 * time.Second: 3, time.Hour: 1} {
		a := start(t, awsfake.AWSOptions{SessionLife: life})
		d := open(t, aws.Options{RoleARN: "arn:aws:iam::444455556666:role/reader"})
		for range 3 {
			if _, err := d.PermissionSets(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if got := a.Requests("AssumeRole"); got != want {
			t.Errorf("sessions of %v: the role was assumed %d times for three calls, want %d", life, got, want)
		}
	}
}

func TestRoleARNIsChecked(t *testing.T) {
	for _, s := range []string{"reader", "arn:aws:iam::111122223333:user/reader", "arn:aws:sts::111122223333:assumed-role/reader/x", "arn:aws:iam::111122223333:instance-profile/x"} {
		if _, err := aws.New(t.Context(), aws.Options{RoleARN: s}); err == nil || !strings.Contains(err.Error(), s) {
			t.Errorf("role %q: got %v", s, err)
		}
	}
}

// As IRSA sets a pod up.
func TestWebIdentity(t *testing.T) {
	a := start(t, awsfake.AWSOptions{})
	a.AddRole(awsfake.Role{Name: "irsa"})
	token := write(t, "token", "e30.e30.e30")
	setenv(t, append(endpoints(a), "AWS_ROLE_ARN=arn:aws:iam::111122223333:role/irsa", "AWS_WEB_IDENTITY_TOKEN_FILE="+token, "AWS_ROLE_SESSION_NAME=pod")...)
	d := open(t, aws.Options{})
	got, err := d.Caller(t.Context())
	if want := "arn:aws:sts::111122223333:assumed-role/irsa/pod"; err != nil || got.ARN != want {
		t.Errorf("caller is %+v, %v, want %s", got, err, want)
	}

	// A role on top of it.
	a.AddRole(awsfake.Role{Name: "reader"})
	d = open(t, aws.Options{RoleARN: "arn:aws:iam::111122223333:role/reader"})
	if _, err := d.PermissionSets(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := a.Caller("AssumeRole"); got != "arn:aws:sts::111122223333:assumed-role/irsa/pod" {
		t.Errorf("the role was assumed by %s", got)
	}

	a.Fail("AssumeRoleWithWebIdentity", awsfake.Deny())
	_, err = open(t, aws.Options{}).PermissionSets(t.Context())
	if aws.Reason(err) != aws.ReasonDenied || !strings.Contains(err.Error(), "eks.amazonaws.com/role-arn") {
		t.Errorf("got %v for the reason %q", err, aws.Reason(err))
	}
}

// As EKS Pod Identity sets a pod up: the node's agent hands out credentials to
// whoever shows the pod's token.
func TestPodIdentity(t *testing.T) {
	a := start(t, awsfake.AWSOptions{})
	agent := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "pod-token" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]string{
			"AccessKeyId": "ASIAEXAMPLE", "SecretAccessKey": "s", "Token": "t", "Expiration": time.Now().Add(time.Hour).UTC().Format(time.RFC3339),
		})
	}))
	defer agent.Close()
	setenv(t, append(endpoints(a), "AWS_CONTAINER_CREDENTIALS_FULL_URI="+agent.URL+"/v1/credentials", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE="+write(t, "token", "pod-token"))...)
	if _, err := open(t, aws.Options{}).PermissionSets(t.Context()); err != nil {
		t.Error(err)
	}
}

// What the agent of EKS Pod Identity passes on of EKS's refusals, in its words, and what
// is to be done.
func TestPodIdentityRefuses(t *testing.T) {
	a := start(t, awsfake.AWSOptions{})
	const prefix = "[0f4e]: (fetching credentials): operation error EKS Auth: AssumeRoleForPodIdentity, https response error StatusCode: "
	const trust, association = "trust policy of the role in the pod identity association", "make a pod identity association"
	for name, tc := range map[string]struct {
		status       int
		kind, text   string
		reason, want string
		not          string
	}{
		"the trust policy": {
			400, "text/plain", prefix + "400, AccessDeniedException: Unauthorized Exception! EKS does not have permissions to assume the associated role.",
			aws.ReasonDenied, trust, association,
		},
		"the trust policy, as JSON": {400, "application/json", `{"code":"AccessDeniedException","message":"Unauthorized"}`, aws.ReasonDenied, trust, association},
		"no association": {
			404, "text/plain", prefix + "404, ResourceNotFoundException: No association found for service account",
			aws.ReasonDenied, association, trust,
		},
		"an old token":   {400, "text/plain", prefix + "400, ExpiredTokenException: Token expired", aws.ReasonDenied, "restart the pod", association},
		"for a moment":   {500, "text/plain", prefix + "500, InternalServerException", aws.ReasonOther, "eks-pod-identity-agent", association},
		"too often":      {429, "text/plain", prefix + "429, ThrottlingException", aws.ReasonThrottled, "EKS Pod Identity", association},
		"something else": {400, "text/plain", "what?", aws.ReasonDenied, "eks-pod-identity-agent", association},
	} {
		agent := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", tc.kind)
			w.WriteHeader(tc.status)
			_, _ = w.Write([]byte(tc.text))
		}))
		setenv(t, append(endpoints(a), "AWS_CONTAINER_CREDENTIALS_FULL_URI="+agent.URL+"/v1/credentials")...)
		_, err := open(t, aws.Options{MaxAttempts: 1}).PermissionSets(t.Context())
		agent.Close()
		if err == nil {
			t.Fatalf("%s: no error", name)
		}
		if got := aws.Reason(err); got != tc.reason || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), tc.not) {
			t.Errorf("%s: %v is for the reason %s, want %s and %q", name, err, got, tc.reason, tc.want)
		}
		if tc.want == trust && (!strings.Contains(err.Error(), "pods.eks.amazonaws.com") || !strings.Contains(err.Error(), "sts:TagSession")) {
			t.Errorf("%s: %v does not say what it has to allow", name, err)
		}
	}
}

// Without credentials of its own a pod asks as its node. Where that is refused, the
// error says so, and whose the node's role is.
func TestAsNode(t *testing.T) {
	a := start(t, awsfake.AWSOptions{})
	m := awsfake.NewIMDS(awsfake.IMDSOptions{Role: "workers"})
	if _, err := m.Start(); err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	a.Fail("ListRoles", awsfake.Deny())
	a.AddRole(awsfake.Role{Name: "irsa"})
	a.AddRole(awsfake.Role{Name: "reader"})
	const arn = "arn:aws:iam::111122223333:role/workers"
	node := append(append(endpoints(a), m.Env()...), "AWS_EC2_METADATA_DISABLED=false")
	for name, tc := range map[string]struct {
		env     []string
		roleARN string
		asNode  bool
	}{
		"nothing":           {nil, "", true},
		"a role on top":     {nil, "arn:aws:iam::111122223333:role/reader", true},
		"IRSA":              {[]string{"AWS_ROLE_ARN=arn:aws:iam::111122223333:role/irsa", "AWS_WEB_IDENTITY_TOKEN_FILE=" + write(t, "token", "e30.e30.e30")}, "", false},
		"the environment":   {[]string{"AWS_ACCESS_KEY_ID=a", "AWS_SECRET_ACCESS_KEY=b"}, "", false},
		"IMDS switched off": {[]string{"AWS_EC2_METADATA_DISABLED=true"}, "", true},
	} {
		setenv(t, append(node[:len(node):len(node)], tc.env...)...)
		d := open(t, aws.Options{RoleARN: tc.roleARN, NodeRole: func() string { return arn }})
		if d.AsNode() != tc.asNode {
			t.Errorf("%s: as the node: %v", name, d.AsNode())
		}
		_, err := d.PermissionSets(t.Context())
		var own interface{ NoOwnCredentials() bool }
		if !errors.As(err, &own) || own.NoOwnCredentials() != tc.asNode || aws.Reason(err) != aws.ReasonDenied {
			t.Errorf("%s: %v has no credentials of its own: want %v", name, err, tc.asNode)
		}
		if strings.Contains(fmt.Sprint(err), "got no") != tc.asNode && strings.Contains(fmt.Sprint(err), "none of its own") != tc.asNode {
			t.Errorf("%s: %v", name, err)
		}
		if name == "nothing" && !strings.Contains(fmt.Sprint(err), arn) {
			t.Errorf("%s: %v does not name %s", name, err, arn)
		}
	}
	// A failure that passes says nothing of credentials.
	setenv(t, node...)
	a.Fail("ListRoles", awsfake.Throttle(0))
	_, err := open(t, aws.Options{MaxAttempts: 1}).PermissionSets(t.Context())
	var own interface{ NoOwnCredentials() bool }
	if !errors.As(err, &own) || own.NoOwnCredentials() {
		t.Errorf("throttled: %v", err)
	}
}

// Credentials of the node come by version 2 of IMDS or not at all: no request is sent
// without a token, however the one for the token fails.
func TestNoFallBackToIMDSv1(t *testing.T) {
	a := start(t, awsfake.AWSOptions{})
	for _, status := range []int{400, 403, 404, 405, 500} {
		var without atomic.Int64
		m := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPut {
				w.WriteHeader(status)
				return
			}
			if r.Header.Get("X-Aws-Ec2-Metadata-Token") == "" {
				without.Add(1)
			}
			_, _ = w.Write([]byte("workers"))
		}))
		setenv(t, append(endpoints(a), "AWS_EC2_METADATA_DISABLED=false", "AWS_EC2_METADATA_SERVICE_ENDPOINT="+m.URL)...)
		_, err := open(t, aws.Options{MaxAttempts: 1}).PermissionSets(t.Context())
		m.Close()
		if err == nil || without.Load() > 0 {
			t.Errorf("%d to the token: %v, %d requests without one", status, err, without.Load())
		}
	}
}

func TestSharedFiles(t *testing.T) {
	a := start(t, awsfake.AWSOptions{})
	a.AddRole(awsfake.Role{Name: "reader"})
	credentials := write(t, "credentials", "[base]\naws_access_key_id = AKIAEXAMPLE\naws_secret_access_key = s\n")
	config := write(t, "config", "[profile reader]\nrole_arn = arn:aws:iam::111122223333:role/reader\nrole_session_name = file\nsource_profile = base\nregion = eu-west-3\n")
	setenv(t, append(endpoints(a), "AWS_SHARED_CREDENTIALS_FILE="+credentials, "AWS_CONFIG_FILE="+config, "AWS_PROFILE=reader")...)
	got, err := open(t, aws.Options{}).Caller(t.Context())
	if want := "arn:aws:sts::111122223333:assumed-role/reader/file"; err != nil || got.ARN != want {
		t.Errorf("caller is %+v, %v, want %s", got, err, want)
	}
}

// The end of the SDK's chain: the role of the instance itself.
func TestInstanceRole(t *testing.T) {
	a := start(t, awsfake.AWSOptions{})
	m := awsfake.NewIMDS(awsfake.IMDSOptions{Role: "node"})
	if _, err := m.Start(); err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	setenv(t, append(append(endpoints(a), m.Env()...), "AWS_EC2_METADATA_DISABLED=false")...)
	if _, err := open(t, aws.Options{}).PermissionSets(t.Context()); err != nil {
		t.Error(err)
	}

	m.Set(awsfake.IMDSNoRole)
	_, err := open(t, aws.Options{}).PermissionSets(t.Context())
	if aws.Reason(err) != aws.ReasonDenied || !strings.Contains(err.Error(), "IRSA") {
		t.Errorf("got %v for the reason %q", err, aws.Reason(err))
	}
}

func TestNoCredentials(t *testing.T) {
	a := start(t, awsfake.AWSOptions{})
	for name, env := range map[string][]string{
		"IMDS switched off":    {"AWS_EC2_METADATA_DISABLED=true"},
		"IMDS out of reach":    {"AWS_EC2_METADATA_DISABLED=false", "AWS_EC2_METADATA_SERVICE_ENDPOINT=http://127.0.0.1:1"},
		"token file not there": {"AWS_ROLE_ARN=arn:aws:iam::111122223333:role/irsa", "AWS_WEB_IDENTITY_TOKEN_FILE=/nonexistent"},
	} {
		t.Run(name, func(t *testing.T) {
			setenv(t, append(endpoints(a), env...)...)
			_, err := open(t, aws.Options{MaxAttempts: 1}).PermissionSets(t.Context())
			if err == nil {
				t.Fatal("no error")
			}
			if got := aws.Reason(err); got != aws.ReasonDenied {
				t.Errorf("%v is for the reason %s", err, got)
			}
			for _, s := range []string{"Pod Identity", "IRSA"} {
				if !strings.Contains(err.Error(), s) {
					t.Errorf("%q does not speak of %s", err, s)
				}
			}
			if a.Requests("ListRoles") != 0 {
				t.Error("a request was sent without credentials")
			}
		})
	}
}

// Without a region from anywhere it is partition aws.
func TestRegion(t *testing.T) {
	a := start(t, awsfake.AWSOptions{})
	var scope string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		scope = r.Header.Get("Authorization")
		a.ServeHTTP(w, r)
	}))
	defer s.Close()
	for _, tc := range []struct{ option, env, want string }{
		{"", "", "us-east-1"},
		{"", "eu-west-3", "eu-west-3"},
		{"us-gov-west-1", "eu-west-3", "us-gov-west-1"},
	} {
		setenv(t, "AWS_ENDPOINT_URL="+s.URL, "AWS_REGION="+tc.env, "AWS_ACCESS_KEY_ID=a", "AWS_SECRET_ACCESS_KEY=b")
		if _, err := open(t, aws.Options{Region: tc.option}).Caller(t.Context()); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(scope, "/"+tc.want+"/sts/") {
			t.Errorf("option %q, AWS_REGION %q: signed for %q, want %s", tc.option, tc.env, scope, tc.want)
		}
	}
}
