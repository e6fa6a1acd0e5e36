package faults_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rolecall/rolecall/test/fleet"
	"github.com/rolecall/rolecall/test/trial"
)

// 1,000 edits, 10 ms apart: the last one is in force in the end, no descriptor
// is lost, and the agent does not read for each of them. Package config has the
// same for one watcher, and the ways in which a directory goes and comes.
func TestThousandSwaps(t *testing.T) {
	long(t)
	t.Parallel()
	config := func(n int) string {
		// Each new username takes the former one away.
		return fmt.Sprintf("%ssafety: {removalLimit: 100%%}\nusers: [{arn: %q, username: u%d, groups: [viewers]}]\n", onlyNodes, trial.Account+"user/edited", n)
	}
	s := newSite(t, config(0))
	agent := s.StartNode("node-a", "workers")
	s.Maps("the first", trial.NodeRole("workers"), trial.Ours("user/edited", "u0", "viewers"))
	settled := openFiles(t, agent.PID())

	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	begin := time.Now()
	for n := 1; n <= 1000; n++ {
		<-tick.C
		if err := agent.Mount.Swap(map[string]string{"config.yaml": config(n)}); err != nil {
			t.Fatal(err)
		}
	}
	took := time.Since(begin)
	s.Maps("the last", trial.NodeRole("workers"), trial.Ours("user/edited", "u1000", "viewers"))

	metrics, err := agent.Metrics(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// One at the latest a second after the one before, and one that is quiet.
	loaded, _ := metrics.Value("rolecall_config_reloads_total", "result", "loaded")
	if most := took.Seconds()/0.3 + 3; loaded > most || loaded < 3 {
		t.Errorf("the config was taken up %v times in %s, want 3 to %.0f", loaded, took, most)
	}
	for _, result := range []string{"invalid", "unreadable"} {
		if n, _ := metrics.Value("rolecall_config_reloads_total", "result", result); n != 0 {
			t.Errorf("%v configs were %s: a swap was seen half done", n, result)
		}
	}
	s.Eventually("no descriptor is lost", func(context.Context) error {
		now := openFiles(t, agent.PID())
		if now.inotify != settled.inotify || now.watches > settled.watches || now.all > settled.all+2 { // a connection may be kept
			return fmt.Errorf("it has %+v, and had %+v", now, settled)
		}
		return nil
	})
}

// descriptors are what a process has open.
type descriptors struct{ all, inotify, watches int }

func openFiles(t *testing.T, pid int) descriptors {
	t.Helper()
	dir := fmt.Sprintf("/proc/%d/", pid)
	entries, err := os.ReadDir(dir + "fd")
	if err != nil {
		t.Skipf("NOT TESTED: no /proc to count descriptors with: %v", err)
	}
	d := descriptors{all: len(entries)}
	for _, e := range entries {
		if link, err := os.Readlink(dir + "fd/" + e.Name()); err == nil && link == "anon_inode:inotify" {
			d.inotify++
			if info, err := os.ReadFile(dir + "fdinfo/" + e.Name()); err == nil {
				d.watches += strings.Count(string(info), "inotify wd:")
			}
		}
	}
	return d
}

// The directory of the mount is replaced by another one under the agent, and
// goes away for a while: the last good config stays in force until the next.
func TestMountRecreated(t *testing.T) {
	t.Parallel()
	config := func(user string) map[string]string {
		return map[string]string{"config.yaml": fmt.Sprintf("%susers: [{arn: %q, username: x, groups: [viewers]}]\n", onlyNodes, trial.Account+"user/"+user)}
	}
	s := newSite(t, config("first")["config.yaml"])
	agent := s.StartNode("node-a", "workers")
	s.Maps("the first", trial.NodeRole("workers"), trial.Ours("user/first", "x", "viewers"))

	other, err := fleet.NewMount(filepath.Join(t.TempDir(), "other"), config("second"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(agent.Mount.Dir(), agent.Mount.Dir()+".old"); err != nil {
		t.Fatal(err)
	}
	s.Says(agent, "[!]config: refused since ")
	s.StillMaps(trial.NodeRole("workers"), trial.Ours("user/first", "x", "viewers"))
	if err := os.Rename(other.Dir(), agent.Mount.Dir()); err != nil {
		t.Fatal(err)
	}
	s.Maps("the second", trial.NodeRole("workers"), trial.Ours("user/second", "x", "viewers"))
	if err := agent.Mount.Swap(config("third")); err != nil {
		t.Fatal(err)
	}
	s.Maps("an edit of the new directory", trial.NodeRole("workers"), trial.Ours("user/third", "x", "viewers"))
}
