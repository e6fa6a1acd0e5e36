package config

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

const (
	// patience is how long a test waits for what must come. It is long so that
	// a busy machine makes no test fail; what must be fast is measured.
	patience = 30 * time.Second

	// never, as Options.Poll, leaves everything to events.
	never = time.Hour
)

// marked is a good configuration that is told from others by a mark.
func marked(mark string) map[string]string {
	return map[string]string{mainKey: head + "adopt: [" + strconv.Quote(mark) + "]\n"}
}

var broken = map[string]string{mainKey: head + "adopt: x\n"}

// A records collects a log.
type records struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (r *records) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.Write(p)
}

func (r *records) logger() *slog.Logger {
	return slog.New(slog.NewJSONHandler(r, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// of returns what was logged at a level.
func (r *records) of(t testing.TB, level slog.Level) []map[string]any {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []map[string]any
	for line := range bytes.Lines(r.text.Bytes()) {
		var rec map[string]any
		if err := json.Unmarshal(line, &rec); err != nil {
			t.Fatal(err)
		}
		if rec["level"] == level.String() {
			out = append(out, rec)
		}
	}
	return out
}

// A watching is a Watcher whose Run is under way.
type watching struct {
	*Watcher
	t     testing.TB
	log   *records
	loads chan *File
	stop  func() // ends Run and waits for it; done at the end of the test anyway
}

func watch(t testing.TB, path string, options Options) *watching {
	t.Helper()
	w := &watching{t: t, log: new(records), loads: make(chan *File, 10_000)}
	options.Logger = w.log.logger()
	if options.mountinfo == nil {
		options.mountinfo = func() ([]byte, error) { return nil, nil }
	}
	w.Watcher = NewWatcher(path, options)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx, func(f *File) { w.loads <- f }) }()
	w.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(w.stop)
	return w
}

// next waits for the next configuration and returns its mark.
func (w *watching) next() string {
	w.t.Helper()
	select {
	case f := <-w.loads:
		if len(f.Config.Adopt) == 0 {
			return ""
		}
		return f.Config.Adopt[0]
	case <-time.After(patience):
		w.t.Fatalf("no configuration came; status %+v", w.Status())
		return ""
	}
}

func (w *watching) want(mark string) {
	w.t.Helper()
	if got := w.next(); got != mark {
		w.t.Fatalf("got the configuration %q, want %q", got, mark)
	}
}

// until waits for a status.
func (w *watching) until(what string, ok func(Status) bool) Status {
	w.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); time.Now().Before(end); <-tick.C {
		if s := w.Status(); ok(s) {
			return s
		}
	}
	w.t.Fatalf("waited in vain for the status to be %s: %+v", what, w.Status())
	return Status{}
}

func isBad(s Status) bool  { return s.Err != nil }
func isGood(s Status) bool { return s.Err == nil && s.Current != nil }

// A swap is told of: nobody has to look.
func TestSwapIsSeen(t *testing.T) {
	k := newKubelet(t, filepath.Join(t.TempDir(), "mount"), marked("1"))
	w := watch(t, k.dir, Options{Poll: never})
	w.want("1")
	start := time.Now()
	k.swap(marked("2"))
	w.want("2")
	if s := w.Status(); s.Err != nil || s.Current.Config.Adopt[0] != "2" || s.LoadedAt.Before(start) || s.SubPath {
		t.Errorf("status %+v", s)
	}
}

