package awsauth

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// partitions are the AWS partitions that the authenticator knows
// (sigs.k8s.io/aws-iam-authenticator v0.7.18 pkg/endpoints).
var partitions = []string{"aws", "aws-cn", "aws-eusc", "aws-iso", "aws-iso-b", "aws-iso-e", "aws-iso-f", "aws-us-gov"}

// Partitions returns the AWS partitions an ARN may name, sorted.
func Partitions() []string { return slices.Clone(partitions) }

// An ARNError says why a text is no ARN that aws-auth can map, and what to
// write instead.
type ARNError struct {
	Text   string // what was given
	Reason string // one clause, lower case
	Write  string // what to write instead; empty where that cannot be known
}

func (e *ARNError) Error() string {
	if e.Write == "" {
		return fmt.Sprintf("%q %s", e.Text, e.Reason)
	}
	return fmt.Sprintf("%q %s: write %s", e.Text, e.Reason, e.Write)
}

// RoleARN returns the ARN under which aws-auth must know a role: without its
// path, because the authenticator compares with the ARN of an STS session,
// which carries none (pkg/arn/arn.go:46). The case of the letters is kept;
// compare with [SameARN]. The error is an [*ARNError].
func RoleARN(s string) (string, error) {
	a, err := splitARN(s, "role")
	if err != nil {
		return "", err
	}
	name := a.resource[strings.LastIndexByte(a.resource, '/')+1:]
	if err := checkName(s, name, 64); err != nil {
		return "", err
	}
	return a.prefix() + "role/" + name, nil
}

// UserARN returns the ARN under which aws-auth must know a user: the one that
// IAM says, path included. The error is an [*ARNError].
func UserARN(s string) (string, error) {
	a, err := splitARN(s, "user")
	if err != nil {
		return "", err
	}
	name := a.resource[strings.LastIndexByte(a.resource, '/')+1:]
	if err := checkName(s, name, 64); err != nil {
		return "", err
	}
	return a.prefix() + "user/" + a.resource, nil
}

// ARNAccount returns the account id and the partition that an IAM ARN names,
// or two empty strings where s is no ARN.
func ARNAccount(s string) (account, partition string) {
	f := strings.SplitN(s, ":", 6)
	if len(f) != 6 || !strings.EqualFold(f[0], "arn") {
		return "", ""
	}
	return f[4], strings.ToLower(f[1])
}

// SameARN reports whether two ARNs are one identity to the authenticator,
// which compares without case (pkg/config/mapper.go:84).
func SameARN(a, b string) bool { return strings.EqualFold(a, b) }

// CheckAccountID returns an error that says what is wrong with an AWS account
// id, or nil.
func CheckAccountID(s string) error {
	if len(s) != 12 || strings.Trim(s, "0123456789") != "" {
		return fmt.Errorf("%q is no AWS account id: write its 12 digits, in quotes", s)
	}
	return nil
}

// CheckUsername returns an error that says what is wrong with a Kubernetes
// username of a mapping, or nil. An empty username would make an anonymous
// entry, {{AccessKeyID}} lets a caller choose it (CVE-2022-2385), and a placeholder
// behind system: lets who logs in be one of Kubernetes' own users; only nodes have
// such names.
func CheckUsername(s string) error {
	if s == "" {
		return errors.New("the username is empty: write the Kubernetes username, for example \"ops\" or \"ops:{{SessionName}}\"")
	}
	if fillsSystem(s) {
		return fmt.Errorf("the username %q begins with system: and has a placeholder, so whoever logs in by it can be one of "+
			"Kubernetes' own users: write another prefix", s)
	}
	return checkIdentity("username", s)
}

// CheckGroup returns an error that says what is wrong with a Kubernetes group
// of a mapping, or nil.
func CheckGroup(s string) error {
	if s == "" {
		return errors.New("a group is empty: write the name of a Kubernetes group, or leave the item out")
	}
	return checkIdentity("group", s)
}

