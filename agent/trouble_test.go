package agent

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clienttesting "k8s.io/client-go/testing"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/config"
	"github.com/rolecall/rolecall/election"
	"github.com/rolecall/rolecall/internal/history"
	"github.com/rolecall/rolecall/internal/register"
	"github.com/rolecall/rolecall/internal/register/configmap"
	"github.com/rolecall/rolecall/internal/source"
)

var errForbidden = fmt.Errorf("write ConfigMap aws-auth: %w",
	apierrors.NewForbidden(schema.GroupResource{Resource: "configmaps"}, "aws-auth", errors.New("no right")))

// gaveWay returns when and why a leader of the register ended its term by itself, and
// false where it led for that long.
func gaveWay(t *testing.T, l *Leader, long time.Duration) (after time.Duration, gave bool, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), long)
	defer cancel()
	begin := time.Now()
	err = l.Lead(ctx)
	return time.Since(begin), time.Since(begin) < long, err
}

// A leader that fails by what may be its own fault gives the Lease up within two
// minutes, and not before it has failed for one and a half.
func TestGivesWay(t *testing.T) {
	for name, fail := range map[string]func(*toyRegister){
		"the commit is forbidden":       func(r *toyRegister) { r.fails = func() error { return errForbidden } },
		"the observation is forbidden":  func(r *toyRegister) { r.unseen = func() error { return errForbidden } },
		"the observation does not come": func(r *toyRegister) { r.unseen = func() error { return context.DeadlineExceeded } },
	} {
		t.Run(name, func(t *testing.T) {
			for range 20 { // the pauses are random
				synctest.Test(t, func(t *testing.T) {
					toy := newToyRegister()
					fail(toy)
					l := NewLeader(toyOptions(toy))
					file := toyConfig("one", "a")
					file.Config.RefreshInterval = time.Hour // nothing else makes a reconcile
					l.Apply(file)
					after, gave, err := gaveWay(t, l, time.Hour)
					if !gave || !errors.Is(err, election.ErrUnable) || after < DefaultGiveWayAfter || after > 2*time.Minute {
						t.Errorf("after %s: %v", after, err)
					}
					if toy.forgotten == 0 {
						t.Error("what the register knows of itself is not read again after a failure")
					}
				})
			}
		})
	}
}

// What the register holds and what others write is the same for every agent: no
// reason to give way.
func TestDoesNotGiveWay(t *testing.T) {
	for name, err := range map[string]error{
		"others write at the same time":  fmt.Errorf("write: %w", register.ErrConflict),
		"aws-auth is malformed":          fmt.Errorf("%w: line 3", register.ErrMalformed),
		"aws-auth was just deleted":      &register.LaterError{After: time.Second, Err: errors.New("deleted")},
		"another installation writes it": &register.ElsewhereError{Owner: "other"},
		"nothing fails":                  nil,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				toy := newToyRegister()
				toy.unseen = func() error { return err }
				l := NewLeader(toyOptions(toy))
				l.Apply(toyConfig("one", "a"))
				if after, gave, err := gaveWay(t, l, 10*time.Minute); gave || err != nil {
					t.Errorf("after %s: %v", after, err)
				}
			})
		})
	}
	t.Run("a failure that passes", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			toy := newToyRegister()
			begin := time.Now()
			toy.unseen = func() error { // a minute in every two
				if time.Since(begin)/time.Minute%2 == 0 {
					return errForbidden
				}
				return nil
			}
			l := NewLeader(toyOptions(toy))
			file := toyConfig("one", "a")
			file.Config.RefreshInterval = 10 * time.Second
			l.Apply(file)
			if after, gave, err := gaveWay(t, l, 20*time.Minute); gave || err != nil {
				t.Errorf("after %s: %v", after, err)
			}
		})
	})
}

