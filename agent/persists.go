package agent

import "errors"

// persists reports whether an error consists of nothing that patience mends: AWS
// refuses, or there is no such group. The error itself says so by a method
// Persists. To ask more rarely then would only keep what the other sources say
// waiting: a group that was misspelt would hold up that somebody left another.
func persists(err error) bool {
	var several interface{ Unwrap() []error }
	if errors.As(err, &several) {
		for _, e := range several.Unwrap() {
			if !persists(e) {
				return false
			}
		}
		return true
	}
	var one interface{ Persists() bool }
	return errors.As(err, &one) && one.Persists()
}