func checkIdentity(what, s string) error {
	if strings.Contains(s, "{{AccessKeyID}}") {
		return fmt.Errorf("the %s %q uses {{AccessKeyID}}, which the caller can forge (CVE-2022-2385): write {{SessionName}} instead", what, s)
	}
	return checkText(what, s)
}

// checkText says what is wrong with the characters of a username or group.
func checkText(what, s string) error {
	if strings.TrimSpace(s) != s {
		return fmt.Errorf("the %s %q begins or ends with white space: write it without", what, s)
	}
	for _, r := range s {
		if unicode.IsControl(r) || r == 0x2028 || r == 0x2029 || r == 0xfeff || r >= 0xfffd && r <= 0xffff {
			return fmt.Errorf("the %s %q holds a control character: write it without", what, s)
		}
	}
	return nil
}

// arnParts is an IAM ARN taken apart; resource is what follows "role/" or
// "user/", so it begins with the path where there is one.
type arnParts struct{ partition, account, resource string }

func (a arnParts) prefix() string { return "arn:" + a.partition + ":iam::" + a.account + ":" }

func splitARN(s, want string) (arnParts, error) {
	example := "arn:aws:iam::111122223333:" + want + "/NAME"
	f := strings.SplitN(s, ":", 6)
	if len(f) != 6 || f[0] != "arn" {
		if s != "" && !strings.ContainsAny(s, ":/") {
			return arnParts{}, &ARNError{s, "is a bare name, not the ARN of a " + want, "arn:aws:iam::ACCOUNT:" + want + "/" + s + " with the account's 12 digits"}
		}
		return arnParts{}, &ARNError{s, "is not the ARN of a " + want, example}
	}
	a := arnParts{partition: f[1], account: f[4]}
	kind, rest, _ := strings.Cut(f[5], "/")
	a.resource = rest
	if !slices.Contains(partitions, a.partition) {
		return a, &ARNError{s, fmt.Sprintf("names the unknown partition %q", a.partition), "one of " + strings.Join(partitions, ", ")}
	}
	if f[2] == "sts" && kind == "assumed-role" && want == "role" {
		if role, _, ok := cutLast(rest); ok {
			return a, &ARNError{s, "is the ARN of a session, not of its role", a.prefix() + "role/" + role}
		}
	}
	if f[2] != "iam" || f[3] != "" {
		return a, &ARNError{s, "is not an IAM ARN", example}
	}
	if CheckAccountID(a.account) != nil {
		return a, &ARNError{s, fmt.Sprintf("names %q where the account's 12 digits belong", a.account), example}
	}
	switch {
	case kind == "instance-profile":
		return a, &ARNError{s, "is the ARN of an instance profile, which aws-auth cannot map", "the ARN of the profile's role (aws iam get-instance-profile shows it; its name can differ)"}
	case kind != want && (kind == "role" || kind == "user"):
		return a, &ARNError{s, fmt.Sprintf("is the ARN of a %s where one of a %s belongs", kind, want), example}
	case kind != want || rest == "" || strings.HasSuffix(rest, "/"):
		return a, &ARNError{s, "is not the ARN of a " + want, example}
	}
	for _, r := range rest {
		if r <= 0x20 || r > 0x7e {
			return a, &ARNError{s, "holds white space or a character that no IAM name has", example}
		}
	}
	return a, nil
}

func cutLast(s string) (before, after string, ok bool) {
	i := strings.LastIndexByte(s, '/')
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}

// checkName holds an IAM name to IAM's own rule, [\w+=,.@-]{1,max}
// (https://docs.aws.amazon.com/IAM/latest/APIReference/API_Role.html).
func checkName(arn, name string, max int) error {
	bad := strings.IndexFunc(name, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_+=,.@-", r))
	})
	if bad >= 0 || len(name) > max {
		return &ARNError{arn, fmt.Sprintf("ends with %q, which is no IAM name", name), fmt.Sprintf("at most %d of letters, digits and _+=,.@-", max)}
	}
	return nil
}
