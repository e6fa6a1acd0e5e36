package awsauth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	utilnet "k8s.io/apimachinery/pkg/util/net"
)

// An Editor changes an aws-auth in the cluster by hand: it reads it, makes the
// edit, shows it, and writes it with the resourceVersion that it has read. When
// somebody else has written meanwhile it does all of that again, as often as it
// takes. It starts no goroutine, keeps no state and is safe for concurrent use
// as far as Review is.
type Editor struct {
	// Store reads and writes the ConfigMap.
	Store *Store
	// Retry says how errors that can pass are tried again. Nil: not at all.
	Retry *Retry
	// Timeout bounds an edit as a whole, with all its requests and the waits
	// between them, but without the time that Review takes. Zero: only the
	// context does.
	Timeout time.Duration
	// Review is shown what is about to be written. An error of it ends the edit
	// and is returned as it is. When the edit has to be made again because
	// somebody else has written, it is shown that too. It is not asked where
	// there is nothing to write. Nil: nobody looks.
	Review func(ctx context.Context, planned *Edited) error
}

// Retry is how errors that can pass are tried again (see [Transient]): with
// exponential backoff and jitter, or when the API server says. The zero value
// is the default.
type Retry struct {
	MaxCount int           // tries after the first; 0: 12
	MinTime  time.Duration // the shortest wait; 0: 200 ms
	MaxTime  time.Duration // the longest wait, unless the API server asks for more; 0: 30 s
}

// Edited is an edit of one aws-auth, planned or done.
type Edited struct {
	Before, After *Document
	Changes       []Change
	// Creates says that there was no ConfigMap.
	Creates bool
	// Managers are the tools that manage the ConfigMap from a source of their own,
	// and so undo what is edited beside it.
	Managers []Manager
	// ResourceVersion is that of After once it stands, else empty.
	ResourceVersion string
}

var (
	// ErrMissing says that there is no aws-auth.
	ErrMissing = errors.New("there is no aws-auth")

	// ErrDeleted says that somebody has deleted aws-auth while it was edited.
	ErrDeleted = errors.New("somebody has deleted aws-auth meanwhile; all that stood in it is locked out")

	// ErrUnknownOutcome says that a write got no answer, or none that tells
	// whether it was done.
	ErrUnknownOutcome = errors.New("whether it was written is not known: look before you try again")
)

const (
	// attempt bounds one request: an API server gives up after a minute, and a
	// connection that is dead says nothing.
	attempt = 30 * time.Second

	// After a conflict only others' writes are waited for: so long, at first and
	// in the end.
	soonest = 10 * time.Millisecond
	latest  = time.Second
)

// Get reads the document. The error matches [ErrMissing] where there is none,
// and joins [*ParseError]s where the authenticator cannot read it.
func (e *Editor) Get(ctx context.Context) (*Document, error) {
	r := run{editor: e, left: e.Timeout}
	for {
		cm, exists, err := r.get(ctx)
		if err == nil && !exists {
			return nil, ErrMissing
		}
		if err == nil {
			return whole(cm)
		}
		if err := r.again(ctx, err); err != nil {
			return nil, err
		}
	}
}