// TestSwapsEndOnTheLast swaps 200 times, or 50 with -short, 10 ms apart. What is in force at the
// end is what was written last, and nothing on the way was half of each.
func TestSwapsEndOnTheLast(t *testing.T) {
	generation := func(n int) map[string]string {
		data := marked(strconv.Itoa(n))
		data[mapRoles] = "[{rolearn: 'arn:aws:iam::111122223333:role/r', groups: [g], username: '" + strconv.Itoa(n) + "'}]"
		return data
	}
	swaps := 200
	if testing.Short() {
		swaps = 50
	}
	end := strconv.Itoa(swaps)
	k := newKubelet(t, filepath.Join(t.TempDir(), "mount"), generation(0))
	w := watch(t, k.dir, Options{Poll: never, Debounce: 20 * time.Millisecond, MaxWait: 50 * time.Millisecond})
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for n := 1; n <= swaps; n++ {
		<-tick.C
		k.swap(generation(n))
	}
	w.until("that of the last swap", func(s Status) bool {
		return isGood(s) && s.Current.Config.Adopt[0] == end
	})
	w.stop()
	close(w.loads)
	last, count := "", 0
	for f := range w.loads {
		last = f.Config.Adopt[0]
		count++
		if r := f.Config.Roles[0]; r.Username != last {
			t.Errorf("two generations in one: %s and %s", last, r.Username)
		}
	}
	if last != end {
		t.Errorf("the last configuration was %s, want %s", last, end)
	}
	if count < 3 {
		t.Errorf("%d configurations over %d swaps, want more: the swaps starve the reload", count, swaps)
	}
	if errs := w.log.of(t, slog.LevelError); len(errs) > 0 {
		t.Errorf("errors: %v", errs)
	}
}

func TestGoodBadGood(t *testing.T) {
	k := newKubelet(t, filepath.Join(t.TempDir(), "mount"), marked("1"))
	registry := prometheus.NewPedanticRegistry()
	// Polls happen all the time, and must not make the log longer.
	w := watch(t, k.dir, Options{Debounce: time.Millisecond, Poll: 2 * time.Millisecond, Registerer: registry})
	w.want("1")
	first := w.Status().Current

	k.swap(broken)
	bad := w.until("bad", isBad)
	if bad.Current != first || bad.ErrSince.IsZero() {
		t.Errorf("status %+v, want the good file and since when there is a bad one", bad)
	}
	var list *Error
	if !errors.As(bad.Err, &list) || list.Problems[0].Line != 3 || list.Problems[0].Key != "adopt" {
		t.Errorf("error %v, want that of line 3", bad.Err)
	}
	// Another bad one is told of too, and the time stays.
	k.swap(map[string]string{mainKey: "x: 1\n"})
	worse := w.until("another error", func(s Status) bool { return s.Err != nil && s.Err.Error() != bad.Err.Error() })
	if !worse.ErrSince.Equal(bad.ErrSince) {
		t.Errorf("since %v, want it to stay %v", worse.ErrSince, bad.ErrSince)
	}
	if got := testutil.ToFloat64(w.metrics.valid); got != 0 {
		t.Errorf("rolecall_config_valid = %v, want 0", got)
	}

	// Back to the same content: good again, but nothing to load.
	k.swap(marked("1"))
	good := w.until("good", isGood)
	if good.Current != first || !good.ErrSince.IsZero() {
		t.Errorf("status %+v, want the first file", good)
	}
	k.swap(marked("2"))
	w.want("2")

	errs := w.log.of(t, slog.LevelError)
	if len(errs) != 2 {
		t.Fatalf("%d errors were logged, want one for each bad content: %v", len(errs), errs)
	}
	delete(errs[0], "time")
	delete(errs[0], "err")
	want := map[string]any{
		"level": "ERROR", "msg": "the config is refused, the last good one stays in force", "path": k.dir,
		"file": filepath.Join(k.dir, mainKey), "line": 3.0, "key": "adopt", "problems": 1.0, "hash": first.Hash[:12],
	}
	if diff := cmp.Diff(want, errs[0]); diff != "" {
		t.Errorf("log record (-want +got):\n%s", diff)
	}
	if infos := w.log.of(t, slog.LevelInfo); len(infos) != 3 || infos[1]["msg"] != "the config is good again" {
		t.Errorf("infos: %v, want loaded, good again, loaded", infos)
	}

	expected := `
# HELP rolecall_config_info Always 1; the label hash is the beginning of the hash of the configuration in force.
# TYPE rolecall_config_info gauge
rolecall_config_info{hash="` + w.Status().Current.Hash[:12] + `"} 1
# HELP rolecall_config_reloads_total Configurations taken up for the first time or after a change, by result: loaded, invalid or unreadable.
# TYPE rolecall_config_reloads_total counter
rolecall_config_reloads_total{result="invalid"} 2
rolecall_config_reloads_total{result="loaded"} 3
rolecall_config_reloads_total{result="unreadable"} 0
# HELP rolecall_config_valid 1 if the configuration on disk is the one that is in force, 0 if it was refused or none was found yet.
# TYPE rolecall_config_valid gauge
rolecall_config_valid 1
`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(expected), "rolecall_config_info", "rolecall_config_reloads_total", "rolecall_config_valid"); err != nil {
		t.Error(err)
	}
	if got, now := testutil.ToFloat64(w.metrics.lastSuccess), float64(time.Now().Unix()); got < now-60 || got > now+1 {
		t.Errorf("time of the last success %v, now is %v", got, now)
	}
	problems, err := testutil.GatherAndLint(registry)
	if err != nil || len(problems) > 0 {
		t.Errorf("lint: %v, %v", problems, err)
	}
}

