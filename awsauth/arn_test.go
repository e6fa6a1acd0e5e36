package awsauth

import (
	"errors"
	"strings"
	"testing"
)

func TestRoleARN(t *testing.T) {
	const example = "write arn:aws:iam::111122223333:role/NAME"
	tests := []struct{ in, want, err string }{
		{in: "arn:aws:iam::111122223333:role/eks-node", want: "arn:aws:iam::111122223333:role/eks-node"},
		{in: "arn:aws:iam::111122223333:role/Eks_Node+=,.@-9", want: "arn:aws:iam::111122223333:role/Eks_Node+=,.@-9"},
		{in: "arn:aws:iam::111122223333:role/team/a/eks-node", want: "arn:aws:iam::111122223333:role/eks-node"},
		{in: "arn:aws:iam::111122223333:role/aws-reserved/sso.amazonaws.com/eu-west-3/AWSReservedSSO_Admin_0123456789abcdef", want: "arn:aws:iam::111122223333:role/AWSReservedSSO_Admin_0123456789abcdef"},
		{in: "arn:aws-cn:iam::111122223333:role/n", want: "arn:aws-cn:iam::111122223333:role/n"},
		{in: "arn:aws-us-gov:iam::111122223333:role/n", want: "arn:aws-us-gov:iam::111122223333:role/n"},
		{in: "arn:aws-eusc:iam::111122223333:role/n", want: "arn:aws-eusc:iam::111122223333:role/n"},
		{in: "arn:aws:iam::111122223333:role/" + strings.Repeat("n", 64), want: "arn:aws:iam::111122223333:role/" + strings.Repeat("n", 64)},

		{in: "", err: `"" is not the ARN of a role: ` + example},
		{in: "eks-node", err: `"eks-node" is a bare name, not the ARN of a role: write arn:aws:iam::ACCOUNT:role/eks-node with the account's 12 digits`},
		{in: "role/eks-node", err: `"role/eks-node" is not the ARN of a role: ` + example},
		{in: "ARN:aws:iam::111122223333:role/n", err: `"ARN:aws:iam::111122223333:role/n" is not the ARN of a role: ` + example},
		{in: "arn:aws:iam::111122223333:instance-profile/eks-node", err: `"arn:aws:iam::111122223333:instance-profile/eks-node" is the ARN of an instance profile, which aws-auth cannot map: write the ARN of the profile's role (aws iam get-instance-profile shows it; its name can differ)`},
		{in: "arn:aws:sts::111122223333:assumed-role/eks-node/i-0abc", err: `"arn:aws:sts::111122223333:assumed-role/eks-node/i-0abc" is the ARN of a session, not of its role: write arn:aws:iam::111122223333:role/eks-node`},
		{in: "arn:aws:sts::111122223333:assumed-role/eks-node", err: `"arn:aws:sts::111122223333:assumed-role/eks-node" is not an IAM ARN: ` + example},
		{in: "arn:aws:sts::111122223333:federated-user/bob", err: `"arn:aws:sts::111122223333:federated-user/bob" is not an IAM ARN: ` + example},
		{in: "arn:aws:iam:eu-west-3:111122223333:role/n", err: `"arn:aws:iam:eu-west-3:111122223333:role/n" is not an IAM ARN: ` + example},
		{in: "arn:aws:s3:::bucket/role/n", err: `"arn:aws:s3:::bucket/role/n" is not an IAM ARN: ` + example},
		{in: "arn:amazon:iam::111122223333:role/n", err: `"arn:amazon:iam::111122223333:role/n" names the unknown partition "amazon": write one of aws, aws-cn, aws-eusc, aws-iso, aws-iso-b, aws-iso-e, aws-iso-f, aws-us-gov`},
		{in: "arn:aws:iam::1111-2222-3333:role/n", err: `"arn:aws:iam::1111-2222-3333:role/n" names "1111-2222-3333" where the account's 12 digits belong: ` + example},
		{in: "arn:aws:iam:::role/n", err: `"arn:aws:iam:::role/n" names "" where the account's 12 digits belong: ` + example},
		{in: "arn:aws:iam::111122223333:user/bob", err: `"arn:aws:iam::111122223333:user/bob" is the ARN of a user where one of a role belongs: ` + example},
		{in: "arn:aws:iam::111122223333:root", err: `"arn:aws:iam::111122223333:root" is not the ARN of a role: ` + example},
		{in: "arn:aws:iam::111122223333:role", err: `"arn:aws:iam::111122223333:role" is not the ARN of a role: ` + example},
		{in: "arn:aws:iam::111122223333:role/", err: `"arn:aws:iam::111122223333:role/" is not the ARN of a role: ` + example},
		{in: "arn:aws:iam::111122223333:role/path/", err: `"arn:aws:iam::111122223333:role/path/" is not the ARN of a role: ` + example},
		{in: "arn:aws:iam::111122223333:group/x", err: `"arn:aws:iam::111122223333:group/x" is not the ARN of a role: ` + example},
		{in: "arn:aws:iam::111122223333:role/a b", err: `"arn:aws:iam::111122223333:role/a b" holds white space or a character that no IAM name has: ` + example},
		{in: "arn:aws:iam::111122223333:role/n\n", err: `"arn:aws:iam::111122223333:role/n\n" holds white space or a character that no IAM name has: ` + example},
		{in: "arn:aws:iam::111122223333:role/é", err: `"arn:aws:iam::111122223333:role/é" holds white space or a character that no IAM name has: ` + example},
		{in: "arn:aws:iam::111122223333:role/a:b", err: `"arn:aws:iam::111122223333:role/a:b" ends with "a:b", which is no IAM name: write at most 64 of letters, digits and _+=,.@-`},
		{in: "arn:aws:iam::111122223333:role/*", err: `"arn:aws:iam::111122223333:role/*" ends with "*", which is no IAM name: write at most 64 of letters, digits and _+=,.@-`},
		{in: "arn:aws:iam::111122223333:role/" + strings.Repeat("n", 65), err: `which is no IAM name: write at most 64 of`},
	}
	for _, test := range tests {
		t.Run(test.in, func(t *testing.T) {
			t.Parallel()
			got, err := RoleARN(test.in)
			checkRefusal(t, got, err, test.want, test.err)
		})
	}
}

