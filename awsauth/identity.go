package awsauth

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// A fault is why no caller has an ARN.
type fault struct {
	rule        RuleID
	message     string // of the finding
	consequence string // empty where the rule says it
	write       string // what to write instead; empty where the rule says it
	// instead is the ARN of the role that was meant, where that can be told.
	instead string
	session string // of a session's ARN its name
}

// identityFaults says why no caller that the authenticator knows has the ARN of an
// entry, each fault on its own, so that whoever mends one knows the next; none where
// a caller can have it. What the ARN holds is shown as it stands.
func identityFaults(kind Kind, arn string) []fault {
	if token := templateInARN(withoutUserPath(arn)); token != "" {
		return unfilled(kind, arn, token)
	}
	s := key(arn) // as the authenticator compares
	f, orig := strings.SplitN(s, ":", 6), strings.SplitN(arn, ":", 6)
	if len(f) != 6 || f[0] != "arn" {
		return []fault{noARN(kind, arn)}
	}
	resource, rest, _ := strings.Cut(f[5], "/")
	origRest := rest
	if _, after, ok := strings.Cut(orig[5], "/"); ok {
		origRest = after
	}
	var faults []fault
	add := func(f fault) { faults = append(faults, f) }
	if f[2] != "iam" && f[2] != "sts" {
		return []fault{{rule: RuleNoIdentity, message: "the ARN is none of IAM", write: "the ARN of a role or user, as " + exampleARN(kind)}}
	}
	if !slices.Contains(partitions, f[1]) {
		add(fault{
			rule: RuleNoIdentity, message: fmt.Sprintf("the ARN names the unknown partition %q", orig[1]),
			write: "one of " + strings.Join(partitions, ", "),
		})
	}
	if CheckAccountID(f[4]) != nil {
		add(noAccount(orig[4]))
	}
	whole := len(faults) == 0
	switch {
	case f[2] == "sts" && resource == "assumed-role":
		out := fault{rule: RuleSessionARN, message: ruleOf(RuleSessionARN).Title}
		if role, session, ok := cutLast(origRest); ok && whole && role != "" {
			out.instead = fmt.Sprintf("arn:%s:iam::%s:role/%s", orig[1], orig[4], role[strings.LastIndexByte(role, '/')+1:])
			out.session = session
		}
		add(out)
		return faults
	case resource == "instance-profile":
		add(fault{
			rule: RuleInstanceProfile, message: ruleOf(RuleInstanceProfile).Title,
			write: "the ARN of the profile's role (aws iam get-instance-profile shows it; its name can differ)",
		})
		return faults
	case resource == "group" && rest != "":
		add(groupFault(origRest, nil))
		return faults
	case resource == "saml-provider", resource == "oidc-provider":
		add(fault{
			rule: RuleNoIdentity, message: fmt.Sprintf("the ARN is that of an identity provider, %q, by which people assume a role", origRest),
			write: "the ARN of the role that they assume",
		})
		return faults
	case f[3] != "" || f[2] != "iam" && f[2]+resource != "stsfederated-user":
		add(fault{rule: RuleNoIdentity, message: "the ARN is none of IAM", write: "the ARN of a role or user, as " + exampleARN(kind)})
		return faults
	case resource == "root" && rest == "":
		return faults
	case resource != "role" && resource != "user" && f[2] != "sts":
		add(fault{rule: RuleNoIdentity, message: "the ARN is none of a role or user", write: "the ARN of a role or user, as " + exampleARN(kind)})
		return faults
	}
	name := rest[strings.LastIndexByte(rest, '/')+1:]
	origName := origRest[strings.LastIndexByte(origRest, '/')+1:]
	named := true
	switch {
	case strings.ContainsAny(rest, "*?") && (resource != "user" || strings.ContainsAny(name, "*?")):
		named = false
		add(wildcard(origRest, origName, orig[4]))
	case rest == "" || name == "" || checkName(arn, name, 64) != nil || !printable(rest):
		named = false
		add(fault{
			rule: RuleNoIdentity, message: fmt.Sprintf("the ARN names %q, which no IAM name can be", origRest),
			write: "the name as IAM has it: at most 64 of letters, digits and _+=,.@-",
		})
	}
	if resource == "role" && rest != name && named {
		out := fault{rule: RuleRolePath, message: ruleOf(RuleRolePath).Title}
		if bare := arn[:strings.IndexByte(arn, '/')+1] + origName; whole {
			out.write, out.instead = bare, bare
		}
		add(out)
	}
	return faults
}

