package main

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/rolecall/rolecall/test/fleet"
)

const account = "arn:aws:iam::111122223333:"

func node(role string) fleet.Mapping {
	return fleet.Mapping{
		ARN: account + "role/" + role, Username: "system:node:{{EC2PrivateDNSName}}",
		Groups: []string{"system:bootstrappers", "system:nodes"}, SyncedBy: "rolecall",
	}
}

func user(name string, groups ...string) fleet.Mapping {
	return fleet.Mapping{ARN: account + "user/" + name, Username: name, Groups: groups, SyncedBy: "rolecall"}
}

func adminSet() fleet.Mapping {
	return fleet.Mapping{
		ARN: account + "role/AWSReservedSSO_Admin_0123456789abcdef", Username: "Admin:{{SessionName}}",
		Groups: []string{"system:masters"}, SyncedBy: "rolecall",
	}
}

// compare says how the entries of ours differ from what is expected.
func compare(awsAuth *corev1.ConfigMap, want []fleet.Mapping) error {
	all, err := fleet.Mappings(awsAuth)
	if err != nil {
		return err
	}
	got := map[string]bool{}
	for _, m := range all {
		if m.SyncedBy == "rolecall" {
			got[fmt.Sprintf("%s %s %s", m.ARN, m.Username, m.Groups)] = true
		}
	}
	var wrong []string
	for _, m := range want {
		line := fmt.Sprintf("%s %s %s", m.ARN, m.Username, m.Groups)
		if !got[line] {
			wrong = append(wrong, "missing: "+line)
		}
		delete(got, line)
	}
	for line := range got {
		wrong = append(wrong, "not expected: "+line)
	}
	if len(wrong) == 0 {
		return nil
	}
	slices.Sort(wrong)
	return fmt.Errorf("the entries of ours are not right:\n      %s", strings.Join(wrong, "\n      "))
}

// foreignKept says if a byte of what others wrote has changed.
func foreignKept(awsAuth *corev1.ConfigMap) error {
	for key, text := range map[string]string{"mapRoles": foreignRoles, "mapUsers": foreignUsers} {
		if !strings.HasPrefix(awsAuth.Data[key], text) {
			return fmt.Errorf("what others wrote into %s has changed:\n%s", key, awsAuth.Data[key])
		}
	}
	return nil
}

// without is a list of aws-auth's without the element that holds the text.
func without(list, text string) string {
	var b strings.Builder
	skipping := false
	lines := slices.Collect(strings.Lines(list))
	for _, line := range lines {
		if strings.HasPrefix(line, "- ") {
			skipping = strings.Contains(line, text)
		}
		if !skipping {
			b.WriteString(line)
		}
	}
	return b.String()
}
