package agent

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/resourceversion"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/internal/history"
)

const (
	// recordEvery is the pace at which contents are recorded when they change
	// without a pause; a few in a row are recorded at once.
	recordEvery = 10 * time.Second
	recordBurst = 6

	// seenMax is how many contents the watch saw since the last pass are kept.
	seenMax = 8
)

// past is what aws-auth was: as a term saw it itself, and as the revisions have
// it. Where several contents follow each other faster than passes are made, the
// watch still has them.
type past struct {
	revisions *history.Store
	now       func() time.Time
	limit     *rate.Limiter

	mu     sync.Mutex
	seen   []*corev1.ConfigMap // by the watch since the last good pass, oldest first
	latest *corev1.ConfigMap   // that the watch saw, as far as it knows; nil where that is none, or was used

	// Of the work alone:
	good     *corev1.ConfigMap // what a pass could read, or wrote, last
	missed   time.Time         // when aws-auth was missed first; zero while it is there
	recorded string            // resourceVersion that was recorded last
	err      error             // of the last try to record
}

func newPast(revisions *history.Store, now func() time.Time) *past {
	return &past{revisions: revisions, now: now, limit: rate.NewLimiter(rate.Every(recordEvery), recordBurst)}
}

// saw keeps a content that the watch reports.
func (p *past) saw(cm *corev1.ConfigMap) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.seen) == seenMax {
		p.seen = p.seen[1:]
	}
	p.seen = append(p.seen, cm)
	p.latest = cm
}

// unsure says that what the watch saw last may not be what aws-auth is now.
func (p *past) unsure() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.latest = nil
}

// news is aws-auth as the watch saw it last, where that came after all that this term
// has read or written; nil where it must be read. It is given once: a watch that is
// cut off sees nothing, and to know that, a pass of another cause reads.
func (p *past) news() *corev1.ConfigMap {
	p.mu.Lock()
	defer p.mu.Unlock()
	latest := p.latest
	p.latest = nil
	if latest == nil || p.good == nil || !later(latest.ResourceVersion, p.good.ResourceVersion) {
		return nil
	}
	return latest
}

// read notes what a pass could read, or wrote: nothing before it is needed any more.
// What the watch has seen of later is.
func (p *past) read(cm *corev1.ConfigMap) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.good, p.missed = cm, time.Time{}
	p.seen = slices.DeleteFunc(p.seen, func(seen *corev1.ConfigMap) bool { return !later(seen.ResourceVersion, cm.ResourceVersion) })
}

// missing is for how long aws-auth has been missed, of which a pass says that it is
// not there.
func (p *past) missing() time.Duration {
	if p.missed.IsZero() {
		p.missed = p.now()
	}
	return p.now().Sub(p.missed)
}

// former is a content that aws-auth had.
type former struct {
	history.Content
	what string // for people
}

// formers are what aws-auth was, the newest first. Without revisions it goes
// on with what this term saw.
func (p *past) formers(ctx context.Context) ([]former, error) {
	var out []former
	p.mu.Lock()
	for _, cm := range slices.Backward(p.seen) {
		if p.good != nil && !later(cm.ResourceVersion, p.good.ResourceVersion) {
			continue // the watch was late: a pass has read what came after it
		}
		out = append(out, former{content(cm), "as it was a moment ago"})
	}
	p.mu.Unlock()
	if p.good != nil {
		out = append(out, former{content(p.good), "as it was a moment ago"})
	}
	revisions, err := call(ctx, p.revisions.List)
	for i := range revisions {
		r := &revisions[i]
		if r.Broken != "" {
			continue
		}
		c, readErr := r.Content()
		if readErr != nil {
			err = errors.Join(err, readErr)
			continue
		}
		out = append(out, former{c, fmt.Sprintf("as of revision %d", r.Number)})
	}
	return out, err
}

// later reports whether what has the resourceVersion a was written after what has b.
func later(a, b string) bool {
	order, err := resourceversion.CompareResourceVersion(a, b)
	return err == nil && order > 0
}

