package report

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/record"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/internal/plan"
	"github.com/rolecall/rolecall/internal/register"
)

// Ten reports that are not believed are told one by one, a flood of them as one.
func TestFloodOfRefusedReportsIsOneNotice(t *testing.T) {
	for flood, want := range map[int]int{0: 0, 1: 1, maxRefusals: maxRefusals, maxRefusals + 1: 1, 100_000: 1} {
		refused := map[string]error{}
		for i := range flood {
			refused[fmt.Sprintf("node-role-%d", i)] = errors.New("of another account")
		}
		if got := len(refusals(refused)); got != want {
			t.Errorf("%d refused reports are told by %d notices, want %d", flood, got, want)
		}
	}
}

// A teller says what stands once, when it begins, and once when it ends: neither a
// reconcile that failed nor one that others overtook says that it is over.
func TestNoticesAreToldOnce(t *testing.T) {
	var log bytes.Buffer
	teller := NewTeller(slog.New(slog.NewTextHandler(&log, nil)), nil)
	said := func(r *Result) int {
		log.Reset()
		teller.Tell(r)
		return strings.Count(log.String(), "\n")
	}
	unreadable := func() *Result {
		return &Result{Observed: &register.Observation{Unreadable: []*awsauth.ParseError{{Key: "mapUsers", Reason: "no list"}}}, Change: &register.Change{}}
	}
	good := func() *Result { return &Result{Observed: &register.Observation{}, Change: &register.Change{}} }
	for _, step := range []struct {
		what   string
		result *Result
		lines  int
	}{
		{"all is well", good(), 0},
		{"a list cannot be read", unreadable(), 1},
		{"still", unreadable(), 0},
		{"overtaken", &Result{Err: register.ErrConflict}, 1},
		{"failed", &Result{Err: errDown}, 1},
		{"still", unreadable(), 0},
		{"managed elsewhere, and what is malformed is unknown", &Result{Err: &register.ElsewhereError{Owner: "other"}}, 2},
		{"still", &Result{Err: &register.ElsewhereError{Owner: "other"}}, 0},
		{"all is well", good(), 1},
	} {
		if got := said(step.result); got != step.lines {
			t.Errorf("%s: %d lines, want %d:\n%s", step.what, got, step.lines, log.String())
		}
	}
}

// An Event does not promise that a text is kept which is lost.
func TestRestoredWithoutHistoryIsTold(t *testing.T) {
	for _, history := range []error{nil, errDown} {
		recorder := record.NewFakeRecorder(10)
		teller := NewTeller(slog.New(slog.DiscardHandler), &Events{recorder, &corev1.ConfigMap{}})
		teller.Tell(&Result{Observed: &register.Observation{Restored: "put back"}, Change: &register.Change{}, Wrote: true, History: history})
		if event := <-recorder.Events; !strings.Contains(event, "put back") || strings.Contains(event, "is kept") != (history == nil) {
			t.Errorf("with a history that says %v, the Event is %q", history, event)
		}
	}
}

// A reconcile that fails is an Event, with the entries that wait for it and what to do:
// once, as long as the reason stays the same, and again after one that went well.
func TestFailedReconcileIsAnEvent(t *testing.T) {
	change := func(n int) *register.Change {
		c := &register.Change{}
		for i := range n {
			c.Changes = append(c.Changes, plan.Change{Op: plan.Add, Entry: awsauth.Entry{Kind: awsauth.User, ARN: fmt.Sprint("arn:aws:iam::111122223333:user/u", i)}})
		}
		return c
	}
	denied := errors.New(`write ConfigMap aws-auth: admission webhook "eks.example" denied the request: user/u0 is not welcome`)
	down := errors.New(`write ConfigMap aws-auth: Internal error occurred: failed calling webhook "eks.example": connection refused`)
	recorder := record.NewFakeRecorder(100)
	teller := NewTeller(slog.New(slog.DiscardHandler), &Events{recorder, &corev1.ConfigMap{}})
	for _, step := range []struct {
		what   string
		result *Result
		want   []string // in the Event; none: there is none
	}{
		{"denied", &Result{Err: denied, Change: change(1)}, []string{"ReconcileFailed", "1 entry waits: add of arn:aws:iam::111122223333:user/u0", "not welcome", "change that entry"}},
		{"still", &Result{Err: denied, Change: change(1)}, nil},
		{"more wait", &Result{Err: denied, Change: change(5)}, []string{"5 entries wait", "user/u2", "2 more"}},
		{"the webhook is down", &Result{Err: down, Change: change(5)}, []string{"does not answer", "5 entries wait"}},
		{"overtaken", &Result{Err: register.ErrConflict}, nil},
		{"before a plan", &Result{Err: errDown}, []string{"ReconcileFailed", errDown.Error()}},
		{"all is well", &Result{Observed: &register.Observation{}, Change: &register.Change{}}, nil},
		{"once more", &Result{Err: errDown}, []string{errDown.Error()}},
		{"written, and the ledger not", &Result{Err: denied, Change: change(5), Wrote: true}, []string{"denied"}},
		{"aws-auth is gone for a moment", &Result{Err: &register.LaterError{}}, nil},
	} {
		teller.Tell(step.result)
		var event string
		select {
		case event = <-recorder.Events:
		default:
		}
		for _, want := range step.want {
			if !strings.Contains(event, want) {
				t.Errorf("%s: the Event %q does not say %q", step.what, event, want)
			}
		}
		if (event != "") != (len(step.want) > 0) || step.result.Wrote && strings.Contains(event, "wait") {
			t.Errorf("%s: the Event is %q", step.what, event)
		}
	}

	// And it is in the status, as long as it is so.
	s := Status{}.Next(&Result{Err: denied, Change: change(5)})
	if s.Waiting != 5 || len(s.WaitingSome) != maxWaiting || !strings.Contains(s.WaitingSome[0], "add of arn") {
		t.Errorf("the status says %d wait: %q", s.Waiting, s.WaitingSome)
	}
	if s = s.Next(&Result{Observed: &register.Observation{}, Change: &register.Change{}}); s.Waiting != 0 || s.WaitingSome != nil {
		t.Errorf("the status says %d wait: %q", s.Waiting, s.WaitingSome)
	}
}

