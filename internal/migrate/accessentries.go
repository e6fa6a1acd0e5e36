package migrate

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/config"
)

// An AccessEntry is one of EKS's own, outside of the cluster
// (https://docs.aws.amazon.com/eks/latest/userguide/access-entries.html).
type AccessEntry struct {
	PrincipalARN string
	Type         EntryType
	Username     string   // empty: EKS makes one of the ARN
	Groups       []string // in Kubernetes; sorted
	Admin        bool     // associated with AmazonEKSClusterAdminPolicy, for the whole cluster
}

// EntryType is the type of an access entry.
type EntryType string

// The types of access entries. Those of nodes have neither username nor groups:
// EKS gives them what nodes need.
const (
	Standard     EntryType = "STANDARD"
	EC2Linux     EntryType = "EC2_LINUX"
	EC2Windows   EntryType = "EC2_WINDOWS"
	FargateLinux EntryType = "FARGATE_LINUX"
	HybridLinux  EntryType = "HYBRID_LINUX"
)

// AdminPolicy is the ARN of the access policy that stands for system:masters.
func (e *AccessEntry) AdminPolicy() string {
	_, partition := awsauth.ARNAccount(e.PrincipalARN)
	return "arn:" + partition + ":eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy"
}

// Listing reads the entries of a file in one of the formats of [Read] as they
// stand there: doubles, paths and all, for [AccessEntries] to tell of. The error
// is a *[config.Error].
func Listing(file string, data []byte) ([]awsauth.Listed, []config.Problem, error) {
	r := &reader{file: file}
	in := &Input{}
	items := r.detect(in, data)
	if err := r.fail(); err != nil {
		return nil, nil, err
	}
	var out []awsauth.Listed
	for i := range items {
		it := &items[i]
		switch {
		case it.permissionSet != "":
			r.noteSet(it.value, it.permissionSet)
		case strings.Contains(it.arn, "$"):
			r.note(it.value, "left out: a placeholder in %s is filled in by the agent alone: write the account's 12 digits and the partition", quote(it.arn))
		default:
			out = append(out, awsauth.Listed{Entry: awsauth.Entry{Kind: it.kind, ARN: it.arn, Username: it.username, Groups: it.groups}})
		}
	}
	for _, e := range in.Entries {
		out = append(out, awsauth.Listed{Entry: e})
	}
	return out, r.notes, nil
}

// reserved are the beginnings that EKS keeps for itself
// (https://docs.aws.amazon.com/eks/latest/userguide/set-custom-username.html).
var reserved = []string{"system:", "eks:", "aws:", "amazon:", "iam:"}

func isReserved(s string) bool {
	return slices.ContainsFunc(reserved, func(p string) bool { return strings.HasPrefix(s, p) })
}

// AccessEntries returns the access entries that let in whom the entries of
// aws-auth let in, sorted by ARN, and a sentence for all that they cannot
// express or that is otherwise than in aws-auth.
func AccessEntries(listed []awsauth.Listed) (entries []AccessEntry, notes []string) {
	x := &exporter{}
	last := map[string]int{}
	for i := range listed {
		if listed[i].Dropped == "" {
			last[exportKey(&listed[i].Entry)] = i
		}
	}
	for i := range listed {
		l := &listed[i]
		switch {
		case l.Dropped != "":
			x.note("left out: %s %s, which the authenticator ignores: %s", l.Kind, quote(l.ARN), l.Dropped)
		case last[exportKey(&l.Entry)] != i:
			x.note("left out: an entry for %s that a later one of the same ARN takes out of force", quote(l.ARN))
		default:
			x.add(&l.Entry)
		}
	}
	x.whole()
	slices.SortFunc(x.entries, func(a, b AccessEntry) int {
		return cmp.Or(cmp.Compare(a.PrincipalARN, b.PrincipalARN), cmp.Compare(a.Type, b.Type))
	})
	return x.entries, x.notes
}

// maxAccessEntries is how many a cluster takes
// (https://docs.aws.amazon.com/eks/latest/userguide/service-quotas.html).
const maxAccessEntries = 3000

// exportKey is equal for entries of which the authenticator keeps the last. An
// access entry's ARN has one spelling, so the users that differ in case are one
// too.
func exportKey(e *awsauth.Entry) string { return string(e.Kind) + " " + strings.ToLower(e.ARN) }

type exporter struct {
	entries []AccessEntry
	notes   []string
	loses   bool // an entry gives less than aws-auth does
}

func (x *exporter) note(format string, args ...any) {
	x.notes = append(x.notes, fmt.Sprintf(format, args...))
}

