package awsauth

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// This file answers for one caller what the authenticator would
// (sigs.k8s.io/aws-iam-authenticator v0.7.18): pkg/arn/arn.go:46 for what is
// looked up, pkg/mapper/configmap/mapper.go:44 for the order, and
// pkg/server/server.go:476 for accounts and placeholders.

// Located is an entry of the document with its place.
type Located struct {
	Listed
	Line, Column int    // in the key's text, from 1; 0 where they cannot be told
	Why          string // why it does not answer, one clause; empty if it does
}

// A Resolution is what the authenticator answers for a caller.
type Resolution struct {
	Asked string // the ARN that was asked for
	// ARN is what the authenticator looks up: the role of a session, without a
	// path, as an STS session's ARN has none.
	ARN       string
	Session   string // of an assumed role; empty where the ARN names none
	AccountID string

	// Entry is the one that answers, of kind Account where none maps the caller
	// but its whole account is let in; nil: nobody.
	Entry *Located
	// Username and Groups are those that the caller gets, with every placeholder
	// filled in that the ARN tells.
	Username string
	Groups   []string
	// Open are the placeholders that the ARN does not tell, sorted.
	Open []string
	// Refused says why the authenticator turns the caller away although Entry
	// maps it; empty if it doesn't.
	Refused string
	// Random are entries that might as well answer instead of Entry: of texts
	// that differ in case alone the authenticator takes any.
	Random []Located
	// Shadowed are entries that look like the caller's and do not answer, each
	// with the reason, in the order of the document.
	Shadowed []Located
	// Broken are the keys that the authenticator cannot read: whoever they list
	// is mapped by nothing.
	Broken []*ParseError
}

// Allowed reports whether the authenticator lets the caller in.
func (r *Resolution) Allowed() bool { return r.Entry != nil && r.Refused == "" }

// Resolve answers for a caller what the authenticator would of this data: for
// the ARN of a user, of a role, with its path or without, of an assumed role as
// sts:GetCallerIdentity says it, of a federated user or of an account's root.
// The error is an [*ARNError]; keys that cannot be read are no error but
// [Resolution.Broken].
func Resolve(data map[string]string, arn string) (*Resolution, error) {
	c, err := parseCaller(arn)
	if err != nil {
		return nil, err
	}
	read, err := readAll(data)
	res := (&Document{data: data, reading: read}).resolve(c)
	res.Broken = ParseErrors(err)
	return res, nil
}

// Resolve is the function of that name for a document that has been read.
func (d *Document) Resolve(arn string) (*Resolution, error) {
	c, err := parseCaller(arn)
	if err != nil {
		return nil, err
	}
	return d.resolve(c), nil
}

// ParseErrors lists the parse errors that the error of [Parse] joins.
func ParseErrors(err error) []*ParseError {
	switch e := err.(type) { //nolint:errorlint // it takes the tree of errors apart
	case *ParseError:
		return []*ParseError{e}
	case interface{ Unwrap() []error }:
		var all []*ParseError
		for _, err := range e.Unwrap() {
			all = append(all, ParseErrors(err)...)
		}
		return all
	}
	return nil
}

// caller is an identity as the authenticator holds it.
type caller struct {
	asked, canonical string
	account          string
	session          string // of an assumed role
	kind             string // role, user, root or federated-user
}

