package e2e_test

import (
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rolecall/rolecall/test/fleet"
	"github.com/rolecall/rolecall/test/trial"
)

// deleteNow is a deletion without conditions.
var deleteNow = metav1.DeleteOptions{}

// others is an entry without a mark.
func others(arn, username string, groups ...string) fleet.Mapping {
	return fleet.Mapping{ARN: trial.Account + arn, Username: username, Groups: groups}
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
