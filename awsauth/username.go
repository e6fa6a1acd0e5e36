package awsauth

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// The names that nodes have in Kubernetes.
const (
	nodeUsername       = "system:node:"
	nodesGroup         = NodesGroup
	bootstrappersGroup = BootstrappersGroup
	fargateGroup       = "system:node-proxier"    // of Fargate nodes alone
	windowsGroup       = "eks:kube-proxy-windows" // of Windows nodes
	instanceName       = "{{EC2PrivateDNSName}}"
	sessionName        = "{{SessionName}}"
	sessionNameRaw     = "{{SessionNameRaw}}"
)

// nodeUsernames are the usernames that all nodes of a role can have, with the types
// of node. The API server lets a node join only under its own name, and the kubelet
// takes it from its instance or from the session that it calls with:
//   - the private DNS name: Linux and Windows nodes of EC2
//     (https://docs.aws.amazon.com/eks/latest/userguide/auth-configmap.html);
//   - the session's name: of Fargate the pod's node, of hybrid nodes the machine
//     (https://docs.aws.amazon.com/eks/latest/userguide/hybrid-nodes-cluster-prep.html),
//     and of EC2 the instance ID, where nodes are named by it: nodes of Auto Mode, and
//     others where nodeadm or Bottlerocket is set to do so.
//
// In a session's name @ becomes - but in the raw one; no name of a node has an @.
var nodeUsernames = []string{nodeUsername + instanceName, nodeUsername + sessionName, nodeUsername + sessionNameRaw}

// IsNodeUsername reports whether every node of a role can have a username as it
// stands in aws-auth: system:node: and the placeholder of the node's name, with
// nothing before, between or behind them.
func IsNodeUsername(username string) bool { return slices.Contains(nodeUsernames, username) }

// ServesNodes reports whether nodes join the cluster by an entry: its ARN is a role's
// that a node can have, it has the group system:nodes, and [IsNodeUsername] says yes.
// Which of these usernames is right depends on how the nodes are named, which an
// entry does not tell.
func (e *Entry) ServesNodes() bool {
	return isRole(e) && IsNodeUsername(e.Username) && slices.Contains(e.Groups, nodesGroup) && e.Unmatched() == ""
}

// DefaultUsername is the username that an entry gets where none is given, for all
// who make entries: upsert, config, import and lint's advice. A user's is the user's
// name. A role's is its name and the session's, ROLE:{{SessionName}}; of the role of
// an IAM Identity Center permission set SET:{{SessionName}}; of a role in
// system:nodes that of its nodes. It is empty for an account, for what is no ARN, and
// where the name would make it one of Kubernetes' own, as with a role named system.
func DefaultUsername(e Entry) string {
	if e.Kind == Account {
		return ""
	}
	f := strings.SplitN(e.ARN, ":", 6)
	if len(f) != 6 {
		return ""
	}
	name := f[5][strings.LastIndexByte(f[5], '/')+1:]
	switch {
	case name == "":
		return ""
	case !isRole(&e):
	case slices.Contains(e.Groups, nodesGroup) && slices.Contains(e.Groups, fargateGroup):
		return nodeUsername + sessionName
	case slices.Contains(e.Groups, nodesGroup):
		return nodeUsername + instanceName
	default:
		if m := reservedRole.FindStringSubmatch(name); m != nil {
			name = m[1]
		}
		name = DefaultSessionUsername(name)
	}
	if CheckUsername(name) != nil {
		return ""
	}
	return name
}

// DefaultSessionUsername is the username that the sessions of a role or permission
// set of that name get where none is given. It is not checked: one named system has
// none that it can have, as [CheckUsername] says.
func DefaultSessionUsername(name string) string { return name + ":" + sessionName }

// reservedRole is the name that Identity Center gives a permission set's role.
var reservedRole = regexp.MustCompile(`^AWSReservedSSO_([0-9A-Za-z_+=,.@-]{1,32})_[0-9a-f]{16}$`)

// ownPrefixes are those of usernames that EKS access entries refuse
// (https://docs.aws.amazon.com/eks/latest/userguide/creating-access-entries.html).
var ownPrefixes = []string{"eks:", "aws:", "amazon:", "iam:"}

// fillsSystem reports whether a username would be one of Kubernetes' own of which a
// part is filled in at login, but for those of nodes.
func fillsSystem(username string) bool {
	if !strings.HasPrefix(username, "system:") || strings.HasPrefix(username, nodeUsername) {
		return false
	}
	return slices.ContainsFunc(filledIn, func(p string) bool { return strings.Contains(username, p) })
}

// filledIn are the placeholders of the authenticator, and that of rolecall's
// iamGroups, which stands for the name of a user.
var filledIn = append(slices.Clone(placeholders), "{{UserName}}")

// placeholder tokens as people write them: with other brackets, too few or too many,
// with blanks, a dot or a dollar sign.
var (
	bracketed = regexp.MustCompile(`[$#%@]?(?:\{+|\[\[|\(\()[\s.]*([A-Za-z0-9_-]{3,32})\s*(?:\}+|\]\]|\)\))?|[$#%@]?([A-Za-z0-9_-]{3,32})\s*(?:\}+|\]\]|\)\))`)
	bareWord  = regexp.MustCompile(`[$#%]?[A-Za-z0-9]+`)
)

// meantPlaceholder are words that people write for what a placeholder fills in, in
// lower case.
var meantPlaceholder = map[string]string{
	"username": sessionName, "user": sessionName, "session": sessionName, "rolesessionname": sessionName, "sessionid": sessionName,
	"instanceid": sessionName, "ec2instanceid": sessionName, "privatednsname": instanceName, "ec2privatedns": instanceName,
	"nodename": instanceName, "hostname": instanceName, "account": "{{AccountID}}", "sessionraw": sessionNameRaw,
}

