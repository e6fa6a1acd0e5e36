package judge

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"sigs.k8s.io/aws-iam-authenticator/pkg/arn"
	"sigs.k8s.io/aws-iam-authenticator/pkg/config"
	"sigs.k8s.io/aws-iam-authenticator/pkg/mapper/configmap"
	"sigs.k8s.io/aws-iam-authenticator/pkg/token"

	"github.com/rolecall/rolecall/awsauth"
)

// mapped is what the authenticator keeps of a document, under the keys that
// its saveMap uses (configmap.go:236).
type mapped struct {
	users    map[string]config.UserMapping
	roles    map[string]config.RoleMapping
	accounts map[string]any
}

func load(data map[string]string) mapped {
	users, roles, accounts, _ := configmap.ParseMap(data)
	m := mapped{map[string]config.UserMapping{}, map[string]config.RoleMapping{}, map[string]any{}}
	for _, u := range users {
		m.users[u.Key()] = u
	}
	for _, r := range roles {
		m.roles[r.Key()] = r
	}
	for _, id := range accounts {
		m.accounts[id] = nil
	}
	return m
}

// answer is a mapping that somebody may get, and the ARN of its entry as it is
// written there.
type answer struct {
	*config.IdentityMapping
	arn string
}

// answers are all that the authenticator may answer for an identity. Of several
// entries that match it takes the first one that a Go map gives, a random one
// (configmap.go:262): each is therefore asked for in a store where it is alone.
// A user's is asked for only where there is no role's (mapper.go:53).
func (m mapped) answers(id *token.Identity) []answer {
	var all []answer
	for k, r := range m.roles {
		if mapping, err := mapper(mapped{roles: map[string]config.RoleMapping{k: r}}).Map(id); err == nil {
			all = append(all, answer{mapping, r.RoleARN})
		}
	}
	if all != nil {
		return all
	}
	for k, u := range m.users {
		if mapping, err := mapper(mapped{users: map[string]config.UserMapping{k: u}}).Map(id); err == nil {
			all = append(all, answer{mapping, u.UserARN})
		}
	}
	return all
}

// mapper is the authenticator's own. Its maps have no other way in than its
// watch (configmap.go:228), so they are set by force.
func mapper(m mapped) *configmap.ConfigMapMapper {
	store := &configmap.MapStore{}
	force(store, "users", m.users)
	force(store, "roles", m.roles)
	force(store, "awsAccounts", m.accounts)
	return &configmap.ConfigMapMapper{MapStore: store}
}

func force(store *configmap.MapStore, field string, value any) {
	f := reflect.ValueOf(store).Elem().FieldByName(field)
	reflect.NewAt(f.Type(), unsafe.Pointer(f.UnsafeAddr())).Elem().Set(reflect.ValueOf(value))
}

// identity is what the authenticator makes of a caller's ARN
// (pkg/token/token.go, getIdentityFromSTSResponse).
func identity(caller string) (*token.Identity, error) {
	kind, canonical, err := arn.Canonicalize(caller)
	if err != nil {
		return nil, err
	}
	id := &token.Identity{ARN: caller, CanonicalARN: canonical, AccountID: strings.Split(caller, ":")[4]}
	if kind == arn.ASSUMED_ROLE {
		id.SessionName = caller[strings.LastIndexByte(caller, '/')+1:]
	}
	return id, nil
}

// rendered is renderTemplate without EC2 (server.go:529). Like the
// authenticator it refuses an instance's name to who is no instance.
func rendered(m *config.IdentityMapping, id *token.Identity) (username string, groups []string, refused bool) {
	fill := func(s string) string {
		if strings.Contains(s, "{{EC2PrivateDNSName}}") && !strings.HasPrefix(id.SessionName, "i-") {
			refused = true
		}
		s = strings.ReplaceAll(s, "{{AccountID}}", id.AccountID)
		s = strings.ReplaceAll(s, "{{SessionName}}", strings.ReplaceAll(id.SessionName, "@", "-"))
		return strings.ReplaceAll(s, "{{SessionNameRaw}}", id.SessionName)
	}
	username = fill(m.Username)
	for _, g := range m.Groups {
		groups = append(groups, fill(g))
	}
	return username, groups, refused
}

