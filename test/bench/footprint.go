package main

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rolecall/rolecall/test/fleet"
)

const mebi = 1 << 20

// footprint measures what an agent takes of its node.
func footprint(ctx context.Context, b *bench) error {
	if err := b.binarySizes(); err != nil {
		return err
	}
	if err := b.leaderFootprint(ctx); err != nil {
		return err
	}
	return b.standbyFootprint(ctx)
}

// binarySizes are those of the binary and of what an image's layers of ours hold.
func (b *bench) binarySizes() error {
	binary, err := b.build()
	if err != nil {
		return err
	}
	info, err := os.Stat(binary)
	if err != nil {
		return err
	}
	size := float64(info.Size()) / mebi
	b.add(figureOf("footprint", "binary, stripped", "MiB", []float64{size}).judged("≤ 40 MiB", size <= 40).unless(size <= 60))
	var packed counter
	zip := gzip.NewWriter(&packed)
	archive := tar.NewWriter(zip)
	for _, path := range []string{binary, "/etc/ssl/certs/ca-certificates.crt"} {
		body, err := os.ReadFile(path)
		if err != nil {
			continue // another system keeps its roots elsewhere: a fifth of a MiB
		}
		if err := archive.WriteHeader(&tar.Header{Name: path, Mode: 0o755, Size: int64(len(body))}); err != nil {
			return err
		}
		if _, err := archive.Write(body); err != nil {
			return err
		}
	}
	if err := errors.Join(archive.Close(), zip.Close()); err != nil {
		return err
	}
	size = float64(packed) / mebi
	b.add(figureOf("footprint", "image, compressed: binary and root certificates", "MiB", []float64{size}).
		noting("the base of the published image adds about 1 MiB").judged("≤ 20 MiB", size+1 <= 20).unless(size <= 30))
	return nil
}

type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

// A usage is what a process takes, in MiB and seconds of CPU.
type usage struct{ rss, anonymous, peak, cpu float64 }

// used reads what a process takes.
func used(pid int) (u usage, err error) {
	status := fmt.Sprintf("/proc/%d/status", pid)
	mib := func(name string) float64 { return float64(kib(status, name)) / 1024 }
	u.rss, u.anonymous, u.peak = mib("VmRSS"), mib("RssAnon"), mib("VmHWM")
	stat := text(fmt.Sprintf("/proc/%d/stat", pid))
	if u.rss == 0 || stat == "" {
		return u, fmt.Errorf("/proc says nothing of process %d", pid)
	}
	// Fields 14 and 15, counted behind the name, which may hold spaces: proc(5).
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	for _, f := range fields[11:13] {
		ticks, err := strconv.ParseFloat(f, 64)
		if err != nil {
			return u, err
		}
		u.cpu += ticks / 100 // USER_HZ
	}
	return u, nil
}

// standbyFootprint runs small clusters for minutes.
func (b *bench) standbyFootprint(ctx context.Context) error {
	window, starts := 5*time.Minute, 12
	if b.small {
		window, starts = 15*time.Second, 3
	}
	c, err := b.cluster(ctx, nil, manyConfig(20, "team"))
	if err != nil {
		return err
	}
	defer c.close()
	standbys, leader, err := b.watchAgents(ctx, c, 6, window)
	if err != nil {
		return err
	}
	var rss, anonymous []float64
	for _, u := range standbys {
		rss, anonymous = append(rss, u.rss), append(anonymous, u.anonymous)
	}
	f := figureOf("footprint", "standby, resident", "MiB", rss)
	b.add(f.judged("≤ 32 MiB", f.Max <= 32).unless(f.Max <= 64))
	f = figureOf("footprint", "standby, of that anonymous", "MiB", anonymous)
	b.add(f.judged("≤ 12 MiB", f.Max <= 12).unless(f.Max <= 30))
	b.addStandbyCPU(standbys, window, "among six: a look every 1.7 s")
	b.add(figureOf("footprint", fmt.Sprintf("leader of 23 entries, CPU over %s", window), "millicores", millicores(leader, window)))
	if err := b.readiness(ctx, c, starts); err != nil || b.small {
		return err
	}
	few, err := b.cluster(ctx, nil, manyConfig(20, "team"))
	if err != nil {
		return err
	}
	defer few.close()
	if standbys, _, err = b.watchAgents(ctx, few, 3, window); err != nil {
		return err
	}
	b.addStandbyCPU(standbys, window, "among three: likewise")
	return nil
}

func (b *bench) addStandbyCPU(standbys []usage, window time.Duration, note string) {
	f := figureOf("footprint", fmt.Sprintf("standby, CPU over %s", window), "millicores", millicores(standbys, window)).noting("%s", note)
	b.add(f.judged("< 1 millicore", f.Max < 1))
}

func millicores(used []usage, window time.Duration) (of []float64) {
	for _, u := range used {
		of = append(of, 1000*u.cpu/window.Seconds())
	}
	return of
}

