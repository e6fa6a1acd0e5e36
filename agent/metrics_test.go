package agent

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/awsauth"
)

// Sources that a ledger names and no config name no metric.
func TestSourcesOfMetricsAreFew(t *testing.T) {
	claims := func(source string) []awsauth.Claim { return []awsauth.Claim{{Source: source}} }
	role := awsauth.Entry{Kind: awsauth.Role}
	got := countEntries([]awsauth.Owned{
		{Entry: role, Claims: claims("group/x/y\n")},
		{Entry: role, Claims: claims("forged-1")},
		{Entry: role, Claims: claims("forged-2/x")},
		{Entry: role, Claims: claims("")},
		{Entry: role},
	})
	if diff := cmp.Diff(map[[2]string]int{{"group", "role"}: 1, {"unknown", "role"}: 4}, got); diff != "" {
		t.Errorf("entries (-want +got):\n%s", diff)
	}
	change := make([]awsauth.Change, 2)
	held := countHeld([]awsauth.Hold{{Source: "forged", Changes: change}, {Source: "", Changes: change}, {Source: awsauth.Masters, Changes: change}, {Source: "node", Changes: change}})
	want := map[string]int{"file": 0, "permission-set": 0, "group": 0, "karpenter": 0, "extra": 0, "node": 2, "unknown": 4, "system:masters": 2}
	if diff := cmp.Diff(want, held); diff != "" {
		t.Errorf("held (-want +got):\n%s", diff)
	}
}