// parseCaller mirrors arn.Canonicalize. It takes the ARN of a role for that of
// a session of it, since a role itself never calls.
func parseCaller(s string) (caller, error) {
	const example = "arn:aws:iam::111122223333:role/NAME, arn:aws:iam::111122223333:user/NAME or what aws sts get-caller-identity says"
	f := strings.SplitN(s, ":", 6)
	if len(f) != 6 || f[0] != "arn" {
		return caller{}, &ARNError{s, "is no ARN", example}
	}
	c := caller{asked: s, canonical: s, account: f[4]}
	if !slices.Contains(partitions, f[1]) {
		return c, &ARNError{s, fmt.Sprintf("names the unknown partition %q", f[1]), "one of " + strings.Join(partitions, ", ")}
	}
	if CheckAccountID(c.account) != nil {
		return c, &ARNError{s, fmt.Sprintf("names %q where the account's 12 digits belong", c.account), example}
	}
	resource, rest, _ := strings.Cut(f[5], "/")
	c.kind = resource
	prefix := "arn:" + f[1] + ":iam::" + c.account + ":role/"
	switch f[2] + ":" + resource {
	case "sts:assumed-role":
		role, session, ok := cutLast(rest)
		if !ok || role == "" || session == "" {
			return c, &ARNError{s, "names no session of a role", "arn:aws:sts::111122223333:assumed-role/ROLE/SESSION"}
		}
		c.kind, c.canonical, c.session = "role", prefix+role, session
	case "iam:role":
		name := rest[strings.LastIndexByte(rest, '/')+1:]
		if name == "" {
			return c, &ARNError{s, "names no role", example}
		}
		c.canonical = prefix + name
	case "iam:user", "sts:federated-user":
		if rest == "" || strings.HasSuffix(rest, "/") {
			return c, &ARNError{s, "names no user", example}
		}
	case "iam:root":
	case "iam:instance-profile":
		return c, &ARNError{s, "is the ARN of an instance profile, which never calls", "the ARN of the profile's role (aws iam get-instance-profile shows it; its name can differ)"}
	default:
		return c, &ARNError{s, "is no identity that the authenticator knows", example}
	}
	return c, nil
}

// instanceID is what the authenticator takes for the session of an EC2 instance
// (server.go:67).
var instanceID = regexp.MustCompile(`^i-(\w{8}|\w{17})$`)

func (d *Document) resolve(c caller) *Resolution {
	r := &Resolution{Asked: c.asked, ARN: c.canonical, Session: c.session, AccountID: c.account}
	at := map[Kind]*places{}
	locate := func(kind Kind, i int, why string) Located {
		list := d.list(kind)
		if at[kind] == nil {
			at[kind] = placesOf(kind, d.data[kind.Key()], len(list))
		}
		l := Located{Listed: Listed{list[i].Entry, i, list[i].mark, list[i].dropped}, Why: why}
		l.Line, l.Column = at[kind].of(i, "arn")
		return l
	}
	for _, kind := range []Kind{Role, User} {
		answering := d.answering(kind, c.canonical)
		for i := range d.list(kind) {
			m := &d.list(kind)[i]
			j := slices.Index(answering, i)
			switch {
			case j < 0 && SameARN(m.ARN, c.canonical) && m.dropped != "":
				r.Shadowed = append(r.Shadowed, locate(kind, i, m.dropped+", so it is dropped"))
			case j < 0 && SameARN(m.ARN, c.canonical):
				r.Shadowed = append(r.Shadowed, locate(kind, i, "a later entry has the same ARN, and the last one wins"))
			case j < 0 && c.kind == "role" && sameButPath(m.ARN, c.canonical):
				r.Shadowed = append(r.Shadowed, locate(kind, i, "its ARN has the role's path, which the ARN of a session never has"))
			case j < 0:
			case r.Entry == nil && j == len(answering)-1:
				r.Entry = new(locate(kind, i, ""))
			case r.Entry == nil:
				r.Random = append(r.Random, locate(kind, i, ""))
			default:
				r.Shadowed = append(r.Shadowed, locate(kind, i, "roles are tried before users"))
			}
		}
	}
	for i := range d.accounts {
		if m := &d.accounts[i]; m.inForce() && m.ARN == c.account {
			if r.Entry == nil {
				r.Entry = new(locate(Account, i, ""))
				r.Username = c.canonical
				return r
			}
			break // one of many of this account, whom the entry answers first
		}
	}
	if r.Entry != nil {
		r.render(c)
	}
	return r
}

// An Identity is a role or user that an entry of the document maps.
type Identity struct {
	Kind               Kind   // what the ARN is of, in whichever list it stands
	ARN                string // as it stands
	Account, Partition string
	Name               string // without a path, in lower case
}

