package config

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Options are how a Watcher works. The zero value of each field is its default.
type Options struct {
	Logger     *slog.Logger          // default: logs nothing
	Registerer prometheus.Registerer // default: the metrics are not registered

	// Debounce is how long it must be quiet after a change before the files
	// are read, since one edit makes several events. Default 300 ms.
	Debounce time.Duration
	// MaxWait is when the files are read although it is never quiet. Default 1 s.
	MaxWait time.Duration
	// Poll is how often the files are read without any event, for one may be
	// missed. Default 15 s. Where events are not to be had, it is every 2 s
	// at the least.
	Poll time.Duration

	// For tests: another source of events and of /proc/self/mountinfo.
	notifier  func() (*notifier, error)
	mountinfo func() ([]byte, error)
}

// pollBlind is how often the files are read while nothing tells of changes.
const pollBlind = 2 * time.Second

func (o Options) withDefaults() Options {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Debounce <= 0 {
		o.Debounce = 300 * time.Millisecond
	}
	if o.MaxWait <= 0 {
		o.MaxWait = time.Second
	}
	if o.Poll <= 0 {
		o.Poll = 15 * time.Second
	}
	if o.notifier == nil {
		o.notifier = newNotifier
	}
	if o.mountinfo == nil {
		o.mountinfo = func() ([]byte, error) { return os.ReadFile("/proc/self/mountinfo") }
	}
	return o
}

// Status is what a Watcher knows at a moment.
type Status struct {
	Current  *File     // in force; nil before the first good one
	LoadedAt time.Time // when Current came into force
	Err      error     // why what is on disk is not in force; nil if it is
	ErrSince time.Time // since when nothing on disk was good; zero if Err is nil
	SubPath  bool      // the mount never changes, see isSubPath
}

// A Watcher keeps a configuration up to date. Its methods may be called from
// any goroutine.
type Watcher struct {
	path    string
	options Options
	metrics *metrics
	err     error // why Run cannot work

	mu     sync.Mutex
	status Status

	// Owned by Run.
	last    string // what was read last: the hash or the error
	watches bool   // false once it was said that changes cannot be watched
}

// NewWatcher returns a Watcher of the configuration at path, which need not
// exist yet. Nothing happens before Run.
func NewWatcher(path string, options Options) *Watcher {
	w := &Watcher{path: path, options: options.withDefaults(), metrics: newMetrics(), watches: true}
	if options.Registerer != nil {
		if err := w.metrics.register(options.Registerer); err != nil {
			w.err = fmt.Errorf("register the metrics of the config: %w", err)
		}
	}
	return w
}

// Status returns what is in force and what is wrong.
func (w *Watcher) Status() Status {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.status
}

// Run reads the configuration and then every change of it until ctx ends; then
// it returns nil. It calls onLoad, never twice at once, with the first good
// configuration and each good one that differs from the one before. What is not
// good or cannot be read is logged once, shown by Status, and otherwise waited
// out: it is no reason for Run to return.
//
// Run must be called once. onLoad should return soon, since no change is looked
// at meanwhile; none is lost, though.
func (w *Watcher) Run(ctx context.Context, onLoad func(*File)) error {
	if w.err != nil {
		return w.err
	}
	path, err := filepath.Abs(w.path)
	if err != nil {
		return fmt.Errorf("read config %q: %w", w.path, err)
	}
	s := w.newSentry(path)
	defer s.stop()

	// The watch comes before the read, lest a swap between the two go unseen.
	blind := !w.arm(s)
	w.checkSubPath(path)
	w.reload(onLoad)

	poll := time.NewTimer(w.pollAfter(blind))
	defer poll.Stop()
	quiet := time.NewTimer(0)
	quiet.Stop()
	defer quiet.Stop()
	var since time.Time // of the first change that was not looked at yet; zero if none
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.C():
			now := time.Now()
			if since.IsZero() {
				since = now
			}
			quiet.Reset(min(w.options.Debounce, since.Add(w.options.MaxWait).Sub(now)))
			continue
		case <-quiet.C:
			since = time.Time{}
		case <-poll.C:
		}
		blind = !w.arm(s)
		w.reload(onLoad)
		poll.Reset(w.pollAfter(blind))
	}
}

