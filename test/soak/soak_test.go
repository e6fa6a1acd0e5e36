package soak_test

import (
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rolecall/rolecall/test/awsfake"
	"github.com/rolecall/rolecall/test/faultproxy"
	"github.com/rolecall/rolecall/test/fleet"
	"github.com/rolecall/rolecall/test/stage"
	"github.com/rolecall/rolecall/test/trial"
)

// nodes are five; the agents of the last two are killed and ended, the others
// live for as long as the soak.
var nodes = []string{"node-a", "node-b", "node-c", "node-d", "node-e"}

const mortal = 2

// TestSoak runs for ROLECALL_SOAK, such as 30s or 8h, which "make soak" sets; with
// ROLECALL_FAULTS=1 and no word of it for half a minute. ROLECALL_SEED repeats the
// order of another run's faults. However short, it has ten faults.
func TestSoak(t *testing.T) {
	text, ok := os.LookupEnv("ROLECALL_SOAK")
	if !ok && os.Getenv("ROLECALL_FAULTS") == "1" {
		text, ok = "30s", true
	}
	if !ok {
		t.Skip(`takes minutes to hours: "make soak SOAK=2m"`)
	}
	length, err := time.ParseDuration(text)
	if err != nil {
		t.Fatalf("ROLECALL_SOAK: %v", err)
	}
	seed := rand.Uint64()
	if text, ok := os.LookupEnv("ROLECALL_SEED"); ok {
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("ROLECALL_SEED: %v", err)
		}
	}
	t.Logf("for %s, ROLECALL_SEED=%d", length, seed)
	c := start(t, rand.New(rand.NewPCG(seed, 0)))
	c.soak(length)
}

// start runs the cluster and waits until it has settled.
func start(t *testing.T, random *rand.Rand) *cluster {
	t.Helper()
	stage.ForTest(t) // skips where there is none to run
	path := trial.Binary(t)
	cp, err := stage.Start(t.Context(), stage.Options{}) // of its own: it is paused and restarted
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cp.Stop(); err != nil {
			t.Error(err)
		}
	})
	proxy, err := faultproxy.Start(cp.Config())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(proxy.Close)
	f, err := fleet.New(t.Context(), fleet.Options{
		ControlPlane: cp, Binary: path, Dir: t.TempDir(), Flags: quick, Through: proxy.Config,
		Config: map[string]string{"config.yaml": text(0)},
		AWS:    awsfake.AWSOptions{PageSize: 2},
	})
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{Fleet: f, t: t, stage: cp, proxy: proxy, random: random}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		c.never("DATA RACE", "panic: ")
	})
	f.AWS.AddPermissionSet("Admin", "00000000000000aa", "", time.Now())
	f.AWS.SetMembers("Developers", "ana", "ben")
	if err := c.put(t.Context(), foreign()); err != nil {
		t.Fatal(err)
	}
	for _, name := range nodes {
		n, err := c.Add(t.Context(), name, roleOf(name))
		if err != nil {
			t.Fatal(err)
		}
		if err := n.Start(); err != nil {
			t.Fatal(err)
		}
	}
	c.mortal = c.Nodes()[len(nodes)-mortal:]
	if err := c.settled(t.Context()); err != nil {
		t.Fatalf("before the first fault: %v", err)
	}
	return c
}

// soak lets one fault follow the other, ten at least, or there would be too few
// samples to judge by. Each is drawn from those that have not been drawn since all
// were, so that a long soak has them all equally often.
func (c *cluster) soak(length time.Duration) {
	begin := time.Now()
	var order []int
	found, told := samples{}, map[string]int{}
	c.sample(found, begin)
	for n := 1; (time.Since(begin) < length || n <= 10) && !c.t.Failed(); n++ {
		if len(order) == 0 {
			order = c.random.Perm(len(faults))
		}
		f := faults[order[0]]
		order = order[1:]
		from := time.Now()
		if err := f.do(c.t.Context(), c); err != nil {
			c.t.Fatalf("%s: %v", f.name, err)
		}
		over := time.Now()
		if err := c.settled(c.t.Context()); err != nil {
			c.t.Fatalf("after %q: %v", f.name, err)
		}
		c.t.Logf("%7s  fault %3d: %s, for %s; settled after %s", time.Since(begin).Round(time.Second), n, f.name,
			over.Sub(from).Round(time.Millisecond), time.Since(over).Round(time.Millisecond))
		c.explained(f, told)
		c.sample(found, begin)
	}
	c.never("DATA RACE", "panic: ")
	found.judge(c.t)
}

// sample measures the agents that live long, and shows the table of them all.
func (c *cluster) sample(found samples, begin time.Time) {
	c.t.Helper()
	for _, n := range c.Nodes() {
		if err := found.take(c.t.Context(), n, time.Since(begin)); err != nil {
			c.t.Error(err)
			continue
		}
		c.t.Logf("         %s", found.line(n))
	}
}

// explained looks at what was logged as an error since it was asked last: the
// fault must explain it. told counts what was looked at, by node.
func (c *cluster) explained(f fault, told map[string]int) {
	c.t.Helper()
	for _, n := range c.Nodes() {
		errors, err := n.LoggedEver(`"level":"ERROR"`)
		if err != nil {
			c.t.Fatal(err)
		}
		for _, e := range errors[told[n.Name]:] {
			if !slices.ContainsFunc(f.errors, func(text string) bool { return strings.Contains(e.Text, text) }) {
				c.t.Errorf("after %q %s logged an error that it does not explain: %s", f.name, n.Name, e.Text)
			}
		}
		told[n.Name] = len(errors)
	}
}

// never fails if any agent ever logged one of the texts.
func (c *cluster) never(texts ...string) {
	c.t.Helper()
	for _, n := range c.Nodes() {
		for _, text := range texts {
			if found, err := n.LoggedEver(text); err != nil || len(found) > 0 {
				c.t.Errorf("the log of %s holds %q: %v (%v)", n.Name, text, found, err)
			}
		}
		if c.t.Failed() {
			c.t.Logf("the end of the log of %s:\n%s", n.Name, n.Tail(25))
		}
	}
}
