package config

import (
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/rolecall/rolecall/awsauth"
)

const (
	exampleRole = "arn:aws:iam::111122223333:role/NAME"
	exampleUser = "arn:aws:iam::111122223333:user/NAME"
)

var (
	// The names of permission sets
	// (https://docs.aws.amazon.com/singlesignon/latest/APIReference/API_PermissionSet.html),
	// and of IAM roles and groups
	// (https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html).
	permissionSetName = regexp.MustCompile(`^[0-9A-Za-z_+=,.@-]{1,32}$`)
	roleName          = regexp.MustCompile(`^[0-9A-Za-z_+=,.@-]{1,64}$`)
	groupName         = regexp.MustCompile(`^[0-9A-Za-z_+=,.@-]{1,128}$`)

	// reservedRole is the name that Identity Center gives a permission set's role.
	// The suffix changes when the set is assigned anew.
	reservedRole = regexp.MustCompile(`^AWSReservedSSO_([0-9A-Za-z_+=,.@-]{1,32})_[0-9a-f]{16}$`)

	placeholder = regexp.MustCompile(`\{\{[^{}]*\}\}`)
)

// roleKeys are the words of one file format for the two ways to name a role.
type roleKeys struct{ permissionSet, arn string }

// roleEntry reads an item of roles or mapRoles.
func (d *decoder) roleEntry(v value, word roleKeys) Role {
	var r Role
	arnOK, setOK := false, false
	var username, groups value
	seen := d.mapping(v, keys{
		word.permissionSet: func(v value) {
			if r.PermissionSet, setOK = d.text(v, "AdministratorAccess"); setOK {
				setOK = d.permissionSet(v, r.PermissionSet)
			}
		},
		word.arn: func(v value) {
			if r.ARN, arnOK = d.text(v, exampleRole); arnOK {
				r.ARN, arnOK = d.roleARN(v, r.ARN)
			}
		},
		"username": func(v value) {
			if !empty(v) {
				username, r.Username = v, d.username(v, nil)
			}
		},
		"groups": func(v value) { groups, r.Groups = v, d.groups(v, nil) },
	})
	if v.node.Kind != yaml.MappingNode {
		return r
	}
	_, hasSet := seen[word.permissionSet]
	arn, hasARN := seen[word.arn]
	switch {
	case hasSet && hasARN:
		d.problem(arn, "a role is named either by %s or by %s: remove one of them", word.permissionSet, word.arn)
		return r
	case !hasSet && !hasARN:
		d.problem(v, "the entry names no role: write %s: NAME or %s: %s", word.permissionSet, word.arn, exampleRole)
		return r
	}
	e := awsauth.Entry{Kind: awsauth.Role, ARN: r.ARN, Groups: r.Groups}
	if setOK {
		e.ARN = sampleSet(r.PermissionSet)
	}
	if username.node == nil {
		username = v
		if setOK { // it is of people, whatever its groups
			e.Groups = nil
		}
		if setOK || arnOK {
			r.Username = d.defaultUsername(v, e)
		}
		e.Groups = r.Groups
	}
	d.noGroups(v, r.Groups)
	if e.Username = r.Username; setOK || arnOK {
		d.lint(e, v, username, groups)
	}
	switch {
	case setOK:
		d.claim(username, "permission set "+r.PermissionSet, r.PermissionSet, r.Username)
	case arnOK:
		d.claim(username, "role "+strings.ToLower(r.ARN), r.ARN, r.Username)
	}
	return r
}

// userEntry reads an item of users or mapUsers; word is its key for the ARN.
func (d *decoder) userEntry(v value, word string) User {
	var u User
	arnOK := false
	var username, groups value
	seen := d.mapping(v, keys{
		word: func(v value) {
			if u.ARN, arnOK = d.text(v, exampleUser); !arnOK {
				return
			}
			var err error
			if u.ARN, err = canonicalUser(u.ARN); err != nil {
				arnOK = false
				d.problem(v, "%v", err)
			}
		},
		"username": func(v value) {
			if !empty(v) {
				username, u.Username = v, d.username(v, sessionPlaceholders)
			}
		},
		"groups": func(v value) { groups, u.Groups = v, d.groups(v, sessionPlaceholders) },
	})
	if v.node.Kind != yaml.MappingNode {
		return u
	}
	if _, ok := seen[word]; !ok {
		d.problem(v, "the entry names no user: write %s: %s", word, exampleUser)
	}
	e := awsauth.Entry{Kind: awsauth.User, ARN: u.ARN, Groups: u.Groups}
	if username.node == nil {
		username = v
		if arnOK {
			u.Username = d.defaultUsername(v, e)
		}
	}
	d.noGroups(v, u.Groups)
	if e.Username = u.Username; arnOK {
		d.lint(e, v, username, groups)
	}
	if arnOK {
		d.claim(username, "user "+strings.ToLower(u.ARN), u.ARN, u.Username)
	}
	return u
}