func TestUserARN(t *testing.T) {
	const example = "write arn:aws:iam::111122223333:user/NAME"
	tests := []struct{ in, want, err string }{
		{in: "arn:aws:iam::111122223333:user/bob", want: "arn:aws:iam::111122223333:user/bob"},
		{in: "arn:aws:iam::111122223333:user/team/a/Bob", want: "arn:aws:iam::111122223333:user/team/a/Bob"},
		{in: "bob", err: `"bob" is a bare name, not the ARN of a user: write arn:aws:iam::ACCOUNT:user/bob with the account's 12 digits`},
		{in: "arn:aws:iam::111122223333:role/n", err: `"arn:aws:iam::111122223333:role/n" is the ARN of a role where one of a user belongs: ` + example},
		{in: "arn:aws:sts::111122223333:assumed-role/n/s", err: `"arn:aws:sts::111122223333:assumed-role/n/s" is not an IAM ARN: ` + example},
		{in: "arn:aws:iam::111122223333:user/", err: `"arn:aws:iam::111122223333:user/" is not the ARN of a user: ` + example},
		{in: "arn:aws:iam::111122223333:user/team/b*b", err: `"arn:aws:iam::111122223333:user/team/b*b" ends with "b*b", which is no IAM name: write at most 64 of letters, digits and _+=,.@-`},
	}
	for _, test := range tests {
		t.Run(test.in, func(t *testing.T) {
			t.Parallel()
			got, err := UserARN(test.in)
			checkRefusal(t, got, err, test.want, test.err)
		})
	}
}