func TestFirstIsBad(t *testing.T) {
	k := newKubelet(t, filepath.Join(t.TempDir(), "mount"), broken)
	w := watch(t, k.dir, Options{Poll: never, Debounce: time.Millisecond})
	if s := w.until("bad", isBad); s.Current != nil {
		t.Errorf("status %+v, want nothing in force", s)
	}
	k.swap(marked("1"))
	w.want("1")
	errs := w.log.of(t, slog.LevelError)
	if len(errs) != 1 || errs[0]["msg"] != "the config is refused, and there is none in force: waiting for a good one" {
		t.Errorf("errors: %v", errs)
	}
}

// TestReplaced has a directory that goes and comes, each in another way.
func TestReplaced(t *testing.T) {
	top := t.TempDir()
	dir := filepath.Join(top, "mount")
	newKubelet(t, dir, marked("first"))
	w := watch(t, dir, Options{Poll: never, Debounce: time.Millisecond})
	w.want("first")

	// Removed, and made anew when that was seen.
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if s := w.until("missing", isBad); s.Current == nil {
		t.Error("the last good configuration was dropped")
	}
	k := newKubelet(t, dir, marked("made again"))
	w.want("made again")
	// The watch is on the new directory, not on the old one alone.
	k.swap(marked("swapped"))
	w.want("swapped")

	// Replaced at once by another directory.
	other := newKubelet(t, filepath.Join(top, "other"), marked("moved here"))
	if err := errors.Join(os.Rename(dir, filepath.Join(top, "old")), os.Rename(other.dir, dir)); err != nil {
		t.Fatal(err)
	}
	w.want("moved here")
	other.dir = dir
	other.swap(marked("swapped after the move"))
	w.want("swapped after the move")

	// What goes on in the old directory is no longer of interest.
	k.dir = filepath.Join(top, "old")
	k.swap(marked("in the old directory"))
	other.swap(marked("last"))
	w.want("last")
}

// TestMissing has a directory that comes after the Watcher.
func TestMissing(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "above", "mount")
	w := watch(t, dir, Options{Poll: never, Debounce: time.Millisecond})
	if s := w.until("missing", isBad); !errors.Is(s.Err, fs.ErrNotExist) {
		t.Errorf("error %v, want fs.ErrNotExist", s.Err)
	}
	if err := os.Mkdir(filepath.Dir(dir), 0o700); err != nil {
		t.Fatal(err)
	}
	k := newKubelet(t, dir, marked("made"))
	w.want("made")
	k.swap(marked("swapped"))
	w.want("swapped")
}