// callers are the ARNs under which somebody may call whom a text speaks of.
func callers(text string) []string {
	f := strings.SplitN(text, ":", 6)
	if len(f) != 6 {
		return nil
	}
	prefix := "arn:" + strings.ToLower(f[1]) + ":"
	kind, rest, _ := strings.Cut(f[5], "/")
	name := rest[strings.LastIndexByte(rest, '/')+1:]
	var all []string
	switch strings.ToLower(kind) {
	case "role", "assumed-role", "instance-profile":
		for _, session := range []string{"ana@example.com", "i-0123456789abcdef0"} {
			all = append(all, prefix+"sts::"+f[4]+":assumed-role/"+name+"/"+session)
		}
	case "user", "federated-user":
		all = append(all, prefix+"iam::"+f[4]+":user/"+rest, prefix+"iam::"+f[4]+":user/"+name, prefix+"sts::"+f[4]+":federated-user/"+name)
	}
	return append(all, prefix+"iam::"+f[4]+":root")
}

// disagrees says for which caller Resolve says otherwise than the
// authenticator, or "".
func disagrees(data map[string]string, caller string) string {
	r, err := awsauth.Resolve(data, caller)
	id, canonErr := identity(caller)
	if canonErr != nil || err != nil {
		if err == nil {
			return fmt.Sprintf("%s: the authenticator refuses the ARN (%v), Resolve does not", caller, canonErr)
		}
		return ""
	}
	if r.ARN != id.CanonicalARN {
		return fmt.Sprintf("%s: the authenticator looks up %s, Resolve %s", caller, id.CanonicalARN, r.ARN)
	}
	type outcome struct {
		username, groups string
		refused          bool
	}
	m := load(data)
	got, want := map[outcome]bool{}, map[outcome]bool{}
	for _, a := range m.answers(id) {
		u, g, refused := rendered(a.IdentityMapping, id)
		got[outcome{u, fmt.Sprintf("%q", g), refused}] = true
	}
	switch {
	case len(got) > 0:
	case mapper(m).IsAccountAllowed(id.AccountID):
		got[outcome{id.CanonicalARN, "[]", false}] = true
	default:
		got[outcome{username: "nobody"}] = true
	}
	if r.Entry == nil {
		want[outcome{username: "nobody"}] = true
	} else {
		want[outcome{r.Username, fmt.Sprintf("%q", r.Groups), r.Refused != ""}] = true
	}
	for i := range r.Random {
		u, g, refused := rendered(&config.IdentityMapping{Username: r.Random[i].Username, Groups: r.Random[i].Groups}, id)
		want[outcome{u, fmt.Sprintf("%q", g), refused}] = true
	}
	if !maps.Equal(got, want) {
		return fmt.Sprintf("%s: the authenticator answers %+v, Resolve %+v", caller, got, want)
	}
	return ""
}

// unreadable are the rules of which a fatal finding says that a key is lost.
var unreadable = []awsauth.RuleID{awsauth.RuleUnreadableKey, awsauth.RuleUnquotedBraces, awsauth.RuleTab}

// misjudgedLint says in what Lint and the authenticator disagree, or "".
func misjudgedLint(data map[string]string) string {
	found := awsauth.Lint(data)
	// A key that is called unreadable is lost there, and no other is.
	var lost []string
	for _, f := range found {
		// A template is that of a key where it is of no entry.
		whole := slices.Contains(unreadable, f.Rule) || f.Rule == awsauth.RuleTemplate && f.ARN == ""
		if f.Severity == awsauth.Fatal && whole && !slices.Contains(lost, f.Key) {
			lost = append(lost, f.Key)
		}
	}
	slices.Sort(lost)
	r := read(data)
	if !slices.Equal(lost, r.lost) {
		return fmt.Sprintf("the authenticator loses %q, Lint says %q", r.lost, lost)
	}
	// What is called fatal of an ARN lets nobody in by it. What is called nothing
	// worse than a warning does.
	fatal := map[string]bool{} // by the authenticator's key of the entry
	wrong := map[string]bool{}
	for _, f := range found {
		if f.ARN == "" {
			continue
		}
		fatal[f.ARN] = fatal[f.ARN] || f.Severity == awsauth.Fatal
		wrong[strings.ToLower(f.ARN)] = wrong[strings.ToLower(f.ARN)] || f.Severity == awsauth.Fatal || f.Rule == awsauth.RuleShadowed || f.Rule == awsauth.RuleCaseVariants
	}
	entries := r.entries()
	m := load(data)
	for _, e := range entries {
		if e.Kind == awsauth.Account {
			if len(e.ARN) == 12 && strings.Trim(e.ARN, "0123456789") == "" == fatal[e.ARN] {
				return fmt.Sprintf("account %q is fatal: %v", e.ARN, fatal[e.ARN])
			}
			continue
		}
		let := false
		for _, caller := range callers(e.ARN) {
			if id, err := identity(caller); err == nil && possible(caller) {
				for _, a := range m.answers(id) {
					if a.arn == e.ARN && strings.EqualFold(e.ARN, id.CanonicalARN) {
						_, _, refused := rendered(a.IdentityMapping, id)
						let = let || !refused
					}
				}
			}
		}
		switch {
		case fatal[e.ARN] && let && !slices.ContainsFunc(entries, func(o awsauth.Entry) bool { return o.Kind != e.Kind && strings.EqualFold(o.ARN, e.ARN) }):
			return fmt.Sprintf("%s is called fatal, and lets somebody in", e.ARN)
		case !wrong[strings.ToLower(e.ARN)] && !let:
			return fmt.Sprintf("%s is called fine, and lets nobody in", e.ARN)
		}
	}
	// Who is mended is read as the authenticator reads it, and nobody else is
	// mapped otherwise.
	mended, done := awsauth.Mend(data)
	if len(done) == 0 {
		return ""
	}
	if why := differs(mended); why != "" {
		return "mended: " + why
	}
	after := load(mended)
	changed := map[string]bool{}
	for _, f := range done {
		changed[strings.ToLower(f.ARN)] = f.ARN != ""
	}
	for _, e := range entries {
		if e.Kind == awsauth.Account || changed[strings.ToLower(e.ARN)] {
			continue
		}
		id := &token.Identity{CanonicalARN: e.ARN}
		was := outcomes(m.answers(id))
		for is := range outcomes(after.answers(id)) {
			if !was[is] {
				return fmt.Sprintf("%s was mapped to %v and may be to %s", e.ARN, was, is)
			}
		}
	}
	return ""
}