// iamGroup reads an item of iamGroups.
func (d *decoder) iamGroup(v value) IAMGroup {
	g := IAMGroup{Username: "{{UserName}}"}
	username, groups := v, value{}
	nameOK := false
	seen := d.mapping(v, keys{
		"name": func(v value) {
			if g.Name, nameOK = d.text(v, "Admins"); nameOK && !groupName.MatchString(g.Name) {
				nameOK = false
				d.problem(v, "%s is no name of an IAM group: write the name alone, without path or ARN, at most 128 of letters, digits and _+=,.@-", quote(g.Name))
			}
		},
		"username": func(v value) {
			if !empty(v) {
				username, g.Username = v, d.usernameTemplate(v)
			}
		},
		"groups": func(v value) {
			groups = v
			before := len(d.problems)
			if g.Groups = d.groups(v, sessionPlaceholders); len(g.Groups) == 0 && len(d.problems) == before {
				d.problem(v, "the list is empty: write the groups that the users get in Kubernetes, for example [viewers]")
			}
		},
	})
	if v.node.Kind != yaml.MappingNode {
		return g
	}
	if _, ok := seen["name"]; !ok {
		d.problem(v, "the entry names no IAM group: write name: GROUP")
	}
	if _, ok := seen["groups"]; !ok {
		d.problem(v, "the entry has no groups: write those that the users get in Kubernetes, for example groups: [viewers]")
	}
	d.lint(awsauth.Entry{
		Kind: awsauth.User, ARN: exampleUser, Username: strings.ReplaceAll(g.Username, "{{UserName}}", "NAME"),
		Groups: g.Groups,
	}, v, username, groups)
	if nameOK {
		d.claim(username, "group "+g.Name, g.Name, g.Username)
	}
	return g
}

// A claim is where an identity was given its username.
type claim struct {
	username string
	file     string
	line     int
}

// claim refuses a second username for one identity. Several entries of one
// identity are one mapping with the union of their groups, and that has one
// username: which of two were meant, nobody can tell.
func (d *decoder) claim(v value, identity, name, username string) {
	if username == "" {
		return // a problem already
	}
	first, ok := d.claims[identity]
	if !ok {
		d.claims[identity] = claim{username, d.file, v.node.Line}
		return
	}
	if first.username != username {
		d.problem(v, "%s has the username %s here and %s at %s:%d: write the same one in both places",
			quote(name), quote(username), quote(first.username), first.file, first.line)
	}
}

// permissionSet checks the name of a permission set.
func (d *decoder) permissionSet(v value, name string) bool {
	if m := reservedRole.FindStringSubmatch(name); m != nil {
		d.problem(v, "%s is the name of a permission set's role, which changes: write the permission set, %s", quote(name), m[1])
		return false
	}
	if !permissionSetName.MatchString(name) {
		d.problem(v, "%s is no name of a permission set: write 1 to 32 of letters, digits and _+=,.@-", quote(name))
		return false
	}
	return true
}

// roleARN checks the ARN of a role and returns it without its path.
func (d *decoder) roleARN(v value, text string) (string, bool) {
	arn, path, err := canonicalRole(text)
	if err != nil {
		d.problem(v, "%v", err)
		return text, false
	}
	if m := reservedRole.FindStringSubmatch(arn[strings.LastIndexByte(arn, '/')+1:]); m != nil {
		d.warn(v, "the suffix of a permission set's role changes when the set is assigned anew: write permissionSet: %s in roles", m[1])
	} else if path != "" {
		d.warn(v, "the path %s is left out, since the authenticator never sees a role's path: write %s", quote(path), arn)
	}
	return arn, true
}

func (d *decoder) role(v value, text string) string {
	arn, _ := d.roleARN(v, text)
	return arn
}

// roleOrName checks a role that may also be given by its bare name.
func (d *decoder) roleOrName(v value, text string) string {
	if roleName.MatchString(text) {
		return text
	}
	if !strings.ContainsAny(text, ":/") {
		d.problem(v, "%s is no name of a role: write at most 64 of letters, digits and _+=,.@-, or the role's ARN", quote(text))
		return text
	}
	return d.role(v, text)
}

// accounts reads a list of account ids. In aws-auth's own format they may stand
// without quotes: the authenticator takes the digits as written, and so do we.
func (d *decoder) accounts(v value) []string {
	var all []string
	d.list(v, `["111122223333"]`, func(v value) {
		text := v.node.Value // the digits as they stand, whatever number YAML makes of them
		switch {
		case v.number() && d.awsAuth:
			d.warn(v, "other tools read a bare account id as a number, octal if it begins with 0: put it in quotes, %s", quote(text))
		case v.number():
			d.problem(v, "YAML reads a bare account id as a number, octal if it begins with 0: put it in quotes, %s", quote(text))
			return
		default:
			var ok bool
			if text, ok = d.text(v, `"111122223333"`); !ok {
				return
			}
		}
		if err := checkExpanded(text, awsauth.CheckAccountID); err != nil {
			d.problem(v, "%v", err)
			return
		}
		all = append(all, text)
	})
	return all
}

