package e2e_test

import (
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rolecall/rolecall/test/fleet"
)

// account is the account of all fleets, as it stands in ARNs.
const account = "arn:aws:iam::111122223333:"

// deleteNow is a deletion without conditions.
var deleteNow = metav1.DeleteOptions{}

// ours is an entry of ours.
func ours(arn, username string, groups ...string) fleet.Mapping {
	return fleet.Mapping{ARN: account + arn, Username: username, Groups: groups, SyncedBy: "rolecall"}
}

// others is an entry without a mark.
func others(arn, username string, groups ...string) fleet.Mapping {
	return fleet.Mapping{ARN: account + arn, Username: username, Groups: groups}
}

// node is the entry of a node's role, of ours.
func node(role string, more ...string) fleet.Mapping {
	groups := append([]string{"system:bootstrappers", "system:nodes"}, more...)
	slices.Sort(groups)
	return ours("role/"+role, "system:node:{{EC2PrivateDNSName}}", groups...)
}

// unmarked is an entry after a tool has written it that drops our mark.
func unmarked(m fleet.Mapping) fleet.Mapping {
	m.SyncedBy = ""
	return m
}

// dropElement is a list of aws-auth's, in block style, without the element that
// holds the text.
func dropElement(list, text string) string {
	var b strings.Builder
	drop := false
	for line := range strings.Lines(list) {
		if strings.HasPrefix(line, "- ") {
			drop = strings.Contains(line, text)
		}
		if !drop {
			b.WriteString(line)
		}
	}
	return b.String()
}

// dropLines is a text without the lines that hold another.
func dropLines(text, holding string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if !strings.Contains(line, holding) {
			b.WriteString(line)
		}
	}
	return b.String()
}