// placeholderOf is the placeholder that a word means, or "".
func placeholderOf(word string, exactly bool) string {
	for _, p := range placeholders {
		name := strings.Trim(p, "{}")
		if strings.EqualFold(word, name) || !exactly && almost(word, name) {
			return p
		}
	}
	if exactly {
		return ""
	}
	return meantPlaceholder[punctuation.Replace(strings.ToLower(strings.ReplaceAll(word, "_", "")))]
}

// withoutPlaceholders is a name with a NUL for each placeholder that the
// authenticator fills in.
func withoutPlaceholders(s string) string {
	for _, p := range placeholders {
		s = strings.ReplaceAll(s, p, "\x00")
	}
	return s
}

// repairPlaceholders is a name with the placeholders that were meant in it, and
// whether that is all of them: no brace is left that the authenticator would leave
// as it stands.
func repairPlaceholders(s string) (string, bool) {
	kept := map[string]string{}
	hide := func(p string) string {
		id := "\x00" + strconv.Itoa(slices.Index(placeholders, p)) + "\x00"
		kept[id] = p
		return id
	}
	for _, p := range placeholders {
		if !strings.Contains(s, "{"+p) && !strings.Contains(s, p+"}") { // else it has too many braces
			s = strings.ReplaceAll(s, p, hide(p))
		}
	}
	s = bracketed.ReplaceAllStringFunc(s, func(token string) string {
		if p := placeholderOf(bareWordOf(token), false); p != "" {
			return hide(p)
		}
		return token
	})
	whole := !strings.ContainsAny(s, "{}")
	for id, p := range kept {
		s = strings.ReplaceAll(s, id, p)
	}
	return s, whole
}

func bareWordOf(token string) string { return strings.Trim(token, "$#%@{}[]() \t.") }

// brokenPlaceholders are the parts of a name that look like a placeholder, and that
// the authenticator leaves as they stand: sorted, each once.
func brokenPlaceholders(s string) []string {
	var out []string
	rest := withoutPlaceholders(s)
	for _, token := range bracesIn.FindAllString(rest, -1) {
		if strings.Contains(token, "\x00") || strings.Trim(token, "{}") == "" {
			token = s // braces round a whole placeholder
		}
		out = append(out, token)
	}
	for _, loc := range bracketed.FindAllStringIndex(rest, -1) {
		token := rest[loc[0]:loc[1]]
		if !strings.ContainsAny(token, "{}") && placeholderOf(bareWordOf(token), true) != "" {
			out = append(out, token)
		}
	}
	for _, loc := range bareWord.FindAllStringIndex(rest, -1) {
		if word := rest[loc[0]:loc[1]]; placeholderOf(bareWordOf(word), true) != "" &&
			!slices.ContainsFunc(out, func(t string) bool { return strings.Contains(t, word) }) {
			out = append(out, word)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

var bracesIn = regexp.MustCompile(`[$#%@]?\{+[^{}]*\}*|\}+`)

// nodeUsernameFor is the username that was meant by one that no node can have.
func nodeUsernameFor(m *Entry) string {
	meant, _ := repairPlaceholders(m.Username)
	for _, p := range []string{instanceName, sessionNameRaw, sessionName} {
		if strings.Contains(meant, p) {
			return nodeUsername + p
		}
	}
	for _, word := range bareWord.FindAllString(meant, -1) {
		if p := placeholderOf(bareWordOf(word), true); p == instanceName || p == sessionName {
			return nodeUsername + p
		}
	}
	if slices.Contains(m.Groups, fargateGroup) {
		return nodeUsername + sessionName
	}
	return nodeUsername + instanceName
}

// templates are the ways in which tools and documentation write what is to be filled
// in: ${…}, $(…), #{…}, %…%, <…>, [[…]], {{ .… }}, $NAME, __NAME__, @@NAME@@, and words in
// capitals where digits belong.
var templates = regexp.MustCompile(`[$#%]\{[^{}]*\}?|\$\([^()]*\)?|<[^<>]*>|\{\{[^{}]*\}\}|\[\[[^\[\]]*\]\]|\{[^{}]*\}|\$[A-Za-z_][A-Za-z0-9_]*|%[A-Za-z_]+%`)

// inAngles is what stands in < >, where a text is nothing else.
func inAngles(s string) (string, bool) {
	s = strings.TrimSpace(s)
	if len(s) > 2 && s[0] == '<' && s[len(s)-1] == '>' && !strings.ContainsAny(s[1:len(s)-1], "<>") {
		return strings.TrimSpace(s[1 : len(s)-1]), true
	}
	return s, false
}

// templateIn is the first part of a username or group that a template was to fill
// in; empty where there is none. What can be meant as a placeholder of the
// authenticator's is none.
func templateIn(s string) string {
	if _, ok := inAngles(s); ok {
		return strings.TrimSpace(s)
	}
	for _, token := range templates.FindAllString(withoutPlaceholders(s), -1) {
		braces := strings.HasPrefix(token, "{") && !strings.ContainsAny(token, ". \t|")
		// With $, # or % it is a tool's own: only the very name of a placeholder is none.
		if braces || placeholderOf(bareWordOf(token), strings.ContainsRune("$#%", rune(token[0]))) != "" {
			continue
		}
		return token
	}
	return ""
}

// anyPlaceholder is what has the form of a placeholder, known or not.
var anyPlaceholder = regexp.MustCompile(`\{\{[^{}]*\}\}`)
