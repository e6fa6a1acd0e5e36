package source

import (
	"context"

	"github.com/rolecall/rolecall/config"
)

// karpenter is the roles that the config says Karpenter gives its nodes.
type karpenter struct{}

func newKarpenter(Env) Source { return karpenter{} }

func (karpenter) Refresh(context.Context, *config.Config) error { return nil }

func (karpenter) Want(m *Moment) []Answer {
	var failed items
	entries := nodeEntries(m.Config.Karpenter.NodeRoleARNs, m, &failed)
	return []Answer{{Name: "karpenter", Entries: entries, Err: failed.err()}}
}
