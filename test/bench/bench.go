package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rolecall/rolecall/test/fleet"
	"github.com/rolecall/rolecall/test/stage"
)

// A bench is one run. Its methods are safe for concurrent use.
type bench struct {
	out    io.Writer
	build  func() (path string, err error) // of rolecall, stripped; once
	dir    string
	small  bool
	began  time.Time
	serial atomic.Int64

	mu     sync.Mutex
	report *report
}

// say tells how far the run is.
func (b *bench) say(format string, args ...any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	fmt.Fprintf(b.out, "%6s  load %-5s %s\n", time.Since(b.began).Round(time.Second), load(), fmt.Sprintf(format, args...))
}

// add takes in a figure.
func (b *bench) add(f figure) {
	b.mu.Lock()
	b.report.Figures = append(b.report.Figures, f)
	b.mu.Unlock()
	b.say("%s", f.line())
}

// measure measures a part anew.
func (b *bench) measure(ctx context.Context, p part) error {
	b.say("== %s", p.name)
	b.mu.Lock()
	b.report.forget(p.name)
	b.mu.Unlock()
	meta := partRun{Began: time.Now().UTC().Truncate(time.Second), LoadBefore: load(), Machine: thisMachine(), Small: b.small}
	wanted, stolen := hostTime()
	err := p.measure(ctx, b)
	if w, s := hostTime(); w > wanted {
		share := float64(s-stolen) / float64(w-wanted)
		meta.Stolen = &share
	}
	meta.Seconds, meta.LoadAfter = int(time.Since(meta.Began).Seconds()), load()
	b.mu.Lock()
	b.report.Parts[p.name] = meta
	b.mu.Unlock()
	return err
}

// A cluster is a control plane, or a part of one, with the manifests installed.
type cluster struct {
	*fleet.Fleet
	plane *stage.ControlPlane
	owned bool // the control plane ends with the cluster
}

// cluster starts one with a config; on a control plane of its own if none is given.
func (b *bench) cluster(ctx context.Context, plane *stage.ControlPlane, config string) (_ *cluster, err error) {
	c := &cluster{plane: plane}
	binary, err := b.build()
	if err != nil {
		return nil, err
	}
	if plane == nil {
		if c.plane, err = stage.Start(ctx, stage.Options{}); err != nil {
			return nil, err
		}
		c.owned = true
	}
	id := "bench-" + strconv.FormatInt(b.serial.Add(1), 10)
	o := fleet.Options{
		ControlPlane: c.plane, Binary: binary, Dir: filepath.Join(b.dir, id),
		Namespace: id, Config: map[string]string{"config.yaml": config},
	}
	if err = os.MkdirAll(o.Dir, 0o700); err == nil {
		c.Fleet, err = fleet.New(ctx, o)
	}
	if err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

func (c *cluster) close() {
	if c.Fleet != nil {
		_ = c.Fleet.Close() // what was measured stands
	}
	if c.owned {
		_ = c.plane.Stop()
	}
}

// scheduled says that the DaemonSet has so many agents, as its controller would.
func (c *cluster) scheduled(ctx context.Context, n int) error {
	sets := c.Client.AppsV1().DaemonSets(c.Namespace)
	set, err := sets.Get(ctx, "rolecall", metav1.GetOptions{})
	if err != nil {
		return err
	}
	set.Status.DesiredNumberScheduled = int32(n)
	_, err = sets.UpdateStatus(ctx, set, metav1.UpdateOptions{})
	return err
}

// reportOnly is the config of agents that map the roles of nodes and nothing else.
const reportOnly = "apiVersion: rolecall.dev/v1\nkind: Config\n"

func nodeName(i int) string { return fmt.Sprintf("node-%05d", i) }

// nodeIndex is the node that an identity of the election names.
func nodeIndex(identity string) (int, error) {
	name, _, _ := strings.Cut(identity, "_")
	return strconv.Atoi(strings.TrimPrefix(name, "node-"))
}

// distinctRoles is how many roles the nodes of a large cluster run under.
const distinctRoles = 10

func roleName(i int) string { return fmt.Sprintf("nodes-%d", i%distinctRoles) }

// pause waits, and reports false when ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// between is any duration of a range.
func between(from, to time.Duration) time.Duration { return from + rand.N(to-from) }
