package source

import (
	"context"

	"github.com/rolecall/rolecall/config"
)

// extra is the roles that the config names for nodes that have not joined yet.
// Nobody else knows of them, so they are required.
type extra struct{}

func newExtra(Env) Source { return extra{} }

func (extra) Refresh(context.Context, *config.Config) error { return nil }

func (extra) Want(m *Moment) []Answer {
	var failed items
	entries := nodeEntries(m.Config.NodeRoles.Extra, m, &failed)
	var required []string
	for i := range entries {
		required = append(required, entries[i].ARN)
	}
	return []Answer{{Name: "extra", Entries: entries, Err: failed.err(), Required: required}}
}
