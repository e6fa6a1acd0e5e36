package source

import (
	"errors"
	"fmt"
	"testing"
)

type fails bool

func (f fails) Error() string  { return fmt.Sprintf("persists: %v", bool(f)) }
func (f fails) Persists() bool { return bool(f) }

func TestPermanent(t *testing.T) {
	refused, throttled := error(fails(true)), error(fails(false))
	for _, test := range []struct {
		err  error
		want bool
	}{
		{nil, false},
		{refused, true},
		{throttled, false},
		{errors.New("of which nothing is known"), false},
		{fmt.Errorf("the account is unknown: %w", refused), true},
		{errors.Join(refused, nil, refused), true},
		{errors.Join(errors.Join(refused), errors.Join(refused, throttled)), false},
		{errors.Join(refused, errors.New("of which nothing is known")), false},
	} {
		if got := Permanent(test.err); got != test.want {
			t.Errorf("%v: %v, want %v", test.err, got, test.want)
		}
	}
}
