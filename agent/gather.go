package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/internal/roster"
)

// The names of the sources, as the ledger and the metrics know them. Those of
// a permission set and of a group are followed by "/" and its name.
const (
	sourceFile      = "file"
	sourceSet       = "permission-set"
	sourceGroup     = "group"
	sourceKarpenter = "karpenter"
	sourceExtra     = "extra"
	sourceNode      = "node"

	sourceUnknown = "unknown" // in metrics: of entries that only their mark tells ours
)

// What every Linux node's role is mapped to
// (https://docs.aws.amazon.com/eks/latest/userguide/auth-configmap.html).
const (
	nodeUsername = "system:node:{{EC2PrivateDNSName}}"
	windowsGroup = "eks:kube-proxy-windows"
)

// nodeGroups returns a new slice: callers append to it.
func nodeGroups() []string { return []string{"system:bootstrappers", "system:nodes"} }

// liveFor is how long after its last report a node's role counts as in use.
// Reports are renewed about hourly.
const liveFor = 3 * roster.StaleAfter

// sourceKind is a source's name without what it is about, for metrics. It is one
// of few, whatever a ledger says that somebody else wrote.
func sourceKind(name string) string {
	kind, _, _ := strings.Cut(name, "/")
	switch kind {
	case sourceFile, sourceSet, sourceGroup, sourceKarpenter, sourceExtra, sourceNode, awsauth.Masters:
		return kind
	}
	return sourceUnknown
}

// gathered is what the sources want at one moment.
type gathered struct {
	sources  []awsauth.Source
	required []string         // ARNs that must be mapped after a write
	errs     map[string]error // of the sources that failed, by name; nil for one not asked yet
	reported int              // node roles that live agents report
	live     []string         // their ARNs
	refused  map[string]error // why a Lease of the roster is not believed, by its name
	states   []SourceStatus   // in the order of sources
}

// gatherer asks the sources. Its knowledge of IAM is asked apart, by refresh,
// so that node roles never wait for IAM. It is safe for concurrent use.
type gatherer struct {
	log       *slog.Logger
	roster    Roster
	self      func() (Node, bool)
	directory func(ctx context.Context, region, roleARN string) (Directory, error)
	now       func() time.Time

	mu      sync.Mutex
	opened  openDirectory
	caller  callerView
	iam     iamView
	success map[string]time.Time // when a source was last right, by kind
	missing map[string]time.Time // when a node role was first missed among the used ones
	ahead   map[string]sighting  // reports from later than now, by ARN
	refused map[string]error     // see gathered
	states  []SourceStatus       // as gathered last

	instances func(ctx context.Context, region string) (Instances, error)
	openedEC2 openInstances
	verdicts  verdicts
}

// sighting is a report from the future and when it was first seen.
type sighting struct{ renewed, since time.Time }

// openDirectory is the directory in use, and for which part of the config.
type openDirectory struct {
	region, roleARN string
	Directory
}

// callerView is what STS said of the account, where IMDS does not answer.
type callerView struct {
	account Account
	err     error // why it is unknown; errNotAsked at first
}

// iamView is what IAM said last.
type iamView struct {
	asked   bool
	at      time.Time // when
	sets    map[string]string
	setsErr error
	groups  map[string]groupView
}

type groupView struct {
	users []IAMUser
	err   error
}

// refresh asks AWS everything that the spec needs. The view it leaves is whole:
// what failed is known to have failed.
func (g *gatherer) refresh(ctx context.Context, spec *Spec) error {
	return errors.Join(g.refreshCaller(ctx, spec), g.refreshIAM(ctx, spec), g.verify(ctx, spec))
}

