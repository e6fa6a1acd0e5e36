package source

import "errors"

// Permanent reports whether an error consists of nothing that goes away by itself:
// AWS refuses, or there is no such group. The error itself says so by a method
// Persists. Asking more rarely then gains nothing and delays the other sources: a
// group whose name is misspelt must not hold up that a user left another.
func Permanent(err error) bool {
	var several interface{ Unwrap() []error }
	if errors.As(err, &several) {
		for _, e := range several.Unwrap() {
			if !Permanent(e) {
				return false
			}
		}
		return true
	}
	var one interface{ Persists() bool }
	return errors.As(err, &one) && one.Persists()
}
