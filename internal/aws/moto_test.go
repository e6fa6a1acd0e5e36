package aws_test

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	awsiam "github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/rolecall/rolecall/internal/aws"
)

// startMoto starts getmoto's server, an AWS made by others, and returns its URL.
func startMoto(t *testing.T) string {
	t.Helper()
	const missing = "NOT TESTED: rolecall against an AWS that isn't our own stand-in. To test it: pip install 'moto[server]' (%v)"
	path, err := exec.LookPath("moto_server")
	if err != nil {
		t.Skipf(missing, err)
	}
	// A shim may be on the path with nothing behind it.
	if out, err := exec.Command(path, "--help").CombinedOutput(); err != nil || !strings.Contains(string(out), "--port") {
		t.Skipf(missing, fmt.Errorf("%s does not run: %w", path, errors.Join(err, errors.New(string(out)))))
	}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	host, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}

	var output strings.Builder
	cmd := exec.Command(path, "-H", host, "-p", port)
	cmd.Stdout, cmd.Stderr = &output, &output
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have gone by itself
		<-exited
		if t.Failed() {
			t.Logf("moto_server said:\n%s", output.String())
		}
	})

	url := "http://" + net.JoinHostPort(host, port)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(time.Minute)
	for {
		select {
		case err := <-exited:
			exited <- err // for the cleanup
			t.Fatalf("moto_server ended: %v", err)
		case <-deadline:
			t.Fatal("moto_server is not ready after a minute")
		case <-tick.C:
			resp, err := http.Get(url + "/moto-api/data.json")
			if err != nil {
				continue
			}
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return url
			}
		}
	}
}

