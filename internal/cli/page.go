package cli

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/version"

	"github.com/rolecall/rolecall/agent"
	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/election"
	"github.com/rolecall/rolecall/internal/page"
	"github.com/rolecall/rolecall/internal/plan"
	"github.com/rolecall/rolecall/internal/register"
	"github.com/rolecall/rolecall/internal/report"
	"github.com/rolecall/rolecall/internal/roster"
)

// pageWrites is how many changes of aws-auth a leader keeps for its page.
const pageWrites = 10

// keepWrites is none where nobody can see them.
func (f *agentFlags) keepWrites() int {
	if f.statusPage == "" {
		return 0
	}
	return pageWrites
}

// checkPageAddress lets the page be on a loopback address only: what it shows
// is for those whom the API server lets through a port-forward.
func checkPageAddress(address string) error {
	if address == "" {
		return nil
	}
	at, err := netip.ParseAddrPort(address)
	if err != nil || !at.Addr().IsLoopback() {
		return fmt.Errorf("--status-page %q: it shows aws-auth to whoever reaches it: write a loopback address and a port, such as 127.0.0.1:9466, and come by kubectl port-forward", address)
	}
	return nil
}

// servePage serves the page until ctx ends. That it can't hinders nothing: the
// agent has work to do.
func (p *process) servePage(ctx context.Context) error {
	handler := page.New(func() page.View { return p.pageView(time.Now()) })
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", p.flags.statusPage)
	if err != nil {
		p.log.Error("the status page is not served: give another --status-page", "err", err)
		return nil
	}
	p.log.Info("serving the status page", "address", listener.Addr().String())
	if err := agent.Serve(ctx, listener, handler); err != nil {
		p.log.Error("the status page is not served any more", "err", err)
	}
	return nil
}

// pageView is what this agent knows. It makes no request.
func (p *process) pageView(now time.Time) page.View {
	v := page.View{
		At: now, Node: p.flags.nodeName, Namespace: p.flags.namespace, Version: version.Version, Mode: page.Reports,
	}
	if node, ok := p.reporter.Self(); ok {
		v.NodeRole = node.RoleARN
	} else if err := p.imdsErr(); err != nil {
		v.NodeWhy = err.Error()
	}
	if p.leader == nil {
		return v
	}
	c := p.config.Status()
	v.Config = &page.Config{Since: c.LoadedAt, SubPath: c.SubPath}
	if c.Current != nil {
		v.Config.Hash = c.Current.Hash
	}
	if c.Err != nil {
		v.Config.Trouble, v.Config.Refused = c.Err.Error(), c.ErrSince
	}
	e := p.elector.Status()
	v.Mode = page.StandsBy
	if e.Mode == election.Leading {
		v.Mode = page.Leads
	}
	v.Election = p.pageElection(&e)
	said := newSurvey(now)
	p.pageSaid(&v, said, &e)
	if view := p.leader.View(); view != nil && v.Mode == page.Leads {
		v.Pass = &page.Pass{At: view.Last.Ended, Result: string(view.Last.Outcome())}
		if problem := view.Last.Problem(); problem != nil {
			v.Pass.Trouble = problem.Error()
		}
		// What it saw before another installation took over is no longer so.
		if good := view.Good; good != nil && view.Last.Outcome() != report.Elsewhere {
			v.Cluster = p.pageCluster(view)
			v.Sources, v.More = pageSources(report.SourceStates(good.Asked.States)), 0
			v.Conflicts, v.MoreConflicts = pageConflicts(good.Change.Conflicts), 0
			for i := range good.Change.Removals {
				said.holdProblem(&good.Change.Removals[i])
			}
		}
	}
	if v.Mode != page.Leads && c.Err != nil {
		said.problem("the config that this agent has mounted is refused: %s", c.Err)
	}
	v.Problems, v.Notes = said.Problems, said.Notes
	return v
}

// pageElection is what this agent knows of the election.
func (p *process) pageElection(e *election.Status) *page.Election {
	node, _, _ := strings.Cut(e.Leader, "_")
	out := &page.Election{Leader: node, Since: e.Since, Seen: e.Seen, Agents: e.Agents}
	if e.Err != nil {
		out.Trouble = e.Err.Error()
	}
	if e.Mode != election.Leading {
		out.Command = forwardCommand(p.flags.namespace, node, p.flags.statusPage)
	}
	return out
}