// record keeps what aws-auth holds as a revision, unless that is done already
// or contents change too fast; then it is done later, and again says when.
func (p *past) record(ctx context.Context, cm *corev1.ConfigMap, who, why string) (again time.Duration, err error) {
	if cm.ResourceVersion == "" || cm.ResourceVersion == p.recorded {
		return 0, nil
	}
	if !p.limit.AllowN(p.now(), 1) {
		return recordEvery, nil
	}
	_, p.err = p.recordNow(ctx, cm, who, why, "")
	return 0, p.err
}

func (p *past) recordNow(ctx context.Context, cm *corev1.ConfigMap, who, why, broken string) (int64, error) {
	r := history.Revision{Who: who, Why: why, Version: cm.ResourceVersion, Broken: broken, At: p.now()}
	if who == "" {
		var at time.Time
		if r.Who, at = history.LastWriter(cm, FieldManager); !at.IsZero() {
			r.At = at
		}
	}
	number, err := call(ctx, func(ctx context.Context) (int64, error) { return p.revisions.Record(ctx, r, content(cm)) })
	if err == nil {
		p.recorded = cm.ResourceVersion
	}
	return number, err
}

// content is what is kept of aws-auth: all but our own annotations, which are
// good for one write.
func content(cm *corev1.ConfigMap) history.Content {
	c := history.ContentOf(cm)
	c.Annotations = maps.Clone(c.Annotations)
	delete(c.Annotations, awsauth.ApprovalAnnotation)
	delete(c.Annotations, awsauth.WriteAnnotation)
	return c
}

// A mending is what a pass puts back into an aws-auth that was deleted or that
// the authenticator cannot read.
type mending struct {
	base    *corev1.ConfigMap // what is there now, with the former text in place
	deleted bool
	keys    []string // that could not be read
	broken  string   // why; nothing of the text
	from    string   // for people: what was put back
}

func (m *mending) String() string {
	if m.deleted {
		return "aws-auth was deleted and is put back " + m.from
	}
	return fmt.Sprintf("aws-auth could not be read (%s): put back %s %s", m.broken, strings.Join(m.keys, ", "), m.from)
}

// mend works out what is put back into cm, of which parseErr says what cannot
// be read; nil parseErr: it was deleted. It returns nil if aws-auth never was
// there.
func (p *past) mend(ctx context.Context, cm *corev1.ConfigMap, parseErr error) (*mending, error) {
	formers, historyErr := p.formers(ctx)
	if apierrors.IsForbidden(historyErr) {
		historyErr = nil // nobody will ever know more; the notice of the history tells
	}
	if parseErr == nil {
		for _, f := range formers {
			if _, err := awsauth.Parse(f.Data); err != nil {
				continue
			}
			base := cm.DeepCopy()
			base.Data, base.BinaryData, base.Labels, base.Annotations = f.Data, f.BinaryData, f.Labels, f.Annotations
			return &mending{base: base, deleted: true, from: f.what}, nil
		}
		if historyErr != nil {
			return nil, fmt.Errorf("aws-auth is gone, and what it was is not known: %w", historyErr)
		}
		return nil, nil
	}
	m := &mending{base: cm.DeepCopy(), broken: strings.ReplaceAll(parseErr.Error(), "\n", "; ")}
	var from []string
	for _, key := range awsauth.Keys {
		if _, err := awsauth.Parse(map[string]string{key: cm.Data[key]}); err == nil {
			continue
		}
		m.keys = append(m.keys, key)
		i := slices.IndexFunc(formers, func(f former) bool {
			_, err := awsauth.Parse(map[string]string{key: f.Data[key]})
			return err == nil
		})
		if i < 0 {
			return nil, errors.Join(fmt.Errorf("no good text of %s is known: mend it by hand", key), historyErr)
		}
		if text, ok := formers[i].Data[key]; ok {
			m.base.Data[key] = text
		} else {
			delete(m.base.Data, key)
		}
		if !slices.Contains(from, formers[i].what) {
			from = append(from, formers[i].what)
		}
	}
	m.from = strings.Join(from, " and ")
	return m, nil
}
