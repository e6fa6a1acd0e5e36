package awsauth

import (
	"cmp"
	"fmt"
	"slices"
)

// Severity is how bad a [Finding] is.
type Severity string

// The severities. Fatal: the authenticator drops a key or an entry, or nobody
// can ever match it, so that who stands in it is locked out. Error: it says
// something else than what was surely meant. Warning: it works and is fragile
// or dangerous. Note: it works.
const (
	Fatal   Severity = "fatal"
	Error   Severity = "error"
	Warning Severity = "warning"
	Note    Severity = "note"
)

// rank sorts severities, the worst first.
func (s Severity) rank() int {
	return slices.Index([]Severity{Fatal, Error, Warning, Note}, s)
}

// A Finding is something in the document that the authenticator does not take
// as its author meant it, or that is dangerous.
type Finding struct {
	Rule     RuleID   `json:"rule"`
	Severity Severity `json:"severity"`
	Key      string   `json:"key,omitempty"`    // of the ConfigMap's data; empty where all of it is meant
	Line     int      `json:"line,omitempty"`   // of the key's text, from 1; 0 where it cannot be told
	Column   int      `json:"column,omitempty"` // in characters, from 1; 0 where it cannot be told
	ARN      string   `json:"arn,omitempty"`    // of the entry, as it stands; of an account its id
	// OtherKey and OtherLine are the place of another entry that has to do with
	// it: the one that answers in its stead.
	OtherKey  string `json:"otherKey,omitempty"`
	OtherLine int    `json:"otherLine,omitempty"`
	// Message says what is wrong, Consequence what comes of it, Write what to
	// write instead: each without a full stop at its end.
	Message     string `json:"message"`
	Consequence string `json:"consequence"`
	Write       string `json:"write,omitempty"`
	// Advice is Write as a value, where following it takes access from nobody and
	// makes nobody an administrator; see [Follow].
	Advice []Advised `json:"advice,omitempty"`
	// Mendable says that [Mend] mends it, and Mended are the lines that it would
	// write in place of those from Line on; empty where they only go. Of a long line
	// with several entries it is the entry alone.
	Mendable bool   `json:"mendable,omitempty"`
	Mended   string `json:"mended,omitempty"`

	fix   *fix
	index int // of the entry in its list, or -1
}

func (f *Finding) String() string {
	place := f.Key
	if f.Line > 0 {
		place += fmt.Sprintf(" line %d", f.Line)
	}
	if place != "" {
		place += ": "
	}
	return fmt.Sprintf("%s%s: %s: %s", place, f.Severity, f.Message, f.Consequence)
}

// sortFindings puts findings in the order of the document.
func sortFindings(list []Finding) {
	slices.SortStableFunc(list, func(a, b Finding) int {
		return cmp.Or(keyOrder(a.Key)-keyOrder(b.Key), cmp.Compare(a.Key, b.Key), cmp.Compare(a.Line, b.Line),
			a.Severity.rank()-b.Severity.rank(), cmp.Compare(a.Column, b.Column), cmp.Compare(a.Rule, b.Rule))
	})
}

func keyOrder(k string) int {
	if k == "" {
		return len(Keys) + 1
	}
	if i := slices.Index(Keys[:], k); i >= 0 {
		return i
	}
	return len(Keys)
}

// A RuleID names a [Rule].
type RuleID string

// A Rule is a kind of [Finding]. Its ID never changes its meaning; new ones may
// come.
type Rule struct {
	ID          RuleID   `json:"id"`
	Severity    Severity `json:"severity"` // the usual one; a finding's may be lower
	Title       string   `json:"title"`    // what is wrong
	Consequence string   `json:"consequence"`
	Write       string   `json:"write"`    // what to write instead
	Mendable    bool     `json:"mendable"` // whether [Mend] can mend it, at least at times
}

