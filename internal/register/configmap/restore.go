package configmap

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

// restorer knows what aws-auth was: as a term saw it itself, and as the revisions
// have it. Where several contents follow each other faster than reconciles are
// made, the watch still has them.
type restorer struct {
	revisions *history.Store
	now       func() time.Time
	limit     *rate.Limiter

	mu     sync.Mutex
	seen   []*corev1.ConfigMap // by the watch since the last good reconcile, oldest first
	latest *corev1.ConfigMap   // that the watch saw, as far as it knows; nil where that is none, or was used

	// Of the reconciles alone:
	good     *corev1.ConfigMap // what a reconcile could read, or wrote, last
	missed   time.Time         // when aws-auth was missed first; zero while it is there
	recorded string            // resourceVersion that was recorded last
	err      error             // of the last try to record
}

func newRestorer(revisions *history.Store, now func() time.Time) *restorer {
	return &restorer{revisions: revisions, now: now, limit: rate.NewLimiter(rate.Every(recordEvery), recordBurst)}
}

// saw keeps a content that the watch reports.
func (p *restorer) saw(cm *corev1.ConfigMap) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.seen) == seenMax {
		p.seen = p.seen[1:]
	}
	p.seen = append(p.seen, cm)
	p.latest = cm
}

// unsure says that what the watch saw last may not be what aws-auth is now.
func (p *restorer) unsure() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.latest = nil
}

// takeLatest returns aws-auth as the watch saw it last, where that came after all
// that this term has read or written; nil where it must be read. It is given once: a
// watch that is cut off sees nothing, and to know that, a reconcile of another cause
// reads.
func (p *restorer) takeLatest() *corev1.ConfigMap {
	p.mu.Lock()
	defer p.mu.Unlock()
	latest := p.latest
	p.latest = nil
	if latest == nil || p.good == nil || !later(latest.ResourceVersion, p.good.ResourceVersion) {
		return nil
	}
	return latest
}

// read notes what a reconcile could read, or wrote: nothing before it is needed any more.
// What the watch has seen of later is.
func (p *restorer) read(cm *corev1.ConfigMap) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.good, p.missed = cm, time.Time{}
	p.seen = slices.DeleteFunc(p.seen, func(seen *corev1.ConfigMap) bool { return !later(seen.ResourceVersion, cm.ResourceVersion) })
}

// miss notes that aws-auth is not there, and returns for how long it has been
// missed.
func (p *restorer) miss() time.Duration {
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
func (p *restorer) formers(ctx context.Context) ([]former, error) {
	var out []former
	p.mu.Lock()
	for _, cm := range slices.Backward(p.seen) {
		if p.good != nil && !later(cm.ResourceVersion, p.good.ResourceVersion) {
			continue // the watch was late: a reconcile has read what came after it
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
func (p *restorer) record(ctx context.Context, cm *corev1.ConfigMap, who, why string) (again time.Duration, err error) {
	if cm.ResourceVersion == p.recorded {
		return 0, nil
	}
	if !p.limit.AllowN(p.now(), 1) {
		return recordEvery, nil
	}
	_, p.err = p.recordNow(ctx, cm, who, why, "")
	return 0, p.err
}

func (p *restorer) recordNow(ctx context.Context, cm *corev1.ConfigMap, who, why, broken string) (int64, error) {
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

// content is what is kept of aws-auth: all but those of our own annotations that are
// good for one write. The one that names the installation is kept, as versions do that
// do not know it: a content is the same to all of them.
func content(cm *corev1.ConfigMap) history.Content {
	c := history.ContentOf(cm)
	c.Annotations = maps.Clone(c.Annotations)
	delete(c.Annotations, ApprovalAnnotation)
	delete(c.Annotations, WriteAnnotation)
	return c
}

// A restoration is what is put back into an aws-auth that was deleted or that the
// authenticator cannot read.
type restoration struct {
	base    *corev1.ConfigMap // what is there now, with the former text in place
	deleted bool
	keys    []string // that could not be read and are put back
	broken  string   // why; nothing of the text
	from    string   // for people: what is put back
}

func (m *restoration) String() string {
	if m.deleted {
		return "aws-auth was deleted and is put back " + m.from
	}
	return fmt.Sprintf("aws-auth could not be read (%s): put back %s %s", m.broken, strings.Join(m.keys, ", "), m.from)
}

// deleted works out what is put back for cm, which was deleted. It returns nil if
// aws-auth never was there.
func (p *restorer) deleted(ctx context.Context, cm *corev1.ConfigMap) (*restoration, error) {
	formers, err := p.knownFormers(ctx)
	for _, f := range formers {
		if _, err := awsauth.Parse(f.Data); err != nil {
			continue
		}
		base := cm.DeepCopy()
		base.Data, base.BinaryData, base.Labels, base.Annotations = f.Data, f.BinaryData, f.Labels, f.Annotations
		return &restoration{base: base, deleted: true, from: f.what}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("aws-auth is gone, and what it was is not known: %w", err)
	}
	return nil, nil
}

// unreadable works out what is put back into cm, of which broken are the keys that
// cannot be read; nil for nothing. The error says which of them have no known good
// text: they are left as they are.
func (p *restorer) unreadable(ctx context.Context, cm *corev1.ConfigMap, broken []*awsauth.ParseError) (*restoration, error) {
	formers, historyErr := p.knownFormers(ctx)
	m := &restoration{base: cm.DeepCopy()}
	var from, why []string
	var errs []error
	for _, b := range broken {
		key := b.Key
		i := slices.IndexFunc(formers, func(f former) bool {
			_, err := awsauth.Parse(map[string]string{key: f.Data[key]})
			return err == nil
		})
		if i < 0 {
			errs = append(errs, errors.Join(fmt.Errorf("no good text of %s is known: fix it by hand", key), historyErr))
			continue
		}
		m.keys, why = append(m.keys, key), append(why, b.Error())
		if text, ok := formers[i].Data[key]; ok {
			m.base.Data[key] = text
		} else {
			delete(m.base.Data, key)
		}
		if !slices.Contains(from, formers[i].what) {
			from = append(from, formers[i].what)
		}
	}
	if len(m.keys) == 0 {
		return nil, errors.Join(errs...)
	}
	m.broken, m.from = strings.Join(why, "; "), strings.Join(from, " and ")
	return m, errors.Join(errs...)
}

// knownFormers are the formers. That nobody may list the revisions is no error:
// nobody will ever know more, and the notice of the history tells.
func (p *restorer) knownFormers(ctx context.Context) ([]former, error) {
	formers, err := p.formers(ctx)
	if apierrors.IsForbidden(err) {
		err = nil
	}
	return formers, err
}
