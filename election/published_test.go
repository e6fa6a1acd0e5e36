package election

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A standby knows what the leader publishes from its own looks at the Lease, and
// holds nothing that is too long.
func TestStandbysKnowWhatIsPublished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		c.configure = func(cfg *Config) {
			cfg.Agents = 2
			cfg.Annotations = map[string]func() string{
				"a": func() string { return "well" },
				"b": func() string { return strings.Repeat("x", maxPublished+1) },
			}
		}
		c.startN(2)
		defer c.stopAll()
		leader, _ := c.awaitTerm(10 * time.Second)
		time.Sleep(time.Minute)
		for _, a := range c.agents {
			got := a.Status().Published
			if len(got) != 1 || got["a"] != "well" {
				t.Errorf("%s (leads: %v) knows of %d texts, and %q", a.id, a == leader, len(got), got["a"])
			}
		}
		c.stop(leader)
		if got := leader.Status().Published; len(got) != 0 {
			t.Errorf("after a release it knows %v", got)
		}
	})
}
