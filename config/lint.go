package config

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/rolecall/rolecall/awsauth"
)

// This file holds the entries that a config makes to the rules of lint, before they
// stand in aws-auth.

// empty reports whether a value is a text that says nothing, as other tools write
// what is left out.
func empty(v value) bool {
	return v.node.Kind == yaml.ScalarNode && v.node.Value == "" && !v.null() && v.node.Tag != "!!binary"
}

// sampleSet is an ARN as the role of a permission set has one.
func sampleSet(name string) string {
	return "arn:aws:iam::111122223333:role/AWSReservedSSO_" + name + "_0123456789abcdef"
}

// defaultUsername is the username of an entry without one.
func (d *decoder) defaultUsername(v value, e awsauth.Entry) string {
	name := awsauth.DefaultUsername(e)
	if name == "" {
		d.problem(v, "the entry has no username, and the one that its name would give can be one of Kubernetes' own: write one, for "+
			"example username: \"ops:{{SessionName}}\"")
	}
	return name
}

// decided are the rules that the decoder applies itself: it refuses, or has said it at
// the very place.
var decided = []awsauth.RuleID{
	awsauth.RuleSystemGroup, awsauth.RuleInstanceOnly, awsauth.RuleAccessKey, awsauth.RuleOddText, awsauth.RuleEmptyUsername,
	awsauth.RuleRolePath, awsauth.RuleGroupNoText,
}

// lint warns of what lint would find of an entry once it stands in aws-auth. The
// values are those of the entry, its username and its groups.
func (d *decoder) lint(e awsauth.Entry, v, username, groups value) {
	if e.Username == "" {
		return // a problem already
	}
	if arn, err := Expand(e.ARN, "111122223333", "aws"); err == nil {
		e.ARN = arn
	}
	for _, f := range awsauth.LintEntries(e)[0] {
		known := f.Rule == awsauth.RulePlaceholder && (placeholder.MatchString(f.Message) || strings.Contains(f.Message, accountPlaceholder))
		works := f.Severity == awsauth.Note && f.Rule != awsauth.RuleReservedUsername
		if known || works || slices.Contains(decided, f.Rule) {
			continue
		}
		place := v
		switch {
		case strings.Contains(f.Message, "username") && username.node != nil:
			place = username
		case groups.node != nil:
			place = groupAt(groups, f.Message)
		}
		d.warn(place, "%s", fmt.Sprintf("%s: %s: write %s", f.Message, f.Consequence, f.Write))
	}
}

// groupAt is the group of which a message speaks, or all of them.
func groupAt(groups value, message string) value {
	for i, n := range groups.node.Content {
		if item := at(n, fmt.Sprintf("%s[%d]", groups.key, i)); item.node.Value != "" &&
			strings.Contains(message, fmt.Sprintf("%q", item.node.Value)) {
			return item
		}
	}
	return groups
}
