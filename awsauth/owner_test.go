package awsauth

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestOwners(t *testing.T) {
	since := now.AddDate(0, -1, 0)
	doc := parse(t, map[string]string{
		"mapRoles": marked(role("marked", "a", "g")) + unmarked(role("stripped", "b", "g"), role("changed", "c", "g"), role("pending", "d"), role("foreign", "e")),
		"mapUsers": marked(user("lost", "f")) + "- userarn: " + user("theirs", "").ARN + "\n  username: g\n  syncedBy: another-tool\n", "mapAccounts": "- '111122223333'\n- '444455556666'\n",
	})
	ledger := &Ledger{Owned: []Owned{
		owned(role("marked", "other", "h"), "group/x", "file"), owned(role("stripped", "b", "g"), "node"), owned(role("changed", "c", "h"), "file"),
		pending(owned(role("pending", "d"), "file")), owned(user("theirs", "g"), "file"), owned(account("444455556666"), "file"),
	}}
	want := []Owner{
		{true, []string{"file", "group/x"}, since},
		{true, []string{"node"}, since},
		{},
		{},
		{},
		{Ours: true},
		{},
		{},
		{true, []string{"file"}, since},
	}
	if diff := cmp.Diff(want, doc.Owners(ledger)); diff != "" {
		t.Errorf("with the ledger (-want +got):\n%s", diff)
	}
	want = []Owner{{Ours: true}, {}, {}, {}, {}, {Ours: true}, {}, {}, {}}
	if diff := cmp.Diff(want, doc.Owners(nil)); diff != "" {
		t.Errorf("without it (-want +got):\n%s", diff)
	}
}

func TestShadowed(t *testing.T) {
	doc := parse(t, map[string]string{
		"mapRoles": unmarked(role("twice", "a"), role("once", "b"), role("TWICE", "c"), Entry{Role, user("shadowed", "").ARN, "d", nil}) + "- rolearn: " + role("once", "").ARN + "\n  sso: {}\n",
		"mapUsers": unmarked(user("shadowed", "e"), user("twice", "f"), user("twice", "g"), user("Case", "h"), user("case", "i")), "mapAccounts": "- '1'\n- '1'\n",
	})
	want := []bool{true, false, false, false, false, true, true, false, false, false, false, false}
	if diff := cmp.Diff(want, doc.Shadowed()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