// outcomes are whom answers make of a caller.
func outcomes(answers []answer) map[string]bool {
	all := map[string]bool{}
	for _, a := range answers {
		all[fmt.Sprintf("%q %q", a.Username, slices.Compact(slices.Sorted(slices.Values(a.Groups))))] = true
	}
	if len(answers) == 0 {
		all["nobody"] = true
	}
	return all
}

// iamName is what IAM takes for a name
// (https://docs.aws.amazon.com/IAM/latest/APIReference/API_Role.html).
var iamName = regexp.MustCompile(`^[A-Za-z0-9_+=,.@-]{1,64}$`)

// possible reports whether IAM and STS can give such an ARN.
func possible(caller string) bool {
	f := strings.SplitN(caller, ":", 6)
	if len(f[4]) != 12 || strings.Trim(f[4], "0123456789") != "" {
		return false
	}
	kind, rest, _ := strings.Cut(f[5], "/")
	parts := strings.Split(rest, "/")
	if kind == "assumed-role" {
		parts = parts[:len(parts)-1] // the session
	}
	if kind != "root" && !iamName.MatchString(parts[len(parts)-1]) {
		return false
	}
	return strings.IndexFunc(rest, func(r rune) bool { return r <= 0x20 || r > 0x7e }) < 0
}

