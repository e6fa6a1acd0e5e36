package agent

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/internal/visible"
)

// StatusAnnotation is the annotation of the leader's Lease that holds a [Status]
// as JSON. The Lease's renewals carry it, so that it costs no request.
const StatusAnnotation = "rolecall.dev/status"

const (
	statusMax  = 4 << 10 // bytes of JSON
	statusText = 400     // bytes of an error, which quoting can double
	statusCut  = 100     // bytes of a name or an ARN
	statusLess = 3       // refused reports that are told one by one
)

// Status is what the leader alone knows, for "rolecall status": how its last
// pass went and what its sources answered. Texts of others in it are printable
// and cut; it holds no content of aws-auth, of the config or of an answer.
type Status struct {
	Leader  string    `json:"leader"` // identity in the election of who says this
	Version string    `json:"version,omitempty"`
	Began   time.Time `json:"began"` // of the term; no source is known to have answered before
	Config  string    `json:"config,omitempty"`

	ConfigError *Trouble `json:"configError,omitempty"` // of an edit that is refused; the last good config is in force

	Pass     time.Time `json:"pass"`             // when the last one ended
	Result   string    `json:"result,omitempty"` // as in rolecall_reconciles_total: unchanged, changed, conflict, malformed, error
	Error    string    `json:"error,omitempty"`  // of the last pass
	AddOnly  bool      `json:"addOnly,omitempty"`
	Reported int       `json:"reported"`          // node roles that live agents report
	NoRoom   int       `json:"noRoom,omitempty"`  // new entries left out because aws-auth is full
	History  string    `json:"history,omitempty"` // why no revision can be kept

	Conflicts     int        `json:"conflicts,omitempty"` // foreign entries that stand in the way
	ConflictsSome []Conflict `json:"conflictsSome,omitempty"`

	Refused     int       `json:"refused,omitempty"` // reports of the roster that are not believed
	RefusedSome []Refusal `json:"refusedSome,omitempty"`

	Sources []SourceStatus `json:"sources,omitempty"` // those that failed first
	More    int            `json:"more,omitempty"`    // sources for which there was no room here

	MoreFailed int `json:"moreFailed,omitempty"` // of them, those that fail
}

// Trouble is an error and since when it stands.
type Trouble struct {
	Error string    `json:"error"`
	Since time.Time `json:"since"`
}

// Conflict is a foreign entry that grants less than the config asks for, or
// another username.
type Conflict struct {
	ARN  string `json:"arn"`
	Has  string `json:"has"`  // username
	Want string `json:"want"` // username
}

// Refusal is a report that is not believed.
type Refusal struct {
	Lease string `json:"lease"`
	Error string `json:"error"`
}

// SourceStatus is how one source does.
type SourceStatus struct {
	Name    string    `json:"name"`
	Entries int       `json:"entries"`           // that it asks for; 0 while it fails
	Success time.Time `json:"success,omitzero"`  // when it last answered; zero for not in this term
	Trouble *Trouble  `json:"trouble,omitempty"` // what it fails with now
}

// DecodeStatus reads the annotation.
func DecodeStatus(value string) (*Status, error) {
	var s Status
	if err := json.Unmarshal([]byte(value), &s); err != nil {
		return nil, fmt.Errorf("read the annotation %s: %w", StatusAnnotation, err)
	}
	return &s, nil
}