// The IDs of the rules.
const (
	RuleUnreadableKey    RuleID = "unreadable-key"
	RuleUnquotedBraces   RuleID = "unquoted-braces"
	RuleTab              RuleID = "tab"
	RuleMisread          RuleID = "misread"
	RuleMisspeltKey      RuleID = "misspelt-key"
	RuleUnknownKey       RuleID = "unknown-key"
	RuleUnreadList       RuleID = "unread-list"
	RuleUnreadDocument   RuleID = "unread-document"
	RuleDroppedEntry     RuleID = "dropped-entry"
	RuleSSOEntry         RuleID = "sso-entry"
	RuleNoIdentity       RuleID = "no-identity"
	RuleTemplate         RuleID = "unfilled-template"
	RuleRolePath         RuleID = "role-path"
	RuleSessionARN       RuleID = "session-arn"
	RuleInstanceProfile  RuleID = "instance-profile"
	RuleWrongList        RuleID = "wrong-list"
	RuleRootARN          RuleID = "root-arn"
	RuleAccountID        RuleID = "account-id"
	RuleUnquotedAccount  RuleID = "unquoted-account"
	RuleShadowed         RuleID = "shadowed"
	RuleCaseVariants     RuleID = "case-variants"
	RuleEmptyUsername    RuleID = "empty-username"
	RuleGroupsNoList     RuleID = "groups-no-list"
	RuleGroupNoText      RuleID = "group-no-text"
	RuleRepeatedField    RuleID = "repeated-field"
	RuleFieldCase        RuleID = "field-case"
	RuleUnknownField     RuleID = "unknown-field"
	RuleOddText          RuleID = "odd-text"
	RuleAccessKey        RuleID = "access-key"
	RuleSessionName      RuleID = "session-name"
	RulePlaceholder      RuleID = "placeholder"
	RuleInstanceOnly     RuleID = "instance-only"
	RuleReservedUsername RuleID = "reserved-username"
	RuleSystemGroup      RuleID = "system-group"
	RuleNodeGroups       RuleID = "node-groups"
	RuleNodeUsername     RuleID = "node-username"
	RuleNodeMasters      RuleID = "node-masters"
	RuleNoMasters        RuleID = "no-masters"
	RuleSize             RuleID = "size"
	RuleGone             RuleID = "gone"
	RuleDoubledKey       RuleID = "doubled-key"
	RuleMisplacedKey     RuleID = "misplaced-key"
	RuleWrongObject      RuleID = "wrong-object"
	RuleBinaryData       RuleID = "binary-data"
	RuleImmutable        RuleID = "immutable"
	RuleManagedBy        RuleID = "managed-by"
)

// Rules lists the rules.
func Rules() []Rule { return slices.Clone(rules) }

