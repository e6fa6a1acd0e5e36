package migrate

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/awsauth"
)

// fakeEKS is an aws that keeps access entries as files named by the last part of
// their ARN: a file of its policies, one a line. FAULT names the call that fails, and
// of whom. A role's ARN has the path /teams/ in IAM.
const fakeEKS = `#!/bin/bash
name() { while (($# > 1)); do [[ $1 == --principal-arn ]] && { echo "${2##*/}"; return; }; shift; done; }
who=$(name "$@")
printf '%s %s\n' "$2" "$who" >> "$STATE.log"
case "$FAULT" in "$2 $who") echo "An error occurred (AccessDeniedException)" >&2; exit 254 ;; esac
case "$2" in
describe-cluster) echo API_AND_CONFIG_MAP ;;
get-role) echo "arn:aws:iam::111122223333:role/teams/$4" ;;
describe-access-entry)
  [[ -e $STATE/$who ]] || { echo "An error occurred (ResourceNotFoundException)" >&2; exit 254; }
  echo '{"type":"STANDARD","username":"theirs"}' ;;
list-associated-access-policies) cat "$STATE/$who" ;;
create-access-entry)
  [[ ! -e $STATE/$who ]] || { echo "An error occurred (ResourceInUseException)" >&2; exit 254; }
  : > "$STATE/$who" ;;
associate-access-policy)
  if [[ "$FAULT" == "late $who" && ! -e $STATE.late ]]; then : > "$STATE.late"; echo "An error occurred (ResourceNotFoundException)" >&2; exit 254; fi
  [[ -e $STATE/$who ]] || { echo "An error occurred (ResourceNotFoundException)" >&2; exit 254; }
  echo "$8" >> "$STATE/$who" ;;
delete-access-entry) rm "$STATE/$who" ;;
*) echo "no such call: $*" >&2; exit 252 ;;
esac
`

