package configmap

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/internal/plan"
)

func TestOwners(t *testing.T) {
	since := now.AddDate(0, -1, 0)
	doc := parse(t, map[string]string{
		"mapRoles": marked(role("marked", "a", "g")) + unmarked(role("stripped", "b", "g"), role("changed", "c", "g"), role("pending", "d"), role("foreign", "e")),
		"mapUsers": marked(user("lost", "f")) + "- userarn: " + user("theirs", "").ARN + "\n  username: g\n  syncedBy: another-tool\n", "mapAccounts": "- '111122223333'\n- '444455556666'\n",
	})
	state := &plan.State{Owned: []plan.Owned{
		owned(role("marked", "other", "h"), "group/x", "file"), owned(role("stripped", "b", "g"), "node"), owned(role("changed", "c", "h"), "file"),
		pending(owned(role("pending", "d"), "file")), owned(user("theirs", "g"), "file"), owned(account("444455556666"), "file"),
	}}
	want := []Owner{
		{true, []string{"file", "group/x"}, since},
		{true, []string{"node"}, since},
		{},
		{},
		{},
		{Managed: true},
		{},
		{},
		{true, []string{"file"}, since},
	}
	if diff := cmp.Diff(want, Owners(doc, state)); diff != "" {
		t.Errorf("with the ledger (-want +got):\n%s", diff)
	}
	want = []Owner{{Managed: true}, {}, {}, {}, {}, {Managed: true}, {}, {}, {}}
	if diff := cmp.Diff(want, Owners(doc, nil)); diff != "" {
		t.Errorf("without it (-want +got):\n%s", diff)
	}
}