// lintTexts are documents with what people get wrong, beside the corpus.
func lintTexts() []string {
	const role, user = "arn:aws:iam::111122223333:role/", "arn:aws:iam::111122223333:user/"
	return []string{
		"- rolearn: " + role + "a\n  username: {{SessionName}}\n", "- {rolearn: " + role + "a, username: a:{{SessionName}}}\n",
		"- rolearn: " + role + "a\n\tusername: a\n", "-\trolearn: " + role + "a\n\tusername: a\n", "- rolearn:" + role + "a\n  username: @a\n",
		"rolearn: " + role + "a\nusername: a\n", "mapRoles: |\n  - rolearn: " + role + "a\n    username: a\n",
		"- rolearn: " + role + "x/y/a\n  username: a\n- rolearn: " + role + "b\n  username: b\n", "- rolearn: " + role + "x/a\n  username: a\n- rolearn: " + role + "A\n  username: b\n",
		"- rolearn: arn:aws:sts::111122223333:assumed-role/a/s\n  username: a\n", "- rolearn: arn:aws:iam::111122223333:instance-profile/a\n  username: a\n",
		"- rolearn: " + user + "u\n  username: a\n  userarn: " + role + "r\n", "- userarn: " + role + "r\n  username: '{{SessionName}}:{{AccountID}}'\n  rolearn: " + user + "x/u\n",
		"- rolearn: " + role + "a\n  username: 12\n  groups: x\n", "- rolearn: " + role + "a\n  groups: [1, y, 'z']\n  username: yes\n",
		"- rolearn: " + role + "a\n  username: a\n- rolearn: " + role + "A\n  username: b\n- rolearn: " + role + "a\n  username: c\n",
		"- userarn: " + user + "a\n  username: a\n- userarn: " + user + "A\n  username: b\n- userarn: " + user + "A\n  username: c\n",
		"- rolearn: " + role + "K\n  username: a\n- rolearn: " + role + "\u212a\n  username: b\n", "- userarn: " + user + "\u017f\n  username: a\n- userarn: " + user + "s\n  username: b\n",
		"- rolearn: arn:aws:iam::111122223333:root\n  username: a\n  userarn: arn:aws:iam::111122223333:root\n", "- userarn: arn:aws:sts::111122223333:federated-user/f\n  username: a\n",
		"- rolearn: ARN:AWS:IAM::111122223333:ROLE/UP\n  username: a\n", "- rolearn: arn:moon:iam::111122223333:role/a\n  username: a\n", "- rolearn: arn:aws:iam::1111:role/a\n  username: a\n", "- rolearn: dev\n  username: a\n",
		"- rolearn: " + role + "a\n  username: 'system:node:{{EC2PrivateDNSName}}'\n  userarn: " + user + "a\n", "- null\n- x\n- 7\n- []\n- {}\n- rolearn: " + role + "a\n  username: a\n",
		"- rolearn: " + role + "a\n  username: a\n---\n- rolearn: " + role + "b\n  username: b\n", "---\n---\n- rolearn: " + role + "b\n  username: b\n",
		"- 012345678901\n- 111122223333\n- 1.1e+11\n- '444455556666 '\n- x: y\n- null\n- \"123\"\n",
		"- rolearn: " + role + "a\n  rolearn: " + role + "b\n  ROLEARN: " + role + "c\n  username: a\n", "- sso: {permissionSetName: A, accountID: '111122223333'}\n  username: a\n- rolearn: " + role + "a\n  sso: {}\n",
		"- &a\n  rolearn: " + role + "a\n  username: 5\n- <<: *a\n  rolearn: " + role + "b\n- *a\n",
	}
}

func lintDocuments(tb testing.TB) map[string]map[string]string {
	all := corpus(tb)
	for i, text := range lintTexts() {
		all[fmt.Sprintf("lint %d", i)] = map[string]string{"mapRoles": text, "mapUsers": text, "mapAccounts": "- \"444455556666\"\n"}
		all[fmt.Sprintf("accounts %d", i)] = map[string]string{"mapAccounts": text}
	}
	return all
}

// everybody lists ARNs that may call, of a document's identities and of others.
func everybody(data map[string]string) []string {
	all := []string{"arn:aws:iam::444455556666:user/x", "arn:aws:sts::444455556666:assumed-role/x/y", "arn:aws:iam::444455556666:root", "arn:aws:iam::999900001111:user/x"}
	for _, e := range read(data).entries() {
		all = append(all, callers(e.ARN)...)
		all = append(all, callers(strings.ToUpper(e.ARN))...)
	}
	return all
}

// TestLint judges every document of the corpus.
func TestLint(t *testing.T) {
	t.Parallel()
	for name, data := range lintDocuments(t) {
		if why := misjudgedLint(data); why != "" {
			t.Errorf("%s: %s\n%q", name, why, data)
		}
		for _, caller := range everybody(data) {
			if why := disagrees(data, caller); why != "" {
				t.Errorf("%s: %s\n%q", name, why, data)
			}
		}
	}
}

// TestLintRandom judges documents that are put together of what people write,
// right and wrong.
func TestLintRandom(t *testing.T) {
	t.Parallel()
	for seed := range uint64(500) {
		data := randomDocument(rand.New(rand.NewPCG(seed, 3)))
		if why := misjudgedLint(data); why != "" {
			t.Fatalf("seed %d: %s\n%q", seed, why, data)
		}
		for _, caller := range everybody(data) {
			if why := disagrees(data, caller); why != "" {
				t.Fatalf("seed %d: %s\n%q", seed, why, data)
			}
		}
	}
}