// runFakeEKS runs the script of an export against access entries that exist, and
// returns which there are then, with their policies.
func runFakeEKS(t *testing.T, x *Export, existing map[string]string, fault string) (entries map[string]string, calls []string, said string, failed bool) {
	t.Helper()
	text, err := x.Write("awscli")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	state := filepath.Join(dir, "state")
	if err := os.Mkdir(state, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, program := range map[string]string{"aws": fakeEKS, "sleep": "#!/bin/bash\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(program), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for name, policies := range existing {
		if err := os.WriteFile(filepath.Join(state, name), []byte(policies), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), "bash", "-c", text)
	cmd.Env = []string{"PATH=" + dir + ":/usr/bin:/bin", "STATE=" + state, "FAULT=" + fault}
	out, err := cmd.CombinedOutput()
	if exit := (*exec.ExitError)(nil); err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 1) {
		t.Fatalf("%v\n%s", err, out)
	}
	entries = map[string]string{}
	files, readErr := os.ReadDir(state)
	if readErr != nil {
		t.Fatal(readErr)
	}
	for _, f := range files {
		policies, err := os.ReadFile(filepath.Join(state, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		entries[f.Name()] = string(policies)
	}
	log, readErr := os.ReadFile(state + ".log")
	if readErr != nil {
		t.Fatal(readErr)
	}
	return entries, strings.Split(strings.TrimSpace(string(log)), "\n"), string(out), err != nil
}

// Whatever exists and whatever call fails: an access entry that exists is neither
// changed nor given a policy, none that is made is left without its policy, and one
// that fails keeps none from being made.
func TestScriptLeavesWhatExists(t *testing.T) {
	t.Parallel()
	const admin = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy\n"
	role := func(name string) string { return "arn:aws:iam::111122223333:role/" + name }
	x := &Export{Cluster: "prod", Entries: []AccessEntry{
		{PrincipalARN: role("a"), Type: Standard, Username: "a", Admin: true},
		{PrincipalARN: role("b"), Type: Standard, Username: "b", Groups: []string{"g"}},
		{PrincipalARN: role("c"), Type: Standard, Username: "c", Admin: true},
		{PrincipalARN: role("n"), Type: EC2Linux},
	}}
	admins := map[string]bool{"a": true, "c": true}
	all := []string{"a", "b", "c", "n"}
	faults := []string{"", "late a"}
	faulty := all
	if testing.Short() {
		faulty = all[2:3] // each script takes a tenth of a second
	}
	for _, who := range faulty {
		for _, call := range []string{"describe-access-entry", "create-access-entry", "associate-access-policy", "list-associated-access-policies"} {
			faults = append(faults, call+" "+who)
		}
	}
	masks := []int{0b0001, 0b0000, 0b0110, 0b1100, 0b1111}
	if testing.Short() {
		masks = masks[:1]
	}
	for _, mask := range masks {
		existing := map[string]string{}
		for i, who := range all {
			if mask&(1<<i) != 0 {
				existing[who] = "theirs\n"
			}
		}
		for _, fault := range faults {
			call, who, _ := strings.Cut(fault, " ")
			t.Run(fmt.Sprintf("%04b/%s", mask, fault), func(t *testing.T) {
				t.Parallel()
				entries, calls, said, failed := runFakeEKS(t, x, existing, fault)
				want := map[string]string{}
				fails := false
				for _, name := range all {
					_, is := existing[name]
					// EKS refuses a second entry, and its answer is taken as well.
					refused := fault == "create-access-entry "+name && !is
					unassociated := fault == "associate-access-policy "+name && !is && admins[name]
					switch {
					case is:
						want[name] = "theirs\n"
						if !strings.Contains(said, "left as it is: arn:aws:iam::111122223333:role/teams/"+name+"\n") && call != "create-access-entry" {
							t.Errorf("not said that %s is left:\n%s", name, said)
						}
						if asks := fmt.Sprintf("aws-auth asks: {\"type\":\"STANDARD\",\"username\":%q}, policies: %s", name, admin); admins[name] && call != "create-access-entry" && !strings.Contains(said, asks) {
							t.Errorf("not said that %s is asked to be an administrator:\n%s", name, said)
						}
						for _, c := range calls {
							if c == "associate-access-policy "+name || c == "delete-access-entry "+name {
								t.Errorf("a call %q", c)
							}
						}
					case refused, unassociated:
						fails = true
					case admins[name]:
						want[name] = admin
					default:
						want[name] = ""
					}
				}
				if diff := cmp.Diff(want, entries); diff != "" {
					t.Errorf("access entries (-want +got):\n%s\n%s", diff, said)
				}
				if failed != fails || fails && !strings.Contains(said, "FAILED: arn:aws:iam::111122223333:role/teams/"+who) {
					t.Errorf("failed: %t, want %t\n%s", failed, fails, said)
				}
			})
		}
	}
}

// The case of a role that has an access entry and stands in aws-auth as an
// administrator.
func TestScriptPromotesNobody(t *testing.T) {
	t.Parallel()
	const folder = "testdata/export-associates-existing"
	data, err := os.ReadFile(filepath.Join(folder, "ae2.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	listed, _, err := Listing("ae2.yaml", data)
	if err != nil {
		t.Fatal(err)
	}
	x := &Export{Cluster: "prod", From: "ae2.yaml"}
	x.Entries, x.Notes = AccessEntries(listed)
	text, err := x.Write("awscli")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	stub, err := os.ReadFile(filepath.Join(folder, "aws"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "aws"), stub, 0o700); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "bash", "-c", text)
	cmd.Dir, cmd.Env = dir, []string{"PATH=" + dir + ":/usr/bin:/bin"}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	calls, err := os.ReadFile(filepath.Join(dir, "calls"))
	if err != nil {
		t.Fatal(err)
	}
	for _, call := range []string{"associate-access-policy", "create-access-entry", "update-access-entry"} {
		if strings.Contains(string(calls), call) {
			t.Errorf("it calls %s:\n%s", call, calls)
		}
	}
	if !strings.Contains(string(out), "left as it is: arn:aws:iam::111122223333:role/contractors") {
		t.Errorf("it says %s", out)
	}
}

// The script asks in the region of the cluster, by either version of the AWS CLI: of
// the environment, version 1 knows AWS_DEFAULT_REGION alone.
func TestScriptAsksInTheRegion(t *testing.T) {
	t.Parallel()
	x := &Export{Cluster: "prod", Region: "eu-west-3"}
	text, err := x.Write("awscli")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	const stub = `#!/bin/bash
printf '%s %s\n' "$AWS_REGION" "$AWS_DEFAULT_REGION" >> "$REGIONS"
`
	if err := os.WriteFile(filepath.Join(dir, "aws"), []byte(stub), 0o700); err != nil {
		t.Fatal(err)
	}
	regions := filepath.Join(dir, "regions")
	cmd := exec.CommandContext(t.Context(), "bash", "-c", text)
	cmd.Env = []string{"PATH=" + dir + ":/usr/bin:/bin", "REGIONS=" + regions, "AWS_REGION=us-east-1", "AWS_DEFAULT_REGION=us-east-1"}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	got, err := os.ReadFile(regions)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("eu-west-3 eu-west-3\n", string(got)); diff != "" {
		t.Errorf("regions (-want +got):\n%s", diff)
	}
}

// Every format says what becomes of an access entry that exists, and has a remark on
// those that EKS makes itself.
func TestExportsTellOfExisting(t *testing.T) {
	t.Parallel()
	x := Export{Cluster: "prod", Region: "eu-west-3", Entries: []AccessEntry{
		{PrincipalARN: "arn:aws:iam::111122223333:role/nodes", Type: EC2Linux},
	}}
	for _, format := range ExportFormats() {
		text, err := x.Write(format)
		if err != nil {
			t.Fatal(err)
		}
		says := "that entry stays as it is"
		switch format {
		case "awscli":
			says = "An access entry that exists stays as it is and gets no policy"
		case "terraform":
			says = "associates no policy with it and leaves it as it is"
		}
		lines := strings.Split(text, "\n")
		if !slices.ContainsFunc(lines[:min(6, len(lines))], func(l string) bool { return strings.HasPrefix(l, "# ") && strings.Contains(l, says) }) {
			t.Errorf("%s does not begin with what becomes of one that exists:\n%s", format, text)
		}
		if !strings.Contains(text, "# EKS makes the access entries of managed node groups and Fargate profiles itself") {
			t.Errorf("%s has no remark on the node's role:\n%s", format, text)
		}
	}
}

// The role of a permission set has its path, by what is known of Identity Center's
// region, in every format; the name of its resource does not depend on it.
func TestExportPaths(t *testing.T) {
	t.Parallel()
	const name = "AWSReservedSSO_Admin_0123456789abcdef"
	for _, tc := range []struct{ region, center, path string }{
		{"eu-west-3", "", "/aws-reserved/sso.amazonaws.com/eu-west-3/"},
		{"us-east-1", "", "/aws-reserved/sso.amazonaws.com/"},
		{"eu-west-3", "us-east-1", "/aws-reserved/sso.amazonaws.com/"},
		{"us-east-1", "eu-central-1", "/aws-reserved/sso.amazonaws.com/eu-central-1/"},
	} {
		for _, format := range ExportFormats() {
			x := Export{Cluster: "prod", Region: tc.region, IdentityCenterRegion: tc.center, Entries: []AccessEntry{
				{PrincipalARN: "arn:aws:iam::111122223333:role/" + name, Type: Standard, Username: "u:{{SessionName}}", Admin: true},
				{PrincipalARN: "arn:aws:iam::111122223333:role/" + name + "x", Type: Standard, Username: "no", Admin: true},
			}}
			text, err := x.Write(format)
			if err != nil {
				t.Fatal(err)
			}
			arn := "arn:aws:iam::111122223333:role" + tc.path + name
			if !strings.Contains(text, arn+`"`) && !strings.Contains(text, arn+"'") || strings.Contains(text, ":role/"+name+`"`) || strings.Contains(text, ":role/"+name+"'") {
				t.Errorf("%s, %+v: want %s in\n%s", format, tc, arn, text)
			}
			guessed := tc.center == ""
			told := slices.ContainsFunc(x.AllNotes(), func(n string) bool {
				return strings.Contains(n, arn) && strings.Contains(n, "--identity-center-region")
			})
			if told != guessed || strings.Count(text, "give --identity-center-region") != map[bool]int{true: 2}[guessed] {
				t.Errorf("%s, %+v: a guess is told: %t, want %t\n%s", format, tc, told, guessed, text)
			}
			if len(x.Notes) != 0 || x.Entries[0].PrincipalARN != "arn:aws:iam::111122223333:role/"+name {
				t.Errorf("Write changes the export: %+v", x)
			}
			if format == "terraform" && !strings.Contains(text, `"e_`+name+"_"+label(x.Entries[0].PrincipalARN, "_-", "_")[len(name)+1:]+`"`) {
				t.Errorf("the address depends on the path:\n%s", text)
			}
		}
	}
}

// What EKS refuses makes no entry, whatever else the entry has: a property over all
// usernames, groups and ARNs of these kinds.
func TestRefusedIsLeftOut(t *testing.T) {
	t.Parallel()
	arns := []string{
		"arn:aws:iam::111122223333:role/ok", "arn:aws:iam::111122223333:role/AWSServiceRoleForX", "arn:aws:iam::111122223333:role/path/ok",
		"arn:aws:iam::111122223333:role/aws-service-role/eks.amazonaws.com/AWSServiceRoleForAmazonEKS", "arn:aws:sts::111122223333:assumed-role/ok/s", "ok", "arn:aws:iam::111122223333:instance-profile/p",
	}
	names := []string{"", "u", "system:u", "eks:u", "aws:u", "amazon:u", "iam:u", "{{SessionName}}", "a:{{SessionName}}", "a:{{EC2PrivateDNSName}}", "{{AccountID}}"}
	groups := [][]string{nil, {"g"}, {"system:masters"}, {"system:x"}, {"system:masters", "system:x", "g"}, {"{{AccountID}}"}}
	for _, arn := range arns {
		for _, name := range names {
			for _, gs := range groups {
				e := awsauth.Entry{Kind: awsauth.Role, ARN: arn, Username: name, Groups: gs}
				entries, notes := AccessEntries([]awsauth.Listed{{Entry: e}})
				if len(entries) == 0 && !slices.ContainsFunc(notes, func(n string) bool { return strings.HasPrefix(n, "left out: ") && strings.Contains(n, arn) }) {
					t.Errorf("%+v is left out and not said: %q", e, notes)
				}
				for _, got := range entries {
					if got.PrincipalARN != "arn:aws:iam::111122223333:role/ok" || isReserved(got.Username) || slices.ContainsFunc(got.Groups, func(g string) bool { return strings.HasPrefix(g, "system:") || strings.Contains(g, "{{") }) {
						t.Errorf("%+v becomes %+v", e, got)
					}
					if got.Admin != slices.Contains(gs, awsauth.Masters) || got.Admin && awsauth.OnlyInstances(e) {
						t.Errorf("%+v becomes an administrator: %+v", e, got)
					}
				}
			}
		}
	}
}
