package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/internal/plan"
)

// ledgerAnswer is the ledger, or why nobody knows it.
type ledgerAnswer struct {
	ledger *plan.State
	err    error
}

func (o *objects) askLedger(ctx context.Context) ledgerAnswer {
	ledger, err := o.ledger(ctx)
	return ledgerAnswer{ledger, err}
}

// complaint says what is not known without the ledger; nothing where there is
// none and no entry says that rolecall runs.
func (a *ledgerAnswer) complaint(doc *awsauth.Document) string {
	if a.err == nil {
		return ""
	}
	marked := slices.ContainsFunc(doc.Entries(), func(l awsauth.Listed) bool { return l.SyncedBy == awsauth.Mark })
	if errors.Is(a.err, errNoLedger) && !marked {
		return ""
	}
	return fmt.Sprintf("which sources ask for an entry is not known, and rolecall's own are told by their mark alone: %v", a.err)
}
