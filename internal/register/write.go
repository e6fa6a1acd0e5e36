package register

import "time"

// A Write is a change of a register that this leader made, or found.
type Write struct {
	At    time.Time // to the second where somebody else wrote
	Who   string    // field manager of somebody else; empty for this leader
	Why   string    // in one line; empty for somebody else's
	Diffs []Diff    // none where only what the authenticator does not read has changed
}

// A Diff is what has changed in one key, as a unified diff.
type Diff struct {
	Key  string
	Text string // whole lines, as many as are kept
	Left int    // lines that are left out
}
