package agent

import "time"

// A View is what a leader knows, for the people who look at its page. It is
// never changed once it was made, so it can be read without a lock; nor may what
// hangs from it be changed.
type View struct {
	Began   time.Time // of the term
	Pass    time.Time // when the last pass ended
	Result  string    // of the last pass, in the words of rolecall_reconciles_total
	Err     error     // of the last pass
	Outcome *Outcome  // of the last pass that did not fail; nil before the first
	Writes  []Write   // newest first, at most [Options.KeepWrites]
}

// Sources is how the sources do, the most explicit first.
func (o *Outcome) Sources() []SourceStatus { return o.states }

// View is what this leader knows; nil outside a term and before its first pass.
// It returns at once and is safe for concurrent use.
func (l *Leader) View() *View { return l.view.Load() }

// show takes in how a pass went. Where it failed, what the one before saw still
// stands.
func (l *Leader) show(out *Outcome, err error) {
	v := View{Began: l.began, Pass: l.now(), Result: result(out, err), Err: err}
	switch was := l.view.Load(); {
	case err == nil:
		v.Outcome = out
		if !out.Wrote {
			l.diary.found(out.before)
		}
	case was != nil:
		v.Outcome = was.Outcome
	}
	v.Writes = l.diary.writes
	l.view.Store(&v)
}