func (x *exporter) add(e *awsauth.Entry) {
	arn, err := e.ARN, error(nil)
	switch e.Kind {
	case awsauth.Account:
		x.note("left out: account %s: an access entry is for one role or user; make one for each identity of the account that uses the cluster (who does so is in the API server's audit log)", quote(e.ARN))
		return
	case awsauth.Role:
		arn, err = awsauth.RoleARN(e.ARN)
	case awsauth.User:
		arn, err = awsauth.UserARN(e.ARN)
	}
	switch {
	case err != nil:
		x.note("left out: %v", err)
		return
	case arn != e.ARN:
		x.note("left out: %s: with its path it lets nobody in, and as an access entry it would; make one if that is meant", quote(e.ARN))
		return
	}
	if why := e.Unmatched(); why != "" {
		x.note("left out: %s lets nobody in: %s", quote(e.ARN), why)
		return
	}
	if e.Kind == awsauth.Role && isServiceLinked(arn) {
		x.note("left out: %s is a service-linked role, for which EKS makes no access entry: leave it in aws-auth", quote(arn))
		return
	}
	out := AccessEntry{PrincipalARN: arn, Type: typeOf(e)}
	if out.Type != Standard {
		x.node(e, out)
		return
	}
	if awsauth.OnlyInstances(*e) {
		// An access entry fills in no {{EC2PrivateDNSName}}, so it would let in all
		// sessions of the role, as administrators too.
		x.note("left out: %s: by {{EC2PrivateDNSName}} aws-auth lets in its EC2 instances alone, and an access entry would let in each of its sessions", quote(arn))
		return
	}
	before := len(x.notes)
	for _, g := range slices.Compact(slices.Sorted(slices.Values(e.Groups))) {
		switch {
		case g == awsauth.Masters:
			out.Admin = true
		case strings.HasPrefix(g, "system:"):
			// https://github.com/terraform-aws-modules/terraform-aws-eks/issues/2915
			x.note("%s loses the group %s: EKS refuses groups that begin with system:; bind its rights to a group of your own", quote(arn), quote(g))
		case strings.Contains(g, "{{"):
			x.note("%s loses the group %s: access entries fill in no placeholders in groups", quote(arn), quote(g))
		case awsauth.CheckGroup(g) != nil:
			x.note("%s loses a group: %v", quote(arn), awsauth.CheckGroup(g))
		default:
			out.Groups = append(out.Groups, g)
		}
	}
	if why := usernameRefused(e); why != "" {
		x.note("%s loses the username %s: %s. EKS gives it one of its ARN; bindings that name the user are to be changed", quote(arn), quote(e.Username), why)
	} else {
		out.Username = e.Username
	}
	x.loses = x.loses || len(x.notes) > before
	if !out.Admin && len(out.Groups) == 0 && out.Username == "" {
		x.note("left out: %s: an access entry can give it nothing of what aws-auth gives, and would take that away", quote(arn))
		return
	}
	x.entries = append(x.entries, out)
}

// isServiceLinked reports whether a role is one that an AWS service has made for
// itself: IAM keeps this beginning for them
// (https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_create-service-linked-role.html).
func isServiceLinked(arn string) bool {
	const prefix = "awsservicerolefor"
	return strings.HasPrefix(strings.ToLower(arn[strings.LastIndexByte(arn, '/')+1:]), prefix)
}

// typeOf tells the roles of nodes by what they are mapped to
// (https://docs.aws.amazon.com/eks/latest/userguide/auth-configmap.html,
// https://docs.aws.amazon.com/eks/latest/userguide/hybrid-nodes-cluster-prep.html).
func typeOf(e *awsauth.Entry) EntryType {
	has := func(g string) bool { return slices.Contains(e.Groups, g) }
	session := e.Username == "system:node:{{SessionName}}"
	switch {
	case e.Kind != awsauth.Role || !has("system:nodes") || !session && e.Username != nodeUsername:
		return Standard
	case session && has("system:node-proxier"):
		return FargateLinux
	case session:
		return HybridLinux
	case has(windowsGroup):
		return EC2Windows
	}
	return EC2Linux
}

func (x *exporter) node(e *awsauth.Entry, out AccessEntry) {
	for _, g := range slices.Compact(slices.Sorted(slices.Values(e.Groups))) {
		if !slices.Contains(append(nodeGroups(), windowsGroup, "system:node-proxier"), g) {
			x.note("%s loses the group %s: an access entry of type %s has no groups of its own", quote(out.PrincipalARN), quote(g), out.Type)
		}
	}
	x.entries = append(x.entries, out)
}

var templated = regexp.MustCompile(`\{\{[^{}]*\}\}`)

// usernameRefused says why EKS does not take a username; empty where it does.
func usernameRefused(e *awsauth.Entry) string {
	name := e.Username
	if isReserved(name) {
		return "EKS keeps names that begin with " + strings.Join(reserved, " ") + " for itself"
	}
	if err := awsauth.CheckUsername(name); err != nil {
		return err.Error()
	}
	rest := name
	for _, t := range templated.FindAllString(name, -1) {
		switch {
		case t != "{{SessionName}}" && t != "{{SessionNameRaw}}":
			return "access entries do not fill in " + t
		case e.Kind != awsauth.Role:
			return "a user has no session"
		case !strings.Contains(name[:strings.Index(name, t)], ":"):
			return "a colon must stand before " + t
		}
		rest = strings.Replace(rest, t, "", 1)
	}
	if strings.Contains(rest, "{{") {
		return "it holds braces that no placeholder has"
	}
	return ""
}

// whole tells of what concerns the list as a whole.
func (x *exporter) whole() {
	accounts := map[string]bool{}
	sso, roles := false, false
	for i := range x.entries {
		e := &x.entries[i]
		if e.Type != Standard {
			account, _ := awsauth.ARNAccount(e.PrincipalARN)
			accounts[account] = true
		}
		roles = roles || strings.Contains(e.PrincipalARN, ":role/")
		sso = sso || strings.Contains(e.PrincipalARN, ":role/AWSReservedSSO_")
	}
	if x.loses {
		x.note("an access entry takes the place of aws-auth for its principal: before you make one that loses a group or its username, bind its rights to what it has then, or take it out")
	}
	if len(x.entries) > maxAccessEntries {
		x.note("these are %d access entries, and a cluster takes %d: let people in by roles that many can assume", len(x.entries), maxAccessEntries)
	}
	if len(accounts) > 1 {
		x.note("the roles of nodes are of %d accounts, but an access entry that is not STANDARD must be of the cluster's own", len(accounts))
	}
	if roles {
		x.note("aws-auth holds role ARNs without their path, access entries need it: compare with aws iam get-role --role-name NAME --query Role.Arn (the script of -o awscli asks by itself)")
	}
	if sso {
		x.note("the role of a permission set gets another suffix when the set is assigned anew, and its access entry lets nobody in then; rolecall finds it again")
	}
}
