package compat_test

import (
	"maps"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/rolecall/rolecall/test/fleet"
)

// The checks of this package find what they are for.
func TestProblemsAreFound(t *testing.T) {
	const ops = "- userarn: arn:aws:iam::111122223333:user/ops\n  username: ops\n  groups: [viewers]\n  syncedBy: rolecall\n"
	with := func(change func(data map[string]string)) fleet.Version {
		data := maps.Clone(unmanagedText)
		data["mapUsers"] += ops
		change(data)
		return fleet.Version{ConfigMap: &corev1.ConfigMap{Data: data}}
	}
	good := with(func(map[string]string) {})
	stay := []fleet.Mapping{user("ops", "viewers")}
	for name, test := range map[string]struct {
		second fleet.Version
		want   string
	}{
		"good":     {good, ""},
		"unmarked": {with(stripMarks), ""},
		"comment":  {with(func(data map[string]string) { data["mapRoles"] = strings.Replace(data["mapRoles"], "# audited", "", 1) }), "lacks others' text"},
		"key":      {with(func(data map[string]string) { delete(data, "unknown") }), "lacks others' text"},
		"twice":    {with(func(data map[string]string) { data["mapUsers"] += ops }), "is there twice"},
		"missing":  {with(func(data map[string]string) { data["mapUsers"] = unmanagedText["mapUsers"] }), "was to stay and is missing"},
		"deleted":  {fleet.Version{ConfigMap: good.ConfigMap, Deleted: true}, "it was deleted"},
	} {
		t.Run(name, func(t *testing.T) {
			found := problems([]fleet.Version{good, test.second}, stay)
			if test.want == "" && len(found) > 0 || test.want != "" && (len(found) != 1 || !strings.Contains(found[0].Error(), test.want)) {
				t.Errorf("found %v, want %q", found, test.want)
			}
		})
	}
}

// A ledger that doesn't hold just what is managed is found.
func TestLedgerProblemsAreFound(t *testing.T) {
	managed := []fleet.Mapping{user("ops", "viewers")}
	claims := []struct{ Source string }{{"file"}}
	ops := owned{Kind: "user", ARN: managed[0].ARN, Username: "ops", Groups: []string{"viewers"}, Claims: claims}
	for name, test := range map[string]struct {
		change func(*ledger)
		want   string
	}{
		"good":      {func(*ledger) {}, ""},
		"missing":   {func(l *ledger) { l.Owned = nil }, "the ledger's entries"},
		"twice":     {func(l *ledger) { l.Owned = append(l.Owned, ops) }, "the ledger's entries"},
		"others'":   {func(l *ledger) { l.Owned[0].ARN += "x" }, "the ledger's entries"},
		"access":    {func(l *ledger) { l.Owned[0].Groups = nil }, "the ledger's entries"},
		"pending":   {func(l *ledger) { l.Owned[0].Pending = true }, "as pending"},
		"no source": {func(l *ledger) { l.Owned[0].Claims = nil }, "does not say who asks"},
	} {
		t.Run(name, func(t *testing.T) {
			l := &ledger{Owned: []owned{ops}}
			test.change(l)
			err := l.owns(managed)
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("found %v, want %q", err, test.want)
			}
		})
	}
}
