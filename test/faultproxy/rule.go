package faultproxy

import (
	"slices"
	"sync/atomic"
)

// A Match says which requests a rule is for. An empty field matches any.
type Match struct {
	Client, Verb, Resource, Subresource, Namespace, Name string
	// Where must hold too, if it is given. It may be called at any time, from
	// any goroutine, but not for two requests at once.
	Where func(Request) bool

	Skip  int // so many matching requests pass first
	Times int // so many are hit then; 0: all
}

func (m *Match) matches(q Request) bool {
	for _, f := range [][2]string{
		{m.Client, q.Client},
		{m.Verb, q.Verb},
		{m.Resource, q.Resource},
		{m.Subresource, q.Subresource},
		{m.Namespace, q.Namespace},
		{m.Name, q.Name},
	} {
		if f[0] != "" && f[0] != f[1] {
			return false
		}
	}
	return m.Where == nil || m.Where(q)
}

// A Rule is in force from [Proxy.Add] until it is used up or [Rule.Remove].
type Rule struct {
	proxy  *Proxy
	match  Match
	action Action
	gone   chan struct{} // closed by Remove
	hits   atomic.Int64
	seen   int // matching requests, guarded by proxy.mu
}

// Add has an action done with every request that matches from now on. Of
// several rules that match a request, the one that was added first is taken.
func (p *Proxy) Add(m Match, a Action) *Rule {
	r := &Rule{proxy: p, match: m, action: a, gone: make(chan struct{})}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rules = append(p.rules, r)
	return r
}

// Remove ends the rule. Requests that it keeps waiting go on. It may be called
// again.
func (r *Rule) Remove() {
	r.proxy.mu.Lock()
	defer r.proxy.mu.Unlock()
	r.remove()
}

// remove is Remove with the proxy's mu held.
func (r *Rule) remove() {
	if i := slices.Index(r.proxy.rules, r); i >= 0 {
		r.proxy.rules = slices.Delete(r.proxy.rules, i, i+1)
		close(r.gone)
	}
}

// Hits is how many requests the rule has hit.
func (r *Rule) Hits() int { return int(r.hits.Load()) }

// take returns the rule that a request falls under, or nil.
func (p *Proxy) take(q Request) *Rule {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range p.rules {
		if !r.match.matches(q) {
			continue
		}
		after := r.seen - r.match.Skip
		if r.match.Times > 0 && after >= r.match.Times {
			continue
		}
		r.seen++
		if after >= 0 {
			r.hits.Add(1)
			return r
		}
	}
	return nil
}