// withoutUserPath is the ARN of a user without its path, which may hold any visible
// ASCII character (https://docs.aws.amazon.com/IAM/latest/APIReference/API_User.html),
// and so what looks like a template or a pattern. Any other ARN is as it was.
func withoutUserPath(arn string) string {
	before, rest, ok := strings.Cut(arn, ":user/")
	if !ok || strings.Count(before, ":") != 4 {
		return arn
	}
	return before + ":user/" + rest[strings.LastIndexByte(rest, '/')+1:]
}

func exampleARN(kind Kind) string {
	if kind != User {
		kind = Role
	}
	return fmt.Sprintf("arn:aws:iam::111122223333:%s/NAME", kind)
}

// noARN is about a text that is none.
func noARN(kind Kind, text string) fault {
	out := fault{rule: RuleNoIdentity, message: fmt.Sprintf("%q is no ARN", text), write: "the ARN of a role or user, as " + exampleARN(kind)}
	if strings.ContainsAny(text, ":/ \t") {
		return out
	}
	_, err := splitARN(text, string(kind))
	if e, _ := err.(*ARNError); e != nil { //nolint:errorlint // it is never wrapped
		out.write = e.Write
	}
	if strings.ContainsAny(text, "*?") {
		out.write = "each ARN in full: the authenticator knows no patterns"
	}
	return out
}

// noAccount is about what stands where an ARN has the account.
func noAccount(text string) fault {
	out := fault{
		rule: RuleNoIdentity, message: fmt.Sprintf("the ARN names %q where the account's 12 digits belong", text),
		write: "the 12 digits",
	}
	switch digits := strings.NewReplacer("-", "", " ", "", "_", "").Replace(text); {
	case strings.ContainsAny(text, "*?"):
		out.write = "each ARN in full, with its account's 12 digits: the authenticator knows no patterns"
	case digits != text && CheckAccountID(digits) == nil:
		out.write = digits
	case strings.Trim(text, "0123456789") == "" && len(text) < 12 && len(text) > 5:
		out.write = fmt.Sprintf("its 12 digits: %s, if zeros were lost at its beginning", strings.Repeat("0", 12-len(text))+text)
	}
	return out
}

// groupFault is about an IAM group, which no caller is. The groups are those that an
// entry gives in Kubernetes.
func groupFault(path string, groups []string) fault {
	name := path[strings.LastIndexByte(path, '/')+1:]
	return fault{
		rule: RuleNoIdentity, message: fmt.Sprintf("aws-auth knows no IAM groups, and this names the group %q", name),
		consequence: "it matches nobody: no member of the group is let in by it", write: groupAdvice(name, groups),
	}
}

// groupAdvice is what lets an IAM group in.
func groupAdvice(name string, groups []string) string {
	if len(groups) == 0 {
		groups = []string{"viewers"}
	}
	quoted := make([]string, len(groups))
	for i, g := range groups {
		quoted[i] = flowScalar(g)
	}
	return fmt.Sprintf("an entry for each of its users; or in rolecall's config, which keeps them up to date, iamGroups: [{name: "+
		"%s, groups: [%s]}]; "+
		"or a role that its members assume: rolecall recipe group-role --iam-group %s --role ROLE --groups %s --cluster NAME",
		flowScalar(name), strings.Join(quoted, ", "), name, strings.Join(groups, ","))
}