// encode is the annotation's value: at most statusMax bytes, in which as many
// details and sources stand as have room.
func (s *Status) encode() string {
	out := *s
	out.Sources, out.More = nil, len(s.Sources)
	body, err := marshal(&out)
	for ; len(body) > statusMax/2 && len(out.ConflictsSome)+len(out.RefusedSome) > 0; body, err = marshal(&out) {
		out.ConflictsSome = out.ConflictsSome[:len(out.ConflictsSome)/2]
		out.RefusedSome = out.RefusedSome[:len(out.RefusedSome)/2]
	}
	if err != nil { // it is made of texts, numbers and times
		return ""
	}
	size := len(body) + len(`,"sources":[],"more":10000000,"moreFailed":10000000`)
	byUrgency := slices.SortedStableFunc(slices.Values(s.Sources), func(a, b SourceStatus) int {
		return cmp.Compare(urgency(a), urgency(b))
	})
	for i := range byUrgency {
		source, err := marshal(&byUrgency[i])
		if size += len(source) + 1; err != nil || size > statusMax {
			break
		}
		out.Sources = append(out.Sources, byUrgency[i])
		out.More--
	}
	for i := range byUrgency[len(out.Sources):] {
		if byUrgency[len(out.Sources)+i].Trouble != nil {
			out.MoreFailed++
		}
	}
	if body, err = marshal(&out); err != nil {
		return ""
	}
	return string(body)
}

func urgency(s SourceStatus) int {
	if s.Trouble != nil {
		return 0
	}
	return 1
}

// marshal is json.Marshal without escapes for HTML, which take six bytes each.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return bytes.TrimSpace(b.Bytes()), err
}

func statusName(name string) string { return visible.Cut(visible.Text(name), statusCut) }

// statusError is an error with its middle cut out: it begins with what failed
// and ends with what to do.
func statusError(err error) string {
	text := visible.Text(err.Error())
	if len(text) <= statusText {
		return text
	}
	const head = statusText / 3
	end := len(text) - (statusText - head - len(" … "))
	return strings.ToValidUTF8(text[:head], "") + " … " + strings.ToValidUTF8(text[end:], "")
}

// Published is what this leader says of its term, for [StatusAnnotation]; empty
// outside a term and before its first pass. It returns at once and is safe for
// concurrent use.
func (l *Leader) Published() string {
	known := l.status.Load()
	if known == nil {
		return ""
	}
	s := *known
	if l.opts.ConfigError != nil {
		if since, err := l.opts.ConfigError(); err != nil {
			s.ConfigError = &Trouble{statusError(err), since.UTC().Truncate(time.Second)}
		}
	}
	return s.encode()
}

// publish takes in how a pass went. Where it failed, what the one before saw
// still stands.
func (l *Leader) publish(spec *Spec, out *Outcome, err error) {
	s := Status{Began: l.began.UTC().Truncate(time.Second)}
	if was := l.status.Load(); was != nil {
		s = *was
	}
	s.Leader, s.Version = l.opts.Identity, l.opts.Version
	s.Config, s.Pass = spec.Hash, l.now().UTC().Truncate(time.Second)
	s.Result, s.Error = result(out, err), ""
	if err != nil {
		s.Error = statusError(err)
		l.status.Store(&s)
		return
	}
	s.AddOnly, s.Reported = out.AddOnly, out.Reported
	s.NoRoom = len(out.Plan.Refused)
	s.Conflicts, s.ConflictsSome = len(out.Plan.Conflicts), nil
	for _, c := range out.Plan.Conflicts[:min(s.Conflicts, statusLess)] {
		s.ConflictsSome = append(s.ConflictsSome, Conflict{statusName(c.Foreign.ARN), statusName(c.Foreign.Username), statusName(c.Ours.Username)})
	}
	s.History = ""
	if out.history != nil {
		s.History = statusError(out.history)
	}
	s.Refused, s.RefusedSome = len(out.Refused), nil
	for _, lease := range slices.Sorted(maps.Keys(out.Refused))[:min(len(out.Refused), statusLess)] {
		s.RefusedSome = append(s.RefusedSome, Refusal{statusName(lease), statusError(out.Refused[lease])})
	}
	s.Sources = out.states
	l.status.Store(&s)
}

// result is how a pass went, in the words of the metric.
func result(out *Outcome, err error) string {
	switch {
	case errors.Is(err, awsauth.ErrConflict):
		return "conflict"
	case errors.Is(err, ErrMalformed):
		return "malformed"
	case err != nil:
		return "error"
	case out.Wrote:
		return "changed"
	}
	return "unchanged"
}
