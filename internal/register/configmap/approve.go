package configmap

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// ApprovalAnnotation is the annotation of aws-auth by which a person approves
// holds: ID=TIME, several with a comma between them, where TIME (RFC 3339) is
// when the approval ends. It stands on aws-auth because whoever may write that
// could remove the entries just as well.
const ApprovalAnnotation = "rolecall.dev/approve"

// MaxApproval is how far ahead an approval's end may be; one that ends later
// counts for nothing.
const MaxApproval = 24 * time.Hour

// Approve returns the annotation's value with one more approval, and without
// those that have ended by now.
func Approve(value, id string, now, until time.Time) (string, error) {
	if len(id) != 12 || strings.Trim(id, "0123456789abcdef") != "" {
		return "", fmt.Errorf("approve %q: that is no hold: write the 12 hex digits that plan and status show", id)
	}
	if !until.After(now) || until.Sub(now) > MaxApproval {
		return "", fmt.Errorf("approve %s until %s: write a time within the next %s", id, until.Format(time.RFC3339), MaxApproval)
	}
	list := []string{id + "=" + until.UTC().Format(time.RFC3339)}
	for was, at := range approvals(value, now) {
		if was != id {
			list = append(list, was+"="+at.UTC().Format(time.RFC3339))
		}
	}
	slices.Sort(list)
	return strings.Join(list, ","), nil
}

// Approved lists the IDs that the annotation's value approves at a time. What
// it cannot read it leaves out.
func Approved(value string, now time.Time) []string {
	var ids []string
	for id := range approvals(value, now) {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

func approvals(value string, now time.Time) map[string]time.Time {
	found := map[string]time.Time{}
	for part := range strings.SplitSeq(value, ",") {
		id, until, _ := strings.Cut(strings.TrimSpace(part), "=")
		at, err := time.Parse(time.RFC3339, until)
		if err == nil && at.After(now) && at.Sub(now) <= MaxApproval {
			found[id] = at
		}
	}
	return found
}
