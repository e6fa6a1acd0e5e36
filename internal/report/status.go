package report

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

	"github.com/rolecall/rolecall/internal/register"
	"github.com/rolecall/rolecall/internal/source"
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
	Result   string    `json:"result,omitempty"` // as in rolecall_reconciles_total: unchanged, changed, conflict, malformed, elsewhere, immutable, error
	Error    string    `json:"error,omitempty"`  // of the last pass
	AddOnly  bool      `json:"addOnly,omitempty"`
	Settling Settling  `json:"settling,omitempty"` // why it only adds
	Owner    string    `json:"owner,omitempty"`    // the other installation that writes aws-auth
	Reported int       `json:"reported"`           // node roles that live agents report
	NoRoom   int       `json:"noRoom,omitempty"`   // new entries left out because aws-auth is full
	History  string    `json:"history,omitempty"`  // why no revision can be kept

	Immutable string `json:"immutable,omitempty"` // aws-auth takes no write, and what to do

	Left     int      `json:"left,omitempty"` // changes that could not be made
	LeftSome []string `json:"leftSome,omitempty"`

	Waiting     int      `json:"waiting,omitempty"` // changes that the last pass, which failed, has not made
	WaitingSome []string `json:"waitingSome,omitempty"`

	Conflicts     int              `json:"conflicts,omitempty"` // foreign entries that stand in the way
	ConflictsSome []ConflictStatus `json:"conflictsSome,omitempty"`

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

// ConflictStatus is an unmanaged entry that grants less than the config asks for, or
// another username.
type ConflictStatus struct {
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

// Encode is the annotation's value: at most statusMax bytes, in which as many
// details and sources stand as have room.
func (s *Status) Encode() string {
	out := *s
	out.Sources, out.More = nil, len(s.Sources)
	body, err := marshal(&out)
	for ; len(body) > statusMax/2 && len(out.ConflictsSome)+len(out.RefusedSome)+len(out.LeftSome)+len(out.WaitingSome) > 0; body, err = marshal(&out) {
		out.LeftSome = out.LeftSome[:len(out.LeftSome)/2]
		out.WaitingSome = out.WaitingSome[:len(out.WaitingSome)/2]
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

// Next is what is to be said after a reconcile, of which s is what was said before.
// Where it failed, what the one before saw still stands.
func (s Status) Next(r *Result) *Status {
	s.Config, s.Pass = r.Config, r.Ended.UTC().Truncate(time.Second)
	s.Result, s.Error, s.Owner = string(r.Outcome()), "", ""
	if problem := r.Problem(); problem != nil {
		s.Error = statusError(problem)
	}
	if elsewhere := (*register.ElsewhereError)(nil); errors.As(r.Err, &elsewhere) {
		// What this leader saw before the other installation took over is no longer so.
		return &Status{
			Leader: s.Leader, Version: s.Version, Began: s.Began, Config: s.Config, ConfigError: s.ConfigError,
			Pass: s.Pass, Result: s.Result, Error: s.Error, Owner: statusName(elsewhere.Owner),
		}
	}
	s.Waiting, s.WaitingSome = len(r.Waiting()), nil
	for _, text := range waitingSome(r.Waiting()) {
		s.WaitingSome = append(s.WaitingSome, statusName(text))
	}
	s.Immutable = ""
	if r.Observed != nil && r.Observed.Immutable != nil {
		s.Immutable = statusError(r.Observed.Immutable)
	}
	if r.Err != nil {
		return &s
	}
	s.AddOnly, s.Settling, s.Reported = r.Settling != Settled, r.Settling, len(r.Asked.Live)
	s.NoRoom = len(r.Change.NoRoom)
	s.Left, s.LeftSome = len(r.Change.Left), nil
	for _, l := range r.Change.Left[:min(s.Left, statusLess)] {
		s.LeftSome = append(s.LeftSome, statusError(fmt.Errorf("%s of %s: %s", l.Op, l.Entry.ARN, l.Why))) //nolint:err113 // a text
	}
	s.Conflicts, s.ConflictsSome = len(r.Change.Conflicts), nil
	for _, c := range r.Change.Conflicts[:min(s.Conflicts, statusLess)] {
		s.ConflictsSome = append(s.ConflictsSome, ConflictStatus{statusName(c.Foreign.ARN), statusName(c.Foreign.Username), statusName(c.Ours.Username)})
	}
	s.History = ""
	if r.History != nil {
		s.History = statusError(r.History)
	}
	s.refused(r)
	s.Sources = SourceStates(r.Asked.States)
	return &s
}

// refused takes in what is not believed: reports, and roles that are people's.
func (s *Status) refused(r *Result) {
	s.Refused, s.RefusedSome = len(r.Asked.Refused)+len(r.Change.Refused), nil
	for _, x := range r.Change.Refused[:min(len(r.Change.Refused), statusLess)] {
		s.RefusedSome = append(s.RefusedSome, Refusal{statusName(x.ARN), "it is mapped for people: a role is either people's or nodes'"})
	}
	for _, lease := range slices.Sorted(maps.Keys(r.Asked.Refused))[:min(len(r.Asked.Refused), statusLess)] {
		s.RefusedSome = append(s.RefusedSome, Refusal{statusName(lease), statusError(r.Asked.Refused[lease])})
	}
}

// SourceStates are how sources do, in texts that print.
func SourceStates(states []source.State) []SourceStatus {
	out := make([]SourceStatus, len(states))
	for i, s := range states {
		out[i] = SourceStatus{Name: statusName(s.Name), Entries: s.Entries}
		if !s.Success.IsZero() {
			out[i].Success = s.Success.UTC().Truncate(time.Second)
		}
		if s.Err != nil {
			out[i].Trouble = NewTrouble(s.Err, s.Since)
		}
	}
	return out
}

// NewTrouble is an error as a status says it.
func NewTrouble(err error, since time.Time) *Trouble {
	return &Trouble{statusError(err), since.UTC().Truncate(time.Second)}
}
