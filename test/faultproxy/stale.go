package faultproxy

import (
	"errors"
	"net/http"
	"sync"
)

// A StaleCache is what clients see of an API server whose watch cache can stand
// still: see [Proxy.Stale].
type StaleCache struct {
	*Rule
	still chan struct{} // closed when it stands still

	mu   sync.Mutex
	last answer // to a list of a resourceVersion or later
}

// Stale has the lists and watches that match pass as they are until
// [StaleCache.StandStill]. From then on they see nothing new: watches have no more
// events, and a list of a resourceVersion or later gets the answer that the last
// one had before. A list of the newest is not for the cache, and passes.
func (p *Proxy) Stale(m Match) *StaleCache {
	s := &StaleCache{still: make(chan struct{})}
	where := m.Where
	m.Where = func(q Request) bool {
		cached := q.Verb == "watch" || q.Verb == "list" && q.Version != ""
		return cached && (where == nil || where(q))
	}
	s.Rule = p.Add(m, func(x *exchange) {
		if x.record.Verb == "watch" {
			s.watch(x)
		} else {
			s.list(x)
		}
	})
	return s
}

// StandStill has the cache stand still until the rule is removed. The error says
// that no list has been answered from it yet.
func (s *StaleCache) StandStill() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last.code == 0 {
		return errors.New("nothing has been read from the cache yet")
	}
	close(s.still)
	return nil
}

func (s *StaleCache) list(x *exchange) {
	s.mu.Lock()
	select {
	case <-s.still:
		last := s.last
		s.mu.Unlock()
		x.relay(last)
		return
	default:
	}
	s.mu.Unlock()
	a := x.fetch()
	if a.code == http.StatusOK {
		s.mu.Lock()
		s.last = a
		s.mu.Unlock()
	}
	x.relay(a)
}

func (s *StaleCache) watch(x *exchange) {
	select {
	case <-s.still:
		Hang()(x)
		return
	default:
	}
	x.w.ResponseWriter = &stillWriter{x.w.ResponseWriter, s}
	x.pass()
}

// A stillWriter writes nothing while its cache stands still.
type stillWriter struct {
	http.ResponseWriter
	cache *StaleCache
}

func (w *stillWriter) Write(b []byte) (int, error) {
	select {
	case <-w.cache.gone:
	case <-w.cache.still:
		return len(b), nil
	default:
	}
	return w.ResponseWriter.Write(b)
}

// Unwrap lets [http.ResponseController] flush.
func (w *stillWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