// Identities lists the roles and users that the entries in force map, each
// once, in the order of the document. An ARN that can be nobody's is left out.
func Identities(data map[string]string) []Identity {
	// A key that cannot be read maps nobody.
	read, _ := readAll(data)
	var out []Identity
	seen := map[string]bool{}
	for _, list := range [][]mapping{read.roles, read.users} {
		for i := range list {
			m := &list[i]
			k := key(m.ARN)
			f := strings.SplitN(k, ":", 6)
			if !m.inForce() || seen[k] || len(f) != 6 || f[2] != "iam" || CheckAccountID(f[4]) != nil {
				continue
			}
			seen[k] = true
			kind, rest, _ := strings.Cut(f[5], "/")
			name := rest[strings.LastIndexByte(rest, '/')+1:]
			if (kind == string(Role) || kind == string(User)) && name != "" {
				out = append(out, Identity{Kind: Kind(kind), ARN: m.ARN, Account: f[4], Partition: f[1], Name: name})
			}
		}
	}
	return out
}

// answering are the indices of the entries of which the authenticator takes
// one for an ARN, in the order of the document: one, but where ARNs differ in
// such a way that they do not replace each other and yet match
// (configmap.go:236, config/mapper.go:79).
func (r *reading) answering(kind Kind, arn string) []int {
	last := map[string]int{}
	list := r.list(kind)
	for i := range list {
		if list[i].inForce() && SameARN(list[i].ARN, arn) {
			last[mapKey(kind, list[i].ARN)] = i
		}
	}
	var all []int
	for _, i := range last {
		all = append(all, i)
	}
	slices.Sort(all)
	return all
}

// mapKey is the key under which the authenticator keeps an entry; the last of
// equal ones replaces the others.
func mapKey(kind Kind, arn string) string {
	if kind == Role {
		return strings.ToLower(arn)
	}
	return arn
}

// sameButPath reports whether an ARN is that of a role but for a path.
func sameButPath(withPath, arn string) bool {
	return key(withPath) != key(arn) && bareKey(withPath) == key(arn)
}

// placeholders are those that the authenticator fills in (server.go:529).
var placeholders = []string{"{{EC2PrivateDNSName}}", "{{AccountID}}", "{{SessionName}}", "{{SessionNameRaw}}", "{{AccessKeyID}}"}

// render fills in what the caller's ARN tells. A user has no session: its
// placeholder becomes nothing.
func (r *Resolution) render(c caller) {
	known := []string{"{{AccountID}}", c.account}
	if c.session != "" || c.kind != "role" {
		known = append(known, "{{SessionName}}", strings.ReplaceAll(c.session, "@", "-"), "{{SessionNameRaw}}", c.session)
	}
	fill := func(text string) string {
		if strings.Contains(text, "{{EC2PrivateDNSName}}") && (c.session != "" || c.kind != "role") && !instanceID.MatchString(c.session) {
			r.Refused = "{{EC2PrivateDNSName}} is for EC2 instances, whose session is named i-…; to all others the authenticator says no"
		}
		for i := 0; i < len(known); i += 2 {
			text = strings.ReplaceAll(text, known[i], known[i+1])
		}
		for _, p := range placeholders {
			if strings.Contains(text, p) && !slices.Contains(r.Open, p) {
				r.Open = append(r.Open, p)
			}
		}
		return text
	}
	r.Username = fill(r.Entry.Username)
	for _, g := range r.Entry.Groups {
		r.Groups = append(r.Groups, fill(g))
	}
	slices.Sort(r.Open)
}

// Shadowed says of the entries, in the order of [Document.Entries], whether
// another one answers for their ARN: the last of several in a list, and a role
// before a user. Of two users whose ARNs differ in case alone a random one
// answers; neither is said to be shadowed.
func (d *Document) Shadowed() []bool {
	out := make([]bool, len(d.roles)+len(d.users)+len(d.accounts))
	answers := map[string]bool{}
	for i, m := range slices.Backward(d.roles) {
		if k := m.key(); m.inForce() {
			out[i] = answers[k]
			answers[k] = true
		}
	}
	exact := map[string]bool{}
	for i, m := range slices.Backward(d.users) {
		if m.inForce() {
			out[len(d.roles)+i] = answers[m.key()] || exact[m.ARN]
			exact[m.ARN] = true
		}
	}
	return out
}