// TestSwapWhileArming swaps just before the watch begins and just after it. In
// both cases the first read must not be the last word.
func TestSwapWhileArming(t *testing.T) {
	for _, when := range []string{"before", "after"} {
		t.Run(when, func(t *testing.T) {
			k := newKubelet(t, filepath.Join(t.TempDir(), "mount"), marked("old"))
			var once sync.Once
			swap := func() { once.Do(func() { k.swap(marked("new")) }) }
			w := watch(t, k.dir, Options{Poll: never, Debounce: time.Millisecond, notifier: func() (*notifier, error) {
				n, err := newNotifier()
				if err != nil {
					return nil, err
				}
				add := n.add
				n.add = func(dir string) error {
					if dir != k.dir {
						return add(dir)
					}
					if when == "before" {
						swap()
					}
					defer swap()
					return add(dir)
				}
				return n, nil
			}})
			w.until("the new one", func(s Status) bool { return isGood(s) && s.Current.Config.Adopt[0] == "new" })
		})
	}
}

// TestSingleFile has the ways in which a file is edited.
func TestSingleFile(t *testing.T) {
	write := func(t *testing.T, name, mark string) {
		t.Helper()
		if err := os.WriteFile(name, []byte(marked(mark)[mainKey]), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	options := Options{Poll: never, Debounce: time.Millisecond}
	t.Run("of a mount", func(t *testing.T) {
		k := newKubelet(t, filepath.Join(t.TempDir(), "mount"), marked("1"))
		w := watch(t, filepath.Join(k.dir, mainKey), options)
		w.want("1")
		k.swap(marked("2"))
		w.want("2")
	})
	t.Run("plain", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "dir")
		name := filepath.Join(dir, "any.yaml")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		w := watch(t, name, options)
		w.until("missing", isBad)
		write(t, name, "written")
		w.want("written")
		write(t, name+"~", "renamed over")
		if err := os.Rename(name+"~", name); err != nil {
			t.Fatal(err)
		}
		w.want("renamed over")
		write(t, filepath.Join(dir, "other.yaml"), "other")
		if err := errors.Join(os.RemoveAll(dir), os.Mkdir(dir, 0o700)); err != nil {
			t.Fatal(err)
		}
		write(t, name, "in a new directory")
		w.want("in a new directory")
		write(t, name, "in place")
		// Opening a file to write empties it first, which may be seen.
		w.want("in place")
	})
}

// TestNothingNew makes events that bring no other content.
func TestNothingNew(t *testing.T) {
	k := newKubelet(t, filepath.Join(t.TempDir(), "mount"), marked("1"))
	w := watch(t, k.dir, Options{Poll: never, Debounce: time.Millisecond})
	w.want("1")
	k.swap(marked("1"))
	if err := errors.Join(os.Chmod(k.dir, 0o700), os.Chtimes(k.dir, time.Now(), time.Now())); err != nil {
		t.Fatal(err)
	}
	data := marked("1")
	data["README"] = "of no interest"
	k.swap(data)
	k.swap(marked("2"))
	w.want("2")
}

// TestSlowOnLoad edits while onLoad is at work: it is not called twice at once,
// and the edit is not lost.
func TestSlowOnLoad(t *testing.T) {
	k := newKubelet(t, filepath.Join(t.TempDir(), "mount"), marked("1"))
	w := NewWatcher(k.dir, Options{Poll: never, Debounce: time.Millisecond})
	ctx, cancel := context.WithCancel(t.Context())
	entered, leave := make(chan string), make(chan struct{})
	var busy sync.Mutex
	done := make(chan error, 1)
	go func() {
		done <- w.Run(ctx, func(f *File) {
			if !busy.TryLock() {
				t.Error("onLoad is called twice at once")
				return
			}
			defer busy.Unlock()
			entered <- f.Config.Adopt[0]
			<-leave
		})
	}()
	if got := <-entered; got != "1" {
		t.Errorf("first %q", got)
	}
	// More events than the kernel's queue and all channels hold together would
	// take long; enough that none can be waiting in a channel of one.
	for n := range 50 {
		k.swap(marked("between " + strconv.Itoa(n)))
	}
	k.swap(marked("2"))
	leave <- struct{}{}
	if got := <-entered; got != "2" {
		t.Errorf("then %q, want 2", got)
	}
	cancel()
	leave <- struct{}{}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// fakeEvents is a notifier that a test plays.
type fakeEvents struct {
	addErr error
	events chan fsnotify.Event
	errors chan error
}

// make is called by Run, so the channels belong to the bubble of the test.
func (f *fakeEvents) make() (*notifier, error) {
	f.events, f.errors = make(chan fsnotify.Event), make(chan error)
	return &notifier{
		add:    func(string) error { return f.addErr },
		close:  func() error { close(f.events); close(f.errors); return nil },
		events: f.events,
		errors: f.errors,
	}, nil
}

// inBubble runs a Watcher with the default times on a clock that the test moves.
func inBubble(t *testing.T, f *fakeEvents, test func(t *testing.T, k *kubelet, w *watching)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		k := newKubelet(t, filepath.Join(t.TempDir(), "mount"), marked("1"))
		w := watch(t, k.dir, Options{notifier: f.make})
		synctest.Wait()
		w.wantNow("1")
		test(t, k, w)
		w.stop()
	})
}

