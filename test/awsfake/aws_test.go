package awsfake_test

import (
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/test/awsfake"
)

// post sends a query API request; header may hold Authorization and the token.
func post(a *awsfake.AWS, form url.Values, header map[string]string) (status int, code string) {
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for k, v := range header {
		r.Header.Set(k, v)
	}
	w := httptest.NewRecorder()
	a.ServeHTTP(w, r)
	var e struct {
		Error struct{ Code string }
	}
	_ = xml.Unmarshal(w.Body.Bytes(), &e)
	return w.Code, e.Error.Code
}

func query(action, version string, more ...string) url.Values {
	v := url.Values{"Action": {action}, "Version": {version}}
	for i := 0; i < len(more); i += 2 {
		v.Set(more[i], more[i+1])
	}
	return v
}

func signed(key, service string) map[string]string {
	return map[string]string{"Authorization": fmt.Sprintf("AWS4-HMAC-SHA256 Credential=%s/20240101/eu-west-3/%s/aws4_request, SignedHeaders=host, Signature=0", key, service)}
}

func TestAWSRefusals(t *testing.T) {
	const iamV, stsV = "2010-05-08", "2011-06-15"
	a := awsfake.NewAWS(awsfake.AWSOptions{})
	a.AddRole(awsfake.Role{Name: "reader", Path: "/team/"})
	role := []string{"RoleSessionName", "s", "RoleArn", "arn:aws:iam::111122223333:role/team/reader"}
	for _, tc := range []struct {
		name   string
		form   url.Values
		header map[string]string
		status int
		code   string
	}{
		{"as it should be", query("ListRoles", iamV), signed("AKIA1", "iam"), 200, ""},
		{"unsigned", query("ListRoles", iamV), nil, 403, "MissingAuthenticationToken"},
		{"unsigned, to STS", query("GetCallerIdentity", stsV), nil, 403, "MissingAuthenticationToken"},
		{"signed for another service", query("ListRoles", iamV), signed("AKIA1", "sts"), 403, "SignatureDoesNotMatch"},
		{"version of another service", query("ListRoles", stsV), signed("AKIA1", "iam"), 400, "InvalidAction"},
		{"unknown operation", query("DeleteEverything", iamV), signed("AKIA1", "iam"), 400, "InvalidAction"},
		{"no marker of ours", query("ListRoles", iamV, "Marker", "x"), signed("AKIA1", "iam"), 400, "ValidationError"},
		{"too large a page", query("ListRoles", iamV, "MaxItems", "1001"), signed("AKIA1", "iam"), 400, "ValidationError"},
		{"no path", query("ListRoles", iamV, "PathPrefix", "team"), signed("AKIA1", "iam"), 400, "ValidationError"},
		{"role", query("AssumeRole", stsV, role...), signed("AKIA1", "sts"), 200, ""},
		{"role without its path", query("AssumeRole", stsV, "RoleSessionName", "s", "RoleArn", "arn:aws:iam::111122223333:role/reader"), signed("AKIA1", "sts"), 403, "AccessDenied"},
		{"role by name", query("AssumeRole", stsV, "RoleSessionName", "s", "RoleArn", "reader"), signed("AKIA1", "sts"), 400, "ValidationError"},
		{"web identity", query("AssumeRoleWithWebIdentity", stsV, append([]string{"WebIdentityToken", "x"}, role...)...), nil, 200, ""},
		{"web identity without token", query("AssumeRoleWithWebIdentity", stsV, role...), nil, 400, "InvalidIdentityToken"},
	} {
		if status, code := post(a, tc.form, tc.header); status != tc.status || code != tc.code {
			t.Errorf("%s: got %d %s, want %d %s", tc.name, status, code, tc.status, tc.code)
		}
	}
}

// sdk starts an account and returns the SDK's clients for it.
func sdk(t *testing.T, o awsfake.AWSOptions) (*awsfake.AWS, *iam.Client, *sts.Client) {
	t.Helper()
	a := awsfake.NewAWS(o)
	if _, err := a.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	})
	for _, e := range a.Env() {
		name, value, _ := strings.Cut(e, "=")
		t.Setenv(name, value)
	}
	cfg, err := config.LoadDefaultConfig(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	cfg.RetryMaxAttempts = 1
	return a, iam.NewFromConfig(cfg), sts.NewFromConfig(cfg)
}

func TestAWSSessions(t *testing.T) {
	a, _, s := sdk(t, awsfake.AWSOptions{SessionLife: 50 * time.Millisecond})
	out, err := s.AssumeRole(t.Context(), &sts.AssumeRoleInput{RoleArn: aws.String("arn:aws:iam::444455556666:role/x/reader"), RoleSessionName: aws.String("s")})
	if err != nil {
		t.Fatal(err)
	}
	header := signed(*out.Credentials.AccessKeyId, "iam")
	if status, code := post(a, query("ListRoles", "2010-05-08"), header); status != 403 || code != "InvalidClientTokenId" {
		t.Errorf("without the session's token: got %d %s", status, code)
	}
	header["X-Amz-Security-Token"] = *out.Credentials.SessionToken
	if status, code := post(a, query("ListRoles", "2010-05-08"), header); status != 200 && code != "ExpiredToken" {
		t.Errorf("with it: got %d %s", status, code)
	}
	if got, want := a.Caller("ListRoles"), "arn:aws:sts::444455556666:assumed-role/reader/s"; got != want {
		t.Errorf("caller %s, want %s", got, want)
	}
	<-time.After(time.Until(*out.Credentials.Expiration) + time.Millisecond)
	if status, code := post(a, query("ListRoles", "2010-05-08"), header); status != 403 || code != "ExpiredToken" {
		t.Errorf("after its time: got %d %s", status, code)
	}
}

