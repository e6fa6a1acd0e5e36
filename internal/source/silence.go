package source

import (
	"errors"
	"sync"
	"time"
)

// Patience is how long a source may be silent before it counts as failing. What it
// asks is waited for on, until its own time is up.
const Patience = 15 * time.Second

// A SilentError says that a source was asked and has not answered for a while. What it
// asks for stays as it was; the question is still waited for.
type SilentError struct {
	Since  time.Time // when it was asked
	Advice string    // what to look at; may be empty
}

// Error is the same text as long as the source is silent; how long that is, Since says.
func (e *SilentError) Error() string {
	text := "no answer since " + e.Since.UTC().Format(time.TimeOnly) + " UTC, and it is still waited for"
	if e.Advice != "" {
		text += ": " + e.Advice
	}
	return text
}

// silence is how long a refresh has been waiting for an answer. It is safe for
// concurrent use.
type silence struct {
	mu    sync.Mutex
	began time.Time // of the refresh that runs; zero: none does
	since time.Time // of the last answer in it, or when it began
}

func (s *silence) begin(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.began, s.since = now, now
}

func (s *silence) answered(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.began.IsZero() {
		s.since = now
	}
}

func (s *silence) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.began, s.since = time.Time{}, time.Time{}
}

func (s *silence) get() (began, since time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.began, s.since
}

// silent is why an answer does not count as right any more: its source is being asked,
// since began, and has been silent since then. One that has answered in this refresh, or
// that fails for a reason that is known, stays as it is.
func (s *Set) silent(a *Answer, began, since, now time.Time, out *Asked) error {
	answered := !a.Asked.IsZero() && !a.Asked.Before(began)
	if began.IsZero() || answered || a.Err != nil && !errors.Is(a.Err, ErrNotAsked) {
		return nil
	}
	if left := Patience - now.Sub(since); left > 0 {
		if out.Again == 0 || left < out.Again {
			out.Again = left
		}
		return nil
	}
	e := &SilentError{Since: since}
	if s.env.Advice != nil {
		e.Advice = s.env.Advice()
	}
	return e
}
