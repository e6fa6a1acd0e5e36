// Package writers_test runs the real binary against a real API server while
// others write aws-auth, and holds every version that came of it against the
// model of package writers.
package writers_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rolecall/rolecall/internal/plan"
	"github.com/rolecall/rolecall/internal/register/configmap"
	"github.com/rolecall/rolecall/test/awsfake"
	"github.com/rolecall/rolecall/test/fleet"
	"github.com/rolecall/rolecall/test/stage"
	"github.com/rolecall/rolecall/test/trial"
	"github.com/rolecall/rolecall/test/writers"
)

// What stands in aws-auth before rolecall comes.
const (
	foreignRoles = `# Do not edit without the platform team.
- rolearn: arn:aws:iam::111122223333:role/break-glass # in a safe
  username: break-glass
  groups: [system:masters]
  ticket: OPS-1
- groups:
    - deployers # of staging too
  rolearn: arn:aws:iam::111122223333:role/ci
  username: "ci:{{SessionName}}"
`
	foreignUsers = `- userarn: arn:aws:iam::111122223333:user/root-of-trust
  username: root-of-trust
  groups:
  - system:masters
`
)

const patience = 4 * time.Minute

var quick = []string{"--lease-duration=4s", "--renew-deadline=3s", "--retry-period=500ms", "--settle-time=0"}

// mostNodes is how many nodes there are in the end.
const mostNodes = 5

// A drill is the test's cluster, with what its sources ask for.
type drill struct {
	*fleet.Fleet
	t    *testing.T
	size size

	mu     sync.Mutex
	asked  asks
	deaths int
}

// Eight tools edit aws-auth in their ways while rolecall reconciles, nodes join,
// the config and IAM change, and leaders die. Nothing that a tool wrote is lost,
// nothing of ours is doubled or left over, and no live node is ever locked out
// by us: of each version that there was.
func TestWriters(t *testing.T) {
	size := sizeOf(t)
	stage.ForTest(t) // skips where there is none to run
	path := trial.Binary(t)
	ctx, cancel := context.WithTimeoutCause(t.Context(), 15*time.Minute, errors.New("this takes too long"))
	defer cancel()

	// A control plane of its own: the audit log says on top of what rolecall wrote.
	auditLog := filepath.Join(t.TempDir(), "audit.log")
	cp, err := stage.Start(ctx, stage.Options{AuditLog: auditLog})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := cp.Stop(); err != nil {
			t.Error(err)
		}
	}()
	f, err := fleet.New(ctx, fleet.Options{
		ControlPlane: cp, Binary: path, Dir: t.TempDir(), Flags: quick,
		AWS: awsfake.AWSOptions{PageSize: 2},
	})
	if err != nil {
		t.Fatal(err)
	}
	d := &drill{Fleet: f, t: t, size: size}
	defer d.end()
	for set, suffix := range map[string]string{"Admin": "00000000000000aa", "Viewer": "00000000000000bb"} {
		f.AWS.AddPermissionSet(set, suffix, "", time.Now())
	}
	begin := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: "aws-auth", Labels: map[string]string{"team": "platform"}},
		Data:       map[string]string{"mapRoles": foreignRoles, "mapUsers": foreignUsers, "notes": "ours is not to touch\n"},
	}
	if _, err := f.Client.CoreV1().ConfigMaps(f.AWSAuthNamespace).Create(ctx, begin, metav1.CreateOptions{FieldManager: "installer"}); err != nil {
		t.Fatal(err)
	}
	record, err := writers.Follow(ctx, f.Client, f.AWSAuthNamespace, "aws-auth")
	if err != nil {
		t.Fatal(err)
	}
	defer record.Stop()

	random := rand.New(rand.NewPCG(size.seed, 100))
	if err := d.ask(random); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := d.join(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.mapped(ctx); err != nil {
		t.Fatalf("before the others come: %v", err)
	}
	d.trouble(ctx, record, random)
	if t.Failed() {
		return
	}

	// At peace, all that is asked for is there and nothing else.
	peace := time.Now()
	if err := d.mapped(ctx); err != nil {
		t.Errorf("after the others have gone: %v", err)
	}
	// The ledger may remember an account for minutes whose write may yet arrive, so
	// that it agrees is not waited for.
	last, err := f.AWSAuth(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("all is there %s after the last edit", time.Since(peace).Round(time.Millisecond))
	if err := record.Reaches(ctx, last.ResourceVersion); err != nil {
		t.Fatal(err)
	}
	d.judge(record, auditLog)
}

// trouble has the tools edit and leaders die until there was enough of both.
func (d *drill) trouble(ctx context.Context, record *writers.Record, random *rand.Rand) {
	enough := make(chan struct{})
	limit := rate.NewLimiter(rate.Inf, 1)
	var count writers.Counts
	errEnough := errors.New("that was enough")
	work, ctx := errgroup.WithContext(ctx)
	work.Go(func() error {
		err := writers.Run(ctx, writers.Options{
			Client: d.Client, Namespace: d.AWSAuthNamespace, Record: record, Seed: d.size.seed,
			Targets: targets(roles(mostNodes)),
			Pace: func() error {
				select {
				case <-enough:
					if count.Edits.Load() >= int64(d.size.edits) {
						return errEnough
					}
				default:
				}
				return limit.Wait(ctx)
			},
		}, &count)
		return err
	})
	work.Go(func() error { return d.storms(ctx, enough, limit, rand.New(rand.NewPCG(d.size.seed, 101))) })
	work.Go(func() error { return d.changes(ctx, enough, rand.New(rand.NewPCG(d.size.seed, 102))) })
	work.Go(func() error {
		defer close(enough)
		for range d.size.deaths {
			if err := d.death(ctx, random); err != nil {
				return err
			}
			d.t.Logf("%3d deaths of a leader, %4d edits, %4d conflicts", d.deaths, count.Edits.Load(), count.Conflicts.Load())
		}
		return nil
	})
	if err := work.Wait(); err != nil {
		d.t.Error(err)
	}
	d.t.Logf("%d edits by tools, which met %d conflicts; %d deaths of a leader", count.Edits.Load(), count.Conflicts.Load(), d.deaths)
}

// storms changes how fast the tools edit: as fast as they can for a while, then
// a few times a second, as in clusters that are busy.
func (d *drill) storms(ctx context.Context, enough <-chan struct{}, limit *rate.Limiter, random *rand.Rand) error {
	for storm := true; ; storm = !storm {
		limit.SetLimit(15)
		length := time.Duration(2000+random.IntN(4000)) * time.Millisecond
		if storm {
			limit.SetLimit(rate.Inf)
			length /= 4
		}
		if !pause(ctx, enough, length) {
			limit.SetLimit(rate.Inf) // what is left of the edits
			return nil
		}
	}
}

// changes swaps what the sources ask for, and lets nodes join.
func (d *drill) changes(ctx context.Context, enough <-chan struct{}, random *rand.Rand) error {
	for pause(ctx, enough, time.Duration(500+random.IntN(3500))*time.Millisecond) {
		if len(d.Nodes()) < mostNodes && random.IntN(3) == 0 {
			if err := d.join(ctx); err != nil {
				return err
			}
			continue
		}
		if err := d.ask(random); err != nil {
			return err
		}
	}
	return nil
}

// pause waits, and reports whether there is more to do.
func pause(ctx context.Context, enough <-chan struct{}, length time.Duration) bool {
	timer := time.NewTimer(length)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-enough:
	case <-timer.C:
		return true
	}
	return false
}

