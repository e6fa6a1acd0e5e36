package agent

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/client-go/kubernetes/fake"
)

type fails bool

func (f fails) Error() string  { return fmt.Sprintf("persists: %v", bool(f)) }
func (f fails) Persists() bool { return bool(f) }

func TestPersists(t *testing.T) {
	refused, throttled := error(fails(true)), error(fails(false))
	for _, test := range []struct {
		err  error
		want bool
	}{
		{refused, true},
		{throttled, false},
		{errors.New("of which nothing is known"), false},
		{fmt.Errorf("the account is unknown: %w", refused), true},
		{errors.Join(refused, nil, refused), true},
		{errors.Join(errors.Join(refused), errors.Join(refused, throttled)), false},
		{errors.Join(refused, errors.New("of which nothing is known")), false},
	} {
		if got := persists(test.err); got != test.want {
			t.Errorf("%v: %v, want %v", test.err, got, test.want)
		}
	}
}

// IAM is asked again at the usual pace where it refuses, since that says nothing of
// the other sources, and more and more rarely where patience may help.
func TestWhoIsRefusedAsksOn(t *testing.T) {
	for _, test := range []struct {
		err         error
		least, most int // questions in three hours, one a minute
	}{
		{fails(true), 170, 191},
		{fails(false), 15, 30},
	} {
		t.Run(test.err.Error(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				w.setsErr = test.err
				l := newTestLeader(w, fake.NewClientset())
				l.Apply(&Spec{Refresh: time.Minute, PermissionSets: []PermissionSet{{Name: "Admins"}}})
				ctx, cancel := context.WithTimeout(t.Context(), 3*time.Hour)
				defer cancel()
				if err := l.refreshIAM(ctx); err != nil {
					t.Fatal(err)
				}
				if w.calls < test.least || w.calls > test.most {
					t.Errorf("it asked %d times in three hours, want %d to %d", w.calls, test.least, test.most)
				}
			})
		})
	}
}
