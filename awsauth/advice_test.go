package awsauth

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/rolecall/rolecall/test/corpus"
)

// inputs are documents as people have them, with what lint is to say of them.
func inputs(tb testing.TB) map[string]map[string]string {
	tb.Helper()
	files, err := filepath.Glob("testdata/inputs/*/*.yaml")
	if err != nil || len(files) == 0 {
		tb.Fatalf("no inputs: %v", err)
	}
	out := map[string]map[string]string{}
	for _, name := range files {
		body, err := os.ReadFile(name)
		if err != nil {
			tb.Fatal(err)
		}
		var cm struct{ Data map[string]string }
		if err := yaml.Unmarshal(body, &cm); err != nil {
			tb.Fatalf("%s: %v", name, err)
		}
		out[filepath.Base(filepath.Dir(name))] = cm.Data
	}
	return out
}

// What lint says of documents as people have them, and advises, from the values in
// them.
func TestAdviceOfInputs(t *testing.T) {
	t.Parallel()
	const node, bothGroups = `"system:node:{{EC2PrivateDNSName}}"`, "[system:bootstrappers, system:nodes]"
	nodeNames := "username: " + node + ` (nodes of EC2, Linux or Windows), or "system:node:{{SessionName}}" (Fargate, hybrid nodes, and nodes named by instance ID)`
	groupRole := `an entry for each of its users; or in rolecall's config, which keeps them up to date, iamGroups: [{name: developers, groups: [devs]}]; ` +
		`or a role that its members assume: rolecall recipe group-role --iam-group developers --role ROLE --groups devs --cluster NAME`
	refused := "another username before the move to access entries, once the bindings that name this one name it too"
	for name, want := range map[string][]string{
		"iam-group-arn": {
			"mapRoles 1 dropped-entry fatal: " + groupRole,
			"mapUsers 1 no-identity fatal: " + groupRole,
			"mapUsers 4 no-identity fatal: the ARN of the role that they assume",
			"mapUsers 10 no-identity fatal: arn:aws:iam::ACCOUNT:user/ana with the account's 12 digits",
			"mapGroups 1 misspelt-key fatal: " + groupRole,
		},
		"wildcard": {
			"mapRoles 2 no-identity fatal: each ARN in full; or the account in mapAccounts, \"111122223333\", which lets in everybody of " +
				"it and gives no groups",
			"mapRoles 5 no-identity fatal: in rolecall's config, which finds the role of the permission set whatever its suffix, " +
				"roles: [{permissionSet: Dev}] with this entry's groups; or the role's whole ARN, without its path",
		},
		"account-is-a-map": {"mapAccounts 1 dropped-entry fatal: \"111122223333\""},
		"unfilled-template": {
			"mapRoles 1 unfilled-template fatal: the ARN that it stands for, as arn:aws:iam::111122223333:role/NAME",
			`mapRoles 6 unfilled-template fatal: what "${AWS::AccountId}" stands for: the whole is an ARN as arn:aws:iam::111122223333:role/NAME`,
			`mapRoles 10 unfilled-template fatal: what "<account-id>" stands for: the whole is an ARN as arn:aws:iam::111122223333:role/NAME`,
			"mapRoles 14 unfilled-template fatal: the ARN that it stands for, as arn:aws:iam::111122223333:role/NAME",
		},
		"angle-brackets": {
			"mapRoles 2 unfilled-template error: " + node,
			`mapRoles 4 unfilled-template error: "system:bootstrappers"`,
			`mapRoles 5 unfilled-template error: "system:nodes"`,
		},
		"cdk-dup-path": {
			"mapRoles 1 role-path fatal: arn:aws:iam::111122223333:role/AWSCloud9SSMAccessRole",
			"mapRoles 1 role-path fatal: arn:aws:iam::111122223333:role/admins in one entry, and no second one of the role",
			"mapRoles 1 role-path fatal: arn:aws:iam::111122223333:role/admins in one entry, and no second one of the role",
			`mapRoles 1 empty-username error: username: "AWSCloud9SSMAccessRole:{{SessionName}}"`,
		},
		"node-username-braces": {
			"mapRoles 2 node-username error: " + nodeNames,
			"mapRoles 7 node-username error: " + nodeNames,
			"mapRoles 12 node-username error: " + nodeNames,
		},
		"system-username": {"mapRoles 2 reserved-username error: a prefix other than system:, and bindings that name the new username"},
		"b5-reserved-prefixes": {
			"mapUsers 2 reserved-username note: " + refused,
			"mapUsers 5 reserved-username note: " + refused,
			"mapUsers 8 reserved-username note: " + refused,
			"mapUsers 11 reserved-username warning: another username, once the bindings that name this one name it too",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got []string
			for _, f := range Lint(inputs(t)[name]) {
				if f.Rule != RuleNoMasters {
					got = append(got, fmt.Sprintf("%s %d %s %s: %s", f.Key, f.Line, f.Rule, f.Severity, f.Write))
				}
				if strings.Contains(f.Message+f.Consequence, "another entry maps") ||
					strings.Contains(f.Message, "sso_dev") || strings.Contains(f.Write, "ACCOUNT:role/$") {
					t.Errorf("%s: %s: %s", f.Rule, f.Message, f.Consequence)
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// unfollowed says which promise of advice does not hold for some data, or "": followed
// by itself, each takes access from nobody, makes nobody an administrator but whom
// its entry itself says so of, ends its finding, and is what the sentence says.
func unfollowed(data map[string]string) string {
	before, _ := readAll(data)
	access := before.resolver()
	for i, f := range Lint(data) {
		if len(f.Advice) == 0 {
			continue
		}
		next, err := Follow(data, &f)
		if err != nil {
			continue // the document cannot be edited there, which is said
		}
		where := fmt.Sprintf("finding %d, %s: %s: %+v", i, f.String(), f.Write, f.Advice)
		reading, _ := readAll(next)
		after := reading.resolver()
		for k, had := range access {
			has, ok := after[k]
			if had.Unmatched() != "" {
				continue
			}
			if !ok || has.Unmatched() != "" || meant(had.Username) && had.Username != has.Username ||
				!includes(has.Groups, slices.DeleteFunc(slices.Clone(had.Groups), func(g string) bool { return !meant(g) })) {
				return fmt.Sprintf("%s\ntakes access: %+v becomes %+v", where, had, has)
			}
		}
		for k, has := range after {
			if was, ok := access[k]; !administrates(&has) || ok && administrates(&was) {
				continue
			}
			if !saysMasters(&before, &f, k) {
				return fmt.Sprintf("%s\nmakes an administrator: %+v", where, has)
			}
		}
		for _, again := range Lint(next) {
			if again.Rule == f.Rule && again.ARN == f.ARN && again.Message == f.Message && again.OtherLine == f.OtherLine && count(Lint(next), &f) >= count(Lint(data), &f) {
				return where + "\nis found again"
			}
		}
		for _, a := range f.Advice {
			if a.Entry != nil && a.Index >= 0 && f.index == a.Index && f.Key == a.Key &&
				!says(&f, before.list(kindOfKey(a.Key))[a.Index].Entry, a.Entry) {
				return where + "\nis not what is written"
			}
		}
	}
	return ""
}

// What is written for a name that a template was to fill in lets nobody choose it.
func TestAdviceOfNames(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"${username}":       `what "${username}" stands for`,
		"$user":             `what "$user" stands for`,
		"{{ username }}":    `"a:{{SessionName}}", and bindings that name it`,
		"{{UserName}}":      `"a:{{SessionName}}", and bindings that name it`,
		"x:{{UserName}}":    `"x:{{SessionName}}", and bindings that name it`,
		"x:${SessionName}":  `"x:{{SessionName}}", and bindings that name it`,
		"SessionName":       `"a:{{SessionName}}", if the placeholder is meant`,
		"${account}-admins": `what "${account}" stands for`,
	} {
		data := document("mapRoles", fmt.Sprintf("- rolearn: ROLE\n  username: %q\n  groups: [%q]\n", name, name))
		for _, f := range Lint(data) {
			switch {
			case strings.Contains(f.Message, "the username") && f.Write != want:
				t.Errorf("username %s: write %s, want %s", name, f.Write, want)
			case strings.Contains(f.Message, "the group") && strings.Contains(f.Write, "{{S"):
				t.Errorf("group %s: write %s", name, f.Write)
			}
		}
	}
}

// What is written is right where it is followed.
func TestAdviceOfSlips(t *testing.T) {
	t.Parallel()
	const a, nodes = "- rolearn: ROLE\n  username: a\n", "  username: system:node:{{EC2PrivateDNSName}}\n  groups: [system:bootstrappers, system:nodes]\n"
	own := "no such entry: a role is either of nodes or of people, and the others need a role of their own"
	for name, c := range map[string]struct {
		data map[string]string
		rule RuleID
		want string
	}{
		"a blank in a group":     {document("mapRoles", a+"  groups:\n  - dev: ops\n"), RuleGroupNoText, `"dev:ops"`},
		"a colon behind a group": {document("mapRoles", a+"  groups:\n  - devs:\n"), RuleGroupNoText, `"devs"`},
		"two dashes":             {document("mapRoles", a+"  groups:\n  - - devs\n"), RuleGroupNoText, `"devs"`},
		"a list of masters": {
			document("mapRoles", a+"  groups:\n  - - system:masters\n"), RuleGroupNoText,
			`"system:masters", only if whoever the entry lets in is to be administrator: nobody is by it today`,
		},
		"mapGroups with a field of its own": {document("mapGroups", "- group: devs\n"), RuleMisspeltKey, groupAdvice("GROUP", nil)},
		"two spellings of a key": {
			map[string]string{"mapRoles": document("x", a)["x"], "maproles": document("x", a)["x"]},
			RuleMisspeltKey,
			"its entries in mapRoles, which is there as well",
		},
		"a key inside another, and beside it": {
			map[string]string{"mapRoles": document("x", a)["x"] + "mapUsers: |\n  - userarn: arn:aws:iam::111122223333:user/b\n    username: b\n", "mapUsers": "- userarn: arn:aws:iam::111122223333:user/c\n  username: c\n"},
			RuleUnreadableKey, "the list of mapRoles alone, and the entries of mapUsers in the mapUsers that is there as well",
		},
		"nodes under the path of people's role": {document("mapRoles", a+"- rolearn: arn:aws:iam::111122223333:role/t/a\n"+nodes), RuleRolePath, own},
		"people under the path of nodes' role":  {document("mapRoles", "- rolearn: ROLE\n"+nodes+"- rolearn: arn:aws:iam::111122223333:role/t/a\n  username: a\n"), RuleRolePath, own},
		"two fields on a line":                  {document("mapRoles", "- rolearn: ROLE username: a\n  groups: [x]\n"), RuleUnreadableKey, "each field on a line of its own"},
		"two fields, and groups":                {document("mapRoles", "- rolearn: ROLE username: a groups: [x]\n"), RuleUnreadableKey, "each field on a line of its own"},
		"a blank in a username":                 {document("mapRoles", "- rolearn: ROLE\n  username: system: node:a\n"), RuleUnreadableKey, "the value without the blank"},
		"a sentence for a name":                 {document("mapRoles", "- rolearn: ROLE\n  username: team: a\n"), RuleUnreadableKey, "the value in double quotes"},
		"user in place of a name":               {document("mapRoles", "- rolearn: ROLE\n  user: ana\n"), RuleEmptyUsername, `username: "ana", in place of "user"`},
		"masters that another entry keeps from answering": {
			map[string]string{"mapRoles": document("x", "- rolearn: ROLE\n  username: a\n  groups: [system:masters]\n- rolearn: ROLE\n  username: a\n")["x"]},
			RuleNoMasters,
			"an entry for those who operate the cluster",
		},
	} {
		found := slices.DeleteFunc(Lint(c.data), func(f Finding) bool { return f.Rule != c.rule })
		if len(found) != 1 || found[0].Write != c.want {
			t.Errorf("%s: %+v", name, found)
		}
	}
}

func count(found []Finding, f *Finding) int {
	n := 0
	for i := range found {
		if found[i].Rule == f.Rule && found[i].Message == f.Message && found[i].ARN == f.ARN {
			n++
		}
	}
	return n
}

// meant reports whether a username or group can be what somebody bound: it is filled
// in, and no user's session is in it.
func meant(s string) bool {
	_, angles := inAngles(s)
	return s != "" && !angles && len(brokenPlaceholders(s)) == 0 &&
		strings.Trim(stripPlaceholders(s, sessionName, sessionNameRaw), " ") != "" &&
		(!strings.HasPrefix(s, nodeUsername) || IsNodeUsername(s) || nodeName.MatchString(strings.TrimPrefix(s, nodeUsername)))
}

func administrates(e *Entry) bool {
	return slices.Contains(e.Groups, Masters) && e.Unmatched() == "" && !OnlyInstances(*e)
}

// saysMasters reports whether the entry of a finding has system:masters, and is of the
// principal that the advice gives it.
func saysMasters(r *reading, f *Finding, k string) bool {
	list := r.list(kindOfKey(f.Key))
	if f.Rule == RuleShadowed { // one that a dead entry kept from answering, and that stays as it is
		answers, ok := r.resolver()[k]
		if !ok || answers.Unmatched() == "" || slices.ContainsFunc(f.Advice, func(a Advised) bool { return a.Entry != nil }) {
			return false
		}
		for _, kind := range []Kind{Role, User} {
			if slices.ContainsFunc(r.list(kind), func(m mapping) bool { return key(m.ARN) == k && slices.Contains(m.Groups, Masters) }) {
				return true
			}
		}
		return false
	}
	return f.index >= 0 && f.index < len(list) && slices.Contains(list[f.index].Groups, Masters) &&
		(key(list[f.index].ARN) == k || bareKey(list[f.index].ARN) == k) ||
		f.Rule == RuleGroupsNoList && strings.Contains(f.Message, Masters)
}

// says reports whether what an advice changes stands in its sentence.
func says(f *Finding, was Entry, is *Entry) bool {
	if was.ARN != is.ARN && !strings.Contains(f.Write, is.ARN) {
		return false
	}
	if f.Rule == RuleTemplate { // all values in angle brackets at once, of which it names one
		return true
	}
	if was.Username != is.Username && !strings.Contains(f.Write, is.Username) {
		return false
	}
	for _, g := range is.Groups {
		if !slices.Contains(was.Groups, g) && !strings.Contains(f.Write, g) {
			return false
		}
	}
	return true
}

func TestAdviceIsSafe(t *testing.T) {
	t.Parallel()
	docs := corpus.Read(t, documents)
	maps.Copy(docs, inputs(t))
	for _, c := range lintCases {
		docs["case "+c.name] = document(c.key, c.text)
	}
	followed := map[RuleID]bool{}
	for name, data := range docs {
		if p := unfollowed(data); p != "" {
			t.Errorf("%s: %s", name, p)
		}
		for _, f := range Lint(data) {
			followed[f.Rule] = followed[f.Rule] || len(f.Advice) > 0
		}
	}
	for _, id := range []RuleID{
		RuleRolePath, RuleSessionARN, RuleShadowed, RuleCaseVariants, RuleEmptyUsername, RuleNodeGroups, RuleNodeUsername, RuleInstanceOnly,
		RuleWrongList, RuleDroppedEntry, RuleTemplate, RuleGroupsNoList, RuleGroupNoText,
	} {
		if !followed[id] {
			t.Errorf("no advice of %s was followed", id)
		}
	}
}

// Of random documents, made of what people write, too.
func TestAdviceIsSafeAtRandom(t *testing.T) {
	t.Parallel()
	n := 1500
	if testing.Short() {
		n = 200
	}
	for seed := range n {
		rng := rand.New(rand.NewPCG(uint64(seed), 12))
		data := randomSlips(rng)
		if p := unfollowed(data); p != "" {
			t.Fatalf("seed %d: %s\n%s%s", seed, p, data["mapRoles"], data["mapUsers"])
		}
	}
}

// randomSlips is a document of a few entries for a few identities.
func randomSlips(rng *rand.Rand) map[string]string {
	one := func(list ...string) string { return list[rng.IntN(len(list))] }
	data := map[string]string{}
	for _, kind := range []Kind{Role, User} {
		var out strings.Builder
		for range rng.IntN(4) {
			arn := one(
				"arn:aws:iam::111122223333:role/a", "arn:aws:iam::111122223333:role/a", "arn:aws:iam::111122223333:role/t/a", "arn:aws:iam::111122223333:role/u/a",
				"arn:aws:sts::111122223333:assumed-role/a/ana", "arn:aws:sts::111122223333:assumed-role/a/bob", "arn:aws:iam::111122223333:role/A",
				"arn:aws:iam::111122223333:user/b", "arn:aws:iam::111122223333:user/B", "arn:aws:iam::111122223333:user/p/b", "arn:aws:iam::111122223333:root",
				"arn:aws:iam::111122223333:instance-profile/a", "arn:aws:iam::111122223333:group/g", "<arn:aws:iam::111122223333:role/a>", "arn:aws:iam::${A}:role/a",
			)
			fmt.Fprintf(&out, "- %sarn: %q\n", one(string(kind), string(kind), string(kind), "user", "role"), arn)
			if name := one("x", "y", "x:{{SessionName}}", "system:node:{{EC2PrivateDNSName}}", "system:node:{{SessionName}}",
				"system:node:{EC2PrivateDNSName}",
				"<x>", "{{SessionName}}", "system:node:n1", "{{EC2PrivateDNSName}}", ""); name != "" {
				fmt.Fprintf(&out, "  username: %q\n", name)
			}
			switch rng.IntN(4) {
			case 0:
				fmt.Fprintf(&out, "  groups: %q\n", one("a", Masters, "a,b", "system:nodes"))
			case 1:
			default:
				out.WriteString("  groups:\n")
				for range 1 + rng.IntN(3) {
					fmt.Fprintf(&out, "  - %q\n", one("a", "b", Masters, "<"+Masters+">", "system:master", "system:nodes", "system:bootstrappers",
						"<system:nodes>", "system:node"))
				}
			}
		}
		data[kind.Key()] = out.String()
	}
	if rng.IntN(3) == 0 {
		data["mapAccounts"] = one("- default: 111122223333\n", "- {id: \"111122223333\"}\n- \"111122223333\"\n", "- 1111-2222-3333\n",
			"- arn:aws:iam::111122223333:root\n")
	}
	return data
}