// death ends the agent that leads: half of the times at some moment, else within
// a few milliseconds of its writing ahead into the ledger, so that it dies between
// the steps of a write. Its node starts it again, at once or later.
func (d *drill) death(ctx context.Context, random *rand.Rand) error {
	var leader *fleet.Node
	_, err := fleet.Until(ctx, func(ctx context.Context) (err error) {
		leader, err = d.Leader(ctx)
		return err
	})
	if err != nil {
		return err
	}
	how, aimed := "SIGKILL", random.IntN(2) == 0
	wait := time.Duration(random.IntN(2500)) * time.Millisecond
	if aimed {
		if err := d.writesAhead(ctx); err != nil {
			return err
		}
		wait = time.Duration(random.IntN(15)) * time.Millisecond
	}
	pause(ctx, nil, wait)
	if random.IntN(4) == 0 {
		how = "SIGTERM"
		stop, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		if err := leader.Terminate(stop); err != nil {
			return fmt.Errorf("end %s: %w", leader.Name, err)
		}
	} else {
		leader.Kill()
	}
	d.deaths++
	d.t.Logf("%s: %s, within a write: %t", leader.Name, how, aimed)
	pause(ctx, nil, time.Duration(random.IntN(1500))*time.Millisecond)
	return leader.Start()
}

// writesAhead waits until the leader has written into the ledger what it is about
// to write into aws-auth, or for some seconds: while nothing changes it doesn't.
func (d *drill) writesAhead(ctx context.Context) error {
	ledgers := d.Client.CoreV1().ConfigMaps(d.Namespace)
	now, err := ledgers.Get(ctx, fleet.LedgerName, metav1.GetOptions{})
	if err != nil {
		return err
	}
	short, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	events, err := ledgers.Watch(short, metav1.ListOptions{
		FieldSelector: "metadata.name=" + fleet.LedgerName, ResourceVersion: now.ResourceVersion,
	})
	if err != nil {
		if short.Err() != nil && ctx.Err() == nil {
			return nil
		}
		return err
	}
	defer events.Stop()
	for event := range events.ResultChan() {
		cm, ok := event.Object.(*corev1.ConfigMap)
		if !ok {
			continue
		}
		ledger, _, err := configmap.DecodeLedger(cm.BinaryData[configmap.LedgerKey])
		if err != nil {
			return err
		}
		if slices.ContainsFunc(ledger.Owned, func(o plan.Owned) bool { return o.Pending }) {
			return nil
		}
	}
	return nil
}