// refreshCaller asks STS for the account, once, where IMDS cannot tell it.
func (g *gatherer) refreshCaller(ctx context.Context, spec *Spec) error {
	g.mu.Lock()
	known := g.caller.err == nil
	g.mu.Unlock()
	if _, ok := g.self(); ok || known || !spec.needsAccount() {
		return nil
	}
	var account Account
	dir, err := g.open(ctx, spec)
	if err == nil {
		account, err = dir.Caller(ctx)
	}
	if err != nil {
		err = fmt.Errorf("the account is unknown, for IMDS does not answer here: %w", err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.caller = callerView{account, err}
	return err
}

func (g *gatherer) refreshIAM(ctx context.Context, spec *Spec) error {
	if !spec.asksIAM() {
		return nil
	}
	view := iamView{asked: true, at: g.now(), groups: map[string]groupView{}}
	dir, err := g.open(ctx, spec)
	if err != nil {
		view.setsErr = err
		for _, group := range spec.Groups {
			view.groups[group.Name] = groupView{err: err}
		}
	} else {
		view.ask(ctx, dir, spec)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	errs := []error{view.setsErr}
	for _, name := range slices.Sorted(maps.Keys(view.groups)) {
		errs = append(errs, view.groups[name].err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.iam = view
	return errors.Join(errs...)
}

func (v *iamView) ask(ctx context.Context, dir Directory, spec *Spec) {
	if len(spec.PermissionSets) > 0 {
		v.sets, v.setsErr = dir.PermissionSets(ctx)
	}
	for _, group := range spec.Groups {
		if _, done := v.groups[group.Name]; done {
			continue
		}
		users, err := dir.GroupUsers(ctx, group.Name)
		v.groups[group.Name] = groupView{users, err}
	}
}

func (g *gatherer) open(ctx context.Context, spec *Spec) (Directory, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.opened.Directory != nil && g.opened.region == spec.Region && g.opened.roleARN == spec.RoleARN {
		return g.opened.Directory, nil
	}
	dir, err := g.directory(ctx, spec.Region, spec.RoleARN)
	if err != nil {
		return nil, fmt.Errorf("open the IAM directory: %w", err)
	}
	g.opened = openDirectory{spec.Region, spec.RoleARN, dir}
	return dir, nil
}

// ownAccount is the account that $ACCOUNTID stands for: the node's, or where
// there is no IMDS the caller's.
func (g *gatherer) ownAccount() (Account, error) {
	if node, ok := g.self(); ok {
		return node.Account, nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.caller.account, g.caller.err
}

// rosterView is what the roster said at one moment.
type rosterView struct {
	roster.ListResult
	newest bool // nothing was reported after it when it was asked for
	err    error
}

// reports reads the roster, where the spec wants it: as of the resourceVersion
// notOlder or later, or with "" the newest.
func (g *gatherer) reports(ctx context.Context, spec *Spec, notOlder string) rosterView {
	if !spec.Nodes.Report {
		return rosterView{newest: true}
	}
	list, err := call(ctx, func(ctx context.Context) (roster.ListResult, error) { return g.roster.List(ctx, notOlder) })
	if err != nil && notOlder != "" {
		g.log.Debug("the roster can't be read as of what was seen", "resource_version", notOlder, "err", err)
		return g.reports(ctx, spec, "")
	}
	if err != nil {
		err = fmt.Errorf("read the roster: %w", err)
	}
	return rosterView{list, notOlder == "", err}
}

// gather puts together what every source wants, from what was asked before. It
// never fails as a whole: a source that does is marked, and the plan keeps what
// it asked for before.
func (g *gatherer) gather(spec *Spec, doc *awsauth.Document, ledger *awsauth.Ledger, reports rosterView) gathered {
	out := gathered{errs: map[string]error{}}
	add := func(name string, entries []awsauth.Entry, err error) {
		out.sources = append(out.sources, awsauth.Source{Name: name, Entries: entries, Failed: err != nil})
		if err != nil && !errors.Is(err, errNotAsked) {
			out.errs[name] = err
		}
	}
	account := g.ownAccount

	entries, err := fileEntries(spec, account)
	add(sourceFile, entries, err)

	g.mu.Lock()
	view := g.iam
	g.mu.Unlock()
	for _, set := range spec.PermissionSets {
		entries, err := view.setEntries(set)
		add(sourceSet+"/"+set.Name, entries, err)
	}
	for _, group := range spec.Groups {
		entries, err := view.groupEntries(group)
		add(sourceGroup+"/"+group.Name, entries, err)
	}

	windows := windowsRoles{names: spec.Nodes.Windows}
	karpenter, karpenterErr := nodeEntries(spec.Karpenter, account, &windows)
	extra, extraErr := nodeEntries(spec.Nodes.Extra, account, &windows)
	reported, live, reportedErr := g.nodeRoles(spec, doc, ledger, reports, account)
	for i := range reported {
		windows.extend(&reported[i])
	}
	listed, listedErr := windows.listed(account)
	add(sourceKarpenter, karpenter, karpenterErr)
	add(sourceExtra, append(extra, listed...), errors.Join(extraErr, listedErr))
	add(sourceNode, reported, reportedErr)
	out.reported, out.live, out.refused = len(live), live, g.takeRefused()
	for _, err := range out.refused {
		if unasked := (errEC2{}); errors.As(err, &unasked) {
			out.errs[sourceNode] = unasked // of the source, not of what it says: its live roles are right
		}
	}
	for _, e := range extra {
		out.required = append(out.required, e.ARN)
	}
	if spec.Nodes.Report {
		out.required = append(out.required, live...)
	}
	g.remember(out, view.at)
	out.states = g.sourceStates(out, view.at)
	return out
}

// remember keeps when each kind of source was last right. IAM was last asked at
// asked.
func (g *gatherer) remember(out gathered, asked time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	failed := map[string]bool{}
	for _, s := range out.sources {
		failed[sourceKind(s.Name)] = failed[sourceKind(s.Name)] || s.Failed
	}
	for kind, bad := range failed {
		switch {
		case bad:
		case kind == sourceSet || kind == sourceGroup:
			g.success[kind] = asked
		default:
			g.success[kind] = g.now()
		}
	}
}

// sourceStates are how the sources do. IAM was last asked at asked.
func (g *gatherer) sourceStates(out gathered, asked time.Time) []SourceStatus {
	g.mu.Lock()
	defer g.mu.Unlock()
	was := make(map[string]SourceStatus, len(g.states))
	for _, s := range g.states {
		was[s.Name] = s
	}
	now := g.now()
	g.states = make([]SourceStatus, len(out.sources))
	for i := range out.sources {
		source := &out.sources[i]
		s := SourceStatus{Name: statusName(source.Name)}
		s.Success = was[s.Name].Success
		if !source.Failed {
			s.Entries, s.Success = len(source.Entries), now.UTC().Truncate(time.Second)
			if kind := sourceKind(source.Name); kind == sourceSet || kind == sourceGroup {
				s.Success = asked.UTC().Truncate(time.Second)
			}
		}
		if err := out.errs[source.Name]; err != nil {
			s.Trouble = &Trouble{statusError(err), now.UTC().Truncate(time.Second)}
			if before := was[s.Name].Trouble; before != nil {
				s.Trouble.Since = before.Since
			}
		}
		g.states[i] = s
	}
	return g.states
}

func (g *gatherer) lastSuccess() map[string]time.Time {
	g.mu.Lock()
	defer g.mu.Unlock()
	return maps.Clone(g.success)
}

// fileEntries are what the file names itself.
func fileEntries(spec *Spec, account func() (Account, error)) ([]awsauth.Entry, error) {
	var out []awsauth.Entry
	for _, r := range spec.Roles {
		arn, err := expand(r.ARN, account)
		if err == nil {
			arn, err = awsauth.RoleARN(arn)
		}
		if err != nil {
			return nil, err
		}
		out = append(out, awsauth.Entry{Kind: awsauth.Role, ARN: arn, Username: r.Username, Groups: r.Groups})
	}
	for _, u := range spec.Users {
		arn, err := expand(u.ARN, account)
		if err == nil {
			arn, err = awsauth.UserARN(arn)
		}
		if err != nil {
			return nil, err
		}
		out = append(out, awsauth.Entry{Kind: awsauth.User, ARN: arn, Username: u.Username, Groups: u.Groups})
	}
	for _, id := range spec.Accounts {
		id, err := expand(id, account)
		if err == nil {
			err = awsauth.CheckAccountID(id)
		}
		if err != nil {
			return nil, err
		}
		out = append(out, awsauth.Entry{Kind: awsauth.Account, ARN: id})
	}
	return out, nil
}

// expand fills in $ACCOUNTID and $PARTITION, and asks for the account only
// where one of them stands.
func expand(s string, account func() (Account, error)) (string, error) {
	if !strings.Contains(s, "$") {
		return s, nil
	}
	a, err := account()
	if err != nil {
		return "", err
	}
	return strings.NewReplacer("$ACCOUNTID", a.ID, "$PARTITION", a.Partition).Replace(s), nil
}

// errNotAsked says that a source has not been asked yet: nothing to report.
var errNotAsked = errors.New("not asked yet")

func (v *iamView) setEntries(set PermissionSet) ([]awsauth.Entry, error) {
	switch {
	case !v.asked:
		return nil, errNotAsked
	case v.setsErr != nil:
		return nil, v.setsErr
	}
	arn, ok := v.sets[set.Name]
	if !ok {
		return nil, fmt.Errorf("permission set %q has no role in this account: assign it to the account in IAM Identity Center, or take it out of the config", set.Name)
	}
	arn, err := awsauth.RoleARN(arn)
	if err != nil {
		return nil, err
	}
	return []awsauth.Entry{{Kind: awsauth.Role, ARN: arn, Username: set.Username, Groups: set.Groups}}, nil
}

func (v *iamView) groupEntries(group Group) ([]awsauth.Entry, error) {
	seen, ok := v.groups[group.Name]
	switch {
	case !ok:
		return nil, errNotAsked
	case seen.err != nil:
		return nil, seen.err
	}
	out := make([]awsauth.Entry, 0, len(seen.users))
	for _, u := range seen.users {
		arn, err := awsauth.UserARN(u.ARN)
		if err != nil {
			return nil, err
		}
		id, _ := awsauth.ARNAccount(arn)
		username := strings.NewReplacer("{{UserName}}", u.Name, "{{AccountID}}", id).Replace(group.Username)
		if err := awsauth.CheckUsername(username); err != nil {
			return nil, err
		}
		out = append(out, awsauth.Entry{Kind: awsauth.User, ARN: arn, Username: username, Groups: group.Groups})
	}
	return out, nil
}

func nodeEntry(arn string) awsauth.Entry {
	return awsauth.Entry{Kind: awsauth.Role, ARN: arn, Username: nodeUsername, Groups: nodeGroups()}
}

// nodeEntries maps the roles of nodes that the file names.
func nodeEntries(arns []string, account func() (Account, error), windows *windowsRoles) ([]awsauth.Entry, error) {
	var out []awsauth.Entry
	for _, arn := range arns {
		arn, err := expand(arn, account)
		if err == nil {
			arn, err = awsauth.RoleARN(arn)
		}
		if err != nil {
			return nil, err
		}
		e := nodeEntry(arn)
		windows.extend(&e)
		out = append(out, e)
	}
	return out, nil
}

// nodeRoles are the roles that nodes run under: those that agents report, and
// those that they reported and that are kept. live lists the ARNs of roles of
// which a report is fresh.
func (g *gatherer) nodeRoles(spec *Spec, doc *awsauth.Document, ledger *awsauth.Ledger, reports rosterView, account func() (Account, error)) (entries []awsauth.Entry, live []string, err error) {
	mapped, leased := map[string]bool{}, map[string]bool{}
	add := func(arn string) {
		if k := strings.ToLower(arn); !mapped[k] {
			mapped[k] = true
			entries = append(entries, nodeEntry(arn))
		}
	}
	known := knownNodeRoles(doc, ledger)
	if spec.Nodes.Report {
		if reports.err != nil {
			return nil, nil, reports.err
		}
		own, err := account()
		if err != nil && len(reports.Reports) > 0 {
			return nil, nil, err
		}
		for _, r := range g.believed(spec, reports.ListResult, own, known) {
			leased[strings.ToLower(r.arn)] = true
			if r.age < liveFor {
				live = append(live, r.arn)
			} else if spec.Nodes.KeepUnused > 0 && r.age > spec.Nodes.KeepUnused {
				continue
			}
			add(r.arn)
		}
	}
	// Roles that we mapped and nobody reports: the lease is gone, reporting
	// was switched off, or the ledger was lost.
	g.mu.Lock()
	defer g.mu.Unlock()
	for k := range mapped {
		delete(g.missing, k)
	}
	for _, arn := range known {
		if k := strings.ToLower(arn); !mapped[k] && g.kept(k, leased[k], spec) {
			add(arn)
		}
	}
	return entries, live, nil
}

// knownNodeRoles lists the ARNs of roles that we have mapped for nodes: as the
// ledger has them, or where it has nothing, as their mark and groups tell.
func knownNodeRoles(doc *awsauth.Document, ledger *awsauth.Ledger) []string {
	var arns []string
	inLedger := map[string]bool{}
	for i := range ledger.Owned {
		o := &ledger.Owned[i]
		inLedger[strings.ToLower(o.ARN)] = true
		if slices.ContainsFunc(o.Claims, func(c awsauth.Claim) bool { return c.Source == sourceNode }) {
			arns = append(arns, o.ARN)
		}
	}
	for _, l := range doc.Entries() {
		if l.SyncedBy == awsauth.Mark && l.Kind == awsauth.Role && !inLedger[strings.ToLower(l.ARN)] && slices.Contains(l.Groups, "system:nodes") {
			arns = append(arns, l.ARN)
		}
	}
	return arns
}

// believedReport is a report that counts.
type believedReport struct {
	arn string
	age time.Duration
}

// believed leaves out the reports that are of another account or partition, and
// with spec.Nodes.Verify those of new roles that EC2 has not borne out.
func (g *gatherer) believed(spec *Spec, reports roster.ListResult, own Account, known []string) []believedReport {
	ours := make(map[string]bool, len(known))
	for _, arn := range known {
		ours[strings.ToLower(arn)] = true
	}
	ages := g.ages(reports.Reports)

	// In one go, so that what EC2 says meanwhile is not overwritten by still.
	g.mu.Lock()
	defer g.mu.Unlock()
	if reports.Surplus > 0 {
		g.refuse("of the roster", fmt.Errorf("%d reports more than the %d that are believed, the oldest ones: delete the Leases of roles that nobody uses", reports.Surplus, len(reports.Reports)))
	}
	for _, name := range reports.Invalid {
		g.refuse(name, errNoReport)
	}
	var out []believedReport
	still := map[sworn]error{}
	for i, r := range reports.Reports {
		arn, err := acceptReport(r.RoleARN, own, spec.Nodes.Accounts)
		if k := strings.ToLower(arn); err == nil && spec.Nodes.Verify && !ours[k] {
			err = g.believe(sworn{r.Node, k}, still)
		}
		switch {
		case err == nil:
			out = append(out, believedReport{arn, ages[i]})
		case !errors.Is(err, errNotVerified):
			g.refuse(roster.LeaseName(r.RoleARN), fmt.Errorf("node %q: %w", r.Node, err))
		}
	}
	g.verdicts.known = still
	return out
}

// kept reports whether a role that no live node reports any more stays, counted
// from when this leader missed it first. Of one with a report, leased, its age
// has said that it is unused; this leader only makes sure that it is not its
// own clock that says so.
func (g *gatherer) kept(k string, leased bool, spec *Spec) bool {
	since, ok := g.missing[k]
	if !ok {
		since = g.now()
		g.missing[k] = since
	}
	grace := max(spec.Nodes.KeepUnused, liveFor)
	if leased {
		grace = liveFor
	}
	return spec.Nodes.KeepUnused == 0 || g.now().Sub(since) < grace
}

// ages tells how old reports are. One from the future, of a node whose clock is
// ahead, counts from when this leader saw it first: else it could be fresh for
// years.
func (g *gatherer) ages(reports []roster.Report) []time.Duration {
	now := g.now()
	g.mu.Lock()
	defer g.mu.Unlock()
	ahead := map[string]sighting{}
	out := make([]time.Duration, len(reports))
	for i, r := range reports {
		if out[i] = now.Sub(r.Renewed); out[i] >= 0 {
			continue
		}
		seen, known := g.ahead[r.RoleARN]
		if !known || !seen.renewed.Equal(r.Renewed) {
			seen = sighting{r.Renewed, now}
		}
		ahead[r.RoleARN] = seen
		out[i] = now.Sub(seen.since)
	}
	g.ahead = ahead
	return out
}

// refuse notes why a Lease is not believed. Called with mu held.
func (g *gatherer) refuse(lease string, why error) {
	if g.refused == nil {
		g.refused = map[string]error{}
	}
	g.refused[lease] = why
}

func (g *gatherer) takeRefused() map[string]error {
	g.mu.Lock()
	defer g.mu.Unlock()
	refused := g.refused
	g.refused = nil
	return refused
}

// errNoReport says that a Lease has the roster's label and is none of its own.
var errNoReport = errors.New("it does not stand for a role: delete it")

// acceptReport believes a report only of an allowed account and of the
// cluster's own partition.
func acceptReport(arn string, own Account, allowed []string) (string, error) {
	arn, err := awsauth.RoleARN(arn)
	if err != nil {
		return "", err
	}
	id, partition := awsauth.ARNAccount(arn)
	if partition != own.Partition {
		return "", fmt.Errorf("%s is of partition %s, this cluster of %s", arn, partition, own.Partition)
	}
	if len(allowed) == 0 && id != own.ID || len(allowed) > 0 && !slices.Contains(allowed, id) {
		return "", fmt.Errorf("%s is of an account that nodeRoles.accounts does not list", arn)
	}
	return arn, nil
}

// windowsRoles gives Windows nodes' roles their further group.
type windowsRoles struct {
	names []string        // ARNs or bare role names
	found map[string]bool // bare names of which a role was mapped
}

// extend adds the group to a node's role that is listed by its bare name.
func (w *windowsRoles) extend(e *awsauth.Entry) {
	for _, name := range w.names {
		if strings.HasSuffix(strings.ToLower(e.ARN), ":role/"+strings.ToLower(name)) {
			if w.found == nil {
				w.found = map[string]bool{}
			}
			w.found[name] = true
			e.Groups = append(e.Groups, windowsGroup)
			return
		}
	}
}

// listed maps the listed roles themselves: no agent on Linux reports them. A
// bare name that is no other node's role is one of the cluster's own account.
func (w *windowsRoles) listed(account func() (Account, error)) ([]awsauth.Entry, error) {
	var out []awsauth.Entry
	for _, name := range w.names {
		if w.found[name] {
			continue
		}
		if !strings.Contains(name, ":") {
			name = "arn:$PARTITION:iam::$ACCOUNTID:role/" + name
		}
		arn, err := expand(name, account)
		if err == nil {
			arn, err = awsauth.RoleARN(arn)
		}
		if err != nil {
			return nil, err
		}
		e := nodeEntry(arn)
		e.Groups = append(e.Groups, windowsGroup)
		out = append(out, e)
	}
	return out, nil
}