// State that a newer version wrote is a reason to give way at once.
func TestNewerLedgerGivesWayAtOnce(t *testing.T) {
	var body bytes.Buffer
	zip := gzip.NewWriter(&body)
	if _, err := zip.Write([]byte(`{"version":2,"owned":[]}`)); err != nil {
		t.Fatal(err)
	}
	if err := zip.Close(); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		client := newClient(nil)
		ledger := &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: configmap.LedgerName},
			BinaryData: map[string][]byte{configmap.LedgerKey: body.Bytes()},
		}
		if _, err := client.CoreV1().ConfigMaps("n").Create(t.Context(), ledger, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		client.ClearActions()
		l := NewLeader(options(client, newWorld(by("n1", "first"))))
		l.Apply(reported())
		after, _, err := gaveWay(t, l, time.Hour)
		if !errors.Is(err, election.ErrUnable) || !errors.Is(err, configmap.ErrNewerLedger) || after > time.Second {
			t.Errorf("after %s: %v", after, err)
		}
		if writes := writes(client); len(writes) > 0 {
			t.Errorf("it did %q", writes)
		}
	})
}

// What cannot be read is put back as soon as the history answers, though nothing
// tells that it does.
func TestRestoredOnceTheHistoryAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const good = "- rolearn: arn:aws:iam::111122223333:role/theirs\n  username: theirs\n"
		client := newClient(map[string]string{"mapRoles": "- rolearn: [\n"})
		revisions := history.New(client.AppsV1().ControllerRevisions("n"), awsauth.Name, "test")
		if _, err := revisions.Record(t.Context(), history.Revision{At: time.Now()}, history.Content{Data: map[string]string{"mapRoles": good}}); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		client.PrependReactor("list", "controllerrevisions", func(clienttesting.Action) (bool, runtime.Object, error) {
			return time.Since(begin) < 5*time.Second, nil, apierrors.NewServiceUnavailable("down")
		})
		l := NewLeader(options(client, newWorld()))
		l.Apply(reported())
		lead(t, l)
		time.Sleep(time.Minute)
		if got := mapRoles(t, client); got != good {
			t.Errorf("it holds\n%s", got)
		}
	})
}

// lacking is a kind of source that is refused because the process lacks credentials of
// its own, or for another reason.
type lacking struct{ own bool }

func (l lacking) Error() string          { return "it was asked as the node's own role" }
func (l lacking) NoOwnCredentials() bool { return l.own }

func (lacking) Refresh(context.Context, *config.Config) error { return nil }

func (l lacking) Want(*source.Moment) []source.Answer {
	return []source.Answer{{Name: "lacking/a", Err: fmt.Errorf("group a: %w", l)}}
}

// A leader whose pod got no credentials of its own does what it can, and passes the Lease
// on once, where another agent stands by and not several have done so before.
func TestPassesOnWithoutCredentials(t *testing.T) {
	for name, tc := range map[string]struct {
		lacks          bool
		agents, gaveUp int
		passes         bool
	}{
		"three agents":                    {true, 3, 0, true},
		"another has passed it on":        {true, 3, 1, true},
		"both others have":                {true, 3, 2, false},
		"three of many have":              {true, 1000, 3, false},
		"nobody stands by":                {true, 1, 0, false},
		"refused with credentials":        {false, 3, 0, false},
		"the number of agents is unknown": {true, 0, 0, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			toy := newToyRegister()
			opts := toyOptions(toy)
			opts.Kinds = append(toyKinds[:1:1], source.Kind{Name: "lacking", New: func(source.Env) source.Source { return lacking{tc.lacks} }})
			opts.Election = func() (int, int) { return tc.agents, tc.gaveUp }
			l := NewLeader(opts)
			l.Apply(toyConfig("one", "a"))
			after, gave, err := gaveWay(t, l, time.Hour)
			if gave != tc.passes || gave && (!errors.Is(err, election.ErrUnable) || !strings.Contains(err.Error(), "no credentials of its own") || after > time.Second) {
				t.Errorf("%s: after %s: %v", name, after, err)
			}
			if len(toy.names()) != 1 {
				t.Errorf("%s: what could be done is not done: %q", name, toy.names())
			}
			// And not again.
			if after, gave, err := gaveWay(t, l, time.Hour); gave {
				t.Errorf("%s: the second time after %s: %v", name, after, err)
			}
		})
	}
}
