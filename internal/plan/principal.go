package plan

import (
	"cmp"
	"slices"
	"strings"

	"github.com/rolecall/rolecall/awsauth"
)

// principal is everything that a snapshot has of one principal.
type principal struct {
	key      string
	want     *want      // what the sources ask for it; nil for nothing
	refused  []Claim    // what sources of nodes ask for it, though it is people's
	owned    []Owned    // in the state
	standing []standing // in the register, in its order: the last one answers
}

// standing is an entry that stands, and whether it is managed.
type standing struct {
	*Standing
	managed bool
}

// want is what all sources together ask for a principal.
type want struct {
	awsauth.Entry
	claims []Claim
}

// managed are the entries that stand and are managed.
func (p *principal) managed() []standing { return p.which(true) }

// unmanaged are the others.
func (p *principal) unmanaged() []standing { return p.which(false) }

func (p *principal) which(managed bool) []standing {
	var out []standing
	for _, s := range p.standing {
		if s.managed == managed {
			out = append(out, s)
		}
	}
	return out
}

// claims is who asked for the principal, as the state has it.
func (p *principal) claims() []Claim {
	var claims []Claim
	for i := range p.owned {
		claims = append(claims, p.owned[i].Claims...)
	}
	return claims
}

// sources are the names of those, UnknownSource where the state has none.
func (p *principal) sources() []string {
	var names []string
	for _, c := range p.claims() {
		if !slices.Contains(names, c.Source) {
			names = append(names, c.Source)
		}
	}
	if len(names) == 0 {
		return []string{UnknownSource}
	}
	return names
}

// index is a snapshot by principal.
type index struct {
	snapshot *Snapshot
	failed   map[string]bool
	required map[string]bool
	nodes    map[string]bool // sources that describe nodes
	order    []*principal    // wanted ones in the sources' order, then the register's, then the state's
	byKey    map[string]*principal
}

func newIndex(s *Snapshot) *index {
	n := len(s.Standing)
	x := &index{
		snapshot: s, failed: s.failed(), required: s.required(), nodes: map[string]bool{},
		order: make([]*principal, 0, n), byKey: make(map[string]*principal, n),
	}
	for i := range s.Sources {
		source := &s.Sources[i]
		if source.Nodes {
			x.nodes[source.Name] = true
		}
		var known map[string]bool
		if source.Failed && len(source.Entries) > 0 {
			known = map[string]bool{}
		}
		for _, e := range source.Entries {
			x.claim(e, source.Name)
			if known != nil {
				known[e.Principal()] = true
			}
		}
		if source.Failed {
			x.reclaim(source.Name, known)
		}
	}
	if len(x.failed) > 0 {
		x.reclaim(UnknownSource, nil)
	}
	for i := range s.Standing {
		p := x.at(&s.Standing[i].Entry)
		p.standing = append(p.standing, standing{Standing: &s.Standing[i]})
	}
	for _, o := range s.State.Owned {
		p := x.at(&o.Entry)
		p.owned = append(p.owned, o)
	}
	for _, p := range x.order {
		x.claimOwnership(p)
		x.claimOrphan(p)
		x.keepApart(p)
	}
	return x
}

func (x *index) at(e *awsauth.Entry) *principal {
	k := e.Principal()
	p := x.byKey[k]
	if p == nil {
		p = &principal{key: k}
		x.byKey[k] = p
		x.order = append(x.order, p)
	}
	return p
}

// reclaim repeats what a source asked when it was known last, but for what it
// says anew.
func (x *index) reclaim(source string, known map[string]bool) {
	owned := x.snapshot.State.Owned
	for i := range owned {
		o := &owned[i]
		for _, c := range o.Claims {
			if c.Source == source && !known[o.Principal()] {
				x.claim(awsauth.Entry{Kind: o.Kind, ARN: o.ARN, Username: c.Username, Groups: c.Groups}, source)
			}
		}
	}
}

// claim adds what a source asks for a principal to what the others do.
func (x *index) claim(e awsauth.Entry, source string) {
	if e.Kind == awsauth.Account {
		e.Username, e.Groups = "", nil
	}
	p := x.at(&e)
	if p.want == nil {
		p.want = &want{Entry: awsauth.Entry{Kind: e.Kind, ARN: e.ARN, Username: e.Username}}
	}
	w := p.want
	w.Username = cmp.Or(w.Username, e.Username)
	w.Groups = union(w.Groups, e.Groups)
	for i := range w.claims {
		if c := &w.claims[i]; c.Source == source {
			c.Username = cmp.Or(c.Username, e.Username)
			c.Groups = union(c.Groups, e.Groups)
			return
		}
	}
	w.claims = append(w.claims, Claim{source, e.Username, awsauth.GroupSet(e.Groups)})
}

// ofNodes reports whether all who claim describe nodes.
func (x *index) ofNodes(claims []Claim) bool {
	return !slices.ContainsFunc(claims, func(c Claim) bool { return !x.nodes[c.Source] })
}