var rules = []Rule{
	{RuleUnreadableKey, Fatal, "a key is no YAML, or no list", "the authenticator takes the whole key for empty: whoever stands in it is locked out", "a YAML list of entries", true},
	{RuleUnquotedBraces, Fatal, "a value with {{…}} is not quoted where YAML takes the braces for a map", "the whole key cannot be read, or the field is empty", "the value in double quotes", true},
	{RuleTab, Fatal, "a tab indents a line", "the whole key cannot be read", "blanks", true},
	{RuleMisread, Error, "a dash, a blank or an indentation is missing, and the text says something else than was typed", "the entry or its groups are not what they seem to be", "the line as it was meant", true},
	{RuleMisspeltKey, Fatal, "a key of the ConfigMap is almost mapRoles, mapUsers or mapAccounts", "the authenticator never reads it: whoever stands in it is locked out", "the key as the authenticator spells it", true},
	{RuleUnreadList, Fatal, "a list of entries, or a whole manifest, stands under another key", "the authenticator never reads it: whoever stands in it is locked out", "each list under mapRoles, mapUsers or mapAccounts", true},
	{RuleUnreadDocument, Fatal, "there is more text behind the line that ends the first YAML document", "the authenticator reads the first YAML document and no other: whoever stands behind is locked out", "one list without such lines", false},
	{RuleDroppedEntry, Fatal, "an entry is null or a text, or has no ARN", "the authenticator drops it", "an entry with rolearn or userarn, or none", true},
	{RuleSSOEntry, Fatal, "an entry names a permission set under sso", "EKS has not switched that on: the entry maps nobody", "the ARN of the permission set's role, or a permissionSet in rolecall's config", false},
	{RuleNoIdentity, Fatal, "what stands where an ARN belongs is none of an IAM identity", "it matches nobody, so nobody is let in by the entry", "the ARN of an IAM role or user", false},
	{RuleTemplate, Fatal, "a template was not filled in", "what stands there is taken as it stands: as an ARN it matches nobody", "the value that is meant", false},
	{RuleRolePath, Fatal, "the ARN of a role has the role's path", "the ARN of a session has no path, so it matches nobody", "the ARN without the path", true},
	{RuleSessionARN, Fatal, "an ARN is that of a role's session", "the authenticator looks for the role's, so it matches nobody", "the ARN of the role", false},
	{RuleInstanceProfile, Fatal, "an ARN is that of an instance profile", "no caller has it, so it matches nobody", "the ARN of the profile's role", false},
	{RuleAccountID, Fatal, "an account id is none of 12 digits", "it matches nobody", "the 12 digits, in quotes", false},
	{RuleInstanceOnly, Fatal, "{{EC2PrivateDNSName}} stands in an entry of an IAM user", "it is for EC2 instances alone: the authenticator turns the user away", "a username without it", false},
	{RuleShadowed, Error, "another entry of the same ARN comes later", "the last one wins: the groups of this one are granted to nobody", "one entry with all groups", true},
	{RuleCaseVariants, Error, "the ARN of another entry differs in the case of letters alone", "which of the two answers is chance, and may change at any time", "one entry", true},
	{RuleEmptyUsername, Error, "an entry has no username, or one that is no text", "whoever it lets in has the empty username: no binding and no audit log tells who it was", "a username, in quotes where it is a number", true},
	{RuleGroupsNoList, Error, "groups is no list", "the entry has no groups: whoever it lets in may do nothing", "a list", true},
	{RuleGroupNoText, Error, "a group is no text", "it is the empty group, which no binding names", "the group in quotes", true},
	{RuleRepeatedField, Error, "a field stands twice in an entry", "one of the two is ignored", "it once", true},
	{RuleAccessKey, Error, "a username or group takes {{AccessKeyID}}", "who has several access keys has several names, and older authenticators let callers forge it (CVE-2022-2385)", "{{SessionName}} behind a prefix", false},
	{RulePlaceholder, Error, "what looks like a placeholder is none that the authenticator knows", "it stays in the name as it stands", "{{SessionName}}, {{SessionNameRaw}}, {{AccountID}} or {{EC2PrivateDNSName}}, without blanks", false},
	{RuleNodeGroups, Error, "the entry of nodes lacks system:nodes or system:bootstrappers", "without system:nodes its nodes cannot join; EKS gives them both", "both groups", false},
	{RuleNodeUsername, Error, "a username is meant for nodes, and no node can have it", "the API server lets a node in under its own name alone: these cannot join", "system:node:{{EC2PrivateDNSName}}, or system:node:{{SessionName}} for Fargate, hybrid nodes, and nodes named by instance ID", false},
	{RuleNodeMasters, Error, "the entry of nodes has system:masters", "whatever runs on a node can be administrator of the cluster", "system:bootstrappers and system:nodes", false},
	{RuleSessionName, Warning, "a username or group is what the session's name says", "whoever may assume the role chooses the name, and with it whose rights to use", "a prefix that no other username has, such as ops:{{SessionName}}", false},
	{RuleReservedUsername, Warning, "a username begins with system:", "such names are Kubernetes' own, and have rights that nobody bound", "another username", false},
	{RuleSystemGroup, Warning, "a group begins with system: and neither Kubernetes nor EKS knows it", "it grants nothing unless somebody bound it", "the group that was meant", false},
	{RuleWrongList, Warning, "the ARN of a user stands in mapRoles, or that of a role in mapUsers", "the authenticator maps it all the same, but tries mapRoles first; other tools do not", "the entry in the other list", false},
	{RuleRootARN, Warning, "an ARN is that of an account's root", "it maps the root user alone, not the account", "the account in mapAccounts, or the ARNs that are meant", false},
	{RuleUnquotedAccount, Warning, "an account id is not quoted", "the authenticator reads it as it stands; tools that read a number write back another one where it begins with 0", "it in quotes", true},
	{RuleUnknownField, Warning, "a field is almost one that the authenticator knows", "the authenticator ignores it", "the field as the authenticator spells it", false},
	{RuleOddText, Warning, "a username or group holds blanks at its ends, or a control character", "no binding names it, and logs show it as another one", "it without", false},
	{RuleUnknownKey, Note, "the ConfigMap has a key that the authenticator does not know", "the authenticator ignores it", "it elsewhere", false},
	{RuleFieldCase, Note, "a field is spelt with other capitals than rolearn, userarn, username and groups", "the authenticator reads it all the same; other tools lose it", "the field in lower case", true},
	{RuleNoMasters, Note, "no entry has system:masters", "nobody is administrator by aws-auth; whoever made the cluster or has an access entry may be", "an entry for those who operate the cluster", false},
	{RuleSize, Warning, "aws-auth is almost as large as the API server takes", "over 1 MiB nothing more can be written, not even the role of a new node", "fewer entries: roles for groups of people, or access entries", false},
	{RuleGone, Warning, "IAM has no such role or user", "the entry maps nobody, until somebody makes a role or user of that name, who then is let in", "no such entry", false},
	{RuleDoubledKey, Fatal, "a key stands twice in the manifest", "kubectl takes the last one without a word: whoever stands in the first is locked out", "the key once, with the entries of both", false},
	{RuleMisplacedKey, Fatal, "mapRoles, mapUsers or mapAccounts stands elsewhere than below data", "the API server refuses or drops it: whoever stands in it is locked out", "it below data, beside the other keys", false},
	{RuleWrongObject, Fatal, "the manifest is none of the ConfigMap aws-auth in kube-system", "the authenticator reads kube-system/aws-auth alone: whoever stands in it is locked out", "namespace: kube-system, name: aws-auth", false},
	{RuleBinaryData, Fatal, "a key stands in binaryData", "the authenticator reads data alone: whoever stands in it is locked out", "the text in UTF-8 below data", true},
	{RuleImmutable, Error, "the ConfigMap is immutable", "the API server refuses every change of it, and with it the role of a new node", "the manifest without immutable; somebody whom an access entry lets in deletes aws-auth and creates it again, since nobody is let in by it in between", false},
	{RuleManagedBy, Note, "another tool manages aws-auth from a source of its own", "what is edited beside that source is undone", "every edit in that source, or the tool without aws-auth", false},
}

// ruleOf returns the rule of an ID.
func ruleOf(id RuleID) Rule {
	i := slices.IndexFunc(rules, func(r Rule) bool { return r.ID == id })
	return rules[i]
}