// pass moves the clock.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// wantNow is want without waiting, which would move the clock.
func (w *watching) wantNow(mark string) {
	w.t.Helper()
	select {
	case f := <-w.loads:
		if got := f.Config.Adopt[0]; got != mark {
			w.t.Fatalf("got the configuration %q, want %q", got, mark)
		}
	default:
		w.t.Fatalf("there is no configuration yet, want %q", mark)
	}
}

func (w *watching) wantNone(when string) {
	w.t.Helper()
	select {
	case f := <-w.loads:
		w.t.Fatalf("%s: got the configuration %v, want none yet", when, f.Config.Adopt)
	default:
	}
}

func TestDebounce(t *testing.T) {
	f := new(fakeEvents)
	inBubble(t, f, func(t *testing.T, k *kubelet, w *watching) {
		for _, mark := range []string{"2", "3"} {
			k.swap(marked(mark))
			for range 3 {
				f.events <- fsnotify.Event{Name: filepath.Join(k.dir, "..data"), Op: fsnotify.Create}
				pass(200 * time.Millisecond)
				w.wantNone("200 ms after an event")
			}
			pass(99 * time.Millisecond)
			w.wantNone("299 ms after the last event")
			pass(2 * time.Millisecond)
			w.wantNow(mark)
			pass(5 * time.Second)
		}
	})
}

// TestSteadyEvents holds that events which never cease don't keep an edit out.
func TestSteadyEvents(t *testing.T) {
	f := new(fakeEvents)
	inBubble(t, f, func(t *testing.T, k *kubelet, w *watching) {
		for round := 2; round < 5; round++ {
			k.swap(marked(strconv.Itoa(round)))
			for range 11 { // 1.1 s
				f.events <- fsnotify.Event{Name: filepath.Join(k.dir, "..data"), Op: fsnotify.Create}
				pass(100 * time.Millisecond)
			}
			w.wantNow(strconv.Itoa(round))
		}
	})
}

func TestOtherEvents(t *testing.T) {
	f := new(fakeEvents)
	inBubble(t, f, func(t *testing.T, k *kubelet, w *watching) {
		k.swap(marked("2"))
		f.events <- fsnotify.Event{Name: filepath.Join(filepath.Dir(k.dir), "other"), Op: fsnotify.Create}
		pass(5 * time.Second)
		w.wantNone("after an event beside the directory")
		f.events <- fsnotify.Event{Name: k.dir, Op: fsnotify.Create}
		pass(time.Second)
		w.wantNow("2")
	})
}

func TestOverflow(t *testing.T) {
	f := new(fakeEvents)
	inBubble(t, f, func(t *testing.T, k *kubelet, w *watching) {
		k.swap(marked("2"))
		f.errors <- fsnotify.ErrEventOverflow
		pass(time.Second)
		w.wantNow("2")
		if warnings := w.log.of(t, slog.LevelWarn); len(warnings) != 1 {
			t.Errorf("warnings: %v", warnings)
		}
	})
}

