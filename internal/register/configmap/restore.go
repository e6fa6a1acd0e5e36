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

	// describeEvery is the pace at which labels and annotations are recorded that change
	// while the content stays the same.
	describeEvery = 10 * time.Minute

	// recordPatience is how long a broken text may take to be recorded before aws-auth
	// is restored: everybody is locked out.
	recordPatience = 5 * time.Second

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
	recorded string            // resourceVersion that was recorded last, or needed no record
	kept     kept              // what was recorded last
	err      error             // of the last try to record
}

// kept is what a term has recorded last.
type kept struct {
	key, id   string    // of the content
	described time.Time // when labels or annotations alone were recorded last; zero for not yet
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

// remembered are the formers that this term saw itself, the newest first.
func (p *restorer) remembered() []former {
	var out []former
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, cm := range slices.Backward(p.seen) {
		if p.good != nil && !later(cm.ResourceVersion, p.good.ResourceVersion) {
			continue // the watch was late: a reconcile has read what came after it
		}
		out = append(out, former{content(cm), "as it was a moment ago"})
	}
	if p.good != nil {
		out = append(out, former{content(p.good), "as it was a moment ago"})
	}
	return out
}

// formers are what aws-auth was, the newest first, also what could not be read. Without
// revisions it goes on with what this term saw. That nobody may list the revisions is
// no error: nobody will ever know more, and the notice of the history tells.
func (p *restorer) formers(ctx context.Context) ([]former, error) {
	out := p.remembered()
	revisions, err := call(ctx, p.revisions.List)
	if apierrors.IsForbidden(err) {
		err = nil
	}
	for i := range revisions {
		r := &revisions[i]
		c, readErr := r.Content()
		if readErr != nil {
			err = errors.Join(err, readErr)
			continue
		}
		out = append(out, former{c, fmt.Sprintf("as of revision %d", r.Number)})
	}
	return out, err
}

// good reports whether the authenticator could read it all.
func (f *former) good() bool {
	return len(awsauth.ParseConfigMap(f.Data, f.BinaryData).Unreadable()) == 0
}

// hasGood reports whether the authenticator could read a key of it.
func (f *former) hasGood(key string) bool {
	if _, binary := f.BinaryData[key]; binary {
		return false
	}
	_, err := awsauth.Parse(map[string]string{key: f.Data[key]})
	return err == nil
}

// later reports whether what has the resourceVersion a was written after what has b.
func later(a, b string) bool {
	order, err := resourceversion.CompareResourceVersion(a, b)
	return err == nil && order > 0
}

// A record is what is kept as a revision: aws-auth, and what is said of it.
type record struct {
	cm       *corev1.ConfigMap
	who, why string // empty: whoever wrote it last
	broken   string // why the authenticator can't read it; empty: it can
	absent   bool   // there is none: nothing is kept
}

// record keeps what aws-auth holds as a revision, unless that is done already
// or contents change too fast; then it is done later, and again says when. done
// reports whether there was anything to record.
func (p *restorer) record(ctx context.Context, rec record) (done bool, again time.Duration, err error) {
	if rec.absent || rec.cm.ResourceVersion == p.recorded {
		return false, 0, nil
	}
	c := content(rec.cm)
	switch key := c.Key(); {
	case p.err != nil: // what there is of it is not known
	case p.kept.id == c.ID():
		p.recorded = rec.cm.ResourceVersion
		return false, 0, nil
	case p.kept.key == key:
		if left := describeEvery - p.now().Sub(p.kept.described); left > 0 {
			return false, left, nil
		}
	}
	if !p.limit.AllowN(p.now(), 1) {
		return false, recordEvery, nil
	}
	p.err = p.recordNow(ctx, rec)
	return true, 0, p.err
}

func (p *restorer) recordNow(ctx context.Context, rec record) error {
	c := content(rec.cm)
	r := history.Revision{Who: rec.who, Why: rec.why, Version: rec.cm.ResourceVersion, Broken: rec.broken, At: p.now()}
	if rec.who == "" {
		var at time.Time
		if r.Who, at = history.LastWriter(rec.cm, FieldManager); !at.IsZero() {
			r.At = at
		}
	}
	_, err := call(ctx, func(ctx context.Context) (int64, error) { return p.revisions.Record(ctx, r, c) })
	if err == nil {
		next := kept{key: c.Key(), id: c.ID()}
		if next.key == p.kept.key {
			next.described = p.now()
		}
		p.kept = next
		p.recorded = rec.cm.ResourceVersion
	}
	return err
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

// deleted works out what is put back for cm, which was deleted: the newest content
// that can be read, with the newest labels and annotations that are known. Where none
// can be read as a whole, a key had no known good text while aws-auth was there: the
// other keys come back all the same. It returns nil if aws-auth never was there.
func (p *restorer) deleted(ctx context.Context, cm *corev1.ConfigMap) (*restoration, error) {
	restored := func(formers []former) *restoration {
		for i := range formers {
			if f := &formers[i]; f.good() {
				base := cm.DeepCopy()
				base.Data, base.BinaryData, base.Labels, base.Annotations = f.Data, f.BinaryData, formers[0].Labels, formers[0].Annotations
				return &restoration{base: base, deleted: true, from: f.what}
			}
		}
		return nil
	}
	if m := restored(p.remembered()); m != nil {
		return m, nil // however long the history may take
	}
	formers, err := p.formers(ctx)
	switch m := restored(formers); {
	case m != nil:
		return m, nil
	case len(formers) > 0:
		return asItWas(cm, formers), nil
	case err != nil:
		return nil, fmt.Errorf("aws-auth is gone, and what it was is not known: %w", err)
	}
	return nil, nil
}

// asItWas puts back the newest of the formers for cm, which was deleted. A key of it
// that cannot be read is as the newest former has it that could be read, else as it was.
func asItWas(cm *corev1.ConfigMap, formers []former) *restoration {
	m := &restoration{base: cm.DeepCopy(), deleted: true, from: formers[0].what}
	last := formers[0].Content
	m.base.Data, m.base.BinaryData = maps.Clone(last.Data), maps.Clone(last.BinaryData)
	m.base.Labels, m.base.Annotations = last.Labels, last.Annotations
	for _, b := range awsauth.ParseConfigMap(last.Data, last.BinaryData).Unreadable() {
		if i := slices.IndexFunc(formers, func(f former) bool { return f.hasGood(b.Key) }); i >= 0 {
			m.put(b.Key, &formers[i])
		}
	}
	return m
}

// unreadable works out what is put back into cm, of which broken are the keys that
// cannot be read; nil for nothing. The error says which of them have no known good
// text: they are left as they are. The history is asked where this term has not seen a
// good text itself.
func (p *restorer) unreadable(ctx context.Context, cm *corev1.ConfigMap, broken []*awsauth.ParseError) (*restoration, error) {
	known := func(formers []former, key string) *former {
		if i := slices.IndexFunc(formers, func(f former) bool { return f.hasGood(key) }); i >= 0 {
			return &formers[i]
		}
		return nil
	}
	var historyErr error
	formers := p.remembered()
	if slices.ContainsFunc(broken, func(b *awsauth.ParseError) bool { return known(formers, b.Key) == nil }) {
		formers, historyErr = p.formers(ctx)
	}
	m := &restoration{base: cm.DeepCopy()}
	var from, why []string
	var errs []error
	for _, b := range broken {
		f := known(formers, b.Key)
		if f == nil {
			errs = append(errs, errors.Join(fmt.Errorf("no good text of %s is known: fix it by hand, rolecall lint says how", b.Key), historyErr))
			continue
		}
		m.keys, why = append(m.keys, b.Key), append(why, b.Error())
		m.put(b.Key, f)
		if !slices.Contains(from, f.what) {
			from = append(from, f.what)
		}
	}
	if len(m.keys) == 0 {
		return nil, errors.Join(errs...)
	}
	m.broken, m.from = strings.Join(why, "; "), strings.Join(from, " and ")
	return m, errors.Join(errs...)
}

// put has a key as it was. What stood under it in binaryData goes: the API server takes
// no key that is in both.
func (m *restoration) put(key string, f *former) {
	delete(m.base.BinaryData, key)
	text, ok := f.Data[key]
	if !ok {
		delete(m.base.Data, key)
		return
	}
	if m.base.Data == nil {
		m.base.Data = map[string]string{}
	}
	m.base.Data[key] = text
}

// why says in one text why keys can't be read, "" where all can.
func why(broken []*awsauth.ParseError) string {
	texts := make([]string, len(broken))
	for i, b := range broken {
		texts[i] = b.Error()
	}
	return strings.Join(texts, "; ")
}
