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

// standbyFootprint runs a small cluster for minutes.
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
	g, err := newProcesses(ctx, c, 6)
	if err != nil {
		return err
	}
	defer g.close()
	if err := startAll(ctx, g); err != nil {
		return err
	}
	leads := watchHolder(ctx, c.Client, c.Namespace)
	if err := touchLease(ctx, c); err != nil {
		return err
	}
	holder, _, err := leads.other(ctx, "")
	if err != nil {
		return err
	}
	leader, err := nodeIndex(holder)
	if err != nil {
		return err
	}
	pause(ctx, 10*time.Second)
	before := map[int]usage{}
	for i := range g.nodes {
		if before[i], err = used(g.nodes[i].PID()); err != nil {
			return err
		}
	}
	began := time.Now()
	b.say("footprint: watching six agents for %s", window)
	if !pause(ctx, window) {
		return ctx.Err()
	}
	took := time.Since(began).Seconds()
	var rss, anonymous, cpu, leaderCPU []float64
	for i := range g.nodes {
		now, err := used(g.nodes[i].PID())
		if err != nil {
			return err
		}
		millicores := 1000 * (now.cpu - before[i].cpu) / took
		if i == leader {
			leaderCPU = append(leaderCPU, millicores)
			continue
		}
		rss, anonymous, cpu = append(rss, now.rss), append(anonymous, now.anonymous), append(cpu, millicores)
	}
	f := figureOf("footprint", "standby, resident", "MiB", rss)
	b.add(f.judged("≤ 32 MiB", f.Max <= 32).unless(f.Max <= 64))
	f = figureOf("footprint", "standby, of that anonymous", "MiB", anonymous)
	b.add(f.judged("≤ 12 MiB", f.Max <= 12).unless(f.Max <= 30))
	f = figureOf("footprint", fmt.Sprintf("standby, CPU over %s", window), "millicores", cpu).noting("among six: the pace is an agent's fastest, once in 1.2 s")
	b.add(f.judged("< 1 millicore", f.Max < 1))
	b.add(figureOf("footprint", fmt.Sprintf("leader of 23 entries, CPU over %s", window), "millicores", leaderCPU))
	return b.readiness(ctx, c, starts)
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