func TestMoto(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a server: not with -short")
	}
	url := startMoto(t)
	setenv(t, "AWS_ENDPOINT_URL="+url, "AWS_ENDPOINT_URL_STS="+url, "AWS_REGION=eu-west-3", "AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY=test")
	cfg, err := config.LoadDefaultConfig(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	m := moto{t, awsiam.NewFromConfig(cfg)}

	d := open(t, aws.Options{})
	me, err := d.Caller(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if me.AccountID != "123456789012" || me.Partition != "aws" {
		t.Errorf("caller is %+v, want moto's account", me)
	}

	// Nothing there yet: empty, and no error.
	if got, err := d.PermissionSets(t.Context()); err != nil || len(got) != 0 {
		t.Errorf("permission sets of an empty account: %v, %v", got, err)
	}
	m.role("AWSReservedSSO_Admin_"+hexA, "/aws-reserved/sso.amazonaws.com/")
	m.role("AWSReservedSSO_Admin_RO_"+hexA, "/aws-reserved/sso.amazonaws.com/eu-west-3/")
	m.role("AWSReservedSSO_Forged_"+hexA, "/")
	m.role("AWSReservedSSO_Admin_"+hexB, "/aws-reserved/sso.amazonaws.com/") // rotated
	m.group("Empty")
	m.group("Admins", "alice", "bob")

	sets, err := d.PermissionSets(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	const ssoPath = "arn:aws:iam::123456789012:role/aws-reserved/sso.amazonaws.com/"
	role := func(path, name string, others ...string) aws.Role {
		return aws.Role{Name: name, ARN: ssoPath + path + name, Others: others}
	}
	want := map[string]aws.Role{
		"Admin":    role("", "AWSReservedSSO_Admin_"+hexB, ssoPath+"AWSReservedSSO_Admin_"+hexA),
		"Admin_RO": role("eu-west-3/", "AWSReservedSSO_Admin_RO_"+hexA),
	}
	if diff := cmp.Diff(want, sets, cmpopts.IgnoreFields(aws.Role{}, "Created")); diff != "" {
		t.Errorf("permission sets (-want +got):\n%s", diff)
	}

	users, err := groupUsers(t, d, "Admins")
	if err != nil {
		t.Fatal(err)
	}
	wantUsers := []aws.User{
		{Name: "alice", ARN: "arn:aws:iam::123456789012:user/team/alice"},
		{Name: "bob", ARN: "arn:aws:iam::123456789012:user/team/bob"},
	}
	if diff := cmp.Diff(wantUsers, users); diff != "" {
		t.Errorf("users (-want +got):\n%s", diff)
	}
	if got, err := groupUsers(t, d, "Empty"); err != nil || len(got) != 0 {
		t.Errorf("empty group: %v, %v", got, err)
	}
	if _, err := groupUsers(t, d, "Missing"); !errors.Is(err, aws.ErrNoGroup) {
		t.Errorf("missing group: %v", err)
	}

	m.role("reader", "/")
	d = open(t, aws.Options{RoleARN: "arn:aws:iam::123456789012:role/reader"})
	if got, err := d.Caller(t.Context()); err != nil || got.ARN != "arn:aws:sts::123456789012:assumed-role/reader/rolecall" {
		t.Errorf("caller with a role assumed: %+v, %v", got, err)
	}
	if _, err := groupUsers(t, d, "Admins"); err != nil {
		t.Errorf("with a role assumed: %v", err)
	}

	// From here on moto asks for permissions, which reader has none of.
	resp, err := http.Post(url+"/moto-api/reset-auth", "text/plain", strings.NewReader("0"))
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if _, err := groupUsers(t, d, "Admins"); aws.Reason(err) != aws.ReasonDenied {
		t.Errorf("without permission: %v is for the reason %q", err, aws.Reason(err))
	}
}

// The filters mean to an EC2 made by others what they mean to ours: two instances in two
// VPCs have one private DNS name.
func TestMotoInstances(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a server: not with -short")
	}
	url := startMoto(t)
	setenv(t, "AWS_ENDPOINT_URL="+url, "AWS_ENDPOINT_URL_STS="+url, "AWS_REGION=eu-west-3", "AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY=test")
	cfg, err := config.LoadDefaultConfig(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	m := moto{t, awsiam.NewFromConfig(cfg)}
	client := awsec2.NewFromConfig(cfg)
	type is struct{ vpc, id, name string }
	start := func(role string) is {
		m.role(role, "/")
		_, err := m.iam.CreateInstanceProfile(t.Context(), &awsiam.CreateInstanceProfileInput{InstanceProfileName: sdk.String("eks-" + role)})
		m.must(err)
		_, err = m.iam.AddRoleToInstanceProfile(t.Context(), &awsiam.AddRoleToInstanceProfileInput{InstanceProfileName: sdk.String("eks-" + role), RoleName: sdk.String(role)})
		m.must(err)
		vpc, err := client.CreateVpc(t.Context(), &awsec2.CreateVpcInput{CidrBlock: sdk.String("10.7.0.0/16")})
		m.must(err)
		subnet, err := client.CreateSubnet(t.Context(), &awsec2.CreateSubnetInput{VpcId: vpc.Vpc.VpcId, CidrBlock: sdk.String("10.7.1.0/24")})
		m.must(err)
		run, err := client.RunInstances(t.Context(), &awsec2.RunInstancesInput{
			ImageId: sdk.String("ami-12345678"), MinCount: sdk.Int32(1), MaxCount: sdk.Int32(1), SubnetId: subnet.Subnet.SubnetId, PrivateIpAddress: sdk.String("10.7.1.10"),
			IamInstanceProfile: &ec2types.IamInstanceProfileSpecification{Name: sdk.String("eks-" + role)},
		})
		m.must(err)
		i := run.Instances[0]
		return is{*vpc.Vpc.VpcId, *i.InstanceId, *i.PrivateDnsName}
	}
	ours, theirs := start("workers"), start("billing")
	if ours.name != theirs.name {
		t.Fatalf("the instances are called %q and %q: the test needs one name", ours.name, theirs.name)
	}
	d := open(t, aws.Options{})
	for name, tc := range map[string]struct {
		query aws.InstanceQuery
		want  map[string]string
	}{
		"by name":          {aws.InstanceQuery{DNSNames: []string{ours.name}}, map[string]string{ours.id: "workers", theirs.id: "billing"}},
		"by name in a VPC": {aws.InstanceQuery{VPCs: []string{ours.vpc}, DNSNames: []string{ours.name}}, map[string]string{ours.id: "workers"}},
		"by id":            {aws.InstanceQuery{IDs: []string{theirs.id, "i-00000000000000000"}}, map[string]string{theirs.id: "billing"}},
		"by id in a VPC":   {aws.InstanceQuery{VPCs: []string{ours.vpc}, IDs: []string{ours.id, theirs.id}}, map[string]string{ours.id: "workers"}},
	} {
		found, err := d.Instances(t.Context(), tc.query)
		got := map[string]string{}
		for _, i := range found {
			got[i.ID] = strings.TrimPrefix(strings.Join(i.Roles, ","), "arn:aws:iam::123456789012:role/")
		}
		if diff := cmp.Diff(tc.want, got); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", name, err, diff)
		}
	}
}

// moto makes things in the account.
type moto struct {
	t   *testing.T
	iam *awsiam.Client
}

func (m moto) must(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
}

func (m moto) role(name, path string) {
	m.t.Helper()
	_, err := m.iam.CreateRole(m.t.Context(), &awsiam.CreateRoleInput{
		RoleName: sdk.String(name), Path: sdk.String(path),
		AssumeRolePolicyDocument: sdk.String(`{"Version":"2012-10-17","Statement":[]}`),
	})
	m.must(err)
}

func (m moto) group(name string, users ...string) {
	m.t.Helper()
	ctx := m.t.Context()
	_, err := m.iam.CreateGroup(ctx, &awsiam.CreateGroupInput{GroupName: sdk.String(name)})
	m.must(err)
	for _, u := range users {
		_, err := m.iam.CreateUser(ctx, &awsiam.CreateUserInput{UserName: sdk.String(u), Path: sdk.String("/team/")})
		m.must(err)
		_, err = m.iam.AddUserToGroup(ctx, &awsiam.AddUserToGroupInput{UserName: sdk.String(u), GroupName: sdk.String(name)})
		m.must(err)
	}
}