func checkRefusal(t *testing.T, got string, err error, want, wantErr string) {
	t.Helper()
	if wantErr == "" {
		if err != nil || got != want {
			t.Errorf("got %q, %v, want %q", got, err, want)
		}
		return
	}
	var arnErr *ARNError
	if !errors.As(err, &arnErr) || !strings.Contains(err.Error(), wantErr) || got != "" {
		t.Errorf("got %q, %v\nwant %s", got, err, wantErr)
	}
}

func TestARNErrorWithoutAdvice(t *testing.T) {
	if got := (&ARNError{Text: "x", Reason: "is nothing"}).Error(); got != `"x" is nothing` {
		t.Errorf("got %s", got)
	}
}

func TestARNAccount(t *testing.T) {
	tests := []struct{ in, account, partition string }{
		{"arn:aws:iam::111122223333:role/n", "111122223333", "aws"},
		{"ARN:AWS-CN:iam::111122223333:role/n", "111122223333", "aws-cn"},
		{"arn:aws:iam::111122223333", "", ""},
		{"nothing", "", ""},
		{"", "", ""},
	}
	for _, test := range tests {
		if account, partition := ARNAccount(test.in); account != test.account || partition != test.partition {
			t.Errorf("%q: got %q of %q, want %q of %q", test.in, account, partition, test.account, test.partition)
		}
	}
}

func TestSameARN(t *testing.T) {
	if !SameARN("arn:aws:iam::111122223333:role/A", "ARN:aws:iam::111122223333:role/a") || SameARN("a", "b") {
		t.Error("ARNs are compared otherwise than the authenticator does")
	}
	// key is SameARN's way to index.
	for _, pair := range [][2]string{{"K", "k"}, {"\u212a", "k"}, {"ſ", "S"}, {"É", "é"}, {"Ω", "\u2126"}, {"a\xff", "A\xff"}, {"ß", "ẞ"}, {"i", "ı"}, {"a", "b"}} {
		if SameARN(pair[0], pair[1]) != (key(pair[0]) == key(pair[1])) {
			t.Errorf("%q and %q: keys %q and %q", pair[0], pair[1], key(pair[0]), key(pair[1]))
		}
	}
}

func TestPartitionsAreACopy(t *testing.T) {
	Partitions()[0] = "changed"
	if Partitions()[0] != "aws" {
		t.Error("a caller can change the partitions")
	}
}

func TestCheckAccountID(t *testing.T) {
	for _, id := range []string{"111122223333", "012345678901"} {
		if err := CheckAccountID(id); err != nil {
			t.Errorf("%s: %v", id, err)
		}
	}
	for _, id := range []string{"", "11112222333", "1111222233334", "11112222333a", "1111-2222-33", " 11112222333", "١١١١٢٢"} {
		if err := CheckAccountID(id); err == nil || !strings.Contains(err.Error(), "write its 12 digits, in quotes") {
			t.Errorf("%q: %v", id, err)
		}
	}
}

func TestCheckUsernameAndGroup(t *testing.T) {
	for _, s := range []string{"ops", "system:node:{{EC2PrivateDNSName}}", "{{SessionName}}", "a b", "é", "{{Unknown}}"} {
		if err := CheckUsername(s); err != nil {
			t.Errorf("username %q: %v", s, err)
		}
		if err := CheckGroup(s); err != nil {
			t.Errorf("group %q: %v", s, err)
		}
	}
	tests := []struct{ in, want string }{
		{"", "is empty: "},
		{"x{{AccessKeyID}}", "which the caller can forge (CVE-2022-2385): write {{SessionName}} instead"},
		{" x", "begins or ends with white space: write it without"},
		{"x\n", "begins or ends with white space: write it without"},
		{"a\x00b", "holds a control character: write it without"},
		{"a\tb", "holds a control character: write it without"},
		{"a\u0090b", "holds a control character: write it without"},
		{"a\u2028b", "holds a control character: write it without"},
		{"a\ufeffb", "holds a control character: write it without"},
		{"a\xffb", "holds a control character: write it without"},
	}
	for _, test := range tests {
		for _, check := range []func(string) error{CheckUsername, CheckGroup} {
			if err := check(test.in); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%q: got %v, want %q", test.in, err, test.want)
			}
		}
	}
}