func randomDocument(r *rand.Rand) map[string]string {
	pick := func(list ...string) string { return list[r.IntN(len(list))] }
	data := map[string]string{"mapAccounts": pick("", "- \"444455556666\"\n", "- 444455556666\n- 012345678901\n- 1\n", "x\n")}
	for _, k := range []string{"mapRoles", "mapUsers"} {
		own := map[string]string{"mapRoles": "rolearn", "mapUsers": "userarn"}[k]
		var b strings.Builder
		for range r.IntN(5) {
			field := pick(own, own, own, own, own, own, "roleARN", "userArn", "arn", "\""+own+"\"")
			id := "arn:" + pick("aws", "aws", "aws", "AWS", "aws-cn", "moon") + ":" + pick("iam", "iam", "iam", "sts", "s3") + "::" + pick("111122223333", "111122223333", "444455556666", "1111") + ":" +
				pick("role/a", "role/A", "role/x/a", "role/x/y/b", "role/b", "role/", "user/u", "user/U", "user/x/u", "user/x/U", "root", "ROLE/a", "assumed-role/a/s", "federated-user/f", "instance-profile/a", "role/*", "role/a b")
			if r.IntN(12) == 0 {
				id = pick("a", "", "[]", "null", "7", "{{x}}", "'"+id+" '")
			}
			user := pick("a", "a:{{SessionName}}", "{{SessionName}}", `"{{SessionName}}"`, "{{AccountID}}-x", "12", "yes", "\"\"", "'system:node:{{EC2PrivateDNSName}}'", "system:node:{{EC2PrivateDNSName}}", "@a", "{a}", "'{{ SessionName }}'", "x:{{SessionNameRaw}}")
			groups := pick("[a, b]", "[system:nodes, system:bootstrappers]", "system:masters", "[1, y, c]", "[]", "a, b", "['{{SessionName}}']", "[{{SessionName}}]", "null")
			switch r.IntN(10) {
			case 0:
				fmt.Fprintf(&b, "- {%s: '%s', username: %s, groups: %s}\n", field, id, user, groups)
			case 1:
				fmt.Fprintf(&b, "- %s: %s\n\tusername: %s\n", field, id, user)
			case 2:
				fmt.Fprintf(&b, "- username: %s\n  %s: %s\n  username: %s\n", user, field, id, pick(user, "z"))
			case 3:
				b.WriteString(pick("- null\n", "-\n", "- text\n", "# comment\n", "---\n", "- sso: {permissionSetName: A, accountID: \"111122223333\"}\n"))
			case 4:
				fmt.Fprintf(&b, "- %s: %s\n  groups: %s\n", field, id, groups)
			default:
				fmt.Fprintf(&b, "- %s: %s # c\n  username: %s\n  groups: %s\n", field, id, user, groups)
			}
		}
		data[k] = b.String()
	}
	return data
}

// FuzzLint judges any text.
func FuzzLint(f *testing.F) {
	for _, data := range lintDocuments(f) {
		f.Add(data["mapRoles"], data["mapUsers"], data["mapAccounts"])
	}
	f.Fuzz(func(t *testing.T, roles, users, accounts string) {
		data := map[string]string{"mapRoles": roles, "mapUsers": users, "mapAccounts": accounts}
		if why := misjudgedLint(data); why != "" {
			t.Fatal(why)
		}
		for i, caller := range everybody(data) {
			if i == 100 {
				break
			}
			if why := disagrees(data, caller); why != "" {
				t.Fatal(why)
			}
		}
	})
}

// TestLintSlips judges good documents in which one character is missing, doubled or
// replaced, each at each place: what is called fatal is lost, and what is passed resolves.
func TestLintSlips(t *testing.T) {
	t.Parallel()
	const nodes = "- rolearn: arn:aws:iam::111122223333:role/n\n  username: system:node:{{EC2PrivateDNSName}}\n  groups:\n  - system:nodes\n  - system:bootstrappers\n"
	for name, text := range map[string]string{
		"block":  nodes + "- rolearn: arn:aws:iam::111122223333:role/a\n  username: a\n  groups: [x, y]\n",
		"quoted": "- \"groups\":\n  - \"x\"\n  \"rolearn\": \"arn:aws:iam::111122223333:role/a\"\n  \"username\": \"a\"\n",
		"JSON":   `[{"rolearn":"arn:aws:iam::111122223333:role/a","username":"a:{{SessionName}}","groups":["x","y"]}]`,
	} {
		for i := range len(text) {
			for _, bad := range []string{text[:i] + text[i+1:], text[:i+1] + text[i:], text[:i] + "\u00a0" + text[i+1:], text[:i] + "\t" + text[i+1:]} {
				data := map[string]string{"mapRoles": bad, "mapUsers": "- userarn: arn:aws:iam::111122223333:user/u\n  username: u\n"}
				if why := misjudgedLint(data); why != "" {
					t.Errorf("%s, at %d: %s\n%q", name, i, why, bad)
				}
			}
		}
	}
}