// nodeName is what Kubernetes takes as the name of a node.
var nodeName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$`)

// forwardCommand leads to the page of the agent on a node. The node's name is
// read from the Lease, and people paste the command into a shell: where it could
// be anything else than a name there is none.
func forwardCommand(namespace, node, address string) string {
	at, err := netip.ParseAddrPort(address)
	if err != nil || at.Port() == 0 || !nodeName.MatchString(node) || !nodeName.MatchString(namespace) {
		return ""
	}
	return fmt.Sprintf(`kubectl -n %s port-forward "$(kubectl -n %s get pods -l app.kubernetes.io/name=rolecall --field-selector spec.nodeName=%s -o name)" %d:%d`,
		namespace, namespace, node, at.Port(), at.Port())
}

// pageSaid takes in what the leader says of its term: itself, or on the Lease as
// this agent saw it last.
func (p *process) pageSaid(v *page.View, said *survey, e *election.Status) {
	text := e.Published[report.StatusAnnotation]
	if v.Mode == page.Leads {
		text = p.leader.Published()
	}
	said.Leader = &leaderView{Identity: e.Leader}
	if e.Leader == "" {
		if !e.Seen.IsZero() && v.Mode != page.Leads {
			said.problem("nobody leads, as this agent saw the Lease last")
		}
		return
	}
	said.understandPublished(text, e.Leader)
	for _, u := range said.Unread {
		said.note("%s cannot be read: %s", u.What, u.Error)
	}
	if s := said.Status; s != nil {
		v.Pass = &page.Pass{At: s.Pass, Result: s.Result, Trouble: s.Error}
		v.Sources, v.More = pageSources(s.Sources), s.More
		for _, c := range s.ConflictsSome {
			v.Conflicts = append(v.Conflicts, page.Conflict{ARN: c.ARN, Has: c.Has, Want: c.Want})
		}
		v.MoreConflicts = s.Conflicts - len(s.ConflictsSome)
	}
}

func pageSources(states []report.SourceStatus) []page.Source {
	out := make([]page.Source, len(states))
	for i, s := range states {
		out[i] = page.Source{Name: s.Name, Entries: s.Entries, Success: s.Success}
		if s.Trouble != nil {
			out[i].Trouble, out[i].Since = s.Trouble.Error, s.Trouble.Since
		}
	}
	return out
}

func pageConflicts(conflicts []plan.Conflict) []page.Conflict {
	out := make([]page.Conflict, len(conflicts))
	for i, c := range conflicts {
		out[i] = page.Conflict{
			ARN: c.Foreign.ARN, Has: c.Foreign.Username, HasGroups: c.Foreign.Groups,
			Want: c.Ours.Username, WantGroups: c.Ours.Groups, Sources: c.Sources,
		}
	}
	return out
}

// pageCluster is what only the leader knows.
func (p *process) pageCluster(view *report.View) *page.Cluster {
	out, change := view.Good, view.Good.Change
	c := &page.Cluster{
		Began: view.Began, AWSAuth: p.flags.awsAuthNamespace + "/" + p.flags.awsAuthName,
		Bytes: change.Size, Limit: change.Limit, Entries: pageEntries(change), Kept: pageWrites,
	}
	for i := range change.Removals {
		c.Held = append(c.Held, p.pageHold(&change.Removals[i]))
	}
	for _, lease := range slices.Sorted(maps.Keys(out.Asked.Refused)) {
		c.Refused = append(c.Refused, page.Refusal{Lease: lease, Why: out.Asked.Refused[lease].Error()})
	}
	for _, r := range out.Reports {
		if _, refused := out.Asked.Refused[roster.LeaseName(r.RoleARN)]; !refused {
			c.Roles = append(c.Roles, page.Role{ARN: r.RoleARN, Node: r.Node, At: r.Renewed})
		}
	}
	for _, w := range view.Writes {
		shown := page.Write{At: w.At, Who: w.Who, Why: w.Why}
		for _, d := range w.Diffs {
			shown.Diffs = append(shown.Diffs, page.Diff{Key: d.Key, Lines: strings.Split(strings.TrimSuffix(d.Text, "\n"), "\n"), Left: d.Left})
		}
		c.Writes = append(c.Writes, shown)
	}
	return c
}

func (p *process) pageHold(h *plan.PendingRemoval) page.Hold {
	shown := page.Hold{ID: h.ID, Why: report.WhyPending(h), Since: h.Since, Command: "rolecall approve " + h.ID}
	if p.flags.namespace != defaultNamespace {
		shown.Command += " -n " + p.flags.namespace
	}
	for i := range h.Changes {
		ch := &h.Changes[i]
		shown.Changes = append(shown.Changes, page.Change{Op: string(ch.Op), Kind: string(ch.Entry.Kind), ARN: ch.Entry.ARN, Username: ch.Entry.Username})
	}
	return shown
}

// pageEntries are the entries of aws-auth as planned, with whose each one is.
func pageEntries(change *register.Change) []page.Entry {
	ours := make(map[string][]*plan.Owned, len(change.Managed))
	key := func(e *awsauth.Entry) string { return string(e.Kind) + " " + strings.ToLower(e.ARN) }
	for i := range change.Managed {
		k := key(&change.Managed[i].Entry)
		ours[k] = append(ours[k], &change.Managed[i])
	}
	listed := change.Listed
	out := make([]page.Entry, len(listed))
	for i := range listed {
		l := &listed[i]
		e := page.Entry{Kind: string(l.Kind), ARN: l.ARN, Username: l.Username, Groups: l.Groups, Mark: l.SyncedBy, Dropped: l.Dropped}
		for _, o := range ours[key(&l.Entry)] {
			if l.SyncedBy != awsauth.Mark && !sameEntry(o.Entry, l.Entry) {
				continue
			}
			e.Ours, e.Since = true, o.Since
			for _, claim := range o.Claims {
				e.Sources = append(e.Sources, claim.Source)
			}
			break
		}
		out[i] = e
	}
	return out
}
