package awsauth

import "fmt"

// check reads the result back by the authenticator's rules: every mapping of
// the plan answers as planned, every other one as before, and no live node's
// role is left out. It looks at the text that would be written, not at what
// led to it.
func (m *merge) check(p *Plan) error {
	if !p.Writes() {
		return nil
	}
	before, after := m.doc.resolver(), p.After.resolver()
	changed := make(map[string]bool, len(p.Changes))
	for _, c := range p.Changes {
		changed[c.Entry.key()] = true
	}
	for k, was := range before {
		if is, ok := after[k]; !changed[k] && (!ok || !sameGrant(was, is)) {
			return &CheckError{ARN: was.ARN, Planned: &was, Found: found(after, k)}
		}
	}
	for i := range p.Ours {
		o := &p.Ours[i]
		if is, ok := after[key(o.ARN)]; o.Kind != Account && (!ok || !sameGrant(is, o.Entry)) {
			return &CheckError{ARN: o.ARN, Planned: &o.Entry, Found: found(after, key(o.ARN))}
		}
	}
	// What finds no room was not mapped before either.
	refused := make(map[string]bool, len(p.Refused))
	for i := range p.Refused {
		refused[p.Refused[i].key()] = true
	}
	for _, arn := range m.req.Required {
		k := key(arn)
		if _, was := before[k]; was || !refused[k] {
			if _, is := after[k]; !is {
				return &CheckError{ARN: arn}
			}
		}
	}
	return nil
}

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