// union is the sorted set of the groups of both.
func union(a, b []string) []string {
	if len(a) == 0 {
		return awsauth.GroupSet(b)
	}
	if includes(a, b) {
		return a
	}
	return awsauth.GroupSet(slices.Concat(a, b))
}

// includes reports whether every one of sub is in set.
func includes(set, sub []string) bool {
	for _, g := range sub {
		if !slices.Contains(set, g) {
			return false
		}
	}
	return true
}

// claimOwnership tells managed from unmanaged: a managed entry carries our mark,
// or one of a tool that we adopt from, or has lost its mark and stands otherwise
// as the state has it. An entry that was only about to be written proves nothing,
// unless the write is known to have been done: an unmarked one with its ARN came
// from somebody else. An account has no mark, so there it does: an account that
// nobody takes away again would be worse than one that somebody else added at the
// very same moment.
func (x *index) claimOwnership(p *principal) {
	marked := false
	for i := range p.standing {
		s := &p.standing[i]
		if s.Kind != awsauth.Account && (s.Mark == awsauth.Mark || s.Mark != "" && slices.Contains(x.snapshot.Adopt, s.Mark)) {
			s.managed, marked = true, true
		}
	}
	if marked {
		return
	}
	for i := range p.standing {
		s := &p.standing[i]
		for j := range p.owned {
			o := &p.owned[j]
			if (!o.Pending || s.Kind == awsauth.Account || x.snapshot.Confirmed && !o.Waiting) && o.Kind == s.Kind && s.Mark == "" && o.SameAccess(s.Entry) {
				s.managed = true
				return
			}
		}
	}
}

// claimOrphan asks for a managed entry of which the state does not say who asked
// for it, while a source fails: it may be that source's.
func (x *index) claimOrphan(p *principal) {
	if len(x.failed) == 0 || slices.ContainsFunc(p.owned, func(o Owned) bool { return len(o.Claims) > 0 }) {
		return
	}
	if managed := p.managed(); len(managed) > 0 {
		x.claim(managed[len(managed)-1].Entry, UnknownSource)
	}
}

// keepApart takes what sources of nodes ask for from a principal that others say
// is people's: a role is one or the other, and what a node reports must give
// nobody else's role a node's rights.
func (x *index) keepApart(p *principal) {
	w := p.want
	if w == nil || len(w.claims) < 2 {
		return
	}
	var nodes, others []Claim
	people := false
	for _, c := range w.claims {
		if x.nodes[c.Source] {
			nodes = append(nodes, c)
			continue
		}
		others = append(others, c)
		people = people || !describesNodes(c.Username, c.Groups)
	}
	if !people || len(nodes) == 0 {
		return
	}
	apart := &want{Entry: awsauth.Entry{Kind: w.Kind, ARN: w.ARN}, claims: others}
	for _, c := range others {
		apart.Username = cmp.Or(apart.Username, c.Username)
		apart.Groups = union(apart.Groups, c.Groups)
	}
	p.want, p.refused = apart, nodes
}

// The groups that EKS gives nodes
// (https://docs.aws.amazon.com/eks/latest/userguide/auth-configmap.html).
const (
	nodesGroup   = awsauth.NodesGroup
	nodeUsername = "system:node:"
)

// describesNodes reports whether access is that of nodes and not of people.
func describesNodes(username string, groups []string) bool {
	return strings.HasPrefix(username, nodeUsername) || slices.Contains(groups, nodesGroup)
}

// namedAs is what is asked for, with the username of the entry that stands where only
// sources of nodes ask and nodes can be named so: by their private DNS name, or by
// their session, as Fargate, hybrid nodes and nodes named by instance ID are. What a
// node reports does not tell how it is named, and under another username every node
// of the role would be locked out.
func (x *index) namedAs(w *want, standing *awsauth.Entry) *want {
	if w.Username == standing.Username || !awsauth.IsNodeUsername(standing.Username) || !awsauth.IsNodeUsername(w.Username) {
		return w
	}
	if slices.ContainsFunc(w.claims, func(c Claim) bool {
		// What nobody is known to ask for repeats the entry that stands.
		return !x.nodes[c.Source] && !(c.Source == UnknownSource && awsauth.IsNodeUsername(c.Username))
	}) {
		return w
	}
	named := *w
	named.Username = standing.Username
	return &named
}

// namedAsBefore is what is asked for, with the username that the state has of a
// principal's entry: it tells how nodes are named where the entry is gone.
func (x *index) namedAsBefore(w *want, p *principal) *want {
	for _, pending := range []bool{false, true} { // what stood, before what was about to
		for i := range p.owned {
			if o := &p.owned[i]; o.Pending == pending && awsauth.IsNodeUsername(o.Username) {
				return x.namedAs(w, &o.Entry)
			}
		}
	}
	return w
}

// namesOneNode reports whether a username is that of a single node. It may be the one
// that is alive.
func namesOneNode(username string) bool {
	return strings.HasPrefix(username, nodeUsername) && !strings.ContainsAny(username, "{}")
}