// What the SDK reads is what was put in.
func TestAWSDirectory(t *testing.T) {
	a, c, _ := sdk(t, awsfake.AWSOptions{Partition: "aws-cn", PageSize: 2})
	created := time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC)
	name := a.AddPermissionSet("Admin", "0123456789abcdef", "cn-north-1", created)
	a.AddUser(awsfake.User{Name: "alice", Path: "/team/"})
	a.SetMembers("Admins", "alice", "bob")

	role, err := c.GetRole(t.Context(), &iam.GetRoleInput{RoleName: &name})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := *role.Role.Arn, "arn:aws-cn:iam::111122223333:role/aws-reserved/sso.amazonaws.com/cn-north-1/AWSReservedSSO_Admin_0123456789abcdef"; got != want || !role.Role.CreateDate.Equal(created) {
		t.Errorf("role %s of %v, want %s of %v", got, role.Role.CreateDate, want, created)
	}
	user, err := c.GetUser(t.Context(), &iam.GetUserInput{UserName: aws.String("alice")})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := *user.User.Arn, "arn:aws-cn:iam::111122223333:user/team/alice"; got != want {
		t.Errorf("user %s, want %s", got, want)
	}

	members := func() (names []string) {
		t.Helper()
		p := iam.NewGetGroupPaginator(c, &iam.GetGroupInput{GroupName: aws.String("Admins")})
		for p.HasMorePages() {
			page, err := p.NextPage(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, u := range page.Users {
				names = append(names, *u.UserName)
			}
		}
		return names
	}
	a.RemoveUser("bob")
	if diff := cmp.Diff([]string{"alice"}, members()); diff != "" {
		t.Errorf("members after bob has gone (-want +got):\n%s", diff)
	}
	a.SetMembers("Admins", "e", "d", "c", "b", "a")
	if diff := cmp.Diff([]string{"e", "d", "c", "b", "a"}, members()); diff != "" {
		t.Errorf("members over three pages (-want +got):\n%s", diff)
	}

	a.RemoveRole(name)
	a.RemoveUser("alice")
	a.RemoveGroup("Admins")
	var missing *types.NoSuchEntityException
	if _, err := c.GetRole(t.Context(), &iam.GetRoleInput{RoleName: &name}); !errors.As(err, &missing) {
		t.Errorf("removed role: %v", err)
	}
	if _, err := c.GetUser(t.Context(), &iam.GetUserInput{UserName: aws.String("alice")}); !errors.As(err, &missing) {
		t.Errorf("removed user: %v", err)
	}
	if _, err := c.GetGroup(t.Context(), &iam.GetGroupInput{GroupName: aws.String("Admins")}); !errors.As(err, &missing) {
		t.Errorf("removed group: %v", err)
	}
}

// A fault hits what it is meant for, as often as it is meant to.
func TestAWSFaults(t *testing.T) {
	a, c, s := sdk(t, awsfake.AWSOptions{PageSize: 1})
	a.AddRole(awsfake.Role{Name: "a"})
	a.AddRole(awsfake.Role{Name: "b"})
	list := func(marker *string) (*iam.ListRolesOutput, error) {
		return c.ListRoles(t.Context(), &iam.ListRolesInput{Marker: marker})
	}
	whoami := func() error {
		_, err := s.GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{})
		return err
	}
	first, err := list(nil)
	if err != nil {
		t.Fatal(err)
	}

	a.Fail("ListRoles", awsfake.Throttle(2))
	if err := whoami(); err != nil {
		t.Errorf("another operation: %v", err)
	}
	for i, bad := range []bool{true, true, false} {
		if _, err := list(nil); (err != nil) != bad {
			t.Errorf("request %d of a fault for two: %v", i+1, err)
		}
	}

	a.Fail(awsfake.AnyOperation, awsfake.Deny())
	a.Fail("ListRoles", awsfake.Fault{Kind: awsfake.FaultSlow})
	if err := whoami(); err == nil {
		t.Error("a fault of any operation didn't hit")
	}
	if _, err := list(nil); err != nil {
		t.Errorf("an operation with a fault of its own: %v", err)
	}
	a.Heal()

	a.Fail("ListRoles", awsfake.Fault{Kind: awsfake.FaultDenied, Page: 2})
	if _, err := list(nil); err != nil {
		t.Errorf("page 1 of a fault for page 2: %v", err)
	}
	if _, err := list(first.Marker); err == nil {
		t.Error("page 2 of a fault for page 2 was well")
	}
	a.Heal("ListRoles")
	if _, err := list(first.Marker); err != nil {
		t.Errorf("healed: %v", err)
	}
	if got := a.Requests("ListRoles"); got != 8 {
		t.Errorf("%d requests were counted, want 8", got)
	}
}
