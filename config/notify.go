package config

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/fsnotify/fsnotify"
)

// A notifier tells of changes in directories; in the program, fsnotify does.
type notifier struct {
	add    func(dir string) error // may be called again for a directory that is watched
	close  func() error           // closes events
	events <-chan fsnotify.Event
	errors <-chan error
}

func newNotifier() (*notifier, error) {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, err
	}
	return &notifier{add: w.Add, close: w.Close, events: w.Events, errors: w.Errors}, nil
}

// A sentry watches the place of a configuration and says that something may
// have changed there. A nil sentry never does.
type sentry struct {
	path    string
	log     *slog.Logger
	notify  *notifier
	changes chan struct{} // holds one: that a change is still to be looked at
	pump    sync.WaitGroup
}

// newSentry starts watching nothing; see arm.
func newSentry(path string, log *slog.Logger, n *notifier) *sentry {
	s := &sentry{path: path, log: log, notify: n, changes: make(chan struct{}, 1)}
	s.pump.Go(s.run)
	return s
}

// stop ends the watching and waits for it to have ended.
func (s *sentry) stop() {
	if s == nil {
		return
	}
	if err := s.notify.close(); err != nil {
		s.log.Debug("cannot close the watch on the config", "err", err)
	}
	s.pump.Wait()
}

// run takes up events until the notifier is closed. It does nothing else:
// fsnotify stands still, and its Add can with it, while nobody takes an event
// (backend_inotify.go handleEvent sends errors under the lock that Add needs).
func (s *sentry) run() {
	errs := s.notify.errors
	for {
		select {
		case e, ok := <-s.notify.events:
			if !ok {
				return
			}
			if s.concerns(e.Name) {
				s.changed()
			}
		case err, ok := <-errs:
			if !ok {
				errs = nil
				continue
			}
			// Of an overflow or any other error it is only known that
			// events were lost.
			s.log.Warn("events on the config were lost, it is read again", "err", err)
			s.changed()
		}
	}
}

func (s *sentry) changed() {
	select {
	case s.changes <- struct{}{}:
	default:
	}
}

// C returns the channel that receives after changes.
func (s *sentry) C() <-chan struct{} {
	if s == nil {
		return nil
	}
	return s.changes
}

// concerns reports whether an event at a name can mean a new configuration.
// Events in the directories above tell that the directory was replaced, and
// are otherwise of no interest, such as those of other files in /etc.
func (s *sentry) concerns(name string) bool {
	name = filepath.Clean(name)
	dir := filepath.Dir(name)
	return name == s.path || dir == s.path || name == filepath.Dir(s.path) ||
		dir == filepath.Dir(s.path) && strings.HasPrefix(filepath.Base(name), "..")
}

// arm watches the directory of the configuration and the one above it. Done
// again, it takes up a directory that has replaced the one that was watched.
// It returns why nothing is watched, or nil.
func (s *sentry) arm() error {
	if s == nil {
		return nil
	}
	dir := s.path
	if info, err := os.Stat(dir); err == nil && !info.IsDir() {
		dir = filepath.Dir(dir)
	}
	// First the one above: in the other order, a directory made between the
	// two steps would be missed.
	above := s.notify.add(filepath.Dir(dir))
	if err := s.notify.add(dir); err != nil {
		return err
	}
	if above != nil && !errors.Is(above, fs.ErrNotExist) {
		s.log.Debug("cannot watch the directory above the config", "err", above)
	}
	return nil
}