// watchAgents runs a number of agents and returns what they have used at the end of a
// window, and of CPU within it.
func (b *bench) watchAgents(ctx context.Context, c *cluster, agents int, window time.Duration) (standbys, leader []usage, err error) {
	g, err := newProcesses(ctx, c, agents)
	if err != nil {
		return nil, nil, err
	}
	defer g.close()
	if err := startAll(ctx, g); err != nil {
		return nil, nil, err
	}
	leads := watchHolder(ctx, c.Client, c.Namespace)
	if err := touchLease(ctx, c); err != nil {
		return nil, nil, err
	}
	holder, _, err := leads.other(ctx, "")
	if err != nil {
		return nil, nil, err
	}
	leading, err := nodeIndex(holder)
	if err != nil {
		return nil, nil, err
	}
	pause(ctx, 10*time.Second)
	before := make([]usage, len(g.nodes))
	for i := range g.nodes {
		if before[i], err = used(g.nodes[i].PID()); err != nil {
			return nil, nil, err
		}
	}
	b.say("footprint: watching %d agents for %s", agents, window)
	if !pause(ctx, window) {
		return nil, nil, ctx.Err()
	}
	for i := range g.nodes {
		now, err := used(g.nodes[i].PID())
		if err != nil {
			return nil, nil, err
		}
		now.cpu -= before[i].cpu
		if i == leading {
			leader = append(leader, now)
		} else {
			standbys = append(standbys, now)
		}
	}
	return standbys, leader, nil
}

// touchLease has the API server send a watcher the Lease that is there already.
func touchLease(ctx context.Context, c *cluster) error {
	_, err := fleet.Until(ctx, func(ctx context.Context) error {
		lease, err := c.Client.CoordinationV1().Leases(c.Namespace).Get(ctx, fleet.LeaseName, metav1.GetOptions{})
		if err == nil && lease.Spec.HolderIdentity == nil {
			err = errors.New("nobody leads")
		}
		return err
	})
	return err
}

// readiness measures from the start of a process to its first /readyz that is good.
func (b *bench) readiness(ctx context.Context, c *cluster, starts int) error {
	node, err := c.Add(ctx, nodeName(99), roleName(0))
	if err != nil {
		return err
	}
	defer node.Kill()
	var ready []float64
	for range starts {
		begun := time.Now()
		if err := node.Start(); err != nil {
			return err
		}
		_, err := fleet.Until(ctx, func(ctx context.Context) error {
			status, _, err := node.Get(ctx, "/readyz")
			if err == nil && status != http.StatusOK {
				err = fmt.Errorf("/readyz answers %d", status)
			}
			return err
		})
		if err != nil {
			return err
		}
		ready = append(ready, 1000*time.Since(begun).Seconds())
		node.Kill()
	}
	f := figureOf("footprint", "start of the process, until it is ready", "ms", ready)
	b.add(f.judged("≤ 1 s", f.P99 <= 1000))
	return nil
}

// leaderFootprint has a leader write and mend as many entries as find room.
func (b *bench) leaderFootprint(ctx context.Context) error {
	const entries = fullDocument
	c, err := b.cluster(ctx, nil, manyConfig(entries, "team"))
	if err != nil {
		return err
	}
	defer c.close()
	g, err := newProcesses(ctx, c, 1)
	if err != nil {
		return err
	}
	defer g.close()
	if err := startAll(ctx, g); err != nil {
		return err
	}
	whole := func(ctx context.Context) error {
		cm, err := c.AWSAuth(ctx)
		if err == nil && strings.Count(cm.Data["mapRoles"], "rolearn:") < entries+1 {
			err = errors.New("not all entries are there")
		}
		return err
	}
	var rss, anonymous []float64
	var peak float64
	rounds := 8
	if b.small {
		rounds = 2
	}
	for i := range rounds {
		if _, err := fleet.Until(ctx, whole); err != nil {
			return err
		}
		if !pause(ctx, 2*time.Second) {
			return ctx.Err()
		}
		u, err := used(g.nodes[0].PID())
		if err != nil {
			return err
		}
		rss, anonymous, peak = append(rss, u.rss), append(anonymous, u.anonymous), max(peak, u.peak)
		if i == rounds-1 {
			break
		}
		cm, err := c.AWSAuth(ctx)
		if err != nil {
			return err
		}
		cm = &corev1.ConfigMap{ObjectMeta: cm.ObjectMeta, Data: map[string]string{"mapRoles": foreign}}
		if _, err := c.Client.CoreV1().ConfigMaps(c.AWSAuthNamespace).Update(ctx, cm, metav1.UpdateOptions{}); err != nil {
			return err
		}
	}
	f := figureOf("footprint", fmt.Sprintf("leader of %s entries, resident, after writing all of them %d times", thousands(entries), rounds), "MiB", rss)
	b.add(f.noting("highest ever %s MiB", number(peak)).judged("≤ 80 MiB", f.Max <= 80).unless(f.Max <= 250))
	b.add(figureOf("footprint", "the same, of that anonymous", "MiB", anonymous))
	return nil
}
