package awsauth

// Kind is what an entry maps: a role, a user or a whole account.
type Kind string

// The kinds of entry, each with a key of its own in the ConfigMap.
const (
	Role    Kind = "role"
	User    Kind = "user"
	Account Kind = "account"
)

// Kinds lists the kinds, in the order of [Keys].
func Kinds() []Kind { return []Kind{Role, User, Account} }

// Key is the key of the ConfigMap's data that holds entries of this kind.
func (k Kind) Key() string {
	switch k {
	case Role:
		return "mapRoles"
	case User:
		return "mapUsers"
	}
	return "mapAccounts"
}

// Keys are the keys of the ConfigMap's data that the authenticator reads.
var Keys = [...]string{"mapRoles", "mapUsers", "mapAccounts"}

// Op is what a change does to an entry.
type Op string

// The operations.
const (
	Add    Op = "add"
	Update Op = "update"
	Remove Op = "remove"
)

// A Change is what an edit does to one entry.
type Change struct {
	Op     Op     `json:"op"`
	Entry  Entry  `json:"entry"`            // after the change; for a removal, what goes
	Before *Entry `json:"before,omitempty"` // of an update
	Reason string `json:"reason,omitempty"`
}

// An Entry lets one identity into the cluster.
type Entry struct {
	Kind     Kind     `json:"kind"`
	ARN      string   `json:"arn"`                // of the role or user; of an account its 12 digits
	Username string   `json:"username,omitempty"` // in Kubernetes; empty for an account
	Groups   []string `json:"groups,omitempty"`   // in Kubernetes; none for an account
}

// key is what an entry is about. No ARN is an account's id, whatever stands in
// a list.
func (e *Entry) key() string {
	if e.Kind == Account {
		return "account " + e.ARN
	}
	return key(e.ARN)
}