// whole reads a ConfigMap. The error joins a [*ParseError] for every key that the
// authenticator cannot read, be it in data or in binaryData.
func whole(cm *corev1.ConfigMap) (*Document, error) {
	d := ParseConfigMap(cm.Data, cm.BinaryData)
	var errs []error
	for _, p := range d.Unreadable() {
		errs = append(errs, p)
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return d, nil
}

// Upsert brings entries into force, all in one write, as [Document.Upsert] says.
// Where there is no aws-auth it makes one.
func (e *Editor) Upsert(ctx context.Context, opts UpsertOptions, entries ...Entry) (*Edited, error) {
	r := run{editor: e, left: e.Timeout, creates: true}
	r.change = func(d *Document, _ bool) (*Document, []Change, error) { return d.Upsert(opts, entries...) }
	return r.until(ctx)
}

// Remove takes entries away, all in one write, as [Document.Remove] says. Where
// there is no aws-auth, the error matches [ErrMissing].
func (e *Editor) Remove(ctx context.Context, opts RemoveOptions, matches ...Match) (*Edited, error) {
	r := run{editor: e, left: e.Timeout}
	for _, m := range matches {
		r.once = r.once || m.First
	}
	r.change = func(d *Document, again bool) (*Document, []Change, error) {
		opts := opts
		opts.IgnoreNotFound = opts.IgnoreNotFound || again // what a lost write has removed is not there
		return d.Remove(opts, matches...)
	}
	return r.until(ctx)
}

// RemoveByUsername takes away every role and user that is mapped to a username.
func (e *Editor) RemoveByUsername(ctx context.Context, opts RemoveOptions, username string) (*Edited, error) {
	if username == "" {
		return nil, errors.New("remove by username: the username is empty")
	}
	return e.Remove(ctx, opts, Match{Username: username})
}

// RemoveAll takes away every entry of these kinds.
func (e *Editor) RemoveAll(ctx context.Context, opts RemoveOptions, kinds ...Kind) (*Edited, error) {
	matches := make([]Match, len(kinds))
	for i, kind := range kinds {
		matches[i].Kind = kind
	}
	return e.Remove(ctx, opts, matches...)
}

// run is one edit, over all its tries.
type run struct {
	editor  *Editor
	change  func(d *Document, again bool) (*Document, []Change, error)
	creates bool // a missing aws-auth is made
	once    bool // done twice it would do more

	left      time.Duration // of Timeout
	retries   int
	conflicts int
	existed   bool
	looked    bool    // after an error of which nobody knows that it can pass
	lost      *Edited // a write that got no answer that tells
	lostData  map[string]string
	lostFrom  *corev1.ConfigMap // what it was planned for; nil where there was none
}

// moved reports whether aws-auth has been written since the lost write was
// planned. Where the client keeps no resourceVersions, its data tell.
func (r *run) moved(cm *corev1.ConfigMap, exists bool) bool {
	switch {
	case exists != (r.lostFrom != nil):
		return true
	case !exists:
		return false
	case cm.ResourceVersion == "" && r.lostFrom.ResourceVersion == "":
		return !maps.Equal(cm.Data, r.lostFrom.Data)
	}
	return cm.ResourceVersion != r.lostFrom.ResourceVersion
}

// until tries until it is done, or an error is there to stay.
func (r *run) until(ctx context.Context) (*Edited, error) {
	for {
		edited, err := r.try(ctx)
		if err == nil {
			return edited, nil
		}
		if err := r.again(ctx, err); err != nil {
			if r.lost != nil && !errors.Is(err, ErrUnknownOutcome) {
				err = fmt.Errorf("%w: %w", ErrUnknownOutcome, err)
			}
			return nil, err
		}
	}
}

// final wraps an error that no further try could change.
type final struct{ error }

func (f final) Unwrap() error { return f.error }

// try reads, edits and writes once.
func (r *run) try(ctx context.Context) (*Edited, error) {
	cm, exists, err := r.get(ctx)
	if err != nil {
		return nil, err
	}
	moved := r.lost != nil && r.moved(cm, exists)
	if moved && exists && maps.Equal(cm.Data, r.lostData) {
		return r.found(cm), nil
	}
	if !exists && r.existed {
		return nil, final{ErrDeleted}
	}
	r.existed = r.existed || exists
	before, err := whole(cm)
	if err != nil {
		return nil, final{err}
	}
	if moved && r.once {
		return nil, final{ErrUnknownOutcome}
	}
	after, changes, err := r.change(before, r.lost != nil)
	if !exists && !r.creates {
		if nf := (*NotFoundError)(nil); err == nil || errors.As(err, &nf) {
			err = errors.Join(ErrMissing, err)
		}
	}
	if err != nil {
		return nil, final{err}
	}
	if len(changes) == 0 {
		if moved {
			return r.found(cm), nil
		}
		return &Edited{Before: before, After: after, ResourceVersion: cm.ResourceVersion}, nil
	}
	edited := &Edited{Before: before, After: after, Changes: changes, Creates: !exists, Managers: Managers(&cm.ObjectMeta)}
	if r.editor.Review != nil {
		if err := r.editor.Review(ctx, edited); err != nil {
			return nil, final{err}
		}
	}
	write := cm.DeepCopy()
	write.Data = after.Data()
	var written *corev1.ConfigMap
	err = r.bounded(ctx, func(ctx context.Context) (err error) {
		written, err = r.editor.Store.put(ctx, write, exists)
		return err
	})
	if err == nil {
		edited.ResourceVersion = written.ResourceVersion
		return edited, nil
	}
	if mayBeDone(err) {
		if r.lost, r.lostData, r.lostFrom = edited, write.Data, nil; exists {
			r.lostFrom = cm
		}
	}
	return nil, err
}

// found is the edit that a write without an answer has done.
func (r *run) found(cm *corev1.ConfigMap) *Edited {
	r.lost.ResourceVersion = cm.ResourceVersion
	return r.lost
}

func (r *run) get(ctx context.Context) (cm *corev1.ConfigMap, exists bool, err error) {
	err = r.bounded(ctx, func(ctx context.Context) (err error) {
		cm, exists, err = r.editor.Store.Read(ctx)
		return err
	})
	return cm, exists, err
}

// errTimeout says that a request took longer than it may.
var errTimeout = fmt.Errorf("no answer within %s", attempt)

// bounded makes a request within what is left of the time.
func (r *run) bounded(ctx context.Context, request func(context.Context) error) error {
	limit, cause := attempt, errTimeout
	if r.editor.Timeout > 0 && r.left < limit {
		limit, cause = r.left, error(timedOut(r.editor.Timeout))
	}
	start := time.Now()
	within, cancel := context.WithTimeoutCause(ctx, limit, cause)
	defer cancel()
	err := request(within)
	r.left -= time.Since(start)
	if err != nil && within.Err() != nil && ctx.Err() == nil {
		return fmt.Errorf("%w: %w", cause, err)
	}
	return err
}

// timedOut says that the time for all of it is over.
type timedOut time.Duration

func (t timedOut) Error() string { return fmt.Sprintf("not done within %s", time.Duration(t)) }

func (timedOut) Unwrap() error { return context.DeadlineExceeded }

// again waits for the next try after an error, or returns that there is none.
func (r *run) again(ctx context.Context, err error) error {
	var wait time.Duration
	switch end := (final{}); {
	case errors.As(err, &end):
		return end.error
	case ctx.Err() != nil, r.editor.Timeout > 0 && r.left <= 0:
		return err
	case errors.Is(err, ErrConflict):
		wait = backoff(r.conflicts, soonest, latest)
		r.conflicts++
	case r.editor.Retry != nil && Transient(err):
		retry := r.editor.Retry.defaulted()
		if r.retries >= retry.MaxCount {
			return fmt.Errorf("given up after %d retries: %w", r.retries, err)
		}
		wait = backoff(r.retries, retry.MinTime, retry.MaxTime)
		if seconds, ok := apierrors.SuggestsClientDelay(err); ok {
			wait = max(wait, time.Duration(seconds)*time.Second)
		}
		r.retries++
	case r.lost != nil && !r.looked:
		// One look whether it was done all the same.
		wait = soonest
		r.looked = true
	default:
		return err
	}
	if r.editor.Timeout > 0 && wait >= r.left {
		return fmt.Errorf("%w: %w", timedOut(r.editor.Timeout), err)
	}
	start := time.Now()
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", context.Cause(ctx), err)
	case <-timer.C:
	}
	r.left -= time.Since(start)
	return nil
}