// mark checks a syncedBy mark of another tool.
func (d *decoder) mark(v value, text string) string {
	switch {
	case text == "" || strings.TrimSpace(text) != text || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' }):
		d.problem(v, "%s is no syncedBy mark: write it as it stands in aws-auth, for example iam-eks-user-mapper", quote(text))
	case text == "rolecall":
		d.warn(v, "this is our own mark, whose entries are ours anyway: remove it")
	}
	return text
}

// Placeholders that the authenticator fills in
// (https://github.com/kubernetes-sigs/aws-iam-authenticator, pkg/server/server.go renderTemplate).
// Those of sessionPlaceholders need a role's session.
var (
	sessionPlaceholders = []string{"{{EC2PrivateDNSName}}", "{{SessionName}}", "{{SessionNameRaw}}"}
	knownPlaceholders   = append([]string{"{{AccountID}}"}, sessionPlaceholders...)
)

// username reads the Kubernetes username of a role or user; useless are the
// placeholders that have no value for it.
func (d *decoder) username(v value, useless []string) string {
	text, ok := d.text(v, "ops")
	if !ok {
		return ""
	}
	if err := awsauth.CheckUsername(text); err != nil {
		d.problem(v, "%v", err)
		return ""
	}
	d.placeholders(v, text, useless)
	return text
}

// usernameTemplate reads the username of an IAM group's users.
func (d *decoder) usernameTemplate(v value) string {
	text, ok := d.text(v, `"{{UserName}}"`)
	if !ok {
		return ""
	}
	for _, p := range placeholder.FindAllString(text, -1) {
		if p != "{{UserName}}" && p != "{{AccountID}}" {
			d.problem(v, "%s is no placeholder of an IAM group's usernames: write {{UserName}} or {{AccountID}}", quote(p))
			return ""
		}
	}
	if err := awsauth.CheckUsername(text); err != nil {
		d.problem(v, "%v", err)
		return ""
	}
	if !strings.Contains(text, "{{UserName}}") {
		d.warn(v, "every user of the group gets the same username, so the audit log cannot tell them apart: put {{UserName}} into it")
	}
	return text
}

// groups reads the Kubernetes groups of an entry.
func (d *decoder) groups(v value, useless []string) []string {
	return d.texts(v, "viewers", func(v value, text string) string {
		if err := awsauth.CheckGroup(text); err != nil {
			d.problem(v, "%v", err)
			return text
		}
		d.placeholders(v, text, useless)
		if strings.HasPrefix(text, "system:") && !knownSystemGroup(text) {
			hint := "check the spelling"
			if near := nearest(text, systemGroups); near != "" {
				hint = "did you mean " + near + "?"
			}
			d.warn(v, "Kubernetes keeps names with system: for itself and has no group %s: %s", quote(text), hint)
		}
		return text
	})
}

// placeholders warns of what the authenticator leaves as it stands or empty.
func (d *decoder) placeholders(v value, text string, useless []string) {
	if strings.Contains(text, accountPlaceholder) || strings.Contains(text, partitionPlaceholder) {
		d.warn(v, "$ACCOUNTID and $PARTITION are filled in in ARNs and account ids alone: write {{AccountID}}, which the authenticator fills in")
	}
	for _, p := range placeholder.FindAllString(text, -1) {
		switch {
		case !slices.Contains(knownPlaceholders, p):
			d.warn(v, "the authenticator does not know %s and leaves it as it stands: write %s", quote(p), strings.Join(knownPlaceholders, ", "))
		case slices.Contains(useless, p):
			d.warn(v, "%s has no value for an IAM user, who has no session: write the text itself", p)
		}
	}
}

// noGroups warns of an entry that lets somebody in without any rights.
func (d *decoder) noGroups(v value, groups []string) {
	if len(groups) == 0 {
		d.warn(v, "the entry has no groups, so it gives no rights but those of system:authenticated: write groups, unless a binding names the user")
	}
}

// systemGroups are the groups with Kubernetes' reserved prefix to which
// Kubernetes or EKS gives a meaning
// (https://kubernetes.io/docs/reference/access-authn-authz/rbac/#default-roles-and-role-bindings).
var systemGroups = []string{
	"system:authenticated", "system:bootstrappers", "system:masters", "system:monitoring", "system:node-proxier",
	"system:nodes", "system:serviceaccounts", "system:unauthenticated",
}

func knownSystemGroup(s string) bool {
	return slices.Contains(systemGroups, s) ||
		strings.HasPrefix(s, "system:serviceaccounts:") || strings.HasPrefix(s, "system:bootstrappers:")
}

// mapKey reads the root of mapRoles, mapUsers or mapAccounts.
func (d *decoder) mapKey(c *Config, name string, root value) {
	root.key = name
	switch name {
	case mapRoles:
		d.list(root, "- rolearn: "+exampleRole, func(v value) {
			c.Roles = append(c.Roles, d.roleEntry(v, roleKeys{"permissionset", "rolearn"}))
		})
	case mapUsers:
		d.list(root, "- userarn: "+exampleUser, func(v value) {
			c.Users = append(c.Users, d.userEntry(v, "userarn"))
		})
	case mapAccounts:
		c.Accounts = append(c.Accounts, d.accounts(root)...)
	}
}
