package source

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/config"
	"github.com/rolecall/rolecall/internal/plan"
	"github.com/rolecall/rolecall/internal/roster"
)

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

const own = "111122223333"

// world is everything that sources ask, to be set by a test. As a Directory it
// answers for IAM.
type world struct {
	reports   Reports
	state     *plan.State
	standing  []plan.Standing
	self      *Node
	sets      map[string]SetRole
	setsErr   error
	users     map[string][]IAMUser
	usersErr  map[string]error
	made      map[string]time.Time // groups
	caller    Account
	callerErr error
	instances Instances
	vpc       string            // of the leader's node; empty: unknown
	nodes     map[string]string // providerIDs; nil: Nodes can't be read
	nodesErr  error
	now       time.Time

	mu     sync.Mutex
	calls  int // of IAM and STS
	opened int // directories
	read   int // Nodes
}

func (w *world) count(n *int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	*n++
}

func (w *world) PermissionSets(context.Context) (map[string]SetRole, error) {
	w.count(&w.calls)
	return w.sets, w.setsErr
}

func (w *world) GroupUsers(_ context.Context, group string) (IAMGroup, error) {
	w.count(&w.calls)
	return IAMGroup{Created: w.made[group], Users: w.users[group]}, w.usersErr[group]
}

func (w *world) Caller(context.Context) (Account, error) {
	w.count(&w.calls)
	return w.caller, w.callerErr
}

func (w *world) env() Env {
	return Env{
		Self: func() (Node, bool) {
			if w.self == nil {
				return Node{}, false
			}
			return *w.self, true
		},
		Directory: func(context.Context, string, string) (Directory, error) { w.count(&w.opened); return w, nil },
		Instances: func(context.Context, string) (Instances, error) { return w.instances, nil },
		VPC: func(context.Context) (string, error) {
			if w.vpc == "" {
				return "", errors.New("no IMDS")
			}
			return w.vpc, nil
		},
		ProviderID: func(_ context.Context, node string) (string, error) {
			w.count(&w.read)
			id, ok := w.nodes[node]
			switch {
			case w.nodesErr != nil:
				return "", w.nodesErr
			case w.nodes == nil:
				return "", ErrNodesNotReadable
			case !ok:
				return "", ErrNoNode
			}
			return id, nil
		},
		Now: func() time.Time { return w.now },
	}
}

func (w *world) set() *Set { return NewSet(Kinds(), w.env()) }

func newWorld() *world {
	return &world{
		now: start, vpc: "vpc-1", reports: Reports{Newest: true}, callerErr: errors.New("no credentials"),
		self: &Node{RoleARN: arn("a"), Account: Account{own, "aws"}},
	}
}

func (w *world) ask(s *Set, c *config.Config) Asked {
	return s.Ask(Moment{Config: c, State: w.state, Standing: w.standing, Reports: w.reports, Now: w.now})
}

// owned has the state know a role by a source's claim.
func (w *world) owned(role, source string, groups ...string) {
	if w.state == nil {
		w.state = &plan.State{}
	}
	e := nodeEntry(arn(role))
	e.Groups = append(e.Groups, groups...)
	w.state.Owned = append(w.state.Owned, plan.Owned{
		Entry: e, Since: start,
		Claims: []plan.Claim{{Source: source, Username: e.Username, Groups: awsauth.GroupSet(e.Groups)}},
	})
}

func (w *world) stands(role, mark string, groups ...string) {
	w.standing = append(w.standing, plan.Standing{Entry: awsauth.Entry{Kind: awsauth.Role, ARN: arn(role), Username: "x", Groups: groups}, Mark: mark})
}

// arn is the ARN of a role of the cluster's own account, or of ACCOUNT:NAME.
func arn(role string) string {
	id, name, ok := strings.Cut(role, ":")
	if !ok {
		id, name = own, role
	}
	return "arn:aws:iam::" + id + ":role/" + name
}

func report(role string, age time.Duration) roster.Report {
	return roster.Report{RoleARN: arn(role), Node: "n", Renewed: start.Add(-age)}
}

func reporting() *config.Config {
	return &config.Config{RefreshInterval: time.Minute, NodeRoles: config.NodeRoles{Report: true}}
}

// entriesOf are the names that each source asks for; of another account with its id.
func entriesOf(asked Asked) map[string][]string {
	out := map[string][]string{}
	for _, s := range asked.Sources {
		list := []string{}
		for _, e := range s.Entries {
			name := e.ARN
			if id, _ := awsauth.ARNAccount(e.ARN); id == own {
				name = e.ARN[strings.LastIndexByte(e.ARN, ':')+1:]
			}
			if slices.Contains(e.Groups, windowsGroup) {
				name += "+windows"
			}
			list = append(list, name)
		}
		slices.Sort(list)
		if s.Failed {
			list = append(list, "FAILED")
		}
		out[s.Name] = list
	}
	return out
}

// wantEntries compares what sources ask for. Those that are not in want must ask for
// nothing and not fail.
func wantEntries(t *testing.T, when string, asked Asked, want map[string][]string) {
	t.Helper()
	got := entriesOf(asked)
	for name := range got {
		if _, ok := want[name]; !ok && len(got[name]) == 0 {
			delete(got, name)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s: what the sources ask (-want +got):\n%s\nerrors: %v", when, diff, asked.Errs)
	}
}

// wantError compares the error of a source.
func wantError(t *testing.T, when string, asked Asked, source string, parts ...string) {
	t.Helper()
	err := asked.Errs[source]
	if err == nil {
		t.Errorf("%s: the source %s has no error", when, source)
		return
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%s: the error of %s is %q, want %q in it", when, source, err, part)
		}
	}
}
