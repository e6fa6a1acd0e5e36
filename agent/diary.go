package agent

import (
	"strings"
	"time"

	"github.com/aymanbagabas/go-udiff"
	corev1 "k8s.io/api/core/v1"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/internal/history"
)

// diffMax is how many bytes of one key's difference are kept. Ten writes of three
// keys then take 240 KiB at most.
const diffMax = 8 << 10

// A Write is a change of aws-auth that this leader made, or found.
type Write struct {
	At    time.Time // to the second where somebody else wrote
	Who   string    // field manager of somebody else; empty for this leader
	Why   string    // in one line; empty for somebody else's
	Diffs []Diff    // none where only what the authenticator does not read has changed
}

// A Diff is what has changed in one key, as a unified diff.
type Diff struct {
	Key  string
	Text string // whole lines, at most diffMax bytes
	Left int    // lines that are left out
}

// diary has the last changes of aws-auth in a term, for people. It is the
// work's alone.
type diary struct {
	keep   int // how many; 0 for none
	now    func() time.Time
	last   *corev1.ConfigMap // as it stood when it was looked at last
	writes []Write           // newest first; never changed, only made anew
}

// found takes in aws-auth as a pass has read it: where it is not as it was left,
// somebody else wrote.
func (d *diary) found(cm *corev1.ConfigMap) {
	if d.keep == 0 {
		return
	}
	last := d.last
	d.last = cm
	if last == nil || last.ResourceVersion == cm.ResourceVersion {
		return
	}
	w := Write{Diffs: diffs(last.Data, cm.Data)}
	if w.Who, w.At = history.LastWriter(cm, FieldManager); cm.ResourceVersion == "" {
		w.Who, w.At, w.Why = "unknown", d.now(), "deleted"
	}
	d.add(w)
}

// wrote takes in a write of our own; before is what it was made for.
func (d *diary) wrote(before, after *corev1.ConfigMap, why string) {
	if d.keep == 0 {
		return
	}
	d.found(before)
	d.last = after
	d.add(Write{At: d.now(), Why: why, Diffs: diffs(before.Data, after.Data)})
}

func (d *diary) add(w Write) {
	next := append(make([]Write, 0, d.keep+1), w)
	next = append(next, d.writes...)
	d.writes = next[:min(len(next), d.keep)]
}

// diffs are the differences of the keys that the authenticator reads.
func diffs(before, after map[string]string) []Diff {
	var out []Diff
	for _, key := range awsauth.Keys {
		if before[key] == after[key] {
			continue
		}
		text := udiff.Unified("before", "after", before[key], after[key])
		d := Diff{Key: key}
		for line := range strings.Lines(text) {
			switch {
			case strings.HasPrefix(line, "--- before"), strings.HasPrefix(line, "+++ after"):
			case d.Left > 0 || len(d.Text)+len(line) > diffMax:
				d.Left++
			default:
				d.Text += line
			}
		}
		out = append(out, d)
	}
	return out
}