var plainScalar = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_.@:/+=-]*[A-Za-z0-9]$`)

// flowScalar writes a text as YAML takes it within brackets.
func flowScalar(s string) string {
	switch strings.ToLower(s) {
	case "true", "false", "yes", "no", "on", "off", "null":
		return strconv.Quote(s)
	}
	if plainScalar.MatchString(s) && !strings.Contains(s, ": ") {
		return s
	}
	return strconv.Quote(s)
}

// ssoPattern is a pattern for the role of an IAM Identity Center permission set.
var ssoPattern = regexp.MustCompile(`^AWSReservedSSO_([0-9A-Za-z_+=,.@-]*?)_?[*?]+$`)

// wildcard is about a pattern where a name belongs. The rest is as it stands.
func wildcard(rest, name, account string) fault {
	out := fault{
		rule: RuleNoIdentity, message: fmt.Sprintf("the ARN names %q, and the authenticator knows no patterns", rest),
		write: "each ARN in full",
	}
	if m := ssoPattern.FindStringSubmatch(name); m != nil && m[1] != "" {
		out.write = fmt.Sprintf("in rolecall's config, which finds the role of the permission set whatever its suffix, roles: "+
			"[{permissionSet: %s}] with this entry's groups; or the role's whole ARN, without its path", flowScalar(m[1]))
		return out
	}
	if CheckAccountID(account) == nil {
		out.write += fmt.Sprintf("; or the account in mapAccounts, %q, which lets in everybody of it and gives no groups", account)
	}
	return out
}

// capitals is a word, or digits made unreadable, where an account's digits belong.
var capitals = regexp.MustCompile(`^[_@A-Za-z][_@A-Za-z-]*$|^[Xx#?]+$|^[0-9]*[xX#?]{3,}[0-9]*$`)

// templateInARN is the first part of an ARN that was to be filled in.
func templateInARN(arn string) string {
	if token := templates.FindString(arn); token != "" {
		return token
	}
	if f := strings.SplitN(arn, ":", 6); len(f) == 6 && capitals.MatchString(f[4]) {
		return f[4]
	}
	return ""
}

// unfilled is about an ARN of which a part was to be filled in, and what else is
// wrong with it.
func unfilled(kind Kind, arn, token string) []fault {
	out := fault{
		rule: RuleTemplate, message: fmt.Sprintf("a template was not filled in: %q stands in the ARN", token),
		write: "what " + strconv.Quote(token) + " stands for: the whole is an ARN as " + exampleARN(kind),
	}
	if token == arn {
		out.message = fmt.Sprintf("a template was not filled in: %q stands where the ARN belongs", token)
		out.write = "the ARN that it stands for, as " + exampleARN(kind)
	}
	if inside, ok := inAngles(arn); ok && strings.HasPrefix(inside, "arn:") {
		out.write = inside + ", without the angle brackets"
	}
	// The account's place takes any digits, every other one any letter.
	sample := arn
	if f := strings.SplitN(arn, ":", 6); len(f) == 6 && capitals.MatchString(f[4]) {
		f[4] = "111122223333"
		sample = strings.Join(f, ":")
	}
	sample = strings.ReplaceAll(sample, "::"+token+":", "::111122223333:")
	sample = templates.ReplaceAllStringFunc(sample, func(t string) string {
		if strings.Contains(sample, "::"+t+":") {
			return "111122223333"
		}
		return "x"
	})
	faults := []fault{out}
	if templateInARN(sample) != "" || !strings.HasPrefix(sample, "arn:") {
		return faults
	}
	for _, f := range identityFaults(kind, sample) {
		switch f.rule {
		case RuleRolePath:
			faults = append(faults, fault{rule: f.rule, message: f.message})
		case RuleInstanceProfile, RuleSessionARN:
			faults = append(faults, fault{rule: f.rule, message: f.message, write: f.write})
		}
	}
	return faults
}
