package cli

import (
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/internal/plan"
	"github.com/rolecall/rolecall/internal/register/configmap"
)

// The page is on loopback or nowhere.
func TestPageAddress(t *testing.T) {
	for address, good := range map[string]bool{
		"": true, "127.0.0.1:9466": true, "127.0.0.2:1": true, "[::1]:9466": true, "127.0.0.1:0": true,
		":9466": false, "0.0.0.0:9466": false, "[::]:9466": false, "10.0.0.1:9466": false, "localhost:9466": false, "127.0.0.1": false,
		"on": false, "true": false, "9466": false, "rolecall.example:9466": false, "169.254.169.254:80": false,
	} {
		err := checkPageAddress(address)
		if good != (err == nil) {
			t.Errorf("%q: %v", address, err)
		}
		if err != nil && !strings.Contains(err.Error(), "127.0.0.1:9466") {
			t.Errorf("%q: %v does not say what to write", address, err)
		}
	}
}

// The command that people paste is made of names alone: the Lease, which tells
// the leader's node, may have been written by somebody else.
func TestForwardCommand(t *testing.T) {
	got := forwardCommand("rolecall-system", "ip-10-0-1-17.eu-west-3.compute.internal", "127.0.0.1:9466")
	want := `kubectl -n rolecall-system port-forward "$(kubectl -n rolecall-system get pods -l app.kubernetes.io/name=rolecall --field-selector spec.nodeName=ip-10-0-1-17.eu-west-3.compute.internal -o name)" 9466:9466`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if out, err := exec.CommandContext(t.Context(), "sh", "-n", "-c", got).CombinedOutput(); err != nil {
		t.Errorf("a shell does not read it: %v\n%s", err, out)
	}
	for _, node := range []string{
		"", "$(reboot)", "`reboot`", "a;reboot", "a b", "a\nreboot", "a&&reboot", "--all", "a'", `a"`, "A", "a|b", "a,metadata.name=x", "-a", "a-", strings.Repeat("a", 254),
	} {
		if got := forwardCommand("rolecall-system", node, "127.0.0.1:9466"); got != "" {
			t.Errorf("node %q makes the command %s", node, got)
		}
	}
	if got := forwardCommand("rolecall-system", "a", "127.0.0.1:0"); got != "" {
		t.Errorf("a port that nobody knows makes the command %s", got)
	}
}

// Each entry is ours or somebody else's, with who asks or which mark.
func TestPageEntries(t *testing.T) {
	since := time.Date(2026, 3, 14, 15, 9, 26, 0, time.UTC)
	doc, err := awsauth.Parse(map[string]string{
		"mapRoles": `
- {rolearn: "arn:aws:iam::111122223333:role/theirs", username: theirs}
- {rolearn: "arn:aws:iam::111122223333:role/ci", username: ci, syncedBy: terraform}
- {rolearn: "arn:aws:iam::111122223333:role/stripped", username: s, groups: [a]}
- {rolearn: "arn:aws:iam::111122223333:role/taken", username: other}
- {username: nobody}
`,
		"mapUsers":    `[{userarn: "arn:aws:iam::111122223333:user/gone", username: gone, syncedBy: rolecall}]`,
		"mapAccounts": `["444455556666"]`,
	})
	if err != nil {
		t.Fatal(err)
	}
	ledger := &plan.State{Owned: []plan.Owned{
		{Entry: awsauth.Entry{Kind: awsauth.Role, ARN: "arn:aws:iam::111122223333:role/Stripped", Username: "s", Groups: []string{"a"}}, Since: since},
		{Entry: awsauth.Entry{Kind: awsauth.User, ARN: "arn:aws:iam::111122223333:user/gone", Username: "gone"}, Since: since},
	}}
	made := configmap.MakePlan(doc, 0, plan.Snapshot{State: ledger, Now: since.Add(time.Hour), AddOnly: true, Sources: []plan.Source{
		{Name: "file", Entries: []awsauth.Entry{
			{Kind: awsauth.Role, ARN: "arn:aws:iam::111122223333:role/new", Username: "new"},
			{Kind: awsauth.Role, ARN: "arn:aws:iam::111122223333:role/taken", Username: "wanted"},
			{Kind: awsauth.Role, ARN: "arn:aws:iam::111122223333:role/stripped", Username: "s", Groups: []string{"a"}},
		}},
		{Name: "node", Entries: []awsauth.Entry{{Kind: awsauth.Role, ARN: "arn:aws:iam::111122223333:role/new", Username: "new"}}},
	}})
	made.Listed = made.After.Entries()
	type row struct {
		Ours    bool
		Sources string
		Mark    string
		Dropped bool
		Since   time.Time
	}
	got := map[string]row{}
	entries := pageEntries(&made.Change)
	for _, e := range entries {
		name := e.ARN[strings.LastIndexByte(e.ARN, '/')+1:]
		got[e.Kind+" "+name] = row{e.Ours, strings.Join(e.Sources, " "), e.Mark, e.Dropped != "", e.Since}
	}
	want := map[string]row{
		"role theirs":          {},
		"role ci":              {Mark: "terraform"},
		"role stripped":        {Ours: true, Mark: "rolecall", Since: since},
		"role taken":           {},
		"role new":             {Ours: true, Sources: "file node", Mark: "rolecall", Since: since.Add(time.Hour)},
		"role ":                {Dropped: true},
		"user gone":            {Ours: true, Mark: "rolecall", Since: since},
		"account 444455556666": {},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	ours := 0
	for _, e := range entries {
		if e.Ours {
			ours++
		}
	}
	if ours != len(made.Managed) || len(entries)-ours != made.Unmanaged {
		t.Errorf("%d of %d are ours, the plan has %d and %d of others", ours, len(entries), len(made.Managed), made.Unmanaged)
	}
	if c := pageConflicts(made.Conflicts); len(c) != 1 || c[0].Has != "other" || c[0].Want != "wanted" {
		t.Errorf("conflicts: %+v", c)
	}
}