func (w *Watcher) pollAfter(blind bool) time.Duration {
	if blind {
		return min(pollBlind, w.options.Poll)
	}
	return w.options.Poll
}

// newSentry returns nil where the system offers no events.
func (w *Watcher) newSentry(path string) *sentry {
	n, err := w.options.notifier()
	if err != nil {
		w.cannotWatch(err)
		return nil
	}
	return newSentry(path, w.options.Logger, n)
}

// arm reports whether events are to be expected.
func (w *Watcher) arm(s *sentry) bool {
	err := s.arm()
	// What does not exist yet is reported by the read.
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		w.cannotWatch(err)
	}
	return s != nil && err == nil
}

func (w *Watcher) cannotWatch(err error) {
	if w.watches {
		w.watches = false
		w.options.Logger.Warn("cannot watch the config, it is read every few seconds instead; fs.inotify.max_user_instances or max_user_watches of the node may be used up",
			"path", w.path, "interval", w.pollAfter(true), "err", err)
	}
}

func (w *Watcher) checkSubPath(path string) {
	info, err := w.options.mountinfo()
	if err != nil || !isSubPath(string(info), path) {
		return // without mountinfo, as on macOS, there are no such mounts
	}
	w.mu.Lock()
	w.status.SubPath = true
	w.mu.Unlock()
	w.options.Logger.Warn("the config is mounted with subPath or as a single file, so no edit arrives before the pod restarts; mount the whole ConfigMap as a directory", "path", w.path)
}

// reload reads the files and does what is due if they say something new.
func (w *Watcher) reload(onLoad func(*File)) {
	snap, err := read(w.path)
	if err != nil {
		if w.changed("error: " + err.Error()) {
			w.refuse(err, resultUnreadable)
		}
		return
	}
	if !w.changed("hash: " + snap.seen()) {
		return
	}
	file, err := snap.load(w.path)
	if err != nil {
		w.refuse(err, resultInvalid)
		return
	}
	w.accept(file, onLoad)
}

func (w *Watcher) changed(now string) bool {
	if now == w.last {
		return false
	}
	w.last = now
	return true
}

// refuse keeps what is in force.
func (w *Watcher) refuse(err error, result string) {
	w.mu.Lock()
	w.status.Err = err
	if w.status.ErrSince.IsZero() {
		w.status.ErrSince = time.Now()
	}
	current := w.status.Current
	w.mu.Unlock()
	w.metrics.bad(result)

	attrs := []any{"path", w.path, "err", err}
	var list *Error
	if errors.As(err, &list) && len(list.Problems) > 0 {
		first := list.Problems[0]
		attrs = append(attrs, "file", first.File, "line", first.Line, "key", first.Key, "problems", len(list.Problems))
	}
	if current == nil {
		w.options.Logger.Error("the config is refused, and there is none in force: waiting for a good one", attrs...)
		return
	}
	w.options.Logger.Error("the config is refused, the last good one stays in force", append(attrs, "hash", short(current.Hash))...)
}

// accept puts a good configuration in force.
func (w *Watcher) accept(file *File, onLoad func(*File)) {
	now := time.Now()
	w.mu.Lock()
	before := w.status
	w.status.Err, w.status.ErrSince = nil, time.Time{}
	same := before.Current != nil && before.Current.Hash == file.Hash
	if !same {
		w.status.Current, w.status.LoadedAt = file, now
	}
	w.mu.Unlock()
	w.metrics.good(file.Hash, now)

	log := w.options.Logger.With("path", w.path, "hash", short(file.Hash))
	if before.Err != nil {
		log.Info("the config is good again", "refused_for", now.Sub(before.ErrSince))
	}
	if same {
		return
	}
	log.Info("the config is in force")
	w.warn(file.Warnings)
	onLoad(file)
}

// maxWarnings is how many warnings of one configuration are logged; rolecall
// validate shows them all.
const maxWarnings = 20

func (w *Watcher) warn(warnings []Problem) {
	for i, p := range warnings {
		if i == maxWarnings {
			w.options.Logger.Warn("the config has more warnings, see them with rolecall validate", "more", len(warnings)-i)
			return
		}
		w.options.Logger.Warn("the config has a doubtful value", "file", p.File, "line", p.Line, "key", p.Key, "warning", p.Message)
	}
}
