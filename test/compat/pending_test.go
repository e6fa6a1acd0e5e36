package compat_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/rolecall/rolecall/test/faultproxy"
	"github.com/rolecall/rolecall/test/fleet"
)

// A crash is where a leader dies while it writes.
type crash string

const (
	ledgerAhead    crash = "before aws-auth is written" // the ledger has the new entries as pending
	awsAuthWritten crash = "after aws-auth is written"  // the ledger doesn't know that yet
)

// A leader dies between two of its writes, and the other version finds a ledger with
// pending entries. One write adds, changes and removes entries, an account among them.
func TestPendingEntries(t *testing.T) {
	inBothOrders(t, func(t *testing.T, first, second version) {
		p := newPending(t, first, second)
		for _, at := range []crash{ledgerAhead, awsAuthWritten} {
			for _, strip := range []bool{false, true} {
				for range 2 { // there and back
					p.crash(at)
					if strip {
						p.Edit(stripMarks)
					} else {
						p.planAlike()
					}
					p.takeOver()
					p.settled(fmt.Sprintf("%s, marks stripped: %t: the %s version has seen to it", at, strip, p.versions[p.leader]))
				}
			}
		}
		p.check(p.stay...)
		p.noneDisowned()
	})
}

// Two leaders in a row die. The second one's ledger must still say what the first one
// wrote, whose marks are gone.
func TestPendingTwice(t *testing.T) {
	inBothOrders(t, func(t *testing.T, first, second version) {
		p := newPending(t, first, second)
		p.crash(awsAuthWritten)
		p.Edit(stripMarks)
		p.exchange()
		held := p.stopAt(ledgerAhead)
		p.ask(p.now.with(append(p.now.users, user("late", "viewers"))...))
		p.start(p.leader, p.versions[p.leader])
		p.die(ledgerAhead, held)
		p.takeOver()
		p.settled("the third leader knows what the first one wrote")
		p.check(p.stay...)
		p.noneDisowned()
	})
}

// Where a leader dies before it has written aws-auth, an entry that somebody else has
// made meanwhile is that one's, to both versions.
func TestPendingEntryOfAnother(t *testing.T) {
	inBothOrders(t, func(t *testing.T, first, second version) {
		p := newPending(t, first, second)
		p.crash(ledgerAhead)
		const text = "- {userarn: \"arn:aws:iam::111122223333:user/odd\", username: odd, groups: [viewers]}\n"
		p.Edit(func(data map[string]string) { data["mapUsers"] += text })
		other := unmarked(user("odd", "viewers"))
		p.now.users = slices.DeleteFunc(p.now.users, func(m fleet.Mapping) bool { return m.ARN == other.ARN }) // the config still asks for it
		p.takeOver()
		p.settledWith("it is left to the other", other)
		p.ask(p.now.without())
		p.settledWith("it stays when nobody asks for it any more", other)
	})
}

// pending is a cluster in which one agent runs at a time, and the config goes to and fro
// between two intents.
type pending struct {
	*cluster
	versions      map[*fleet.Node]version
	leader, other *fleet.Node
	even, odd     intent
	stay          []fleet.Mapping
}

func newPending(t *testing.T, first, second version) *pending {
	even := full("workers")
	even.users = []fleet.Mapping{user("ops", "viewers"), user("ana", "viewers"), user("even", "viewers")}
	odd := even
	odd.users = []fleet.Mapping{user("ops", "viewers"), user("ana", "editors"), user("odd", "viewers")}
	odd.accounts = append(odd.accounts, "777788889999")
	p := &pending{cluster: newCluster(t, even, calm...), even: even, odd: odd}
	p.stay = full("workers").managed()
	p.leader, p.other = p.NewNode("node-a", "workers"), p.NewNode("node-b", "workers")
	p.versions = map[*fleet.Node]version{p.leader: first, p.other: second}
	p.start(p.leader, first)
	p.leads(p.leader)
	p.settled("before the change")
	return p
}

// crash has the other intent asked for, and the leader die while it writes for that.
func (p *pending) crash(at crash) {
	p.T.Helper()
	held := p.stopAt(at)
	next := p.odd
	if len(p.now.accounts) == len(p.odd.accounts) {
		next = p.even
	}
	p.ask(next)
	p.die(at, held)
}

// stopAt stops the leader's next write of entries into aws-auth.
func (p *pending) stopAt(at crash) *faultproxy.Hold {
	p.T.Helper()
	write := faultproxy.Match{
		Client: p.leader.Name, Verb: "update", Resource: "configmaps", Name: "aws-auth", Times: 1,
		Where: changesText(p.Now()),
	}
	if at == ledgerAhead {
		return p.proxy.HoldBefore(write)
	}
	return p.proxy.HoldAfter(write)
}

// die kills the leader when its write is stopped, and looks whether it left what this
// test is about.
func (p *pending) die(at crash, h *faultproxy.Hold) {
	p.T.Helper()
	before := p.Now()
	held := p.hold(h)
	p.kill(p.leader)
	held.Drop()
	h.Remove()
	l, err := p.ledger(p.T.Context())
	if err != nil {
		p.T.Fatal(err)
	}
	if !slices.ContainsFunc(l.Owned, func(o owned) bool { return o.Pending }) {
		p.T.Fatalf("the %s version died %s, and the ledger has nothing pending: %+v", p.versions[p.leader], at, l.Owned)
	}
	if written := !sameText(before, p.Now()); at == ledgerAhead && written {
		p.T.Fatalf("the %s version died %s, but it is written", p.versions[p.leader], at)
	}
	if update, ok := held.Request.Object.(*corev1.ConfigMap); at == awsAuthWritten && (!ok || !sameText(update, p.Now())) {
		p.T.Fatalf("the %s version died %s, but it is not written", p.versions[p.leader], at)
	}
}

// planAlike fails unless both versions would go on from what a dead leader left in the
// same way.
func (p *pending) planAlike() {
	p.T.Helper()
	plans := map[version][]string{}
	for _, v := range []version{previous, current} {
		r := p.run(v, "plan", "--config="+p.configFile(p.now), "--output=json")
		var plan struct {
			Changes []struct {
				Op    string
				Entry struct{ ARN string }
			}
		}
		if err := json.Unmarshal([]byte(r.Stdout), &plan); err != nil || r.Code > 1 {
			p.T.Fatalf("the %s rolecall plan: exit status %d, %v\n%s%s", v, r.Code, err, r.Stdout, r.Stderr)
		}
		for _, c := range plan.Changes {
			plans[v] = append(plans[v], c.Op+" "+c.Entry.ARN)
		}
		slices.Sort(plans[v])
	}
	if diff := cmp.Diff(plans[previous], plans[current]); diff != "" {
		p.T.Errorf("rolecall plan (-previous +current)\n%s", diff)
	}
}

// takeOver starts the other version, and waits until it leads.
func (p *pending) takeOver() {
	p.T.Helper()
	p.exchange()
	p.start(p.leader, p.versions[p.leader])
	p.leads(p.leader)
}

// exchange makes the other node the one that leads next.
func (p *pending) exchange() { p.leader, p.other = p.other, p.leader }