// TestPoll holds that an edit is found although its event was lost.
func TestPoll(t *testing.T) {
	f := new(fakeEvents)
	inBubble(t, f, func(t *testing.T, k *kubelet, w *watching) {
		k.swap(marked("2"))
		pass(14 * time.Second)
		w.wantNone("before the poll")
		pass(2 * time.Second)
		w.wantNow("2")
		if warnings := w.log.of(t, slog.LevelWarn); len(warnings) > 0 {
			t.Errorf("warnings: %v", warnings)
		}
	})
}

// TestNoInotify has the two ways in which a node refuses to tell of changes.
func TestNoInotify(t *testing.T) {
	full := &fakeEvents{addErr: syscall.ENOSPC}
	for name, notifier := range map[string]func() (*notifier, error){
		"instances": func() (*notifier, error) { return nil, syscall.EMFILE },
		"watches":   full.make,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := newKubelet(t, filepath.Join(t.TempDir(), "mount"), marked("1"))
				w := watch(t, k.dir, Options{notifier: notifier})
				synctest.Wait()
				w.wantNow("1")
				for _, mark := range []string{"2", "3", "4"} {
					k.swap(marked(mark))
					pass(pollBlind + time.Millisecond)
					w.wantNow(mark)
				}
				if warnings := w.log.of(t, slog.LevelWarn); len(warnings) != 1 {
					t.Errorf("warnings: %v, want one", warnings)
				}
				w.stop()
			})
		})
	}
}

// TestSentry holds that events are taken although nobody asks for them, and
// that the directory above is watched first.
func TestSentry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := new(fakeEvents)
		n, err := f.make()
		if err != nil {
			t.Fatal(err)
		}
		var watched []string
		n.add = func(dir string) error { watched = append(watched, dir); return nil }
		s := newSentry("/etc/rolecall", slog.New(slog.DiscardHandler), n)
		defer s.stop()
		for range 10 {
			f.events <- fsnotify.Event{Name: "/etc/rolecall/..data", Op: fsnotify.Create}
			f.errors <- fsnotify.ErrEventOverflow
		}
		if err := s.arm(); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff([]string{"/etc", "/etc/rolecall"}, watched); diff != "" {
			t.Errorf("watched (-want +got):\n%s", diff)
		}
	})
}

func TestConcerns(t *testing.T) {
	s := &sentry{path: "/etc/rolecall/config.yaml"}
	for name, want := range map[string]bool{
		"/etc/rolecall/config.yaml":    true,
		"/etc/rolecall/..data":         true,
		"/etc/rolecall":                true,
		"/etc//rolecall":               true,
		"/etc/rolecall/config.yaml.sw": false,
		"/etc/hosts":                   false,
		"/etc":                         false,
	} {
		if got := s.concerns(name); got != want {
			t.Errorf("concerns(%q) = %t", name, got)
		}
	}
}

func TestWarningsAreLogged(t *testing.T) {
	for _, tc := range []struct{ entries, want int }{{1, 1}, {maxWarnings, maxWarnings}, {30, maxWarnings + 1}} {
		k := newKubelet(t, filepath.Join(t.TempDir(), "mount"), map[string]string{
			mainKey: head + "roles:\n" + strings.Repeat("  - permissionSet: A\n", tc.entries),
		})
		w := watch(t, k.dir, Options{})
		w.next()
		w.stop()
		warnings := w.log.of(t, slog.LevelWarn)
		if len(warnings) != tc.want {
			t.Errorf("%d warnings were logged for %d, want %d", len(warnings), tc.entries, tc.want)
		}
		if keys := slices.Sorted(maps.Keys(warnings[0])); !slices.Contains(keys, "line") || !slices.Contains(keys, "warning") {
			t.Errorf("warning %v", warnings[0])
		}
	}
}

func TestRegisterTwice(t *testing.T) {
	registry := prometheus.NewRegistry()
	NewWatcher("x", Options{Registerer: registry})
	err := NewWatcher("x", Options{Registerer: registry}).Run(t.Context(), func(*File) {})
	var already prometheus.AlreadyRegisteredError
	if !errors.As(err, &already) {
		t.Errorf("got %v, want an AlreadyRegisteredError", err)
	}
}