func (r Retry) defaulted() Retry {
	if r.MaxCount <= 0 {
		r.MaxCount = 12
	}
	if r.MinTime <= 0 {
		r.MinTime = 200 * time.Millisecond
	}
	if r.MaxTime <= 0 {
		r.MaxTime = 30 * time.Second
	}
	r.MaxTime = max(r.MaxTime, r.MinTime)
	return r
}

// backoff is how long to wait before try n+1: at least the shortest wait, and
// at most twice as long as the time before.
func backoff(n int, shortest, longest time.Duration) time.Duration {
	limit := shortest
	for range n {
		if limit *= 2; limit >= longest {
			limit = longest
			break
		}
	}
	return shortest + rand.N(limit-shortest+1)
}

// mayBeDone reports whether a write that ended with an error may have been done,
// or be done yet.
func mayBeDone(err error) bool {
	if errors.Is(err, ErrConflict) || utilnet.IsConnectionRefused(err) {
		return false
	}
	var status apierrors.APIStatus
	if errors.As(err, &status) {
		return status.Status().Code >= 500
	}
	return true
}

// Transient reports whether an error of the API server, or of the way to it,
// can pass: it was too busy, not ready, restarting or not to be reached, or did
// not answer in time. A refusal is there to stay.
func Transient(err error) bool {
	var status apierrors.APIStatus
	if errors.As(err, &status) {
		code := status.Status().Code
		return code >= 500 || apierrors.IsTooManyRequests(err) || apierrors.IsTimeout(err)
	}
	var timeout interface{ Timeout() bool }
	var dial *net.OpError
	return errors.Is(err, errTimeout) || errors.As(err, &dial) && dial.Op == "dial" ||
		errors.As(err, &timeout) && timeout.Timeout() ||
		utilnet.IsConnectionRefused(err) || utilnet.IsConnectionReset(err) || utilnet.IsHTTP2ConnectionLost(err) ||
		utilnet.IsProbableEOF(err) || errors.Is(err, io.ErrUnexpectedEOF)
}
