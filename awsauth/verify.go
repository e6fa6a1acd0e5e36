package awsauth

import "fmt"

func found(r resolver, k string) *Entry {
	if e, ok := r[k]; ok {
		return &e
	}
	return nil
}

// A CheckError says that the text to be written would not map an identity as
// it should. It is never written; the error is a fault of this program or a
// document that it cannot edit.
type CheckError struct {
	ARN     string
	Planned *Entry // nil where any mapping would do
	Found   *Entry // nil where the identity would not be mapped at all
}

func (e *CheckError) Error() string {
	show := func(e *Entry) string {
		if e == nil {
			return "nothing"
		}
		return fmt.Sprintf("%q %q", e.Username, e.Groups)
	}
	if e.Planned == nil {
		return fmt.Sprintf("nothing is written: %s, the role of a live node, would not be mapped", e.ARN)
	}
	return fmt.Sprintf("nothing is written: %s would be mapped to %s instead of %s", e.ARN, show(e.Found), show(e.Planned))
}
