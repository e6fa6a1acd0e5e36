package config

import (
	"errors"
	"fmt"
	"strings"

	"github.com/rolecall/rolecall/awsauth"
)

// What may stand in an ARN or account id for something that only the running
// program knows.
const (
	accountPlaceholder   = "$ACCOUNTID"
	partitionPlaceholder = "$PARTITION"
)

// Expand fills in $ACCOUNTID and $PARTITION. It fails where s needs one that is
// empty, so that half an ARN is never taken for a whole one, and where another
// $ remains.
func Expand(s, account, partition string) (string, error) {
	if strings.Contains(s, accountPlaceholder) && account == "" {
		return "", fmt.Errorf("%q needs the account id, which is not known", s)
	}
	if strings.Contains(s, partitionPlaceholder) && partition == "" {
		return "", fmt.Errorf("%q needs the partition, which is not known", s)
	}
	out := strings.NewReplacer(accountPlaceholder, account, partitionPlaceholder, partition).Replace(s)
	if i := strings.IndexByte(out, '$'); i >= 0 {
		return "", fmt.Errorf("%q holds an unknown placeholder: write $ACCOUNTID or $PARTITION", s)
	}
	return out, nil
}

// Stand-ins for the placeholders while a file is checked.
const (
	checkAccount   = "111122223333"
	checkPartition = "aws"
)

// checkExpanded applies check to s with its placeholders filled in. In the
// error they are put back, so that it shows what the file says.
func checkExpanded(s string, check func(string) error) error {
	expanded, err := Expand(s, checkAccount, checkPartition)
	if err != nil {
		return err
	}
	err = check(expanded)
	if err == nil || expanded == s {
		return err
	}
	text := err.Error()
	if strings.Contains(s, accountPlaceholder) {
		text = strings.ReplaceAll(text, checkAccount, accountPlaceholder)
	}
	if strings.Contains(s, partitionPlaceholder) {
		text = strings.ReplaceAll(text, "arn:"+checkPartition+":", "arn:"+partitionPlaceholder+":")
	}
	return errors.New(text)
}

// canonicalRole checks a role ARN that may hold placeholders and returns it
// without the role's path, together with that path (empty, or "/x/y/").
func canonicalRole(s string) (arn, path string, err error) {
	err = checkExpanded(s, func(expanded string) error {
		_, err := awsauth.RoleARN(expanded)
		return err
	})
	if err != nil {
		return "", "", err
	}
	// A valid ARN has exactly one first ":role/", and no placeholder holds
	// a colon or a slash, so what holds of the expanded text holds of this one.
	start := strings.Index(s, ":role/") + len(":role")
	end := strings.LastIndexByte(s, '/')
	if start == end {
		return s, "", nil
	}
	return s[:start] + s[end:], s[start : end+1], nil
}

// canonicalUser checks a user ARN that may hold placeholders; its path stays.
func canonicalUser(s string) (string, error) {
	return s, checkExpanded(s, func(expanded string) error {
		_, err := awsauth.UserARN(expanded)
		return err
	})
}
