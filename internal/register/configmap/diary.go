package configmap

import (
	"strings"
	"time"

	"github.com/aymanbagabas/go-udiff"
	corev1 "k8s.io/api/core/v1"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/internal/history"
	"github.com/rolecall/rolecall/internal/register"
)

// diffMax is how many bytes of one key's difference are kept. Ten writes of three
// keys then take 240 KiB at most.
const diffMax = 8 << 10

// diary has the last changes of aws-auth in a term, for people. It is the
// work's alone.
type diary struct {
	keep   int // how many; 0 for none
	now    func() time.Time
	last   *corev1.ConfigMap // as it stood when it was looked at last
	writes []register.Write  // newest first; never changed, only made anew
}

// found takes in aws-auth as a pass has read it: where it is not as it was left,
// somebody else wrote.
func (d *diary) found(cm *corev1.ConfigMap, exists bool) {
	if d.keep == 0 {
		return
	}
	last := d.last
	d.last = cm
	if last == nil || last.ResourceVersion == cm.ResourceVersion {
		return
	}
	w := register.Write{Diffs: diffs(last.Data, cm.Data)}
	if w.Who, w.At = history.LastWriter(cm, FieldManager); !exists {
		w.Who, w.At, w.Why = "unknown", d.now(), "deleted"
	}
	d.add(w)
}

// wrote takes in a write of our own, and what it was made for.
func (d *diary) wrote(h *observation, after *corev1.ConfigMap, why string) {
	if d.keep == 0 {
		return
	}
	d.found(h.cm, h.exists)
	d.last = after
	d.add(register.Write{At: d.now(), Why: why, Diffs: diffs(h.cm.Data, after.Data)})
}

func (d *diary) add(w register.Write) {
	next := append(make([]register.Write, 0, d.keep+1), w)
	next = append(next, d.writes...)
	d.writes = next[:min(len(next), d.keep)]
}

// diffs are the differences of the keys that the authenticator reads.
func diffs(before, after map[string]string) []register.Diff {
	var out []register.Diff
	for _, key := range awsauth.Keys {
		if before[key] == after[key] {
			continue
		}
		text := udiff.Unified("before", "after", before[key], after[key])
		d := register.Diff{Key: key}
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