// What differs from one try to the next, such as a port, makes no Event of its own: Events
// on one object share a budget (client-go takes 25, then one in five minutes).
func TestFailuresOfAKindAreOneEvent(t *testing.T) {
	for name, text := range map[string]string{
		"port":     `failed calling webhook "x": Post "https://x.y.svc:443/a?timeout=10s": dial tcp: lookup x.y.svc on 10.96.0.10:53: read udp 10.0.0.2:4%d->10.96.0.10:53: i/o timeout`,
		"request":  `admission webhook "x" denied the request: no (request 7c9e6679-7425-40de-944b-e07fc1f9%04d)`,
		"duration": `no answer within 1.0%ds`,
	} {
		recorder := record.NewFakeRecorder(100)
		teller := NewTeller(slog.New(slog.DiscardHandler), &Events{recorder, &corev1.ConfigMap{}})
		for i := range 20 {
			teller.Tell(&Result{Err: fmt.Errorf(text, 1000+37*i)}) //nolint:err113 // a text
		}
		if n := len(recorder.Events); n != 1 {
			t.Errorf("%s: 20 failures of a kind are %d Events", name, n)
		}
	}
}

// An immutable ConfigMap is told by one Event with what to do, whether or not there is
// anything to be written, and beside what cannot be read.
func TestImmutableIsAnEvent(t *testing.T) {
	fixed := &register.ImmutableError{Namespace: "kube-system", Name: "aws-auth"}
	observed := &register.Observation{Immutable: fixed}
	for name, test := range map[string]struct {
		result  *Result
		outcome Outcome
		events  []string
	}{
		"nothing to write": {&Result{Observed: observed, Change: &register.Change{}}, Unchanged, []string{"Immutable"}},
		"refused":          {&Result{Err: fmt.Errorf("write: %w", fixed), Observed: observed, Change: &register.Change{}}, Immutable, []string{"Immutable"}},
		"the ledger": {
			&Result{Err: &register.ImmutableError{Namespace: "n", Name: "rolecall-ledger"}, Observed: &register.Observation{}, Change: &register.Change{}}, Immutable, []string{"Immutable"},
		},
		"not readable": {
			&Result{Err: fmt.Errorf("%w: mapRoles: %w", register.ErrMalformed, fixed), Observed: observed, Change: &register.Change{}}, Malformed, []string{"Immutable", "Malformed"},
		},
	} {
		recorder := record.NewFakeRecorder(10)
		teller := NewTeller(slog.New(slog.DiscardHandler), &Events{recorder, &corev1.ConfigMap{}})
		for range 3 {
			teller.Tell(test.result)
		}
		if got := test.result.Outcome(); got != test.outcome {
			t.Errorf("%s: the outcome is %s, want %s", name, got, test.outcome)
		}
		close(recorder.Events)
		var reasons []string
		for event := range recorder.Events {
			kind, rest, _ := strings.Cut(event, " ")
			reason, note, _ := strings.Cut(rest, " ")
			reasons = append(reasons, reason)
			if kind != corev1.EventTypeWarning || !strings.Contains(note, "| kubectl replace --force -f -") || len(note) >= maxNote {
				t.Errorf("%s: the Event is %q", name, event)
			}
		}
		slices.Sort(reasons)
		if !slices.Equal(reasons, test.events) {
			t.Errorf("%s: the Events are %q, want %q", name, reasons, test.events)
		}
		status := (Status{}).Next(test.result)
		if !strings.Contains(status.Error+status.Immutable, "| kubectl replace --force -f -") {
			t.Errorf("%s: the status says %q, %q", name, status.Error, status.Immutable)
		}
	}
}