// ask has the sources ask for something else.
func (d *drill) ask(random *rand.Rand) error {
	next := draw(random)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked = next
	return next.reach(d.AWS, d.Swap)
}

func roles(n int) []string {
	var arns []string
	for i := range n {
		arns = append(arns, fmt.Sprintf("%srole/nodes-%c", account, 'a'+i))
	}
	return arns
}

// join adds a node with a role of its own.
func (d *drill) join(ctx context.Context) error {
	letter := 'a' + len(d.Nodes())
	n, err := d.Add(ctx, fmt.Sprintf("node-%c", letter), fmt.Sprintf("nodes-%c", letter))
	if err != nil {
		return err
	}
	return n.Start()
}

// wanted is what must be in force now, by ARN.
func (d *drill) wanted() map[string]writers.Grant {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := map[string]writers.Grant{}
	for _, m := range []map[string]writers.Grant{d.asked.always, d.asked.now} {
		for arn, g := range m {
			all[arn] = g
		}
	}
	for _, arn := range roles(len(d.Nodes())) {
		all[arn] = nodeGrant
	}
	return all
}

// mapped waits until all that is wanted is there, what is ours has our mark, and
// nothing else has it.
func (d *drill) mapped(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, errors.New("not so"))
	defer cancel()
	want := d.wanted()
	_, err := fleet.Until(ctx, func(ctx context.Context) error {
		cm, err := d.AWSAuth(ctx)
		if err != nil {
			return err
		}
		found, err := fleet.Mappings(cm)
		if err != nil {
			return err
		}
		there := map[string]bool{}
		for _, m := range found {
			there[m.ARN] = true
			g, ok := want[m.ARN]
			if m.SyncedBy == "rolecall" && (!ok || g.Username != m.Username || !slices.Equal(g.Groups, m.Groups)) {
				return fmt.Errorf("an entry of ours is %+v, want %+v (asked for: %t)", m, g, ok)
			}
		}
		for arn := range want {
			if !there[arn] {
				return fmt.Errorf("%s is not mapped", arn)
			}
		}
		return d.Marked(ctx, found)
	})
	return err
}

// judge holds the record against the model.
func (d *drill) judge(record *writers.Record, auditLog string) {
	versions, err := record.Versions()
	if err != nil {
		d.t.Fatal(err)
	}
	// The log has a request when its handler has ended, which those who watch the
	// object may see earlier.
	var requests []writers.Request
	ctx, cancel := context.WithTimeout(d.t.Context(), 10*time.Second)
	defer cancel()
	_, err = fleet.Until(ctx, func(context.Context) error {
		requests, err = writers.Requests(auditLog, "system:serviceaccount:"+d.Namespace+":rolecall", d.AWSAuthNamespace, "aws-auth")
		if err != nil {
			return err
		}
		if err := writers.Attribute(versions, requests); err != nil {
			return err
		}
		if slices.ContainsFunc(versions, func(v writers.Version) bool { return v.Base != nil && *v.Base == "" }) {
			return errors.New("a write of rolecall's has no request")
		}
		return nil
	})
	if err != nil {
		d.t.Error(err)
	}
	conflicts := 0
	for _, q := range requests {
		if q.Code == 409 {
			conflicts++
		}
	}
	d.t.Logf("rolecall asked %d times to write, and %d of these met a conflict", len(requests), conflicts)
	nodes := roles(len(d.Nodes()))
	rules := writers.Rules{Asked: map[string][]writers.Grant{}, Always: slices.Clone(nodes), Nodes: nodes, Final: d.wanted()}
	always, optional := ever()
	for arn, grants := range always {
		rules.Asked[arn] = grants
		rules.Always = append(rules.Always, arn)
	}
	for arn, grants := range optional {
		rules.Asked[arn] = grants
	}
	for _, arn := range roles(mostNodes) {
		rules.Asked[arn] = []writers.Grant{nodeGrant}
	}
	report, err := writers.Check(versions, rules)
	if err != nil {
		d.t.Fatal(err)
	}
	for i, v := range report.Violations {
		if i < 10 {
			d.t.Errorf(trial.NoRerun+"%s", v)
		}
	}
	d.t.Logf("%s", report)
	if report.Edits < d.size.edits || d.deaths < d.size.deaths {
		d.t.Errorf("%d edits and %d deaths, want %d and %d", report.Edits, d.deaths, d.size.edits, d.size.deaths)
	}
}

// end stops the agents and looks for what none may ever log.
func (d *drill) end() {
	if err := d.Close(); err != nil {
		d.t.Error(err)
	}
	for _, n := range d.Nodes() {
		for _, never := range []string{"DATA RACE", "panic: ", `"level":"ERROR"`} {
			found, err := n.LoggedEver(never)
			if err != nil || len(found) > 0 {
				d.t.Errorf("the log of %s holds %q: %v (%v)", n.Name, never, found, err)
			}
		}
		if d.t.Failed() {
			d.t.Logf("the end of the log of %s:\n%s", n.Name, n.Tail(15))
		}
	}
}
