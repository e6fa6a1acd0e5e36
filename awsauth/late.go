package awsauth

import "time"

// lateFor is how long after it was planned a write may still arrive. An API
// server gives up on a request after a minute, and nobody takes a minute more
// to plan one and send it.
const lateFor = 5 * time.Minute

// underWay are accounts that were about to be written when their leader lost
// sight of the write, or died, and that nobody asks for any more. The request
// may be under way still. Other entries would tell by their mark whose they
// are; of an account only the ledger can, and forgets it when this time is over.
func (m *merge) underWay() []Owned {
	var out []Owned
	for _, k := range m.order {
		id := m.identities[k]
		if id.want != nil || len(id.standing) > 0 {
			continue
		}
		for _, o := range id.owned {
			if o.Kind == Account && o.Pending && m.req.Now.Sub(o.Since).Abs() < lateFor {
				o.Claims = nil // a source that fails later must not ask for it by this
				out = append(out, o)
			}
		}
	}
	return out
}
